//! What becomes of a packet.

use std::time::Duration;

use super::link::{Link, Rules, Way};
use crate::choices::Choices;

/// How much longer a packet that is held back is on its way than others.
const HELD_BACK: Duration = Duration::from_millis(8);

/// A packet, or a part of it, as it is to arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// How long it is on its way.
    pub(super) after: Duration,
    /// How many of its bytes arrive.
    pub(super) length: usize,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fate {
    /// None of one that is lost, two of one that comes twice.
    arrivals: Vec<Arrival>,
    held_back: bool,
}

/// What becomes of packet number `number` of a flow, which has `length` bytes. Every question is asked of every packet, so that
/// the answer to one depends on no other rule.
fn fate(seed: u64, way: Way, flow: u64, number: u64, length: usize, rules: &Rules) -> Fate {
    let mut choices = Choices::new(seed, [way as u64, flow, number]);
    let [lost, twice, short, held_back] =
        [rules.lose, rules.duplicate, rules.truncate, rules.reorder].map(|share| choices.unit() < share);
    let part = (choices.unit() * length as f64) as usize;
    let mut arrival = || {
        let held = if held_back { HELD_BACK } else { Duration::ZERO };
        let after = rules.delay + rules.jitter.mul_f64(choices.unit()) + held;
        Arrival { after, length: if short { part } else { length } }
    };
    let mut arrivals = vec![arrival(), arrival()];
    arrivals.truncate(if lost || rules.cut { 0 } else { 1 + usize::from(twice) });
    Fate { arrivals, held_back }
}

impl Link {
    /// How a packet arrives, counted.
    pub(super) fn arrivals(&self, way: Way, flow: u64, number: u64, length: usize) -> Vec<Arrival> {
        let Fate { arrivals, held_back } = fate(self.seed, way, flow, number, length, &self.rules(way, flow));
        let mut counts = self.counting(way);
        counts.packets += 1;
        match arrivals.first() {
            None => counts.lost += 1,
            Some(arrival) => {
                counts.duplicated += u64::from(arrivals.len() > 1);
                counts.truncated += u64::from(arrival.length < length);
                counts.reordered += u64::from(held_back);
            }
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        lose: 0.1,
        duplicate: 0.2,
        truncate: 0.3,
        reorder: 0.4,
        delay: Duration::from_millis(3),
        jitter: Duration::from_millis(2),
        cut: false,
    };

    fn fates(seed: u64, way: Way, flow: u64, rules: &Rules) -> Vec<Fate> {
        (0..10_000).map(|number| fate(seed, way, flow, number, 1000, rules)).collect()
    }

    #[test]
    fn the_same_numbers_make_the_same_choices_and_others_make_others() {
        let first = fates(1, Way::Up, 0, &RULES);
        assert_eq!(first, fates(1, Way::Up, 0, &RULES));
        for other in [fates(2, Way::Up, 0, &RULES), fates(1, Way::Down, 0, &RULES), fates(1, Way::Up, 1, &RULES)] {
            assert_ne!(first, other);
        }
        // One rule's choices do not depend on another's.
        let lossy = fates(1, Way::Up, 0, &Rules { lose: RULES.lose, ..Rules::default() });
        assert!(first.iter().zip(&lossy).all(|(all, alone)| all.arrivals.is_empty() == alone.arrivals.is_empty()));
    }

    /// The seed is fixed, and with it all shares: nothing here is left to chance.
    #[test]
    fn shares_are_what_the_rules_say() {
        let fates = fates(3, Way::Down, 5, &RULES);
        let share = |is: &dyn Fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as f64 / 10_000.0;
        let come = 1.0 - RULES.lose;
        for (found, expected) in [
            (share(&|fate| fate.arrivals.is_empty()), RULES.lose),
            (share(&|fate| fate.arrivals.len() == 2), RULES.duplicate * come),
            (share(&|fate| fate.arrivals.first().is_some_and(|arrival| arrival.length < 1000)), RULES.truncate * come),
            (share(&|fate| fate.held_back), RULES.reorder),
        ] {
            assert!((found - expected).abs() < 0.015, "{found} for {expected}");
        }
        for fate in fates {
            let least = RULES.delay + if fate.held_back { HELD_BACK } else { Duration::ZERO };
            let is_in_time = |arrival: &Arrival| (least..=least + RULES.jitter).contains(&arrival.after);
            assert!(fate.arrivals.iter().all(|arrival| is_in_time(arrival) && arrival.length <= 1000));
        }
    }

    #[test]
    fn without_rules_everything_comes_at_once_and_through_a_cut_nothing() {
        let whole = [Arrival { after: Duration::ZERO, length: 1000 }];
        assert!(fates(1, Way::Up, 0, &Rules::default()).iter().all(|fate| fate.arrivals == whole));
        let cut = Rules { cut: true, ..Rules::default() };
        assert!(fates(1, Way::Up, 0, &cut).iter().all(|fate| fate.arrivals.is_empty()));
    }
}
