//! The privacy-budget ledger: what was ever spent, on what, for whom, and whether anybody changed it since.
//!
//! ```text
//! Approved ─▶ Ledger::reserve ─▶ Reservation ─draw─▶ Permit … Masked ─▶ Ledger::computed ─▶ Outbound
//!             RESERVED, durable                                          COMPUTED, bytes stored     │ wire
//!                                                        Ledger::released  ◀── the result is known ─┘
//!                                                        RELEASED
//! ```
//!
//! Entries are append-only; each holds the hash of the one before. The charge is durable before a row is read and
//! is never taken back. A crash before COMPUTED recomputes under the same charge, as nothing has left; after it,
//! the stored bytes are sent again and again, never recomputed. Before a node commits itself to an attempt, what that may cost is
//! set aside ([`Ledger::earmark`]), so that no charge is refused when others are charged already.
//!
//! - [`entry`]: what an entry says; [`office`]: what officers record; [`absence`]: which witnesses are away; [`line`](mod@line): its text form and hash;
//! - [`store`]: where entries are kept: a trait, an implementation in memory, and the contract both must keep;
//! - [`carry`]: how accounts of data sets, in older ledgers, become accounts of populations;
//! - `years`, `allowance`: accounts of years, and what two officers add to a cap in one;
//! - [`chain`]: how an entry follows from those before it;
//! - [`tree`], [`note`], [`checkpoint`]: what a node states of its whole ledger, in the forms of transparency logs;
//! - [`witness`]: who keeps and cosigns that; [`quorum`](mod@quorum): how many are enough; [`reading`]: what they hold, for who has started;
//! - [`receipt`]: what came of a study, signed by all;
//! - [`rules`]: what decides what leaves, and which changes of it take officers;
//! - [`report`]: what a verification finds;
//! - [`verify`]: checks an export, offline and without trust in who wrote it; [`recompute`] its numbers; [`outside`] what others say of
//!   it; [`cross`] several against each other.

pub mod absence;
pub mod carry;
pub mod chain;
pub mod checkpoint;
pub mod cross;
pub mod entry;
pub mod line;
pub mod note;
pub mod office;
pub mod outside;
pub mod quorum;
pub mod reading;
pub mod receipt;
pub mod recompute;
pub mod report;
pub mod rules;
pub mod store;
pub mod tree;
pub mod verify;
pub mod witness;

mod account;
mod allowance;
mod confirm;
mod earmarks;
mod error;

mod index;
#[expect(clippy::module_inception, reason = "the ledger itself, among its parts")]
mod ledger;
mod officers;
mod outbox;
mod permit;
mod populations;
mod quarantine;
mod quotas;
mod read;
mod recent;
mod requesters;
mod years;

pub use account::{
    AccountKey, Budgets, Caps, OverCap, Spent, Standing, YearKey, is_dataset_name, is_population_name, population_of,
};
pub use chain::Chain;
pub use checkpoint::{Checkpoint, Signer};
pub use earmarks::SetAside;
pub use entry::{Entry, Head, State, YearAccount, YearCharges};
pub use error::LedgerError;
pub use ledger::{EarlyRefusal, Ledger};
pub use officers::{Act, Outcome};
pub(crate) use outbox::sealed;
pub use outbox::{Outbound, Protected};
pub use permit::{Begin, Permit, Reservation};
pub use quotas::Quota;

#[cfg(test)]
mod tests;
