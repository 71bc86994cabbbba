//! The scale of numbers, from their histograms.

use super::super::fine::CELLS;
use super::super::model::Recode;
use crate::privacy::rows::UNIT;

/// Shares of customers outside the part of a number's scale that is even.
const TAIL: f64 = 0.03;

/// What a number becomes, from the customers in its cells, missing values first, and the cells' first codes; and the
/// variance of what it becomes.
pub(super) fn scale(cells: &[f64], first: &[u32]) -> (Recode, f64) {
    let counts = cells.get(1..).unwrap_or_default();
    let all: f64 = counts.iter().sum();
    // Of nobody, or of noise that leaves nobody, everything is possible.
    let share = |count: &f64| if all >= 1.0 { count / all } else { 1.0 / CELLS as f64 };
    let shares: Vec<f64> = counts.iter().map(share).collect();
    let ends = first.iter().skip(1).copied().chain([1 << 16]);
    let middles: Vec<f64> = first.iter().zip(ends).map(|(start, end)| f64::from(start + end) / 2.0).collect();
    let mut below = 0.0;
    let up_to: Vec<f64> = shares
        .iter()
        .map(|share| {
            below += share;
            below
        })
        .collect();
    let quantile = |q: f64| {
        let place = up_to.partition_point(|share| *share < q).min(middles.len().saturating_sub(1));
        middles.get(place).copied().unwrap_or(0.0)
    };
    let low = quantile(TAIL);
    // Where nearly all have one value the others are above it or not.
    let high = quantile(1.0 - TAIL).max(low + 0.5);
    let value = |((middle, up_to), share): ((&f64, &f64), &f64)| {
        let place = (middle.clamp(low, high) - low) / (high - low);
        let rank = up_to - share / 2.0;
        place + rank - 1.0
    };
    let values: Vec<f64> = middles.iter().zip(&up_to).zip(&shares).map(value).collect();
    let mean: f64 = values.iter().zip(&shares).map(|(value, share)| value * share).sum();
    let most = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max).max(1e-9);
    let values: Vec<f64> = values.iter().map(|value| (value - mean) / most).collect();
    let variance = values.iter().zip(&shares).map(|(value, share)| value * value * share).sum();
    let mut knots: Vec<(u16, u16)> = Vec::with_capacity(CELLS);
    for (start, value) in first.iter().zip(&values) {
        // Within 1 to 65535, as the value is within ±1 but for rounding.
        let code = (32768.0 + (value * f64::from(UNIT)).round()).clamp(1.0, 65535.0) as u16;
        match (u16::try_from(*start), knots.last_mut()) {
            // A cell without codes has the first code of the next, which stands for both.
            (Ok(start), Some(last)) if last.0 == start => last.1 = code.max(last.1),
            // They ascend but for rounding.
            (Ok(start), last) => {
                let before = last.map_or(1, |last| last.1);
                knots.push((start, code.max(before)));
            }
            (Err(_), _) => {}
        }
    }
    (Recode::Scale(knots), variance)
}
