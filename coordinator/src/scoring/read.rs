//! Tables as batches: of texts where the file has texts (CSV, NDJSON), typed where it has types (Parquet).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

/// Rows of a batch.
const ROWS: usize = 8192;

/// A table that is being read. Problems are told in words.
pub(super) enum Batches {
    Csv { reader: Box<csv::Reader<File>>, schema: SchemaRef },
    Ndjson { lines: std::io::Lines<BufReader<File>>, line: usize, first: Vec<Map<String, Value>>, schema: SchemaRef },
    Parquet(Box<ParquetRecordBatchReader>, SchemaRef),
}

impl Batches {
    /// Opens a table; its name's end says what it is.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
        let open = || File::open(path).map_err(|error| format!("cannot be opened: {error}"));
        match end.as_str() {
            "csv" => {
                let mut reader = csv::Reader::from_reader(open()?);
                let header = reader.headers().map_err(|error| error.to_string())?;
                let names = header.iter().enumerate().map(|(i, name)| match i {
                    // Some programs put a byte order mark before the first name.
                    0 => name.trim_start_matches('\u{feff}'),
                    _ => name,
                });
                let schema = texts(names);
                Ok(Self::Csv { reader: Box::new(reader), schema })
            }
            "ndjson" | "jsonl" => {
                let mut lines = BufReader::new(open()?).lines();
                let mut line = 0;
                let first = records(&mut lines, &mut line)?;
                // A key may be left out where it is null, so all records of the first batch are asked.
                let mut names: Vec<&str> = Vec::new();
                let mut known = std::collections::HashSet::new();
                for name in first.iter().flat_map(Map::keys) {
                    if known.insert(name.as_str()) {
                        names.push(name);
                    }
                }
                let schema = texts(names.into_iter());
                Ok(Self::Ndjson { lines, line, first, schema })
            }
            "parquet" => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(open()?).map_err(|error| error.to_string())?;
                let schema = builder.schema().clone();
                let reader = builder.with_batch_size(ROWS).build().map_err(|error| error.to_string())?;
                Ok(Self::Parquet(Box::new(reader), schema))
            }
            _ => Err("its format is not known: its name does not end in .csv, .ndjson, .jsonl or .parquet".into()),
        }
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        let (Self::Csv { schema, .. } | Self::Ndjson { schema, .. } | Self::Parquet(_, schema)) = self;
        schema
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The next batch; never an empty one.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        match self {
            Self::Csv { reader, schema } => {
                let mut columns: Vec<StringBuilder> = schema.fields().iter().map(|_| StringBuilder::new()).collect();
                let mut record = csv::StringRecord::new();
                let mut rows = 0;
                while rows < ROWS && reader.read_record(&mut record).map_err(|error| error.to_string())? {
                    for (column, field) in columns.iter_mut().zip(&record) {
                        if field.is_empty() { column.append_null() } else { column.append_value(field) }
                    }
                    rows += 1;
                }
                batch(schema, columns, rows)
            }
            Self::Ndjson { lines, line, first, schema } => {
                let records = if first.is_empty() { records(lines, line)? } else { std::mem::take(first) };
                let mut columns: Vec<StringBuilder> = schema.fields().iter().map(|_| StringBuilder::new()).collect();
                for record in &records {
                    for (column, field) in columns.iter_mut().zip(schema.fields()) {
                        match record.get(field.name()) {
                            None | Some(Value::Null) => column.append_null(),
                            Some(Value::String(text)) => column.append_value(text),
                            Some(other) => column.append_value(other.to_string()),
                        }
                    }
                }
                batch(schema, columns, records.len())
            }
            Self::Parquet(reader, _) => loop {
                match reader.next().transpose().map_err(|error| error.to_string())? {
                    Some(batch) if batch.num_rows() == 0 => {}
                    batch => return Ok(batch),
                }
            },
        }
    }
}

fn texts<'a>(names: impl Iterator<Item = &'a str>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, columns: Vec<StringBuilder>, rows: usize) -> Result<Option<RecordBatch>, String> {
    if rows == 0 {
        return Ok(None);
    }
    let columns = columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect();
    RecordBatch::try_new(schema.clone(), columns).map(Some).map_err(|error| error.to_string())
}

/// Records up to a whole batch.
fn records(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    at: &mut usize,
) -> Result<Vec<Map<String, Value>>, String> {
    let mut records = Vec::new();
    while records.len() < ROWS {
        let Some(line) = lines.next() else { break };
        *at += 1;
        let line = line.map_err(|error| format!("line {at} cannot be read: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        records.push(serde_json::from_str(&line).map_err(|error| format!("line {at} is no JSON object: {error}"))?);
    }
    Ok(records)
}
