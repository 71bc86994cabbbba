//! One file of a data set: its format, and what is read of it on opening.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use entente_tables::texts::is_text;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::error::{FilesError, unreadable};
use super::identity::Stamp;
use super::{csv, ndjson};

/// How many bytes of a text file are looked at to tell how long its lines are.
const FIRST_LINES: u64 = 1 << 16;

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line, as RFC 4180.
    Csv,
    /// One JSON object a line.
    NdJson,
}

impl Format {
    /// The word for this format in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::NdJson => "NDJSON",
        }
    }

    /// The format that a file's extension names.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::NdJson),
            _ => None,
        }
    }
}

/// One file of a source.
#[derive(Clone, Debug)]
pub(super) struct StoredFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it was when it was opened, before anything of it was read.
    pub(super) stamp: Stamp,
    pub(super) header: Header,
}

/// What was read of a file on opening.
#[derive(Clone, Debug)]
pub(super) enum Header {
    Parquet(ArrowReaderMetadata),
    /// The names in the first line, in order; empty for an empty file.
    Csv(Vec<String>),
    NdJson,
}

impl StoredFile {
    /// Opens a file of this format, and says which columns it has, where it says so. An NDJSON file does not, and adds the
    /// `names` in its first lines.
    pub(super) fn open(
        path: PathBuf,
        format: Format,
        names: &mut BTreeMap<String, ()>,
    ) -> Result<(Self, Option<SchemaRef>), FilesError> {
        let stamp = Stamp::of(&path)?;
        let (header, columns) = match format {
            Format::Parquet => parquet_header(&path)?,
            Format::Csv => csv_header(&path)?,
            Format::NdJson => {
                let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
                ndjson::field_names(BufReader::new(file), names).map_err(|reason| FilesError::Invalid {
                    path: path.clone(),
                    format: format.name(),
                    reason,
                })?;
                (Header::NdJson, None)
            }
        };
        Ok((Self { path, stamp, header }, columns))
    }

    /// About how many rows it has: as its footer says, or by the length of its first lines.
    pub(super) fn about(&self) -> u64 {
        if let Header::Parquet(metadata) = &self.header {
            return u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        }
        let mut first = Vec::new();
        // What cannot be read has none.
        let _ = File::open(&self.path).and_then(|file| file.take(FIRST_LINES).read_to_end(&mut first));
        let lines = first.iter().filter(|byte| **byte == b'\n').count().max(1) as u64;
        self.stamp.bytes.saturating_mul(lines) / (first.len() as u64).max(1)
    }
}

/// Columns that are all text.
pub(super) fn text_schema(names: impl Iterator<Item = String>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn parquet_header(path: &Path) -> Result<(Header, Option<SchemaRef>), FilesError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| {
        FilesError::Invalid { path: path.to_owned(), format: Format::Parquet.name(), reason: error.to_string() }
    })?;
    // Files may store the same text in different forms; that is no difference between them.
    let fields = metadata.schema().fields().iter().map(|field| match is_text(field.data_type()) {
        true => Field::new(field.name(), DataType::Utf8View, true),
        false => Field::new(field.name(), field.data_type().clone(), true),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok((Header::Parquet(metadata), Some(schema)))
}

fn csv_header(path: &Path) -> Result<(Header, Option<SchemaRef>), FilesError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let names = csv::header(file).map_err(|error| unreadable(path, &error))?;
    let invalid = |reason: String| FilesError::Invalid { path: path.to_owned(), format: Format::Csv.name(), reason };
    let names: Vec<String> = names
        .into_iter()
        .map(|name| name.ok_or_else(|| invalid("a column's name in the header line is empty or not UTF-8".into())))
        .collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(invalid(format!("the header line has the column `{twice}` twice")));
    }
    let schema = (!names.is_empty()).then(|| text_schema(names.iter().cloned()));
    Ok((Header::Csv(names), schema))
}
