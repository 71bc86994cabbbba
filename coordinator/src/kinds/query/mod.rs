//! The study kind `query`: from the sum of all vectors to a table, and what can be told before.

mod json;
mod report;

use std::collections::BTreeMap;

use entente_protocols::language::expr::{Expr, ValueType};
use entente_protocols::language::sums::{BaseSum, GroupKey, MeasureKind, ShownKey, SumsPlan};
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::Mechanism;
use entente_protocols::study::query::QuerySpec;
use entente_protocols::study::query::outcome;

use super::finished::{Finished, MeasureError, header};
use crate::results::header::Header;
use crate::results::table::{Cell, Key, Measure, ResultTable, Row};
use crate::results::{REPORT, RESULT, columnar, csv};
use report::{Asked, CSV, PARQUET};

pub(super) use json::table;

/// The number of rows for which the error of an average is told.
const TYPICAL_ROWS: f64 = 1000.0;

/// The files of a query's result.
pub(super) fn finish(
    finished: &Finished<'_>,
    spec: &QuerySpec,
    plan: &SumsPlan,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let sum = finished.rounds.last().map(|round| round.sum.as_slice()).unwrap_or_default();
    let rows = outcome::rows(plan, finished.question.mechanism(), sum).ok_or_else(|| {
        format!(
            "the sum of study {} has {} numbers, but its plan asks for {} × {}; nothing is written, run it again: the \
             partners send what they stored, at no charge",
            finished.id,
            sum.len(),
            plan.sums.len(),
            plan.cells()
        )
    })?;
    let asked = Asked {
        sql: &spec.sql,
        dataset: &plan.dataset,
        privacy_unit: &plan.privacy_unit,
        max_groups: plan.max_groups,
        max_rows: plan.max_rows,
    };
    files(&header(finished, notes(spec, plan)), asked, &estimates(plan, rows))
}

/// All files of the result, by name.
fn files(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let files = [
        (RESULT, json::write(header, table)?),
        (CSV, csv::write(table).into_bytes()),
        (PARQUET, columnar::write(table)?),
        (REPORT, report::page(header, asked, table).into_string().into_bytes()),
    ];
    Ok(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect())
}

/// See [`crate::kinds::expected_error`].
pub(super) fn expected_error(plan: &SumsPlan, mechanism: &Mechanism) -> Vec<MeasureError> {
    let half_widths = outcome::expected_error(plan, mechanism, TYPICAL_ROWS);
    let error = |(measure, half_width): (&entente_protocols::language::sums::Measure, f64)| MeasureError {
        name: measure.name.clone(),
        half_width,
        note: match measure.kind {
            MeasureKind::CountRows { .. } | MeasureKind::CountCustomers { .. } | MeasureKind::Sum { .. } => None,
            MeasureKind::Average { .. } => Some(format!(
                "for a group of {TYPICAL_ROWS} rows whose average lies in the middle of the range; with fewer rows it \
                 is wider, in proportion"
            )),
        },
    };
    plan.shown.measures.iter().zip(half_widths).map(error).collect()
}

/// See [`crate::kinds::notes`].
pub(super) fn notes(spec: &QuerySpec, plan: &SumsPlan) -> Vec<String> {
    let mut notes = Vec::new();
    let grouped = plan.cells() > 1;
    if spec.max_groups.is_none() && grouped {
        notes.push(
            "`max_groups_per_customer` is not stated, so 1 is used: a customer with rows in several groups counts in \
             one of them only."
                .to_owned(),
        );
    }
    // The number of customers does not depend on it.
    let rows_count = plan.sums.iter().any(|sum| !matches!(sum, BaseSum::Customers));
    if spec.max_rows.is_none() && rows_count {
        notes.push(
            "`max_rows_per_customer` is not stated, so 1 is used: a customer with several rows counts with the weight \
             of one row."
                .to_owned(),
        );
    }
    if !plan.groups.is_empty() {
        let names: Vec<String> = plan.shown.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        notes.push(format!(
            "Rows where {} is NULL or not one of its public values belong to no group and are left out.",
            names.join(" or ")
        ));
    }
    notes
}

fn estimates(plan: &SumsPlan, rows: Vec<outcome::Row>) -> ResultTable {
    let measure = |measure: &entente_protocols::language::sums::Measure| Measure {
        name: measure.name.clone(),
        whole: match measure.kind {
            MeasureKind::CountRows { .. } | MeasureKind::CountCustomers { .. } => true,
            MeasureKind::Sum { .. } | MeasureKind::Average { .. } => false,
        },
    };
    let row = |row: outcome::Row| Row {
        keys: row.keys,
        cells: plan
            .shown
            .measures
            .iter()
            .zip(row.measures)
            .map(|(measure, estimate)| cell(plan, &measure.kind, estimate))
            .collect(),
    };
    ResultTable {
        keys: plan.shown.keys.iter().map(|shown| key(shown, &plan.groups[shown.group])).collect(),
        measures: plan.shown.measures.iter().map(measure).collect(),
        order: plan.shown.outputs.clone(),
        rows: rows.into_iter().map(row).collect(),
    }
}

fn key(shown: &ShownKey, group: &GroupKey) -> Key {
    // A key has at least one value; one without could not be typed, and has no rows either.
    let value_type = group.domain.first().map_or(ValueType::Text, |value| value.value_type());
    let unit = match &group.expr {
        Expr::DateTrunc(unit, _) => Some(*unit),
        _ => None,
    };
    let sequence = value_type == ValueType::Date || matches!(group.expr, Expr::DatePart(..));
    Key { name: shown.name.clone(), value_type, unit, sequence }
}

/// An estimate as it is published: always finite. The planner's bounds on values keep it so already; but JSON has no word
/// for what is not, and here is where it would be written.
fn cell(plan: &SumsPlan, kind: &MeasureKind, estimate: Estimate) -> Cell {
    let finite = |x: f64, otherwise: f64| if x.is_nan() { otherwise } else { x.clamp(f64::MIN, f64::MAX) + 0.0 };
    let within = |lowest: f64, middle: f64, highest: f64| Estimate {
        value: finite(estimate.value, middle),
        low: finite(estimate.low, lowest),
        high: finite(estimate.high, highest),
    };
    match kind {
        MeasureKind::CountRows { .. } | MeasureKind::CountCustomers { .. } | MeasureKind::Sum { .. } => {
            Cell { estimate: within(f64::MIN, 0.0, f64::MAX), known: true }
        }
        MeasureKind::Average { sum, .. } => match plan.sums[*sum] {
            BaseSum::Values { low, high, center, .. } => {
                let estimate = within(low, center, high);
                Cell { estimate, known: low == high || estimate.low > low || estimate.high < high }
            }
            BaseSum::Rows | BaseSum::Customers | BaseSum::Present(_) => {
                Cell { estimate: within(f64::MIN, 0.0, f64::MAX), known: true }
            }
        },
    }
}

#[cfg(test)]
mod tests;
