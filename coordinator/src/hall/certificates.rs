//! The alliance's certificate authority and what it issues.
//!
//! Whoever presents a certificate of this authority is told by its **public key**, which is pinned when a partner enrols;
//! the names in certificates are for people who look at them.

use std::path::Path;

use entente_host::Error;
use entente_host::files;
use entente_host::link::tls::pem;
use entente_protocols::digest::Digest;
use entente_protocols::wire::message::COORDINATOR_NAME;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use zeroize::Zeroizing;

/// How long a node's certificate lasts.
const NODE_YEARS: i16 = 1;
/// How long the certificates of the authority's own folder last.
const OWN_YEARS: i16 = 10;

/// The authority. Has its key: no `Debug`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// The key of a signing request. Whoever sent it has its secret.
pub(crate) struct RequestedKey(CertificateSigningRequestParams);

impl RequestedKey {
    /// The key of a request that is signed with it, if it is the one that hashes to `tls`. Nothing else in the request is used.
    pub(crate) fn of(request: &[u8], tls: Digest) -> Result<Self, Error> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|error| Error::refused(format!("the signing request is not usable: {error}")))?;
        if Digest::plain(&request.public_key.subject_public_key_info()) != tls {
            return Err(Error::refused("the signing request is for another key than the one stated"));
        }
        Ok(Self(request))
    }
}

/// What a certificate is for.
#[derive(Clone, Copy)]
enum Usage {
    Server,
    Client,
}

/// Makes a new authority, and the coordinator's and the operator's keys and certificates, as files in `keys`.
pub(crate) fn create(keys: &Path, alliance: &str) -> Result<(), Error> {
    let key = generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Entente alliance {alliance}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, 2 * OWN_YEARS);
    let certificate = params.self_signed(&key).map_err(not_made)?;
    save(keys, "authority", certificate.der(), &key)?;
    let authority = Authority { issuer: Issuer::new(params, key), certificate: certificate.der().clone() };
    for (file, name, usage) in
        [("coordinator", COORDINATOR_NAME, Usage::Server), ("operator", "operator.entente", Usage::Client)]
    {
        let key = generate()?;
        let common_name = match usage {
            Usage::Server => COORDINATOR_NAME,
            Usage::Client => entente_protocols::wire::message::OPERATOR_NAME,
        };
        let certificate = authority.issue(common_name, name, usage, &key, OWN_YEARS)?;
        save(keys, file, &certificate, &key)?;
    }
    Ok(())
}

impl Authority {
    /// The authority whose files are in `keys`.
    pub(crate) fn load(keys: &Path) -> Result<Self, Error> {
        let damaged = |error: rcgen::Error| {
            Error::failed(format!("the authority's files in {} are damaged ({error})", keys.display()))
                .help("restore them")
        };
        let pem = Zeroizing::new(files::read_text(&keys.join("authority.key"))?);
        let key = KeyPair::from_pem(&pem).map_err(damaged)?;
        let certificate = certificate(keys, "authority")?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(damaged)?;
        Ok(Self { issuer, certificate })
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for `partner` with the key of its signing request.
    pub(crate) fn issue_node(&self, partner: &str, key: &RequestedKey) -> Result<CertificateDer<'static>, Error> {
        self.issue(partner, &node_name(partner), Usage::Client, &key.0.public_key, NODE_YEARS)
    }

    fn issue(
        &self,
        common_name: &str,
        name: &str,
        usage: Usage,
        key: &impl PublicKeyData,
        years: i16,
    ) -> Result<CertificateDer<'static>, Error> {
        let mut params = CertificateParams::new([name.to_owned()]).map_err(not_made)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, years);
        Ok(params.signed_by(key, &self.issuer).map_err(not_made)?.der().clone())
    }
}

/// The name in a node's certificate.
pub(crate) fn node_name(partner: &str) -> String {
    format!("{partner}.node.entente")
}

/// Whether a partner's name can stand in a certificate.
pub(crate) fn can_be_certified(partner: &str) -> bool {
    ServerName::try_from(node_name(partner)).is_ok()
}

/// SHA-256 of a certificate's public key, as the roster pins it.
pub(crate) fn key_digest(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(Digest::plain(&parsed.subject_public_key_info()))
}

/// The certificate `NAME.pem` in `keys`.
pub(crate) fn certificate(keys: &Path, name: &str) -> Result<CertificateDer<'static>, Error> {
    let path = keys.join(format!("{name}.pem"));
    CertificateDer::from_pem_slice(files::read_text(&path)?.as_bytes())
        .map_err(|error| Error::failed(format!("{} is not a certificate ({error})", path.display())).help("restore it"))
}

/// The private key `NAME.key` in `keys`.
pub(crate) fn private_key(keys: &Path, name: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let path = keys.join(format!("{name}.key"));
    let pem = Zeroizing::new(files::read_text(&path)?);
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Error::failed(format!("{} is not a private key ({error})", path.display())).help("restore it"))
}

fn generate() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(not_made)
}

fn save(keys: &Path, name: &str, certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), Error> {
    let secret = Zeroizing::new(key.serialize_pem());
    files::write_private(&keys.join(format!("{name}.key")), secret.as_bytes())?;
    files::write_private(&keys.join(format!("{name}.pem")), pem(certificate).as_bytes())
}

/// From yesterday, as clocks differ, for some years.
fn limit(params: &mut CertificateParams, years: i16) {
    let today = entente_host::clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = day(today.saturating_add(jiff::Span::new().years(years)));
}

fn not_made(error: rcgen::Error) -> Error {
    Error::failed(format!("a key or certificate could not be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gets_a_certificate_for_its_own_key_only() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), "spring").unwrap();
        let authority = Authority::load(folder.path()).unwrap();
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let tls = Digest::plain(&key.subject_public_key_info());
        let certificate = authority.issue_node("bank_2", &RequestedKey::of(request.der(), tls).unwrap()).unwrap();
        assert_eq!(key_digest(&certificate), Some(tls));
        let name = ServerName::try_from(node_name("bank_2")).unwrap();
        let parsed = ParsedCertificate::try_from(&certificate).unwrap();
        assert!(rustls::client::verify_server_name(&parsed, &name).is_ok());

        assert!(RequestedKey::of(request.der(), Digest::ZERO).is_err(), "another key");
        let mut damaged = request.der().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(RequestedKey::of(&damaged, tls).is_err(), "not signed with its key");
        assert!(RequestedKey::of(b"nonsense", tls).is_err());
    }

    #[test]
    fn names_that_no_certificate_can_hold_are_known_beforehand() {
        assert!(can_be_certified("bank") && can_be_certified("bank_north-2"));
        assert!(!can_be_certified("bank-") && !can_be_certified(&"a".repeat(64)));
    }
}
