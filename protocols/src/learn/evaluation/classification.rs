//! Events: every held-out customer counts once, in a cell of (did the event happen × score bin).
//!
//! **Metrics**, in order: `auc`, `gini` (2·AUC − 1), `ks` (the largest distance between the two distributions of
//! scores; the largest of noisy ones, so a little too large where noise is), `log_loss`, `brier`, `accuracy` (where as
//! many customers are predicted to have the event as have it), `events` (how many; noise alone).
//!
//! **Score bins** are public: they depend on the model alone. Noise is the same in each bin however many there are, but
//! an AUC adds it up over bins, so they should be few and lie where customers are. Without looking at customers, the
//! proxy is one whose features are independent and even over their codes (recoded features nearly are): its mean score
//! μ and standard deviation s follow from the model in closed form. Edges lie at μ ± s·[`EDGES`], dense in the middle
//! and reaching to 4.2·s, so that they serve as well if scores really spread half as far or twice as far as the proxy's
//! or lie off by s.
//!
//! **Bias of binning.** Within a bin, ties count one half, and its customers have the score of its middle. For scores
//! that are normal with standard deviation 0.7·s to 2·s, centred up to s/2 away, an AUC of 0.75 comes out too small by
//! less than 0.002, and by less than 0.005 with s/2 to 2·s and up to s away (a test); intervals do not cover this.
//! Where all customers are within s/5 of one another the model's ranking is not resolved.

use super::super::frame::{Contribute, Implausible};
use super::super::model::Parameters;
use super::checkpoints::Changes;
use super::loss::chance;
use super::noisy::{Noisy, SAID, delta, repair};
use super::outcome::{Calibration, Curves, Detail, Evaluation, Gain, Metric, Performance, Point};
use crate::privacy::interval::Estimate;
use crate::privacy::rows::{self, Block, Codes, Column};
use crate::privacy::sums::{Part, Sums};

/// Score bins.
pub const BINS: usize = 24;
/// Edges on either side of the middle one, in standard deviations of the proxy.
pub const EDGES: [f64; 11] = [0.2, 0.4, 0.6, 0.8, 1.05, 1.3, 1.6, 2.0, 2.5, 3.2, 4.2];
/// Without the event, then with it.
const CELLS: usize = 2 * BINS;
/// One customer, in grid units.
const UNIT: i32 = 1 << 10;

pub(super) fn components() -> Vec<(u64, u64, u64)> {
    vec![(CELLS as u64, CELLS as u64, UNIT as u64)]
}

/// The edges between score bins, ascending.
pub(super) fn edges(columns: &[Column], model: &Parameters) -> Vec<f64> {
    let (mean, variance) = proxy(columns, model);
    let mean = if mean.is_finite() { mean.clamp(-1e6, 1e6) } else { 0.0 };
    let s = if variance.is_finite() { variance.sqrt().clamp(1e-6, 1e6) } else { 1.0 };
    let below = EDGES.iter().rev().map(|edge| mean - s * edge);
    below.chain([mean]).chain(EDGES.iter().map(|edge| mean + s * edge)).collect()
}

/// Mean and variance of scores where features are independent and even over their codes, the missing one excepted,
/// which is rare. `columns` are those before recoding: all that a node and the coordinator both have.
fn proxy(columns: &[Column], model: &Parameters) -> (f64, f64) {
    let even = |values: &[f64]| {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
    };
    let add = |sum: (f64, f64), more: (f64, f64)| (sum.0 + more.0, sum.1 + more.1);
    match model {
        Parameters::None | Parameters::Centres { .. } => (0.0, 1.0),
        Parameters::Weights { weights } => {
            let constant = weights.last().copied().unwrap_or(0.0);
            if weights.len() != rows::dims(columns) {
                // Numbers became categories: as if each feature took any of all values.
                let (mean, variance) = even(weights);
                let features = columns.len() as f64;
                return (constant + features * mean, features * variance);
            }
            let column = |(column, place): (&Column, std::ops::Range<usize>)| match column {
                // Even over −1 to 1.
                Column::Number => (0.0, weights[place.start].powi(2) / 3.0),
                Column::Category { .. } => even(weights.get(place.start + 1..place.end).unwrap_or_default()),
            };
            columns.iter().zip(rows::places(columns)).map(column).fold((constant, 0.0), add)
        }
        Parameters::Additive { intercept, shapes, pairs } => {
            let shapes = shapes.iter().map(|shape| even(shape.get(1..).unwrap_or_default()));
            shapes.chain(pairs.iter().map(|pair| even(&pair.values))).fold((*intercept, 0.0), add)
        }
    }
}

/// The bin of a score.
fn bin(edges: &[f64], score: f64) -> usize {
    edges.partition_point(|edge| *edge <= score)
}

/// The probability in the middle of each bin; the outermost end half a bin beyond their edge.
fn chances(edges: &[f64]) -> Vec<f64> {
    let width = |i: usize| edges.get(i).zip(edges.get(i + 1)).map_or(1.0, |(low, high)| high - low);
    let middle = |bin: usize| match (bin.checked_sub(1).map(|before| edges[before]), edges.get(bin)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        (Some(low), None) => low + width(edges.len().saturating_sub(2)) / 2.0,
        (None, Some(high)) => high - width(0) / 2.0,
        (None, None) => 0.0,
    };
    (0..=edges.len()).map(|bin| chance(middle(bin))).collect()
}

/// What a node counts.
pub(super) struct Bins {
    model: Parameters,
    edges: Vec<f64>,
    position: Option<usize>,
    changes: Changes,
}

impl Bins {
    pub(super) fn new(columns: &[Column], model: Parameters, position: Option<usize>, changes: Changes) -> Self {
        Self { edges: edges(columns, &model), model, position, changes }
    }
}

impl Contribute for Bins {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let mut codes = vec![0; block.columns().len()];
        let cell = |row: usize| {
            codes.iter_mut().enumerate().for_each(|(i, code)| *code = block.codes(i)[row]);
            let bin = bin(&self.edges, self.model.score(block.columns(), &codes));
            match target.get(row) {
                Some(1) => bin as u16,
                Some(2) => (BINS + bin) as u16,
                // It is not known: in no cell.
                _ => u16::MAX,
            }
        };
        let cells: Vec<u16> = (0..block.rows()).map(cell).collect();
        // A participant's block ends below 2^10·48, and beyond the component a cell counts for nothing.
        let first = self.position.map_or(0, |position| u16::try_from(position * CELLS).unwrap_or(u16::MAX));
        let own: Vec<u16> = cells.iter().map(|cell| cell.saturating_add(first)).collect();
        let values = vec![UNIT; block.rows()];
        let all = [Codes { codes: &cells, cells: CELLS }];
        // All cells of the component, of which only this block is filled.
        let own = [Codes { codes: &own, cells: usize::from(first) + CELLS }];
        let mut parts = vec![Part::Cells { columns: &all, values: &values }];
        if self.position.is_some() {
            parts.push(Part::Cells { columns: &own, values: &values });
        }
        let changes = self.changes.of(block, target, weights);
        parts.push(Part::Values { columns: &changes });
        sums.add(&parts);
    }
}

pub(super) fn of(
    columns: &[Column],
    model: &Parameters,
    all: &[Noisy],
    each: &[Noisy],
    blocks: usize,
) -> Result<Evaluation, Implausible> {
    let edges = edges(columns, model);
    let chances = chances(&edges);
    let mut counts = all[0].clone();
    counts.counts()?;
    let mut partners = Vec::new();
    if let Some(each) = each.first() {
        each.counts()?;
        counts = counts.with(&each.sum(blocks, CELLS))?;
        let partner = |position: usize| Histogram::new(&each.block(position, CELLS), &chances).performance();
        partners = (0..blocks).map(partner).collect();
    }
    let histogram = Histogram::new(&counts, &chances);
    let detail = Detail::Event(Curves {
        calibration: histogram.calibration(&counts, &edges),
        gains: histogram.gains(),
        roc: histogram.roc(&edges),
    });
    Ok(Evaluation { all: histogram.performance(), partners, detail, changes: Vec::new() })
}

/// One component in customers for [`super::expected`]: two normal distributions with an AUC of 0.75, the scores of all
/// with about a standard deviation of one.
pub(super) fn typical() -> Vec<Vec<f64>> {
    let edges = edges(&[], &Parameters::None);
    let mut cells = vec![0.0; CELLS];
    for (label, mean, share) in [(0, -0.19, 0.8), (1, 0.76, 0.2)] {
        for step in -600..600 {
            let z = (f64::from(step) + 0.5) / 100.0;
            let density = (-z * z / 2.0).exp() / (100.0 * std::f64::consts::TAU.sqrt());
            cells[label * BINS + bin(&edges, mean + z)] += share * density;
        }
    }
    vec![cells]
}

/// A histogram that can be one: customers by event and bin.
struct Histogram<'a> {
    cells: Vec<f64>,
    variance: Vec<f64>,
    chances: &'a [f64],
    customers: Estimate,
    events: Estimate,
    /// Whether there are customers with and without the event beyond what noise explains.
    said: bool,
}

impl<'a> Histogram<'a> {
    fn new(counts: &Noisy, chances: &'a [f64]) -> Self {
        let (without, with) = (counts.block(0, BINS), counts.block(1, BINS));
        let cells = [repair(&without.cells), repair(&with.cells)].concat();
        let variance = cells.iter().map(|cell| cell + counts.sd.powi(2)).collect();
        let said = [&without, &with].iter().all(|label| label.total() > (SAID * label.total_sd()).max(0.5));
        Self { cells, variance, chances, customers: counts.count(), events: with.count(), said }
    }

    fn estimate(&self, range: (f64, f64), f: impl Fn(&[f64], &[f64]) -> f64) -> Estimate {
        delta(&self.cells, &self.variance, range, self.said, |cells| {
            let (without, with) = cells.split_at(BINS);
            f(without, with)
        })
    }

    fn performance(&self) -> Performance {
        let auc = self.estimate((0.0, 1.0), auc);
        let gini = |auc: f64| 2.0 * auc - 1.0;
        let sum = |chance: &dyn Fn(f64) -> f64, counts: &[f64]| -> f64 {
            self.chances.iter().zip(counts).map(|(p, count)| chance(*p) * count).sum()
        };
        let loss = |p: f64| -p.max(f64::MIN_POSITIVE).ln();
        let worst = self.chances.iter().map(|p| loss(*p).max(loss(1.0 - p))).fold(0.0, f64::max);
        let log_loss = |without: &[f64], with: &[f64]| {
            (sum(&|p| loss(1.0 - p), without) + sum(&loss, with)) / (total(without) + total(with))
        };
        let brier = |without: &[f64], with: &[f64]| {
            (sum(&|p| p * p, without) + sum(&|p| (1.0 - p).powi(2), with)) / (total(without) + total(with))
        };
        let accuracy = |without: &[f64], with: &[f64]| {
            let share = total(with) / (total(without) + total(with));
            1.0 - 2.0 * share * (1.0 - captured(without, with, share))
        };
        let metrics = [
            ("auc", auc),
            ("gini", Estimate { value: gini(auc.value), low: gini(auc.low), high: gini(auc.high) }),
            ("ks", self.estimate((0.0, 1.0), ks)),
            ("log_loss", self.estimate((0.0, worst), log_loss)),
            ("brier", self.estimate((0.0, 1.0), brier)),
            ("accuracy", self.estimate((0.0, 1.0), accuracy)),
            ("events", self.events),
        ];
        let metrics = metrics.map(|(name, estimate)| Metric { name, estimate }).to_vec();
        Performance { customers: self.customers, metrics }
    }

    fn gains(&self) -> Vec<Gain> {
        let gain = |tenths: u32| {
            let targeted = f64::from(tenths) / 10.0;
            let all = Estimate { value: 1.0, low: 1.0, high: 1.0 };
            let captured = match tenths {
                10 => all,
                _ => self.estimate((0.0, 1.0), |without, with| captured(without, with, targeted)),
            };
            let lift = |captured: f64| captured / targeted;
            let lift = Estimate { value: lift(captured.value), low: lift(captured.low), high: lift(captured.high) };
            Gain { targeted, captured, lift }
        };
        (1..=10).map(gain).collect()
    }

    fn roc(&self, edges: &[f64]) -> Vec<Point> {
        let point = |(edge, score): (usize, &f64)| {
            let above = |counts: &[f64]| counts[edge + 1..].iter().sum::<f64>() / total(counts);
            Point {
                threshold: chance(*score),
                false_positives: self.estimate((0.0, 1.0), |without, _| above(without)),
                true_positives: self.estimate((0.0, 1.0), |_, with| above(with)),
            }
        };
        edges.iter().enumerate().rev().map(point).collect()
    }

    /// Groups of adjacent bins, each of a tenth of customers or, where one bin has more, of more.
    fn calibration(&self, counts: &Noisy, edges: &[f64]) -> Vec<Calibration> {
        let in_bin = |bin: usize| self.cells[bin] + self.cells[BINS + bin];
        let tenth = total(&self.cells) / 10.0;
        let mut groups = Vec::new();
        let (mut start, mut customers, mut left) = (0, 0.0, total(&self.cells));
        for bin in 0..BINS {
            customers += in_bin(bin);
            left -= in_bin(bin);
            // What remains must be enough for a group of its own.
            if bin + 1 == BINS || (customers >= tenth && left >= tenth && tenth > 0.0) {
                groups.push(start..bin + 1);
                (start, customers) = (bin + 1, 0.0);
            }
        }
        let calibration = |bins: std::ops::Range<usize>| {
            let weights = || bins.clone().map(|bin| if tenth > 0.0 { in_bin(bin) } else { 1.0 });
            let predicted = weights().zip(&self.chances[bins.clone()]).map(|(weight, p)| weight * p).sum::<f64>();
            let with: f64 = counts.cells[BINS + bins.start..BINS + bins.end].iter().sum();
            let without: f64 = counts.cells[bins.clone()].iter().sum();
            let sd = counts.sd * (bins.len() as f64).sqrt();
            let low = self.chances[bins.start];
            Calibration {
                from: bins.start.checked_sub(1).map_or(0.0, |edge| chance(edges[edge])),
                to: edges.get(bins.end - 1).map_or(1.0, |edge| chance(*edge)),
                predicted: if weights().sum::<f64>() > 0.0 { predicted / weights().sum::<f64>() } else { low },
                observed: share(with, without, sd),
                customers: Estimate::of_count(with + without, sd * std::f64::consts::SQRT_2),
            }
        };
        groups.into_iter().map(calibration).collect()
    }
}

fn total(counts: &[f64]) -> f64 {
    counts.iter().sum()
}

/// The chance that a customer with the event has the higher score than one without it, ties counting one half.
fn auc(without: &[f64], with: &[f64]) -> f64 {
    let mut below = 0.0;
    let mut sum = 0.0;
    for (without, with) in without.iter().zip(with) {
        sum += with * (below + without / 2.0);
        below += without;
    }
    sum / (below * total(with))
}

/// The largest distance between the two distribution functions.
fn ks(without: &[f64], with: &[f64]) -> f64 {
    let (all_without, all_with) = (total(without), total(with));
    let mut distance = 0.0;
    let apart = without.iter().zip(with).map(|(without, with)| {
        distance += without / all_without - with / all_with;
        distance.abs()
    });
    // Not `f64::max`, which would hide that there is no value.
    apart.fold(0.0, |most, apart| if apart > most || apart.is_nan() { apart } else { most })
}

/// The share of events among the given share of customers with the highest scores; within a bin, in equal parts.
fn captured(without: &[f64], with: &[f64], targeted: f64) -> f64 {
    let mut left = targeted * (total(without) + total(with));
    let mut events = 0.0;
    for (without, with) in without.iter().zip(with).rev() {
        let customers = without + with;
        let taken = if customers > 0.0 { (left / customers).clamp(0.0, 1.0) } else { 0.0 };
        events += taken * with;
        left -= taken * customers;
    }
    events / total(with)
}

/// The share `with` has of both, `sd` being the noise in each: all r with
/// (with − r·n)² ≤ z²·(sd²·((1 − r)² + r²) + n·r·(1 − r)), n = with + without.
fn share(with: f64, without: f64, sd: f64) -> Estimate {
    let z = Estimate::of_sum(0.0, 1.0).high;
    let n = with + without;
    let value = if n > 0.0 { (with / n).clamp(0.0, 1.0) } else { 0.5 };
    let whole = Estimate { value, low: 0.0, high: 1.0 };
    let (noise, sampling) = (z * z * sd * sd, z * z * n.max(0.0));
    let a = n * n - 2.0 * noise + sampling;
    let b = with * n - noise + sampling / 2.0;
    let c = with * with - noise;
    let discriminant = b * b - a * c;
    if n <= 0.0 || a <= 0.0 || !discriminant.is_finite() || discriminant < 0.0 {
        return whole;
    }
    let end = |root: f64| ((b + root) / a).clamp(0.0, 1.0);
    let root = discriminant.sqrt();
    Estimate { value, low: end(-root).min(value), high: end(root).max(value) }
}
