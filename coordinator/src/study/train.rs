//! The study kind `train`: from the trainer's state after its last round to a model and what is said of it.

use std::collections::BTreeMap;

use entente_protocols::learn::training::Trainer;
use entente_protocols::study::train::{TrainPlan, TrainSpec};

use super::Finished;

pub(super) fn finish(
    _finished: &Finished<'_>,
    _spec: &TrainSpec,
    _plan: &TrainPlan,
    _trainer: &Trainer,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    unimplemented!()
}

pub(super) fn notes(_spec: &TrainSpec, _plan: &TrainPlan) -> Vec<String> {
    Vec::new()
}

pub(super) fn expected_error(
    _plan: &TrainPlan,
    _question: &entente_protocols::study::Question,
) -> Vec<super::MeasureError> {
    Vec::new()
}
