//! Whole alliances in memory and in virtual time: real participants and a real coordinator over folders in memory, whose frames
//! this carries, loses, delays, repeats, reorders and changes, and which it kills and starts again, as a seed says.
//!
//! ```text
//! founding   an alliance's folders, copied from one that is founded once a process
//! asked      tiny studies of every kind
//! fault      what goes wrong, and when
//! party      a participant, its clock, its end of the connection; killed between any two looks at the clock
//! alliance   all of them, the coordinator, and the frames on their way
//! wrong      what goes wrong there when a frame arrives
//! torn       what is left of writes that do not come to their end
//! log        how many lines are logged
//! watch      what must hold of every frame and of every ledger, after every step
//! same       that a node says the same to the same
//! room       that what is kept and logged is bounded by what was heard
//! end        what must hold at the end
//! ```
//!
//! All choices follow from the seed. What the product draws (keys, noise, nonces) does not, and no choice depends on it.

mod alliance;
mod asked;
mod end;
mod fault;
mod founding;
mod log;
mod party;
mod room;
mod same;
mod torn;
mod watch;
mod wrong;

use std::collections::BTreeMap;
use std::fmt;

use alliance::Alliance;
use asked::Asked;
use entente_examples::alliance::Error;
use fault::Plan;
pub use fault::{Fault, Met};

use crate::choices::Choices;

/// How a simulated study ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With a result.
    Result,
    /// Without one, as a partner is gone without whom there is none, or frames were changed.
    AsMust,
    /// Without one, though nothing was lost that would not have come back.
    Lost,
}

/// What came of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// What was asked, and of how many.
    pub study: String,
    /// How it ended.
    pub end: End,
    /// Why there is no result.
    pub reason: Option<String>,
    /// Which faults were met in which stages.
    pub met: Met,
    /// How many nodes came back with an older state than what had left.
    pub behind: u64,
    /// The masked numbers that were sent.
    pub masked: Vec<i64>,
    /// How many frames arrived.
    pub frames: u64,
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().unwrap_or_default();
        write!(f, "{}: {:?} {reason}, after {} frames\n{}", self.study, self.end, self.frames, self.met)
    }
}

/// Simulates the alliance of a seed. Needs a runtime of tokio to be entered.
///
/// # Errors
///
/// What does not hold.
pub fn simulate(seed: u64) -> Result<Simulated, Error> {
    let mut choices = Choices::new(seed, [0x5eed]);
    let asked = choices.one_of(&Asked::mix());
    // Mostly few: with many, there is more of the same.
    let count = choices.one_of(&[2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10]);
    let count = if asked.scores() { count.min(6) } else { count };
    let least = choices.one_of(&[None, Some(2), Some(2)]);
    // Choices of their own, so that those of a seed stay what they are.
    let mut asks = Choices::new(seed, [0xa5]);
    let requester = (asks.below(3) == 0).then(|| asks.below(count));
    let begin = |problem: Error| format!("seed {seed}, {asked:?} of {count}, asked by {requester:?}: {problem}").into();
    run(&mut choices, asked, (count, least), requester).map_err(begin)
}

fn run(
    choices: &mut Choices,
    asked: Asked,
    (count, least): (usize, Option<u32>),
    requester: Option<usize>,
) -> Result<Simulated, Error> {
    // Others at the same time, perhaps one after the other.
    let beside = choices.one_of(&[&[][..], &[], &[], &[Asked::Sums], &[Asked::Counts, Asked::Linear]]);
    let at_once = choices.one_of(&[None, Some(1)]);
    let mut alliance = Alliance::new(count, (!beside.is_empty(), at_once), choices)?;
    if asked == Asked::Seeds {
        // Before that, nothing is known of their data.
        alliance.until_welcomed()?;
    }
    let model = match asked.training(count)? {
        None => None,
        Some(training) => {
            let id = alliance.submit(training)?;
            alliance.until_over(&id, false)?;
            let (_, why) = alliance.outcome(&id)?;
            Some(alliance.file(&id, "model.json")?.ok_or_else(|| format!("the training has no model: {why:?}"))?)
        }
    };
    // The same question again is answered by what is stored.
    if !asked.scores() && choices.below(6) == 0 {
        let id = alliance.submit(asked.study(count, None, None)?)?;
        alliance.until_over(&id, false)?;
    }
    let frames = (count + beside.len()) * choices.one_of(&[10, 25, 50]);
    alliance.plan(Plan::new(choices, frames), 1 + beside.len() as u64)?;
    let mut studies = Vec::new();
    for other in beside {
        studies.push((*other, alliance.submit(other.study(count, least, None)?)?));
    }
    let study = asked.study(count, least, model.as_deref())?;
    studies.push((asked, alliance.submit_by(requester, study)?));
    for (_, id) in &studies {
        alliance.until_over(id, asked.scores())?;
    }
    let (mut end, mut reason, mut done) = (End::Result, None, Vec::new());
    for (asked, id) in &studies {
        let (ends, why) = alliance.ends(id, &asked.needs(count, least))?;
        if ends == End::Result {
            done.push(&**id);
        }
        if ends > end {
            (end, reason) = (ends, why);
        }
    }
    alliance.verify(done.into_iter())?;
    let behind = alliance.behind();
    let (met, masked, frames) = alliance.seen();
    let study = format!("{asked:?} of {count}, beside {beside:?}");
    Ok(Simulated { study, end, reason, met, behind, masked, frames })
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many ended how.
    pub ends: BTreeMap<End, u64>,
    /// Those without a result that nothing excuses, with their seeds.
    pub lost: Vec<(u64, String)>,
    /// See [`Simulated::met`].
    pub met: Met,
    behind: u64,
    frames: u64,
    numbers: u64,
    /// How many of the masked numbers have each bit.
    bits: Vec<u64>,
}

impl Summary {
    /// Adds what came of a seed.
    pub fn add(&mut self, seed: u64, simulated: &Simulated) {
        *self.ends.entry(simulated.end).or_default() += 1;
        if simulated.end == End::Lost {
            let reason = simulated.reason.as_deref().unwrap_or_default();
            self.lost.push((seed, format!("{}: {reason}", simulated.study)));
        }
        self.met.merge(&simulated.met);
        self.behind += simulated.behind;
        self.frames += simulated.frames;
        self.numbers += simulated.masked.len() as u64;
        self.bits.resize(64, 0);
        for number in &simulated.masked {
            self.bits.iter_mut().enumerate().for_each(|(bit, count)| *count += (number >> bit & 1).unsigned_abs());
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.ends.values().sum()
    }

    /// Checks that of those without an excuse no more have lost their result than one of a hundred, but for chance (three standard deviations), and that
    /// masked numbers are uniform: a false alarm has a probability below 1e-9, as each of 64 bits is off by seven standard
    /// deviations with one of 3e-12.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn check(&self) -> Result<(), Error> {
        let count = self.count() - self.ends.get(&End::AsMust).copied().unwrap_or_default();
        let expected = count as f64 / 100.0;
        if self.lost.len() as f64 > expected + 3.0 * expected.sqrt() {
            return Err(format!("{} of {count} studies have no result: {:?}", self.lost.len(), self.lost).into());
        }
        let (half, deviation) = (self.numbers as f64 / 2.0, (self.numbers as f64 / 4.0).sqrt());
        for (bit, count) in self.bits.iter().enumerate() {
            if (*count as f64 - half).abs() > 7.0 * deviation {
                return Err(format!("bit {bit} is set in {count} of {} masked numbers", self.numbers).into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} alliances, {} frames, {} masked numbers", self.count(), self.frames, self.numbers)?;
        writeln!(
            f,
            "{} nodes came back with an older state than what had left, and went into quarantine",
            self.behind
        )?;
        writeln!(f, "{:?}; without a result that nothing excuses: {:?}", self.ends, self.lost)?;
        write!(f, "{}", self.met)
    }
}
