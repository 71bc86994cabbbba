//! Accounts: what may be spent on the customers of a population, and what has been.
//!
//! A budget belongs to people, not to a table about them: data sets of one population draw on one account, so that a data set that is
//! renamed, split or declared twice gets nothing that was not there before.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::privacy::rho::Rho;

/// Which account a charge is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKey {
    /// A data set's own, in ledgers from before there were populations. What it has spent is carried over to a population, and then
    /// nothing is charged to it any more.
    Dataset(String),
    /// The one of all data sets of a population.
    Population(String),
    /// That of a year of a population, which counts together with what is charged to the population for all time.
    Year(YearKey),
}

/// A year of a population, as `POPULATION:YEAR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct YearKey(String);

impl YearKey {
    /// The year of a population.
    pub fn new(population: &str, year: i16) -> Self {
        Self(format!("{population}:{year:04}"))
    }

    /// Reads what [`AccountKey::name`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(text.to_owned())).filter(|key| key.parts().is_some())
    }

    /// The population and the year; `None` if it is written otherwise.
    pub fn parts(&self) -> Option<(&str, i16)> {
        let (population, digits) = self.0.rsplit_once(':')?;
        let is_year = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit());
        Some((population, digits.parse().ok().filter(|_| is_year)?))
    }
}

impl AccountKey {
    /// What its population, or else its data set, is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Dataset(name) | Self::Population(name) | Self::Year(YearKey(name)) => name,
        }
    }

    /// Whether it is that of a year of this population.
    pub(super) fn is_year_of(&self, population: &str) -> bool {
        matches!(self, Self::Year(key) if key.parts().is_some_and(|(of, _)| of == population))
    }

    /// Whether it can be called so. Its name stands in checkpoints.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Dataset(name) => is_dataset_name(name),
            Self::Population(name) => is_population_name(name),
            Self::Year(key) => key.parts().is_some_and(|(population, _)| is_population_name(population)),
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dataset(name) => write!(f, "data set `{name}`"),
            Self::Population(name) => write!(f, "population `{name}`"),
            Self::Year(key) => match key.parts() {
                Some((population, year)) => write!(f, "population `{population}` in {year}"),
                None => write!(f, "`{}`", key.0),
            },
        }
    }
}

/// Whether a data set can be called so.
pub fn is_dataset_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The longest name of a population, in bytes.
const MAX_POPULATION: usize = 300;

/// Whether a population can be called so: one word, whatever its letters.
pub fn is_population_name(name: &str) -> bool {
    (1..=MAX_POPULATION).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// What the people behind a privacy unit are called where nobody says otherwise: as its column, in one word.
pub fn population_of(privacy_unit: &str) -> String {
    privacy_unit.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

/// What may be spent on one population.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Over its lifetime.
    pub lifetime: Rho,
    /// By one study, over all its attempts.
    pub per_study: Rho,
    /// The δ at which the budget was stated, for showing ε.
    pub delta: f64,
}

/// What `node.toml` says: the rules, of which population each data set is, and what may be spent on each of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Budgets {
    rules: Rules,
    caps: Caps,
}

/// No data sets.
impl Default for Budgets {
    fn default() -> Self {
        Self::new(Rules::open([]), Caps { lifetime: Rho::ZERO, per_study: Rho::ZERO, delta: 0.0 })
    }
}

impl Budgets {
    /// So much for each population that the rules name.
    pub fn new(rules: Rules, caps: Caps) -> Self {
        Self { rules, caps }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The population of a data set.
    pub fn population(&self, dataset: &str) -> Option<&str> {
        self.rules.datasets.get(dataset).map(|dataset| dataset.population.as_str())
    }

    /// What may be spent on a data set's population.
    pub fn caps(&self, dataset: &str) -> Option<&Caps> {
        self.rules.datasets.contains_key(dataset).then_some(&self.caps)
    }

    /// The account that is called so, or that the data set of this name draws on, with what may be spent from it.
    pub fn called(&self, name: &str) -> Option<(AccountKey, Caps)> {
        let population = self.populations().contains_key(name).then_some(name).or_else(|| self.population(name))?;
        Some((AccountKey::Population(population.into()), self.caps))
    }

    /// The populations, with what may be spent on each.
    pub fn populations(&self) -> BTreeMap<&str, Caps> {
        self.rules.datasets.values().map(|dataset| (dataset.population.as_str(), self.caps)).collect()
    }
}

/// What has been spent from an account, or on one of its data sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Σρ of the charges, each in its study's scope.
    pub rho: Rho,
    /// Σ of the losses to a person who may be a customer of every participant.
    pub person: Rho,
}

/// An account as it stands: what counts against its cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account.
    pub account: AccountKey,
    /// What was charged to it; for that of a year, what was charged to all time as well.
    pub spent: Spent,
    /// What is set aside for studies that go on.
    pub held: Rho,
    /// The cap.
    pub cap: Rho,
}

/// A charge that a cap does not admit. Nothing was charged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{what} of {of} does not admit it: asked ρ = {asked}, spent {spent}{} of {cap} (ε = {epsilon_spent:.3} of {epsilon_cap:.3} at δ = {delta:e})",
    and_held(*held)
)]
pub struct OverCap {
    /// The lifetime budget or the budget per study.
    pub what: &'static str,
    /// The data set, and whose account it is.
    pub of: String,
    /// The charge.
    pub asked: Rho,
    /// Σρ so far.
    pub spent: Rho,
    /// What is set aside for other studies that go on.
    pub held: Rho,
    /// The cap.
    pub cap: Rho,
    /// Σρ so far as ε.
    pub epsilon_spent: f64,
    /// The cap as ε.
    pub epsilon_cap: f64,
    /// The δ of both.
    pub delta: f64,
}

fn and_held(held: Rho) -> String {
    if held == Rho::ZERO { String::new() } else { format!(" and {held} set aside for studies that go on") }
}
