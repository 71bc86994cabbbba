//! Where rows come from, and the waist that all of them pass on their way to bounding.
//!
//! ```text
//! RowSource ─▶ stored columns, in batches ─▶ [input] on every row ─▶ [pipeline], [features] ─▶ Rows ─▶ bounding
//!     └──────▶ sums of a customer in a cell, of a source that adds up by itself ────────────────▲
//! ```
//!
//! A source is trusted with the rows of its own node's customers, and with nothing else: whatever it gives, each customer
//! is bounded here, by one operator.

pub(super) mod domain;
pub(super) mod features;
pub(super) mod input;
pub(super) mod pipeline;

use std::fmt::Debug;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::language::sums::SumsPlan;

use super::consent::predicate::Consent;
use super::files::identity::Stamp;

/// What the rows of a data set are read from: files, or a database.
///
/// Opening one finds everything that is the node's staff's to repair. What fails after that may depend on a customer's
/// row, and is a [`ScanError`], which does not leave the node. All calls may block; they come from threads that are made
/// for that and run none of the node's asynchronous tasks.
pub trait RowSource: Debug + Send + Sync {
    /// The columns as stored.
    fn columns(&self) -> &SchemaRef;

    /// Where the rows are, in words for the node's own staff: "3 files".
    fn place(&self) -> String;

    /// About how many rows there are, as far as that can be told by looking at little of them.
    fn about(&self) -> u64;

    /// What identifies the rows as they were when the source was opened: of equal identity, the same question has the same answer.
    /// `known` finds the contents of a file by its stamp, where they are known; nothing is read here. `None` where it is not known,
    /// and from a source that cannot tell: then no answer is stored to be given again.
    fn identity(&self, known: &dyn Fn(&Stamp) -> Option<Digest>) -> Option<Digest>;

    /// Whether the rows may have changed since the source was opened, as far as can be told without reading them.
    fn has_changed(&self) -> bool;

    /// Begins to read these columns of every row. `schema` says what is declared of them, by which a form may be chosen
    /// that is quicker to read: a dictionary for a category.
    ///
    /// What is read, and how long that takes, must not depend on what rows hold.
    fn read(&self, columns: &[String], schema: &DatasetSchema) -> Result<Box<dyn Scan<Batch> + '_>, ScanError>;

    /// Begins to add up the rows of each customer in each cell of a plan, of rows that the predicate allows: integer for
    /// integer what the node gives by itself, in [`Rows`] with counts. `None` from a source that leaves this to the node.
    ///
    /// The same customer and cell may come in several pieces, which add up.
    fn sums(
        &self,
        _plan: &SumsPlan,
        _consent: Option<&Consent>,
    ) -> Result<Option<Box<dyn Scan<Rows> + '_>>, ScanError> {
        Ok(None)
    }
}

/// A pass over a source, from which several threads take batches until there are no more.
pub trait Scan<T>: Sync {
    /// The batches that one thread takes. Together those of all threads are the whole, each row once.
    ///
    /// After an error the pass is over, and nothing comes of it. Whoever waits long for others should give an empty batch
    /// now and then: in between it is found out whether anybody still waits for the result.
    fn batches(&self) -> Batches<'_, T>;

    /// Records that were not well formed, of those that were read so far.
    fn malformed(&self) -> u64 {
        0
    }
}

/// The batches of one thread.
pub type Batches<'a, T> = Box<dyn Iterator<Item = Result<T, ScanError>> + 'a>;

/// Some rows, column by column in the order that was asked for; all columns have the same length.
pub type Batch = Vec<ArrayRef>;

/// What ends a pass before its end; for the node's log only.
pub type ScanError = Box<dyn std::error::Error + Send + Sync>;

/// Rows on their way to bounding.
#[derive(Clone)]
pub struct Rows {
    /// The privacy unit as stored.
    pub unit: ArrayRef,
    /// The cell, or `u32::MAX` for a row that is in none.
    pub cells: Vec<u32>,
    /// How many rows of the table each stands for; `None` where each is one.
    pub counts: Option<Vec<i64>>,
    /// The values of each component that has them, on the grid; where there are counts, the sums over that many rows.
    pub values: Vec<Vec<i64>>,
}
