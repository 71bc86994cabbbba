//! Why connections are closed.

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

/// Closes one connection, whatever it is made of.
pub(crate) struct Closer(Box<Closing>);

type Closing = dyn Fn(Close, &str) + Send + Sync;

impl Closer {
    pub(crate) fn new(close: impl Fn(Close, &str) + Send + Sync + 'static) -> Self {
        Self(Box::new(close))
    }

    /// Closes it. Nothing happens if it is closed.
    pub(crate) fn close(&self, code: Close, reason: &str) {
        (self.0)(code, reason);
    }
}
