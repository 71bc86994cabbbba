//! What the model's owner and a candidates' owner say to each other, sealed for each other ([`crate::secagg::channel`]).
//!
//! ```text
//! candidates' owner                       model's owner
//!   Hello                     ─────────▶
//!                             ◀─────────    Offered (commitment: names the session)
//!   Part (of the joint seed)  ─────────▶
//!                             ◀─────────    Weights (encrypted), for buckets with the name of an evaluation key
//!   Key, part by part, unless it is here already
//!                             ◀─────────    KeyPart
//!   Blocks, some at a time    ─────────▶
//!                             ◀─────────    Shares of the same blocks
//! ```
//!
//! Whatever comes again is answered again, with the same bytes: messages may be lost, repeated or overtaken on their way.

use super::buckets::message::{BucketRequest, EvaluationKey};
use super::message::{Commitment, MaskedBlock, Request, SeedPart, Share};

/// The most blocks in one message.
pub const BATCH: usize = 16;
/// The most messages with blocks whose shares a candidates' owner waits for at once.
pub const WINDOW: usize = 4;
/// The most sessions of one candidates' owner with a model's owner in one attempt: each has a key of its own and gives shares
/// of all blocks again, where one side has lost its state.
pub const SESSIONS: u32 = 4;
/// A limit for [`crate::canonical::from_canonical`]: no message is longer.
pub const LIMIT: usize = 0x40_0000;

/// The most bytes of an evaluation key in one message.
pub const KEY_PART: usize = 0x20_0000;
/// In how many parts an evaluation key comes: its canonical bytes, cut after every [`KEY_PART`].
pub const KEY_PARTS: u32 = EvaluationKey::LIMIT.div_ceil(KEY_PART) as u32;

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
    /// Asks for a part of the evaluation key.
    Key {
        /// The offer's.
        session: Commitment,
        /// Below [`KEY_PARTS`].
        part: u32,
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
        /// What is needed beside it where scores are put into buckets.
        buckets: Option<BucketRequest>,
    },
    /// A part of the evaluation key.
    KeyPart {
        /// Of this session.
        session: Commitment,
        /// Which.
        part: u32,
        /// The bytes.
        bytes: Vec<u8>,
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
