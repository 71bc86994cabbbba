//! What a node brings to a gradient: the residuals of its customers.

use super::super::sigmoid::{sigmoid, steps};
use super::super::training::Contribute;
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
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        let scores = scores(&self.weights, block);
        let weights: Vec<i32> = target.iter().zip(&scores).map(|(code, score)| self.weight(*code, *score)).collect();
        sums.add(&[Part::Vectors { block, weights: &weights, slots: None }]);
    }
}

impl Gradient {
    /// The clipped residual in steps of 1/[`UNIT`].
    fn weight(&self, code: u16, score: f32) -> i32 {
        let event = if code == 2 { 1.0 } else { 0.0 };
        // Computed of everybody, and kept of those who have a label: loops without branches are faster.
        let residual = steps(event - sigmoid(score), self.most);
        if code == 1 || code == 2 { residual } else { 0 }
    }
}

/// The log-odds of each row: what a node spends its time with, besides the sums.
fn scores(weights: &[f32], block: &Block) -> Vec<f32> {
    let mut start = weights.last().copied().unwrap_or(0.0);
    let (mut numbers, mut gapped, mut categories) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = weights;
    for (i, column) in block.columns().iter().enumerate() {
        let Some((own, behind)) = rest.split_at_checked(column.dims()) else { break };
        rest = behind;
        match (column, own) {
            (Column::Number, &[slope, missing]) => {
                let slope = slope / UNIT as f32;
                // A number is its code less 32768. That is taken off for all columns at once, at the start; of a missing
                // value, whose code is 0, nothing is to be taken off.
                start -= slope * 32768.0;
                let number = Number { column: i, slope, missing: missing + slope * 32768.0 };
                if block.has_gaps(i) { &mut gapped } else { &mut numbers }.push(number);
            }
            (_, own) => categories.push((i, own)),
        }
    }
    let mut scores = vec![start; block.rows()];
    for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
        let rows = number * ROWS..number * ROWS + scores.len();
        let codes = |column: usize| &block.codes(column)[rows.clone()];
        add_numbers::<false>(scores, &numbers, codes);
        add_numbers::<true>(scores, &gapped, codes);
        for (column, values) in &categories {
            for (score, code) in scores.iter_mut().zip(codes(*column)) {
                // A block has no code beyond its column's values.
                *score += values[usize::from(*code)];
            }
        }
    }
    scores
}

/// A column of numbers, what a step adds to a score, and what is added besides where it is missing.
struct Number {
    column: usize,
    slope: f32,
    missing: f32,
}

/// Adds what numbers add, four columns at once, so that scores are read and written less often. Missing ones are looked for
/// where there may be some (`GAPS`).
fn add_numbers<'a, const GAPS: bool>(scores: &mut [f32], numbers: &[Number], codes: impl Fn(usize) -> &'a [u16]) {
    let column = |number: &Number| (codes(number.column), number.slope, number.missing);
    let (fours, rest) = numbers.as_chunks::<4>();
    for four in fours {
        add_four::<GAPS>(scores, four.each_ref().map(column));
    }
    for number in rest {
        let (codes, slope, missing) = column(number);
        for (score, &code) in scores.iter_mut().zip(codes) {
            *score += of::<GAPS>(code, slope, missing);
        }
    }
}

/// By itself, with slices and numbers alone, so that compilers make vector code of it: it is most of a round's time.
#[inline(never)]
fn add_four<const GAPS: bool>(scores: &mut [f32], columns: [(&[u16], f32, f32); 4]) {
    let [(a, a_slope, a_missing), (b, b_slope, b_missing), (c, c_slope, c_missing), (d, d_slope, d_missing)] = columns;
    for ((((score, &a), &b), &c), &d) in scores.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *score += (of::<GAPS>(a, a_slope, a_missing) + of::<GAPS>(b, b_slope, b_missing))
            + (of::<GAPS>(c, c_slope, c_missing) + of::<GAPS>(d, d_slope, d_missing));
    }
}

#[inline(always)]
fn of<const GAPS: bool>(code: u16, slope: f32, missing: f32) -> f32 {
    let code = f32::from(code);
    let score = slope * code;
    if GAPS { score + if code == 0.0 { missing } else { 0.0 } } else { score }
}
