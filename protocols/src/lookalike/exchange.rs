//! What the model's owner and a candidates' owner say to each other, sealed for each other ([`crate::secagg::channel`]).
//!
//! ```text
//! candidates' owner                       model's owner
//!   Hello                     ─────────▶
//!                             ◀─────────    Offered (commitment: names the session)
//!   Part (of the joint seed)  ─────────▶
//!                             ◀─────────    Weights (encrypted)
//!   Blocks, some at a time    ─────────▶
//!                             ◀─────────    Shares of the same blocks
//! ```
//!
//! Whatever comes again is answered again, with the same bytes: messages may be lost, repeated or overtaken on their way.

use super::message::{Commitment, MaskedBlock, Request, SeedPart, Share};

/// The most blocks in one message.
pub const BATCH: usize = 16;
/// The most messages with blocks whose shares a candidates' owner waits for at once.
pub const WINDOW: usize = 4;
/// A limit for [`crate::wire::from_canonical`]: no message is longer.
pub const LIMIT: usize = 0x40_0000;

/// From a candidates' owner.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ToModelOwner {
    /// Begins a session, or asks for its offer again.
    Hello {
        /// Another number is another session.
        session: u32,
    },
    /// The answer to an offer.
    Part {
        /// The offer's.
        session: Commitment,
        /// The part of the joint seed.
        contribution: SeedPart,
    },
    /// Blocks to be answered.
    Blocks {
        /// The offer's.
        session: Commitment,
        /// At most [`BATCH`].
        blocks: Vec<MaskedBlock>,
    },
}

/// From the model's owner.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ToCandidatesOwner {
    /// A session.
    Offered {
        /// The hello's.
        session: u32,
        /// What the owner commits to; it names the session from now on.
        commitment: Commitment,
    },
    /// The encrypted weights.
    Weights {
        /// Of this session.
        session: Commitment,
        /// The weights.
        request: Request,
        /// A unit of scores is 2^−bits of a unit of log-odds.
        bits: i32,
    },
    /// The shares of some blocks.
    Shares {
        /// Of this session.
        session: Commitment,
        /// In the order of the blocks.
        shares: Vec<Share>,
    },
    /// There is no such session: this node has started anew. Begin another.
    Unknown {
        /// The session.
        session: Commitment,
    },
    /// No, and why: by public facts and policy.
    Refused(String),
}
