//! The alliance operator's server and command line.
//!
//! ```text
//! alliance, store, serving   the folder of an alliance: keys, database, whether it is being served
//! link                       QUIC: enrolment, nodes, operators
//! sessions, studies          who is connected; studies from submission to result
//! study, results             what a study kind's result is, and its files
//! scoring                    a local table's rows, scored by a model file
//! page                       the operator's page, on this machine alone
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

mod client;
#[expect(clippy::disallowed_macros, reason = "what is no result goes to stderr")]
pub mod commands;
mod coordinator;
mod hall;
mod invite;
mod link;
pub mod page;
pub mod results;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tables are files; scores go to stdout where no file is named"
)]
pub mod scoring;
mod seeds;
pub mod store;
mod studies;
pub mod study;
pub mod views;
mod witnessing;

pub use client::{Client, Update, check_study, run_study};
pub use coordinator::{Coordinator, Running, TakeUp};
pub use entente_host::Error;
pub use hall::alliance::{Alliance, DEFAULT_LISTEN, init};
pub use invite::{DEFAULT_EXPIRES, invite, parse_duration};
pub use seeds::{check_seeded, run_seeded};
