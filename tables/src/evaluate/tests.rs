//! The evaluator against a reference that goes row by row, the table of kernels against what they do, and what must not
//! depend on what rows hold.

mod examples;
mod random;
mod reference;
mod table;

use arrow_array::{BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array};
use entente_protocols::language::expr::{Expr, Value, ValueType};
use entente_protocols::language::schema::Day;

use super::kernels::Operator;
use super::*;
use crate::texts::Texts;
use crate::vector::Vector;

/// All texts of the tests; the number of each is its place.
const TEXTS: [&str; 4] = ["a", "b", "c", "d"];

fn texts() -> Texts {
    let mut texts = Texts::default();
    TEXTS.iter().for_each(|text| assert!(texts.code(text) >= 0));
    texts
}

/// Values of one type as a column.
fn vector(value_type: ValueType, values: &[Option<Value>]) -> Vector {
    macro_rules! collected {
        ($array:ty, $variant:ident, $found:ident => $value:expr) => {
            values
                .iter()
                .map(|value| match value {
                    None => None,
                    Some(Value::$variant($found)) => Some($value),
                    Some(other) => panic!("{other:?} is not of type {value_type:?}"),
                })
                .collect::<$array>()
        };
    }
    match value_type {
        ValueType::Int => Vector::Int(collected!(Int64Array, Int, value => *value)),
        ValueType::Float => Vector::Float(collected!(Float64Array, Float, value => *value)),
        ValueType::Bool => Vector::Bool(collected!(BooleanArray, Bool, value => *value)),
        ValueType::Date => Vector::Date(collected!(Date32Array, Date, day => day.0)),
        ValueType::Text => {
            let number = |text: &str| TEXTS.iter().position(|known| *known == text).expect("a known text") as i32;
            Vector::Text(collected!(Int32Array, Text, text => number(text)))
        }
    }
}

/// The values of a column.
fn values(vector: &Vector) -> Vec<Option<Value>> {
    match vector {
        Vector::Int(values) => values.iter().map(|value| value.map(Value::Int)).collect(),
        Vector::Float(values) => values.iter().map(|value| value.map(Value::Float)).collect(),
        Vector::Bool(values) => values.iter().map(|value| value.map(Value::Bool)).collect(),
        Vector::Date(values) => values.iter().map(|value| value.map(|day| Value::Date(Day(day)))).collect(),
        Vector::Text(values) => {
            values.iter().map(|value| value.map(|text| Value::Text(TEXTS[text as usize].into()))).collect()
        }
    }
}

/// Whether two values are the same to the last bit.
fn same(left: &Option<Value>, right: &Option<Value>) -> bool {
    match (left, right) {
        (Some(Value::Float(left)), Some(Value::Float(right))) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

/// The values of expressions over columns, and how many values were looked at.
fn run(exprs: &[&Expr], columns: &[(&str, Vector)], rows: usize) -> (Vec<Vector>, u64) {
    let names = columns.iter().map(|(name, vector)| ((*name).to_owned(), vector.value_type())).collect();
    let mut program = Program::new(names, texts());
    exprs.iter().for_each(|expr| program.add(expr).unwrap_or_else(|error| panic!("{expr:?}: {error}")));
    let columns: Vec<Vector> = columns.iter().map(|(_, vector)| vector.clone()).collect();
    let mut found = Vec::new();
    let looked_at = program.run(&columns, rows, |number, vector| {
        assert_eq!((number, vector.len()), (found.len(), rows));
        found.push(vector);
    });
    assert_eq!(found.len(), exprs.len());
    (found, looked_at)
}

/// The expression of an operator over operands: what [`Operator::of`] takes apart.
fn build(operator: Operator, mut operands: Vec<Expr>) -> Expr {
    let mut next = || Box::new(operands.remove(0));
    match operator {
        Operator::Arithmetic(arithmetic) => Expr::Arithmetic(arithmetic, next(), next()),
        Operator::Compare(comparison) => Expr::Compare(comparison, next(), next()),
        Operator::And => Expr::And(next(), next()),
        Operator::Or => Expr::Or(next(), next()),
        Operator::Not => Expr::Not(next()),
        Operator::IsNull => Expr::IsNull(next()),
        Operator::Cast(to) => Expr::Cast(next(), to),
        Operator::DatePart(part) => Expr::DatePart(part, next()),
        Operator::DateTrunc(unit) => Expr::DateTrunc(unit, next()),
        Operator::Case => {
            let otherwise = operands.pop().expect("a last result");
            let mut operands = operands.into_iter();
            let mut branches = Vec::new();
            while let (Some(when), Some(then)) = (operands.next(), operands.next()) {
                branches.push((when, then));
            }
            Expr::Case(branches, Box::new(otherwise))
        }
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(name.into())
}

/// A constant, NULL included.
fn constant(value_type: ValueType, value: &Option<Value>) -> Expr {
    value.clone().map_or(Expr::Null(value_type), Expr::Literal)
}
