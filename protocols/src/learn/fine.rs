//! The first release of methods that learn where customers are: a fine histogram of each number, for bins and scales
//! that follow the data. One release serves all numbers.
//!
//! **Cells.** [`CELLS`] a number, besides missing values. Half of their resolution is even over the public range, half is
//! logarithmic around zero (or the lower bound, if that is larger), so that amounts with a long tail, most of which are
//! small, are resolved as well: with u the place in the range from 0 to 1 and z that of zero,
//! t(u) = ½u + ½·(l(u) − l(0))/(l(1) − l(0)), l(u) = sign(u − z)·ln(1 + 1000·|u − z|), and the cell is ⌊256·t⌋.
//!
//! **Bounds.** A customer is in one cell of each number and in one cell that all share, which counts customers: its
//! norm is √(m + 1) for m numbers, the target among them where it is one.
//!
//! **Afterwards** each noisy histogram is projected onto those that are not negative and sum to the number of customers
//! (the nearest such point; Held, Wolfe, Crowder 1974). That is post-processing.

use super::frame::{Contribute, Implausible, Release, Role, SLACK, weighed};
use super::recipe::{Recipe, STEPS, Values};
use crate::privacy::bounds::Component;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{Block, Codes, Column};
use crate::privacy::sums::{Part, Sums};

/// Cells of a number, missing values not counted; they are in cell 0 and the others count from 1.
pub(super) const CELLS: usize = 256;
/// The value of a customer in a cell.
const ONE: i32 = 1024;

/// The fine histogram of a recipe's numbers.
#[derive(Clone)]
pub(super) struct Fine {
    /// The positions of the features that are numbers, and where zero lies in each one's range.
    numbers: Vec<(usize, f64)>,
    /// Whether the target is a number, which then comes last, with even cells.
    target: bool,
}

/// What the release says.
pub(super) struct Histograms {
    /// The number of customers, at least 100.
    pub(super) customers: f64,
    /// Of each feature the number of customers in each cell, missing values first; empty where it is not a number.
    pub(super) features: Vec<Vec<f64>>,
    /// Of a target that is a number, in [`CELLS`] even cells.
    pub(super) target: Option<Vec<f64>>,
}

impl Fine {
    /// Of a recipe and a target that is a number, or is not.
    pub(super) fn new(recipe: &Recipe, target: bool) -> Self {
        let zero = |values: &Values| {
            let (low, high) = values.bounds()?;
            let range = high - low;
            Some(if low >= 0.0 || range <= 0.0 { 0.0 } else { (-low / range).min(1.0) })
        };
        let features = recipe.features.iter().enumerate();
        let numbers = features.filter_map(|(i, feature)| Some((i, zero(&feature.values)?))).collect();
        Self { numbers, target }
    }

    /// The release, unless there is no number; it takes `share` of a method's budget, in millionths.
    pub(super) fn release(&self, share: u32) -> Option<Release> {
        let histograms = self.numbers.len() + usize::from(self.target);
        let cells = (self.numbers.len() * (CELLS + 1) + if self.target { CELLS } else { 0 } + 1) as u64;
        let component = Component::Cells { cells, touches: histograms as u32 + 1, per_cell: ONE as u64 };
        (histograms > 0).then(|| Release {
            name: "histograms of numbers".into(),
            role: Role::Training,
            components: vec![(component, share.min(MILLION))],
        })
    }

    /// What a node does for it.
    pub(super) fn contributor(&self) -> Box<dyn Contribute> {
        let tables = self.numbers.iter().map(|(feature, zero)| (*feature, cells(*zero))).collect();
        Box::new(Contributor { tables, target: self.target })
    }

    /// Reads the sum. `sd` is the standard deviation of the noise in each of its numbers.
    pub(super) fn read(&self, features: usize, sum: &[i64], sd: f64) -> Result<Histograms, Implausible> {
        let one = f64::from(ONE);
        let sd = sd / one;
        let mut rest = sum;
        let mut take = |cells: usize| {
            let (own, others) = rest.split_at_checked(cells)?;
            rest = others;
            Some(own.iter().map(|value| *value as f64 / one).collect::<Vec<f64>>())
        };
        let short = || Implausible("the sum is shorter than the release".into());
        let noisy: Vec<Vec<f64>> =
            self.numbers.iter().map(|_| take(CELLS + 1)).collect::<Option<_>>().ok_or_else(short)?;
        let target = if self.target { Some(take(CELLS).ok_or_else(short)?) } else { None };
        let counted = take(1).ok_or_else(short)?[0];
        for cells in noisy.iter().chain(&target) {
            let (total, slack) = (cells.iter().sum::<f64>(), SLACK * sd);
            let each = |value: &f64| *value >= -slack && *value <= counted + 2.0 * slack;
            if (total - counted).abs() > slack * ((cells.len() + 1) as f64).sqrt() || !cells.iter().all(each) {
                return Err(Implausible(format!(
                    "a histogram of {counted:.0} customers has a total of {total:.0}, or cells that no customers can make \
                     (the noise of a cell is {sd:.1}): a participant sent something else"
                )));
            }
        }
        let customers = counted.max(100.0);
        let mut all = vec![Vec::new(); features];
        for ((feature, _), cells) in self.numbers.iter().zip(noisy) {
            if let Some(place) = all.get_mut(*feature) {
                *place = simplex(&cells, customers);
            }
        }
        Ok(Histograms { customers, features: all, target: target.map(|cells| simplex(&cells, customers)) })
    }

    /// The first code of each cell from 1 to [`CELLS`] of a feature; a cell without codes has that of the next one with
    /// some, and 65536 where there is none.
    pub(super) fn first_codes(&self, feature: usize) -> Option<Vec<u32>> {
        let (_, zero) = self.numbers.iter().find(|(number, _)| *number == feature)?;
        let table = cells(*zero);
        let first = |cell: usize| 1 + table[1..].partition_point(|at| usize::from(*at) < cell) as u32;
        Some((1..=CELLS).map(first).collect())
    }
}

/// The cell of each of the 65536 codes of a number whose zero lies at `zero` of its range.
fn cells(zero: f64) -> Vec<u16> {
    let log = |u: f64| (1.0 + 1000.0 * (u - zero).abs()).ln() * if u < zero { -1.0 } else { 1.0 };
    let (start, end) = (log(0.0), log(1.0));
    let cell = |code: u16| {
        let u = (f64::from(code) - 1.0) / STEPS;
        let t = 0.5 * u + 0.5 * (log(u) - start) / (end - start);
        // t is in 0 to 1, and rises with u.
        1 + ((t * CELLS as f64) as u16).min(CELLS as u16 - 1)
    };
    std::iter::once(0).chain((1..=u16::MAX).map(cell)).collect()
}

struct Contributor {
    tables: Vec<(usize, Vec<u16>)>,
    target: bool,
}

impl Contribute for Contributor {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let rows = block.rows();
        let look_up = |(feature, table): &(usize, Vec<u16>)| -> Vec<u16> {
            // A feature that has been recoded is no number any more, and none of the cells' codes.
            let number = block.columns().get(*feature) == Some(&Column::Number);
            let codes = if number { block.codes(*feature) } else { &[] };
            codes.iter().map(|code| table[usize::from(*code)]).collect()
        };
        let columns: Vec<Vec<u16>> = self.tables.iter().map(look_up).collect();
        // Code 65535 is in the last cell, 1 in the first; a target is never missing here.
        let even: Vec<u16> = if self.target { target.iter().map(|code| code >> 8).collect() } else { Vec::new() };
        let constant = vec![0u16; rows];
        let mut codes: Vec<Codes<'_>> = columns.iter().map(|codes| Codes { codes, cells: CELLS + 1 }).collect();
        if self.target {
            codes.push(Codes { codes: &even, cells: CELLS });
        }
        codes.push(Codes { codes: &constant, cells: 1 });
        sums.add(&[Part::Cells { columns: &codes, values: &weighed(vec![ONE; rows], weights) }]);
    }
}

/// The point nearest to `values` with no negative entry and the sum `total`: all entries are lowered by the same amount,
/// and those that would be negative are zero.
pub(super) fn simplex(values: &[f64], total: f64) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut lower) = (0.0, 0.0);
    for (i, value) in sorted.iter().enumerate() {
        sum += value;
        let amount = (sum - total) / (i + 1) as f64;
        if *value > amount {
            lower = amount;
        }
    }
    values.iter().map(|value| (value - lower).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::learn::recipe::Feature;

    fn recipe() -> Recipe {
        let number = |name: &str, low, high| Feature { name: name.into(), values: Values::Number { low, high } };
        let flag = Feature { name: "flag".into(), values: Values::Bool };
        Recipe { features: vec![number("spend", 0.0, 1e5), flag, number("balance", -500.0, 1500.0)] }
    }

    #[test]
    fn cells_rise_with_codes_and_tell_small_amounts_apart() {
        for zero in [0.0, 0.25, 0.6, 1.0] {
            let table = cells(zero);
            assert_eq!((table[0], table[1], table[65535]), (0, 1, 256));
            assert!(table.is_sorted());
        }
        let spend = |x: f64| cells(0.0)[usize::from(recipe().features[0].values.code_of_number(x))];
        assert!(spend(300.0) > spend(100.0) && spend(100.0) > spend(10.0), "of a range up to 100000");
    }

    #[test]
    fn histograms_say_where_customers_are() {
        let recipe = recipe();
        let fine = Fine::new(&recipe, true);
        let release = fine.release(50_000).unwrap();
        let layout = Arc::new(release.layout());
        let mut sums = Sums::new(layout.clone());
        let codes = |feature: usize, x: f64| recipe.features[feature].values.code_of_number(x);
        let rows = 400;
        let spend: Vec<u16> = (0..rows).map(|i| if i % 4 == 0 { 0 } else { codes(0, 50.0) }).collect();
        let balance: Vec<u16> = (0..rows).map(|i| codes(2, f64::from(i))).collect();
        let target: Vec<u16> = (0..rows).map(|i| if i < 100 { 65535 } else { 1 }).collect();
        let columns: Arc<[Column]> = recipe.columns().into();
        let block = Block::new(columns, vec![spend, vec![1; rows as usize], balance]).unwrap();
        fine.contributor().add(&block, &target, &[], &mut sums);
        let sum = sums.finish().values;
        let histograms = fine.read(3, &sum, 1.0).unwrap();
        assert_eq!(histograms.customers, 400.0);
        assert_eq!((histograms.features[0][0], histograms.features[0].iter().sum::<f64>()), (100.0, 400.0));
        assert!(histograms.features[1].is_empty());
        let first = fine.first_codes(2).unwrap();
        let above = first.iter().position(|code| *code > u32::from(codes(2, 199.5))).unwrap();
        let below: f64 = histograms.features[2][1..=above].iter().sum();
        assert!((below - 200.0).abs() <= 10.0, "{below}");
        let target = histograms.target.unwrap();
        assert_eq!((target[0], target[255]), (300.0, 100.0));
    }

    #[test]
    fn sums_that_no_customers_can_bring_are_named() {
        let fine = Fine::new(&recipe(), false);
        let length = fine.release(1).unwrap().layout().len();
        let mut sum = vec![0i64; length];
        assert!(fine.read(3, &sum, 50.0).is_ok());
        sum[7] = i64::MAX;
        assert!(fine.read(3, &sum, 50.0).is_err());
        sum[7] = -(1 << 40);
        assert!(fine.read(3, &sum, 50.0).is_err());
        assert!(fine.read(3, &sum[1..], 50.0).is_err());
    }

    #[test]
    fn the_simplex_is_met_and_points_on_it_stay() {
        assert_eq!(simplex(&[3.0, 1.0, 0.0], 4.0), [3.0, 1.0, 0.0]);
        let projected = simplex(&[5.0, -3.0, 1.0, 0.5], 4.0);
        assert_eq!(projected, [4.0, 0.0, 0.0, 0.0]);
        assert!((simplex(&[0.1; 7], 100.0).iter().sum::<f64>() - 100.0).abs() < 1e-9);
    }
}
