//! Either side stops and starts again in the middle of a study: it completes, and nothing is charged twice.

use entente_examples::alliance::{Error, PARTNERS};
use entente_protocols::ledger::entry::State;
use entente_protocols::policy::StewardDecision;
use entente_tests::study;

use super::steward::{decide, waiting, with_a_steward_at_the_bank};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_restart_go_on() -> Result<(), Error> {
    let mut world = with_a_steward_at_the_bank().await?;
    let dir = world.folders().coordinator();
    let asked = study("restarted", "SELECT COUNT(*) AS n FROM clients")?;
    let run = tokio::spawn(async move { entente::run_study(&dir, asked, |_| ()).await });
    let id = waiting(&world).await?;
    // Others have joined already, the bank waits: all three lose their processes.
    for partner in PARTNERS {
        world.stop(partner).await;
        world.start(partner).await?;
    }
    decide(&world, &id, &StewardDecision::Approve("ann".into()))?;
    run.await??;
    for partner in PARTNERS {
        assert_eq!(world.count(partner, State::Reserved)?, 1, "{partner}");
        assert_eq!(world.count(partner, State::Released)?, 1, "{partner}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_restarts_goes_on() -> Result<(), Error> {
    let mut world = with_a_steward_at_the_bank().await?;
    let dir = world.folders().coordinator();
    let asked = study("restarted", "SELECT COUNT(*) AS n FROM clients")?;
    let client = dir.clone();
    let run = tokio::spawn(async move { entente::run_study(&client, asked, |_| ()).await });
    let id = waiting(&world).await?;
    let coordinator = world.coordinator.take().ok_or("it runs")?;
    coordinator.shutdown().await;
    assert!(run.await?.is_err(), "who follows is told that the coordinator has gone");
    decide(&world, &id, &StewardDecision::Approve("ann".into()))?;
    world.coordinator = Some(entente::Coordinator::start(&dir).await?);
    for _ in 0..300 {
        if world.count("bank", State::Released)? == 1 && world.count("retailer", State::Released)? == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for partner in ["bank", "retailer"] {
        assert_eq!(
            (world.count(partner, State::Reserved)?, world.count(partner, State::Released)?),
            (1, 1),
            "{partner}"
        );
    }
    Ok(())
}
