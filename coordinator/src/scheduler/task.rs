//! The task of one study: carries events into its [`Run`], and does what that says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_protocols::identity::Roster;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::receipt::canonical;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::event::{AttemptEvent, Status};
use super::places::Places;
use super::queue::{Order, Turn};
use super::run::{Action, Complete, Event, Known, Run};
use super::{end, partners, receipt};
use crate::hall::Hall;
use crate::kinds;
use crate::store::StudyRecord;

/// What a study's task is given.
pub(super) struct Task<'a> {
    pub(super) hall: Arc<Hall>,
    pub(super) places: &'a Places,
    pub(super) order: Order,
    pub(super) events: mpsc::Receiver<AttemptEvent>,
    pub(super) turn: watch::Receiver<Turn>,
    pub(super) status: &'a watch::Sender<Status>,
}

/// A result on its way.
type Making = JoinHandle<Result<ToAttempt, Error>>;

impl Task<'_> {
    /// Runs the study to its end, which is in the store when this returns.
    pub(super) async fn run(mut self, record: StudyRecord) -> Result<(), Error> {
        let begin = self.hall.clock.moment();
        let passed = |hall: &Hall| hall.clock.moment().since(begin);
        let (mut writing, mut making) = (None, None);
        let store = &self.hall.store;
        let kept = store.rounds(&record.id).and_then(|rounds| Ok((rounds, store.lost_rounds(&record.id)?)));
        let (mut run, mut event) = match kept {
            Ok((rounds, lost)) => (Run::new(record, rounds, lost), Event::Turn(*self.turn.borrow_and_update())),
            Err(error) => (Run::new(record, Vec::new(), Vec::new()), Event::Failed(error)),
        };
        loop {
            let mut failure = None;
            for action in run.handle(passed(&self.hall), &*self.hall, event) {
                match self.act(action, &mut writing, &mut making).await {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    // Not even that it has failed could be kept: it is taken up again by the next start.
                    Err(error) if run.is_over() => return Err(error),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            self.places.set(&self.order, run.need(&*self.hall));
            event = match failure {
                Some(error) => Event::Failed(error),
                None => {
                    self.next(&mut making, run.timeout().map(|timeout| timeout.saturating_sub(passed(&self.hall))))
                        .await
                }
            };
        }
    }

    async fn next(&mut self, making: &mut Option<Making>, timeout: Option<Duration>) -> Event {
        let timeout = timeout.unwrap_or(IDLE);
        let made = async {
            match making {
                Some(made) => made.await,
                None => std::future::pending().await,
            }
        };
        let made = tokio::select! {
            Some(event) = self.events.recv() => return Event::Attempt(event),
            Ok(()) = self.turn.changed() => return Event::Turn(*self.turn.borrow_and_update()),
            () = sleep(timeout) => return Event::Time,
            made = made => made,
        };
        *making = None;
        let fault =
            |_| Err(Error::failed("the result could not be made: a fault in this program").help("please report it"));
        match made.unwrap_or_else(fault) {
            Ok(told) => Event::Made(Box::new(told)),
            Err(error) => Event::Failed(error),
        }
    }

    /// Does what the run says. The end of the study, if this is it.
    async fn act(
        &self,
        action: Action,
        writing: &mut Option<JoinHandle<Result<(), Error>>>,
        making: &mut Option<Making>,
    ) -> Result<Option<Result<(), Error>>, Error> {
        if action.waits_for_rounds()
            && let Some(writing) = writing.take()
        {
            writing.await.unwrap_or_else(|error| Err(Error::failed(error.to_string())))?;
        }
        let (hall, study) = (self.hall.clone(), &self.order.1);
        match action {
            Action::Tell { node, attempt, told } => {
                hall.sessions.send(&node, &ToNode::Attempt(attempt, told));
            }
            Action::Begin(begun) => hall.store.begin_round(study, begun)?,
            Action::Keep(round, next) => {
                let study = study.clone();
                *writing = Some(spawn_blocking(move || hall.store.add_round(&study, &round, next)));
            }
            Action::GiveUp { record, nodes, attempt, reason } => {
                end::give_up(&hall, &record, &nodes, attempt, &reason)?;
            }
            Action::Report(progress) => self.status.send_modify(|status| status.progress = progress),
            Action::Finish(complete) => *making = Some(spawn_blocking(move || finish(&hall, &complete))),
            Action::End(end) => return Ok(Some(end)),
        }
        Ok(None)
    }
}

/// How long a task sleeps at a time where it waits for nothing but events.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Makes a result and keeps it. What participants are told of it.
pub(super) fn finish(hall: &Hall, complete: &Complete) -> Result<ToAttempt, Error> {
    let Complete { record, question, state, rounds, lost } = complete;
    let subject = receipt::subject(hall, record, question, rounds);
    let files = kinds::finish(&kinds::Finished {
        id: &record.id,
        study: &record.study,
        question,
        state,
        rounds,
        lost,
        started: record.created,
        finished: hall.clock.now(),
        warnings: &record.warnings,
        receipt: subject.digest(),
    });
    let files = files.map_err(|problem| Error::failed(format!("the result could not be made: {problem}")))?;
    let (statement, signature) = receipt::state(hall, subject, &files);
    let result = statement.result();
    let result = result.ok_or_else(|| Error::failed("the result could not be made: it has no result.json"))?;
    hall.store.complete_study(record, &files, (&statement, &signature))?;
    tracing::info!(study = record.id, attempt = record.attempt, "done");
    Ok(end::finished(result, canonical(&statement), files.get(end::MODEL).cloned()))
}

impl Known for Hall {
    fn roster(&self) -> Result<Roster, Error> {
        self.roster()
    }

    fn schemas(&self, node: &str) -> Option<Vec<DatasetSchema>> {
        self.sessions.schemas(node)
    }

    fn published(&self, partners: &[String]) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error> {
        partners::published(self, partners)
    }

    fn distrusted(&self, node: &str) -> Option<String> {
        self.sessions.distrusted(node)
    }

    fn is_connected(&self, node: &str) -> bool {
        self.sessions.is_connected(node)
    }
}
