//! What the local, read-only pages of nodes and coordinators have in common: who may see them ([`access`]), what every answer says to
//! browsers ([`serve`]), metrics ([`metrics`]), one look ([`look`]), and where a daemon serves its page ([`page`]).
//!
//! A page listens on loopback alone, answers GET and nothing else but the form of its login, has no script, and takes nothing from
//! elsewhere.

#[expect(clippy::disallowed_methods, reason = "a token is a file")]
pub mod access;
pub mod look;
pub mod metrics;
pub mod page;
#[expect(clippy::disallowed_types, reason = "a page listens")]
pub mod serve;

pub use access::Access;
pub use page::{Page, read};
pub use serve::{Bound, bind};
