//! What staff have to know of at once: the log says it with the word ALARM, and metrics count it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What there is alarm for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A reply was not ready when it was to leave.
    Late,
    /// Data could not be read after they were charged for.
    Unread,
}

/// How often there was, since the node started.
#[derive(Debug, Default)]
pub struct Alarms {
    late: AtomicU64,
    unread: AtomicU64,
}

impl Alarms {
    /// There is one more.
    pub fn raise(&self, alarm: Alarm) {
        self.of(alarm).fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were of each, by their names in metrics.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        [("late", Alarm::Late), ("unread", Alarm::Unread)]
            .map(|(name, alarm)| (name, self.of(alarm).load(Ordering::Relaxed)))
    }

    fn of(&self, alarm: Alarm) -> &AtomicU64 {
        match alarm {
            Alarm::Late => &self.late,
            Alarm::Unread => &self.unread,
        }
    }
}
