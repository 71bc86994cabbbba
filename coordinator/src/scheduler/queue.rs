//! Which studies may run: so many at once, the others in the order in which they came.
//!
//! ```text
//! enter ─▶ Waiting ─▶ Running ─▶ leave
//!             ▲          │ waits for a steward, or for partners that are away
//!             └─ Resting ◀
//! ```
//!
//! A study that rests holds nobody up. When the last partner that it waits for is back, it waits with the others, where it stood
//! before: so whoever connects first after a restart of the coordinator does not change the order.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::StudyRecord;

/// The order in which studies came.
pub(super) type Order = (jiff::Timestamp, String);

/// Where a study stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may run.
    Running,
    /// It waits for one that runs to end or to rest, as the n-th.
    Queued(usize),
    /// It has given its turn up.
    Resting,
}

/// What a study needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A turn.
    Turn,
    /// None, before these partners are back; or something else happens, where nobody is away.
    Rest(BTreeSet<String>),
}

enum State {
    Running,
    Waiting,
    Resting(BTreeSet<String>),
}

/// All studies that have not ended.
pub(super) struct Queue {
    limit: usize,
    studies: BTreeMap<Order, State>,
}

/// Where a study stands in the order.
pub(super) fn order(record: &StudyRecord) -> Order {
    (record.created, record.id.clone())
}

impl Queue {
    /// At most so many run at once.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, studies: BTreeMap::new() }
    }

    /// A study has come.
    pub(super) fn enter(&mut self, study: Order) {
        self.studies.insert(study, State::Waiting);
        self.admit();
    }

    /// A study says what it needs.
    pub(super) fn set(&mut self, study: &Order, need: Need) {
        let Some(state) = self.studies.get_mut(study) else { return };
        match (need, &*state) {
            (Need::Rest(away), State::Resting(known)) if *known == away => return,
            (Need::Turn, State::Running | State::Waiting) => return,
            (Need::Rest(away), _) => *state = State::Resting(away),
            (Need::Turn, State::Resting(_)) => *state = State::Waiting,
        }
        self.admit();
    }

    /// A partner is back: who waits for it alone, waits for a turn.
    pub(super) fn connected(&mut self, partner: &str) {
        for state in self.studies.values_mut() {
            if let State::Resting(away) = state
                && away.remove(partner)
                && away.is_empty()
            {
                *state = State::Waiting;
            }
        }
        self.admit();
    }

    /// A study has ended.
    pub(super) fn leave(&mut self, study: &Order) {
        self.studies.remove(study);
        self.admit();
    }

    /// Where all studies stand.
    pub(super) fn turns(&self) -> impl Iterator<Item = (&Order, Turn)> {
        let mut queued = 0;
        self.studies.iter().map(move |(study, state)| {
            let turn = match state {
                State::Running => Turn::Running,
                State::Resting(_) => Turn::Resting,
                State::Waiting => {
                    queued += 1;
                    Turn::Queued(queued)
                }
            };
            (study, turn)
        })
    }

    fn admit(&mut self) {
        let running = self.studies.values().filter(|state| matches!(state, State::Running)).count();
        let waiting = self.studies.values_mut().filter(|state| matches!(state, State::Waiting));
        waiting.take(self.limit.saturating_sub(running)).for_each(|state| *state = State::Running);
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
pub(super) fn ordinal(number: usize) -> String {
    let end = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(number: i64) -> Order {
        (jiff::Timestamp::from_second(number).unwrap(), format!("s{number}"))
    }

    fn turns(queue: &Queue) -> Vec<Turn> {
        queue.turns().map(|(_, turn)| turn).collect()
    }

    fn away(partners: &[&str]) -> Need {
        Need::Rest(partners.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn so_many_run_and_the_others_wait_in_order() {
        let mut queue = Queue::new(2);
        for number in [1, 2, 5, 3] {
            queue.enter(study(number));
        }
        assert_eq!(turns(&queue), [Turn::Running, Turn::Running, Turn::Queued(1), Turn::Queued(2)]);
        queue.leave(&study(3));
        assert_eq!(turns(&queue), [Turn::Running, Turn::Running, Turn::Queued(1)], "one that waits is given up");
        queue.leave(&study(1));
        assert_eq!(turns(&queue), [Turn::Running, Turn::Running]);
    }

    #[test]
    fn who_rests_holds_nobody_up_and_keeps_its_place_in_the_order() {
        let mut queue = Queue::new(1);
        (1..=3).for_each(|number| queue.enter(study(number)));
        queue.set(&study(1), away(&[]));
        assert_eq!(turns(&queue), [Turn::Resting, Turn::Running, Turn::Queued(1)]);
        queue.set(&study(1), Need::Turn);
        assert_eq!(turns(&queue), [Turn::Queued(1), Turn::Running, Turn::Queued(2)]);
        queue.set(&study(1), Need::Turn);
        queue.leave(&study(2));
        assert_eq!(turns(&queue), [Turn::Running, Turn::Queued(1)]);
    }

    /// After a restart all rest until their partners are back, whoever of these comes first.
    #[test]
    fn the_first_of_those_that_wait_for_a_partner_goes_on_first() {
        let mut queue = Queue::new(1);
        for number in [1, 2, 3] {
            queue.enter(study(number));
            queue.set(&study(number), away(if number == 2 { &["bank"] } else { &["bank", "telecom"] }));
        }
        assert_eq!(turns(&queue), [Turn::Resting; 3]);
        queue.connected("telecom");
        assert_eq!(turns(&queue), [Turn::Resting; 3]);
        queue.connected("bank");
        assert_eq!(turns(&queue), [Turn::Running, Turn::Queued(1), Turn::Queued(2)]);
    }

    #[test]
    fn places_in_the_queue_are_told_as_people_do() {
        let told = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal);
        assert_eq!(told, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
