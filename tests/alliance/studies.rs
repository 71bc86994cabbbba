//! What happens to a study on its way: connections that are lost, partners that go or never come, coordinators that stop, operators
//! who change their minds.

use std::time::Duration;

use entente::{Client, Error as Entente};
use entente_protocols::ledger::Head;
use entente_protocols::wire::message::{FromNode, ToAttempt, ToNode};
use entente_testing::{Does, Driven, Error, Manners, PARTNERS, World, result};

use super::customers::{attempts, by_region, charged, counts_are_of, partners};

const ALL: [&str; 3] = ["bank", "retailer", "telecom"];

/// Whether a message is of some sort.
type Is = fn(&ToNode) -> bool;

fn is_propose(message: &ToNode) -> bool {
    matches!(message, ToNode::Attempt(_, ToAttempt::Propose(_)))
}

fn is_start(message: &ToNode) -> bool {
    matches!(message, ToNode::Attempt(_, ToAttempt::Start { .. }))
}

fn is_go(message: &ToNode) -> bool {
    matches!(message, ToNode::Attempt(_, ToAttempt::Go { .. }))
}

fn is_finished(message: &ToNode) -> bool {
    matches!(message, ToNode::Attempt(_, ToAttempt::Finished { .. }))
}

fn is_abandoned(message: &ToNode) -> bool {
    matches!(message, ToNode::Attempt(_, ToAttempt::Abandoned { .. }))
}

/// An alliance in which all but one partner's nodes run.
async fn all_but(partner: &str) -> Result<World, Error> {
    let mut world = partners().enrolled().await?;
    for other in PARTNERS.iter().filter(|other| **other != partner) {
        world.start(other).await?;
    }
    Ok(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reconnects_goes_on_where_it_was() -> Result<(), Error> {
    let stages: [(&str, Is); 4] =
        [("propose", is_propose), ("start", is_start), ("go", is_go), ("finished", is_finished)];
    let world = all_but("bank").await?;
    for (number, (stage, is)) in (1u8..).zip(stages) {
        let mut bank = Driven::start(&world, "bank", Manners::default().once(Does::Reconnects, is)).await?;
        // Another question each time.
        let epsilon = 1.0 + 0.1 * f64::from(number);
        let result = world.run(by_region(stage).epsilon(epsilon).build()?).await?;
        counts_are_of(&result, &ALL)?;
        assert_eq!(attempts(&world, &result).await?, 1, "{stage}");
        charged(&world, &ALL, number.into())?;
        // Told again when it is back.
        for _ in 0..2 {
            bank.hears(stage, is).await?;
        }
        bank.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_partner_makes_a_second_attempt_without_it() -> Result<(), Error> {
    let mut world = partners().enrolled().await?;
    world.go_on_without("telecom")?;
    world.start("retailer").await?;
    let mut bank = Driven::start(&world, "bank", Manners::default()).await?;
    let telecom = Driven::start(&world, "telecom", Manners::default().once(Does::Leaves, is_go)).await?;
    let result = world.run(by_region("lost").min_partners(2).wait_seconds(2).build()?).await?;
    counts_are_of(&result, &["bank", "retailer"])?;
    assert_eq!(attempts(&world, &result).await?, 2);
    assert!(result["warnings"].to_string().contains("telecom"), "{}", result["warnings"]);
    bank.hears("that the first attempt is given up", is_abandoned).await?;
    // The one that was lost learns of it when it comes back.
    telecom.stop().await;
    let mut telecom = Driven::start(&world, "telecom", Manners::default()).await?;
    telecom.hears("that the first attempt is given up", is_abandoned).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_partners_end_the_study() -> Result<(), Error> {
    let world = all_but("telecom").await?;
    let _telecom = Driven::start(&world, "telecom", Manners::default().once(Does::Leaves, is_start)).await?;
    let error = world.files(by_region("few").wait_seconds(1).build()?).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, Entente::Failed(why) if why.to_string().contains("telecom") && why.to_string().contains("min_partners")),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_waits_for_a_partner_outlives_its_coordinator() -> Result<(), Error> {
    let mut world = all_but("telecom").await?;
    let id = world.client().await?.submit(by_region("waits").build()?).await?;
    let shown = world.stage(&id, "waiting").await?;
    assert_eq!((shown.waiting[0].partner.as_str(), shown.waiting[0].reason.as_str()), ("telecom", "not connected"));
    world.stop_coordinator().await;
    let gone = Client::connect(&world.alliance()).await.map(drop);
    assert!(matches!(gone, Err(Entente::Refused(why)) if why.to_string().contains("entente serve")));

    world.start_coordinator().await?;
    world.start("telecom").await?;
    let result = result(&world.client().await?.follow(&id, |_| ()).await?)?;
    assert_eq!(result["study"]["id"], id);
    counts_are_of(&result, &ALL)?;
    let done = world.client().await?.show(&id).await?;
    assert_eq!((done.attempt, done.state.to_string().as_str()), (1, "done"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_can_be_cancelled_and_resumed() -> Result<(), Error> {
    let mut world = all_but("retailer").await?;
    let id = world.client().await?.submit(by_region("cancelled").build()?).await?;
    world.stage(&id, "waiting").await?;
    let refusal = world.client().await?.resume(&id).await.unwrap_err().to_string();
    assert!(refusal.contains("is already running"), "{refusal}");
    world.client().await?.cancel(&id).await?;
    let refusal = world.client().await?.cancel(&id).await.unwrap_err().to_string();
    assert!(refusal.contains("cancelled already"), "{refusal}");
    world.start("retailer").await?;
    world.client().await?.resume(&id).await?;
    world.client().await?.follow(&id, |_| ()).await?;
    assert_eq!(world.client().await?.show(&id).await?.attempt, 2);
    let refusal = world.client().await?.show("nonsense").await.map(drop).unwrap_err().to_string();
    assert!(refusal.contains("study list"), "{refusal}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_runs_without_a_coordinator_that_serves() -> Result<(), Error> {
    let mut world = partners().start().await?;
    world.stop_coordinator().await;
    counts_are_of(&world.run(by_region("alone").wait_seconds(20).build()?).await?, &ALL)?;
    assert!(matches!(Client::connect(&world.alliance()).await, Err(Entente::Refused(_))), "it has stopped again");
    let asked = by_region("checked").build()?;
    let check = entente::check_study(&world.alliance(), asked, Duration::from_secs(10)).await?;
    assert!(!check.refused && check.partners.iter().all(|partner| partner.approval == "rules"), "{check:?}");
    Ok(())
}

/// A node that says it has no ledger, and no word of it to its witnesses either.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_shorter_than_was_witnessed_takes_no_part() -> Result<(), Error> {
    let mut world = partners().start().await?;
    world.run(by_region("before").build()?).await?;
    world.stop("bank").await;
    let forgets = Manners::default().says(|message| match message {
        FromNode::Hello { software, roster, datasets, clock, .. } => {
            vec![FromNode::Hello { software, roster, datasets, ledger: Head::EMPTY, clock: clock + 1000 }]
        }
        FromNode::Witness { .. } => Vec::new(),
        other => vec![other],
    });
    let _bank = Driven::start(&world, "bank", forgets).await?;
    let view = world.client().await?.partners().await?;
    let notices = view.partners.iter().find(|partner| partner.name == "bank").ok_or("the bank")?.notices.join("\n");
    assert!(notices.contains("witnessed") && notices.contains("ahead of"), "{notices}");
    let error = world.files(by_region("after").build()?).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, Entente::Refused(why) if why.to_string().contains("`bank`") && why.to_string().contains("backup")),
        "{error}"
    );
    Ok(())
}
