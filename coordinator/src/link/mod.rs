//! The QUIC server: one UDP port to which nodes and operators dial.
//!
//! ```text
//! handshake ─ gate: limits, address validation under load ─▶ certificate and ALPN tell who it is
//!   no certificate, enrolment      ▶ enrol
//!   certificate of a partner       ▶ node      one bidirectional stream, hello first
//!   certificate of the operator    ▶ operator  one bidirectional stream, one request
//!   anything else                  ▶ closed
//! ```

pub(crate) mod close;
mod enrol;
mod gate;
mod node;
mod notices;
pub(crate) mod operator;
pub(crate) mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_host::link::LinkError;
use entente_protocols::wire::message::{ALPN, ALPN_ENROL};
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;

use crate::coordinator::Shared;
use crate::hall::alliance::Alliance;
use close::{Close, close};
use gate::{Gate, Place, Verdict};
use tls::{Access, Role};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(10);

/// Opens the port. One that a coordinator has just left may take a moment to be free.
pub(crate) async fn bind(alliance: &Alliance, access: Access) -> Result<quinn::Endpoint, Error> {
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
        io::ErrorKind::AddrInUse => Error::refused(format!(
            "another program listens on UDP {address} already; stop it, or change `listen` in {}",
            alliance.dir().join("alliance.toml").display()
        )),
        _ => Error::refused(format!(
            "could not listen on UDP {address}: {error}; change `listen` in {}",
            alliance.dir().join("alliance.toml").display()
        )),
    })
}

/// Takes connections for as long as it is not aborted.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: quinn::Endpoint) {
    let gate = Gate::default();
    // The tasks of connections end with this one.
    let mut connections = tokio::task::JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        while connections.try_join_next().is_some() {}
        let address = incoming.remote_address().ip();
        match gate.verdict(address, incoming.remote_address_validated()) {
            Verdict::Admit => {
                let place = gate.enter(address);
                connections.spawn(serve(shared.clone(), incoming, place));
            }
            Verdict::Retry => {
                // Fails only for an address that is validated already, which is not sent here.
                let _ = incoming.retry();
            }
            Verdict::Refuse => incoming.refuse(),
        }
    }
}

/// Tells everybody that the coordinator stops.
pub(crate) fn stop(endpoint: &quinn::Endpoint) {
    endpoint.close(VarInt::from_u32(Close::Stopping as u32), b"the coordinator stops");
}

async fn serve(shared: Arc<Shared>, incoming: quinn::Incoming, mut place: Place) {
    let from = incoming.remote_address();
    let connection = match tokio::time::timeout(HANDSHAKE, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "no handshake"),
        Err(_) => return tracing::debug!(%from, "the handshake took too long"),
    };
    let enrolment = match protocol(&connection) {
        Some(protocol) if protocol == ALPN_ENROL => true,
        Some(protocol) if protocol == ALPN => false,
        _ => return close(&connection, Close::NotAllowed, "unknown protocol"),
    };
    // Asked again here: the key may have been revoked since the handshake.
    let role = certificate(&connection).and_then(|certificate| shared.access.role(&certificate));
    if role.is_some() && !enrolment {
        connection.set_receive_window(VarInt::from_u32(tls::TRUSTED_RECEIVE_WINDOW));
        drop(place);
    } else if !enrolment {
        tracing::debug!(%from, "refused: no certificate");
        return close(&connection, Close::NotAllowed, "a certificate of the alliance is needed; join first");
    } else {
        if !place.stay_unauthenticated() {
            return close(&connection, Close::Busy, "too many are joining; try again in a minute");
        }
        if let Err(error) = enrol::serve(&shared, &connection).await {
            tracing::debug!(%from, %error, "enrolment ended");
            close(&connection, Close::Protocol, &error.to_string());
        }
        return;
    }
    let ended = match role {
        Some(Role::Node(name)) => node::serve(&shared, &name, &connection).await,
        Some(Role::Operator) => operator::serve(&shared, &connection).await,
        None => return,
    };
    if let Err(error) = ended {
        match &error {
            // Somebody has to do something about these.
            LinkError::Frame(_) | LinkError::Malformed(_) => tracing::warn!(%from, %error, "connection ended"),
            _ => tracing::debug!(%from, %error, "connection ended"),
        }
        close(&connection, Close::Protocol, &error.to_string());
    }
}

fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}
