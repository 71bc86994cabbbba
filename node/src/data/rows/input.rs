//! What a plan asks of a data set, computed on every row of a batch: its columns read as declared, and all its expressions.

use std::ops::RangeInclusive;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use entente_protocols::language::expr::{Expr, ValueType};
use entente_protocols::language::schema::{ColumnType, Day};
use entente_tables::evaluate::Program;
use entente_tables::read::ColumnReader;
use entente_tables::texts::Texts;
use entente_tables::vector::Vector;

use crate::data::consent::predicate::Consent;
use crate::data::dataset::Dataset;
use crate::data::error::DataError;

/// What a plan of any kind asks of a data set.
pub(crate) struct Asked<'p> {
    pub(crate) dataset: &'p str,
    pub(crate) privacy_unit: &'p str,
    pub(crate) columns: &'p [(String, ColumnType)],
    pub(crate) filter: Option<&'p Expr>,
}

/// A plan's expressions over a data set.
#[derive(Debug)]
pub(crate) struct Input {
    dataset: String,
    /// The stored columns it needs, the privacy unit first.
    columns: Vec<String>,
    consent: Option<Consent>,
    /// Which stored column has the day that a row is of, how it is read, and of which days rows count.
    within: Option<(usize, ColumnReader, RangeInclusive<Day>)>,
    /// Which stored column each column of the program is read from, and how.
    readers: Vec<(usize, ColumnReader)>,
    /// Its first output is the plan's filter, if there is one.
    program: Program,
    filtered: bool,
}

/// What to do about a plan that was made of something else.
pub(crate) const PLAN_AGAIN: Option<&str> = Some("plan the study again");

/// What is found on a batch beside the values of expressions.
pub(crate) struct Found {
    /// Which rows count: those of customers who consent, of the years that the plan is charged to, where the filter is true. All where this is `None`.
    pub(crate) kept: Option<BooleanBuffer>,
    /// How many values were looked at: the same on tables that have as many rows.
    pub(crate) looked_at: u64,
}

impl Input {
    /// What is asked, made ready for a data set, which must be the one it was asked of.
    pub(crate) fn new(dataset: &Dataset, asked: Asked<'_>) -> Result<Self, DataError> {
        let schema = dataset.schema();
        let unfit = |problem, remedy| Err(DataError::Plan { dataset: schema.name.clone(), problem, remedy });
        if asked.dataset != schema.name || asked.privacy_unit != schema.privacy_unit {
            return unfit(format!("it is made for `{}` by `{}`", asked.dataset, asked.privacy_unit), None);
        }
        let mut columns = vec![asked.privacy_unit.to_owned()];
        let mut readers = Vec::new();
        let mut types: Vec<(String, ValueType)> = Vec::new();
        let mut texts = Texts::default();
        for (name, column_type) in asked.columns {
            if schema.columns.get(name) != Some(column_type) {
                return unfit(format!("column `{name}` is not declared as the plan says"), PLAN_AGAIN);
            }
            let reader = ColumnReader::new(column_type, &mut texts);
            types.push((name.clone(), reader.value_type()));
            readers.push((columns.len(), reader));
            columns.push(name.clone());
        }
        let consent = dataset.consent().cloned();
        for name in consent.iter().flat_map(|consent| consent.columns()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let within = dataset.event().map(|event| {
            let place = columns.iter().position(|column| column == event.column()).unwrap_or_else(|| {
                columns.push(event.column().to_owned());
                columns.len() - 1
            });
            // As stored: clipped, a day outside of the declared range would be one within.
            let reader = ColumnReader::new(&ColumnType::Date { min: None, max: None }, &mut texts);
            (place, reader, event.restriction(asked.filter).days)
        });
        let program = Program::new(types, texts);
        let filtered = asked.filter.is_some();
        let mut input = Self { dataset: schema.name.clone(), columns, consent, within, readers, program, filtered };
        if let Some(filter) = asked.filter {
            input.compute(filter)?;
        }
        Ok(input)
    }

    /// Computes this expression as well, as the next one.
    pub(crate) fn compute(&mut self, expr: &Expr) -> Result<(), DataError> {
        self.program.add(expr).map_err(|error| self.unfit(error, None))
    }

    /// The numbers of the plan's texts.
    pub(crate) fn texts(&mut self) -> &mut Texts {
        self.program.texts()
    }

    /// The error of a plan that does not fit the data set.
    pub(crate) fn unfit(&self, problem: impl ToString, remedy: Option<&'static str>) -> DataError {
        DataError::Plan { dataset: self.dataset.clone(), problem: problem.to_string(), remedy }
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Gives the values of each expression, counted from 0 without the filter, to `each` in the order in which they were
    /// added: on all rows of the batch, kept or not.
    pub(crate) fn evaluate(&self, stored: &[ArrayRef], rows: usize, mut each: impl FnMut(usize, Vector)) -> Found {
        let typed: Vec<Vector> = self.readers.iter().map(|(column, reader)| reader.read(&stored[*column])).collect();
        let mut kept = both(self.consenting(stored, rows), self.within(stored));
        let looked_at =
            self.program.run(&typed, rows, |output, vector| match output.checked_sub(self.filtered.into()) {
                Some(expression) => each(expression, vector),
                None => {
                    kept = both(kept.take(), Some(vector.holds()));
                }
            });
        Found { kept, looked_at }
    }

    /// Which rows are of customers who consent, where that is asked.
    pub(crate) fn consenting(&self, stored: &[ArrayRef], rows: usize) -> Option<BooleanBuffer> {
        let column = |name: &str| stored.get(self.columns.iter().position(|column| column == name)?);
        self.consent.as_ref().map(|consent| consent.allows(rows, &column))
    }

    /// Which rows are of the days that the plan is charged for, whatever its filter is on them, where the data set has such.
    fn within(&self, stored: &[ArrayRef]) -> Option<BooleanBuffer> {
        let (column, reader, counted) = self.within.as_ref()?;
        let days = reader.read(&stored[*column]);
        Some(match &days {
            Vector::Date(days) => BooleanBuffer::collect_bool(days.len(), |row| {
                days.is_valid(row) & counted.contains(&Day(days.value(row)))
            }),
            // A reader of days reads nothing else.
            other => BooleanBuffer::new_unset(other.len()),
        })
    }
}

/// Rows in both, where both say something.
fn both(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one & &other),
        (one, other) => one.or(other),
    }
}
