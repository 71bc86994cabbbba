//! What can go wrong with a data set: where, why and what to do about it.

use std::path::PathBuf;

/// A data set that cannot be opened or read.
///
/// Everything that is the node's staff's to repair is found while opening and says so in detail. Once rows are being
/// read there is only [`DataError::Failed`], which says nothing: what stopped the reading may depend on one
/// customer's row, so the cause goes to the node's own log and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Nothing is there.
    #[error("there is no file or folder {path}; correct `source` in node.toml or put the data there")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A folder or pattern without any file that can be read.
    #[error(
        "{path} holds no .parquet, .csv, .ndjson, .jsonl or .json file; correct `source` in node.toml{}",
        subfolder_hint(.subfolders)
    )]
    Empty {
        /// The folder or pattern.
        path: PathBuf,
        /// Whether it has subfolders, which are not read.
        subfolders: bool,
    },
    /// `*` or `?` in a folder's name.
    #[error("the source `{pattern}` has a wildcard in a folder's name; `*` and `?` may stand in the file's name only")]
    Wildcard {
        /// The source as given.
        pattern: String,
    },
    /// Files of several formats under one source.
    #[error("a data set has one format, but {first} and {second} differ; move one away or name the others as `*.csv`")]
    Mixed {
        /// A file of one format.
        first: PathBuf,
        /// A file of another.
        second: PathBuf,
    },
    /// A file that is of none of the formats, by its extension.
    #[error(
        "{path} is not a file this node can read; it reads .parquet, .csv and .ndjson (or .jsonl, .json), uncompressed"
    )]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path} cannot be read: {reason}; check that it exists and that the node's user may read it")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file that is not of the format that its extension names.
    #[error("{path} is not a valid {format} file: {reason}; write it again, or give it the extension of its format")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Two files of a data set with different columns.
    #[error("{second} does not have the columns of {first}: {difference}; write all files of a data set alike")]
    SchemaDiffers {
        /// The file all others are compared with.
        first: PathBuf,
        /// The one that differs.
        second: PathBuf,
        /// How.
        difference: String,
    },
    /// A declared column, the privacy unit or a column of the consent predicate that the source does not have.
    #[error("{role} `{column}` is not in the data{}", suggestion(.nearest, .available))]
    MissingColumn {
        /// The column.
        column: String,
        /// What it is for: "column", "the privacy unit", "the consent predicate's column".
        role: &'static str,
        /// The most similar name that the data has.
        nearest: Option<String>,
        /// All names that the data has, shortened.
        available: String,
    },
    /// A column whose stored type cannot be read as the declared one.
    #[error("column `{column}` is stored as {found} and cannot be read as {declared}; {fix}")]
    ColumnType {
        /// The column.
        column: String,
        /// The type in the file.
        found: String,
        /// The declared type.
        declared: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// A privacy unit that is neither a whole number nor text.
    #[error(
        "the privacy unit `{column}` is stored as {found}; it must be a whole number or text, so store it as one of them"
    )]
    UnitType {
        /// The column.
        column: String,
        /// The type in the file.
        found: String,
    },
    /// A consent predicate outside the small language it may be written in.
    #[error("the consent predicate `{predicate}` cannot be used: {problem}")]
    Consent {
        /// The predicate.
        predicate: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A plan that was made for another schema than the data set's.
    #[error("the study's plan does not fit data set `{dataset}`: {problem}")]
    Plan {
        /// The data set.
        dataset: String,
        /// What differs.
        problem: String,
    },
    /// Reading did not come to its end. Deliberately without a cause: see the type.
    #[error("the data could not be read to its end; the node's own log says why")]
    Failed,
}

impl DataError {
    /// Puts the cause into the node's log and returns the error that tells nothing.
    pub(crate) fn opaque(cause: impl std::fmt::Display) -> Self {
        tracing::error!(target: "entente::data", %cause, "reading a data set failed");
        Self::Failed
    }

    /// The column it is about, if it is about one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::MissingColumn { column, .. } | Self::ColumnType { column, .. } | Self::UnitType { column, .. } => {
                Some(column)
            }
            _ => None,
        }
    }

    pub(crate) fn missing_column<'a>(
        column: &str,
        role: &'static str,
        available: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let nearest = available
            .clone()
            .map(|name| (strsim::damerau_levenshtein(&column.to_lowercase(), &name.to_lowercase()), name))
            .min()
            .filter(|(distance, name)| *distance <= 1 + name.len().max(column.len()) / 4)
            .map(|(_, name)| name.to_owned());
        let names: Vec<&str> = available.clone().take(12).collect();
        let more = if available.count() > names.len() { ", …" } else { "" };
        Self::MissingColumn { column: column.to_owned(), role, nearest, available: names.join(", ") + more }
    }
}

fn suggestion(nearest: &Option<String>, available: &str) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`? Correct the name in node.toml or in the data"),
        None => format!(", which has: {available}; correct the name in node.toml or in the data"),
    }
}

fn subfolder_hint(subfolders: &bool) -> &'static str {
    if *subfolders { " (subfolders are not read: name one, or give each its own data set)" } else { "" }
}
