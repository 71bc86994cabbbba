use std::collections::BTreeSet;

use super::super::checkpoint::{Signer, node_origin};
use super::super::entry::State;
use super::super::rules::DatasetRules;
use super::super::store::{Memory, Store};
use super::super::verify::{export, verify_export};
use super::super::{AccountKey, Budgets, Caps, Quota};
use super::*;
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::policy::tests::{approved, request};
use crate::policy::{ApprovalMode, Limits, Request};
use crate::privacy::rho::Rho;

const CAPS: Caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(90_000), delta: 1e-6 };

fn rules() -> Rules {
    let mut rules = Rules::open([("d", "people", "id"), ("e", "shops", "shop")]);
    rules.officers = ["ann", "bob"].map(String::from).into();
    rules
}

fn with(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = rules();
    change(&mut rules);
    rules
}

fn open(store: Memory, rules: Rules) -> Ledger<Memory> {
    let mut ledger = Ledger::open(store, Budgets::new(rules, CAPS), "test 1").unwrap();
    ledger.follow_configuration("now").unwrap();
    ledger
}

/// A ledger that has charged 40,000 to `people` under `rules`, opened again under `new`.
fn changed(rules: Rules, new: Rules) -> Ledger<Memory> {
    let mut ledger = open(Memory::default(), rules);
    charge(&mut ledger, "d", 1, 40_000).unwrap();
    open(ledger.store().clone(), new)
}

fn charge(ledger: &mut Ledger<Memory>, dataset: &str, id: u8, micro: u64) -> Result<(), LedgerError> {
    let release = Digest([id; 32]);
    let mut request = Request { dataset: dataset.into(), ..request(&format!("s{id}"), id, micro) };
    if let Some(of) = ledger.budgets.rules().datasets.get(dataset) {
        request.privacy_unit.clone_from(&of.privacy_unit);
    }
    ledger.reserve(approved(request), release, release, "now").map(drop)
}

fn act(officer: &str) -> Act<'_> {
    Act { officer, reason: "why", now: "now" }
}

fn recorded(ledger: &Ledger<Memory>) -> usize {
    let lines = ledger.store().entries().unwrap();
    lines.iter().filter(|line| line.entry().unwrap().state() == State::Rules).count()
}

fn verifies(ledger: &Ledger<Memory>) {
    let signer = Signer { origin: node_origin(Digest::ZERO, "a"), key: IdentityKey::from_secret(&[3; 32]) };
    let report = verify_export(&export("a", &signer, ledger.store()).unwrap(), None);
    assert!(report.passed(), "{}", report.text());
}

fn dataset(population: &str, privacy_unit: &str) -> DatasetRules {
    Rules::open([("x", population, privacy_unit)]).datasets.remove("x").unwrap()
}

fn strict() -> Rules {
    Rules {
        approve: ApprovalMode::Manual,
        kinds: ["query"].map(String::from).into(),
        own_numbers: false,
        min_partners: 2,
        min_colluders: Some(1),
        min_audience: 100,
        witnesses: 2,
        per_study: Rho::from_micro(50_000),
        person: Some(Rho::from_micro(800_000)),
        ..with(|rules| rules.datasets.get_mut("d").unwrap().consent_sha256 = None)
    }
}

/// Whoever can edit `node.toml`, one line at a time.
#[test]
fn what_admits_more_is_refused_until_two_officers_confirm_it() {
    type Change = fn(&mut Rules);
    let changes: [(Change, &str); 15] = [
        (|rules| rules.approve = ApprovalMode::Auto, "`approve` was manual and is auto"),
        (|rules| rules.kinds.extend(["train".into()]), "train more"),
        (|rules| rules.own_numbers = true, "`own_numbers`"),
        (|rules| rules.min_partners = 1, "`min_partners` was 2 and is 1"),
        (|rules| rules.min_colluders = Some(0), "`min_colluders` was 1 and is 0"),
        (|rules| rules.min_colluders = None, "`min_colluders` was 1 and is not stated"),
        (|rules| rules.min_audience = 1, "`min_audience`"),
        (|rules| rules.witnesses = 0, "`witnesses` was 2 and is 0"),
        (|rules| rules.per_study = Rho::from_micro(60_000), "`per_study_epsilon`"),
        (|rules| rules.person = Some(Rho::from_micro(900_000)), "`person_epsilon` was ρ = 0.800000"),
        (|rules| rules.person = None, "`person_epsilon`"),
        (|rules| rules.officers.retain(|name| name != "bob"), "`officers`"),
        (|rules| rules.officers.extend(["eve".into()]), "`officers`"),
        (|rules| rules.datasets.get_mut("d").unwrap().population = "people2".into(), "its population was `people`"),
        (|rules| rules.datasets.get_mut("d").unwrap().privacy_unit = "card".into(), "its privacy unit was `id`"),
    ];
    for (change, words) in changes {
        let mut new = strict();
        change(&mut new);
        let mut ledger = changed(strict(), new);
        let error = charge(&mut ledger, "d", 2, 1000).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("entente-node ledger rules"), "{words}: {error}");
        assert_eq!(recorded(&ledger), 1, "{words}: nothing is recorded of it");
        assert_eq!(ledger.confirm_rules(act("ann")).unwrap(), Outcome::Proposed);
        assert!(ledger.confirm_rules(act("ann")).is_err() && ledger.confirm_rules(act("eve")).is_err());
        assert!(charge(&mut ledger, "d", 2, 1000).is_err(), "{words}: one is not two");
        assert_eq!(ledger.confirm_rules(act("bob")).unwrap(), Outcome::Done);
        charge(&mut ledger, "d", 2, 1000).unwrap();
        verifies(&ledger);
    }
}

#[test]
fn what_makes_a_node_stricter_holds_at_once_also_beside_what_does_not() {
    let looser = Rules { min_partners: 1, approve: ApprovalMode::Auto, ..strict() };
    let ledger = changed(looser.clone(), strict());
    assert_eq!((recorded(&ledger), ledger.loosened()), (2, Vec::new()));
    verifies(&ledger);
    // And does not come back by itself.
    assert_eq!(open(ledger.store().clone(), looser).loosened().len(), 2);
    let mixed = Rules { min_partners: 3, approve: ApprovalMode::Auto, ..strict() };
    let mut ledger = changed(strict(), mixed);
    let holds = ledger.chain().rules().rules().unwrap();
    assert_eq!((holds.min_partners, holds.approve), (3, ApprovalMode::Manual));
    assert!(charge(&mut ledger, "d", 2, 1000).is_err());
    // A source, columns and ranges are recorded, and take nobody.
    let mut ledger = changed(strict(), {
        let mut rules = strict();
        let of = rules.datasets.get_mut("d").unwrap();
        (of.source, of.columns, of.schema_sha256) = ("elsewhere".into(), ["age".into()].into(), Digest([1; 32]));
        rules
    });
    charge(&mut ledger, "d", 2, 1000).unwrap();
    assert_eq!(recorded(&ledger), 2);
    verifies(&ledger);
}

#[test]
fn a_consent_predicate_may_be_added_and_not_taken_away() {
    let consent = |of: Option<u8>| {
        with(|rules| rules.datasets.get_mut("d").unwrap().consent_sha256 = of.map(|byte| Digest([byte; 32])))
    };
    let loosened = |old, new| {
        // Requests of these tests name no predicate: what is charged is on the other data set.
        let mut ledger = open(Memory::default(), consent(old));
        charge(&mut ledger, "e", 1, 1000).unwrap();
        open(ledger.store().clone(), consent(new)).loosened().len()
    };
    assert_eq!([loosened(None, Some(1)), loosened(Some(1), Some(1))], [0, 0]);
    assert_eq!([loosened(Some(1), None), loosened(Some(1), Some(2))], [1, 1]);
}

/// A data set that is new, over people of whom the ledger knows nothing: perhaps the same people by another name.
#[test]
fn a_population_that_the_ledger_has_not_seen_takes_officers_once_something_was_charged() {
    let added = |of: DatasetRules| with(|rules| drop(rules.datasets.insert("new".into(), of)));
    let mut ledger = changed(rules(), added(dataset("people", "id")));
    charge(&mut ledger, "new", 2, 1000).unwrap();
    for of in [dataset("fresh", "id"), dataset("people", "card")] {
        let mut ledger = changed(rules(), added(of));
        assert!(charge(&mut ledger, "new", 2, 1000).unwrap_err().to_string().contains("was not there before"));
        charge(&mut ledger, "d", 3, 1000).unwrap();
        ledger.confirm_rules(act("ann")).unwrap();
        ledger.confirm_rules(act("bob")).unwrap();
        charge(&mut ledger, "new", 2, 1000).unwrap();
        verifies(&ledger);
    }
    // Nothing was charged yet: there is nothing to begin anew.
    let mut ledger = open(open(Memory::default(), rules()).store().clone(), added(dataset("fresh", "id")));
    charge(&mut ledger, "new", 2, 1000).unwrap();
    verifies(&ledger);
    // Gone for a while, it is what it was.
    let without = with(|rules| drop(rules.datasets.remove("d")));
    let mut other = rules();
    other.datasets.insert("d".into(), dataset("shops", "shop"));
    let ledger = open(changed(rules(), without).store().clone(), other);
    assert!(ledger.loosened()[0].what.contains("its population was `people`"));
}

#[test]
fn a_data_set_of_other_people_takes_along_what_was_spent_on_those_before() {
    let moved = |to: &str| with(|rules| rules.datasets.get_mut("d").unwrap().population = to.into());
    let spent =
        |ledger: &Ledger<Memory>, of: &str| ledger.chain().spent(&AccountKey::Population(of.into())).rho.micro();
    for (to, both) in [("fresh", 40_000), ("shops", 41_000)] {
        let mut ledger = open(Memory::default(), rules());
        charge(&mut ledger, "d", 1, 40_000).unwrap();
        charge(&mut ledger, "e", 2, 1_000).unwrap();
        let mut ledger = open(ledger.store().clone(), moved(to));
        ledger.confirm_rules(act("ann")).unwrap();
        ledger.confirm_rules(act("bob")).unwrap();
        assert_eq!((spent(&ledger, to), spent(&ledger, "people")), (both, 40_000), "{to}");
        charge(&mut ledger, "d", 3, 1_000).unwrap();
        assert_eq!(spent(&ledger, to), both + 1_000);
        verifies(&ledger);
    }
}

#[test]
fn where_no_officers_are_named_one_who_answers_for_the_node_confirms() {
    let of = |officers: &[&str]| {
        let officers: BTreeSet<String> = officers.iter().map(|name| (*name).to_owned()).collect();
        move |min_partners| Rules { officers: officers.clone(), min_partners, ..strict() }
    };
    let mut ledger = changed(of(&[])(2), of(&[])(1));
    assert_eq!(ledger.confirm_rules(act("the steward")).unwrap(), Outcome::Done);
    charge(&mut ledger, "d", 2, 1000).unwrap();
    verifies(&ledger);
    let mut ledger = changed(of(&["ann"])(2), of(&["ann"])(1));
    assert!(ledger.confirm_rules(act("bob")).is_err(), "there is one");
    assert_eq!(ledger.confirm_rules(act("ann")).unwrap(), Outcome::Done);
    verifies(&ledger);
    // Officers may be named where there were none, and are asked from then on.
    assert!(changed(of(&[])(2), of(&["ann", "bob"])(2)).loosened().is_empty());
}

/// Who keeps the ledger writes what its commands would not.
#[test]
fn rules_that_nobody_confirmed_do_not_verify() {
    let looser = Rules { witnesses: 0, ..strict() };
    let write = |officers: &[&str], proposal| {
        let mut ledger = changed(strict(), looser.clone());
        ledger.confirm_rules(act("ann")).unwrap();
        let officers = officers.iter().map(|name| (*name).to_owned()).collect();
        let rules = Box::new(looser.clone());
        let change = RulesChange { rules, officers, reason: String::new(), proposal };
        ledger.append("now", None, |_| Ok(Record::Rules(change.clone())))
    };
    let proposed = changed(strict(), looser.clone()).head().entries + 1;
    write(&["ann", "bob"], Some(proposed)).unwrap();
    for (officers, proposal) in [
        (&["ann", "bob"][..], None),
        (&["ann", "ann"], Some(proposed)),
        (&["ann", "eve"], Some(proposed)),
        (&["ann"], Some(proposed)),
        (&[], None),
    ] {
        assert!(matches!(write(officers, proposal), Err(LedgerError::Damaged(_))), "{officers:?}");
    }
    // Nor does a charge under other rules than are recorded.
    let mut ledger = changed(strict(), strict());
    for (population, unit) in [("shops", "id"), ("people", "card")] {
        ledger.budgets =
            Budgets::new(with(|rules| drop(rules.datasets.insert("d".into(), dataset(population, unit)))), CAPS);
        let mut record = ledger.record(&request("s9", 9, 1000));
        record.release = Some(Digest([9; 32]));
        if let Some(privacy) = &mut record.privacy {
            std::sync::Arc::make_mut(privacy).privacy_unit = unit.into();
        }
        let privacy = record.privacy.clone().unwrap();
        record.account.charge = privacy.rho;
        record.account.spent_after = record.account.spent_before.plus(privacy.rho);
        record.account.spent_person_after = record.account.spent_person_after.plus(privacy.rho_person);
        let error = ledger.append("now", None, |_| Ok(Record::Reserved(record.clone()))).unwrap_err().to_string();
        assert!(error.contains("than the rules say"), "{error}");
    }
}

/// A charge of 1,000 in a customer's scope, with three participants, costs a person 9,000.
#[test]
fn a_person_who_may_be_at_all_partners_loses_no_more_than_the_rules_say() {
    let limited = with(|rules| rules.person = Some(Rho::from_micro(40_000)));
    let mut ledger = open(Memory::default(), limited.clone());
    charge(&mut ledger, "d", 1, 1_000).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    ledger.earmark(&request("s2", 2, 2_000), &Quota::of_day(Limits::default(), now), now).unwrap();
    let error = charge(&mut ledger, "d", 3, 2_000).unwrap_err().to_string();
    for words in
        ["a person at all partners", "asked ρ = 0.018000", "spent 0.009000 and 0.018000 set aside", "of 0.040000"]
    {
        assert!(error.contains(words), "{words}: {error}");
    }
    charge(&mut ledger, "d", 2, 2_000).unwrap();
    assert!(charge(&mut ledger, "d", 3, 2_000).is_err(), "what was set aside is spent");
    charge(&mut ledger, "d", 4, 1_000).unwrap();
    assert!(charge(&mut ledger, "d", 5, 1_000).is_err());
    verifies(&ledger);
    // Whoever keeps the ledger charges more.
    ledger.budgets = Budgets::new(rules(), CAPS);
    let mut record = ledger.record(&request("s9", 9, 1000));
    let privacy = record.privacy.clone().unwrap();
    record.release = Some(Digest([9; 32]));
    record.account.charge = privacy.rho;
    record.account.spent_after = record.account.spent_before.plus(privacy.rho);
    record.account.spent_person_after = record.account.spent_person_after.plus(privacy.rho_person);
    let error = ledger.append("now", None, |_| Ok(Record::Reserved(record.clone()))).unwrap_err().to_string();
    assert!(error.contains("a person loses more"), "{error}");
}
