//! The alliance operator's server and command line.
//!
//! ```text
//! hall, store           the folder of an alliance, its database, who is connected: what all else stands on
//! results, kinds        what results are made of; what is made of each kind of study
//! scheduler             studies from submission to result
//! office                what nodes, operators and those who join ask
//! link                  QUIC: who connects, and plain frames
//! stepped               all of it without connections and tasks, for whoever carries frames and tells the time
//! page                  the operator's page, on this machine alone
//! rehearsal             queries over invented rows
//! scoring               a local table's rows, scored by a model file
//! tables                what is known and what came out, for terminals
//! client, seeds, commands    the operator's side
//! ```
//!
//! The binary `entente` is a thin layer over this library:
//!
//! ```no_run
//! # async fn example() -> Result<(), entente::Error> {
//! use std::path::Path;
//! let dir = Path::new("alliance");
//! entente::init(dir, "spring", "127.0.0.1:4433", None)?;
//! let ticket = entente::invite(dir, "bank", entente::DEFAULT_EXPIRES)?;
//! let running = entente::Coordinator::start(dir).await?;
//! println!("{} joins with {ticket}", ticket.partner);
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make files and wait"))]

#[expect(clippy::disallowed_methods, reason = "a command waits for the coordinator by this machine's clock")]
mod client;
#[expect(clippy::disallowed_macros, reason = "what is not a result goes to stderr")]
pub mod commands;
mod coordinator;
mod hall;
mod invite;
pub mod kinds;
#[expect(clippy::disallowed_methods, reason = "others are waited for by this machine's clock")]
mod link;
mod office;
pub mod page;
mod rehearsal;
pub mod results;
mod scheduler;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tables are files; scores go to stdout where no file is named"
)]
pub mod scoring;
mod seeds;
pub mod stepped;
pub mod store;
mod tables;
pub mod views;

pub use client::{Client, Update, check_study, rehearse_study, run_study};
pub use coordinator::{Coordinator, Running, TakeUp};
pub use entente_host::Error;
pub use hall::alliance::{Alliance, DEFAULT_LISTEN, init};
pub use invite::{DEFAULT_EXPIRES, invite, parse_duration};
pub use seeds::{check_seeded, run_seeded};
