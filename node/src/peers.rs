//! What this node says to other participants and hears from them, through the coordinator.
//!
//! Messages are sealed before they come here and opened after ([`entente_protocols::secagg::channel`]). They may be lost
//! whenever the connection is: whoever waits for an answer says it again.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use entente_host::clock::{Clock, Moment};
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromAttempt, FromNode};

/// The most messages of a conversation that wait to be read: twice as many as are under way between two that keep to the protocol.
/// Anybody on the way could send others, which are found to be false only when they are opened.
const MOST_UNREAD: usize = 8;

/// An attempt and another participant of it.
pub type With = (AttemptId, String);

/// The ways to the other participants. One for a node; connections come and go. What is locked changes by single insertions and
/// removals.
#[derive(Default)]
pub struct Peers {
    link: Mutex<Option<tokio::sync::mpsc::Sender<Vec<u8>>>>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Who waits for messages, by attempt and participant.
    waiting: HashMap<With, SyncSender<Vec<u8>>>,
    /// Attempts that are over: whoever begins to talk in one, as its end was on the way, waits for nothing.
    ended: HashSet<AttemptId>,
    stopped: bool,
}

impl Open {
    fn is_over(&self, attempt: &AttemptId) -> bool {
        self.stopped || self.ended.contains(attempt)
    }
}

/// A conversation with one participant of an attempt, as long as it lasts.
pub struct Conversation<'a> {
    peers: &'a Peers,
    attempt: AttemptId,
    peer: String,
    incoming: Receiver<Vec<u8>>,
    /// What came while nobody listened.
    unread: RefCell<VecDeque<Vec<u8>>>,
}

/// What tells whether an attempt goes on: for whoever works long before saying something.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    peers: &'a Peers,
    attempt: &'a AttemptId,
}

impl Watch<'_> {
    /// # Errors
    ///
    /// [`Ended`].
    pub fn goes_on(&self) -> Result<(), Ended> {
        if self.peers.is_over(self.attempt) { Err(Ended) } else { Ok(()) }
    }
}

/// The attempt has ended, or this node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attempt has ended, or this node stops")]
pub struct Ended;

impl Peers {
    /// Frames for the coordinator go to `link` from now on.
    pub fn connected(&self, link: tokio::sync::mpsc::Sender<Vec<u8>>) {
        *lock(&self.link) = Some(link);
    }

    /// Sends a frame to the coordinator. Blocks while the connection is slow.
    ///
    /// # Errors
    ///
    /// The frame, if there is no connection now.
    pub fn say(&self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        match lock(&self.link).clone() {
            Some(link) => link.blocking_send(frame).map_err(|unsent| unsent.0),
            None => Err(frame),
        }
    }

    /// Begins a conversation. There is one at a time with a participant of an attempt: an older one ends.
    pub fn converse(&self, attempt: AttemptId, peer: &str) -> Conversation<'_> {
        let (sender, incoming) = sync_channel(MOST_UNREAD);
        let mut open = lock(&self.open);
        if !open.is_over(&attempt) {
            open.waiting.insert((attempt.clone(), peer.into()), sender);
        }
        drop(open);
        Conversation { peers: self, attempt, peer: peer.into(), incoming, unread: RefCell::default() }
    }

    /// Takes a message of a participant. False if nobody here waits for one. What comes while many are unread is lost: whoever
    /// waits for an answer says it again.
    pub fn deliver(&self, attempt: &AttemptId, from: &str, sealed: Vec<u8>) -> bool {
        let open = lock(&self.open);
        open.waiting
            .get(&(attempt.clone(), from.to_owned()))
            .is_some_and(|sender| !matches!(sender.try_send(sealed), Err(TrySendError::Disconnected(_))))
    }

    /// Ends all conversations of an attempt, those to come included.
    pub fn end(&self, attempt: &AttemptId) {
        let mut open = lock(&self.open);
        open.ended.insert(attempt.clone());
        open.waiting.retain(|(of, _), _| of != attempt);
    }

    /// Whether an attempt has ended, or this node stops.
    pub fn is_over(&self, attempt: &AttemptId) -> bool {
        lock(&self.open).is_over(attempt)
    }

    /// How many attempts are remembered to be over.
    pub fn ended(&self) -> usize {
        lock(&self.open).ended.len()
    }

    /// Ends all conversations, those to come included: this node stops.
    pub fn stop(&self) {
        let mut open = lock(&self.open);
        open.stopped = true;
        open.waiting.clear();
    }
}

impl Conversation<'_> {
    /// Sends a sealed message. It is lost if there is no connection now. Blocks while the connection is slow.
    pub fn send(&self, sealed: Vec<u8>) {
        let said = FromAttempt::Relay { to: self.peer.clone(), sealed };
        // What cannot be sent is lost; whoever waits says it again.
        let _ = self.peers.say(frame::encode(&FromNode::Attempt(self.attempt.clone(), said)));
    }

    /// What tells any thread whether it goes on.
    pub fn watch(&self) -> Watch<'_> {
        Watch { peers: self.peers, attempt: &self.attempt }
    }

    /// The next sealed message within `patience` by this clock; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    pub fn receive(&self, clock: &Clock, patience: Duration) -> Result<Option<Vec<u8>>, Ended> {
        if let Some(sealed) = self.unread.borrow_mut().pop_front() {
            return Ok(Some(sealed));
        }
        self.heard(clock, patience)
    }

    /// Waits until then by this clock; what comes meanwhile is read later.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    pub fn wait(&self, clock: &Clock, until: Moment) -> Result<(), Ended> {
        loop {
            let left = until.since(clock.moment());
            if left.is_zero() {
                return Ok(());
            }
            let Some(sealed) = self.heard(clock, left)? else { continue };
            let mut unread = self.unread.borrow_mut();
            if unread.len() < MOST_UNREAD {
                unread.push_back(sealed);
            }
        }
    }

    fn heard(&self, clock: &Clock, patience: Duration) -> Result<Option<Vec<u8>>, Ended> {
        match clock.receive(&self.incoming, patience) {
            Ok(sealed) => Ok(Some(sealed)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_the_conversation_that_is_open() {
        let (peers, clock) = (Peers::default(), Clock::default());
        let attempt = AttemptId::new("s", 1);
        assert!(!peers.deliver(&attempt, "bank", vec![1]));
        let old = peers.converse(attempt.clone(), "bank");
        let conversation = peers.converse(attempt.clone(), "bank");
        assert_eq!(old.receive(&clock, Duration::ZERO), Err(Ended), "a newer one has begun");
        assert!(peers.deliver(&attempt, "bank", vec![1]) && conversation.watch().goes_on().is_ok());
        assert!(
            !peers.deliver(&attempt, "telecom", vec![2]) && !peers.deliver(&AttemptId::new("s", 2), "bank", vec![3])
        );
        assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(Some(vec![1])));
        assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(None));
        peers.end(&attempt);
        assert_eq!(conversation.receive(&clock, Duration::ZERO), Err(Ended));
        assert_eq!(conversation.watch().goes_on(), Err(Ended));
        assert_eq!(
            peers.converse(attempt, "bank").receive(&clock, Duration::from_secs(60)),
            Err(Ended),
            "it began too late"
        );
        let other = peers.converse(AttemptId::new("s", 2), "bank");
        peers.stop();
        assert_eq!(other.receive(&clock, Duration::from_secs(60)), Err(Ended));
        assert_eq!(peers.converse(AttemptId::new("s", 3), "bank").receive(&clock, Duration::from_secs(60)), Err(Ended));
    }

    /// Anybody on the way can say anything, and whoever computes opens nothing meanwhile.
    #[test]
    fn what_nobody_reads_takes_no_room() {
        let (peers, clock, attempt) = (Peers::default(), Clock::default(), AttemptId::new("s", 1));
        let conversation = peers.converse(attempt.clone(), "bank");
        for number in 0..100 {
            assert!(peers.deliver(&attempt, "bank", vec![number]), "somebody waits");
        }
        for number in 0..MOST_UNREAD {
            assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(Some(vec![number as u8])));
        }
        assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(None));
        assert!(peers.deliver(&attempt, "bank", vec![7]));
        assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(Some(vec![7])));
    }

    /// What is said leaves when it is to; what others say until then is not lost, unless they say more than anybody does.
    #[test]
    fn what_comes_while_one_waits_is_read_later_and_an_end_ends_the_wait() {
        let (peers, clock, attempt) = (Peers::default(), Clock::default(), AttemptId::new("s", 1));
        let conversation = peers.converse(attempt.clone(), "bank");
        let began = clock.moment();
        for number in 0..3 {
            assert!(peers.deliver(&attempt, "bank", vec![number]));
        }
        let until = began + Duration::from_millis(20);
        assert_eq!(conversation.wait(&clock, until), Ok(()));
        assert!(clock.moment() >= until);
        assert!(peers.deliver(&attempt, "bank", vec![3]));
        for number in 0..4 {
            assert_eq!(conversation.receive(&clock, Duration::ZERO), Ok(Some(vec![number])));
        }
        let many = std::thread::scope(|scope| {
            let saying = scope.spawn(|| {
                for _ in 0..1000 {
                    peers.deliver(&attempt, "bank", vec![9]);
                    std::thread::yield_now();
                }
                peers.end(&attempt);
            });
            let ended = conversation.wait(&clock, clock.moment() + Duration::from_secs(600));
            saying.join().unwrap();
            ended
        });
        assert_eq!((many, conversation.unread.borrow().len() <= MOST_UNREAD), (Err(Ended), true));
    }

    #[test]
    fn without_a_connection_messages_are_lost() {
        let peers = Peers::default();
        let conversation = peers.converse(AttemptId::new("s", 1), "bank");
        conversation.send(vec![1]);
        let (sender, mut link) = tokio::sync::mpsc::channel(4);
        peers.connected(sender);
        conversation.send(vec![2]);
        assert!(link.try_recv().is_ok() && link.try_recv().is_err());
        drop(link);
        conversation.send(vec![3]);
    }
}
