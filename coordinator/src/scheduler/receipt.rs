//! A study's receipt: what the coordinator states, and what participants sign of it.

use std::collections::BTreeMap;

use entente_host::Error;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::receipt::{Coordinator, Part, Round, Statement, Subject, parse_statement};
use entente_protocols::study::Question;

use crate::hall::Hall;
use crate::store::{RoundRecord, StudyRecord};

/// What a study was.
pub(super) fn subject(hall: &Hall, record: &StudyRecord, question: &Question, rounds: &[RoundRecord]) -> Subject {
    let round = |round: &RoundRecord| Round {
        attempt: round.attempt,
        repeated: round.repeated,
        rho: round.rho,
        rho_person: round.rho_person,
        round: round.round,
        transcript_sha256: round.transcript,
    };
    Subject {
        alliance: hall.alliance.name().into(),
        attempt: record.attempt,
        authority: hall.alliance.authority(),
        kind: record.study.spec.kind(),
        name: record.study.name.clone(),
        participants: question.participants().to_vec(),
        plan_sha256: question.plan_digest(),
        purpose: record.study.purpose.clone(),
        requester: record.requester.clone(),
        rounds: rounds.iter().map(round).collect(),
        study: record.id.clone(),
    }
}

/// States what came of it, and signs that.
pub(super) fn state(hall: &Hall, subject: Subject, files: &BTreeMap<String, Vec<u8>>) -> (Statement, Coordinator) {
    let files = files.iter().map(|(name, content)| (name.clone(), Digest::plain(content))).collect();
    // To the second, as signatures are for people.
    let finished = jiff::Timestamp::from_second(hall.clock.now().as_second()).unwrap_or_default().to_string();
    let statement = Statement { files, finished, subject };
    let signature = Coordinator::sign(&statement, hall.alliance.identity());
    (statement, signature)
}

/// Keeps a participant's part of a study's receipt, if it is one.
pub(crate) fn take_part(hall: &Hall, node: &str, study: &str, part: &Part) -> Result<(), Error> {
    let refused = |why: &str| Err(Error::refused(format!("its part of the receipt of study {study}: {why}")));
    let Some(statement) = hall.store.statement(study)? else { return refused("there is no such receipt") };
    let statement = parse_statement(&statement).map_err(|error| Error::failed(error.to_string()))?;
    if part.node != node || !statement.subject.participants.iter().any(|name| name == node) {
        return refused("it took no part");
    }
    let Some(partner) = hall.store.partners()?.remove(node) else { return refused("it is not enrolled") };
    match part.verify(&statement, &partner.member.identity) {
        Ok(()) => hall.store.put_part(study, part),
        Err(why) => refused(&why.to_string()),
    }
}
