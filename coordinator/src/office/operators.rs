//! The operator's command line: one request a connection, then its answers.

use std::sync::Arc;

use entente_host::Error;
use entente_host::link::LinkError;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{FromOperator, ToOperator};

use super::members::Members;
use super::overview;
use crate::hall::Hall;
use crate::link::peer::{FIRST, Out, Peer};
use crate::scheduler::Scheduler;
use crate::scheduler::check::Checks;
use crate::scheduler::composed::{LEGS, leg_id};
use crate::scheduler::event::NodeEvent;
use crate::store::{ComposedRecord, StudyState};

/// The longest piece of a result's file in one message.
const PIECE: usize = 1 << 20;

/// Why an answer did not get through.
struct Gone;

/// Answers the operator.
pub(super) struct Operators {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
    checks: Arc<Checks>,
    members: Arc<Members>,
}

struct Answers {
    out: Out,
}

impl Answers {
    async fn say(&mut self, message: &ToOperator) -> Result<(), Gone> {
        self.out.say(&frame::encode(message)).await.map_err(|_| Gone)
    }

    /// The same; there is nothing behind it.
    async fn refuse(&mut self, error: Error) -> Result<bool, Gone> {
        self.say_error(error).await.map(|()| false)
    }

    async fn say_error(&mut self, error: Error) -> Result<(), Gone> {
        let message = match error {
            Error::Refused(reason) => ToOperator::Refused(reason),
            Error::Failed(reason) => ToOperator::Failed(reason),
        };
        self.say(&message).await
    }
}

impl Operators {
    pub(super) fn new(hall: Arc<Hall>, scheduler: Arc<Scheduler>, checks: Arc<Checks>, members: Arc<Members>) -> Self {
        Self { hall, scheduler, checks, members }
    }

    /// Serves one connection of the operator.
    pub(super) async fn serve(&self, peer: &Peer) -> Result<(), LinkError> {
        let (out, mut frames) = peer.open(FrameReader::from_operators()).await?;
        let request: FromOperator = frames.next_within(FIRST).await?.decode()?;
        let mut answers = Answers { out };
        if self.answer(request, &mut answers).await.is_ok() && answers.out.end().is_ok() {
            // The command closes when it has read everything.
            peer.closed().await;
        }
        Ok(())
    }

    async fn answer(&self, request: FromOperator, answers: &mut Answers) -> Result<(), Gone> {
        let answer = match request {
            FromOperator::Partners => {
                overview::partners(&self.hall).and_then(|view| json(&view)).map(ToOperator::Partners)
            }
            FromOperator::Check { study } => {
                self.checks.check(study).await.and_then(|view| json(&view)).map(ToOperator::Checked)
            }
            FromOperator::List => self.studies(None).map(ToOperator::Studies),
            FromOperator::Show(id) => self.studies(Some(&id)).map(ToOperator::Studies),
            FromOperator::Cancel(id) => self.scheduler.cancel(&id).await.map(ToOperator::Done),
            FromOperator::Resume(id) => self.scheduler.resume(&id).map(ToOperator::Done),
            FromOperator::Revoke(partner) => self.revoke(&partner).await.map(ToOperator::Done),
            FromOperator::Acknowledge { alarm, note } => self
                .hall
                .store
                .acknowledge(alarm, &note, self.hall.clock.now().as_second())
                .map(|()| ToOperator::Done(format!("alarm {alarm} is acknowledged"))),
            FromOperator::Run { asked, follow } => match self.scheduler.submit(asked) {
                Ok(id) => {
                    answers.say(&ToOperator::Accepted(id.clone())).await?;
                    return if follow { self.follow(&id, answers).await } else { Ok(()) };
                }
                Err(error) => Err(error),
            },
            FromOperator::Follow(id) => return self.follow(&id, answers).await,
        };
        match answer {
            Ok(message) => answers.say(&message).await,
            Err(error) => answers.say_error(error).await,
        }
    }

    /// Ends a partner's membership, and tells its studies.
    async fn revoke(&self, partner: &str) -> Result<String, Error> {
        let done = self.members.revoke(partner)?;
        self.scheduler.tell_all(partner, || NodeEvent::Revoked).await;
        Ok(done)
    }

    /// Reports a study until it ends, then its result; of a composed study, leg by leg.
    async fn follow(&self, id: &str, answers: &mut Answers) -> Result<(), Gone> {
        let legs = match self.hall.store.composed(id) {
            Ok(Some(_)) => (1..=LEGS).map(|number| leg_id(id, number)).collect(),
            Ok(None) => vec![id.to_owned()],
            Err(error) => return answers.say_error(error).await,
        };
        for leg in legs {
            if !self.follow_leg(&leg, answers).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same of one leg. True if it has a result, behind which the next may follow.
    async fn follow_leg(&self, id: &str, answers: &mut Answers) -> Result<bool, Gone> {
        if let Some(mut status) = self.scheduler.follow(id) {
            loop {
                let now = status.borrow_and_update().clone();
                match now.end {
                    None => answers.say(&ToOperator::Progress(now.progress)).await?,
                    Some(Ok(())) => break,
                    Some(Err(error)) => return answers.refuse(error).await,
                }
                if status.changed().await.is_err() {
                    break;
                }
            }
        }
        match self.ended(id) {
            Ok(()) => {}
            Err(error) => return answers.refuse(error).await,
        }
        let files = match self.hall.store.result(id) {
            Ok(files) => files,
            Err(error) => return answers.refuse(error).await,
        };
        for (file, content) in files {
            let mut pieces = content.chunks(PIECE).peekable();
            if pieces.peek().is_none() {
                answers.say(&ToOperator::Piece { file: file.clone(), bytes: Vec::new() }).await?;
            }
            for piece in pieces {
                answers.say(&ToOperator::Piece { file: file.clone(), bytes: piece.to_vec() }).await?;
            }
        }
        answers.say(&ToOperator::Result(id.into())).await?;
        Ok(true)
    }

    /// Whether a study that does not run has ended well.
    fn ended(&self, id: &str) -> Result<(), Error> {
        let record = match (self.hall.store.study(id)?, self.hall.store.composed(id)?) {
            (None, Some(ComposedRecord { refusal, .. })) => {
                return Err(match refusal {
                    Some(refusal) => Error::refused(refusal),
                    None => Error::refused(format!("study {id} was interrupted"))
                        .help(format!("entente study resume {id} takes it up again")),
                });
            }
            _ => self.scheduler.record(id)?,
        };
        let reason = record.reason.unwrap_or_else(|| record.state.to_string());
        match record.state {
            StudyState::Done => Ok(()),
            StudyState::Running => Err(Error::refused(format!("study {id} was interrupted"))
                .help(format!("entente study resume {id} takes it up again, entente study cancel {id} gives it up"))),
            StudyState::Refused | StudyState::Cancelled => Err(Error::refused(reason)),
            StudyState::Failed => Err(Error::failed(reason)),
        }
    }

    fn studies(&self, id: Option<&str>) -> Result<String, Error> {
        let (hall, scheduler) = (&self.hall, &self.scheduler);
        let views = match id {
            Some(id) => vec![overview::one(hall, scheduler, id)?],
            None => overview::studies(hall, scheduler)?,
        };
        json(&views)
    }
}

fn json<T: serde::Serialize>(view: &T) -> Result<String, Error> {
    serde_json::to_string(view).map_err(|error| Error::failed(error.to_string()))
}
