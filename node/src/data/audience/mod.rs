//! Audiences: the customers of this node who were scored in a study, by name, with what each was given.
//!
//! ```text
//! scores by number ─▶ [naming] a second look at the units ─▶ audience/STUDY.parquet ─▶ [saved] the best ─▶ [table]
//!                              of customers who consent                                                    CSV, Parquet
//! ```
//!
//! An audience is a Parquet file of three columns: the privacy unit under its own name and as it is stored (text or a
//! whole number), `score` or `bucket`, and `percentile`: the share, in percent, of all scored customers who have at
//! most this score, so that 100 is the highest and equal scores have one. It is about real customers: it is readable by
//! the node's account alone, and nothing sends it anywhere.

mod naming;
mod saved;
mod scores;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use naming::Naming;
pub use saved::{Audience, AudienceError, Header, Selection, list};
pub use scores::Scores;
pub use table::{Chosen, Form};

/// The identifier of a study as the name of its audience's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyId(String);

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
pub enum Kind {
    /// A score each.
    Scores,
    /// One of a few buckets each, the higher the better.
    Buckets,
}

impl Kind {
    /// The name of the column.
    pub fn column(self) -> &'static str {
        match self {
            Self::Scores => "score",
            Self::Buckets => "bucket",
        }
    }
}

/// The names of an audience's columns, which are told apart by their place: a privacy unit may be called `score`.
fn columns(unit: &str, kind: Kind) -> [String; 3] {
    let other = |name: &str| if name == unit { format!("audience_{name}") } else { name.to_owned() };
    [unit.to_owned(), other(kind.column()), other("percentile")]
}

/// What a file says of itself beside its columns.
mod key {
    pub(super) const STUDY: &str = "entente.study";
    pub(super) const DATASET: &str = "entente.dataset";
    pub(super) const CREATED: &str = "entente.created";
    pub(super) const ROWS: &str = "entente.rows";
    pub(super) const SELECTION: &str = "entente.selection";
}

#[cfg(test)]
mod tests;
