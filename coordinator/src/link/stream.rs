//! Frames over a QUIC stream.

use std::time::Duration;

use entente_protocols::canonical::Malformed;
use entente_protocols::wire::frame::{Frame, FrameError, FrameReader};
use quinn::{ReadError, RecvStream, VarInt};

/// Why a connection is closed, for its other end. The reason goes along in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Close {
    /// Said all that was to be said.
    Done = 0,
    /// No certificate, or one that is not let in.
    NotAllowed = 1,
    /// Sent something that is no message, or not the one expected.
    Protocol = 2,
    /// The same node has connected anew.
    Replaced = 3,
    /// The certificate was revoked.
    Revoked = 4,
    /// The coordinator stops; come again.
    Stopping = 5,
    /// Too slow, or too many; come again.
    Busy = 6,
}

pub(crate) fn close(connection: &quinn::Connection, code: Close, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
}

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection was lost: {0}")]
    Lost(#[from] ReadError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("nothing came in {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the stream ended early")]
    Ended,
}

/// The frames of a stream, one by one.
pub(crate) struct Frames {
    stream: RecvStream,
    reader: FrameReader,
    buffer: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(stream: RecvStream, reader: FrameReader) -> Self {
        Self { stream, reader, buffer: vec![0; 64 << 10] }
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut self.buffer).await? {
                Some(count) => self.reader.feed(&self.buffer[..count]),
                None => return Ok(None),
            }
        }
    }

    /// The next frame, which must come within `limit`.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Result<Frame, LinkError> {
        let next = tokio::time::timeout(limit, self.next()).await.map_err(|_| LinkError::Slow(limit))?;
        next?.ok_or(LinkError::Ended)
    }
}
