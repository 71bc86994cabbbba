//! What an expression means, on one row.

use std::cmp::Ordering;

use entente_protocols::language::expr::{Arithmetic, Comparison, Expr, Value, ValueType};
use entente_protocols::language::schema::Day;

use crate::calendar;

/// The value of an expression where columns have these values.
pub(super) fn evaluate<'r>(expr: &Expr, column: &impl Fn(&str) -> &'r Option<Value>) -> Option<Value> {
    let value = |expr: &Expr| evaluate(expr, column);
    let condition = |expr: &Expr| match value(expr) {
        None => None,
        Some(Value::Bool(holds)) => Some(holds),
        Some(other) => panic!("{other:?} is not a condition"),
    };
    match expr {
        Expr::Column(name) => column(name).clone(),
        Expr::Literal(Value::Float(literal)) => number(*literal),
        Expr::Literal(literal) => Some(literal.clone()),
        Expr::Null(_) => None,
        Expr::Arithmetic(arithmetic, left, right) => compute(*arithmetic, value(left)?, value(right)?),
        Expr::Compare(comparison, left, right) => {
            let order = order(&value(left)?, &value(right)?);
            Some(Value::Bool(match comparison {
                Comparison::Equal => order == Ordering::Equal,
                Comparison::NotEqual => order != Ordering::Equal,
                Comparison::Less => order == Ordering::Less,
                Comparison::LessOrEqual => order != Ordering::Greater,
                Comparison::Greater => order == Ordering::Greater,
                Comparison::GreaterOrEqual => order != Ordering::Less,
            }))
        }
        Expr::And(left, right) => match (condition(left), condition(right)) {
            (Some(false), _) | (_, Some(false)) => Some(Value::Bool(false)),
            (Some(true), Some(true)) => Some(Value::Bool(true)),
            _ => None,
        },
        Expr::Or(left, right) => match (condition(left), condition(right)) {
            (Some(true), _) | (_, Some(true)) => Some(Value::Bool(true)),
            (Some(false), Some(false)) => Some(Value::Bool(false)),
            _ => None,
        },
        Expr::Not(inner) => condition(inner).map(|holds| Value::Bool(!holds)),
        Expr::IsNull(inner) => Some(Value::Bool(value(inner).is_none())),
        Expr::Case(branches, otherwise) => {
            let taken = branches.iter().find(|(when, _)| condition(when) == Some(true));
            value(taken.map_or(otherwise, |(_, then)| then))
        }
        Expr::Cast(inner, to) => Some(match (value(inner)?, to) {
            (Value::Int(from), ValueType::Float) => Value::Float(from as f64),
            (Value::Float(from), ValueType::Int) => Value::Int(truncated(from)),
            (Value::Bool(from), ValueType::Int) => Value::Int(if from { 1 } else { 0 }),
            (Value::Bool(from), ValueType::Float) => Value::Float(if from { 1.0 } else { 0.0 }),
            (from, to) if from.value_type() == *to => from,
            (from, to) => panic!("{from:?} to {to:?}"),
        }),
        Expr::DatePart(part, inner) => Some(Value::Int(calendar::part(*part, day(value(inner)?)))),
        Expr::DateTrunc(unit, inner) => Some(Value::Date(Day(calendar::trunc(*unit, day(value(inner)?))))),
    }
}

/// No number is NaN, and 0 has one form.
fn number(value: f64) -> Option<Value> {
    match value {
        _ if value.is_nan() => None,
        _ if value == 0.0 => Some(Value::Float(0.0)),
        _ => Some(Value::Float(value)),
    }
}

fn truncated(value: f64) -> i64 {
    if value >= 9_223_372_036_854_775_807.0 {
        i64::MAX
    } else if value <= -9_223_372_036_854_775_808.0 {
        i64::MIN
    } else {
        value.trunc() as i64
    }
}

fn compute(arithmetic: Arithmetic, left: Value, right: Value) -> Option<Value> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            let (left, right) = (i128::from(left), i128::from(right));
            let exact = match arithmetic {
                Arithmetic::Add => left + right,
                Arithmetic::Subtract => left - right,
                Arithmetic::Multiply => left * right,
                Arithmetic::Divide => panic!("whole numbers are not divided"),
            };
            // The lower 64 bits.
            Some(Value::Int(exact as i64))
        }
        (Value::Float(left), Value::Float(right)) => match arithmetic {
            Arithmetic::Add => number(left + right),
            Arithmetic::Subtract => number(left - right),
            Arithmetic::Multiply => number(left * right),
            Arithmetic::Divide if right == 0.0 => None,
            Arithmetic::Divide => number(left / right),
        },
        other => panic!("{other:?}"),
    }
}

fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).expect("never NaN"),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        other => panic!("{other:?}"),
    }
}

fn day(value: Value) -> i32 {
    let Value::Date(day) = value else { panic!("{value:?} is not a day") };
    day.0
}
