//! What every link's TLS has in common: version 1.3 and nothing older, a hybrid post-quantum key exchange
//! (X25519MLKEM768) first, and every connection checked anew: no resumption, no early data.

use std::sync::Arc;

use quinn::TransportConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

use crate::error::Error;

/// The cryptography. With rustls' feature `prefer-post-quantum`, X25519MLKEM768 is the first key exchange offered.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Trusts this one authority and no other.
///
/// # Errors
///
/// If the certificate cannot be one of an authority.
pub fn roots(authority: &CertificateDer<'_>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

/// Begins the configuration of the side that dials.
pub fn client() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    builder.expect("the provider has cipher suites of TLS 1.3")
}

/// Begins the configuration of the side that answers.
pub fn server() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    builder.expect("the provider has cipher suites of TLS 1.3")
}

/// The configuration of the side that dials, which speaks this protocol.
///
/// # Errors
///
/// If it was not begun with [`client`].
pub fn quic_client(
    mut tls: ClientConfig,
    alpn: &[u8],
    transport: TransportConfig,
) -> Result<quinn::ClientConfig, Error> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(impossible)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// The configuration of the side that answers, which speaks these protocols.
///
/// # Errors
///
/// If it was not begun with [`server`].
pub fn quic_server(
    mut tls: ServerConfig,
    alpn: &[&[u8]],
    transport: TransportConfig,
) -> Result<quinn::ServerConfig, Error> {
    tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.max_early_data_size = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(impossible)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn impossible(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("QUIC over this TLS is not possible: {error}"))
}

/// A certificate as PEM text.
pub fn pem(certificate: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(certificate);
    let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|i| &base64[i..base64.len().min(i + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_hybrid_post_quantum_key_exchange_comes_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn a_certificate_is_read_as_it_was_written() {
        for length in [0, 1, 47, 48, 49, 700] {
            let certificate: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let text = pem(&certificate);
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), certificate);
        }
    }
}
