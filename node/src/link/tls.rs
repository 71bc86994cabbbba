//! TLS of a node: it trusts its alliance's authority and nothing else, and shows its own certificate.

use std::sync::Arc;

use entente_host::Error;
use entente_host::link::tls::{client, provider, quic_client, roots};
use entente_host::link::transport;
use entente_protocols::digest::Digest;
use entente_protocols::wire::message::{ALPN, ALPN_ASK, ALPN_ENROL};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, SignatureScheme};

use crate::state::Folder;

/// Configuration of the standing connection.
pub fn connection(folder: &Folder) -> Result<quinn::ClientConfig, Error> {
    known(folder, ALPN)
}

/// Configuration of a connection on which this partner asks for a study.
pub fn asking(folder: &Folder) -> Result<quinn::ClientConfig, Error> {
    known(folder, ALPN_ASK)
}

fn known(folder: &Folder, protocol: &[u8]) -> Result<quinn::ClientConfig, Error> {
    let damaged = |name: &str| {
        let path = folder.key(name);
        Error::refused(format!("{} is damaged", path.display()))
            .help("restore it from a backup, or join again with a new ticket")
    };
    let read = |name: &str| folder.read(&folder.key(name));
    let authority =
        CertificateDer::from_pem_slice(read("authority.crt")?.as_bytes()).map_err(|_| damaged("authority.crt"))?;
    let certificate = CertificateDer::from_pem_slice(read("tls.crt")?.as_bytes()).map_err(|_| damaged("tls.crt"))?;
    let key = zeroize::Zeroizing::new(read("tls.key")?);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| damaged("tls.key"))?;
    let roots = roots(&authority).map_err(|_| damaged("authority.crt"))?;
    let config = client()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .map_err(|error| Error::refused(format!("key and certificate of this node do not fit: {error}")))?;
    quic_client(config, protocol, transport())
}

/// Configuration of an enrolment: the coordinator must show the authority whose fingerprint is in the ticket.
pub fn enrolment(authority: Digest) -> Result<quinn::ClientConfig, Error> {
    let verifier = Arc::new(ByFingerprint { authority, provider: provider() });
    let config = client().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    quic_client(config, ALPN_ENROL, transport())
}

/// Trusts exactly the authority with a fingerprint: it must be in the chain that the coordinator shows, and everything
/// else (signatures, name, dates) is checked against it as usual.
#[derive(Debug)]
struct ByFingerprint {
    authority: Digest,
    provider: Arc<CryptoProvider>,
}

/// Why a coordinator is not the one that the ticket is of.
pub(super) const OTHER_ALLIANCE: &str = "the coordinator belongs to another alliance than the ticket";

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let authority = intermediates.iter().find(|certificate| Digest::plain(certificate) == self.authority);
        let authority = authority.ok_or(TlsError::General(OTHER_ALLIANCE.into()))?;
        let roots = Arc::new(roots(authority)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone()).build();
        let verifier = verifier.map_err(|error| TlsError::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
