//! What a node has set aside and approved when it signed: how long that holds, whatever is restarted and however much time passes.

use std::fs;

use entente_protocols::ledger::entry::State;
use entente_protocols::policy::Verdict;
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{FromAttempt, FromNode};
use entente_testing::{Error, PARTNERS, Puppets, SETTINGS, World, last_study, refused};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::approvals::decide;
use super::hostile::{SQL, proposal};
use super::processes;

/// The bank has budget for one study, and asks its steward only where `approve` says so.
async fn puppets(approve: &str) -> Result<Puppets, Error> {
    let settings = |partner: &str| match partner {
        "bank" => SETTINGS.replace("10.0", "1.3").replace("auto", approve).replace("4.0", "1.0"),
        _ => SETTINGS.to_owned(),
    };
    Puppets::of(World::of(&PARTNERS).settings(settings)).await
}

fn in_days(days: i64) -> Result<Timestamp, Error> {
    Ok(Timestamp::now().checked_add(SignedDuration::from_hours(24 * days))?)
}

/// Whether the bank has budget for another study: if not, it says what that is set aside for.
fn has_budget_left(puppets: &Puppets, name: &str) -> Result<bool, Error> {
    match puppets.ask("bank", proposal(name, SQL)?.propose()) {
        FromNode::Attempt(_, FromAttempt::Pledged(_)) => Ok(true),
        FromNode::Attempt(_, FromAttempt::Refused { reason }) => {
            assert!(reason.contains("set aside for studies that go on"), "{reason}");
            Ok(false)
        }
        other => Err(format!("it answers {other:?}").into()),
    }
}

/// What the bank's staff are told of its budget.
fn budget(puppets: &Puppets) -> Result<(Value, String), Error> {
    let folder = puppets.world.folder("bank");
    let dir = folder.path().to_string_lossy().into_owned();
    let shown = |more: &[&str]| processes::good("entente-node", &[&["budget", "--dir", &dir], more].concat());
    Ok((serde_json::from_str(&shown(&["--json"])?)?, shown(&[])?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_ends_is_set_aside_for_a_week_however_often_the_node_is_started() -> Result<(), Error> {
    let mut puppets = puppets("auto").await?;
    puppets.signatures(&proposal("never-ended", SQL)?);
    assert!(!has_budget_left(&puppets, "at-once")?);
    for days in [3, 6] {
        puppets.restart_at("bank", in_days(days)?)?;
        assert!(!has_budget_left(&puppets, &format!("day-{days}"))?);
    }
    puppets.restart_at("bank", in_days(8)?)?;
    assert!(has_budget_left(&puppets, "day-8")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_set_aside_for_what_cannot_go_on_without_its_key() -> Result<(), Error> {
    let mut puppets = puppets("auto").await?;
    puppets.signatures(&proposal("keyless", SQL)?);
    // As when the machine was started anew: the wrapping key, where it lies beside the files, stays.
    for file in fs::read_dir(puppets.world.folder("bank").state("ephemeral"))? {
        let path = file?.path();
        if !path.ends_with("key") {
            fs::remove_file(path)?;
        }
    }
    puppets.restart("bank")?;
    assert!(has_budget_left(&puppets, "after-it")?);
    assert_eq!(budget(&puppets)?.0[0]["set_aside_for"], serde_json::json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_frees_at_once_what_is_set_aside_and_staff_see_for_which_study_it_is() -> Result<(), Error> {
    let puppets = puppets("auto").await?;
    let denied = proposal("denied", SQL)?;
    puppets.signatures(&denied);
    let (json, text) = budget(&puppets)?;
    let row = json.as_array().and_then(|rows| rows.iter().find(|row| row["dataset"] == "clients")).ok_or("a row")?;
    let held = &row["set_aside_for"][0];
    assert_eq!((&held["study"], &held["attempt"]), (&"denied".into(), &1.into()), "{json}");
    assert_eq!(held["rho_micro"], row["set_aside"]["rho_micro"]);
    assert_ne!(held["rho_micro"], "0");
    assert!(text.contains("set aside for denied, attempt 1"), "{text}");
    assert!(!has_budget_left(&puppets, "beside-it")?);
    decide(&puppets, &denied, Verdict::Deny("stop this".into()))?;
    assert!(has_budget_left(&puppets, "after-it")?);
    let (json, text) = budget(&puppets)?;
    assert!(json[0]["set_aside"]["rho_micro"] == "0" && !text.contains("set aside"), "{json} {text}");
    Ok(())
}

/// Others are charged by then, whoever was slow. A person may still say no.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_runs_out_after_the_signature_is_good_for_the_attempt_and_a_denial_ends_it()
-> Result<(), Error> {
    let mut puppets = puppets("manual").await?;
    for (name, is_denied) in [("slow", true), ("slower", false)] {
        let proposed = proposal(name, SQL)?;
        puppets.ask("bank", proposed.propose());
        decide(&puppets, &proposed, Verdict::Approve)?;
        let signed = puppets.signatures(&proposed);
        if is_denied {
            decide(&puppets, &proposed, Verdict::Deny("stop this".into()))?;
        }
        puppets.restart_at("bank", in_days(8)?)?;
        if is_denied {
            refused(puppets.ask("bank", proposed.go(&signed)), "stop this");
        } else {
            assert!(puppets.tell("bank", proposed.go(&signed)).iter().any(Frame::is_contribution));
        }
        puppets.restart("bank")?;
    }
    assert_eq!(puppets.world.count("bank", State::Computed)?, 1);
    assert_eq!(last_study(&puppets.world.ledger("bank")?)?.approved_by.as_deref(), Some("steward ann"));
    Ok(())
}
