//! What a steward's approval is good for, and what a study states: coordinators that use either for more.

use std::collections::BTreeSet;

use entente_node::store::StudyStore;
use entente_node::store::attempts::{Attempt, Ended, Stage};
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::ColumnType;
use entente_protocols::ledger::entry::State;
use entente_protocols::policy::{StewardDecision, Verdict};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::study::parts::Schemas;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::query::QuerySpec;
use entente_protocols::study::{Study, StudySpec};
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, SETTINGS, World, last_study, refused};

use super::hostile::{SQL, proposal};
use super::processes;

/// Partners of whom the bank asks its steward.
async fn with_a_steward() -> Result<Puppets, Error> {
    let settings = |partner: &str| match partner {
        "bank" => SETTINGS.replace("auto", "manual"),
        _ => SETTINGS.to_owned(),
    };
    Puppets::of(World::of(&PARTNERS).settings(settings)).await
}

/// The bank's steward decides on what is proposed.
pub(super) fn decide(puppets: &Puppets, Proposed { id, proposal }: &Proposed, verdict: Verdict) -> Result<(), Error> {
    let store = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    let proposal = puppets.with_schemas(proposal.clone()).digest(id);
    let decision = StewardDecision { proposal, by: "ann".into(), verdict };
    Ok(store.decide(&id.study, &decision, &jiff::Timestamp::now().to_string())?)
}

fn waits(answer: &FromNode) -> bool {
    matches!(answer, FromNode::Attempt(_, FromAttempt::Waiting { .. }))
}

/// The same study changed, as a further attempt.
fn changed(proposed: &Proposed, number: u32, change: impl FnOnce(&mut Proposal)) -> Proposed {
    let mut again = proposed.again(number, 0);
    change(&mut again.proposal);
    again
}

fn study_changed(proposed: &Proposed, number: u32, change: impl FnOnce(&mut Study)) -> Proposed {
    changed(proposed, number, |proposal| change(&mut proposal.study))
}

/// Lets the participants of an attempt sign and compute, as far as they do.
fn computed(puppets: &Puppets, proposed: &Proposed) -> Result<Vec<FromNode>, Error> {
    let signatures = puppets.signatures(proposed);
    let mut answers = Vec::new();
    for partner in &proposed.proposal.participants {
        for frame in puppets.tell(partner, proposed.go(&signatures)) {
            if !frame.is_contribution() {
                answers.push(frame.decode()?);
            }
        }
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_study_under_an_approved_identifier_waits_for_the_steward() -> Result<(), Error> {
    let puppets = with_a_steward().await?;
    let harmless = proposal("harmless", SQL)?;
    assert!(waits(&puppets.ask("bank", harmless.propose())));
    decide(&puppets, &harmless, Verdict::Approve)?;
    puppets.pledge("bank", &harmless);
    // Fewer of the partners, if the study allows it, are what was approved; the study does not.
    let fewer = changed(&harmless, 2, |proposal| proposal.participants.retain(|name| name != "telecom"));
    refused(puppets.ask("bank", fewer.propose()), "the study asks for at least 3 of its 3 partners");
    let query = |sql: &str| StudySpec::Query(QuerySpec { sql: sql.into(), max_groups: None, max_rows: None });
    let others = [
        study_changed(&harmless, 3, |study| study.spec = query("SELECT job, COUNT(*) AS n FROM clients GROUP BY job")),
        study_changed(&harmless, 4, |study| study.purpose = "sell to whoever pays".into()),
        study_changed(&harmless, 5, |study| study.legal_basis = Some("consent".into())),
        study_changed(&harmless, 6, |study| study.name = "another".into()),
        study_changed(&harmless, 7, |study| study.min_partners = Some(2)),
        study_changed(&harmless, 8, |study| study.privacy.lost_attempts = 9),
        study_changed(&harmless, 9, |study| {
            study.privacy.rho = study.privacy.rho.minus(Rho::from_micro(1));
        }),
        puppets.asked_by("telecom", &harmless.again(10, 0))?,
        changed(&harmless, 11, |proposal| {
            proposal.partners.pop();
            proposal.participants.pop();
        }),
        changed(&harmless, 12, |proposal| proposal.begun = 12),
    ];
    for other in &others {
        assert!(waits(&puppets.ask("bank", other.propose())), "attempt {}", other.id.number);
    }
    // What was approved goes on, in another attempt as well.
    puppets.pledge("bank", &harmless.again(13, 0));
    assert!(computed(&puppets, &harmless)?.is_empty());
    let entries = puppets.world.ledger("bank")?;
    let record = last_study(&entries)?;
    assert_eq!(record.approved_by.as_deref(), Some("steward ann"));
    let digest = puppets.with_schemas(harmless.proposal.clone()).digest(&harmless.id);
    assert_eq!(record.study.proposal_sha256, digest, "the ledger says what she approved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_withdrawn_or_used_up_is_good_for_nothing() -> Result<(), Error> {
    let puppets = with_a_steward().await?;
    let withdrawn = proposal("withdrawn", SQL)?;
    puppets.ask("bank", withdrawn.propose());
    decide(&puppets, &withdrawn, Verdict::Approve)?;
    let signatures = puppets.signatures(&withdrawn);
    decide(&puppets, &withdrawn, Verdict::Deny("not any more".into()))?;
    refused(puppets.ask("bank", withdrawn.go(&signatures)), "not any more");
    refused(puppets.ask("bank", withdrawn.again(2, 0).propose()), "not any more");
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 0);
    let done = proposal("done", SQL)?;
    puppets.ask("bank", done.propose());
    decide(&puppets, &done, Verdict::Approve)?;
    assert!(computed(&puppets, &done)?.is_empty());
    let transcript = last_study(&puppets.world.ledger("bank")?)?.transcript.ok_or("it was computed")?;
    puppets.tell("bank", puppets.end("clients", &done, transcript, Digest([7; 32]))?);
    assert_eq!(puppets.world.count("bank", State::Released)?, 1);
    assert!(waits(&puppets.ask("bank", done.again(2, 0).propose())), "the study is over");
    Ok(())
}

/// The sum is not released if one steward was told another purpose than the other.
#[tokio::test(flavor = "multi_thread")]
async fn partners_who_were_told_different_purposes_find_it_out_before_they_sign() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let fraud = study_changed(&proposal("two-faced", SQL)?, 1, |study| study.purpose = "finding fraud".into());
    let selling = study_changed(&fraud, 1, |study| study.purpose = "marketing".into());
    for (told, number) in [(&selling, 1), (&fraud, 2)] {
        let (mut one, mut other) = (fraud.clone(), told.clone());
        (one.id.study, other.id.study) = (format!("two-faced-{number}"), format!("two-faced-{number}"));
        if number == 2 {
            other = puppets.asked_by("telecom", &other)?;
        }
        let pledges: Vec<SignedPledge> = ["bank", "retailer", "telecom"]
            .iter()
            .map(|partner| puppets.pledge(partner, if *partner == "bank" { &one } else { &other }))
            .collect();
        for partner in PARTNERS {
            refused(
                puppets.ask(partner, one.start(&pledges)),
                "another name, purpose, legal basis, requester or terms",
            );
        }
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_rules_alone_an_identifier_is_of_one_study() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("taken", SQL)?;
    puppets.pledge("bank", &first);
    puppets.pledge("bank", &first.again(2, 0));
    let other = study_changed(&first, 3, |study| study.purpose = "another".into());
    refused(puppets.ask("bank", other.propose()), "under the same identifier");
    Ok(())
}

/// Attempts in which the coordinator tells one partner alone to compute: each is charged anew, up to what the study says of itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_costs_no_more_than_it_states_however_many_attempts_are_lost() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    for (name, lost_attempts) in [("none", 0), ("two", 2)] {
        let stated = study_changed(&proposal(name, SQL)?, 1, |study| study.privacy.lost_attempts = lost_attempts);
        let before = puppets.world.open_ledger("bank")?.spent("clients").rho;
        let mut went_on = 0;
        for number in 1..=8 {
            // What the coordinator says that was spent is not what counts.
            let attempt = stated.again(number, 0);
            match puppets.ask("bank", attempt.propose()) {
                FromNode::Attempt(_, FromAttempt::Pledged(_)) => {
                    // A bank that has a stored answer finds out that it is not to be used before it signs.
                    let pledges = PARTNERS.map(|partner| puppets.pledge(partner, &attempt));
                    let answer = puppets.ask("bank", attempt.start(&pledges));
                    if !matches!(answer, FromNode::Attempt(_, FromAttempt::Signed { .. })) {
                        refused(answer, "what the study states, lost attempts included");
                        continue;
                    }
                    let signatures = puppets.signatures(&attempt);
                    assert!(puppets.tell("bank", attempt.go(&signatures)).iter().any(Frame::is_contribution));
                    went_on += 1;
                }
                answer => refused(answer, "what the study states, lost attempts included"),
            }
        }
        assert_eq!(went_on, lost_attempts + 1);
        let spent = puppets.world.open_ledger("bank")?.spent("clients").rho.minus(before);
        assert!(spent <= stated.proposal.study.privacy.most(), "{spent}");
    }
    Ok(())
}

/// What is in it would stay in an append-only ledger and on the steward's list for ever.
#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_are_too_long_or_paint_on_terminals_leave_nothing_behind() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let good = proposal("good", SQL)?;
    let id = |study: &str| Proposed { id: AttemptId::new(study, 1), ..good.clone() };
    let long = "\u{1}".repeat(1 << 20);
    let garbage = [
        id("\u{1b}]0;x"),
        id(""),
        id("../../etc"),
        id(&"x".repeat(101)),
        study_changed(&good, 1, |study| study.name = long.clone()),
        study_changed(&good, 1, |study| study.purpose = "x\u{1b}[2J".into()),
        study_changed(&good, 1, |study| study.purpose = "x".repeat(1 << 20)),
        study_changed(&good, 1, |study| study.legal_basis = Some("\u{1b}[1A".into())),
        study_changed(&good, 1, |study| {
            study.spec = StudySpec::Query(QuerySpec { sql: "x".repeat(1 << 20), max_groups: None, max_rows: None });
        }),
        changed(&good, 1, |proposal| proposal.requester = long.clone()),
        changed(&good, 1, |proposal| proposal.participants = vec![long.clone()]),
        changed(&good, 1, |proposal| proposal.partners = vec![long.clone()]),
        changed(&good, 1, |proposal| proposal.participants.push("telecom".into())),
        changed(&good, 1, |proposal| proposal.participants.clear()),
        changed(&good, 1, |proposal| proposal.begun = 2),
    ];
    for proposed in &garbage {
        match puppets.ask("bank", proposed.propose()) {
            FromNode::Attempt(_, FromAttempt::Refused { reason }) => {
                assert!(reason.len() < 500 && !reason.chars().any(char::is_control), "{reason}");
            }
            other => panic!("it must be refused: {other:?}"),
        }
    }
    assert_eq!(puppets.world.ledger("bank")?.iter().filter(|entry| entry.study().is_some()).count(), 0);
    let store = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    assert!(store.all()?.is_empty());
    puppets.pledge("bank", &good);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_studies_that_are_refused_does_not_fill_the_ledger() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let mut reasons = BTreeSet::new();
    for number in 0..250 {
        let unknown = proposal(&format!("flood-{number}"), "SELECT COUNT(*) AS n FROM nowhere")?;
        match puppets.ask("bank", unknown.propose()) {
            FromNode::Attempt(_, FromAttempt::Refused { reason }) => reasons.insert(reason),
            other => panic!("it must be refused: {other:?}"),
        };
    }
    assert_eq!(reasons.len(), 1, "each is told why");
    assert_eq!(puppets.world.count("bank", State::Refused)?, 100);
    let entries = puppets.world.ledger("bank")?;
    assert!(last_study(&entries)?.reason.as_ref().is_some_and(|reason| reason.contains("the last refusal")));
    let store = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    assert_eq!(store.all()?.len(), 100);
    Ok(())
}

/// Under the rules alone nobody is asked again, so nothing under the identifier is what the steward had not in mind.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_denied_stays_so_under_the_rules_alone() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("denied", SQL)?;
    assert!(computed(&puppets, &first)?.is_empty());
    let transcript = last_study(&puppets.world.ledger("bank")?)?.transcript.ok_or("it was computed")?;
    decide(&puppets, &first, Verdict::Deny("stop this".into()))?;
    let again = |number| changed(&first, number, |proposal| proposal.begun = number);
    refused(puppets.ask("bank", first.again(2, 0).propose()), "stop this");
    refused(puppets.ask("bank", again(3).propose()), "stop this");
    puppets.tell("bank", puppets.end("clients", &first, transcript, Digest([7; 32]))?);
    refused(puppets.ask("bank", again(4).propose()), "stop this");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_ends_with_a_study_that_is_cancelled() -> Result<(), Error> {
    let puppets = with_a_steward().await?;
    let cancelled = proposal("cancelled", SQL)?;
    puppets.ask("bank", cancelled.propose());
    decide(&puppets, &cancelled, Verdict::Approve)?;
    puppets.pledge("bank", &cancelled);
    puppets.tell("bank", cancelled.tells(ToAttempt::Abandoned { reason: "lost".into(), is_over: false }));
    puppets.pledge("bank", &cancelled.again(2, 0));
    let over = ToAttempt::Abandoned { reason: "cancelled by the operator".into(), is_over: true };
    puppets.tell("bank", cancelled.again(2, 0).tells(over));
    assert!(waits(&puppets.ask("bank", cancelled.again(3, 0).propose())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_without_end_are_refused_before_they_fill_the_disk() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let many = proposal("many", SQL)?;
    let mut pledged = 0;
    for number in 1..=200 {
        match puppets.ask("bank", many.again(number, 0).propose()) {
            FromNode::Attempt(_, FromAttempt::Pledged(_)) => pledged += 1,
            answer => refused(answer, "too many attempts"),
        }
    }
    assert_eq!(pledged, 64);
    for number in 0..300 {
        match puppets.ask("bank", proposal(&format!("many-{number}"), SQL)?.propose()) {
            FromNode::Attempt(_, FromAttempt::Pledged(_)) => pledged += 1,
            answer => refused(answer, "attempts go on or wait"),
        }
    }
    assert_eq!(pledged, 256);
    Ok(())
}

/// A coordinator that was lost never says how its attempts ended.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_nobody_ends_take_no_place_for_ever() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let store = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    let old = proposal("old", SQL)?;
    for number in 1..=300 {
        let id = AttemptId::new(format!("old-{number}"), 1);
        store.put(&Attempt::proposed(id, old.proposal.clone(), "2026-01-01T00:00:00Z".into()))?;
    }
    puppets.pledge("bank", &proposal("new", SQL)?);
    Ok(())
}

/// None is forgotten, as decisions and receipts are held against what was proposed before.
#[tokio::test(flavor = "multi_thread")]
async fn more_attempts_than_a_day_may_bring_are_refused_and_none_is_forgotten() -> Result<(), Error> {
    for (count, purpose) in [(1000, "why"), (17, &*"x".repeat(1 << 20))] {
        let puppets = Puppets::new().await?;
        let first = proposal("first", SQL)?;
        assert!(computed(&puppets, &first)?.is_empty());
        puppets.tell("bank", first.tells(ToAttempt::Abandoned { reason: "lost".into(), is_over: false }));
        let store = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
        let many = study_changed(&first, 1, |study| study.purpose = purpose.into()).proposal;
        let now = jiff::Timestamp::now().to_string();
        for number in 0..count {
            let id = AttemptId::new(format!("many-{number}"), 1);
            let ended = Ended { reason: "lost".into(), pledge: None };
            store.put(&Attempt::proposed(id, many.clone(), now.clone()).with(Stage::Abandoned(ended)))?;
        }
        refused(puppets.ask("bank", proposal("one-more", SQL)?.propose()), "within a day already");
        let other = study_changed(&first, 1, |study| study.purpose = "another".into());
        let answer = puppets.ask("bank", other.propose());
        assert!(!matches!(answer, FromNode::Attempt(_, FromAttempt::Pledged(_))), "{answer:?}");
    }
    Ok(())
}

/// A study that goes on in a further attempt can be stopped in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_next_attempt_can_be_denied() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("between", SQL)?;
    puppets.pledge("bank", &first);
    puppets.tell("bank", first.tells(ToAttempt::Abandoned { reason: "lost".into(), is_over: false }));
    let folder = puppets.world.folder("bank").path().display().to_string();
    processes::good("entente-node", &["deny", "between", "--reason", "stop this", "--dir", &folder])?;
    refused(puppets.ask("bank", first.again(2, 0).propose()), "stop this");
    Ok(())
}

/// A coordinator that plans over bounds which the bank has not declared, and tells everybody the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_over_another_schema_than_the_node_s_is_refused_before_a_charge() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let honest = proposal("schemas", "SELECT AVG(age) AS age FROM clients")?;
    let proposal = puppets.with_schemas(honest.proposal.clone());
    let wider = |partner: &String| {
        let mut schema = proposal.of(partner).ok_or("it has one")?.clone();
        schema.columns.insert("age".into(), ColumnType::Int { min: Some(0), max: Some(10_000) });
        Ok((partner.clone(), schema))
    };
    let schemas = proposal.partners.iter().map(wider).collect::<Result<Vec<_>, Error>>()?;
    let wide = Proposed { id: honest.id.clone(), proposal: proposal.clone().over(schemas) };
    refused(puppets.ask("bank", wide.propose()), "another schema");
    // Nor under the hash of the true one.
    let mut lie = Proposed { id: AttemptId::new("lie", 1), proposal: proposal.clone() };
    lie.proposal.datasets = proposal.datasets.keys().copied().zip(wide.proposal.datasets.values().cloned()).collect();
    refused(puppets.ask("bank", lie.propose()), "not those whose hashes");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}
