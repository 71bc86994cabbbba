//! What is set aside for attempts that this node has committed itself to, and that are not charged yet.
//!
//! A node that has signed an attempt's transcript refuses nothing of it any more, as others are charged by then. So what the attempt
//! may cost is set aside before: other studies are admitted as if it had been spent. It is not spent; what is charged is taken
//! from it, and what is left is free again when the attempt ends.
//!
//! Kept in memory: which attempts have started is on the disk elsewhere, and what they may still cost follows from it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::LedgerError;
use super::ledger::Ledger;
use super::store::Store;
use crate::attempt::AttemptId;
use crate::policy::Request;
use crate::privacy::rho::Rho;

/// What is set aside, by attempt.
#[derive(Default)]
pub(super) struct Earmarks(BTreeMap<AttemptId, Earmark>);

struct Earmark {
    dataset: String,
    open: Rho,
    since: Timestamp,
}

impl Earmarks {
    /// What is set aside of a data set for other studies. The attempts of one study follow each other: of an earlier one, nothing
    /// is charged any more.
    pub(super) fn beside(&self, dataset: &str, study: &str) -> Rho {
        let others = self.0.iter().filter(|(attempt, earmark)| earmark.dataset == dataset && attempt.study != study);
        others.map(|(_, earmark)| earmark.open).sum()
    }

    /// So much of it is charged.
    pub(super) fn charged(&mut self, attempt: &AttemptId, rho: Rho) {
        if let Some(earmark) = self.0.get_mut(attempt) {
            earmark.open = earmark.open.minus(rho);
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Sets aside what an attempt costs in all, if the caps admit it now.
    ///
    /// # Errors
    ///
    /// As [`Ledger::admits`]; nothing is set aside then.
    pub fn earmark(&mut self, request: &Request, now: Timestamp) -> Result<(), LedgerError> {
        self.sync()?;
        self.admits(request, request.rho)?;
        self.earmark_again(&request.attempt(), &request.dataset, request.rho, now);
        Ok(())
    }

    /// Sets aside what an attempt may still cost that was admitted before this ledger was opened.
    pub fn earmark_again(&mut self, attempt: &AttemptId, dataset: &str, open: Rho, since: Timestamp) {
        self.earmarks.0.retain(|other, _| other.study != attempt.study);
        self.earmarks.0.insert(attempt.clone(), Earmark { dataset: dataset.to_owned(), open, since });
    }

    /// Nothing is set aside for an attempt any more.
    pub fn let_go(&mut self, attempt: &AttemptId) {
        self.earmarks.0.remove(attempt);
    }

    /// Nothing is set aside any more that was before then: a coordinator need not say that an attempt is over.
    pub fn let_go_before(&mut self, then: Timestamp) {
        self.earmarks.0.retain(|_, earmark| earmark.since >= then);
    }

    /// What is set aside of a data set, for whatever study.
    pub fn earmarked(&self, dataset: &str) -> Rho {
        self.earmarks.0.values().filter(|earmark| earmark.dataset == dataset).map(|earmark| earmark.open).sum()
    }
}
