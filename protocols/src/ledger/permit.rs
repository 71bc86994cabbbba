//! From an approved request to the right to release: the one maker of [`Permit`].

use std::sync::Arc;

use jiff::Timestamp;

use super::account::Spent;
use super::earmarks::SetAside;
use super::entry::{Record, State};
use super::error::LedgerError;
use super::ledger::Ledger;
use super::office::CapChange;
use super::outbox::Outbound;
use super::quotas::Quota;
use super::store::Store;
use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::policy::{Approved, Request};
use crate::privacy::mechanism::Mechanism;

/// A charged release. Its one [`Permit`] is drawn from it.
pub struct Reservation {
    release: Digest,
    transcript: Digest,
    mechanism: Arc<Mechanism>,
    drawn: bool,
}

impl Reservation {
    /// The permit, the first time; `None` ever after.
    pub fn draw(&mut self) -> Option<Permit> {
        let permit = Permit { release: self.release, transcript: self.transcript, mechanism: self.mechanism.clone() };
        (!std::mem::replace(&mut self.drawn, true)).then_some(permit)
    }
}

/// The right to release one vector, already paid for. Made by the ledger alone, after the charge is durable; used up
/// by a mechanism. Neither `Clone`, `Copy`, `Default` nor deserialisable.
pub struct Permit {
    release: Digest,
    transcript: Digest,
    mechanism: Arc<Mechanism>,
}

impl Permit {
    /// What was paid for.
    pub(crate) fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// Uses it up: the release, the transcript and the mechanism that it is for.
    pub(crate) fn into_parts(self) -> (Digest, Digest, Arc<Mechanism>) {
        (self.release, self.transcript, self.mechanism)
    }
}

/// How a release begins.
pub enum Begin {
    /// Charged (now, or before a crash): compute it.
    Compute(Reservation),
    /// Its bytes are stored: send them.
    Send(Outbound),
}

impl<S: Store> Ledger<S> {
    /// Charges a release and makes the charge durable, or finds it charged already.
    ///
    /// `release` identifies it for good (transcript and round); `now` is only recorded.
    pub fn reserve(
        &mut self,
        approved: Approved,
        release: Digest,
        transcript: Digest,
        now: &str,
    ) -> Result<Begin, LedgerError> {
        let Approved { request, by } = approved;
        let mechanism = request.mechanism.clone();
        self.sync()?;
        self.obstacle(&request.dataset, request.study.kind)?;
        if let Some(known) = self.known.releases.get(&release) {
            if known.state != State::Reserved {
                return self.stored(release).map(Begin::Send);
            }
        } else {
            self.admits(&request, mechanism.rho())?;
            self.record_rules(now)?;
            self.record_cap(&request.dataset, now)?;
            self.append(now, None, |ledger| {
                ledger.admits(&request, mechanism.rho())?;
                let mut record = ledger.record(&request);
                record.release = Some(release);
                record.transcript = Some(transcript);
                record.approved_by = Some(by.clone());
                ledger.charge(&mut record, request.by_year.as_ref(), (mechanism.rho(), mechanism.rho_person()));
                Ok(Record::Reserved(record))
            })?;
            let charge = Spent { rho: mechanism.rho(), person: mechanism.rho_person() };
            self.earmarks.charged(&request.attempt(), charge);
        }
        Ok(Begin::Compute(Reservation { release, transcript, mechanism, drawn: false }))
    }

    /// Sets aside what an attempt costs in all, if the caps and what its requester may ask for admit it now.
    ///
    /// # Errors
    ///
    /// As [`Ledger::admits`] and [`Ledger::within`]; nothing is set aside then.
    pub fn earmark(&mut self, request: &Request, quota: &Quota, now: Timestamp) -> Result<(), LedgerError> {
        self.sync()?;
        self.admits(request, request.rho)?;
        self.within(request, quota)?;
        let open = Spent { rho: request.rho, person: request.person(request.rho) };
        let (dataset, by_year) = (request.dataset.as_str(), request.by_year.as_ref());
        let set_aside = SetAside { dataset, by_year, requester: &request.requester, open };
        self.earmark_again(&request.attempt(), set_aside, now);
        Ok(())
    }

    /// Sets aside what an attempt may still cost that was admitted before this ledger was opened.
    pub fn earmark_again(&mut self, attempt: &AttemptId, set_aside: SetAside<'_>, since: Timestamp) {
        let accounts = self.charged_accounts(set_aside.dataset, set_aside.by_year);
        self.earmarks.insert(attempt, accounts, set_aside, since);
    }

    /// For which attempts something is set aside.
    pub fn set_aside_for(&self) -> impl Iterator<Item = &AttemptId> {
        self.earmarks.attempts()
    }

    /// Nothing is set aside for an attempt any more.
    pub fn let_go(&mut self, attempt: &AttemptId) {
        self.earmarks.remove(attempt);
    }

    /// Nothing is set aside any more that was before then: a coordinator need not say that an attempt is over.
    pub fn let_go_before(&mut self, then: Timestamp) {
        self.earmarks.remove_before(then);
    }

    /// Records the cap of a data set's population at its first use.
    fn record_cap(&mut self, dataset: &str, now: &str) -> Result<(), LedgerError> {
        let caps = *self.budgets.caps(dataset).ok_or_else(|| LedgerError::NoBudget(dataset.into()))?;
        let account = self.account_of(dataset);
        if self.chain.cap(&account).is_some() {
            return Ok(());
        }
        self.append(now, None, |ledger| {
            Ok(Record::Cap(CapChange {
                account: account.clone(),
                from: ledger.chain.cap(&account),
                to: caps.lifetime,
                configured: caps.lifetime,
                officers: Vec::new(),
                reason: "first use; as node.toml says".into(),
                proposal: None,
                for_year: None,
            }))
        })
    }
}
