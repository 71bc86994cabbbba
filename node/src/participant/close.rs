//! The end of an attempt: its result, its abandonment, its refusal; and what is said of a problem.

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::ledger::EarlyRefusal;
use entente_protocols::ledger::receipt::{self, Part};
use entente_protocols::policy::Request;
use entente_protocols::study::{Question, StudySpec};
use entente_protocols::wire::message::{FromAttempt, Proposal};
use tracing::{error, info, warn};

use super::{Participant, Problem, now, release_id, saying, study_ref};
use crate::store::StoredModel;
use crate::store::attempts::{Attempt, Computed, Stage};

impl Participant {
    /// Records the end of an attempt: its result, with what the receipt states of it, or why it was given up.
    pub(super) fn close(&self, id: &AttemptId, end: Result<(Digest, String), String>) -> Result<Vec<Vec<u8>>, Problem> {
        lock(&self.waiting).remove(id);
        let known = lock(&self.studies).get(id)?;
        if let Some(attempt) = known.filter(|attempt| !attempt.stage.is_refused()) {
            let stage = match &end {
                Ok((result, _)) => {
                    if let Stage::Computed(computed) = &attempt.stage {
                        self.record_result(&attempt.proposal, computed, *result)?;
                    }
                    attempt.stage.clone().finished()
                }
                Err(_) if matches!(attempt.stage, Stage::Finished(_)) => attempt.stage.clone(),
                Err(reason) => {
                    info!(study = id.study, attempt = id.number, reason, "the coordinator gave the attempt up");
                    Stage::Abandoned(attempt.stage.ended(reason))
                }
            };
            lock(&self.studies).put(&attempt.at(stage))?;
        }
        lock(&self.attempts).remove(id);
        let part = end.ok().and_then(|(result, statement)| {
            let signed = self.part(id, result, &statement);
            signed.map_err(|why| warn!(study = id.study, why, "its receipt is not signed here")).ok()
        });
        let mut frames = self.ask_witnesses();
        frames.push(saying(id, FromAttempt::Closed { part: part.map(Box::new) }));
        Ok(frames)
    }

    /// Records the result in which this node's vectors went.
    fn record_result(&self, proposal: &Proposal, computed: &Computed, result: Digest) -> Result<(), Problem> {
        let transcript = self.transcript(proposal, &computed.pledge, &computed.pledges)?.digest();
        let mut ledger = lock(&self.ledger);
        let releases = (proposal.completed + 1..).map(|round| release_id(transcript, round));
        let stored: Vec<Digest> = releases.take_while(|release| ledger.is_stored(*release)).collect();
        for release in stored {
            ledger.released(release, result, &now())?;
        }
        Ok(())
    }

    /// This node's part of a receipt, if what the receipt states is what this node has taken part in. Kept here as well.
    fn part(&self, id: &AttemptId, result: Digest, text: &str) -> Result<Part, String> {
        let words = Problem::into_words;
        let statement = receipt::parse_statement(text).map_err(|error| error.to_string())?;
        let Attempt { proposal, stage, .. } = self.attempt(id).map_err(words)?;
        let (_, question) = self.question(&proposal).map_err(words)?;
        let transcript = match (stage.pledge(), stage.pledges()) {
            (Some(own), Some(pledges)) => Some(self.transcript(&proposal, own, pledges).map_err(words)?.digest()),
            // What is sent again, is under the transcript of its own time.
            (own, _) => own.and_then(|own| own.pledge.stored),
        };
        let transcript = transcript.ok_or("nothing was sent from here")?;
        let subject = &statement.subject;
        let mut participants = proposal.participants.clone();
        participants.sort();
        let of_this = subject.rounds.iter().filter(|round| round.attempt == id.number);
        let study_is = (&subject.name, &subject.purpose, subject.kind, &subject.requester);
        let proposed = &proposal.study;
        let is_this = subject.study == id.study
            && subject.attempt == id.number
            && subject.participants == participants
            && subject.plan_sha256 == question.plan().digest()
            && study_is == (&proposed.name, &proposed.purpose, proposed.spec.kind(), &proposal.requester)
            && of_this.clone().all(|round| self.is_round(round, transcript, &question))
            && statement.result() == Some(result);
        if !is_this {
            return Err("what it states is not what this node took part in".into());
        }
        let before = lock(&self.studies).before(id).map_err(|error| error.to_string())?;
        let before = before.ok_or("no checkpoint was kept when this node joined")?;
        let after =
            self.ledger().and_then(|ledger| ledger.checkpoint(&self.signer)).map_err(|error| error.to_string())?;
        let part = Part::sign(&statement, self.name(), &self.signer.key, before, after.bare());
        lock(&self.studies).put_receipt(id, text, &part).map_err(|error| error.to_string())?;
        Ok(part)
    }

    /// Whether a receipt states a round as it was here: its transcript and its charge.
    fn is_round(&self, round: &receipt::Round, transcript: Digest, question: &Question) -> bool {
        let charged = question
            .round(round.round)
            .is_some_and(|mechanism| (mechanism.rho(), mechanism.rho_person()) == (round.rho, round.rho_person));
        round.transcript_sha256 == transcript && charged
    }

    /// Keeps the model that a study trained with this node's part. That it cannot be kept does not keep the study from
    /// being closed: the operator has it as well.
    pub(super) fn keep_model(&self, id: &AttemptId, model: Option<&[u8]>, result: Digest) {
        let study = &id.study;
        let keep = || -> Result<(), Error> {
            let studies = lock(&self.studies);
            let joined = studies.get(id)?.filter(|attempt| attempt.stage.pledge().is_some());
            let trained = joined.filter(|attempt| matches!(attempt.proposal.study.spec, StudySpec::Train(_)));
            let (Some(bytes), Some(attempt)) = (model, trained) else { return Ok(()) };
            let file = ModelFile::parse(bytes).map_err(|error| Error::failed(error.to_string()))?;
            if file.study.id != *study {
                return Err(Error::failed(format!("it says that study `{}` trained it", file.study.id)));
            }
            let source = format!("study {study}, with result {result}");
            studies.put_model(&StoredModel::new(study, &attempt.proposal.study.name, &source, &file, bytes, now()))?;
            Ok(())
        };
        if let Err(error) = keep() {
            warn!(study, %error, "the study's model could not be kept; import it with `entente-node models import`");
        }
    }

    /// Records a problem and says of it what may be said.
    pub(super) fn explain(&self, id: &AttemptId, problem: Problem, proposal: Option<Proposal>) -> FromAttempt {
        let AttemptId { study, number: attempt } = id;
        match problem {
            Problem::Waiting(reason) => FromAttempt::Waiting { reason },
            Problem::Failed(detail) => {
                error!(study, attempt, detail, "the study failed here; the coordinator is told only that it failed");
                FromAttempt::Failed
            }
            Problem::Refused { reason, request } => {
                warn!(study, attempt, reason, "refused");
                if let Err(error) = self.record_refusal(id, &reason, request.as_deref(), proposal) {
                    error!(study, attempt, %error, "the refusal could not be recorded");
                }
                FromAttempt::Refused { reason }
            }
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
        let attempt = known.or_else(|| proposal.map(|proposal| Attempt::proposed(id.clone(), proposal, now())));
        let Some(attempt) = attempt.filter(|attempt| !attempt.stage.is_refused()) else {
            return Ok(());
        };
        match request {
            Some(request) => lock(&self.ledger).refused(request, reason, &now())?,
            None => {
                let proposal = &attempt.proposal;
                let refused = EarlyRefusal {
                    study: study_ref(id, proposal),
                    dataset: proposal.study.spec.dataset().unwrap_or_default(),
                    requester: proposal.requester.clone(),
                    participants: proposal.participants.clone(),
                    reason: reason.into(),
                };
                lock(&self.ledger).refused_early(&refused, &now())?;
            }
        }
        let ended = attempt.stage.ended(reason);
        lock(&self.studies).put(&attempt.at(Stage::Refused(ended)))?;
        Ok(())
    }
}
