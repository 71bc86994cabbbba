//! The rounds of an attempt: charged, computed, noised, masked, stored and sent, one after another.

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::Signature;
use entente_protocols::learn::frame::Place;
use entente_protocols::ledger::{Begin, Outbound};
use entente_protocols::release;
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::Question;
use entente_protocols::wire::message::Proposal;
use tracing::info;

use super::witness::Release;
use super::{Participant, Problem, ended, now, release_id};
use crate::data::Dataset;
use crate::store::attempts::{Attempt, Finished, Pledged, Repeated, Stage, Started};
use crate::study::{Computed, Execution};

/// What the rounds of an attempt have in common: verified once, and kept in memory while the attempt goes on. After a
/// restart it is made again.
pub(super) struct Running {
    attempt: Attempt<Work>,
    transcript: Transcript,
    question: Question,
    dataset: Dataset,
    snapshot: Digest,
    execution: Execution,
}

/// What there is to do in the rounds of an attempt.
enum Work {
    /// To compute and store those that are not stored.
    ToDo(Box<Started>),
    /// Nothing more: all are stored.
    Done,
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
        id: &AttemptId,
        round: Round<'_>,
        running: &mut Option<Running>,
    ) -> Result<(Release, Outbound), Problem> {
        let mut now_running = match running.take() {
            Some(running) => running,
            None => self.verified(id, round.signatures)?,
        };
        let outbound = self.round(&mut now_running, &round);
        let dataset = now_running.dataset.schema().name.clone();
        let release = release_id(now_running.transcript.digest(), round.number);
        let release = self.to_witness((id, &now_running.attempt.proposal), round.number, dataset, release);
        // Whatever went wrong with a round, the next one is not to read the data again for it.
        *running = Some(now_running);
        Ok((release, outbound?))
    }

    /// What a vector is sent for, and how far the ledger has to be witnessed before.
    fn to_witness(
        &self,
        (id, proposal): (&AttemptId, &Proposal),
        round: u32,
        dataset: String,
        release: Digest,
    ) -> Release {
        let witnesses = self.config.oversight.witnesses as usize;
        Release {
            attempt: id.clone(),
            round,
            entry: lock(&self.ledger).charged_by(release).unwrap_or(u64::MAX),
            quorum: witnesses.min(proposal.participants.len()),
            dataset,
            kind: proposal.study.spec.kind(),
        }
    }

    /// Checks what holds for all rounds: that everybody signed the transcript, and that the question is still the one
    /// that this node joined.
    fn verified(&self, id: &AttemptId, signatures: &[(String, Signature)]) -> Result<Running, Problem> {
        let Attempt { id, proposal, received, stage } = self.attempt(id)?;
        let too_early = || Problem::failed("told to go before the start");
        let (own, pledges) = stage.pledge().zip(stage.pledges()).ok_or_else(too_early)?;
        let transcript = self.transcript(&proposal, own, pledges)?;
        transcript.verify_signatures(signatures).map_err(Problem::refused)?;
        let (schema, question) = self.question(&proposal)?;
        if own.pledge.question != question.digest() {
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
        let work = match stage {
            Stage::Started(started) => Work::ToDo(Box::new(started)),
            _ => Work::Done,
        };
        let attempt = Attempt { id, proposal, received, stage: work };
        Ok(Running { attempt, transcript, question, dataset, snapshot, execution })
    }

    fn round(&self, running: &mut Running, round: &Round<'_>) -> Result<Outbound, Problem> {
        let release = release_id(running.transcript.digest(), round.number);
        let stored = lock(&self.ledger).stored(release);
        let outbound = match stored {
            Ok(stored) => stored,
            Err(_) => self.compute(running, round, release)?,
        };
        let last = *running.question.rounds().end();
        // Also where it was stored before a crash: that may have come before this was written.
        if let Attempt { stage: Work::ToDo(started), .. } = &running.attempt
            && round.number == last
        {
            // Others may still have to be answered under its key, until the attempt ends.
            let computed = Started::clone(started).computed(running.question.plan().answers(self.name()));
            let attempt = running.attempt.with(Stage::Computed(computed));
            lock(&self.studies).put(&attempt)?;
            running.attempt.stage = Work::Done;
        }
        let AttemptId { study, number } = &running.attempt.id;
        info!(study, attempt = number, round = round.number, of = last, "the vector is stored");
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
        let request = self.request((&attempt.id, &attempt.proposal), dataset.schema(), question, number, *snapshot)?;
        let layout = request.mechanism.layout().clone();
        let approved = self.approved(&attempt.id, request)?;
        let Work::ToDo(started) = &attempt.stage else {
            return Err(Problem::failed("a vector of an attempt whose vectors are all stored is not"));
        };
        let key = started.secret.key();
        let public = Digest::of("entente round 1", &[&question.plan().digest().0, input]);
        let contributors = question.contributors();
        let keys = MaskKeys::among(transcript, &contributors, self.name(), &key, number, public);
        let keys = keys.map_err(Problem::refused)?;
        // A model's owner that is not there is found out before anything is charged.
        let scorer = self.scorer((&attempt.id, &attempt.proposal), &started.secret, transcript, question.plan())?;
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
                            self.keep_audience(&attempt.id, dataset, audience)?;
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
        id: &AttemptId,
        round: u32,
        transcript: Digest,
    ) -> Result<(Release, Outbound), Problem> {
        let attempt = self.attempt(id)?;
        let pledge = attempt.stage.pledge().ok_or_else(not_joined)?;
        if pledge.pledge.stored != Some(transcript) {
            return Err(Problem::refused("the coordinator asks for a stored answer that this node did not offer"));
        }
        let release = release_id(transcript, round);
        let (schema, question) = self.question(&attempt.proposal)?;
        let mut to_witness = self.to_witness((id, &attempt.proposal), round, schema.name.clone(), release);
        let pledge = match &attempt.stage {
            Stage::Pledged(Pledged { pledge, .. }) | Stage::Started(Started { pledge, .. }) => pledge.clone(),
            _ => return Ok((to_witness, lock(&self.ledger).stored(release)?)),
        };
        // The first of them is recorded, for all.
        let snapshot = self.snapshot(&self.dataset(schema)?)?;
        let request = self.request((id, &attempt.proposal), schema, &question, round, snapshot)?;
        let approved = self.approved(id, request)?;
        let mut ledger = self.ledger()?;
        let outbound = ledger.repeated(approved, release, &now())?;
        to_witness.entry = ledger.head().entries;
        drop(ledger);
        lock(&self.studies).put(&attempt.at(Stage::Repeated(Repeated { pledge })))?;
        info!(study = id.study, attempt = id.number, "what is stored is sent again, at no charge");
        Ok((to_witness, outbound))
    }

    /// An attempt that this node takes part in, or did to its end.
    pub(super) fn attempt(&self, id: &AttemptId) -> Result<Attempt, Problem> {
        let attempt = lock(&self.studies).get(id)?.ok_or_else(not_joined)?;
        match &attempt.stage {
            Stage::Pledged(_) | Stage::Started(_) | Stage::Computed(_) | Stage::Repeated(_) => Ok(attempt),
            Stage::Finished(Finished { pledge: Some(_), .. }) => Ok(attempt),
            stage if stage.pledge().is_some() => Err(ended()),
            _ => Err(not_joined()),
        }
    }

    /// The transcript of an attempt with these pledges, one of which is this node's `own`.
    pub(super) fn transcript(
        &self,
        proposal: &Proposal,
        own: &SignedPledge,
        pledges: &[SignedPledge],
    ) -> Result<Transcript, Problem> {
        let rosters = lock(&self.rosters);
        let pinned = rosters.pinned.as_ref().ok_or_else(|| Problem::failed("no roster is pinned"))?;
        Transcript::verify(pledges, &proposal.participants, &own.pledge, pinned).map_err(Problem::refused)
    }
}

fn not_joined() -> Problem {
    Problem::failed("the coordinator goes on with a study that this node has not joined")
}
