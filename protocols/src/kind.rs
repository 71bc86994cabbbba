//! Study kinds. Code knows them by this enum; their names stand in files alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Makes the enum, the list of all its variants and their names of one list, so that no kind can be left out of any of them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What a study is about. What it asks in detail is in [`crate::study::StudySpec`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl Kind {
            /// All kinds of this version.
            pub fn all() -> impl Iterator<Item = Self> {
                [$(Self::$kind),*].into_iter()
            }

            /// Its name in study files, policies, ledgers and receipts.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Sums over groups, asked in SQL.
    Query = "query",
    /// A model, trained in rounds.
    Train = "train",
    /// Customers scored by another partner's model.
    Lookalike = "lookalike",
}

impl Kind {
    /// The names of all kinds, as a list to be read.
    pub fn names() -> String {
        Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// What customers are summed over in, as records of processing say it.
    pub fn sums(self) -> &'static str {
        match self {
            Self::Query => "in queries",
            Self::Train => "in the training of models",
            Self::Lookalike => "in counts of customers by score",
        }
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
