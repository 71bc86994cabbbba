//! What can be wrong with the files of a data set: in detail, as all of it is the node's staff's to repair.

use std::path::{Path, PathBuf};

use crate::data::error::DataError;

/// Files that cannot be opened.
#[derive(Debug)]
pub(super) enum FilesError {
    /// Nothing is there.
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A folder or pattern without any file that can be read.
    Empty {
        /// The folder or pattern.
        path: PathBuf,
        /// Whether it has subfolders, which are not read.
        subfolders: bool,
    },
    /// `*` or `?` in a folder's name.
    Wildcard {
        /// The source as given.
        pattern: String,
    },
    /// Files of several formats under one source.
    Mixed {
        /// A file of one format.
        first: PathBuf,
        /// A file of another.
        second: PathBuf,
    },
    /// A file that is of none of the formats, by its extension.
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file that is not of the format that its extension names.
    Invalid {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Two files of a data set with different columns.
    SchemaDiffers {
        /// The file all others are compared with.
        first: PathBuf,
        /// The one that differs.
        second: PathBuf,
        /// How.
        difference: String,
    },
}

impl FilesError {
    /// What is wrong, and where.
    fn problem(&self) -> String {
        match self {
            Self::Missing { path } => format!("there is no file or folder {}", path.display()),
            Self::Empty { path, .. } => {
                format!("{} holds no .parquet, .csv, .ndjson, .jsonl or .json file", path.display())
            }
            Self::Wildcard { pattern } => format!("the source `{pattern}` has a wildcard in a folder's name"),
            Self::Mixed { first, second } => {
                format!("a data set has one format, but {} and {} differ", first.display(), second.display())
            }
            Self::Extension { path } => format!("{} is not a file this node can read", path.display()),
            Self::Unreadable { path, reason } => format!("{} cannot be read: {reason}", path.display()),
            Self::Invalid { path, format, reason } => {
                format!("{} is not a valid {format} file: {reason}", path.display())
            }
            Self::SchemaDiffers { first, second, difference } => {
                format!("{} does not have the columns of {}: {difference}", second.display(), first.display())
            }
        }
    }

    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "correct `source` in node.toml or put the data there",
            Self::Empty { subfolders: false, .. } => "correct `source` in node.toml",
            Self::Empty { subfolders: true, .. } => {
                "correct `source` in node.toml (subfolders are not read: name one, or give each its own data set)"
            }
            Self::Wildcard { .. } => "`*` and `?` may stand in the file's name only",
            Self::Mixed { .. } => "move one away or name the others as `*.csv`",
            Self::Extension { .. } => "it reads .parquet, .csv and .ndjson (or .jsonl, .json), uncompressed",
            Self::Unreadable { .. } => "check that it exists and that the node's user may read it",
            Self::Invalid { .. } => "write it again, or give it the extension of its format",
            Self::SchemaDiffers { .. } => "write all files of a data set alike",
        }
    }
}

impl From<FilesError> for DataError {
    fn from(error: FilesError) -> Self {
        Self::Source { problem: error.problem(), remedy: error.remedy() }
    }
}

/// What the operating system said of a file or folder.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> FilesError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FilesError::Missing { path: path.to_owned() },
        _ => FilesError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_files_and_what_to_do_are_told_apart() {
        let path = || PathBuf::from("a; b");
        let empty = |subfolders| FilesError::Empty { path: path(), subfolders };
        for (error, problem, remedy) in [
            (
                FilesError::Missing { path: path() },
                "there is no file or folder a; b",
                "correct `source` in node.toml or put the data there",
            ),
            (
                empty(false),
                "a; b holds no .parquet, .csv, .ndjson, .jsonl or .json file",
                "correct `source` in node.toml",
            ),
            (
                empty(true),
                "a; b holds no .parquet, .csv, .ndjson, .jsonl or .json file",
                "correct `source` in node.toml (subfolders are not read: name one, or give each its own data set)",
            ),
            (
                FilesError::Extension { path: path() },
                "a; b is not a file this node can read",
                "it reads .parquet, .csv and .ndjson (or .jsonl, .json), uncompressed",
            ),
            (
                FilesError::Invalid { path: path(), format: "CSV", reason: "x; y".into() },
                "a; b is not a valid CSV file: x; y",
                "write it again, or give it the extension of its format",
            ),
        ] {
            assert_eq!(DataError::from(error), DataError::Source { problem: problem.to_owned(), remedy });
        }
    }
}
