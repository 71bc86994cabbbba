//! What an audience's file is called, what its columns are and what it says of itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The identifier of a study as the name of its audience's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyId(pub(super) String);

/// An identifier that cannot be a file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a study's identifier: write 1 to 100 letters, digits, `-` and `_`, first a letter or digit")]
pub struct StudyIdError(String);

impl FromStr for StudyId {
    type Err = StudyIdError;

    fn from_str(text: &str) -> Result<Self, StudyIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let good = (1..=100).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(StudyIdError(text.chars().take(120).collect())) }
    }
}

impl fmt::Display for StudyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StudyId {
    /// The audience of this study in the folder of audiences.
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.parquet", self.0))
    }
}

/// What customers were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A score each.
    Scores,
    /// One of a few buckets each, the higher the better.
    Buckets,
}

impl Opened {
    /// The name of the column.
    pub fn column(self) -> &'static str {
        match self {
            Self::Scores => "score",
            Self::Buckets => "bucket",
        }
    }
}

/// The names of an audience's columns, which are told apart by their place: a privacy unit may be called `score`.
pub(super) fn columns(unit: &str, opened: Opened) -> [String; 3] {
    let other = |name: &str| if name == unit { format!("audience_{name}") } else { name.to_owned() };
    [unit.to_owned(), other(opened.column()), other("percentile")]
}

/// What a file says of itself beside its columns.
pub(super) mod key {
    pub const STUDY: &str = "entente.study";
    pub const DATASET: &str = "entente.dataset";
    pub const CREATED: &str = "entente.created";
    pub const ROWS: &str = "entente.rows";
    pub const SELECTION: &str = "entente.selection";
}

/// What an audience says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The study that scored it.
    pub study: StudyId,
    /// The data set whose customers they are.
    pub dataset: String,
    /// The column that names them.
    pub privacy_unit: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Scores or buckets.
    pub opened: Opened,
    /// How many they are.
    pub customers: u64,
}
