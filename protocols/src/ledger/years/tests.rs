use proptest::prelude::*;

use super::super::checkpoint::node_origin;
use super::super::entry::{Entry, Record};
use super::super::line::Line;
use super::super::read::Text;
use super::super::rules::Rules;
use super::super::store::Memory;
use super::super::verify::{export, verify_export};
use super::super::{Act, Budgets, Caps, Quota, SetAside, Signer};
use super::*;
use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::Limits;
use crate::policy::tests::{approved, request};

const CAP: u64 = 50_000;

fn rho(micro: u64) -> Rho {
    Rho::from_micro(micro)
}

fn budgets() -> Budgets {
    let mut rules = Rules::open([("d", "people", "id")]);
    rules.datasets.get_mut("d").unwrap().event = Some("bought".into());
    rules.officers = ["ann", "bob"].map(String::from).into();
    Budgets::new(rules, Caps { lifetime: rho(CAP), per_study: rho(90_000), delta: 1e-6 })
}

fn ledger() -> Ledger<Memory> {
    Ledger::open(Memory::default(), budgets(), "test 1").unwrap()
}

fn signer() -> Signer {
    Signer { origin: node_origin(Digest::ZERO, "a"), key: IdentityKey::from_secret(&[3; 32]) }
}

/// Of years from one to another, or of all time.
fn of(years: Option<(i16, i16)>) -> Option<ByYear> {
    let years = years.map(|(first, last)| Years::new(first, last).unwrap());
    Some(ByYear { event: "bought".into(), years })
}

fn asked(id: u8, micro: u64, by_year: Option<ByYear>) -> Request {
    Request { by_year, ..request(&format!("s{id}"), id, micro) }
}

fn charge(ledger: &mut Ledger<Memory>, id: u8, micro: u64, by_year: Option<ByYear>) -> Result<Rho, LedgerError> {
    let release = Digest([id; 32]);
    let request = asked(id, micro, by_year);
    let rho = request.mechanism.rho();
    ledger.reserve(approved(request), release, release, "2026-05-01T00:00:00Z").map(|_| rho)
}

fn in_year(ledger: &Ledger<Memory>, year: i16) -> u64 {
    ledger.chain().spent(&AccountKey::Year(YearKey::new("people", year))).rho.micro()
}

fn in_all(ledger: &Ledger<Memory>) -> u64 {
    ledger.chain().spent_all_time("people").rho.micro()
}

fn verifies(ledger: &Ledger<Memory>) {
    let report = verify_export(&export("a", &signer(), ledger.store()).unwrap(), None);
    assert!(report.passed(), "{}", report.text());
}

#[test]
fn a_study_of_one_year_leaves_the_others_untouched() {
    let mut ledger = ledger();
    let first = charge(&mut ledger, 1, 45_000, of(Some((2026, 2026)))).unwrap().micro();
    assert_eq!((in_year(&ledger, 2026), in_year(&ledger, 2027), in_all(&ledger)), (first, 0, first));
    assert_eq!(ledger.spent("d").rho, Rho::ZERO, "nothing is charged to all time");
    let error = charge(&mut ledger, 2, 10_000, of(Some((2026, 2026)))).unwrap_err().to_string();
    assert!(error.contains("lifetime budget of a year") && error.contains("population `people` in 2026"), "{error}");
    let second = charge(&mut ledger, 2, 30_000, of(Some((2027, 2027)))).unwrap().micro();
    assert_eq!((in_year(&ledger, 2026), in_year(&ledger, 2027)), (first, second));
    // A study over both is charged to both, and admitted only if both admit it.
    assert!(charge(&mut ledger, 3, 10_000, of(Some((2026, 2027)))).is_err());
    let both = charge(&mut ledger, 3, 2_500, of(Some((2026, 2027)))).unwrap().micro();
    assert_eq!((in_year(&ledger, 2026), in_year(&ledger, 2027)), (first + both, second + both));
    assert_eq!(in_all(&ledger), first + second + 2 * both, "the worst case counts it in each");
    verifies(&ledger);
}

#[test]
fn what_is_of_all_time_counts_in_every_year() {
    let mut ledger = ledger();
    charge(&mut ledger, 1, 35_000, of(Some((2026, 2026)))).unwrap();
    for unrestricted in [of(None), None] {
        let error = charge(&mut ledger, 2, 20_000, unrestricted).unwrap_err().to_string();
        assert!(error.contains("in 2026"), "{error}");
    }
    charge(&mut ledger, 2, 10_000, of(None)).unwrap();
    // Of another data set of these customers, or of this one before it had an event column.
    charge(&mut ledger, 3, 2_500, None).unwrap();
    assert!(charge(&mut ledger, 4, 5_000, of(Some((2026, 2026)))).is_err());
    assert!(
        charge(&mut ledger, 4, 40_000, of(Some((2031, 2031)))).is_err(),
        "also in a year of which nothing was spent"
    );
    charge(&mut ledger, 4, 35_000, of(Some((2031, 2031)))).unwrap();
    verifies(&ledger);
}

#[test]
fn what_is_set_aside_is_set_aside_of_its_years() {
    let mut ledger = ledger();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let held = asked(1, 40_000, of(Some((2026, 2026))));
    ledger.earmark(&held, &Quota::of_day(Limits::default(), now), now).unwrap();
    let admits = |ledger: &Ledger<Memory>, by_year| {
        let request = asked(2, 20_000, by_year);
        ledger.admits(&request, request.rho).is_ok()
    };
    assert!(!admits(&ledger, of(Some((2026, 2027)))) && admits(&ledger, of(Some((2027, 2027)))));
    assert!(
        !admits(&ledger, of(None)) && !admits(&ledger, None),
        "of 2026 nothing was charged yet, and it is set aside"
    );
    let standing = ledger.standing("d", of(Some((2026, 2027))).as_ref()).unwrap();
    assert_eq!((standing.account.name(), standing.held), ("people:2026", held.rho));
    ledger.let_go(&held.attempt());
    let (by_year, open) = (of(None), Spent { rho: rho(40_000), person: Rho::ZERO });
    let set_aside = SetAside { dataset: "d", by_year: by_year.as_ref(), requester: "operator", open };
    ledger.earmark_again(&AttemptId::new("s3", 1), set_aside, now);
    assert!(!admits(&ledger, of(Some((2027, 2027)))), "what is set aside of all time");
}

#[test]
fn rows_do_not_move_from_one_year_to_another() {
    let mut ledger = ledger();
    charge(&mut ledger, 1, 5_000, of(Some((2026, 2026)))).unwrap();
    let mut ledger = Ledger::open(ledger.store, budgets(), "test 1").unwrap();
    let other = Some(ByYear { event: "paid".into(), years: Years::new(2026, 2026) });
    let error = charge(&mut ledger, 2, 5_000, other).unwrap_err().to_string();
    assert!(error.contains("was `bought` and is `paid`") && error.contains("set `event` back"), "{error}");
    charge(&mut ledger, 2, 5_000, None).unwrap();
    charge(&mut ledger, 3, 5_000, of(Some((2026, 2026)))).unwrap();
}

/// Whoever keeps the ledger writes other sums of years, and signs them.
#[test]
fn sums_of_years_that_do_not_follow_are_found() {
    type Change = fn(&mut StudyRecord);
    fn years(record: &mut StudyRecord) -> &mut YearCharges {
        record.by_year.as_mut().unwrap()
    }
    fn last(record: &mut StudyRecord) -> &mut YearAccount {
        years(record).accounts.last_mut().unwrap()
    }
    let changes: [(Change, &str); 12] = [
        (|record| record.by_year = None, "charge"),
        (|record| years(record).accounts.truncate(1), "all_time"),
        (|record| last(record).year = 2028, "sums of a year"),
        (|record| last(record).year = 2025, "in order"),
        (|record| last(record).account.charge = Rho::ZERO, "sums of a year"),
        (|record| last(record).account.spent_before = Rho::ZERO, "sums of a year"),
        (|record| last(record).account.spent_after = rho(1), "sums of a year"),
        (|record| last(record).account.spent_person_after = rho(1), "sums of a year"),
        (|record| last(record).account.cap = rho(CAP + 1), "cap of a year is above"),
        (|record| last(record).account.cap = rho(1), "more than the cap of a year"),
        (|record| years(record).event = "paid".into(), "event column"),
        (|record| record.account.charge = record.charge(), "`spent_after` is not the sum"),
    ];
    let mut ledger = ledger();
    charge(&mut ledger, 1, 5_000, of(Some((2027, 2027)))).unwrap();
    let before = ledger.chain().clone();
    charge(&mut ledger, 2, 5_000, of(Some((2026, 2027)))).unwrap();
    let good: Entry = ledger.store().entries().unwrap().last().map(Line::entry).unwrap().unwrap();
    assert!(before.verify::<Text>(Line::of(&good).as_deref()).is_ok());
    for (change, expected) in changes {
        let mut entry = good.clone();
        let Record::Reserved(record) = &mut entry.record else { panic!("a charge") };
        change(record);
        let problem = before.verify::<Text>(Line::of(&entry).as_deref()).unwrap_err().to_string();
        assert!(problem.contains(expected), "{expected}: {problem}");
    }
}

/// Charged to all time while a year has nothing left, by whoever keeps the ledger.
#[test]
fn a_charge_to_all_time_over_the_cap_of_a_year_is_found() {
    let mut ledger = ledger();
    charge(&mut ledger, 1, 5_000, of(None)).unwrap();
    let good: Entry = ledger.store().entries().unwrap().last().map(Line::entry).unwrap().unwrap();
    let mut other = self::ledger();
    charge(&mut other, 2, 47_000, of(Some((2026, 2026)))).unwrap();
    charge(&mut other, 3, 2_500, of(Some((2027, 2027)))).unwrap();
    let Record::Reserved(mut record) = good.record.clone() else { panic!("a charge") };
    let spent = other.chain().spent_all_time("people").rho.plus(record.charge());
    record.by_year.as_mut().unwrap().spent_all_time = spent;
    let head = other.head();
    let entry = Entry { sequence: head.entries + 1, previous: head.hash, record: Record::Reserved(record), ..good };
    let problem = other.chain().verify::<Text>(Line::of(&entry).as_deref()).unwrap_err().to_string();
    assert!(problem.contains("charged to all time"), "{problem}");
}

#[test]
fn a_recovery_takes_over_what_was_spent_in_each_year() {
    let mut lost = ledger();
    charge(&mut lost, 1, 5_000, of(Some((2026, 2026)))).unwrap();
    let mut restored = Ledger::open(Memory::default(), budgets(), "test 1").unwrap();
    charge(&mut restored, 9, 500, of(Some((2027, 2027)))).unwrap();
    let checkpoint = lost.checkpoint(&signer()).unwrap();
    restored.sighted(&checkpoint, "telecom", "now").unwrap();
    for officer in ["ann", "bob"] {
        restored.recover(Act { officer, reason: "why", now: "now" }).unwrap();
    }
    assert_eq!((in_year(&restored, 2026), in_year(&restored, 2027)), (in_year(&lost, 2026), in_year(&restored, 2027)));
    assert!(in_year(&restored, 2026) > 0 && in_year(&restored, 2027) > 0);
    assert!(charge(&mut restored, 2, 48_000, of(Some((2026, 2026)))).is_err());
    verifies(&restored);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The theorem of `privacy::blocks`, over what a ledger admits of random studies: whatever the years in which a customer has
    /// rows, the studies that can touch them cost at most one cap a year.
    #[test]
    fn nobody_loses_more_than_a_cap_for_each_year_with_rows(
        studies in prop::collection::vec((2024i16..2028, 0i16..4, any::<bool>(), 250u64..20_000), 1..40),
    ) {
        let mut ledger = ledger();
        let mut admitted = Vec::new();
        for (id, (first, more, restricted, micro)) in (0u8..).zip(studies) {
            let years = restricted.then_some((first, (first + more).min(2027)));
            if let Ok(rho) = charge(&mut ledger, id, micro, of(years)) {
                admitted.push((years, rho.micro()));
            }
        }
        for present in 1u8..16 {
            let has = |year: i16| present >> (year - 2024) & 1 == 1;
            let touches = |years: &Option<(i16, i16)>| years.is_none_or(|(first, last)| (first..=last).any(has));
            let lost: u64 = admitted.iter().filter(|(years, _)| touches(years)).map(|(_, rho)| rho).sum();
            prop_assert!(lost <= CAP * u64::from(present.count_ones()), "{present:b} {admitted:?}");
            prop_assert!(lost <= in_all(&ledger));
        }
        verifies(&ledger);
    }
}
