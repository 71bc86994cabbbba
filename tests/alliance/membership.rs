//! Who belongs to an alliance, and who is connected: tickets, certificates, revocation, crowds at the door.

use std::time::Duration;

use entente::{Coordinator, Error as Entente};
use entente_node::link::enrol::join;
use entente_protocols::identity::Ticket;
use entente_protocols::wire::message::{ALPN, ALPN_ENROL, Enrolled};
use entente_testing::relay::{Rules, UdpRelay, Way};
use entente_testing::{Applicant, Dialler, Error, World, until};
use tokio::time::timeout;

use super::customers::{by_region, counts_are_of, partners};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(10);

fn refused(answer: Enrolled, expected: &str) {
    match answer {
        Enrolled::Refused(reason) => assert!(reason.contains(expected), "{reason}"),
        Enrolled::Accepted { .. } => panic!("it must be refused for {expected}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_used_once_in_time_and_under_its_name() -> Result<(), Error> {
    let world = World::of(&[]).enrolled().await?;
    let invite = |partner: &str, expires| entente::invite(&world.alliance(), partner, expires);
    let ticket = invite("bank", HOUR)?;
    refused(Applicant::new([1; 32])?.enrol(&world, &ticket, "telecom").await?, "entente invite telecom");
    let bank = Applicant::new([2; 32])?;
    // Twice the same node: the first answer may have been lost.
    for _ in 0..2 {
        match bank.enrol(&world, &ticket, "bank").await? {
            Enrolled::Accepted { roster, .. } => assert_eq!(roster.members.get("bank"), Some(&bank.member())),
            Enrolled::Refused(reason) => panic!("{reason}"),
        }
    }
    refused(Applicant::new([3; 32])?.enrol(&world, &ticket, "bank").await?, "used already");
    let error = join(&ticket, &world.folder("again")).await.err().ok_or("it is used")?.to_string();
    assert!(error.contains("used already") && error.contains("entente invite"), "{error}");
    let error = invite("bank", HOUR).map(drop).unwrap_err().to_string();
    assert!(error.contains("entente revoke bank"), "{error}");

    // By the coordinator's clock, whatever the ticket says; and by the node's.
    let ticket = invite("telecom", Duration::from_secs(1))?;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    refused(Applicant::new([4; 32])?.enrol(&world, &ticket, "telecom").await?, "expired");
    let expired = Ticket { expires: 1_000_000_000, ..invite("broker", HOUR)? };
    let error = join(&expired, &world.folder("broker")).await.err().ok_or("it has expired")?.to_string();
    assert!(error.contains("expired") && error.contains("entente invite broker"), "{error}");
    Ok(())
}

/// The coordinator has enrolled a node, whose engineer gives up since no answer comes: a packet filter drops it.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_whose_answer_was_lost_is_answered_again() -> Result<(), Error> {
    let world = World::of(&[]).enrolled().await?;
    let relay = UdpRelay::start(world.running().address(), 11).await?;
    // What was answered is on its way for long enough to be lost.
    relay.set_both(Rules { delay: Duration::from_millis(200), ..Rules::default() });
    let ticket = Ticket { address: relay.address().to_string(), ..entente::invite(&world.alliance(), "bank", HOUR)? };
    let folder = world.folder("bank");
    let store = entente::store::Store::open(&world.alliance())?;
    let enrolled = async || Ok::<_, Error>(store.partners()?.contains_key("bank"));
    tokio::select! {
        joined = join(&ticket, &folder) => panic!("no answer can have come: {:?}", joined.map(drop)),
        found = until("it is enrolled", enrolled) => found?,
    }
    relay.cut(Way::Down);
    let keys = ["identity.key", "tls.key"].map(|name| std::fs::read(folder.key(name)).ok());
    assert!(!folder.is_joined() && keys.iter().all(Option::is_some));
    // Somebody else with the same ticket is still nobody.
    let error = join(&ticket_at(&ticket, &world), &world.folder("thief")).await.err().ok_or("it is used")?.to_string();
    assert!(error.contains("used already"), "{error}");
    relay.heal();

    let roster = join(&ticket, &folder).await?;
    assert_eq!(roster.members["bank"].identity, folder.identity()?.public());
    assert_eq!(keys, ["identity.key", "tls.key"].map(|name| std::fs::read(folder.key(name)).ok()), "the same keys");
    Dialler::partner(&world, "bank")?.hello(Vec::new()).await?;
    Ok(())
}

/// The ticket with the coordinator's own address.
fn ticket_at(ticket: &Ticket, world: &World) -> Ticket {
    Ticket { address: world.running().address().to_string(), ..ticket.clone() }
}

/// Whatever a folder lacks of a node, an identity in it is never replaced: its ledger is signed with it.
#[tokio::test(flavor = "multi_thread")]
async fn joining_never_replaces_an_identity() -> Result<(), Error> {
    let world = World::of(&["bank"]).enrolled().await?;
    let folder = world.folder("bank");
    let identity = std::fs::read(folder.key("identity.key"))?;
    std::fs::remove_file(folder.key("tls.crt"))?;
    let ticket = entente::invite(&world.alliance(), "another", HOUR)?;
    let error = join(&ticket, &folder).await.err().ok_or("the keys are the bank's")?.to_string();
    assert!(error.contains("another partner's"), "{error}");
    assert_eq!(std::fs::read(folder.key("identity.key"))?, identity);
    // Nor one that cannot be read.
    std::fs::write(folder.key("identity.key"), "damaged")?;
    let error = join(&ticket, &folder).await.err().ok_or("it is damaged")?.to_string();
    assert!(error.contains("identity key"), "{error}");
    assert_eq!(std::fs::read(folder.key("identity.key"))?, b"damaged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_and_nodes_of_one_alliance_are_of_no_use_in_another() -> Result<(), Error> {
    let (one, other) = (World::of(&["insurer"]).enrolled().await?, World::of(&[]).enrolled().await?);
    let address = other.running().address().to_string();
    let mixed = Ticket { address: address.clone(), ..entente::invite(&one.alliance(), "broker", HOUR)? };
    let error = join(&mixed, &one.folder("broker")).await.err().ok_or("it must fail")?.to_string();
    assert!(error.contains("another alliance"), "{error}");
    let path = one.folder("insurer").config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace(&one.running().address().to_string(), &address))?;
    let started = timeout(Duration::from_secs(3), entente_examples::alliance::start(one.folders(), "insurer"));
    assert!(!matches!(started.await, Ok(Ok(_))), "it must not connect");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_enrolment_and_nothing_else() -> Result<(), Error> {
    let (world, other) = (World::of(&["bank"]).enrolled().await?, World::of(&["bank"]).enrolled().await?);
    let stranger = Dialler::stranger(&world)?;
    // A client learns only after its handshake that it is not let in.
    let closed = timeout(SOON, stranger.dial(ALPN).await?.closed()).await?;
    assert!(closed.to_string().contains("certificate"), "{closed}");
    assert!(stranger.dial(b"other/1").await.is_err());
    // A certificate of another authority of the same name.
    let foreigner = Dialler::with_keys(&world, &other.folders().node("bank"))?;
    assert!(foreigner.hello(Vec::new()).await.is_err());
    assert!(!world.running().is_connected("bank"));
    // Which is what it lacks.
    Dialler::partner(&world, "bank")?.hello(Vec::new()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_closes_the_session_keeps_the_key_out_and_tells_the_study() -> Result<(), Error> {
    let mut world = partners().enrolled().await?;
    world.start("retailer").await?;
    let bank = Dialler::partner(&world, "bank")?;
    let schema = entente_node::load(&world.folder("bank"))?.datasets["customers"].schema.clone();
    let conversation = bank.hello(vec![schema.clone()]).await?;
    let asked = by_region("revoked").partners(&["bank", "retailer"]);
    let id = world.client().await?.submit(asked.build()?).await?;
    world.stage(&id, "joining").await?;

    world.client().await?.revoke("bank").await?;
    let closed = timeout(SOON, conversation.connection.closed()).await?.to_string();
    assert!(closed.contains("revoked"), "{closed}");
    assert!(bank.hello(vec![schema]).await.is_err(), "no new session");
    let error = world.client().await?.follow(&id, |_| ()).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("revoked"), "{error}");
    // A new invitation, a new key: it is a partner again.
    let folder = world.folder("bank-again");
    join(&entente::invite(&world.alliance(), "bank", HOUR)?, &folder).await?;
    Dialler::with_keys(&world, folder.path())?.hello(Vec::new()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_node_replaces_the_older() -> Result<(), Error> {
    let world = World::of(&["bank"]).enrolled().await?;
    let bank = Dialler::partner(&world, "bank")?;
    let first = bank.hello(Vec::new()).await?;
    let second = bank.hello(Vec::new()).await?;
    let closed = timeout(SOON, first.connection.closed()).await?.to_string();
    assert!(closed.contains("anew"), "{closed}");
    assert!(second.connection.close_reason().is_none() && world.running().is_connected("bank"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_in_crowds_do_not_keep_partners_from_working() -> Result<(), Error> {
    let world = partners().start().await?;
    let stranger = Dialler::stranger(&world)?;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        // They shake hands, say nothing and stay.
        if let Ok(connection) = stranger.dial(ALPN_ENROL).await {
            crowd.push(connection);
        }
    }
    counts_are_of(&world.run(by_region("crowded").build()?).await?, &["bank", "retailer", "telecom"])?;
    until("most are sent away", async || {
        Ok(crowd.iter().filter(|connection| connection.close_reason().is_some()).count() >= 60)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_coordinator_at_a_time_and_a_taken_port_is_said() -> Result<(), Error> {
    let world = World::of(&[]).enrolled().await?;
    let second = Coordinator::start(&world.alliance()).await.map(drop).unwrap_err().to_string();
    assert!(second.contains("already running"), "{second}");
    let other = world.folders().node("another-alliance");
    entente::init(&other, "autumn", &world.running().address().to_string(), None)?;
    let error = Coordinator::start(&other).await.map(drop).unwrap_err();
    assert!(matches!(&error, Entente::Refused(why) if why.problem.contains("listens on UDP")), "{error}");
    Ok(())
}
