//! The study kind `train`: from the trainer's state after its last round to a model and what is said of it.

use std::collections::BTreeMap;

use entente_protocols::learn::training::Trainer;
use entente_protocols::study::train::{TrainPlan, TrainSpec};

use super::{Finished, header};

pub(super) fn finish(
    finished: &Finished<'_>,
    _spec: &TrainSpec,
    _plan: &TrainPlan,
    trainer: &Trainer,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut value = serde_json::to_value(header(finished)).map_err(|e| e.to_string())?;
    let mut metrics = serde_json::Map::new();
    if let Some(evaluation) = trainer.evaluation() {
        for metric in &evaluation.all.metrics {
            metrics.insert(metric.name.into(), serde_json::to_value(metric.estimate).map_err(|e| e.to_string())?);
        }
    }
    value["metrics"] = metrics.into();
    value["rounds"] = finished
        .rounds
        .iter()
        .map(
            |r| serde_json::json!({"round": r.round, "attempt": r.attempt, "rho": r.rho.value(), "seconds": r.seconds}),
        )
        .collect::<Vec<_>>()
        .into();
    let model = serde_json::to_vec(&trainer.model()).map_err(|e| e.to_string())?;
    Ok([("result.json".to_owned(), value.to_string().into_bytes()), ("model.json".into(), model)].into())
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
