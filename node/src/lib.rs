//! A partner's node: its data, its policy, its ledger, and the execution of studies beside the data.
//!
//! ```text
//! link ──▶ participant ──▶ ledger (store)        what is answered, charged and stored
//!              │ │
//!              │ └──▶ works ──▶ data             what is computed, where the data are
//!              └────▶ dialogue   │               what is said to other participants, sealed
//!                                │
//! commands ──▶ activation ───────┘               what becomes of an audience, at this node alone
//!     ├──▶ asking ──▶ link                         studies that this partner asks for
//!     └──▶ roster                                with whom this node works, as a person decides
//! review ──▶ ledger (store)                      what a compliance officer sees
//! ```
//!
//! [`data`] knows nothing of the link, and the link nothing of the data: they meet in [`participant`] and [`works`] alone.

#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make files and wait"))]

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "an export of an audience is a file")]
pub mod activation;
pub mod alarms;
pub mod asking;
#[expect(clippy::disallowed_macros, reason = "what is not a result goes to stderr")]
pub mod commands;
pub mod config;
#[expect(clippy::disallowed_methods, reason = "what repeats waits by this machine's clock")]
mod daemon;
pub mod data;
pub mod dialogue;
pub mod grid;
pub mod identities;
#[expect(
    clippy::disallowed_methods,
    reason = "others are waited for by this machine's clock, and a node that enrols draws its key"
)]
pub mod link;
pub mod participant;
pub mod peers;
pub mod review;
pub mod roster;
pub mod sizes;
pub mod state;
pub mod store;
pub mod turn;
pub mod works;

pub use config::load;
pub use daemon::serve;
pub use state::SOFTWARE;
