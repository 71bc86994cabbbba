//! One connection whose other end is known, without what it is made of.

use std::net::SocketAddr;
use std::time::Duration;

use entente_host::link::{Frames, LinkError};
use entente_protocols::wire::frame::FrameReader;
use quinn::{SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use crate::hall::access::{Access, Role};
use crate::hall::close::{Close, Closer};

/// How long the first message may take.
pub(crate) const FIRST: Duration = Duration::from_secs(10);

/// Who has connected.
pub(crate) struct Peer {
    /// Whom its certificate belongs to; `None` for whoever joins, and has none yet.
    pub(crate) role: Option<Role>,
    connection: quinn::Connection,
    access: Access,
}

/// What is written to a peer.
pub(crate) struct Out(SendStream);

impl Peer {
    pub(super) fn new(role: Option<Role>, connection: quinn::Connection, access: Access) -> Self {
        Self { role, connection, access }
    }

    /// From where it connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The one stream that it opens, of which `reader` says what frames are accepted.
    pub(crate) async fn open(&self, reader: FrameReader) -> Result<(Out, Frames), LinkError> {
        let accepting = tokio::time::timeout(FIRST, self.connection.accept_bi());
        let (send, receive) = accepting.await.map_err(|_| LinkError::Slow(FIRST))??;
        Ok((Out(send), Frames::new(receive, reader)))
    }

    /// Whether its certificate is let in still.
    pub(crate) fn is_let_in(&self) -> bool {
        certificate(&self.connection).and_then(|certificate| self.access.role(&certificate)).is_some()
    }

    /// What closes the connection.
    pub(crate) fn closer(&self) -> Closer {
        let connection = self.connection.clone();
        Closer::new(move |code, reason| close(&connection, code, reason))
    }

    /// Closes the connection.
    pub(crate) fn close(&self, code: Close, reason: &str) {
        close(&self.connection, code, reason);
    }

    /// Waits until the other side has closed it, or it is lost.
    pub(crate) async fn closed(&self) {
        self.connection.closed().await;
    }
}

impl Out {
    /// Writes a frame.
    pub(crate) async fn say(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        entente_host::link::send(&mut self.0, frame).await
    }

    /// Writes what is queued until there is no more to come or the stream is gone.
    pub(crate) async fn say_all(mut self, mut queue: mpsc::Receiver<Vec<u8>>) {
        while let Some(frame) = queue.recv().await {
            if self.say(&frame).await.is_err() {
                return;
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&mut self) -> Result<(), LinkError> {
        self.0.finish().map_err(|_| LinkError::Ended)
    }
}

pub(super) fn certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

pub(super) fn close(connection: &quinn::Connection, code: Close, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
}
