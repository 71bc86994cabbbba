//! The desk: studies that are submitted, run, followed, cancelled and taken up again.
//!
//! ```text
//! submit ─▶ store ─▶ one task a study (run): gathers, proposes, collects, attempt after attempt ─▶ result in the store
//! nodes' messages ─▶ tell ─▶ the study's task ─▶ Status ─▶ whoever follows
//! ```

mod check;
mod question;
mod receipt;
mod run;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::random::random;
use entente_host::terminal::clean;
use entente_protocols::attempt::AttemptId;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::privacy::mechanism::MAX_PARTICIPANTS;
use entente_protocols::study::Study;
use entente_protocols::wire::message::{CheckAnswer, Contribution, FromAttempt, Progress, ToAttempt, ToNode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::coordinator::{Shared, not_enrolled};
use crate::store::{Notice, StudyRecord, StudyState};
use run::Runner;

/// The file of a result that its participants are given, and how long it may be for that.
const MODEL: &str = "model.json";
const MAX_MODEL: usize = 15 << 20;
/// Who asks, as ledgers record it.
const REQUESTER: &str = "operator";
/// How many messages of nodes may wait for one study; few, as they may be large. Nodes wait for their turn.
const QUEUE: usize = 16;

/// Something that the task of a study's attempt has to know.
pub(crate) enum AttemptEvent {
    /// The operator gives the study up.
    Cancel,
    /// Something about a node.
    Node {
        /// The node.
        node: String,
        /// What happened.
        event: NodeEvent,
    },
}

/// What happened to a node, or came from it.
pub(crate) enum NodeEvent {
    Connected,
    Disconnected,
    Revoked,
    /// It said something of attempt `number`.
    Said {
        number: u32,
        said: Box<FromAttempt>,
    },
    Contribution(Contribution),
}

/// Where a study stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) progress: Progress,
    /// How it ended.
    pub(crate) end: Option<Result<(), Error>>,
}

struct Handle {
    events: mpsc::Sender<AttemptEvent>,
    status: watch::Receiver<Status>,
}

/// All studies that run. What is locked changes by single insertions and removals.
#[derive(Default)]
pub(crate) struct Desk {
    running: Mutex<HashMap<String, Handle>>,
    tasks: Mutex<JoinSet<()>>,
    checks: Mutex<HashMap<u64, (String, oneshot::Sender<CheckAnswer>)>>,
    number: AtomicU64,
}

impl Desk {
    /// Tells a study what came from a node. Nothing happens if the study does not run: it came too late.
    pub(crate) async fn tell(&self, study: &str, node: &str, event: NodeEvent) {
        self.send(study, AttemptEvent::Node { node: node.into(), event }).await;
    }

    async fn send(&self, study: &str, event: AttemptEvent) {
        let events = lock(&self.running).get(study).map(|handle| handle.events.clone());
        if let Some(events) = events {
            // Fails only if the study has just ended.
            let _ = events.send(event).await;
        }
    }

    /// Tells every study what happened to a node.
    pub(crate) async fn tell_all(&self, node: &str, event: impl Fn() -> NodeEvent) {
        let all: Vec<_> = lock(&self.running).values().map(|handle| handle.events.clone()).collect();
        for events in all {
            let _ = events.send(AttemptEvent::Node { node: node.into(), event: event() }).await;
        }
    }

    /// A node has connected: tells the studies.
    pub(crate) async fn connected(&self, node: &str) {
        self.tell_all(node, || NodeEvent::Connected).await;
    }

    /// Takes a node's answer to a check.
    pub(crate) fn checked(&self, node: &str, number: u64, answer: CheckAnswer) {
        let mut checks = lock(&self.checks);
        if checks.get(&number).is_some_and(|(asked, _)| asked == node)
            && let Some((_, waiting)) = checks.remove(&number)
        {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(answer);
        }
    }

    /// Where a running study stands, to be followed.
    pub(crate) fn follow(&self, id: &str) -> Option<watch::Receiver<Status>> {
        lock(&self.running).get(id).map(|handle| handle.status.clone())
    }

    /// Stops all tasks; their studies are taken up by the next start.
    pub(crate) fn stop(&self) {
        lock(&self.tasks).abort_all();
    }

    fn ask(&self, node: &str) -> (u64, oneshot::Receiver<CheckAnswer>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.checks).insert(number, (node.into(), sender));
        (number, receiver)
    }

    fn forget(&self, number: u64) {
        lock(&self.checks).remove(&number);
    }
}

impl Shared {
    /// Starts a new study. Its identifier.
    pub(crate) fn submit(self: &Arc<Self>, study: Study) -> Result<String, Error> {
        let participants = self.participants_of(&study)?;
        let created = self.clock.now();
        let random = random::<3>()?;
        let id = format!("{}-{}", created.strftime("%Y%m%d-%H%M%S"), data_encoding::HEXLOWER.encode(&random));
        let record = StudyRecord {
            id: id.clone(),
            created,
            study,
            requester: REQUESTER.into(),
            named: participants.clone(),
            state: StudyState::Running,
            attempt: 1,
            begun: 1,
            participants,
            warnings: Vec::new(),
            reason: None,
        };
        self.store.add_study(&record)?;
        tracing::info!(study = id, participants = record.participants.join(","), "submitted");
        self.start(record);
        Ok(id)
    }

    /// Takes up all studies that had not ended.
    pub(crate) fn take_up(self: &Arc<Self>) -> Result<(), Error> {
        for record in self.store.studies()? {
            if record.state == StudyState::Running {
                tracing::info!(study = record.id, attempt = record.attempt, "taken up again");
                self.start(record);
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, record: StudyRecord) {
        let (events, queue) = mpsc::channel(QUEUE);
        let progress = Progress {
            study: record.id.clone(),
            attempt: record.attempt,
            stage: "waiting".into(),
            rounds: (0, 0),
            seconds_left: None,
            waiting: Vec::new(),
            notes: record.warnings.clone(),
        };
        let (sender, status) = watch::channel(Status { progress, end: None });
        lock(&self.desk.running).insert(record.id.clone(), Handle { events, status });
        let (shared, id) = (self.clone(), record.id.clone());
        let mut tasks = lock(&self.desk.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let end = Runner::new(shared.clone(), record, queue, &sender).run().await;
            // Ended for the store first; whoever asks from now on is answered from there.
            lock(&shared.desk.running).remove(&id);
            sender.send_modify(|status| {
                status.progress.waiting.clear();
                status.end = Some(end);
            });
        });
    }

    /// Gives a study up.
    pub(crate) async fn cancel(&self, id: &str) -> Result<String, Error> {
        let mut record = self.record(id)?;
        if record.state != StudyState::Running {
            return Err(Error::refused(format!("study {id} is {} already", record.state)));
        }
        if let Some(mut status) = self.desk.follow(id) {
            self.desk.send(id, AttemptEvent::Cancel).await;
            let _ = status.wait_for(|status| status.end.is_some()).await;
            record = self.record(id)?;
        } else {
            // It belongs to a command that was stopped before its end.
            let reason = "cancelled by the operator";
            (record.state, record.reason) = (StudyState::Cancelled, Some(reason.into()));
            self.give_up(&record, &record.participants, record.attempt, reason)?;
        }
        if record.state == StudyState::Cancelled {
            Ok(format!("study {id} is cancelled; what was charged stays charged"))
        } else {
            Err(Error::refused(format!("study {id} is {} already", record.state)))
        }
    }

    /// Takes a study up again: the same attempt if it was interrupted, a new one with everybody if it had ended.
    pub(crate) fn resume(self: &Arc<Self>, id: &str) -> Result<String, Error> {
        let mut record = self.record(id)?;
        if self.desk.follow(id).is_some() {
            return Err(Error::refused(format!("study {id} runs; entente study show {id} says what it waits for")));
        }
        match record.state {
            StudyState::Done => {
                return Err(Error::refused(format!(
                    "study {id} is done; entente study show {id} --out RESULTS writes its result"
                )));
            }
            StudyState::Running => {}
            StudyState::Refused | StudyState::Failed | StudyState::Cancelled => {
                let next = record.attempt.checked_add(1);
                record.attempt = next.ok_or_else(|| Error::refused(format!("study {id} had too many attempts")))?;
                record.begun = record.attempt;
                record.participants.clone_from(&record.named);
                (record.state, record.reason) = (StudyState::Running, None);
                self.store.update_study(&record)?;
            }
        }
        let attempt = record.attempt;
        self.start(record);
        Ok(format!("study {id} goes on with attempt {attempt}; entente study show {id} says what it waits for"))
    }

    /// A study, or that there is none.
    pub(crate) fn record(&self, id: &str) -> Result<StudyRecord, Error> {
        self.store
            .study(id)?
            .ok_or_else(|| Error::refused(format!("there is no study `{}`; entente study list shows all", clean(id))))
    }

    /// Tells a node of something that it has missed. False if it is not connected any more.
    pub(crate) fn notify(&self, node: &str, notice: Notice) -> bool {
        let Notice { attempt, result, reason } = notice;
        let told = match result {
            Some(result) => {
                let model = self.store.result_file(&attempt.study, MODEL).unwrap_or_default();
                let model = model.filter(|model| model.len() <= MAX_MODEL);
                let statement = self.store.statement(&attempt.study).unwrap_or_default().unwrap_or_default();
                ToAttempt::Finished { result, statement, model }
            }
            None => {
                let is_over =
                    self.store.study(&attempt.study).is_ok_and(|study| study.is_none_or(|study| study.is_over()));
                ToAttempt::Abandoned { reason, is_over }
            }
        };
        self.sessions.send(node, &ToNode::Attempt(attempt, told))
    }

    /// Keeps where a study stands after an attempt was given up, and tells these nodes: now and, until they have answered, whenever
    /// they come back.
    fn give_up(&self, record: &StudyRecord, nodes: &[String], attempt: u32, reason: &str) -> Result<(), Error> {
        self.store.give_up(record, nodes, attempt, reason)?;
        let id = AttemptId::new(&record.id, attempt);
        for node in nodes {
            let told = ToAttempt::Abandoned { reason: reason.into(), is_over: record.is_over() };
            self.sessions.send(node, &ToNode::Attempt(id.clone(), told));
        }
        Ok(())
    }

    /// The public schema of the study's data set at each partner that it is proposed to and that has it.
    fn schemas(&self, record: &StudyRecord) -> Result<BTreeMap<String, DatasetSchema>, Error> {
        question::schemas(&record.study, &self.published(&record.named)?).map_err(Error::refused)
    }

    /// The public schemas of those of these partners that have ever connected: as they are now, or were when they were last here.
    fn published(&self, partners: &[String]) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error> {
        let mut seen = self.store.last_seen()?;
        let known = |name: &String| {
            let schemas = self.sessions.schemas(name).or_else(|| Some(seen.remove(name)?.datasets))?;
            Some((name.clone(), schemas))
        };
        Ok(partners.iter().filter_map(known).collect())
    }

    /// The participants of a study's first attempt: those named, or all.
    fn participants_of(&self, study: &Study) -> Result<Vec<String>, Error> {
        let enrolled = self.store.partners()?;
        if enrolled.is_empty() {
            return Err(Error::refused("nobody is enrolled yet; entente invite PARTNER makes a ticket"));
        }
        for partner in &study.partners {
            if !enrolled.contains_key(partner) {
                return Err(Error::refused(format!(
                    "`partners` of the study: {}",
                    not_enrolled(partner, enrolled.keys().map(String::as_str))
                )));
            }
        }
        let mut participants: Vec<String> =
            if study.partners.is_empty() { enrolled.into_keys().collect() } else { study.partners.clone() };
        participants.sort();
        participants.dedup();
        let count = u32::try_from(participants.len()).unwrap_or(u32::MAX);
        if count > MAX_PARTICIPANTS {
            return Err(Error::refused(format!("a study has at most {MAX_PARTICIPANTS} participants, not {count}")));
        }
        if let Some(least) = study.min_partners.filter(|least| *least > count) {
            return Err(Error::refused(format!("`min_partners` is {least}, but only {count} are enrolled")));
        }
        Ok(participants)
    }
}
