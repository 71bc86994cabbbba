//! What `node.toml` changes of the rules, and what officers confirm of that: see [`super::rules`].

use super::entry::Record;
use super::error::LedgerError;
use super::ledger::Ledger;
use super::office::{Action, RulesChange};
use super::officers::{Act, Outcome};
use super::rules::{Loosened, Rules};
use super::store::Store;

impl<S: Store> Ledger<S> {
    /// In what `node.toml` admits more than the rules that are recorded. Until something is charged, nothing depends on them.
    pub fn loosened(&self) -> Vec<Loosened> {
        if self.chain.has_charged() { self.chain.rules().loosened(self.budgets.rules()) } else { Vec::new() }
    }

    /// Why nothing of a data set is released while `node.toml` admits more than is recorded, if that is so.
    pub(super) fn unconfirmed(&self, dataset: &str) -> Option<String> {
        let all = self.loosened();
        let concerns = |loosened: &&Loosened| loosened.dataset.as_deref().is_none_or(|of| of == dataset);
        let words: Vec<&str> = all.iter().filter(concerns).map(|loosened| loosened.what.as_str()).collect();
        (!words.is_empty()).then(|| {
            format!(
                "node.toml admits more than the ledger records: {}. Set it back and start the node again, or have it confirmed by {}: \
                 `entente-node ledger rules --officer NAME --reason TEXT`",
                words.join("; "),
                if self.chain.rules().confirming() == 2 { "two officers" } else { "whoever answers for this node" }
            )
        })
    }

    /// Records the rules before the first charge is made under them.
    pub(super) fn record_rules(&mut self, now: &str) -> Result<(), LedgerError> {
        let declared = self.budgets.rules().clone();
        if self.chain.has_charged() || self.chain.rules().rules() == Some(&declared) {
            return Ok(());
        }
        self.append_rules(&declared, "first use; as node.toml says", now)
    }

    /// Follows `node.toml` where it makes the node stricter, once something was charged, and records that.
    pub(super) fn follow_rules(&mut self, now: &str) -> Result<(), LedgerError> {
        let stricter = self.chain.rules().stricter(self.budgets.rules());
        if !self.chain.has_charged() || self.chain.rules().rules() == Some(&stricter) {
            return Ok(());
        }
        self.append_rules(&stricter, "node.toml was changed", now)
    }

    fn append_rules(&mut self, rules: &Rules, reason: &str, now: &str) -> Result<(), LedgerError> {
        let rules = Box::new(rules.clone());
        let change = RulesChange { rules, officers: Vec::new(), reason: reason.into(), proposal: None };
        self.append(now, None, |_| Ok(Record::Rules(change.clone())))
    }

    /// Confirms that what `node.toml` says holds, with a second officer where two are named.
    pub fn confirm_rules(&mut self, act: Act<'_>) -> Result<Outcome, LedgerError> {
        self.sync()?;
        if self.loosened().is_empty() {
            return Err(LedgerError::Office(
                "there is nothing to confirm: node.toml admits no more than is recorded".into(),
            ));
        }
        let rules = Box::new(self.budgets.rules().clone());
        let action = Action::Rules(rules.clone());
        self.confirmed(&action, act, |_, officers, proposal| {
            Record::Rules(RulesChange { rules: rules.clone(), officers, reason: act.reason.into(), proposal })
        })
    }
}

#[cfg(test)]
mod tests;
