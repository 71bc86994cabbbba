//! Candidates: the rows of a features query, one a customer, each with its customer, in blocks of one size.
//!
//! ```text
//! Scan ─▶ [features] codes ─▶ Bounding ─▶ one row? in the cap? ─▶ full blocks, threads' remainders merged ─▶ scoring
//! ```
//!
//! How they come into blocks, and which of them do under a cap: [`candidate_rows`](super::candidate_rows).

use std::path::PathBuf;
use std::sync::Arc;

use entente_protocols::privacy::rows::{Block, Column};

use super::labels::Labels;
use super::{Customers, Role};
use crate::data::error::DataError;

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
    pub(crate) fn labels(&self) -> Labels<Option<usize>> {
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

/// The role that all candidates have where roles are kept apart: the first.
const ROLE: Role = Role::Training;

impl Candidates {
    /// All of one role, whose blocks' rows are these customers.
    pub(crate) fn new(customers: Customers, units: Vec<Vec<u128>>, several_rows: u64, over_cap: u64) -> Self {
        Self { customers, units, several_rows, over_cap }
    }

    /// Nobody, of whom blocks would have these columns.
    pub fn nobody(columns: Arc<[Column]>) -> Self {
        let customers = Customers::new(columns, Labels::default(), Default::default(), None, PathBuf::new());
        Self::new(customers, Vec::new(), 0, 0)
    }

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

#[cfg(test)]
mod tests;
