//! The end of an attempt: its result, its abandonment, its refusal; and what is said of a problem.

use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::ledger::EarlyRefusal;
use entente_protocols::policy::Request;
use entente_protocols::study::StudySpec;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromNode, Proposal};
use tracing::{error, info, warn};

use super::{Participant, Problem, lock, now, release_id, study_ref};
use crate::error::Error;
use crate::store::{Attempt, Stage, StoredModel};

impl Participant {
    pub(super) fn close(&self, study: &str, number: u32, end: Result<Digest, String>) -> Result<Vec<Vec<u8>>, Problem> {
        lock(&self.waiting).remove(&(study.to_owned(), number));
        let known = lock(&self.studies).get(study, number)?;
        if let Some(mut attempt) = known.filter(|attempt| attempt.stage != Stage::Refused) {
            match end {
                Ok(result) => {
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
                    attempt.reason = Some(reason);
                }
                Err(_) => {}
            }
            attempt.ephemeral = None;
            lock(&self.studies).put(&attempt)?;
        }
        lock(&self.attempts).remove(&(study.to_owned(), number));
        let mut frames = self.ask_witnesses();
        frames.push(frame::encode(&FromNode::Closed { study: study.into(), attempt: number }));
        Ok(frames)
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
