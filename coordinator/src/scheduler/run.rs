//! One study, from its submission to its end.
//!
//! ```text
//! attempt: gather ─▶ propose ─▶ join ─▶ sign ─▶ round: sum (or resend) ─▶ last ─▶ result ─▶ Finished to all ─▶ done
//!    ▲                 │                          └──◀── the next one ◀──┘
//!    │                 │ a partner refuses, fails, is revoked or does not answer
//!    └── the others ◀──┴── too few are left ─▶ refused or failed
//! ```
//!
//! An attempt has its number and its participants for good: no vector of one is used in another. Rounds that are complete
//! stay so: the next attempt goes on behind them. Everything that must survive a restart is in the store before anybody is
//! told, but for the sums of rounds: they are written beside the next round, and asked for again if the machine went
//! down before. Nodes answer repeated messages from their own state.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Moment;
use entente_host::terminal::clean;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::receipt::canonical;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::collect::{Collector, Stage, Unusable};
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Earlier, Question};
use entente_protocols::wire::message::{Contribution, FromAttempt, Progress, ToAttempt, ToNode};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::event::{AttemptEvent, NodeEvent, Status};
use super::question::question;
use super::{end, partners, receipt};
use crate::hall::Hall;
use crate::kinds::{self, RoundState};
use crate::store::{LostRound, RoundRecord, StudyRecord, StudyState};

/// How long a steward may take.
const STEWARD: Duration = Duration::from_secs(7 * 24 * 3600);
/// After how long without anything new, those who are waited for are asked again: what they were asked, or have answered, may have
/// been lost at either end. Sooner where they are not waited for so long.
const AGAIN: Duration = Duration::from_secs(30);
/// How long nodes may take to record the end before the result is shown; they are told again when they come back.
const CLOSING: Duration = Duration::from_secs(3);

pub(super) struct Runner<'a> {
    hall: Arc<Hall>,
    record: StudyRecord,
    /// The public schemas of all whom the study is proposed to and who have its data set.
    schemas: BTreeMap<String, DatasetSchema>,
    /// The rounds that are complete.
    rounds: Vec<RoundRecord>,
    /// Those in which attempts were given up.
    lost: Vec<LostRound>,
    /// The present one, from when nodes are told to compute it until it is complete.
    computing: Option<LostRound>,
    /// The last of them on its way into the store.
    writing: Option<tokio::task::JoinHandle<Result<(), Error>>>,
    events: mpsc::Receiver<AttemptEvent>,
    status: &'a watch::Sender<Status>,
}

/// How an attempt ends.
enum Outcome {
    Complete(Box<Complete>),
    /// These partners are lost to the attempt.
    Lost(Vec<Loss>),
    Refused(String),
    Failed(String),
    Cancelled,
}

struct Loss {
    partner: String,
    reason: String,
    /// It said no, rather than nothing or nonsense.
    refused: bool,
}

/// What a complete attempt gives.
struct Complete {
    question: Question,
    state: RoundState,
}

/// An attempt that has been proposed.
struct Attempt {
    collector: Collector,
    /// What partners say they wait for.
    waiting: BTreeMap<String, String>,
    proposed: Moment,
    /// When anybody was last told what to do.
    asked: Moment,
    /// When the last one joined, then when the present round began.
    since: Option<Moment>,
    /// The numbers of this attempt's rounds.
    rounds: RangeInclusive<u32>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        hall: Arc<Hall>,
        record: StudyRecord,
        events: mpsc::Receiver<AttemptEvent>,
        status: &'a watch::Sender<Status>,
    ) -> Self {
        let (schemas, rounds, lost) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { hall, record, schemas, rounds, lost, computing: None, writing: None, events, status }
    }

    /// Runs the study to its end, which is in the store when this returns.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let end = self.attempts().await;
        self.written().await?;
        let (state, reason) = match &end {
            Ok(()) => {
                tracing::info!(study = self.record.id, attempt = self.record.attempt, "done");
                return Ok(());
            }
            Err(_) if self.record.state == StudyState::Cancelled => {
                (StudyState::Cancelled, "cancelled by the operator")
            }
            Err(Error::Refused(reason)) => (StudyState::Refused, reason.as_str()),
            Err(Error::Failed(reason)) => (StudyState::Failed, reason.as_str()),
        };
        tracing::warn!(study = self.record.id, attempt = self.record.attempt, %state, reason, "ended");
        (self.record.state, self.record.reason) = (state, Some(reason.into()));
        end::give_up(&self.hall, &self.record, &self.record.participants, self.record.attempt, reason)?;
        end
    }

    async fn attempts(&mut self) -> Result<(), Error> {
        self.rounds = self.hall.store.rounds(&self.record.id)?;
        self.lost = self.hall.store.lost_rounds(&self.record.id)?;
        loop {
            let outcome = match self.gather().await {
                Ok(question) => self.collect(question).await,
                Err(outcome) => outcome,
            };
            if let Some(lost) = self.computing.take() {
                self.hall.store.add_lost_round(&self.record.id, lost)?;
                self.lost.push(lost);
            }
            match outcome {
                Outcome::Complete(complete) => return self.finish(*complete).await,
                Outcome::Lost(losses) => {
                    self.written().await?;
                    self.go_on_without(&losses)?;
                }
                Outcome::Refused(reason) => return Err(Error::Refused(reason)),
                Outcome::Failed(reason) => return Err(Error::Failed(reason)),
                Outcome::Cancelled => {
                    self.record.state = StudyState::Cancelled;
                    return Err(Error::refused("cancelled by the operator"));
                }
            }
        }
    }

    fn wait(&self) -> Duration {
        Duration::from_secs(u64::from(self.record.study.wait.max(1)))
    }

    fn left_until(&self, deadline: Moment) -> Duration {
        deadline.since(self.hall.clock.moment())
    }

    /// Waits until every participant has connected, and makes the question from what they publish.
    async fn gather(&mut self) -> Result<Question, Outcome> {
        let deadline = self.hall.clock.moment() + self.wait();
        let hall = self.hall.clone();
        loop {
            let roster = hall.roster().map_err(|error| Outcome::Failed(error.to_string()))?;
            let gone = self.record.participants.iter().filter(|name| !roster.members.contains_key(*name));
            let gone = losses(gone, "is not enrolled any more", false);
            if !gone.is_empty() {
                return Err(Outcome::Lost(gone));
            }
            let unknown = |name: &&String| hall.sessions.schemas(name).is_none();
            let missing: Vec<String> = self.record.participants.iter().filter(unknown).cloned().collect();
            if missing.is_empty() {
                break;
            }
            let waiting = missing.iter().map(|name| (name.clone(), "not connected".to_owned()));
            self.report("waiting", waiting.collect(), (0, 0));
            match timeout(self.left_until(deadline), self.events.recv()).await {
                Err(_) => {
                    let reason = format!("did not connect within {} s", self.wait().as_secs());
                    return Err(Outcome::Lost(losses(missing.iter(), &reason, false)));
                }
                Ok(None) => return Err(stopped()),
                Ok(Some(AttemptEvent::Cancel)) => return Err(Outcome::Cancelled),
                Ok(Some(_)) => {}
            }
        }
        let distrusted: Vec<Loss> = self
            .record
            .participants
            .iter()
            .filter_map(|name| {
                let reason = hall.sessions.distrusted(name)?;
                Some(Loss { partner: name.clone(), reason, refused: true })
            })
            .collect();
        if !distrusted.is_empty() {
            return Err(Outcome::Lost(distrusted));
        }
        let participants = &self.record.participants;
        let published =
            participants.iter().filter_map(|name| Some((name.clone(), hall.sessions.schemas(name)?))).collect();
        self.schemas =
            partners::schemas(&self.hall, &self.record).map_err(|error| Outcome::Failed(error.to_string()))?;
        let completed = self.rounds.iter().filter(|round| round.attempt < self.record.attempt).count();
        let completed = u32::try_from(completed).unwrap_or(u32::MAX);
        let earlier = Earlier { completed, spent: self.spent() };
        let question = question(&self.record.study, participants, &published, earlier).map_err(Outcome::Refused)?;
        let plan = question.plan_digest();
        if self.rounds.iter().any(|round| round.plan != plan) {
            return Err(Outcome::Refused(
                "the schemas of the data sets have changed since the study began, and with them its plan; submit it anew".into(),
            ));
        }
        Ok(question)
    }

    /// What earlier attempts have charged.
    fn spent(&self) -> Rho {
        let now = self.record.attempt;
        let rounds = self.rounds.iter().filter(|round| round.attempt < now && !round.repeated).map(|round| round.rho);
        rounds.chain(self.lost.iter().filter(|lost| lost.attempt < now).map(|lost| lost.rho)).sum()
    }

    /// Waits until the last complete round is in the store.
    async fn written(&mut self) -> Result<(), Error> {
        match self.writing.take() {
            Some(writing) => writing.await.unwrap_or_else(|error| Err(Error::failed(error.to_string()))),
            None => Ok(()),
        }
    }

    /// Keeps a complete round, beside what comes next.
    async fn keep(&mut self, round: RoundRecord) -> Result<(), Error> {
        self.written().await?;
        let (hall, study, record) = (self.hall.clone(), self.record.id.clone(), round.clone());
        self.rounds.push(round);
        self.writing = Some(tokio::task::spawn_blocking(move || hall.store.add_round(&study, &record)));
        Ok(())
    }

    /// Proposes the attempt and takes it through its stages.
    async fn collect(&mut self, question: Question) -> Outcome {
        let roster = match self.hall.roster() {
            Ok(roster) => roster,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let mut state = match RoundState::new(&question, &self.rounds) {
            Ok(state) => state,
            Err(problem) => return Outcome::Failed(problem),
        };
        let round = u32::try_from(self.rounds.len()).unwrap_or(u32::MAX - 1) + 1;
        let Some(mechanism) = question.round(round) else {
            // All rounds were complete when the coordinator stopped.
            return Outcome::Complete(Box::new(Complete { question, state }));
        };
        let (names, length) = (self.record.participants.clone(), mechanism.layout().len());
        let collector =
            Collector::new(self.record.attempt_id(), names, roster, question.digest(), round, state.input(), length)
                .over(question.contributors());
        let rounds = question.rounds();
        let collector = collector.about(self.proposal(&rounds).digest(&self.record.attempt_id()));
        let (waiting, now) = (BTreeMap::new(), self.hall.clock.moment());
        let mut attempt = Attempt { collector, waiting, proposed: now, asked: now, since: None, rounds };
        self.send_all(&mut attempt);
        loop {
            if let (Some(values), Some(transcript)) = (attempt.collector.sum(), attempt.collector.transcript()) {
                let round = attempt.collector.round();
                let Some(mechanism) = question.round(round) else {
                    return Outcome::Failed("there is no such round: a fault in this program; please report it".into());
                };
                let since = attempt.since.unwrap_or(attempt.proposed);
                let record = RoundRecord {
                    round,
                    attempt: self.record.attempt,
                    participants: mechanism.participants(),
                    plan: question.plan_digest(),
                    transcript,
                    repeated: attempt.collector.is_resend(),
                    rho: mechanism.rho(),
                    rho_person: mechanism.rho_person(),
                    sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
                    sum: values.to_vec(),
                    seconds: self.hall.clock.moment().since(since).as_secs_f64(),
                };
                if let Err(problem) = state.absorb(&record) {
                    return Outcome::Failed(format!(
                        "round {round} went wrong: {problem}. Masks hide which of the participants it was"
                    ));
                }
                self.computing = None;
                if let Err(error) = self.keep(record).await {
                    return Outcome::Failed(error.to_string());
                }
                let Some(next) = question.round(round + 1) else {
                    return Outcome::Complete(Box::new(Complete { question, state }));
                };
                attempt.collector.next_round(state.input(), next.layout().len());
                attempt.since = Some(self.hall.clock.moment());
                self.send_all(&mut attempt);
            }
            if attempt.collector.stage() == Stage::Summing
                && let Some(mechanism) = question.round(attempt.collector.round())
            {
                let (rho, rho_person) = (mechanism.rho(), mechanism.rho_person());
                self.computing = Some(LostRound { attempt: self.record.attempt, rho, rho_person });
            }
            self.report_on(&attempt);
            let deadline = attempt.deadline(self.wait());
            let again = attempt.asked + AGAIN.min(self.wait() / 4);
            let event = match timeout(self.left_until(deadline.min(again)), self.events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => return stopped(),
                Err(_) => {
                    let late = attempt.late(self.wait(), self.hall.clock.moment());
                    if late.is_empty() {
                        if again <= self.hall.clock.moment() {
                            self.ask_again(&mut attempt);
                        }
                        continue;
                    }
                    return Outcome::Lost(late);
                }
            };
            if let Err(outcome) = self.take(&mut attempt, event) {
                return outcome;
            }
        }
    }

    /// Takes an event. An error ends the attempt.
    fn take(&self, attempt: &mut Attempt, event: AttemptEvent) -> Result<(), Outcome> {
        let (from, event) = match event {
            AttemptEvent::Cancel => return Err(Outcome::Cancelled),
            AttemptEvent::Node { node, event } => (node, event),
        };
        if !self.record.participants.contains(&from) {
            return Ok(());
        }
        let lost = |reason: String, refused| Outcome::Lost(vec![Loss { partner: from.clone(), reason, refused }]);
        let unusable = |unusable: Unusable| lost(unusable.to_string(), false);
        let said = match event {
            NodeEvent::Connected => {
                self.send(attempt, &from);
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
            NodeEvent::Said { said, .. } => said,
        };
        let changed = match *said {
            FromAttempt::Pledged(pledge) => {
                if let Some(contradiction) = self.hall.sessions.distrusted(&from) {
                    return Err(lost(contradiction, true));
                }
                let changed = attempt.collector.pledged(&from, *pledge).map_err(unusable)?;
                attempt.waiting.remove(&from);
                if changed {
                    attempt.since = Some(self.hall.clock.moment());
                }
                changed
            }
            FromAttempt::Waiting { reason } => {
                attempt.waiting.insert(from, clean(&reason));
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
            self.send_all(attempt);
        }
        Ok(())
    }

    /// Sends everybody what to do next.
    fn send_all(&self, attempt: &mut Attempt) {
        attempt.asked = self.hall.clock.moment();
        for participant in &self.record.participants {
            self.send(attempt, participant);
        }
    }

    /// Asks those again who have not answered. A node whose steward decides says so by itself.
    fn ask_again(&self, attempt: &mut Attempt) {
        attempt.asked = self.hall.clock.moment();
        let joining = attempt.collector.stage() == Stage::Joining;
        let decides = |name: &&str| joining && attempt.waiting.contains_key(*name);
        for participant in attempt.collector.waiting_for().into_iter().filter(|name| !decides(name)) {
            self.send(attempt, participant);
        }
    }

    /// The attempt as it is proposed, for these rounds.
    fn proposal(&self, rounds: &RangeInclusive<u32>) -> Proposal {
        Proposal {
            completed: rounds.start().saturating_sub(1),
            spent: self.spent(),
            study: self.record.study.clone(),
            partners: self.record.named.clone(),
            participants: self.record.participants.clone(),
            requester: self.record.requester.clone(),
            begun: self.record.begun,
            schemas: BTreeMap::new(),
            datasets: BTreeMap::new(),
        }
        .over(self.schemas.clone())
    }

    /// Sends a participant what to do next, if it is connected; it is sent again when it reconnects.
    fn send(&self, attempt: &Attempt, participant: &str) {
        let proposal = || self.proposal(&attempt.rounds);
        let Some(told) = ToAttempt::of(attempt.collector.next_for(participant), proposal) else { return };
        self.hall.sessions.send(participant, &ToNode::Attempt(self.record.attempt_id(), told));
    }

    /// Gives the attempt up and makes the next one, if enough partners are left.
    fn go_on_without(&mut self, losses: &[Loss]) -> Result<(), Error> {
        let lost: BTreeSet<&str> = losses.iter().map(|loss| loss.partner.as_str()).collect();
        let texts: Vec<String> = losses.iter().map(Loss::text).collect();
        let reason = texts.join("; ");
        let is_left = |name: &&String| !lost.contains(name.as_str());
        let left: Vec<String> = self.record.participants.iter().filter(is_left).cloned().collect();
        let least = self.record.study.min_partners.map_or(self.record.named.len(), |least| least as usize);
        if left.len() < least.max(1) {
            let shortage = match self.record.study.min_partners {
                _ if self.record.named.len() == 1 => "nobody else takes part in the study".to_owned(),
                None => "the study needs all its partners; `min_partners` in the study file lets it go on with fewer"
                    .to_owned(),
                Some(_) => format!("{} would be left, and `min_partners` is {least}", left.len()),
            };
            let text = format!("{reason}; {shortage}");
            let refused = losses.iter().any(|loss| loss.refused);
            return Err(if refused { Error::Refused(text) } else { Error::Failed(text) });
        }
        tracing::warn!(study = self.record.id, attempt = self.record.attempt, reason, "the attempt is given up");
        let before = self.record.attempt;
        self.record.warnings.push(format!("Attempt {before} was given up: {reason}. The study went on without."));
        self.record.attempt = before.checked_add(1).ok_or_else(|| Error::failed("too many attempts"))?;
        let participants = std::mem::replace(&mut self.record.participants, left);
        // Durable before anybody is told: after a restart, the new attempt goes on, not the one that was given up.
        end::give_up(&self.hall, &self.record, &participants, before, &reason)
    }

    /// Makes the result, keeps it, and tells the participants.
    async fn finish(&mut self, complete: Complete) -> Result<(), Error> {
        self.written().await?;
        self.report("complete", Vec::new(), (0, 0));
        let (record, rounds, lost) = (self.record.clone(), self.rounds.clone(), self.lost.clone());
        let subject = receipt::subject(&self.hall, &record, &complete.question, &rounds);
        let receipt = subject.digest();
        let finished = self.hall.clock.now();
        let mut made = tokio::task::spawn_blocking(move || {
            kinds::finish(&kinds::Finished {
                id: &record.id,
                study: &record.study,
                question: &complete.question,
                state: &complete.state,
                rounds: &rounds,
                lost: &lost,
                started: record.created,
                finished,
                warnings: &record.warnings,
                receipt,
            })
        });
        // What still comes has come too late; nobody is kept waiting with it.
        let made = loop {
            tokio::select! {
                made = &mut made => break made,
                Some(_) = self.events.recv() => {}
            }
        };
        let files = made
            .map_err(|_| Error::failed("the result could not be made: a fault in this program; please report it"))?
            .map_err(|problem| Error::failed(format!("the result could not be made: {problem}")))?;
        let (statement, signature) = receipt::state(&self.hall, subject, &files);
        let result = statement.result();
        let result = result.ok_or_else(|| Error::failed("the result could not be made: it has no result.json"))?;
        self.record.state = StudyState::Done;
        self.hall.store.complete_study(&self.record, &files, (&statement, &signature))?;
        let statement = canonical(&statement);
        let model = files.get(end::MODEL);
        let mut open: BTreeSet<String> = self.record.participants.iter().cloned().collect();
        for participant in &self.record.participants {
            let (model, statement) = (model.cloned(), statement.clone());
            let told = end::finished(result, statement, model);
            if !self.hall.sessions.send(participant, &ToNode::Attempt(self.record.attempt_id(), told)) {
                open.remove(participant);
            }
        }
        let deadline = self.hall.clock.moment() + CLOSING;
        while !open.is_empty() {
            match timeout(self.left_until(deadline), self.events.recv()).await {
                Ok(Some(AttemptEvent::Node { node, event })) => {
                    let gone = match event {
                        NodeEvent::Said { number, said } => {
                            number == self.record.attempt && matches!(*said, FromAttempt::Closed { .. })
                        }
                        NodeEvent::Disconnected | NodeEvent::Revoked => true,
                        NodeEvent::Connected | NodeEvent::Contribution(_) => false,
                    };
                    if gone {
                        open.remove(&node);
                    }
                }
                Ok(Some(AttemptEvent::Cancel)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    fn report_on(&self, attempt: &Attempt) {
        let stage = attempt.collector.stage();
        let (word, doing) = match stage {
            Stage::Joining => ("joining", "checks the study"),
            Stage::Signing => ("signing", "checks the others' keys and signs"),
            Stage::Summing => ("summing", "computes"),
            Stage::Resending => ("resending", "sends its stored answer again"),
            Stage::Complete => ("complete", ""),
        };
        let reason = |name: &str| {
            let said = attempt.waiting.get(name);
            match said {
                _ if !self.hall.sessions.is_connected(name) => "not connected".to_owned(),
                Some(reason) => reason.clone(),
                None => doing.to_owned(),
            }
        };
        let waiting = attempt.collector.waiting_for().into_iter().map(|name| (name.to_owned(), reason(name)));
        self.report(word, waiting.collect(), (attempt.collector.round(), *attempt.rounds.end()));
    }

    /// Seconds that the rounds from `round` to `last` will take, if they are like those before. The first is not like the
    /// others: the data are read in it.
    fn left(&self, (round, last): (u32, u32)) -> Option<u32> {
        let before = self.rounds.get(1..).filter(|before| !before.is_empty())?;
        let mean = before.iter().map(|round| round.seconds).sum::<f64>() / before.len() as f64;
        Some((mean * f64::from((last + 1).saturating_sub(round))).ceil() as u32).filter(|_| last > 1)
    }

    fn report(&self, stage: &str, waiting: Vec<(String, String)>, rounds: (u32, u32)) {
        let progress = Progress {
            study: self.record.id.clone(),
            attempt: self.record.attempt,
            stage: stage.into(),
            rounds,
            seconds_left: self.left(rounds),
            waiting,
            notes: self.record.warnings.clone(),
        };
        self.status.send_if_modified(|status| {
            let changed = status.progress != progress;
            status.progress = progress;
            changed
        });
    }
}

impl Attempt {
    /// By when the next of those waited for must have answered.
    fn deadline(&self, wait: Duration) -> Moment {
        let deadlines = self.collector.waiting_for().into_iter().map(|name| self.deadline_of(name, wait));
        deadlines.min().unwrap_or(self.proposed + STEWARD)
    }

    fn deadline_of(&self, name: &str, wait: Duration) -> Moment {
        match self.since {
            Some(since) => since + wait,
            None if self.waiting.contains_key(name) => self.proposed + STEWARD.max(wait),
            None => self.proposed + wait,
        }
    }

    /// Those who should have answered by now.
    fn late(&self, wait: Duration, now: Moment) -> Vec<Loss> {
        let late = self.collector.waiting_for().into_iter().filter(|name| self.deadline_of(name, wait) <= now);
        let loss = |name: &str| {
            let reason = match self.waiting.get(name) {
                Some(reason) if self.since.is_none() => {
                    format!("did not decide within {} days ({reason})", STEWARD.as_secs() / (24 * 3600))
                }
                Some(reason) => format!("did not answer within {} s: it waited for {reason}", wait.as_secs()),
                None => format!("did not answer within {} s", wait.as_secs()),
            };
            Loss { partner: name.to_owned(), reason, refused: false }
        };
        late.map(loss).collect()
    }
}

impl Loss {
    fn text(&self) -> String {
        let Self { partner, reason, refused } = self;
        if *refused { format!("`{partner}` refused: {reason}") } else { format!("`{partner}`: {reason}") }
    }
}

fn losses<'a>(partners: impl Iterator<Item = &'a String>, reason: &str, refused: bool) -> Vec<Loss> {
    partners.map(|partner| Loss { partner: partner.clone(), reason: reason.into(), refused }).collect()
}

fn stopped() -> Outcome {
    // Cannot happen while the desk holds the other end; a study that is taken up again finds out.
    Outcome::Failed("the coordinator stopped".into())
}
