//! The result folder: what a finished study leaves behind, as files in memory.
//!
//! ```text
//! Header + Asked + ResultTable ─▶ result.json, result.csv, result.parquet, report.html
//! ```
//!
//! Everything here is a pure function of a release and of public facts, so it costs nothing. `result.json`, the CSV and
//! the Parquet file hold numbers as they were released; the report and terminals round them to what their intervals
//! support.
//!
//! The receipt beside them names all of them: [`entente_protocols::ledger::receipt`].

pub mod json;
pub mod number;
pub mod onnx;

mod chart;
mod columnar;
mod csv;
pub mod model;
mod page;
pub mod reach;
mod report;

use std::collections::BTreeMap;

use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::language::expr::{DateUnit, Value, ValueType};
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use serde::Serialize;

/// The machine-readable result.
pub const RESULT: &str = "result.json";
/// The table for spreadsheets.
pub const CSV: &str = "result.csv";
/// The table for data tools.
pub const PARQUET: &str = "result.parquet";
/// The page for people.
pub const REPORT: &str = "report.html";

/// What every result says about its study, whatever its kind; the order of the fields is that of `result.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Header<'a> {
    /// The study.
    pub study: StudyPart<'a>,
    /// Who took part, sorted.
    pub participants: &'a [String],
    /// What was promised and what was spent.
    pub privacy: PrivacyPart,
    /// When it was submitted.
    pub started: jiff::Timestamp,
    /// When the result was there.
    pub finished: jiff::Timestamp,
    /// What a reader must know to not misread the numbers.
    pub warnings: Vec<String>,
    /// Hash of the transcript that all participants signed.
    pub transcript_sha256: Digest,
    /// Hash of the subject of the receipt, which names this file in turn.
    pub receipt_sha256: Digest,
    /// Whether this is an earlier release once more, at no charge.
    pub repeated: bool,
}

/// See [`Header::study`].
#[derive(Clone, Debug, Serialize)]
pub struct StudyPart<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Why it was made.
    pub purpose: &'a str,
    /// Its legal basis, where stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<&'a str>,
    /// Hash of the canonical plan.
    pub plan_sha256: Digest,
}

/// See [`Header::privacy`]. ρ is in its own unit, and in micro-units as decimal strings.
#[derive(Clone, Debug, Serialize)]
pub struct PrivacyPart {
    /// Whom the stated loss protects.
    pub scope: Scope,
    /// The ε that the study stated.
    pub epsilon: f64,
    /// Its δ.
    pub delta: f64,
    /// The charge, in the stated scope.
    pub rho: f64,
    /// The loss of a person who is a customer of every participant.
    pub rho_person: f64,
    /// [`Self::rho`] as every ledger has it.
    pub rho_micro: Rho,
    /// [`Self::rho_person`] likewise.
    pub rho_person_micro: Rho,
    /// The tight ε of the charge at δ; null where it is not finite.
    pub epsilon_spent: Option<f64>,
    /// The tight ε of the person reading at δ; null where it is not finite.
    pub epsilon_person: Option<f64>,
    /// How many participants may collude with the coordinator.
    pub colluders: u32,
    /// The mechanism's name.
    pub mechanism: &'static str,
}

/// What was asked, for people.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The SQL.
    pub sql: &'a str,
    /// The data set it is about.
    pub dataset: &'a str,
    /// The column that is one customer.
    pub privacy_unit: &'a str,
    /// Largest number of groups a customer may touch.
    pub max_groups: u32,
    /// Largest number of rows a customer may count with.
    pub max_rows: u32,
}

/// A table of estimates: one row per cell, in the order of the plan.
#[derive(Clone, Debug)]
pub struct ResultTable {
    /// The group keys.
    pub keys: Vec<Key>,
    /// The measures.
    pub measures: Vec<Measure>,
    /// Keys and measures in the order of the SELECT list.
    pub order: Vec<Output>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A group key's column.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// What its dates were cut down to, for dates.
    pub unit: Option<DateUnit>,
    /// Whether its values follow upon one another in time, so that a line through them means something.
    pub sequence: bool,
}

impl Key {
    /// How people write a value of this key: a month without its first day.
    pub fn label(&self, value: &Value) -> String {
        match (value, self.unit) {
            (Value::Date(day), Some(DateUnit::Month)) => day.date().strftime("%Y-%m").to_string(),
            (Value::Date(day), Some(DateUnit::Quarter)) => {
                let date = day.date();
                format!("{} Q{}", date.year(), (date.month() + 2) / 3)
            }
            (Value::Date(day), Some(DateUnit::Year)) => day.date().year().to_string(),
            _ => value.to_string(),
        }
    }
}

/// A measure's column.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// Whether its values are counts.
    pub whole: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Values of the keys, in the order of [`ResultTable::keys`].
    pub keys: Vec<Value>,
    /// Estimates, in the order of [`ResultTable::measures`].
    pub cells: Vec<Cell>,
}

/// One published number; always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The number and its interval.
    pub estimate: Estimate,
    /// False where the noise leaves nothing to say, and the interval is the whole declared range.
    pub known: bool,
}

impl ResultTable {
    /// The names of the columns, in the order of the SELECT list.
    pub fn columns(&self) -> Vec<&str> {
        let name = |output: &Output| match *output {
            Output::Group(key) => self.keys[key].name.as_str(),
            Output::Measure(measure) => self.measures[measure].name.as_str(),
        };
        self.order.iter().map(name).collect()
    }

    /// What identifies a row, in one line.
    fn label(&self, row: &Row) -> String {
        let labels: Vec<String> = self.keys.iter().zip(&row.keys).map(|(key, value)| key.label(value)).collect();
        labels.join(" · ")
    }

    /// The columns of a table that has only plain values: `m`, `m_low` and `m_high` for a measure `m`.
    ///
    /// Names are unique without regard to case, as data tools need: a name that another column has already gets
    /// underscores at its end.
    fn flat(&self) -> Vec<(String, Flat)> {
        let mut taken: Vec<String> = self.columns().iter().map(|name| name.to_lowercase()).collect();
        let mut free = |mut name: String| {
            while taken.contains(&name.to_lowercase()) {
                name.push('_');
            }
            taken.push(name.to_lowercase());
            name
        };
        let mut columns = Vec::new();
        for output in &self.order {
            match *output {
                Output::Group(key) => columns.push((self.keys[key].name.clone(), Flat::Key(key))),
                Output::Measure(measure) => {
                    let name = &self.measures[measure].name;
                    columns.push((name.clone(), Flat::Number(measure, |estimate| estimate.value)));
                    columns.push((free(format!("{name}_low")), Flat::Number(measure, |estimate| estimate.low)));
                    columns.push((free(format!("{name}_high")), Flat::Number(measure, |estimate| estimate.high)));
                }
            }
        }
        columns
    }
}

/// A column of plain values.
#[derive(Clone, Copy)]
enum Flat {
    /// A group key.
    Key(usize),
    /// A part of a measure's estimate.
    Number(usize, fn(&Estimate) -> f64),
}

/// All files of a result, by name.
pub fn files(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let files = [
        (RESULT, json::write(header, table)?),
        (CSV, csv::write(table).into_bytes()),
        (PARQUET, columnar::write(table)?),
        (REPORT, report::page(header, asked, table).into_string().into_bytes()),
    ];
    Ok(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect())
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
