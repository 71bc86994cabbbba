//! The study kind `lookalike`: from counts of candidates by score to the reach.

use std::collections::BTreeMap;

use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::Mechanism;
use entente_protocols::privacy::rows::UNIT;
use entente_protocols::study::lookalike::{LookalikePlan, LookalikeSpec};

use super::{Finished, MeasureError, header};
use crate::results::reach::{self, Reach, Step};

/// The files of a lookalike study's result.
pub(super) fn finish(
    finished: &Finished<'_>,
    spec: &LookalikeSpec,
    plan: &LookalikePlan,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let round = finished.rounds.last().ok_or("the study has no round; run it again")?;
    let layout = finished.question.mechanism().layout();
    if round.sum.len() != layout.len() || round.sd.len() != layout.components().len() {
        return Err(format!("the sum of study {} is of another plan; nothing is written, run it again", finished.id));
    }
    let unit = f64::from(UNIT);
    let parts: Vec<Vec<f64>> =
        layout.ranges().into_iter().map(|range| round.sum[range].iter().map(|x| *x as f64 / unit).collect()).collect();
    let sd: Vec<f64> = round.sd.iter().map(|sd| sd / unit).collect();
    let (counts, noise) = (&parts[0], sd[0]);
    let total: f64 = counts.iter().sum();
    let all = Estimate::of_count(total, noise * (counts.len() as f64).sqrt());
    let candidates = match (parts.get(1), &plan.candidate_partners[..]) {
        (Some(owners), names) => {
            names.iter().zip(owners).map(|(name, count)| (name.clone(), Estimate::of_count(*count, sd[1]))).collect()
        }
        (None, names) => names.iter().map(|name| (name.clone(), all)).collect(),
    };
    let step = |(i, share): (usize, &entente_protocols::learn::file::ScoreShare)| {
        let above = &counts[i + 1..];
        let size = Estimate::of_count(above.iter().sum(), noise * (above.len() as f64).sqrt());
        let threshold = 1.0 / (1.0 + (-share.threshold).exp());
        Step { threshold, seeds: share.events, size, lift: lift(share.events, size, all) }
    };
    let reach = Reach {
        dataset: &plan.rows.dataset,
        privacy_unit: &plan.rows.privacy_unit,
        sql: &spec.features,
        seed_partner: &plan.seed_partner,
        predicts: &plan.model.predicts,
        model: &plan.model.study,
        candidates,
        steps: plan.model.shares.iter().enumerate().map(step).collect(),
        seconds: round.seconds,
    };
    reach::files(&header(finished), &reach)
}

/// Share of seeds over share of candidates. Its interval is that of the worst of both intervals, which covers at least as
/// often; at least one candidate is reckoned with.
fn lift(seeds: f64, size: Estimate, all: Estimate) -> Estimate {
    let over = |size: f64, all: f64| seeds * all.max(1.0) / size.max(1.0);
    Estimate { value: over(size.value, all.value), low: over(size.high, all.low), high: over(size.low, all.high) }
}

/// See [`super::expected_error`].
pub(super) fn expected_error(plan: &LookalikePlan, mechanism: &Mechanism) -> Vec<MeasureError> {
    let half_width = |cells: usize| {
        let sd = mechanism.total_sd(0) / f64::from(UNIT);
        Estimate::of_sum(0.0, sd * (cells as f64).sqrt()).high
    };
    vec![MeasureError {
        name: "size".into(),
        half_width: half_width(plan.cells().div_ceil(2)),
        note: Some(format!(
            "in the middle of the reach; {:.0} at its top, where few cells are added up",
            half_width(1)
        )),
    }]
}

/// See [`super::notes`].
pub(super) fn notes(plan: &LookalikePlan) -> Vec<String> {
    vec![
        format!(
            "Scores are written at {} alone, in the node's folder `audience`; only the reach is released.",
            plan.candidate_partners.join(" and ")
        ),
        format!(
            "Whoever learns the scores of many more customers than the model has weights can infer the model; {} lets it score \
             at most {} candidates of each partner.",
            plan.seed_partner, plan.candidates
        ),
        "A customer for whom `features` yields several rows is left out.".into(),
    ]
}
