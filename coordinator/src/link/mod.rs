//! QUIC: one UDP port to which nodes and operators dial, and nothing of what they say.
//!
//! ```text
//! handshake ─ gate: limits, address validation under load ─▶ certificate and ALPN tell who it is
//!   no certificate, enrolment                    ▶ Peer without a role
//!   certificate of a partner, or the operator's  ▶ Peer with its role     handed up: one bidirectional stream of frames
//!   the same of a partner, that asks for studies ▶ Peer with that role
//!   anything else                                ▶ closed
//! ```

pub(crate) mod dial;
mod gate;
pub(crate) mod peer;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use entente_host::Error;
use entente_host::link::LinkError;
use entente_protocols::wire::message::{ALPN, ALPN_ASK, ALPN_ENROL};
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use tokio::task::JoinHandle;

use crate::hall::access::{Access, Role};
use crate::hall::alliance::Alliance;
use crate::hall::close::Close;
use gate::{Gate, Place, Verdict};
use peer::{Peer, certificate, close};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long is waited for connections that end.
const GOODBYE: Duration = Duration::from_secs(2);

/// The open port.
pub(crate) struct Port {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    access: Access,
}

/// The port while peers are handed up. Closed when it is dropped; [`Listening::end`] waits until peers have heard.
pub(crate) struct Listening {
    endpoint: quinn::Endpoint,
    accepting: JoinHandle<()>,
}

impl Port {
    /// Opens the port. One that a coordinator has just left may take a moment to be free.
    pub(crate) async fn open(alliance: &Alliance, access: Access) -> Result<Self, Error> {
        let endpoint = bind(alliance, access.clone()).await?;
        let address = endpoint.local_addr().map_err(|error| Error::failed(error.to_string()))?;
        Ok(Self { endpoint, address, access })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands each peer to `serve`, and closes its connection when that is over.
    pub(crate) fn listen<S, F>(self, serve: S) -> Listening
    where
        S: Fn(Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), LinkError>> + Send + 'static,
    {
        let Self { endpoint, access, .. } = self;
        let accepting = tokio::spawn(accept(endpoint.clone(), access, serve));
        Listening { endpoint, accepting }
    }
}

impl Listening {
    /// Tells everybody that the coordinator stops, and waits for those who answer.
    pub(crate) async fn end(&self) {
        self.stop();
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }

    fn stop(&self) {
        self.endpoint.close(VarInt::from_u32(Close::Stopping as u32), b"the coordinator stops");
        self.accepting.abort();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn bind(alliance: &Alliance, access: Access) -> Result<quinn::Endpoint, Error> {
    let (config, address) = (tls::server(alliance, access)?, alliance.listen());
    let mut bound = quinn::Endpoint::server(config.clone(), address);
    for _ in 0..20 {
        match &bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        bound = quinn::Endpoint::server(config.clone(), address);
    }
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::refused(format!("another program listens on UDP {address} already"))
            .help(format!("stop it, or change `listen` in {}", alliance.dir().join("alliance.toml").display())),
        _ => Error::refused(format!("could not listen on UDP {address}: {error}"))
            .help(format!("change `listen` in {}", alliance.dir().join("alliance.toml").display())),
    })
}

/// Takes connections for as long as it is not aborted.
async fn accept<S, F>(endpoint: quinn::Endpoint, access: Access, serve: S)
where
    S: Fn(Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), LinkError>> + Send + 'static,
{
    let gate = Gate::default();
    // The tasks of connections end with this one.
    let mut connections = tokio::task::JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        while connections.try_join_next().is_some() {}
        let address = incoming.remote_address().ip();
        match gate.verdict(address, incoming.remote_address_validated()) {
            Verdict::Admit => {
                let (place, access, serve) = (gate.enter(address), access.clone(), serve.clone());
                connections.spawn(async move { connect(incoming, place, access, &serve).await });
            }
            Verdict::Retry => {
                // Fails only for an address that is validated already, which is not sent here.
                let _ = incoming.retry();
            }
            Verdict::Refuse => incoming.refuse(),
        }
    }
}

/// Finds out who connects, and hands them up.
async fn connect<S, F>(incoming: quinn::Incoming, mut place: Place, access: Access, serve: &S)
where
    S: Fn(Peer) -> F,
    F: Future<Output = Result<(), LinkError>>,
{
    let from = incoming.remote_address();
    let connection = match tokio::time::timeout(HANDSHAKE, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "no handshake"),
        Err(_) => return tracing::debug!(%from, "the handshake took too long"),
    };
    let (enrolment, asks) = match protocol(&connection) {
        Some(protocol) if protocol == ALPN_ENROL => (true, false),
        Some(protocol) if protocol == ALPN => (false, false),
        Some(protocol) if protocol == ALPN_ASK => (false, true),
        _ => return close(&connection, Close::NotAllowed, "unknown protocol"),
    };
    // Asked again here: the key may have been revoked since the handshake.
    let role = certificate(&connection).and_then(|certificate| access.role(&certificate));
    let role = match role {
        Some(Role::Node(name)) if asks => Some(Role::Requester(name)),
        role => role,
    };
    let (role, place) = if enrolment {
        if !place.stay_unauthenticated() {
            return close(&connection, Close::Busy, "too many are joining; try again in a minute");
        }
        (None, Some(place))
    } else if role.is_some() {
        connection.set_receive_window(VarInt::from_u32(tls::TRUSTED_RECEIVE_WINDOW));
        drop(place);
        (role, None)
    } else {
        tracing::debug!(%from, "refused: no certificate");
        return close(&connection, Close::NotAllowed, "a certificate of the alliance is needed; join first");
    };
    let known = role.is_some();
    if let Err(error) = serve(Peer::new(role, connection.clone(), access)).await {
        match &error {
            // Somebody has to do something about these.
            LinkError::Frame(_) | LinkError::Malformed(_) if known => {
                tracing::warn!(%from, %error, "connection ended");
            }
            _ => tracing::debug!(%from, %error, "connection ended"),
        }
        close(&connection, Close::Protocol, &error.to_string());
    }
    drop(place);
}

fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}
