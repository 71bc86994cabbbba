//! What a node has missed while it was away.

use std::collections::BTreeSet;
use std::time::Duration;

use entente::Client;
use entente::store::{Store, StudyState};
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use entente_testing::{Conversation, Dialler, Error, until};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::customers::{by_region, partners};

/// More than wait to be written to one node at a time.
const MISSED: usize = 300;
const SOON: Duration = Duration::from_secs(60);

/// The next attempt that a node is told is given up.
async fn given_up(conversation: &mut Conversation) -> Result<entente_protocols::attempt::AttemptId, Error> {
    loop {
        let frame = timeout(SOON, conversation.hear()).await.map_err(|_| "no notice comes")??;
        if let ToNode::Attempt(id, ToAttempt::Abandoned { .. }) = frame.decode()? {
            return Ok(id);
        }
    }
}

/// A nightly job names a node that is off for months: when it comes back, it is told of each study that was given up, at its own
/// pace, and a notice ends only when the node has recorded it.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_notices_are_all_delivered_to_a_node_that_was_away() -> Result<(), Error> {
    let world = partners().enrolled().await?;
    let mut nights = JoinSet::new();
    for worker in 0..8 {
        let alliance = world.alliance();
        nights.spawn(async move {
            for number in (0..MISSED).skip(worker).step_by(8) {
                let asked = by_region(&format!("night-{number}")).partners(&["bank", "retailer"]).wait_seconds(1);
                Client::connect(&alliance).await?.submit(asked.build()?).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(submitted) = nights.join_next().await {
        submitted??;
    }
    let store = Store::open(&world.alliance())?;
    until("all studies are given up", async || {
        Ok(store.studies()?.iter().all(|study| study.state != StudyState::Running))
    })
    .await?;
    assert_eq!(store.notices("bank")?.len(), MISSED);

    // It hears some, and is gone before it has recorded any.
    let bank = Dialler::partner(&world, "bank")?;
    let mut conversation = bank.hello(Vec::new()).await?;
    given_up(&mut conversation).await?;
    conversation.connection.close(0u8.into(), b"");
    until("it is gone", async || Ok(!world.running().is_connected("bank"))).await?;
    assert_eq!(store.notices("bank")?.len(), MISSED, "nothing was recorded");

    let mut conversation = bank.hello(Vec::new()).await?;
    let mut told = BTreeSet::new();
    while told.len() < MISSED {
        let id = given_up(&mut conversation).await?;
        assert!(told.insert(id.study.clone()), "each once");
        conversation.say(&FromNode::Attempt(id, FromAttempt::Closed { part: None })).await?;
    }
    until("no notice is left", async || Ok(store.notices("bank")?.is_empty())).await?;
    assert!(conversation.connection.close_reason().is_none() && world.running().is_connected("bank"));
    Ok(())
}

/// The same with a real node, which answers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_records_what_it_has_missed() -> Result<(), Error> {
    let mut world = partners().start().await?;
    world.stop("bank").await;
    world.stop_coordinator().await;
    world.start_coordinator().await?;
    for number in 0..20 {
        let asked = by_region(&format!("night-{number}")).partners(&["bank"]).wait_seconds(1);
        world.client().await?.submit(asked.build()?).await?;
    }
    let store = Store::open(&world.alliance())?;
    until("all studies are given up", async || {
        Ok(store.studies()?.iter().all(|study| study.state != StudyState::Running))
    })
    .await?;
    assert_eq!(store.notices("bank")?.len(), 20);
    world.start("bank").await?;
    until("no notice is left", async || Ok(store.notices("bank")?.is_empty())).await
}
