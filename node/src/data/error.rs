//! What can go wrong with a data set: what is wrong and where, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// A data set that cannot be opened or read.
///
/// Everything that is the node's staff's to repair is found while opening and says so in detail. Once rows are being
/// read there is only [`DataError::Failed`], which says nothing: what stopped the reading may depend on one
/// customer's row, so the cause goes to the node's own log and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataError {
    /// A source that cannot be read, in the words of its kind.
    Source {
        /// What is wrong, and where.
        problem: String,
        /// What to do.
        remedy: &'static str,
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
            Self::Source { problem, .. } => problem.clone(),
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
            Self::Source { remedy, .. } => remedy,
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
        let missing =
            |column: &str| DataError::missing_column(column, "the declared column", ["age", "city"].into_iter());
        for (error, problem, remedy) in [
            (
                DataError::Source { problem: "there is no file a; b".into(), remedy: "put it there" },
                "there is no file a; b",
                "put it there",
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
