//! A partner's node: its hello, then whatever its studies need, both ways, until one side goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use entente_host::Error;
use entente_host::clock::is_off;
use entente_host::link::{Frames, LinkError};
use entente_host::terminal::clean;
use entente_protocols::attempt::AttemptId;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::receipt::Part;
use entente_protocols::ledger::witness::{Answer, Request};
use entente_protocols::wire::frame::{self, Frame, FrameReader};
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use quinn::SendStream;
use tokio::sync::mpsc;

use super::FIRST;
use super::close::{Close, close};
use super::notices::Notices;
use crate::coordinator::Shared;
use crate::hall::sessions::{QUEUE, Session};
use crate::scheduler::NodeEvent;
use crate::store::{LastSeen, StudyRecord, StudyState};
use crate::witnessing::Witnessed;

/// The most data sets of one node.
const MAX_DATASETS: usize = 1000;

/// Serves one connection of the node `name`, whose certificate is checked.
pub(super) async fn serve(shared: &Arc<Shared>, name: &str, connection: &quinn::Connection) -> Result<(), LinkError> {
    let accepted = tokio::time::timeout(FIRST, connection.accept_bi()).await.map_err(|_| LinkError::Slow(FIRST))?;
    let (send, receive) = accepted?;
    let mut frames = Frames::new(receive, FrameReader::from_nodes());
    let hello = frames.next_within(FIRST).await?.decode()?;
    let (outgoing, queue) = mpsc::channel(QUEUE);
    let number = match greet(shared, name, connection, hello, outgoing) {
        Ok(number) => number,
        Err(error) => {
            tracing::warn!(node = name, %error, "hello refused");
            close(connection, Close::Protocol, &error.to_string());
            return Ok(());
        }
    };
    let certificate = super::certificate(connection);
    if certificate.and_then(|certificate| shared.access.role(&certificate)).is_none() {
        // Revoked while it said hello.
        shared.sessions.expel(name, "this node's certificate is revoked");
        return Ok(());
    }
    tracing::info!(node = name, from = %connection.remote_address(), "connected");
    let reading = async {
        let missed = shared.store.notices(name).unwrap_or_else(|error| {
            tracing::error!(%error, node = name, "what this node has still to be told is not known");
            Vec::new()
        });
        let mut notices = Notices::new(missed);
        tell(shared, name, &mut notices);
        shared.desk.connected(name).await;
        while let Some(frame) = frames.next().await? {
            receive_frame(shared, name, &frame, &mut notices).await?;
        }
        Ok::<(), LinkError>(())
    };
    let ended = tokio::select! {
        ended = reading => ended,
        () = write(send, queue) => Ok(()),
    };
    if shared.sessions.remove(name, number) || !shared.sessions.is_connected(name) {
        tracing::info!(node = name, "disconnected");
        shared.desk.tell_all(name, || NodeEvent::Disconnected).await;
    }
    ended
}

/// Takes a node's hello, answers it and counts the node as connected. The session's number.
fn greet(
    shared: &Shared,
    name: &str,
    connection: &quinn::Connection,
    hello: FromNode,
    outgoing: mpsc::Sender<Vec<u8>>,
) -> Result<u64, Error> {
    let FromNode::Hello { software, roster: _, datasets, ledger, clock } = hello else {
        return Err(Error::refused("the first message must be a hello"));
    };
    check_datasets(&datasets)?;
    let (software, since) = (clean(&software), shared.clock.now());
    let now = since.as_second();
    let clock_ahead = shared.clock.ahead(clock);
    if is_off(clock_ahead) {
        tracing::warn!(node = name, clock_ahead, "its clock and this one's differ by so many seconds; set them by NTP");
    }
    let contradiction = shared.contradiction(name, ledger)?;
    if let Some(contradiction) = &contradiction {
        shared.alarm(name, contradiction);
    }
    shared.sessions.distrust(name, contradiction);
    shared.store.saw(name, &LastSeen { time: now, software: software.clone(), datasets: datasets.clone(), ledger })?;
    let welcome = frame::encode(&ToNode::Welcome { roster: shared.roster()?, clock: now });
    // The first message of a queue that nobody else has yet.
    let _ = outgoing.try_send(welcome);
    let session = Session { number: 0, connection: connection.clone(), outgoing, since, clock_ahead, software };
    Ok(shared.sessions.insert(name, session, datasets))
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

/// Tells a node what it has missed, as far as it is to be told now.
fn tell(shared: &Shared, name: &str, notices: &mut Notices) {
    while let Some(notice) = notices.next() {
        if !shared.notify(name, notice) {
            break;
        }
    }
}

async fn receive_frame(
    shared: &Arc<Shared>,
    name: &str,
    frame: &Frame,
    notices: &mut Notices,
) -> Result<(), LinkError> {
    if frame.is_contribution() {
        let contribution = frame.decode_contribution()?;
        let study = contribution.attempt.study.clone();
        shared.desk.tell(&study, name, NodeEvent::Contribution(contribution)).await;
        return Ok(());
    }
    let message: FromNode = frame.decode()?;
    match message {
        FromNode::Hello { .. } => return Err(entente_protocols::canonical::Malformed.into()),
        FromNode::Checked { number, answer } => shared.desk.checked(name, number, answer),
        FromNode::Attempt(id, FromAttempt::Relay { to, sealed }) => relay(shared, name, id, &to, sealed),
        FromNode::Attempt(id, said) => {
            if let FromAttempt::Closed { part } = &said {
                closed(shared, name, &id, part.as_deref());
            }
            if !matches!(said, FromAttempt::Waiting { .. }) {
                notices.answered(&id);
                tell(shared, name, notices);
            }
            shared.desk.tell(&id.study, name, NodeEvent::Said { number: id.number, said: Box::new(said) }).await;
        }
        FromNode::Witness { request, of } => witness(shared, name, request, of).await,
        // What nobody has asked for is dropped.
        FromNode::Witnessed { node, answer } if shared.witnessing.is_answered(&node, name, shared.clock.moment()) => {
            shared.sessions.pass_on(&node, &ToNode::Witnessed { by: Some(name.into()), answer });
        }
        FromNode::Witnessed { .. } => {}
    }
    Ok(())
}

/// A node has recorded the end of an attempt: takes its part of the receipt.
fn closed(shared: &Shared, name: &str, id: &AttemptId, part: Option<&Part>) {
    if let Some(part) = part
        && let Err(error) = shared.take_part(name, &id.study, part)
    {
        tracing::warn!(node = name, %error, "a receipt stays without its signature");
    }
    if let Err(error) = shared.store.remove_notice(name, id) {
        tracing::error!(%error, "a notice could not be deleted");
    }
}

/// Has a node's ledger witnessed: by those of the others that it names and that are connected, who are told first as their answers
/// take longer, and here.
async fn witness(shared: &Arc<Shared>, name: &str, request: Request, of: Option<Vec<String>>) {
    let told = ToNode::Witness { node: name.into(), request: request.clone() };
    let others = shared.sessions.others(name);
    // Once each, however often they are named.
    let asked: BTreeSet<String> = match of {
        Some(of) => of.into_iter().filter(|other| others.contains(other)).collect(),
        None => others,
    };
    for other in &asked {
        if shared.witnessing.asks(name, other, shared.clock.moment()) {
            shared.sessions.pass_on(other, &told);
        }
    }
    let Witnessed { answer, contradiction } = match shared.witness(name, request).await {
        Ok(witnessed) => witnessed,
        Err(error) => {
            tracing::error!(node = name, %error, "its ledger could not be witnessed");
            let answer = Answer::Refused("the coordinator could not keep it".into());
            shared.sessions.send(name, &ToNode::Witnessed { by: None, answer });
            return;
        }
    };
    let distrusted = match (&answer, contradiction) {
        (Answer::Cosigned { .. }, _) => None,
        (_, Some(contradiction)) => {
            shared.alarm(name, &contradiction);
            Some(contradiction)
        }
        // It may only lack the proof from what is held here, which it then brings.
        (Answer::Holds(_) | Answer::Refused(_), None) => shared.sessions.distrusted(name),
    };
    shared.sessions.distrust(name, distrusted);
    shared.sessions.send(name, &ToNode::Witnessed { by: None, answer });
}

/// Passes a sealed message on to another participant of the present attempt of a study that runs, and keeps nothing of it. What is
/// not for one, or comes while the other is away, is lost: whoever waits for an answer says it again.
fn relay(shared: &Shared, from: &str, id: AttemptId, to: &str, sealed: Vec<u8>) {
    let takes_part = |record: &StudyRecord| {
        let part = |name: &str| record.participants.iter().any(|participant| participant == name);
        record.state == StudyState::Running && record.attempt == id.number && from != to && part(from) && part(to)
    };
    match shared.store.study(&id.study) {
        Ok(Some(record)) if takes_part(&record) => {
            let told = ToAttempt::Relayed { from: from.into(), sealed };
            shared.sessions.pass_on(to, &ToNode::Attempt(id, told));
        }
        Ok(_) => {
            tracing::debug!(node = from, study = clean(&id.study), "a message that is for no participant is dropped")
        }
        Err(error) => tracing::error!(%error, "a message between participants is dropped"),
    }
}

/// Writes what is queued until there is no more to come or the stream is gone.
async fn write(mut stream: SendStream, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
