//! The typed plan of a features query: one row a customer, and in each row the model's features and its target.
//!
//! It is made by [`crate::language::sql`] alone, and as total as a query's plan: see
//! [`super::expr`] for how columns are read. A customer for whom the query yields several rows is left
//! out: which of them is meant, it does not say.

use crate::language::expr::Expr;
use crate::language::schema::ColumnType;
use crate::learn::recipe::Values;

/// One value of a customer's row.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// How it is computed from the data set's columns.
    pub expr: Expr,
    /// What its values are, which follows from the columns' public bounds.
    pub values: Values,
}

/// The rows that a features query yields over one data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct RowsPlan {
    /// The data set.
    pub dataset: String,
    /// The column that is one customer.
    pub privacy_unit: String,
    /// The columns that the plan reads, by name, with the types and bounds it relies on.
    pub columns: Vec<(String, ColumnType)>,
    /// Rows are kept where this is true.
    pub filter: Option<Expr>,
    /// What a row holds, the privacy unit not counted; names without repeats.
    pub outputs: Vec<Output>,
}
