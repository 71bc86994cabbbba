//! Nodes driven by hand: real participants over their real folders and real QUIC, of whom a test says what they do when something
//! comes, and what becomes of what they say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entente_examples::alliance::{Error, let_go};
use entente_host::clock::Clock;
use entente_host::link::{Frames, dial, send};
use entente_node::link::inbox::Inbox;
use entente_node::link::tls;
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{COORDINATOR_NAME, FromNode, ToNode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::world::{SOON, World};

/// How many frames wait to be sent: more than there are, as what is heard and what is said take turns here.
const OUTGOING: usize = 4096;
/// How soon it dials again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a study that waits is looked at again.
const DECISIONS: Duration = Duration::from_millis(100);

/// What a node does when a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Answers it, as nodes do.
    Answers,
    /// Nothing, as if it had not come.
    Ignores,
    /// Loses the connection instead, and dials again.
    Reconnects,
    /// Loses the connection instead, and stays away.
    Leaves,
}

/// How a node behaves: as nodes do, unless it is told otherwise.
pub struct Manners {
    hears: Box<dyn FnMut(&ToNode) -> Does + Send>,
    says: Box<dyn FnMut(FromNode) -> Vec<FromNode> + Send>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { hears: Box::new(|_| Does::Answers), says: Box::new(|message| vec![message]) }
    }
}

impl Manners {
    /// What it does when a message comes.
    #[must_use]
    pub fn hears(self, hears: impl FnMut(&ToNode) -> Does + Send + 'static) -> Self {
        Self { hears: Box::new(hears), ..self }
    }

    /// Does something at the first message that `is` so, and from then on what nodes do.
    #[must_use]
    pub fn once(self, does: Does, is: impl Fn(&ToNode) -> bool + Send + 'static) -> Self {
        let mut done = false;
        self.hears(move |message| {
            let now = !done && is(message);
            done |= now;
            if now { does } else { Does::Answers }
        })
    }

    /// What it says instead of each of its messages; contributions leave as they are, as nobody can make others.
    #[must_use]
    pub fn says(self, says: impl FnMut(FromNode) -> Vec<FromNode> + Send + 'static) -> Self {
        Self { says: Box::new(says), ..self }
    }
}

/// A node that is driven by hand. It ends when it is dropped.
pub struct Driven {
    task: JoinHandle<()>,
    folder: Folder,
    heard: mpsc::UnboundedReceiver<ToNode>,
}

impl Driven {
    /// Starts a partner's node, whose folder nothing else may run over, and waits until it is welcomed.
    pub async fn start(world: &World, partner: &str, manners: Manners) -> Result<Self, Error> {
        let folder = world.folder(partner);
        let lock = folder.lock()?;
        let participant =
            Arc::new(Participant::open(&folder, entente_node::load(&folder)?, Clock::default())?.holding(lock));
        participant.identify()?;
        let (sender, heard) = mpsc::unbounded_channel();
        let node = Node {
            inbox: Inbox::new(participant),
            config: tls::connection(&folder)?,
            coordinator: world.running().address(),
            manners: Mutex::new(manners),
            heard: sender,
        };
        let task = tokio::spawn(async move { node.run().await });
        let mut driven = Self { task, folder, heard };
        driven.hears("welcome", |message| matches!(message, ToNode::Welcome { .. })).await?;
        Ok(driven)
    }

    /// Waits until it has heard a message that `is` so, behind the last that was waited for.
    pub async fn hears(&mut self, what: &str, is: impl Fn(&ToNode) -> bool) -> Result<ToNode, Error> {
        let wait = async {
            while let Some(message) = self.heard.recv().await {
                if is(&message) {
                    return Ok(message);
                }
            }
            Err(format!("the node has ended without hearing {what}").into())
        };
        timeout(SOON, wait).await.unwrap_or_else(|_| Err(format!("{what} did not come").into()))
    }

    /// Stops it, and waits until it has let go of its folder.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        let_go(&self.folder).await;
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Node {
    inbox: Arc<Inbox<Participant>>,
    config: quinn::ClientConfig,
    coordinator: SocketAddr,
    manners: Mutex<Manners>,
    heard: mpsc::UnboundedSender<ToNode>,
}

impl Node {
    async fn run(&self) {
        // Whatever ends a session, the next may go better.
        while !matches!(self.session().await, Ok(Does::Leaves)) {
            sleep(PAUSE).await;
        }
        self.inbox.answerer().stop();
    }

    /// One connection, as a node's link has it.
    async fn session(&self) -> Result<Does, Error> {
        let dialled = dial(self.config.clone(), self.coordinator, COORDINATOR_NAME).await?;
        let connection = dialled.connection();
        let (mut out, into) = connection.open_bi().await?;
        let participant = self.inbox.answerer();
        for frame in self.says(frame::encode(&participant.hello())) {
            send(&mut out, &frame).await?;
        }
        let (sender, mut outgoing) = mpsc::channel(OUTGOING);
        let mut frames = Frames::new(into, FrameReader::to_nodes());
        let line = self.inbox.connect(participant.begin_connection(), sender.clone());
        participant.connected(sender);
        let mut decisions = interval(DECISIONS);
        loop {
            tokio::select! {
                frame = frames.next() => {
                    let Some(frame) = frame? else { return Ok(Does::Reconnects) };
                    let message: ToNode = frame.decode()?;
                    let does = (self.manners().hears)(&message);
                    let _ = self.heard.send(message.clone());
                    match (does, message) {
                        (Does::Answers, ToNode::Welcome { roster, .. }) => {
                            participant.welcome(roster)?;
                            line.at_once(Participant::ask_witnesses).await;
                        }
                        (Does::Answers, message) => line.take(message, frame.size()).await,
                        (Does::Ignores, _) => {}
                        (does, _) => {
                            connection.close(0u8.into(), b"by hand");
                            return Ok(does);
                        }
                    }
                }
                Some(frame) = outgoing.recv() => {
                    for frame in self.says(frame) {
                        send(&mut out, &frame).await?;
                    }
                }
                leaving = participant.leaving() => {
                    line.beside(move |participant: &Participant| participant.leave(leaving));
                }
                _ = decisions.tick() => {
                    line.reconsider(Participant::reconsider);
                    participant.taken_up().into_iter().for_each(|(attempt, told)| line.take_up(attempt, told));
                }
            }
        }
    }

    /// What becomes of a frame.
    fn says(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::from_nodes();
        reader.feed(&bytes);
        let message = reader.next_frame().ok().flatten().and_then(|frame| frame.decode::<FromNode>().ok());
        match message {
            Some(message) => (self.manners().says)(message).iter().map(frame::encode).collect(),
            None => vec![bytes],
        }
    }

    fn manners(&self) -> std::sync::MutexGuard<'_, Manners> {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
