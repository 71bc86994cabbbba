//! The steward's desk.

use entente_node::store::StudyStore;
use entente_node::store::attempts::Attempt;
use entente_protocols::ledger::entry::State;
use entente_protocols::policy::{StewardDecision, Verdict};
use entente_testing::{Error, SETTINGS, World, last_study, study, until};

/// An alliance whose bank asks its steward.
pub async fn with_a_steward_at_the_bank() -> Result<World, Error> {
    World::with(|partner| match partner {
        "bank" => SETTINGS.replace("auto", "manual"),
        _ => SETTINGS.to_owned(),
    })
    .await
}

/// The study that waits at the bank, once one does.
pub async fn waiting(world: &World) -> Result<Attempt, Error> {
    let path = world.folder("bank").state("studies.sqlite");
    let mut found = None;
    until("a study waits at the bank", async || {
        let attempts = StudyStore::open(&path)?.all()?;
        found = attempts.into_iter().find(|attempt| attempt.stage.is_waiting());
        Ok(found.is_some())
    })
    .await?;
    Ok(found.ok_or("it waits")?)
}

/// Decides as the command line does.
pub fn decide(world: &World, Attempt { id, proposal, .. }: &Attempt, verdict: Verdict) -> Result<(), Error> {
    let path = world.folder("bank").state("studies.sqlite");
    let decision = StewardDecision { proposal: proposal.digest(id), by: "ann".into(), verdict };
    Ok(StudyStore::open(&path)?.decide(&id.study, &decision, &jiff::Timestamp::now().to_string())?)
}

const SQL: &str = "SELECT COUNT(*) AS n FROM clients";

#[tokio::test(flavor = "multi_thread")]
async fn a_study_goes_on_when_the_steward_approves() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let (result, id) = tokio::join!(world.run(study("asked").sql(SQL).build()?), async {
        let attempt = waiting(&world).await?;
        assert_eq!(world.ledger("retailer")?.len(), 0, "nothing is charged while it waits");
        decide(&world, &attempt, Verdict::Approve)?;
        Ok::<_, Error>(attempt.id.study)
    });
    assert_eq!(result?["study"]["id"], id?.as_str());
    let entries = world.ledger("bank")?;
    assert_eq!(last_study(&entries)?.approved_by.as_deref(), Some("steward ann"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_study_is_refused_with_the_reason_and_charged_nowhere() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let (result, decided) = tokio::join!(world.run(study("denied").sql(SQL).build()?), async {
        decide(&world, &waiting(&world).await?, Verdict::Deny("no legal basis".into()))
    });
    decided?;
    let error = result.err().ok_or("it was denied")?.to_string();
    assert!(error.contains("bank") && error.contains("no legal basis"), "{error}");
    assert_eq!((world.count("bank", State::Refused)?, world.count("bank", State::Reserved)?), (1, 0));
    assert_eq!(world.count("retailer", State::Reserved)?, 0);
    Ok(())
}

/// Where two partners are enough, the others go on in a new attempt.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_without_one_who_denies_if_they_are_enough() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let study = study("two-are-enough").sql(SQL).min_partners(2).build()?;
    let (result, decided) =
        tokio::join!(world.run(study), async { decide(&world, &waiting(&world).await?, Verdict::Deny("no".into())) });
    decided?;
    assert_eq!(result?["participants"], serde_json::json!(["retailer", "telecom"]));
    assert_eq!((world.count("retailer", State::Reserved)?, world.count("bank", State::Reserved)?), (1, 0));
    Ok(())
}
