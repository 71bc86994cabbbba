//! Study kinds. Code knows them by this enum; their names stand in files alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a study is about. What it asks in detail is in [`crate::study::StudySpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sums over groups, asked in SQL.
    Query,
    /// A model, trained in rounds.
    Train,
    /// Customers scored by another partner's model.
    Lookalike,
}

impl Kind {
    /// All kinds of this version.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self::Query), |kind| kind.next())
    }

    /// The one behind it: a match, so that none is left out of [`Self::all`].
    fn next(self) -> Option<Self> {
        match self {
            Self::Query => Some(Self::Train),
            Self::Train => Some(Self::Lookalike),
            Self::Lookalike => None,
        }
    }

    /// Its name in study files, policies, ledgers and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Train => "train",
            Self::Lookalike => "lookalike",
        }
    }

    /// The names of all kinds, as a list to be read.
    pub fn names() -> String {
        Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// What a study of this kind leaves at nodes beside their ledgers, in sentences for whoever looks back at it.
    pub fn stays(self) -> Option<&'static str> {
        match self {
            Self::Query | Self::Train => None,
            Self::Lookalike => Some(
                "The scores of this node's customers stay at this node. For them, messages were exchanged with the owner of the model that \
                 are as good as random to it.",
            ),
        }
    }

    /// Whether every participant of a study brings customers and is charged, rather than some of them alone.
    pub fn charges_all(self) -> bool {
        match self {
            Self::Query | Self::Train => true,
            Self::Lookalike => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no study kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such study kind; there are: {}", Kind::names())]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::all().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in Kind::all() {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!("Query".parse::<Kind>(), Err(UnknownKind));
    }
}
