//! Nodes driven by hand: real participants over their real folders and real QUIC, of whom a test says what they do when something
//! comes, and what becomes of what they say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entente_examples::alliance::{Error, let_go};
use entente_host::link::{Frames, dial, send};
use entente_node::link::tls;
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{COORDINATOR_NAME, FromNode, ToNode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::world::{SOON, World};

/// How many frames wait to be sent, as at a node.
const OUTGOING: usize = 16;
/// How soon it dials again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a study that waits is looked at again.
const DECISIONS: Duration = Duration::from_millis(100);

/// What a node does when a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Answers it, as nodes do.
    Answers,
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
        let participant = Arc::new(Participant::open(&folder, entente_node::load(&folder)?)?.holding(lock));
        let (sender, heard) = mpsc::unbounded_channel();
        let node = Node {
            participant,
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
    participant: Arc<Participant>,
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
        self.participant.stop();
    }

    /// One connection, as a node's link has it.
    async fn session(&self) -> Result<Does, Error> {
        let dialled = dial(self.config.clone(), self.coordinator, COORDINATOR_NAME).await?;
        let connection = dialled.connection();
        let (mut out, into) = connection.open_bi().await?;
        for frame in self.says(frame::encode(&self.participant.hello())) {
            send(&mut out, &frame).await?;
        }
        let (sender, mut outgoing) = mpsc::channel(OUTGOING);
        self.participant.connected(sender.clone());
        let mut frames = Frames::new(into, FrameReader::to_nodes());
        let mut decisions = interval(DECISIONS);
        loop {
            tokio::select! {
                frame = frames.next() => {
                    let Some(frame) = frame? else { return Ok(Does::Reconnects) };
                    let message: ToNode = frame.decode()?;
                    let does = (self.manners().hears)(&message);
                    let _ = self.heard.send(message.clone());
                    if does != Does::Answers {
                        connection.close(0u8.into(), b"by hand");
                        return Ok(does);
                    }
                    if let ToNode::Welcome { roster, .. } = message {
                        self.participant.welcome(roster)?;
                        self.participant.begin_connection();
                        self.answer(&sender, Participant::ask_witnesses);
                    } else {
                        self.answer(&sender, move |participant| participant.handle(message));
                    }
                }
                Some(frame) = outgoing.recv() => {
                    for frame in self.says(frame) {
                        send(&mut out, &frame).await?;
                    }
                }
                _ = decisions.tick() => {
                    if self.participant.has_waiting() {
                        self.answer(&sender, Participant::reconsider);
                    }
                }
            }
        }
    }

    /// Answers beside what goes on, as a node does.
    fn answer(
        &self,
        sender: &mpsc::Sender<Vec<u8>>,
        handle: impl FnOnce(&Participant) -> Vec<Vec<u8>> + Send + 'static,
    ) {
        let (participant, sender) = (self.participant.clone(), sender.clone());
        tokio::task::spawn_blocking(move || {
            handle(&participant).into_iter().all(|frame| sender.blocking_send(frame).is_ok());
        });
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
