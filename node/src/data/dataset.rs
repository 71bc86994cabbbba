//! A data set that has been opened: a public schema, a source that fits it, and who consented.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::Schema;
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::DatasetSchema;
use entente_tables::read::ColumnReader;
use entente_tables::texts::is_text;

use super::consent::predicate::Consent;
use super::error::DataError;
use super::files::{Files, Stamp};
use super::rows::RowSource;

/// A data set ready to be read: every declared column is there and can be read as its declared type.
///
/// It stands for its source as that was when it was opened: open it anew for each study.
#[derive(Clone, Debug)]
pub struct Dataset {
    schema: DatasetSchema,
    source: Arc<dyn RowSource>,
    consent: Option<Consent>,
}

/// Opens what `source` in node.toml names: a file, folder or pattern, relative to `base`.
pub fn open_source(source: &str, base: &Path) -> Result<Arc<dyn RowSource>, DataError> {
    Ok(Arc::new(Files::open(source, base)?))
}

impl Dataset {
    /// Opens the data of `schema` at a source as node.toml names it; see [`open_source`] and [`Dataset::new`].
    pub fn open(schema: DatasetSchema, source: &str, base: &Path, consent: Option<&str>) -> Result<Self, DataError> {
        Self::new(schema, open_source(source, base)?, consent)
    }

    /// The data of `schema` in an opened source, of which only rows that fulfil the predicate `consent` are used.
    pub fn new(schema: DatasetSchema, source: Arc<dyn RowSource>, consent: Option<&str>) -> Result<Self, DataError> {
        if let Some(problem) = problems(&schema, source.columns()).into_iter().next() {
            return Err(problem);
        }
        let consent = consent.map(|text| Consent::parse(text, source.columns())).transpose()?;
        Ok(Self { schema, source, consent })
    }

    /// The public schema.
    pub fn schema(&self) -> &DatasetSchema {
        &self.schema
    }

    /// What its rows are read from.
    pub fn source(&self) -> &dyn RowSource {
        &*self.source
    }

    /// The consent predicate, if there is one.
    pub fn consent(&self) -> Option<&Consent> {
        self.consent.as_ref()
    }

    /// What identifies the data as they were when they were opened; see [`RowSource::identity`].
    pub fn identity(&self, known: &dyn Fn(&Stamp) -> Option<Digest>) -> Option<Digest> {
        self.source.identity(known)
    }

    /// Whether the data may have changed since they were opened; see [`RowSource::has_changed`].
    pub fn has_changed(&self) -> bool {
        self.source.has_changed()
    }
}

/// In what stored columns do not fit a schema.
pub(crate) fn problems(schema: &DatasetSchema, stored: &Schema) -> Vec<DataError> {
    let names = || stored.fields().iter().map(|field| field.name().as_str());
    let mut problems = Vec::new();
    match stored.field_with_name(&schema.privacy_unit) {
        Err(_) => problems.push(DataError::missing_column(&schema.privacy_unit, "the privacy unit", names())),
        Ok(field) if !(field.data_type().is_integer() || is_text(field.data_type())) => {
            let (column, found) = (schema.privacy_unit.clone(), field.data_type().to_string());
            problems.push(DataError::UnitType { column, found });
        }
        Ok(_) => {}
    }
    for (column, declared) in &schema.columns {
        let Ok(field) = stored.field_with_name(column) else {
            problems.push(DataError::missing_column(column, "the declared column", names()));
            continue;
        };
        if let Err(fix) = ColumnReader::check(field.data_type(), declared) {
            let (column, found) = (column.clone(), field.data_type().to_string());
            problems.push(DataError::ColumnType { column, found, declared: declared.name(), fix });
        }
    }
    problems
}
