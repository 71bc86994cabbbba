//! A typed expression: the plan's expression, with its type, public range and size.

use crate::language::expr::{Expr, Value, ValueType};
use crate::language::schema::{ColumnType, Day};

use super::range::{Known, Range};

/// An expression with all that is publicly known about its value.
#[derive(Clone, Debug)]
pub(super) struct Typed<'a> {
    pub expr: Expr,
    pub domain: Domain<'a>,
    /// Number of nodes.
    pub size: usize,
}

/// The type of an expression and what its values can be, NULL aside.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Domain<'a> {
    /// Always NULL, of no type yet.
    Null,
    Bool,
    /// One of these words.
    Text(Vec<Words<'a>>),
    Int(Range<i64>),
    Float {
        range: Range<f64>,
        /// Whether every value is a whole number.
        whole: bool,
    },
    Date(Range<Day>),
}

/// Words that a text can be.
#[derive(Clone, Debug)]
pub(super) enum Words<'a> {
    /// The public values of a category column.
    Category(&'a [String]),
    /// A literal.
    Literal(String),
}

impl PartialEq for Words<'_> {
    /// Categories are the same if they are the same list in memory: comparing thousands of words for every CASE branch
    /// would be slow, and a list that is there twice does no harm.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Category(a), Self::Category(b)) => std::ptr::eq(*a, *b),
            (Self::Literal(a), Self::Literal(b)) => a == b,
            _ => false,
        }
    }
}

impl Words<'_> {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (values, literal) = match self {
            Self::Category(values) => (*values, None),
            Self::Literal(literal) => (&[][..], Some(literal.as_str())),
        };
        values.iter().map(String::as_str).chain(literal)
    }
}

impl<'a> Typed<'a> {
    /// NULL, of a type still open.
    pub fn null() -> Self {
        Self { expr: Expr::Null(ValueType::Int), domain: Domain::Null, size: 1 }
    }

    /// A constant.
    pub fn literal(value: Value) -> Self {
        let domain = match &value {
            Value::Int(value) => Domain::Int(Range::Within(*value, *value)),
            Value::Float(value) => Domain::Float { range: Range::Within(*value, *value), whole: value.fract() == 0.0 },
            Value::Bool(_) => Domain::Bool,
            Value::Text(text) => Domain::Text(vec![Words::Literal(text.clone())]),
            Value::Date(day) => Domain::Date(Range::Within(*day, *day)),
        };
        Self { expr: Expr::Literal(value), domain, size: 1 }
    }

    /// A declared column.
    pub fn column(name: &str, column_type: &'a ColumnType) -> Self {
        let domain = match column_type {
            ColumnType::Category { values } => Domain::Text(vec![Words::Category(values)]),
            ColumnType::Int { min, max } => Domain::Int(Range::declared(name, *min, *max)),
            ColumnType::Float { min, max } => Domain::Float { range: Range::declared(name, *min, *max), whole: false },
            ColumnType::Date { min, max } => Domain::Date(Range::declared(name, *min, *max)),
            ColumnType::Bool => Domain::Bool,
        };
        Self { expr: Expr::Column(name.to_owned()), domain, size: 1 }
    }

    /// A condition out of parts of `size` nodes together.
    pub fn condition(expr: Expr, size: usize) -> Self {
        Self { expr, domain: Domain::Bool, size: size + 1 }
    }

    /// The type, where it is not open.
    pub fn value_type(&self) -> Option<ValueType> {
        match self.domain {
            Domain::Null => None,
            Domain::Bool => Some(ValueType::Bool),
            Domain::Text(_) => Some(ValueType::Text),
            Domain::Int(_) => Some(ValueType::Int),
            Domain::Float { .. } => Some(ValueType::Float),
            Domain::Date(_) => Some(ValueType::Date),
        }
    }

    /// The type as text.
    pub fn type_name(&self) -> &'static str {
        match self.domain {
            Domain::Null => "NULL",
            Domain::Bool => "a condition (true or false)",
            Domain::Text(_) => "text",
            Domain::Int(_) => "a whole number",
            Domain::Float { .. } => "a number",
            Domain::Date(_) => "a date",
        }
    }

    /// The text of a text literal.
    pub fn text_literal(&self) -> Option<&str> {
        match &self.expr {
            Expr::Literal(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// NULL given a type; anything else as it is.
    pub fn of_type(mut self, value_type: ValueType) -> Self {
        if matches!(self.domain, Domain::Null) {
            self.expr = Expr::Null(value_type);
        }
        self
    }

    /// A whole number as a number; anything else as it is. Literals are converted here, so that bins and bounds stay
    /// literals.
    pub fn into_float(self) -> Self {
        match (self.domain, self.expr) {
            (Domain::Int(_), Expr::Literal(Value::Int(value))) => Self::literal(Value::Float(value as f64)),
            (Domain::Int(range), expr) => Self {
                expr: Expr::Cast(Box::new(expr), ValueType::Float),
                domain: Domain::Float { range: range.map(|value| value as f64), whole: true },
                size: self.size + 1,
            },
            (domain, expr) => Self { expr, domain, size: self.size },
        }
    }

    /// A literal such as 20.0 as the whole number that it is; anything else as it is. For whole numbers to be compared with: read as
    /// numbers, they are exact up to 2^53, and beyond that on the same side of it.
    pub fn whole_literal(self) -> Self {
        match self.expr {
            Expr::Literal(Value::Float(value)) if value.fract() == 0.0 && value.abs() < (1u64 << 53) as f64 => {
                Self::literal(Value::Int(value as i64))
            }
            _ => self,
        }
    }

    /// The same expression where conditions are known to hold or not: with a smaller range, if they bound it.
    pub fn narrowed<'c>(mut self, failed: impl Iterator<Item = &'c Expr>, holds: Option<&Expr>) -> Self {
        let mut known = Known::about(&self.expr);
        failed.for_each(|condition| known.learn(condition, false));
        holds.into_iter().for_each(|condition| known.learn(condition, true));
        self.domain = match self.domain {
            Domain::Int(range) => {
                let (low, high) = known.ints();
                Domain::Int(range.narrowed(low, high))
            }
            Domain::Float { range, whole } => {
                let (low, high) = known.floats();
                Domain::Float { range: range.narrowed(low, high), whole }
            }
            domain => domain,
        };
        self
    }
}
