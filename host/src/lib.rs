//! What a node and a coordinator share as programs on a machine: how they write files, open databases, dial each other,
//! talk to a terminal and end. Nothing here knows how a study is run.
//!
//! - [`clock`]: the time, and how far two machines' clocks may differ;
//! - [`csv`]: tables as files;
//! - [`error`]: one error, refused or failed, and the exit code it means;
//! - [`files`]: files and folders that only their owner can read, written whole or not at all;
//! - [`link`]: frames over QUIC, and what every link's TLS has in common;
//! - [`locks`]: locks that survive a panic;
//! - [`pages`]: local, read-only pages;
//! - [`process`]: a command's arguments, log, stop signal and end;
//! - [`random`]: random bytes from the operating system;
//! - [`results`]: the folder that a result is written to;
//! - [`sqlite`]: durable, private databases;
//! - [`terminal`]: what is printed, and what must not reach a terminal.

#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make files and wait"))]

#[expect(clippy::disallowed_methods, reason = "the clock is read here")]
pub mod clock;
pub mod csv;
pub mod error;
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "files are written here")]
pub mod files;
#[expect(clippy::disallowed_methods, reason = "others are waited for by this machine's clock")]
pub mod link;
pub mod locks;
pub mod pages;
#[expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "logs and last words go to stderr")]
pub mod process;
#[expect(clippy::disallowed_methods, reason = "secrets are drawn here")]
pub mod random;
#[expect(clippy::disallowed_methods, reason = "a result is a folder")]
pub mod results;
pub mod sqlite;
#[expect(clippy::disallowed_methods, reason = "results go to stdout, and people answer on stdin")]
pub mod terminal;

pub use error::Error;
