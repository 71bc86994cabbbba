//! The node's link to its coordinator: it dials out, nothing listens here.
//!
//! - [`tls`]: what is trusted, and with which keys the node shows itself;
//! - [`enrol`]: the one connection without a certificate, with a ticket;
//! - [`connection`]: the standing connection, which is made again whenever it is lost;
//! - [`inbox`]: what comes on it, on its way to whoever answers.

pub mod connection;
pub mod enrol;
pub mod inbox;
pub mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use entente_host::link::{Dialled, LinkError, dial};
use entente_protocols::wire::message::COORDINATOR_NAME;
use tokio::task::JoinSet;

/// How much later than the address before it each further one is dialled.
const STAGGER: Duration = Duration::from_millis(250);

/// Dials a coordinator that has several addresses, of which some may not be reached from here: each a little after the one before
/// it. The first that answers within `limit` is taken.
///
/// # Errors
///
/// If none answers: why the first address does not.
pub async fn dial_any(
    config: &quinn::ClientConfig,
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> Result<Dialled, LinkError> {
    let mut dialling = JoinSet::new();
    for (place, address) in (0..).zip(addresses) {
        let config = config.clone();
        dialling.spawn(async move {
            tokio::time::sleep(STAGGER * place).await;
            let dialled = tokio::time::timeout(limit, dial(config, address, COORDINATOR_NAME)).await;
            (place, dialled.unwrap_or_else(|_| Err(LinkError::Connection("timed out".into()))))
        });
    }
    let mut why = (u32::MAX, LinkError::Connection("no address".into()));
    while let Some(ended) = dialling.join_next().await {
        match ended {
            Ok((_, Ok(dialled))) => return Ok(dialled),
            Ok((place, Err(error))) if place < why.0 => why = (place, error),
            Ok(_) => {}
            Err(error) => return Err(LinkError::Connection(error.to_string())),
        }
    }
    Err(why.1)
}

/// The addresses of `host:port`; there is at least one.
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
