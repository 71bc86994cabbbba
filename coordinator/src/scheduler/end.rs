//! How nodes are told that an attempt is over: now and, until they have answered, whenever they come back.

use entente_host::Error;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::wire::message::{ToAttempt, ToNode};

use crate::hall::Hall;
use crate::store::{Notice, StudyRecord};

/// The file of a result that its participants are given, and how long it may be for that.
pub(super) const MODEL: &str = "model.json";
const MAX_MODEL: usize = 15 << 20;

/// What a participant is told of a result, which has this model where it is one of a training.
pub(super) fn finished(result: Digest, statement: String, model: Option<Vec<u8>>) -> ToAttempt {
    ToAttempt::Finished { result, statement, model: model.filter(|model| model.len() <= MAX_MODEL) }
}

/// What a node is told of something that it has missed.
pub(crate) fn told(hall: &Hall, notice: Notice) -> ToAttempt {
    let Notice { attempt, result, reason } = notice;
    match result {
        Some(result) => {
            let model = hall.store.result_file(&attempt.study, MODEL).unwrap_or_default();
            let statement = hall.store.statement(&attempt.study).unwrap_or_default().unwrap_or_default();
            finished(result, statement, model)
        }
        None => {
            let is_over = hall.store.study(&attempt.study).is_ok_and(|study| study.is_none_or(|study| study.is_over()));
            ToAttempt::Abandoned { reason, is_over }
        }
    }
}

/// Keeps where a study stands after an attempt was given up, and tells these nodes.
pub(super) fn give_up(
    hall: &Hall,
    record: &StudyRecord,
    nodes: &[String],
    attempt: u32,
    reason: &str,
) -> Result<(), Error> {
    let study = &record.id;
    match record.is_over() {
        true => tracing::warn!(study, attempt, state = %record.state, reason, "ended"),
        false => tracing::warn!(study, attempt, reason, "the attempt is given up"),
    }
    hall.store.give_up(record, nodes, attempt, reason)?;
    let id = AttemptId::new(&record.id, attempt);
    for node in nodes {
        let told = ToAttempt::Abandoned { reason: reason.into(), is_over: record.is_over() };
        hall.sessions.send(node, &ToNode::Attempt(id.clone(), told));
    }
    Ok(())
}
