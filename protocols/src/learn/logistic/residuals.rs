//! What a node brings to a gradient: the residuals of its customers.

use super::super::sigmoid::{sigmoid, steps};
use super::super::training::Contribute;
use crate::privacy::rows::{Block, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// Rows that are scored together: their scores and a few columns stay in the fastest cache.
const ROWS: usize = 1 << 10;

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
                // A number is its code less 32768, here and below: of all rows at once, but those that lack it.
                start -= slope * 32768.0;
                if block.has_gaps(i) { &mut gapped } else { &mut numbers }.push((i, slope, missing + slope * 32768.0));
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

/// Adds slope times code for columns given with their slopes; for `GAPS`, and with what is added where a code is missing.
fn add_numbers<'a, const GAPS: bool>(
    scores: &mut [f32],
    columns: &[(usize, f32, f32)],
    codes: impl Fn(usize) -> &'a [u16],
) {
    let value = |(_, slope, missing): &(usize, f32, f32), code: u16| {
        let code = f32::from(code);
        slope * code + if GAPS && code == 0.0 { *missing } else { 0.0 }
    };
    let (fours, rest) = columns.as_chunks::<4>();
    for four in fours {
        let [a, b, c, d] = four;
        let rows = codes(a.0).iter().zip(codes(b.0)).zip(codes(c.0).iter().zip(codes(d.0)));
        for (score, ((&first, &second), (&third, &fourth))) in scores.iter_mut().zip(rows) {
            *score += value(a, first) + value(b, second) + (value(c, third) + value(d, fourth));
        }
    }
    for column in rest {
        for (score, &code) in scores.iter_mut().zip(codes(column.0)) {
            *score += value(column, code);
        }
    }
}
