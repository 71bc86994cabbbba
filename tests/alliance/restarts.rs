//! Either side stops and starts again in the middle of a study: it completes, and nothing is charged twice.

use entente_protocols::ledger::entry::State;
use entente_protocols::policy::Verdict;
use entente_testing::{Error, PARTNERS, study, until};

use super::steward::{decide, waiting, with_a_steward_at_the_bank};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_restart_go_on() -> Result<(), Error> {
    let mut world = with_a_steward_at_the_bank().await?;
    let run = world.spawn(study("restarted").sql("SELECT COUNT(*) AS n FROM clients").build()?);
    let attempt = waiting(&world).await?;
    // Others have joined already, the bank waits: all three lose their processes.
    for partner in PARTNERS {
        world.stop(partner).await;
        world.start(partner).await?;
    }
    decide(&world, &attempt, Verdict::Approve)?;
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
    let run = world.spawn(study("restarted").sql("SELECT COUNT(*) AS n FROM clients").build()?);
    let attempt = waiting(&world).await?;
    world.stop_coordinator().await;
    assert!(run.await?.is_err(), "who follows is told that the coordinator has gone");
    decide(&world, &attempt, Verdict::Approve)?;
    world.start_coordinator().await?;
    let released = |partner| Ok::<_, Error>(world.count(partner, State::Released)? == 1);
    until("the study is released", async || Ok(released("bank")? && released("retailer")?)).await?;
    for partner in ["bank", "retailer"] {
        assert_eq!(
            (world.count(partner, State::Reserved)?, world.count(partner, State::Released)?),
            (1, 1),
            "{partner}"
        );
    }
    Ok(())
}
