//! Accounts of years: how what is charged to them follows from the charges before. What they are for, and the proof, is in
//! [`crate::privacy::blocks`].
//!
//! A population's own account is that of all time: what is charged to it counts in every year. A year has its population's cap.

use std::collections::BTreeSet;

use super::account::{AccountKey, Spent, Standing, YearKey};
use super::chain::Chain;
use super::checkpoint::Totals;
use super::entry::{Account, StudyRecord, YearAccount, YearCharges};
use super::error::LedgerError;
use super::ledger::Ledger;
use super::store::Store;
use crate::policy::Request;
use crate::privacy::blocks::{ByYear, Years};
use crate::privacy::rho::Rho;

fn require(good: bool, problem: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(problem.into()) }
}

impl Chain {
    /// The years of a population that have an account, in order.
    pub fn years(&self, population: &str) -> impl Iterator<Item = (i16, &Totals)> {
        let all = self.accounts().range(AccountKey::Year(YearKey::new(population, 0))..);
        all.filter_map(move |(account, totals)| {
            let AccountKey::Year(key) = account else { return None };
            key.parts().filter(|(of, _)| *of == population).map(|(_, year)| (year, totals))
        })
    }

    /// What a customer of a population with rows of every year has lost at most: the sum of all time and all years.
    pub fn spent_all_time(&self, population: &str) -> Spent {
        let all_time = self.spent(&AccountKey::Population(population.into()));
        self.years(population).fold(all_time, |sum, (_, totals)| plus(sum, totals.spent, totals.person))
    }

    /// Checks what a charge of ρ (and so much for a person) is charged to beside the population's account, and that it is within the cap
    /// of every year in which it counts.
    pub(super) fn verify_years(
        &self,
        record: &StudyRecord<impl AsRef<str>>,
        (rho, person): (Rho, Rho),
    ) -> Result<(), String> {
        let by_year = record.by_year.as_deref();
        // Most ledgers have no years, and an auditor does not wait for them.
        if by_year.is_none() && !self.has_years() {
            return Ok(());
        }
        let Some(population) = record.population.as_ref().map(AsRef::as_ref) else {
            return require(by_year.is_none(), "it is charged by year and has no population");
        };
        if let Some(YearCharges { event, spent_all_time, accounts, .. }) = by_year {
            let known = self.event(record.dataset.as_ref());
            require(known.is_none_or(|known| known == event), "the event column of its data set was another before")?;
            let all = self.spent_all_time(population).rho.plus(rho.times(accounts.len().max(1) as u64));
            require(*spent_all_time == all, "its `spent_all_time` is not the sum")?;
            require(accounts.is_sorted_by(|one, other| one.year < other.year), "its years are not in order")?;
        }
        let all_time = record.account.spent_after;
        let cap = self.cap(&record.account_key()).unwrap_or_default();
        let charged = by_year.map_or(&[][..], |by_year| &by_year.accounts);
        for YearAccount { year, account } in charged {
            let before = self.spent(&AccountKey::Year(YearKey::new(population, *year)));
            let is_sum = account.spent_before == before.rho
                && account.charge == rho
                && account.spent_after == before.rho.plus(rho)
                && account.spent_person_after == before.person.plus(person);
            require(is_sum, "its sums of a year are not those of the charges before and of this one")?;
            require(account.cap <= cap, "its cap of a year is above the one that was recorded")?;
            require(all_time.plus(account.spent_after) <= account.cap, "it spends more than the cap of a year")?;
        }
        let mut others = self.years(population).filter(|_| charged.is_empty());
        let within = others.all(|(_, totals)| all_time.plus(totals.spent) <= record.account.cap);
        require(within, "it is charged to all time, and spends more than the cap of a year")
    }

    /// Σ of the losses to a person behind a charge, over all time and all years.
    pub(super) fn person_after(&self, record: &StudyRecord<impl AsRef<str>>, population: &str) -> Rho {
        let charged = record.by_year.as_ref().map_or(0, |by_year| by_year.accounts.len() as u64);
        if charged == 0 && !self.has_years() {
            return record.account.spent_person_after;
        }
        let person = record.privacy.as_ref().map_or(Rho::ZERO, |privacy| privacy.rho_person);
        self.spent_all_time(population).person.plus(person.times(charged.max(1)))
    }

    fn has_years(&self) -> bool {
        matches!(self.accounts().last_key_value(), Some((AccountKey::Year(_), _)))
    }

    /// Goes on behind what [`Self::verify_years`] has passed.
    pub(super) fn accept_years(&mut self, record: &StudyRecord<impl AsRef<str>>) {
        let Some((population, by_year)) = record.population.as_ref().zip(record.by_year.as_ref()) else { return };
        for YearAccount { year, account } in &by_year.accounts {
            let Account { spent_after: spent, spent_person_after: person, cap, .. } = *account;
            self.accounts
                .insert(AccountKey::Year(YearKey::new(population.as_ref(), *year)), Totals { spent, person, cap });
        }
    }
}

fn plus(sum: Spent, rho: Rho, person: Rho) -> Spent {
    Spent { rho: sum.rho.plus(rho), person: sum.person.plus(person) }
}

impl<S: Store> Ledger<S> {
    /// What a customer of a data set's population with rows of every year has lost at most.
    pub fn spent_all_time(&self, dataset: &str) -> Spent {
        match self.account_of(dataset) {
            AccountKey::Population(population) => self.chain.spent_all_time(&population),
            account => self.chain.spent(&account),
        }
    }

    /// Of the accounts that a charge for a data set counts against, the one of which least is left.
    pub fn standing(&self, dataset: &str, by_year: Option<&ByYear>) -> Option<Standing> {
        let standings = self.standings(dataset, by_year, None).into_iter();
        standings.min_by_key(|standing| standing.cap.minus(standing.spent.rho).minus(standing.held))
    }

    /// The accounts that a charge for a data set counts against, for a study: the years that it is charged to, or all that there are and
    /// all time.
    pub(super) fn standings(&self, dataset: &str, by_year: Option<&ByYear>, study: Option<&str>) -> Vec<Standing> {
        let all_time = self.account_of(dataset);
        let (cap, study) = (self.cap(dataset).unwrap_or_default(), study.unwrap_or_default());
        let (spent, held) = (self.chain.spent(&all_time), self.earmarks.beside(&all_time, study));
        let of_year = |account: AccountKey| {
            let Spent { rho, person } = self.chain.spent(&account);
            let held = held.plus(self.earmarks.beside(&account, study));
            Standing { spent: plus(spent, rho, person), held, cap, account }
        };
        let charged = self.charged_accounts(dataset, by_year);
        if charged != [all_time.clone()] {
            return charged.into_iter().map(of_year).collect();
        }
        let all = self.chain.accounts().keys().chain(self.earmarks.accounts());
        let years: BTreeSet<&AccountKey> = all.filter(|account| account.is_year_of(all_time.name())).collect();
        let years = years.into_iter().cloned().map(of_year);
        std::iter::once(Standing { account: all_time.clone(), spent, held, cap }).chain(years).collect()
    }

    /// The accounts that a charge for a data set is charged to.
    pub(super) fn charged_accounts(&self, dataset: &str, by_year: Option<&ByYear>) -> Vec<AccountKey> {
        let all_time = self.account_of(dataset);
        match (&all_time, by_year.and_then(|by_year| by_year.years)) {
            (AccountKey::Population(population), Some(years)) => {
                years.iter().map(|year| AccountKey::Year(YearKey::new(population, year))).collect()
            }
            _ => vec![all_time],
        }
    }

    /// Whether the event column of a data set is still what it was.
    pub(super) fn admits_event(&self, request: &Request) -> Result<(), LedgerError> {
        let (Some(known), Some(by_year)) = (self.chain.event(&request.dataset), &request.by_year) else {
            return Ok(());
        };
        if known == by_year.event {
            return Ok(());
        }
        Err(LedgerError::Office(format!(
            "the event column of data set `{}` was `{known}` and is `{}` now, so that rows would move from one year's budget to \
             another's; set `event` back, or leave it out of node.toml: studies are then charged to all time",
            request.dataset, by_year.event
        )))
    }

    /// Puts a charge into the accounts that a record states.
    pub(super) fn charge(&self, record: &mut StudyRecord, by_year: Option<&ByYear>, (rho, person): (Rho, Rho)) {
        let charged = |account: Account| {
            let spent_after = account.spent_before.plus(rho);
            let epsilon_after = spent_after.epsilon(account.delta);
            let spent_person_after = account.spent_person_after.plus(person);
            Account { charge: rho, spent_after, spent_person_after, epsilon_after, ..account }
        };
        let population = record.population.clone().unwrap_or_default();
        let years = by_year.and_then(|by_year| by_year.years).into_iter().flat_map(Years::iter);
        let accounts: Vec<YearAccount> = years
            .map(|year| {
                let account = self.account_at(&AccountKey::Year(YearKey::new(&population, year)), &record.dataset);
                YearAccount { year, account: charged(Account { cap: record.account.cap, ..account }) }
            })
            .collect();
        if accounts.is_empty() {
            record.account = charged(record.account.clone());
        }
        record.by_year = by_year.map(|ByYear { event, .. }| {
            let spent = self.chain.spent_all_time(&population).rho.plus(rho.times(accounts.len().max(1) as u64));
            let epsilon_all_time = spent.epsilon(record.account.delta);
            Box::new(YearCharges { event: event.clone(), accounts, spent_all_time: spent, epsilon_all_time })
        });
    }
}

#[cfg(test)]
mod tests;
