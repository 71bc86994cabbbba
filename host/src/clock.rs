//! The time. Nothing else reads this machine's clocks: others are told the time, or hold a [`Clock`], which a test moves
//! by hand.
//!
//! ```text
//! time of day   Timestamp   for people, files and other machines; may be set back
//! moment        Moment      only goes on: by when, and for how long
//! ```

use std::ops::Add;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::locks::lock;

/// How many seconds two clocks may differ before people are warned.
const TOLERANCE: i64 = 300;

/// What moments are counted from.
static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What tells the time: by default this machine. Clones tell the same time.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Position>>>);

/// Moves the clock that it was made with.
pub struct Hands(Arc<Mutex<Position>>);

/// Where a clock stands that is moved by hand.
struct Position {
    now: Timestamp,
    moment: Moment,
}

/// A point of a time that only goes on, whatever the time of day is set to. Comparable with others of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Clock {
    /// A clock that stands still until its hands are moved.
    pub fn by_hand(now: Timestamp) -> (Self, Hands) {
        let position = Arc::new(Mutex::new(Position { now, moment: Moment(Duration::ZERO) }));
        (Self(Some(position.clone())), Hands(position))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(now, |position| lock(position).now)
    }

    /// The present moment.
    pub fn moment(&self) -> Moment {
        self.0.as_ref().map_or_else(moment, |position| lock(position).moment)
    }

    /// By how many seconds another machine's clock, which shows `theirs` now, is ahead of this one. Saturates: a peer
    /// may claim anything.
    pub fn ahead(&self, theirs: i64) -> i64 {
        theirs.saturating_sub(self.now().as_second())
    }
}

impl Hands {
    /// So much time passes.
    ///
    /// # Panics
    ///
    /// If it takes the time of day out of a timestamp's range.
    pub fn advance(&self, by: Duration) {
        let mut position = lock(&self.0);
        position.now += by;
        position.moment = position.moment + by;
    }

    /// Somebody sets the time of day.
    pub fn set(&self, now: Timestamp) {
        lock(&self.0).now = now;
    }
}

impl Moment {
    /// How long ago `earlier` was; nothing if it is to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: further than that is never.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// The time of day by this machine.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The present moment by this machine.
pub fn moment() -> Moment {
    // The first reading before the second: a moment is never earlier than what it is counted from.
    let first = *FIRST;
    Moment(Instant::now().duration_since(first))
}

/// Whether a clock that is `ahead` by this many seconds, or behind by as many, is worth a warning.
pub fn is_off(ahead: i64) -> bool {
    ahead.saturating_abs() > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_beyond_five_minutes_either_way() {
        let (clock, _) = Clock::by_hand(Timestamp::UNIX_EPOCH);
        assert!(!is_off(clock.ahead(300)) && !is_off(clock.ahead(-300)));
        assert!(is_off(clock.ahead(301)) && is_off(clock.ahead(-301)));
        // What a peer makes up does not overflow.
        let (clock, _) = Clock::by_hand(Timestamp::MAX);
        assert!(is_off(clock.ahead(i64::MIN)) && is_off(clock.ahead(i64::MAX)) && is_off(i64::MIN));
    }

    #[test]
    fn hands_move_every_clone_and_setting_the_time_moves_no_moment() {
        let (clock, hands) = Clock::by_hand(Timestamp::UNIX_EPOCH);
        let (other, begin) = (clock.clone(), clock.moment());
        hands.advance(Duration::from_secs(60));
        assert_eq!((other.now().as_second(), other.moment().since(begin)), (60, Duration::from_secs(60)));
        hands.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now(), clock.moment()), (Timestamp::UNIX_EPOCH, begin + Duration::from_secs(60)));
        assert_eq!(begin.since(clock.moment()), Duration::ZERO, "what is to come was not a while ago");
    }

    #[test]
    fn this_machines_time_goes_on() {
        let (clock, begin) = (Clock::default(), moment());
        let until = begin + Duration::from_millis(2);
        while clock.moment() < until {
            std::hint::spin_loop();
        }
        assert!(moment().since(begin) >= Duration::from_millis(2));
        // Any time after this was written.
        assert!(clock.now().as_second() > 1_700_000_000 && now() >= "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
