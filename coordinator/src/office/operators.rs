//! The operator's command line: one request a connection, then its answers.

use std::sync::Arc;

use entente_host::Error;
use entente_host::link::LinkError;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{FromOperator, ToOperator};

use super::answers::{Answers, Followed, Gone, json};
use super::members::Members;
use super::overview;
use crate::hall::Hall;
use crate::link::peer::{FIRST, Peer};
use crate::scheduler::Scheduler;
use crate::scheduler::check::Checks;

/// Answers the operator.
pub(super) struct Operators {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
    checks: Arc<Checks>,
    members: Arc<Members>,
    followed: Arc<Followed>,
}

impl Operators {
    pub(super) fn new(
        hall: Arc<Hall>,
        scheduler: Arc<Scheduler>,
        checks: Arc<Checks>,
        members: Arc<Members>,
        followed: Arc<Followed>,
    ) -> Self {
        Self { hall, scheduler, checks, members, followed }
    }

    /// Serves one connection of the operator.
    pub(super) async fn serve(&self, peer: &Peer) -> Result<(), LinkError> {
        let (out, mut frames) = peer.open(FrameReader::from_operators()).await?;
        let request: FromOperator = frames.next_within(FIRST).await?.decode()?;
        let mut answers = Answers::new(out);
        if self.answer(request, &mut answers).await.is_ok() {
            answers.end(peer).await;
        }
        Ok(())
    }

    async fn answer(&self, request: FromOperator, answers: &mut Answers) -> Result<(), Gone> {
        let answer = match request {
            FromOperator::Partners => {
                overview::partners(&self.hall).and_then(|view| json(&view)).map(ToOperator::Partners)
            }
            FromOperator::Check { study } => {
                self.checks.check(study, OPERATOR).await.and_then(|view| json(&view)).map(ToOperator::Checked)
            }
            FromOperator::List => self.studies(None).map(ToOperator::Studies),
            FromOperator::Show(id) => self.studies(Some(&id)).map(ToOperator::Studies),
            FromOperator::Cancel(id) => self.scheduler.cancel(&id, "the operator").await.map(ToOperator::Done),
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
                    return if follow { self.followed.follow(&id, answers).await } else { Ok(()) };
                }
                Err(error) => Err(error),
            },
            FromOperator::Rehearse { study } => return answers.rehearsed(self.checks.rehearse(study).await).await,
            FromOperator::Follow(id) => return self.followed.follow(&id, answers).await,
        };
        match answer {
            Ok(message) => answers.say(&message).await,
            Err(error) => answers.say_error(error).await,
        }
    }

    /// Ends a partner's membership, and tells its studies.
    async fn revoke(&self, partner: &str) -> Result<String, Error> {
        let done = self.members.revoke(partner)?;
        self.scheduler.revoked(partner).await?;
        Ok(done)
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
