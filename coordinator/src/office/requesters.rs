//! Partners that ask for studies: one request a connection, then its answers, as the operator has them. A partner sees and ends what it
//! has asked for, and nothing of others' studies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_host::link::LinkError;
use entente_host::locks::lock;
use entente_host::terminal::clean;
use entente_protocols::study::Study;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{FromRequester, ToOperator};

use super::answers::{Answers, Followed, Gone, json};
use super::overview;
use crate::hall::Hall;
use crate::hall::close::Close;
use crate::link::peer::{FIRST, Peer};
use crate::rehearsal::marked;
use crate::results::RESULT;
use crate::scheduler::Scheduler;
use crate::scheduler::asked::{Asked, is_of};
use crate::scheduler::check::Checks;
use crate::tables;

/// The most connections of one partner on which it asks, beside its node's.
const MOST: usize = 8;

/// Answers partners.
pub(super) struct Requesters {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
    checks: Arc<Checks>,
    followed: Arc<Followed>,
    /// How many connections of each there are.
    connected: Mutex<HashMap<String, usize>>,
}

/// A place among those of a partner, until it is dropped.
struct Place<'a> {
    of: &'a Mutex<HashMap<String, usize>>,
    name: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut connected = lock(self.of);
        if let Some(count) = connected.get_mut(self.name) {
            *count -= 1;
        }
        connected.retain(|_, count| *count > 0);
    }
}

impl Requesters {
    pub(super) fn new(
        hall: Arc<Hall>,
        scheduler: Arc<Scheduler>,
        checks: Arc<Checks>,
        followed: Arc<Followed>,
    ) -> Self {
        Self { hall, scheduler, checks, followed, connected: Mutex::default() }
    }

    /// Serves one connection of the partner `name`, whose certificate is checked.
    pub(super) async fn serve(&self, name: &str, peer: &Peer) -> Result<(), LinkError> {
        let Some(_place) = self.place(name) else {
            peer.close(Close::Busy, "this partner asks on too many connections at once");
            return Ok(());
        };
        let (out, mut frames) = peer.open(FrameReader::from_requesters()).await?;
        let request: FromRequester = frames.next_within(FIRST).await?.decode()?;
        let mut answers = Answers::new(out);
        if self.answer(name, request, &mut answers).await.is_ok() {
            answers.end(peer).await;
        }
        Ok(())
    }

    fn place<'a>(&'a self, name: &'a str) -> Option<Place<'a>> {
        let mut connected = lock(&self.connected);
        let count = connected.entry(name.to_owned()).or_default();
        (*count < MOST).then(|| {
            *count += 1;
            Place { of: &self.connected, name }
        })
    }

    async fn answer(&self, name: &str, request: FromRequester, answers: &mut Answers) -> Result<(), Gone> {
        let answer = match request {
            FromRequester::Check { study } => self.check(name, study).await,
            FromRequester::Run { study, id, petition, follow } => {
                match self.scheduler.submit_asked(Asked { study, id, requester: name.into(), petition }) {
                    Ok(id) => {
                        answers.say(&ToOperator::Accepted(id.clone())).await?;
                        return if follow { self.follow(&id, answers).await } else { Ok(()) };
                    }
                    Err(error) => Err(error),
                }
            }
            FromRequester::Follow(id) => match self.own(name, &id) {
                Ok(()) => return self.follow(&id, answers).await,
                Err(error) => Err(error),
            },
            FromRequester::Rehearse { study } => return self.rehearse(study, answers).await,
            FromRequester::List => self.list(name),
            FromRequester::Show(id) => self.show(name, &id),
            FromRequester::Cancel(id) => match self.own(name, &id) {
                Ok(()) => {
                    self.scheduler.cancel(&id, &format!("`{name}`, which had asked for it")).await.map(ToOperator::Done)
                }
                Err(error) => Err(error),
            },
        };
        match answer {
            Ok(message) => answers.say(&message).await,
            Err(error) => answers.say_error(error).await,
        }
    }

    async fn check(&self, name: &str, study: Study) -> Result<ToOperator, Error> {
        let view = self.checks.check(study, name).await?;
        Ok(ToOperator::Shown { json: json(&view)?, text: tables::check(&view), refused: view.refused })
    }

    async fn rehearse(&self, study: Study, answers: &mut Answers) -> Result<(), Gone> {
        let files = self.checks.rehearse(study).await;
        let text = files.as_ref().ok().and_then(|files| files.get(&marked(RESULT))).map(|json| tables::result(json));
        answers.rehearsed(files).await?;
        match text {
            Some(text) => answers.say(&ToOperator::Shown { json: String::new(), text, refused: false }).await,
            None => Ok(()),
        }
    }

    /// Reports a study until it ends, then its result, and that as people read it.
    async fn follow(&self, id: &str, answers: &mut Answers) -> Result<(), Gone> {
        self.followed.follow(id, answers).await?;
        match self.hall.store.result_file(id, RESULT) {
            Ok(Some(result)) => {
                let text = tables::result(&result);
                answers.say(&ToOperator::Shown { json: String::new(), text, refused: false }).await
            }
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn list(&self, name: &str) -> Result<ToOperator, Error> {
        let roster = self.hall.roster()?;
        let own = self.hall.store.studies()?.into_iter().filter(|study| is_of(study, name, &roster));
        let own = own.map(|study| overview::one(&self.hall, &self.scheduler, &study.id));
        let views = own.collect::<Result<Vec<_>, _>>()?;
        Ok(ToOperator::Shown { json: json(&views)?, text: tables::studies(&views), refused: false })
    }

    fn show(&self, name: &str, id: &str) -> Result<ToOperator, Error> {
        self.own(name, id)?;
        let view = overview::one(&self.hall, &self.scheduler, id)?;
        Ok(ToOperator::Shown { json: json(&view)?, text: tables::study(&view), refused: false })
    }

    /// That a partner has asked for a study. Of others' studies it does not learn whether there are any.
    fn own(&self, name: &str, id: &str) -> Result<(), Error> {
        match self.hall.store.study(id)? {
            Some(study) if is_of(&study, name, &self.hall.roster()?) => Ok(()),
            _ => Err(Error::refused(format!("`{name}` has asked for no study `{}`", clean(id)))
                .help("entente-node study list shows those that it has asked for")),
        }
    }
}
