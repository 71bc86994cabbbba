//! Numbers: every held-out customer brings 1, its target y, y², and its squared error, to four sums.
//!
//! y is in its range scaled to −1 to 1, the prediction is put back into that range, and a squared error counts as at
//! most 1: whoever is missed by more than half of the range is missed by half of it.
//!
//! **Metrics**, in order: `r2` (the share of the target's variance that is explained; below −1 it is given as −1),
//! `rmse` (root mean squared error, in the target's unit), `mean` (of the target, in its unit).
//!
//! **Sampling.** What the variance of squares is between customers would take sums of fourth powers. It is bounded by
//! that of a condition with the same mean and otherwise taken as for a kurtosis of 6, twice the normal one's; squares
//! of y and errors are taken to be independent, which makes the interval of R² wider than need be.

use super::super::frame::{Contribute, Implausible};
use super::super::model::Parameters;
use super::super::recipe::Target;
use super::checkpoints::Changes;
use super::loss::error;
use super::noisy::{Noisy, SAID, clamp, delta, spread};
use super::outcome::{Detail, Evaluation, Metric, Performance};
use crate::privacy::interval::Estimate;
use crate::privacy::rows::{Block, Codes, UNIT, number};
use crate::privacy::sums::{Part, Sums};

/// One customer in the count, in grid units.
const COUNT: i32 = 1 << 10;

pub(super) fn components() -> Vec<(u64, u64, u64)> {
    let one = UNIT as u64;
    vec![(1, 1, COUNT as u64), (1, 1, one), (1, 1, one), (1, 1, one)]
}

/// What a node sums.
pub(super) struct Errors {
    model: Parameters,
    target: Target,
    position: Option<usize>,
    changes: Changes,
}

impl Errors {
    pub(super) fn new(model: Parameters, target: Target, position: Option<usize>, changes: Changes) -> Self {
        Self { model, target, position, changes }
    }
}

impl Contribute for Errors {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let mut codes = vec![0; block.columns().len()];
        let mut values: [Vec<i32>; 4] = Default::default();
        for row in 0..block.rows() {
            codes.iter_mut().enumerate().for_each(|(i, code)| *code = block.codes(i)[row]);
            let code = target.get(row).copied().unwrap_or(0);
            let y = number(code);
            let error = error(&self.model, &self.target, block.columns(), &codes, code);
            // At most UNIT each; the cast takes NaN to 0.
            values[0].push(COUNT);
            values[1].push(y);
            values[2].push((i64::from(y) * i64::from(y) / i64::from(UNIT)) as i32);
            values[3].push((error * f64::from(UNIT)) as i32);
        }
        // A missing target is beyond all cells.
        let known = |row: usize| target.get(row).is_some_and(|code| *code != 0);
        let place = |first: u16| -> Vec<u16> {
            (0..block.rows()).map(|row| if known(row) { first } else { u16::MAX }).collect()
        };
        let first = self.position.map_or(0, |position| u16::try_from(position).unwrap_or(u16::MAX));
        let (cells, own) = (place(0), place(first));
        let all = [Codes { codes: &cells, cells: 1 }];
        let own = [Codes { codes: &own, cells: usize::from(first) + 1 }];
        let parts = |columns| values.iter().map(move |values| Part::Cells { columns, values });
        let mut all: Vec<Part<'_>> = parts(&all[..]).collect();
        if self.position.is_some() {
            all.extend(parts(&own[..]));
        }
        let changes = self.changes.of(block, target, weights);
        all.push(Part::Values { columns: &changes });
        sums.add(&all);
    }
}

pub(super) fn of(target: &Target, all: &[Noisy], each: &[Noisy], blocks: usize) -> Result<Evaluation, Implausible> {
    plausible(all)?;
    let mut sums = all.to_vec();
    let mut partners = Vec::new();
    if !each.is_empty() {
        plausible(each)?;
        for (sum, each) in sums.iter_mut().zip(each) {
            *sum = sum.with(&each.sum(blocks, 1))?;
        }
        let partner = |position: usize| {
            let own: Vec<Noisy> = each.iter().map(|each| each.block(position, 1)).collect();
            performance(target, &own)
        };
        partners = (0..blocks).map(partner).collect();
    }
    Ok(Evaluation { all: performance(target, &sums), partners, detail: Detail::Number, changes: Vec::new() })
}

/// The components in customers for [`super::expected`]: a target of standard deviation ⅓, half of it explained.
pub(super) fn typical() -> Vec<Vec<f64>> {
    vec![vec![1.0], vec![0.0], vec![1.0 / 9.0], vec![1.0 / 18.0]]
}

fn plausible(sums: &[Noisy]) -> Result<(), Implausible> {
    let [count, y, squares, errors] = sums else { return Ok(()) };
    count.counts()?;
    y.within(count, -1.0)?;
    squares.within(count, 0.0)?;
    errors.within(count, 0.0)
}

/// What four components of one cell each say.
fn performance(target: &Target, sums: &[Noisy]) -> Performance {
    let cell = |i: usize| sums.get(i).map_or((0.0, 0.0), |sum| (sum.total(), sum.sd));
    let [(count, count_sd), (y, y_sd), (squares, squares_sd), (errors, errors_sd)] = [0, 1, 2, 3].map(cell);
    let customers = count.max(1.0);
    let (mean, square, error) = (y / customers, squares / customers, errors / customers);
    let variance = (square - mean * mean).clamp(0.0, 1.0);
    let sampled = |sd: f64, spread: f64| sd * sd + customers * spread;
    let variances = [
        count_sd * count_sd,
        sampled(y_sd, variance),
        sampled(squares_sd, spread(square)),
        sampled(errors_sd, spread(error)),
    ];
    // Σ(y − ȳ)², and its standard deviation to first order.
    let around = |sums: &[f64]| sums[2] - sums[1] * sums[1] / sums[0];
    let around_sd = (variances[2] + 4.0 * mean * mean * variances[1] + mean.powi(4) * variances[0]).sqrt();
    let now = [count, y, squares, errors];
    let said = count > (SAID * count_sd).max(0.5) && around(&now) > SAID * around_sd;
    let r2 = delta(&now, &variances, (-1.0, 1.0), said, |sums| 1.0 - sums[3] / around(sums));
    let (low, high) = target.values.bounds().unwrap_or((-1.0, 1.0));
    let mse = Estimate::of_average(errors, variances[3].sqrt(), count, count_sd, 0.0, 0.0, 1.0);
    let mse = clamp(if count > 0.0 { mse } else { Estimate { value: 0.5, low: 0.0, high: 1.0 } }, (0.0, 1.0));
    let mean = clamp(Estimate::of_average(y, variances[1].sqrt(), count, count_sd, 0.0, -1.0, 1.0), (-1.0, 1.0));
    let in_unit = |estimate: Estimate, f: &dyn Fn(f64) -> f64| Estimate {
        value: f(estimate.value),
        low: f(estimate.low),
        high: f(estimate.high),
    };
    let metrics = [
        ("r2", r2),
        ("rmse", in_unit(mse, &|mse| mse.sqrt() * (high - low) / 2.0)),
        ("mean", in_unit(mean, &|mean| low + (high - low) * (mean + 1.0) / 2.0)),
    ];
    Performance {
        customers: Estimate::of_count(count, count_sd),
        metrics: metrics.map(|(name, estimate)| Metric { name, estimate }).to_vec(),
    }
}
