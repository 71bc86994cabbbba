use entente_protocols::wire::frame::encode;
use entente_protocols::wire::message::Enrolled;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;

const NAME: &str = "here.test";
const ALPN: &[u8] = b"test/1";
const LIMIT: Duration = Duration::from_secs(10);

/// A server on loopback that certifies itself, and how to dial it by a protocol.
fn server() -> (quinn::Endpoint, impl Fn(&[u8]) -> quinn::ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap().der().clone();
    let own = tls::server().with_no_client_auth();
    let own = own.with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into());
    let mut streams = transport();
    streams.max_concurrent_bidi_streams(1u8.into());
    let config = tls::quic_server(own.unwrap(), &[ALPN], streams).unwrap();
    let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let dialling = move |alpn: &[u8]| {
        let trusting = tls::client().with_root_certificates(tls::roots(&certificate).unwrap()).with_no_client_auth();
        tls::quic_client(trusting, alpn, transport()).unwrap()
    };
    (endpoint, dialling)
}

#[tokio::test]
async fn frames_come_whole_in_order_and_in_time() {
    let (endpoint, config) = server();
    let address = endpoint.local_addr().unwrap();
    let message = |text: &str| encode(&Enrolled::Refused(text.into()));
    let long = "long ".repeat(500_000);
    let answering = async {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut out, into) = connection.accept_bi().await.unwrap();
        let mut frames = Frames::new(into, FrameReader::enrolment());
        let first = frames.next_within(LIMIT).await.unwrap();
        assert!(matches!(first.decode(), Ok(Enrolled::Refused(text)) if text == "one"));
        let slow = frames.next_within(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(slow.to_string(), "nothing came in 0 s");
        // In pieces, and two at once.
        let bytes = [message("two"), message(&long)].concat();
        for piece in bytes.chunks(99_999) {
            send(&mut out, piece).await.unwrap();
        }
        send(&mut out, &message("cut short")[..9]).await.unwrap();
        out.finish().unwrap();
        connection.closed().await
    };
    let asking = async {
        let dialled = dial(config(ALPN), address, NAME).await.unwrap();
        let (mut out, into) = dialled.connection().open_bi().await.unwrap();
        send(&mut out, &message("one")).await.unwrap();
        let mut frames = Frames::new(into, FrameReader::enrolment());
        let two = frames.next().await.unwrap().unwrap();
        assert!(matches!(two.decode(), Ok(Enrolled::Refused(text)) if text == "two"));
        let whole = frames.next_within(LIMIT).await.unwrap();
        assert!(matches!(whole.decode(), Ok(Enrolled::Refused(text)) if text.len() == 2_500_000));
        assert!(matches!(frames.next_within(LIMIT).await, Err(LinkError::Ended)), "what is cut short is no frame");
        dialled.end().await;
    };
    let (closed, ()) = tokio::join!(answering, asking);
    assert!(closed.to_string().starts_with("closed by peer"), "{closed}");
}

#[tokio::test]
async fn a_lost_connection_says_why() {
    let (endpoint, config) = server();
    let address = endpoint.local_addr().unwrap();
    let answering = async {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (out, into) = connection.accept_bi().await.unwrap();
        connection.close(4u8.into(), b"revoked");
        endpoint.wait_idle().await;
        drop((out, into));
    };
    let asking = async {
        let dialled = dial(config(ALPN), address, NAME).await.unwrap();
        let (mut out, into) = dialled.connection().open_bi().await.unwrap();
        send(&mut out, b"x").await.unwrap();
        let lost = Frames::new(into, FrameReader::enrolment()).next().await.unwrap_err().to_string();
        assert!(lost.contains("revoked"), "{lost}");
        dialled.connection().closed().await;
        let lost = send(&mut out, b"x").await.unwrap_err().to_string();
        assert!(lost.contains("revoked"), "{lost}");
    };
    tokio::join!(answering, asking);
}

#[tokio::test]
async fn strangers_and_other_protocols_are_not_talked_to() {
    let (endpoint, config) = server();
    let (_other, stranger) = server();
    let address = endpoint.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let _ = incoming.await;
        }
    });
    let why = |dialled: Result<Dialled, LinkError>| dialled.map(drop).unwrap_err().to_string();
    assert!(why(dial(stranger(ALPN), address, NAME).await).contains("certificate"), "another authority");
    assert!(why(dial(config(ALPN), address, "elsewhere.test").await).contains("certificate"), "another name");
    assert!(dial(config(b"test/2"), address, NAME).await.is_err(), "another protocol");
    assert!(dial(config(ALPN), address, NAME).await.is_ok());
    accepting.abort();
}
