//! Why a study cannot be asked.

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
    /// The budget or the participants.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
}
