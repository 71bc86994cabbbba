//! Nodes that are connected, and what they said of themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use entente_host::locks::lock;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::ToNode;
use tokio::sync::mpsc;

use super::close::{Close, Closer};

/// How many messages may wait to be written to one node; more is a node that does not read.
pub(crate) const QUEUE: usize = 256;

/// One connected node.
pub(crate) struct Session {
    /// Counts sessions, so that the end of an old one does not end a newer one.
    pub(crate) number: u64,
    pub(crate) link: Closer,
    /// What waits to be written to it.
    pub(crate) outgoing: mpsc::Sender<Vec<u8>>,
    /// From where it connects.
    pub(crate) address: SocketAddr,
    pub(crate) since: jiff::Timestamp,
    /// Its clock minus ours, in seconds.
    pub(crate) clock_ahead: i64,
    pub(crate) software: String,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Session>,
    /// What nodes that connected since the start have said, also of those that have gone again.
    schemas: HashMap<String, Vec<DatasetSchema>>,
    /// Nodes whose ledger contradicts what was witnessed, and how.
    distrusted: BTreeMap<String, String>,
    last: u64,
}

/// All connected nodes.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<State>);

/// What `partners` shows of a connection.
pub(crate) struct Seen {
    pub(crate) since: jiff::Timestamp,
    pub(crate) clock_ahead: i64,
    pub(crate) software: String,
    pub(crate) address: String,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // State changes by single assignments: a panic elsewhere leaves nothing half-done.
        lock(&self.0)
    }

    /// Counts a node as connected, after its hello. An older connection of it is closed.
    pub(crate) fn insert(&self, node: &str, mut session: Session, schemas: Vec<DatasetSchema>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        session.number = number;
        state.schemas.insert(node.into(), schemas);
        if let Some(old) = state.sessions.insert(node.into(), session) {
            old.link.close(Close::Replaced, "the node has connected anew; is a second one running?");
        }
        number
    }

    /// A connection has ended. True if it was the node's newest.
    pub(crate) fn remove(&self, node: &str, number: u64) -> bool {
        let mut state = self.lock();
        let newest = state.sessions.get(node).is_some_and(|session| session.number == number);
        if newest {
            state.sessions.remove(node);
        }
        newest
    }

    /// Closes a node's connection and forgets what it said.
    pub(crate) fn expel(&self, node: &str, reason: &str) {
        let mut state = self.lock();
        state.schemas.remove(node);
        state.distrusted.remove(node);
        if let Some(session) = state.sessions.remove(node) {
            session.link.close(Close::Revoked, reason);
        }
    }

    /// Sends a message to a node. False if it is not connected: it will be told when it comes back.
    pub(crate) fn send(&self, node: &str, message: &ToNode) -> bool {
        let mut state = self.lock();
        let Some(session) = state.sessions.get(node) else { return false };
        if session.outgoing.try_send(frame::encode(message)).is_ok() {
            return true;
        }
        session.link.close(Close::Busy, "the node does not read what is sent to it");
        state.sessions.remove(node);
        false
    }

    /// Sends a message to every node.
    pub(crate) fn send_all(&self, message: &ToNode) {
        let nodes: Vec<String> = self.lock().sessions.keys().cloned().collect();
        for node in nodes {
            self.send(&node, message);
        }
    }

    /// Passes on to a node what another one says. It is dropped where that would take the room of what is more to the point: whoever
    /// says much to a partner is neither to cut it off nor to keep its witnesses from it.
    pub(crate) fn pass_on(&self, node: &str, message: &ToNode) {
        let state = self.lock();
        let Some(session) = state.sessions.get(node) else { return };
        let most = session.outgoing.max_capacity();
        let room = match message {
            ToNode::Witness { .. } | ToNode::Witnessed { .. } | ToNode::Read { .. } | ToNode::Held { .. } => most / 2,
            _ => most / 4,
        };
        if most - session.outgoing.capacity() < room {
            // A queue that has room takes it, unless the connection ends: then it is lost with all else.
            let _ = session.outgoing.try_send(frame::encode(message));
        }
    }

    /// All nodes that are connected, but one.
    pub(crate) fn others(&self, but: &str) -> BTreeSet<String> {
        self.lock().sessions.keys().filter(|node| *node != but).cloned().collect()
    }

    pub(crate) fn is_connected(&self, node: &str) -> bool {
        self.lock().sessions.contains_key(node)
    }

    /// The schemas a node has told since the coordinator started.
    pub(crate) fn schemas(&self, node: &str) -> Option<Vec<DatasetSchema>> {
        self.lock().schemas.get(node).cloned()
    }

    pub(crate) fn seen(&self, node: &str) -> Option<Seen> {
        let state = self.lock();
        let Session { since, clock_ahead, software, address, .. } = state.sessions.get(node)?;
        let address = address.to_string();
        Some(Seen { since: *since, clock_ahead: *clock_ahead, software: software.clone(), address })
    }

    /// Remembers, or forgets, that a node's ledger contradicts what was witnessed.
    pub(crate) fn distrust(&self, node: &str, why: Option<String>) {
        let mut state = self.lock();
        match why {
            Some(why) => state.distrusted.insert(node.into(), why),
            None => state.distrusted.remove(node),
        };
    }

    pub(crate) fn distrusted(&self, node: &str) -> Option<String> {
        self.lock().distrusted.get(node).cloned()
    }
}
