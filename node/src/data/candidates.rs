//! Candidates: the rows of a features query, one a customer, each with its customer, in blocks of one size.
//!
//! ```text
//! Scan ─▶ [features] codes ─▶ Bounding ─▶ one row? in the cap? ─▶ full blocks, threads' remainders merged ─▶ scoring
//! ```
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use entente_host::locks::lock;
use entente_protocols::privacy::bounds::CustomerCell;
use entente_protocols::privacy::rows::{Block, Column};

use super::bounding::Sink;
use super::collect::{Collected, Collection};
use super::customers::{Customers, Role, Split, Stored};
use super::error::DataError;
use super::labels::Labels;
use super::options::Options;
use super::unit::Pseudonyms;

/// How candidates are put into blocks, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// Rows of every block but the last, which may have fewer; at least one.
    pub block_rows: usize,
    /// The most candidates, where somebody's policy states it.
    pub most: Option<u64>,
    /// Which output says in what segment a candidate is, if one does: no block has it among its columns.
    pub segment: Option<usize>,
    /// Which output says whether one is to be left out, if one does: nor this.
    pub left_out: Option<usize>,
}

impl BlockSpec {
    /// The outputs that are no features.
    pub(super) fn labels(&self) -> Labels<Option<usize>> {
        Labels { segment: self.segment, left_out: self.left_out, ..Labels::default() }
    }
}

/// Candidates, one row each. They stay inside the node.
pub struct Candidates {
    /// All in one role, [`ROLE`].
    customers: Customers,
    /// Of each block its rows' customers.
    units: Vec<Vec<u128>>,
    several_rows: u64,
    over_cap: u64,
}

/// The role that all candidates have where roles are kept apart.
const ROLE: Role = Role::Training;

impl Candidates {
    /// The number of candidates.
    pub fn len(&self) -> u64 {
        self.customers.len(ROLE)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.units.len()
    }

    /// What the columns of all blocks mean: the outputs of the plan that are features, in order.
    pub fn columns(&self) -> &Arc<[Column]> {
        self.customers.columns()
    }

    /// Customers who were left out because they have several rows.
    pub fn several_rows(&self) -> u64 {
        self.several_rows
    }

    /// Customers who were left out because there are more than the cap admits.
    pub fn over_cap(&self) -> u64 {
        self.over_cap
    }

    /// Gives a block, by its number, to `f`: its rows' customers, their codes column by column, and those of their labels.
    /// Several threads may do so at once.
    ///
    /// # Errors
    ///
    /// [`DataError::Failed`] where there is no such block, or it cannot be read back from its file.
    pub fn block<T>(
        &self,
        number: usize,
        f: impl FnOnce(&[u128], &Block, &Labels<Vec<u16>>) -> T,
    ) -> Result<T, DataError> {
        let found = self
            .units
            .get(number)
            .map(|units| self.customers.visit(ROLE, number, |block, labels| f(units, block, labels)));
        let found = found.transpose().map_err(DataError::opaque)?.flatten();
        found.ok_or_else(|| DataError::opaque("there is no such block of candidates"))
    }

    /// Replaces the codes of every column by table look-up, as [`Customers::recode`] does.
    ///
    /// # Errors
    ///
    /// As there; then everything is as it was.
    pub fn recode(&mut self, columns: Arc<[Column]>, tables: &[Vec<u16>]) -> Result<(), DataError> {
        self.customers.recode(columns, tables)
    }
}

/// Where all threads put their candidates.
pub(super) struct Gathering {
    collection: Collection,
    block_rows: usize,
    most: Option<usize>,
    ranks: Pseudonyms,
    /// Under a cap, the rows that may still be within it.
    pool: Mutex<Vec<Rows>>,
    /// The upper half of the rank behind which nobody is within the cap.
    bound: AtomicU64,
}

impl Gathering {
    /// Nobody yet. `columns` are the meanings of all outputs that are features.
    pub(super) fn new(columns: Vec<Column>, spec: BlockSpec, options: &Options) -> Self {
        let split = Split { target: None, weight: None, holdout: 0, seed: 0 };
        Self {
            collection: Collection::new(columns, spec.labels(), split, options),
            block_rows: spec.block_rows.max(1),
            // More than memory can hold is no cap.
            most: spec.most.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            ranks: options.key.pseudonyms("candidates", ""),
            pool: Mutex::default(),
            bound: AtomicU64::new(u64::MAX),
        }
    }

    /// A place for one thread to put candidates.
    pub(super) fn gatherer(&self) -> Gatherer<'_> {
        let waiting = Rows::default();
        Gatherer { gathering: self, waiting, full: Vec::new(), units: Vec::new(), single: 0, several: 0, failed: None }
    }

    /// All candidates: the threads' full blocks, and what they have over made into blocks.
    pub(super) fn finish(self, gatherers: Vec<Gathered>) -> io::Result<Candidates> {
        let mut collected = Collected::default();
        let [part, _] = &mut collected.parts;
        let (mut units, mut single, mut several_rows) = (Vec::new(), 0, 0);
        let mut over = std::mem::take(&mut *lock(&self.pool));
        for gathered in gatherers {
            gathered.full.into_iter().for_each(|stored| part.push(stored));
            units.extend(gathered.units);
            over.push(gathered.waiting);
            single += gathered.single;
            several_rows += gathered.several;
        }
        let kept = self.most.map_or(u128::MAX, |most| self.last_rank(&over, most));
        self.recut(over, kept, |rows| {
            let (stored, stored_units) = self.store(rows)?;
            part.push(stored);
            units.push(stored_units);
            Ok(())
        })?;
        let (customers, _) = self.collection.finish(std::iter::once(collected));
        let over_cap = single - customers.len(ROLE);
        Ok(Candidates { customers, units, several_rows, over_cap })
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
        Ok((self.collection.store(&sorted.values)?, sorted.units))
    }

    /// The words of a row.
    fn width(&self) -> usize {
        self.collection.outputs().div_ceil(4)
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

/// One thread's candidates.
pub(super) struct Gatherer<'a> {
    gathering: &'a Gathering,
    waiting: Rows,
    full: Vec<Stored>,
    /// Of each full block.
    units: Vec<Vec<u128>>,
    single: u64,
    several: u64,
    /// Bounding goes on when writing fails, and learns of it at the end.
    failed: Option<io::Error>,
}

/// What one thread gathered.
pub(super) struct Gathered {
    full: Vec<Stored>,
    units: Vec<Vec<u128>>,
    /// Too few for a block.
    waiting: Rows,
    single: u64,
    several: u64,
}

impl Sink for Gatherer<'_> {
    fn customer<'c>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'c>> + Clone) {
        for cell in cells {
            if cell.rows != 1 {
                self.several += 1;
                continue;
            }
            self.single += 1;
            let Gathering { most, ranks, bound, block_rows, .. } = self.gathering;
            if most.is_some() && (ranks.rank(unit) >> 64) as u64 > bound.load(Ordering::Relaxed) {
                continue;
            }
            self.waiting.push(unit, cell.sums);
            if self.waiting.units.len() == *block_rows {
                self.hand_over();
            }
        }
    }
}

impl Gatherer<'_> {
    /// What was gathered, once all customers are there.
    pub(super) fn finish(self) -> io::Result<Gathered> {
        let Self { full, units, waiting, single, several, failed, .. } = self;
        failed.map_or(Ok(Gathered { full, units, waiting, single, several }), Err)
    }

    fn hand_over(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        if self.failed.is_some() {
            return;
        }
        let done = match self.gathering.most {
            Some(most) => self.gathering.pool(rows, most),
            None => self.gathering.store(rows).map(|(stored, units)| {
                self.full.push(stored);
                self.units.push(units);
            }),
        };
        self.failed = done.err();
    }
}

#[cfg(test)]
mod tests;
