//! A coordinator played by hand over real QUIC, with the keys and at the address of one that does not run: what it says to nodes,
//! which are as they are, is up to the test.

use entente::Alliance;
use entente_examples::alliance::Error;
use entente_host::link::{tls, transport};
use entente_protocols::identity::Roster;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{ALPN, ToNode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::dial::Conversation;
use crate::world::World;

/// Where nodes dial. It ends when it is dropped.
pub struct Listener(quinn::Endpoint);

impl Listener {
    /// In the place of the world's coordinator, which must not run.
    pub fn start(world: &World) -> Result<Self, Error> {
        let keys = world.alliance().join("keys");
        let chain = vec![
            CertificateDer::from_pem_file(keys.join("coordinator.pem"))?,
            CertificateDer::from_pem_file(keys.join("authority.pem"))?,
        ];
        let key = PrivateKeyDer::from_pem_file(keys.join("coordinator.key"))?;
        let config = tls::server().with_no_client_auth().with_single_cert(chain, key)?;
        let mut transport = transport();
        transport.max_concurrent_bidi_streams(1u8.into());
        let config = tls::quic_server(config, &[ALPN], transport)?;
        let address = Alliance::open(&world.alliance())?.listen();
        Ok(Self(quinn::Endpoint::server(config, address)?))
    }

    /// The next node that dials, once it has said hello and is welcomed with this roster.
    pub async fn accept(&self, roster: &Roster) -> Result<Conversation, Error> {
        let incoming = self.0.accept().await.ok_or("the endpoint is closed")?;
        let mut conversation = Conversation::accept(incoming.await?, FrameReader::from_nodes()).await?;
        conversation.hear().await?;
        let clock = jiff::Timestamp::now().as_second();
        conversation.say(&ToNode::Welcome { roster: roster.clone(), clock }).await?;
        Ok(conversation)
    }
}
