//! Why connections are closed.

use quinn::VarInt;

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
