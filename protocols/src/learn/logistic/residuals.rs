//! What a node brings to a gradient: the residuals of its customers.

use pulp::Arch;

use super::super::frame::{Contribute, weighed};
use super::super::sigmoid::{sigmoid, steps};
use crate::kernels::columns::{SCORED, Weights};
use crate::privacy::rows::{Block, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// Rows that are scored together: their scores and a few columns stay in the fastest cache.
const ROWS: usize = 1 << 12;

/// Clipped residuals times design vectors.
pub(super) struct Gradient {
    /// The model that nodes score with.
    pub(super) weights: Vec<f32>,
    /// The largest residual that is not clipped, in steps of 1/[`UNIT`].
    pub(super) most: i32,
}

impl Contribute for Gradient {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let scores = scores(&self.weights, block);
        let mut residuals = vec![0; target.len().min(scores.len())];
        // Compiled for the processor that it runs on.
        Arch::new().dispatch(|| {
            for ((residual, code), score) in residuals.iter_mut().zip(target).zip(&scores) {
                *residual = self.residual(*code, *score);
            }
        });
        let weights = weighed(residuals, weights);
        sums.add(&[Part::Vectors { block, weights: &weights, slots: None }]);
    }
}

impl Gradient {
    /// The clipped residual in steps of 1/[`UNIT`].
    #[inline(always)]
    fn residual(&self, code: u16, score: f32) -> i32 {
        let event = if code == 2 { 1.0 } else { 0.0 };
        // Computed of everybody, and kept of those who have a label: loops without branches are faster.
        let residual = steps(event - sigmoid(score), self.most);
        if code == 1 || code == 2 { residual } else { 0 }
    }
}

/// The log-odds of each row: what a node spends its time with, besides the sums.
///
/// Slopes of numbers are rounded to 2^-14 of the largest of eight: what that moves a score by is far below what the noise of
/// a round moves the model by, and sums of whole numbers are the same on every processor.
fn scores(weights: &[f32], block: &Block) -> Vec<f32> {
    let constant = weights.last().copied().unwrap_or(0.0);
    let (mut numbers, mut categories) = (Vec::new(), Vec::new());
    let mut rest = weights;
    for (i, column) in block.columns().iter().enumerate() {
        let Some((own, behind)) = rest.split_at_checked(column.dims()) else { break };
        rest = behind;
        match (column, own) {
            (Column::Number, &[slope, missing]) => {
                let slope = slope / UNIT as f32;
                // x of a missing number is taken to be −32768 at first.
                numbers.push(Number { column: i, slope, missing: missing / 32768.0 + slope });
            }
            (_, own) => categories.push((i, own)),
        }
    }
    // The same groups whatever the rows lack.
    let groups: Vec<Group> = numbers.chunks(SCORED).map(Group::new).collect();
    let mut scores = vec![constant; block.rows()];
    for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
        let rows = number * ROWS..number * ROWS + scores.len();
        for group in &groups {
            let columns = group.columns.map(|column| &block.codes(column)[rows.clone()]);
            let gaps = group.columns.iter().any(|column| block.has_gaps(*column));
            group.weights.add_scores(scores, &columns, gaps);
        }
        for (column, values) in &categories {
            for (score, code) in scores.iter_mut().zip(&block.codes(*column)[rows.clone()]) {
                // A block has no code beyond its column's values.
                *score += values[usize::from(*code)];
            }
        }
    }
    scores
}

/// A column of numbers, what a step adds to a score, and what is added besides where it is missing, in 32768 such.
struct Number {
    column: usize,
    slope: f32,
    missing: f32,
}

/// As many columns of numbers as are scored together; where there are fewer, one of them stands for the others as well, with
/// a slope of zero.
struct Group {
    columns: [usize; SCORED],
    weights: Weights,
}

impl Group {
    /// Of 1 to [`SCORED`] columns.
    fn new(numbers: &[Number]) -> Self {
        let column = |i: usize| numbers.get(i).unwrap_or(&numbers[0]).column;
        let slope = |i: usize| numbers.get(i).map_or(0.0, |number| number.slope);
        let missing = |i: usize| numbers.get(i).map_or(0.0, |number| number.missing);
        let weights = Weights::new(&std::array::from_fn(slope), &std::array::from_fn(missing));
        Self { columns: std::array::from_fn(column), weights }
    }
}
