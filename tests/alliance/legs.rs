//! Studies that follow one another: the coordinator begins each when the one before has its result, whoever follows them.

use entente::store::{ComposedRecord, Store, StudyState};
use entente::views::StudyView;
use entente_protocols::study::file::Asked;
use entente_testing::{Draft, Error, PARTNERS, SETTINGS, World, result, until};

use super::lookalike::seeded;

async fn is(world: &World, id: &str, state: StudyState) -> Result<(), Error> {
    until(&format!("{id} is {state}"), async || Ok(world.client().await?.show(id).await?.state == state)).await
}

/// An alliance in which the retailer, whose node does not run yet, trains alone; and a lookalike study of its seeds among the customers of
/// the telecom.
async fn asked() -> Result<(World, String), Error> {
    asked_of(seeded(&["telecom"])).await
}

/// The same, of this study.
async fn asked_of(study: Draft) -> Result<(World, String), Error> {
    let alone = |partner: &str| match partner {
        "retailer" => format!("{SETTINGS}min_partners = 1\n"),
        _ => SETTINGS.to_owned(),
    };
    let mut world = World::of(&PARTNERS).settings(alone).enrolled().await?;
    for partner in PARTNERS {
        world.start(partner).await?;
    }
    // Its public schema is known from now on, as the study is checked before anybody is charged.
    world.stop("retailer").await;
    let asked = Asked::Seeded(Box::new(study.with("seeds_epsilon", 3.0).build_seeded()?));
    let id = world.client().await?.submit_asked(asked).await?;
    Ok((world, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_of_two_legs_is_cancelled_resumed_and_goes_on_over_a_restart() -> Result<(), Error> {
    let (mut world, id) = asked().await?;
    let shown = world.client().await?.show(&id).await?;
    assert_eq!((shown.kind.name(), shown.participants.join(" ")), ("lookalike", "retailer telecom".to_owned()));
    world.client().await?.cancel(&id).await?;
    is(&world, &id, StudyState::Cancelled).await?;
    world.client().await?.resume(&id).await?;
    let waiting = world.stage(&id, "1 of 2, joining").await?;
    assert_eq!(waiting.waiting[0].partner, "retailer");
    assert_eq!(world.client().await?.studies().await?.len(), 2, "the whole and its first leg");

    world.stop_coordinator().await;
    world.start_coordinator().await?;
    world.start("retailer").await?;
    let mut model = None;
    let keep = |files: &entente::views::Files| {
        model = Some(files.clone());
        Ok(())
    };
    let files = world.client().await?.follow_legs(&id, |_| (), keep).await?;
    let (training, reach) = (result(&model.ok_or("a model")?)?, result(&files)?);
    assert_eq!((&training["study"]["id"], &training["study"]["kind"]), (&format!("{id}-1").into(), &"train".into()));
    assert_eq!((&reach["study"]["id"], &reach["study"]["kind"]), (&id.as_str().into(), &"lookalike".into()));
    is(&world, &id, StudyState::Done).await?;
    let again = world.client().await?.resume(&id).await.err().ok_or("refused")?.to_string();
    assert!(again.contains("is done"), "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_cannot_begin_says_why_and_is_tried_again() -> Result<(), Error> {
    let (mut world, id) = asked().await?;
    world.client().await?.revoke("telecom").await?;
    world.confirm("retailer")?;
    world.start("retailer").await?;
    is(&world, &id, StudyState::Refused).await?;
    let shown = world.client().await?.show(&id).await?;
    assert!(shown.reason.as_ref().is_some_and(|reason| reason.contains("`telecom` is not enrolled")), "{shown:?}");
    let mut legs = 0;
    let count = |_: &entente::views::Files| {
        legs += 1;
        Ok(())
    };
    let error = world.client().await?.follow_legs(&id, |_| (), count).await.map(drop).unwrap_err().to_string();
    assert!(legs == 1 && error.contains("`telecom` is not enrolled"), "{error}");
    let again = world.client().await?.resume(&id).await.err().ok_or("refused")?.to_string();
    assert!(again.contains("`telecom` is not enrolled"), "{again}");

    // A coordinator that was lost when it had kept what is asked and begun nothing of it begins it when it starts.
    world.stop_coordinator().await;
    let store = Store::open(&world.alliance())?;
    let kept = store.composed(&id)?.ok_or("it is kept")?;
    store.add_composed(&ComposedRecord { id: "lost".into(), begun: 0, refusal: None, ..kept })?;
    drop(store);
    world.start_coordinator().await?;
    is(&world, "lost-1", StudyState::Done).await?;
    is(&world, "lost", StudyState::Refused).await
}

/// It is as if it had been revoked while the stage ran.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_revoked_between_two_stages_is_left_out_of_the_second() -> Result<(), Error> {
    let (mut world, id) = asked_of(seeded(&["bank", "telecom"]).min_partners(2)).await?;
    world.client().await?.revoke("bank").await?;
    for partner in ["retailer", "telecom"] {
        world.confirm(partner)?;
    }
    world.start("retailer").await?;
    let shown = until_over(&world, &id).await?;
    assert_eq!(shown.state, StudyState::Done, "{shown:?}");
    assert_eq!(shown.participants, ["retailer", "telecom"]);
    Ok(())
}

async fn until_over(world: &World, id: &str) -> Result<StudyView, Error> {
    let mut last = world.client().await?.show(id).await?;
    until("it is over", async || {
        last = world.client().await?.show(id).await?;
        Ok(last.state != StudyState::Running)
    })
    .await?;
    Ok(last)
}
