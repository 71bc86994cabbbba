//! The queue, as studies' tasks see it: each is told when its turn has changed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use entente_host::locks::lock;
use tokio::sync::watch;

use super::queue::{Need, Order, Queue, Turn};

/// See the module.
pub(super) struct Places(Mutex<Told>);

struct Told {
    queue: Queue,
    turns: HashMap<Order, watch::Sender<Turn>>,
}

impl Places {
    /// At most so many studies run at once.
    pub(super) fn new(limit: usize) -> Self {
        Self(Mutex::new(Told { queue: Queue::new(limit), turns: HashMap::new() }))
    }

    /// A study has come.
    pub(super) fn enter(&self, study: Order) -> watch::Receiver<Turn> {
        let mut told = lock(&self.0);
        let (sender, turn) = watch::channel(Turn::Resting);
        told.turns.insert(study.clone(), sender);
        told.queue.enter(study);
        tell(told);
        turn
    }

    /// A study says what it needs.
    pub(super) fn set(&self, study: &Order, need: Need) {
        let mut told = lock(&self.0);
        told.queue.set(study, need);
        tell(told);
    }

    /// A partner is back.
    pub(super) fn connected(&self, partner: &str) {
        let mut told = lock(&self.0);
        told.queue.connected(partner);
        tell(told);
    }

    /// A study has ended.
    pub(super) fn leave(&self, study: &Order) {
        let mut told = lock(&self.0);
        told.turns.remove(study);
        told.queue.leave(study);
        tell(told);
    }
}

/// Tells those whose turn has changed.
fn tell(told: MutexGuard<'_, Told>) {
    for (study, turn) in told.queue.turns() {
        if let Some(sender) = told.turns.get(study) {
            sender.send_if_modified(|known| std::mem::replace(known, turn) != turn);
        }
    }
}
