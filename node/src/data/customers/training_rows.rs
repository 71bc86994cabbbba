//! The rows of a training: from bounding, who has one row is kept, and put among those to train on or to be held out.

use std::hash::Hasher;
use std::io;

use entente_protocols::privacy::bounds::CustomerCell;
use entente_protocols::privacy::rows::Column;
use siphasher::sip::SipHasher13;

use super::blocks::Blocks;
use super::{Customers, Part, Role, Split};
use crate::data::bounding::Sink;
use crate::data::options::Options;

/// Rows of a block, of a plan that is not wide: rounds have a fixed cost a block, and go over its codes twice, for which a
/// block of 50 features stays in a cache.
const BLOCK_ROWS: usize = 8 << 10;
/// Most codes of a block, however wide the plan.
const BLOCK_CODES: usize = 1 << 20;

/// Where all threads put the rows of a training.
pub(crate) struct TrainingRows {
    blocks: Blocks,
    split: Split,
    key: [u8; 16],
}

impl TrainingRows {
    /// Nobody yet. `columns` are the meanings of all outputs that are features.
    pub(crate) fn new(columns: Vec<Column>, split: Split, options: &Options) -> Self {
        Self { blocks: Blocks::new(columns, split.labels(), options), split, key: options.key.holdout() }
    }

    /// A place for one thread to put customers.
    pub(crate) fn sink(&self) -> TrainingSink<'_> {
        TrainingSink { rows: self, waiting: [Vec::new(), Vec::new()], found: TrainingPart::default(), failed: None }
    }

    /// All customers, and how many were left out because they have several rows.
    pub(crate) fn finish(self, found: impl IntoIterator<Item = TrainingPart>) -> (Customers, u64) {
        let mut all = TrainingPart::default();
        for TrainingPart { parts, several } in found {
            for (all, part) in all.parts.iter_mut().zip(parts) {
                all.blocks.extend(part.blocks);
                all.rows += part.rows;
            }
            all.several += several;
        }
        (self.blocks.finish(all.parts), all.several)
    }

    fn block_rows(&self) -> usize {
        (BLOCK_CODES / self.blocks.outputs()).clamp(64, BLOCK_ROWS)
    }

    /// Depends on the seed and the customer alone, and only the node can compute it.
    fn role(&self, unit: u128) -> Role {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&self.split.seed.to_le_bytes());
        hasher.write(&unit.to_le_bytes());
        let share = (u128::from(hasher.finish()) * 1_000_000) >> 64;
        if share < u128::from(self.split.holdout) { Role::HeldOut } else { Role::Training }
    }
}

/// What one thread found.
#[derive(Default)]
pub(crate) struct TrainingPart {
    /// In the order of [`Role`].
    parts: [Part; 2],
    several: u64,
}

/// One thread's rows.
pub(crate) struct TrainingSink<'a> {
    rows: &'a TrainingRows,
    /// Of each role the rows that do not make a block yet.
    waiting: [Vec<i64>; 2],
    found: TrainingPart,
    /// Bounding goes on when writing fails, and learns of it at the end.
    failed: Option<io::Error>,
}

impl Sink for TrainingSink<'_> {
    fn customer<'c>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'c>> + Clone) {
        for cell in cells {
            if cell.rows != 1 {
                self.found.several += 1;
                continue;
            }
            let role = self.rows.role(unit);
            let waiting = &mut self.waiting[role as usize];
            waiting.extend_from_slice(cell.sums);
            if waiting.len() >= self.rows.block_rows() * cell.sums.len() {
                self.store(role);
            }
        }
    }
}

impl TrainingSink<'_> {
    /// What was found, once all customers are there.
    pub(crate) fn finish(mut self) -> io::Result<TrainingPart> {
        self.store(Role::Training);
        self.store(Role::HeldOut);
        match self.failed {
            None => Ok(self.found),
            Some(error) => Err(error),
        }
    }

    fn store(&mut self, role: Role) {
        let waiting = &mut self.waiting[role as usize];
        if waiting.is_empty() {
            return;
        }
        if self.failed.is_none() {
            match self.rows.blocks.store(waiting) {
                Ok(stored) => self.found.parts[role as usize].push(stored),
                Err(error) => self.failed = Some(error),
            }
        }
        waiting.clear();
    }
}
