//! A study that will be refused at one partner charges nobody, and `study check` says what a run does.

use std::fs;
use std::path::Path;

use entente::store::StudyState;
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::entry::State;
use entente_protocols::wire::frame::Frame;
use entente_testing::{Draft, Error, PARTNERS, Proposed, Puppets, SETTINGS, World, last_study, study, until};

use super::hostile::proposal;

/// All but the bank have budget for one study.
async fn world() -> Result<World, Error> {
    World::with(|partner| match partner {
        "bank" => SETTINGS.to_owned(),
        _ => "[budget]\nepsilon = 1.3\ndelta = 1e-6\nper_study_epsilon = 1.0\n\n[policy]\napprove = \"auto\"\n"
            .to_owned(),
    })
    .await
}

fn question() -> Draft {
    study("q").epsilon(1.0).sql("SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing")
}

fn charges(world: &World) -> Result<[usize; 3], Error> {
    let mut charges = [0; 3];
    for (count, partner) in charges.iter_mut().zip(PARTNERS) {
        *count = world.count(partner, State::Reserved)?;
    }
    Ok(charges)
}

/// What those would do who hold the answer does not say what they do when another does not hold it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_some_cannot_pay_for_anew_charges_nobody_however_often_it_is_tried() -> Result<(), Error> {
    let world = world().await?;
    let asks = world.client().await?.check(question().build()?).await?;
    assert!(!asks.refused && asks.partners.iter().all(|partner| partner.rho > Some(0.0)), "{:?}", asks.partners);
    world.run(question().build()?).await?;
    // Free as long as all hold the answer, whatever is left.
    let asks = world.client().await?.check(question().build()?).await?;
    assert!(!asks.refused && asks.partners.iter().all(|partner| partner.rho == Some(0.0)), "{:?}", asks.partners);
    world.run(question().build()?).await?;
    assert_eq!(charges(&world)?, [1; 3]);

    let table = world.folder("bank").path().join("data/clients.csv");
    let mut text = fs::read_to_string(&table)?;
    text += "B99999,40,services,single,primary,no,1,yes,no,unknown,5,may,1,1,-1,0,unknown,no\n";
    fs::write(&table, text)?;
    for _ in 0..3 {
        let asks = world.client().await?.check(question().build()?).await?;
        let refusing = asks.partners.iter().filter(|partner| partner.approval == "refused");
        let refusing: Vec<(&str, &str)> =
            refusing.map(|partner| (partner.name.as_str(), partner.reason.as_deref().unwrap_or_default())).collect();
        assert_eq!(refusing.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["retailer", "telecom"]);
        let error = world.refusal(question().build()?).await?;
        assert!(refusing.iter().any(|(_, reason)| error.contains(reason)), "{error}: {refusing:?}");
        assert_eq!(charges(&world)?, [1; 3]);
    }
    Ok(())
}

/// Each has budget for one of them: that partners begin with different ones must not charge anybody for one that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn of_studies_at_once_none_is_charged_for_that_another_has_left_no_budget_for() -> Result<(), Error> {
    let world = world().await?;
    for column in ["housing", "loan", "marital", "education"] {
        let sql = format!("SELECT {column}, COUNT(*) AS n FROM clients GROUP BY {column}");
        world.client().await?.submit(study(column).epsilon(1.0).sql(&sql).build()?).await?;
    }
    until("all have ended", async || {
        Ok(world.client().await?.studies().await?.iter().all(|study| study.state != StudyState::Running))
    })
    .await?;
    let studies = world.client().await?.studies().await?;
    let done = studies.iter().filter(|study| study.state == StudyState::Done).count();
    assert!(done <= 1, "{studies:?}");
    assert_eq!(charges(&world)?, [done; 3], "{studies:?}");
    Ok(())
}

/// What an attempt may still cost is set aside over a restart, and free again when it is given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_so_over_a_restart_and_free_when_the_attempt_ends() -> Result<(), Error> {
    let mut world = world().await?;
    let long = study("long").epsilon(1.0).train("logistic", "SELECT client_id, age, housing, loan FROM clients");
    let long = long.with("target", "loan").with("rounds", 40).wait_seconds(600);
    let id = world.client().await?.submit(long.build()?).await?;
    until("the retailer has signed", async || Ok(world.count("retailer", State::Reserved)? >= 1)).await?;
    world.stop("bank").await;
    world.go_on_without("bank")?;
    world.stop("retailer").await;
    world.start("retailer").await?;
    let error = world.refusal(question().partners(&["retailer", "telecom"]).build()?).await?;
    assert!(error.contains("set aside for studies that go on"), "{error}");
    world.client().await?.cancel(&id).await?;
    let charged = charges(&world)?;
    until("it is told", async || {
        let checked = world.client().await?.check(question().partners(&["retailer", "telecom"]).build()?).await?;
        Ok(checked.partners.iter().all(|partner| !partner.reason.as_deref().unwrap_or_default().contains("set aside")))
    })
    .await?;
    assert_eq!(charges(&world)?, charged);
    Ok(())
}

/// Others are charged by then: what it brings is of nobody, and answers the question at no other time.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_signature_there_is_a_vector_whatever_becomes_of_the_data() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let table = puppets.world.folder("bank").path().join("data/clients.csv");
    let kept = fs::read(&table)?;
    let gone = |table: &Path| fs::remove_file(table);
    let empty = |table: &Path| fs::write(table, "");
    type Spoils<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;
    for (count, (column, spoil)) in (1..).zip([("housing", &gone as Spoils<'_>), ("loan", &empty)]) {
        let proposed = proposal(column, &format!("SELECT {column}, COUNT(*) AS n FROM clients GROUP BY {column}"))?;
        let signatures = puppets.signatures(&proposed);
        spoil(&table)?;
        assert!(puppets.tell("bank", proposed.go(&signatures)).iter().any(Frame::is_contribution), "{column}");
        assert_eq!(
            (puppets.world.count("bank", State::Computed)?, puppets.world.count("bank", State::Refused)?),
            (count, 0)
        );
        let entries = puppets.world.ledger("bank")?;
        assert_eq!(last_study(&entries)?.snapshot, None, "{column}");
        fs::write(&table, &kept)?;
        puppets.participant("bank").identify()?;
        let again = Proposed { id: AttemptId::new(format!("{column}-again"), 1), ..proposed };
        assert_eq!(puppets.pledge("bank", &again).pledge.stored, None, "{column}");
    }
    Ok(())
}
