//! What a node and a coordinator share as programs that run on somebody's machine.
//!
//! - [`pages`]: local, read-only pages.

pub mod pages;
