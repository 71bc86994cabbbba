use super::super::checkpoint::{Signer, node_origin};
use super::super::rules::Rules;
use super::super::store::Memory;
use super::super::verify::{export, verify_export};
use super::super::witness::{Answer, Consistency, Recovered, Request, answer, takes_over};
use super::super::{Budgets, Caps};
use super::*;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::tests::{approved, request};
use crate::privacy::rho::Rho;

/// Of the machines that the node has had, one after the other.
fn signer(machine: u8) -> Signer {
    Signer { origin: node_origin(Digest::ZERO, "bank"), key: IdentityKey::from_secret(&[machine; 32]) }
}

fn identity(machine: u8) -> PublicIdentity {
    signer(machine).key.public()
}

fn ledger(officers: &[&str]) -> Ledger<Memory> {
    let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(90_000), delta: 1e-6 };
    let mut rules = Rules::open([("d", "people", "id")]);
    rules.officers = officers.iter().map(|name| (*name).to_owned()).collect();
    Ledger::open(Memory::default(), Budgets::new(rules, caps), "test 1").unwrap()
}

fn charge(ledger: &mut Ledger<Memory>, id: u8, micro: u64) -> Result<(), LedgerError> {
    let release = Digest([id; 32]);
    ledger.reserve(approved(request(&format!("s{id}"), id, micro)), release, release, "now").map(drop)
}

fn act(officer: &str) -> Act<'_> {
    Act { officer, reason: "its disk is gone", now: "now" }
}

/// What a witness holds of a machine's ledger.
fn held(ledger: &Ledger<Memory>, machine: u8) -> Checkpoint {
    let mut held = ledger.checkpoint(&signer(machine)).unwrap();
    let line = held.note().cosign(&node_origin(Digest::ZERO, "telecom"), &IdentityKey::from_secret(&[99; 32]), 1);
    held.add(line);
    held
}

fn spent(ledger: &Ledger<Memory>) -> u64 {
    ledger.spent("d").rho.micro()
}

fn verifies(ledger: &Ledger<Memory>, machine: u8) {
    let report = verify_export(&export("bank", &signer(machine), ledger.store()).unwrap(), None);
    assert!(report.passed(), "{}", report.text());
}

/// The attack: the machine is lost, or its keeper says so, and the name begins anew with an empty ledger.
#[test]
fn a_ledger_that_begins_anew_charges_nothing_before_it_has_what_the_earlier_one_had_spent() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 40_000).unwrap();
    charge(&mut lost, 2, 40_000).unwrap();
    let mut anew = ledger(&[]);
    assert!(anew.sighted_earlier(&held(&lost, 1), identity(1), "telecom", "on 3 May").unwrap());
    let error = charge(&mut anew, 3, 1_000).unwrap_err().to_string();
    for words in ["quarantine", "telecom", "earlier identity", "4 entries", "on 3 May", "entente-node ledger recover"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(anew.recover(act("the steward")).unwrap(), Outcome::Done);
    assert_eq!((spent(&anew), anew.quarantine()), (80_000, None));
    assert!(charge(&mut anew, 3, 30_000).unwrap_err().to_string().contains("0.080000"));
    charge(&mut anew, 4, 20_000).unwrap();
    assert!(!anew.sighted_earlier(&held(&lost, 1), identity(1), "retailer", "now").unwrap(), "it is taken over");
    verifies(&anew, 2);
}

#[test]
fn where_officers_are_named_two_of_them_take_it_over() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 40_000).unwrap();
    let mut anew = ledger(&["ann", "bob"]);
    anew.sighted_earlier(&held(&lost, 1), identity(1), "telecom", "now").unwrap();
    assert!(anew.recover(act("eve")).is_err());
    assert_eq!(anew.recover(act("ann")).unwrap(), Outcome::Proposed);
    assert!(anew.recover(act("ann")).is_err() && charge(&mut anew, 2, 1_000).is_err());
    assert_eq!(anew.recover(act("bob")).unwrap(), Outcome::Done);
    charge(&mut anew, 2, 1_000).unwrap();
    verifies(&anew, 2);
}

/// Others have witnessed more or less of it, and one comes late: what is more adds up, and nothing counts twice.
#[test]
fn what_an_earlier_identity_had_spent_counts_once_however_many_hold_it() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 10_000).unwrap();
    let first = held(&lost, 1);
    charge(&mut lost, 2, 10_000).unwrap();
    let second = held(&lost, 1);
    charge(&mut lost, 3, 10_000).unwrap();
    let late = held(&lost, 1);
    let mut anew = ledger(&[]);
    for (held, by) in [(&first, "telecom"), (&second, "retailer")] {
        anew.sighted_earlier(held, identity(1), by, "now").unwrap();
    }
    anew.recover(act("ann")).unwrap();
    assert_eq!(spent(&anew), 20_000);
    charge(&mut anew, 4, 5_000).unwrap();
    assert!(anew.sighted_earlier(&late, identity(1), "broker", "now").unwrap());
    anew.recover(act("ann")).unwrap();
    assert_eq!(spent(&anew), 35_000);
    // Its own, from a backup, and that of yet another machine: the larger of its own, and the other's in addition.
    let newest = anew.checkpoint(&signer(2)).unwrap();
    let mut third = ledger(&[]);
    charge(&mut third, 9, 7_000).unwrap();
    let mut restored = ledger(&["ann", "bob"]);
    restored.sighted(&newest, "telecom", "now").unwrap();
    restored.sighted_earlier(&held(&third, 3), identity(3), "telecom", "now").unwrap();
    assert_eq!(restored.recover(act("ann")).unwrap(), Outcome::Proposed);
    restored.recover(act("bob")).unwrap();
    assert_eq!(spent(&restored), 42_000);
    verifies(&restored, 2);
}

/// The newest backup of the lost machine, under a new identity, is the same ledger.
#[test]
fn a_backup_that_goes_on_has_nothing_to_take_over() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 10_000).unwrap();
    let held = held(&lost, 1);
    assert!(!lost.sighted_earlier(&held, identity(1), "telecom", "now").unwrap());
    charge(&mut lost, 2, 10_000).unwrap();
}

#[test]
fn a_witness_sees_that_it_is_taken_over() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 40_000).unwrap();
    let earlier = held(&lost, 1);
    let mut anew = ledger(&[]);
    let (origin, me) = (signer(2).origin, identity(2));
    let asks = |ledger: &Ledger<Memory>, entry: Option<u64>| {
        let (tree, size) = (ledger.chain().tree(), ledger.head().entries);
        let lines = ledger.store().entries().unwrap();
        let recovery = |entry: u64| Recovered {
            entry: lines[entry as usize - 1].json.clone(),
            hashes: tree.inclusion(entry - 1, size).unwrap(),
        };
        let hashes = tree.consistency(earlier.statement().size, size);
        let proofs = hashes.map(|hashes| Consistency { from: earlier.statement().size, hashes }).into_iter().collect();
        let checkpoint = ledger.checkpoint(&signer(2)).unwrap().to_string();
        Request { checkpoint, proofs, recoveries: entry.map(recovery).into_iter().collect() }
    };
    assert!(!takes_over(&asks(&anew, None), (&origin, &me), &earlier));
    charge(&mut anew, 2, 1_000).unwrap();
    assert!(!takes_over(&asks(&anew, Some(1)), (&origin, &me), &earlier), "that entry is none");
    anew.sighted_earlier(&earlier, identity(1), "telecom", "now").unwrap();
    anew.recover(act("ann")).unwrap();
    let entry = anew.chain().recovered(earlier.statement());
    let request = asks(&anew, entry);
    assert!(takes_over(&request, (&origin, &me), &earlier));
    assert!(!takes_over(&request, (&origin, &identity(3)), &earlier), "another has signed it");
    assert!(!takes_over(&asks(&anew, None), (&origin, &me), &earlier), "nothing proves it");
    let by = ("entente/witness", &IdentityKey::from_secret(&[98; 32]));
    let said = answer::<LedgerError>(&request, (&origin, &me), None, by, 1, |_| Ok(())).unwrap();
    assert!(matches!(said, Answer::Cosigned { .. }));
}

/// Who keeps the ledger takes over less, or what nobody has signed.
#[test]
fn a_recovery_that_is_not_as_it_was_witnessed_does_not_verify() {
    let mut lost = ledger(&[]);
    charge(&mut lost, 1, 40_000).unwrap();
    let mut anew = ledger(&[]);
    anew.sighted_earlier(&held(&lost, 1), identity(1), "telecom", "now").unwrap();
    anew.record_rules("now").unwrap();
    let entries = anew.head().entries as usize;
    anew.recover(act("ann")).unwrap();
    let line = anew.store().entries().unwrap()[entries].entry().unwrap();
    let Record::Recovered(good) = line.record else { panic!("a recovery") };
    let changes: [fn(&mut Recovery); 5] = [
        |recovery| recovery.datasets[0].spent_after = Rho::ZERO,
        |recovery| recovery.datasets[0].spent_person_after = Rho::ZERO,
        |recovery| recovery.datasets.clear(),
        |recovery| recovery.officers.clear(),
        |recovery| recovery.witnessed[0].identity = None,
    ];
    for change in changes {
        let mut changed = good.clone();
        change(&mut changed);
        let mut ledger = ledger(&[]);
        ledger.record_rules("now").unwrap();
        assert!(ledger.append("now", None, |_| Ok(Record::Recovered(changed.clone()))).is_err(), "{changed:?}");
    }
    // An identity that has not signed it: the sums are as witnessed, and the export fails.
    let mut forged = good.clone();
    forged.witnessed[0].identity = Some(identity(7));
    let mut ledger = ledger(&[]);
    ledger.record_rules("now").unwrap();
    ledger.append("now", None, |_| Ok(Record::Recovered(forged.clone()))).unwrap();
    let report = verify_export(&export("bank", &signer(2), ledger.store()).unwrap(), None);
    assert!(!report.passed() && report.text().contains("has not signed"), "{}", report.text());
}
