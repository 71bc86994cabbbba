//! Chosen customers on their way to whoever activates them: CSV and Parquet.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{Header, Kind, Selection, key};

/// How chosen customers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values with a header line, as RFC 4180 but for line feeds alone.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Form {
    /// The form that a file's extension names.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Customers of an audience, the best first.
#[derive(Debug)]
pub struct Chosen {
    header: Header,
    /// Privacy unit, value as a number, percentile.
    rows: RecordBatch,
    units: Vec<u128>,
}

impl Chosen {
    pub(super) fn new(header: Header, rows: RecordBatch, units: Vec<u128>) -> Self {
        Self { header, rows, units }
    }

    /// Who they are, by number.
    pub fn units(&self) -> &[u128] {
        &self.units
    }

    /// Leaves out those for whom `kept` is not true; those that it says nothing of are left out as well.
    pub fn keep(&mut self, kept: &[bool]) {
        let kept: BooleanArray = (0..self.units.len()).map(|at| Some(kept.get(at) == Some(&true))).collect();
        let mut stay = kept.iter().map(|kept| kept == Some(true));
        self.units.retain(|_| stay.next() == Some(true));
        // Cannot fail: there is one for each row.
        self.rows = filter_record_batch(&self.rows, &kept).unwrap_or_else(|_| self.rows.slice(0, 0));
    }

    /// Writes them, and gives `out` back.
    pub fn write<W: Write + Send>(&self, form: Form, selection: &Selection, out: W) -> io::Result<W> {
        match form {
            Form::Csv => self.csv(out),
            Form::Parquet => self.parquet(selection, out).map_err(io::Error::other),
        }
    }

    fn csv<W: Write>(&self, out: W) -> io::Result<W> {
        let mut out = BufWriter::new(out);
        let schema = self.rows.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
        writeln!(out, "{}", names.join(","))?;
        let [values, percentiles] = [1, 2].map(|at| self.rows.column(at).as_primitive::<Float64Type>().values());
        let units = cast(self.rows.column(0), &DataType::LargeUtf8).map_err(io::Error::other)?;
        for ((unit, value), percentile) in units.as_string::<i64>().iter().zip(values).zip(percentiles) {
            writeln!(out, "{},{value},{percentile}", quoted(unit.unwrap_or_default()))?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn parquet<W: Write + Send>(&self, selection: &Selection, out: W) -> Result<W, ParquetError> {
        let types = [
            self.rows.column(0).data_type(),
            match self.header.kind {
                Kind::Scores => &DataType::Float64,
                Kind::Buckets => &DataType::Int32,
            },
            &DataType::Float64,
        ];
        let schema = self.rows.schema();
        let fields =
            schema.fields().iter().zip(types).map(|(field, form)| Field::new(field.name(), form.clone(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = self.rows.columns().iter().zip(types).map(|(column, form)| cast(column, form));
        let rows = RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<ArrayRef>, _>>()?)?;
        let Header { study, dataset, .. } = &self.header;
        let about = [(key::STUDY, study.to_string()), (key::DATASET, dataset.clone())];
        let about = about.into_iter().chain([(key::SELECTION, selection.to_string())]);
        let mut writer = writer(out, schema, about)?;
        writer.write(&rows)?;
        writer.into_inner()
    }
}

/// A field of CSV, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let plain = |c: char| !matches!(c, ',' | '"' | '\n' | '\r');
    if text.chars().all(plain) && text.trim() == text && !text.is_empty() {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

pub(super) fn key_value(key: &str, value: String) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value) }
}

/// A writer of Parquet that says something of itself.
pub(super) fn writer<W: Write + Send>(
    out: W,
    schema: SchemaRef,
    about: impl Iterator<Item = (&'static str, String)>,
) -> Result<ArrowWriter<W>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(about.map(|(key, value)| key_value(key, value)).collect()));
    ArrowWriter::try_new(out, schema, Some(properties.build()))
}
