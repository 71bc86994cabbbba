//! What a ledger's entries say of releases and studies, to look up.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Entry, Record, State, StudyRecord};
use crate::digest::Digest;
use crate::policy::StudyRef;
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
    /// What was charged for studies, by who asked for them.
    by_requester: HashMap<String, Vec<Asked>>,
}

/// A charge, as it counts for its requester.
pub(super) struct Asked {
    /// When it was made; one whose time cannot be read counts for good.
    pub(super) time: Timestamp,
    pub(super) study: Arc<StudyRef>,
    pub(super) rho: Rho,
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
            let asked = Asked {
                time: entry.time.parse().unwrap_or(Timestamp::MAX),
                study: record.study.clone(),
                rho: record.charge(),
            };
            self.by_requester.entry(record.requester.clone()).or_default().push(asked);
        } else if let (Some(question), Some(snapshot)) = (record.study.question_sha256, record.snapshot) {
            self.answers.insert((question, snapshot), release);
        }
        let known = self.releases.get(&release);
        let reserved = known.map_or(entry.sequence, |known| known.reserved);
        // What an entry names as its result is the bytes while they are all that is known, and then the study's result.
        let bytes = if state == State::Computed { record.result_sha256 } else { known.and_then(|known| known.bytes) };
        self.releases.insert(release, Release { record: record.clone(), state, reserved, bytes });
    }

    /// What was charged for the studies of a requester.
    pub(super) fn asked_by(&self, requester: &str) -> &[Asked] {
        self.by_requester.get(requester).map_or(&[], Vec::as_slice)
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
