//! The rounds that are being computed: each ends with its attempt.

use std::collections::HashMap;
use std::sync::Mutex;

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use tokio::sync::watch;

use crate::data::Ending;

/// What ends each of them.
#[derive(Default)]
pub(super) struct Computing(Mutex<HashMap<AttemptId, watch::Sender<bool>>>);

/// A round that is being computed, until it is dropped.
pub(super) struct Computed<'a> {
    all: &'a Computing,
    attempt: AttemptId,
}

impl Computing {
    /// A round of an attempt begins; one of each is computed at a time.
    pub(super) fn begin(&self, attempt: &AttemptId) -> (Computed<'_>, Ending) {
        let (sender, ending) = Ending::told();
        lock(&self.0).insert(attempt.clone(), sender);
        (Computed { all: self, attempt: attempt.clone() }, ending)
    }

    /// An attempt is over.
    pub(super) fn end(&self, attempt: &AttemptId) {
        if let Some(sender) = lock(&self.0).get(attempt) {
            sender.send_replace(true);
        }
    }

    /// All are: the node stops.
    pub(super) fn end_all(&self) {
        for sender in lock(&self.0).values() {
            sender.send_replace(true);
        }
    }
}

impl Drop for Computed<'_> {
    fn drop(&mut self) {
        lock(&self.all.0).remove(&self.attempt);
    }
}
