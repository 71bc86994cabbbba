//! Why a study cannot be asked, and how what it says is shown.

use crate::kind::Kind;
use crate::language::sql;
use crate::privacy::mechanism::Infeasible;

/// Why a study cannot be asked; nothing is charged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The SQL.
    #[error(transparent)]
    Sql(#[from] sql::Refusal),
    /// What the study file says in the table of its kind.
    #[error("[{kind}]: {problem}")]
    Stated {
        /// The kind.
        kind: Kind,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// Somebody whose customers are to be summed over has none.
    #[error("`{participant}` has no data set `{dataset}`; name the data set alike at every partner, in node.toml")]
    NoData {
        /// Who.
        participant: String,
        /// What it lacks.
        dataset: String,
    },
    /// Participants whose data sets are declared differently.
    #[error("{0}")]
    Differs(String),
    /// The budget or the participants.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
}

/// What makes text that others have written fit for one line of a terminal.
pub type Line<'a> = &'a dyn Fn(&str) -> String;
