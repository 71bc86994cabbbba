//! What the same data are: their contents, whenever and however often they were delivered.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use entente_host::clock::Clock;
use entente_node::participant::Participant;
use entente_protocols::ledger::entry::{Entry, State};
use entente_protocols::wire::message::{FromAttempt, FromNode};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, World, study, until};
use serde_json::Value;

use super::hostile_training::{Attempt, proposal};

const SQL: &str = "SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing";

fn table(world: &World) -> PathBuf {
    world.folders().node("bank").join("data/clients.csv")
}

/// Long enough for a file system to tell a change from the one before.
fn a_tick_passes() {
    sleep(Duration::from_millis(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_delivered_again_are_the_same_data_and_one_byte_makes_others() -> Result<(), Error> {
    let world = World::new().await?;
    let table = table(&world);
    let first = world.run(study("first").sql(SQL).build()?).await?;
    assert_eq!(first["repeated"], Value::Bool(false));
    a_tick_passes();
    // In its place, as another file.
    let mut bytes = fs::read(&table)?;
    let delivered = table.with_extension("new");
    fs::write(&delivered, &bytes)?;
    fs::rename(&delivered, &table)?;
    let again = world.run(study("again").sql(SQL).build()?).await?;
    assert_eq!((&again["repeated"], &again["rows"]), (&Value::Bool(true), &first["rows"]));
    for partner in PARTNERS {
        assert_eq!(world.count(partner, State::Reserved)?, 1, "{partner}");
    }
    // Of the same size, with the time of modification set back.
    let modified = fs::metadata(&table)?.modified()?;
    let at = bytes.iter().rposition(|byte| byte.is_ascii_digit()).ok_or("a digit")?;
    bytes[at] ^= 1;
    a_tick_passes();
    fs::write(&table, &bytes)?;
    File::options().write(true).open(&table)?.set_modified(modified)?;
    let other = world.run(study("other").sql(SQL).build()?).await?;
    assert_eq!(other["repeated"], Value::Bool(false));
    assert_eq!(world.count("retailer", State::Reserved)?, 2);
    Ok(())
}

/// A proposal waits until the data are identified, and reads nothing for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_waits_for_changed_data_to_be_identified_and_a_restart_reads_nothing_again() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let table = table(&puppets.world);
    assert_eq!(puppets.participant("bank").identify()?, 0, "when it started, all were identified");
    a_tick_passes();
    fs::write(&table, fs::read_to_string(&table)? + "\n")?;
    let proposed = Proposed::new(study("waits").sql(SQL).build()?);
    match puppets.ask("bank", proposed.propose()) {
        FromNode::Attempt(_, FromAttempt::Waiting { reason }) => {
            assert_eq!(reason, "bank: its data set changed; it is being identified");
        }
        other => panic!("{other:?}"),
    }
    until("a pledge", async || {
        let said = tokio::task::block_in_place(|| puppets.reconsider("bank"));
        Ok(said.iter().any(|said| matches!(said, FromNode::Attempt(_, FromAttempt::Pledged(_)))))
    })
    .await?;
    let folder = puppets.world.folder("bank");
    puppets.let_go("bank");
    let restarted = Participant::open(&folder, entente_node::load(&folder)?, Clock::default())?;
    assert_eq!(restarted.identify()?, 0);
    fs::write(&table, fs::read_to_string(&table)? + "\n")?;
    assert_eq!(restarted.identify()?, 1);
    Ok(())
}

/// The rounds of a training read its data once: what is written meanwhile leaves no snapshot of what was read.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_data_that_changed_meanwhile_is_stored_under_no_snapshot() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let attempt = Attempt::new(&puppets, proposal("changing")?)?;
    let mut trainer = attempt.trainer();
    attempt.until(&puppets, &mut trainer, 2)?;
    a_tick_passes();
    for partner in PARTNERS {
        let data = puppets.world.folders().node(partner).join("data");
        for file in fs::read_dir(data)? {
            File::options().append(true).open(file?.path())?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
        }
    }
    attempt.until(&puppets, &mut trainer, 3)?;
    for partner in PARTNERS {
        let entries = puppets.world.ledger(partner)?;
        let computed = entries.iter().filter(|entry| entry.state() == State::Computed).filter_map(Entry::study);
        let known: Vec<bool> = computed.map(|record| record.snapshot.is_some()).collect();
        assert_eq!(known, [true, false], "{partner}");
        let charged = entries.iter().filter(|entry| entry.state() == State::Reserved).filter_map(Entry::study);
        assert!(charged.map(|record| record.snapshot).all(|snapshot| snapshot.is_some()));
    }
    Ok(())
}
