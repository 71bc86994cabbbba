//! TLS 1.3 with mutual certificates and hybrid post-quantum key exchange (X25519MLKEM768 first).
//!
//! A client certificate counts if the alliance's authority signed it **and** its public key is in [`Access`]: that of an
//! enrolled partner, or the operator's. Revocation takes a key out, and holds from the next handshake on.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use entente_host::Error;
use entente_host::locks;
use entente_protocols::digest::Digest;
use entente_protocols::wire::message::{ALPN, ALPN_ENROL};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::alliance::Alliance;
use crate::certificates;

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A partner's node.
    Node(String),
    /// The operator's command line.
    Operator,
}

/// The keys that are let in, by their hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access(Arc<RwLock<HashMap<Digest, Role>>>);

impl Access {
    pub(crate) fn allow(&self, key: Digest, role: Role) {
        locks::write(&self.0).insert(key, role);
    }

    pub(crate) fn end(&self, key: Digest) {
        locks::write(&self.0).remove(&key);
    }

    pub(crate) fn role(&self, certificate: &CertificateDer<'_>) -> Option<Role> {
        let key = certificates::key_digest(certificate)?;
        locks::read(&self.0).get(&key).cloned()
    }
}

/// Checks client certificates: the authority's signature by webpki, then the pinned key.
#[derive(Debug)]
struct PinnedClients {
    chain: Arc<dyn ClientCertVerifier>,
    access: Access,
}

impl ClientCertVerifier for PinnedClients {
    fn client_auth_mandatory(&self) -> bool {
        // Enrolment has no certificate yet; whoever else has none is closed right after the handshake.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        match self.access.role(end_entity) {
            Some(_) => Ok(verified),
            None => Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    // With rustls' feature `prefer-post-quantum`, X25519MLKEM768 is the first key exchange offered.
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(alliance: &Alliance) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(alliance.authority_certificate().clone()).map_err(unusable)?;
    Ok(Arc::new(roots))
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("the alliance's keys and certificates cannot be used ({error}); restore its folder keys/"))
}

/// How the coordinator answers.
pub(super) fn server(alliance: &Alliance, access: Access) -> Result<quinn::ServerConfig, Error> {
    let provider = provider();
    let chain = WebPkiClientVerifier::builder_with_provider(roots(alliance)?, provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
    let keys = alliance.keys();
    // The authority's certificate goes along: a joining node knows its fingerprint from the ticket, and nothing else.
    let own = vec![certificates::certificate(&keys, "coordinator")?, alliance.authority_certificate().clone()];
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(Arc::new(PinnedClients { chain, access }))
        .with_single_cert(own, certificates::private_key(&keys, "coordinator")?)
        .map_err(unusable)?;
    tls.alpn_protocols = vec![ALPN.to_vec(), ALPN_ENROL.to_vec()];
    // Every connection is checked anew: no resumption, no early data.
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.max_early_data_size = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(unusable)?));
    config.transport_config(Arc::new(transport()?));
    config.max_incoming(1024).incoming_buffer_size(64 << 10).incoming_buffer_size_total(16 << 20);
    Ok(config)
}

/// How the operator's command line connects.
pub(crate) fn operator(alliance: &Alliance) -> Result<quinn::ClientConfig, Error> {
    let keys = alliance.keys();
    let own = vec![certificates::certificate(&keys, "operator")?];
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots(alliance)?)
        .with_client_auth_cert(own, certificates::private_key(&keys, "operator")?)
        .map_err(unusable)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(unusable)?));
    config.transport_config(Arc::new(transport()?));
    Ok(config)
}

/// How much a connection may keep unread before the coordinator knows who it is.
const RECEIVE_WINDOW: u32 = 128 << 10;
/// The same for one whose certificate is known.
pub(super) const TRUSTED_RECEIVE_WINDOW: u32 = 16 << 20;

fn transport() -> Result<TransportConfig, Error> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(8 << 20))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(16 << 20)
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .max_idle_timeout(Some(IdleTimeout::try_from(Duration::from_secs(20)).map_err(unusable)?));
    Ok(transport)
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_hybrid_post_quantum_key_exchange_comes_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
