//! The result of a lookalike study: how many candidates score at least so much.
//!
//! ```text
//! Header + Reach ─▶ result.json, reach.csv, reach.parquet, report.html
//! ```

use std::collections::BTreeMap;

use entente_protocols::language::expr::{Value, ValueType};
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::{CONFIDENCE, Estimate};
use maud::{Markup, html};
use serde::Serialize;

use crate::results::header::Header;
use crate::results::json::{self, EstimateView, cell};
use crate::results::table::{Cell, Key, Measure, ResultTable, Row};
use crate::results::{REPORT, RESULT, columnar, csv, page, rows};

/// The table for spreadsheets.
pub const CSV: &str = "reach.csv";
/// The table for data tools.
pub const PARQUET: &str = "reach.parquet";

/// What a lookalike study says besides its header.
pub struct Reach<'a> {
    /// The data set whose customers are candidates.
    pub dataset: &'a str,
    /// The column that is one customer.
    pub privacy_unit: &'a str,
    /// The features query.
    pub sql: &'a str,
    /// The partner that holds the model.
    pub seed_partner: &'a str,
    /// What its owner lets be opened of a candidate's score.
    pub output: &'static str,
    /// What the model predicts, and which study trained it.
    pub predicts: &'a str,
    /// The study that trained it.
    pub model: &'a str,
    /// How many candidates each partner has.
    pub candidates: Vec<(String, Estimate)>,
    /// The column whose values are segments, if there is one.
    pub segment: Option<&'a str>,
    /// By segment, and by ascending threshold.
    pub steps: Vec<Step>,
    /// Seconds that the one round took, from its beginning to the last vector.
    pub seconds: f64,
}

/// Candidates who score at least so much.
pub struct Step {
    /// The segment, where there are segments.
    pub segment: Option<String>,
    /// The lowest bucket that they are in, where scores are put into buckets.
    pub bucket: Option<u32>,
    /// The score, as a probability.
    pub threshold: f64,
    /// The share of customers with the event, among those whom the model was evaluated with, who score as much.
    pub seeds: f64,
    /// How many candidates, of the segment where there is one, do.
    pub size: Estimate,
    /// How many times the share of candidates that of the seeds is: what choosing by score gains over choosing by chance.
    pub lift: Estimate,
}

impl Reach<'_> {
    fn bucketed(&self) -> bool {
        self.steps.iter().any(|step| step.bucket.is_some())
    }
}

/// All files of a result, by name.
pub fn files(header: &Header<'_>, reach: &Reach<'_>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let table = flat(reach);
    let files = [
        (RESULT, document(header, reach)?),
        (CSV, csv::write(&table).into_bytes()),
        (PARQUET, columnar::write(&table)?),
        (REPORT, report(header, reach, &table).into_string().into_bytes()),
    ];
    Ok(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect())
}

/// Columns and rows of a `result.json` as text for people; `None` if it is not the result of a lookalike study.
pub fn table(result: &[u8]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let result: serde_json::Value = serde_json::from_slice(result).ok()?;
    let segments = result.get("segment").is_some();
    let number = |step: &serde_json::Value, name: &str| Some(format!("{:.3}", step.get(name)?.as_f64()?));
    let row = |step: &serde_json::Value| {
        let bucket = step.get("bucket").map(ToString::to_string);
        let (threshold, seeds) = (number(step, "threshold")?, number(step, "seeds")?);
        let segment = if segments { Some(cell(step.get("segment")?)?) } else { None };
        let rest = [threshold, seeds, cell(step.get("size")?)?, cell(step.get("lift")?)?];
        Some(segment.into_iter().chain(bucket).chain(rest).collect())
    };
    let rows = result.get("reach")?.as_array()?.iter().map(row).collect::<Option<Vec<Vec<String>>>>()?;
    let buckets = result.get("output").is_some_and(|output| output == "buckets");
    let columns = segments.then_some("segment").into_iter().chain(buckets.then_some("bucket"));
    let columns = columns.chain(["threshold", "seeds", "size", "lift"]);
    Some((columns.map(String::from).collect(), rows))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    header: &'a Header<'a>,
    confidence: f64,
    model: ModelView<'a>,
    output: &'a str,
    candidates: BTreeMap<&'a str, EstimateView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<&'a str>,
    reach: Vec<StepView<'a>>,
    timings: Timings,
}

#[derive(Serialize)]
struct ModelView<'a> {
    study: &'a str,
    predicts: &'a str,
    seed_partner: &'a str,
}

#[derive(Serialize)]
struct StepView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<u32>,
    threshold: f64,
    seeds: f64,
    size: EstimateView,
    lift: EstimateView,
}

#[derive(Serialize)]
struct Timings {
    seconds: f64,
}

fn document(header: &Header<'_>, reach: &Reach<'_>) -> Result<Vec<u8>, String> {
    fn step(step: &Step) -> StepView<'_> {
        StepView {
            segment: step.segment.as_deref(),
            bucket: step.bucket,
            threshold: step.threshold,
            seeds: step.seeds,
            size: step.size.into(),
            lift: step.lift.into(),
        }
    }
    let document = Document {
        header,
        confidence: CONFIDENCE,
        model: ModelView { study: reach.model, predicts: reach.predicts, seed_partner: reach.seed_partner },
        output: reach.output,
        candidates: reach.candidates.iter().map(|(name, count)| (name.as_str(), (*count).into())).collect(),
        segment: reach.segment,
        reach: reach.steps.iter().map(step).collect(),
        timings: Timings { seconds: reach.seconds },
    };
    json::write(&document)
}

fn flat(reach: &Reach<'_>) -> ResultTable {
    let key = |name: &str| Key { name: name.into(), value_type: ValueType::Float, unit: None, sequence: true };
    let segment = Key { name: "segment".into(), value_type: ValueType::Text, unit: None, sequence: false };
    let bucket = Key { name: "bucket".into(), value_type: ValueType::Int, unit: None, sequence: true };
    let keys: Vec<Key> = (reach.segment.map(|_| segment).into_iter())
        .chain(reach.bucketed().then_some(bucket))
        .chain(["threshold", "seeds"].map(key))
        .collect();
    let row = |step: &Step| Row {
        keys: (step.segment.clone().map(Value::Text).into_iter())
            .chain(step.bucket.map(|bucket| Value::Int(bucket.into())))
            .chain([step.threshold, step.seeds].map(Value::Float))
            .collect(),
        cells: vec![Cell { estimate: step.size, known: true }, Cell { estimate: step.lift, known: true }],
    };
    ResultTable {
        measures: vec![Measure { name: "size".into(), whole: true }, Measure { name: "lift".into(), whole: false }],
        order: (0..keys.len()).map(Output::Group).chain([Output::Measure(0), Output::Measure(1)]).collect(),
        keys,
        rows: reach.steps.iter().map(row).collect(),
    }
}

fn report(header: &Header<'_>, reach: &Reach<'_>, table: &ResultTable) -> Markup {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let body = html! {
        (page::heading(header, "Result of a lookalike study"))
        (page::asked_for(header, reach.dataset, reach.sql))
        section aria-labelledby="model" {
            h2 id="model" { "Whose model, whose customers" }
            p {
                "The model is held by " strong { (reach.seed_partner) } ", predicts " code { (reach.predicts) }
                ", and was trained by study " code { (reach.model) } ". It scored the customers of "
                @for (i, (name, count)) in reach.candidates.iter().enumerate() {
                    @if i > 0 { ", " }
                    strong { (name) } " (" (count.value) ", " (count.low) " to " (count.high) ")"
                }
                " under encryption: their " (reach.output) " are known there alone, and the model to nobody else."
            }
        }
        (page::privacy(header, reach.privacy_unit))
        (rows::section(table, [CSV, PARQUET]))
        section aria-labelledby="reading" {
            h2 id="reading" { "How to read it" }
            p {
                @if reach.bucketed() { "Each row has a bucket with the score that it begins at" } @else { "Each row has a score" }
                ", the share of customers with the event (the seeds) who score at least that, and how many "
                "candidates do. Lift is how many times the share of candidates that of the seeds is."
                @if let Some(segment) = reach.segment {
                    " Segments are the values of " code { (segment) } "; sizes and lift are those of a segment's own candidates."
                } @else if let Some(step) = reach.steps.iter().min_by(|a, b| (a.seeds - 0.5).abs().total_cmp(&(b.seeds - 0.5).abs())) {
                    " At " (format!("{:.3}", step.threshold)) " about " (percent(step.seeds)) " of the seeds are reached, and "
                    (step.size.value) " candidates."
                }
            }
        }
        (page::warnings(header))
        (page::record(header))
    };
    page::page(header, &body)
}
