//! The node's link to its coordinator: it dials out, nothing listens here.
//!
//! - [`tls`]: what is trusted, and with which keys the node shows itself;
//! - [`enrol`]: the one connection without a certificate, with a ticket;
//! - [`connection`]: the standing connection, which is made again whenever it is lost.

pub mod connection;
pub mod enrol;
pub mod tls;

use std::net::SocketAddr;

use entente_host::link::LinkError;

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
