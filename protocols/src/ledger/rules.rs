//! The rules that decide what leaves a node, as its ledger records them: the policy, the officers, and of each data set where it comes
//! from, whose it is, what is declared of it and who has consented.
//!
//! `node.toml` says them, and whoever can edit that file can change them. So each change between two starts is an entry. What makes the
//! node stricter holds at once. What makes it looser takes two officers once anything was charged; until they have confirmed
//! it, the stricter rule is the one that is recorded, and what `node.toml` says in its place is refused.
//!
//! Rows are not in it: of the columns there is the hash of what is declared, of a consent predicate that of its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::ApprovalMode;
use crate::privacy::rho::Rho;

/// What `node.toml` says, as far as it decides what leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Who approves what the other rules admit.
    pub approve: ApprovalMode,
    /// What is admitted.
    pub kinds: BTreeSet<String>,
    /// Whether this partner's own numbers may be shown.
    pub own_numbers: bool,
    /// Fewest participants of a study.
    pub min_partners: u32,
    /// Fewest colluders that it must assume; null for as many as follow from the participants.
    pub min_colluders: Option<u32>,
    /// Fewest customers of an exported audience.
    pub min_audience: u32,
    /// How many must have cosigned a charge.
    pub witnesses: u32,
    /// The most that one study may cost.
    pub per_study: Rho,
    /// The most that may be lost by a person who may be in the data of all participants, over the lifetime; null for no limit.
    pub person: Option<Rho>,
    /// Who may act on the ledger.
    pub officers: BTreeSet<String>,
    /// The data sets.
    pub datasets: BTreeMap<String, DatasetRules>,
}

/// What is recorded of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRules {
    /// Where its rows come from.
    pub source: String,
    /// Who its customers are.
    pub population: String,
    /// The column that is one customer.
    pub privacy_unit: String,
    /// The columns that studies may read.
    pub columns: BTreeSet<String>,
    /// Hash of the public schema, with ranges and categories.
    pub schema_sha256: Digest,
    /// Hash of the consent predicate's text, where there is one.
    pub consent_sha256: Option<Digest>,
    /// The column by whose years its studies are charged, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// What a ledger has seen of rules.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    rules: Option<Rules>,
    /// Of each data set what was last recorded, also where it is gone.
    datasets: BTreeMap<String, DatasetRules>,
    /// Who was ever declared to be the customers, and by which column.
    units: BTreeSet<(String, String)>,
}

/// Something by which rules admit more than those that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loosened {
    /// Of this data set; of the policy where there is none.
    pub dataset: Option<String>,
    /// What it is.
    pub what: String,
}

impl Seen {
    /// The rules that hold.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// New ones hold from now on.
    pub(super) fn follow(&mut self, new: &Rules) {
        self.datasets.extend(new.datasets.clone());
        let unit = |dataset: &DatasetRules| (dataset.population.clone(), dataset.privacy_unit.clone());
        self.units.extend(new.datasets.values().map(unit));
        self.rules = Some(new.clone());
    }

    /// Whose customers a data set's are said to be now, which were said to be another population's: from, and to.
    pub(super) fn moved<'a>(&'a self, new: &'a Rules) -> BTreeSet<(&'a str, &'a str)> {
        let both = new.datasets.iter().filter_map(|(name, now)| Some((self.datasets.get(name)?, now)));
        let populations = both.map(|(before, now)| (before.population.as_str(), now.population.as_str()));
        populations.filter(|(before, now)| before != now).collect()
    }

    /// In what `new` admits more than the rules that hold; nothing where none do yet.
    pub fn loosened(&self, new: &Rules) -> Vec<Loosened> {
        let Some(old) = &self.rules else { return Vec::new() };
        let policy = old.loosened_to(new).into_iter().map(|what| Loosened { dataset: None, what });
        let datasets = new.datasets.iter().filter_map(|(name, dataset)| {
            let what = self.loosened_dataset(name, dataset)?;
            Some(Loosened { dataset: Some(name.clone()), what: format!("data set `{name}`: {what}") })
        });
        policy.chain(datasets).collect()
    }

    fn loosened_dataset(&self, name: &str, new: &DatasetRules) -> Option<String> {
        let DatasetRules { population, privacy_unit, consent_sha256, event, .. } = new;
        let by_year = |event: &String| format!("its budget is for each year of `{event}`");
        let Some(old) = self.datasets.get(name) else {
            let is_known = self.units.contains(&(population.clone(), privacy_unit.clone()));
            let what = || format!("population `{population}` by `{privacy_unit}` was not there before");
            return (!is_known).then(what).or_else(|| event.as_ref().map(by_year));
        };
        if *population != old.population {
            return Some(format!("its population was `{}` and is `{population}`", old.population));
        }
        if *privacy_unit != old.privacy_unit {
            return Some(format!("its privacy unit was `{}` and is `{privacy_unit}`", old.privacy_unit));
        }
        if let Some(event) = event.as_ref().filter(|_| *event != old.event) {
            return Some(by_year(event));
        }
        let consents = old.consent_sha256.is_some() && *consent_sha256 != old.consent_sha256;
        consents.then(|| "its consent predicate is another".to_owned())
    }

    /// The same with what holds in the place of what admits more: what is recorded without officers.
    pub fn stricter(&self, new: &Rules) -> Rules {
        let Some(old) = &self.rules else { return new.clone() };
        let mut datasets = new.datasets.clone();
        datasets.retain(|name, dataset| self.loosened_dataset(name, dataset).is_none());
        for name in new.datasets.keys().filter(|name| old.datasets.contains_key(*name)) {
            datasets.entry(name.clone()).or_insert_with(|| old.datasets[name].clone());
        }
        Rules { datasets, ..old.stricter(new) }
    }

    /// How many officers confirm what admits more: two, or, where fewer are named, whoever is there.
    pub fn confirming(&self) -> usize {
        self.rules.as_ref().map_or(2, |rules| rules.officers.len().clamp(1, 2))
    }
}

impl Rules {
    /// Those by which data sets of these populations are open to everything that the software can do.
    pub fn open<'a>(datasets: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let of = |(name, population, privacy_unit): (&str, &str, &str)| {
            let rules = DatasetRules {
                source: name.into(),
                population: population.into(),
                privacy_unit: privacy_unit.into(),
                columns: BTreeSet::new(),
                schema_sha256: Digest::ZERO,
                consent_sha256: None,
                event: None,
            };
            (name.to_owned(), rules)
        };
        Self {
            approve: ApprovalMode::Auto,
            kinds: BTreeSet::new(),
            own_numbers: true,
            min_partners: 1,
            min_colluders: Some(0),
            min_audience: 0,
            witnesses: 0,
            per_study: Rho::MAX,
            person: None,
            officers: BTreeSet::new(),
            datasets: datasets.into_iter().map(of).collect(),
        }
    }

    /// Whether somebody may confirm what these rules say: an officer, or anybody where none is named.
    pub(super) fn names(&self, officer: &str) -> bool {
        self.officers.is_empty() || self.officers.contains(officer)
    }

    fn loosened_to(&self, new: &Self) -> Vec<String> {
        let was = |name: &str, old: &dyn Display, now: &dyn Display| format!("`{name}` was {old} and is {now}");
        let mut found = Vec::new();
        if (self.approve, new.approve) == (ApprovalMode::Manual, ApprovalMode::Auto) {
            found.push(was("approve", &"manual", &"auto"));
        }
        let more: Vec<&str> = new.kinds.difference(&self.kinds).map(String::as_str).collect();
        if !more.is_empty() {
            found.push(format!("`kinds` has {} more", more.join(", ")));
        }
        if new.own_numbers && !self.own_numbers {
            found.push(was("own_numbers", &false, &true));
        }
        for (name, old, now) in [
            ("min_partners", self.min_partners, new.min_partners),
            ("min_audience", self.min_audience, new.min_audience),
            ("witnesses", self.witnesses, new.witnesses),
        ] {
            if now < old {
                found.push(was(name, &old, &now));
            }
        }
        if self.admits_other_colluders(new) {
            let shown = |number: Option<u32>| number.map_or("not stated".to_owned(), |number| number.to_string());
            found.push(was("min_colluders", &shown(self.min_colluders), &shown(new.min_colluders)));
        }
        if new.per_study > self.per_study {
            found.push(format!("`per_study_epsilon` was ρ = {} and is ρ = {}", self.per_study, new.per_study));
        }
        if self.admits_more_of_a_person(new) {
            let shown = |most: Option<Rho>| most.map_or("not stated".to_owned(), |most| format!("ρ = {most}"));
            found.push(was("person_epsilon", &shown(self.person), &shown(new.person)));
        }
        if self.loses_officers(new) {
            let names = |officers: &BTreeSet<String>| officers.iter().cloned().collect::<Vec<_>>().join(", ");
            found.push(format!("`officers` were {} and are [{}]", names(&self.officers), names(&new.officers)));
        }
        found
    }

    /// A number in the place of what follows from the participants asks for fewer of many, and the other way round for fewer of few.
    fn admits_other_colluders(&self, new: &Self) -> bool {
        match (self.min_colluders, new.min_colluders) {
            (Some(old), Some(now)) => now < old,
            (old, now) => old != now,
        }
    }

    fn admits_more_of_a_person(&self, new: &Self) -> bool {
        self.person.is_some_and(|most| new.person.is_none_or(|now| now > most))
    }

    /// Where two are named, they also say who the officers are; one more would be a second one for whoever is one of them.
    fn loses_officers(&self, new: &Self) -> bool {
        if self.officers.len() < 2 { !self.officers.is_subset(&new.officers) } else { self.officers != new.officers }
    }

    fn stricter(&self, new: &Self) -> Self {
        let approve = if self.approve == ApprovalMode::Manual { self.approve } else { new.approve };
        let colluders = if self.admits_other_colluders(new) { self } else { new };
        let officers = if self.loses_officers(new) { self } else { new };
        Self {
            approve,
            kinds: self.kinds.intersection(&new.kinds).cloned().collect(),
            own_numbers: self.own_numbers && new.own_numbers,
            min_partners: self.min_partners.max(new.min_partners),
            min_colluders: colluders.min_colluders,
            min_audience: self.min_audience.max(new.min_audience),
            witnesses: self.witnesses.max(new.witnesses),
            per_study: self.per_study.min(new.per_study),
            person: if self.admits_more_of_a_person(new) { self.person } else { new.person },
            officers: officers.officers.clone(),
            datasets: new.datasets.clone(),
        }
    }
}
