//! A node's data: from rows to [`Bounded`](entente_protocols::privacy::bounds::Bounded) sums, streaming, in bounded
//! memory.
//!
//! ```text
//! [RowSource] ─▶ Scan ─▶ rows/: consent, columns as declared, filter, all expressions, on every row
//! files/         batches     │         entente_tables::{read, evaluate}
//!                            ├─▶ [pipeline] cells ([domain]), values ─▶ bounding/ ─▶ Clipping ─▶ Bounded
//!                            │                                                       (protocols)
//!                            └─▶ [features] codes ─▶ bounding/ ─▶ customers/ ─▶ Customers, to train on
//!                                entente_tables::codes                       └▶ Candidates ─▶ scores ─▶ audience/
//! ```
//!
//! The [`Engine`] knows of a source what [`RowSource`] says: another one is a folder beside `files/`, a name in
//! [`open_source`], and nothing else.
//!
//! What it promises:
//!
//! - **Opening finds every mistake that is the node's staff's to repair** ([`DataError`]). After that nothing in a row
//!   can stop a study, change its kind of answer or show in an error: reading, expressions and sums are total.
//! - The result does not depend on the order of rows, batches or threads. Values are put on the grid row by row and
//!   added as integers.
//! - **How much is computed does not depend on what rows hold**: a row that no filter keeps goes the same way as others, to
//!   no cell at its end.
//! - Memory stays within a limit, whatever the number of rows and customers; what does not fit goes to files without
//!   a name.

pub mod audience;
mod bounding;
mod consent;
mod customers;
mod dataset;
mod engine;
mod error;
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a source is files")]
mod files;
mod options;
mod pass;
mod preflight;
mod room;
mod rows;
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what does not fit into memory goes to files")]
mod spill;
mod unit;
mod workers;

#[cfg(test)]
mod tests;

pub use consent::predicate::Consent;
pub use customers::candidates::{BlockSpec, Candidates};
pub use customers::labels::Labels;
pub use customers::{Customers, Role, Split};
pub use dataset::{Dataset, open_source};
pub use engine::Engine;
pub use error::DataError;
pub use files::{Contents, Stamp, Stamped, TICK, stamped};
pub use options::Options;
pub use preflight::{ColumnReport, Finding, Report, Severity, check};
pub use room::Room;
pub use rows::{Batch, Batches, RowSource, Rows, Scan, ScanError};
pub use unit::{Pseudonyms, UnitKey};
pub use workers::Ending;
