//! Who is let in, and how the operator is.
//!
//! A client certificate counts if the alliance's authority signed it **and** its public key is in [`Access`]: that of an
//! enrolled partner, or the operator's. Revocation takes a key out, and holds from the next handshake on.

use std::sync::Arc;

use entente_host::Error;
use entente_host::link::{self, tls};
use entente_protocols::wire::message::{ALPN, ALPN_ASK, ALPN_ENROL};
use quinn::{TransportConfig, VarInt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::hall::access::Access;
use crate::hall::alliance::Alliance;
use crate::hall::certificates;

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

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("the alliance's keys and certificates cannot be used ({error})"))
        .help("restore its folder keys/")
}

/// How the coordinator answers.
pub(super) fn server(alliance: &Alliance, access: Access) -> Result<quinn::ServerConfig, Error> {
    let roots = Arc::new(tls::roots(alliance.authority_certificate()).map_err(unusable)?);
    let chain = WebPkiClientVerifier::builder_with_provider(roots, tls::provider());
    let chain = chain.allow_unauthenticated().build().map_err(unusable)?;
    let keys = alliance.keys();
    // The authority's certificate goes along: a joining node knows its fingerprint from the ticket, and nothing else.
    let own = vec![certificates::certificate(&keys, "coordinator")?, alliance.authority_certificate().clone()];
    let config = tls::server()
        .with_client_cert_verifier(Arc::new(PinnedClients { chain, access }))
        .with_single_cert(own, certificates::private_key(&keys, "coordinator")?)
        .map_err(unusable)?;
    let mut config = tls::quic_server(config, &[ALPN, ALPN_ASK, ALPN_ENROL], transport())?;
    config.max_incoming(1024).incoming_buffer_size(64 << 10).incoming_buffer_size_total(16 << 20);
    Ok(config)
}

/// How the operator's command line connects.
pub(super) fn operator(alliance: &Alliance) -> Result<quinn::ClientConfig, Error> {
    let keys = alliance.keys();
    let own = vec![certificates::certificate(&keys, "operator")?];
    let config = tls::client()
        .with_root_certificates(tls::roots(alliance.authority_certificate()).map_err(unusable)?)
        .with_client_auth_cert(own, certificates::private_key(&keys, "operator")?)
        .map_err(unusable)?;
    tls::quic_client(config, ALPN, transport())
}

/// How much a connection may keep unread before the coordinator knows who it is.
const RECEIVE_WINDOW: u32 = 128 << 10;
/// The same for one whose certificate is known.
pub(super) const TRUSTED_RECEIVE_WINDOW: u32 = 16 << 20;

fn transport() -> TransportConfig {
    let mut transport = link::transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(8 << 20))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(16 << 20);
    transport
}
