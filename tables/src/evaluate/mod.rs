//! The evaluator of plans: expressions over one row, computed over the columns of a batch.
//!
//! ```text
//! Expr ─▶ [Program]: steps, each once ─▶ columns of a batch ─▶ outputs, in the order in which they were added
//!         each a row of [kernels]
//! ```
//!
//! **Total.** An expression has a value or NULL on every row. Whole numbers wrap; floating point has neither NaN (it is NULL)
//! nor -0 (it is 0), so that comparing means what SQL says; text is a number out of [`Texts`](crate::texts::Texts).
//!
//! **The same work whatever the rows hold.** Every operand of every expression is computed on every row of a batch: AND and
//! OR both sides, CASE all conditions and all results. Nothing is skipped where it would not be used, no row has an effect
//! on another's value, and the number of values that are looked at follows from the program and the number of rows alone:
//! [`Program::run`] counts and returns it, for tests to compare on tables that differ in a row.

mod compute;
pub mod kernels;
mod operand;
mod program;

#[cfg(test)]
mod tests;

pub use program::{Program, Unfit};
