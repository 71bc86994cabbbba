use super::line::Line;
use super::outbox::sealed;
use super::rules::Rules;
use super::store::{Memory, Store};
use super::verify::{export, verify_export};
use super::*;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::tests::{approved, request};
use crate::privacy::rho::Rho;

struct Vector(Digest);

impl Protected for Vector {}

impl sealed::IntoParts for Vector {
    fn into_parts(self) -> sealed::Parts {
        sealed::Parts { release: self.0, transcript: Digest([9; 32]), values: vec![1, 2] }
    }
}

const T: Digest = Digest([9; 32]);

fn caps() -> Budgets {
    let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(45_000), delta: 1e-6 };
    Budgets::new(Rules::open([("d", "people", "id")]), caps)
}

fn ledger() -> Ledger<Memory> {
    Ledger::open(Memory::default(), caps(), "test 1").unwrap()
}

fn reopen(ledger: Ledger<Memory>) -> Ledger<Memory> {
    Ledger::open(ledger.store, caps(), "test 1").unwrap()
}

fn id(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn begin(ledger: &mut Ledger<Memory>, release: u8, micro: u64) -> Result<Begin, LedgerError> {
    ledger.reserve(approved(request(&format!("s{release}"), release, micro)), id(release), T, "now")
}

#[test]
fn a_release_is_charged_once_over_crashes_at_every_step() {
    let mut ledger = ledger();
    assert!(matches!(begin(&mut ledger, 1, 40_000).unwrap(), Begin::Compute(_)));
    let mut ledger = reopen(ledger);
    let Begin::Compute(mut reservation) = begin(&mut ledger, 1, 40_000).unwrap() else { panic!("not computed yet") };
    assert!(reservation.draw().is_some() && reservation.draw().is_none(), "one permit a reservation");
    let first = ledger.computed(Vector(id(1)), Some(id(1)), "now").unwrap();
    let mut ledger = reopen(ledger);
    let Begin::Send(again) = begin(&mut ledger, 1, 40_000).unwrap() else { panic!("never computed again") };
    assert_eq!(first.bytes(), again.bytes());
    assert!(matches!(ledger.computed(Vector(id(1)), Some(id(1)), "now"), Err(LedgerError::OutOfOrder(_))));
    ledger.released(id(1), Digest::ZERO, "now").unwrap();
    let mut ledger = reopen(ledger);
    ledger.released(id(1), Digest::ZERO, "now").unwrap();
    assert_eq!(ledger.head().entries, 5, "with rules and cap");
    assert_eq!(ledger.spent("d").rho, Rho::from_micro(40_000));
    assert_eq!(ledger.spent("d").person, Rho::from_micro(360_000));
    assert_eq!(ledger.stored_answer(id(1), id(1)), Some(T));
    assert_eq!(ledger.stored_answer(id(1), id(2)), None, "another snapshot");
}

/// Whatever the charge was made for: data that changed while they were read are of no snapshot, which an answer could be found by.
#[test]
fn an_answer_over_no_snapshot_is_sent_and_never_found_again() {
    let mut ledger = ledger();
    begin(&mut ledger, 1, 40_000).unwrap();
    ledger.computed(Vector(id(1)), None, "now").unwrap();
    ledger.released(id(1), Digest::ZERO, "now").unwrap();
    let holds = |ledger: &Ledger<Memory>| {
        assert!(ledger.is_stored(id(1)) && ledger.stored(id(1)).is_ok());
        assert!(!ledger.is_stored_over(id(1), id(1)));
        assert_eq!(ledger.stored_answer(id(1), id(1)), None);
    };
    holds(&ledger);
    holds(&reopen(ledger));
}

#[test]
fn bytes_that_are_not_the_recorded_ones_are_not_sent() {
    let mut ledger = ledger();
    begin(&mut ledger, 1, 40_000).unwrap();
    ledger.computed(Vector(id(1)), Some(id(1)), "now").unwrap();
    let lines = ledger.store.entries().unwrap();
    for (bytes, is_whole) in [(ledger.store.release(id(1)).unwrap(), true), (Some(vec![7; 48]), false), (None, false)] {
        let mut store = Memory::default();
        for (sequence, line) in (1..).zip(&lines) {
            let bytes = bytes.as_deref().filter(|_| sequence == lines.len() as u64).map(|bytes| (id(1), bytes));
            store.append(sequence, line, bytes).unwrap();
        }
        let again = Ledger::open(store, caps(), "test 1").unwrap().stored(id(1));
        assert_eq!(again.is_ok(), is_whole);
        assert!(is_whole || matches!(again, Err(LedgerError::Bytes(_))));
    }
}

#[test]
fn caps_are_kept_to_the_last_unit() {
    let mut ledger = ledger();
    begin(&mut ledger, 1, 40_000).unwrap();
    begin(&mut ledger, 2, 40_000).unwrap();
    let error = begin(&mut ledger, 3, 20_001).map(drop).unwrap_err();
    assert!(error.to_string().contains("spent 0.080000 of 0.100000"), "{error}");
    begin(&mut ledger, 4, 20_000).unwrap();
    assert!(begin(&mut ledger, 5, 10).is_err());
    assert_eq!(ledger.spent("d").rho, Rho::from_micro(100_000));
    // A second attempt of one study counts with the first.
    let mut ledger = self::ledger();
    let attempt = |release| (approved(request("same", release, 30_000)), id(release));
    let (first, release) = attempt(1);
    ledger.reserve(first, release, T, "now").unwrap();
    let (second, release) = attempt(2);
    let error = ledger.reserve(second, release, T, "now").map(drop).unwrap_err();
    assert!(error.to_string().contains("per study"), "{error}");
}

#[test]
fn steps_out_of_order_change_nothing() {
    let mut ledger = ledger();
    assert!(ledger.computed(Vector(id(1)), Some(id(1)), "now").is_err());
    assert!(ledger.released(id(1), Digest::ZERO, "now").is_err());
    assert!(ledger.stored(id(1)).is_err());
    begin(&mut ledger, 1, 1000).unwrap();
    assert!(ledger.released(id(1), Digest::ZERO, "now").is_err());
    assert_eq!(ledger.head().entries, 3);
}

#[test]
fn a_changed_entry_is_found_at_opening() {
    let mut ledger = ledger();
    begin(&mut ledger, 1, 1000).unwrap();
    begin(&mut ledger, 2, 1000).unwrap();
    let lines = ledger.store.entries().unwrap();
    let changed = lines[2].json.replace("\"1000\"", "\"0\"");
    assert_ne!(changed, lines[2].json);
    let mut store = Memory::default();
    let forged = Line { hash: Line::hash(&changed), json: changed };
    store.append(1, &lines[0], None).unwrap();
    store.append(2, &lines[1], None).unwrap();
    store.append(3, &forged, None).unwrap();
    store.append(4, &lines[3], None).unwrap();
    assert!(matches!(Ledger::open(store, caps(), "test 1"), Err(LedgerError::Damaged(_))));
}

#[test]
fn what_is_written_verifies_as_an_export() {
    let mut ledger = ledger();
    let signer = Signer { origin: "entente/5a/a".into(), key: IdentityKey::from_secret(&[3; 32]) };
    begin(&mut ledger, 1, 40_000).unwrap();
    ledger.computed(Vector(id(1)), Some(id(1)), "now").unwrap();
    ledger.released(id(1), Digest::ZERO, "now").unwrap();
    ledger.repeated(approved(request("again", 1, 40_000)), id(1), "now").unwrap();
    ledger.refused(&request("no", 2, 1000), "policy", "now").unwrap();
    let checkpoint = ledger.checkpoint(&signer).unwrap();
    ledger.keep(&checkpoint).unwrap();
    let ledger = reopen(ledger);
    assert_eq!(ledger.checkpoint(&signer).unwrap(), checkpoint, "the same bytes for the same entries");
    let text = export("a", &signer, ledger.store()).unwrap();
    let report = verify_export(&text, None);
    assert!(report.passed(), "{report:?}");
    assert_eq!(report.spent[&AccountKey::Population("people".into())].rho, Rho::from_micro(40_000));
}
