//! What a link does, and what it has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From whoever dialled to whoever listens.
    Up,
    /// Back.
    Down,
}

/// What a link does to what goes one way. By default, nothing.
///
/// On a stream, a packet is what one read gives; a stream neither reorders nor repeats, and where a piece of it is lost or cut
/// short, the connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// The share of packets that are lost.
    pub lose: f64,
    /// The share that comes twice.
    pub duplicate: f64,
    /// The share that is cut short.
    pub truncate: f64,
    /// The share that is held back while others go ahead.
    pub reorder: f64,
    /// How long each is on its way.
    pub delay: Duration,
    /// How much longer it may be, evenly up to this.
    pub jitter: Duration,
    /// Nothing comes through: datagrams are lost, and a stream stands still until it is healed.
    pub cut: bool,
}

/// What a link has done, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub packets: u64,
    /// Lost by chance, by a cut or for want of room.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Cut short.
    pub truncated: u64,
    /// Held back.
    pub reordered: u64,
}

/// The rules and the counts of a relay, both ways.
pub struct Link {
    pub(super) seed: u64,
    rules: [watch::Sender<Rules>; 2],
    counts: [Mutex<Counts>; 2],
    /// How many clients there were, and how many of the first of them are cut off for good.
    flows: AtomicU64,
    abandoned: AtomicU64,
}

impl Link {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let rules = || watch::Sender::new(Rules::default());
        let (counts, flows, abandoned) = Default::default();
        Arc::new(Self { seed, rules: [rules(), rules()], counts, flows, abandoned })
    }

    /// From now on, these rules one way.
    pub fn set(&self, way: Way, rules: Rules) {
        self.rules[way as usize].send_replace(rules);
    }

    /// From now on, these rules both ways.
    pub fn set_both(&self, rules: Rules) {
        [Way::Up, Way::Down].into_iter().for_each(|way| self.set(way, rules));
    }

    /// Nothing comes through one way any more; other rules stay.
    pub fn cut(&self, way: Way) {
        self.rules[way as usize].send_modify(|rules| rules.cut = true);
    }

    /// Ends cuts; other rules stay.
    pub fn heal(&self) {
        self.rules.iter().for_each(|rules| rules.send_modify(|rules| rules.cut = false));
    }

    /// Cuts everybody off who has a connection now, for good: whoever dials anew comes through.
    pub fn abandon(&self) {
        self.abandoned.store(self.flows.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// What it has done one way.
    pub fn counts(&self, way: Way) -> Counts {
        *self.counting(way)
    }

    /// The number of one more client.
    pub(super) fn next_flow(&self) -> u64 {
        self.flows.fetch_add(1, Ordering::SeqCst)
    }

    /// The rules for a client, one way.
    pub(super) fn rules(&self, way: Way, flow: u64) -> Rules {
        let rules = *self.rules[way as usize].borrow();
        Rules { cut: rules.cut || flow < self.abandoned.load(Ordering::SeqCst), ..rules }
    }

    /// Told whenever the rules of one way change.
    pub(super) fn changes(&self, way: Way) -> watch::Receiver<Rules> {
        self.rules[way as usize].subscribe()
    }

    pub(super) fn counting(&self, way: Way) -> MutexGuard<'_, Counts> {
        // Counting leaves nothing half-done.
        self.counts[way as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
