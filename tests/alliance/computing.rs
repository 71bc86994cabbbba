//! More studies at once than a node computes.

use std::collections::BTreeSet;

use entente::store::StudyState;
use entente_protocols::ledger::entry::State;
use entente_testing::{Draft, Error, PARTNERS, SETTINGS, World, study, until};

/// At the bank, whose rounds take a while.
const ROWS: u32 = 40_000;
const STUDIES: u32 = 20;

/// The bank computes one round at a time, and has little memory for it.
async fn world(rows: u32) -> Result<World, Error> {
    let columns = "age = { type = \"int\", min = 18, max = 95 }\nleft = { type = \"bool\" }";
    let founding =
        World::of(&PARTNERS).settings(|_| SETTINGS.to_owned()).table("customers", columns, "id", |partner| {
            let rows = if partner == "bank" { rows } else { 400 };
            let row = |id: u32| format!("{id},{},{}\n", 18 + id % 70, (id / 7).is_multiple_of(3));
            "id,age,left\n".to_owned() + &(0..rows).map(row).collect::<String>()
        });
    let mut world = founding.enrolled().await?;
    let path = world.folder("bank").config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replacen("[node]\n", "[node]\nmax_computing = 1\nmemory_mib = 64\n", 1))?;
    for partner in PARTNERS {
        world.start(partner).await?;
    }
    Ok(world)
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
    let world = world(ROWS).await?;
    for number in 0..STUDIES {
        world.client().await?.submit(asked(number).build()?).await?;
    }
    let (mut reasons, mut checked) = (BTreeSet::new(), false);
    until("all studies have ended", async || {
        let entries = world.ledger("bank")?;
        let count = |state| entries.iter().filter(|entry| entry.state() == state).count();
        let computing = count(State::Reserved) - count(State::Computed);
        assert!(computing <= 1, "{computing} rounds are charged and not computed: these waited behind their charge");
        let studies = world.client().await?.studies().await?;
        let at_bank = studies.iter().flat_map(|study| &study.waiting).filter(|waiting| waiting.partner == "bank");
        reasons.extend(at_bank.map(|waiting| waiting.reason.clone()));
        let running = || studies.iter().filter(|study| study.state == StudyState::Running).count();
        if !checked && reasons.iter().any(|reason| reason.contains("its turn")) {
            let check = world.client().await?.check(asked(STUDIES + 1).build()?).await?;
            assert!(!check.refused && check.partners.iter().all(|partner| partner.approval == "rules"));
            assert!(running() > 1, "it was not asked while others waited");
            checked = true;
        }
        Ok(running() == 0)
    })
    .await?;
    assert!(checked, "{reasons:?}");
    for shown in world.client().await?.studies().await? {
        assert_eq!(shown.state, StudyState::Done, "{}: {:?} {:?}", shown.name, shown.reason, shown.notes);
        assert_eq!(shown.attempt, 1, "{}: {:?}", shown.name, shown.notes);
    }
    assert_eq!(world.count("bank", State::Reserved)?, world.count("bank", State::Computed)?);
    Ok(())
}

/// It was charged, and is lost; what comes next does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_not_computed_to_its_end() -> Result<(), Error> {
    let world = world(20 * ROWS).await?;
    let id = world.client().await?.submit(asked(1).build()?).await?;
    until("the bank computes", async || Ok(world.count("bank", State::Reserved)? == 1)).await?;
    world.client().await?.cancel(&id).await?;
    world.run(asked(2).build()?).await?;
    assert_eq!((world.count("bank", State::Reserved)?, world.count("bank", State::Computed)?), (2, 1));
    Ok(())
}
