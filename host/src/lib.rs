//! What a node and a coordinator share as programs that run on somebody's machine.
//!
//! - [`clock`]: clocks of two machines;
//! - [`error`]: how things end, and whose fault it is;
//! - [`files`]: files and folders that only their owner can read, written whole or not at all;
//! - [`link`]: frames over QUIC, and what every link's TLS has in common;
//! - [`locks`]: locks that one panic does not close for good;
//! - [`pages`]: local, read-only pages;
//! - [`process`]: the life of a command;
//! - [`random`]: random bytes;
//! - [`sqlite`]: databases;
//! - [`terminal`]: what people see of a command.

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
