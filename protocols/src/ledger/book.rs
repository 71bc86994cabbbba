//! The ledger itself: the filter, the states of a release, and the only makers of [`Permit`] and [`Outbound`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::chain::{Chain, Finding};
use super::checkpoint::{Checkpoint, Statement};
use super::entry::{Account, Entry, Head, Line, Privacy, Record, State, StudyRecord, Text};
use super::note::NoteError;
use super::office::{CapChange, Sighting};
use super::store::{Store, StoreError};
use crate::digest::Digest;
use crate::identity::IdentityKey;
use crate::kind::Kind;
use crate::policy::{Approved, Request, StudyRef};
use crate::privacy::mechanism::Mechanism;
use crate::privacy::rho::Rho;

/// What may be spent on one data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Over its lifetime.
    pub lifetime: Rho,
    /// By one study, over all its attempts.
    pub per_study: Rho,
    /// The δ at which the budget was stated, for showing ε.
    pub delta: f64,
}

/// What has been spent on one data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Σρ of the charges, each in its study's scope.
    pub rho: Rho,
    /// Σ of the losses to a person who may be a customer of every participant.
    pub person: Rho,
}

/// A charge that a cap does not admit. Nothing was charged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{what} of data set `{dataset}` does not admit it: asked ρ = {asked}, spent {spent} of {cap} (ε = {epsilon_spent:.3} of {epsilon_cap:.3} at δ = {delta:e})"
)]
pub struct OverCap {
    /// The lifetime budget or the budget per study.
    pub what: &'static str,
    /// The data set.
    pub dataset: String,
    /// The charge.
    pub asked: Rho,
    /// Σρ so far.
    pub spent: Rho,
    /// The cap.
    pub cap: Rho,
    /// Σρ so far as ε.
    pub epsilon_spent: f64,
    /// The cap as ε.
    pub epsilon_cap: f64,
    /// The δ of both.
    pub delta: f64,
}

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A cap; a refusal, not a failure.
    #[error(transparent)]
    OverCap(#[from] OverCap),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain is broken: nothing is released from this ledger any more.
    #[error(
        "the ledger is damaged or was changed: {0}; restore the state folder, or have it looked at with `entente-node ledger verify`"
    )]
    Damaged(Finding),
    /// A data set without a budget.
    #[error("there is no budget for data set `{0}`; add it to node.toml")]
    NoBudget(String),
    /// The bytes of a release are not those that were recorded: nothing of it is sent.
    #[error(
        "the stored bytes of release {0} are not those that its entry records: the database was damaged or changed; restore the state \
         folder from a backup"
    )]
    Bytes(Digest),
    /// A call out of order.
    #[error("release {0} is not in the state that this step needs")]
    OutOfOrder(Digest),
    /// An officer has paused it; a refusal.
    #[error("{0}")]
    Paused(String),
    /// Somebody holds a checkpoint of this ledger that it does not go on from; a refusal.
    #[error("{0}")]
    Quarantined(String),
    /// What an officer asks for cannot be done; a refusal.
    #[error("{0}")]
    Office(String),
}

impl From<NoteError> for LedgerError {
    fn from(error: NoteError) -> Self {
        Self::Office(format!("no checkpoint can be made of this ledger: {error}"))
    }
}

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
    pub(crate) release: Digest,
    pub(crate) transcript: Digest,
    pub(crate) mechanism: Arc<Mechanism>,
}

/// A protected vector on its way into the outbox. Sealed: the types of [`crate::release`] implement it.
pub trait Protected: sealed::IntoParts {}

pub(crate) mod sealed {
    use crate::digest::Digest;

    /// A protected vector with the release and the transcript it was made for.
    pub struct Parts {
        pub release: Digest,
        pub transcript: Digest,
        pub values: Vec<i64>,
    }

    pub trait IntoParts {
        fn into_parts(self) -> Parts;
    }
}

/// The stored bytes of a release: the only thing computed from customers that a node sends. Made by the ledger alone,
/// from its outbox; cannot be decoded from anywhere.
pub struct Outbound {
    transcript: Digest,
    bytes: Vec<u8>,
}

impl Outbound {
    /// The transcript it is masked under.
    pub fn transcript(&self) -> Digest {
        self.transcript
    }

    /// The bytes to send, as [`crate::wire::message::Contribution`] decodes them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How a release begins.
pub enum Begin {
    /// Charged (now, or before a crash): compute it.
    Compute(Reservation),
    /// Its bytes are stored: send them.
    Send(Outbound),
}

struct Release {
    record: Box<StudyRecord>,
    state: State,
    /// Of the entry that charged it.
    reserved: u64,
    /// Hash of its bytes, once they are stored.
    bytes: Option<Digest>,
}

/// Whose ledger it is: what checkpoints are signed with.
pub struct Signer {
    /// The log's name ([`super::checkpoint::node_origin`]).
    pub origin: String,
    /// The node's identity.
    pub key: IdentityKey,
}

/// The ledger of a node, over a store. Several can be open over one store, such as a running node's and an officer's command: each
/// reads what another has appended before it appends, and a store takes one entry of a sequence.
pub struct Ledger<S> {
    pub(super) store: S,
    pub(super) caps: BTreeMap<String, Caps>,
    software: String,
    pub(super) chain: Chain,
    known: Known,
    /// What others have shown, with its statement.
    pub(super) sightings: Vec<(Sighting, Statement)>,
}

impl<S: Store> Ledger<S> {
    /// Opens a ledger and checks its chain from the first entry on.
    pub fn open(store: S, caps: BTreeMap<String, Caps>, software: &str) -> Result<Self, LedgerError> {
        let mut ledger = Self {
            store,
            caps,
            software: software.into(),
            chain: Chain::default(),
            known: Known::default(),
            sightings: Vec::new(),
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

    /// What has been spent on a data set.
    pub fn spent(&self, dataset: &str) -> Spent {
        self.chain.spent(dataset)
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

    /// What may be spent on a data set: the recorded cap, or before its first use what `node.toml` says.
    pub fn cap(&self, dataset: &str) -> Option<Rho> {
        self.chain.cap(dataset).or_else(|| Some(self.caps.get(dataset)?.lifetime))
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
            None => Ok(()),
        }
    }

    /// Whether the caps would admit a charge of `asked` for a request now; [`Ledger::reserve`] makes the same check.
    pub fn admits(&self, request: &Request, asked: Rho) -> Result<(), LedgerError> {
        self.obstacle(&request.dataset, request.study.kind)?;
        let caps = self.caps.get(&request.dataset).ok_or_else(|| LedgerError::NoBudget(request.dataset.clone()))?;
        let lifetime = self.cap(&request.dataset).unwrap_or(caps.lifetime);
        let over = |what, spent: Rho, cap: Rho| OverCap {
            what,
            dataset: request.dataset.clone(),
            asked,
            spent,
            cap,
            epsilon_spent: spent.epsilon(caps.delta),
            epsilon_cap: cap.epsilon(caps.delta),
            delta: caps.delta,
        };
        let spent = self.spent(&request.dataset).rho;
        if spent.plus(asked) > lifetime {
            return Err(over("the lifetime budget", spent, lifetime).into());
        }
        let spent = self.known.spent_by_study(&request.dataset, &request.study.id);
        if spent.plus(asked) > caps.per_study {
            return Err(over("the budget per study", spent, caps.per_study).into());
        }
        Ok(())
    }

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
            self.record_cap(&request.dataset, now)?;
            self.append(now, None, |ledger| {
                ledger.admits(&request, mechanism.rho())?;
                let mut record = ledger.record(&request);
                record.release = Some(release);
                record.transcript = Some(transcript);
                record.approved_by = Some(by.clone());
                ledger.charge(&mut record, mechanism.rho(), mechanism.rho_person());
                Ok(Record::Reserved(record))
            })?;
        }
        Ok(Begin::Compute(Reservation { release, transcript, mechanism, drawn: false }))
    }

    /// Records a data set's cap at its first use.
    fn record_cap(&mut self, dataset: &str, now: &str) -> Result<(), LedgerError> {
        let caps = *self.caps.get(dataset).ok_or_else(|| LedgerError::NoBudget(dataset.into()))?;
        if self.chain.cap(dataset).is_some() {
            return Ok(());
        }
        self.append(now, None, |ledger| {
            Ok(Record::Cap(CapChange {
                dataset: dataset.into(),
                from: ledger.chain.cap(dataset),
                to: caps.lifetime,
                configured: caps.lifetime,
                officers: Vec::new(),
                reason: "first use; as node.toml says".into(),
                proposal: None,
            }))
        })
    }

    /// Stores the exact bytes of a release; from now on they are what is sent.
    pub fn computed(&mut self, protected: impl Protected, now: &str) -> Result<Outbound, LedgerError> {
        let parts = protected.into_parts();
        let known = self.known.releases.get(&parts.release).filter(|known| known.state == State::Reserved);
        known.ok_or(LedgerError::OutOfOrder(parts.release))?;
        let bytes = crate::canonical::canonical_bytes(&(parts.transcript, parts.values));
        let result = Digest::plain(&bytes);
        self.append(now, Some((parts.release, &bytes)), |ledger| {
            Ok(Record::Computed(ledger.follow(parts.release, result)?))
        })?;
        Ok(Outbound { transcript: parts.transcript, bytes })
    }

    /// The stored bytes of a release.
    pub fn stored(&self, release: Digest) -> Result<Outbound, LedgerError> {
        let known = self.known.releases.get(&release).and_then(|known| Some((known.record.transcript?, known.bytes?)));
        let (transcript, hash) = known.ok_or(LedgerError::OutOfOrder(release))?;
        match self.store.release(release)? {
            Some(bytes) if Digest::plain(&bytes) == hash => Ok(Outbound { transcript, bytes }),
            _ => Err(LedgerError::Bytes(release)),
        }
    }

    /// Whether the bytes of a release are stored.
    pub fn is_stored(&self, release: Digest) -> bool {
        self.known.releases.get(&release).is_some_and(|known| known.state != State::Reserved)
    }

    /// Records that a release's result is known, with its hash. Recording it again does nothing.
    pub fn released(&mut self, release: Digest, result: Digest, now: &str) -> Result<(), LedgerError> {
        let known = self.known.releases.get(&release).ok_or(LedgerError::OutOfOrder(release))?;
        match known.state {
            State::Released => return Ok(()),
            State::Computed => {}
            _ => return Err(LedgerError::OutOfOrder(release)),
        }
        self.append(now, None, |ledger| Ok(Record::Released(ledger.follow(release, result)?)))
    }

    /// Records that a stored answer was sent again, to `approved`, at no charge.
    pub fn repeated(&mut self, approved: Approved, release: Digest, now: &str) -> Result<Outbound, LedgerError> {
        let Approved { request, by } = approved;
        let outbound = self.stored(release)?;
        self.append(now, None, |ledger| {
            ledger.obstacle(&request.dataset, request.study.kind)?;
            let mut record = ledger.record(&request);
            record.release = Some(release);
            record.transcript = Some(outbound.transcript);
            record.approved_by = Some(by.clone());
            Ok(Record::Repeated(record))
        })?;
        Ok(outbound)
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
                dataset: refused.dataset.clone(),
                study: Arc::new(refused.study.clone()),
                snapshot: None,
                consent: None,
                requester: refused.requester.clone(),
                recipients: vec![refused.requester.clone()],
                participants: refused.participants.clone(),
                round: None,
                privacy: None,
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

    fn account(&self, dataset: &str) -> Account {
        let (spent, caps) = (self.spent(dataset), self.caps.get(dataset));
        let delta = caps.map_or(0.0, |caps| caps.delta);
        let epsilon = spent.rho.epsilon(delta);
        // JSON has no infinity: without a budget there is no δ, and ε is not stated.
        let epsilon = if epsilon.is_finite() { epsilon } else { 0.0 };
        Account {
            charge: Rho::ZERO,
            cap: self.cap(dataset).unwrap_or_default(),
            spent_before: spent.rho,
            spent_after: spent.rho,
            spent_person_after: spent.person,
            delta,
            epsilon_before: epsilon,
            epsilon_after: epsilon,
        }
    }

    fn charge(&self, record: &mut StudyRecord, rho: Rho, person: Rho) {
        let account = &mut record.account;
        account.charge = rho;
        account.spent_after = account.spent_before.plus(rho);
        account.spent_person_after = account.spent_person_after.plus(person);
        account.epsilon_after = account.spent_after.epsilon(account.delta);
    }

    fn record(&self, request: &Request) -> Box<StudyRecord> {
        Box::new(StudyRecord {
            release: None,
            study: Arc::new(request.study.clone()),
            dataset: request.dataset.clone(),
            snapshot: Some(request.snapshot),
            consent: request.consent.clone(),
            requester: request.requester.clone(),
            recipients: request.recipients.clone(),
            participants: request.participants.clone(),
            round: Some(request.round),
            privacy: Some(Arc::new(Privacy::of(&request.mechanism, &request.privacy_unit, request.delta))),
            account: self.account(&request.dataset),
            approved_by: None,
            transcript: None,
            result_sha256: None,
            reason: None,
        })
    }

    /// The next state of a release: what was recorded of it, with today's account and no charge.
    fn follow(&self, release: Digest, result: Digest) -> Result<Box<StudyRecord>, LedgerError> {
        let known = self.known.releases.get(&release).ok_or(LedgerError::OutOfOrder(release))?;
        let account = self.account(&known.record.dataset);
        Ok(Box::new(StudyRecord { account, result_sha256: Some(result), ..(*known.record).clone() }))
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

/// A refusal of a study of which this node could make no request.
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

/// What a ledger's entries say of releases, as far as its steps need it beside the chain.
#[derive(Default)]
struct Known {
    releases: HashMap<Digest, Release>,
    /// By question and snapshot.
    answers: HashMap<(Digest, Digest), Digest>,
    /// What studies have spent, by data set, then by study.
    by_study: HashMap<String, HashMap<String, Rho>>,
}

impl Known {
    fn remember(&mut self, entry: &Entry) {
        let (Record::Reserved(record) | Record::Computed(record) | Record::Released(record)) = &entry.record else {
            return;
        };
        let (Some(release), state) = (record.release, entry.state()) else { return };
        if state == State::Reserved {
            let studies = self.by_study.entry(record.dataset.clone()).or_default();
            let study = studies.entry(record.study.id.clone()).or_default();
            *study = study.plus(record.account.charge);
        } else if let (Some(question), Some(snapshot)) = (record.study.question_sha256, record.snapshot) {
            self.answers.insert((question, snapshot), release);
        }
        let known = self.releases.get(&release);
        let reserved = known.map_or(entry.sequence, |known| known.reserved);
        // What an entry names as its result is the bytes while they are all that is known, and then the study's result.
        let bytes = if state == State::Computed { record.result_sha256 } else { known.and_then(|known| known.bytes) };
        self.releases.insert(release, Release { record: record.clone(), state, reserved, bytes });
    }

    fn spent_by_study(&self, dataset: &str, study: &str) -> Rho {
        self.by_study.get(dataset).and_then(|studies| studies.get(study)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::store::Memory;
    use crate::ledger::verify::verify_export;
    use crate::policy::tests::{approved, request};

    struct Vector(Digest);

    impl Protected for Vector {}

    impl sealed::IntoParts for Vector {
        fn into_parts(self) -> sealed::Parts {
            sealed::Parts { release: self.0, transcript: Digest([9; 32]), values: vec![1, 2] }
        }
    }

    const T: Digest = Digest([9; 32]);

    fn caps() -> BTreeMap<String, Caps> {
        let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(45_000), delta: 1e-6 };
        [("d".into(), caps)].into()
    }

    fn ledger() -> Ledger<Memory> {
        Ledger::open(Memory::default(), caps(), "test 1").unwrap()
    }

    fn reopen(ledger: Ledger<Memory>) -> Ledger<Memory> {
        Ledger::open(ledger.store, caps(), "test 1").unwrap()
    }

    fn id(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    fn begin(ledger: &mut Ledger<Memory>, release: u8, micro: u64) -> Result<Begin, LedgerError> {
        ledger.reserve(approved(request(&format!("s{release}"), release, micro)), id(release), T, "now")
    }

    #[test]
    fn a_release_is_charged_once_over_crashes_at_every_step() {
        let mut ledger = ledger();
        assert!(matches!(begin(&mut ledger, 1, 40_000).unwrap(), Begin::Compute(_)));
        let mut ledger = reopen(ledger);
        let Begin::Compute(mut reservation) = begin(&mut ledger, 1, 40_000).unwrap() else {
            panic!("not computed yet")
        };
        assert!(reservation.draw().is_some() && reservation.draw().is_none(), "one permit a reservation");
        let first = ledger.computed(Vector(id(1)), "now").unwrap();
        let mut ledger = reopen(ledger);
        let Begin::Send(again) = begin(&mut ledger, 1, 40_000).unwrap() else { panic!("never computed again") };
        assert_eq!(first.bytes(), again.bytes());
        assert!(matches!(ledger.computed(Vector(id(1)), "now"), Err(LedgerError::OutOfOrder(_))));
        ledger.released(id(1), Digest::ZERO, "now").unwrap();
        let mut ledger = reopen(ledger);
        ledger.released(id(1), Digest::ZERO, "now").unwrap();
        assert_eq!(ledger.head().entries, 4, "with the cap");
        assert_eq!(ledger.spent("d").rho, Rho::from_micro(40_000));
        assert_eq!(ledger.spent("d").person, Rho::from_micro(360_000));
        assert_eq!(ledger.stored_answer(id(1), id(1)), Some(T));
        assert_eq!(ledger.stored_answer(id(1), id(2)), None, "another snapshot");
    }

    #[test]
    fn bytes_that_are_not_the_recorded_ones_are_not_sent() {
        let mut ledger = ledger();
        begin(&mut ledger, 1, 40_000).unwrap();
        ledger.computed(Vector(id(1)), "now").unwrap();
        let lines = ledger.store.entries().unwrap();
        for (bytes, is_whole) in
            [(ledger.store.release(id(1)).unwrap(), true), (Some(vec![7; 48]), false), (None, false)]
        {
            let mut store = Memory::default();
            for (sequence, line) in (1..).zip(&lines) {
                let bytes = bytes.as_deref().filter(|_| sequence == lines.len() as u64).map(|bytes| (id(1), bytes));
                store.append(sequence, line, bytes).unwrap();
            }
            let again = Ledger::open(store, caps(), "test 1").unwrap().stored(id(1));
            assert_eq!(again.is_ok(), is_whole);
            assert!(is_whole || matches!(again, Err(LedgerError::Bytes(_))));
        }
    }

    #[test]
    fn caps_are_kept_to_the_last_unit() {
        let mut ledger = ledger();
        begin(&mut ledger, 1, 40_000).unwrap();
        begin(&mut ledger, 2, 40_000).unwrap();
        let error = begin(&mut ledger, 3, 20_001).map(drop).unwrap_err();
        assert!(error.to_string().contains("spent 0.080000 of 0.100000"), "{error}");
        begin(&mut ledger, 4, 20_000).unwrap();
        assert!(begin(&mut ledger, 5, 10).is_err());
        assert_eq!(ledger.spent("d").rho, Rho::from_micro(100_000));
        // A second attempt of one study counts with the first.
        let mut ledger = self::ledger();
        let attempt = |release| (approved(request("same", release, 30_000)), id(release));
        let (first, release) = attempt(1);
        ledger.reserve(first, release, T, "now").unwrap();
        let (second, release) = attempt(2);
        let error = ledger.reserve(second, release, T, "now").map(drop).unwrap_err();
        assert!(error.to_string().contains("per study"), "{error}");
    }

    #[test]
    fn steps_out_of_order_change_nothing() {
        let mut ledger = ledger();
        assert!(ledger.computed(Vector(id(1)), "now").is_err());
        assert!(ledger.released(id(1), Digest::ZERO, "now").is_err());
        assert!(ledger.stored(id(1)).is_err());
        begin(&mut ledger, 1, 1000).unwrap();
        assert!(ledger.released(id(1), Digest::ZERO, "now").is_err());
        assert_eq!(ledger.head().entries, 2);
    }

    #[test]
    fn a_changed_entry_is_found_at_opening() {
        let mut ledger = ledger();
        begin(&mut ledger, 1, 1000).unwrap();
        begin(&mut ledger, 2, 1000).unwrap();
        let lines = ledger.store.entries().unwrap();
        let changed = lines[1].json.replace("\"1000\"", "\"0\"");
        assert_ne!(changed, lines[1].json);
        let mut store = Memory::default();
        let forged = Line { hash: Line::hash(&changed), json: changed };
        store.append(1, &lines[0], None).unwrap();
        store.append(2, &forged, None).unwrap();
        store.append(3, &lines[2], None).unwrap();
        assert!(matches!(Ledger::open(store, caps(), "test 1"), Err(LedgerError::Damaged(_))));
    }

    #[test]
    fn what_is_written_verifies_as_an_export() {
        let mut ledger = ledger();
        let signer = Signer { origin: "entente/5a/a".into(), key: IdentityKey::from_secret(&[3; 32]) };
        begin(&mut ledger, 1, 40_000).unwrap();
        ledger.computed(Vector(id(1)), "now").unwrap();
        ledger.released(id(1), Digest::ZERO, "now").unwrap();
        ledger.repeated(approved(request("again", 1, 40_000)), id(1), "now").unwrap();
        ledger.refused(&request("no", 2, 1000), "policy", "now").unwrap();
        let checkpoint = ledger.checkpoint(&signer).unwrap();
        ledger.keep(&checkpoint).unwrap();
        let ledger = reopen(ledger);
        assert_eq!(ledger.checkpoint(&signer).unwrap(), checkpoint, "the same bytes for the same entries");
        let text = crate::ledger::verify::export("a", &signer, ledger.store()).unwrap();
        let report = verify_export(&text, None);
        assert!(report.passed(), "{report:?}");
        assert_eq!(report.spent["d"].rho, Rho::from_micro(40_000));
    }
}
