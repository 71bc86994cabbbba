//! From bounding to blocks of customers: who has one row is kept, and put into training or held out.

use std::hash::Hasher;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use entente_host::locks::{into_inner, lock};
use entente_protocols::privacy::bounds::CustomerCell;
use entente_protocols::privacy::rows::{Block, Column};
use siphasher::sip::SipHasher13;

use super::bounding::Sink;
use super::customers::{Customers, Part, Role, Split, Stored, to_bytes};
use super::features::unpacked;
use super::labels::Labels;
use super::options::Options;
use super::spill::SpillFile;

/// Rows of a block, of a plan that is not wide: rounds have a fixed cost a block, and go over its codes twice, for which a
/// block of 50 features stays in a cache.
const BLOCK_ROWS: usize = 8 << 10;
/// Most codes of a block, however wide the plan.
const BLOCK_CODES: usize = 1 << 20;

/// Where all threads put their customers.
pub(super) struct Collection {
    columns: Arc<[Column]>,
    split: Split,
    labels: Labels<Option<usize>>,
    key: [u8; 16],
    limit: usize,
    used: AtomicUsize,
    file: Mutex<Option<SpillFile>>,
    folder: PathBuf,
}

impl Collection {
    /// Nobody yet. `columns` are the meanings of all outputs that are features, `labels` are the others.
    pub(super) fn new(columns: Vec<Column>, labels: Labels<Option<usize>>, split: Split, options: &Options) -> Self {
        Self {
            columns: columns.into(),
            split,
            labels,
            key: options.key.holdout(),
            limit: options.customers,
            used: AtomicUsize::new(0),
            file: Mutex::new(None),
            folder: options.spill.clone(),
        }
    }

    /// A place for one thread to put customers.
    pub(super) fn collector(&self) -> Collector<'_> {
        Collector { collection: self, waiting: [Vec::new(), Vec::new()], collected: Collected::default(), failed: None }
    }

    /// All customers, and how many were left out because they have several rows.
    pub(super) fn finish(self, collected: impl Iterator<Item = Collected>) -> (Customers, u64) {
        let mut all = Collected::default();
        for Collected { parts, several } in collected {
            for (all, part) in all.parts.iter_mut().zip(parts) {
                all.blocks.extend(part.blocks);
                all.rows += part.rows;
            }
            all.several += several;
        }
        let file = into_inner(self.file);
        let labels = self.labels.map(Option::is_some);
        let customers = Customers::new(self.columns, labels, all.parts, file, self.folder);
        (customers, all.several)
    }

    /// Codes of a row.
    pub(super) fn outputs(&self) -> usize {
        self.columns.len() + self.labels.count()
    }

    fn block_rows(&self) -> usize {
        (BLOCK_CODES / self.outputs()).clamp(64, BLOCK_ROWS)
    }

    /// Depends on the seed and the customer alone, and only the node can compute it.
    fn role(&self, unit: u128) -> Role {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&self.split.seed.to_le_bytes());
        hasher.write(&unit.to_le_bytes());
        let share = (u128::from(hasher.finish()) * 1_000_000) >> 64;
        if share < u128::from(self.split.holdout) { Role::HeldOut } else { Role::Training }
    }

    /// Puts rows, by their packed values, into memory or, where that is full, into the file.
    pub(super) fn store(&self, rows: &[i64]) -> io::Result<Stored> {
        let width = self.outputs().div_ceil(4);
        let codes = |output: usize| rows.chunks_exact(width).map(|row| unpacked(row, output)).collect::<Vec<u16>>();
        let features = (0..self.outputs()).filter(|output| !self.labels.contain(*output));
        let features: Vec<Vec<u16>> = features.map(codes).collect();
        let labels = self.labels.map(|output| output.map(codes).unwrap_or_default());
        let rows = rows.len() / width;
        // A norm beside the codes.
        let bytes = rows * (2 * self.outputs() + 4);
        if self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limit {
            let block = Block::new(self.columns.clone(), features)
                .ok_or_else(|| io::Error::other("a block has other columns than its plan"))?;
            return Ok(Stored::Memory { block, labels });
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        let bytes = to_bytes(features.iter().chain(labels.each()));
        let mut file = lock(&self.file);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(SpillFile::create(&self.folder)?),
        };
        Ok(Stored::File { at: file.append_bytes(&bytes)?, rows })
    }
}

/// What one thread collected: by role, in the order of [`Role`].
#[derive(Default)]
pub(super) struct Collected {
    pub(super) parts: [Part; 2],
    pub(super) several: u64,
}

/// One thread's customers.
pub(super) struct Collector<'a> {
    collection: &'a Collection,
    /// Of each role the rows that do not make a block yet.
    waiting: [Vec<i64>; 2],
    collected: Collected,
    /// Bounding goes on when writing fails, and learns of it at the end.
    failed: Option<io::Error>,
}

impl Sink for Collector<'_> {
    fn customer<'c>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'c>> + Clone) {
        for cell in cells {
            if cell.rows != 1 {
                self.collected.several += 1;
                continue;
            }
            let role = self.collection.role(unit);
            let waiting = &mut self.waiting[role as usize];
            waiting.extend_from_slice(cell.sums);
            if waiting.len() >= self.collection.block_rows() * cell.sums.len() {
                self.store(role);
            }
        }
    }
}

impl Collector<'_> {
    /// What was collected, once all customers are there.
    pub(super) fn finish(mut self) -> io::Result<Collected> {
        self.store(Role::Training);
        self.store(Role::HeldOut);
        match self.failed {
            None => Ok(self.collected),
            Some(error) => Err(error),
        }
    }

    fn store(&mut self, role: Role) {
        let waiting = &mut self.waiting[role as usize];
        if waiting.is_empty() {
            return;
        }
        if self.failed.is_none() {
            match self.collection.store(waiting) {
                Ok(stored) => self.collected.parts[role as usize].push(stored),
                Err(error) => self.failed = Some(error),
            }
        }
        waiting.clear();
    }
}
