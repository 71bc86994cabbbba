//! More studies at once than a node computes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entente::store::StudyState;
use entente_protocols::ledger::entry::State;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use entente_testing::{Does, Draft, Driven, Error, Manners, PARTNERS, SETTINGS, World, study, until};
use tokio::time::timeout;

use super::lookalike::{lookalike, model};

const COLUMNS: &str = "age = { type = \"int\", min = 18, max = 95 }\nleft = { type = \"bool\" }";
const STUDIES: u32 = 20;
const SOON: Duration = Duration::from_secs(60);

fn rows(count: u32) -> String {
    let row = |id: u32| format!("{id},{},{}\n", 18 + id % 70, (id / 7).is_multiple_of(3));
    "id,age,left\n".to_owned() + &(0..count).map(row).collect::<String>()
}

/// The bank computes one round at a time, and has little memory for it. A round over its history takes a minute, if it is not
/// given up.
async fn world() -> Result<World, Error> {
    let founding = World::of(&PARTNERS)
        .settings(|_| SETTINGS.to_owned())
        .table("customers", COLUMNS, "id", |_| rows(400))
        .table("history", COLUMNS, "id", |partner| rows(if partner == "bank" { 800_000 } else { 400 }));
    let mut world = founding.enrolled().await?;
    let path = world.folder("bank").config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replacen("[node]\n", "[node]\nmax_computing = 1\nmemory_mib = 64\n", 1))?;
    for partner in PARTNERS {
        world.start(partner).await?;
    }
    Ok(world)
}

/// One that keeps the bank computing.
fn long() -> Draft {
    let sum = |number| {
        format!("SUM(CASE WHEN left AND age > {} THEN age * age + {number} ELSE 0 END) AS s{number}", number + 20)
    };
    let sums: Vec<String> = (0..64).map(sum).collect();
    study("long").epsilon(0.2).sql(&format!("SELECT {} FROM history", sums.join(", ")))
}

fn asked(number: u32) -> Draft {
    let study = study(&format!("study-{number}")).epsilon(0.2);
    match number % 4 {
        0 => {
            let features = format!("SELECT id, age, left FROM customers WHERE age < {}", 60 + number);
            study.train("logistic", &features).with("target", "left").with("rounds", 3)
        }
        _ => study.sql(&format!("SELECT COUNT(DISTINCT id) AS n FROM customers WHERE age < {}", 30 + number)),
    }
}

/// Each round waits for its turn, is charged when that has come, and ends well; what others ask meanwhile is answered: the
/// charges of all three are witnessed by the bank, and it says what another study would cost.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_studies_at_once_take_turns_and_all_end() -> Result<(), Error> {
    let world = world().await?;
    let long = world.client().await?.submit(long().build()?).await?;
    until("the bank computes", async || Ok(world.count("bank", State::Reserved)? == 1)).await?;
    for number in 0..STUDIES {
        world.client().await?.submit(asked(number).build()?).await?;
    }
    let mut reasons = BTreeSet::new();
    until("another waits for its turn", async || {
        let studies = world.client().await?.studies().await?;
        let at_bank = studies.iter().flat_map(|study| &study.waiting).filter(|waiting| waiting.partner == "bank");
        reasons.extend(at_bank.map(|waiting| waiting.reason.clone()));
        Ok(reasons.iter().any(|reason| reason.contains("its turn")))
    })
    .await
    .map_err(|problem| format!("{problem}: {reasons:?}"))?;
    let check = world.client().await?.check(asked(STUDIES + 1).build()?).await?;
    assert!(!check.refused && check.partners.iter().all(|partner| partner.approval == "rules"));
    assert_eq!(
        (world.count("bank", State::Reserved)?, world.count("bank", State::Computed)?),
        (1, 0),
        "while others wait"
    );
    world.client().await?.cancel(&long).await?;
    until("all studies have ended", async || {
        let entries = world.ledger("bank")?;
        let count = |state| entries.iter().filter(|entry| entry.state() == state).count();
        // The one that was cancelled is charged, and not computed.
        let computing = count(State::Reserved) - count(State::Computed) - 1;
        assert!(computing <= 1, "{computing} rounds are charged and not computed: these waited behind their charge");
        let studies = world.client().await?.studies().await?;
        Ok(studies.iter().all(|study| study.state != StudyState::Running))
    })
    .await?;
    for shown in world.client().await?.studies().await?.iter().filter(|shown| shown.id != long) {
        assert_eq!(shown.state, StudyState::Done, "{}: {:?} {:?}", shown.name, shown.reason, shown.notes);
        assert_eq!(shown.attempt, 1, "{}: {:?}", shown.name, shown.notes);
    }
    assert_eq!(world.count("bank", State::Reserved)?, world.count("bank", State::Computed)? + 1);
    Ok(())
}

/// What it was computing it computes again: that it stopped is no data that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_brings_nothing_to_a_round_that_it_was_computing() -> Result<(), Error> {
    let mut world = world().await?;
    world.client().await?.submit(long().build()?).await?;
    until("the bank computes", async || Ok(world.count("bank", State::Reserved)? == 1)).await?;
    world.stop("bank").await;
    assert_eq!(world.count("bank", State::Computed)?, 0);
    Ok(())
}

/// It was charged, and is lost; what comes next does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_not_computed_to_its_end() -> Result<(), Error> {
    let world = world().await?;
    let id = world.client().await?.submit(long().build()?).await?;
    until("the bank computes", async || Ok(world.count("bank", State::Reserved)? == 1)).await?;
    world.client().await?.cancel(&id).await?;
    world.run(asked(2).build()?).await?;
    assert_eq!((world.count("bank", State::Reserved)?, world.count("bank", State::Computed)?), (2, 1));
    Ok(())
}

/// The telecom scores its customers with the model of the retailer, which says nothing for a while; what the telecom computes
/// one at a time is computed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_waits_for_a_silent_partner_keeps_no_other_waiting() -> Result<(), Error> {
    let mut world = World::new().await?;
    let model = model(&world, "logistic").await?;
    for partner in ["retailer", "telecom"] {
        world.stop(partner).await;
    }
    let path = world.folder("telecom").config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replacen("[node]\n", "[node]\nmax_computing = 1\n", 1))?;
    world.start("telecom").await?;
    let answers = Arc::new(AtomicBool::new(false));
    let may_answer = answers.clone();
    let is_asked = |message: &ToNode| matches!(message, ToNode::Attempt(_, ToAttempt::Relayed { .. }));
    let hears = move |message: &ToNode| {
        if is_asked(message) && !may_answer.load(Ordering::Relaxed) { Does::Ignores } else { Does::Answers }
    };
    let mut retailer = Driven::start(&world, "retailer", Manners::default().hears(hears)).await?;
    let charged = world.count("telecom", State::Reserved)?;
    let scores = lookalike("scores", &["telecom"]).with("candidates", 4096).wait_seconds(600).build_with(&model)?;
    let scores = world.client().await?.submit(scores).await?;
    retailer.hears("that it is asked", is_asked).await?;
    let count = study("meanwhile").epsilon(0.2).sql("SELECT COUNT(*) AS n FROM subscribers").build()?;
    timeout(SOON, world.run(count)).await.map_err(|_| "a study of others goes on")??;
    assert_eq!(world.client().await?.show(&scores).await?.state, StudyState::Running);
    assert_eq!(world.count("telecom", State::Reserved)?, charged + 1, "nothing is charged for what waits");
    answers.store(true, Ordering::Relaxed);
    until("the candidates are scored", async || {
        Ok(world.client().await?.show(&scores).await?.state == StudyState::Done)
    })
    .await?;
    assert_eq!(world.count("telecom", State::Reserved)?, charged + 2);
    Ok(())
}
