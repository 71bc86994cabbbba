//! What is said to one node and heard from it, without the connection that carries it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use entente_host::Error;
use entente_host::clock::is_off;
use entente_host::link::LinkError;
use entente_host::terminal::clean;
use entente_protocols::attempt::AttemptId;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::receipt::Part;
use entente_protocols::ledger::witness::{Answer, Request};
use entente_protocols::wire::frame::{self, Frame};
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use tokio::sync::mpsc;

use super::notices::Notices;
use super::witnesses::{Witnessed, Witnesses};
use crate::hall::Hall;
use crate::hall::close::Closer;
use crate::hall::sessions::Session;
use crate::scheduler::check::Checks;
use crate::scheduler::event::NodeEvent;
use crate::scheduler::{end, receipt};
use crate::store::{LastSeen, StudyRecord, StudyState};

/// The most data sets of one node.
const MAX_DATASETS: usize = 1000;

/// Answers nodes.
pub(crate) struct Desk {
    hall: Arc<Hall>,
    checks: Arc<Checks>,
    pub(super) witnesses: Arc<Witnesses>,
}

/// What a node has said that is not answered here.
pub(crate) enum Heard {
    /// Nothing: it is seen to.
    Done,
    /// Something that a study has to know.
    OfStudy(String, NodeEvent),
    /// It asks for witnesses of its ledger, of these partners or of all.
    Witness(Request, Option<Vec<String>>),
}

impl Desk {
    pub(crate) fn new(hall: Arc<Hall>, checks: Arc<Checks>) -> Self {
        Self { witnesses: Arc::new(Witnesses::new(hall.clone())), hall, checks }
    }

    /// Takes a node's hello, answers it and counts the node as connected. The session's number.
    pub(crate) fn greet(
        &self,
        name: &str,
        hello: FromNode,
        (link, address): (Closer, SocketAddr),
        outgoing: mpsc::Sender<Vec<u8>>,
    ) -> Result<u64, Error> {
        let FromNode::Hello { software, roster: _, datasets, ledger, clock } = hello else {
            return Err(Error::refused("the first message must be a hello"));
        };
        check_datasets(&datasets)?;
        let (hall, software, since) = (&self.hall, clean(&software), self.hall.clock.now());
        let (now, clock_ahead) = (since.as_second(), hall.clock.ahead(clock));
        if is_off(clock_ahead) {
            tracing::warn!(node = name, clock_ahead, "this node's clock differs from ours; synchronise both by NTP");
        }
        let contradiction = self.witnesses.contradiction(name, ledger)?;
        if let Some(contradiction) = &contradiction {
            self.witnesses.alarm(name, contradiction);
        }
        hall.sessions.distrust(name, contradiction);
        hall.store
            .saw(name, &LastSeen { time: now, software: software.clone(), datasets: datasets.clone(), ledger })?;
        let welcome = frame::encode(&ToNode::Welcome { roster: hall.roster()?, clock: now });
        // The first message of a queue that nobody else has yet.
        let _ = outgoing.try_send(welcome);
        let session = Session { number: 0, link, outgoing, address, since, clock_ahead, software };
        Ok(hall.sessions.insert(name, session, datasets))
    }

    /// Tells a node what it has missed, as far as it is to be told now.
    pub(crate) fn tell(&self, name: &str, notices: &mut Notices) {
        while let Some(notice) = notices.next() {
            let attempt = notice.attempt.clone();
            if !self.hall.sessions.send(name, &ToNode::Attempt(attempt, end::told(&self.hall, notice))) {
                break;
            }
        }
    }

    /// Takes what a node says.
    pub(crate) fn hear(&self, name: &str, frame: &Frame, notices: &mut Notices) -> Result<Heard, LinkError> {
        let Self { hall, checks, witnesses } = self;
        if frame.is_contribution() {
            let contribution = frame.decode_contribution()?;
            let study = contribution.attempt.study.clone();
            return Ok(Heard::OfStudy(study, NodeEvent::Contribution(contribution)));
        }
        let message: FromNode = frame.decode()?;
        match message {
            FromNode::Hello { .. } => return Err(entente_protocols::canonical::Malformed.into()),
            FromNode::Checked { number, answer } => checks.answered(name, number, answer),
            FromNode::Attempt(id, FromAttempt::Relay { to, sealed }) => {
                let (study, number) = (id.study.clone(), id.number);
                if relay(hall, name, id, &to, sealed) {
                    return Ok(Heard::OfStudy(study, NodeEvent::Relayed { number, to }));
                }
            }
            FromNode::Attempt(id, said) => {
                if let FromAttempt::Closed { part } = &said {
                    closed(hall, name, &id, part.as_deref());
                }
                if !matches!(said, FromAttempt::Waiting { .. } | FromAttempt::Queued { .. }) {
                    notices.answered(&id);
                    self.tell(name, notices);
                }
                return Ok(Heard::OfStudy(id.study, NodeEvent::Said { number: id.number, said: Box::new(said) }));
            }
            FromNode::Witness { request, of } => return Ok(Heard::Witness(request, of)),
            // What nobody has asked for is dropped.
            FromNode::Witnessed { node, answer }
                if witnesses.open.is_answered(&node, name, self.hall.clock.moment()) =>
            {
                hall.sessions.pass_on(&node, &ToNode::Witnessed { by: Some(name.into()), answer });
            }
            FromNode::Witnessed { .. } => {}
        }
        Ok(Heard::Done)
    }

    /// Has a node's ledger witnessed by others and here.
    pub(crate) fn witness(&self, name: &str, request: Request, of: Option<Vec<String>>) {
        self.ask_partners(name, &request, of);
        self.tell_witnessed(name, self.witnesses.witness_here(name, request));
    }

    /// Passes a node's request for witnesses on to those of the others that it names and that are connected.
    pub(super) fn ask_partners(&self, name: &str, request: &Request, of: Option<Vec<String>>) {
        let Self { hall, witnesses, .. } = self;
        let told = ToNode::Witness { node: name.into(), request: request.clone() };
        let others = hall.sessions.others(name);
        // Once each, however often they are named.
        let asked: BTreeSet<String> = match of {
            Some(of) => of.into_iter().filter(|other| others.contains(other)).collect(),
            None => others,
        };
        for other in &asked {
            if witnesses.open.asks(name, other, self.hall.clock.moment()) {
                hall.sessions.pass_on(other, &told);
            }
        }
    }

    /// Tells a node what was seen of its ledger here, and remembers whether it can be trusted.
    pub(super) fn tell_witnessed(&self, name: &str, witnessed: Result<Witnessed, Error>) {
        let Self { hall, witnesses, .. } = self;
        let Witnessed { answer, contradiction } = match witnessed {
            Ok(witnessed) => witnessed,
            Err(error) => {
                tracing::error!(node = name, %error, "its ledger could not be witnessed");
                let answer = Answer::Refused("the coordinator could not keep it".into());
                hall.sessions.send(name, &ToNode::Witnessed { by: None, answer });
                return;
            }
        };
        let distrusted = match (&answer, contradiction) {
            (Answer::Cosigned { .. }, _) => None,
            (_, Some(contradiction)) => {
                witnesses.alarm(name, &contradiction);
                Some(contradiction)
            }
            // It may only lack the proof from what is held here, which it then brings.
            (Answer::Holds(_) | Answer::Earlier { .. } | Answer::Refused(_), None) => hall.sessions.distrusted(name),
        };
        hall.sessions.distrust(name, distrusted);
        hall.sessions.send(name, &ToNode::Witnessed { by: None, answer });
    }
}

fn check_datasets(datasets: &[DatasetSchema]) -> Result<(), Error> {
    if datasets.len() > MAX_DATASETS {
        return Err(Error::refused(format!("a node has at most {MAX_DATASETS} data sets")));
    }
    for (i, dataset) in datasets.iter().enumerate() {
        dataset.validate().map_err(|error| Error::refused(error.to_string()))?;
        if datasets[..i].iter().any(|other| other.name == dataset.name) {
            return Err(Error::refused(format!("two data sets are called `{}`", clean(&dataset.name))));
        }
    }
    Ok(())
}

/// A node has recorded the end of an attempt: takes its part of the receipt.
fn closed(hall: &Hall, name: &str, id: &AttemptId, part: Option<&Part>) {
    if let Some(part) = part
        && let Err(error) = receipt::take_part(hall, name, &id.study, part)
    {
        tracing::warn!(node = name, %error, "a receipt stays without its signature");
    }
    if let Err(error) = hall.store.remove_notice(name, id) {
        tracing::error!(%error, "a notice could not be deleted");
    }
}

/// Passes a sealed message on to another participant of the present attempt of a study that runs, and keeps nothing of it. What is
/// not for one, or comes while the other is away, is lost: whoever waits for an answer says it again. Whether it is for one.
fn relay(hall: &Hall, from: &str, id: AttemptId, to: &str, sealed: Vec<u8>) -> bool {
    let takes_part = |record: &StudyRecord| {
        let part = |name: &str| record.participants.iter().any(|participant| participant == name);
        record.state == StudyState::Running && record.attempt == id.number && from != to && part(from) && part(to)
    };
    match hall.store.study(&id.study) {
        Ok(Some(record)) if takes_part(&record) => {
            let told = ToAttempt::Relayed { from: from.into(), sealed };
            hall.sessions.pass_on(to, &ToNode::Attempt(id, told));
            return true;
        }
        Ok(_) => {
            tracing::debug!(node = from, study = clean(&id.study), "a message that is for no participant is dropped")
        }
        Err(error) => tracing::error!(%error, "a message between participants is dropped"),
    }
    false
}
