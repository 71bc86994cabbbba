//! Released sums with their noise: what they can be, how two of them become one, and what follows from them.

use crate::learn::frame::{Implausible, SLACK};
use crate::privacy::interval::Estimate;

/// Cells of one component, in customers or what one of them brings at most, and the noise in each.
#[derive(Clone, Debug)]
pub(super) struct Noisy {
    pub(super) cells: Vec<f64>,
    pub(super) sd: f64,
}

/// More than there are people: no alliance has so many customers in a cell.
pub(super) const MOST_CUSTOMERS: f64 = 1e10;
/// Standard deviations that a count must be above zero for something to be said with it as a denominator.
pub(super) const SAID: f64 = 4.0;

impl Noisy {
    /// Participant number `position`'s block of cells.
    pub(super) fn block(&self, position: usize, cells: usize) -> Self {
        let block = self.cells.chunks(cells.max(1)).nth(position).unwrap_or_default();
        Self { cells: block.to_vec(), sd: self.sd }
    }

    /// The sum over blocks.
    pub(super) fn sum(&self, blocks: usize, cells: usize) -> Self {
        let block = |cell: usize| self.cells.iter().skip(cell).step_by(cells.max(1)).sum();
        Self { cells: (0..cells).map(block).collect(), sd: self.sd * (blocks as f64).sqrt() }
    }

    /// Two measurements of the same cells as one, weighed by precision; if no noise explains how they differ, some
    /// participant has brought other customers to one than to the other.
    pub(super) fn with(&self, other: &Self) -> Result<Self, Implausible> {
        let slack = SLACK * self.sd.hypot(other.sd);
        let apart = |(one, two): (&f64, &f64)| (one - two).abs() > slack + 1e-9 * one.abs();
        if self.cells.iter().zip(&other.cells).any(apart) {
            return Err(implausible("the counts of all customers differ from the sum of every participant's"));
        }
        let (one, two) = (self.sd.powi(2), other.sd.powi(2));
        let weight = if one + two > 0.0 { two / (one + two) } else { 1.0 };
        let mean = |(a, b): (&f64, &f64)| weight * a + (1.0 - weight) * b;
        let sd = if one + two > 0.0 { (one * two / (one + two)).sqrt() } else { 0.0 };
        Ok(Self { cells: self.cells.iter().zip(&other.cells).map(mean).collect(), sd })
    }

    /// Refuses a cell that no noise makes so negative.
    pub(super) fn counts(&self) -> Result<(), Implausible> {
        match self.cells.iter().find(|cell| **cell < -SLACK * self.sd) {
            Some(cell) => Err(implausible(&format!("a cell counts {cell:.0} customers, less than noise explains"))),
            None => Ok(()),
        }
    }

    /// Refuses a sum of which each of the customers, counted in `counts` cell by cell, brings `least` to 1.
    pub(super) fn within(&self, counts: &Self, least: f64) -> Result<(), Implausible> {
        let slack = SLACK * self.sd.hypot(counts.sd);
        for (cell, count) in self.cells.iter().zip(&counts.cells) {
            let count = count.max(0.0);
            let slack = slack + 1e-9 * count;
            if *cell < least * count - slack || *cell > count + slack {
                return Err(implausible(&format!("a sum is {cell:.0}, more than {count:.0} customers can bring")));
            }
        }
        Ok(())
    }

    pub(super) fn total(&self) -> f64 {
        self.cells.iter().sum()
    }

    /// The noise in the total.
    pub(super) fn total_sd(&self) -> f64 {
        self.sd * (self.cells.len() as f64).sqrt()
    }

    /// How many customers the cells count.
    pub(super) fn count(&self) -> Estimate {
        Estimate::of_count(self.total(), self.total_sd())
    }
}

pub(super) fn implausible(what: &str) -> Implausible {
    Implausible(format!(
        "{what}: some participant sent something else than its held-out customers' sums; the masks hide which one"
    ))
}

/// The histogram without negative cells that is nearest to a noisy one and has the same total: max(c − τ, 0) with the
/// one τ that keeps it. All zero where the total is not positive.
pub(super) fn repair(cells: &[f64]) -> Vec<f64> {
    let total: f64 = cells.iter().sum();
    if total <= 0.0 {
        return vec![0.0; cells.len()];
    }
    let mut sorted = cells.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // With the k largest cells kept, τ is (their sum − total)/k; the largest k whose smallest kept cell is above its τ
    // is right.
    let mut sum = 0.0;
    let mut tau = 0.0;
    for (k, cell) in sorted.iter().enumerate() {
        sum += cell;
        let with = (sum - total) / (k + 1) as f64;
        if *cell > with {
            tau = with;
        }
    }
    cells.iter().map(|cell| (cell - tau).max(0.0)).collect()
}

/// `f` of uncertain numbers by the delta method, within `range`; the whole range where it has no value or `said` is
/// false.
pub(super) fn delta(x: &[f64], variance: &[f64], range: (f64, f64), said: bool, f: impl Fn(&[f64]) -> f64) -> Estimate {
    let (least, most) = range;
    let value = f(x);
    let whole = Estimate { value: value.clamp(least, most), low: least, high: most };
    if !value.is_finite() {
        return Estimate { value: (least + most) / 2.0, ..whole };
    }
    let step = 1e-6 * x.iter().map(|x| x.abs()).sum::<f64>();
    let mut moved = x.to_vec();
    let mut sum = 0.0;
    for (i, variance) in variance.iter().enumerate() {
        moved[i] = x[i] + step;
        let above = f(&moved);
        moved[i] = x[i] - step;
        let slope = (above - f(&moved)) / (2.0 * step);
        moved[i] = x[i];
        sum += slope.powi(2) * variance;
    }
    if said && sum.is_finite() { clamp(Estimate::of_sum(value, sum.sqrt()), range) } else { whole }
}

pub(super) fn clamp(estimate: Estimate, (least, most): (f64, f64)) -> Estimate {
    let clamp = |x: f64| x.clamp(least, most);
    Estimate { value: clamp(estimate.value), low: clamp(estimate.low), high: clamp(estimate.high) }
}

/// The variance between customers of a number of 0 to 1 with this mean, of which only the mean is known. It is at most
/// that of a condition, and taken to be at most that of the square of a variable with kurtosis 6, twice the normal
/// one's.
pub(super) fn spread(mean: f64) -> f64 {
    let mean = mean.clamp(0.0, 1.0);
    (mean * (1.0 - mean)).min(5.0 * mean * mean)
}

/// Sums in customers, or in the most that one customer brings, `most`.
pub(super) fn scaled(sum: &[&[i64]], sd: &[f64], most: &[u64]) -> Result<Vec<Noisy>, Implausible> {
    if sd.iter().any(|sd| !sd.is_finite() || *sd < 0.0) {
        return Err(Implausible("the noise of the evaluation is not a number".into()));
    }
    let scaled: Vec<Noisy> = (sum.iter().zip(sd).zip(most))
        .map(|((sum, sd), most)| {
            let unit = *most as f64;
            Noisy { cells: sum.iter().map(|cell| *cell as f64 / unit).collect(), sd: sd / unit }
        })
        .collect();
    let absurd = |noisy: &Noisy| noisy.cells.iter().any(|cell| cell.abs() > MOST_CUSTOMERS + SLACK * noisy.sd);
    if scaled.iter().any(absurd) {
        return Err(Implausible(
            "a cell of the evaluation has more customers than there are people: a participant sent something else"
                .into(),
        ));
    }
    Ok(scaled)
}
