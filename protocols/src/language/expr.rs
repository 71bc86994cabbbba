//! Typed, total expressions over one row: what filters, group keys, measures and features are made of.
//!
//! Expressions are made by [`super::sql`] alone, from SQL and a public schema: every one has a value or NULL on every
//! row, whatever the row holds.
//!
//! **Defined results.** A column is read clipped: numbers and dates outside their bounds become the nearest bound,
//! NaN and text outside the categories become NULL. `x / 0` is NULL; division is always of floating point.
//! Comparisons with NULL are NULL, and a row is kept only where the filter is true.

use super::schema::Day;

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
pub enum ValueType {
    /// Whole number, `i64`.
    Int,
    /// `f64`, never NaN.
    Float,
    /// True or false.
    Bool,
    /// UTF-8 text.
    Text,
    /// Day.
    Date,
}

/// A constant that is not NULL.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum Value {
    /// See [`ValueType::Int`].
    Int(i64),
    /// See [`ValueType::Float`].
    Float(f64),
    /// See [`ValueType::Bool`].
    Bool(bool),
    /// See [`ValueType::Text`].
    Text(String),
    /// See [`ValueType::Date`].
    Date(Day),
}

impl Value {
    /// The type of this value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Bool(_) => ValueType::Bool,
            Self::Text(_) => ValueType::Text,
            Self::Date(_) => ValueType::Date,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Date(value) => value.fmt(f),
        }
    }
}

/// `+ - * /`. Both sides have the same type, Int or Float; `/` only Float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Arithmetic {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient; NULL where the divisor is zero.
    Divide,
}

/// `= <> < <= > >=`. Both sides have the same type; Text only `=` and `<>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A part of a date, as a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum DatePart {
    /// Calendar year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 0 (Sunday) to 6, as PostgreSQL's `DOW`.
    DayOfWeek,
}

/// What a date is cut down to: the first day of its month, quarter or year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum DateUnit {
    /// 1 January.
    Year,
    /// 1 January, April, July or October.
    Quarter,
    /// The first of the month.
    Month,
}

/// A typed, total expression over one row. Conversions are explicit ([`Expr::Cast`]): both sides of an operator
/// always have one type.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum Expr {
    /// A declared column, clipped to its public bounds.
    Column(String),
    /// A constant.
    Literal(Value),
    /// NULL of a type.
    Null(ValueType),
    /// Arithmetic; whole numbers stay inside `i64` because the planner bounded every operand.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// Comparison; NULL if either side is.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// All true (SQL's three-valued AND).
    And(Box<Expr>, Box<Expr>),
    /// Any true (SQL's three-valued OR).
    Or(Box<Expr>, Box<Expr>),
    /// Negation of a Bool.
    Not(Box<Expr>),
    /// `IS NULL`, never NULL itself.
    IsNull(Box<Expr>),
    /// The value of the first condition that is true; else the last expression.
    Case(Vec<(Expr, Expr)>, Box<Expr>),
    /// Conversion to another type: Int to Float exactly as `as f64`; Float to Int truncated toward zero; Bool to Int
    /// as 1 and 0. The planner allows no conversion that could fail or leave the range.
    Cast(Box<Expr>, ValueType),
    /// Part of a date, as Int.
    DatePart(DatePart, Box<Expr>),
    /// First day of the unit a date lies in.
    DateTrunc(DateUnit, Box<Expr>),
}

impl Expr {
    /// How many nodes it has, all of which are computed on every row.
    pub fn nodes(&self) -> u64 {
        let inner = match self {
            Self::Column(_) | Self::Literal(_) | Self::Null(_) => 0,
            Self::Arithmetic(_, left, right)
            | Self::Compare(_, left, right)
            | Self::And(left, right)
            | Self::Or(left, right) => left.nodes() + right.nodes(),
            Self::Not(inner)
            | Self::IsNull(inner)
            | Self::Cast(inner, _)
            | Self::DatePart(_, inner)
            | Self::DateTrunc(_, inner) => inner.nodes(),
            Self::Case(branches, otherwise) => {
                otherwise.nodes() + branches.iter().map(|(when, then)| when.nodes() + then.nodes()).sum::<u64>()
            }
        };
        inner + 1
    }
}
