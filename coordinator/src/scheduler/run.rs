//! One study, from its submission to its end: a state machine without I/O, clock or randomness.
//!
//! ```text
//! attempt: gather ─▶ propose ─▶ join ─▶ sign ─▶ round: sum (or resend) ─▶ last ─▶ result ─▶ Finished to all ─▶ done
//!    ▲                 │                          └──◀── the next one ◀──┘
//!    │                 │ a partner refuses, fails, is revoked or does not answer
//!    └── the others ◀──┴── too few are left ─▶ refused or failed
//! ```
//!
//! Events and the time go in ([`Run::handle`]), actions come out, and [`Run::timeout`] says when to come again if nothing happens.
//! Actions are to be done in their order, and what they keep is to be durable before the next is done; only the sums of
//! rounds are written beside the next round, and asked for again if the machine went down before. Nodes answer repeated messages
//! from their own state.
//!
//! An attempt has its number and its participants for good: no vector of one is used in another. Rounds that are complete
//! stay so: the next attempt goes on behind them.
//!
//! Without a turn ([`super::queue`]) nobody is asked for more than whether they take part.

use std::collections::BTreeSet;
use std::time::Duration;

use entente_host::Error;
use entente_host::terminal::clean;
use entente_protocols::identity::Roster;
use entente_protocols::reason::Reason;
use entente_protocols::secagg::collect::{Collector, Stage, Unusable};
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Earlier, Question, Refusal};
use entente_protocols::wire::message::{Contribution, FromAttempt, Progress, ToAttempt};

use super::attempt::{Attempt, Loss, Moment, left_without, losses, words};
use super::event::{AttemptEvent, NodeEvent};
use super::question::schemas;
use super::queue::{Need, Turn, ordinal};
pub(super) use super::step::{Action, Complete, Event, Known};
use crate::kinds::RoundState;
use crate::store::{LostRound, RoundRecord, StudyRecord, StudyState};

/// How long nodes may take to record the end before the result is shown; they are told again when they come back.
const CLOSING: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Run {
    record: StudyRecord,
    /// The rounds that are complete.
    rounds: Vec<RoundRecord>,
    /// Those in which attempts were given up.
    lost: Vec<LostRound>,
    /// The present round, from when nodes are told to compute it until it is complete. It is kept before they are.
    computing: Option<LostRound>,
    turn: Turn,
    /// Since when it is held up by others, if it is.
    held: Moment,
    phase: Phase,
    reported: Option<Progress>,
    actions: Vec<Action>,
}

enum Phase {
    /// Until every participant has connected, since when they are waited for.
    Gathering(Option<Moment>),
    Collecting(Box<Attempt>),
    Finishing,
    /// Until these have recorded the end, or it is this late.
    Closing(BTreeSet<String>, Moment),
    Over,
}

/// How an attempt ends.
enum Outcome {
    /// These partners are lost to the attempt.
    Lost(Vec<Loss>),
    Refused(Reason),
    Failed(String),
    Cancelled(String),
}

impl Run {
    /// A study as it was kept.
    pub(super) fn new(record: StudyRecord, rounds: Vec<RoundRecord>, lost: Vec<LostRound>) -> Self {
        let (now, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|lost| lost.attempt == record.attempt);
        Self {
            record,
            rounds,
            lost,
            computing: now.last().copied(),
            turn: Turn::Resting,
            held: Moment::ZERO,
            phase: Phase::Gathering(None),
            reported: None,
            actions: Vec::new(),
        }
    }

    /// What is to be done after an event.
    pub(super) fn handle(&mut self, now: Moment, known: &impl Known, event: Event) -> Vec<Action> {
        if !self.is_over() {
            let mut step = self.take(now, known, event).and_then(|()| self.advance(now, known));
            // The next attempt begins at once.
            while let Err(outcome) = step {
                self.leave(outcome);
                step = self.advance(now, known);
            }
            self.report(known);
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether it has ended, and does nothing any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// When to come again if nothing happens before.
    pub(super) fn timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Gathering(since) => since.map(|since| since + self.wait()),
            Phase::Collecting(_) if self.is_held() => None,
            Phase::Collecting(attempt) => Some(attempt.deadline()),
            Phase::Closing(_, until) => Some(*until),
            Phase::Finishing | Phase::Over => None,
        }
    }

    /// Whether it needs a turn, or waits for people or for partners that are away.
    pub(super) fn need(&self, known: &impl Known) -> Need {
        let away = |names: Vec<&str>| -> BTreeSet<String> {
            names.into_iter().filter(|name| !known.is_connected(name)).map(str::to_owned).collect()
        };
        let rest = match &self.phase {
            Phase::Gathering(_) => {
                let missing: BTreeSet<String> = self.missing(known).into_iter().collect();
                (!missing.is_empty()).then_some(missing)
            }
            Phase::Collecting(attempt) => {
                let open = attempt.collector.waiting_for();
                let decide = attempt.is_joining() && open.iter().any(|name| attempt.waiting.contains_key(*name));
                let count = open.len();
                let away = away(open);
                // With a steward to wait for, a partner's return alone changes nothing. Whoever is there has something to do, and
                // is told so only with a turn, whoever else is away.
                if decide { Some(BTreeSet::new()) } else { (count > 0 && away.len() == count).then_some(away) }
            }
            Phase::Finishing => None,
            Phase::Closing(..) | Phase::Over => Some(BTreeSet::new()),
        };
        rest.map_or(Need::Turn, Need::Rest)
    }

    /// Takes an event. An error ends the attempt.
    fn take(&mut self, now: Moment, known: &impl Known, event: Event) -> Result<(), Outcome> {
        match event {
            Event::Time => {}
            Event::Turn(turn) => self.turn(now, turn),
            Event::Failed(error) => return Err(Outcome::Failed(error.to_string())),
            Event::Made(made) => self.close(now, known, &made),
            Event::Attempt(AttemptEvent::Cancel(by)) if matches!(self.phase, Phase::Gathering(_)) => {
                return Err(Outcome::Cancelled(by));
            }
            Event::Attempt(event) => match &self.phase {
                Phase::Collecting(_) => return self.hear(now, known, event),
                Phase::Closing(..) => self.hear_the_end(event),
                // What still comes has come too late.
                Phase::Gathering(_) | Phase::Finishing | Phase::Over => {}
            },
        }
        Ok(())
    }

    /// Goes on as far as it can without another event. An error ends the attempt.
    fn advance(&mut self, now: Moment, known: &impl Known) -> Result<(), Outcome> {
        if let Phase::Gathering(_) = self.phase {
            self.gather(now, known)?;
        }
        while let Phase::Collecting(attempt) = &self.phase {
            if attempt.collector.sum().is_none() {
                return self.look_at_the_clock(now, known);
            }
            self.absorb(now)?;
        }
        if let Phase::Closing(open, until) = &self.phase
            && (open.is_empty() || *until <= now)
        {
            self.phase = Phase::Over;
            self.actions.push(Action::End(Ok(())));
        }
        Ok(())
    }

    /// Ends an attempt, and the study if there is no next one.
    fn leave(&mut self, outcome: Outcome) {
        self.lost.extend(self.computing.take());
        let mut aside = Vec::new();
        let error = match outcome {
            Outcome::Lost(losses) => match self.go_on_without(&losses) {
                Ok(()) => return,
                Err(error) => {
                    aside.extend(losses.into_iter().filter_map(|loss| loss.aside));
                    error
                }
            },
            Outcome::Refused(reason) => Error::refused(reason),
            Outcome::Failed(reason) => Error::failed(reason),
            Outcome::Cancelled(by) => {
                self.record.state = StudyState::Cancelled;
                Error::refused(format!("cancelled by {by}"))
            }
        };
        self.end(error, &aside);
    }

    /// Ends the study without a result. The operator is told something beside what all are.
    fn end(&mut self, mut error: Error, aside: &[String]) {
        let for_all = error.reason().to_string();
        let (Error::Refused(reason) | Error::Failed(reason)) = &mut error;
        if !aside.is_empty() {
            reason.problem = format!("{} ({})", reason.problem, aside.join("; "));
        }
        self.record.reason = Some(reason.to_string());
        self.record.state = match error {
            Error::Refused(_) if self.record.state == StudyState::Cancelled => StudyState::Cancelled,
            Error::Refused(_) => StudyState::Refused,
            Error::Failed(_) => StudyState::Failed,
        };
        self.give_up(self.record.participants.clone(), self.record.attempt, for_all);
        self.phase = Phase::Over;
        self.actions.push(Action::End(Err(error)));
    }

    fn give_up(&mut self, nodes: Vec<String>, attempt: u32, reason: String) {
        self.actions.push(Action::GiveUp { record: Box::new(self.record.clone()), nodes, attempt, reason });
    }

    fn wait(&self) -> Duration {
        Duration::from_secs(u64::from(self.record.study.wait.max(1)))
    }

    /// Whether others run, and it waits for them.
    fn is_held(&self) -> bool {
        matches!(self.turn, Turn::Queued(_))
    }

    fn turn(&mut self, now: Moment, turn: Turn) {
        if self.is_held() && !matches!(turn, Turn::Queued(_)) {
            let long = now.saturating_sub(std::mem::replace(&mut self.held, now));
            if let Phase::Collecting(attempt) = &mut self.phase {
                attempt.was_held(long);
            }
        } else if !self.is_held() {
            self.held = now;
        }
        let begins = turn == Turn::Running && self.turn != Turn::Running;
        self.turn = turn;
        if let Phase::Collecting(attempt) = &self.phase
            && begins
            && !attempt.is_joining()
        {
            let open: Vec<String> = attempt.collector.waiting_for().into_iter().map(str::to_owned).collect();
            self.tell(&open);
        }
    }

    /// Participants that have not connected since the coordinator started.
    fn missing(&self, known: &impl Known) -> Vec<String> {
        let unknown = |name: &&String| known.schemas(name).is_none();
        self.record.participants.iter().filter(unknown).cloned().collect()
    }

    /// Once every participant has connected and it is its turn, makes the question from what they publish and proposes it.
    fn gather(&mut self, now: Moment, known: &impl Known) -> Result<(), Outcome> {
        let Phase::Gathering(since) = self.phase else { return Ok(()) };
        let roster = known.roster().map_err(failed)?;
        let gone = losses(
            self.record.participants.iter().filter(|name| !roster.members.contains_key(*name)),
            "is not enrolled any more",
        );
        if !gone.is_empty() {
            return Err(Outcome::Lost(gone));
        }
        let missing = self.missing(known);
        if !missing.is_empty() {
            let since = since.unwrap_or(now);
            if since + self.wait() <= now {
                let reason = format!("did not connect within {} s", self.wait().as_secs());
                return Err(Outcome::Lost(losses(&missing, &reason)));
            }
            self.phase = Phase::Gathering(Some(since));
            return Ok(());
        }
        self.phase = Phase::Gathering(None);
        if self.turn != Turn::Running {
            return Ok(());
        }
        let distrusted = self.record.participants.iter().filter_map(|name| {
            let reason = known.distrusted(name)?;
            Some(Loss { partner: name.clone(), reason, refused: true, aside: None })
        });
        let distrusted: Vec<Loss> = distrusted.collect();
        if !distrusted.is_empty() {
            return Err(Outcome::Lost(distrusted));
        }
        let proposal = self.proposal(known)?;
        self.propose(now, proposal, roster)
    }

    /// The attempt as it is proposed.
    fn proposal(&self, known: &impl Known) -> Result<Proposal, Outcome> {
        let StudyRecord { study, named, participants, requester, petition, begun, attempt, .. } = &self.record;
        let published = known.published(named).map_err(failed)?;
        let Earlier { completed, spent } = self.before(*attempt);
        let proposal = Proposal {
            completed,
            spent,
            partners: named.clone(),
            begun: *begun,
            participants: participants.clone(),
            petition: petition.clone(),
            ..Proposal::first(study.clone(), named, requester)
        };
        Ok(proposal.over(schemas(study, participants, &published).map_err(Outcome::Refused)?))
    }

    /// What the attempts before this one have done.
    fn before(&self, attempt: u32) -> Earlier {
        let complete = self.rounds.iter().filter(|round| round.attempt < attempt);
        let charged = complete.clone().filter(|round| !round.repeated).map(|round| round.rho);
        let lost = self.lost.iter().filter(|lost| lost.attempt < attempt).map(|lost| lost.rho);
        Earlier { completed: u32::try_from(complete.count()).unwrap_or(u32::MAX), spent: charged.chain(lost).sum() }
    }

    /// Whether another attempt can be asked of these participants, and what the study may cost suffices for it.
    fn can_ask(&self, participants: &[String]) -> Result<(), Refusal> {
        // Nothing was charged in an attempt that was never proposed.
        let Phase::Collecting(attempt) = &self.phase else { return Ok(()) };
        let earlier = self.before(self.record.attempt.saturating_add(1));
        let terms = &self.record.study.privacy;
        let (most, left) = (terms.most(), terms.most().minus(earlier.spent));
        match Question::new(&self.record.study, &attempt.proposal, participants, earlier) {
            Ok(question) if question.rho_from(0) > left => {
                Err(Refusal::Spent { spent: earlier.spent, most, left, wanted: question.rho_from(0) })
            }
            asked => asked.map(drop),
        }
    }

    /// Proposes the attempt.
    fn propose(&mut self, now: Moment, proposal: Proposal, roster: Roster) -> Result<(), Outcome> {
        let question = proposal.question().map_err(|refusal| Outcome::Refused(refusal.reason()))?;
        let plan = question.plan_digest();
        if self.rounds.iter().any(|round| round.plan != plan) {
            let problem = "the schemas of the data sets have changed since the study began, and with them its plan";
            return Err(Outcome::Refused(Reason::from(problem).help("submit it anew")));
        }
        let state = RoundState::new(&question, &self.rounds).map_err(Outcome::Failed)?;
        let round = u32::try_from(self.rounds.len()).unwrap_or(u32::MAX - 1) + 1;
        let Some(mechanism) = question.round(round) else {
            // All rounds were complete when the coordinator stopped.
            self.finish(question, state);
            return Ok(());
        };
        let (names, length) = (self.record.participants.clone(), mechanism.layout().len());
        let id = self.record.attempt_id();
        let digest = proposal.digest(&id);
        let collector = Collector::new(id, names, roster, question.digest(), round, state.input(), length)
            .over(question.contributors())
            .about(digest);
        let attempt = Attempt::new((proposal, question), state, collector, self.wait(), now);
        self.phase = Phase::Collecting(Box::new(attempt));
        self.tell(&self.record.participants.clone());
        Ok(())
    }

    /// Tells these participants what to do next, if anything; they are told again when they reconnect.
    fn tell(&mut self, participants: &[String]) {
        let Phase::Collecting(attempt) = &self.phase else { return };
        if self.turn != Turn::Running && !attempt.is_joining() {
            return;
        }
        if attempt.collector.stage() == Stage::Summing
            && let Some(begun) = charged(self.record.attempt, &attempt.question, attempt.collector.round())
            && self.computing != Some(begun)
        {
            self.computing = Some(begun);
            self.actions.push(Action::Begin(begun));
        }
        for name in participants {
            if let Some(told) = ToAttempt::of(attempt.collector.next_for(name), || attempt.proposal.clone()) {
                let attempt = self.record.attempt_id();
                self.actions.push(Action::Tell { node: name.clone(), attempt, told });
            }
        }
    }

    /// Takes what nodes and the operator do while the attempt goes on.
    fn hear(&mut self, now: Moment, known: &impl Known, event: AttemptEvent) -> Result<(), Outcome> {
        let (from, event) = match event {
            AttemptEvent::Cancel(by) => return Err(Outcome::Cancelled(by)),
            AttemptEvent::Node { node, event } => (node, event),
        };
        let Phase::Collecting(attempt) = &mut self.phase else { return Ok(()) };
        if !self.record.participants.contains(&from) {
            return Ok(());
        }
        let lost =
            |reason: String, refused| Outcome::Lost(vec![Loss { partner: from.clone(), reason, refused, aside: None }]);
        let unusable = |unusable: Unusable| lost(unusable.to_string(), false);
        let said = match event {
            NodeEvent::Connected => {
                self.tell(&[from]);
                return Ok(());
            }
            NodeEvent::Disconnected => return Ok(()),
            NodeEvent::Revoked => return Err(lost("its certificate was revoked".into(), false)),
            // What belongs to another attempt came too late.
            NodeEvent::Said { number, .. } if number != self.record.attempt => return Ok(()),
            NodeEvent::Contribution(contribution) if contribution.attempt.number != self.record.attempt => {
                return Ok(());
            }
            NodeEvent::Contribution(Contribution { transcript, round, values, .. }) => {
                // What comes after the last one is seen to where the sum is taken.
                attempt.collector.contribution(&from, transcript, round, &values).map_err(unusable)?;
                attempt.waiting.remove(&from);
                return Ok(());
            }
            NodeEvent::Relayed { number, to } => {
                if number == self.record.attempt {
                    attempt.relayed(&from, &to, now);
                }
                return Ok(());
            }
            NodeEvent::Said { said, .. } => said,
        };
        if matches!(*said, FromAttempt::Refused { .. } | FromAttempt::Failed)
            && let Some(loss) = attempt.held_up(&from, now, |name| known.is_connected(name))
        {
            return Err(Outcome::Lost(vec![loss]));
        }
        let changed = match *said {
            FromAttempt::Pledged(pledge) => {
                if let Some(contradiction) = known.distrusted(&from) {
                    return Err(lost(contradiction, true));
                }
                let changed = attempt.collector.pledged(&from, *pledge).map_err(unusable)?;
                attempt.waiting.remove(&from);
                if changed {
                    attempt.begin_stage(now);
                }
                changed
            }
            FromAttempt::Waiting { reason } => {
                attempt.waits(from, clean(&reason), now);
                false
            }
            FromAttempt::Queued { after } => {
                attempt.queued(&from, after, now);
                false
            }
            FromAttempt::Refused { reason } => return Err(lost(clean(&reason), true)),
            FromAttempt::Signed { signature, encapsulations } => {
                attempt.collector.signed(&from, signature, encapsulations).map_err(unusable)?
            }
            FromAttempt::Failed => return Err(lost("failed; its own log says why".into(), false)),
            // Passed on, or recorded, before it comes here.
            FromAttempt::Relay { .. } | FromAttempt::Closed { .. } => false,
        };
        if changed {
            attempt.asked(now);
            self.tell(&self.record.participants.clone());
        }
        Ok(())
    }

    /// Takes the sum of a round that is complete, and begins the next.
    fn absorb(&mut self, now: Moment) -> Result<(), Outcome> {
        let Phase::Collecting(attempt) = &mut self.phase else { return Ok(()) };
        let Some(record) = attempt.record(self.record.attempt, now) else {
            return Err(Outcome::Failed("there is no such round: a fault in this program; please report it".into()));
        };
        let round = record.round;
        if let Err(problem) = attempt.state.absorb(&record) {
            return Err(Outcome::Failed(format!(
                "round {round} went wrong: {problem}. Masks hide which of the participants it was"
            )));
        }
        let next = charged(self.record.attempt, &attempt.question, round + 1).filter(|_| !record.repeated);
        self.computing = next;
        self.actions.push(Action::Keep(record.clone(), next));
        self.rounds.push(record);
        let Some(next) = attempt.question.round(round + 1) else {
            if let Phase::Collecting(attempt) = std::mem::replace(&mut self.phase, Phase::Finishing) {
                let Attempt { question, state, .. } = *attempt;
                self.finish(question, state);
            }
            return Ok(());
        };
        let (input, length) = (attempt.state.input(), next.layout().len());
        attempt.collector.next_round(input, length);
        attempt.begin_stage(now);
        attempt.asked(now);
        self.tell(&self.record.participants.clone());
        Ok(())
    }

    /// Asks again who has not answered, and gives up whoever is too late.
    fn look_at_the_clock(&mut self, now: Moment, known: &impl Known) -> Result<(), Outcome> {
        if self.is_held() {
            return Ok(());
        }
        let Phase::Collecting(attempt) = &mut self.phase else { return Ok(()) };
        let late = attempt.late(now, |name| known.is_connected(name));
        if !late.is_empty() {
            return Err(Outcome::Lost(late));
        }
        if attempt.again() <= now {
            let open = attempt.asks_again(now);
            self.tell(&open);
        }
        Ok(())
    }

    /// Gives the attempt up and makes the next one, if enough partners are left.
    fn go_on_without(&mut self, losses: &[Loss]) -> Result<(), Error> {
        let left = left_without(&self.record, losses)?;
        let reason = words(losses);
        // Here, where the loss can be named, and before anybody is asked.
        self.can_ask(&left).map_err(|refusal| Error::refused(format!("{reason}; {refusal}")))?;
        let before = self.record.attempt;
        self.record.warnings.push(format!("Attempt {before} was given up: {reason}. The study went on without."));
        self.record.attempt = before.checked_add(1).ok_or_else(|| Error::failed("too many attempts"))?;
        let participants = std::mem::replace(&mut self.record.participants, left);
        // Durable before anybody is told: after a restart, the new attempt goes on, not the one that was given up.
        self.give_up(participants, before, reason);
        self.phase = Phase::Gathering(None);
        Ok(())
    }

    fn finish(&mut self, question: Question, state: RoundState) {
        self.phase = Phase::Finishing;
        let record = StudyRecord { state: StudyState::Done, ..self.record.clone() };
        let (rounds, lost) = (self.rounds.clone(), self.lost.clone());
        self.actions.push(Action::Finish(Box::new(Complete { record, question, state, rounds, lost })));
    }

    /// Tells the participants that the result is there.
    fn close(&mut self, now: Moment, known: &impl Known, told: &ToAttempt) {
        self.record.state = StudyState::Done;
        let participants = &self.record.participants;
        let connected = participants.iter().filter(|name| known.is_connected(name)).cloned().collect();
        let attempt = self.record.attempt_id();
        let tell = |node: &String| Action::Tell { node: node.clone(), attempt: attempt.clone(), told: told.clone() };
        self.actions.extend(participants.iter().map(tell));
        self.phase = Phase::Closing(connected, now + CLOSING);
    }

    fn hear_the_end(&mut self, event: AttemptEvent) {
        let Phase::Closing(open, _) = &mut self.phase else { return };
        let AttemptEvent::Node { node, event } = event else { return };
        let gone = match event {
            NodeEvent::Said { number, said } => {
                number == self.record.attempt && matches!(*said, FromAttempt::Closed { .. })
            }
            NodeEvent::Disconnected | NodeEvent::Revoked => true,
            NodeEvent::Connected | NodeEvent::Contribution(_) | NodeEvent::Relayed { .. } => false,
        };
        if gone {
            open.remove(&node);
        }
    }

    /// Says where it stands, if that has changed.
    fn report(&mut self, known: &impl Known) {
        let (stage, waiting, rounds) = match &self.phase {
            Phase::Over => return,
            Phase::Gathering(_) | Phase::Collecting(_) if let Turn::Queued(place) = self.turn => {
                (format!("queued, {}", ordinal(place)), Vec::new(), (0, 0))
            }
            Phase::Gathering(_) => {
                let missing = self.missing(known).into_iter();
                ("waiting".to_owned(), missing.map(|name| (name, "not connected".to_owned())).collect(), (0, 0))
            }
            Phase::Collecting(attempt) => {
                let (stage, doing) = attempt.words();
                let reason = |name: &str| match attempt.waiting.get(name) {
                    _ if !known.is_connected(name) => "not connected".to_owned(),
                    Some(reason) => reason.clone(),
                    None => doing.to_owned(),
                };
                let waiting = attempt.collector.waiting_for().into_iter().map(|name| (name.to_owned(), reason(name)));
                (stage.to_owned(), waiting.collect(), (attempt.collector.round(), *attempt.rounds.end()))
            }
            Phase::Finishing | Phase::Closing(..) => ("complete".to_owned(), Vec::new(), (0, 0)),
        };
        let progress = Progress {
            study: self.record.id.clone(),
            attempt: self.record.attempt,
            stage,
            rounds,
            seconds_left: self.left(rounds),
            waiting,
            notes: self.record.warnings.clone(),
        };
        if self.reported.as_ref() != Some(&progress) {
            self.actions.push(Action::Report(progress.clone()));
            self.reported = Some(progress);
        }
    }

    /// Seconds that the rounds from `round` to `last` will take, if they are like those before. The first is not like the
    /// others: the data are read in it.
    fn left(&self, (round, last): (u32, u32)) -> Option<u32> {
        let before = self.rounds.get(1..).filter(|before| !before.is_empty())?;
        let mean = before.iter().map(|round| round.seconds).sum::<f64>() / before.len() as f64;
        Some((mean * f64::from((last + 1).saturating_sub(round))).ceil() as u32).filter(|_| last > 1)
    }
}

/// What nodes may be charged for a round.
fn charged(attempt: u32, question: &Question, round: u32) -> Option<LostRound> {
    let mechanism = question.round(round)?;
    Some(LostRound { attempt, round, rho: mechanism.rho(), rho_person: mechanism.rho_person() })
}

fn failed(error: Error) -> Outcome {
    Outcome::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
