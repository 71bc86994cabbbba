//! What can go wrong with a data set: what is wrong and where, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// A data set that cannot be opened or read.
///
/// Everything that is the node's staff's to repair is found while opening and says so in detail. Once rows are being
/// read there is only [`DataError::Failed`], which says nothing: what stopped the reading may depend on one
/// customer's row, so the cause goes to the node's own log and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataError {
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
    /// A declared column, the privacy unit or a column of the consent predicate that the source does not have.
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
    UnitType {
        /// The column.
        column: String,
        /// The type in the file.
        found: String,
    },
    /// A consent predicate outside the small language it may be written in.
    Consent {
        /// The predicate.
        predicate: String,
        /// What is wrong.
        problem: String,
        /// What to write instead, where that can be said.
        remedy: Option<&'static str>,
    },
    /// A plan that was made for another schema than the data set's.
    Plan {
        /// The data set.
        dataset: String,
        /// What differs.
        problem: String,
        /// What to do, where that can be said.
        remedy: Option<&'static str>,
    },
    /// Reading did not come to its end. Deliberately without a cause: see the type.
    Failed,
}

impl DataError {
    /// What is wrong, and where.
    pub fn problem(&self) -> String {
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
            Self::MissingColumn { column, role, nearest, available } => {
                let has = if nearest.is_some() { String::new() } else { format!(", which has: {available}") };
                format!("{role} `{column}` is not in the data{has}")
            }
            Self::ColumnType { column, found, declared, .. } => {
                format!("column `{column}` is stored as {found} and cannot be read as {declared}")
            }
            Self::UnitType { column, found } => format!("the privacy unit `{column}` is stored as {found}"),
            Self::Consent { predicate, problem, .. } => {
                format!("the consent predicate `{predicate}` cannot be used: {problem}")
            }
            Self::Plan { dataset, problem, .. } => {
                format!("the study's plan does not fit data set `{dataset}`: {problem}")
            }
            Self::Failed => "the data could not be read to its end".into(),
        }
    }

    /// What to do about it, where that can be said.
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        let remedy = match self {
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
            Self::MissingColumn { nearest: Some(name), .. } => {
                let remedy = format!("did you mean `{name}`? Correct the name in node.toml or in the data");
                return Some(remedy.into());
            }
            Self::MissingColumn { nearest: None, .. } => "correct the name in node.toml or in the data",
            Self::ColumnType { fix, .. } => fix,
            Self::UnitType { .. } => "it must be a whole number or text, so store it as one of them",
            Self::Consent { remedy, .. } | Self::Plan { remedy, .. } => return remedy.map(Cow::from),
            Self::Failed => "the node's own log says why",
        };
        Some(remedy.into())
    }

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

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match self.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DataError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_and_what_to_do_are_told_apart_and_together() {
        let path = || PathBuf::from("a; b");
        let empty = |subfolders| DataError::Empty { path: path(), subfolders };
        let missing =
            |column: &str| DataError::missing_column(column, "the declared column", ["age", "city"].into_iter());
        for (error, problem, remedy) in [
            (
                DataError::Missing { path: path() },
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
                DataError::Extension { path: path() },
                "a; b is not a file this node can read",
                "it reads .parquet, .csv and .ndjson (or .jsonl, .json), uncompressed",
            ),
            (
                DataError::Invalid { path: path(), format: "CSV", reason: "x; y".into() },
                "a; b is not a valid CSV file: x; y",
                "write it again, or give it the extension of its format",
            ),
            (
                missing("agee"),
                "the declared column `agee` is not in the data",
                "did you mean `age`? Correct the name in node.toml or in the data",
            ),
            (
                missing("spend"),
                "the declared column `spend` is not in the data, which has: age, city",
                "correct the name in node.toml or in the data",
            ),
            (
                DataError::UnitType { column: "id".into(), found: "Float64".into() },
                "the privacy unit `id` is stored as Float64",
                "it must be a whole number or text, so store it as one of them",
            ),
            (DataError::Failed, "the data could not be read to its end", "the node's own log says why"),
        ] {
            assert_eq!((error.problem().as_str(), error.remedy().as_deref()), (problem, Some(remedy)));
            assert_eq!(error.to_string(), format!("{problem}; {remedy}"));
        }
        let plan = DataError::Plan { dataset: "d".into(), problem: "it has 2^32 groups".into(), remedy: None };
        assert_eq!(plan.to_string(), "the study's plan does not fit data set `d`: it has 2^32 groups");
    }
}
