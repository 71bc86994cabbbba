//! Studies over links that fail: what arrives late, twice, in another order, shortened or not at all costs nothing and changes
//! nothing.

use std::time::Duration;

use entente_node::link::{dial_any, tls};
use entente_protocols::ledger::entry::State;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use entente_testing::relay::{Counts, Rules, Way};
use entente_testing::{Does, Driven, Error, Manners, PARTNERS, World, result, until};
use serde_json::Value;

use super::customers::{attempts, by_region, charged, counts_are_of, partners};
use super::training::long;

const ALL: [&str; 3] = ["bank", "retailer", "telecom"];

#[tokio::test(flavor = "multi_thread")]
async fn a_study_over_lossy_reordering_links_is_like_any_other() -> Result<(), Error> {
    let world = partners().relayed(7).start().await?;
    let bad = Rules {
        lose: 0.1,
        duplicate: 0.1,
        truncate: 0.05,
        reorder: 0.2,
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(3),
        cut: false,
    };
    PARTNERS.iter().for_each(|partner| world.link(partner).set_both(bad));
    let first = world.run(by_region("first").build()?).await?;
    counts_are_of(&first, &ALL)?;
    assert_eq!(attempts(&world, &first).await?, 1);
    charged(&world, &ALL, 1)?;
    let again = world.run(by_region("again").build()?).await?;
    assert_eq!((&again["rows"], &again["repeated"]), (&first["rows"], &true.into()));
    charged(&world, &ALL, 1)?;
    // The links were as bad as was asked.
    for way in [Way::Up, Way::Down] {
        let all = PARTNERS.map(|partner| world.link(partner).counts(way));
        let sum = |count: fn(&Counts) -> u64| all.iter().map(count).sum::<u64>();
        let each = [sum(|c| c.lost), sum(|c| c.duplicated), sum(|c| c.truncated), sum(|c| c.reordered)];
        assert!(each.iter().all(|count| *count > 0), "{way:?}: {each:?} of {}", sum(|c| c.packets));
    }
    Ok(())
}

/// What a training of so many releases leaves: all of them in one attempt, each charged once to each partner.
fn nothing_was_lost(world: &World, result: &Value, releases: usize) -> Result<(), Error> {
    let rounds = result["rounds"].as_array().ok_or("rounds")?;
    assert!(rounds.len() == releases && rounds.iter().all(|round| round["attempt"] == 1), "{rounds:?}");
    charged(world, &ALL, releases)
}

/// Waits until a partner has computed so many rounds more.
async fn rounds_more(world: &World, partner: &str, rounds: usize) -> Result<(), Error> {
    let before = world.count(partner, State::Computed)?;
    until("the training gets on", async || Ok(world.count(partner, State::Computed)? >= before + rounds)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_in_the_middle_and_healed_loses_nothing() -> Result<(), Error> {
    let world = World::of(&PARTNERS).relayed(8).start().await?;
    let run = world.spawn(long("cut").with("rounds", 120).build()?);
    rounds_more(&world, "bank", 5).await?;
    // Both ways, then each: the training stands still but for what was on its way.
    for cut in [&[Way::Up, Way::Down][..], &[Way::Up], &[Way::Down]] {
        cut.iter().for_each(|way| world.link("bank").cut(*way));
        let before = world.count("retailer", State::Reserved)?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let after = world.count("retailer", State::Reserved)?;
        assert!(after <= before + 2 && after < 120, "{before} to {after} by {cut:?}");
        world.link("bank").heal();
        rounds_more(&world, "bank", 3).await?;
    }
    nothing_was_lost(&world, &result(&run.await??)?, 123)
}

/// A node that is gone without a word, and dials anew while its coordinator believes it to be there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_goes_on_where_it_was() -> Result<(), Error> {
    let mut world = World::of(&PARTNERS).relayed(9).start().await?;
    let run = world.spawn(long("killed").build()?);
    rounds_more(&world, "bank", 5).await?;
    world.kill("bank").await;
    assert!(world.running().is_connected("bank"), "nobody was told");
    world.start("bank").await?;
    nothing_was_lost(&world, &result(&run.await??)?, 63)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_be_killed_in_mid_training() -> Result<(), Error> {
    let mut world = World::of(&PARTNERS).relayed(10).start().await?;
    let id = world.client().await?.submit(long("dark").build()?).await?;
    rounds_more(&world, "bank", 5).await?;
    world.kill_coordinator().await;
    for partner in PARTNERS {
        world.kill(partner).await;
        assert!(world.count(partner, State::Computed)? < 63, "killed in mid-training");
    }
    world.start_coordinator().await?;
    for partner in PARTNERS {
        world.start(partner).await?;
    }
    nothing_was_lost(&world, &result(&world.client().await?.follow(&id, |_| ()).await?)?, 63)
}

/// What a node was told, or its answer, is gone while the connection stands: it is asked again, and no attempt is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_lost_it_is_asked_for_again() -> Result<(), Error> {
    let mut world = partners().enrolled().await?;
    world.start("retailer").await?;
    world.start("telecom").await?;
    // Each kind of message once.
    let mut lost = [false; 3];
    let manners = Manners::default().hears(move |message| {
        let place = match message {
            ToNode::Attempt(_, ToAttempt::Propose(_)) => 0,
            ToNode::Attempt(_, ToAttempt::Start { .. }) => 1,
            ToNode::Attempt(_, ToAttempt::Go { .. }) => 2,
            _ => return Does::Answers,
        };
        if std::mem::replace(&mut lost[place], true) { Does::Answers } else { Does::Ignores }
    });
    let _bank = Driven::start(&world, "bank", manners).await?;
    let found = world.run(by_region("forgotten").wait_seconds(8).build()?).await?;
    counts_are_of(&found, &ALL)?;
    assert_eq!(attempts(&world, &found).await?, 1);
    charged(&world, &ALL, 1)
}

/// A name with several addresses, as where packets of IPv6 are dropped, or an old address comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_is_found_at_whichever_of_its_addresses_answers() -> Result<(), Error> {
    let world = World::of(&["bank"]).enrolled().await?;
    let holes = [std::net::UdpSocket::bind("127.0.0.1:0")?, std::net::UdpSocket::bind("127.0.0.1:0")?];
    let holes = [holes[0].local_addr()?, holes[1].local_addr()?];
    let config = tls::connection(&world.folder("bank"))?;
    let limit = Duration::from_secs(5);
    let addresses = vec![holes[0], world.running().address(), holes[1]];
    let dialled = dial_any(&config, addresses, limit).await?;
    assert_eq!(dialled.connection().remote_address(), world.running().address());
    let error = dial_any(&config, holes.to_vec(), Duration::from_millis(300)).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
    Ok(())
}
