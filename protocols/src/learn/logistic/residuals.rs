//! What a node brings to a gradient: the residuals of its customers.

use super::super::sigmoid::{sigmoid, steps};
use super::super::training::Contribute;
use crate::privacy::rows::{Block, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// Rows that are scored together: their scores and a few columns stay in the fastest cache.
const ROWS: usize = 1 << 10;
/// Numbers that are added to a score at once, so that it is read and written less often.
const TOGETHER: usize = 4;

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
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    let mut rest = weights;
    for (i, column) in block.columns().iter().enumerate() {
        let Some((own, behind)) = rest.split_at_checked(column.dims()) else { break };
        rest = behind;
        match (column, own) {
            (Column::Number, &[slope, missing]) => {
                let slope = slope / UNIT as f32;
                // A number is its code less 32768, here and below: of all rows at once, but those that lack it.
                start -= slope * 32768.0;
                numbers.push((i, slope));
                if block.has_gaps(i) {
                    others.push((i, Lookup::Missing(missing + slope * 32768.0)));
                }
            }
            (_, own) => others.push((i, Lookup::Category(own))),
        }
    }
    let mut scores = vec![start; block.rows()];
    for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
        let rows = number * ROWS..number * ROWS + scores.len();
        let codes = |column: usize| &block.codes(column)[rows.clone()];
        let (together, single) = numbers.as_chunks::<TOGETHER>();
        for columns in together {
            add_numbers(scores, columns.map(|(column, slope)| (codes(column), slope)));
        }
        for (column, slope) in single {
            add_numbers(scores, [(codes(*column), *slope)]);
        }
        for (column, lookup) in &others {
            let rows = scores.iter_mut().zip(codes(*column));
            match lookup {
                Lookup::Missing(value) => {
                    rows.for_each(|(score, code)| *score += if *code == 0 { *value } else { 0.0 })
                }
                // A block has no code beyond its column's values.
                Lookup::Category(values) => rows.for_each(|(score, code)| *score += values[usize::from(*code)]),
            }
        }
    }
    scores
}

/// What scores get by comparing or looking up a code.
enum Lookup<'a> {
    /// Of a number, where it is missing.
    Missing(f32),
    /// Of a category, one a code.
    Category(&'a [f32]),
}

/// Adds slope times code, for several columns.
fn add_numbers<const COLUMNS: usize>(scores: &mut [f32], columns: [(&[u16], f32); COLUMNS]) {
    let columns = columns.map(|(codes, slope)| (&codes[..scores.len()], slope));
    for (i, score) in scores.iter_mut().enumerate() {
        *score += columns.map(|(codes, slope)| slope * f32::from(codes[i])).into_iter().sum::<f32>();
    }
}
