//! The language that studies of every kind ask in, parsed once into typed, total plans.
//!
//! ```text
//! SQL + schema ─▶ sql ─▶ Expr (filters, keys, values of one row) ─▶ sums: bounded sums over groups
//!                                                                └▶ rows: one row a customer
//! ```
//!
//! Nothing here knows which study kind asks.

pub mod event;
pub mod expr;
mod normal;
pub mod rows;
pub mod schema;
pub mod sql;
pub mod sums;
