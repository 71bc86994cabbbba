//! Allowances: what two officers add to a population's cap in a calendar year, by an entry that names it.
//!
//! No cap grows by time. Each year takes its own proposal and its own second officer, in that year by the node's clock, and has one
//! allowance at most. A clock that is set forwards gives nothing: what officers have not granted for a year, that year does not have.
//! What is added stays added, so that the cap goes on to be the sum over all time.

use super::account::AccountKey;
use super::chain::Chain;
use super::entry::Record;
use super::error::LedgerError;
use super::ledger::Ledger;
use super::office::{Action, CapChange};
use super::officers::{Act, Outcome, refuse};
use super::store::Store;
use crate::privacy::rho::Rho;

/// The calendar year of a time as entries have it, RFC 3339.
fn calendar_year(time: &str) -> Option<i16> {
    let (digits, _) = time.split_once('-').filter(|(digits, _)| digits.len() == 4)?;
    digits.parse().ok()
}

impl Chain {
    /// What was added to an account's cap in calendar years, in order.
    pub fn allowances(&self, account: &AccountKey) -> impl Iterator<Item = (i16, Rho)> {
        let all = self.allowances.range((account.clone(), i16::MIN)..=(account.clone(), i16::MAX));
        all.map(|((_, year), rho)| (*year, *rho))
    }

    pub(super) fn verify_allowance(&self, account: &AccountKey, year: i16, time: &str) -> Result<(), String> {
        if calendar_year(time) != Some(year) {
            return Err("it is an allowance for another year than it is recorded in".into());
        }
        match self.allowances.get(&(account.clone(), year)) {
            None => Ok(()),
            Some(_) => Err("the year had its allowance before".into()),
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Adds `rho` to the cap of a population, by its name or that of one of its data sets, for this calendar year; with a second officer.
    pub fn allow(&mut self, of: &str, year: i16, rho: Rho, act: Act<'_>) -> Result<Outcome, LedgerError> {
        self.sync()?;
        let (account, caps) = self.budgets.called(of).ok_or_else(|| LedgerError::NoBudget(of.into()))?;
        if self.chain.cap(&account).is_none() {
            return refuse(format!("{account} was never used, and has what node.toml says: an allowance is for later"));
        }
        if let Err(problem) = self.chain.verify_allowance(&account, year, act.now) {
            return refuse(format!(
                "{account} cannot be granted an allowance for {year}: {problem} (it is {} here)",
                act.now.get(..10).unwrap_or(act.now)
            ));
        }
        let action = Action::Allow { account: account.clone(), for_year: year, rho };
        self.second(&action, act, |ledger, proposal, officers| {
            let from = ledger.chain.cap(&account).unwrap_or_default();
            Ok(Record::Cap(CapChange {
                account: account.clone(),
                from: Some(from),
                to: from.plus(rho),
                configured: ledger.chain.configured(&account).unwrap_or(caps.lifetime),
                officers,
                reason: act.reason.into(),
                proposal: Some(proposal),
                for_year: Some(year),
            }))
        })
    }
}

#[cfg(test)]
mod tests;
