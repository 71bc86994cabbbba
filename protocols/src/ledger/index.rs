//! What a ledger's entries say of releases and studies, to look up.

use std::collections::HashMap;

use super::entry::{Entry, Record, State, StudyRecord};
use crate::digest::Digest;
use crate::privacy::rho::Rho;

/// What a ledger's entries say of releases, as far as its steps need it beside the chain.
#[derive(Default)]
pub(super) struct Known {
    /// By what identifies each.
    pub(super) releases: HashMap<Digest, Release>,
    /// By question and snapshot.
    pub(super) answers: HashMap<(Digest, Digest), Digest>,
    /// What studies have spent, whatever the account: a study reads one data set at a node.
    by_study: HashMap<String, Rho>,
}

impl Known {
    pub(super) fn remember(&mut self, entry: &Entry) {
        let (Record::Reserved(record) | Record::Computed(record) | Record::Released(record)) = &entry.record else {
            return;
        };
        let (Some(release), state) = (record.release, entry.state()) else { return };
        if state == State::Reserved {
            let study = self.by_study.entry(record.study.id.clone()).or_default();
            *study = study.plus(record.charge());
        } else if let (Some(question), Some(snapshot)) = (record.study.question_sha256, record.snapshot) {
            self.answers.insert((question, snapshot), release);
        }
        let known = self.releases.get(&release);
        let reserved = known.map_or(entry.sequence, |known| known.reserved);
        // What an entry names as its result is the bytes while they are all that is known, and then the study's result.
        let bytes = if state == State::Computed { record.result_sha256 } else { known.and_then(|known| known.bytes) };
        self.releases.insert(release, Release { record: record.clone(), state, reserved, bytes });
    }

    pub(super) fn spent_by_study(&self, study: &str) -> Rho {
        self.by_study.get(study).copied().unwrap_or_default()
    }
}

/// A release as far as it has got.
pub(super) struct Release {
    /// What the last entry says of it.
    pub(super) record: Box<StudyRecord>,
    pub(super) state: State,
    /// Of the entry that charged it.
    pub(super) reserved: u64,
    /// Hash of its bytes, once they are stored.
    pub(super) bytes: Option<Digest>,
}
