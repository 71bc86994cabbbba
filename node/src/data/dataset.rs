//! A data set that has been opened: a public schema, a source that fits it, and who consented.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::Schema;
use entente_protocols::digest::Digest;
use entente_protocols::language::event::Event;
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
    event: Option<Event>,
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
        Ok(Self { schema, source, consent, event: None })
    }

    /// The same with an event column, a declared one: of each plan, rows of the years that it can touch count, and no others.
    #[must_use]
    pub fn with_event(self, event: Option<Event>) -> Self {
        Self { event, ..self }
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

    /// The event column, if there is one.
    pub fn event(&self) -> Option<&Event> {
        self.event.as_ref()
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
    // What follows from one mistake is said once, and without what may be a customer's values.
    let separator =
        [';', '\t', '|'].into_iter().find(|&sign| names().count() == 1 && names().all(|name| name.contains(sign)));
    if let Some(sign) = separator {
        let problem =
            format!("its columns are separated by {}", if sign == '\t' { "tabs".into() } else { format!("`{sign}`") });
        return vec![DataError::Source { problem, remedy: "separate them by commas" }];
    }
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
    let is_unknown = |problem: &DataError| matches!(problem, DataError::MissingColumn { nearest: None, .. });
    if problems.len() > 1 && problems.len() == schema.columns.len() + 1 && problems.iter().all(is_unknown) {
        return vec![DataError::Source {
            problem: "none of its columns has a declared name".into(),
            remedy: "begin a CSV file with a line of the columns' names, or correct the names in node.toml",
        }];
    }
    problems
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};
    use entente_protocols::language::schema::ColumnType;

    use super::*;

    /// Of a file whose first line has these names, or is a customer's.
    fn found(first: &[&str]) -> Vec<String> {
        let columns = ["age", "spend"].map(|name| (name.to_owned(), ColumnType::Bool)).into();
        let schema = DatasetSchema { name: "d".into(), privacy_unit: "id".into(), columns };
        let stored =
            Schema::new(first.iter().map(|name| Field::new(*name, DataType::Utf8View, true)).collect::<Vec<_>>());
        problems(&schema, &stored).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_mistake_in_a_file_s_form_is_said_once() {
        assert_eq!(found(&["id", "age", "spend"]), [""; 0]);
        assert_eq!(found(&["id;age;spend"]), ["its columns are separated by `;`; separate them by commas"]);
        assert_eq!(found(&["id\tage\tspend"]), ["its columns are separated by tabs; separate them by commas"]);
        let without_header = found(&["c81", "34", "120.5"]);
        assert!(
            without_header.len() == 1 && without_header[0].contains("a line of the columns' names"),
            "{without_header:?}"
        );
        assert!(!without_header[0].contains("c81"), "a customer's values are not said");
        assert_eq!(found(&["id", "x", "y"]).len(), 2, "what is not all wrong is said by column");
        assert_eq!(found(&["ident", "agee", "spent"]).len(), 3);
    }
}
