//! What result folders are made of, whatever a study's kind: files in memory.
//!
//! ```text
//! header, table     what a result says
//! json, csv, columnar, page, rows, chart     the forms that it is written in
//! ```
//!
//! Everything here is a pure function of a release and of public facts, so it costs nothing. `result.json`, the CSV and
//! the Parquet file hold numbers as they were released; the report and terminals round them to what their intervals
//! support.
//!
//! The receipt beside them names all of them: [`entente_protocols::ledger::receipt`].

pub(crate) mod chart;
pub(crate) mod columnar;
pub(crate) mod csv;
pub mod header;
pub(crate) mod json;
pub mod number;
pub(crate) mod page;
pub(crate) mod rows;
pub mod table;

/// The machine-readable result.
pub const RESULT: &str = "result.json";
/// The page for people.
pub const REPORT: &str = "report.html";

#[cfg(test)]
mod tests;
