//! Accounts of data sets become accounts of populations.
//!
//! Ledgers from before there were populations have an account a data set. At its first start over such a ledger a node records, data set
//! by data set, that what was spent becomes a part of what its population has spent: two data sets of one population have spent the
//! sum. From then on nothing is charged to a data set's account, whose cap is 0. A data set that `node.toml` does not name any more is
//! of the population that its privacy unit's column is called after, as its entries say.
//!
//! A recovery may bring back more that was spent on a data set than was carried over: the growth is carried over then.

use serde::{Deserialize, Serialize};

use super::account::{AccountKey, Spent};
use super::checkpoint::Totals;
use crate::privacy::rho::Rho;

/// What was spent on a data set becomes a part of what its population has spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedOver {
    /// The data set whose account it was.
    pub dataset: String,
    /// The population that it is of.
    pub population: String,
    /// What is added to Σρ of the population.
    pub spent: Rho,
    /// What is added to its Σ of the losses to a person.
    pub person: Rho,
    /// Its cap from now on: the smaller one.
    pub cap: Rho,
}

impl CarriedOver {
    /// What there is to carry over of a data set's account, of which `done` was before, to that of a population.
    pub(super) fn of(
        (dataset, from): (&str, Totals),
        done: Option<Spent>,
        (population, to): (&str, Option<Totals>),
    ) -> Option<Self> {
        let before = done.unwrap_or_default();
        let (spent, person) = (from.spent.minus(before.rho), from.person.minus(before.person));
        let cap = match (to, done) {
            (None, None) => from.cap,
            (Some(to), None) => to.cap.min(from.cap),
            (to, Some(_)) if (spent, person) != (Rho::ZERO, Rho::ZERO) => to.unwrap_or_default().cap,
            (_, Some(_)) => return None,
        };
        Some(Self { dataset: dataset.into(), population: population.into(), spent, person, cap })
    }

    /// The population's account and the data set's afterwards.
    pub(super) fn accounts(&self, from: Totals, to: Totals) -> [(AccountKey, Totals); 2] {
        let (spent, person) = (to.spent.plus(self.spent), to.person.plus(self.person));
        [
            (AccountKey::Population(self.population.clone()), Totals { spent, person, cap: self.cap }),
            (AccountKey::Dataset(self.dataset.clone()), Totals { cap: Rho::ZERO, ..from }),
        ]
    }
}
