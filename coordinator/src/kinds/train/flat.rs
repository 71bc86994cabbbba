//! Tables of plain values, as CSV and as Parquet.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use entente_host::csv;
use entente_protocols::learn::evaluation::{Evaluation, Performance};
use entente_protocols::privacy::interval::Estimate;

use super::terms::Term;
use crate::results::columnar;

/// A table.
pub(super) struct Flat(Vec<(&'static str, Values)>);

enum Values {
    Texts(Vec<String>),
    /// `None` is NULL.
    Numbers(Vec<Option<f64>>),
}

impl Flat {
    /// As CSV.
    pub(super) fn csv(&self) -> String {
        let mut text = String::new();
        csv::line(&mut text, self.0.iter().map(|(name, _)| (*name).to_owned()));
        let rows = self.0.first().map_or(0, |(_, values)| values.len());
        for row in 0..rows {
            csv::line(&mut text, self.0.iter().map(|(_, values)| values.field(row)));
        }
        text
    }

    /// As Parquet.
    pub(super) fn parquet(&self) -> Result<Vec<u8>, String> {
        let array = |values: &Values| -> ArrayRef {
            match values {
                Values::Texts(texts) => Arc::new(StringArray::from_iter_values(texts)),
                Values::Numbers(numbers) => Arc::new(Float64Array::from_iter(numbers.iter().copied())),
            }
        };
        let arrays: Vec<ArrayRef> = self.0.iter().map(|(_, values)| array(values)).collect();
        let fields = self.0.iter().zip(&arrays);
        let fields =
            fields.map(|((name, _), array)| Field::new(*name, array.data_type().clone(), array.null_count() > 0));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let bug = |problem: String| {
            format!("a table cannot be written as Parquet ({problem}); this is a bug, please report it")
        };
        let batch = RecordBatch::try_new(Arc::new(schema), arrays).map_err(|error| bug(error.to_string()))?;
        columnar::bytes(&batch).map_err(|error| bug(error.to_string()))
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    fn field(&self, row: usize) -> String {
        match self {
            Self::Texts(texts) => csv::quoted(&texts[row]),
            Self::Numbers(numbers) => numbers[row].map_or_else(String::new, |number| number.to_string()),
        }
    }
}

/// Metrics of all held-out customers, and of each participant's.
pub(super) fn metrics(participants: &[String], evaluation: &Evaluation) -> Flat {
    let all = std::iter::once(("all", &evaluation.all));
    let each = participants.iter().map(String::as_str).zip(&evaluation.partners);
    let (mut whose, mut names, mut parts) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for (participant, performance) in all.chain(each) {
        for (name, Estimate { value, low, high }) in named(performance) {
            whose.push(participant.to_owned());
            names.push(name.to_owned());
            parts.iter_mut().zip([value, low, high]).for_each(|(part, number)| part.push(Some(number)));
        }
    }
    let [value, low, high] = parts.map(Values::Numbers);
    Flat(vec![
        ("customers_of", Values::Texts(whose)),
        ("metric", Values::Texts(names)),
        ("value", value),
        ("low", low),
        ("high", high),
    ])
}

/// All numbers of a performance, how many customers it is about at the end.
pub(super) fn named(performance: &Performance) -> Vec<(&'static str, Estimate)> {
    let metrics = performance.metrics.iter().map(|metric| (metric.name, metric.estimate));
    metrics.chain([("customers", performance.customers)]).collect()
}

/// What each level of each feature adds to the score.
pub(super) fn shapes(terms: &[Term]) -> Flat {
    let levels = || terms.iter().flat_map(|term| term.levels.iter().map(move |level| (term, level)));
    let end = |end: fn((f64, f64)) -> f64| Values::Numbers(levels().map(|(_, level)| level.bounds.map(end)).collect());
    Flat(vec![
        ("feature", Values::Texts(levels().map(|(term, _)| term.feature.clone()).collect())),
        ("level", Values::Texts(levels().map(|(_, level)| level.label.clone()).collect())),
        ("low", end(|(low, _)| low)),
        ("high", end(|(_, high)| high)),
        ("value", Values::Numbers(levels().map(|(_, level)| Some(level.value)).collect())),
        ("noise_sd", Values::Numbers(levels().map(|(_, level)| level.noise).collect())),
    ])
}
