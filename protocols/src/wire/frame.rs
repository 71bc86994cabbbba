//! Frames: how messages follow one another on a stream.
//!
//! ```text
//! kind: u8 | version: u8 | zero: u16 | length: u32, little-endian | payload
//! ```
//!
//! Each kind has a limit on its length, checked when the eight bytes of the header are there and before anything is
//! allocated; the payload's memory grows with what really arrives.

use super::message::{Contribution, FromNode, FromOperator, FromRequester, ToNode, ToOperator};
use crate::attempt::AttemptId;
use crate::canonical::{MAX_CANONICAL, Malformed, canonical_bytes, from_canonical};
use crate::ledger::Outbound;

/// The version of the protocol that this code speaks.
pub const VERSION: u8 = 5;
const HEADER: usize = 8;

/// A message that frames carry: its kind and limit.
pub trait Message: bincode::Encode + bincode::Decode<()> {
    /// Tells kinds of messages apart.
    const KIND: u8;
    /// The longest payload, in bytes.
    const LIMIT: usize;
}

macro_rules! message {
    ($type:ty, $kind:literal, $limit:expr) => {
        impl Message for $type {
            const KIND: u8 = $kind;
            const LIMIT: usize = $limit;
        }
    };
}

// With a whole model file.
message!(ToNode, 1, 0x100_0000);
message!(FromNode, 2, 0x40_0000);
message!(FromOperator, 4, 0x40_0000);
message!(ToOperator, 5, MAX_CANONICAL);
message!(super::message::Enrol, 6, 0x1_0000);
message!(super::message::Enrolled, 7, 0x40_0000);
message!(FromRequester, 8, 0x40_0000);

const CONTRIBUTION: u8 = 3;
const CONTRIBUTION_LIMIT: usize = MAX_CANONICAL;

fn limit(kind: u8) -> Option<usize> {
    let limits = [
        (ToNode::KIND, ToNode::LIMIT),
        (FromNode::KIND, FromNode::LIMIT),
        (CONTRIBUTION, CONTRIBUTION_LIMIT),
        (FromOperator::KIND, FromOperator::LIMIT),
        (ToOperator::KIND, ToOperator::LIMIT),
        (super::message::Enrol::KIND, super::message::Enrol::LIMIT),
        (super::message::Enrolled::KIND, super::message::Enrolled::LIMIT),
        (FromRequester::KIND, FromRequester::LIMIT),
    ];
    limits.iter().find(|(known, _)| *known == kind).map(|(_, limit)| *limit)
}

/// A message as a frame.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    frame(M::KIND, &[&canonical_bytes(message)])
}

/// The frame that carries a contribution: there is no way to make one but from what the ledger's outbox holds.
pub fn encode_contribution(attempt: &AttemptId, round: u32, outbound: &Outbound) -> Vec<u8> {
    frame(CONTRIBUTION, &[&canonical_bytes(&(attempt, round)), outbound.bytes()])
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let claimed =
        u32::try_from(length).expect("messages are far shorter than 4 GiB: their limits bound what they are made from");
    let mut bytes = Vec::with_capacity(HEADER + length);
    bytes.extend([kind, VERSION, 0, 0]);
    bytes.extend(claimed.to_le_bytes());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// A frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: u8,
    payload: Vec<u8>,
}

impl Frame {
    /// The message in it, if it is one of this kind.
    pub fn decode<M: Message>(&self) -> Result<M, Malformed> {
        if self.kind != M::KIND {
            return Err(Malformed);
        }
        from_canonical(&self.payload, M::LIMIT)
    }

    /// How many bytes its message has.
    pub fn size(&self) -> usize {
        self.payload.len()
    }

    /// Whether it carries a contribution.
    pub fn is_contribution(&self) -> bool {
        self.kind == CONTRIBUTION
    }

    /// The contribution in it.
    pub fn decode_contribution(&self) -> Result<Contribution, Malformed> {
        if self.kind != CONTRIBUTION {
            return Err(Malformed);
        }
        from_canonical(&self.payload, CONTRIBUTION_LIMIT)
    }
}

/// Why a stream of bytes is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The other side speaks another version.
    #[error(
        "the two sides speak versions {0} and {VERSION} of the protocol; update the older one (`--version` says which that is)"
    )]
    Version(u8),
    /// No such kind, or not one that is expected here.
    #[error("the other side sent something that is not a message")]
    Kind,
    /// A length over the kind's limit.
    #[error("the other side announced a message that is longer than allowed")]
    TooLong,
}

/// Cuts a stream of bytes into frames. Sans I/O: feed it bytes, take frames.
///
/// It accepts only the kinds it was made for, so that a peer cannot make it buffer what it would not use.
pub struct FrameReader {
    kinds: &'static [u8],
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// For what nodes send.
    pub fn from_nodes() -> Self {
        Self::new(&[2, 3])
    }

    /// For what the coordinator sends to nodes.
    pub fn to_nodes() -> Self {
        Self::new(&[1])
    }

    /// For what operators send.
    pub fn from_operators() -> Self {
        Self::new(&[4])
    }

    /// For what partners send that ask for studies.
    pub fn from_requesters() -> Self {
        Self::new(&[8])
    }

    /// For what the coordinator sends to operators, and to partners that ask for studies.
    pub fn to_operators() -> Self {
        Self::new(&[5])
    }

    /// For enrolment, both ways.
    pub fn enrolment() -> Self {
        Self::new(&[6, 7])
    }

    fn new(kinds: &'static [u8]) -> Self {
        Self { kinds, buffer: Vec::new(), start: 0 }
    }

    /// Takes bytes from the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, rest)) = self.buffer[self.start..].split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, version, _, _, length @ ..] = *header;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let limit = limit(kind).filter(|_| self.kinds.contains(&kind)).ok_or(FrameError::Kind)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > limit {
            return Err(FrameError::TooLong);
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame { kind, payload: payload.to_vec() };
        self.start += HEADER + length;
        // Moves what is left to the front once that is cheap.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::message::FromAttempt;

    fn refused(attempt: u32, reason: &str) -> FromNode {
        FromNode::Attempt(AttemptId::new("s", attempt), FromAttempt::Refused { reason: reason.into() })
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let messages: Vec<_> = (0..20).map(|i| refused(i, &"x".repeat(i as usize * 37))).collect();
        let stream: Vec<u8> = messages.iter().flat_map(encode).collect();
        for piece in [1, 7, 8, 9, 100, stream.len()] {
            let mut reader = FrameReader::from_nodes();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                reader.feed(bytes);
                while let Some(frame) = reader.next_frame().unwrap() {
                    found.push(frame.decode::<FromNode>().unwrap());
                }
            }
            assert_eq!(found, messages);
        }
    }

    #[test]
    fn hostile_headers_are_refused_before_anything_is_allocated() {
        let header = |kind, version, length: u32| {
            let mut reader = FrameReader::from_nodes();
            reader.feed(&[&[kind, version, 0, 0][..], &length.to_le_bytes()].concat());
            let result = reader.next_frame();
            assert!(reader.buffer.capacity() < 1024);
            result
        };
        assert_eq!(header(2, VERSION, u32::MAX), Err(FrameError::TooLong));
        assert_eq!(header(3, VERSION, u32::MAX), Err(FrameError::TooLong));
        assert_eq!(header(1, VERSION, 0), Err(FrameError::Kind), "not for this side");
        assert_eq!(header(99, VERSION, 0), Err(FrameError::Kind));
        assert_eq!(header(2, 9, 0), Err(FrameError::Version(9)));
        assert_eq!(header(2, VERSION, 5), Ok(None));
    }

    #[test]
    fn hostile_payloads_are_refused_within_the_limit() {
        // A vector that claims 2^63 elements, and one that claims more than is there.
        for claimed in [1u64 << 63, 1 << 20] {
            let mut payload = canonical_bytes(&("s".to_owned(), 1u32));
            payload.extend([0; 32]);
            payload.extend(claimed.to_le_bytes());
            assert_eq!(Frame { kind: CONTRIBUTION, payload }.decode_contribution(), Err(Malformed));
        }
        let mut trailing = encode(&refused(1, "r"));
        trailing.push(0);
        let payload = trailing[HEADER..].to_vec();
        assert_eq!(Frame { kind: 2, payload }.decode::<FromNode>(), Err(Malformed), "trailing bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(kind in 0u8..10, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let frame = Frame { kind, payload };
            let _ = frame.decode::<ToNode>();
            let _ = frame.decode::<FromNode>();
            let _ = frame.decode::<ToOperator>();
            let _ = frame.decode::<FromOperator>();
            let _ = frame.decode::<FromRequester>();
            let _ = frame.decode_contribution();
        }
    }
}
