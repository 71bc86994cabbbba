//! Contribution bounding: rows of many customers in any order ─▶ each customer once, with all its cells.
//!
//! This is the one relational operator that is ours, because the guarantee rests on it: `GROUP BY customer, cell`
//! with exact integer sums, then customer by customer into a [`Sink`], which for releases is
//! [`Clipping`](entente_protocols::privacy::bounds::Clipping).
//!
//! ```text
//! batches ─▶ Router ─▶ 256 buffers, by a hash of the customer ─▶ 256 Tables (customer, cell) ─▶ Sink
//!            one a thread                                        ⇅ spill files
//! ```
//!
//! **Order independent.** Sums are integers modulo 2^64. Where a customer has more cells than may be kept, a keyed
//! hash of customer and cell says which come first; otherwise the number of the cell does.
//!
//! **Bounded memory.** A buffer is emptied into its table when it is full, so that the table's inserts meet warm
//! caches. When all tables together outgrow the limit, the largest are written to files and start again empty; at the
//! end a written shard is read back, in as many passes over parts of its customers as memory asks for.

mod table;

use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{io, thread};

use entente_host::locks::lock;
use entente_protocols::privacy::bounds::{Clipping, CustomerCell};
use siphasher::sip::SipHasher13;

use crate::data::spill::SpillFile;
use crate::data::unit::NO_CELL;
use table::{Seeds, Table};

/// Who gets the customers. Each is given once with all its cells, those to be kept first in front.
pub(crate) trait Sink: Send {
    /// A customer (its number, or the keyed hash of its text) and its cells.
    fn customer<'a>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'a>> + Clone);
}

impl Sink for Clipping {
    fn customer<'a>(&mut self, _unit: u128, cells: impl Iterator<Item = CustomerCell<'a>> + Clone) {
        Clipping::customer(self, cells);
    }
}

/// What one pass of bounding is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Sums that each row brings.
    pub values: usize,
    /// Whether each row stands for several, and brings their number before its sums.
    pub counted: bool,
    /// Cells that may be kept of a customer.
    pub max_groups: usize,
    /// Bytes for buffers and tables.
    pub memory: usize,
    /// Threads that route rows, and at the end finish shards.
    pub threads: usize,
    /// Where to write what does not fit.
    pub spill: PathBuf,
    /// Decides which cells are kept.
    pub key: [u8; 16],
}

const SHARD_BITS: u32 = 8;
const SHARDS: usize = 1 << SHARD_BITS;
const MAX_BUFFER: usize = 64 << 10;

/// The operator; `W` is how many words name a customer: 1 for whole numbers, 2 for text.
pub(crate) struct Bounding<const W: usize> {
    settings: Settings,
    seeds: Seeds,
    /// Rows that a router's buffer holds.
    buffer_rows: usize,
    /// Bytes that all tables may have together, and a thread's table at the end if its shard was spilled.
    table_limit: usize,
    finish_limit: usize,
    used: AtomicUsize,
    shards: Vec<Shard<W>>,
}

struct Shard<const W: usize> {
    /// What `state.table` takes; to be read without the lock.
    bytes: AtomicUsize,
    state: Mutex<State<W>>,
}

struct State<const W: usize> {
    table: Table<W>,
    spilled: Option<SpillFile>,
}

impl<const W: usize> Bounding<W> {
    pub(crate) fn new(settings: Settings) -> Self {
        let threads = settings.threads.max(1);
        let row_bytes = 8 * row_width::<W>(&settings);
        let buffer = (settings.memory / 8 / (threads * SHARDS)).min(MAX_BUFFER);
        let seeds = Seeds::new(&settings.key);
        let shards = (0..SHARDS).map(|_| Shard {
            bytes: AtomicUsize::new(0),
            state: Mutex::new(State { table: Table::new(settings.values), spilled: None }),
        });
        Self {
            seeds,
            buffer_rows: (buffer / row_bytes).max(8),
            table_limit: settings.memory / 8 * 5,
            finish_limit: settings.memory / 4 / threads,
            used: AtomicUsize::new(0),
            shards: shards.collect(),
            settings,
        }
    }

    /// A place for one thread to put rows.
    pub(crate) fn router(&self) -> Router<'_, W> {
        let width = row_width::<W>(&self.settings);
        Router { bounding: self, width, buffers: vec![0; SHARDS * self.buffer_rows * width], filled: vec![0; SHARDS] }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, State<W>> {
        // A thread that panicked has ended the pass anyway.
        lock(&self.shards[shard].state)
    }

    /// Empties a buffer of rows into a shard's table.
    fn insert(&self, shard: usize, rows: &[i64]) -> io::Result<()> {
        let mut state = self.lock(shard);
        for row in rows.chunks_exact(row_width::<W>(&self.settings)) {
            let (unit, rest) = row.split_first_chunk::<W>().expect("a row is wider than its unit");
            let (count, sums) = if self.settings.counted { (rest[1], &rest[2..]) } else { (1, &rest[1..]) };
            state.table.add(&self.seeds, unit, rest[0], count, sums);
        }
        let bytes = state.table.bytes();
        let more = bytes.wrapping_sub(self.shards[shard].bytes.swap(bytes, Ordering::Relaxed));
        let mut used = self.used.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
        drop(state);
        while used > self.table_limit {
            used = self.spill_largest()?;
        }
        Ok(())
    }

    /// Writes the largest table away and says what is left.
    fn spill_largest(&self) -> io::Result<usize> {
        let size = |shard: &usize| self.shards[*shard].bytes.load(Ordering::Relaxed);
        let largest = (0..SHARDS).max_by_key(size).unwrap_or(0);
        self.spill(&mut self.lock(largest), largest)
    }

    fn spill(&self, state: &mut State<W>, shard: usize) -> io::Result<usize> {
        if state.spilled.is_none() {
            state.spilled = Some(SpillFile::create(&self.settings.spill)?);
        }
        if let Some(file) = &mut state.spilled {
            file.append(state.table.entries())?;
        }
        state.table = Table::new(self.settings.values);
        let freed = self.shards[shard].bytes.swap(0, Ordering::Relaxed);
        Ok(self.used.fetch_sub(freed, Ordering::Relaxed).wrapping_sub(freed))
    }

    /// Gives every customer to one of several sinks, on all threads, unless `stop` is set meanwhile; call when all routers are flushed.
    pub(crate) fn finish<S: Sink>(self, stop: &AtomicBool, sink: impl Fn() -> S + Sync) -> io::Result<Vec<S>> {
        // First make room: what is in memory of a shard that is on disk as well goes there too.
        for shard in 0..SHARDS {
            let mut state = self.lock(shard);
            if state.spilled.is_some() {
                goes_on(stop)?;
                self.spill(&mut state, shard)?;
            }
        }
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let work = || -> io::Result<S> {
                let mut finisher = Finisher::new(&self, stop, sink());
                loop {
                    let shard = next.fetch_add(1, Ordering::Relaxed);
                    if shard >= SHARDS {
                        return Ok(finisher.sink);
                    }
                    finisher.shard(shard)?;
                }
            };
            let threads: Vec<_> = (0..self.settings.threads.max(1)).map(|_| scope.spawn(work)).collect();
            let results = threads.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("a thread that bounds contributions panicked")),
            });
            results.collect()
        })
    }
}

/// An error once nobody needs what is computed.
fn goes_on(stop: &AtomicBool) -> io::Result<()> {
    if stop.load(Ordering::Relaxed) { Err(io::Error::other("nobody waits for the result any more")) } else { Ok(()) }
}

/// Words of a row on its way into a table.
fn row_width<const W: usize>(settings: &Settings) -> usize {
    W + 1 + usize::from(settings.counted) + settings.values
}

/// One thread's buffers in front of the tables.
pub(crate) struct Router<'a, const W: usize> {
    bounding: &'a Bounding<W>,
    width: usize,
    buffers: Vec<i64>,
    filled: Vec<usize>,
}

impl<const W: usize> Router<'_, W> {
    /// Takes rows: the customer, the cell and the values of each; where rows are counted, their number first.
    pub(crate) fn rows(&mut self, units: &[[i64; W]], cells: &[u32], values: &[&[i64]]) -> io::Result<()> {
        debug_assert_eq!(W + 1 + values.len(), self.width);
        let capacity = self.bounding.buffer_rows;
        for (row, (unit, &cell)) in units.iter().zip(cells).enumerate() {
            if cell == NO_CELL {
                continue;
            }
            let shard = (self.bounding.seeds.unit(unit) >> (64 - SHARD_BITS)) as usize;
            let start = (shard * capacity + self.filled[shard]) * self.width;
            let place = &mut self.buffers[start..start + self.width];
            place[..W].copy_from_slice(unit);
            place[W] = i64::from(cell);
            for (place, column) in place[W + 1..].iter_mut().zip(values) {
                *place = column[row];
            }
            self.filled[shard] += 1;
            if self.filled[shard] == capacity {
                self.empty(shard)?;
            }
        }
        Ok(())
    }

    /// Hands over what is still buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        (0..SHARDS).try_for_each(|shard| self.empty(shard))
    }

    fn empty(&mut self, shard: usize) -> io::Result<()> {
        let rows = std::mem::take(&mut self.filled[shard]);
        let start = shard * self.bounding.buffer_rows * self.width;
        if rows == 0 { Ok(()) } else { self.bounding.insert(shard, &self.buffers[start..start + rows * self.width]) }
    }
}

/// One thread's work at the end.
struct Finisher<'a, const W: usize, S> {
    bounding: &'a Bounding<W>,
    stop: &'a AtomicBool,
    sink: S,
    /// The cells of one customer: what to order them by, and where they are.
    order: Vec<(u64, usize)>,
}

impl<'a, const W: usize, S: Sink> Finisher<'a, W, S> {
    fn new(bounding: &'a Bounding<W>, stop: &'a AtomicBool, sink: S) -> Self {
        Self { bounding, stop, sink, order: Vec::new() }
    }

    fn shard(&mut self, shard: usize) -> io::Result<()> {
        goes_on(self.stop)?;
        let values = self.bounding.settings.values;
        let (table, spilled) = {
            let mut state = self.bounding.lock(shard);
            (std::mem::replace(&mut state.table, Table::new(values)), state.spilled.take())
        };
        self.bounding.shards[shard].bytes.store(0, Ordering::Relaxed);
        let Some(mut file) = spilled else {
            self.customers(&table);
            return Ok(());
        };
        drop(table);
        // Twice the entries' own size covers their index. A pass takes the customers whose hash has its remainder.
        let entries = file.bytes() / (8 * Table::<W>::width(values) as u64);
        let passes = file.bytes().saturating_mul(2) / self.bounding.finish_limit.max(1) as u64 + 1;
        let passes = passes.clamp(1, entries.clamp(1, 1 << 16));
        for pass in 0..passes {
            goes_on(self.stop)?;
            let mut table = Table::new(values);
            let seeds = &self.bounding.seeds;
            file.read(Table::<W>::width(values), |entry| {
                let (unit, rest) = entry.split_first_chunk::<W>().expect("an entry is wider than its unit");
                if (seeds.unit(unit) >> 16) % passes == pass {
                    table.add(seeds, unit, rest[0], rest[1], &rest[2..]);
                }
            })?;
            self.customers(&table);
        }
        Ok(())
    }

    /// Gives a table's customers to the sink.
    fn customers(&mut self, table: &Table<W>) {
        let (max_groups, key) = (self.bounding.settings.max_groups, &self.bounding.settings.key);
        table.by_unit(&self.bounding.seeds, |unit, entries| {
            self.order.clear();
            self.order.extend(entries.map(|entry| (table.cell(entry) as u64, entry)));
            if self.order.len() > max_groups {
                for (order, _) in &mut self.order {
                    *order = precedence(key, unit, *order);
                }
            }
            self.order.sort_unstable_by_key(|&(order, entry)| (order, table.cell(entry)));
            self.sink.customer(unit, self.order.iter().map(|&(_, entry)| table.customer_cell(entry)));
        });
    }
}

/// The rank of a customer's cell among its cells: as good as random, always the same, and nobody else's business.
fn precedence(key: &[u8; 16], unit: u128, cell: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(&unit.to_le_bytes());
    hasher.write(&cell.to_le_bytes());
    hasher.finish()
}
