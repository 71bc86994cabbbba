//! For tests and benches: parties in memory, and study files as they write them. Behind the feature `testing`, which products
//! never switch on.
//!
//! Nothing here opens another way to a release: a [`Party`] is put together from what every node uses, and its vectors go
//! through policy, ledger, noise, masks and outbox as a node's do.
//!
//! ```text
//! study("count").sql("SELECT …") ─▶ a study file ─▶ Study ─▶ Question ─▶ mechanism
//! Parties: pledge ─▶ sign ─▶ [policy ─▶ charge ─▶ noise ─▶ mask ─▶ store], each ─▶ what the coordinator decodes
//! ```

mod party;
mod study;

pub use party::{DATASET, NOW, Parties, Party, agreed, alliance, approved, attempt, charge, encapsulations, request};
pub use study::{Draft, lookalike, study};
