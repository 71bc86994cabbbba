//! Why a study cannot be asked, and how what it says is shown.

use crate::kind::Kind;
use crate::language::sql;
use crate::privacy::mechanism::Infeasible;
use crate::privacy::rho::Rho;
use crate::reason::Reason;

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
    /// Earlier attempts have used up what the study may cost.
    #[error(
        "earlier attempts were charged ρ = {spent} of the {most} that the study may cost, lost rounds included; the {left} that is left \
         does not suffice for what is still to be released, which takes {wanted}. Submit the study anew"
    )]
    Spent {
        /// What they were charged.
        spent: Rho,
        /// The most that all attempts together may cost.
        most: Rho,
        /// The difference.
        left: Rho,
        /// What the rounds that are left were to have.
        wanted: Rho,
    },
    /// The budget or the participants.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
}

impl Refusal {
    /// What is wrong, apart from what to do about it where that is known.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Sql(refusal) => refusal.reason(),
            Self::NoData { participant, dataset } => {
                Reason::from(format!("`{participant}` has no data set `{dataset}`"))
                    .help("name the data set alike at every partner, in node.toml")
            }
            Self::Stated { .. } | Self::Differs(_) | Self::Spent { .. } | Self::Infeasible(_) => {
                self.to_string().into()
            }
        }
    }
}

/// What makes text that others have written fit for one line of a terminal.
pub type Line<'a> = &'a dyn Fn(&str) -> String;
