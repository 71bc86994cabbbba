//! Chosen customers on their way to whoever activates them: CSV and Parquet.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use entente_host::csv::quoted;
use entente_tables::read::ints;
use entente_tables::texts::texts_of;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::format::{Header, Opened, key};

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

/// Which of an audience are chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// This share of them, in percent, the best first.
    Share(f64),
    /// So many, the best first.
    Count(u64),
    /// Those with at least this score.
    MinScore(f64),
    /// Those in one of these buckets.
    Buckets(BTreeSet<u8>),
}

impl fmt::Display for Selection {
    /// One text for one selection: exports are told apart by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(percent) => write!(f, "top {percent}%"),
            Self::Count(count) => write!(f, "top {count}"),
            Self::MinScore(score) => write!(f, "score of at least {score}"),
            Self::Buckets(buckets) => {
                let buckets: Vec<String> = buckets.iter().map(u8::to_string).collect();
                write!(f, "bucket {}", buckets.join(","))
            }
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
        for ((unit, value), percentile) in units(self.rows.column(0)).iter().zip(values).zip(percentiles) {
            writeln!(out, "{},{value},{percentile}", quoted(unit))?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn parquet<W: Write + Send>(&self, selection: &Selection, out: W) -> Result<W, ParquetError> {
        let mut columns = self.rows.columns().to_vec();
        if self.header.opened == Opened::Buckets {
            let numbers = columns[1].as_primitive::<Float64Type>();
            columns[1] = Arc::new(numbers.unary::<_, Int32Type>(|bucket| bucket as i32));
        }
        let schema = self.rows.schema();
        let fields = schema.fields().iter().zip(&columns);
        let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        let Header { study, dataset, .. } = &self.header;
        let about = [(key::STUDY, study.to_string()), (key::DATASET, dataset.clone())];
        let about = about.into_iter().chain([(key::SELECTION, selection.to_string())]);
        let mut writer = writer(out, schema, about)?;
        writer.write(&rows)?;
        writer.into_inner()
    }
}

/// Privacy units as text.
fn units(column: &ArrayRef) -> Vec<String> {
    match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().values().iter().map(u64::to_string).collect(),
        number if number.is_integer() => ints(column).values().iter().map(i64::to_string).collect(),
        _ => texts_of(column, |texts| texts.map(|text| text.unwrap_or_default().to_owned()).collect()),
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
