//! What commands are answered: one request a connection, then its answers; and how a study that is followed gets on.

use std::collections::BTreeMap;
use std::sync::Arc;

use entente_host::Error;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{REHEARSAL, ToOperator};

use crate::hall::Hall;
use crate::link::peer::{Out, Peer};
use crate::scheduler::Scheduler;
use crate::scheduler::composed::{LEGS, leg_id};
use crate::store::{ComposedRecord, StudyState};

/// The longest piece of a result's file in one message.
const PIECE: usize = 1 << 20;

/// Why an answer did not get through.
pub(super) struct Gone;

/// What is answered on one connection.
pub(super) struct Answers {
    out: Out,
}

impl Answers {
    pub(super) fn new(out: Out) -> Self {
        Self { out }
    }

    /// Nothing more comes. The command closes when it has read everything.
    pub(super) async fn end(mut self, peer: &Peer) {
        if self.out.end().is_ok() {
            peer.closed().await;
        }
    }

    pub(super) async fn say(&mut self, message: &ToOperator) -> Result<(), Gone> {
        self.out.say(&frame::encode(message)).await.map_err(|_| Gone)
    }

    /// The same; there is nothing behind it.
    async fn refuse(&mut self, error: Error) -> Result<bool, Gone> {
        self.say_error(error).await.map(|()| false)
    }

    pub(super) async fn say_error(&mut self, error: Error) -> Result<(), Gone> {
        let message = match error {
            Error::Refused(reason) => ToOperator::Refused(reason),
            Error::Failed(reason) => ToOperator::Failed(reason),
        };
        self.say(&message).await
    }
}

impl Answers {
    /// Hands over a result, file by file.
    pub(super) async fn deliver(&mut self, id: &str, files: BTreeMap<String, Vec<u8>>) -> Result<(), Gone> {
        for (file, content) in files {
            let mut pieces = content.chunks(PIECE).peekable();
            if pieces.peek().is_none() {
                self.say(&ToOperator::Piece { file: file.clone(), bytes: Vec::new() }).await?;
            }
            for piece in pieces {
                self.say(&ToOperator::Piece { file: file.clone(), bytes: piece.to_vec() }).await?;
            }
        }
        self.say(&ToOperator::Result(id.into())).await
    }

    /// Hands over what came of a rehearsal.
    pub(super) async fn rehearsed(&mut self, files: Result<BTreeMap<String, Vec<u8>>, Error>) -> Result<(), Gone> {
        match files {
            Ok(files) => self.deliver(REHEARSAL, files).await,
            Err(error) => self.say_error(error).await,
        }
    }
}

/// Reports studies to whoever follows them.
pub(super) struct Followed {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
}

impl Followed {
    pub(super) fn new(hall: Arc<Hall>, scheduler: Arc<Scheduler>) -> Self {
        Self { hall, scheduler }
    }

    /// Reports a study until it ends, then its result; of a composed study, leg by leg.
    pub(super) async fn follow(&self, id: &str, answers: &mut Answers) -> Result<(), Gone> {
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
        answers.deliver(id, files).await?;
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
}

/// As JSON.
pub(super) fn json<T: serde::Serialize>(view: &T) -> Result<String, Error> {
    serde_json::to_string(view).map_err(|error| Error::failed(error.to_string()))
}
