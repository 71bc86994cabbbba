//! The study kind `train`: from the trainer's state after its last round to a model and what is said of it.

use std::collections::BTreeMap;

use entente_protocols::learn::file::{self, Budget, ModelFile, Provenance};
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
    let header = header(finished);
    let file = ModelFile {
        format: file::FORMAT.into(),
        version: file::VERSION,
        study: Provenance {
            id: finished.id.into(),
            name: finished.study.name.clone(),
            purpose: finished.study.purpose.clone(),
            plan_sha256: finished.question.plan().digest(),
        },
        participants: finished.question.participants().to_vec(),
        privacy: Budget {
            scope: header.privacy.scope,
            epsilon: header.privacy.epsilon,
            delta: header.privacy.delta,
            rho: header.privacy.rho_micro,
            rho_person: header.privacy.rho_person_micro,
            colluders: header.privacy.colluders,
        },
        metrics: trainer
            .evaluation()
            .map(|evaluation| evaluation.all.metrics.iter().map(|m| (m.name.to_owned(), m.estimate)).collect())
            .unwrap_or_default(),
        transcript_sha256: header.transcript_sha256,
        model: trainer.model(),
    };
    Ok([("result.json".to_owned(), value.to_string().into_bytes()), ("model.json".into(), file.to_bytes())].into())
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
