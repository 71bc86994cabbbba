//! Links between two machines: QUIC, with certificates on both sides ([`tls`]), and frames over one of its streams.
//!
//! ```text
//! dial ─▶ connection ─▶ stream ─▶ Frames ─▶ frames, one by one
//!                              ◀─ send  ◀─
//! ```
//!
//! Nothing here knows what is said: which frames are accepted is up to the [`FrameReader`], and who is trusted to the
//! TLS configuration.

pub mod tls;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use entente_protocols::canonical::Malformed;
use entente_protocols::wire::frame::{Frame, FrameError, FrameReader};
use quinn::{
    ConnectError, ConnectionError, IdleTimeout, ReadError, RecvStream, SendStream, TransportConfig, WriteError,
};

/// The longest piece that is taken from a stream at once.
const PIECE: usize = 1 << 20;
/// How long it may take to send that the connection is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a link is given up.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection could not be made, or was lost.
    #[error("{0}")]
    Connection(String),
    /// The other side does not speak this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that holds no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It took too long.
    #[error("nothing came in {} s", .0.as_secs())]
    Slow(Duration),
    /// The other side ended the stream before it had said what is expected.
    #[error("the stream ended early")]
    Ended,
}

impl From<ConnectError> for LinkError {
    fn from(error: ConnectError) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            // What ended the connection says more than that it has ended.
            ReadError::ConnectionLost(error) => error.into(),
            error => Self::Connection(error.to_string()),
        }
    }
}

impl From<WriteError> for LinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            error => Self::Connection(error.to_string()),
        }
    }
}

/// The frames of a stream, one by one.
pub struct Frames {
    stream: RecvStream,
    reader: FrameReader,
}

impl Frames {
    /// The frames that `reader` accepts.
    pub fn new(stream: RecvStream, reader: FrameReader) -> Self {
        Self { stream, reader }
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or what comes is not a frame.
    pub async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(PIECE, true).await? {
                Some(chunk) => self.reader.feed(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next frame, which must come within `limit`.
    ///
    /// # Errors
    ///
    /// If no frame comes in time, or the stream ends.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Frame, LinkError> {
        let next = tokio::time::timeout(limit, self.next()).await.map_err(|_| LinkError::Slow(limit))?;
        next?.ok_or(LinkError::Ended)
    }
}

/// Writes a frame.
///
/// # Errors
///
/// If the connection is lost.
pub async fn send(stream: &mut SendStream, frame: &[u8]) -> Result<(), LinkError> {
    Ok(stream.write_all(frame).await?)
}

/// A connection that this side has opened, from a port of its own.
pub struct Dialled {
    connection: quinn::Connection,
}

/// Connects to `remote`, which has to show a certificate for `name`.
///
/// # Errors
///
/// If it does not answer, or its certificate is not trusted.
pub async fn dial(config: quinn::ClientConfig, remote: SocketAddr, name: &str) -> Result<Dialled, LinkError> {
    let local: SocketAddr = match (remote.is_ipv4(), remote.ip().is_loopback()) {
        (true, true) => (Ipv4Addr::LOCALHOST, 0).into(),
        (true, false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        (false, true) => (Ipv6Addr::LOCALHOST, 0).into(),
        (false, false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(local)
        .map_err(|error| LinkError::Connection(format!("no UDP socket could be opened: {error}")))?;
    let connection = endpoint.connect_with(config, remote, name)?.await?;
    Ok(Dialled { connection })
}

impl Dialled {
    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Closes it without an error, and waits until that has been sent. Waiting until QUIC forgets the connection, three times its
    /// probe timeout, would take longer than most of what is asked; if what was sent is lost, the other side gives up by itself.
    pub async fn end(self) {
        let sent = || self.connection.stats().udp_tx.datagrams;
        let before = sent();
        self.connection.close(0u8.into(), b"");
        let goodbye = async {
            while sent() == before
                && matches!(self.connection.close_reason(), Some(quinn::ConnectionError::LocallyClosed))
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}

/// Transport settings: kept alive every 5 seconds, given up after 20 without a sign of life. The other side may open no
/// streams and send no datagrams; who expects streams sets more.
pub fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_secs(20)).expect("20 s fit into QUIC's 62 bits of milliseconds");
    transport
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(0u8.into())
        .max_concurrent_uni_streams(0u8.into())
        .datagram_receive_buffer_size(None);
    transport
}

#[cfg(test)]
mod tests;
