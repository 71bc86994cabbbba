//! How much memory and how many threads a pass over a data set takes, and where the rest goes.

use std::path::PathBuf;
use std::thread;

use super::room::Room;
use super::unit::UnitKey;

/// How the embedded engine works.
#[derive(Clone)]
pub struct Options {
    /// Bytes that contribution bounding may take before it writes to files.
    pub memory: usize,
    /// Room for the customers of all features queries, once bounded; what does not fit goes to files.
    pub customers: Room,
    /// Threads; each takes its own part of the data.
    pub threads: usize,
    /// A folder for what does not fit into memory, of this node alone.
    pub spill: PathBuf,
    /// Tells customers apart.
    pub key: UnitKey,
}

impl Options {
    /// The share of one of so many passes that go on at a time and have `memory` bytes together: a quarter is for bounding, three
    /// eighths for customers, over whom trainings go round by round, and the rest for what is read, summed and scored, and for
    /// what an allocator keeps.
    pub fn sharing(memory: usize, passes: usize, spill: PathBuf, key: UnitKey) -> Self {
        let alone = Self::new(spill, key);
        Self { memory: memory / 4 / passes.max(1), customers: Room::of(memory / 8 * 3), ..alone }
    }

    /// For a pass that goes on alone: 512 MiB for bounding, 2 GiB for customers (20 million with 50 features) and all cores.
    pub fn new(spill: PathBuf, key: UnitKey) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { memory: 512 << 20, customers: Room::of(2 << 30), threads, spill, key }
    }
}
