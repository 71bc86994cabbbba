//! The study kind `train`: from the trainer's state after its last round to a model and what is said of it.
//!
//! ```text
//! Header + Trained ─▶ result.json, model.json, model.onnx, metrics.csv, shapes.csv (each also as Parquet), report.html
//! ```

mod draw;
mod flat;
mod json;
mod onnx;
mod report;
mod terms;
mod trained;

use std::collections::{BTreeMap, BTreeSet};

use entente_protocols::learn::evaluation::{self, Change, Detail, Evaluation, Point};
use entente_protocols::learn::file::{Budget, FORMAT, ModelFile, Provenance, ScoreShare, VERSION};
use entente_protocols::learn::frame::{Release, Role};
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::trainer::Trainer;
use entente_protocols::privacy::rho::{MILLION, Rho};
use entente_protocols::study::Question;
use entente_protocols::study::plans::rounds::RoundsPlan;
use entente_protocols::study::train::TrainSpec;

use super::finished::{Finished, MeasureError, header};
use crate::results::header::Header;
use crate::results::number::{self, Style};
use crate::results::{REPORT, RESULT};
use trained::{HeldOutChange, MODEL, ONNX, Round, Trained, idle_features};

pub(super) use json::table;

/// The number of held-out customers for which the error of a metric is told.
const TYPICAL_CUSTOMERS: f64 = 10_000.0;

/// The files of a training's result.
pub(super) fn finish(
    finished: &Finished<'_>,
    spec: &TrainSpec,
    plan: &RoundsPlan,
    trainer: &Trainer,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let participants = finished.question.participants().len();
    let releases = plan.training.releases(participants);
    if trainer.next() != releases.len() || finished.rounds.len() != releases.len() {
        return Err(format!(
            "study {} has {} rounds, but its plan has {}; nothing is written, take it up again with entente study resume",
            finished.id,
            finished.rounds.len(),
            releases.len()
        ));
    }
    let mut header = header(finished, notes(spec, plan));
    let settings = serde_json::to_value(&plan.training.method)
        .map_err(|error| format!("the method cannot be written ({error}); this is a bug, please report it"))?;
    let changes = trainer.evaluation().map(|evaluation| evaluation.changes.as_slice()).unwrap_or_default();
    let rounds: Vec<Round> =
        finished.rounds.iter().zip(&releases).map(|(record, release)| round(record, release, changes)).collect();
    let charged = |role: Role| -> Rho {
        let rounds = finished.rounds.iter().zip(&releases);
        rounds.filter(|(_, release)| release.role == role).map(|(record, _)| record.rho).sum()
    };
    let trained = Trained {
        sql: &spec.features,
        dataset: &plan.rows.dataset,
        privacy_unit: &plan.rows.privacy_unit,
        file: file(finished, &header, trainer),
        settings,
        evaluation: trainer.evaluation(),
        noise: trainer.noise(),
        charges: (charged(Role::Training), charged(Role::HeldOut)),
        holdout: f64::from(plan.holdout) / f64::from(MILLION),
        rounds,
    };
    header.warnings.extend(warnings(&trained));
    files(&header, &trained)
}

/// All files of the result, by name.
///
/// # Errors
///
/// If the model's parts do not fit one another, in words for the operator.
fn files(header: &Header<'_>, trained: &Trained<'_>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let unfit = |problem: String| format!("the model cannot be written ({problem}); this is a bug, please report it");
    let mut files: BTreeMap<String, Vec<u8>> = [
        (RESULT, json::write(header, trained)?),
        (MODEL, trained.file.to_bytes()),
        (ONNX, onnx::write(&trained.file).map_err(unfit)?),
        (REPORT, report::page(header, trained).into_string().into_bytes()),
    ]
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .collect();
    let mut tables = Vec::new();
    if let Some(evaluation) = trained.evaluation {
        tables.push(("metrics", flat::metrics(header.participants, evaluation)));
    }
    if matches!(trained.file.model.parameters, Parameters::Additive { .. }) {
        tables.push(("shapes", flat::shapes(&terms::terms(&trained.file.model, &trained.noise))));
    }
    for (name, table) in tables {
        files.insert(format!("{name}.csv"), table.csv().into_bytes());
        files.insert(format!("{name}.parquet"), table.parquet()?);
    }
    Ok(files)
}

fn round(record: &crate::store::RoundRecord, release: &Release, changes: &[Change]) -> Round {
    let change = changes.iter().find(|change| change.last == record.round);
    Round {
        round: record.round,
        name: release.name.clone(),
        customers: match release.role {
            Role::Training => "training",
            Role::HeldOut => "held-out",
        },
        rho: value(record.rho),
        seconds: record.seconds,
        participants: record.participants,
        attempt: record.attempt,
        repeated: record.repeated,
        held_out_change: change.map(|change| HeldOutChange {
            change: change.change,
            since_round: (change.first < change.last).then_some(change.first),
        }),
    }
}

/// As a result's header has it.
fn value(rho: Rho) -> f64 {
    rho.micro() as f64 / 1e6
}

fn file(finished: &Finished<'_>, header: &Header<'_>, trainer: &Trainer) -> ModelFile {
    let metrics = trainer.evaluation().map(|evaluation| evaluation.all.metrics.as_slice()).unwrap_or_default();
    ModelFile {
        format: FORMAT.into(),
        version: VERSION,
        study: Provenance {
            id: finished.id.into(),
            name: finished.study.name.clone(),
            purpose: finished.study.purpose.clone(),
            plan_sha256: header.study.plan_sha256,
        },
        participants: header.participants.to_vec(),
        privacy: Budget {
            scope: header.privacy.scope,
            epsilon: header.privacy.epsilon,
            delta: header.privacy.delta,
            rho: header.privacy.rho_micro,
            rho_person: header.privacy.rho_person_micro,
            colluders: header.privacy.colluders,
        },
        metrics: metrics.iter().map(|metric| (metric.name.to_owned(), metric.estimate)).collect(),
        transcript_sha256: header.transcript_sha256,
        receipt_sha256: Some(header.receipt_sha256),
        score_shares: trainer.evaluation().map(score_shares).unwrap_or_default(),
        model: trainer.model(),
    }
}

/// How scores lie, where an event is predicted: the points of the ROC curve by ascending score.
fn score_shares(evaluation: &Evaluation) -> Vec<ScoreShare> {
    let Detail::Event(curves) = &evaluation.detail else { return Vec::new() };
    let share = |point: &Point| ScoreShare {
        threshold: (point.threshold / (1.0 - point.threshold)).ln(),
        events: point.true_positives.value,
        others: point.false_positives.value,
    };
    let mut shares: Vec<ScoreShare> = curves.roc.iter().map(share).collect();
    shares.retain(|share| share.threshold.is_finite());
    shares.sort_by(|a, b| a.threshold.total_cmp(&b.threshold));
    shares.dedup_by(|a, b| a.threshold == b.threshold);
    shares
}

/// What released numbers say against the model.
fn warnings(trained: &Trained<'_>) -> Vec<String> {
    let mut warnings = trained.evaluation.map(poor).unwrap_or_default();
    warnings.extend(trained.evaluation.and_then(|evaluation| worse(&evaluation.changes)));
    let idle: Vec<String> = idle_features(trained).iter().map(|name| format!("`{name}`")).collect();
    if !idle.is_empty() {
        warnings.push(format!("The model hardly uses {}, or no more than noise explains.", idle.join(", ")));
    }
    let participants: BTreeSet<u32> = trained.rounds.iter().map(|round| round.participants).collect();
    if participants.len() > 1 {
        let counts: Vec<String> = participants.iter().map(u32::to_string).collect();
        warnings.push(format!(
            "Not all rounds had the same participants (their number was {}): a partner was lost on the way, and its \
             customers are in the earlier rounds only.",
            counts.join(" and ")
        ));
    }
    warnings
}

fn poor(evaluation: &Evaluation) -> Vec<String> {
    let mut warnings = Vec::new();
    let all = &evaluation.all;
    if all.metric("auc").is_some_and(|auc| auc.low <= 0.5) {
        warnings.push("On held-out customers the model is not measurably better than chance.".into());
    }
    if all.metric("r2").is_some_and(|r2| r2.low <= 0.0) {
        warnings.push("On held-out customers the model does not measurably explain more than the mean does.".into());
    }
    let customers = all.customers;
    if customers.high - customers.low > customers.value / 5.0 {
        warnings.push(format!(
            "There are few held-out customers for the noise of the evaluation ({} to {}), so its intervals are wide; a larger \
             share of the budget for the `evaluation`, or a larger `holdout`, would tell more.",
            customers.low, customers.high
        ));
    }
    if let Detail::Clusters { clusters } = &evaluation.detail {
        let empty = clusters.iter().enumerate().filter(|(_, cluster)| cluster.customers.low <= 0.0);
        let empty: Vec<String> = empty.map(|(i, _)| (i + 1).to_string()).collect();
        if !empty.is_empty() {
            warnings.push(format!("Clusters that may be empty, as far as the noise shows: {}.", empty.join(", ")));
        }
    }
    warnings
}

/// The rounds that made the model worse, if there are any.
fn worse(changes: &[Change]) -> Option<String> {
    let rounds = changes.iter().filter(|change| change.rose).map(|change| {
        let by = number::shown(&change.change, Style::Plain);
        let round = match change.first == change.last {
            true => format!("in round {}", change.last),
            false => format!("between rounds {} and {}", change.first, change.last),
        };
        format!("{round} by {} ({} to {})", by.value, by.low, by.high)
    });
    let rounds: Vec<String> = rounds.collect();
    (!rounds.is_empty()).then(|| {
        format!(
            "The model became worse for held-out customers where training should make it better: their loss rose {}, more \
             than the noise of the evaluation explains. Most likely a partner sent sums that are not its customers'; seldom \
             the round's own noise does it. Masks hide whose contribution it was. Look at the rounds in the report, and \
             train again without one partner after the other to find out; until then do not rely on the model.",
            rounds.join(", ")
        )
    })
}

/// See [`crate::kinds::notes`].
pub(super) fn notes(_: &TrainSpec, plan: &RoundsPlan) -> Vec<String> {
    let mut notes = Vec::new();
    match &plan.training.evaluation {
        Some(evaluation) => notes.push(format!(
            "{} % of customers are held out, and {} % of the budget is spent on evaluating the model on them.",
            f64::from(plan.holdout) / 1e4,
            f64::from(evaluation.share) / 1e4
        )),
        None => notes.push(
            "No customers are held out: nothing will say how well the model does on customers it has not seen.".into(),
        ),
    }
    notes.push("Every participant is sent the model, round after round.".into());
    if let Some((column, events)) = plan.weight {
        let name = plan.rows.outputs.get(column as usize).map_or("weight", |output| output.name.as_str());
        notes.push(format!(
            "{} count by `{name}` as a share of its declared maximum, and the model's probabilities are those among customers \
             counted so; metrics count customers, each as one.",
            if events { "Customers with the event" } else { "Customers" }
        ));
    }
    notes.push(
        "A customer for whom `features` yields several rows is left out, and so is one whose target is missing.".into(),
    );
    notes
}

/// See [`crate::kinds::expected_error`].
pub(super) fn expected_error(plan: &RoundsPlan, question: &Question) -> Vec<MeasureError> {
    let expected = || {
        plan.training.evaluation.as_ref()?;
        let mechanism = question.round(*question.rounds().end())?;
        let sd: Vec<f64> = (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect();
        evaluation::expected(&plan.training, TYPICAL_CUSTOMERS, &sd)
    };
    let measure = |metric: evaluation::Metric| MeasureError {
        name: metric.name.into(),
        half_width: (metric.estimate.high - metric.estimate.low) / 2.0,
        note: Some(format!("for a typical model and {TYPICAL_CUSTOMERS} held-out customers; with fewer it is wider")),
    };
    expected().map(measure).into_iter().collect()
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
