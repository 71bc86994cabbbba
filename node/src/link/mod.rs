//! The node's link to its coordinator: it dials out, nothing listens here.
//!
//! - [`tls`]: what is trusted, and with which keys the node shows itself;
//! - [`enrol`]: the one connection without a certificate, with a ticket;
//! - [`connection`]: the standing connection, which is made again whenever it is lost.

pub mod connection;
pub mod enrol;
pub mod tls;

use std::net::SocketAddr;

use entente_host::Error;
use entente_protocols::wire::frame::{Frame, FrameError, FrameReader};
use quinn::{RecvStream, SendStream};

/// Why a link is given up.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection could not be made or was lost.
    #[error("{0}")]
    Connection(String),
    /// The other side does not speak this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that holds no message.
    #[error(transparent)]
    Malformed(#[from] entente_protocols::canonical::Malformed),
}

/// The addresses of `host:port`.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, LinkError> {
    let found = tokio::net::lookup_host(address).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| {
            LinkError::Connection(format!("the coordinator's address `{address}` cannot be resolved: {error}"))
        })?
        .collect();
    if found.is_empty() {
        return Err(LinkError::Connection(format!("the coordinator's address `{address}` names no host")));
    }
    Ok(found)
}

/// A UDP endpoint to dial from.
pub fn endpoint(remote: SocketAddr) -> Result<quinn::Endpoint, Error> {
    let local: SocketAddr = match (remote.is_ipv4(), remote.ip().is_loopback()) {
        (true, true) => ([127, 0, 0, 1], 0).into(),
        (true, false) => ([0, 0, 0, 0], 0).into(),
        (false, _) => ([0u16; 8], 0).into(),
    };
    quinn::Endpoint::client(local).map_err(|error| Error::failed(format!("no UDP socket could be opened: {error}")))
}

/// Frames read from a stream.
pub struct Frames {
    stream: RecvStream,
    reader: FrameReader,
}

impl Frames {
    /// Reads frames that `reader` accepts.
    pub fn new(stream: RecvStream, reader: FrameReader) -> Self {
        Self { stream, reader }
    }

    /// The next frame; `None` when the other side has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(1 << 20, true).await {
                Ok(Some(chunk)) => self.reader.feed(&chunk.bytes),
                Ok(None) => return Ok(None),
                Err(error) => return Err(LinkError::Connection(error.to_string())),
            }
        }
    }
}

/// Writes one frame.
pub async fn send(stream: &mut SendStream, frame: &[u8]) -> Result<(), LinkError> {
    stream.write_all(frame).await.map_err(|error| LinkError::Connection(error.to_string()))
}
