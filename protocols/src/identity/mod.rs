//! Who is who: identity keys, the roster that nodes pin, one-time tickets, and [who asks](petition) for a study.
//!
//! Each party has one Ed25519 **identity key**, made where it is used and never elsewhere. It signs what must hold
//! beyond a connection: ephemeral mask keys, transcripts, checkpoints. Connections have TLS keys of their own.
//! Every signature is over a label and a message, so that none can be used for another purpose; but for those of notes, whose form
//! is C2SP's ([`crate::ledger::note`] says why they cannot be confused either).

mod key;
pub mod petition;
mod roster;
mod ticket;

pub use key::{IdentityKey, PublicIdentity, Signature};
pub use roster::{Member, NameError, Roster, check_name};
pub use ticket::{Ticket, TicketError};
