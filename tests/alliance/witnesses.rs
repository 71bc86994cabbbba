//! Ledgers that were rolled back, forked or cloned; vectors that wait for witnesses; what officers stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use entente::views::PartnerView;
use entente_protocols::digest::Digest;
use entente_protocols::identity::IdentityKey;
use entente_protocols::kind::Kind;
use entente_protocols::ledger::absence::Absence;
use entente_protocols::ledger::checkpoint::{Statement, coordinator_origin};
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::office::Subject;
use entente_protocols::ledger::reading::Reading;
use entente_protocols::ledger::verify::verify_export;
use entente_protocols::ledger::witness::{Answer, Request};
use entente_protocols::ledger::{AccountKey, Act, Checkpoint, Outcome};
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToNode};
use entente_testing::{Draft, Error, PARTNERS, Proposed, Puppets, SETTINGS, World, refused, study, until};

use super::hostile::{SQL, proposal};
use super::training::long;

fn act(officer: &str) -> Act<'_> {
    Act { officer, reason: "a test", now: "2026-01-01T00:00:00Z" }
}

/// The whole state of a node that does not run, to be put back later.
fn state(world: &World, partner: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let folder = world.folders().node(partner).join("state");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name")?.to_owned();
            files.insert(name, std::fs::read(&path)?);
        }
    }
    Ok(files)
}

fn restore(world: &World, partner: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    let folder = world.folders().node(partner).join("state");
    std::fs::remove_dir_all(&folder)?;
    std::fs::create_dir(&folder)?;
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// What the operator sees of a partner.
async fn seen(world: &World, partner: &str) -> Result<PartnerView, Error> {
    let view = world.client().await?.partners().await?;
    Ok(view.partners.into_iter().find(|view| view.name == partner).ok_or("the partner")?)
}

fn older(name: &str, age: u32) -> Draft {
    study(name).sql(&format!("SELECT COUNT(*) AS n FROM clients WHERE age > {age}"))
}

async fn refusal(world: &World, name: &str) -> Result<String, Error> {
    world.refusal(study(name).sql("SELECT COUNT(*) AS n FROM clients").build()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn yesterdays_ledger_is_found_at_first_contact_and_two_officers_take_over_what_was_spent() -> Result<(), Error> {
    let mut world = World::new().await?;
    world.run(older("first", 30).build()?).await?;
    world.stop("bank").await;
    let yesterday = state(&world, "bank")?;
    world.start("bank").await?;
    world.run(older("second", 40).build()?).await?;
    let spent = world.open_ledger("bank")?.spent("clients");
    // Until its last checkpoint, with what was recorded at the end, is at all witnesses.
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.stop("bank").await;
    restore(&world, "bank", &yesterday)?;
    assert!(world.open_ledger("bank")?.spent("clients").rho < spent.rho);
    world.start("bank").await?;
    until("quarantine", async || Ok(world.open_ledger("bank")?.quarantine().is_some())).await?;
    // The operator's view stays what was witnessed, and an alarm says that the node's differs.
    let view = seen(&world, "bank").await?;
    let witnessed = view.witnessed.ok_or("it was witnessed")?.accounts["client_id"].spent_rho;
    assert_eq!(witnessed, spent.rho.value());
    let [alarm] = &view.alarms[..] else { panic!("one alarm: {:?}", view.alarms) };
    assert!(alarm.reason.contains("were witnessed"), "{alarm:?}");
    let error = refusal(&world, "third").await?;
    assert!(error.contains("bank") && error.contains("witnessed"), "{error}");
    assert_eq!(world.count("bank", State::Reserved)?, 1, "nothing more was charged, nothing left");
    let mut ledger = world.open_ledger("bank")?;
    assert_eq!(ledger.recover(act("ann"))?, Outcome::Proposed);
    assert!(refusal(&world, "fourth").await?.contains("bank"), "one officer is not enough");
    assert_eq!(ledger.recover(act("bob"))?, Outcome::Done);
    assert_eq!(ledger.spent("clients"), spent, "the larger");
    // The running node shows its witnesses, and takes part again.
    until("it takes part", async || Ok(world.files(older("fifth", 50).build()?).await.is_ok())).await?;
    assert_eq!(world.open_ledger("bank")?.quarantine(), None);
    // It stays until somebody has looked into it.
    let number = seen(&world, "bank").await?.alarms.first().ok_or("still there")?.number;
    world.client().await?.acknowledge(number, "a restored backup, recovered by ann and bob").await?;
    assert!(seen(&world, "bank").await?.alarms.is_empty());
    let report = verify_export(&world.export("bank")?, world.folder("bank").pinned_roster()?.as_ref());
    assert!(report.passed(), "{}", report.text());
    assert!(report.spent[&AccountKey::Population("client_id".into())].rho > spent.rho);
    Ok(())
}

/// A copy that has gone its own way, and is longer than what was witnessed: only the tree tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_has_grown_on_its_own_is_found() -> Result<(), Error> {
    let mut world = World::new().await?;
    world.run(older("first", 30).build()?).await?;
    world.stop("bank").await;
    let copy = state(&world, "bank")?;
    world.start("bank").await?;
    world.run(older("second", 40).build()?).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.stop("bank").await;
    restore(&world, "bank", &copy)?;
    let mut clone = world.open_ledger("bank")?;
    for _ in 0..20 {
        clone.note(1, act("ann"))?;
    }
    world.start("bank").await?;
    until("quarantine", async || Ok(world.open_ledger("bank")?.quarantine().is_some())).await?;
    assert!(refusal(&world, "third").await?.contains("quarantine"));
    assert_eq!(world.count("bank", State::Reserved)?, 1);
    Ok(())
}

/// What the coordinator answers to a request for cosignatures, of which it cosigns any.
fn by_the_coordinator(puppets: &Puppets, request: &Request) -> Result<Answer, Error> {
    let identity = std::fs::read_to_string(puppets.world.alliance().join("keys/identity"))?;
    let secret: Digest = identity.trim().parse().map_err(|_| "a key")?;
    let (key, name) = (IdentityKey::from_secret(&secret.0), coordinator_origin(puppets.roster.authority));
    assert_eq!(key.public(), puppets.roster.coordinator);
    let checkpoint = Checkpoint::parse(&request.checkpoint)?;
    let line = checkpoint.note().cosign(&name, &key, 0).to_string();
    Ok(Answer::Cosigned { size: checkpoint.statement().size, line })
}

fn contributions(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.is_contribution()).count()
}

/// What a coordinator shows counts only with the node's own signature.
#[tokio::test(flavor = "multi_thread")]
async fn an_invented_checkpoint_quarantines_nobody() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let signer = puppets.world.folder("bank").signer("bank")?;
    let statement = Statement {
        origin: signer.origin.clone(),
        size: 1000,
        root: Digest([1; 32]),
        head: Digest([2; 32]),
        accounts: BTreeMap::new(),
        away: Vec::new(),
    };
    let forged = Checkpoint::sign(statement.clone(), &IdentityKey::from_secret(&[66; 32]))?;
    let show = |checkpoint: &Checkpoint| {
        let answer = Answer::Holds(checkpoint.to_string());
        puppets.tell_alone("bank", ToNode::Witnessed { by: None, answer })
    };
    assert!(show(&forged).is_empty());
    puppets.pledge("bank", &proposal("joins", SQL)?);
    // The same with the node's signature, which only a copy of the node can make.
    show(&Checkpoint::sign(statement, &signer.key)?);
    refused(puppets.ask("bank", proposal("does-not", SQL)?.propose()), "quarantine");
    Ok(())
}

/// A vector that waited when the connection was lost: a coordinator that has started anew has not asked for it yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_leaves_on_the_connection_that_it_was_asked_for_on() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("reconnects", SQL)?;
    let signatures = puppets.signatures(&proposal);
    let go = || proposal.go(&signatures);
    let Some(Ok(FromNode::Witness { request, .. })) = puppets.tell_alone("bank", go()).first().map(Frame::decode)
    else {
        panic!("it asks its witnesses")
    };
    puppets.reconnect("bank");
    for witness in ["retailer", "telecom"] {
        let asked = ToNode::Witness { node: "bank".into(), request: request.clone() };
        let FromNode::Witnessed { answer, .. } = puppets.ask(witness, asked) else { panic!("a witness answers") };
        let told = ToNode::Witnessed { by: Some(witness.into()), answer };
        assert_eq!(contributions(&puppets.tell_alone("bank", told)), 0, "nobody has asked on this connection");
    }
    assert_eq!(contributions(&puppets.tell_alone("bank", go())), 1, "it is witnessed, and asked for");
    Ok(())
}

/// Somebody has joined or left meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_disturbed_by_a_changed_roster() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("undisturbed", SQL)?;
    let signatures = puppets.signatures(&proposal);
    let frames = puppets.tell_alone("bank", proposal.go(&signatures));
    let Some(Ok(FromNode::Witness { request, .. })) = frames.first().map(Frame::decode) else {
        panic!("it asks its witnesses")
    };
    let mut roster = puppets.roster.clone();
    let newcomer = roster.members["bank"].clone();
    roster.members.insert("newcomer".into(), newcomer);
    assert!(puppets.tell_alone("bank", ToNode::Roster(roster.clone())).is_empty());
    assert_eq!(puppets.world.folder("bank").offered_roster()?, Some(roster));
    let mut left = 0;
    for witness in ["retailer", "telecom"] {
        let asked = ToNode::Witness { node: "bank".into(), request: request.clone() };
        let FromNode::Witnessed { answer, .. } = puppets.ask(witness, asked) else { panic!("a witness answers") };
        let told = ToNode::Witnessed { by: Some(witness.into()), answer };
        left += contributions(&puppets.tell_alone("bank", told));
    }
    assert_eq!(left, 1);
    Ok(())
}

/// Of three partners both others, and never the coordinator.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_enough_have_witnessed_the_charge() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("waits", SQL)?;
    let signatures = puppets.signatures(&proposal);
    let go = || proposal.go(&signatures);
    let request = |frames: Vec<Frame>| {
        assert_eq!(contributions(&frames), 0, "nothing leaves");
        match frames.first().map(Frame::decode) {
            Some(Ok(FromNode::Witness { request, .. })) => request,
            other => panic!("it asks its witnesses: {other:?}"),
        }
    };
    let asked = request(puppets.tell_alone("bank", go()));
    assert_eq!(puppets.reserved()?[PARTNERS.iter().position(|partner| *partner == "bank").ok_or("bank")?], 1);
    let answer = |by: &str| {
        let asked = ToNode::Witness { node: "bank".into(), request: asked.clone() };
        match puppets.ask(by, asked) {
            FromNode::Witnessed { answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    };
    let tell = |by: Option<&str>, answer: Answer| {
        contributions(&puppets.tell_alone("bank", ToNode::Witnessed { by: by.map(String::from), answer }))
    };
    assert_eq!(tell(Some("retailer"), answer("retailer")), 0, "one of two");
    assert_eq!(tell(Some("retailer"), answer("retailer")), 0, "twice the same one");
    assert_eq!(tell(Some("telecom"), answer("retailer")), 0, "in another's name");
    assert_eq!(tell(None, answer("retailer")), 0, "in the coordinator's name");
    assert_eq!(tell(None, by_the_coordinator(&puppets, &asked)?), 0, "the coordinator's own");
    // Asked again after a restart of both: the same answer.
    assert_eq!(answer("retailer"), answer("retailer"));
    let mut puppets = puppets;
    puppets.restart("bank")?;
    puppets.restart("retailer")?;
    let again = request(puppets.tell_alone("bank", go()));
    let FromNode::Witnessed { answer, .. } =
        puppets.ask("retailer", ToNode::Witness { node: "bank".into(), request: again.clone() })
    else {
        panic!("a witness answers")
    };
    let told = |by: &str, answer| ToNode::Witnessed { by: Some(by.into()), answer };
    assert!(matches!(answer, Answer::Cosigned { .. }), "{answer:?}");
    assert_eq!(contributions(&puppets.tell_alone("bank", told("retailer", answer))), 0);
    let FromNode::Witnessed { answer, .. } =
        puppets.ask("telecom", ToNode::Witness { node: "bank".into(), request: again })
    else {
        panic!("a witness answers")
    };
    assert_eq!(contributions(&puppets.tell_alone("bank", told("telecom", answer))), 1, "two");
    assert_eq!(contributions(&puppets.tell_alone("bank", go())), 1, "and again, as it is witnessed");
    Ok(())
}

/// A witness that cannot keep anything: the study waits beyond its deadline and says for whom, with the charge and without a vector.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_without_its_quorum_waits_and_says_for_whom() -> Result<(), Error> {
    let world = World::new().await?;
    world.run(older("before", 30).build()?).await?;
    rusqlite_drop(&world.folder("telecom").state("witnessed.sqlite"))?;
    let asked = study("alone").sql("SELECT COUNT(*) AS n FROM clients").partners(&["bank", "retailer"]).wait_seconds(3);
    let id = world.client().await?.submit(asked.build()?).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let shown = world.client().await?.show(&id).await?;
    let bank = shown
        .waiting
        .iter()
        .find(|waiting| waiting.partner == "bank")
        .ok_or_else(|| format!("the bank is waited for: {shown:?}"))?;
    assert!(bank.reason.starts_with("telecom to witness the charge in its ledger"), "{}", bank.reason);
    assert!(bank.reason.contains("telecom could not keep it"), "{}", bank.reason);
    world.client().await?.cancel(&id).await?;
    assert_eq!((world.count("bank", State::Reserved)?, world.count("bank", State::Computed)?), (2, 2));
    assert_eq!(world.count("bank", State::Released)?, 1);
    Ok(())
}

fn rusqlite_drop(path: &Path) -> Result<(), Error> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection.execute_batch("DROP TABLE witnessed")?)
}

fn waits(said: &FromNode) -> &str {
    match said {
        FromNode::Attempt(_, FromAttempt::Waiting { reason }) => reason,
        other => panic!("it must wait: {other:?}"),
    }
}

/// A partner has started and its coordinator lets it hear what it likes.
fn held(by: &str, reading: &Reading) -> ToNode {
    ToNode::Held { by: by.into(), reading: reading.clone() }
}

/// The nonce under which a partner asks what others hold.
fn asks_to_read(puppets: &Puppets, partner: &str) -> Result<Digest, Error> {
    let said = puppets.says_when_it_connects(partner);
    let nonce = said.iter().find_map(|said| if let FromNode::Read { nonce } = said { Some(*nonce) } else { None });
    Ok(nonce.ok_or("it asks what others hold")?)
}

/// Last week's state, and a coordinator that keeps the bank from the retailer, who knows better, and answers in its place with what it
/// said before. On the way to a release beyond the cap there is not even a pledge.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_put_back_is_found_though_the_coordinator_keeps_it_from_its_witness() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    puppets.let_go("bank");
    let last_week = state(&puppets.world, "bank")?;
    puppets.start("bank")?;
    let nonce = asks_to_read(&puppets, "bank")?;
    let before = puppets.reading("retailer", "bank", nonce).ok_or("it answers")?;
    puppets.read("bank");
    let first = proposal("first", SQL)?;
    let signatures = puppets.signatures(&first);
    assert_eq!(contributions(&puppets.tell("bank", first.go(&signatures))), 1);
    let spent = puppets.world.open_ledger("bank")?.spent("clients");
    puppets.let_go("bank");
    restore(&puppets.world, "bank", &last_week)?;
    puppets.start("bank")?;
    let second = proposal("second", SQL)?;
    let asked = puppets.ask("bank", second.propose());
    assert!(waits(&asked).starts_with("retailer and telecom to say what"), "{asked:?}");
    let nonce = asks_to_read(&puppets, "bank")?;
    let telecom = puppets.reading("telecom", "bank", nonce).ok_or("it answers")?;
    let of_another = puppets.reading("retailer", "telecom", nonce).ok_or("it answers")?;
    let empty = Reading { held: Vec::new(), ..puppets.reading("retailer", "bank", nonce).ok_or("it answers")? };
    let told = [("retailer", &before), ("retailer", &telecom), ("retailer", &of_another), ("retailer", &empty)];
    for (by, reading) in told {
        puppets.tell("bank", held(by, reading));
        let asked = puppets.ask("bank", second.propose());
        assert!(waits(&asked).starts_with("retailer and telecom to say what"), "{asked:?}");
    }
    let nothing = Reading { held: Vec::new(), ..telecom.clone() };
    puppets.tell("bank", held("telecom", &nothing));
    assert!(waits(&puppets.ask("bank", second.propose())).contains("telecom"), "signed for something else");
    assert_eq!(puppets.world.ledger("bank")?.len(), 0, "nothing is charged, nor even refused");
    puppets.tell("bank", held("telecom", &telecom));
    refused(puppets.ask("bank", second.propose()), "quarantine");
    // Two officers take over what was spent, and it goes on.
    puppets.read("bank");
    let mut ledger = puppets.world.open_ledger("bank")?;
    ledger.recover(act("ann"))?;
    assert_eq!(ledger.recover(act("bob"))?, Outcome::Done);
    assert_eq!(ledger.spent("clients"), spent);
    puppets.pledge("bank", &proposal("third", SQL)?);
    Ok(())
}

/// Whoever was restored may have been asked to go on with what it had joined, or to send again what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_on_after_a_start_before_partners_have_said_what_they_hold() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let asked = proposal("goes-on", SQL)?;
    let pledges: Vec<_> = PARTNERS.iter().map(|partner| puppets.pledge(partner, &asked)).collect();
    puppets.start("bank")?;
    assert!(waits(&puppets.ask("bank", asked.start(&pledges))).contains("retailer and telecom"));
    puppets.read("bank");
    // What was put off is taken up by itself.
    let taken_up = puppets.participant("bank").taken_up();
    assert!(taken_up.len() == 1 && taken_up.contains_key(&asked.id));
    let signatures = puppets.signatures(&asked);
    puppets.start("bank")?;
    assert!(waits(&puppets.ask("bank", asked.go(&signatures))).contains("retailer and telecom"));
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 0);
    puppets.read("bank");
    assert_eq!(contributions(&puppets.tell("bank", asked.go(&signatures))), 1);
    Ok(())
}

/// A power cut takes all of them: each answers before it has heard anybody.
#[tokio::test(flavor = "multi_thread")]
async fn partners_who_start_at_the_same_time_do_not_wait_for_each_other() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    PARTNERS.iter().try_for_each(|partner| puppets.start(partner))?;
    let asked = proposal("all", SQL)?;
    for partner in PARTNERS {
        assert!(waits(&puppets.ask(partner, asked.propose())).contains("to say what it holds"));
    }
    PARTNERS.iter().for_each(|partner| puppets.read(partner));
    let signatures = puppets.signatures(&asked);
    for partner in PARTNERS {
        assert_eq!(contributions(&puppets.tell(partner, asked.go(&signatures))), 1);
    }
    Ok(())
}

/// The bank runs as of last week, beside a copy that has gone on; only the retailer has witnessed that, after the bank had heard it.
#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_has_witnessed_more_of_a_ledger_lets_nobody_charge() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    puppets.let_go("bank");
    let last_week = state(&puppets.world, "bank")?;
    puppets.restart("bank")?;
    let first = proposal("first", SQL)?;
    let signatures = puppets.signatures(&first);
    puppets.tell_alone("bank", first.go(&signatures));
    let request = puppets.asks_witnesses("bank").pop().ok_or("it asks")?;
    puppets.let_go("bank");
    restore(&puppets.world, "bank", &last_week)?;
    puppets.restart("bank")?;
    puppets.ask("retailer", ToNode::Witness { node: "bank".into(), request });
    let second = Proposed::new(study("second").sql("SELECT COUNT(*) AS n FROM clients WHERE age > 40").build()?);
    let charged = puppets.reserved()?;
    let pledges: Vec<_> = PARTNERS.iter().map(|partner| puppets.pledge(partner, &second)).collect();
    refused(puppets.ask("bank", second.start(&pledges)), "retailer has witnessed");
    assert_eq!(puppets.reserved()?, charged, "nobody is charged");
    Ok(())
}

/// What leaves the bank once the retailer alone has witnessed what it asks for in a frame.
fn by_the_retailer_alone(puppets: &Puppets, frames: &[Frame]) -> usize {
    assert_eq!(contributions(frames), 0);
    let Some(Ok(FromNode::Witness { request, .. })) = frames.first().map(Frame::decode) else { panic!("it asks") };
    let asked = ToNode::Witness { node: "bank".into(), request };
    let FromNode::Witnessed { answer, .. } = puppets.ask("retailer", asked) else { panic!("a witness answers") };
    contributions(&puppets.tell_alone("bank", ToNode::Witnessed { by: Some("retailer".into()), answer }))
}

/// A witness that is away is recorded by two officers; from then on nobody waits for it, and all that follows says so.
#[tokio::test(flavor = "multi_thread")]
async fn two_officers_go_on_without_a_witness_and_the_ledger_says_so() -> Result<(), Error> {
    let settings = SETTINGS.to_owned() + "officers = [\"ann\", \"bob\"]\nwitness_wait = \"1s\"\n";
    let puppets = Puppets::of(World::of(&PARTNERS).settings(|_| settings.clone())).await?;
    let asked = proposal("goes-on-without", SQL)?;
    let signatures = puppets.signatures(&asked);
    let frames = puppets.tell_alone("bank", asked.go(&signatures));
    assert_eq!(by_the_retailer_alone(&puppets, &frames), 0);
    std::thread::sleep(Duration::from_millis(1100));
    let reminded = puppets.participant("bank").reconsider();
    let reasons = puppets.decoded(&reminded);
    let reason =
        reasons.iter().find(|said| matches!(said, FromNode::Attempt(..))).map(waits).ok_or("it says for whom")?;
    assert!(reason.starts_with("telecom to witness") && reason.contains("witness away telecom"), "{reason}");
    puppets.participant("bank").reconsider();
    assert_eq!(puppets.world.folder("bank").waits().as_deref(), Some(reason), "for its staff to see");
    let now = puppets.participant("bank").clock().now();
    let until = (now + jiff::SignedDuration::from_hours(48)).to_string()[..10].to_owned();
    let (now, absence) = (now.to_string(), Absence { partner: "telecom".into(), until });
    let by = |officer| Act { now: &now, ..act(officer) };
    assert_eq!(puppets.world.open_ledger("bank")?.away(&absence, false, by("ann"))?, Outcome::Proposed);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(contributions(&puppets.frames(&puppets.participant("bank").reconsider())), 0, "one is not enough");
    assert_eq!(puppets.world.open_ledger("bank")?.away(&absence, false, by("bob"))?, Outcome::Done);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(contributions(&puppets.frames(&puppets.participant("bank").reconsider())), 1, "two are");
    puppets.participant("bank").reconsider();
    assert_eq!(puppets.world.folder("bank").waits(), None);
    // What follows says so: entries, checkpoints, and whoever verifies them.
    puppets.world.open_ledger("bank")?.note(1, by("ann"))?;
    assert_eq!(puppets.world.ledger("bank")?.last().ok_or("a note")?.away, std::slice::from_ref(&absence));
    let report = verify_export(&puppets.world.export("bank")?, puppets.world.folder("bank").pinned_roster()?.as_ref());
    assert!(report.passed() && report.text().contains(&absence.to_string()), "{}", report.text());
    assert!(report.text().contains("by ann and bob"), "{}", report.text());
    // It is back as soon as one officer says so.
    puppets.world.open_ledger("bank")?.back("telecom", false, by("ann"))?;
    let next = Proposed::new(study("next").sql("SELECT COUNT(*) AS n FROM clients WHERE age > 40").build()?);
    let signatures = puppets.signatures(&next);
    let frames = puppets.tell_alone("bank", next.go(&signatures));
    assert_eq!(by_the_retailer_alone(&puppets, &frames), 0);
    let report = verify_export(&puppets.world.export("bank")?, None);
    assert!(report.passed() && report.text().contains("at its end none is away"), "{}", report.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_middle_of_a_training_stops_it_at_once() -> Result<(), Error> {
    let world = World::new().await?;
    let run = world.spawn(long("paused").build()?);
    until("some rounds", async || Ok(world.count("bank", State::Reserved)? >= 3)).await?;
    world.open_ledger("bank")?.hold(&Subject::Kind(Kind::Train), true, act("ann"))?;
    let paused = world.ledger("bank")?.iter().position(|entry| entry.state() == State::Paused).ok_or("a pause")?;
    let error = run.await?.map(drop).unwrap_err().to_string();
    assert!(error.contains("bank") && error.contains("paused by ann"), "{error}");
    let after = world.ledger("bank")?;
    assert!(after[paused..].iter().all(|entry| entry.state() != State::Reserved), "no charge behind the pause");
    let refused = world.refusal(long("again").build()?).await?;
    assert!(refused.contains("paused by ann"), "{refused}");
    world.run(study("other").sql("SELECT COUNT(*) AS n FROM clients").build()?).await?;
    world.open_ledger("bank")?.hold(&Subject::Kind(Kind::Train), false, act("bob"))?;
    world.run(long("resumed").build()?).await?;
    Ok(())
}

/// Nothing refills by time: caps change by entries alone, and a clock that jumps is no more than a date in an entry.
#[tokio::test(flavor = "multi_thread")]
async fn ten_years_more_or_less_give_no_budget_back() -> Result<(), Error> {
    let settings = SETTINGS.replace("epsilon = 10.0", "epsilon = 1.6").replace("4.0", "1.0");
    let mut world = World::with(|_| settings.clone()).await?;
    for age in [30, 40] {
        world.run(older(&format!("over-{age}"), age).build()?).await?;
    }
    world.stop("bank").await;
    let spent = world.open_ledger("bank")?.spent("clients");
    for year in ["2016", "2036"] {
        world.open_ledger("bank")?.note(1, Act { now: &format!("{year}-01-01T00:00:00Z"), ..act("ann") })?;
    }
    world.start("bank").await?;
    let error = refusal(&world, "third").await?;
    assert!(error.contains("the lifetime budget"), "{error}");
    assert_eq!(world.open_ledger("bank")?.spent("clients"), spent);
    Ok(())
}
