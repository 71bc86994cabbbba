//! How long replies of rounds are held until they leave: the grid's part of the time, which is no cost. Nodes log both ends of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What nodes have logged of rounds since it was asked last: when the last of them had stored its vector, and when the last left.
static ROUNDS: Mutex<BTreeMap<u64, [Option<Instant>; 2]>> = Mutex::new(BTreeMap::new());
/// The messages.
const ENDS: [&str; 2] = ["the vector is stored", "the reply leaves"];

/// Begins to listen.
pub fn listen() -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(Listens)
}

/// By round, the seconds from the last node's vector that is stored to the last that leaves, since this was asked last.
pub fn seconds() -> BTreeMap<u64, f64> {
    let rounds = std::mem::take(&mut *ROUNDS.lock().unwrap_or_else(PoisonError::into_inner));
    let held = |(round, [stored, left]): (u64, [Option<Instant>; 2])| {
        Some((round, left?.saturating_duration_since(stored?).as_secs_f64()))
    };
    rounds.into_iter().filter_map(held).collect()
}

struct Listens;

#[derive(Default)]
struct Line {
    message: String,
    round: Option<u64>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "round" {
            self.round = Some(value);
        }
    }
}

impl Subscriber for Listens {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("entente_node::participant") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut line = Line::default();
        event.record(&mut line);
        let end = ENDS.iter().position(|end| *end == line.message);
        if let (Some(end), Some(round)) = (end, line.round) {
            ROUNDS.lock().unwrap_or_else(PoisonError::into_inner).entry(round).or_default()[end] = Some(now);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
