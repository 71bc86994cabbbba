//! What kernels do: loops over all rows without a branch on what stands in them.

use arrow_array::ArrowPrimitiveType;
use arrow_array::types::{Float64Type, Int64Type};
use entente_protocols::language::expr::{Comparison, DatePart, DateUnit};

use super::operand::{Lane, Operand, unpacked};
use crate::calendar;
use crate::truth::Truth;

pub(super) fn ints(operands: &[&Operand], f: impl Fn(i64, i64) -> i64) -> Operand {
    Operand::Int(operands[0].int().zip(operands[1].int(), f))
}

/// Where `f` is NaN, there is no number.
pub(super) fn floats(operands: &[&Operand], f: impl Fn(f64, f64) -> f64) -> Operand {
    Operand::Float(operands[0].float().zip::<_, Float64Type>(operands[1].float(), f).tidied())
}

pub(super) fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 { f64::NAN } else { a / b }
}

pub(super) fn compare(comparison: Comparison, operands: &[&Operand], rows: usize) -> Operand {
    let (left, right) = (operands[0], operands[1]);
    Operand::Bool(match left {
        Operand::Int(left) => lanes(comparison, left, right.int(), rows),
        Operand::Float(left) => lanes(comparison, left, right.float(), rows),
        Operand::Text(left) => lanes(comparison, left, right.text(), rows),
        Operand::Date(left) => lanes(comparison, left, right.date(), rows),
        Operand::Bool(left) => truths(comparison, left, right.bool()),
    })
}

fn lanes<T: ArrowPrimitiveType>(comparison: Comparison, left: &Lane<T>, right: &Lane<T>, rows: usize) -> Truth {
    match comparison {
        Comparison::Equal => left.test(right, rows, |a, b| a == b),
        Comparison::NotEqual => left.test(right, rows, |a, b| a != b),
        Comparison::Less => left.test(right, rows, |a, b| a < b),
        Comparison::LessOrEqual => left.test(right, rows, |a, b| a <= b),
        Comparison::Greater => left.test(right, rows, |a, b| a > b),
        Comparison::GreaterOrEqual => left.test(right, rows, |a, b| a >= b),
    }
}

/// False is less than true.
fn truths(comparison: Comparison, left: &Truth, right: &Truth) -> Truth {
    let (a, b) = (left.yes(), right.yes());
    let bits = match comparison {
        Comparison::Equal => !&(a ^ b),
        Comparison::NotEqual => a ^ b,
        Comparison::Less => &!a & b,
        Comparison::LessOrEqual => &!a | b,
        Comparison::Greater => a & &!b,
        Comparison::GreaterOrEqual => a | &!b,
    };
    Truth::new(&bits, &(&left.known() & &right.known()))
}

pub(super) fn is_null(operands: &[&Operand], rows: usize) -> Operand {
    Operand::Bool(Truth::certain(!&operands[0].known(rows)))
}

/// From the last branch to the first, each over what comes behind it, so that the first that is true stays.
pub(super) fn case(operands: &[&Operand]) -> Operand {
    fn chosen<T: ArrowPrimitiveType>(
        branches: &[[&Operand; 2]],
        otherwise: &Lane<T>,
        lane: fn(&Operand) -> &Lane<T>,
    ) -> Lane<T> {
        let choose =
            |otherwise: Lane<T>, [when, then]: &[&Operand; 2]| lane(then).select(when.bool().yes(), &otherwise);
        branches.iter().rev().fold(otherwise.clone(), choose)
    }
    let (otherwise, branches) = operands.split_last().expect("CASE has a last result");
    let (branches, _) = branches.as_chunks::<2>();
    match otherwise {
        Operand::Int(otherwise) => Operand::Int(chosen(branches, otherwise, Operand::int)),
        Operand::Float(otherwise) => Operand::Float(chosen(branches, otherwise, Operand::float)),
        Operand::Text(otherwise) => Operand::Text(chosen(branches, otherwise, Operand::text)),
        Operand::Date(otherwise) => Operand::Date(chosen(branches, otherwise, Operand::date)),
        Operand::Bool(otherwise) => {
            let choose =
                |otherwise: Truth, [when, then]: &[&Operand; 2]| then.bool().select(when.bool().yes(), &otherwise);
            Operand::Bool(branches.iter().rev().fold(otherwise.clone(), choose))
        }
    }
}

pub(super) fn int_to_float(operands: &[&Operand]) -> Operand {
    Operand::Float(operands[0].int().map(|value| value as f64))
}

/// Truncates toward zero; what lies beyond the whole numbers becomes the nearest of them.
pub(super) fn float_to_int(operands: &[&Operand]) -> Operand {
    Operand::Int(operands[0].float().map(|value| value as i64))
}

pub(super) fn bool_to_int(operands: &[&Operand]) -> Operand {
    Operand::Int(numbers::<Int64Type>(operands[0].bool(), i64::from))
}

pub(super) fn bool_to_float(operands: &[&Operand]) -> Operand {
    Operand::Float(numbers::<Float64Type>(operands[0].bool(), f64::from))
}

fn numbers<T: ArrowPrimitiveType>(truth: &Truth, number: impl Fn(bool) -> T::Native) -> Lane<T> {
    Lane::Rows { values: unpacked(truth.yes()).into_iter().map(number).collect(), known: truth.known() }
}

pub(super) fn date_part(operands: &[&Operand], part: DatePart) -> Operand {
    Operand::Int(operands[0].date().map(|day| calendar::part(part, day)))
}

pub(super) fn date_trunc(operands: &[&Operand], unit: DateUnit) -> Operand {
    Operand::Date(operands[0].date().map(|day| calendar::trunc(unit, day)))
}
