//! The rounds of an attempt: charged, computed, noised, masked, stored and sent, one after another.

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::Signature;
use entente_protocols::learn::frame::Place;
use entente_protocols::ledger::{Begin, Outbound};
use entente_protocols::privacy::bounds::Clipping;
use entente_protocols::release;
use entente_protocols::secagg::agreement::{Agreed, Encapsulation};
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::study::Question;
use entente_protocols::study::parts::Part;
use entente_protocols::study::proposal::Proposal;
use tracing::{error, info};

use super::witness::Release;
use super::{Participant, Problem, ended, release_id};
use crate::alarms::Alarm;
use crate::data::Dataset;
use crate::grid::{Facts, Timing};
use crate::store::attempts::{Attempt, Finished, Pledged, Repeated, Stage, Started};
use crate::turn::Turn;
use crate::works::{self, Computed, Execution, Means, Own};

/// What the rounds of an attempt that are still to be computed have in common: verified once, and kept in memory while the
/// attempt goes on. After a restart it is made again.
pub(super) struct Running {
    question: Question,
    agreed: Agreed,
    /// `None` if it cannot be opened any more: nobody is summed over then, and nothing refused, as others are charged already.
    dataset: Option<Dataset>,
    /// What the data were when they were opened, as far as that was known.
    snapshot: Option<Digest>,
    execution: Box<dyn Execution>,
    facts: Facts,
    /// Whether its rows are in memory.
    is_read: bool,
}

/// What the coordinator says about a round.
pub(super) struct Round<'a> {
    pub(super) number: u32,
    pub(super) input: &'a [u8],
    pub(super) signatures: &'a [(String, Signature)],
    pub(super) encapsulations: &'a [Encapsulation],
}

impl Participant {
    /// What is stored is sent, whatever the data and `node.toml` have become since; what is not is computed.
    pub(super) fn go(
        &self,
        id: &AttemptId,
        round: Round<'_>,
        running: &mut Option<Running>,
        turn: &dyn Turn,
        timing: &mut Timing,
    ) -> Result<(Release, Outbound), Problem> {
        // Where the attempt stands is on the disk alone.
        let attempt = self.attempt(id)?;
        let transcript =
            attempt.stage.transcript().ok_or_else(|| Problem::failed("asked to compute a round before the start"))?;
        let release = release_id(transcript.digest(), round.number);
        let is_stored = lock(&self.ledger).is_stored(release);
        let outbound = match &attempt.stage {
            _ if is_stored => {
                self.look_for_what_is_kept(&attempt);
                lock(&self.ledger).stored(release)?
            }
            Stage::Started(_) => {
                let mut now_running = match running.take() {
                    Some(running) => running,
                    None => self.verified(&attempt, &round)?,
                };
                let outbound = self.compute(&attempt, &mut now_running, &round, release, turn, timing);
                // Whatever went wrong with a round, the next one is not to read the data again for it.
                *running = Some(now_running);
                outbound?
            }
            _ => return Err(Problem::failed("a vector of an attempt whose vectors are all stored is not")),
        };
        let AttemptId { study, number } = id;
        info!(study, attempt = number, round = round.number, "the vector is stored");
        let mut goes_on = matches!(attempt.stage, Stage::Started(_));
        if let Stage::Started(started) = &attempt.stage {
            let known = running.as_ref().map(|running| self.is_last(&running.question, round.number));
            // Also where it was stored before a crash: that may have come before this was written.
            let last = known.unwrap_or_else(|| self.is_last(&self.question(&attempt.proposal).ok()?, round.number));
            if let Some(answers) = last {
                self.keep(&attempt.with(Stage::Computed(Started::clone(started).computed(answers))))?;
                goes_on = false;
            }
        }
        let opened = running.as_ref().and_then(|running| running.dataset.as_ref());
        let dataset = opened.map(|dataset| dataset.schema().name.clone());
        if !goes_on {
            // What rounds share, secrets of pairs and rows among it, nothing needs any more.
            *running = None;
        }
        let dataset = dataset.map_or_else(|| self.dataset_name(&attempt.proposal), Ok)?;
        Ok((self.to_witness((id, &attempt.proposal), dataset, round.number, release), outbound))
    }

    /// Of the last round, whether others may still have to be answered under this node's key, until the attempt ends.
    fn is_last(&self, question: &Question, round: u32) -> Option<bool> {
        (round == *question.rounds().end()).then(|| question.parts().of(self.name()).is_some_and(|part| part.answers()))
    }

    /// What a vector is sent for, and how far the ledger has to be witnessed before.
    fn to_witness(
        &self,
        (id, proposal): (&AttemptId, &Proposal),
        dataset: String,
        round: u32,
        release: Digest,
    ) -> Release {
        Release {
            attempt: id.clone(),
            round,
            entry: lock(&self.ledger).charged_by(release).unwrap_or(u64::MAX),
            dataset,
            kind: proposal.study.spec.kind(),
        }
    }

    /// The data set of a proposal, as this node writes it; one that it has no longer, as the study does.
    fn dataset_name(&self, proposal: &Proposal) -> Result<String, Problem> {
        let name = proposal.study.spec.dataset_of(self.name()).map_err(Problem::refused)?.unwrap_or_default();
        Ok(self.config.schema(&name).map_or(name, |schema| schema.name.clone()))
    }

    /// Checks what holds for all rounds: that everybody signed the transcript, and that the question is still the one
    /// that this node has pledged itself to.
    fn verified(&self, attempt: &Attempt, round: &Round<'_>) -> Result<Running, Problem> {
        let Attempt { proposal, stage: Stage::Started(started), .. } = attempt else { return Err(ended()) };
        started.signed.transcript.verify_signatures(round.signatures).map_err(Problem::refused)?;
        let question = self.question(proposal)?;
        if started.pledge.pledge.question != question.digest() {
            return Err(Problem::failed("the proposal asks something else than this node has pledged to take part in"));
        }
        let transcript = &started.signed.transcript;
        let agreed = Agreed::with_all(transcript, self.name(), &self.key(&attempt.id)?, round.encapsulations)
            .map_err(Problem::refused)?;
        let part = self.part(&question)?;
        let schema = self.schema(part, proposal)?.ok_or_else(nothing_to_bring)?;
        let opened = self.dataset(schema).map_err(|problem| error!(why = problem.into_words(), "it cannot be opened"));
        let dataset = opened.ok();
        let snapshot = dataset.as_ref().and_then(|dataset| self.snapshot(dataset));
        let contributors = question.contributors();
        let position = contributors.iter().position(|name| name == self.name()).ok_or_else(nothing_to_bring)?;
        let execution = works::begin(part, Place { position, participants: contributors.len() })?;
        let facts = self.facts(part)?;
        Ok(Running { question, agreed, dataset, snapshot, execution, facts, is_read: false })
    }

    /// What is public of this node's part in each round, before it is known how many numbers a round releases.
    fn facts(&self, part: Part<'_>) -> Result<Facts, Problem> {
        let reads = part.work.reads().ok_or_else(nothing_to_bring)?;
        let recorded = self.sizes.rows(reads.dataset).unwrap_or_else(|error| {
            error!(%error, "replies are timed as if the data set were small");
            None
        });
        let (rows, columns) = (recorded.unwrap_or_default(), reads.columns.len() as u64);
        Ok(Facts { rows, columns, nodes: part.work.nodes(), numbers: 0 })
    }

    /// Charges for a round, computes it and stores the vector.
    fn compute(
        &self,
        attempt: &Attempt,
        running: &mut Running,
        round: &Round<'_>,
        release: Digest,
        turn: &dyn Turn,
        timing: &mut Timing,
    ) -> Result<Outbound, Problem> {
        let Running { question, agreed, dataset, snapshot, execution, facts, is_read } = running;
        let Stage::Started(started) = &attempt.stage else { return Err(ended()) };
        let transcript = &started.signed.transcript;
        let Round { number, input, .. } = *round;
        let before = number.saturating_sub(1);
        if question.round(before).is_some() && !lock(&self.ledger).is_stored(release_id(transcript.digest(), before)) {
            return Err(Problem::out_of_place("the coordinator asks for a round before the one ahead of it"));
        }
        // Staff may have dropped one of them since, or denied it.
        self.confirmed_with(question.participants())?;
        // Whatever can be wrong with an input is found before anything is charged for it.
        let evaluates = execution.ready(number, input).map_err(Problem::out_of_place)?;
        let request = self.request((&attempt.id, &attempt.proposal), question, number, *snapshot)?;
        let layout = request.mechanism.layout().clone();
        drop(self.approved(attempt, request.clone())?);
        let public = Digest::of("entente round 1", &[&question.plan_digest().0, input]);
        let contributors = question.contributors();
        let keys = MaskKeys::among(agreed, &contributors, number, public);
        // That somebody who is needed is not there, is found out before anything is charged.
        let dialogues = self.dialogues(attempt, (started, agreed), self.part(question)?, turn)?;
        let means = Means { own: self.own(), transcript: transcript.digest(), dialogues: &dialogues, timing: *timing };
        execution.meet(&means)?;
        let facts = Facts { numbers: layout.len() as u64, ..*facts };
        timing.begins(self.clock.moment(), self.speed.predicts(&facts, !*is_read));
        if let Some(learnt) = evaluates {
            lock(&self.studies).put_evaluated(transcript.digest(), learnt)?;
        }
        let (_computing, ending) = self.computing.begin(&attempt.id);
        // Its end may have come since: nothing is charged for what nobody waits for.
        if self.peers.is_over(&attempt.id) {
            return Err(ended());
        }
        // And while others were waited for.
        self.confirmed_with(question.participants())?;
        let approved = self.approved(attempt, request)?;
        let begun = self.ledger()?.reserve(approved, release, transcript.digest(), &self.now())?;
        let outbound = match begun {
            Begin::Send(outbound) => outbound,
            Begin::Compute(mut reservation) => {
                self.ask_early()?;
                let permit = reservation.draw().ok_or_else(|| Problem::failed("the permit was drawn before"))?;
                let engine = self.engine.until(ending);
                let means = Means { own: Own { engine: &engine, ..means.own }, timing: *timing, ..means };
                let computed = match dataset {
                    Some(dataset) => execution.compute(&means, dataset, layout.clone()),
                    None => Err(works::Problem::Unread("the data set cannot be opened any more".into())),
                };
                if !dialogues.is_empty() {
                    timing.waits();
                }
                let (Computed { bounded, keeps }, read) = match computed {
                    Ok(computed) => {
                        *is_read = true;
                        (computed, dataset.as_ref())
                    }
                    Err(works::Problem::Unread(why)) if !self.peers.is_over(&attempt.id) => {
                        self.alarms.raise(Alarm::Unread);
                        unread(&attempt.id, number, &why);
                        execution.nobody(&means)?;
                        (Computed { bounded: Clipping::new(layout.into()).finish(), keeps: None }, None)
                    }
                    Err(problem) => return Err(problem.into()),
                };
                // Somebody who writes while it is read makes it the answer of no data that there ever were.
                let over = snapshot.filter(|_| read.is_some_and(|dataset| !dataset.has_changed()));
                let outbound = if contributors.len() == 1 {
                    let noised = release::add_full_noise(permit, bounded).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(noised, over, &self.now())?
                } else {
                    let noised = release::add_noise(permit, bounded).map_err(Problem::failed)?;
                    let masked = noised.mask(&keys).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(masked, over, &self.now())?
                };
                // Last, as others are charged by now: that it cannot be written leaves nobody without a vector.
                if let Some(keeps) = keeps
                    && let Err(problem) = keeps.keep(&attempt.id, self.now(), self.own())
                {
                    self.not_kept(&attempt.id, &Problem::from(problem).into_words());
                }
                outbound
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
        let pledge = attempt.stage.pledge().ok_or_else(not_pledged)?;
        if pledge.pledge.stored != Some(transcript) {
            return Err(Problem::out_of_place("the coordinator asks for a stored answer that this node did not offer"));
        }
        let release = release_id(transcript, round);
        if self.is_charged(&attempt) {
            return Err(Problem::out_of_place("this node is charged for the attempt already, which is computed anew"));
        }
        let pledge = match &attempt.stage {
            Stage::Pledged(Pledged { pledge, .. }) | Stage::Started(Started { pledge, .. }) => pledge.clone(),
            // Recorded before.
            Stage::Repeated(_) | Stage::Finished(Finished { signed: None, .. }) => {
                let dataset = self.dataset_name(&attempt.proposal)?;
                let to_witness = self.to_witness((id, &attempt.proposal), dataset, round, release);
                return Ok((to_witness, lock(&self.ledger).stored(release)?));
            }
            _ => {
                return Err(Problem::out_of_place(
                    "the attempt was computed anew; nothing stored before is sent for it",
                ));
            }
        };
        let question = self.question(&attempt.proposal)?;
        let schema = self.schema(self.part(&question)?, &attempt.proposal)?.ok_or_else(nothing_to_bring)?;
        // The first of them is recorded, for all.
        let snapshot = self.snapshot(&self.dataset(schema)?);
        let request = self.request((id, &attempt.proposal), &question, round, snapshot)?;
        let approved = self.approved(&attempt, request)?;
        let (outbound, entry) = {
            let mut ledger = self.ledger()?;
            let outbound = ledger.repeated(approved, release, &self.now())?;
            (outbound, ledger.head().entries)
        };
        let dataset = schema.name.clone();
        let to_witness = Release { entry, ..self.to_witness((id, &attempt.proposal), dataset, round, release) };
        self.keep(&attempt.at(Stage::Repeated(Repeated { pledge })))?;
        info!(study = id.study, attempt = id.number, "what is stored is sent again, at no charge");
        Ok((to_witness, outbound))
    }

    /// An attempt that this node takes part in, or did to its end.
    pub(super) fn attempt(&self, id: &AttemptId) -> Result<Attempt, Problem> {
        let attempt = lock(&self.studies).get(id)?.ok_or_else(not_pledged)?;
        match &attempt.stage {
            Stage::Pledged(_) | Stage::Started(_) | Stage::Computed(_) | Stage::Repeated(_) => Ok(attempt),
            Stage::Finished(_) => Ok(attempt),
            Stage::Abandoned(_) | Stage::Refused(_) => Err(ended()),
            Stage::Waiting => Err(not_pledged()),
        }
    }
}

/// Says that this node's part of a round is of nobody.
fn unread(AttemptId { study, number: attempt }: &AttemptId, round: u32, why: &str) {
    error!(
        study,
        attempt,
        round,
        why,
        "ALARM: the data could not be read after the charge: this node's part of the round is of no customers, and is no answer to the \
         question later"
    );
}

fn nothing_to_bring() -> Problem {
    Problem::refused("this node has nothing to bring to a round")
}

fn not_pledged() -> Problem {
    Problem::failed("the coordinator goes on with a study that this node has not pledged itself to")
}
