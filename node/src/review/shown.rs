//! What the pages show, as it is read from the ledger and verified.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use entente_host::clock::{self, Moment};
use entente_host::locks::lock;
use entente_host::{Error, files};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::entry::Entry;
use entente_protocols::ledger::store::Store;
use tracing::warn;

use super::index::Index;
use crate::alarms::Alarms;
use crate::config::Config;
use crate::state::Folder;
use crate::store::{LedgerStore, StudyStore};

/// After how long the whole ledger is verified anew, beside what is added to it.
const ANEW: Duration = Duration::from_secs(600);
/// Entries that are verified while others wait for the index.
const AT_ONCE: usize = 2000;

/// What pages are made of: read from the ledger, entry by entry, and what it was where that ended early.
pub struct Review {
    pub(super) folder: Folder,
    pub(super) config: Config,
    pub(super) store: Mutex<LedgerStore>,
    pub(super) index: Mutex<Index>,
    /// How many pages wait for the index: a verification lets them go first, since a mutex alone is not fair.
    waiting: Mutex<usize>,
    /// None of them does any more.
    none_waits: Condvar,
    pub(super) verified: Mutex<Verified>,
    pub(super) alarms: Arc<Alarms>,
}

/// When the ledger was last verified from its first entry on.
pub(super) struct Verified {
    began: Moment,
    pub(super) at: Option<jiff::Timestamp>,
}

impl Review {
    /// Opens what the page shows.
    pub fn open(folder: &Folder, config: Config) -> Result<Self, Error> {
        let store = Mutex::new(LedgerStore::open_read_only(&folder.state("ledger.sqlite"))?);
        let verified = Mutex::new(Verified { began: clock::moment(), at: None });
        Ok(Self {
            folder: folder.clone(),
            config,
            store,
            index: Mutex::default(),
            waiting: Mutex::default(),
            none_waits: Condvar::new(),
            verified,
            alarms: Arc::default(),
        })
    }

    /// The same, counting what there was alarm for at the node that runs here.
    #[must_use]
    pub fn counting(self, alarms: Arc<Alarms>) -> Self {
        Self { alarms, ..self }
    }

    /// Verifies the ledger to its end; others see how far it is.
    pub fn verify(&self) {
        loop {
            drop(self.none_waits.wait_while(lock(&self.waiting), |waiting| *waiting > 0));
            let done = lock(&self.index).take(&lock(&self.store), AT_ONCE);
            match done {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "the ledger could not be read for the review page");
                    return;
                }
            }
        }
        lock(&self.verified).at.get_or_insert_with(clock::now);
    }

    /// The index, with what was added since; the whole is verified anew beside it from time to time.
    pub(super) fn index(self: &Arc<Self>) -> Result<MutexGuard<'_, Index>, Error> {
        let is_due = {
            let mut verified = lock(&self.verified);
            let is_due = verified.at.is_some() && clock::moment().since(verified.began) > ANEW;
            if is_due {
                verified.began = clock::moment();
            }
            is_due
        };
        if is_due {
            let this = self.clone();
            std::thread::spawn(move || this.verify_anew());
        }
        *lock(&self.waiting) += 1;
        let mut index = lock(&self.index);
        let waiting = {
            let mut waiting = lock(&self.waiting);
            *waiting -= 1;
            *waiting
        };
        if waiting == 0 {
            self.none_waits.notify_all();
        }
        index.take(&lock(&self.store), AT_ONCE)?;
        Ok(index)
    }

    fn verify_anew(&self) {
        let Ok(store) = LedgerStore::open_read_only(&self.folder.state("ledger.sqlite")) else { return };
        let mut index = Index::default();
        while matches!(index.take(&store, AT_ONCE), Ok(false)) {}
        *lock(&self.index) = index;
        lock(&self.verified).at = Some(clock::now());
    }

    /// What the study of these entries tells of single partners, as it was proposed.
    pub(super) fn own_numbers(&self, entries: &[Entry]) -> Option<String> {
        let study = &entries.last()?.study()?.study;
        let path = self.folder.state("studies.sqlite");
        // Not made by looking.
        let store = files::exists(&path).then(|| StudyStore::open(&path).ok())??;
        let attempt = store.get(&AttemptId::new(&study.id, study.attempt)).ok()??;
        self.config.own_numbers(&attempt.proposal)
    }

    /// Entries by number.
    pub(super) fn entries(&self, sequences: &[u64]) -> Result<Vec<Entry>, Error> {
        let store = lock(&self.store);
        let mut entries = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let line = store
                .some_after(sequence.saturating_sub(1), 1)?
                .pop()
                .ok_or_else(|| Error::failed("an entry is gone"))?;
            entries.push(line.entry().map_err(|error| Error::failed(error.to_string()))?);
        }
        Ok(entries)
    }
}

/// How often the ledger is in quarantine: whether anything was shown that it does not go on from.
pub(super) fn contradictions(review: &Review) -> Result<usize, Error> {
    let index = lock(&review.index);
    let sightings = lock(&review.store).sightings()?;
    Ok(sightings.iter().filter(|sighting| index.contradicts(&sighting.checkpoint)).count())
}
