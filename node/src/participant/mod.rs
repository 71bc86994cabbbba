//! A node's part in studies: what it answers to each message of the coordinator.
//!
//! ```text
//! (all)   ─▶ enough partners have said what they hold of this node's ledger since it started ─▶ answered | Waiting
//! Propose ─▶ roster, data set, question, policy, caps ─▶ Pledged | Waiting (steward, roster, identity of data) | Refused
//! Start   ─▶ pledges against the PINNED roster, all that could be refused, budget set aside ─▶ Signed | Refused
//! Go      ─▶ signatures, input, reserve, compute, noise, mask, store, held until its point of the grid ─▶ contribution | Refused |
//!            Failed, round by round
//! Resend  ─▶ stored bytes, at no charge                ─▶ contribution
//! Relayed ─▶ opened: to whoever waits for it, or answered ─▶ Relay
//! Witness ─▶ another's checkpoint: judged, kept       ─▶ Witnessed
//! Read    ─▶ what is held of another's ledger          ─▶ Held
//! Finished, Abandoned ─▶ recorded                      ─▶ Closed
//! ```
//!
//! Every answer is made from what is on the disk, so that a message can come again after a restart of either side: the
//! same pledge, the same signature, the same bytes. What depends on the data is never said: whatever goes wrong with them
//! is `Failed`, and this node's log says why.

mod close;
mod commit;
mod computing;
mod dialogues;
mod heads;
mod held;
mod identity;
mod join;
mod kept;
mod quorum;
mod reading;
mod refusals;
mod replies;
mod requester;
mod roster;
mod rounds;
#[cfg(test)]
mod tests;
mod witness;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use entente_host::Error;
use entente_host::clock::{Clock, Moment};
use entente_host::files::Lock;
use entente_host::locks::lock;
use entente_host::process::runtime_folder;
use entente_host::random::random;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::Roster;
use entente_protocols::ledger::store::{Store, StoreError};
use entente_protocols::ledger::{Ledger, LedgerError, Outbound, Signer, Spent};
use entente_protocols::policy::Request;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::pledge::EphemeralKey;
use entente_protocols::study::Question;
use entente_protocols::study::parts::Reads;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use jiff::{SignedDuration, Timestamp};
use tracing::{error, info, warn};

use crate::alarms::Alarms;
use crate::config::{self, Config};
use crate::data::{Engine, Options, UnitKey};
use crate::dialogue::Answers;
use crate::grid::Speed;
use crate::identities::Identities;
use crate::peers::Peers;
use crate::sizes::Sizes;
use crate::state::{Folder, SOFTWARE, Stamp};
use crate::store::attempts::{Attempt, Stage, Started};
use crate::store::{EphemeralStore, IdentityStore, LedgerStore, StudyStore, WitnessStore};
use crate::turn::{Alone, Turn};
use crate::works::{self, Memory};
use computing::Computing;
use held::Held;
use refusals::Refusals;
use rounds::{Round, Running};
pub use witness::Connection;
use witness::{Release, Witnesses};
use witnessing::Asked;

/// The vector of a round, or what is said instead, and the connection on which it was asked for.
type Ready = (Connection, Result<(Release, Outbound), Vec<u8>>);

/// How often keys of attempts are looked for that are not needed any more.
const SWEEP: SignedDuration = SignedDuration::from_hours(1);

/// A node's part in studies. Shared by all connections; calls block on disk and computation. What counts is on the disk, so a panic
/// while a lock was held has left nothing half-written.
pub struct Participant {
    folder: Folder,
    config: Config,
    clock: Clock,
    /// Whose ledger it is; its key signs pledges and transcripts as well.
    signer: Signer,
    snapshot_secret: Digest,
    identities: Arc<Identities>,
    engine: Engine,
    ledger: Mutex<Ledger<LedgerStore>>,
    studies: Arc<Mutex<StudyStore>>,
    /// Held from the last look at what works count of attempts until one more is kept. Never locked after the ledger or the studies are.
    joining: Mutex<()>,
    ephemeral: EphemeralStore,
    /// When keys of attempts that take too long were last looked for.
    swept: Mutex<Timestamp>,
    rosters: Mutex<Rosters>,
    /// What this node has witnessed of others.
    witnessed: Mutex<WitnessStore>,
    /// Others that ask to be witnessed.
    asked: Mutex<Vec<Asked>>,
    /// Those who witness its own ledger. Never locked before the ledger is.
    witnesses: Mutex<Witnesses>,
    /// Of this start: what others hold is asked under it.
    nonce: Digest,
    /// Whether enough of them have said since this start what they hold.
    has_read: AtomicBool,
    /// What waits until they have.
    put_off: Mutex<BTreeMap<AttemptId, ToAttempt>>,
    /// One lock an attempt that is at work or has rounds that share something, which it holds. The link tells one thing at a time
    /// of an attempt, so that hardly ever a thread waits for one.
    attempts: Mutex<BTreeMap<AttemptId, Arc<Mutex<Option<Running>>>>>,
    /// Attempts that wait for a steward on the present connection.
    waiting: Mutex<BTreeSet<AttemptId>>,
    /// What it was opened at, by the time of day and by a time that only goes on.
    opened: (Timestamp, Moment),
    /// The rounds that are being computed.
    computing: Computing,
    /// Proposals that wait on the present connection until staff have confirmed a roster.
    unconfirmed: Mutex<BTreeMap<AttemptId, Proposal>>,
    /// Proposals that wait on the present connection until the data that they ask of are identified.
    unidentified: Mutex<BTreeMap<AttemptId, Proposal>>,
    refusals: Mutex<Refusals>,
    /// The ways to other participants.
    peers: Peers,
    /// Other participants that this node answers.
    answers: Answers,
    /// What its works keep in memory.
    memory: Memory,
    /// By what replies of rounds are timed.
    speed: Speed,
    sizes: Sizes,
    /// Replies that wait until they leave.
    held: Held<Ready>,
    alarms: Arc<Alarms>,
    /// Held as long as anything computes for this participant, which can be longer than its node serves: two ledgers open at
    /// once would fork.
    _lock: Option<Lock>,
}

struct Rosters {
    /// What staff have confirmed, as it was last read.
    pinned: Option<Roster>,
    /// Of the file, when it was.
    stamp: Option<Stamp>,
    /// What the coordinator offered last.
    offered: Option<Roster>,
}

/// Why a message is not answered as hoped.
enum Problem {
    /// By public facts, policy, budget or a steward: the coordinator learns of it, the ledger records it.
    Refused { reason: String, request: Option<Box<Request>> },
    /// A message that does not fit where the attempt stands: the coordinator learns of it, and the attempt stays as it is.
    OutOfPlace(String),
    /// Here and in detail only.
    Failed(String),
    /// A person must decide.
    Waiting(String),
}

impl Problem {
    fn refused(reason: impl ToString) -> Self {
        Self::Refused { reason: reason.to_string(), request: None }
    }

    fn out_of_place(reason: impl ToString) -> Self {
        Self::OutOfPlace(reason.to_string())
    }

    fn failed(reason: impl ToString) -> Self {
        Self::Failed(reason.to_string())
    }

    /// What the coordinator may know: of a failure here, only that there was one.
    fn told(self) -> String {
        match self {
            Self::Failed(detail) => {
                error!(detail, "a check failed here; the coordinator learns only that it failed");
                "it failed there; its own log says why".into()
            }
            other => other.into_words(),
        }
    }

    /// What went wrong, for whoever only reads it.
    fn into_words(self) -> String {
        match self {
            Self::Refused { reason: words, .. }
            | Self::OutOfPlace(words)
            | Self::Failed(words)
            | Self::Waiting(words) => words,
        }
    }
}

impl From<works::Problem> for Problem {
    fn from(problem: works::Problem) -> Self {
        match problem {
            works::Problem::Refused(reason) => Self::refused(reason),
            works::Problem::Failed(reason) | works::Problem::Unread(reason) => Self::failed(reason),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        if error.is_refusal() { Self::refused(error) } else { Self::failed(error) }
    }
}

impl From<entente_protocols::ledger::store::StoreError> for Problem {
    fn from(error: entente_protocols::ledger::store::StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::failed(error)
    }
}

/// The frame that says something of an attempt.
fn saying(id: &AttemptId, said: FromAttempt) -> Vec<u8> {
    frame::encode(&FromNode::Attempt(id.clone(), said))
}

/// The coordinator goes on with what is over.
fn ended() -> Problem {
    Problem::failed("the coordinator goes on with an attempt that has ended here")
}

/// Identifies the release of a transcript's round for good.
fn release_id(transcript: Digest, round: u32) -> Digest {
    Digest::of("entente release 1", &[&transcript.0, &round.to_le_bytes()])
}

/// What an attempt may still cost at the node of this name, and which data set.
pub(crate) fn still_to_charge<'q>(
    ledger: &Ledger<LedgerStore>,
    name: &str,
    question: &'q Question,
    started: &Started,
) -> Option<(Reads<'q>, Spent)> {
    let reads = question.parts().of(name).filter(|part| part.charged)?.work.reads()?;
    let transcript = started.signed.transcript.digest();
    let charges = question.rounds().filter_map(|round| ledger.charge_of(release_id(transcript, round)));
    let (rho, person): (Vec<Rho>, Vec<Rho>) = charges.unzip();
    let rho = question.rho_from(0).minus(rho.into_iter().sum());
    let person = question.rho_person().minus(person.into_iter().sum());
    Some((reads, Spent { rho, person }))
}

impl Participant {
    /// Opens what is in the folder. `clock` tells the time of everything that is done and recorded from now on.
    pub fn open(folder: &Folder, config: Config, clock: Clock) -> Result<Self, Error> {
        let signer = folder.signer(&config.name)?;
        let store = LedgerStore::open(&folder.state("ledger.sqlite"))?;
        let mut ledger = Ledger::open(store, config.budgets(), SOFTWARE)?;
        let now = clock.now().to_string();
        ledger.carry_over(&now)?;
        ledger.follow_configuration(&now)?;
        if let Some(words) = ledger.quarantine() {
            error!("{words}");
        }
        for loosened in ledger.loosened() {
            error!("node.toml admits more than the ledger records, and that is refused: {}", loosened.what);
        }
        folder.keep_waits(None)?;
        let witnesses = Witnesses::begin(ledger.store().checkpoints()?.last());
        let studies = StudyStore::open(&folder.state("studies.sqlite"))?;
        let ephemeral = EphemeralStore::open(&folder.state("ephemeral"), runtime_folder().as_deref())?;
        let rosters = Rosters { pinned: None, stamp: None, offered: folder.offered_roster()? };
        let unit_key = UnitKey::new(folder.local_secret("privacy units")?.0);
        let identities = IdentityStore::open(&folder.state("identities.sqlite"))?;
        let sources = config.datasets.values().map(|dataset| dataset.source.clone()).collect();
        let config::Computing { max, memory } = config.computing;
        let options = Options::sharing(memory, max, spill_folder(folder), unit_key);
        let speed = Speed::measured(&clock, &folder.state_folder(), options.threads)?;
        let engine = Engine::new(options);
        let participant = Self {
            snapshot_secret: folder.local_secret("snapshots")?,
            identities: Identities::new(identities, folder.path().to_owned(), sources, clock.clone()),
            folder: folder.clone(),
            config,
            opened: (clock.now(), clock.moment()),
            clock,
            signer,
            engine,
            ledger: Mutex::new(ledger),
            studies: Arc::new(Mutex::new(studies)),
            joining: Mutex::default(),
            ephemeral,
            swept: Mutex::new(Timestamp::UNIX_EPOCH),
            rosters: Mutex::new(rosters),
            witnessed: Mutex::new(WitnessStore::open(&folder.state("witnessed.sqlite"))?),
            asked: Mutex::default(),
            witnesses: Mutex::new(witnesses),
            nonce: Digest(random()?),
            has_read: AtomicBool::new(false),
            put_off: Mutex::default(),
            attempts: Mutex::default(),
            waiting: Mutex::default(),
            computing: Computing::default(),
            unconfirmed: Mutex::default(),
            unidentified: Mutex::default(),
            refusals: Mutex::default(),
            peers: Peers::default(),
            answers: Answers::default(),
            memory: Memory::default(),
            speed,
            sizes: Sizes::of(folder),
            held: Held::default(),
            alarms: Arc::default(),
            _lock: None,
        };
        if let Err(error) = participant.commit_again() {
            error!(%error, "attempts that go on could not be read: no budget is set aside for them");
        }
        Ok(participant)
    }

    /// The same, holding the folder's lock for as long as it lives.
    #[must_use]
    pub fn holding(self, lock: Lock) -> Self {
        Self { _lock: Some(lock), ..self }
    }

    /// The node's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What there was alarm for.
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// The time of day, as it is recorded.
    fn now(&self) -> String {
        self.clock.now().to_string()
    }

    /// How many rounds it computes at a time.
    pub fn max_computing(&self) -> usize {
        self.config.computing.max
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The ledger, with what officers have appended beside this node.
    fn ledger(&self) -> Result<MutexGuard<'_, Ledger<LedgerStore>>, LedgerError> {
        let mut ledger = lock(&self.ledger);
        ledger.sync()?;
        Ok(ledger)
    }

    /// Frames for the coordinator go to `link` from now on.
    pub fn connected(&self, link: tokio::sync::mpsc::Sender<Vec<u8>>) {
        self.peers.connected(link);
    }

    /// Ends what is computed, and what waits for other participants: the node stops.
    pub fn stop(&self) {
        // First, as in `end`: a pass that ends is to find that it was ended, and not that its data cannot be read.
        self.peers.stop();
        self.computing.end_all();
    }

    /// The first message of a connection.
    pub fn hello(&self) -> FromNode {
        lock(&self.waiting).clear();
        lock(&self.unconfirmed).clear();
        lock(&self.unidentified).clear();
        lock(&self.put_off).clear();
        FromNode::Hello {
            software: SOFTWARE.into(),
            roster: self.rosters().ok().and_then(|rosters| Some(rosters.pinned.as_ref()?.fingerprint())),
            datasets: self.config.datasets.values().map(|dataset| dataset.schema.clone()).collect(),
            ledger: lock(&self.ledger).head(),
            clock: self.clock.now().as_second(),
        }
    }

    /// Answers a message of the present connection: with frames to send, in order. Nobody else computes.
    pub fn handle(&self, message: ToNode) -> Vec<Vec<u8>> {
        self.handle_on(self.connection(), message, &Alone)
    }

    /// Answers a message of this connection, which may have ended since. What is computed for it is computed in `turn`.
    pub fn handle_on(&self, connection: Connection, message: ToNode, turn: &dyn Turn) -> Vec<Vec<u8>> {
        match message {
            // Once a connection, before anything else: the link takes it.
            ToNode::Welcome { .. } => Vec::new(),
            ToNode::Roster(roster) => {
                if let Err(error) = self.welcome(roster) {
                    error!(%error, "the new roster could not be kept; it is offered again when this node connects");
                }
                Vec::new()
            }
            ToNode::Check { number, proposal } => {
                let answer = self.check(&proposal);
                vec![frame::encode(&FromNode::Checked { number, answer })]
            }
            ToNode::Attempt(id, told) => self.told(&id, told, connection, turn),
            ToNode::Witness { node, request } => self.witness_for(&node, &request),
            ToNode::Witnessed { by, answer } => self.witnessed(by.as_deref(), answer),
            ToNode::Read { node, nonce } => self.read_for(&node, nonce),
            ToNode::Held { by, reading } => self.held(&by, &reading),
        }
    }

    /// Answers what is said of an attempt.
    fn told(&self, id: &AttemptId, told: ToAttempt, connection: Connection, turn: &dyn Turn) -> Vec<Vec<u8>> {
        if let ToAttempt::Propose(proposal) = &told
            && let Err(reason) = proposal.validate(id)
        {
            // Nothing of it is kept or shown, so that nobody can fill a disk or a terminal with it.
            warn!(reason, "a proposal that no coordinator of this version makes is refused");
            return vec![saying(id, FromAttempt::Refused { reason })];
        }
        if let ToAttempt::Relayed { from, sealed } = told {
            // Whoever computes may wait for it.
            return self.relayed(id, &from, &sealed);
        }
        let told = match self.after_reading(id, told) {
            Ok(told) => told,
            Err(waiting) => return vec![saying(id, waiting)],
        };
        let (abandoned, finished) =
            (matches!(told, ToAttempt::Abandoned { .. }), matches!(told, ToAttempt::Finished { .. }));
        if abandoned {
            // What computes may wait for others, and must not.
            self.end(id);
        }
        self.alone_with(id, |running| {
            let proposed =
                if let ToAttempt::Propose(proposal) = &told { Some(Proposal::clone(proposal)) } else { None };
            let answer = self.answer(id, told, running, connection, turn);
            // What is only said to be finished goes on.
            if abandoned || finished && self.has_ended(id) {
                *running = None;
                self.end(id);
            }
            answer.unwrap_or_else(|problem| vec![saying(id, self.explain(id, problem, proposed))])
        })
    }

    fn answer(
        &self,
        id: &AttemptId,
        told: ToAttempt,
        running: &mut Option<Running>,
        connection: Connection,
        turn: &dyn Turn,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let say = |said| vec![saying(id, said)];
        match told {
            ToAttempt::Propose(proposal) => Ok(say(FromAttempt::Pledged(Box::new(self.propose(id, *proposal)?)))),
            ToAttempt::Start { pledges } => Ok(say(self.start(id, pledges)?)),
            ToAttempt::Go { round, input, signatures, encapsulations } => {
                let told =
                    Round { number: round, input: &input, signatures: &signatures, encapsulations: &encapsulations };
                self.round(id, told, running, connection, turn);
                Ok(Vec::new())
            }
            ToAttempt::Resend { round, transcript } => {
                let (release, outbound) = self.resend(id, round, transcript)?;
                self.send_when_witnessed(release, outbound, connection)
            }
            ToAttempt::Finished { result, statement, model } => self.finish(id, result, &statement, model.as_deref()),
            ToAttempt::Abandoned { reason, is_over } => self.abandon(id, &reason, is_over),
            ToAttempt::Relayed { .. } => Ok(Vec::new()),
        }
    }

    /// Runs `f` while nothing else is done for an attempt. It is given what the attempt's rounds share; where they share nothing,
    /// nothing is kept of it, so that messages about attempts that there are not leave nothing behind.
    fn alone_with<T>(&self, id: &AttemptId, f: impl FnOnce(&mut Option<Running>) -> T) -> T {
        let one_at_a_time = lock(&self.attempts).entry(id.clone()).or_default().clone();
        let answer = f(&mut lock(&one_at_a_time));
        let mut attempts = lock(&self.attempts);
        let is_kept = attempts.get(id).is_some_and(|kept| Arc::ptr_eq(kept, &one_at_a_time));
        // Nobody else has it: it could only be had from there.
        if is_kept && Arc::strong_count(&one_at_a_time) == 2 && lock(&one_at_a_time).is_none() {
            attempts.remove(id);
        }
        answer
    }

    /// Writes where an attempt stands, and deletes its key where nothing needs that any more.
    fn keep(&self, attempt: &Attempt) -> Result<(), StoreError> {
        lock(&self.studies).put(attempt)?;
        if !attempt.stage.needs_key() {
            self.ephemeral.remove(&attempt.id);
        }
        if !matches!(attempt.stage, Stage::Started(_)) {
            lock(&self.ledger).let_go(&attempt.id);
        }
        Ok(())
    }

    /// This node's key of an attempt.
    fn key(&self, id: &AttemptId) -> Result<EphemeralKey, Problem> {
        self.ephemeral.get(id)?.ok_or_else(|| {
            Problem::refused(format!(
                "the key of {} for this attempt is gone, as its machine was started anew or the attempt took too long; run the study again",
                self.name()
            ))
        })
    }

    /// Deletes keys that no attempt needs, or has needed for too long: a coordinator need not say that an attempt is over.
    fn sweep(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if now.duration_since(*lock(&self.swept)).abs() < SWEEP {
            return Ok(());
        }
        self.let_go_of_old();
        let needed = lock(&self.studies).needing_keys()?;
        self.ephemeral.keep(&needed, SWEEP.unsigned_abs(), now);
        let kept: Vec<_> = lock(&self.attempts).iter().map(|(id, kept)| (id.clone(), kept.clone())).collect();
        for (id, kept) in kept {
            // Without its key it does not go on. One that is at work is looked at next time.
            if matches!(self.ephemeral.get(&id), Ok(None))
                && let Ok(mut running) = kept.try_lock()
            {
                *running = None;
            }
        }
        *lock(&self.swept) = now;
        Ok(())
    }

    /// How many attempts are in memory, including those of which only the end is remembered.
    pub fn attempts_in_memory(&self) -> usize {
        lock(&self.attempts).len() + self.peers.ended()
    }

    /// Whether an attempt has ended as far as the disk knows.
    fn has_ended(&self, id: &AttemptId) -> bool {
        let known = lock(&self.studies).get(id);
        known.is_ok_and(|known| known.is_some_and(|known| known.stage.has_ended()))
    }

    /// An attempt is over: what waits for another participant lets go of it. Of one that there is not, nothing is remembered.
    pub(crate) fn end(&self, id: &AttemptId) {
        lock(&self.unconfirmed).remove(id);
        lock(&self.unidentified).remove(id);
        lock(&self.put_off).remove(id);
        if matches!(lock(&self.studies).get(id), Ok(None)) {
            return;
        }
        // First, so that a round which begins now finds it, or is found.
        self.peers.end(id);
        self.computing.end(id);
        self.answers.end(id);
        self.held.forget(id);
        self.let_go(id);
    }

    /// Says of a round that it waits until so many others are computed. Nothing is charged for it yet.
    pub(crate) fn waits(&self, id: &AttemptId, others: usize) -> Vec<Vec<u8>> {
        let AttemptId { study, number: attempt } = id;
        info!(study, attempt, others, "a round waits for its turn");
        vec![saying(id, FromAttempt::Queued { after: u32::try_from(others).unwrap_or(u32::MAX) })]
    }

    /// Whether there may be something to look at again: an attempt that waits for a steward, a roster or the identity of data, or has waited long for
    /// witnesses, or a quarantine that officers may have ended.
    fn has_waiting(&self) -> bool {
        !lock(&self.waiting).is_empty()
            || !lock(&self.unconfirmed).is_empty()
            || !lock(&self.unidentified).is_empty()
            || self.waits_for_witnesses()
            || self.has_put_off()
            || self.should_read()
            || lock(&self.ledger).quarantine().is_some()
    }

    /// Looks again at what waits, if something does; returns frames to send.
    pub fn reconsider(&self) -> Vec<Vec<u8>> {
        if let Err(error) = self.sweep() {
            error!(%error, "old keys of attempts could not be looked for");
        }
        self.show_waits();
        if !self.has_waiting() {
            return Vec::new();
        }
        let mut frames = match (self.waits_for_witnesses(), self.has_recovered()) {
            (true, _) => self.remind_witnesses(),
            (false, true) => self.ask_witnesses(),
            (false, false) if !lock(&self.unconfirmed).is_empty() && self.asks_again() => self.ask_witnesses(),
            (false, false) => Vec::new(),
        };
        frames.extend(self.say_unread().into_iter().map(|(id, said)| saying(&id, said)));
        if self.should_read() {
            frames.extend(self.ask_to_read());
        }
        let waiting: Vec<AttemptId> = lock(&self.waiting).iter().cloned().collect();
        let decided = waiting.into_iter().filter_map(|id| {
            let studies = lock(&self.studies);
            let known = studies.get(&id).ok()??;
            studies.decision(&id.study, known.proposal.digest(&id), self.clock.now()).ok()??;
            Some(ToNode::Attempt(id, ToAttempt::Propose(Box::new(known.proposal))))
        });
        let mut decided: Vec<ToNode> = decided.collect();
        decided.extend(self.confirmed_since());
        decided.extend(self.identified_since());
        frames.extend(decided.into_iter().flat_map(|proposal| self.handle(proposal)));
        frames
    }
}

/// Where the engine may write what does not fit into memory.
pub fn spill_folder(folder: &Folder) -> PathBuf {
    folder.state("spill")
}
