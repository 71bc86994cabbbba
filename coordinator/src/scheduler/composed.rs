//! What a composed study comes to: studies that follow one another, each with the result of the one before.
//!
//! ```text
//! leg 1: the training of the seeds' model   ID-1
//! leg 2: the lookalike study with it        ID
//! ```
//!
//! The last leg has the identifier of the whole, so that its result is that of the whole.

use entente_host::Error;
use entente_protocols::study::Study;
use entente_protocols::study::seeded::Seeded;

use super::record::new_record;
use super::{end, partners};
use crate::hall::Hall;
use crate::store::{ComposedRecord, StudyRecord, StudyState};

/// How many legs there are.
pub(crate) const LEGS: u32 = 2;

/// Keeps a new composed study, and its first leg.
pub(super) fn keep_new(hall: &Hall, id: &str, created: jiff::Timestamp, asked: Seeded) -> Result<StudyRecord, Error> {
    // Before anybody is charged.
    partners::are_enrolled(hall, &asked.participants())?;
    let schemas = partners::published(hall, &asked.participants())?;
    asked.check(&schemas).map_err(Error::refused)?;
    let composed = ComposedRecord { id: id.into(), created, asked, begun: 0, refusal: None };
    hall.store.add_composed(&composed)?;
    keep_next(hall, &composed)
}

/// Keeps the study that the next leg is, with the result of the one before, or why it cannot begin.
pub(super) fn keep_next(hall: &Hall, composed: &ComposedRecord) -> Result<StudyRecord, Error> {
    let ComposedRecord { id, created, asked, begun, .. } = composed;
    let number = begun + 1;
    let model = hall.store.result_file(&leg_id(id, *begun), end::MODEL)?;
    let new = |study: Study| {
        let of = if number == 1 { partners::participants_of } else { partners::participants_after };
        let participants = of(hall, &study)?;
        Ok(new_record(leg_id(id, number), *created, study, participants))
    };
    match leg(asked, number, model).map_err(Error::refused).and_then(new) {
        Ok(record) => {
            hall.store.begin_leg(id, number, &record)?;
            tracing::info!(study = record.id, composed = id, "submitted");
            Ok(record)
        }
        Err(error) => {
            tracing::warn!(study = id, %error, "its next leg cannot begin");
            hall.store.refuse_leg(id, &error.to_string())?;
            Err(error)
        }
    }
}

/// Whether the leg that began last has its result, and the next has to begin.
pub(super) fn is_due(hall: &Hall, composed: &ComposedRecord) -> Result<bool, Error> {
    let ComposedRecord { id, begun, .. } = composed;
    let is_done = |study: Option<StudyRecord>| study.is_some_and(|study| study.state == StudyState::Done);
    Ok(*begun == 0 || *begun < LEGS && is_done(hall.store.study(&leg_id(id, *begun))?))
}

/// A study has its result: keeps what was to follow it, if anything was.
pub(super) fn keep_what_follows(hall: &Hall, study: &str) -> Result<Option<StudyRecord>, Error> {
    let Some(composed) = of_leg(study) else { return Ok(None) };
    match hall.store.composed(composed)? {
        Some(composed) if is_due(hall, &composed)? => keep_next(hall, &composed).map(Some),
        _ => Ok(None),
    }
}

/// Keeps the next legs of those that were stopped between two legs; one that cannot begin says why where it is looked for.
pub(super) fn take_up(hall: &Hall) -> Result<(), Error> {
    for composed in hall.store.open_composed()? {
        if composed.refusal.is_none() && is_due(hall, &composed)? {
            let _ = keep_next(hall, &composed);
        }
    }
    Ok(())
}

/// The study that an identifier stands for now: of a composed study, the leg that has begun last.
pub(crate) fn present(hall: &Hall, id: &str) -> Result<String, Error> {
    match hall.store.composed(id)? {
        Some(composed) if composed.begun > 0 => Ok(leg_id(id, composed.begun)),
        _ => Ok(id.into()),
    }
}

/// The identifier of a leg, counted from 1.
pub(crate) fn leg_id(composed: &str, number: u32) -> String {
    if number == LEGS { composed.to_owned() } else { format!("{composed}-{number}") }
}

/// The composed study that a study may be a leg of, which is not its last.
fn of_leg(study: &str) -> Option<&str> {
    let (composed, number) = study.rsplit_once('-')?;
    let number: u32 = number.parse().ok()?;
    (1..LEGS).contains(&number).then_some(composed)
}

/// The study that a leg is; the second one with the model that the first has given.
fn leg(asked: &Seeded, number: u32, model: Option<Vec<u8>>) -> Result<Study, String> {
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
