//! When replies leave: at points of a public grid, so that they do not tell how long this node has computed.
//!
//! ```text
//! Go ─▶ (its turn, other participants) ─▶ rows are read, summed, noised, stored ─▶ held ─▶ leaves
//!    ├──────────────────── predicted, by public facts ─────────────────────┤        ▲
//!    └── 25 ms × 1.25^k: the first such point that is not before ───────────────────╯
//! ```
//!
//! What a round takes is predicted before one of its rows is read, by the plan, a [size](crate::sizes) of the data set that staff have
//! recorded, and the speed of this machine, measured over invented rows when the node starts. A reply that is ready by the point of
//! that prediction leaves then, whatever the rows were. One that is not leaves at the next point to come: that tells how long it took,
//! to a quarter, and is an [alarm](crate::alarms).

use std::iter::successors;
use std::path::Path;
use std::time::Duration;

use arrow_array::Float64Array;
use entente_host::clock::{Clock, Moment};
use entente_host::{Error, files};
use entente_protocols::language::expr::{Arithmetic, Comparison, Expr, Value, ValueType};
use entente_tables::evaluate::Program;
use entente_tables::texts::Texts;
use entente_tables::vector::Vector;

/// The first point.
pub const FIRST: Duration = Duration::from_millis(25);

/// The first point of the grid that is not before so long after a round was told.
pub fn point(least: Duration) -> Duration {
    let next = |point: &Duration| Some(point.saturating_add(*point / 4));
    successors(Some(FIRST), next).find(|point| *point >= least).unwrap_or(least)
}

/// What is public of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The recorded size of the data set.
    pub rows: u64,
    /// Columns that are read.
    pub columns: u64,
    /// Nodes of the plan, each of which is computed on every row.
    pub nodes: u64,
    /// Numbers that are released.
    pub numbers: u64,
}

/// What a row costs to be read and told apart by its customer, beside its columns and nodes: as much as so many nodes. These figures are
/// above what the benches of `docs/benchmarks.md` come to: a prediction that is too long costs time, one that is too short is an alarm.
const ROW: u64 = 200;
/// What a stored value costs to be read as declared.
const VALUE: u64 = 60;
/// What a customer's value costs in each round that sums over what was read.
const SUMMED: u64 = 2;
/// What a number costs to be noised and masked.
const NUMBER: Duration = Duration::from_micros(20);
/// What a round costs besides.
const ALWAYS: Duration = Duration::from_millis(4);
/// Durable writes between a message and the vector that answers it.
const WRITES: u32 = 6;

/// How fast this machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Picoseconds that a node of a plan takes on a row.
    node: u64,
    write: Duration,
    threads: u64,
}

impl Speed {
    /// Measures it over invented rows, and by files in this folder, that are gone afterwards. Passes over data have so many threads.
    ///
    /// # Errors
    ///
    /// If nothing can be written there.
    pub fn measured(clock: &Clock, folder: &Path, threads: usize) -> Result<Self, Error> {
        Ok(Self { node: node(clock), write: write(clock, folder)?, threads: threads.max(1) as u64 })
    }

    /// How long a round takes; where `reads` is false, its rows are in memory already.
    pub fn predicts(&self, facts: &Facts, reads: bool) -> Duration {
        let Facts { rows, columns, nodes, numbers } = *facts;
        let each = if reads { ROW + VALUE * columns + nodes } else { SUMMED * columns };
        let picoseconds = u128::from(rows).saturating_mul(u128::from(each)).saturating_mul(u128::from(self.node));
        let picoseconds = picoseconds / u128::from(self.threads);
        let rows = Duration::from_nanos(u64::try_from(picoseconds / 1000).unwrap_or(u64::MAX));
        let numbers = NUMBER.saturating_mul(u32::try_from(numbers).unwrap_or(u32::MAX));
        rows.saturating_add(numbers).saturating_add(self.write.saturating_mul(WRITES)).saturating_add(ALWAYS)
    }
}

/// What a node of a plan takes on a row, in picoseconds.
fn node(clock: &Clock) -> u64 {
    const ROWS: u64 = 8192;
    let column = || Box::new(Expr::Column("x".into()));
    let number = |value| Box::new(Expr::Literal(Value::Float(value)));
    let product = |by| Expr::Arithmetic(Arithmetic::Multiply, column(), number(by));
    let is_less = Expr::Compare(Comparison::Less, Box::new(product(1.5)), number(0.25));
    let quotient = Expr::Arithmetic(Arithmetic::Divide, column(), number(3.0));
    let expr = Expr::Case(vec![(is_less, product(2.5))], Box::new(quotient));
    let mut program = Program::new(vec![("x".into(), ValueType::Float)], Texts::default());
    program.add(&expr).expect("it is well typed");
    let rows = [Vector::Float(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64 / ROWS as f64)))];
    let run = || {
        program.run(&rows, ROWS as usize, |_, _| ());
        Ok(())
    };
    let took = median(clock, run).unwrap_or_default();
    u64::try_from(took.as_nanos() * 1000).unwrap_or(u64::MAX) / (ROWS * expr.nodes())
}

/// What it takes to make something durable in a folder.
fn write(clock: &Clock, folder: &Path) -> Result<Duration, Error> {
    let path = folder.join("speed");
    let took = median(clock, || files::write_private(&path, &[0; 4096]))?;
    files::remove(&path)?;
    Ok(took)
}

/// How long something takes, the third of five times.
fn median(clock: &Clock, mut does: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = clock.moment();
        does()?;
        times.push(clock.moment().since(began));
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// A round on its way: when it was told, when its own work began, and what that was predicted to take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    told: Moment,
    /// None where no row was to be read, or how long it takes is not this node's alone.
    begun: Option<(Moment, Duration)>,
}

impl Timing {
    /// Of a round that was told then.
    pub fn since(told: Moment) -> Self {
        Self { told, begun: None }
    }

    /// When it was told.
    pub fn told(&self) -> Moment {
        self.told
    }

    /// Its rows are about to be read, which is predicted to take so long in all.
    pub fn begins(&mut self, now: Moment, predicted: Duration) {
        self.begun = Some((now, predicted));
    }

    /// How long it takes is not this node's alone.
    pub fn waits(&mut self) {
        self.begun = None;
    }

    /// When the reply leaves that is ready now, and whether that is late.
    pub fn leaves(&self, now: Moment) -> (Moment, bool) {
        let by = self.begun.map_or(FIRST, |(begun, predicted)| point(begun.since(self.told).saturating_add(predicted)));
        let taken = now.since(self.told);
        let is_late = taken > by;
        let leaves = if is_late { point(taken) } else { by };
        (self.told + leaves, is_late && self.begun.is_some())
    }
}

#[cfg(test)]
mod tests {
    use entente_host::clock;

    use super::*;

    const SPEED: Speed = Speed { node: 1000, write: Duration::from_micros(200), threads: 2 };
    const FACTS: Facts = Facts { rows: 1 << 20, columns: 3, nodes: 20, numbers: 10 };

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn points_are_a_quarter_apart_from_25_ms_on() {
        assert_eq!(point(Duration::ZERO), FIRST);
        assert_eq!(point(FIRST), FIRST);
        for (k, (least, expected)) in [(25, 25.0), (26, 31.25), (32, 39.0625), (40, 48.828125)].into_iter().enumerate()
        {
            assert_eq!(point(ms(least)), Duration::from_secs_f64(expected / 1e3));
            assert!((expected / 25.0 - 1.25f64.powi(k as i32)).abs() < 1e-12);
        }
        let (day, longest) = (Duration::from_secs(86_400), Duration::MAX);
        assert!(point(day) >= day && point(day) < day + day / 4);
        assert!(point(longest) >= longest);
    }

    #[test]
    fn more_of_anything_public_is_predicted_to_take_longer() {
        let base = SPEED.predicts(&FACTS, true);
        let more = [
            Facts { rows: 1 << 21, ..FACTS },
            Facts { columns: 4, ..FACTS },
            Facts { nodes: 21, ..FACTS },
            Facts { numbers: 11, ..FACTS },
        ];
        assert!(more.iter().all(|facts| SPEED.predicts(facts, true) > base));
        assert!(SPEED.predicts(&FACTS, false) < base, "what is read already is not read again");
        assert!(Speed { threads: 4, ..SPEED }.predicts(&FACTS, true) < base);
        let none = Facts { rows: 0, columns: 0, nodes: 0, numbers: 0 };
        assert!(SPEED.predicts(&none, true) < FIRST, "a small study leaves at the first point");
        let most = Facts { rows: u64::MAX, columns: u64::MAX >> 8, nodes: u64::MAX >> 8, numbers: u64::MAX };
        assert!(SPEED.predicts(&most, true) > Duration::from_secs(1 << 30));
    }

    /// Whatever is computed meanwhile, as long as it is done by then.
    #[test]
    fn a_reply_leaves_as_predicted_or_late_and_that_is_said() {
        let (clock, hands) = Clock::by_hand(clock::now());
        let mut timing = Timing::since(clock.moment());
        assert_eq!(timing.leaves(clock.moment() + ms(3)), (timing.told + FIRST, false), "no row was read");
        assert_eq!(timing.leaves(clock.moment() + ms(26)), (timing.told + point(ms(26)), false));
        // It waited for its turn.
        hands.advance(ms(10));
        timing.begins(clock.moment(), ms(20));
        for taken in [0, 1, 19, 21] {
            assert_eq!(timing.leaves(clock.moment() + ms(taken)), (timing.told + point(ms(30)), false), "{taken}");
        }
        assert_eq!(timing.leaves(clock.moment() + ms(30)), (timing.told + point(ms(40)), true));
        timing.waits();
        assert_eq!(timing.leaves(clock.moment() + ms(30)), (timing.told + point(ms(40)), false));
    }

    #[test]
    fn speed_is_measured_by_the_clock_that_is_handed_in() {
        let place = tempfile::tempdir().unwrap();
        let real = Speed::measured(&Clock::default(), place.path(), 2).unwrap();
        assert!(real.node > 0 && real.write > Duration::ZERO);
        let (still, _hands) = Clock::by_hand(clock::now());
        let still = Speed::measured(&still, place.path(), 2).unwrap();
        assert_eq!(still, Speed { node: 0, write: Duration::ZERO, threads: 2 });
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "it leaves nothing behind");
    }
}
