//! What a text is read as, and the words of refusals that depend on it.

use super::error::{FUNCTIONS, MEASURE_NAMES};

/// What is wrong, and what to write instead.
pub(super) type Reason = (&'static str, &'static str);

/// What a text is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Measures over groups of rows.
    Query,
    /// One row a customer, with its features.
    Features,
    /// Customers who fulfil a condition.
    Seeds,
    /// One of these, while only the name of its data set is asked for.
    Either,
}

impl Form {
    /// What it looks like.
    pub fn shape(self) -> &'static str {
        match self {
            Self::Query => "Write SELECT keys and measures FROM data_set [WHERE condition] [GROUP BY keys]",
            Self::Features => "Write SELECT privacy_unit, feature, feature AS name FROM data_set [WHERE condition]",
            Self::Seeds => {
                "Write SELECT privacy_unit FROM data_set WHERE condition, with `, number` behind the privacy unit for how much each counts"
            }
            Self::Either => "Write SELECT items FROM data_set [WHERE condition] [GROUP BY keys]",
        }
    }

    /// Why there are no aggregates and groups, where there are none.
    pub fn no_aggregates(self) -> Option<Reason> {
        const INSTEAD: &str = "Write columns and expressions over one row; aggregate where the table is made, into one row per \
                               customer, and declare the result as a column in node.toml at each partner";
        match self {
            Self::Query | Self::Either => None,
            Self::Features => Some((
                "a features query yields one row per customer, and aggregates per customer are not available in this version",
                INSTEAD,
            )),
            Self::Seeds => Some(("the condition for a seed is one over a customer's row", INSTEAD)),
        }
    }

    /// ORDER BY and the like.
    pub fn sorted(self) -> Reason {
        match self {
            Self::Query | Self::Either => (
                "results are not sorted by the query",
                "Delete it; results are listed in the order of their groups, sort them afterwards",
            ),
            Self::Features | Self::Seeds => ("the order of customers means nothing", "Delete it"),
        }
    }

    /// LIMIT and the like.
    pub fn cut(self) -> Reason {
        match self {
            Self::Query | Self::Either => (
                "results are not cut by the query",
                "Delete it; every public group is part of the result, pick from them afterwards",
            ),
            Self::Features | Self::Seeds => (
                "customers are not cut off by the query, since fewer of them spend as much",
                "Delete it, or write a condition in WHERE",
            ),
        }
    }

    /// DISTINCT.
    pub fn distinct(self) -> Reason {
        match self {
            Self::Query | Self::Either => (
                "rows are not listed, only counted and summed",
                "Write GROUP BY over the keys; each group is listed once",
            ),
            Self::Features => (
                "a customer has one row, and a customer for whom the query yields several is left out",
                "Delete DISTINCT, and write a condition in WHERE that keeps one row per customer",
            ),
            Self::Seeds => ("a customer is a seed once, whatever the query says", "Delete DISTINCT"),
        }
    }

    /// HAVING.
    pub fn having(self) -> Reason {
        self.no_aggregates().unwrap_or((
            "groups cannot be filtered by their contents; that would reveal them",
            "Delete it and choose among the published groups afterwards, which costs nothing",
        ))
    }

    /// `*`.
    pub fn everything(self) -> Reason {
        match self {
            Self::Query | Self::Either => (
                "rows are not listed, only counted and summed",
                "Write COUNT(*), COUNT(DISTINCT unit), SUM(…) or AVG(…)",
            ),
            Self::Features => (
                "features are named one by one, so that all who read the study see what it uses",
                "Write the privacy unit and the columns that the model is to see",
            ),
            Self::Seeds => ("seeds are customers, named by the privacy unit", Self::Seeds.shape()),
        }
    }

    /// What to write instead of the privacy unit in an expression.
    pub fn unit(self, unit: &str) -> String {
        match self {
            Self::Query | Self::Either => format!("Write COUNT(DISTINCT {unit}) to count customers"),
            Self::Features | Self::Seeds => {
                format!("Write {unit} once, as an item of its own, and no condition on it")
            }
        }
    }

    /// What to write instead of OVER.
    pub fn over(self) -> &'static str {
        match self {
            Self::Query | Self::Either => "Write GROUP BY, without OVER",
            Self::Features | Self::Seeds => "Write an expression over one row, without OVER",
        }
    }

    /// The functions there are.
    pub fn functions(self) -> String {
        match self {
            Self::Query | Self::Either => format!("{FUNCTIONS}; {MEASURE_NAMES}"),
            Self::Features | Self::Seeds => FUNCTIONS.to_owned(),
        }
    }
}
