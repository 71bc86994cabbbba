//! Where a data set's rows are: a file, a folder or a pattern, of Parquet, CSV or NDJSON.
//!
//! Opening looks at names, sizes and headers, never at rows: the columns of a Parquet file are in its footer, those
//! of a CSV file in its first line, and those of NDJSON are the names in its first lines. No type is ever guessed
//! from values: CSV and NDJSON columns are text until a declared type says how to [read](entente_tables::read) them.

mod csv;
mod ndjson;
pub(super) mod scan;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use entente_protocols::digest::Digest;
use entente_tables::texts::is_text;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::data::error::DataError;

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line, as RFC 4180.
    Csv,
    /// One JSON object a line.
    NdJson,
}

impl Format {
    /// The word for this format in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::NdJson => "NDJSON",
        }
    }

    /// The format that a file's extension names.
    pub fn of(path: &Path) -> Option<Self> {
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
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path as seen from the base folder: what a snapshot names it by.
    pub relative: String,
    /// Its size when it was opened.
    pub bytes: u64,
    pub(crate) header: Header,
}

/// What was read of a file on opening.
#[derive(Clone, Debug)]
pub(crate) enum Header {
    Parquet(ArrowReaderMetadata),
    /// The names in the first line, in order; empty for an empty file.
    Csv(Vec<String>),
    NdJson,
}

/// The opened source of a data set: a fixed list of files with the same columns.
#[derive(Clone, Debug)]
pub struct Source {
    files: Vec<SourceFile>,
    format: Format,
    schema: SchemaRef,
}

impl Source {
    /// Finds and checks the files that `source` names, relative to `base`.
    pub fn open(source: &str, base: &Path) -> Result<Self, DataError> {
        let paths = resolve(&base.join(source), source)?;
        let format = common_format(&paths)?;
        let mut files = Vec::with_capacity(paths.len());
        let mut schema: Option<(PathBuf, SchemaRef)> = None;
        let mut names = BTreeMap::new();
        for path in paths {
            let (header, columns) = match format {
                Format::Parquet => parquet_header(&path)?,
                Format::Csv => csv_header(&path)?,
                Format::NdJson => {
                    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
                    ndjson::field_names(BufReader::new(file), &mut names).map_err(|reason| DataError::Invalid {
                        path: path.clone(),
                        format: format.name(),
                        reason,
                    })?;
                    (Header::NdJson, None)
                }
            };
            match (&schema, columns) {
                (_, None) => {}
                (None, Some(columns)) => schema = Some((path.clone(), columns)),
                (Some((first, expected)), Some(columns)) => compare(first, expected, &path, &columns)?,
            }
            let bytes = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len();
            let relative = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(SourceFile { path, relative, bytes, header });
        }
        let schema = match schema {
            Some((_, schema)) => schema,
            None if format == Format::NdJson => text_schema(names.into_keys()),
            None => {
                return Err(DataError::Invalid {
                    path: files[0].path.clone(),
                    format: format.name(),
                    reason: "it is empty, and no other file has the header line with the columns' names".into(),
                });
            }
        };
        Ok(Self { files, format, schema })
    }

    /// The files, in the order of their paths.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The format of all files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The columns as stored; text for CSV and NDJSON.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A fingerprint of the data as it is now: names, sizes, times of change and Parquet footers, not contents.
    ///
    /// Two equal snapshots mean that nobody has written to the files in between, unless somebody set out to hide it.
    pub fn snapshot(&self) -> Result<Digest, DataError> {
        let mut parts = Vec::with_capacity(self.files.len() * 4);
        for SourceFile { path, relative, .. } in &self.files {
            let failed = |error| unreadable(path, &error);
            let mut file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            let nanoseconds = match metadata.modified().map_err(failed)?.duration_since(UNIX_EPOCH) {
                Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
                Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
            };
            parts.push(relative.as_bytes().to_vec());
            parts.push(metadata.len().to_le_bytes().to_vec());
            parts.push(nanoseconds.to_le_bytes().to_vec());
            parts.push(match self.format {
                Format::Parquet => Digest::plain(&footer(&mut file, metadata.len()).map_err(failed)?).0.to_vec(),
                Format::Csv | Format::NdJson => Vec::new(),
            });
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(Digest::of("entente snapshot 1", &parts))
    }
}

fn text_schema(names: impl Iterator<Item = String>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    match error.kind() {
        std::io::ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
        _ => DataError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    }
}

/// The files that a path or pattern stands for, sorted.
fn resolve(path: &Path, source: &str) -> Result<Vec<PathBuf>, DataError> {
    let wildcard = |text: &std::ffi::OsStr| text.to_string_lossy().contains(['*', '?']);
    // A file whose name really has a wildcard in it is meant literally.
    if !path.exists() && path.file_name().is_some_and(wildcard) {
        let folder = path.parent().unwrap_or(Path::new("."));
        if wildcard(folder.as_os_str()) && !folder.exists() {
            return Err(DataError::Wildcard { pattern: source.to_owned() });
        }
        let pattern = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return list(folder, path, |name| matches(pattern.as_bytes(), name.as_bytes()));
    }
    if wildcard(path.as_os_str()) && !path.exists() {
        return Err(DataError::Wildcard { pattern: source.to_owned() });
    }
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() { list(path, path, |_| true) } else { Ok(vec![path.to_owned()]) }
}

/// The readable files of a folder whose names are wanted. Others (a README, a checksum, what starts with a dot or an
/// underscore) are passed over.
fn list(folder: &Path, asked: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    let (mut other, mut subfolders) = (None, false);
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) || !wanted(&name) {
            continue;
        }
        if path.is_dir() {
            subfolders = true;
        } else if Format::of(&path).is_some() {
            paths.push(path);
        } else {
            other = Some(path);
        }
    }
    paths.sort();
    match (paths.is_empty(), other) {
        (false, _) => Ok(paths),
        (true, Some(path)) if folder != asked => Err(DataError::Extension { path }),
        (true, _) => Err(DataError::Empty { path: asked.to_owned(), subfolders }),
    }
}

/// Whether `name` fits a pattern of literal bytes, `*` (anything) and `?` (any one character).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        (Some((b'?', rest)), Some(_)) => {
            let character = (1..name.len()).find(|&i| name[i] & 0xc0 != 0x80).unwrap_or(name.len());
            matches(rest, &name[character..])
        }
        (Some((byte, rest)), Some((first, others))) => byte == first && matches(rest, others),
        _ => false,
    }
}

fn common_format(paths: &[PathBuf]) -> Result<Format, DataError> {
    let mut common: Option<(Format, &PathBuf)> = None;
    for path in paths {
        let format = Format::of(path).ok_or_else(|| DataError::Extension { path: path.clone() })?;
        match common {
            Some((expected, first)) if expected != format => {
                return Err(DataError::Mixed { first: first.clone(), second: path.clone() });
            }
            _ => common = Some((format, path)),
        }
    }
    Ok(common.expect("a resolved source has at least one file").0)
}

fn parquet_header(path: &Path) -> Result<(Header, Option<SchemaRef>), DataError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| DataError::Invalid {
        path: path.to_owned(),
        format: Format::Parquet.name(),
        reason: error.to_string(),
    })?;
    // Files may store the same text in different forms; that is no difference between them.
    let fields = metadata.schema().fields().iter().map(|field| match is_text(field.data_type()) {
        true => Field::new(field.name(), DataType::Utf8View, true),
        false => Field::new(field.name(), field.data_type().clone(), true),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok((Header::Parquet(metadata), Some(schema)))
}

fn csv_header(path: &Path) -> Result<(Header, Option<SchemaRef>), DataError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let names = csv::header(file).map_err(|error| unreadable(path, &error))?;
    let invalid = |reason: String| DataError::Invalid { path: path.to_owned(), format: Format::Csv.name(), reason };
    let names: Vec<String> = names
        .into_iter()
        .map(|name| name.ok_or_else(|| invalid("a column's name in the header line is empty or not UTF-8".into())))
        .collect::<Result<_, _>>()?;
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(invalid(format!("the header line has the column `{twice}` twice")));
    }
    let schema = (!names.is_empty()).then(|| text_schema(names.iter().cloned()));
    Ok((Header::Csv(names), schema))
}

/// Names and types must be the same; the order of columns may differ.
fn compare(first: &Path, expected: &Schema, second: &Path, found: &Schema) -> Result<(), DataError> {
    let differs = |difference: String| {
        Err(DataError::SchemaDiffers { first: first.to_owned(), second: second.to_owned(), difference })
    };
    for field in expected.fields() {
        match found.field_with_name(field.name()) {
            Err(_) => return differs(format!("it lacks `{}`", field.name())),
            Ok(other) if other.data_type() != field.data_type() => {
                return differs(format!(
                    "`{}` is {} there, {} here",
                    field.name(),
                    field.data_type(),
                    other.data_type()
                ));
            }
            Ok(_) => {}
        }
    }
    match found.fields().iter().find(|field| expected.field_with_name(field.name()).is_err()) {
        Some(field) => differs(format!("it also has `{}`", field.name())),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn failure(files: &[(&str, &str)], source: &str) -> String {
        let folder = folder(files);
        Source::open(source, folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn files_folders_and_patterns_are_found_in_order() {
        let folder =
            folder(&[("b.csv", "x\n1\n"), ("a.csv", "x\n2\n"), ("_SUCCESS", ""), ("README.md", ""), (".a.csv", "y")]);
        let names = |source: &str| -> Vec<String> {
            Source::open(source, folder.path()).unwrap().files().iter().map(|file| file.relative.clone()).collect()
        };
        assert_eq!(names("."), ["./a.csv", "./b.csv"].map(|name| name.trim_start_matches("./")));
        assert_eq!(names("*.csv"), ["a.csv", "b.csv"]);
        assert_eq!(names("?.csv"), ["a.csv", "b.csv"]);
        assert_eq!(names("b.csv"), ["b.csv"]);
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("?", "é", true),
            ("??", "é", false),
            ("2025-*.csv", "2025-01.csv", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_explained() {
        for (files, source, expected) in [
            (&[][..], "none.csv", "there is no file or folder"),
            (&[], ".", "holds no .parquet"),
            (&[("a.csv", "x\n"), ("b.json", "{}")], ".", "one format"),
            (&[("a.txt", "")], "a.txt", "uncompressed"),
            (&[("a.txt", "")], "*.txt", "uncompressed"),
            (&[("a.csv", "x,y\n"), ("b.csv", "x\n")], ".", "lacks `y`"),
            (&[("a.csv", "x\n"), ("b.csv", "x,y\n")], ".", "also has `y`"),
            (&[("a.csv", "x,x\n")], ".", "twice"),
            (&[("a.csv", "x,,y\n")], ".", "empty"),
            (&[("a.csv", "")], ".", "header line"),
            (&[("a.parquet", "nonsense")], ".", "not a valid Parquet file"),
            (&[("a.json", "[{\"x\": 1}]")], ".", "one object a line"),
            (&[], "*/a.csv", "wildcard"),
            (&[], "*/*.csv", "wildcard"),
        ] {
            let error = failure(files, source);
            assert!(error.contains(expected), "{source}: {error}");
        }
    }

    #[test]
    fn a_snapshot_changes_with_the_files_and_only_then() {
        let folder = folder(&[("a.csv", "x\n1\n")]);
        let source = Source::open(".", folder.path()).unwrap();
        let before = source.snapshot().unwrap();
        assert_eq!(source.snapshot().unwrap(), before);
        fs::write(folder.path().join("a.csv"), "x\n12\n").unwrap();
        assert_ne!(source.snapshot().unwrap(), before);
        fs::remove_file(folder.path().join("a.csv")).unwrap();
        assert!(matches!(source.snapshot(), Err(DataError::Missing { .. })));
    }
}
