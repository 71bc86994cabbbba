use super::super::checkpoint::node_origin;
use super::super::entry::{Entry, State};
use super::super::line::Line;
use super::super::read::Text;
use super::super::rules::Rules;
use super::super::store::Memory;
use super::super::verify::{export, verify_export};
use super::super::{Budgets, Caps, Signer};
use super::*;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::tests::{approved, request};

const CAP: u64 = 50_000;

fn ledger() -> Ledger<Memory> {
    let caps = Caps { lifetime: Rho::from_micro(CAP), per_study: Rho::from_micro(90_000), delta: 1e-6 };
    Ledger::open(Memory::default(), Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1").unwrap()
}

fn charge(ledger: &mut Ledger<Memory>, id: u8, micro: u64) -> Result<(), LedgerError> {
    let release = Digest([id; 32]);
    let request = request(&format!("s{id}"), id, micro);
    ledger.reserve(approved(request), release, release, "2027-03-01T10:00:00Z").map(drop)
}

fn allow(ledger: &mut Ledger<Memory>, officer: &str, year: i16, micro: u64, now: &str) -> Result<Outcome, String> {
    let act = Act { officer, reason: "why", now };
    ledger.allow("people", year, Rho::from_micro(micro), act).map_err(|error| error.to_string())
}

fn cap(ledger: &Ledger<Memory>) -> u64 {
    ledger.cap("d").unwrap().micro()
}

#[test]
fn a_year_has_the_allowance_that_two_officers_grant_in_it() {
    let (mut ledger, now) = (ledger(), "2027-03-01T10:00:00Z");
    assert!(allow(&mut ledger, "ann", 2027, 50_000, now).unwrap_err().contains("never used"));
    charge(&mut ledger, 1, 45_000).unwrap();
    assert!(charge(&mut ledger, 2, 15_000).is_err());
    assert_eq!(allow(&mut ledger, "ann", 2027, 50_000, now).unwrap(), Outcome::Proposed);
    assert!(allow(&mut ledger, "ann", 2027, 50_000, now).unwrap_err().contains("another officer"));
    assert!(charge(&mut ledger, 2, 15_000).is_err(), "one alone grants nothing");
    assert_eq!(allow(&mut ledger, "bob", 2027, 60_000, now).unwrap(), Outcome::Proposed, "not the same allowance");
    assert_eq!(allow(&mut ledger, "bob", 2027, 50_000, now).unwrap(), Outcome::Done);
    assert_eq!(cap(&ledger), CAP + 50_000);
    charge(&mut ledger, 2, 15_000).unwrap();
    for officer in ["ann", "bob"] {
        assert!(allow(&mut ledger, officer, 2027, 50_000, now).unwrap_err().contains("had its allowance"));
    }
    let granted: Vec<(i16, Rho)> = ledger.chain().allowances(&ledger.account_of("d")).collect();
    assert_eq!(granted, [(2027, Rho::from_micro(50_000))]);
    let signer = Signer { origin: node_origin(Digest::ZERO, "a"), key: IdentityKey::from_secret(&[3; 32]) };
    let report = verify_export(&export("a", &signer, ledger.store()).unwrap(), None);
    assert!(report.passed(), "{}", report.text());
}

/// A clock that is set forwards or back: nothing is there that officers have not granted by the year's name.
#[test]
fn no_time_that_passes_grants_anything() {
    let mut ledger = ledger();
    charge(&mut ledger, 1, 10_000).unwrap();
    for year in [2026, 2028, 2037] {
        assert!(allow(&mut ledger, "ann", year, 50_000, "2027-12-31T23:59:59Z").unwrap_err().contains("another year"));
    }
    assert!(allow(&mut ledger, "ann", 2027, 50_000, "soon").unwrap_err().contains("another year"));
    allow(&mut ledger, "ann", 2027, 50_000, "2027-12-31T23:59:59Z").unwrap();
    // What was proposed in one year is not granted in the next.
    assert!(allow(&mut ledger, "bob", 2027, 50_000, "2028-01-01T00:00:00Z").is_err());
    assert_eq!(allow(&mut ledger, "bob", 2028, 50_000, "2028-01-01T00:00:00Z").unwrap(), Outcome::Proposed);
    assert_eq!(cap(&ledger), CAP);
    let mut reopened = Ledger::open(ledger.store, ledger.budgets, "test 1").unwrap();
    reopened.follow_configuration("2037-01-01T00:00:00Z").unwrap();
    assert_eq!(cap(&reopened), CAP, "ten years later as well");
}

#[test]
fn an_allowance_that_was_not_granted_so_is_found() {
    type Change = fn(&mut String, &mut CapChange);
    let changes: [(Change, &str); 7] = [
        (|_, change| change.for_year = Some(2028), "another year"),
        (|time, _| *time = "2028-03-01T10:00:00Z".into(), "another year"),
        (|_, change| change.to = change.to.plus(Rho::from_micro(1)), "no open proposal"),
        (|_, change| change.for_year = None, "no open proposal"),
        (|_, change| change.officers = vec!["ann".into(), "ann".into()], "different officers"),
        (|_, change| change.to = Rho::ZERO, "adds nothing"),
        (|_, change| change.proposal = None, "no open proposal"),
    ];
    let (mut ledger, now) = (ledger(), "2027-03-01T10:00:00Z");
    charge(&mut ledger, 1, 10_000).unwrap();
    allow(&mut ledger, "ann", 2027, 50_000, now).unwrap();
    let before = ledger.chain().clone();
    allow(&mut ledger, "bob", 2027, 50_000, now).unwrap();
    let good: Entry = ledger.store().entries().unwrap().last().map(Line::entry).unwrap().unwrap();
    assert_eq!(good.state(), State::Cap);
    before.verify::<Text>(Line::of(&good).as_deref()).unwrap();
    for (change, expected) in changes {
        let mut entry = good.clone();
        let Record::Cap(record) = &mut entry.record else { panic!("an allowance") };
        change(&mut entry.time, record);
        let problem = before.verify::<Text>(Line::of(&entry).as_deref()).unwrap_err().to_string();
        assert!(problem.contains(expected), "{expected}: {problem}");
    }
}
