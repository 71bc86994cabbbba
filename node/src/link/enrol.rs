//! Enrolment: a ticket becomes keys made here, a certificate and a configuration to edit.

use std::time::Duration;

use entente_host::Error;
use entente_host::clock::now;
use entente_host::files::{exists, write_private};
use entente_host::link::tls::pem;
use entente_host::link::{Frames, LinkError, send};
use entente_host::random::random_secret;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster, Ticket};
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{Enrol, Enrolled};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use zeroize::Zeroizing;

use super::{dial_any, resolve, tls};
use crate::config;
use crate::state::Folder;

const TIMEOUT: Duration = Duration::from_secs(15);

/// Joins the alliance of `ticket` with a node in `folder`; returns the roster it was shown.
///
/// Keys are on the disk before the ticket is used, and are never replaced: whoever joins again because the answer was lost is the
/// same partner to the coordinator, which answers again.
pub async fn join(ticket: &Ticket, folder: &Folder) -> Result<Roster, Error> {
    if folder.is_joined() {
        return Err(Error::refused(format!("a node has joined in {} already", folder.path().display()))
            .help("give another folder with --dir"));
    }
    // Whoever was here before may have used the ticket in time.
    if now().as_second() > ticket.expires && !folder.has_identity() {
        return Err(Error::refused(format!(
            "the ticket has expired (by this machine's clock it is {})",
            now().strftime("%F %T UTC")
        ))
        .help(format!("ask the operator for a new one: `entente invite {}`", ticket.partner)));
    }
    folder.create()?;
    // Who joins here at the same time would make other keys.
    let _lock = folder.lock()?;
    let enrol = application(ticket, folder)?;
    match tokio::time::timeout(TIMEOUT, exchange(ticket, &enrol)).await {
        Err(_) => Err(unreachable(ticket, "no answer")),
        Ok(Err(error)) => Err(unreachable(ticket, &error.to_string())),
        Ok(Ok(answer)) => admitted(ticket, folder, &enrol, answer),
    }
}

/// What is said to the coordinator by whoever joins by `ticket` with a node in `folder`, whose keys are made if it has none.
///
/// # Errors
///
/// If the keys cannot be made, or read.
pub fn application(ticket: &Ticket, folder: &Folder) -> Result<Enrol, Error> {
    folder.create()?;
    let identity = identity(folder)?;
    let tls_key = tls_key(folder)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, ticket.partner.clone());
    let request = params.serialize_request(&tls_key).map_err(crypto)?;
    let member = Member { identity: identity.public(), tls: Digest::plain(&tls_key.subject_public_key_info()) };
    Ok(Enrol { partner: ticket.partner.clone(), secret: ticket.secret, request: request.der().to_vec(), member })
}

/// Takes the coordinator's answer: the roster that it shows.
///
/// # Errors
///
/// If it refuses the ticket, or is not the one that the ticket is of.
pub fn admitted(ticket: &Ticket, folder: &Folder, enrol: &Enrol, answer: Enrolled) -> Result<Roster, Error> {
    match answer {
        Enrolled::Refused(reason) => Err(Error::refused(format!("the coordinator refused the ticket: {reason}"))),
        Enrolled::Accepted { certificate, authority, roster } => {
            accept(ticket, folder, &enrol.member, &certificate, &authority, &roster)?;
            Ok(roster)
        }
    }
}

fn crypto(error: rcgen::Error) -> Error {
    Error::failed(format!("a TLS key could not be made: {error}"))
}

/// The identity in the folder: the one that is there, or a new one.
fn identity(folder: &Folder) -> Result<IdentityKey, Error> {
    if folder.has_identity() {
        return folder.identity();
    }
    let identity = IdentityKey::from_secret(&*random_secret()?);
    let hex = Zeroizing::new(data_encoding::HEXLOWER.encode(&*identity.secret()));
    write_private(&folder.key("identity.key"), hex.as_bytes())?;
    Ok(identity)
}

/// The TLS key in the folder, in the same way.
fn tls_key(folder: &Folder) -> Result<KeyPair, Error> {
    let path = folder.key("tls.key");
    if exists(&path) {
        return KeyPair::from_pem(&Zeroizing::new(folder.read(&path)?)).map_err(|error| {
            Error::refused(format!("{} is not a private key ({error})", path.display()))
                .help("restore it from a backup, or join in another folder")
        });
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto)?;
    write_private(&path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    Ok(key)
}

fn unreachable(ticket: &Ticket, why: &str) -> Error {
    if why.contains(tls::OTHER_ALLIANCE) {
        return Error::refused(format!(
            "at {}, another alliance's coordinator answers, not that of the ticket",
            ticket.address
        ))
        .help("tell the operator, who corrects `address` in alliance.toml if it is wrong, and ask for a new ticket");
    }
    let help = "check that `entente serve` runs there, that UDP to this port is allowed, and that this machine's clock is right; \
                then join again in the same folder: its keys are kept, and the ticket admits them again";
    Error::failed(format!("the coordinator could not be reached at {} ({why})", ticket.address)).help(help)
}

async fn exchange(ticket: &Ticket, enrol: &Enrol) -> Result<Enrolled, LinkError> {
    let config = tls::enrolment(ticket.authority).map_err(|error| LinkError::Connection(error.to_string()))?;
    let dialled = dial_any(&config, resolve(&ticket.address).await?, TIMEOUT).await?;
    let (mut out, into) = dialled.connection().open_bi().await?;
    send(&mut out, &frame::encode(enrol)).await?;
    let answer = Frames::new(into, FrameReader::enrolment()).next().await?;
    let ended = || LinkError::Connection("the coordinator ended the connection".into());
    let answer = answer.ok_or_else(ended)?.decode()?;
    dialled.end().await;
    Ok(answer)
}

fn accept(
    ticket: &Ticket,
    folder: &Folder,
    member: &Member,
    certificate: &[u8],
    authority: &[u8],
    roster: &Roster,
) -> Result<(), Error> {
    let mine = roster.members.get(&ticket.partner) == Some(member);
    if Digest::plain(authority) != ticket.authority || roster.authority != ticket.authority || !mine {
        return Err(Error::failed("the coordinator answered with another alliance's authority or another roster")
            .help("do not use this node"));
    }
    write_private(&folder.key("authority.crt"), pem(authority).as_bytes())?;
    folder.keep_offered(roster)?;
    if !exists(&folder.config()) {
        write_private(&folder.config(), config::template(&ticket.partner, &ticket.address).as_bytes())?;
    }
    // The certificate last: a node counts as joined once it is there.
    write_private(&folder.key("tls.crt"), pem(certificate).as_bytes())
}
