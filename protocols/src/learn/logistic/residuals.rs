//! What a node brings to a gradient: the residuals of its customers.

use super::super::training::Contribute;
use crate::privacy::rows::{Block, Column, UNIT, number};
use crate::privacy::sums::{Part, Sums};

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
        let event = match code {
            1 => 0.0,
            2 => 1.0,
            _ => return 0,
        };
        // Towards zero; a residual that is not a number is zero.
        let residual = (event - 1.0 / (1.0 + (-score).exp())) * UNIT as f32;
        (residual as i32).clamp(-self.most, self.most)
    }
}

/// The log-odds of each row, column by column: what a node spends its time with, besides the sums.
fn scores(weights: &[f32], block: &Block) -> Vec<f32> {
    let mut scores = vec![weights.last().copied().unwrap_or(0.0); block.rows()];
    let mut rest = weights;
    for (i, column) in block.columns().iter().enumerate() {
        let Some((own, others)) = rest.split_at_checked(column.dims()) else { return scores };
        let codes = block.codes(i).iter();
        match (column, own) {
            (Column::Number, &[slope, missing]) => {
                let slope = slope / UNIT as f32;
                for (score, &code) in scores.iter_mut().zip(codes) {
                    *score += if code == 0 { missing } else { slope * number(code) as f32 };
                }
            }
            (_, own) => {
                for (score, &code) in scores.iter_mut().zip(codes) {
                    // A block has no code beyond its column's values.
                    *score += own[usize::from(code)];
                }
            }
        }
        rest = others;
    }
    scores
}
