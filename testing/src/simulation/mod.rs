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
//! log        how many lines are logged
//! watch      what must hold of every frame and of every ledger, after every step
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
    /// The masked numbers that were sent where several contribute.
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
    let asked = choices.one_of(&Asked::MIX);
    // Mostly few: with many, there is more of the same.
    let count = choices.one_of(&[2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 10]);
    let count = if asked.is_of_a_model() { count.min(4) } else { count };
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
    let mut alliance = Alliance::new(count, choices)?;
    let model = if asked.is_of_a_model() {
        let id = alliance.submit(asked.training(count)?, if asked == Asked::Seeds { 1 } else { count })?;
        alliance.until_over(&id, false)?;
        let (_, why) = alliance.outcome(&id)?;
        Some(alliance.file(&id, "model.json")?.ok_or_else(|| format!("the training has no model: {why:?}"))?)
    } else {
        None
    };
    // The same question again is answered by what is stored.
    if !asked.is_of_a_model() && choices.below(6) == 0 {
        let id = alliance.submit(asked.study(count, None, None)?, count)?;
        alliance.until_over(&id, false)?;
    }
    let frames = count * choices.one_of(&[10, 25, 50]);
    alliance.plan(Plan::new(choices, frames));
    let (disks, lines) = (alliance.disks()?, log::lines());
    let study = asked.study(count, least, model.as_deref())?;
    let id = alliance.submit_by(requester, study, if model.is_some() { 1 } else { count })?;
    alliance.until_over(&id, asked.is_of_a_model())?;
    let participants = if asked.is_of_a_model() { count.min(3) } else { count };
    let least = least.map_or(participants, |least| least as usize);
    let (end, reason) = alliance.ends(&id, &asked.needs(participants, least))?;
    alliance.check_room(&disks, log::lines() - lines)?;
    let (met, masked, frames) = alliance.seen();
    Ok(Simulated { study: format!("{asked:?} of {count}"), end, reason, met, masked, frames })
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

    /// Checks that no more have lost their result than one of a hundred, but for chance (four standard deviations and one), and that
    /// masked numbers are uniform: a false alarm has a probability below 1e-9, as each of 64 bits is off by seven standard
    /// deviations with one of 3e-12.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn check(&self) -> Result<(), Error> {
        let expected = self.count() as f64 / 100.0;
        if self.lost.len() as f64 > expected + 4.0 * expected.sqrt() + 1.0 {
            return Err(
                format!("{} of {} studies have no result: {:?}", self.lost.len(), self.count(), self.lost).into()
            );
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
        writeln!(f, "{:?}; without a result that nothing excuses: {:?}", self.ends, self.lost)?;
        write!(f, "{}", self.met)
    }
}
