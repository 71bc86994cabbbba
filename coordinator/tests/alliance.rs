//! The coordinator and fake nodes over real QUIC on loopback.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use entente::{Client, Coordinator, Error, Running, Update};
use entente_protocols::identity::Ticket;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::{Study, file};
use entente_protocols::wire::message::{ALPN, ALPN_ENROL};
use support::{FakeNode, Handle, Identity, Manners, schema};

/// An alliance with its coordinator.
struct World {
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Any free port: bound and let go.
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        entente::init(&folder.path().join("a"), "spring", &free.to_string(), None).unwrap();
        let mut world = Self { folder, running: None };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        self.running = Some(Coordinator::start(&self.dir()).await.unwrap());
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().shutdown().await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("a")
    }

    async fn node(&self, name: &str, customers: [u32; 2], manners: Manners) -> Handle {
        let (mut node, watched) = FakeNode::enrolled(&self.dir(), name, self.running().address(), customers).await;
        node.manners = manners;
        node.start(watched)
    }

    fn invite(&self, name: &str, seconds: u64) -> Ticket {
        entente::invite(&self.dir(), name, Duration::from_secs(seconds)).unwrap()
    }

    async fn run(&self, study: Study) -> Result<Outcome, Error> {
        let mut updates = Vec::new();
        let dir = self.dir();
        let run = entente::run_study(&dir, study, |update| updates.push(update));
        let files = tokio::time::timeout(Duration::from_secs(60), run).await.expect("it ends in time")?;
        let result = serde_json::from_slice(&files["result.json"]).unwrap();
        Ok(Outcome { result, updates })
    }

    async fn client(&self) -> Client {
        Client::connect(&self.dir()).await.unwrap()
    }
}

struct Outcome {
    result: serde_json::Value,
    updates: Vec<Update>,
}

impl Outcome {
    /// The counts of north and south.
    fn counts(&self) -> [f64; 2] {
        [0, 1].map(|row| self.result["rows"][row]["customers"]["value"].as_f64().unwrap())
    }

    fn attempts(&self) -> u32 {
        let attempts = self.updates.iter().filter_map(|update| match update {
            Update::Progress(progress) => Some(progress.attempt),
            Update::Accepted(_) => None,
        });
        attempts.max().unwrap()
    }
}

fn study(more: &str) -> Study {
    let text = format!(
        r#"
name = "customers-by-region"
purpose = "a test"
kind = "query"
{more}
[privacy]
epsilon = 5.0
delta = 1e-6
[query]
sql = "SELECT region, COUNT(DISTINCT id) AS customers FROM customers GROUP BY region"
"#
    );
    file::parse("study.toml", &text).unwrap()
}

fn near(found: [f64; 2], expected: [f64; 2]) {
    for (found, expected) in found.into_iter().zip(expected) {
        // ε = 5 over three shares: a standard deviation of a few customers.
        assert!((found - expected).abs() < 60.0, "{found} is not near {expected}");
    }
}

const THREE: [(&str, [u32; 2]); 3] = [("bank", [500, 100]), ("retailer", [300, 200]), ("telecom", [200, 300])];

async fn three(world: &World, manners: impl Fn(&str) -> Manners) -> Vec<Handle> {
    let mut nodes = Vec::new();
    for (name, customers) in THREE {
        nodes.push(world.node(name, customers, manners(name)).await);
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_used_once_in_time_and_under_its_name() {
    let world = World::new().await;
    let (dir, address) = (world.dir(), world.running().address());
    let identity = |name: &str| Identity::new(&dir, name, address);

    let ticket = world.invite("bank", 60);
    let refusal = identity("telecom").join(&ticket).await.unwrap_err();
    assert!(refusal.contains("entente invite telecom"), "{refusal}");
    let mut bank = identity("bank");
    bank.join(&ticket).await.unwrap();
    bank.join(&ticket).await.expect("the same node again: the first answer may have been lost");
    let refusal = identity("bank").join(&ticket).await.unwrap_err();
    assert!(refusal.contains("used already"), "{refusal}");
    let refusal = entente::invite(&dir, "bank", Duration::from_secs(60)).map(drop).unwrap_err();
    assert!(refusal.to_string().contains("entente revoke bank"), "{refusal}");

    let ticket = world.invite("telecom", 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let refusal = identity("telecom").join(&ticket).await.unwrap_err();
    assert!(refusal.contains("expired"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_enrolment_and_nothing_else() {
    let world = World::new().await;
    let stranger = Identity::new(&world.dir(), "bank", world.running().address());
    // A client learns only after its handshake that it is not let in.
    let connection = stranger.dial(ALPN, false).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await.unwrap();
    assert!(closed.to_string().contains("certificate"), "{closed}");
    assert!(stranger.dial(b"other/1", false).await.is_err());

    // A certificate of another authority of the same name.
    let other = World::new().await;
    let mut foreigner = Identity::new(&other.dir(), "bank", other.running().address());
    foreigner.join(&other.invite("bank", 60)).await.unwrap();
    foreigner.address = world.running().address();
    foreigner.authority = stranger.authority.clone();
    assert!(foreigner.hello(vec![schema()]).await.is_err());
    assert!(!world.running().is_connected("bank"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_of_three_gives_the_sum_and_the_same_answer_for_nothing() {
    let world = World::new().await;
    let mut nodes = three(&world, |_| Manners { asks_steward: true, ..Manners::default() }).await;
    let first = world.run(study("")).await.unwrap();
    near(first.counts(), [1000.0, 600.0]);
    assert_eq!(first.attempts(), 1);
    for node in &mut nodes {
        node.sees("finished").await;
    }
    // The same question under another purpose: the stored answer.
    let mut again = study("");
    again.purpose = "another".into();
    let second = world.run(again).await.unwrap();
    assert_eq!(second.counts(), first.counts());
    let mut spent = Vec::new();
    for mut node in nodes {
        node.sees("resend").await;
        spent.push(node.stop().await.0.spent());
    }
    let charged = spent.iter().all(|spent| *spent > Rho::ZERO && *spent <= study("").privacy.rho);
    assert!(charged, "each was charged once: {spent:?}");

    let studies = world.client().await.studies().await.unwrap();
    assert_eq!(studies.len(), 2);
    assert!(studies.iter().all(|study| study.state.to_string() == "done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reconnects_goes_on_where_it_was() {
    for stage in ["propose", "start", "go", "finished"] {
        let world = World::new().await;
        let manners = |name: &str| Manners { drops_once_at: (name == "bank").then_some(stage), ..Manners::default() };
        let mut nodes = three(&world, manners).await;
        let outcome = world.run(study("")).await.unwrap();
        near(outcome.counts(), [1000.0, 600.0]);
        assert_eq!(outcome.attempts(), 1, "{stage}");
        if stage == "finished" {
            // Told again when it is back.
            nodes[0].sees("finished").await;
            nodes[0].sees("finished").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_partner_makes_a_second_attempt_without_it() {
    let world = World::new().await;
    let manners = |name: &str| Manners { goes_at: (name == "telecom").then_some("go"), ..Manners::default() };
    let mut nodes = three(&world, manners).await;
    let outcome = world.run(study("min_partners = 2\nwait_seconds = 2")).await.unwrap();
    near(outcome.counts(), [800.0, 300.0]);
    assert_eq!(outcome.attempts(), 2);
    assert_eq!(outcome.result["participants"], serde_json::json!(["bank", "retailer"]));
    assert!(outcome.result["warnings"].to_string().contains("telecom"), "{}", outcome.result["warnings"]);
    nodes[0].sees("abandoned").await;
    // The one that was lost learns of it when it comes back.
    let (mut telecom, watched) = nodes.remove(2).stop().await;
    telecom.manners = Manners::default();
    telecom.start(watched).sees("abandoned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_partners_end_the_study() {
    let world = World::new().await;
    let manners = |name: &str| Manners { goes_at: (name == "telecom").then_some("start"), ..Manners::default() };
    let nodes = three(&world, manners).await;
    let error = world.run(study("wait_seconds = 1")).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Failed(why) if why.contains("telecom") && why.contains("min_partners")), "{error}");
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_its_reason_and_the_others_can_go_on() {
    let world = World::new().await;
    let refuses = |name: &str| Manners {
        refuses: (name == "telecom").then(|| "the budget is spent".to_owned()),
        ..Manners::default()
    };
    let nodes = three(&world, refuses).await;
    let error = world.run(study("")).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("`telecom` refused: the budget is spent")), "{error}");
    let outcome = world.run(study("min_partners = 2")).await.unwrap();
    near(outcome.counts(), [800.0, 300.0]);

    let check = world.client().await.check(study("")).await.unwrap();
    assert!(check.refused);
    let telecom = check.partners.iter().find(|partner| partner.name == "telecom").unwrap();
    assert_eq!((telecom.approval.as_str(), telecom.reason.as_deref()), ("refused", Some("the budget is spent")));
    assert_eq!(check.measures.len(), 1);
    assert!(check.measures[0].error > 0.0 && check.privacy.unwrap().epsilon <= 5.0);
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_differ_are_a_refusal_that_names_them() {
    let world = World::new().await;
    let mut nodes = Vec::new();
    for (name, customers) in THREE {
        let (mut node, watched) = FakeNode::enrolled(&world.dir(), name, world.running().address(), customers).await;
        if name == "retailer" {
            node.schema.privacy_unit = "key".into();
        }
        nodes.push(node.start(watched));
    }
    let error = world.run(study("")).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("`key` at `retailer`")), "{error}");
    let error = world.run(study("partners = [\"bank\", \"retail\"]")).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("did you mean `retailer`"), "{error}");
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_closes_the_session_keeps_the_key_out_and_tells_the_study() {
    let world = World::new().await;
    let mut bank = Identity::new(&world.dir(), "bank", world.running().address());
    bank.join(&world.invite("bank", 60)).await.unwrap();
    let others = [world.node("retailer", [1, 1], Manners::default()).await];
    let (connection, _stream) = bank.hello(vec![schema()]).await.unwrap();
    wait_until(|| world.running().is_connected("bank")).await;
    let id = world.client().await.submit(study("")).await.unwrap();
    wait_for_stage(&world.dir(), &id, "joining").await;

    world.client().await.revoke("bank").await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await.unwrap();
    assert!(closed.to_string().contains("revoked"), "{closed}");
    assert!(bank.hello(vec![schema()]).await.is_err(), "no new session");
    let error = world.client().await.follow(&id, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
    // A new invitation, a new key: it is a partner again.
    let mut bank = Identity::new(&world.dir(), "bank", world.running().address());
    bank.join(&world.invite("bank", 60)).await.unwrap();
    bank.hello(vec![schema()]).await.unwrap();
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_node_replaces_the_older() {
    let world = World::new().await;
    let mut bank = Identity::new(&world.dir(), "bank", world.running().address());
    bank.join(&world.invite("bank", 60)).await.unwrap();
    let (first, _stream) = bank.hello(vec![schema()]).await.unwrap();
    let (second, _second_stream) = bank.hello(vec![schema()]).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), first.closed()).await.unwrap();
    assert!(closed.to_string().contains("anew"), "{closed}");
    assert!(second.close_reason().is_none() && world.running().is_connected("bank"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_takes_the_study_up_in_the_same_attempt() {
    let mut world = World::new().await;
    // Telecom is not there yet, so that the study waits.
    let mut nodes = vec![world.node("bank", [500, 100], Manners::default()).await];
    nodes.push(world.node("retailer", [300, 200], Manners::default()).await);
    let address = world.running().address();
    let (telecom, watched) = FakeNode::enrolled(&world.dir(), "telecom", address, [200, 300]).await;
    let id = world.client().await.submit(study("")).await.unwrap();
    wait_for_stage(&world.dir(), &id, "waiting").await;
    let shown = world.client().await.show(&id).await.unwrap();
    assert_eq!((shown.waiting[0].partner.as_str(), shown.waiting[0].reason.as_str()), ("telecom", "not connected"));
    world.stop().await;
    assert!(matches!(Client::connect(&world.dir()).await, Err(Error::Refused(why)) if why.contains("entente serve")));

    world.start().await;
    nodes.push(telecom.start(watched));
    let files = world.client().await.follow(&id, |_| ()).await.unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files["result.json"]).unwrap();
    assert_eq!(result["study"]["id"], id);
    assert_eq!(result["participants"].as_array().unwrap().len(), 3);
    let done = world.client().await.show(&id).await.unwrap();
    assert_eq!((done.attempt, done.state.to_string().as_str()), (1, "done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_can_be_cancelled_and_resumed() {
    let world = World::new().await;
    let bank = world.node("bank", [500, 100], Manners::default()).await;
    let (retailer, watched) = FakeNode::enrolled(&world.dir(), "retailer", world.running().address(), [300, 200]).await;
    let id = world.client().await.submit(study("")).await.unwrap();
    wait_for_stage(&world.dir(), &id, "waiting").await;
    assert!(world.client().await.resume(&id).await.unwrap_err().to_string().contains("runs"));
    world.client().await.cancel(&id).await.unwrap();
    assert!(world.client().await.cancel(&id).await.unwrap_err().to_string().contains("cancelled already"));
    let retailer = retailer.start(watched);
    world.client().await.resume(&id).await.unwrap();
    world.client().await.follow(&id, |_| ()).await.unwrap();
    assert_eq!(world.client().await.show(&id).await.unwrap().attempt, 2);
    assert!(world.client().await.show("nonsense").await.unwrap_err().to_string().contains("study list"));
    drop((bank, retailer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_runs_without_a_coordinator_that_serves() {
    let mut world = World::new().await;
    let mut nodes = three(&world, |_| Manners::default()).await;
    for node in &mut nodes {
        node.sees("welcome").await;
    }
    world.stop().await;
    let outcome = world.run(study("wait_seconds = 20")).await.unwrap();
    near(outcome.counts(), [1000.0, 600.0]);
    assert!(matches!(Client::connect(&world.dir()).await, Err(Error::Refused(_))), "it has stopped again");
    let check = entente::check_study(&world.dir(), study(""), Duration::from_secs(10)).await.unwrap();
    assert!(!check.refused && check.partners.iter().all(|partner| partner.approval == "rules"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_shorter_than_was_witnessed_takes_no_part() {
    let world = World::new().await;
    let mut nodes = three(&world, |_| Manners::default()).await;
    world.run(study("")).await.unwrap();
    let (mut bank, watched) = nodes.remove(0).stop().await;
    bank.manners = Manners { forgets_ledger: true, clock_ahead: 1000, ..Manners::default() };
    let mut bank = bank.start(watched);
    bank.sees("welcome").await;
    wait_until(|| world.running().is_connected("bank")).await;
    let view = world.client().await.partners().await.unwrap();
    let notices = view.partners.iter().find(|partner| partner.name == "bank").unwrap().notices.join("\n");
    assert!(notices.contains("witnessed") && notices.contains("ahead of"), "{notices}");
    let error = world.run(study("")).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("`bank`") && why.contains("backup")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_in_crowds_do_not_keep_partners_from_working() {
    let world = World::new().await;
    let mut nodes = three(&world, |_| Manners::default()).await;
    for node in &mut nodes {
        node.sees("welcome").await;
    }
    let stranger = Identity::new(&world.dir(), "bank", world.running().address());
    let mut crowd = Vec::new();
    for _ in 0..200 {
        // They shake hands, say nothing and stay.
        if let Ok(connection) = stranger.dial(ALPN_ENROL, false).await {
            crowd.push(connection);
        }
    }
    let outcome = world.run(study("")).await.unwrap();
    near(outcome.counts(), [1000.0, 600.0]);
    wait_until(|| crowd.iter().filter(|connection| connection.close_reason().is_some()).count() >= 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_coordinator_at_a_time_and_a_taken_port_is_said() {
    let world = World::new().await;
    let second = Coordinator::start(&world.dir()).await.map(drop).unwrap_err();
    assert!(second.to_string().contains("runs already"), "{second}");
    let other = world.folder.path().join("b");
    entente::init(&other, "autumn", &world.running().address().to_string(), None).unwrap();
    let error = Coordinator::start(&other).await.map(drop).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("listens on UDP")), "{error}");
}

async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not come to pass");
}

async fn wait_for_stage(dir: &Path, id: &str, stage: &str) {
    for _ in 0..200 {
        let shown = Client::connect(dir).await.unwrap().show(id).await.unwrap();
        if shown.stage.as_deref() == Some(stage) && !shown.waiting.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("study {id} did not come to {stage}");
}
