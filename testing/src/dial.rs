//! Connections by hand: who dials a coordinator with a partner's certificate, with another alliance's or with none, and says what
//! it likes.

use std::net::SocketAddr;
use std::path::Path;

use entente_examples::alliance::Error;
use entente_host::link::{Frames, dial, send, tls, transport};
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Ticket};
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::Head;
use entente_protocols::wire::frame::{self, Frame, FrameReader, Message};
use entente_protocols::wire::message::{ALPN, ALPN_ENROL, COORDINATOR_NAME, Enrol, Enrolled, FromNode};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::World;

/// Who dials: whom it trusts, and with which certificate it shows itself, if with one.
pub struct Dialler {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

impl Dialler {
    /// Somebody without a certificate.
    pub fn stranger(world: &World) -> Result<Self, Error> {
        let authority = CertificateDer::from_pem_file(world.alliance().join("keys/authority.pem"))?;
        Ok(Self { address: world.running().address(), authority, own: None })
    }

    /// Somebody with the keys and the certificate of the node in `folder`, which may have joined another alliance.
    pub fn with_keys(world: &World, folder: &Path) -> Result<Self, Error> {
        let certificate = CertificateDer::from_pem_file(folder.join("keys/tls.crt"))?;
        let key = PrivateKeyDer::from_pem_file(folder.join("keys/tls.key"))?;
        Ok(Self { own: Some((certificate, key)), ..Self::stranger(world)? })
    }

    /// A partner of the alliance, whose node does not run.
    pub fn partner(world: &World, partner: &str) -> Result<Self, Error> {
        Self::with_keys(world, &world.folders().node(partner))
    }

    /// Opens a connection.
    pub async fn dial(&self, alpn: &[u8]) -> Result<quinn::Connection, Error> {
        let builder = tls::client().with_root_certificates(tls::roots(&self.authority)?);
        let config = match &self.own {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        let config = tls::quic_client(config, alpn, transport())?;
        Ok(dial(config, self.address, COORDINATOR_NAME).await?.connection().clone())
    }

    /// Opens a connection, says hello as a node with these data sets, and is welcomed.
    pub async fn hello(&self, datasets: Vec<DatasetSchema>) -> Result<Conversation, Error> {
        let mut conversation = Conversation::open(self.dial(ALPN).await?, FrameReader::to_nodes()).await?;
        let (ledger, clock) = (Head::EMPTY, jiff::Timestamp::now().as_second());
        let hello = FromNode::Hello { software: "test 1".into(), roster: None, datasets, ledger, clock };
        conversation.say(&hello).await?;
        conversation.hear().await?;
        Ok(conversation)
    }
}

/// The messages on a connection. It ends with this.
pub struct Conversation {
    /// The connection.
    pub connection: quinn::Connection,
    out: quinn::SendStream,
    frames: Frames,
}

impl Conversation {
    /// Begins to talk. `reader` takes what the other side may say.
    pub async fn open(connection: quinn::Connection, reader: FrameReader) -> Result<Self, Error> {
        let (out, into) = connection.open_bi().await?;
        Ok(Self { connection, out, frames: Frames::new(into, reader) })
    }

    /// Is talked to by whoever has opened the connection.
    pub(crate) async fn accept(connection: quinn::Connection, reader: FrameReader) -> Result<Self, Error> {
        let (out, into) = connection.accept_bi().await?;
        Ok(Self { connection, out, frames: Frames::new(into, reader) })
    }

    /// Says something.
    pub async fn say(&mut self, message: &impl Message) -> Result<(), Error> {
        Ok(send(&mut self.out, &frame::encode(message)).await?)
    }

    /// What the other side says next.
    pub async fn hear(&mut self) -> Result<Frame, Error> {
        Ok(self.frames.next().await?.ok_or("the other side has ended it")?)
    }
}

/// The keys of a node that enrols by hand.
pub struct Applicant {
    identity: IdentityKey,
    tls: KeyPair,
}

impl Applicant {
    /// One with these secret bytes for its identity.
    pub fn new(secret: [u8; 32]) -> Result<Self, Error> {
        Ok(Self { identity: IdentityKey::from_secret(&secret), tls: KeyPair::generate()? })
    }

    /// What the roster says of it.
    pub fn member(&self) -> Member {
        Member { identity: self.identity.public(), tls: Digest::plain(&self.tls.subject_public_key_info()) }
    }

    /// Uses a ticket, as the partner `name`: what the coordinator answers.
    pub async fn enrol(&self, world: &World, ticket: &Ticket, name: &str) -> Result<Enrolled, Error> {
        let connection = Dialler::stranger(world)?.dial(ALPN_ENROL).await?;
        let mut conversation = Conversation::open(connection, FrameReader::enrolment()).await?;
        let request = CertificateParams::default().serialize_request(&self.tls)?.der().to_vec();
        let enrol = Enrol { partner: name.into(), secret: ticket.secret, request, member: self.member() };
        conversation.say(&enrol).await?;
        Ok(conversation.hear().await?.decode()?)
    }
}
