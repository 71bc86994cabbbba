//! More studies than run at once: whose turn it is, and who holds nobody up.

use std::path::Path;

use entente_protocols::ledger::entry::State;
use entente_protocols::policy::Verdict;
use entente_protocols::study::Study;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use entente_testing::{Does, Driven, Error, Manners, PARTNERS, SETTINGS, World, study, until};

use super::steward::{decide, waiting};

/// Studies of different names are different questions, so that each is charged for.
fn count(name: &str) -> Result<Study, Error> {
    Ok(study(name).sql("SELECT COUNT(*) AS n FROM clients").epsilon(name.len() as f64 / 10.0).build()?)
}

/// From its next start on, the coordinator runs one study at a time.
fn one_at_a_time(alliance: &Path) -> Result<(), Error> {
    let path = alliance.join("alliance.toml");
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains("studies_at_once = 4"), "{text}");
    Ok(std::fs::write(path, text.replace("studies_at_once = 4", "studies_at_once = 1"))?)
}

async fn is_in(world: &World, id: &str, stage: &str) -> Result<(), Error> {
    until(&format!("{id} is {stage}"), async || {
        Ok(world.client().await?.show(id).await?.stage.as_deref() == Some(stage))
    })
    .await
}

async fn is_done(world: &World, id: &str) -> Result<(), Error> {
    until(&format!("{id} is done"), async || Ok(world.client().await?.show(id).await?.state.to_string() == "done"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_wait_for_their_turn_in_the_order_in_which_they_came() -> Result<(), Error> {
    let mut world = World::of(&PARTNERS).enrolled().await?;
    one_at_a_time(&world.alliance())?;
    world.stop_coordinator().await;
    world.start_coordinator().await?;
    for partner in ["retailer", "telecom"] {
        world.start(partner).await?;
    }
    let silent = |message: &ToNode| match message {
        ToNode::Attempt(_, ToAttempt::Propose(proposal)) if proposal.study.name == "slow" => Does::Ignores,
        _ => Does::Answers,
    };
    let bank = Driven::start(&world, "bank", Manners::default().hears(silent)).await?;
    // All have heard by then what their witnesses hold, and no study waits for that.
    let before = world.client().await?.submit(count("before it")?).await?;
    is_done(&world, &before).await?;
    let mut ids = Vec::new();
    for name in ["slow", "second", "third", "the fourth"] {
        ids.push(world.client().await?.submit(count(name)?).await?);
    }
    let [slow, second, third, fourth] = &ids[..] else { return Err("four studies".into()) };
    let queue = [(slow, "joining"), (second, "queued, 1st"), (third, "queued, 2nd"), (fourth, "queued, 3rd")];
    for (id, stage) in queue {
        is_in(&world, id, stage).await?;
    }
    world.client().await?.cancel(third).await?;
    is_in(&world, fourth, "queued, 2nd").await?;
    assert_eq!(world.count("retailer", State::Reserved)?, 1);

    world.stop_coordinator().await;
    world.start_coordinator().await?;
    for (id, stage) in [(slow, "joining"), (second, "queued, 1st"), (fourth, "queued, 2nd")] {
        is_in(&world, id, stage).await?;
    }
    world.client().await?.cancel(slow).await?;
    for id in [second, fourth] {
        is_done(&world, id).await?;
    }
    let entries = world.ledger("retailer")?;
    let charged = entries.iter().filter(|entry| entry.state() == State::Reserved);
    let charged: Vec<&str> = charged.filter_map(|entry| Some(entry.study()?.study.name.as_str())).collect();
    assert_eq!(charged, ["before it", "second", "the fourth"]);
    bank.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_waits_for_a_steward_or_for_an_absent_partner_holds_nobody_up() -> Result<(), Error> {
    let settings = |partner: &str| match partner {
        "bank" => SETTINGS.replace("auto", "manual"),
        _ => SETTINGS.to_owned(),
    };
    let mut world = World::of(&["bank", "retailer", "shop", "telecom"]).settings(settings).enrolled().await?;
    one_at_a_time(&world.alliance())?;
    world.stop_coordinator().await;
    world.start_coordinator().await?;
    world.go_on_without("telecom")?;
    for partner in ["bank", "retailer", "shop"] {
        world.start(partner).await?;
    }
    let among =
        |name: &str, partners: &[&str]| study(name).sql("SELECT COUNT(*) AS n FROM clients").partners(partners).build();
    let steward = world.client().await?.submit(among("steward", &["bank", "shop"])?).await?;
    let attempt = waiting(&world).await?;
    let absent = world.client().await?.submit(among("absent", &["shop", "telecom"])?).await?;
    let result = world.run(among("ready", &["retailer", "shop"])?).await?;
    assert_eq!(result["participants"], serde_json::json!(["retailer", "shop"]));
    is_in(&world, &steward, "joining").await?;
    is_in(&world, &absent, "waiting").await?;

    decide(&world, &attempt, Verdict::Approve)?;
    is_done(&world, &steward).await?;
    world.start("telecom").await?;
    is_done(&world, &absent).await
}
