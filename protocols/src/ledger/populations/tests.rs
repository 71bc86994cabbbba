use super::super::account::AccountKey;
use super::super::checkpoint::{Checkpoint, Signer, node_origin};
use super::super::office::CapChange;
use super::super::rules::Rules;
use super::super::store::Memory;
use super::super::verify::{export, verify_export};
use super::super::{Act, Budgets, Caps, Quota};
use super::*;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::tests::{approved, request};
use crate::policy::{Limits, Request};
use crate::privacy::rho::Rho;

const CAPS: Caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(90_000), delta: 1e-6 };

/// Data sets, each with its population.
fn budgets<const N: usize>(datasets: [(&str, &str); N]) -> Budgets {
    Budgets::new(Rules::open(datasets.map(|(dataset, population)| (dataset, population, "id"))), CAPS)
}

fn open<const N: usize>(store: Memory, datasets: [(&str, &str); N]) -> Ledger<Memory> {
    Ledger::open(store, budgets(datasets), "test 1").unwrap()
}

/// As a node does that starts.
fn start<const N: usize>(store: Memory, datasets: [(&str, &str); N]) -> Ledger<Memory> {
    let mut ledger = open(store, datasets);
    ledger.carry_over("now").unwrap();
    ledger.follow_configuration("now").unwrap();
    ledger
}

fn asked(dataset: &str, id: u8, micro: u64) -> Request {
    Request { dataset: dataset.into(), ..request(&format!("s{id}"), id, micro) }
}

fn charge(ledger: &mut Ledger<Memory>, dataset: &str, id: u8, micro: u64) -> Result<(), LedgerError> {
    let release = Digest([id; 32]);
    ledger.reserve(approved(asked(dataset, id, micro)), release, release, "now").map(drop)
}

/// What an earlier version has written: accounts by data set.
fn old(charges: &[(&str, u8, u64)]) -> Ledger<Memory> {
    let mut ledger = open(Memory::default(), [("a", "people"), ("b", "people")]);
    for (dataset, id, micro) in charges {
        charge_as_before(&mut ledger, dataset, *id, *micro).unwrap();
    }
    ledger
}

fn charge_as_before(ledger: &mut Ledger<Memory>, dataset: &str, id: u8, micro: u64) -> Result<(), LedgerError> {
    let account = AccountKey::Dataset(dataset.into());
    if ledger.chain.cap(&account).is_none() {
        let (to, configured, reason) = (CAPS.lifetime, CAPS.lifetime, "first use".into());
        let change = CapChange {
            account: account.clone(),
            from: None,
            to,
            configured,
            officers: vec![],
            reason,
            proposal: None,
            for_year: None,
        };
        ledger.append("now", None, |_| Ok(Record::Cap(change.clone())))?;
    }
    let request = asked(dataset, id, micro);
    ledger.append("now", None, |ledger| {
        let mut record = ledger.record(&request);
        record.population = None;
        record.release = Some(Digest([id; 32]));
        record.account = ledger.account_at(&account, dataset);
        let (rho, person) = (request.mechanism.rho(), request.mechanism.rho_person());
        record.account.charge = rho;
        record.account.spent_after = record.account.spent_before.plus(rho);
        record.account.spent_person_after = record.account.spent_person_after.plus(person);
        record.account.epsilon_after = record.account.spent_after.epsilon(CAPS.delta);
        Ok(Record::Reserved(record))
    })
}

fn spent(ledger: &Ledger<Memory>, population: &str) -> (u64, u64) {
    let spent = ledger.chain.spent(&AccountKey::Population(population.into()));
    (spent.rho.micro(), spent.person.micro())
}

fn verifies(ledger: &Ledger<Memory>) {
    let signer = Signer { origin: node_origin(Digest::ZERO, "a"), key: IdentityKey::from_secret(&[3; 32]) };
    let report = verify_export(&export("a", &signer, ledger.store()).unwrap(), None);
    assert!(report.passed(), "{}", report.text());
}

/// The attack: a name that the ledger has not seen, over the same customers.
#[test]
fn a_data_set_under_another_name_has_what_its_population_has_left() {
    let mut ledger = open(Memory::default(), [("customers", "people")]);
    charge(&mut ledger, "customers", 1, 40_000).unwrap();
    charge(&mut ledger, "customers", 2, 40_000).unwrap();
    let mut ledger = start(ledger.store, [("customers", "people"), ("customers2", "people")]);
    let error = charge(&mut ledger, "customers2", 3, 30_000).unwrap_err().to_string();
    assert!(error.contains("data set `customers2` (population `people`)") && error.contains("0.080000"), "{error}");
    charge(&mut ledger, "customers2", 4, 20_000).unwrap();
    assert!(charge(&mut ledger, "customers", 5, 10).is_err(), "and the other way round");
    assert_eq!(spent(&ledger, "people"), (100_000, 900_000));
    let own = |dataset| ledger.chain.spent_on(dataset).rho.micro();
    assert_eq!((own("customers"), own("customers2")), (80_000, 20_000));
    verifies(&ledger);
}

#[test]
fn what_is_set_aside_is_set_aside_of_the_population() {
    let mut ledger = open(Memory::default(), [("a", "people"), ("b", "people"), ("c", "shops")]);
    let now = jiff::Timestamp::UNIX_EPOCH;
    ledger.earmark(&asked("a", 1, 80_000), &Quota::of_day(Limits::default(), now), now).unwrap();
    assert!(charge(&mut ledger, "b", 2, 30_000).unwrap_err().to_string().contains("0.080000 set aside"));
    charge(&mut ledger, "c", 3, 30_000).unwrap();
}

#[test]
fn what_data_sets_have_spent_is_carried_over_once_and_adds_up() {
    let before = old(&[("a", 1, 40_000), ("b", 2, 30_000)]);
    verifies(&before);
    let mut ledger = start(before.store, [("a", "people"), ("b", "people")]);
    assert_eq!(spent(&ledger, "people"), (70_000, 630_000));
    let entries = ledger.head().entries;
    ledger.carry_over("now").unwrap();
    ledger.follow_configuration("now").unwrap();
    assert_eq!(ledger.head().entries, entries, "once");
    assert!(charge(&mut ledger, "a", 3, 40_000).unwrap_err().to_string().contains("0.070000"));
    charge(&mut ledger, "b", 4, 30_000).unwrap();
    verifies(&ledger);
    // A cap that officers had lowered stays, whatever node.toml goes on to say.
    let mut ledger = old(&[("a", 1, 40_000)]);
    let (account, to, configured) = (AccountKey::Dataset("a".into()), Rho::from_micro(50_000), CAPS.lifetime);
    let change = CapChange {
        account,
        from: Some(CAPS.lifetime),
        to,
        configured,
        officers: vec!["ann".into()],
        reason: "board".into(),
        proposal: None,
        for_year: None,
    };
    ledger.append("now", None, |_| Ok(Record::Cap(change.clone()))).unwrap();
    let ledger = start(ledger.store, [("a", "people")]);
    assert_eq!(ledger.cap("a"), Some(to));
    verifies(&ledger);
}

#[test]
fn what_a_data_set_has_spent_that_is_gone_is_of_who_its_unit_is_called_after() {
    // Renamed with the update. The requests' privacy unit is `id`.
    let mut ledger = start(old(&[("a", 1, 40_000), ("a", 2, 40_000)]).store, [("renamed", "id")]);
    assert!(charge(&mut ledger, "renamed", 3, 30_000).unwrap_err().to_string().contains("0.080000"));
    verifies(&ledger);
}

/// Whoever keeps the ledger leaves the population out: that would be an account of its own again.
#[test]
fn with_populations_nothing_more_is_charged_to_a_data_set_s_own_account() {
    let mut ledger = start(old(&[("a", 1, 10_000)]).store, [("a", "people")]);
    assert!(charge_as_before(&mut ledger, "a", 2, 10).is_err(), "it was carried over");
    let error = charge_as_before(&mut ledger, "fresh", 3, 10).unwrap_err().to_string();
    assert!(error.contains("names no population"), "{error}");
    let good = old(&[("a", 1, 900)]).chain.to_carry_over("a", "people").unwrap();
    for changed in [
        CarriedOver { spent: Rho::ZERO, ..good.clone() },
        CarriedOver { cap: Rho::MAX, ..good.clone() },
        CarriedOver { person: Rho::ZERO, ..good.clone() },
        CarriedOver { population: "a b".into(), ..good.clone() },
    ] {
        let error = old(&[("a", 1, 900)]).append("now", None, |_| Ok(Record::Carried(changed.clone()))).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged(_)), "{error}");
    }
}

/// Backups from before and after it was carried over, in both orders: nothing is lost, and nothing counts twice.
#[test]
fn a_recovery_over_the_change_keeps_what_either_side_has_spent() {
    let key = IdentityKey::from_secret(&[3; 32]);
    let origin = node_origin(Digest::ZERO, "a");
    let kept = |ledger: &Ledger<Memory>| Checkpoint::sign(ledger.chain.statement(&origin), &key).unwrap();
    let people = [("a", "people")];
    let recovered = |mut ledger: Ledger<Memory>, lost: &Checkpoint| {
        assert!(ledger.sighted(lost, "telecom", "now").unwrap());
        for officer in ["ann", "bob"] {
            ledger.recover(Act { officer, reason: "lost", now: "now" }).unwrap();
        }
        ledger.carry_over("now").unwrap();
        verifies(&ledger);
        spent(&ledger, "people").0
    };
    // An old version's backup; what was lost had been carried over, and charged more.
    let mut lost = start(old(&[("a", 1, 40_000)]).store, people);
    charge(&mut lost, "a", 2, 5_000).unwrap();
    assert_eq!(recovered(open(old(&[("a", 3, 10_000)]).store, people), &kept(&lost)), 45_000);
    // The other way round: an old version has gone on from what was carried over here.
    let here = start(old(&[("a", 1, 40_000)]).store, people);
    assert_eq!(recovered(here, &kept(&old(&[("a", 1, 40_000), ("a", 2, 5_000)]))), 45_000);
}
