use super::*;
use crate::identity::{IdentityKey, Member};
use crate::ledger::Act;
use crate::ledger::checkpoint::coordinator_origin;
use crate::ledger::office::{Sighting, Subject};
use crate::ledger::rules::Rules;
use crate::ledger::store::Memory;
use crate::ledger::{AccountKey, Budgets, Caps, Ledger};
use crate::policy::tests::{approved, request};
use crate::privacy::rho::Rho;

fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_secret(&[byte; 32])
}

fn signer() -> Signer {
    Signer { origin: node_origin(Digest::ZERO, "a"), key: key(3) }
}

fn roster() -> Roster {
    Roster {
        alliance: "a".into(),
        authority: Digest::ZERO,
        coordinator: key(9).public(),
        members: [("a".into(), Member { identity: key(3).public(), tls: Digest::ZERO })].into(),
    }
}

fn ledger() -> Ledger<Memory> {
    ledger_of(3)
}

fn ledger_of(charges: u8) -> Ledger<Memory> {
    let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
    let mut ledger =
        Ledger::open(Memory::default(), Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1").unwrap();
    for i in 1..=charges {
        let id = Digest([i; 32]);
        ledger.reserve(approved(request("s", i, 10_000)), id, id, "now").unwrap();
        let mut checkpoint = ledger.checkpoint(&signer()).unwrap();
        let cosignature = checkpoint.note().cosign(&coordinator_origin(Digest::ZERO), &key(9), 1);
        checkpoint.add(cosignature);
        ledger.keep(&checkpoint).unwrap();
    }
    let act = Act { officer: "ann", reason: "hold", now: "now" };
    ledger.hold(&Subject::Dataset("d".into()), true, act).unwrap();
    ledger
}

fn good() -> String {
    export("a", &signer(), ledger().store()).unwrap()
}

fn failed(text: &str) -> String {
    let report = verify_export(text, None);
    assert!(!report.passed(), "must fail: {text}");
    report.text()
}

/// Sealed by the node's own key: what its own staff could make of it.
fn sealed(lines: &[&str]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let others = lines.iter().copied().filter(|line| entry_line(line).is_none());
    let seal = signer().key.sign(SEAL_LABEL, &seal_message(others).0);
    text + &serde_json::to_string(&SealLine { seal }).unwrap() + "\n"
}

#[test]
fn a_good_export_passes_with_and_without_a_roster() {
    let good = good();
    for roster in [None, Some(&roster())] {
        let report = verify_export(&good, roster);
        assert!(report.passed(), "{}", report.text());
        assert_eq!(report.spent[&AccountKey::Population("people".into())].rho, Rho::from_micro(30_000));
    }
    // Three with cosignatures, and one over the last entry.
    assert_eq!(good.lines().filter(|line| line.contains("checkpoint")).count(), 4);
    assert!(verify_export(&good, None).text().contains("cosigned up to entry 5"), "the hold is not yet");
}

#[test]
fn every_changed_dropped_added_and_moved_piece_of_an_export_is_found() {
    let good = export("a", &signer(), ledger_of(1).store()).unwrap();
    // A bit of the digit, the one between upper and lower case, and a line's end that some readers pass over.
    for (i, byte) in good.bytes().enumerate() {
        for other in [byte ^ 1, byte ^ 0x20, b'\r'] {
            let mut changed = good.clone().into_bytes();
            changed[i] = other;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(!verify_export(&changed, None).passed(), "byte {i} is {other}");
        }
    }
    for (i, _) in good.match_indices('\n') {
        failed(&[&good[..i], "\r", &good[i..]].concat());
    }
    let lines: Vec<&str> = good.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for i in 0..lines.len() {
        let mut dropped = lines.clone();
        dropped.remove(i);
        failed(&join(&dropped));
        for j in 0..=lines.len() {
            let mut added = lines.clone();
            added.insert(j, lines[i]);
            failed(&join(&added));
        }
        for j in i + 1..lines.len() {
            let mut moved = lines.clone();
            moved.swap(i, j);
            failed(&join(&moved));
        }
    }
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        failed(&good[..cut]);
    }
    failed(&(good.clone() + "\n"));
    failed(&(good + "{}\n"));
}

/// What a node's own staff could change and seal again shows in what others have cosigned.
#[test]
fn what_is_sealed_anew_is_held_against_the_checkpoints() {
    let good = good();
    let lines: Vec<&str> = good.lines().collect();
    let all = &lines[..lines.len() - 1];
    assert!(verify_export(&sealed(all), None).passed());
    let without = |at: usize| {
        let mut lines = all.to_vec();
        lines.remove(at);
        failed(&sealed(&lines))
    };
    assert!(without(1).contains("sequence") && without(2).contains("sequence"));
    let last = all.iter().position(|line| line.contains("PAUSED")).unwrap();
    assert!(without(last).contains("shorter"));
    assert!(without(all.len() - 1).contains("over all entries"));
    // A chain of its own, with the old one's checkpoints.
    let mut other = Ledger::open(Memory::default(), ledger().budgets, "test 1").unwrap();
    for i in 4..=6 {
        let id = Digest([i; 32]);
        other.reserve(approved(request("s", i, 10_000)), id, id, "now").unwrap();
    }
    let other = export("a", &signer(), other.store()).unwrap();
    let mut mixed: Vec<&str> = other.lines().filter(|line| line.contains("\"entry\"")).collect();
    mixed.insert(0, all[0]);
    mixed.extend(all.iter().filter(|line| line.starts_with("{\"checkpoint\"")));
    assert!(failed(&sealed(&mixed)).contains("entries are others than were signed"));
}

/// What a node was shown and does not go on from is in what it exports: its ledger is not clean until officers have taken that over.
#[test]
fn a_ledger_in_quarantine_is_not_exported_as_clean() {
    let newest = ledger().checkpoint(&signer()).unwrap();
    let mut ledger = ledger_of(1);
    let exported = |ledger: &Ledger<Memory>| export("a", &signer(), ledger.store()).unwrap();
    assert!(verify_export(&exported(&ledger), None).passed());
    assert!(ledger.sighted(&newest, "telecom", "on 3 May").unwrap());
    let said = failed(&exported(&ledger));
    assert!(said.contains("telecom has shown (on 3 May) a checkpoint of 6 entries"), "{said}");
    for officer in ["ann", "bob"] {
        ledger.recover(Act { officer, reason: "lost", now: "now" }).unwrap();
    }
    let report = verify_export(&exported(&ledger), None);
    assert!(report.passed() && report.text().contains("1 shown, and taken over"), "{}", report.text());
    // What nobody has signed is no evidence, and no node keeps it.
    let mut store = ledger_of(1).store().clone();
    let stranger = Signer { key: key(8), ..signer() };
    let invented = Checkpoint::sign(newest.statement().clone(), &stranger.key).unwrap().to_string();
    store
        .append_sighting(&Sighting { checkpoint: invented, identity: None, by: "telecom".into(), time: "now".into() })
        .unwrap();
    assert!(failed(&export("a", &signer(), &store).unwrap()).contains("not signed by the node"));
}

#[test]
fn the_roster_tells_whose_ledger_it_is_and_who_cosigned_it() {
    let report = |roster: &Roster| verify_export(&good(), Some(roster));
    let mut other = roster();
    other.members.clear();
    assert!(!report(&other).passed());
    let mut other = roster();
    other.authority = Digest([1; 32]);
    assert!(!report(&other).passed(), "another alliance's node of this name");
    let mut other = roster();
    other.coordinator = key(8).public();
    assert!(report(&other).text().contains("cosignature of entente/"), "{}", report(&other).text());
}
