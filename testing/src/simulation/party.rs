//! One partner: a real participant over its folder, with a clock of its own, and its end of the connection.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use entente_examples::alliance::Error;
use entente_host::clock::{Clock, Hands};
use entente_host::locks::lock;
use entente_node::link::inbox::Answerer;
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_node::store::{LedgerStore, StudyStore};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::absence::Absence;
use entente_protocols::ledger::{Act, Budgets, Ledger};
use entente_protocols::policy::{ApprovalMode, StewardDecision, Verdict};
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{ToAttempt, ToNode};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::founding::{clock, copy};
use super::watch::{Secrets, Watched, open};
use super::{log, torn};
use crate::choices::Choices;

/// More than a node says between two looks at its link: nothing waits for room.
const LINK: usize = 1 << 16;

/// Longer than any simulation, by a clock of which nobody knows how it was set.
const AWAY_UNTIL: &str = "2026-02-01";

/// See the module.
pub(super) struct Party {
    pub(super) name: &'static str,
    folder: Folder,
    clock: Clock,
    hands: Arc<Hands>,
    participant: Option<Arc<Participant>>,
    /// Read from beside the node while it is up.
    ledger: Option<LedgerStore>,
    pub(super) watched: Watched,
    link: Option<Link>,
    work: Option<Work>,
    /// Whether its steward decides, not its rules.
    pub(super) is_by_steward: bool,
    /// Messages of the attempt that is at work.
    waiting: VecDeque<ToNode>,
    /// How many bytes it has been sent.
    pub(super) heard: u64,
    attempts: Vec<AttemptId>,
    /// How many entries its ledger had when a state was kept, to be put back.
    kept: Option<u64>,
    /// What it has done wrong since it was looked at last.
    wrong: Option<String>,
}

/// Its end of a connection.
struct Link {
    reader: FrameReader,
    said: mpsc::Receiver<Vec<u8>>,
    is_welcomed: bool,
    sender: mpsc::Sender<Vec<u8>>,
}

/// A round that waits for other partners.
struct Work {
    attempt: AttemptId,
    told: ToAttempt,
    thread: JoinHandle<(Vec<Vec<u8>>, u64)>,
    done: Arc<AtomicBool>,
}

/// How a node ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kill {
    /// Now.
    Now,
    /// When it has looked at its clock so often while it hears the next message: somewhere in the middle, perhaps before it has
    /// written something, perhaps after.
    Within(usize),
}

/// The connection is of no use any more.
pub(super) struct Lost;

/// Where an older state of a node's folder is kept.
const OLDER: &str = "older";

/// What a round that has ended says.
fn ended(work: Work) -> Vec<Vec<u8>> {
    let (said, lines) = work.thread.join().expect("a participant does not panic");
    log::add(lines);
    said
}

impl Party {
    /// Starts the node in a folder.
    pub(super) fn start(name: &'static str, folder: Folder, secrets: Secrets) -> Result<Self, Error> {
        let (clock, hands) = clock();
        let config = entente_node::load(&folder)?;
        let is_by_steward = config.policy.approve == ApprovalMode::Manual;
        let participant = Participant::open(&folder, config, clock.clone())?;
        participant.identify()?;
        let (ledger, mut watched) = (open(&folder)?, Watched::new(name, secrets));
        watched.read(&ledger)?;
        Ok(Self {
            name,
            folder,
            clock,
            hands: Arc::new(hands),
            participant: Some(Arc::new(participant)),
            ledger: Some(ledger),
            watched,
            link: None,
            work: None,
            is_by_steward,
            waiting: VecDeque::new(),
            heard: 0,
            attempts: Vec::new(),
            kept: None,
            wrong: None,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.participant.is_some()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_welcomed)
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Time passes.
    pub(super) fn advance(&mut self, by: Duration) {
        self.hands.advance(by);
        self.settle();
    }

    /// Its clock is set to another time of day.
    pub(super) fn set_clock(&self, ahead: i64) {
        self.hands.set(self.clock.now() + jiff::SignedDuration::from_secs(ahead));
    }

    /// Begins a connection: its hello.
    pub(super) fn dial(&mut self) -> Option<Vec<u8>> {
        let participant = self.participant.as_ref()?;
        let (sender, said) = mpsc::channel(LINK);
        self.waiting.clear();
        self.link = Some(Link { reader: FrameReader::to_nodes(), said, is_welcomed: false, sender });
        Some(frame::encode(&participant.hello()))
    }

    /// The connection is lost.
    pub(super) fn lose(&mut self) {
        self.link = None;
    }

    /// Hears bytes of the coordinator; those of a lookalike study may wait for another partner, and do that beside.
    pub(super) fn hear(&mut self, bytes: &[u8], beside: bool) -> Result<Vec<Vec<u8>>, Lost> {
        self.heard += bytes.len() as u64;
        let (Some(link), Some(participant)) = (&mut self.link, self.participant.clone()) else { return Err(Lost) };
        link.reader.feed(bytes);
        let mut said = Vec::new();
        while let Some(link) = &mut self.link
            && let Some(frame) = link.reader.next_frame().map_err(|_| Lost)?
        {
            let message = frame.decode().map_err(|_| Lost)?;
            if link.is_welcomed {
                said.extend(self.take(&participant, message, beside));
                continue;
            }
            let ToNode::Welcome { roster, .. } = message else { return Err(Lost) };
            participant.welcome(roster).map_err(|_| Lost)?;
            link.is_welcomed = true;
            participant.begin_connection();
            participant.connected(link.sender.clone());
            said.extend(participant.ask_witnesses());
        }
        said.splice(0..0, self.said());
        Ok(said)
    }

    fn take(&mut self, participant: &Arc<Participant>, message: ToNode, beside: bool) -> Vec<Vec<u8>> {
        let ToNode::Attempt(attempt, told) = &message else { return participant.handle(message) };
        if !self.attempts.contains(attempt) {
            self.attempts.push(attempt.clone());
        }
        if let ToAttempt::Relayed { sealed, .. } = told {
            let (attempt, sealed) = (attempt.clone(), sealed.clone());
            let said = participant.handle(message);
            if let [answer] = &said[..] {
                self.wrong = self.wrong.take().or(self.watched.same.answers(&attempt, &sealed, answer).err());
            }
            return said;
        }
        if let Some(work) = &self.work {
            if work.attempt == *attempt && work.told == *told {
                return Vec::new();
            }
            if matches!(told, ToAttempt::Finished { .. } | ToAttempt::Abandoned { .. }) {
                Answerer::end(&**participant, attempt);
            }
            self.waiting.push_back(message);
            return Vec::new();
        }
        if let ToAttempt::Start { pledges } = told {
            self.watched.same.starts(attempt, pledges);
        }
        if !beside || !matches!(told, ToAttempt::Go { .. }) {
            return participant.handle(message);
        }
        let (done, hands, participant) = (Arc::new(AtomicBool::new(false)), self.hands.clone(), participant.clone());
        let (is_done, runtime, work) = (done.clone(), Handle::current(), (attempt.clone(), told.clone()));
        let thread = std::thread::spawn(move || {
            let _runtime = runtime.enter();
            let said = log::beside(|| participant.handle(message));
            is_done.store(true, Ordering::Release);
            hands.stir();
            said
        });
        let (attempt, told) = work;
        self.work = Some(Work { attempt, told, thread, done });
        Vec::new()
    }

    /// Lets a round that waits go on until it waits again, or has ended.
    fn settle(&mut self) {
        if let Some(work) = &self.work {
            self.hands.until(|waiting| waiting > 0 || work.done.load(Ordering::Acquire));
        }
    }

    /// When something leaves that it holds.
    pub(super) fn due(&self) -> Option<Duration> {
        self.participant.as_ref().filter(|_| self.is_welcomed())?.due()
    }

    /// What it has said by now: in the midst of its work, and after it.
    pub(super) fn said(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            self.hands.stir();
            self.settle();
            if let Some(link) = &mut self.link {
                said.extend(std::iter::from_fn(|| link.said.try_recv().ok()));
                said.extend(self.participant.iter().filter(|_| link.is_welcomed).flat_map(|node| node.leaves()));
            }
            let Some(work) = self.work.take_if(|work| work.done.load(Ordering::Acquire)) else { return said };
            said.extend(ended(work));
            let (waiting, participant) = (std::mem::take(&mut self.waiting), self.participant.clone());
            for message in waiting {
                if let Some(participant) = &participant {
                    said.extend(self.take(participant, message, true));
                }
            }
        }
    }

    /// Its steward records of these partners that they are away, beside the node, if it is not recorded yet.
    pub(super) fn goes_on_without(&self, missing: &[&str]) -> Result<(), Error> {
        let now = self.clock.now().to_string();
        let store = LedgerStore::open(&self.folder.state("ledger.sqlite"))?;
        let mut ledger = Ledger::open(store, Budgets::default(), "simulation")?;
        let away = ledger.chain().away(&now);
        for partner in missing.iter().filter(|name| away.iter().all(|away| away.partner != **name)) {
            let absence = Absence { partner: (*partner).into(), until: AWAY_UNTIL.into() };
            ledger.away(&absence, true, Act { officer: "ann", reason: "it is gone", now: &now })?;
        }
        Ok(())
    }

    /// Looks again at what waits; its steward may have approved it meanwhile, beside the node.
    pub(super) fn looks(&mut self, approves: bool, beside: bool) -> Result<Vec<Vec<u8>>, Error> {
        let participant = self.participant.clone().filter(|_| self.is_welcomed());
        let Some(participant) = participant else { return Ok(Vec::new()) };
        if approves && self.is_by_steward {
            let studies = StudyStore::open(&self.folder.state("studies.sqlite"))?;
            for waiting in studies.all()?.iter().filter(|attempt| attempt.stage.is_waiting()) {
                let proposal = waiting.proposal.digest(&waiting.id);
                let decision = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Approve };
                studies.decide(&waiting.id.study, &decision, &self.clock.now().to_string())?;
            }
        }
        let mut said = participant.reconsider();
        for (attempt, told) in participant.taken_up() {
            said.extend(self.take(&participant, ToNode::Attempt(attempt, told), beside));
        }
        said.splice(0..0, self.said());
        Ok(said)
    }

    /// Holds what is on the disk against what it was.
    pub(super) fn check(&mut self) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(format!("{}: {wrong}", self.name));
        }
        let (Some(participant), Some(ledger)) = (&self.participant, &self.ledger) else { return Ok(()) };
        self.watched.read(ledger).map_err(|problem| format!("{}: {problem}", self.name))?;
        let (kept, told) = (participant.attempts_in_memory(), self.attempts.len());
        if kept > 2 * told {
            return Err(format!("{}: {kept} attempts are in memory, and {told} were told of", self.name));
        }
        Ok(())
    }

    /// Ends the node as a loss of power does; `last` is what it hears while that happens (and whether beside), and writes are torn as `torn`
    /// chooses.
    pub(super) fn kill(
        &mut self,
        kill: Kill,
        last: Option<(&[u8], bool)>,
        torn: Option<&mut Choices>,
    ) -> Result<(), Error> {
        let Some(participant) = self.participant.take() else { return Ok(()) };
        let image = self.folder.path().join("image");
        let state = self.folder.state_folder();
        match (kill, last) {
            (Kill::Within(most), Some((bytes, beside))) if self.work.is_none() => {
                let (looks, failed) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
                let (from, to, fails) = (state.clone(), image.clone(), failed.clone());
                let looked_at = move || {
                    if looks.fetch_add(1, Ordering::Relaxed) + 1 == most {
                        *lock(&fails) = copy(&from, &to).err();
                    }
                };
                self.hands.looked_at(Some(Arc::new(looked_at)));
                self.participant = Some(participant.clone());
                let _ = self.hear(bytes, beside);
                self.participant = None;
                self.hands.looked_at(None);
                if let Some(error) = lock(&failed).take() {
                    return Err(error);
                }
                if !image.exists() {
                    copy(&state, &image)?;
                }
            }
            _ => copy(&state, &image)?,
        }
        participant.stop();
        self.hands.stir();
        let _ = self.work.take().map(ended);
        drop(participant);
        (self.link, self.waiting) = (None, VecDeque::new());
        self.ledger = None;
        if let Some(choices) = torn {
            for database in ["ledger", "studies", "witnessed", "identities"].map(|name| format!("{name}.sqlite")) {
                torn::database(&image.join(&database), &state.join(&database), choices)?;
            }
            torn::file(&image, choices)?;
            torn::file(&image.join("ephemeral"), choices)?;
        }
        fs::remove_dir_all(&state)?;
        fs::rename(&image, &state)?;
        self.watched.read_again(&self.folder)?;
        Ok(())
    }

    /// Keeps the state of its folder as it is now, to be put back.
    pub(super) fn keep_state(&mut self) -> Result<(), Error> {
        self.kept = Some(self.watched.entries());
        copy(&self.folder.state_folder(), &self.folder.path().join(OLDER))
    }

    /// Whether there is one to put back.
    pub(super) fn has_kept_state(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether vectors have left that were charged since.
    pub(super) fn has_sent_since(&self) -> bool {
        self.kept.is_some_and(|kept| kept < self.watched.last_sent())
    }

    /// Puts the state that was kept back. The node is down.
    pub(super) fn put_back(&mut self) -> Result<(), Error> {
        let state = self.folder.state_folder();
        fs::remove_dir_all(&state)?;
        copy(&self.folder.path().join(OLDER), &state)?;
        Ok(self.watched.put_back(&self.folder)?)
    }

    /// Starts the node again.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        if self.participant.is_none() {
            let participant = Participant::open(&self.folder, entente_node::load(&self.folder)?, self.clock.clone())?;
            participant.identify()?;
            self.participant = Some(Arc::new(participant));
            self.ledger = Some(self.watched.read_again(&self.folder)?);
        }
        Ok(())
    }
}
