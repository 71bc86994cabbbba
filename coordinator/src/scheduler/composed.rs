//! What a composed study comes to: studies that follow one another, each with the result of the one before.
//!
//! ```text
//! leg 1: the training of the seeds' model   ID-1
//! leg 2: the lookalike study with it        ID
//! ```
//!
//! The last leg has the identifier of the whole, so that its result is that of the whole.

use entente_protocols::study::Study;
use entente_protocols::study::seeded::Seeded;

/// How many legs there are.
pub(crate) const LEGS: u32 = 2;

/// The identifier of a leg, counted from 1.
pub(crate) fn leg_id(composed: &str, number: u32) -> String {
    if number == LEGS { composed.to_owned() } else { format!("{composed}-{number}") }
}

/// The composed study that a study may be a leg of, which is not its last.
pub(super) fn of_leg(study: &str) -> Option<&str> {
    let (composed, number) = study.rsplit_once('-')?;
    let number: u32 = number.parse().ok()?;
    (1..LEGS).contains(&number).then_some(composed)
}

/// The study that a leg is; the second one with the model that the first has given.
pub(super) fn leg(asked: &Seeded, number: u32, model: Option<Vec<u8>>) -> Result<Study, String> {
    if number == 1 {
        return Ok(asked.training().clone());
    }
    asked.lookalike(&model.ok_or("the training's result has no model.json")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_are_told_from_other_studies() {
        let id = "20261122-101530-a1b2c3";
        let legs: Vec<String> = (1..=LEGS).map(|number| leg_id(id, number)).collect();
        assert_eq!(legs, ["20261122-101530-a1b2c3-1", id]);
        assert_eq!(of_leg(&legs[0]), Some(id));
        // The random end of an identifier may be digits.
        for other in [id, "20261122-101530-000001", "20261122-101530-a1b2c3-2", "x", ""] {
            assert!(of_leg(other).is_none_or(|composed| composed != id), "{other}");
        }
    }
}
