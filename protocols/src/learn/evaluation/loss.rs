//! What a customer's loss is measured by: a probability, a squared error, a squared distance.

use crate::learn::model::Parameters;
use crate::learn::recipe::Target;
use crate::privacy::rows::{Block, Column, UNIT, places};

/// The probability that a score of an event, in log-odds, stands for.
pub(super) fn chance(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

/// The squared error of a row with this code of the target.
pub(super) fn error(model: &Parameters, target: &Target, columns: &[Column], codes: &[u16], code: u16) -> f64 {
    let score = model.score(columns, codes).clamp(-1.0, 1.0);
    (score - f64::from(target.value(code))).powi(2).min(1.0)
}

/// The largest squared distance; larger ones count as this.
pub(super) fn most(columns: &[Column]) -> f64 {
    2.0 * columns.len().max(1) as f64
}

/// Of each row the nearest centre, and the squared distance from it as a share of the largest.
pub(super) fn nearest(model: &Parameters, block: &Block) -> Vec<(u16, f64)> {
    let centres = if let Parameters::Centres { centres } = model { &centres[..] } else { &[] };
    let columns = block.columns();
    let (places, most) = (places(columns), most(columns));
    let mut codes = vec![0; columns.len()];
    let one = |row: usize| {
        codes.iter_mut().enumerate().for_each(|(i, code)| *code = block.codes(i)[row]);
        let slot = model.score(columns, &codes) as u16;
        let centre = centres.get(usize::from(slot)).map_or(&[][..], Vec::as_slice);
        // ‖c‖² + Σ over entries that are not zero of (x − c)² − c².
        let mut square: f64 = centre.iter().map(|entry| entry * entry).sum();
        block.entries(row, &places, |place, value| {
            if let Some(entry) = centre.get(place) {
                let x = f64::from(value) / f64::from(UNIT);
                square += (x - entry).powi(2) - entry * entry;
            }
        });
        (slot, (square / most).clamp(0.0, 1.0))
    };
    (0..block.rows()).map(one).collect()
}
