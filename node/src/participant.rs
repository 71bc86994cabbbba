//! A node's part in studies: what it answers to each message of the coordinator.
//!
//! ```text
//! Propose ─▶ data set, question, roster, policy, caps ─▶ Joined | Waiting (steward) | Refused
//! Start   ─▶ joins against the PINNED roster           ─▶ Signed | Refused
//! Go      ─▶ signatures, reserve, compute, noise, mask, store ─▶ contribution | Refused | Failed
//! Resend  ─▶ stored bytes, at no charge                ─▶ contribution
//! Finished, Abandoned ─▶ recorded                      ─▶ Closed
//! ```
//!
//! Every answer is made from what is on the disk, so that a message can come again after a restart of either side: the
//! same join, the same signature, the same bytes. What depends on the data is never said: whatever goes wrong with them
//! is `Failed`, and this node's log says why.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Roster, Signature};
use entente_protocols::ledger::{Begin, EarlyRefusal, Ledger, LedgerError, Outbound};
use entente_protocols::policy::{Approved, Decision, Request, StewardDecision, StudyRef};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::release;
use entente_protocols::secagg::join::{EphemeralKey, Join, SignedJoin, Transcript};
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::study::schema::DatasetSchema;
use entente_protocols::study::{Question, Study};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{Approval, CheckAnswer, FromNode, Proposal, ToNode};
use tracing::{error, info, warn};

use crate::SOFTWARE;
use crate::config::Config;
use crate::data::{Dataset, Embedded, Options, UnitKey};
use crate::error::Error;
use crate::state::{Folder, random_secret};
use crate::store::{Attempt, LedgerStore, Stage, StudyStore};

/// A node's part in studies. Shared by all connections; calls block on disk and computation.
pub struct Participant {
    folder: Folder,
    config: Config,
    key: IdentityKey,
    snapshot_secret: Digest,
    engine: Embedded,
    ledger: Mutex<Ledger<LedgerStore>>,
    studies: Mutex<StudyStore>,
    rosters: Mutex<Rosters>,
    /// One lock an attempt: a message that comes again waits until the first is answered.
    attempts: Mutex<HashMap<AttemptId, Arc<Mutex<()>>>>,
    /// Attempts that wait for a steward on the present connection.
    waiting: Mutex<HashSet<AttemptId>>,
}

/// A study and the number of its attempt.
type AttemptId = (String, u32);

struct Rosters {
    pinned: Option<Roster>,
    offered: Option<Roster>,
}

/// Why a message is not answered as hoped.
enum Problem {
    /// By public facts, policy, budget or a steward: the coordinator is told, the ledger records it.
    Refused { reason: String, request: Option<Box<Request>> },
    /// Here and in detail only.
    Failed(String),
    /// A person must decide.
    Waiting(String),
}

impl Problem {
    fn refused(reason: impl ToString) -> Self {
        Self::Refused { reason: reason.to_string(), request: None }
    }

    fn failed(reason: impl ToString) -> Self {
        Self::Failed(reason.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::OverCap(_) | LedgerError::NoBudget(_) => Self::refused(error),
            LedgerError::Store(_) | LedgerError::Damaged(_) | LedgerError::OutOfOrder(_) => Self::failed(error),
        }
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

/// One release of a query: training will have more.
const ROUND: u32 = 1;

/// Identifies the release of a transcript's round for good.
fn release_id(transcript: Digest) -> Digest {
    Digest::of("entente release 1", &[&transcript.0, &ROUND.to_le_bytes()])
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held has not left anything half-written: what counts is on the disk.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Participant {
    /// Opens what is in the folder.
    pub fn open(folder: &Folder, config: Config) -> Result<Self, Error> {
        let key = folder.identity()?;
        let caps = config.datasets.keys().map(|name| (name.clone(), config.caps)).collect();
        let store = LedgerStore::open(&folder.state("ledger.sqlite"))?;
        let ledger = Ledger::open(store, caps, SOFTWARE)?;
        let studies = StudyStore::open(&folder.state("studies.sqlite"))?;
        let rosters = Rosters { pinned: folder.pinned_roster()?, offered: folder.offered_roster()? };
        let unit_key = UnitKey::new(folder.local_secret("privacy units")?.0);
        let engine = Embedded::new(Options::new(spill_folder(folder), unit_key));
        Ok(Self {
            snapshot_secret: folder.local_secret("snapshots")?,
            folder: folder.clone(),
            config,
            key,
            engine,
            ledger: Mutex::new(ledger),
            studies: Mutex::new(studies),
            rosters: Mutex::new(rosters),
            attempts: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The first message of a connection.
    pub fn hello(&self) -> FromNode {
        lock(&self.waiting).clear();
        FromNode::Hello {
            software: SOFTWARE.into(),
            roster: lock(&self.rosters).pinned.as_ref().map(Roster::fingerprint),
            datasets: self.config.datasets.values().map(|dataset| dataset.schema.clone()).collect(),
            ledger: lock(&self.ledger).head(),
            clock: jiff::Timestamp::now().as_second(),
        }
    }

    /// Takes the roster that the coordinator offers. It is pinned by the first study.
    pub fn welcome(&self, roster: Roster) -> Result<(), Error> {
        let mut rosters = lock(&self.rosters);
        // People may have accepted a new roster since.
        rosters.pinned = self.folder.pinned_roster()?;
        if rosters.pinned.as_ref().is_some_and(|pinned| *pinned != roster) {
            warn!(
                offered = %roster.fingerprint(),
                "the coordinator offers another roster than the pinned one; compare fingerprints with the other partners, \
                 then accept it with `entente-node roster --accept`; until then studies with partners that are not pinned are refused"
            );
        }
        self.folder.keep_offered(&roster)?;
        rosters.offered = Some(roster);
        Ok(())
    }

    /// Answers a message: with frames to send, in order.
    pub fn handle(&self, message: ToNode) -> Vec<Vec<u8>> {
        let mut proposal = None;
        let (study, attempt) = match &message {
            ToNode::Welcome { .. } => return Vec::new(),
            ToNode::Check { number, study, participants } => {
                let answer = self.check(study, participants);
                return vec![frame::encode(&FromNode::Checked { number: *number, answer })];
            }
            ToNode::Propose(proposed) => {
                proposal = Some(proposed.clone());
                (proposed.id.clone(), proposed.attempt)
            }
            ToNode::Start { study, attempt, .. }
            | ToNode::Go { study, attempt, .. }
            | ToNode::Resend { study, attempt, .. }
            | ToNode::Finished { study, attempt, .. }
            | ToNode::Abandoned { study, attempt, .. } => (study.clone(), *attempt),
        };
        let one_at_a_time = lock(&self.attempts).entry((study.clone(), attempt)).or_default().clone();
        let _guard = lock(&one_at_a_time);
        let answer = match message {
            ToNode::Welcome { .. } | ToNode::Check { .. } => return Vec::new(),
            ToNode::Propose(proposal) => {
                self.propose(proposal).map(|join| Some(frame::encode(&FromNode::Joined(join))))
            }
            ToNode::Start { joins, .. } => self
                .start(&study, attempt, joins)
                .map(|signature| Some(frame::encode(&FromNode::Signed { study: study.clone(), attempt, signature }))),
            ToNode::Go { signatures, .. } => {
                self.go(&study, attempt, &signatures).map(|out| Some(frame::encode_contribution(&study, attempt, &out)))
            }
            ToNode::Resend { transcript, .. } => self
                .resend(&study, attempt, transcript)
                .map(|out| Some(frame::encode_contribution(&study, attempt, &out))),
            ToNode::Finished { result, .. } => self.close(&study, attempt, Ok(result)),
            ToNode::Abandoned { reason, .. } => self.close(&study, attempt, Err(reason)),
        };
        let answer =
            answer.unwrap_or_else(|problem| Some(frame::encode(&self.explain(&study, attempt, problem, proposal))));
        answer.into_iter().collect()
    }

    /// Whether an attempt waits for a steward.
    pub fn has_waiting(&self) -> bool {
        !lock(&self.waiting).is_empty()
    }

    /// Looks again at attempts that waited for a steward; returns frames to send.
    pub fn reconsider(&self) -> Vec<Vec<u8>> {
        let waiting: Vec<(String, u32)> = lock(&self.waiting).iter().cloned().collect();
        let decided = waiting.into_iter().filter_map(|(study, attempt)| {
            let studies = lock(&self.studies);
            studies.decision(&study).ok()??;
            let known = studies.get(&study, attempt).ok()??;
            Some(ToNode::Propose(known.proposal))
        });
        let decided: Vec<ToNode> = decided.collect();
        decided.into_iter().flat_map(|proposal| self.handle(proposal)).collect()
    }

    /// What this node would answer, by public facts and policy alone.
    fn check(&self, study: &Study, participants: &[String]) -> CheckAnswer {
        let refused = |reason: String| CheckAnswer {
            approval: Approval::Refused(reason),
            rho: Rho::ZERO,
            spent: Rho::ZERO,
            cap: Rho::ZERO,
        };
        let proposal = Proposal {
            id: String::new(),
            attempt: 1,
            study: study.clone(),
            participants: participants.to_vec(),
            requester: String::new(),
        };
        let (schema, question) = match self.question(&proposal) {
            Ok(found) => found,
            Err(Problem::Refused { reason, .. } | Problem::Failed(reason) | Problem::Waiting(reason)) => {
                return refused(reason);
            }
        };
        let request = self.request(&proposal, schema, &question, Digest::ZERO);
        let ledger = lock(&self.ledger);
        let approval = match (self.config.policy.decide(request.clone(), None), ledger.admits(&request)) {
            (Decision::Refused(reason), _) => Approval::Refused(reason),
            (_, Err(error)) => Approval::Refused(error.to_string()),
            (Decision::AskSteward, Ok(())) => Approval::Steward,
            (Decision::Approved(_), Ok(())) => Approval::Rules,
        };
        let spent = ledger.spent(&request.dataset).rho;
        CheckAnswer { approval, rho: question.mechanism().rho(), spent, cap: self.config.caps.lifetime }
    }

    fn propose(&self, proposal: Proposal) -> Result<SignedJoin, Problem> {
        let key = (proposal.id.clone(), proposal.attempt);
        let known = lock(&self.studies).get(&key.0, key.1)?;
        if let Some(known) = &known {
            if known.proposal != proposal {
                return Err(Problem::failed(
                    "the coordinator proposed something else under the same study and attempt",
                ));
            }
            match (&known.join, known.stage) {
                // Said again, not recorded again.
                (_, Stage::Refused) => return Err(Problem::refused(known.reason.as_deref().unwrap_or_default())),
                (Some(join), _) => return Ok(join.clone()),
                (None, _) => {}
            }
        }
        let (schema, question) = self.question(&proposal)?;
        self.pin(question.participants())?;
        let dataset = self.dataset(schema)?;
        let snapshot = self.snapshot(&dataset)?;
        let stored = lock(&self.ledger).stored_answer(question.digest(), snapshot);
        let request = self.request(&proposal, schema, &question, snapshot);
        let refused = |reason: String| Problem::Refused { reason, request: Some(Box::new(request.clone())) };
        let mut attempt = known.unwrap_or_else(|| Attempt::proposed(proposal.clone(), now()));
        let steward = lock(&self.studies).decision(&proposal.id)?;
        match self.config.policy.decide(request.clone(), steward.as_ref()) {
            Decision::Refused(reason) => return Err(refused(reason)),
            Decision::Approved(_) => {}
            Decision::AskSteward => {
                lock(&self.studies).put(&attempt)?;
                if lock(&self.waiting).insert(key) {
                    info!(
                        study = proposal.id,
                        name = proposal.study.name,
                        "waiting for the steward: `entente-node approve {}`",
                        proposal.id
                    );
                }
                return Err(Problem::Waiting(format!("the steward of {}", self.name())));
            }
        }
        lock(&self.waiting).remove(&key);
        if stored.is_none() {
            lock(&self.ledger).admits(&request).map_err(|error| match error {
                LedgerError::OverCap(over) => refused(over.to_string()),
                other => other.into(),
            })?;
        }
        let secret = random_secret()?;
        let join = Join {
            study: proposal.id,
            attempt: proposal.attempt,
            participant: self.name().into(),
            question: question.digest(),
            ephemeral: EphemeralKey::from_secret(*secret).public(),
            ledger: lock(&self.ledger).head(),
            stored,
        };
        let join = SignedJoin::new(join, &self.key);
        attempt.stage = Stage::Joined;
        attempt.join = Some(join.clone());
        attempt.ephemeral = Some(secret);
        lock(&self.studies).put(&attempt)?;
        info!(study = join.join.study, attempt = join.join.attempt, "joined");
        Ok(join)
    }

    fn start(&self, study: &str, number: u32, joins: Vec<SignedJoin>) -> Result<Signature, Problem> {
        let mut attempt = self.joined(study, number)?;
        let transcript = self.transcript(&attempt, &joins)?;
        if attempt.joins.as_ref() != Some(&joins) {
            if attempt.joins.is_some() {
                return Err(Problem::refused("the coordinator presented other joins than before"));
            }
            attempt.joins = Some(joins);
            lock(&self.studies).put(&attempt)?;
        }
        Ok(transcript.sign(&self.key))
    }

    fn go(&self, study: &str, number: u32, signatures: &[(String, Signature)]) -> Result<Outbound, Problem> {
        let mut attempt = self.joined(study, number)?;
        let joins = attempt.joins.as_ref().ok_or_else(|| Problem::failed("told to go before the start"))?;
        let transcript = self.transcript(&attempt, joins)?;
        transcript.verify_signatures(signatures).map_err(Problem::refused)?;
        let release = release_id(transcript.digest());
        if let Ok(stored) = lock(&self.ledger).stored(release) {
            return Ok(stored);
        }
        let (schema, question) = self.question(&attempt.proposal)?;
        let own = attempt.join.as_ref().map(|join| join.join.question);
        if own != Some(question.digest()) {
            return Err(Problem::refused(
                "the data set's schema has changed since this node joined; run the study again",
            ));
        }
        let dataset = self.dataset(schema)?;
        let snapshot = self.snapshot(&dataset)?;
        let approved =
            self.approved(&attempt.proposal, self.request(&attempt.proposal, schema, &question, snapshot))?;
        let begun = lock(&self.ledger).reserve(approved, release, transcript.digest(), &now())?;
        let outbound = match begun {
            Begin::Send(outbound) => outbound,
            Begin::Compute(mut reservation) => {
                let secret = attempt.ephemeral.as_ref().ok_or_else(|| Problem::failed("the ephemeral key is gone"))?;
                let key = EphemeralKey::from_secret(**secret);
                let input = question.plan().digest();
                let keys = MaskKeys::derive(&transcript, self.name(), &key, ROUND, input).map_err(Problem::refused)?;
                let permit = reservation.draw().ok_or_else(|| Problem::failed("the permit was drawn before"))?;
                let runtime = tokio::runtime::Handle::current();
                let bounded = runtime.block_on(crate::study::execute(&self.engine, &dataset, question.plan()));
                let bounded = bounded.map_err(Problem::failed)?;
                if question.participants().len() == 1 {
                    let noised = release::add_full_noise(permit, bounded).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(noised, &now())?
                } else {
                    let noised = release::add_noise(permit, bounded).map_err(Problem::failed)?;
                    let masked = noised.mask(&keys).map_err(Problem::failed)?;
                    lock(&self.ledger).computed(masked, &now())?
                }
            }
        };
        if attempt.ephemeral.take().is_some() {
            attempt.stage = Stage::Computed;
            lock(&self.studies).put(&attempt)?;
        }
        info!(study, attempt = number, "the vector is stored and sent");
        Ok(outbound)
    }

    fn resend(&self, study: &str, number: u32, transcript: Digest) -> Result<Outbound, Problem> {
        let mut attempt = self.joined(study, number)?;
        if attempt.join.as_ref().and_then(|join| join.join.stored) != Some(transcript) {
            return Err(Problem::refused("the coordinator asks for a stored answer that this node did not offer"));
        }
        let release = release_id(transcript);
        if attempt.stage != Stage::Joined {
            return Ok(lock(&self.ledger).stored(release)?);
        }
        let (schema, question) = self.question(&attempt.proposal)?;
        let snapshot = self.snapshot(&self.dataset(schema)?)?;
        let approved =
            self.approved(&attempt.proposal, self.request(&attempt.proposal, schema, &question, snapshot))?;
        let outbound = lock(&self.ledger).repeated(approved, release, &now())?;
        attempt.stage = Stage::Repeated;
        attempt.ephemeral = None;
        lock(&self.studies).put(&attempt)?;
        info!(study, attempt = number, "the stored vector is sent again, at no charge");
        Ok(outbound)
    }

    fn close(&self, study: &str, number: u32, end: Result<Digest, String>) -> Result<Option<Vec<u8>>, Problem> {
        lock(&self.waiting).remove(&(study.to_owned(), number));
        let known = lock(&self.studies).get(study, number)?;
        if let Some(mut attempt) = known.filter(|attempt| attempt.stage != Stage::Refused) {
            let release = attempt.joins.as_ref().filter(|_| attempt.stage == Stage::Computed).map(|joins| {
                let transcript = self.transcript(&attempt, joins)?;
                Ok::<_, Problem>(release_id(transcript.digest()))
            });
            match end {
                Ok(result) => {
                    if let Some(release) = release.transpose()? {
                        lock(&self.ledger).released(release, result, &now())?;
                    }
                    attempt.stage = Stage::Finished;
                }
                Err(reason) if attempt.stage != Stage::Finished => {
                    info!(study, attempt = number, reason, "the coordinator gave the attempt up");
                    attempt.stage = Stage::Abandoned;
                    attempt.reason = Some(reason);
                }
                Err(_) => {}
            }
            attempt.ephemeral = None;
            lock(&self.studies).put(&attempt)?;
        }
        lock(&self.attempts).remove(&(study.to_owned(), number));
        let checkpoint = lock(&self.ledger).checkpoint(self.name(), &self.key, &now())?;
        let checkpoint = serde_json::to_string(&checkpoint).map_err(Problem::failed)?;
        Ok(Some(frame::encode(&FromNode::Closed { study: study.into(), attempt: number, checkpoint })))
    }

    /// The data set's schema and the question that a proposal asks of it.
    fn question(&self, proposal: &Proposal) -> Result<(&DatasetSchema, Question), Problem> {
        if !proposal.participants.iter().any(|name| name == self.name()) {
            return Err(Problem::refused("this node is not among the participants"));
        }
        proposal.study.validate().map_err(Problem::refused)?;
        let name = proposal.study.spec.dataset().map_err(Problem::refused)?;
        let schemas = self.config.datasets.values().map(|dataset| &dataset.schema);
        let schema = DatasetSchema::named(schemas, &name).ok_or_else(|| {
            let known: Vec<&str> = self.config.datasets.keys().map(String::as_str).collect();
            Problem::refused(format!("{} has no data set `{name}`; it has: {}", self.name(), known.join(", ")))
        })?;
        let question = Question::new(&proposal.study, schema, &proposal.participants).map_err(Problem::refused)?;
        Ok((schema, question))
    }

    fn request(&self, proposal: &Proposal, schema: &DatasetSchema, question: &Question, snapshot: Digest) -> Request {
        let mut recipients = vec![proposal.requester.clone()];
        recipients.retain(|name| !name.is_empty());
        Request {
            study: StudyRef {
                plan_sha256: Some(question.plan().digest()),
                question_sha256: Some(question.digest()),
                ..study_ref(proposal)
            },
            dataset: schema.name.clone(),
            snapshot,
            consent: self.config.datasets.get(&schema.name).and_then(|dataset| dataset.consent.clone()),
            requester: proposal.requester.clone(),
            recipients,
            participants: question.participants().to_vec(),
            privacy_unit: question.plan().privacy_unit().into(),
            mechanism: Arc::new(question.mechanism().clone()),
            delta: proposal.study.privacy.delta,
        }
    }

    fn approved(&self, proposal: &Proposal, request: Request) -> Result<Approved, Problem> {
        let steward: Option<StewardDecision> = lock(&self.studies).decision(&proposal.id)?;
        match self.config.policy.decide(request.clone(), steward.as_ref()) {
            Decision::Approved(approved) => Ok(approved),
            Decision::Refused(reason) => Err(Problem::Refused { reason, request: Some(Box::new(request)) }),
            Decision::AskSteward => {
                Err(Problem::refused("the policy has changed since this node joined; run the study again"))
            }
        }
    }

    /// Pins the offered roster if none is pinned, and checks that all participants are in the pinned one with the keys
    /// that are offered now.
    ///
    /// The first study pins: until then an alliance is being set up, and partners come one after another. From then on a
    /// new or changed partner needs this node's consent.
    fn pin(&self, participants: &[String]) -> Result<(), Problem> {
        let mut rosters = lock(&self.rosters);
        if rosters.pinned.is_none() {
            let offered =
                rosters.offered.clone().ok_or_else(|| Problem::failed("the coordinator has offered no roster"))?;
            self.folder.pin(&offered)?;
            warn!(fingerprint = %offered.fingerprint(), "the roster is pinned; compare its fingerprint with the other partners, out of band");
            rosters.pinned = Some(offered);
        }
        let known =
            |roster: &Option<Roster>, name: &str| roster.as_ref().and_then(|roster| roster.members.get(name).cloned());
        for name in participants {
            let (pinned, offered) = (known(&rosters.pinned, name), known(&rosters.offered, name));
            if pinned.is_none() || pinned != offered {
                return Err(Problem::refused(format!(
                    "`{name}` is not in the roster that {} has pinned, or has other keys there; its staff must compare fingerprints \
                     and accept the new roster with `entente-node roster --accept`",
                    self.name()
                )));
            }
        }
        Ok(())
    }

    fn joined(&self, study: &str, number: u32) -> Result<Attempt, Problem> {
        let known = lock(&self.studies).get(study, number)?;
        let attempt = known.filter(|attempt| attempt.join.is_some());
        let attempt = attempt
            .ok_or_else(|| Problem::failed("the coordinator goes on with a study that this node has not joined"))?;
        match attempt.stage {
            Stage::Joined | Stage::Computed | Stage::Repeated | Stage::Finished => Ok(attempt),
            Stage::Waiting | Stage::Abandoned | Stage::Refused => {
                Err(Problem::failed("the coordinator goes on with an attempt that has ended here"))
            }
        }
    }

    fn transcript(&self, attempt: &Attempt, joins: &[SignedJoin]) -> Result<Transcript, Problem> {
        let own = attempt.join.as_ref().ok_or_else(|| Problem::failed("this node has not joined"))?;
        let rosters = lock(&self.rosters);
        let pinned = rosters.pinned.as_ref().ok_or_else(|| Problem::failed("no roster is pinned"))?;
        Transcript::verify(joins, &attempt.proposal.participants, &own.join, pinned).map_err(Problem::refused)
    }

    fn dataset(&self, schema: &DatasetSchema) -> Result<Dataset, Problem> {
        let config = self.config.datasets.get(&schema.name).ok_or_else(|| Problem::failed("the data set is gone"))?;
        let base = self.folder.path();
        Dataset::open(config.schema.clone(), &config.source, base, config.consent.as_deref()).map_err(Problem::failed)
    }

    /// What identifies the data as they are now, and how they are read; keyed, so that nobody outside can compare it.
    fn snapshot(&self, dataset: &Dataset) -> Result<Digest, Problem> {
        let files = dataset.snapshot().map_err(Problem::failed)?;
        let consent = dataset.consent().map_or("", |consent| consent.text());
        let parts = [&self.snapshot_secret.0[..], &files.0, consent.as_bytes(), &dataset.schema().digest().0];
        Ok(Digest::of("entente snapshot 1", &parts))
    }

    /// Records a problem and says of it what may be said.
    fn explain(&self, study: &str, number: u32, problem: Problem, proposal: Option<Proposal>) -> FromNode {
        let (study, attempt) = (study.to_owned(), number);
        match problem {
            Problem::Waiting(reason) => FromNode::Waiting { study, attempt, reason },
            Problem::Failed(detail) => {
                error!(study, attempt, detail, "the study failed here; the coordinator is told only that it failed");
                FromNode::Failed { study, attempt }
            }
            Problem::Refused { reason, request } => {
                warn!(study, attempt, reason, "refused");
                if let Err(error) = self.record_refusal(&study, attempt, &reason, request.as_deref(), proposal) {
                    error!(study, attempt, %error, "the refusal could not be recorded");
                }
                FromNode::Refused { study, attempt, reason }
            }
        }
    }

    /// Writes a refusal to the ledger, once an attempt.
    fn record_refusal(
        &self,
        study: &str,
        number: u32,
        reason: &str,
        request: Option<&Request>,
        proposal: Option<Proposal>,
    ) -> Result<(), Error> {
        let known = lock(&self.studies).get(study, number)?;
        let attempt = known.or_else(|| proposal.map(|proposal| Attempt::proposed(proposal, now())));
        let Some(mut attempt) = attempt.filter(|attempt| attempt.stage != Stage::Refused) else {
            return Ok(());
        };
        match request {
            Some(request) => lock(&self.ledger).refused(request, reason, &now())?,
            None => {
                let proposal = &attempt.proposal;
                let refused = EarlyRefusal {
                    study: study_ref(proposal),
                    dataset: proposal.study.spec.dataset().unwrap_or_default(),
                    requester: proposal.requester.clone(),
                    participants: proposal.participants.clone(),
                    reason: reason.into(),
                };
                lock(&self.ledger).refused_early(refused, &now())?;
            }
        }
        attempt.stage = Stage::Refused;
        attempt.reason = Some(reason.into());
        attempt.ephemeral = None;
        lock(&self.studies).put(&attempt)?;
        Ok(())
    }
}

fn study_ref(proposal: &Proposal) -> StudyRef {
    StudyRef {
        id: proposal.id.clone(),
        attempt: proposal.attempt,
        name: proposal.study.name.clone(),
        purpose: proposal.study.purpose.clone(),
        legal_basis: proposal.study.legal_basis.clone(),
        kind: proposal.study.spec.kind().into(),
        plan_sha256: None,
        question_sha256: None,
    }
}

/// Where the engine may write what does not fit into memory.
pub fn spill_folder(folder: &Folder) -> PathBuf {
    folder.state("spill")
}
