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
mod run;
mod step;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::random::random;
use entente_host::terminal::clean;
use entente_protocols::identity::petition::{OPERATOR, identifier};
use entente_protocols::study::Study;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::message::Progress;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::hall::Hall;
use crate::store::{ComposedRecord, StudyRecord, StudyState};
use composed::STAGES;
use event::{AttemptEvent, NodeEvent, Status};
use places::Places;
use queue::order;
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

/// A new study of the operator's.
fn new_record(hall: &Hall, id: String, created: jiff::Timestamp, study: Study) -> Result<StudyRecord, Error> {
    let participants = partners::participants_of(hall, &study)?;
    Ok(StudyRecord {
        id,
        created,
        study,
        requester: OPERATOR.into(),
        petition: None,
        named: participants.clone(),
        state: StudyState::Running,
        attempt: 1,
        begun: 1,
        participants,
        warnings: Vec::new(),
        reason: None,
    })
}

/// A study that a partner asks for, as it is to be kept; `None` if it is.
fn asked_record(hall: &Hall, asked: asked::Asked) -> Result<Option<StudyRecord>, Error> {
    if asked::is_known(hall, &asked)? {
        return Ok(None);
    }
    let asked::Asked { study, id, requester, petition } = asked;
    let record = new_record(hall, id, hall.clock.now(), study)?;
    Ok(Some(StudyRecord { requester, petition: Some(petition), ..record }))
}

/// The identifier of a study that is submitted at this time.
fn new_id(created: jiff::Timestamp) -> Result<String, Error> {
    Ok(identifier(created, random()?))
}

impl Scheduler {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let places = Arc::new(Places::new(hall.alliance.studies_at_once()));
        Self { hall, places, running: Mutex::default(), tasks: Mutex::default() }
    }

    /// Starts a new study, or the first of those that follow one another. Its identifier.
    pub(crate) fn submit(self: &Arc<Self>, asked: Asked) -> Result<String, Error> {
        let created = self.hall.clock.now();
        let id = new_id(created)?;
        match asked {
            Asked::Study(study) => {
                let record = new_record(&self.hall, id.clone(), created, *study)?;
                self.hall.store.add_study(&record)?;
                tracing::info!(study = id, participants = record.participants.join(","), "submitted");
                self.start(record);
            }
            Asked::Seeded(asked) => {
                // Before anybody is charged.
                partners::are_enrolled(&self.hall, &asked.participants())?;
                let schemas = partners::published(&self.hall, &asked.participants())?;
                asked.check(&schemas).map_err(Error::refused)?;
                let composed = ComposedRecord { id: id.clone(), created, asked: *asked, begun: 0, refusal: None };
                self.hall.store.add_composed(&composed)?;
                self.begin_next(&composed)?;
            }
        }
        Ok(id)
    }

    /// Starts a study that a partner asks for, unless that is done. Its identifier.
    pub(crate) fn submit_asked(self: &Arc<Self>, asked: asked::Asked) -> Result<String, Error> {
        let (id, requester) = (asked.id.clone(), asked.requester.clone());
        if let Some(record) = asked_record(&self.hall, asked)? {
            self.hall.store.add_study(&record)?;
            tracing::info!(study = id, requester, participants = record.participants.join(","), "submitted");
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

    /// Begins the next stage of a composed study, which has one, with the result of the one before.
    fn begin_next(self: &Arc<Self>, composed: &ComposedRecord) -> Result<(), Error> {
        let record = self.keep_next(composed)?;
        self.start(record);
        Ok(())
    }

    /// Keeps the study that the next stage is, or why it cannot begin.
    fn keep_next(&self, composed: &ComposedRecord) -> Result<StudyRecord, Error> {
        let ComposedRecord { id, created, asked, begun, .. } = composed;
        let number = begun + 1;
        let model = self.hall.store.result_file(&composed::stage_id(id, *begun), end::MODEL)?;
        let study = composed::stage(asked, number, model).map_err(Error::refused);
        match study.and_then(|study| new_record(&self.hall, composed::stage_id(id, number), *created, study)) {
            Ok(record) => {
                self.hall.store.begin_stage(id, number, &record)?;
                tracing::info!(study = record.id, composed = id, "submitted");
                Ok(record)
            }
            Err(error) => {
                tracing::warn!(study = id, %error, "its next stage cannot begin");
                self.hall.store.refuse_stage(id, &error.to_string())?;
                Err(error)
            }
        }
    }

    /// Whether the stage of a composed study that began last has its result, and the next has to begin.
    fn is_due(&self, composed: &ComposedRecord) -> Result<bool, Error> {
        let ComposedRecord { id, begun, .. } = composed;
        let is_done = |study: Option<StudyRecord>| study.is_some_and(|study| study.state == StudyState::Done);
        Ok(*begun == 0 || *begun < STAGES && is_done(self.hall.store.study(&composed::stage_id(id, *begun))?))
    }

    /// A study has its result: begins what was to follow it.
    fn go_on_from(self: &Arc<Self>, study: &str) -> Result<(), Error> {
        let Some(composed) = composed::of_stage(study) else { return Ok(()) };
        match self.hall.store.composed(composed)? {
            Some(composed) if self.is_due(&composed)? => self.begin_next(&composed),
            _ => Ok(()),
        }
    }

    /// The study that an identifier stands for now: of a composed study, the stage that has begun last.
    fn present(&self, id: &str) -> Result<String, Error> {
        match self.hall.store.composed(id)? {
            Some(composed) if composed.begun > 0 => Ok(composed::stage_id(id, composed.begun)),
            _ => Ok(id.into()),
        }
    }

    /// Takes up all studies that had not ended.
    pub(crate) fn take_up(self: &Arc<Self>) -> Result<(), Error> {
        for composed in self.hall.store.open_composed()? {
            // It was stopped between two stages; one that cannot begin says why where it is looked for.
            if composed.refusal.is_none() && self.is_due(&composed)? {
                let _ = self.keep_next(&composed);
            }
        }
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
            let stage = self.present(id)?;
            let cancelled = self.cancel_study(&stage, by).await;
            // The next stage may just have begun.
            if cancelled.is_ok() || self.present(id)? == stage {
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
            && self.is_due(&composed)?
        {
            self.begin_next(&composed)?;
            return Ok(format!(
                "study {id} goes on with its next stage; entente study show {id} says what it waits for"
            ));
        }
        self.resume_study(&self.present(id)?)
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
