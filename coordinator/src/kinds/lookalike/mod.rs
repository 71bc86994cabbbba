//! The study kind `lookalike`: from counts of candidates by score to the reach.

mod reach;

use std::collections::BTreeMap;

use entente_protocols::learn::file::ScoreShare;
use entente_protocols::learn::recipe::Values;
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::Mechanism;
use entente_protocols::privacy::rows::UNIT;
use entente_protocols::study::lookalike::LookalikeSpec;
use entente_protocols::study::plans::score::{BUCKET_MILLIS, Output, ScorePlan};

use super::finished::{Finished, MeasureError, header};
use reach::{Reach, Step};

pub(super) use reach::table;

/// The files of a lookalike study's result.
pub(super) fn finish(
    finished: &Finished<'_>,
    spec: &LookalikeSpec,
    plan: &ScorePlan,
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
    let of = |cells: &[f64]| Estimate::of_count(cells.iter().sum(), noise * (cells.len() as f64).sqrt());
    let candidates = match (parts.get(1), &plan.scoring.candidate_partners[..]) {
        (Some(owners), names) => {
            names.iter().zip(owners).map(|(name, count)| (name.clone(), Estimate::of_count(*count, sd[1]))).collect()
        }
        (None, names) => names.iter().map(|name| (name.clone(), of(counts))).collect(),
    };
    let bucketed = matches!(plan.scoring.output, Output::Buckets(_));
    let thresholds = plan.scoring.steps();
    let segment = |(segment, counts): (Option<String>, &[f64])| {
        let all = of(counts);
        let step = |(i, share): (usize, &ScoreShare)| {
            let size = of(&counts[i + 1..]);
            let threshold = 1.0 / (1.0 + (-share.threshold).exp());
            let bucket = bucketed.then_some(i as u32 + 1);
            let lift = lift(share.events, size, all);
            Step { segment: segment.clone(), bucket, threshold, seeds: share.events, size, lift }
        };
        thresholds.iter().enumerate().map(step).collect::<Vec<_>>()
    };
    let mut by_segment: Vec<(Option<String>, &[f64])> =
        names(plan).into_iter().zip(counts.chunks(plan.scoring.scores())).collect();
    // Whoever has no segment comes last.
    by_segment.rotate_left(1);
    let reach = Reach {
        dataset: &plan.rows.dataset,
        privacy_unit: &plan.rows.privacy_unit,
        sql: &spec.features,
        seed_partner: &plan.scoring.seed_partner,
        output: plan.scoring.output.name(),
        predicts: &plan.scoring.model.predicts,
        model: &plan.scoring.model.study,
        candidates,
        segment: plan.segment_output().map(|segment| segment.name.as_str()),
        steps: by_segment.into_iter().flat_map(segment).collect(),
        seconds: round.seconds,
    };
    reach::files(&header(finished, notes(spec, plan)), &reach)
}

/// What segments are called, by code; one without a name where there are none.
fn names(plan: &ScorePlan) -> Vec<Option<String>> {
    let named = |values: Vec<String>| {
        // As models call it, unless a value is called so.
        let mut missing = "missing".to_owned();
        while values.contains(&missing) {
            missing.push('_');
        }
        std::iter::once(missing).chain(values).map(Some).collect()
    };
    match plan.segment_output().map(|segment| &segment.values) {
        None => vec![None],
        Some(Values::Category { values }) => named(values.clone()),
        Some(Values::Bool) => named(["false", "true"].map(String::from).to_vec()),
        // The planner makes no such segment.
        Some(Values::Number { .. } | Values::Date { .. }) => Vec::new(),
    }
}

/// Share of seeds over share of candidates. Its interval is that of the worst of both intervals, which covers at least as
/// often; at least one candidate is reckoned with, and where there may be none, as many as the middle of the interval.
fn lift(seeds: f64, size: Estimate, all: Estimate) -> Estimate {
    let over = |size: f64, all: f64| seeds * all.max(1.0) / size.max(1.0);
    let likely = if size.low > 0.0 { size.value } else { (size.low + size.high) / 2.0 };
    Estimate { value: over(likely, all.value), low: over(size.high, all.low), high: over(size.low, all.high) }
}

/// See [`crate::kinds::expected_error`].
pub(super) fn expected_error(plan: &ScorePlan, mechanism: &Mechanism) -> Vec<MeasureError> {
    let half_width = |cells: usize| {
        let sd = mechanism.total_sd(0) / f64::from(UNIT);
        Estimate::of_sum(0.0, sd * (cells as f64).sqrt()).high
    };
    vec![MeasureError {
        name: "size".into(),
        half_width: half_width(plan.scoring.scores().div_ceil(2)),
        note: Some(format!(
            "in the middle of the reach{}; {:.0} at its top, where few cells are added up",
            plan.segment_output().map_or_else(String::new, |segment| format!(" of each value of `{}`", segment.name)),
            half_width(1)
        )),
    }]
}

/// See [`crate::kinds::notes`].
pub(super) fn notes(spec: &LookalikeSpec, plan: &ScorePlan) -> Vec<String> {
    let (opened, most) = (plan.scoring.output.name(), plan.scoring.candidates);
    let mut notes = vec![
        format!(
            "The {opened} are written at {} alone, in the node's folder `audience`; only the reach is released.",
            plan.scoring.candidate_partners.join(" and ")
        ),
        format!(
            "Whoever learns the {opened} of many more customers than the model has weights can infer the model; {} lets it score \
             at most {} candidates of each partner.",
            plan.scoring.seed_partner, most
        ),
        "A customer for whom `features` yields several rows is left out.".into(),
    ];
    if plan.scoring.candidate_partners.contains(&plan.scoring.seed_partner) {
        let seeds = if spec.leave_out.is_some() {
            "leaves out those who are seeds"
        } else {
            "leaves nobody out; `leave_out` names whom to"
        };
        notes.push(format!(
            "{} scores its own customers itself, with its own model, and {seeds}.",
            plan.scoring.seed_partner
        ));
    }
    if let Output::Buckets(asked) = plan.scoring.output {
        let minutes = plan.scoring.output.seconds(most).div_ceil(60);
        notes.push(format!(
            "A candidate's bucket takes some {BUCKET_MILLIS} ms of one core of its own partner's machine, {most} of them some {minutes} \
             minutes of one core; `wait_seconds` is how long is waited for that."
        ));
        let there = plan.scoring.scores();
        if there < asked as usize {
            notes.push(format!("The model distinguishes too few scores for {asked} buckets: there are {there}."));
        }
    }
    notes.extend(plan.segment_output().map(|segment| {
        format!(
            "The reach is given for each of {} values of `{}`, one of which is for customers without a declared value; each has the \
             noise that the whole would have, and lift compares with the candidates of that value.",
            plan.segments(),
            segment.name
        )
    }));
    notes
}

#[cfg(test)]
mod tests {
    use entente_protocols::digest::Digest;
    use entente_protocols::language::schema::{ColumnType, DatasetSchema};
    use entente_protocols::learn::recipe::{Feature, Recipe, Values};
    use entente_protocols::lookalike::model::PublicModel;
    use entente_protocols::study::{Question, Study};
    use entente_protocols::testing;

    use super::{Output, ScoreShare, reach};
    use crate::kinds::{Finished, RoundState, expected_error, finish, notes, table};
    use crate::results::{REPORT, RESULT};
    use crate::store::RoundRecord;

    fn study(candidates: &[&str], output: Output, segment: Option<&str>) -> (Study, Question) {
        let share = |threshold: f64, events: f64| ScoreShare { threshold, events, others: 0.1 };
        let model = PublicModel {
            study: "m-0001".into(),
            sha256: Digest::ZERO,
            content: Digest::ZERO,
            predicts: "churned".into(),
            recipe: Recipe { features: vec![Feature { name: "active".into(), values: Values::Bool }] },
            recoding: None,
            additive: false,
            pairs: Vec::new(),
            shares: vec![share(-1.0, 0.9), share(0.0, 0.6), share(2.0, 0.2)],
        };
        let spec = super::LookalikeSpec {
            seed_partner: "retailer".into(),
            model,
            candidate_partners: candidates.iter().map(|name| (*name).to_owned()).collect(),
            features: "SELECT id, active FROM customers".into(),
            leave_out: None,
            segment: segment.map(String::from),
            candidates: 10_000,
            output,
        };
        let study = Study { name: "like-gold <b>".into(), purpose: "Who is alike?".into(), ..testing::lookalike(spec) };
        let region = ColumnType::Category { values: ["north", "missing"].map(String::from).to_vec() };
        let columns = [("active".to_owned(), ColumnType::Bool), ("region".to_owned(), region)].into();
        let schema = DatasetSchema { name: "customers".into(), privacy_unit: "id".into(), columns };
        let question = Question::new(&study, &schema, &study.partners, 0).unwrap();
        (study, question)
    }

    fn finished(candidates: &[&str], counts: &[i64]) -> Result<super::BTreeMap<String, Vec<u8>>, String> {
        opened(candidates, Output::Scores, None, counts)
    }

    fn opened(
        candidates: &[&str],
        output: Output,
        segment: Option<&str>,
        counts: &[i64],
    ) -> Result<super::BTreeMap<String, Vec<u8>>, String> {
        let (study, question) = study(candidates, output, segment);
        let mechanism = question.mechanism();
        let rounds = [RoundRecord {
            round: 1,
            attempt: 1,
            participants: mechanism.participants(),
            plan: question.plan_digest(),
            transcript: Digest::ZERO,
            repeated: false,
            rho: mechanism.rho(),
            rho_person: mechanism.rho_person(),
            sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
            sum: counts.iter().map(|count| count * i64::from(super::UNIT)).collect(),
            seconds: 0.5,
        }];
        finish(&Finished {
            id: "s-0001",
            study: &study,
            question: &question,
            state: &RoundState::Score,
            rounds: &rounds,
            lost: &[],
            started: "2026-03-01T12:00:00Z".parse().unwrap(),
            finished: "2026-03-01T12:03:20Z".parse().unwrap(),
            warnings: &[],
            receipt: Digest::ZERO,
        })
    }

    /// Counts in cells become counts above thresholds, with intervals that cover their noise.
    #[test]
    fn counts_by_score_become_the_reach() {
        let files = finished(&["telecom", "bank"], &[5000, 3000, 1500, 500, 4000, 6000]).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
        let steps = result["reach"].as_array().unwrap();
        let column =
            |path: &str| steps.iter().map(|step| step.pointer(path).unwrap().as_f64().unwrap()).collect::<Vec<_>>();
        assert_eq!(column("/size/value"), [5000.0, 2000.0, 500.0]);
        assert_eq!(column("/seeds"), [0.9, 0.6, 0.2]);
        let expected = [0.9 / 0.5, 0.6 / 0.2, 0.2 / 0.05];
        assert!(column("/lift/value").iter().zip(expected).all(|(lift, expected)| (lift - expected).abs() < 1e-9));
        for path in ["/size", "/lift"] {
            let ends = ["low", "value", "high"].map(|end| column(&format!("{path}/{end}")));
            assert!((0..3).all(|step| ends[0][step] < ends[1][step] && ends[1][step] < ends[2][step]), "{ends:?}");
        }
        // More cells are added up for lower thresholds, and so more noise.
        let width = |step: usize| column("/size/high")[step] - column("/size/low")[step];
        assert!(width(0) > width(2));
        let half = column("/threshold")[1];
        assert!((half - 0.5).abs() < 1e-12, "log-odds of 0");
        assert_eq!(result["candidates"]["bank"]["value"], 4000);
        assert_eq!(result["candidates"]["telecom"]["value"], 6000);
        assert_eq!(result["privacy"]["mechanism"], "distributed discrete Gaussian");
        let csv = String::from_utf8(files[reach::CSV].clone()).unwrap();
        assert!(csv.starts_with("threshold,seeds,size,size_low,size_high,lift,lift_low,lift_high\r\n"), "{csv}");
        assert_eq!(csv.lines().count(), 4);
        assert!(!files[reach::PARQUET].is_empty());
        let report = String::from_utf8(files[REPORT].clone()).unwrap();
        assert!(report.contains("retailer") && report.contains("like-gold &lt;b&gt;") && !report.contains("<script"));
        let table = table(&files[RESULT]).unwrap();
        assert_eq!(table.columns, ["threshold", "seeds", "size", "lift"]);
        assert_eq!(table.rows.len(), 3);
    }

    /// Counts by bucket are counted up, each bucket with the score that it begins at.
    #[test]
    fn counts_by_bucket_become_the_reach() {
        let files = opened(&["telecom"], Output::Buckets(2), None, &[700, 300]).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
        let steps = result["reach"].as_array().unwrap();
        // Of the model's shares of seeds the one nearest to a half.
        assert_eq!(
            (&steps[0]["bucket"], &steps[0]["seeds"], &steps[0]["size"]["value"]),
            (&1.into(), &0.6.into(), &300.into())
        );
        assert_eq!((steps.len(), &result["output"]), (1, &"buckets".into()));
        let csv = String::from_utf8(files[reach::CSV].clone()).unwrap();
        assert!(csv.starts_with("bucket,threshold,seeds,size,"), "{csv}");
        assert_eq!(table(&files[RESULT]).unwrap().columns, ["bucket", "threshold", "seeds", "size", "lift"]);
        assert!(opened(&["telecom"], Output::Buckets(2), None, &[1, 2, 3]).unwrap_err().contains("another plan"));
    }

    #[test]
    fn one_owner_has_all_candidates_and_noise_of_its_own() {
        let files = finished(&["telecom"], &[100, 0, -3, 2]).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
        assert_eq!(result["candidates"]["telecom"]["value"], 99);
        assert_eq!(result["privacy"]["mechanism"], "discrete Gaussian");
        assert_eq!(result["privacy"]["colluders"], 0);
        let sizes = result["reach"].as_array().unwrap();
        assert!(sizes.iter().all(|step| step["size"]["low"].as_f64() >= Some(0.0)), "counts are not negative");
        let last = |path: &str| sizes[2].pointer(path).unwrap().as_f64().unwrap();
        assert!((last("/lift/value") - 0.2 * 99.0 / (last("/size/high") / 2.0)).abs() < 1e-9, "of next to nobody");
        assert!(finished(&["telecom"], &[1, 2]).unwrap_err().contains("another plan"));
    }

    #[test]
    fn its_error_and_what_to_mind_are_told_beforehand() {
        let (study, question) = study(&["telecom", "bank"], Output::Scores, None);
        let errors = expected_error(&question);
        assert!(errors[0].name == "size" && errors[0].half_width > 10.0 && errors[0].half_width < 10_000.0);
        let said = notes(&study, &question).join(" ");
        assert!(said.contains("bank and telecom alone") && said.contains("10000 candidates"), "{said}");
        let (study, by_segment) = self::study(&["telecom", "bank"], Output::Scores, Some("region"));
        let segments = expected_error(&by_segment);
        assert_eq!(segments[0].half_width, errors[0].half_width, "of one segment, as of the whole without them");
        assert!(segments[0].note.as_ref().is_some_and(|note| note.contains("each value of `region`")));
        assert!(notes(&study, &by_segment).join(" ").contains("each of 3 values of `region`"));
        let (bucketed, question) = self::study(&["telecom"], Output::Buckets(16), None);
        let said = notes(&bucketed, &question).join(" ");
        assert!(said.contains("5 minutes") && said.contains("there are 4"), "{said}");
    }

    /// Each segment has a reach of its own, against its own candidates.
    #[test]
    fn segments_have_a_reach_each() {
        // By code: missing, north, and the one that is called `missing`.
        let counts = [0, 0, 0, 7, 100, 200, 300, 400, 4000, 3000, 2000, 1000];
        let files = opened(&["telecom"], Output::Scores, Some("region"), &counts).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
        assert_eq!((&result["segment"], &result["candidates"]["telecom"]["value"]), (&"region".into(), &11_007.into()));
        let steps = result["reach"].as_array().unwrap();
        let rows: Vec<(&str, i64)> = steps
            .iter()
            .map(|step| (step["segment"].as_str().unwrap(), step["size"]["value"].as_i64().unwrap()))
            .collect();
        let expected = |name, sizes: [i64; 3]| sizes.map(|size| (name, size));
        let segments = [
            expected("north", [900, 700, 400]),
            expected("missing", [6000, 3000, 1000]),
            expected("missing_", [7, 7, 7]),
        ];
        assert_eq!(rows, segments.concat());
        let lift = steps[1]["lift"]["value"].as_f64().unwrap();
        assert!((lift - 0.6 / 0.7).abs() < 1e-9, "{lift}");
        let csv = String::from_utf8(files[reach::CSV].clone()).unwrap();
        assert!(csv.starts_with("segment,threshold,seeds,size,"), "{csv}");
        assert!(csv.lines().nth(9).unwrap().starts_with("missing_,"), "{csv}");
        let table = table(&files[RESULT]).unwrap();
        assert_eq!((table.columns[0].as_str(), table.rows[0][0].as_str(), table.rows.len()), ("segment", "north", 9));
        let report = String::from_utf8(files[REPORT].clone()).unwrap();
        assert!(report.contains("missing_") && report.contains("region"));
        // Without segments nothing is said of them.
        let whole = String::from_utf8(finished(&["telecom"], &[1, 2, 3, 4]).unwrap()[RESULT].clone()).unwrap();
        assert!(!whole.contains("segment"));
    }
}
