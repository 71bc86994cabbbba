//! One attempt of a study, once it is proposed: who is waited for, and until when. Time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use entente_host::Error;
use entente_protocols::secagg::collect::{Collector, Stage};
use entente_protocols::study::Question;
use entente_protocols::study::parts::{Dialogue, Side};
use entente_protocols::study::proposal::Proposal;

use crate::kinds::RoundState;
use crate::store::{RoundRecord, StudyRecord};

/// A moment, from a beginning that never changes.
pub(super) type Moment = Duration;

/// How long a steward may take.
const STEWARD: Duration = Duration::from_secs(7 * 24 * 3600);
/// After how long without anything new, those who are waited for are asked again: what they were asked, or have answered, may have
/// been lost at either end. Sooner where they are not waited for so long.
const AGAIN: Duration = Duration::from_secs(30);
/// The same of those whose steward decides: they say so by themselves, and what they say may be lost as well.
const AGAIN_STEWARD: Duration = Duration::from_secs(15 * 60);

/// For how much longer than a study's wait rounds of an attempt may take together, while a partner says that they wait there for
/// their turn behind those of other studies. It need not be true.
const QUEUED: Duration = Duration::from_secs(3600);

/// An attempt that has been proposed.
pub(super) struct Attempt {
    pub(super) proposal: Proposal,
    pub(super) question: Question,
    pub(super) state: RoundState,
    pub(super) collector: Collector,
    /// What partners say they wait for.
    pub(super) waiting: BTreeMap<String, String>,
    /// Who has asked whom within the present round and has not been answered, and since when.
    questions: BTreeMap<(String, String), Moment>,
    /// When those whom others ask last answered anybody.
    answered: BTreeMap<String, Moment>,
    /// When partners last said that the present round waits for its turn there.
    queued: BTreeMap<String, Moment>,
    /// When partners last said, once all had joined, that they wait for others: for those who witness their ledgers.
    held: BTreeMap<String, Moment>,
    /// For how much longer than they were to rounds have taken.
    overtime: Duration,
    /// The numbers of this attempt's rounds.
    pub(super) rounds: RangeInclusive<u32>,
    /// How long each may take.
    wait: Duration,
    proposed: Moment,
    /// When anybody was last told what to do.
    asked: Moment,
    /// When those whose steward decides were last told.
    asked_stewards: Moment,
    /// When the last one joined, then when the present round began.
    since: Option<Moment>,
}

/// A partner that is lost to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) partner: String,
    pub(super) reason: String,
    /// It said no, rather than nothing or nonsense.
    pub(super) refused: bool,
    /// What the operator alone is told beside: what a partner waits for tells others how busy it is, and of whom it waits.
    pub(super) aside: Option<String>,
}

impl Attempt {
    pub(super) fn new(
        (proposal, question): (Proposal, Question),
        state: RoundState,
        collector: Collector,
        wait: Duration,
        now: Moment,
    ) -> Self {
        let (rounds, waiting) = (question.rounds(), BTreeMap::new());
        Self {
            proposal,
            question,
            state,
            collector,
            waiting,
            questions: BTreeMap::new(),
            answered: BTreeMap::new(),
            queued: BTreeMap::new(),
            held: BTreeMap::new(),
            overtime: Duration::ZERO,
            rounds,
            wait,
            proposed: now,
            asked: now,
            asked_stewards: now,
            since: None,
        }
    }

    /// Everybody was told what to do.
    pub(super) fn asked(&mut self, now: Moment) {
        (self.asked, self.asked_stewards) = (now, now);
    }

    /// The last one has joined, or a round begins.
    pub(super) fn begin_stage(&mut self, now: Moment) {
        self.overtime += self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since + self.wait));
        self.since = Some(now);
        self.questions.clear();
        self.queued.clear();
        self.held.clear();
    }

    /// It was held up for so long, which makes nobody late.
    pub(super) fn was_held(&mut self, long: Duration) {
        let Self { proposed, asked, asked_stewards, since, questions, answered, queued, held, .. } = self;
        [Some(proposed), Some(asked), Some(asked_stewards), since.as_mut()]
            .into_iter()
            .flatten()
            .chain(questions.values_mut())
            .chain(answered.values_mut())
            .chain(queued.values_mut())
            .chain(held.values_mut())
            .for_each(|moment| *moment += long);
    }

    /// Whether participants have yet to join.
    pub(super) fn is_joining(&self) -> bool {
        self.collector.stage() == Stage::Joining
    }

    /// The present round, of attempt `number`, whose vectors are all in. `None` if there is no such round.
    pub(super) fn record(&self, number: u32, now: Moment) -> Option<RoundRecord> {
        let Self { question, collector, .. } = self;
        let mechanism = question.round(collector.round())?;
        Some(RoundRecord {
            round: collector.round(),
            attempt: number,
            participants: mechanism.participants(),
            plan: question.plan_digest(),
            transcript: collector.transcript()?,
            repeated: collector.is_resend(),
            rho: mechanism.rho(),
            rho_person: mechanism.rho_person(),
            sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
            sum: collector.sum()?.to_vec(),
            seconds: now.saturating_sub(self.since.unwrap_or(self.proposed)).as_secs_f64(),
        })
    }

    /// By when something is to be done even if nothing comes.
    pub(super) fn deadline(&self) -> Moment {
        let deadlines = self.collector.waiting_for().into_iter().map(|name| self.deadline_of(name));
        deadlines.min().unwrap_or(self.proposed + STEWARD).min(self.again())
    }

    /// Asks again: those who have not answered by [`Attempt::again`], though seldom whose steward decides.
    pub(super) fn asks_again(&mut self, now: Moment) -> Vec<String> {
        self.asked = now;
        let with_stewards = self.asked_stewards + AGAIN_STEWARD <= now;
        if with_stewards {
            self.asked_stewards = now;
        }
        let decides = |name: &str| self.is_joining() && self.waiting.contains_key(name);
        let open = self.collector.waiting_for().into_iter().filter(|name| with_stewards || !decides(name));
        open.map(str::to_owned).collect()
    }

    /// When those who have not answered are asked again.
    pub(super) fn again(&self) -> Moment {
        self.asked + self.long()
    }

    /// For how long nothing new is nothing unusual.
    fn long(&self) -> Duration {
        AGAIN.min(self.wait / 4)
    }

    /// A participant says what it waits for. Once all have joined, that is for others to witness its ledger: people have to decide how to
    /// go on without them, what was charged would be lost, and it is not this participant that is late.
    pub(super) fn waits(&mut self, name: String, reason: String, now: Moment) {
        if !self.is_joining() {
            self.held.insert(name.clone(), now);
        }
        self.waiting.insert(name, reason);
    }

    /// A participant says that the present round waits for its turn there, after so many others.
    pub(super) fn queued(&mut self, name: &str, after: u32, now: Moment) {
        if self.collector.stage() == Stage::Summing {
            let rounds =
                if after == 1 { "a round of another study".into() } else { format!("{after} rounds of other studies") };
            self.waiting.insert(name.to_owned(), format!("its turn, after {rounds}"));
            self.queued.insert(name.to_owned(), now);
        }
    }

    /// A participant has said something to another: asked, or answered.
    pub(super) fn relayed(&mut self, from: &str, to: &str, now: Moment) {
        let asks = |dialogue: &Dialogue| dialogue.with == to && dialogue.side == Side::Asks;
        let part = self.question.parts().of(from);
        if part.is_some_and(|part| part.dialogues.iter().any(asks)) {
            self.questions.entry((from.to_owned(), to.to_owned())).or_insert(now);
        } else {
            self.questions.remove(&(to.to_owned(), from.to_owned()));
            self.answered.insert(from.to_owned(), now);
        }
    }

    /// The loss of whoever keeps this participant waiting for an answer: it is not connected, or has answered nobody since. Of one
    /// that answers others, it is not to be believed.
    pub(super) fn held_up(&self, name: &str, now: Moment, is_connected: impl Fn(&str) -> bool) -> Option<Loss> {
        let is_silent = |other: &str, since: Moment| {
            since + self.long() <= now && self.answered.get(other).is_none_or(|answered| *answered <= since)
        };
        let holds_up = |((asks, other), since): &(&(String, String), &Moment)| {
            asks == name && (!is_connected(other) || is_silent(other, **since))
        };
        let ((_, other), _) = self.questions.iter().find(holds_up)?;
        let reason = format!("did not answer `{name}` within {} s", self.wait.as_secs());
        Some(Loss { partner: other.clone(), reason, refused: false, aside: None })
    }

    /// Those who should have answered by now.
    pub(super) fn late(&self, now: Moment, is_connected: impl Fn(&str) -> bool) -> Vec<Loss> {
        let late = self.collector.waiting_for().into_iter().filter(|name| self.deadline_of(name) <= now);
        let loss = |name: &str| {
            if let Some(other) = self.held_up(name, now, &is_connected) {
                return other;
            }
            let wait = self.wait.as_secs();
            let reason = match self.since {
                None if self.waiting.contains_key(name) => {
                    format!("did not decide within {} days", STEWARD.as_secs() / (24 * 3600))
                }
                _ => format!("did not answer within {wait} s"),
            };
            let aside = self.waiting.get(name).map(|what| format!("`{name}` waited for {what}"));
            Loss { partner: name.to_owned(), reason, refused: false, aside }
        };
        let mut losses: Vec<Loss> = late.map(loss).collect();
        // One may keep several waiting.
        let mut named = BTreeSet::new();
        losses.retain(|loss| named.insert(loss.partner.clone()));
        losses
    }

    /// The word for the present stage, and what those do who are waited for in it.
    pub(super) fn words(&self) -> (&'static str, &'static str) {
        match self.collector.stage() {
            Stage::Joining => ("joining", "checks the study"),
            Stage::Signing => ("signing", "checks the others' keys and signs"),
            Stage::Summing => ("summing", "computes"),
            Stage::Resending => ("resending", "sends its stored answer again"),
            Stage::Complete => ("complete", ""),
        }
    }

    fn deadline_of(&self, name: &str) -> Moment {
        match self.since {
            Some(since) => {
                let queued = self.queued.get(name).map_or(Duration::ZERO, |said| said.saturating_sub(since));
                let held = self.held.get(name).map_or(Duration::ZERO, |said| said.saturating_sub(since));
                since + self.wait + queued.min(QUEUED.saturating_sub(self.overtime)).max(held.min(STEWARD))
            }
            None if self.waiting.contains_key(name) => self.proposed + STEWARD.max(self.wait),
            None => self.proposed + self.wait,
        }
    }
}

/// What is said of losses.
pub(super) fn words(losses: &[Loss]) -> String {
    let text = |Loss { partner, reason, refused, .. }: &Loss| match refused {
        true => format!("`{partner}` refused: {reason}"),
        false => format!("`{partner}`: {reason}"),
    };
    losses.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// The participants that are left of a study's attempt, if they are enough for another.
pub(super) fn left_without(record: &StudyRecord, losses: &[Loss]) -> Result<Vec<String>, Error> {
    let is_left = |name: &&String| losses.iter().all(|loss| loss.partner != **name);
    let left: Vec<String> = record.participants.iter().filter(is_left).cloned().collect();
    let least = record.study.min_partners.map_or(record.named.len(), |least| least as usize);
    if left.len() >= least.max(1) {
        return Ok(left);
    }
    let shortage = match record.study.min_partners {
        _ if record.named.len() == 1 => "nobody else takes part in the study".to_owned(),
        None => {
            "the study needs all its partners; `min_partners` in the study file lets it go on with fewer".to_owned()
        }
        Some(_) => format!("{} would be left, and `min_partners` is {least}", left.len()),
    };
    let text = format!("{}; {shortage}", words(losses));
    let refused = losses.iter().any(|loss| loss.refused);
    Err(if refused { Error::refused(text) } else { Error::failed(text) })
}

/// The loss of each of these, for one reason.
pub(super) fn losses<'a>(partners: impl IntoIterator<Item = &'a String>, reason: &str) -> Vec<Loss> {
    let loss = |partner: &String| Loss { partner: partner.clone(), reason: reason.into(), refused: false, aside: None };
    partners.into_iter().map(loss).collect()
}
