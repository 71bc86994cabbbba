//! What is set aside for attempts that this node has committed itself to, and that are not charged yet.
//!
//! A node that has signed an attempt's transcript refuses nothing of it any more, as others are charged by then. So what the attempt
//! may cost is set aside before: other studies are admitted as if it had been spent. It is not spent; what is charged is taken
//! from it, and what is left is free again when the attempt ends.
//!
//! Kept in memory: which attempts have started is on the disk elsewhere, and what they may still cost follows from it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::account::{AccountKey, Spent};
use crate::attempt::AttemptId;
use crate::privacy::blocks::ByYear;
use crate::privacy::rho::Rho;

/// What is set aside, by attempt.
#[derive(Default)]
pub(super) struct Earmarks(BTreeMap<AttemptId, Earmark>);

/// What is set aside for an attempt.
#[derive(Clone, Copy, Debug)]
pub struct SetAside<'a> {
    /// Of which data set.
    pub dataset: &'a str,
    /// To which years it is charged, if to years.
    pub by_year: Option<&'a ByYear>,
    /// Who asks for the study.
    pub requester: &'a str,
    /// How much.
    pub open: Spent,
}

struct Earmark {
    accounts: Vec<AccountKey>,
    requester: String,
    open: Spent,
    since: Timestamp,
}

impl Earmarks {
    /// What is set aside of an account for other studies. The attempts of one study follow each other: of an earlier one, nothing
    /// is charged any more.
    pub(super) fn beside(&self, account: &AccountKey, study: &str) -> Rho {
        let others =
            self.0.iter().filter(|(attempt, earmark)| earmark.accounts.contains(account) && attempt.study != study);
        others.map(|(_, earmark)| earmark.open.rho).sum()
    }

    /// What is set aside for other studies of the losses to a person, over all accounts that `is_of` names.
    pub(super) fn person_beside(&self, is_of: impl Fn(&AccountKey) -> bool, study: &str) -> Rho {
        let others = self.0.iter().filter(|(attempt, _)| attempt.study != study);
        let of = |earmark: &Earmark| earmark.accounts.iter().filter(|account| is_of(account)).count() as u64;
        others.map(|(_, earmark)| earmark.open.person.times(of(earmark))).sum()
    }

    /// The accounts of which something is set aside.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountKey> {
        self.0.values().flat_map(|earmark| &earmark.accounts)
    }

    /// So much of it is charged.
    pub(super) fn charged(&mut self, attempt: &AttemptId, charge: Spent) {
        if let Some(Earmark { open, .. }) = self.0.get_mut(attempt) {
            (open.rho, open.person) = (open.rho.minus(charge.rho), open.person.minus(charge.person));
        }
    }

    /// So much is set aside for an attempt, instead of for earlier ones of its study.
    pub(super) fn insert(
        &mut self,
        attempt: &AttemptId,
        accounts: Vec<AccountKey>,
        set_aside: SetAside<'_>,
        since: Timestamp,
    ) {
        let SetAside { requester, open, .. } = set_aside;
        self.0.retain(|other, _| other.study != attempt.study);
        self.0.insert(attempt.clone(), Earmark { accounts, requester: requester.into(), open, since });
    }

    /// For which attempts something is set aside.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &AttemptId> {
        self.0.keys()
    }

    /// What is set aside for other studies that this requester asks for, by study.
    pub(super) fn asked_by<'a>(
        &'a self,
        requester: &'a str,
        study: &'a str,
    ) -> impl Iterator<Item = (&'a str, Rho)> + 'a {
        let others =
            self.0.iter().filter(move |(attempt, earmark)| earmark.requester == requester && attempt.study != study);
        others.map(|(attempt, earmark)| (attempt.study.as_str(), earmark.open.rho))
    }

    /// Nothing is set aside for an attempt any more.
    pub(super) fn remove(&mut self, attempt: &AttemptId) {
        self.0.remove(attempt);
    }

    /// Nothing is set aside any more that was before then.
    pub(super) fn remove_before(&mut self, then: Timestamp) {
        self.0.retain(|_, earmark| earmark.since >= then);
    }
}
