//! From what was spent on data sets to what their populations have spent: see [`super::carry`].

use super::account::{AccountKey, population_of};
use super::carry::CarriedOver;
use super::entry::Record;
use super::error::LedgerError;
use super::ledger::Ledger;
use super::store::Store;

impl<S: Store> Ledger<S> {
    /// What was spent on a data set and is not a part of what its population has spent; the next of several.
    pub fn to_carry_over(&self) -> Option<CarriedOver> {
        let accounts = self.chain.accounts().keys();
        let datasets = accounts.filter(|account| matches!(account, AccountKey::Dataset(_)));
        datasets.map(AccountKey::name).find_map(|dataset| {
            let declared = self.budgets.population(dataset).map(str::to_owned);
            // One on which nothing was ever charged, and that is gone, has nothing to carry over.
            let population = declared.or_else(|| self.chain.unit(dataset).map(population_of))?;
            self.chain.to_carry_over(dataset, &population)
        })
    }

    /// Carries over to populations what was spent on data sets. Doing it again does nothing.
    pub fn carry_over(&mut self, now: &str) -> Result<(), LedgerError> {
        self.sync()?;
        while self.to_carry_over().is_some() {
            self.append(now, None, |ledger| {
                let carried = ledger.to_carry_over().map(Record::Carried);
                carried.ok_or_else(|| LedgerError::Office("another program has just carried it over".into()))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
