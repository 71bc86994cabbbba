//! Partners that ask for studies: what they are given, what others verify of it, and what they may ask for within a day.

use std::collections::BTreeSet;
use std::time::Duration;

use entente_node::asking::{Asked, Requester, Update};
use entente_node::state::Folder;
use entente_node::store::StudyStore;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::petition::{Asking, Petition, identifier};
use entente_protocols::ledger::entry::{Entry, State};
use entente_protocols::ledger::receipt::Receipt;
use entente_protocols::policy::Verdict;
use entente_protocols::study::Study;
use entente_protocols::wire::frame::Frame;
use entente_testing::{Error, PARTNERS, Proposed, Puppets, SETTINGS, World, last_study, refused, study, until};

use super::hostile::{SQL, proposal};
use super::steward::{decide, waiting, with_a_steward_at_the_bank};

fn requester(world: &World, partner: &str) -> Result<Requester, Error> {
    let folder = world.folder(partner);
    Ok(Requester::new(&folder, entente_node::load(&folder)?))
}

/// How many clients have something in a column.
fn counts(column: &str) -> Result<Study, Error> {
    let sql = format!("SELECT {column}, COUNT(*) AS n FROM clients GROUP BY {column}");
    Ok(study(column).epsilon(0.5).sql(&sql).build()?)
}

/// A partner asks for a study and is given its result, or why there is none.
async fn ask(world: &World, partner: &str, study: Study) -> Result<String, Error> {
    let requester = requester(world, partner)?;
    match requester.run(requester.sign(study)?, |_| ()).await {
        Ok(_) => Ok("done".into()),
        Err(error) => Ok(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_is_given_the_result_that_it_asks_for_and_every_ledger_says_so() -> Result<(), Error> {
    let world = World::new().await?;
    let telecom = requester(&world, "telecom")?;
    let checked = telecom.check(counts("housing")?).await?;
    assert!(!checked.refused && checked.text.contains("rules"), "{}", checked.text);
    let asked = telecom.sign(counts("housing")?)?;
    let mut accepted = None;
    let delivered = telecom.run(asked.clone(), |update| match update {
        Update::Accepted(id) => accepted = Some(id),
        Update::Progress(_) => {}
    });
    let delivered = delivered.await?;
    assert_eq!(accepted.as_ref(), Some(&asked.id));
    let names: BTreeSet<&str> = delivered.files.keys().map(String::as_str).collect();
    assert!(names.is_superset(&["result.json", "receipt.json", "report.html"].into()), "{names:?}");
    assert!(delivered.text.contains("housing"), "{}", delivered.text);
    let receipt = Receipt::parse(std::str::from_utf8(&delivered.files["receipt.json"])?)?;
    assert_eq!(receipt.statement.subject.requester, "telecom");
    for partner in PARTNERS {
        let entries = world.ledger(partner)?;
        let record = last_study(&entries)?;
        assert_eq!((record.requester.as_str(), record.study.id.as_str()), ("telecom", asked.id.as_str()));
        assert!(record.recipients.contains(&"telecom".to_owned()));
    }
    // Whoever was interrupted asks again for what was accepted, and is given the same; nothing is charged twice.
    let again = telecom.run(asked.clone(), |_| ()).await?;
    assert_eq!(again.files["result.json"], delivered.files["result.json"]);
    assert_eq!(telecom.follow(&asked.id, |_| ()).await?.files["result.json"], delivered.files["result.json"]);
    assert_eq!(world.count("bank", State::Reserved)?, 1);
    let shown = world.client().await?.show(&asked.id).await?;
    assert_eq!(shown.requester, "telecom");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_and_ends_what_it_has_asked_for_alone() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let (telecom, retailer) = (requester(&world, "telecom")?, requester(&world, "retailer")?);
    let operators = world.client().await?.submit(counts("loan")?).await?;
    let own = telecom.submit(telecom.sign(counts("housing")?)?).await?;
    assert!(telecom.list().await?.json.contains(&own) && telecom.show(&own).await?.text.contains("telecom"));
    for (other, id) in [(&retailer, &own), (&telecom, &operators), (&retailer, &operators)] {
        assert!(!other.list().await?.json.contains(id.as_str()));
        for error in [other.show(id).await.err(), other.cancel(id).await.err(), other.follow(id, |_| ()).await.err()] {
            let error = error.ok_or("it is another's")?.to_string();
            assert!(error.contains("has asked for no study"), "{error}");
        }
    }
    telecom.cancel(&own).await?;
    let error = telecom.follow(&own, |_| ()).await.err().ok_or("it was given up")?.to_string();
    assert!(error.contains("cancelled by `telecom`"), "{error}");
    world.client().await?.cancel(&operators).await?;
    Ok(())
}

/// What the steward is shown is what was signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_steward_decides_on_what_a_partner_has_signed() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let asked = requester(&world, "telecom")?;
    let signed = asked.sign(counts("housing")?)?;
    let (delivered, decided) = tokio::join!(asked.run(signed.clone(), |_| ()), async {
        let attempt = waiting(&world).await?;
        assert_eq!((attempt.proposal.requester.as_str(), &attempt.id.study), ("telecom", &signed.id));
        assert_eq!(attempt.proposal.petition.as_ref(), Some(&signed.petition));
        decide(&world, &attempt, Verdict::Approve)
    });
    decided?;
    assert!(delivered?.files.contains_key("result.json"));
    Ok(())
}

/// The coordinator says that a partner asks: without its signature, with one of another study, of another identifier, of another
/// partner, and with one that is too old to begin a study by.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_for_a_study_but_who_has_signed_it() -> Result<(), Error> {
    let settings = |partner: &str| match partner {
        "bank" => SETTINGS.replace("auto", "manual"),
        _ => SETTINGS.to_owned(),
    };
    let puppets = Puppets::of(World::of(&PARTNERS).settings(settings)).await?;
    let plain = proposal("plain", SQL)?;
    let signed = puppets.asked_by("telecom", &plain)?;
    let renamed = |id: &str, from: &Proposed| Proposed { id: AttemptId::new(id, 1), ..from.clone() };
    let mut unsigned = renamed("unsigned", &signed);
    unsigned.proposal.petition = None;
    let mut of_another = renamed("of-another", &puppets.asked_by("retailer", &renamed("of-another", &plain))?);
    of_another.proposal.requester = "telecom".into();
    let mut other_study = puppets.asked_by("telecom", &renamed("other-study", &plain))?;
    other_study.proposal.study.purpose = "sell to whoever pays".into();
    let replayed = renamed("replayed", &signed);
    let mut stranger = renamed("stranger", &signed);
    stranger.proposal.requester = "broker".into();
    let mut nobody = renamed("nobody", &plain);
    nobody.proposal.requester = "the regulator".into();
    let mut operator = renamed("operator", &puppets.asked_by("telecom", &renamed("operator", &plain))?);
    operator.proposal.requester = "operator".into();
    let lies = [
        (&unsigned, "has not signed it"),
        (&of_another, "its signature is not one of this study"),
        (&other_study, "its signature is not one of this study"),
        (&replayed, "its signature is not one of this study"),
        (&stranger, "is not in the roster"),
        (&nobody, "has not signed it"),
        (&operator, "is not in the roster"),
    ];
    for (lie, why) in lies {
        for partner in PARTNERS {
            refused(puppets.ask(partner, lie.propose()), why);
        }
        let studies = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
        assert!(studies.all()?.iter().all(|attempt| !attempt.stage.is_waiting()), "a steward is asked");
    }
    // Of a week ago, by which no study begins.
    let mut old = renamed("old", &signed);
    let asking = old.proposal.asking(&old.id, &puppets.roster);
    let time = jiff::Timestamp::now().as_second() - 8 * 24 * 3600;
    let (study, key) = (old.proposal.study.digest(), puppets.world.folder("telecom").identity()?);
    old.proposal.petition = Some(Petition::sign(&asking, study, time, &key));
    refused(puppets.ask("retailer", old.propose()), "more than a week ago");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    puppets.pledge("retailer", &signed);
    Ok(())
}

/// A partner's study passed on again is a further attempt of the same study, and costs no more than that states.
#[tokio::test(flavor = "multi_thread")]
async fn a_petition_that_is_passed_on_again_is_good_for_the_same_study() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let asked = puppets.asked_by("telecom", &proposal("once", SQL)?)?;
    let mut charged = 0;
    for number in 1..=6 {
        let attempt = asked.again(number, 0);
        let pledges: Vec<_> = PARTNERS.iter().filter_map(|partner| pledged(&puppets, partner, &attempt)).collect();
        if pledges.len() < PARTNERS.len() {
            continue;
        }
        if PARTNERS.iter().any(|partner| !is_signed(&puppets.ask(partner, attempt.start(&pledges)))) {
            continue;
        }
        let signatures = puppets.signatures(&attempt);
        charged += usize::from(puppets.tell("bank", attempt.go(&signatures)).iter().any(Frame::is_contribution));
    }
    let most = asked.proposal.study.privacy.lost_attempts as usize + 1;
    assert_eq!((charged, puppets.world.count("bank", State::Reserved)?), (most, most));
    Ok(())
}

fn pledged(
    puppets: &Puppets,
    partner: &str,
    attempt: &Proposed,
) -> Option<entente_protocols::secagg::pledge::SignedPledge> {
    use entente_protocols::wire::message::{FromAttempt, FromNode};
    match puppets.ask(partner, attempt.propose()) {
        FromNode::Attempt(_, FromAttempt::Pledged(pledge)) => Some(*pledge),
        _ => None,
    }
}

fn is_signed(answer: &entente_protocols::wire::message::FromNode) -> bool {
    use entente_protocols::wire::message::{FromAttempt, FromNode};
    matches!(answer, FromNode::Attempt(_, FromAttempt::Signed { .. }))
}

/// What the coordinator takes on of a partner: what that has signed, under an identifier of this hour that nobody has.
#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_says_at_once_what_is_wrong_with_a_petition() -> Result<(), Error> {
    let world = World::new().await?;
    let (telecom, retailer) = (requester(&world, "telecom")?, requester(&world, "retailer")?);
    let good = telecom.sign(counts("housing")?)?;
    let resigned = |asked: &Asked, id: &str, time: i64| -> Result<Asked, Error> {
        let folder = world.folder("telecom");
        let asking = Asking { authority: folder.authority()?, id, requester: "telecom" };
        let petition = Petition::sign(&asking, asked.study.digest(), time, &folder.identity()?);
        Ok(Asked { study: asked.study.clone(), id: id.into(), petition })
    };
    let old = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(2))?;
    let refusals = [
        (&retailer, good.clone(), "is not signed by `retailer`"),
        (&telecom, Asked { study: counts("loan")?, ..good.clone() }, "is not signed by `telecom`"),
        (&telecom, resigned(&good, "mine", good.petition.time)?, "is not signed by `telecom` under this identifier"),
        (&telecom, resigned(&good, &identifier(old, [1; 3]), old.as_second())?, "synchronise both by NTP"),
    ];
    for (requester, asked, why) in refusals {
        let error = requester.submit(asked).await.err().ok_or(why)?.to_string();
        assert!(error.contains(why), "{error}");
    }
    telecom.submit(good.clone()).await?;
    let error =
        telecom.submit(resigned(&Asked { study: counts("loan")?, ..good.clone() }, &good.id, good.petition.time)?);
    let error = error.await.err().ok_or("it is another study's")?.to_string();
    assert!(error.contains("there is another study"), "{error}");
    Ok(())
}

const ONE_A_DAY: &str = "\n[policy.requesters]\nstudies_per_day = 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_requester_over_its_quota_is_refused_before_anybody_is_charged() -> Result<(), Error> {
    let mut world = World::with(|partner| match partner {
        "bank" => format!("{SETTINGS}{ONE_A_DAY}"),
        _ => SETTINGS.to_owned(),
    })
    .await?;
    assert_eq!(ask(&world, "telecom", counts("housing")?).await?, "done");
    for restarts in [false, true] {
        if restarts {
            world.stop("bank").await;
            world.start("bank").await?;
        }
        let refusal = ask(&world, "telecom", counts("loan")?).await?;
        assert!(refusal.contains("`telecom` has asked for 1 of 1 studies within 24 hours"), "{refusal}");
        assert!(refusal.contains("ends to count at"), "{refusal}");
        let checked = requester(&world, "telecom")?.check(counts("loan")?).await?;
        assert!(checked.refused && checked.text.contains("1 of 1 studies"), "{}", checked.text);
    }
    // The same question again costs nothing, and others have a quota of their own.
    assert_eq!(ask(&world, "telecom", counts("housing")?).await?, "done");
    assert_eq!(ask(&world, "retailer", counts("loan")?).await?, "done");
    world.run(counts("job")?).await?;
    let refusal = world.refusal(counts("education")?).await?;
    assert!(refusal.contains("`operator` has asked for 1 of 1 studies"), "{refusal}");
    let reserved = |partner| world.count(partner, State::Reserved);
    assert_eq!((reserved("bank")?, reserved("retailer")?, reserved("telecom")?), (3, 3, 3));
    Ok(())
}

/// Asked for at once, none of which has been charged when the others are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn studies_at_once_count_together() -> Result<(), Error> {
    let world = World::with(|_| format!("{SETTINGS}{ONE_A_DAY}")).await?;
    let telecom = requester(&world, "telecom")?;
    let mut ids = Vec::new();
    for column in ["housing", "loan", "job", "education"] {
        ids.push(telecom.submit(telecom.sign(counts(column)?)?).await?);
    }
    until("all have ended", async || {
        let shown: serde_json::Value = serde_json::from_str(&telecom.list().await?.json)?;
        Ok(shown.as_array().is_some_and(|all| all.iter().all(|study| study["state"] != "running")))
    })
    .await?;
    let studies = |entries: &[Entry]| -> BTreeSet<String> {
        let charged = entries.iter().filter(|entry| entry.state() == State::Reserved);
        charged.filter_map(|entry| Some(entry.study()?.study.id.clone())).collect()
    };
    for partner in PARTNERS {
        assert!(studies(&world.ledger(partner)?).len() <= 1, "{partner}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_more_than_may_be_asked_for_without_a_steward_waits_for_one() -> Result<(), Error> {
    let world = World::with(|partner| match partner {
        "bank" => format!("{SETTINGS}\n[policy.requesters]\nsteward_above_epsilon = 0.4\n"),
        _ => SETTINGS.to_owned(),
    })
    .await?;
    let telecom = requester(&world, "telecom")?;
    let cheap = study("cheap").epsilon(0.4).sql("SELECT COUNT(*) AS n FROM clients").build()?;
    assert_eq!(ask(&world, "telecom", cheap).await?, "done");
    let asked = telecom.sign(counts("housing")?)?;
    let (delivered, decided) =
        tokio::join!(telecom.run(asked, |_| ()), async { decide(&world, &waiting(&world).await?, Verdict::Approve) });
    decided?;
    delivered?;
    let entries = world.ledger("bank")?;
    assert_eq!(last_study(&entries)?.approved_by.as_deref(), Some("steward ann"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_revoked_asks_for_nothing_any_more() -> Result<(), Error> {
    let world = with_a_steward_at_the_bank().await?;
    let telecom = requester(&world, "telecom")?;
    let open = study("open").sql("SELECT COUNT(*) AS n FROM clients").partners(&["bank", "retailer"]).build()?;
    let id = telecom.submit(telecom.sign(open.clone())?).await?;
    waiting(&world).await?;
    world.client().await?.revoke("telecom").await?;
    let error = telecom.submit(telecom.sign(open)?).await.err().ok_or("it is revoked")?.to_string();
    assert!(error.to_lowercase().contains("revoked"), "{error}");
    // Whoever enrols under its name is given nothing of what it had asked for.
    let place = tempfile::tempdir()?;
    let folder = Folder::new(place.path());
    let ticket = entente::invite(&world.alliance(), "telecom", Duration::from_secs(3600))?;
    entente_node::link::enrol::join(&ticket, &folder).await?;
    let another = Requester::new(&folder, entente_node::load(&folder)?);
    assert_eq!(another.list().await?.json, "[]");
    let error = another.show(&id).await.err().ok_or("it is another's")?.to_string();
    assert!(error.contains("has asked for no study"), "{error}");
    until("its study is given up", async || {
        let shown = world.client().await?.show(&id).await?;
        Ok(shown.reason.is_some_and(|reason| reason.contains("has revoked `telecom`")))
    })
    .await?;
    assert_eq!(world.count("bank", State::Reserved)?, 0);
    Ok(())
}

/// A coordinator that goes on asking in the name of a partner that staff have dropped, whose key others may have by now.
#[tokio::test(flavor = "multi_thread")]
async fn staff_that_drop_a_partner_are_asked_for_nothing_by_it() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let mut plain = proposal("dropped", SQL)?;
    plain.proposal.study.partners = vec!["bank".into(), "retailer".into()];
    plain.proposal.partners = plain.proposal.study.partners.clone();
    plain.proposal.participants = plain.proposal.partners.clone();
    let asked = puppets.asked_by("telecom", &plain)?;
    let pledges: Vec<_> =
        ["bank", "retailer"].iter().filter_map(|partner| pledged(&puppets, partner, &asked)).collect();
    assert_eq!(pledges.len(), 2);
    entente_node::roster::drop_partner(&puppets.world.folder("bank"), "telecom")?;
    // Also where it has pledged itself before.
    refused(puppets.ask("bank", asked.start(&pledges)), "is not in the roster");
    let again = puppets.asked_by("telecom", &Proposed { id: AttemptId::new("dropped-2", 1), ..plain })?;
    refused(puppets.ask("bank", again.propose()), "is not in the roster");
    Ok(())
}

/// Whoever asks is given invented rows of what partners have published, whether these are there or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_asks_and_charges_nobody_and_says_what_it_is() -> Result<(), Error> {
    let mut world = World::new().await?;
    for partner in PARTNERS {
        world.stop(partner).await;
    }
    let before = PARTNERS.map(|partner| world.ledger(partner).map(|entries| entries.len()).unwrap_or_default());
    let telecom = requester(&world, "telecom")?;
    let delivered = telecom.rehearse(counts("housing")?).await?;
    assert!(delivered.text.contains("housing"), "{}", delivered.text);
    let operators = world.client().await?.rehearse(counts("housing")?).await?;
    for files in [&delivered.files, &operators] {
        assert!(files.len() >= 4 && files.keys().all(|name| name.starts_with("REHEARSAL-")), "{:?}", files.keys());
    }
    let unknown = study("unknown").sql("SELECT COUNT(*) AS n FROM clients WHERE housingg").build()?;
    let rehearsed = telecom.rehearse(unknown.clone()).await.err().ok_or("there is no such column")?.to_string();
    let checked = telecom.check(unknown).await?;
    assert!(checked.refused && rehearsed.contains("`housingg`"), "{rehearsed}");
    let after = PARTNERS.map(|partner| world.ledger(partner).map(|entries| entries.len()).unwrap_or_default());
    assert_eq!((before, telecom.list().await?.json.as_str()), (after, "[]"));
    Ok(())
}
