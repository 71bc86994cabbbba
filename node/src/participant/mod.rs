//! A node's part in studies: what it answers to each message of the coordinator.
//!
//! ```text
//! Propose ─▶ data set, question, roster, policy, caps ─▶ Joined | Waiting (steward) | Refused
//! Start   ─▶ joins against the PINNED roster           ─▶ Signed | Refused
//! Go      ─▶ signatures, input, reserve, compute, noise, mask, store ─▶ contribution | Refused | Failed, round by round
//! Resend  ─▶ stored bytes, at no charge                ─▶ contribution
//! Relayed ─▶ opened: to whoever waits for it, or answered ─▶ Relay
//! Finished, Abandoned ─▶ recorded                      ─▶ Closed
//! ```
//!
//! Every answer is made from what is on the disk, so that a message can come again after a restart of either side: the
//! same join, the same signature, the same bytes. What depends on the data is never said: whatever goes wrong with them
//! is `Failed`, and this node's log says why.

mod close;
mod join;
mod relay;
mod rounds;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Roster};
use entente_protocols::ledger::{Ledger, LedgerError};
use entente_protocols::policy::{Request, StudyRef};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromNode, Proposal, ToNode};
use tracing::warn;

use crate::SOFTWARE;
use crate::config::Config;
use crate::data::{Embedded, Options, UnitKey};
use crate::error::Error;
use crate::peers::{AttemptId, Peers};
use crate::state::Folder;
use crate::store::{LedgerStore, StudyStore};
use crate::study::lookalike::keys::OwnKeys;
use crate::study::lookalike::owner::Owners;
use rounds::{Round, Running};

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
    /// One lock an attempt: a message that comes again waits until the first is answered. It holds what its rounds share.
    attempts: Mutex<HashMap<AttemptId, Arc<Mutex<Option<Running>>>>>,
    /// Attempts that wait for a steward on the present connection.
    waiting: Mutex<HashSet<AttemptId>>,
    /// The ways to other participants.
    peers: Peers,
    /// Those whose candidates a model of this node scores.
    owners: Owners,
    /// The evaluation keys of those models.
    own_keys: OwnKeys,
    /// Held as long as anything computes for this participant, which can be longer than its node serves: two ledgers open at
    /// once would fork.
    _lock: Option<File>,
}

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

impl From<crate::study::lookalike::Problem> for Problem {
    fn from(problem: crate::study::lookalike::Problem) -> Self {
        use crate::study::lookalike::Problem as Scoring;
        match problem {
            Scoring::Refused(reason) => Self::refused(reason),
            Scoring::Failed(reason) => Self::failed(reason),
            Scoring::Unknown => Self::failed("the model's owner does not know the session"),
        }
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

/// Identifies the release of a transcript's round for good.
fn release_id(transcript: Digest, round: u32) -> Digest {
    Digest::of("entente release 1", &[&transcript.0, &round.to_le_bytes()])
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
            peers: Peers::default(),
            owners: Owners::default(),
            own_keys: OwnKeys::default(),
            _lock: None,
        })
    }

    /// The same, holding the folder's lock for as long as it lives.
    #[must_use]
    pub fn holding(self, lock: File) -> Self {
        Self { _lock: Some(lock), ..self }
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Frames for the coordinator go to `link` from now on.
    pub fn connected(&self, link: tokio::sync::mpsc::Sender<Vec<u8>>) {
        self.peers.connected(link);
    }

    /// Ends what waits for other participants: the node stops.
    pub fn stop(&self) {
        self.peers.stop();
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
            ToNode::Relayed { study, attempt, from, sealed } => {
                return self.relayed((study.clone(), *attempt), from, sealed);
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
        if matches!(message, ToNode::Finished { .. } | ToNode::Abandoned { .. }) {
            // First, so that what waits for another participant lets go of the attempt.
            self.peers.end(&(study.clone(), attempt));
            self.owners.end(&(study.clone(), attempt));
        }
        let one_at_a_time = lock(&self.attempts).entry((study.clone(), attempt)).or_default().clone();
        let mut running = lock(&one_at_a_time);
        let answer = match message {
            ToNode::Welcome { .. } | ToNode::Check { .. } | ToNode::Relayed { .. } => return Vec::new(),
            ToNode::Propose(proposal) => {
                self.propose(proposal).map(|join| Some(frame::encode(&FromNode::Joined(join))))
            }
            ToNode::Start { joins, .. } => self
                .start(&study, attempt, joins)
                .map(|signature| Some(frame::encode(&FromNode::Signed { study: study.clone(), attempt, signature }))),
            ToNode::Go { round, input, signatures, .. } => {
                let told = Round { number: round, input: &input, signatures: &signatures };
                self.go(&study, attempt, told, &mut running)
                    .map(|out| Some(frame::encode_contribution(&study, attempt, round, &out)))
            }
            ToNode::Resend { round, transcript, .. } => self
                .resend(&study, attempt, round, transcript)
                .map(|out| Some(frame::encode_contribution(&study, attempt, round, &out))),
            ToNode::Finished { result, model, .. } => {
                self.keep_model(&study, attempt, model.as_deref(), result);
                self.close(&study, attempt, Ok(result))
            }
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
