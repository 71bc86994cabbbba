//! The consent predicate of a data set: which rows any study may use, in a small SQL over the stored columns.
//!
//! `marketing_consent`, or `marketing_consent = 'yes' AND age >= 18`. A predicate is columns, constants, comparisons,
//! `AND`, `OR`, `NOT`, `IN`, `BETWEEN` and `IS [NOT] NULL`; nothing else, so that it has a result on every row. It may
//! name columns that are not declared for studies. **Only a row on which it is true is used**: what cannot be compared
//! (a NULL, a text that is no number) is NULL, and NULL is no consent.
//!
//! A comparison is of numbers, days, bools or texts as the constant in it says; a constant text is read as the
//! column's own type where that is not text. Between two columns it is of texts if both are text.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Schema};
use entente_protocols::language::expr::Comparison;
use entente_tables::calendar::parse_date;
use entente_tables::read::{bools, dates, floats, ints, parse_bool, plain};
use entente_tables::texts::{is_text, texts_of};
use entente_tables::truth::Truth;
use sqlparser::ast::{BinaryOperator, DataType as SqlType, Expr, UnaryOperator, Value};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::data::error::DataError;

/// A checked predicate.
#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    text: String,
    columns: Vec<String>,
    condition: Condition,
}

impl Consent {
    /// Parses a predicate over the columns of a source.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, DataError> {
        let refused = |problem, remedy| DataError::Consent { predicate: text.to_owned(), problem, remedy };
        let parser = Parser::new(&GenericDialect {}).with_recursion_limit(64).try_with_sql(text);
        let mut parser = parser.map_err(|error| refused(error.to_string(), None))?;
        let expr = parser.parse_expr().map_err(|error| refused(error.to_string(), None))?;
        if parser.peek_token_ref().token != Token::EOF {
            return Err(refused(format!("what follows `{expr}` is not part of it"), Some("give one predicate")));
        }
        let mut builder = Builder { schema, columns: BTreeSet::new() };
        let condition = builder.condition(&expr).map_err(|problem| match problem {
            Problem::Missing(column) => {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                DataError::missing_column(&column, "the consent predicate's column", names)
            }
            Problem::Other(problem, remedy) => refused(problem, remedy),
        })?;
        let columns = builder.columns.into_iter().collect();
        Ok(Self { text: text.to_owned(), columns, condition })
    }

    /// The predicate as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The stored columns it reads.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Which rows it allows; `column` finds a stored column by its name.
    pub(crate) fn allows<'a>(&self, rows: usize, column: &impl Fn(&str) -> Option<&'a ArrayRef>) -> BooleanBuffer {
        self.condition.evaluate(rows, column).yes().clone()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Constant(Option<bool>),
    /// A column by itself: true, yes or 1.
    Column(String),
    Compare(Compared, Comparison, Operand, Operand),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    IsNull(String),
}

/// As what two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Int,
    Float,
    Text,
    Day,
    Bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Column(String),
    Int(i64),
    Float(f64),
    Text(String),
    Day(i32),
    Bool(bool),
}

enum Problem {
    Missing(String),
    /// What is wrong, and what to write instead.
    Other(String, Option<&'static str>),
}

fn problem<T>(problem: impl Into<String>, remedy: impl Into<Option<&'static str>>) -> Result<T, Problem> {
    Err(Problem::Other(problem.into(), remedy.into()))
}

const ALLOWED: &str = "write columns, constants, =, <>, <, <=, >, >=, AND, OR, NOT, IN, BETWEEN and IS [NOT] NULL only";

struct Builder<'a> {
    schema: &'a Schema,
    columns: BTreeSet<String>,
}

impl Builder<'_> {
    fn condition(&mut self, expr: &Expr) -> Result<Condition, Problem> {
        let boxed = |condition| Box::new(condition);
        match expr {
            Expr::Nested(inner) => self.condition(inner),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let name = self.column(expr)?;
                let stored = self.stored(&name);
                if !(is_text(&stored) || stored.is_integer() || stored == DataType::Boolean) {
                    return problem(
                        format!("`{name}` is stored as {stored}, not as a bool"),
                        "compare it with something",
                    );
                }
                Ok(Condition::Column(name))
            }
            Expr::Value(value) => match &value.value {
                Value::Boolean(value) => Ok(Condition::Constant(Some(*value))),
                Value::Null => Ok(Condition::Constant(None)),
                other => problem(format!("{other} by itself is not a condition"), "compare a column with it"),
            },
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Condition::Not(boxed(self.condition(expr)?))),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                Ok(Condition::And(boxed(self.condition(left)?), boxed(self.condition(right)?)))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                Ok(Condition::Or(boxed(self.condition(left)?), boxed(self.condition(right)?)))
            }
            Expr::BinaryOp { left, op, right } => {
                let order = match op {
                    BinaryOperator::Eq => Comparison::Equal,
                    BinaryOperator::NotEq => Comparison::NotEqual,
                    BinaryOperator::Lt => Comparison::Less,
                    BinaryOperator::LtEq => Comparison::LessOrEqual,
                    BinaryOperator::Gt => Comparison::Greater,
                    BinaryOperator::GtEq => Comparison::GreaterOrEqual,
                    other => return problem(format!("`{other}` is not allowed"), ALLOWED),
                };
                self.compare(order, left, right)
            }
            Expr::IsNull(inner) => Ok(Condition::IsNull(self.column(inner)?)),
            Expr::IsNotNull(inner) => Ok(Condition::Not(boxed(Condition::IsNull(self.column(inner)?)))),
            Expr::Between { expr, negated, low, high } => {
                let low = self.compare(Comparison::GreaterOrEqual, expr, low)?;
                let high = self.compare(Comparison::LessOrEqual, expr, high)?;
                Ok(negate(Condition::And(boxed(low), boxed(high)), *negated))
            }
            Expr::InList { expr, list, negated } => {
                let mut any = Condition::Constant(Some(false));
                for value in list {
                    any = Condition::Or(boxed(any), boxed(self.compare(Comparison::Equal, expr, value)?));
                }
                Ok(negate(any, *negated))
            }
            other => problem(format!("`{other}` is not allowed"), ALLOWED),
        }
    }

    fn compare(&mut self, order: Comparison, left: &Expr, right: &Expr) -> Result<Condition, Problem> {
        let operands = (self.operand(left)?, self.operand(right)?);
        let (Some(left), Some(right)) = operands else { return Ok(Condition::Constant(None)) };
        let column = |operand: &Operand| match operand {
            Operand::Column(name) => Some((name.clone(), self.stored(name))),
            _ => None,
        };
        let (compared, left, right) = match (column(&left), column(&right)) {
            (None, None) => return problem("two constants are compared", "compare a column with a constant"),
            (Some((_, a)), Some((_, b))) => {
                let both = |test: fn(&DataType) -> bool| test(&a) && test(&b);
                let one = |test: fn(&DataType) -> bool| test(&a) || test(&b);
                let compared = if both(is_text) {
                    Compared::Text
                } else if both(DataType::is_integer) {
                    Compared::Int
                } else if one(is_number) {
                    Compared::Float
                } else if one(is_day) {
                    Compared::Day
                } else {
                    Compared::Bool
                };
                (compared, left, right)
            }
            (Some((name, stored)), None) => {
                let (compared, right) = constant(&name, &stored, right)?;
                (compared, left, right)
            }
            (None, Some((name, stored))) => {
                let (compared, left) = constant(&name, &stored, left)?;
                (compared, left, right)
            }
        };
        Ok(Condition::Compare(compared, order, left, right))
    }

    /// `None` is NULL.
    fn operand(&mut self, expr: &Expr) -> Result<Option<Operand>, Problem> {
        match expr {
            Expr::Nested(inner) => self.operand(inner),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(Some(Operand::Column(self.column(expr)?))),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match self.operand(inner)? {
                Some(Operand::Int(value)) => Ok(Some(Operand::Int(value.wrapping_neg()))),
                Some(Operand::Float(value)) => Ok(Some(Operand::Float(-value))),
                _ => problem(format!("`{expr}` is not allowed"), ALLOWED),
            },
            Expr::TypedString(typed) if typed.data_type == SqlType::Date => {
                let text = typed.value.clone().into_string().unwrap_or_default();
                match parse_date(&text) {
                    Some(day) => Ok(Some(Operand::Day(day))),
                    None => problem(format!("`{text}` is not a date"), "write DATE 'YYYY-MM-DD'"),
                }
            }
            Expr::Value(value) => match &value.value {
                Value::Null => Ok(None),
                Value::Boolean(value) => Ok(Some(Operand::Bool(*value))),
                Value::SingleQuotedString(text) => Ok(Some(Operand::Text(text.clone()))),
                Value::Number(text, _) => match (text.parse(), text.parse::<f64>()) {
                    (Ok(value), _) => Ok(Some(Operand::Int(value))),
                    (_, Ok(value)) if value.is_finite() => Ok(Some(Operand::Float(value))),
                    _ => problem(format!("`{text}` is not a number"), None),
                },
                other => problem(format!("{other} is not allowed"), "write text in single quotes"),
            },
            other => problem(format!("`{other}` is not allowed"), ALLOWED),
        }
    }

    fn column(&mut self, expr: &Expr) -> Result<String, Problem> {
        let name = match expr {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(name) => name.value.clone(),
            other => {
                let what = format!("`{other}` is not a column of the data");
                return problem(what, "name a column by its name alone");
            }
        };
        if self.schema.field_with_name(&name).is_err() {
            return Err(Problem::Missing(name));
        }
        self.columns.insert(name.clone());
        Ok(name)
    }

    fn stored(&self, name: &str) -> DataType {
        match self.schema.field_with_name(name).map(|field| field.data_type()) {
            Ok(DataType::Dictionary(_, values)) => (**values).clone(),
            Ok(stored) => stored.clone(),
            Err(_) => DataType::Null,
        }
    }
}

fn negate(condition: Condition, negated: bool) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

fn is_number(stored: &DataType) -> bool {
    stored.is_integer() || stored.is_floating() || stored.is_decimal()
}

fn is_day(stored: &DataType) -> bool {
    matches!(stored, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// As what a column is compared with a constant, and the constant as that.
fn constant(name: &str, stored: &DataType, constant: Operand) -> Result<(Compared, Operand), Problem> {
    let text = is_text(stored);
    let bool = *stored == DataType::Boolean;
    let otherwise = |what: &str, remedy: Option<&'static str>| {
        problem(format!("`{name}` is stored as {stored} and cannot be compared with {what}"), remedy)
    };
    let cannot = |what: &str| otherwise(what, None);
    match constant {
        Operand::Int(value) if stored.is_integer() => Ok((Compared::Int, Operand::Int(value))),
        Operand::Int(value @ (0 | 1)) if bool => Ok((Compared::Bool, Operand::Bool(value == 1))),
        Operand::Int(value) if text || is_number(stored) => Ok((Compared::Float, Operand::Float(value as f64))),
        Operand::Float(value) if text || is_number(stored) => Ok((Compared::Float, Operand::Float(value))),
        Operand::Day(day) if text || is_day(stored) => Ok((Compared::Day, Operand::Day(day))),
        Operand::Bool(value) if text || bool || stored.is_integer() => Ok((Compared::Bool, Operand::Bool(value))),
        Operand::Text(value) if text => Ok((Compared::Text, Operand::Text(value))),
        Operand::Text(value) if is_number(stored) => match value.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok((Compared::Float, Operand::Float(number))),
            _ => cannot(&format!("'{value}', which is not a number")),
        },
        Operand::Text(value) if is_day(stored) => match parse_date(&value) {
            Some(day) => Ok((Compared::Day, Operand::Day(day))),
            None => otherwise(&format!("'{value}', which is not a date"), Some("write 'YYYY-MM-DD'")),
        },
        Operand::Text(value) if bool => match parse_bool(&value) {
            Some(value) => Ok((Compared::Bool, Operand::Bool(value))),
            None => otherwise(&format!("'{value}'"), Some("write TRUE or FALSE")),
        },
        Operand::Int(_) | Operand::Float(_) => cannot("a number"),
        Operand::Day(_) => cannot("a date"),
        Operand::Bool(_) => cannot("a bool"),
        Operand::Text(_) => cannot("a text"),
        Operand::Column(_) => cannot("that"),
    }
}

impl Condition {
    fn evaluate<'a>(&self, rows: usize, column: &impl Fn(&str) -> Option<&'a ArrayRef>) -> Truth {
        let unknown = || Truth::constant(None, rows);
        match self {
            Self::Constant(value) => Truth::constant(*value, rows),
            Self::Column(name) => column(name).map_or_else(unknown, |array| Truth::from(&bools(&plain(array)))),
            Self::And(left, right) => left.evaluate(rows, column).and(&right.evaluate(rows, column)),
            Self::Or(left, right) => left.evaluate(rows, column).or(&right.evaluate(rows, column)),
            Self::Not(inner) => inner.evaluate(rows, column).not(),
            Self::IsNull(name) => {
                let Some(array) = column(name).map(plain) else { return unknown() };
                if is_text(array.data_type()) {
                    // An empty field is NULL.
                    return texts_of(&array, |texts| texts.map(|text| Some(text.is_none_or(str::is_empty))).collect());
                }
                let nulls = array.logical_nulls();
                (0..rows).map(|row| Some(nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)))).collect()
            }
            Self::Compare(compared, order, left, right) => {
                let sides = [left, right].map(|side| Side::new(*compared, side, column));
                let [Some(left), Some(right)] = sides else { return unknown() };
                (0..rows).map(|row| left.compare(&right, row).map(|found| holds(*order, found))).collect()
            }
        }
    }
}

fn holds(comparison: Comparison, found: std::cmp::Ordering) -> bool {
    match comparison {
        Comparison::Equal => found.is_eq(),
        Comparison::NotEqual => found.is_ne(),
        Comparison::Less => found.is_lt(),
        Comparison::LessOrEqual => found.is_le(),
        Comparison::Greater => found.is_gt(),
        Comparison::GreaterOrEqual => found.is_ge(),
    }
}

/// One side of a comparison, row by row; all of a batch's values are of the type that is compared.
enum Side {
    Ints(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Texts(ArrayRef),
    Bools(Vec<Option<bool>>),
}

impl Side {
    /// A constant has one row, which stands for all.
    fn new<'a>(compared: Compared, operand: &Operand, column: &impl Fn(&str) -> Option<&'a ArrayRef>) -> Option<Self> {
        Some(match (compared, operand) {
            (_, Operand::Column(name)) => {
                let array = plain(column(name)?);
                match compared {
                    Compared::Int => Self::Ints(ints(&array).iter().collect()),
                    Compared::Float => Self::Floats(floats(&array).iter().collect()),
                    Compared::Day => Self::Ints(dates(&array).iter().map(|day| day.map(i64::from)).collect()),
                    Compared::Bool => Self::Bools(bools(&array).iter().collect()),
                    Compared::Text => Self::Texts(array),
                }
            }
            (Compared::Int, Operand::Int(value)) => Self::Ints(vec![Some(*value)]),
            (Compared::Day, Operand::Day(day)) => Self::Ints(vec![Some(i64::from(*day))]),
            (Compared::Float, Operand::Float(value)) => Self::Floats(vec![Some(*value)]),
            (Compared::Bool, Operand::Bool(value)) => Self::Bools(vec![Some(*value)]),
            (Compared::Text, Operand::Text(text)) => Self::Texts(Arc::new(StringArray::from(vec![text.as_str()]))),
            _ => return None,
        })
    }

    fn compare(&self, other: &Self, row: usize) -> Option<std::cmp::Ordering> {
        fn at<T>(values: &[Option<T>], row: usize) -> Option<&T> {
            if values.len() == 1 { values[0].as_ref() } else { values.get(row)?.as_ref() }
        }
        fn text(values: &ArrayRef, row: usize) -> Option<&str> {
            let row = if values.len() == 1 { 0 } else { row };
            if row >= values.len() || values.is_null(row) {
                return None;
            }
            let text = match values.data_type() {
                DataType::Utf8 => values.as_string::<i32>().value(row),
                DataType::LargeUtf8 => values.as_string::<i64>().value(row),
                DataType::Utf8View => values.as_string_view().value(row),
                _ => return None,
            };
            // An empty field is NULL.
            (!text.is_empty()).then_some(text)
        }
        match (self, other) {
            (Self::Ints(a), Self::Ints(b)) => Some(at(a, row)?.cmp(at(b, row)?)),
            // NaN compares with nothing.
            (Self::Floats(a), Self::Floats(b)) => at(a, row)?.partial_cmp(at(b, row)?),
            (Self::Texts(a), Self::Texts(b)) => Some(text(a, row)?.cmp(text(b, row)?)),
            (Self::Bools(a), Self::Bools(b)) => Some(at(a, row)?.cmp(at(b, row)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch};

    use super::*;

    fn batch() -> RecordBatch {
        let text = |values: [Option<&str>; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([
            ("yes", text([Some("yes"), Some("NO"), None, Some("maybe")])),
            ("age_text", text([Some("18"), Some("9"), Some(""), Some("x")])),
            ("day_text", text([Some("2024-01-01"), Some("2024-01-02 10:00"), None, Some("?")])),
            ("other", text([Some("18"), Some("10"), Some(""), Some("x")])),
            ("age", Arc::new(Int64Array::from(vec![Some(18), Some(9), None, Some(i64::MAX)])) as ArrayRef),
            ("flag", Arc::new(Int64Array::from(vec![Some(1), Some(0), None, Some(2)]))),
            ("bool", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
            ("amount", Arc::new(Float64Array::from(vec![Some(18.0), Some(f64::NAN), None, Some(-1.0)]))),
            ("day", Arc::new(Date32Array::from(vec![Some(19_723), Some(0), None, Some(19_724)]))),
        ])
        .unwrap()
    }

    fn allowed(predicate: &str) -> String {
        let batch = batch();
        let consent = Consent::parse(predicate, &batch.schema()).unwrap_or_else(|error| panic!("{error}"));
        let allowed = consent.allows(4, &|name| batch.column_by_name(name));
        allowed.iter().map(|allowed| if allowed { '1' } else { '0' }).collect()
    }

    #[test]
    fn only_rows_on_which_it_is_true() {
        for (predicate, expected) in [
            ("yes", "1000"),
            ("NOT yes", "0100"),
            ("yes OR NOT yes", "1100"),
            ("flag", "1000"),
            ("bool", "1001"),
            ("bool = TRUE", "1001"),
            ("bool <> 'yes'", "0100"),
            ("flag = FALSE", "0100"),
            ("yes = 'yes'", "1000"),
            ("yes <> 'yes'", "0101"),
            ("'yes' = yes", "1000"),
            ("yes = TRUE", "1000"),
            ("yes IN ('yes', 'maybe')", "1001"),
            ("yes NOT IN ('yes', 'maybe')", "0100"),
            ("yes NOT IN ('yes', NULL)", "0000"),
            ("yes IS NULL", "0010"),
            ("age_text IS NOT NULL", "1101"),
            ("age_text >= 18", "1000"),
            ("age_text < 18", "0100"),
            ("age_text <> 18", "0100"),
            ("age BETWEEN 9 AND 18", "1100"),
            ("age NOT BETWEEN 9 AND 17", "1001"),
            ("age = 9223372036854775807", "0001"),
            ("age >= 8.5 AND age < '18'", "0100"),
            ("amount > -2", "1001"),
            ("NOT amount > 0", "0001"),
            ("amount = age", "1000"),
            ("age_text = age", "1100"),
            ("age_text = other", "1001"),
            ("day >= DATE '2024-01-01'", "1001"),
            ("day > '2024-01-01'", "0001"),
            ("day_text = DATE '2024-01-02'", "0100"),
            ("day_text = day", "1000"),
            ("yes = 'yes' AND age >= 18 OR flag = 0", "1100"),
            ("TRUE", "1111"),
            ("age = NULL", "0000"),
            ("NOT (age = NULL)", "0000"),
            ("(((\"age\"))) = -(-18)", "1000"),
        ] {
            assert_eq!(allowed(predicate), expected, "{predicate}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_words() {
        for (predicate, expected) in [
            ("", "Expected"),
            ("yes = ", "Expected"),
            ("yes; DROP TABLE x", "not part of it"),
            ("yess", "did you mean `yes`"),
            ("t.yes", "by its name alone"),
            ("age + 1 > 2", "is not allowed"),
            ("lower(yes) = 'x'", "is not allowed"),
            ("yes LIKE 'y%'", "is not allowed"),
            ("age IN (SELECT 1)", "is not allowed"),
            ("CASE WHEN yes THEN TRUE END", "is not allowed"),
            ("CAST(age AS TEXT) = 'x'", "is not allowed"),
            ("1 = 1", "two constants"),
            ("18", "not a condition"),
            ("amount", "not as a bool"),
            ("age = 'old'", "not a number"),
            ("day = 'today'", "not a date"),
            ("day = 5", "cannot be compared with a number"),
            ("bool = 2", "cannot be compared"),
            ("bool = 'maybe'", "TRUE or FALSE"),
            ("day_text = DATE 'x'", "not a date"),
            ("age = 1e999", "not a number"),
        ] {
            let error = Consent::parse(predicate, &batch().schema()).unwrap_err().to_string();
            assert!(error.contains(expected), "{predicate}: {error}");
        }
        let deep = format!("{}yes{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Consent::parse(&deep, &batch().schema()).is_err());
    }
}
