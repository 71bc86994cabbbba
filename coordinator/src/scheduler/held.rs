//! Studies without tasks: whoever holds them says what happens, and when. They do what their tasks do, one after another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Moment;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::message::{Progress, ToNode};

use super::event::{AttemptEvent, NodeEvent};
use super::queue::{Order, Queue, Turn, order};
use super::run::Run;
use super::step::{Action, Event};
use super::{asked, composed, end, keep_new, task};
use crate::hall::Hall;
use crate::store::{LostRound, RoundRecord, StudyRecord, StudyState};

/// All studies that have not ended.
pub(crate) struct Held {
    hall: Arc<Hall>,
    /// What moments are counted from.
    begin: Moment,
    queue: Queue,
    running: BTreeMap<Order, Running>,
}

struct Running {
    run: Run,
    turn: Turn,
    /// A round that is written beside what nodes are told next: a crash now loses it.
    writing: Option<(RoundRecord, Option<LostRound>)>,
    progress: Option<Progress>,
}

impl Held {
    /// Takes up all studies that had not ended.
    pub(crate) fn take_up(hall: Arc<Hall>) -> Result<Self, Error> {
        let queue = Queue::new(hall.alliance.studies_at_once());
        composed::take_up(&hall)?;
        let mut held = Self { begin: hall.clock.moment(), queue, running: BTreeMap::new(), hall };
        for record in held.hall.store.studies()? {
            if record.state == StudyState::Running {
                held.start(record)?;
            }
        }
        Ok(held)
    }

    /// Starts a new study, or the first of those that follow one another. Its identifier.
    pub(crate) fn submit(&mut self, asked: Asked) -> Result<String, Error> {
        let (id, record) = keep_new(&self.hall, asked)?;
        self.start(record)?;
        Ok(id)
    }

    /// Starts a study that a partner asks for, unless that is done. Its identifier.
    pub(crate) fn submit_asked(&mut self, asked: asked::Asked) -> Result<String, Error> {
        let id = asked.id.clone();
        if let Some(record) = asked::keep_new(&self.hall, asked)? {
            self.start(record)?;
        }
        Ok(id)
    }

    /// A partner is no longer part of the alliance: gives up what it had asked for, and tells all others.
    pub(crate) fn revoked(&mut self, partner: &str) -> Result<(), Error> {
        self.tell_all(partner, || NodeEvent::Revoked)?;
        let open = asked::open(&self.hall, partner)?;
        open.iter().try_for_each(|study| self.give_up(study, &asked::revoked(partner)))
    }

    fn start(&mut self, record: StudyRecord) -> Result<(), Error> {
        let first = self.enter(record)?;
        self.follow([first].into())
    }

    /// A study enters the queue. The first that happens to it.
    fn enter(&mut self, record: StudyRecord) -> Result<(Order, Event), Error> {
        let store = &self.hall.store;
        let (rounds, lost, order) = (store.rounds(&record.id)?, store.lost_rounds(&record.id)?, order(&record));
        let run = Run::new(record, rounds, lost);
        self.queue.enter(order.clone());
        let turn = self.queue.turns().find(|(other, _)| **other == order).map_or(Turn::Resting, |(_, turn)| turn);
        self.running.insert(order.clone(), Running { run, turn, writing: None, progress: None });
        Ok((order, Event::Turn(turn)))
    }

    /// Tells a study what came from a node. Nothing happens if the study does not run.
    pub(crate) fn tell(&mut self, study: &str, node: &str, event: NodeEvent) -> Result<(), Error> {
        let Some(order) = self.running.keys().find(|order| order.1 == study).cloned() else { return Ok(()) };
        self.happens(&order, Event::Attempt(AttemptEvent::Node { node: node.into(), event }))
    }

    /// Tells every study what happened to a node.
    pub(crate) fn tell_all(&mut self, node: &str, event: impl Fn() -> NodeEvent) -> Result<(), Error> {
        let all: Vec<Order> = self.running.keys().cloned().collect();
        all.iter().try_for_each(|order| {
            self.happens(order, Event::Attempt(AttemptEvent::Node { node: node.into(), event: event() }))
        })
    }

    /// A node has connected.
    pub(crate) fn connected(&mut self, node: &str) -> Result<(), Error> {
        self.queue.connected(node);
        let turns = self.turns();
        self.follow(turns)?;
        self.tell_all(node, || NodeEvent::Connected)
    }

    /// The operator gives a study up.
    pub(crate) fn cancel(&mut self, study: &str) -> Result<(), Error> {
        self.give_up(study, "the operator")
    }

    fn give_up(&mut self, study: &str, by: &str) -> Result<(), Error> {
        let Some(order) = self.running.keys().find(|order| order.1 == study).cloned() else { return Ok(()) };
        self.happens(&order, Event::Attempt(AttemptEvent::Cancel(by.into())))
    }

    /// Time has passed.
    pub(crate) fn time(&mut self) -> Result<(), Error> {
        let all: Vec<Order> = self.running.keys().cloned().collect();
        all.iter().try_for_each(|order| self.happens(order, Event::Time))
    }

    /// In how long to come again if nothing happens before.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let passed = self.passed();
        let timeouts = self.running.values().filter_map(|running| running.run.timeout());
        timeouts.min().map(|timeout| timeout.saturating_sub(passed))
    }

    /// Where a study stands that runs.
    pub(crate) fn progress(&self, study: &str) -> Option<&Progress> {
        self.running.iter().find(|(order, _)| order.1 == study)?.1.progress.as_ref()
    }

    fn passed(&self) -> Duration {
        self.hall.clock.moment().since(self.begin)
    }

    /// Something happens to a study.
    fn happens(&mut self, order: &Order, event: Event) -> Result<(), Error> {
        self.follow([(order.clone(), event)].into())
    }

    /// Does what follows from these events, and from what follows.
    fn follow(&mut self, mut events: VecDeque<(Order, Event)>) -> Result<(), Error> {
        while let Some((order, event)) = events.pop_front() {
            let (now, hall) = (self.passed(), &self.hall);
            let Some(running) = self.running.get_mut(&order) else { continue };
            running.write(hall, &order.1)?;
            let mut ended = None;
            for action in running.run.handle(now, &**hall, event) {
                match running.act(hall, &order.1, action) {
                    Ok(Done::Goes) => {}
                    Ok(Done::Made(made)) => events.push_back((order.clone(), made)),
                    Ok(Done::Ended(end)) => ended = Some(end),
                    // Not even that it has failed could be kept.
                    Err(error) if running.run.is_over() => return Err(error),
                    Err(error) => {
                        events.push_front((order.clone(), Event::Failed(error)));
                        break;
                    }
                }
            }
            match ended {
                None => {
                    let need = running.run.need(&**hall);
                    self.queue.set(&order, need);
                }
                Some(end) => {
                    self.running.remove(&order);
                    self.queue.leave(&order);
                    if end.is_ok() {
                        // One that cannot begin says why where it is looked for.
                        let next = composed::keep_what_follows(&self.hall, &order.1).ok().flatten();
                        events.extend(next.map(|next| self.enter(next)).transpose()?);
                    }
                }
            }
            events.extend(self.turns());
        }
        Ok(())
    }

    /// Those whose turn has changed.
    fn turns(&mut self) -> VecDeque<(Order, Event)> {
        let mut changed = VecDeque::new();
        for (order, turn) in self.queue.turns() {
            if let Some(running) = self.running.get_mut(order)
                && std::mem::replace(&mut running.turn, turn) != turn
            {
                changed.push_back((order.clone(), Event::Turn(turn)));
            }
        }
        changed
    }
}

/// What came of an action.
enum Done {
    Goes,
    /// The result was made, or could not be.
    Made(Event),
    Ended(Result<(), Error>),
}

impl Running {
    /// Writes the round that was on its way to the disk.
    fn write(&mut self, hall: &Hall, study: &str) -> Result<(), Error> {
        self.writing.take().map_or(Ok(()), |(round, next)| hall.store.add_round(study, &round, next))
    }

    fn act(&mut self, hall: &Hall, study: &str, action: Action) -> Result<Done, Error> {
        if action.waits_for_rounds() {
            self.write(hall, study)?;
        }
        match action {
            Action::Tell { node, attempt, told } => {
                hall.sessions.send(&node, &ToNode::Attempt(attempt, told));
            }
            Action::Begin(begun) => hall.store.begin_round(study, begun)?,
            Action::Keep(round, next) => self.writing = Some((round, next)),
            Action::GiveUp { record, nodes, attempt, reason } => {
                end::give_up(hall, &record, &nodes, attempt, &reason)?;
            }
            Action::Report(progress) => self.progress = Some(progress),
            Action::Finish(complete) => {
                let made = task::finish(hall, &complete);
                return Ok(Done::Made(made.map_or_else(Event::Failed, |told| Event::Made(Box::new(told)))));
            }
            Action::End(end) => return Ok(Done::Ended(end)),
        }
        Ok(Done::Goes)
    }
}
