//! Messages of the coordinator on their way to whoever answers them: how many at once, and which are let go.
//!
//! ```text
//!           ┌─ of an attempt ─▶ waits: one at a time of each attempt, few at once ─▶ answered ─▶ link
//! reader ───┤
//!           └─ all else ──────▶ answered at once, by as many threads as PROMPT; then the reader waits ─▶ link
//! ```
//!
//! **Rounds** are computed as many at a time as node.toml admits (`max_computing`): each takes all processors, and its share of
//! memory. They take turns in the order in which they were told. Who waits is told after how many it comes, and told again when it
//! asks again: the coordinator gives a round more time as long as it is said to wait. Nothing is charged for a round before its
//! turn, and when its attempt ends it waits no more. A round that waits for another participant gives its
//! turn back and takes it again before those that have not begun; what it holds meanwhile is no pass's share of memory, but customers
//! it has read, for whom all rounds have room together. At most MOST_AWAY do so at once: each holds a thread.
//!
//! What waits is in memory and holds no thread: computations may need further ones, and whoever fills them all would keep them
//! from ever ending. A message that is repeated while it waits or is answered is dropped, since one answer serves both; so is a message for which
//! there is no room, since the coordinator asks again. Nothing of that is true of messages that are no attempt's, nor of those that
//! participants seal for each other: a computation may wait for them, they wait for nobody, and so they pass by.
//!
//! A message of a connection that has ended is not answered: the coordinator repeats it on the next.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use entente_host::clock::Moment;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{debug, warn};

use crate::turn::{Alone, Turn};

/// How many other messages of attempts are answered at once.
const ANSWERING: usize = 4;
/// How many rounds may wait for other participants without a turn.
const MOST_AWAY: usize = 32;
/// How often a round that waits for its turn again looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);
/// How many of all other messages are.
const PROMPT: usize = 8;
/// The most messages that wait, and how many bytes long they may be together.
const MOST: usize = 1024;
const ROOM: usize = 64 << 20;

/// Who answers messages. Calls may block.
pub trait Answerer: Send + Sync + 'static {
    /// The frames that answer a message of this connection; what is computed for it is computed in `turn`.
    fn answer(&self, message: ToNode, connection: u64, turn: &dyn Turn) -> Vec<Vec<u8>>;

    /// The frames that say of a round of an attempt that it waits until so many others are computed.
    fn waits(&self, attempt: &AttemptId, others: usize) -> Vec<Vec<u8>>;

    /// How many rounds it computes at a time.
    fn max_computing(&self) -> usize;

    /// The present moment, by its clock.
    fn moment(&self) -> Moment;

    /// An attempt is over: what is computed for it, and waits for other participants, lets go of it.
    fn end(&self, attempt: &AttemptId);
}

/// The messages of all connections, one after another.
pub struct Inbox<A> {
    answerer: Arc<A>,
    queue: Mutex<Queue>,
    /// A round may have its turn again.
    freed: Condvar,
    prompt: Arc<Semaphore>,
    /// Whether what waits for people and witnesses is being looked at again.
    reconsidering: AtomicBool,
}

/// A connection to the coordinator. Messages of it that still wait are forgotten with it.
pub struct Line<A: Answerer> {
    inbox: Arc<Inbox<A>>,
    number: u64,
    link: mpsc::Sender<Vec<u8>>,
}

#[derive(Default)]
struct Queue {
    /// How many rounds are computed at once.
    most_computing: usize,
    waiting: VecDeque<Job>,
    /// What the waiting ones take.
    size: usize,
    at_work: HashMap<AttemptId, Told>,
    computing: usize,
    /// Rounds that have given their turn back, and how many of them wait for it again.
    away: usize,
    returning: usize,
    answering: usize,
    /// Whether it was said that there is no room.
    said_full: bool,
}

/// A message of an attempt, and its connection.
type Told = (u64, ToAttempt);

struct Job {
    attempt: AttemptId,
    told: Told,
    at: Moment,
    size: usize,
    link: mpsc::Sender<Vec<u8>>,
}

/// What is limited together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Computing,
    Answering,
}

/// The lane of a message of an attempt; `None` if it must not wait for others.
fn lane(told: &ToAttempt) -> Option<Lane> {
    match told {
        ToAttempt::Go { .. } => Some(Lane::Computing),
        ToAttempt::Propose(_)
        | ToAttempt::Start { .. }
        | ToAttempt::Resend { .. }
        | ToAttempt::Finished { .. }
        | ToAttempt::Abandoned { .. } => Some(Lane::Answering),
        ToAttempt::Relayed { .. } => None,
    }
}

fn is_end(told: &ToAttempt) -> bool {
    matches!(told, ToAttempt::Finished { .. } | ToAttempt::Abandoned { .. })
}

impl Queue {
    /// Lets a message wait, unless that is in vain.
    fn push(&mut self, job: Job) {
        let AttemptId { study, number: attempt } = &job.attempt;
        let at_work = self.at_work.get(&job.attempt) == Some(&job.told);
        if at_work || self.waiting.iter().any(|other| other.attempt == job.attempt && other.told == job.told) {
            debug!(study, attempt, "this is being answered already; dropped");
            return;
        }
        if is_end(&job.told.1) {
            // Nobody needs to be told what came before.
            self.retain(|other| other.attempt != job.attempt || is_end(&other.told.1));
        }
        if self.waiting.len() >= MOST || self.size + job.size > ROOM {
            if !std::mem::replace(&mut self.said_full, true) {
                warn!(
                    study,
                    attempt, "too many messages wait to be answered; this one and others are dropped until fewer do"
                );
            }
            return;
        }
        self.size += job.size;
        self.waiting.push_back(job);
    }

    fn retain(&mut self, keep: impl Fn(&Job) -> bool) {
        self.waiting.retain(keep);
        self.size = self.waiting.iter().map(|job| job.size).sum();
    }

    fn count(&mut self, lane: Lane) -> (&mut usize, usize) {
        match lane {
            // Whoever has begun goes first.
            Lane::Computing => (&mut self.computing, self.most_computing.saturating_sub(self.returning)),
            Lane::Answering => (&mut self.answering, ANSWERING),
        }
    }

    /// After how many others the next round of an attempt comes that was told on this connection, if it waits for them.
    fn waits(&self, attempt: &AttemptId, connection: u64) -> Option<usize> {
        let is_round = |job: &Job| lane(&job.told.1) == Some(Lane::Computing);
        let place =
            self.waiting.iter().position(|job| is_round(job) && job.attempt == *attempt && job.told.0 == connection)?;
        // It waits for another message of its attempt, which is no matter of others.
        if self.at_work.contains_key(attempt) {
            return None;
        }
        let before = self.waiting.iter().take(place).filter(|job| is_round(job)).count();
        Some(self.computing + self.returning + before)
    }

    /// The first that can be answered now; it counts as being answered from now on.
    fn next(&mut self) -> Option<(Job, Lane)> {
        let ready = (0..self.waiting.len()).find_map(|place| {
            let job = self.waiting.get(place)?;
            let lane = lane(&job.told.1).filter(|_| !self.at_work.contains_key(&job.attempt))?;
            let (count, most) = self.count(lane);
            (*count < most).then_some((place, lane))
        });
        let (place, lane) = ready?;
        let job = self.waiting.remove(place)?;
        self.size -= job.size;
        self.said_full &= self.waiting.len() > MOST / 2 || self.size > ROOM / 2;
        *self.count(lane).0 += 1;
        self.at_work.insert(job.attempt.clone(), job.told.clone());
        Some((job, lane))
    }
}

impl<A: Answerer> Inbox<A> {
    /// For messages that this one answers.
    pub fn new(answerer: Arc<A>) -> Arc<Self> {
        let queue = Mutex::new(Queue { most_computing: answerer.max_computing(), ..Queue::default() });
        let prompt = Arc::new(Semaphore::new(PROMPT));
        Arc::new(Self { answerer, queue, freed: Condvar::new(), prompt, reconsidering: AtomicBool::new(false) })
    }

    /// Who answers.
    pub fn answerer(&self) -> &Arc<A> {
        &self.answerer
    }

    /// Begins the connection of this number. Answers go to `link`.
    pub fn connect(self: &Arc<Self>, number: u64, link: mpsc::Sender<Vec<u8>>) -> Line<A> {
        lock(&self.queue).retain(|job| job.told.0 == number);
        Line { inbox: self.clone(), number, link }
    }

    /// Answers what can be answered now.
    fn go_on(self: &Arc<Self>) {
        loop {
            let next = lock(&self.queue).next();
            let Some((job, lane)) = next else { break };
            let attempt = Some(job.attempt.clone());
            let mut place = Place { inbox: self.clone(), attempt, told: job.at, lane, is_away: AtomicBool::new(false) };
            spawn_blocking(move || {
                let Job { attempt, told: (connection, told), link, .. } = job;
                let frames = place.inbox.answerer.answer(ToNode::Attempt(attempt, told), connection, &place);
                // Before the answer leaves: whoever has it and asks once more gets another one.
                place.answered();
                send(&link, frames);
            });
        }
    }
}

/// If the connection is lost meanwhile, the answer is on the disk, and the coordinator asks again.
fn send(link: &mpsc::Sender<Vec<u8>>, frames: Vec<Vec<u8>>) {
    for frame in frames {
        if link.blocking_send(frame).is_err() {
            break;
        }
    }
}

/// Of a message that is being answered, until the answer is sent, or answering it has panicked.
struct Place<A: Answerer> {
    inbox: Arc<Inbox<A>>,
    /// While it is at work.
    attempt: Option<AttemptId>,
    /// When it came.
    told: Moment,
    lane: Lane,
    /// Whether it has given its turn back. Changed while the queue is locked.
    is_away: AtomicBool,
}

impl<A: Answerer> Place<A> {
    /// The attempt is not at work any more.
    fn answered(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            lock(&self.inbox.queue).at_work.remove(&attempt);
            self.inbox.go_on();
        }
    }
}

impl<A: Answerer> Drop for Place<A> {
    fn drop(&mut self) {
        let mut queue = lock(&self.inbox.queue);
        let is_away = self.is_away.load(Ordering::Relaxed);
        *if is_away { &mut queue.away } else { queue.count(self.lane).0 } -= 1;
        drop(queue);
        self.inbox.freed.notify_all();
        self.answered();
        self.inbox.go_on();
    }
}

impl<A: Answerer> Turn for Place<A> {
    fn told(&self) -> Option<Moment> {
        Some(self.told)
    }

    fn give_back(&self) {
        let mut queue = lock(&self.inbox.queue);
        if self.lane != Lane::Computing || self.is_away.load(Ordering::Relaxed) || queue.away >= MOST_AWAY {
            return;
        }
        queue.computing -= 1;
        queue.away += 1;
        self.is_away.store(true, Ordering::Relaxed);
        drop(queue);
        self.inbox.freed.notify_all();
        self.inbox.go_on();
    }

    fn take_again(&self, is_over: &dyn Fn() -> bool) {
        let mut queue = lock(&self.inbox.queue);
        if !self.is_away.load(Ordering::Relaxed) {
            return;
        }
        queue.returning += 1;
        while queue.computing >= queue.most_computing && !is_over() {
            queue = self.inbox.freed.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.returning -= 1;
        if queue.computing < queue.most_computing {
            queue.computing += 1;
            queue.away -= 1;
            self.is_away.store(false, Ordering::Relaxed);
        }
        drop(queue);
        // Where it is over, those behind it wait for it no more.
        self.inbox.go_on();
    }
}

impl<A: Answerer> Line<A> {
    /// Takes a message of `size` bytes, and has it answered. Returns when there is room for the next.
    pub async fn take(&self, message: ToNode, size: usize) {
        let inbox = &self.inbox;
        match message {
            ToNode::Attempt(attempt, told) if lane(&told).is_some() => {
                let (id, abandoned) = (attempt.clone(), matches!(told, ToAttempt::Abandoned { .. }));
                let at = inbox.answerer.moment();
                let job = Job { attempt, told: (self.number, told), at, size, link: self.link.clone() };
                lock(&inbox.queue).push(job);
                // Its end waits for what is at work, which is not to wait for others any more. Whether an attempt is finished, as a
                // coordinator may say at any time, is found out when it is the message's turn.
                if abandoned && lock(&inbox.queue).at_work.contains_key(&id) {
                    let id = id.clone();
                    self.at_once(move |answerer| {
                        answerer.end(&id);
                        Vec::new()
                    })
                    .await;
                }
                inbox.go_on();
                let waits = lock(&inbox.queue).waits(&id, self.number);
                if let Some(others) = waits {
                    self.at_once(move |answerer| answerer.waits(&id, others)).await;
                }
            }
            // What comes behind a new roster may be about those who are in it.
            message @ ToNode::Roster(_) => drop(self.answered(message).await.await),
            message => drop(self.answered(message).await),
        }
    }

    /// Takes up a message of an attempt that was taken before and put off. There are never many of them.
    pub fn take_up(&self, attempt: AttemptId, told: ToAttempt) {
        let at = self.inbox.answerer.moment();
        let job = Job { attempt, told: (self.number, told), at, size: 0, link: self.link.clone() };
        lock(&self.inbox.queue).push(job);
        self.inbox.go_on();
    }

    async fn answered(&self, message: ToNode) -> JoinHandle<()> {
        let connection = self.number;
        self.at_once(move |answerer| answerer.answer(message, connection, &Alone)).await
    }

    /// Does something that waits for no message, in a thread of its own, and sends what it says; as soon as there is one.
    pub async fn at_once(&self, f: impl FnOnce(&A) -> Vec<Vec<u8>> + Send + 'static) -> JoinHandle<()> {
        let permit = self.inbox.prompt.clone().acquire_owned().await;
        let (answerer, link) = (self.inbox.answerer.clone(), self.link.clone());
        spawn_blocking(move || {
            send(&link, f(&answerer));
            drop(permit);
        })
    }

    /// Does something at once, however much else is done, and sends what it says.
    pub fn beside(&self, f: impl FnOnce(&A) -> Vec<Vec<u8>> + Send + 'static) {
        let (answerer, link) = (self.inbox.answerer.clone(), self.link.clone());
        spawn_blocking(move || send(&link, f(&answerer)));
    }

    /// Looks again at what waits for people or witnesses, and sends what that says; not while that goes on already.
    pub fn reconsider(&self, f: impl FnOnce(&A) -> Vec<Vec<u8>> + Send + 'static) {
        if self.inbox.reconsidering.swap(true, Ordering::AcqRel) {
            return;
        }
        let (done, link) = (Reconsidered(self.inbox.clone()), self.link.clone());
        spawn_blocking(move || send(&link, f(&done.0.answerer)));
    }
}

impl<A: Answerer> Drop for Line<A> {
    fn drop(&mut self) {
        lock(&self.inbox.queue).retain(|job| job.told.0 != self.number);
    }
}

struct Reconsidered<A>(Arc<Inbox<A>>);

impl<A> Drop for Reconsidered<A> {
    fn drop(&mut self) {
        self.0.reconsidering.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Barrier, mpsc as blocking};
    use std::time::Duration;

    use entente_host::clock::Clock;
    use entente_protocols::digest::Digest;

    use super::*;

    const COMPUTING: usize = 2;
    const LONG: Duration = Duration::from_secs(20);

    /// The number of rounds that wait for another participant.
    const ASKS: u32 = 100;

    /// Answers with the text of what it was sent; messages of attempts only when it is let.
    struct Slow {
        told: Mutex<Vec<String>>,
        let_go: Mutex<blocking::Receiver<()>>,
        ended: Mutex<HashSet<AttemptId>>,
        /// Other participants have answered.
        heard: Barrier,
    }

    impl Slow {
        /// A round that waits for another participant.
        fn ask(&self, id: &AttemptId, turn: &dyn Turn) -> Vec<u8> {
            turn.give_back();
            self.heard.wait();
            let is_over = || lock(&self.ended).contains(id);
            turn.take_again(&is_over);
            if is_over() {
                return format!("{id} is over").into_bytes();
            }
            lock(&self.told).push(format!("{id} again"));
            let _ = lock(&self.let_go).recv_timeout(LONG);
            format!("{id} again").into_bytes()
        }
    }

    impl Answerer for Slow {
        fn answer(&self, message: ToNode, _: u64, turn: &dyn Turn) -> Vec<Vec<u8>> {
            let words = match message {
                ToNode::Attempt(id, ToAttempt::Go { round: ASKS, .. }) => return vec![self.ask(&id, turn)],
                ToNode::Attempt(id, ToAttempt::Go { round, .. }) => format!("{id} {round}"),
                ToNode::Attempt(id, told) if lane(&told).is_some() => format!("{id} ends"),
                _ => return vec![b"prompt".to_vec()],
            };
            lock(&self.told).push(words.clone());
            let _ = lock(&self.let_go).recv_timeout(LONG);
            vec![words.into_bytes()]
        }

        fn max_computing(&self) -> usize {
            COMPUTING
        }

        fn moment(&self) -> Moment {
            Clock::default().moment()
        }

        fn waits(&self, attempt: &AttemptId, others: usize) -> Vec<Vec<u8>> {
            vec![format!("{attempt} after {others}").into_bytes()]
        }

        fn end(&self, attempt: &AttemptId) {
            lock(&self.ended).insert(attempt.clone());
        }
    }

    fn slow() -> (Arc<Inbox<Slow>>, blocking::Sender<()>) {
        let (go_on, let_go) = blocking::channel();
        let (told, let_go, ended) = (Mutex::default(), Mutex::new(let_go), Mutex::default());
        let slow = Slow { told, let_go, ended, heard: Barrier::new(2) };
        (Inbox::new(Arc::new(slow)), go_on)
    }

    fn go(study: &str, round: u32) -> ToNode {
        let told = ToAttempt::Go { round, input: Vec::new(), signatures: Vec::new(), encapsulations: Vec::new() };
        ToNode::Attempt(AttemptId::new(study, 1), told)
    }

    fn of(study: &str, told: ToAttempt) -> ToNode {
        ToNode::Attempt(AttemptId::new(study, 1), told)
    }

    async fn heard(outgoing: &mut mpsc::Receiver<Vec<u8>>) -> String {
        let frame = tokio::time::timeout(LONG, outgoing.recv()).await.unwrap().unwrap();
        String::from_utf8(frame).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_told_again_is_answered_once_and_others_pass_by() {
        let (inbox, go_on) = slow();
        let (link, mut outgoing) = mpsc::channel(16);
        let line = inbox.connect(1, link);
        for _ in 0..1000 {
            line.take(go("s", 1), 1).await;
        }
        line.take(go("s", 2), 1).await;
        line.take(of("s", ToAttempt::Relayed { from: "bank".into(), sealed: vec![1] }), 1).await;
        assert_eq!(heard(&mut outgoing).await, "prompt", "while the attempt is computed");
        for round in 1..=2 {
            go_on.send(()).unwrap();
            assert_eq!(heard(&mut outgoing).await, format!("{} {round}", AttemptId::new("s", 1)));
        }
        let queue = lock(&inbox.queue);
        assert!(queue.waiting.is_empty() && queue.size == 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn few_are_computed_at_once_and_no_more_wait_than_there_is_room_for() {
        let (inbox, go_on) = slow();
        // Who waits is told so.
        let (link, mut outgoing) = mpsc::channel(4 * MOST);
        let line = inbox.connect(1, link);
        for study in 0..2 * MOST {
            line.take(go(&study.to_string(), 1), 1).await;
        }
        let counts = || {
            let queue = lock(&inbox.queue);
            (queue.computing, queue.answering, queue.waiting.len())
        };
        assert_eq!(counts(), (COMPUTING, 0, MOST));
        // Other kinds go on: they are quick.
        line.take(of("other", ToAttempt::Start { pledges: Vec::new() }), ROOM).await;
        assert_eq!(counts().1, 0, "no room");
        drop(line);
        assert_eq!(counts().2, 0, "what was told on a connection ends with it");
        let (link, mut again) = mpsc::channel(16);
        let line = inbox.connect(2, link);
        line.take(of("other", ToAttempt::Start { pledges: Vec::new() }), ROOM).await;
        // Told again on another connection: the answer that is on its way has nobody to go to.
        line.take(go("0", 1), 1).await;
        assert_eq!(counts().2, 1);
        for _ in 0..=COMPUTING + 1 {
            go_on.send(()).unwrap();
        }
        let answers = [heard(&mut again).await, heard(&mut again).await];
        assert!(answers.contains(&format!("{} 1", AttemptId::new("0", 1))), "{answers:?}");
        while outgoing.recv().await.is_some() {}
        drop(line);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rounds_take_turns_and_are_told_after_how_many_they_come() {
        let (inbox, go_on) = slow();
        let (link, mut outgoing) = mpsc::channel(16);
        let line = inbox.connect(1, link);
        for study in ["a", "b", "c", "d"] {
            line.take(go(study, 1), 1).await;
        }
        let name = |study: &str| AttemptId::new(study, 1).to_string();
        let mut said = [heard(&mut outgoing).await, heard(&mut outgoing).await];
        said.sort();
        assert_eq!(said, [format!("{} after 2", name("c")), format!("{} after 3", name("d"))]);
        // Its own attempt is at work: it waits for no other.
        line.take(go("a", 2), 1).await;
        // Asked again, and nothing has changed: it is said all the same.
        line.take(go("d", 1), 1).await;
        assert_eq!(heard(&mut outgoing).await, format!("{} after 3", name("d")));
        line.take(of("c", ToAttempt::Abandoned { reason: String::new(), is_over: false }), 1).await;
        line.take(go("d", 1), 1).await;
        assert_eq!(heard(&mut outgoing).await, format!("{} after 2", name("d")), "what has ended does not wait");
        for _ in 0..5 {
            go_on.send(()).unwrap();
        }
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(heard(&mut outgoing).await);
        }
        answers.sort();
        let round = |study: &str, round: u32| format!("{} {round}", name(study));
        let ends = format!("{} ends", name("c"));
        assert_eq!(answers, [round("a", 1), round("a", 2), round("b", 1), ends, round("d", 1)]);
    }

    async fn soon(is: impl Fn() -> bool) {
        let waiting = async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, waiting).await.unwrap();
    }

    /// `a` waits for another participant, `b` and `c` are computed, and `d` waits for its turn.
    async fn one_asks() -> (Line<Slow>, blocking::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (inbox, go_on) = slow();
        let (link, mut outgoing) = mpsc::channel(16);
        let line = inbox.connect(1, link);
        line.take(go("a", ASKS), 1).await;
        soon(|| lock(&inbox.queue).away == 1).await;
        for study in ["b", "c", "d"] {
            line.take(go(study, 1), 1).await;
        }
        assert_eq!(heard(&mut outgoing).await, format!("{} after 2", AttemptId::new("d", 1)));
        soon(|| lock(&inbox.answerer.told).len() == COMPUTING).await;
        (line, go_on, outgoing)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_that_waits_for_another_participant_lets_others_compute_and_goes_on_before_those_behind_it() {
        let (line, go_on, _outgoing) = one_asks().await;
        let inbox = &line.inbox;
        let told = || lock(&inbox.answerer.told).clone();
        tokio::task::block_in_place(|| inbox.answerer.heard.wait());
        soon(|| lock(&inbox.queue).returning == 1).await;
        assert_eq!(told().len(), COMPUTING, "it waits for its turn");
        for (number, next) in [format!("{} again", AttemptId::new("a", 1)), format!("{} 1", AttemptId::new("d", 1))]
            .into_iter()
            .enumerate()
        {
            go_on.send(()).unwrap();
            soon(|| told().len() > COMPUTING + number).await;
            assert_eq!(told().last(), Some(&next));
            assert_eq!(lock(&inbox.queue).computing, COMPUTING);
        }
        drop(go_on);
        soon(|| {
            let queue = lock(&inbox.queue);
            (queue.computing, queue.away, queue.returning) == (0, 0, 0)
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_whose_attempt_has_ended_waits_for_no_turn() {
        let (line, go_on, mut outgoing) = one_asks().await;
        line.take(of("a", ToAttempt::Abandoned { reason: String::new(), is_over: false }), 1).await;
        tokio::task::block_in_place(|| line.inbox.answerer.heard.wait());
        let id = AttemptId::new("a", 1);
        while heard(&mut outgoing).await != format!("{id} is over") {}
        assert_eq!(lock(&line.inbox.queue).computing, COMPUTING);
        drop(go_on);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_an_attempt_overtakes_what_is_to_be_computed_for_it() {
        let (inbox, go_on) = slow();
        let (link, mut outgoing) = mpsc::channel(16);
        let line = inbox.connect(1, link);
        let id = AttemptId::new("s", 1);
        line.take(go("s", 1), 1).await;
        line.take(go("s", 2), 1).await;
        line.take(of("s", ToAttempt::Abandoned { reason: String::new(), is_over: false }), 1).await;
        while !lock(&inbox.answerer.ended).contains(&id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for expected in [format!("{id} 1"), format!("{id} ends")] {
            go_on.send(()).unwrap();
            assert_eq!(heard(&mut outgoing).await, expected);
        }
        assert_eq!(lock(&inbox.answerer.told).len(), 2);
    }

    /// It may not be true, and what is at work would be lost.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_only_said_to_be_finished_ends_nothing_that_is_at_work() {
        let (inbox, go_on) = slow();
        let (link, mut outgoing) = mpsc::channel(16);
        let line = inbox.connect(1, link);
        let id = AttemptId::new("s", 1);
        line.take(go("s", 1), 1).await;
        let finished = ToAttempt::Finished { result: Digest::ZERO, statement: String::new(), model: None };
        line.take(of("s", finished), 1).await;
        for expected in [format!("{id} 1"), format!("{id} ends")] {
            go_on.send(()).unwrap();
            assert_eq!(heard(&mut outgoing).await, expected);
        }
        assert!(lock(&inbox.answerer.ended).is_empty());
    }
}
