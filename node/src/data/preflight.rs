//! A look at all rows for the node's own staff, before any study: is the data what the schema says?
//!
//! A report is about real rows. It is shown at the node and goes nowhere else.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use arrow_array::ArrayRef;
use entente_host::locks::{into_inner, lock};
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::privacy::bounds::CustomerCell;
use entente_tables::read::{ColumnReader, absent};
use entente_tables::texts::Texts;
use entente_tables::vector::Vector;

use super::bounding::Sink;
use super::consent::predicate::Consent;
use super::dataset::{Dataset, problems};
use super::engine::Engine;
use super::error::DataError;
use super::options::Options;
use super::pass::{Shape, execute};
use super::rows::{RowSource, Rows};
use super::workers::background;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Studies would run, with poorer results than the data allows.
    Warning,
    /// No study can run, or its results would be wrong.
    Error,
}

/// Something to be repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// The column it is about, if it is about one.
    pub column: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

/// How well one declared column's values fit its declaration. All numbers are numbers of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// The declaration.
    pub declared: ColumnType,
    /// NULL or empty.
    pub null: u64,
    /// Outside the bounds (they count as the nearest bound) or the categories (they count as NULL).
    pub outside: u64,
    /// Not of the declared type at all; they count as NULL.
    pub unparsable: u64,
    /// Smallest and largest value as studies see them: clipped, days as numbers, categories as positions in their list.
    pub extent: Option<(f64, f64)>,
}

/// What a look at all rows found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Where the rows are: "3 files".
    pub place: String,
    /// Rows.
    pub rows: u64,
    /// Rows that the consent predicate allows; all of them where there is none.
    pub consenting: u64,
    /// Customers: different values of the privacy unit.
    pub customers: u64,
    /// The most rows that one customer has.
    pub most_rows: u64,
    /// Customers with more than one row.
    pub several_rows: u64,
    /// Rows without a customer: they are left out of every study.
    pub without_unit: u64,
    /// Records that were not well formed, of text files.
    pub malformed: u64,
    /// The declared columns.
    pub columns: Vec<ColumnReport>,
    /// What is to be repaired, the gravest first.
    pub findings: Vec<Finding>,
}

/// Reads all rows of a data set and says what is wrong with it and how to repair that. Never fails: what keeps the data
/// from being read is a finding as well.
pub async fn check(
    schema: &DatasetSchema,
    source: Result<Arc<dyn RowSource>, DataError>,
    consent: Option<&str>,
    engine: &Engine,
) -> Report {
    let mut report = Report::default();
    if let Err(error) = schema.validate() {
        report.findings.push(Finding {
            severity: Severity::Error,
            column: Some(error.column.clone()),
            problem: error.problem(),
            fix: error.remedy.unwrap_or(CORRECT).to_owned(),
        });
    }
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            report.findings.push(finding(&error));
            return report;
        }
    };
    report.place = source.place();
    let consent_problem = consent.and_then(|text| Consent::parse(text, source.columns()).err());
    for problem in problems(schema, source.columns()).into_iter().chain(consent_problem) {
        report.findings.push(finding(&problem));
    }
    if !report.findings.is_empty() {
        return report;
    }
    let dataset = match Dataset::new(schema.clone(), source, consent) {
        Ok(dataset) => dataset,
        Err(error) => {
            report.findings.push(finding(&error));
            return report;
        }
    };
    let options = engine.options().clone();
    match background(engine.ending(), move |stop| census(&dataset, &options, stop)).await {
        Ok(counted) => {
            let findings = counted.judge();
            Report { place: report.place, findings, ..counted }
        }
        Err(error) => {
            report.findings.push(finding(&error));
            report
        }
    }
}

/// What to do where nothing better can be said.
const CORRECT: &str = "correct node.toml";

fn finding(error: &DataError) -> Finding {
    Finding {
        severity: Severity::Error,
        column: error.column().map(str::to_owned),
        problem: error.problem(),
        fix: error.remedy().map_or_else(|| CORRECT.to_owned(), String::from),
    }
}

fn census(dataset: &Dataset, options: &Options, stop: &AtomicBool) -> Result<Report, DataError> {
    let schema = dataset.schema();
    let mut columns = vec![schema.privacy_unit.clone()];
    let declared = schema.columns.iter().map(|(name, column_type)| {
        columns.push(name.clone());
        ColumnCheck::new(columns.len() - 1, column_type)
    });
    let checks: Vec<ColumnCheck> = declared.collect();
    let consent = dataset.consent().cloned();
    for name in consent.iter().flat_map(Consent::columns) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let report = Mutex::new(Report {
        columns: schema
            .columns
            .iter()
            .map(|(name, declared)| ColumnReport {
                name: name.clone(),
                declared: declared.clone(),
                null: 0,
                outside: 0,
                unparsable: 0,
                extent: None,
            })
            .collect(),
        ..Report::default()
    });
    let rows = |stored: &[ArrayRef], rows: usize| {
        let counts: Vec<([u64; 3], _)> = checks.iter().map(|check| check.count(stored)).collect();
        let column = |name: &str| stored.get(columns.iter().position(|column| column == name)?);
        let consenting = consent.as_ref().map_or(rows, |consent| consent.allows(rows, &column).count_set_bits());
        let without_unit = absent(&stored[0]);
        let mut report = lock(&report);
        report.rows += rows as u64;
        report.consenting += consenting as u64;
        report.without_unit += without_unit as u64;
        for (column, ([null, outside, unparsable], extent)) in report.columns.iter_mut().zip(counts) {
            column.null += null;
            column.outside += outside;
            column.unparsable += unparsable;
            column.extent = match (column.extent, extent) {
                (Some((a, b)), Some((c, d))) => Some((f64::min(a, c), f64::max(b, d))),
                (known, other) => known.or(other),
            };
        }
        Rows { unit: stored[0].clone(), cells: vec![0; rows], counts: None, values: Vec::new() }
    };
    let shape = Shape { values: 0, max_groups: 1 };
    let (heads, malformed) = execute(dataset, &columns, options, shape, stop, rows, Heads::default)?;
    let mut report = into_inner(report);
    report.malformed = malformed;
    report.customers = heads.iter().map(|heads| heads.customers).sum();
    report.several_rows = heads.iter().map(|heads| heads.several_rows).sum();
    report.most_rows = heads.iter().map(|heads| heads.most_rows).max().unwrap_or(0);
    Ok(report)
}

/// Counts customers.
#[derive(Default)]
struct Heads {
    customers: u64,
    most_rows: u64,
    several_rows: u64,
}

impl Sink for Heads {
    fn customer<'a>(&mut self, _unit: u128, cells: impl Iterator<Item = CustomerCell<'a>> + Clone) {
        self.customers += 1;
        let rows = cells.map(|cell| cell.rows).sum();
        self.most_rows = self.most_rows.max(rows);
        self.several_rows += u64::from(rows > 1);
    }
}

/// Counts what does not fit in one column.
struct ColumnCheck {
    column: usize,
    category: bool,
    clipped: ColumnReader,
    /// The same type without bounds.
    free: ColumnReader,
}

impl ColumnCheck {
    fn new(column: usize, declared: &ColumnType) -> Self {
        let free = match declared {
            ColumnType::Int { .. } => ColumnType::Int { min: None, max: None },
            ColumnType::Float { .. } => ColumnType::Float { min: None, max: None },
            ColumnType::Date { .. } => ColumnType::Date { min: None, max: None },
            other => other.clone(),
        };
        let reader = |column_type| ColumnReader::new(column_type, &mut Texts::default());
        let category = matches!(declared, ColumnType::Category { .. });
        Self { column, category, clipped: reader(declared), free: reader(&free) }
    }

    /// Rows that are NULL, outside, unparsable; and the extent of the values.
    fn count(&self, stored: &[ArrayRef]) -> ([u64; 3], Option<(f64, f64)>) {
        let raw = &stored[self.column];
        let null = absent(raw);
        let free = self.free.read(raw);
        let lost = (free.null_count().saturating_sub(null)) as u64;
        if self.category {
            return ([null as u64, lost, 0], extent(&free));
        }
        let clipped = self.clipped.read(raw);
        ([null as u64, differing(&clipped, &free), lost], extent(&clipped))
    }
}

/// The smallest and the largest value, as numbers.
fn extent(values: &Vector) -> Option<(f64, f64)> {
    fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
        values.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })
    }
    match values {
        Vector::Float(values) => ends(values.iter().flatten()),
        Vector::Int(values) => ends(values.iter().flatten().map(|value| value as f64)),
        Vector::Date(days) => ends(days.iter().flatten().map(f64::from)),
        Vector::Text(texts) => ends(texts.iter().flatten().map(f64::from)),
        Vector::Bool(values) => ends(values.iter().flatten().map(f64::from)),
    }
}

fn differing(clipped: &Vector, free: &Vector) -> u64 {
    fn count<T: PartialEq>(a: impl Iterator<Item = Option<T>>, b: impl Iterator<Item = Option<T>>) -> u64 {
        a.zip(b).filter(|(a, b)| a != b).count() as u64
    }
    match (clipped, free) {
        (Vector::Int(a), Vector::Int(b)) => count(a.iter(), b.iter()),
        (Vector::Float(a), Vector::Float(b)) => count(a.iter(), b.iter()),
        (Vector::Date(a), Vector::Date(b)) => count(a.iter(), b.iter()),
        // These have no bounds.
        _ => 0,
    }
}

impl Report {
    fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |severity, column: Option<&str>, problem: String, fix: &str| {
            findings.push(Finding { severity, column: column.map(str::to_owned), problem, fix: fix.to_owned() });
        };
        let share =
            |rows: u64| format!("{rows} of {} rows ({:.2} %)", self.rows, 100.0 * rows as f64 / self.rows as f64);
        if self.rows == 0 {
            find(
                Severity::Warning,
                None,
                "there are no rows".into(),
                "every study will answer with noise alone; check `source`",
            );
            return findings;
        }
        if self.without_unit > 0 {
            let problem = format!("the privacy unit is NULL in {}", share(self.without_unit));
            find(Severity::Error, None, problem, "such rows are in no study; fill the column, or remove the rows");
        }
        if self.consenting == 0 {
            let problem = "the consent predicate allows no row".to_owned();
            find(Severity::Error, None, problem, "correct `consent` in node.toml");
        }
        if self.malformed > 0 {
            let problem = format!("{} records are not well formed", self.malformed);
            find(
                Severity::Warning,
                None,
                problem,
                "missing fields count as NULL; write the files again with a proper writer",
            );
        }
        if self.several_rows > 0 {
            let problem = format!("{} of {} customers have several rows", self.several_rows, self.customers);
            find(
                Severity::Warning,
                None,
                problem,
                "queries state how many count (`max_rows_per_customer`); trainings leave such customers out",
            );
        }
        for ColumnReport { name, declared, null, outside, unparsable, extent } in &self.columns {
            let all = |rows: &u64| *rows == self.rows - null && *rows > 0;
            let severity = |rows: &u64| if all(rows) { Severity::Error } else { Severity::Warning };
            if *null == self.rows {
                find(
                    Severity::Warning,
                    Some(name),
                    "is NULL in every row".into(),
                    "remove the column from the schema, or fill it",
                );
            }
            if let Some((low, high)) = extent
                && low == high
            {
                find(
                    Severity::Warning,
                    Some(name),
                    "has the same value wherever it has one".into(),
                    "a model learns nothing from it, and nothing at all if it is the target; check the data, or leave it out",
                );
            }
            if *unparsable > 0 {
                let problem = format!("is not a {} in {}", declared.name(), share(*unparsable));
                find(
                    severity(unparsable),
                    Some(name),
                    problem,
                    "these count as NULL; correct the data, or the declared type",
                );
            }
            match declared {
                ColumnType::Category { .. } if *outside > 0 => {
                    let problem = format!("is not one of the listed values in {}", share(*outside));
                    find(
                        severity(outside),
                        Some(name),
                        problem,
                        "these count as NULL; add the values to the list if they may be public",
                    );
                }
                // A few values beyond the bounds are what bounds are for.
                _ if *outside * 20 > self.rows => {
                    let problem = format!("is outside its bounds in {}", share(*outside));
                    find(
                        Severity::Warning,
                        Some(name),
                        problem,
                        "these count as the nearest bound; widen the bounds, from what is publicly known, not from the data",
                    );
                }
                _ => {}
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}
