//! The rows of candidates: from bounding, who has one row is kept, in blocks of one size.
//!
//! **Order.** Bounding hands customers over by a keyed hash of them, shard by shard, and in a block they are sorted by
//! another: neither the block nor the place in it says where in a file a customer stands. Which thread takes which
//! shard differs from run to run, and so does who shares a block.
//!
//! **Cap.** Which candidates are kept under a cap is decided by a keyed hash of the customer alone: the same ones
//! whenever it is asked, whatever the file's order. Asking again does not show others.
//!
//! **Memory.** Two bytes a code and 20 a row (its customer, and a norm): 84 MB for a million rows of 32 codes. Codes
//! beyond [`Options::customers`] go to a file; customers, and under a cap a quarter more rows than it admits, are held.
//! While they are gathered, bounding has its own [`Options::memory`] beside this.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use entente_host::locks::lock;
use entente_protocols::privacy::bounds::CustomerCell;
use entente_protocols::privacy::rows::Column;

use super::blocks::Blocks;
use super::candidates::{BlockSpec, Candidates};
use super::{Part, Stored};
use crate::data::bounding::Sink;
use crate::data::options::Options;
use crate::data::unit::Pseudonyms;

/// Where all threads put the rows of candidates.
pub(crate) struct CandidateRows {
    blocks: Blocks,
    block_rows: usize,
    most: Option<usize>,
    ranks: Pseudonyms,
    /// Under a cap, the rows that may still be within it.
    pool: Mutex<Vec<Rows>>,
    /// The upper half of the rank behind which nobody is within the cap.
    bound: AtomicU64,
}

impl CandidateRows {
    /// Nobody yet. `columns` are the meanings of all outputs that are features.
    pub(crate) fn new(columns: Vec<Column>, spec: BlockSpec, options: &Options) -> Self {
        Self {
            blocks: Blocks::new(columns, spec.labels(), options),
            block_rows: spec.block_rows.max(1),
            // More than memory can hold is no cap.
            most: spec.most.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            ranks: options.key.pseudonyms("candidates", ""),
            pool: Mutex::default(),
            bound: AtomicU64::new(u64::MAX),
        }
    }

    /// A place for one thread to put candidates.
    pub(crate) fn sink(&self) -> CandidateSink<'_> {
        CandidateSink { rows: self, found: CandidatePart::default(), failed: None }
    }

    /// All candidates: the threads' full blocks, and what they have over made into blocks.
    pub(crate) fn finish(self, found: Vec<CandidatePart>) -> io::Result<Candidates> {
        let mut part = Part::default();
        let (mut units, mut single, mut several_rows) = (Vec::new(), 0, 0);
        let mut over = std::mem::take(&mut *lock(&self.pool));
        for found in found {
            found.full.into_iter().for_each(|stored| part.push(stored));
            units.extend(found.units);
            over.push(found.waiting);
            single += found.single;
            several_rows += found.several;
        }
        let kept = self.most.map_or(u128::MAX, |most| self.last_rank(&over, most));
        self.recut(over, kept, |rows| {
            let (stored, stored_units) = self.store(rows)?;
            part.push(stored);
            units.push(stored_units);
            Ok(())
        })?;
        let over_cap = single - part.rows;
        Ok(Candidates::new(self.blocks.finish([part, Part::default()]), units, several_rows, over_cap))
    }

    /// Makes a block, in the order of ranks, and says whose rows it has.
    fn store(&self, rows: Rows) -> io::Result<(Stored, Vec<u128>)> {
        let width = self.width();
        let mut order: Vec<(u128, usize)> =
            rows.units.iter().enumerate().map(|(row, unit)| (self.ranks.rank(*unit), row)).collect();
        order.sort_unstable();
        let (count, words) = (rows.units.len(), rows.values.len());
        let mut sorted = Rows { units: Vec::with_capacity(count), values: Vec::with_capacity(words) };
        order.iter().for_each(|(_, row)| sorted.push(rows.units[*row], &rows.values[row * width..(row + 1) * width]));
        Ok((self.blocks.store(&sorted.values)?, sorted.units))
    }

    /// The words of a row.
    fn width(&self) -> usize {
        self.blocks.outputs().div_ceil(4)
    }

    /// Puts a thread's rows into the pool, and throws out those beyond the cap when it is a quarter too large.
    fn pool(&self, rows: Rows, most: usize) -> io::Result<()> {
        let mut pool = lock(&self.pool);
        pool.push(rows);
        let pooled: usize = pool.iter().map(|rows| rows.units.len()).sum();
        if pooled < most.saturating_add((most / 4).max(self.block_rows)) {
            return Ok(());
        }
        let last = self.last_rank(&pool, most);
        let mut kept = Vec::new();
        self.recut(std::mem::take(&mut *pool), last, |rows| {
            kept.push(rows);
            Ok(())
        })?;
        *pool = kept;
        self.bound.store((last >> 64) as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The rank of the last of `most` customers; no two have the same but with negligible chance.
    fn last_rank(&self, pool: &[Rows], most: usize) -> u128 {
        let mut ranks: Vec<u128> =
            pool.iter().flat_map(|rows| &rows.units).map(|unit| self.ranks.rank(*unit)).collect();
        match most.checked_sub(1) {
            // Nobody: no customer's rank is 0 but with negligible chance.
            None => 0,
            Some(last) if last < ranks.len() => *ranks.select_nth_unstable(last).1,
            Some(_) => u128::MAX,
        }
    }

    /// Makes full blocks of the rows of customers up to a rank, the last one with what is over. What has been taken
    /// from is freed on the way.
    fn recut(&self, pool: Vec<Rows>, last: u128, mut block: impl FnMut(Rows) -> io::Result<()>) -> io::Result<()> {
        let width = self.width();
        let mut full = Rows::default();
        for rows in pool {
            for (unit, values) in rows.units.iter().zip(rows.values.chunks_exact(width)) {
                if last != u128::MAX && self.ranks.rank(*unit) > last {
                    continue;
                }
                full.push(*unit, values);
                if full.units.len() == self.block_rows {
                    block(std::mem::take(&mut full))?;
                }
            }
        }
        if full.units.is_empty() { Ok(()) } else { block(full) }
    }
}

/// Rows: their customers, and their packed values one row after the other.
#[derive(Default)]
struct Rows {
    units: Vec<u128>,
    values: Vec<i64>,
}

impl Rows {
    fn push(&mut self, unit: u128, values: &[i64]) {
        self.units.push(unit);
        self.values.extend_from_slice(values);
    }
}

/// What one thread found.
#[derive(Default)]
pub(crate) struct CandidatePart {
    full: Vec<Stored>,
    /// Of each full block.
    units: Vec<Vec<u128>>,
    /// Too few for a block.
    waiting: Rows,
    single: u64,
    several: u64,
}

/// One thread's rows.
pub(crate) struct CandidateSink<'a> {
    rows: &'a CandidateRows,
    found: CandidatePart,
    /// Bounding goes on when writing fails, and learns of it at the end.
    failed: Option<io::Error>,
}

impl Sink for CandidateSink<'_> {
    fn customer<'c>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'c>> + Clone) {
        for cell in cells {
            if cell.rows != 1 {
                self.found.several += 1;
                continue;
            }
            self.found.single += 1;
            let CandidateRows { most, ranks, bound, block_rows, .. } = self.rows;
            if most.is_some() && (ranks.rank(unit) >> 64) as u64 > bound.load(Ordering::Relaxed) {
                continue;
            }
            self.found.waiting.push(unit, cell.sums);
            if self.found.waiting.units.len() == *block_rows {
                self.hand_over();
            }
        }
    }
}

impl CandidateSink<'_> {
    /// What was found, once all customers are there.
    pub(crate) fn finish(self) -> io::Result<CandidatePart> {
        self.failed.map_or(Ok(self.found), Err)
    }

    fn hand_over(&mut self) {
        let rows = std::mem::take(&mut self.found.waiting);
        if self.failed.is_some() {
            return;
        }
        let done = match self.rows.most {
            Some(most) => self.rows.pool(rows, most),
            None => self.rows.store(rows).map(|(stored, units)| {
                self.found.full.push(stored);
                self.found.units.push(units);
            }),
        };
        self.failed = done.err();
    }
}
