//! A partner whose machine is lost comes back under its name, with another identity and a ledger that begins anew.

use std::time::Duration;

use entente_examples::alliance::enrol;
use entente_node::store::WitnessStore;
use entente_protocols::identity::Roster;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::outside::{Outside, read_witnessed, write_witnessed};
use entente_protocols::ledger::verify::verify_outside;
use entente_protocols::ledger::{Act, Outcome, Spent};
use entente_testing::{Draft, Error, PARTNERS, SETTINGS, World, study, until};

fn older(name: &str, age: u32) -> Draft {
    study(name).sql(&format!("SELECT COUNT(*) AS n FROM clients WHERE age > {age}"))
}

/// An alliance in which the bank has spent something, and lost its machine; it is invited again under its name. What it had spent.
async fn after_a_loss() -> Result<(World, Spent), Error> {
    let mut world = World::new().await?;
    world.run(older("first", 30).build()?).await?;
    let spent = world.open_ledger("bank")?.spent("clients");
    // Until its last checkpoint is at all witnesses.
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.stop("bank").await;
    std::fs::remove_dir_all(world.folders().node("bank"))?;
    world.client().await?.revoke("bank").await?;
    let number = PARTNERS.iter().position(|partner| *partner == "bank").ok_or("the bank")?;
    enrol(world.folders(), "bank", number as u64, SETTINGS).await?;
    Ok((world, spent))
}

fn takes_over(world: &World, spent: Spent) -> Result<(), Error> {
    assert_eq!(world.count("bank", State::Reserved)?, 0, "before its first charge");
    let mut ledger = world.open_ledger("bank")?;
    let act = Act { officer: "the steward", reason: "its disk is gone", now: "2026-01-01T00:00:00Z" };
    assert_eq!(ledger.recover(act)?, Outcome::Done);
    assert_eq!(ledger.spent("clients"), spent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_machine_is_lost_comes_back_with_what_it_had_spent() -> Result<(), Error> {
    let (mut world, spent) = after_a_loss().await?;
    world.start("bank").await?;
    // The others do not take the new key silently.
    let error = world.refusal(older("second", 40).build()?).await?;
    assert!(error.contains("bank") && error.contains("roster --accept"), "{error}");
    PARTNERS.iter().try_for_each(|partner| world.confirm(partner))?;
    // It asked them before they had confirmed it.
    let error = world.refusal(older("third", 45).build()?).await?;
    assert!(error.contains("quarantine") && error.contains("earlier identity"), "{error}");
    takes_over(&world, spent)?;
    until("it takes part", async || Ok(world.files(older("fourth", 50).build()?).await.is_ok())).await?;
    assert!(world.open_ledger("bank")?.spent("clients").rho > spent.rho);

    // Also who verifies its ledger sees that.
    let roster: Roster = serde_json::from_slice(&std::fs::read(world.alliance().join("roster.json"))?)?;
    let held = WitnessStore::open(&world.folder("telecom").state("witnessed.sqlite"))?.all()?;
    let outside = Outside { roster: Some(&roster), witnessed: &held, cosigned_by: 0 };
    let report = verify_outside(&world.export("bank")?, &outside, false);
    assert!(report.passed(), "{}", report.text());
    Ok(())
}

/// Its keeper does not take it over, and hands an auditor what there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_ledger_that_begins_anew_fails_against_what_others_hold() -> Result<(), Error> {
    let (mut world, spent) = after_a_loss().await?;
    PARTNERS.iter().try_for_each(|partner| world.confirm(partner))?;
    world.start("bank").await?;
    until("it is shown what was spent", async || Ok(world.open_ledger("bank")?.quarantine().is_some())).await?;
    let roster: Roster = serde_json::from_slice(&std::fs::read(world.alliance().join("roster.json"))?)?;
    let held = WitnessStore::open(&world.folder("telecom").state("witnessed.sqlite"))?.all()?;
    let held = read_witnessed(&write_witnessed(held))?;
    let outside = Outside { roster: Some(&roster), witnessed: &held, cosigned_by: 0 };
    let report = verify_outside(&world.export("bank")?, &outside, false);
    assert!(!report.passed() && report.text().contains("earlier identity"), "{}", report.text());
    takes_over(&world, spent)?;
    let report = verify_outside(&world.export("bank")?, &outside, false);
    assert!(report.passed(), "{}", report.text());
    Ok(())
}
