//! New studies, as they are kept.

use entente_host::Error;
use entente_host::random::random;
use entente_protocols::study::Study;

use crate::store::{StudyRecord, StudyState};

/// Who asks, as ledgers record it.
const REQUESTER: &str = "operator";

/// A new study of these participants.
pub(super) fn new_record(id: String, created: jiff::Timestamp, study: Study, participants: Vec<String>) -> StudyRecord {
    StudyRecord {
        id,
        created,
        study,
        requester: REQUESTER.into(),
        named: participants.clone(),
        state: StudyState::Running,
        attempt: 1,
        begun: 1,
        participants,
        warnings: Vec::new(),
        reason: None,
    }
}

/// The identifier of a study that is submitted at this time.
pub(super) fn new_id(created: jiff::Timestamp) -> Result<String, Error> {
    let random = random::<3>()?;
    Ok(format!("{}-{}", created.strftime("%Y%m%d-%H%M%S"), data_encoding::HEXLOWER.encode(&random)))
}
