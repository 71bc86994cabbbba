//! The end of an attempt: its result, its abandonment, its refusal; and what is said of a problem.

use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::ledger::EarlyRefusal;
use entente_protocols::ledger::receipt::{self, Part};
use entente_protocols::policy::Request;
use entente_protocols::study::{Question, StudySpec};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromNode, Proposal};
use tracing::{error, info, warn};

use super::{Participant, Problem, lock, now, release_id, study_ref};
use crate::error::Error;
use crate::store::{Attempt, Stage, StoredModel};

impl Participant {
    /// Records the end of an attempt: its result, with what the receipt states of it, or why it was given up.
    pub(super) fn close(
        &self,
        study: &str,
        number: u32,
        end: Result<(Digest, String), String>,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        lock(&self.waiting).remove(&(study.to_owned(), number));
        let known = lock(&self.studies).get(study, number)?;
        if let Some(mut attempt) = known.filter(|attempt| attempt.stage != Stage::Refused) {
            match &end {
                Ok((result, _)) => {
                    let result = *result;
                    if let Some(joins) = attempt.joins.as_ref().filter(|_| attempt.stage == Stage::Computed) {
                        let transcript = self.transcript(&attempt, joins)?.digest();
                        let mut ledger = lock(&self.ledger);
                        let releases = (attempt.proposal.completed + 1..).map(|round| release_id(transcript, round));
                        let stored: Vec<Digest> = releases.take_while(|release| ledger.is_stored(*release)).collect();
                        for release in stored {
                            ledger.released(release, result, &now())?;
                        }
                    }
                    attempt.stage = Stage::Finished;
                }
                Err(reason) if attempt.stage != Stage::Finished => {
                    info!(study, attempt = number, reason, "the coordinator gave the attempt up");
                    attempt.stage = Stage::Abandoned;
                    attempt.reason = Some(reason.clone());
                }
                Err(_) => {}
            }
            attempt.ephemeral = None;
            lock(&self.studies).put(&attempt)?;
        }
        lock(&self.attempts).remove(&(study.to_owned(), number));
        let part = end.ok().and_then(|(result, statement)| {
            let signed = self.part(study, number, result, &statement);
            signed.map_err(|why| warn!(study, why, "its receipt is not signed here")).ok()
        });
        let mut frames = self.ask_witnesses();
        frames.push(frame::encode(&FromNode::Closed {
            study: study.into(),
            attempt: number,
            part: part.map(Box::new),
        }));
        Ok(frames)
    }

    /// This node's part of a receipt, if what the receipt states is what this node has taken part in. Kept here as well.
    fn part(&self, study: &str, number: u32, result: Digest, text: &str) -> Result<Part, String> {
        let words = |error: Problem| match error {
            Problem::Refused { reason, .. } | Problem::Failed(reason) | Problem::Waiting(reason) => reason,
        };
        let statement = receipt::parse_statement(text)?;
        let joined = self.joined(study, number).map_err(words)?;
        let (_, question) = self.question(&joined.proposal).map_err(words)?;
        let transcript = match &joined.joins {
            Some(joins) => Some(self.transcript(&joined, joins).map_err(words)?.digest()),
            // What is sent again, is under the transcript of its own time.
            None => joined.join.as_ref().and_then(|join| join.join.stored),
        };
        let transcript = transcript.ok_or("nothing was sent from here")?;
        let subject = &statement.subject;
        let mut participants = joined.proposal.participants.clone();
        participants.sort();
        let of_this = subject.rounds.iter().filter(|round| round.attempt == number);
        let study_is = (&subject.name, &subject.purpose, &*subject.kind, &subject.requester);
        let proposed = &joined.proposal.study;
        let is_this = subject.study == study
            && subject.attempt == number
            && subject.participants == participants
            && subject.plan_sha256 == question.plan().digest()
            && study_is == (&proposed.name, &proposed.purpose, proposed.spec.kind(), &joined.proposal.requester)
            && of_this.clone().all(|round| self.is_round(round, transcript, &question))
            && statement.result() == Some(result);
        if !is_this {
            return Err("what it states is not what this node took part in".into());
        }
        let before = lock(&self.studies).before(study, number).map_err(|error| error.to_string())?;
        let before = before.ok_or("no checkpoint was kept when this node joined")?;
        let after =
            self.ledger().and_then(|ledger| ledger.checkpoint(&self.signer)).map_err(|error| error.to_string())?;
        let part = Part::sign(&statement, self.name(), &self.signer.key, before, after.bare());
        lock(&self.studies).put_receipt(study, number, text, &part).map_err(|error| error.to_string())?;
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
    pub(super) fn keep_model(&self, study: &str, number: u32, model: Option<&[u8]>, result: Digest) {
        let keep = || -> Result<(), Error> {
            let studies = lock(&self.studies);
            let joined = studies.get(study, number)?.filter(|attempt| attempt.join.is_some());
            let trained = joined.filter(|attempt| matches!(attempt.proposal.study.spec, StudySpec::Train(_)));
            let (Some(bytes), Some(attempt)) = (model, trained) else { return Ok(()) };
            let file = ModelFile::parse(bytes).map_err(Error::failure)?;
            if file.study.id != study {
                return Err(Error::failure(format!("it says that study `{}` trained it", file.study.id)));
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
    pub(super) fn explain(&self, study: &str, number: u32, problem: Problem, proposal: Option<Proposal>) -> FromNode {
        let (study, attempt) = (study.to_owned(), number);
        match problem {
            Problem::Waiting(reason) => FromNode::Waiting { study, attempt, reason },
            Problem::Failed(detail) => {
                error!(study, attempt, detail, "the study failed here; the coordinator is told only that it failed");
                FromNode::Failed { study, attempt }
            }
            Problem::Refused { reason, request } => {
                warn!(study, attempt, reason, "refused");
                if let Err(error) = self.record_refusal(&study, attempt, &reason, request.as_deref(), proposal) {
                    error!(study, attempt, %error, "the refusal could not be recorded");
                }
                FromNode::Refused { study, attempt, reason }
            }
        }
    }

    /// Writes a refusal to the ledger, once an attempt.
    fn record_refusal(
        &self,
        study: &str,
        number: u32,
        reason: &str,
        request: Option<&Request>,
        proposal: Option<Proposal>,
    ) -> Result<(), Error> {
        let known = lock(&self.studies).get(study, number)?;
        let attempt = known.or_else(|| proposal.map(|proposal| Attempt::proposed(proposal, now())));
        let Some(mut attempt) = attempt.filter(|attempt| attempt.stage != Stage::Refused) else {
            return Ok(());
        };
        match request {
            Some(request) => lock(&self.ledger).refused(request, reason, &now())?,
            None => {
                let proposal = &attempt.proposal;
                let refused = EarlyRefusal {
                    study: study_ref(proposal),
                    dataset: proposal.study.spec.dataset().unwrap_or_default(),
                    requester: proposal.requester.clone(),
                    participants: proposal.participants.clone(),
                    reason: reason.into(),
                };
                lock(&self.ledger).refused_early(&refused, &now())?;
            }
        }
        attempt.stage = Stage::Refused;
        attempt.reason = Some(reason.into());
        attempt.ephemeral = None;
        lock(&self.studies).put(&attempt)?;
        Ok(())
    }
}
