//! What a node and a coordinator share as programs that run on somebody's machine.
//!
//! - [`error`]: how things end, and whose fault it is;
//! - [`locks`]: locks that one panic does not close for good;
//! - [`pages`]: local, read-only pages.

pub mod error;
pub mod locks;
pub mod pages;

pub use error::Error;
