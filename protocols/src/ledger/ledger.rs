//! The ledger itself: the filter, and how it grows. What becomes of a release is in [`super::permit`] and [`super::outbox`].

use std::sync::Arc;

use super::account::{AccountKey, Budgets, OverCap, Spent, Standing};
use super::chain::Chain;
use super::checkpoint::{Checkpoint, Signer, Statement};
use super::earmarks::Earmarks;
use super::entry::{Account, Entry, Head, Privacy, Record, StudyRecord};
use super::error::LedgerError;

use super::index::Known;
use super::line::Line;
use super::office::Sighting;
use super::read::Text;
use super::store::Store;
use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::kind::Kind;
use crate::policy::{Request, StudyRef};
use crate::privacy::blocks::Years;
use crate::privacy::rho::Rho;

/// The ledger of a node, over a store. Several can be open over one store, such as a running node's and an officer's command: each
/// reads what another has appended before it appends, and a store takes one entry of a sequence.
pub struct Ledger<S> {
    pub(super) store: S,
    pub(super) budgets: Budgets,
    software: String,
    pub(super) chain: Chain,
    pub(super) known: Known,
    /// What others have shown, with its statement.
    pub(super) sightings: Vec<(Sighting, Statement)>,
    pub(super) earmarks: Earmarks,
}

impl<S: Store> Ledger<S> {
    /// Opens a ledger and checks its chain from the first entry on.
    pub fn open(store: S, budgets: Budgets, software: &str) -> Result<Self, LedgerError> {
        let mut ledger = Self {
            store,
            budgets,
            software: software.into(),
            chain: Chain::default(),
            known: Known::default(),
            sightings: Vec::new(),
            earmarks: Earmarks::default(),
        };
        ledger.sync()?;
        for sighting in ledger.store.sightings()? {
            // What cannot be read was not written by this code, and is not lost by being passed over: it is shown again.
            if let Ok(checkpoint) = Checkpoint::parse(&sighting.checkpoint) {
                ledger.sightings.push((sighting, checkpoint.statement().clone()));
            }
        }
        Ok(ledger)
    }

    /// Reads what others have appended since.
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        for line in self.store.entries_after(self.head().entries)? {
            let entry = self.chain.check(line.as_deref()).map_err(LedgerError::Damaged)?;
            self.known.remember(&entry);
        }
        Ok(())
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The account of a data set: that of its population.
    pub fn account_of(&self, dataset: &str) -> AccountKey {
        let population = self.budgets.population(dataset);
        population.map_or_else(|| self.chain.account_of(dataset), |name| AccountKey::Population(name.into()))
    }

    /// What has been spent on a data set's population.
    pub fn spent(&self, dataset: &str) -> Spent {
        self.chain.spent(&self.account_of(dataset))
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.chain.head()
    }

    /// The store, to read from.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The transcript under which an answer to this question over this snapshot is stored, if there is one.
    pub fn stored_answer(&self, question: Digest, snapshot: Digest) -> Option<Digest> {
        let release = self.known.answers.get(&(question, snapshot))?;
        self.known.releases.get(release)?.record.transcript
    }

    /// The entry that charged a release: what has to be witnessed before its bytes leave.
    pub fn charged_by(&self, release: Digest) -> Option<u64> {
        self.known.releases.get(&release).map(|known| known.reserved)
    }

    /// For which attempt a release was charged.
    pub fn charged_for(&self, release: Digest) -> Option<AttemptId> {
        let study = &self.known.releases.get(&release)?.record.study;
        Some(AttemptId::new(study.id.clone(), study.attempt))
    }

    /// What a release cost, and a person who may be a customer of every participant; `None` if it was not charged for here.
    pub fn charge_of(&self, release: Digest) -> Option<(Rho, Rho)> {
        let privacy = self.known.releases.get(&release)?.record.privacy.as_ref()?;
        Some((privacy.rho, privacy.rho_person))
    }

    /// What may be spent on a data set's population: the recorded cap, or before its first use what `node.toml` says.
    pub fn cap(&self, dataset: &str) -> Option<Rho> {
        self.chain.cap(&self.account_of(dataset)).or_else(|| Some(self.budgets.caps(dataset)?.lifetime))
    }

    /// Why nothing of a data set may be released now for a study of this kind, if so: an officer has paused it, or the ledger is in
    /// quarantine.
    pub fn obstacle(&self, dataset: &str, kind: Kind) -> Result<(), LedgerError> {
        if let Some(words) = self.quarantine() {
            return Err(LedgerError::Quarantined(words));
        }
        match self.chain.hold(dataset, kind) {
            Some(hold) => {
                Err(LedgerError::Paused(format!("{} is paused by {}: {}", hold.subject, hold.officer, hold.reason)))
            }
            None => self.unconfirmed(dataset).map_or(Ok(()), |words| Err(LedgerError::Office(words))),
        }
    }

    /// Whether the caps would admit a charge of `asked` for a request now; [`Ledger::reserve`] makes the same check.
    pub fn admits(&self, request: &Request, asked: Rho) -> Result<(), LedgerError> {
        self.obstacle(&request.dataset, request.study.kind)?;
        let account = self.account_of(&request.dataset);
        let caps = self.budgets.caps(&request.dataset).ok_or_else(|| LedgerError::NoBudget(request.dataset.clone()))?;
        self.admits_event(request)?;
        let over = |what, account: &AccountKey, spent: Rho, held: Rho, cap: Rho| OverCap {
            what,
            of: format!("data set `{}` ({account})", request.dataset),
            asked,
            spent,
            held,
            cap,
            epsilon_spent: spent.epsilon(caps.delta),
            epsilon_cap: cap.epsilon(caps.delta),
            delta: caps.delta,
        };
        for standing in self.standings(&request.dataset, request.by_year.as_ref(), Some(&request.study.id)) {
            let Standing { account, spent: Spent { rho: spent, .. }, held, cap } = standing;
            if spent.plus(held).plus(asked) > cap {
                let of_year = matches!(account, AccountKey::Year(_));
                let what = if of_year { "the lifetime budget of a year" } else { "the lifetime budget" };
                return Err(over(what, &account, spent, held, cap).into());
            }
        }
        // Of a person all that was spent counts, whatever the year.
        let times = request.by_year.as_ref().and_then(|by_year| by_year.years).map_or(1, Years::count);
        let (person, most) = (request.person(asked).times(times), self.budgets.rules().person.unwrap_or(Rho::MAX));
        let spent = self.spent_all_time(&request.dataset).person;
        let is_of = |of: &AccountKey| *of == account || of.is_year_of(account.name());
        let held = self.earmarks.person_beside(is_of, &request.study.id);
        if spent.plus(held).plus(person) > most {
            let over = over("the lifetime budget of a person at all partners,", &account, spent, held, most);
            return Err(OverCap { asked: person, ..over }.into());
        }
        let spent = self.known.spent_by_study(&request.study.id);
        if spent.plus(asked) > caps.per_study {
            return Err(over("the budget per study", &account, spent, Rho::ZERO, caps.per_study).into());
        }
        if spent.plus(asked) > request.most {
            return Err(over(
                "what the study states, lost attempts included",
                &account,
                spent,
                Rho::ZERO,
                request.most,
            )
            .into());
        }
        Ok(())
    }

    /// Records a refusal of a request.
    pub fn refused(&mut self, request: &Request, reason: &str, now: &str) -> Result<(), LedgerError> {
        self.append(now, None, |ledger| {
            let mut record = ledger.record(request);
            record.reason = Some(reason.into());
            Ok(Record::Refused(record))
        })
    }

    /// Records a refusal of a study before there was a request: its plan could not be made here.
    pub fn refused_early(&mut self, refused: &EarlyRefusal, now: &str) -> Result<(), LedgerError> {
        self.append(now, None, |ledger| {
            Ok(Record::Refused(Box::new(StudyRecord {
                release: None,
                account: ledger.account(&refused.dataset),
                population: ledger.budgets.population(&refused.dataset).map(str::to_owned),
                dataset: refused.dataset.clone(),
                study: Arc::new(refused.study.clone()),
                snapshot: None,
                consent: None,
                requester: refused.requester.clone(),
                // It may be why it is refused.
                petition: None,
                recipients: vec![refused.requester.clone()],
                participants: refused.participants.clone(),
                round: None,
                privacy: None,
                by_year: None,
                approved_by: None,
                transcript: None,
                result_sha256: None,
                reason: Some(refused.reason.clone()),
            })))
        })
    }

    /// The signed checkpoint of the ledger as it is now. The same bytes for the same entries.
    pub fn checkpoint(&self, signer: &Signer) -> Result<Checkpoint, LedgerError> {
        Ok(Checkpoint::sign(self.chain.statement(&signer.origin), &signer.key)?)
    }

    /// Keeps a checkpoint, with the cosignatures that it has.
    pub fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        Ok(self.store.append_checkpoint(&checkpoint.to_string())?)
    }

    /// The account of a data set as it stands, for an entry that names its population if `node.toml` has one.
    fn account(&self, dataset: &str) -> Account {
        let own = || AccountKey::Dataset(dataset.into());
        let population = self.budgets.population(dataset);
        let account = population.map_or_else(own, |name| AccountKey::Population(name.into()));
        self.account_at(&account, dataset)
    }

    pub(super) fn account_at(&self, account: &AccountKey, dataset: &str) -> Account {
        let (spent, caps) = (self.chain.spent(account), self.budgets.caps(dataset));
        let delta = caps.map_or(0.0, |caps| caps.delta);
        let epsilon = spent.rho.epsilon(delta);
        // JSON has no infinity: without a budget there is no δ, and ε is not stated.
        let epsilon = if epsilon.is_finite() { epsilon } else { 0.0 };
        Account {
            charge: Rho::ZERO,
            cap: self.chain.cap(account).or(caps.map(|caps| caps.lifetime)).unwrap_or_default(),
            spent_before: spent.rho,
            spent_after: spent.rho,
            spent_person_after: spent.person,
            delta,
            epsilon_before: epsilon,
            epsilon_after: epsilon,
        }
    }

    pub(super) fn record(&self, request: &Request) -> Box<StudyRecord> {
        Box::new(StudyRecord {
            release: None,
            study: Arc::new(request.study.clone()),
            dataset: request.dataset.clone(),
            population: self.budgets.population(&request.dataset).map(str::to_owned),
            snapshot: request.snapshot,
            consent: request.consent.clone(),
            requester: request.requester.clone(),
            petition: request.petition.clone(),
            recipients: request.recipients.clone(),
            participants: request.participants.clone(),
            round: Some(request.round),
            privacy: Some(Arc::new(Privacy::of(&request.mechanism, &request.privacy_unit, request.delta))),
            account: self.account(&request.dataset),
            by_year: None,
            approved_by: None,
            transcript: None,
            result_sha256: None,
            reason: None,
        })
    }

    /// The next state of a release: what was recorded of it, with today's account and no charge.
    pub(super) fn follow(&self, release: Digest, result: Digest) -> Result<Box<StudyRecord>, LedgerError> {
        let known = self.known.releases.get(&release).ok_or(LedgerError::OutOfOrder(release))?;
        let account = self.account_at(&known.record.account_key(), &known.record.dataset);
        Ok(Box::new(StudyRecord { account, by_year: None, result_sha256: Some(result), ..(*known.record).clone() }))
    }

    /// Appends what `make` makes of the ledger as it is. Where another has appended meanwhile, it is made again.
    pub(super) fn append(
        &mut self,
        now: &str,
        bytes: Option<(Digest, &[u8])>,
        make: impl Fn(&Self) -> Result<Record, LedgerError>,
    ) -> Result<(), LedgerError> {
        loop {
            self.sync()?;
            let head = self.head();
            let entry = Entry {
                sequence: head.entries + 1,
                previous: head.hash,
                time: now.into(),
                software: self.software.clone(),
                away: self.chain.away(now),
                record: make(self)?,
            };
            let line = Line::of(&entry);
            // Checked before it is written: an entry that verification would refuse is a bug here and must not be kept.
            self.chain.verify::<Text>(line.as_deref()).map_err(LedgerError::Damaged)?;
            match self.store.append(entry.sequence, &line, bytes) {
                Ok(()) => {
                    self.chain.accept(line.hash, &entry);
                    self.known.remember(&entry);
                    return Ok(());
                }
                Err(error) => {
                    self.sync()?;
                    if self.head() == head {
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

/// A refusal of a study from which this node could not make a request.
pub struct EarlyRefusal {
    /// The study; without hashes of a plan.
    pub study: StudyRef,
    /// The data set it names.
    pub dataset: String,
    /// Who asked.
    pub requester: String,
    /// All participants.
    pub participants: Vec<String>,
    /// Why.
    pub reason: String,
}
