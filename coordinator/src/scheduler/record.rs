//! New studies, as they are kept.

use entente_host::Error;
use entente_host::random::random;
use entente_protocols::identity::petition::{OPERATOR, identifier};
use entente_protocols::study::Study;

use crate::store::{StudyRecord, StudyState};

/// A new study of the operator's, of these participants.
pub(super) fn new_record(id: String, created: jiff::Timestamp, study: Study, participants: Vec<String>) -> StudyRecord {
    StudyRecord {
        id,
        created,
        study,
        requester: OPERATOR.into(),
        petition: None,
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
    Ok(identifier(created, random()?))
}
