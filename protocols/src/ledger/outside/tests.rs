use super::super::checkpoint::{Signer, Statement, node_origin};
use super::super::report::Report;
use super::super::rules::Rules;
use super::super::store::{Memory, Store};
use super::super::verify::{export, verify_outside};
use super::super::{Budgets, Caps, Ledger};
use super::*;
use crate::digest::Digest;
use crate::identity::{IdentityKey, Member};
use crate::policy::tests::{approved, request};
use crate::privacy::rho::Rho;

const NODE: (&str, u8) = ("a", 3);
const WITNESSES: [(&str, u8); 2] = [("b", 4), ("c", 5)];

fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_secret(&[byte; 32])
}

fn signer() -> Signer {
    Signer { origin: node_origin(Digest::ZERO, NODE.0), key: key(NODE.1) }
}

fn roster() -> Roster {
    let member = |(name, byte): (&str, u8)| (name.into(), Member { identity: key(byte).public(), tls: Digest::ZERO });
    Roster {
        alliance: "a".into(),
        authority: Digest::ZERO,
        coordinator: key(9).public(),
        members: [NODE, WITNESSES[0], WITNESSES[1]].map(member).into(),
    }
}

/// A ledger with these charges, each of a study of its own and computed.
fn ledger(charges: &[u8]) -> Ledger<Memory> {
    let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
    let mut ledger =
        Ledger::open(Memory::default(), Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1").unwrap();
    for i in charges {
        charge(&mut ledger, *i);
    }
    ledger
}

fn charge(ledger: &mut Ledger<Memory>, i: u8) {
    let id = Digest([i; 32]);
    ledger.reserve(approved(request(&format!("s{i}"), i, 10_000)), id, id, "now").unwrap();
    ledger.append("now", None, |ledger| Ok(super::super::entry::Record::Computed(ledger.follow(id, id)?))).unwrap();
}

fn cosigned_by(ledger: &Ledger<Memory>, names: &[(&str, u8)]) -> Checkpoint {
    let mut checkpoint = ledger.checkpoint(&signer()).unwrap();
    for (name, byte) in names {
        let line = checkpoint.note().cosign(&node_origin(Digest::ZERO, name), &key(*byte), 1);
        checkpoint.add(line);
    }
    checkpoint
}

fn check(ledger: &Ledger<Memory>, outside: Outside<'_>) -> Report {
    verify_outside(&export("a", &signer(), ledger.store()).unwrap(), &outside, false)
}

/// What a witness holds, through its file.
fn file(held: &Checkpoint) -> Vec<Checkpoint> {
    read_witnessed(&write_witnessed([held.clone()])).unwrap()
}

#[track_caller]
fn is(report: &Report, verdict: Verdict, words: &str) {
    let found = report.checks.last().unwrap();
    assert!(report.checks.iter().rev().skip(1).all(|check| check.passed), "{}", report.text());
    assert!(found.verdict == verdict && found.detail.contains(words), "{}", report.text());
    assert_eq!(
        (report.passed(), report.is_witnessed()),
        (verdict != Verdict::Failed, verdict != Verdict::NotWitnessed)
    );
}

/// Its keeper has the key: what it writes anew is consistent, signed and sealed. Only what others hold tells.
#[test]
fn a_ledger_that_was_written_anew_fails_against_what_a_witness_holds() {
    let held = file(&cosigned_by(&ledger(&[1, 2, 3]), &WITNESSES[..1]));
    let roster = roster();
    for anew in [&[][..], &[1, 3], &[1, 2], &[1, 2, 4], &[1, 2, 4, 5, 6]] {
        let anew = ledger(anew);
        for roster in [None, Some(&roster)] {
            is(
                &check(&anew, Outside { roster, ..Outside::default() }),
                Verdict::NotWitnessed,
                "nothing outside of this node",
            );
            let report = check(&anew, Outside { roster, witnessed: &held, cosigned_by: 0 });
            is(&report, Verdict::Failed, "b holds a checkpoint of 8 entries");
        }
    }
    let good = ledger(&[1, 2, 3]);
    for roster in [None, Some(&roster)] {
        is(&check(&good, Outside { roster, witnessed: &held, cosigned_by: 0 }), Verdict::Ok, "b up to entry 8");
    }
    is(
        &check(&ledger(&[1, 2, 3, 4]), Outside { witnessed: &held, ..Outside::default() }),
        Verdict::Ok,
        "behind entry 8",
    );
    let more = ledger(&[1, 2, 3, 4, 5]);
    is(&check(&more, Outside { witnessed: &held, ..Outside::default() }), Verdict::NotWitnessed, "behind entry 8");
}

#[test]
fn cosignatures_in_an_export_count_if_they_are_of_others_in_the_roster() {
    let (roster, none) = (roster(), Outside::default());
    let of = |names: &[(&str, u8)]| {
        let mut ledger = ledger(&[1, 2]);
        let checkpoint = cosigned_by(&ledger, names);
        ledger.keep(&checkpoint).unwrap();
        ledger
    };
    let by_b = of(&WITNESSES[..1]);
    let known = Outside { roster: Some(&roster), ..none };
    is(&check(&by_b, known), Verdict::Ok, "cosigned by b up to entry 6");
    is(&check(&by_b, none), Verdict::NotWitnessed, "a roster tells");
    is(&check(&of(&[NODE]), known), Verdict::NotWitnessed, "nothing outside");
    is(&check(&of(&[("stranger", 8)]), known), Verdict::NotWitnessed, "nothing outside");
    // Everything from the second study back must be under it.
    let mut longer = by_b;
    charge(&mut longer, 3);
    is(&check(&longer, known), Verdict::Ok, "behind entry 6");
    charge(&mut longer, 4);
    is(&check(&longer, known), Verdict::NotWitnessed, "behind entry 6");
}

#[test]
fn a_number_of_partners_must_have_cosigned_all_that_left() {
    let roster = roster();
    let mut ledger = ledger(&[1, 2]);
    let mut checkpoint = cosigned_by(&ledger, &WITNESSES[..1]);
    let coordinator = checkpoint.note().cosign(&coordinator_origin(Digest::ZERO), &key(9), 1);
    checkpoint.add(coordinator);
    ledger.keep(&checkpoint).unwrap();
    let asks = |cosigned_by, witnessed| Outside { roster: Some(&roster), witnessed, cosigned_by };
    is(&check(&ledger, asks(1, &[])), Verdict::Ok, "the coordinator up to entry 6, b up to entry 6");
    is(&check(&ledger, asks(2, &[])), Verdict::NotWitnessed, "1 of 2 partners");
    let held = file(&cosigned_by(&ledger, &WITNESSES[1..]));
    is(&check(&ledger, asks(2, &held)), Verdict::Ok, "c up to entry 6");
    charge(&mut ledger, 3);
    is(&check(&ledger, asks(1, &held)), Verdict::NotWitnessed, "0 of 1 partners");
    // A cosignature that is not of the name that it bears.
    let forged = file(&cosigned_by(&ledger, &[("c", 8)]));
    is(&check(&ledger, asks(1, &forged)), Verdict::NotWitnessed, "0 of 1 partners");
}

/// Its keeper made a new key and began anew under it: by itself that is as consistent as the first.
#[test]
fn a_ledger_under_another_key_than_a_witness_holds_of_its_name_fails_unless_a_roster_names_its_key() {
    let mut before =
        Checkpoint::sign(ledger(&[1, 2, 3]).checkpoint(&signer()).unwrap().statement().clone(), &key(8)).unwrap();
    let unseen = file(&before);
    let line = before.note().cosign(&node_origin(Digest::ZERO, "b"), &key(4), 1);
    before.add(line);
    let (held, anew, ours) = (file(&before), ledger(&[1]), roster());
    let found = "b holds a checkpoint of 8 entries of this name under another key";
    is(&check(&anew, Outside { witnessed: &held, ..Outside::default() }), Verdict::Failed, found);
    // Others support it, as far as that goes without knowing who they are.
    let both = [file(&cosigned_by(&anew, &WITNESSES[1..])), held.clone()].concat();
    is(&check(&anew, Outside { witnessed: &both, ..Outside::default() }), Verdict::Failed, found);
    // A roster says whose key is the node's: what another one had spent has to be taken over, if somebody in it has seen that.
    let earlier = "under an earlier identity; what that had spent is not taken over";
    is(&check(&anew, Outside { roster: Some(&ours), witnessed: &held, cosigned_by: 0 }), Verdict::Failed, earlier);
    is(&check(&anew, Outside { roster: Some(&ours), witnessed: &both, cosigned_by: 1 }), Verdict::Failed, earlier);
    let found = "holds a checkpoint of 8 entries of this name under another key, which is not the roster's";
    is(
        &check(&anew, Outside { roster: Some(&ours), witnessed: &unseen, cosigned_by: 0 }),
        Verdict::NotWitnessed,
        found,
    );
}

/// What officers have taken over is settled, and what is of another node is not of this ledger.
#[test]
fn what_was_taken_over_or_is_of_others_is_no_evidence_against_a_ledger() {
    let lost = cosigned_by(&ledger(&[1, 2, 3]), &WITNESSES[..1]);
    let mut ledger = ledger(&[1]);
    ledger.sighted(&lost, "b", "now").unwrap();
    for officer in ["ann", "bob"] {
        ledger.recover(super::super::Act { officer, reason: "lost", now: "now" }).unwrap();
    }
    let mut others = file(&lost);
    let statement = Statement { origin: node_origin(Digest::ZERO, "b"), ..lost.statement().clone() };
    others.push(Checkpoint::sign(statement, &key(4)).unwrap());
    let report = check(&ledger, Outside { witnessed: &others, ..Outside::default() });
    is(&report, Verdict::NotWitnessed, "nothing outside");
    assert!(!ledger.store().sightings().unwrap().is_empty());
}

#[test]
fn a_line_that_is_no_checkpoint_is_named() {
    let good = write_witnessed([cosigned_by(&ledger(&[1]), &WITNESSES)]);
    assert_eq!(read_witnessed(&good).unwrap().len(), 1);
    for bad in ["{}\n", "\n", "{\"checkpoint\":\"x\"}\n"] {
        assert!(read_witnessed(&(good.clone() + bad)).unwrap_err().starts_with("line 2"), "{bad}");
    }
}
