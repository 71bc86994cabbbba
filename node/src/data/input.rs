//! The rows that a plan is about: of customers who consented, read as declared, where the plan's filter holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use entente_protocols::language::expr::Expr;
use entente_protocols::language::schema::ColumnType;
use entente_tables::read::ColumnReader;
use entente_tables::texts::Texts;

use super::consent::Consent;
use super::dataset::Dataset;
use super::error::DataError;
use super::expr::Compiled;
use super::scan::{ScanError, record_batch};

/// What a plan of any kind asks of a data set.
pub(super) struct Asked<'p> {
    pub(super) dataset: &'p str,
    pub(super) privacy_unit: &'p str,
    pub(super) columns: &'p [(String, ColumnType)],
    pub(super) filter: Option<&'p Expr>,
}

/// A plan's part in front of its own computations.
#[derive(Debug)]
pub(super) struct Input {
    dataset: String,
    /// The stored columns it needs, the privacy unit first.
    columns: Vec<String>,
    consent: Option<Consent>,
    /// Which stored column each typed column is read from, and how.
    readers: Vec<(usize, ColumnReader)>,
    typed: SchemaRef,
    filter: Option<Compiled>,
}

impl Input {
    /// What is asked, made ready for a data set, which must be the one it was asked of; and the plan's texts.
    pub(super) fn new(dataset: &Dataset, asked: Asked<'_>) -> Result<(Self, Texts), DataError> {
        let schema = dataset.schema();
        let unfit = |problem: String| Err(DataError::Plan { dataset: schema.name.clone(), problem });
        if asked.dataset != schema.name || asked.privacy_unit != schema.privacy_unit {
            return unfit(format!("it is made for `{}` by `{}`", asked.dataset, asked.privacy_unit));
        }
        let mut columns = vec![asked.privacy_unit.to_owned()];
        let mut readers = Vec::new();
        let mut fields = Vec::new();
        let mut texts = Texts::default();
        for (name, column_type) in asked.columns {
            if schema.columns.get(name) != Some(column_type) {
                return unfit(format!("column `{name}` is not declared as the plan says; plan the study again"));
            }
            let reader = ColumnReader::new(column_type, &mut texts);
            fields.push(Field::new(name, reader.data_type(), true));
            readers.push((columns.len(), reader));
            columns.push(name.clone());
        }
        let consent = dataset.consent().cloned();
        for name in consent.iter().flat_map(|consent| consent.columns()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let typed = Arc::new(Schema::new(fields));
        let mut input = Self { dataset: schema.name.clone(), columns, consent, readers, typed, filter: None };
        input.filter = asked.filter.map(|filter| input.compile(filter, &mut texts)).transpose()?;
        Ok((input, texts))
    }

    /// An expression ready to be computed over the rows.
    pub(super) fn compile(&self, expr: &Expr, texts: &mut Texts) -> Result<Compiled, DataError> {
        Compiled::new(expr, &self.typed, texts).map_err(|error| self.unfit(error))
    }

    /// The error of a plan that does not fit the data set.
    pub(super) fn unfit(&self, problem: impl ToString) -> DataError {
        DataError::Plan { dataset: self.dataset.clone(), problem: problem.to_string() }
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Takes a batch to the rows that count: the privacy unit as stored, and the typed columns.
    pub(super) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Result<(ArrayRef, RecordBatch), ScanError> {
        let typed = self.readers.iter().map(|(column, reader)| reader.read(&stored[*column])).collect();
        let mut typed = record_batch(&self.typed, typed, rows)?;
        let mut unit = stored[0].clone();
        if let Some(kept) = self.kept(stored, rows, &typed)?
            && kept.true_count() < rows
        {
            typed = filter_record_batch(&typed, &kept)?;
            unit = filter(&unit, &kept)?;
        }
        Ok((unit, typed))
    }

    fn kept(&self, stored: &[ArrayRef], rows: usize, typed: &RecordBatch) -> Result<Option<BooleanArray>, ScanError> {
        let column = |name: &str| stored.get(self.columns.iter().position(|column| column == name)?);
        let consent = self.consent.as_ref().map(|consent| consent.allows(rows, &column));
        let filter = self.filter.as_ref().map(|filter| filter.holds(typed)).transpose()?;
        Ok(match (consent, filter) {
            (Some(consent), Some(filter)) => Some(BooleanArray::new(consent.values() & filter.values(), None)),
            (consent, filter) => consent.or(filter),
        })
    }
}
