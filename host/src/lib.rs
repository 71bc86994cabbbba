//! What a node and a coordinator share as programs on a machine: how they write files, open databases, dial each other,
//! talk to a terminal and end. Nothing here knows what a study is.
//!
//! - [`clock`]: how far two machines' clocks may differ;
//! - [`error`]: one error, refused or failed, and the exit code it means;
//! - [`files`]: files and folders that only their owner can read, written whole or not at all;
//! - [`link`]: frames over QUIC, and what every link's TLS has in common;
//! - [`locks`]: locks that survive a panic;
//! - [`pages`]: local, read-only pages;
//! - [`process`]: a command's arguments, log, stop signal and end;
//! - [`random`]: random bytes from the operating system;
//! - [`sqlite`]: durable, private databases;
//! - [`terminal`]: what is printed, and what must not reach a terminal.

pub mod clock;
pub mod error;
pub mod files;
pub mod link;
pub mod locks;
pub mod pages;
pub mod process;
pub mod random;
pub mod sqlite;
pub mod terminal;

pub use error::Error;
