//! The end of an attempt: its result, its abandonment, its refusal; and what is said of a problem.

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::EarlyRefusal;
use entente_protocols::ledger::receipt::{self, Part, Statement};
use entente_protocols::policy::Request;
use entente_protocols::study::Question;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::wire::message::FromAttempt;
use tracing::{error, info, warn};

use super::refusals::Refusals;
use super::{Participant, Problem, release_id, saying};
use crate::store::attempts::{Attempt, Signed, Stage};
use crate::works::{self, End};

/// What the coordinator says about the end of a study.
struct Told<'a> {
    /// SHA-256 of the result.
    result: Digest,
    /// What the receipt states.
    statement: &'a str,
    /// The model file, where there is one.
    model: Option<&'a [u8]>,
}

impl Participant {
    /// Records that the coordinator gave an attempt up.
    pub(super) fn abandon(&self, id: &AttemptId, reason: &str, is_over: bool) -> Result<Vec<Vec<u8>>, Problem> {
        if is_over {
            lock(&self.studies).end_approvals(&id.study)?;
        }
        let known = lock(&self.studies).get(id)?;
        if let Some(attempt) = known.filter(|attempt| !attempt.stage.has_ended()) {
            info!(study = id.study, attempt = id.number, reason, "the coordinator gave the attempt up");
            let stage = Stage::Abandoned(attempt.stage.ended(reason));
            self.keep(&attempt.at(stage))?;
        }
        self.closed(id, None)
    }

    /// Records the result of an attempt, if what the receipt states of it is what this node has taken part in: only then is
    /// the result known here, the model kept, and the receipt signed.
    pub(super) fn finish(
        &self,
        id: &AttemptId,
        result: Digest,
        statement: &str,
        model: Option<&[u8]>,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let part = match self.finished(id, &Told { result, statement, model }) {
            Ok(part) => Some(part),
            Err(problem) => {
                let why = problem.into_words();
                warn!(
                    study = id.study,
                    attempt = id.number,
                    why,
                    "the end of the study is not recorded, nor its receipt signed"
                );
                None
            }
        };
        if part.is_none() {
            // Nothing of this node is in the result that there is.
            let attempt = lock(&self.studies).get(id)?;
            let without = attempt.filter(|attempt| matches!(attempt.stage, Stage::Waiting | Stage::Pledged(_)));
            if let Some(attempt) = without {
                let stage = Stage::Abandoned(attempt.stage.ended("the study ended without this node"));
                self.keep(&attempt.at(stage))?;
            }
        }
        self.closed(id, part)
    }

    fn closed(&self, id: &AttemptId, part: Option<Part>) -> Result<Vec<Vec<u8>>, Problem> {
        lock(&self.waiting).remove(id);
        let mut frames = self.ask_witnesses();
        frames.push(saying(id, FromAttempt::Closed { part: part.map(Box::new) }));
        Ok(frames)
    }

    fn finished(&self, id: &AttemptId, told: &Told<'_>) -> Result<Part, Problem> {
        let attempt = self.attempt(id)?;
        let finished = attempt.stage.finished().ok_or_else(|| Problem::failed("nothing was sent from here"))?;
        // What is sent again, is under the transcript of its own time.
        let signed = finished.signed.as_ref().map(|signed| signed.transcript.digest());
        let transcript = signed.or(finished.pledge.pledge.stored);
        let transcript = transcript.ok_or_else(|| Problem::failed("nothing was sent from here"))?;
        let question = self.question(&attempt.proposal)?;
        let statement = self.stated(&attempt, transcript, &question, told)?;
        // Whoever has signed one end signs no other.
        if lock(&self.studies).receipt(id)?.is_some_and(|kept| kept != told.statement) {
            return Err(Problem::failed("it has ended with another result"));
        }
        if signed.is_some() {
            self.record_result(attempt.proposal.completed, transcript, told.result)?;
        }
        self.keep(&attempt.with(Stage::Finished(finished)))?;
        lock(&self.studies).end_approvals(&id.study)?;
        let before = lock(&self.studies).before(id)?;
        let before = before.ok_or_else(|| Problem::failed("no checkpoint was kept when this node pledged itself"))?;
        let after = self.ledger()?.checkpoint(&self.signer)?;
        let part = Part::sign(&statement, self.name(), &self.signer.key, before, after.bare());
        lock(&self.studies).put_receipt(id, told.statement, &part)?;
        if let Err(problem) = self.keep_learnt(id, (transcript, &question), &statement, told) {
            warn!(study = id.study, why = problem.into_words(), "the study's model is not kept");
        }
        Ok(part)
    }

    /// Records the result in which this node's vectors went.
    fn record_result(&self, completed: u32, transcript: Digest, result: Digest) -> Result<(), Problem> {
        let mut ledger = lock(&self.ledger);
        let releases = (completed + 1..).map(|round| release_id(transcript, round));
        let stored: Vec<Digest> = releases.take_while(|release| ledger.is_stored(*release)).collect();
        for release in stored {
            ledger.released(release, result, &self.now())?;
        }
        Ok(())
    }

    /// What a receipt states, if it is what this node has taken part in.
    fn stated(
        &self,
        attempt: &Attempt,
        transcript: Digest,
        question: &Question,
        told: &Told<'_>,
    ) -> Result<Statement, Problem> {
        let Attempt { id, proposal, .. } = attempt;
        let statement = receipt::parse_statement(told.statement).map_err(Problem::failed)?;
        let subject = &statement.subject;
        let mut participants = proposal.participants.clone();
        participants.sort();
        let of_this = subject.rounds.iter().filter(|round| round.attempt == id.number);
        let before = subject.rounds.iter().filter(|round| round.attempt != id.number);
        let alliance = (&subject.alliance, subject.authority);
        let is_ours = self.rosters()?.pinned.as_ref().is_some_and(|ours| alliance == (&ours.alliance, ours.authority));
        // Sent again, at no charge, or computed and charged for.
        let is_repeated = attempt.stage.signed().is_none();
        let study_is = (&subject.name, &subject.purpose, subject.kind, &subject.requester);
        let proposed = &proposal.study;
        let is_this = subject.study == id.study
            && subject.attempt == id.number
            && subject.participants == participants
            && subject.plan_sha256 == question.plan_digest()
            && study_is == (&proposed.name, &proposed.purpose, proposed.spec.kind(), &proposal.requester)
            && is_ours
            && of_this.clone().map(|round| round.round).eq(question.rounds())
            && of_this.clone().all(|round| round.repeated == is_repeated && self.is_round(round, transcript, question))
            && before.clone().map(|round| round.round).eq(1..=proposal.completed)
            && self.knows_rounds((id, proposal), question.plan_digest(), before)?
            && statement.result() == Some(told.result);
        if is_this { Ok(statement) } else { Err(Problem::failed("what it states is not what this node took part in")) }
    }

    /// Whether a receipt states a round as it was here: its transcript and its charge; and, where this node brings something to
    /// it, that it has.
    fn is_round(&self, round: &receipt::Round, transcript: Digest, question: &Question) -> bool {
        let charged = question
            .round(round.round)
            .is_some_and(|mechanism| (mechanism.rho(), mechanism.rho_person()) == (round.rho, round.rho_person));
        let is_stored = || lock(&self.ledger).is_stored(release_id(transcript, round.round));
        round.transcript_sha256 == transcript && charged && (!self.contributes(question) || is_stored())
    }

    /// Whether what a receipt states of earlier attempts is what this node has of them, where it took part.
    fn knows_rounds<'r>(
        &self,
        (id, proposal): (&AttemptId, &Proposal),
        plan: Digest,
        mut rounds: impl Iterator<Item = &'r receipt::Round>,
    ) -> Result<bool, Problem> {
        let earlier = lock(&self.studies).of_study(&id.study)?;
        let part = |number: u32| {
            let attempt = earlier.iter().find(|attempt| attempt.id.number == number)?;
            let question = self.question(&attempt.proposal).ok()?;
            let pledge = attempt.stage.pledge().filter(|_| self.contributes(&question))?;
            // Rounds for another purpose, or of another plan, are no part of this study, whoever approved both.
            Some((pledge, proposal.continues(&attempt.proposal) && question.plan_digest() == plan, &attempt.id))
        };
        Ok(rounds.all(|round| {
            let own = release_id(round.transcript_sha256, round.round);
            let is_as_here = part(round.attempt).is_none_or(|(signed, is_of_this, attempt)| {
                let ledger = lock(&self.ledger);
                is_of_this
                    && ledger.is_stored(own)
                    && ledger.charge_of(own) == Some((round.rho, round.rho_person))
                    && round.repeated == (signed.pledge.stored == Some(round.transcript_sha256))
                    && (round.repeated || ledger.charged_for(own).as_ref() == Some(attempt))
            });
            round.attempt < id.number && is_as_here
        }))
    }

    /// Keeps what the end of a study leaves here of what this node's part has led to, if it is the receipt's.
    fn keep_learnt(
        &self,
        id: &AttemptId,
        (transcript, question): (Digest, &Question),
        statement: &Statement,
        told: &Told<'_>,
    ) -> Result<(), Problem> {
        let Some((part, model)) = question.parts().of(self.name()).zip(told.model) else { return Ok(()) };
        let end = End {
            id,
            plan: question.plan_digest(),
            transcript,
            statement,
            result: told.result,
            model,
            now: self.now(),
        };
        match works::learnt(part, &end, self.own()).map_err(Problem::failed)? {
            Some(keep) => Ok(keep.keep(id, self.now(), self.own())?),
            None => Ok(()),
        }
    }

    /// Records a problem and says of it what may be said.
    pub(super) fn explain(&self, id: &AttemptId, problem: Problem, proposal: Option<Proposal>) -> FromAttempt {
        let AttemptId { study, number: attempt } = id;
        match problem {
            Problem::Waiting(reason) => FromAttempt::Waiting { reason },
            Problem::Failed(detail) => {
                error!(study, attempt, detail, "the study failed here; the coordinator learns only that it failed");
                FromAttempt::Failed
            }
            Problem::OutOfPlace(reason) => {
                warn!(study, attempt, reason = Refusals::short(&reason), "a message is not answered as asked");
                FromAttempt::Refused { reason }
            }
            Problem::Refused { reason, request } => {
                warn!(study, attempt, reason = Refusals::short(&reason), "refused");
                if let Err(error) = self.record_refusal(id, &reason, request.as_deref(), proposal) {
                    error!(study, attempt, %error, "the refusal could not be recorded");
                }
                FromAttempt::Refused { reason }
            }
        }
    }

    /// Whether this node has been charged for an attempt that is computed anew.
    pub(super) fn is_charged(&self, attempt: &Attempt) -> bool {
        attempt.stage.signed().is_some_and(|Signed { transcript, .. }| {
            let first = release_id(transcript.digest(), attempt.proposal.completed + 1);
            lock(&self.ledger).charged_by(first).is_some()
        })
    }

    /// Whether a refusal ends an attempt: not where something was charged for it, or where it has ended. There it answers a
    /// message and no more, so that whatever the coordinator says, the ledger goes on saying what was done.
    fn can_refuse(&self, attempt: &Attempt) -> bool {
        match &attempt.stage {
            Stage::Waiting | Stage::Pledged(_) => true,
            // Whoever is not charged may have answered others by now.
            Stage::Started(_) => {
                let contributes = self.question(&attempt.proposal).is_ok_and(|question| self.contributes(&question));
                contributes && !self.is_charged(attempt)
            }
            Stage::Computed(_) | Stage::Repeated(_) | Stage::Finished(_) => false,
            Stage::Abandoned(_) | Stage::Refused(_) => false,
        }
    }

    /// Writes a refusal to the ledger, once an attempt.
    fn record_refusal(
        &self,
        id: &AttemptId,
        reason: &str,
        request: Option<&Request>,
        proposal: Option<Proposal>,
    ) -> Result<(), Error> {
        let known = lock(&self.studies).get(id)?;
        let is_known = known.is_some();
        let attempt = known.or_else(|| proposal.map(|proposal| Attempt::proposed(id.clone(), proposal, self.now())));
        let Some(attempt) = attempt.filter(|attempt| self.can_refuse(attempt)) else { return Ok(()) };
        // Of what was waiting or joined, of which there is never much, each is recorded: a steward's denial is one of these.
        let reason =
            if is_known { Some(Refusals::short(reason)) } else { lock(&self.refusals).recorded(reason, &self.now()) };
        let Some(reason) = reason else { return Ok(()) };
        let reason = reason.as_str();
        match request {
            Some(request) => lock(&self.ledger).refused(request, reason, &self.now())?,
            None => {
                let proposal = &attempt.proposal;
                let refused = EarlyRefusal {
                    study: proposal.study_ref(id),
                    dataset: proposal.study.spec.dataset_of(self.name()).ok().flatten().unwrap_or_default(),
                    requester: proposal.requester.clone(),
                    participants: proposal.participants.clone(),
                    reason: reason.into(),
                };
                lock(&self.ledger).refused_early(&refused, &self.now())?;
            }
        }
        let ended = attempt.stage.ended(reason);
        self.keep(&attempt.at(Stage::Refused(ended)))?;
        self.end(id);
        Ok(())
    }
}
