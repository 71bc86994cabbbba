//! How many lines are logged: whoever is told much must not fill a disk with them.

use std::cell::Cell;
use std::sync::Once;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static LINES: Cell<u64> = const { Cell::new(0) };
}

/// Counts what daemons log unless told otherwise.
struct Counts;

impl Subscriber for Counts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        LINES.set(LINES.get() + 1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What is done in another thread, and how many lines that logs.
pub(super) fn beside<T>(does: impl FnOnce() -> T) -> (T, u64) {
    let before = lines();
    (does(), LINES.get() - before)
}

/// Lines that were logged beside.
pub(super) fn add(lines: u64) {
    LINES.set(LINES.get() + lines);
}

/// How many lines this thread has logged by now, unless somebody else listens.
pub(super) fn lines() -> u64 {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| drop(tracing::subscriber::set_global_default(Counts)));
    LINES.get()
}
