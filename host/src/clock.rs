//! The time. Nothing else reads this machine's clocks: others are told the time, or hold a [`Clock`], which a test moves
//! by hand.
//!
//! ```text
//! time of day   Timestamp   for people, files and other machines; may be set back
//! moment        Moment      only goes on: by when, and for how long
//! ```

use std::ops::Add;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::locks::lock;

/// How many seconds two clocks may differ before people are warned.
const TOLERANCE: i64 = 300;

/// What moments are counted from.
static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What tells the time: by default this machine. Clones tell the same time.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<ByHand>>);

/// Moves the clock that it was made with.
pub struct Hands(Arc<ByHand>);

/// A clock that is moved by hand.
struct ByHand {
    position: Mutex<Position>,
    /// Something has changed that somebody may wait for.
    changed: Condvar,
}

/// Where it stands.
struct Position {
    now: Timestamp,
    moment: Moment,
    /// How often whoever waits by this clock was told to look again.
    stirred: u64,
    /// How many have looked since, and wait.
    waiting: usize,
    looked_at: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl ByHand {
    /// Tells whoever looks at the clock, then what it shows.
    fn look<T>(&self, at: impl FnOnce(&Position) -> T) -> T {
        let looked_at = lock(&self.position).looked_at.clone();
        if let Some(looked_at) = looked_at {
            looked_at();
        }
        at(&lock(&self.position))
    }

    /// Changes it, and wakes whoever waits.
    fn stir(&self, change: impl FnOnce(&mut Position)) {
        let mut position = lock(&self.position);
        change(&mut position);
        position.stirred += 1;
        position.waiting = 0;
        self.changed.notify_all();
    }

    fn receive<T>(&self, from: &Receiver<T>, patience: Duration) -> Result<T, RecvTimeoutError> {
        let until = self.look(|position| position.moment) + patience;
        loop {
            let stirred = lock(&self.position).stirred;
            match from.try_recv() {
                Ok(received) => return Ok(received),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let mut position = lock(&self.position);
            if position.moment >= until {
                return Err(RecvTimeoutError::Timeout);
            }
            if position.stirred == stirred {
                position.waiting += 1;
                self.changed.notify_all();
            }
            while position.stirred == stirred {
                position = self.changed.wait(position).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// A point of a time that only goes on, whatever the time of day is set to. Comparable with others of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Clock {
    /// A clock that stands still until its hands are moved.
    pub fn by_hand(now: Timestamp) -> (Self, Hands) {
        let moment = Moment(Duration::ZERO);
        let position = Mutex::new(Position { now, moment, stirred: 0, waiting: 0, looked_at: None });
        let clock = Arc::new(ByHand { position, changed: Condvar::new() });
        (Self(Some(clock.clone())), Hands(clock))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(now, |by_hand| by_hand.look(|position| position.now))
    }

    /// The present moment.
    pub fn moment(&self) -> Moment {
        self.0.as_ref().map_or_else(moment, |by_hand| by_hand.look(|position| position.moment))
    }

    /// Waits for something to come, at most for so long by this clock.
    ///
    /// # Errors
    ///
    /// If nothing has come by then, or nothing can come any more.
    pub fn receive<T>(&self, from: &Receiver<T>, patience: Duration) -> Result<T, RecvTimeoutError> {
        self.0.as_ref().map_or_else(|| from.recv_timeout(patience), |by_hand| by_hand.receive(from, patience))
    }

    /// Lets so much time pass on this machine. A clock that is moved by hand waits for nothing: whoever moves it has made what there is
    /// to wait for.
    pub fn pass(&self, time: Duration) {
        if self.0.is_none() {
            std::thread::sleep(time);
        }
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
        self.0.stir(|position| {
            position.now += by;
            position.moment = position.moment + by;
        });
    }

    /// Somebody sets the time of day.
    pub fn set(&self, now: Timestamp) {
        lock(&self.0.position).now = now;
    }

    /// Has whoever waits by this clock look whether something has come.
    pub fn stir(&self) {
        self.0.stir(|_| ());
    }

    /// Waits until it `is` so of how many wait by this clock and have looked since they were last told to.
    pub fn until(&self, is: impl Fn(usize) -> bool) {
        let mut position = lock(&self.0.position);
        while !is(position.waiting) {
            position = self.0.changed.wait(position).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does something whenever somebody looks at the clock, in their thread, before they see it.
    pub fn looked_at(&self, does: Option<Arc<dyn Fn() + Send + Sync>>) {
        lock(&self.0.position).looked_at = does;
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
    fn nobody_waits_for_a_clock_that_is_moved_by_hand() {
        let (clock, _hands) = Clock::by_hand(Timestamp::UNIX_EPOCH);
        let begun = moment();
        clock.pass(Duration::from_secs(3600));
        assert!(moment().since(begun) < Duration::from_secs(600));
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
    fn whoever_waits_by_hand_hears_what_comes_or_that_time_has_passed() {
        let (clock, hands) = Clock::by_hand(Timestamp::UNIX_EPOCH);
        let (sender, receiver) = std::sync::mpsc::channel();
        let long = Duration::from_secs(3600);
        let waits = std::thread::spawn(move || {
            [clock.receive(&receiver, long), clock.receive(&receiver, long), clock.receive(&receiver, long)]
        });
        hands.until(|waiting| waiting == 1);
        sender.send(1).unwrap();
        hands.stir();
        hands.until(|waiting| waiting == 1);
        hands.advance(long);
        hands.until(|waiting| waiting == 1);
        drop(sender);
        hands.stir();
        let heard = waits.join().unwrap();
        assert_eq!(heard, [Ok(1), Err(RecvTimeoutError::Timeout), Err(RecvTimeoutError::Disconnected)]);
    }

    #[test]
    fn who_looks_at_a_clock_is_noticed_and_may_be_answered_by_it() {
        let (clock, hands) = Clock::by_hand(Timestamp::UNIX_EPOCH);
        let looks = Arc::new(Mutex::new(0));
        let counts = looks.clone();
        hands.looked_at(Some(Arc::new(move || *lock(&counts) += 1)));
        let _ = (clock.now(), clock.moment());
        hands.looked_at(None);
        let _ = clock.now();
        assert_eq!(*lock(&looks), 2);
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
