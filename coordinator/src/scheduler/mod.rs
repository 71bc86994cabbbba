//! The scheduler: studies that are submitted, run, followed, cancelled and taken up again.
//!
//! ```text
//! submit ─▶ store ─▶ queue ─▶ one task a study ─▶ result in the store
//! nodes' messages ─▶ tell ─▶ task: carries events into run, and does what it says ─▶ Status ─▶ whoever follows
//!                            run: gathers, proposes, collects, attempt after attempt, without I/O and clock
//! held                       the same without tasks: whoever holds the studies says what happens, and when
//! ```

pub(crate) mod asked;
mod attempt;
#[expect(clippy::disallowed_methods, reason = "nodes are waited for by this machine's clock")]
pub(crate) mod check;
pub(crate) mod composed;
pub(crate) mod end;
pub(crate) mod event;
pub(crate) mod held;
mod partners;
mod places;
mod question;
mod queue;
pub(crate) mod receipt;
mod record;
mod run;
mod step;
#[expect(clippy::disallowed_methods, reason = "what a study waits for comes by this machine's clock")]
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::terminal::clean;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::message::Progress;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::hall::Hall;
use crate::store::{StudyRecord, StudyState};
use event::{AttemptEvent, NodeEvent, Status};
use places::Places;
use queue::order;
use record::{new_id, new_record};
use task::Task;

/// How many messages of nodes may wait for one study; few, as they may be large. Nodes wait for their turn.
const QUEUE: usize = 16;

struct Handle {
    events: mpsc::Sender<AttemptEvent>,
    status: watch::Receiver<Status>,
}

/// All studies that run. What is locked changes by single insertions and removals.
pub(crate) struct Scheduler {
    hall: Arc<Hall>,
    places: Arc<Places>,
    running: Mutex<HashMap<String, Handle>>,
    tasks: Mutex<JoinSet<()>>,
}

/// Keeps what is asked. Its identifier, and the study to begin with.
fn keep_new(hall: &Hall, asked: Asked) -> Result<(String, StudyRecord), Error> {
    let created = hall.clock.now();
    let id = new_id(created)?;
    let record = match asked {
        Asked::Study(study) => {
            let participants = partners::participants_of(hall, &study)?;
            let record = new_record(id.clone(), created, *study, participants);
            hall.store.add_study(&record)?;
            tracing::info!(study = id, participants = record.participants.join(","), "submitted");
            record
        }
        Asked::Seeded(asked) => composed::keep_new(hall, &id, created, *asked)?,
    };
    Ok((id, record))
}

impl Scheduler {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let places = Arc::new(Places::new(hall.alliance.studies_at_once()));
        Self { hall, places, running: Mutex::default(), tasks: Mutex::default() }
    }

    /// Starts a new study, or the first of those that follow one another. Its identifier.
    pub(crate) fn submit(self: &Arc<Self>, asked: Asked) -> Result<String, Error> {
        let (id, record) = keep_new(&self.hall, asked)?;
        self.start(record);
        Ok(id)
    }

    /// Starts a study that a partner asks for, unless that is done. Its identifier.
    pub(crate) fn submit_asked(self: &Arc<Self>, asked: asked::Asked) -> Result<String, Error> {
        let id = asked.id.clone();
        if let Some(record) = asked::keep_new(&self.hall, asked)? {
            self.start(record);
        }
        Ok(id)
    }

    /// A partner is no longer part of the alliance: gives up what it had asked for, and tells all others.
    pub(crate) async fn revoked(&self, partner: &str) -> Result<(), Error> {
        self.tell_all(partner, || NodeEvent::Revoked).await;
        for study in asked::open(&self.hall, partner)? {
            // It may just have ended.
            let _ = self.cancel_study(&study, &asked::revoked(partner)).await;
        }
        Ok(())
    }

    /// A study has its result: begins what was to follow it.
    fn go_on_from(self: &Arc<Self>, study: &str) -> Result<(), Error> {
        composed::keep_what_follows(&self.hall, study).map(|next| next.into_iter().for_each(|next| self.start(next)))
    }

    /// Takes up all studies that had not ended.
    pub(crate) fn take_up(self: &Arc<Self>) -> Result<(), Error> {
        composed::take_up(&self.hall)?;
        for record in self.hall.store.studies()? {
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
        lock(&self.running).insert(record.id.clone(), Handle { events, status });
        let (this, id) = (self.clone(), record.id.clone());
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        let order = order(&record);
        // Here, and not in the task: those that are taken up wait in the order in which they came.
        let turn = self.places.enter(order.clone());
        tasks.spawn(async move {
            let (hall, places, status) = (this.hall.clone(), &*this.places, &sender);
            let end = Task { hall, places, order: order.clone(), events: queue, turn, status }.run(record).await;
            places.leave(&order);
            // Before it is said that this one has ended: whoever follows finds the next.
            if end.is_ok()
                && let Err(error) = this.go_on_from(&id)
            {
                tracing::error!(study = id, %error, "what was to follow it has not begun");
            }
            // Ended for the store first; whoever asks from now on is answered from there.
            lock(&this.running).remove(&id);
            sender.send_modify(|status| {
                status.progress.waiting.clear();
                status.end = Some(end);
            });
        });
    }

    /// Gives a study up, as somebody asks for.
    pub(crate) async fn cancel(&self, id: &str, by: &str) -> Result<String, Error> {
        loop {
            let leg = composed::present(&self.hall, id)?;
            let cancelled = self.cancel_study(&leg, by).await;
            // The next leg may just have begun.
            if cancelled.is_ok() || composed::present(&self.hall, id)? == leg {
                return cancelled;
            }
        }
    }

    async fn cancel_study(&self, id: &str, by: &str) -> Result<String, Error> {
        let mut record = self.record(id)?;
        if record.state != StudyState::Running {
            return Err(Error::refused(format!("study {id} is {} already", record.state)));
        }
        if let Some(mut status) = self.follow(id) {
            self.send(id, AttemptEvent::Cancel(by.into())).await;
            let _ = status.wait_for(|status| status.end.is_some()).await;
            record = self.record(id)?;
        } else {
            // It belongs to a command that was stopped before its end.
            let reason = format!("cancelled by {by}");
            (record.state, record.reason) = (StudyState::Cancelled, Some(reason.clone()));
            end::give_up(&self.hall, &record, &record.participants, record.attempt, &reason)?;
        }
        if record.state == StudyState::Cancelled {
            Ok(format!("study {id} is cancelled; what was charged stays charged"))
        } else {
            Err(Error::refused(format!("study {id} is {} already", record.state)))
        }
    }

    /// Takes a study up again: the same attempt if it was interrupted, a new one with everybody if it had ended.
    pub(crate) fn resume(self: &Arc<Self>, id: &str) -> Result<String, Error> {
        if let Some(composed) = self.hall.store.composed(id)?
            && composed::is_due(&self.hall, &composed)?
        {
            self.start(composed::keep_next(&self.hall, &composed)?);
            return Ok(format!(
                "study {id} goes on with the next of its studies; entente study show {id} says what it waits for"
            ));
        }
        self.resume_study(&composed::present(&self.hall, id)?)
    }

    fn resume_study(self: &Arc<Self>, id: &str) -> Result<String, Error> {
        let mut record = self.record(id)?;
        if self.follow(id).is_some() {
            return Err(Error::refused(format!("study {id} is already running"))
                .help(format!("entente study show {id} says what it waits for")));
        }
        match record.state {
            StudyState::Done => {
                return Err(Error::refused(format!("study {id} is done"))
                    .help(format!("entente study show {id} --out RESULTS writes its result")));
            }
            StudyState::Running => {}
            StudyState::Refused | StudyState::Failed | StudyState::Cancelled => {
                let next = record.attempt.checked_add(1);
                record.attempt = next.ok_or_else(|| Error::refused(format!("study {id} had too many attempts")))?;
                record.begun = record.attempt;
                record.participants.clone_from(&record.named);
                (record.state, record.reason) = (StudyState::Running, None);
                self.hall.store.update_study(&record)?;
            }
        }
        let attempt = record.attempt;
        self.start(record);
        Ok(format!("study {id} resumed as attempt {attempt}; entente study show {id} says what it waits for"))
    }

    /// Looks up a study; refused if it does not exist.
    pub(crate) fn record(&self, id: &str) -> Result<StudyRecord, Error> {
        self.hall.store.study(id)?.ok_or_else(|| {
            Error::refused(format!("there is no study `{}`", clean(id))).help("entente study list shows all")
        })
    }

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

    /// A node has connected: tells the studies.
    pub(crate) async fn connected(&self, node: &str) {
        self.places.connected(node);
        self.tell_all(node, || NodeEvent::Connected).await;
    }

    /// Tells every study what happened to a node.
    pub(crate) async fn tell_all(&self, node: &str, event: impl Fn() -> NodeEvent) {
        let all: Vec<_> = lock(&self.running).values().map(|handle| handle.events.clone()).collect();
        for events in all {
            let _ = events.send(AttemptEvent::Node { node: node.into(), event: event() }).await;
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
}
