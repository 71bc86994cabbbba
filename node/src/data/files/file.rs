//! One file of a data set: its format, and what is read of it on opening.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use entente_protocols::digest::Digest;
use entente_tables::texts::is_text;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::error::FilesError;
use super::{csv, ndjson};

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
    /// Its path as seen from the base folder: what a snapshot names it by.
    pub(super) relative: String,
    /// Its size when it was opened.
    pub(super) bytes: u64,
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
        base: &Path,
        format: Format,
        names: &mut BTreeMap<String, ()>,
    ) -> Result<(Self, Option<SchemaRef>), FilesError> {
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
        let bytes = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len();
        let relative = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
        Ok((Self { path, relative, bytes, header }, columns))
    }

    /// What tells the file as it is now from what it was: its name, size, time of change and Parquet footer.
    pub(super) fn traits(&self) -> Result<[Vec<u8>; 4], FilesError> {
        let failed = |error| unreadable(&self.path, &error);
        let mut file = File::open(&self.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let nanoseconds = match metadata.modified().map_err(failed)?.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        };
        let footer = match self.header {
            Header::Parquet(_) => Digest::plain(&footer(&mut file, metadata.len()).map_err(failed)?).0.to_vec(),
            Header::Csv(_) | Header::NdJson => Vec::new(),
        };
        Ok([
            self.relative.as_bytes().to_vec(),
            metadata.len().to_le_bytes().to_vec(),
            nanoseconds.to_le_bytes().to_vec(),
            footer,
        ])
    }
}

/// Columns that are all text.
pub(super) fn text_schema(names: impl Iterator<Item = String>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// What the operating system said of a file or folder.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> FilesError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FilesError::Missing { path: path.to_owned() },
        _ => FilesError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    }
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

/// The footer of a Parquet file: row counts, sizes, offsets and statistics of everything in it.
fn footer(file: &mut File, length: u64) -> std::io::Result<Vec<u8>> {
    let mut tail = [0; 8];
    let at = length.checked_sub(8).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut tail)?;
    let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = at.checked_sub(size).ok_or(std::io::ErrorKind::InvalidData)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}
