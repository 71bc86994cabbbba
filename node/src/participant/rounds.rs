//! The rounds of an attempt: charged, computed, noised, masked, stored and sent, one after another.

use entente_protocols::digest::Digest;
use entente_protocols::identity::Signature;
use entente_protocols::learn::training::Place;
use entente_protocols::ledger::{Begin, Outbound};
use entente_protocols::release;
use entente_protocols::secagg::join::{EphemeralKey, SignedJoin, Transcript};
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::study::Question;
use entente_protocols::wire::message::Proposal;
use tracing::info;

use super::witness::Release;
use super::{Participant, Problem, lock, now, release_id};
use crate::data::Dataset;
use crate::store::{Attempt, Stage};
use crate::study::{Computed, Execution};

/// What the rounds of an attempt have in common: verified once, and kept in memory while the attempt goes on. After a
/// restart it is made again.
pub(super) struct Running {
    attempt: Attempt,
    transcript: Transcript,
    question: Question,
    dataset: Dataset,
    snapshot: Digest,
    execution: Execution,
}

/// What a node is told of a round.
pub(super) struct Round<'a> {
    pub(super) number: u32,
    pub(super) input: &'a [u8],
    pub(super) signatures: &'a [(String, Signature)],
}

impl Participant {
    pub(super) fn go(
        &self,
        study: &str,
        number: u32,
        round: Round<'_>,
        running: &mut Option<Running>,
    ) -> Result<(Release, Outbound), Problem> {
        let mut now_running = match running.take() {
            Some(running) => running,
            None => self.verified(study, number, round.signatures)?,
        };
        let outbound = self.round(&mut now_running, &round);
        let dataset = now_running.dataset.schema().name.clone();
        let (attempt, release) =
            (now_running.attempt.proposal.clone(), release_id(now_running.transcript.digest(), round.number));
        // Whatever went wrong with a round, the next one is not to read the data again for it.
        *running = Some(now_running);
        let outbound = outbound?;
        Ok((self.to_witness(&attempt, round.number, dataset, release), outbound))
    }

    /// What a vector is sent for, and how far the ledger has to be witnessed before.
    fn to_witness(&self, proposal: &Proposal, round: u32, dataset: String, release: Digest) -> Release {
        let witnesses = self.config.oversight.witnesses as usize;
        Release {
            attempt: (proposal.id.clone(), proposal.attempt),
            round,
            entry: lock(&self.ledger).charged_by(release).unwrap_or(u64::MAX),
            quorum: witnesses.min(proposal.participants.len()),
            dataset,
            kind: proposal.study.spec.kind().into(),
        }
    }

    /// Checks what holds for all rounds: that everybody signed the transcript, and that the question is still the one
    /// that this node joined.
    fn verified(&self, study: &str, number: u32, signatures: &[(String, Signature)]) -> Result<Running, Problem> {
        let attempt = self.joined(study, number)?;
        let joins = attempt.joins.as_ref().ok_or_else(|| Problem::failed("told to go before the start"))?;
        let transcript = self.transcript(&attempt, joins)?;
        transcript.verify_signatures(signatures).map_err(Problem::refused)?;
        let (schema, question) = self.question(&attempt.proposal)?;
        let own = attempt.join.as_ref().map(|join| join.join.question);
        if own != Some(question.digest()) {
            return Err(Problem::refused(
                "the data set's schema has changed since this node joined; run the study again",
            ));
        }
        let dataset = self.dataset(schema)?;
        let snapshot = self.snapshot(&dataset)?;
        let contributors = question.contributors();
        let position = contributors.iter().position(|name| name == self.name());
        let position = position.ok_or_else(|| Problem::refused("this node has nothing to bring to a round"))?;
        let place = Place { position, participants: contributors.len() };
        let execution = Execution::new(question.plan(), place, self.name());
        Ok(Running { attempt, transcript, question, dataset, snapshot, execution })
    }

    fn round(&self, running: &mut Running, round: &Round<'_>) -> Result<Outbound, Problem> {
        let release = release_id(running.transcript.digest(), round.number);
        let stored = lock(&self.ledger).stored(release);
        let outbound = match stored {
            Ok(stored) => stored,
            Err(_) => self.compute(running, round, release)?,
        };
        // Also where it was stored before a crash: that may have come before this was written.
        let (attempt, last) = (&mut running.attempt, *running.question.rounds().end());
        if round.number == last && attempt.stage == Stage::Joined {
            attempt.stage = Stage::Computed;
            // Others may still have to be answered under it, until the attempt ends.
            if !running.question.plan().answers(self.name()) {
                attempt.ephemeral = None;
            }
            lock(&self.studies).put(attempt)?;
        }
        let (study, attempt) = (&attempt.proposal.id, attempt.proposal.attempt);
        info!(study, attempt, round = round.number, of = last, "the vector is stored");
        Ok(outbound)
    }

    /// Charges for a round, computes it and stores the vector.
    fn compute(&self, running: &mut Running, round: &Round<'_>, release: Digest) -> Result<Outbound, Problem> {
        let Running { attempt, transcript, question, dataset, snapshot, execution } = running;
        let Round { number, input, .. } = *round;
        let before = number.saturating_sub(1);
        if question.round(before).is_some() && !lock(&self.ledger).is_stored(release_id(transcript.digest(), before)) {
            return Err(Problem::refused("the coordinator asks for a round before the one ahead of it"));
        }
        // Whatever can be wrong with an input is found before anything is charged for it.
        let ready = execution.ready(question.plan(), number, input).map_err(Problem::refused)?;
        let request = self.request(&attempt.proposal, dataset.schema(), question, number, *snapshot)?;
        let layout = request.mechanism.layout().clone();
        let approved = self.approved(&attempt.proposal, request)?;
        let secret = attempt.ephemeral.as_ref().ok_or_else(|| Problem::failed("the ephemeral key is gone"))?;
        let key = EphemeralKey::from_secret(**secret);
        let public = Digest::of("entente round 1", &[&question.plan().digest().0, input]);
        let contributors = question.contributors();
        let keys = MaskKeys::among(transcript, &contributors, self.name(), &key, number, public);
        let keys = keys.map_err(Problem::refused)?;
        // A model's owner that is not there is found out before anything is charged.
        let scorer = self.scorer(attempt, transcript, question.plan())?;
        execution.meet(question.plan(), scorer.as_ref())?;
        let begun = self.ledger()?.reserve(approved, release, transcript.digest(), &now())?;
        let outbound = match begun {
            Begin::Send(outbound) => outbound,
            Begin::Compute(mut reservation) => {
                self.ask_early(&attempt.proposal.participants)?;
                let permit = reservation.draw().ok_or_else(|| Problem::failed("the permit was drawn before"))?;
                let bounded =
                    match execution.compute(ready, &self.engine, dataset, question.plan(), layout, scorer.as_ref())? {
                        Computed::Bounded(bounded) => bounded,
                        Computed::Scored(bounded, audience) => {
                            self.keep_audience(&attempt.proposal, dataset, audience)?;
                            bounded
                        }
                    };
                if contributors.len() == 1 {
                    let noised = release::add_full_noise(permit, bounded).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(noised, &now())?
                } else {
                    let noised = release::add_noise(permit, bounded).map_err(Problem::failed)?;
                    let masked = noised.mask(&keys).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(masked, &now())?
                }
            }
        };
        Ok(outbound)
    }

    pub(super) fn resend(
        &self,
        study: &str,
        number: u32,
        round: u32,
        transcript: Digest,
    ) -> Result<(Release, Outbound), Problem> {
        let mut attempt = self.joined(study, number)?;
        if attempt.join.as_ref().and_then(|join| join.join.stored) != Some(transcript) {
            return Err(Problem::refused("the coordinator asks for a stored answer that this node did not offer"));
        }
        let release = release_id(transcript, round);
        let (schema, question) = self.question(&attempt.proposal)?;
        let mut to_witness = self.to_witness(&attempt.proposal, round, schema.name.clone(), release);
        if attempt.stage != Stage::Joined {
            return Ok((to_witness, lock(&self.ledger).stored(release)?));
        }
        // The first of them is recorded, for all.
        let snapshot = self.snapshot(&self.dataset(schema)?)?;
        let request = self.request(&attempt.proposal, schema, &question, round, snapshot)?;
        let approved = self.approved(&attempt.proposal, request)?;
        let mut ledger = self.ledger()?;
        let outbound = ledger.repeated(approved, release, &now())?;
        to_witness.entry = ledger.head().entries;
        drop(ledger);
        attempt.stage = Stage::Repeated;
        attempt.ephemeral = None;
        lock(&self.studies).put(&attempt)?;
        info!(study, attempt = number, "what is stored is sent again, at no charge");
        Ok((to_witness, outbound))
    }

    pub(super) fn joined(&self, study: &str, number: u32) -> Result<Attempt, Problem> {
        let known = lock(&self.studies).get(study, number)?;
        let attempt = known.filter(|attempt| attempt.join.is_some());
        let attempt = attempt
            .ok_or_else(|| Problem::failed("the coordinator goes on with a study that this node has not joined"))?;
        match attempt.stage {
            Stage::Joined | Stage::Computed | Stage::Repeated | Stage::Finished => Ok(attempt),
            Stage::Waiting | Stage::Abandoned | Stage::Refused => {
                Err(Problem::failed("the coordinator goes on with an attempt that has ended here"))
            }
        }
    }

    pub(super) fn transcript(&self, attempt: &Attempt, joins: &[SignedJoin]) -> Result<Transcript, Problem> {
        let own = attempt.join.as_ref().ok_or_else(|| Problem::failed("this node has not joined"))?;
        let rosters = lock(&self.rosters);
        let pinned = rosters.pinned.as_ref().ok_or_else(|| Problem::failed("no roster is pinned"))?;
        Transcript::verify(joins, &attempt.proposal.participants, &own.join, pinned).map_err(Problem::refused)
    }
}
