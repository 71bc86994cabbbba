//! Where a data set's rows are: a file, a folder or a pattern, of Parquet, CSV or NDJSON.
//!
//! Opening looks at names, sizes and headers, never at rows: the columns of a Parquet file are in its footer, those
//! of a CSV file in its first line, and those of NDJSON are the names in its first lines. No type is ever guessed
//! from values: CSV and NDJSON columns are text until a declared type says how to [read](entente_tables::read) them.

mod csv;
mod error;
mod file;
pub(super) mod identity;
mod ndjson;
mod scan;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow_schema::{Schema, SchemaRef};
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::DatasetSchema;

use super::error::DataError;
use super::rows::{Batch, RowSource, Scan, ScanError};
use error::{FilesError, unreadable};
use file::{Format, StoredFile, text_schema};
use scan::FileScan;

pub use identity::{Contents, Stamp, Stamped, TICK};

/// A data set in files: a fixed list of them, in the order of their paths, with the same columns.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<StoredFile>,
    schema: SchemaRef,
}

impl Files {
    /// Finds and checks the files that `source` names, relative to `base`.
    pub(super) fn open(source: &str, base: &Path) -> Result<Self, DataError> {
        let paths = resolve(&base.join(source), source)?;
        let format = common_format(&paths)?;
        let mut files = Vec::with_capacity(paths.len());
        let mut schema: Option<(PathBuf, SchemaRef)> = None;
        let mut names = BTreeMap::new();
        for path in paths {
            let (file, columns) = StoredFile::open(path, format, &mut names)?;
            match (&schema, columns) {
                (_, None) => {}
                (None, Some(columns)) => schema = Some((file.path.clone(), columns)),
                (Some((first, expected)), Some(columns)) => compare(first, expected, &file.path, &columns)?,
            }
            files.push(file);
        }
        let schema = match schema {
            Some((_, schema)) => schema,
            None if format == Format::NdJson => text_schema(names.into_keys()),
            None => {
                return Err(FilesError::Invalid {
                    path: files[0].path.clone(),
                    format: format.name(),
                    reason: "it is empty, and no other file has the header line with the columns' names".into(),
                }
                .into());
            }
        };
        Ok(Self { files, schema })
    }
}

impl RowSource for Files {
    /// All of them text for CSV and NDJSON.
    fn columns(&self) -> &SchemaRef {
        &self.schema
    }

    fn place(&self) -> String {
        match self.files.len() {
            1 => "1 file".into(),
            many => format!("{many} files"),
        }
    }

    fn about(&self) -> u64 {
        self.files.iter().map(StoredFile::about).fold(0, u64::saturating_add)
    }

    /// Of the files' contents, whatever they are called and in whichever order they are: neither changes an answer.
    fn identity(&self, known: &dyn Fn(&Stamp) -> Option<Digest>) -> Option<Digest> {
        let mut contents = self.files.iter().map(|file| known(&file.stamp)).collect::<Option<Vec<_>>>()?;
        contents.sort();
        let format = self.files.first().and_then(|file| Format::of(&file.path)).map_or("", Format::name);
        let parts = std::iter::once(format.as_bytes()).chain(contents.iter().map(|digest| &digest.0[..]));
        Some(Digest::of("entente data 1", &parts.collect::<Vec<_>>()))
    }

    fn has_changed(&self) -> bool {
        self.files.iter().any(|file| Stamp::of(&file.path).ok() != Some(file.stamp))
    }

    fn read(&self, columns: &[String], schema: &DatasetSchema) -> Result<Box<dyn Scan<Batch> + '_>, ScanError> {
        Ok(Box::new(FileScan::new(&self.files, columns, schema)?))
    }
}

/// The files that `source` names, relative to `base`; nothing is read of them.
pub fn stamped(source: &str, base: &Path) -> Result<Vec<Stamped>, DataError> {
    let files = resolve(&base.join(source), source)?.into_iter();
    Ok(files.map(|path| Ok(Stamped { stamp: Stamp::of(&path)?, path })).collect::<Result<_, FilesError>>()?)
}

/// The files that a path or pattern stands for, sorted.
fn resolve(path: &Path, source: &str) -> Result<Vec<PathBuf>, FilesError> {
    let wildcard = |text: &std::ffi::OsStr| text.to_string_lossy().contains(['*', '?']);
    // A file whose name really has a wildcard in it is meant literally.
    if !path.exists() && path.file_name().is_some_and(wildcard) {
        let folder = path.parent().unwrap_or(Path::new("."));
        if wildcard(folder.as_os_str()) && !folder.exists() {
            return Err(FilesError::Wildcard { pattern: source.to_owned() });
        }
        let pattern = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return list(folder, path, |name| matches(pattern.as_bytes(), name.as_bytes()));
    }
    if wildcard(path.as_os_str()) && !path.exists() {
        return Err(FilesError::Wildcard { pattern: source.to_owned() });
    }
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() { list(path, path, |_| true) } else { Ok(vec![path.to_owned()]) }
}

/// The readable files of a folder whose names are wanted. Others (a README, a checksum, what starts with a dot or an
/// underscore) are passed over.
fn list(folder: &Path, asked: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, FilesError> {
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
        (true, Some(path)) if folder != asked => Err(FilesError::Extension { path }),
        (true, _) => Err(FilesError::Empty { path: asked.to_owned(), subfolders }),
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

fn common_format(paths: &[PathBuf]) -> Result<Format, FilesError> {
    let mut common: Option<(Format, &PathBuf)> = None;
    for path in paths {
        let format = Format::of(path).ok_or_else(|| FilesError::Extension { path: path.clone() })?;
        match common {
            Some((expected, first)) if expected != format => {
                return Err(FilesError::Mixed { first: first.clone(), second: path.clone() });
            }
            _ => common = Some((format, path)),
        }
    }
    Ok(common.expect("a resolved source has at least one file").0)
}

/// Names and types must be the same; the order of columns may differ.
fn compare(first: &Path, expected: &Schema, second: &Path, found: &Schema) -> Result<(), FilesError> {
    let differs = |difference: String| {
        Err(FilesError::SchemaDiffers { first: first.to_owned(), second: second.to_owned(), difference })
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
        Files::open(source, folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn files_folders_and_patterns_are_found_in_order() {
        let folder =
            folder(&[("b.csv", "x\n1\n"), ("a.csv", "x\n2\n"), ("_SUCCESS", ""), ("README.md", ""), (".a.csv", "y")]);
        let names = |source: &str| -> Vec<String> {
            let name = |file: &StoredFile| file.path.file_name().unwrap().to_string_lossy().into_owned();
            Files::open(source, folder.path()).unwrap().files.iter().map(name).collect()
        };
        assert_eq!(names("."), ["a.csv", "b.csv"]);
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
    fn rows_are_estimated_without_reading_them_all() {
        let lines: String = (0..40_000).map(|row| format!("{row},{}\n", row % 7)).collect();
        let folder = folder(&[("a.csv", &format!("id,x\n{lines}")), ("b.csv", "id,x\n1,2\n3,4\n")]);
        let about = Files::open(".", folder.path()).unwrap().about();
        assert!((40_000..50_000).contains(&about), "{about}");
        fs::write(folder.path().join("c.json"), "{\"x\": 1}\n").unwrap();
        assert_eq!(Files::open("c.json", folder.path()).unwrap().about(), 1);
    }

    /// The identity of what is there now, as if all of it were known.
    fn identity(folder: &Path) -> Digest {
        let source = Files::open(".", folder).unwrap();
        let files = stamped(".", folder).unwrap();
        let contents = |stamp: &Stamp| match files.iter().find(|file| file.stamp == *stamp)?.contents(2).unwrap() {
            Contents::Are(digest) => Some(digest),
            Contents::Moved => panic!("nobody writes"),
        };
        assert_eq!(source.identity(&|_| None), None);
        source.identity(&contents).unwrap()
    }

    #[test]
    fn an_identity_is_of_contents_alone() {
        let place = folder(&[("a.csv", "x\n1\n"), ("b.csv", "x\n2\n")]);
        let write = |name: &str, content: &str| fs::write(place.path().join(name), content).unwrap();
        let before = identity(place.path());
        write("a.csv", "x\n1\n");
        assert_eq!(identity(place.path()), before, "the same bytes once more");
        fs::rename(place.path().join("a.csv"), place.path().join("c.csv")).unwrap();
        assert_eq!(identity(place.path()), before, "another name, and another order");
        write("d.csv", "x\n2\n");
        assert_ne!(identity(place.path()), before, "the same rows twice are other data");
        fs::remove_file(place.path().join("d.csv")).unwrap();
        write("c.csv", "x\n3\n");
        assert_ne!(identity(place.path()), before);
    }

    #[test]
    fn a_change_since_opening_is_seen() {
        let place = folder(&[("a.csv", "x\n1\n")]);
        let source = Files::open(".", place.path()).unwrap();
        assert!(!source.has_changed());
        std::thread::sleep(identity::TICK);
        fs::write(place.path().join("a.csv"), "x\n2\n").unwrap();
        assert!(source.has_changed());
        let source = Files::open(".", place.path()).unwrap();
        fs::remove_file(place.path().join("a.csv")).unwrap();
        assert!(source.has_changed());
    }
}
