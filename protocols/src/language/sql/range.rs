//! The public range of an expression: interval arithmetic over declared bounds.
//!
//! Floating-point operations round monotonically, so the rounded corners of an interval contain every rounded value
//! in it; no outward rounding is needed.

use crate::language::expr::{Arithmetic, Comparison, Expr, Value};

/// The values an expression can have where it is not NULL, both ends included.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Range<T> {
    /// From the first to the second.
    Within(T, T),
    /// No public bounds.
    Unbounded(Cause),
}

/// Why there are no public bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cause {
    /// This column has none declared.
    Column(String),
    /// The text of a divisor that can come arbitrarily near zero.
    Divisor(String),
}

impl<T: Copy + PartialOrd> Range<T> {
    /// The range of a declared column.
    pub fn declared(column: &str, min: Option<T>, max: Option<T>) -> Self {
        match (min, max) {
            (Some(min), Some(max)) => Self::Within(min, max),
            _ => Self::Unbounded(Cause::Column(column.to_owned())),
        }
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: Self) -> Self {
        match (self, other) {
            (Self::Within(a, b), Self::Within(c, d)) => {
                Self::Within(if c < a { c } else { a }, if d > b { d } else { b })
            }
            (unbounded @ Self::Unbounded(_), _) | (_, unbounded) => unbounded,
        }
    }

    /// Both ends through a monotone function.
    pub fn map<U>(self, monotone: impl Fn(T) -> U) -> Range<U> {
        match self {
            Self::Within(low, high) => Range::Within(monotone(low), monotone(high)),
            Self::Unbounded(cause) => Range::Unbounded(cause),
        }
    }

    /// The part of the range within bounds known from a condition; the range itself if nothing is left of it.
    pub fn narrowed(self, low: Option<T>, high: Option<T>) -> Self {
        let own = match &self {
            Self::Within(low, high) => (Some(*low), Some(*high)),
            Self::Unbounded(_) => (None, None),
        };
        let tighter = |own: Option<T>, new: Option<T>, better: fn(&T, &T) -> bool| match (own, new) {
            (Some(own), Some(new)) => Some(if better(&new, &own) { new } else { own }),
            (own, new) => own.or(new),
        };
        match (tighter(own.0, low, T::gt), tighter(own.1, high, T::lt)) {
            (Some(low), Some(high)) if low <= high => Self::Within(low, high),
            _ => self,
        }
    }
}

/// The range of a sum, difference or product of whole numbers; `None` if it leaves `i64`.
pub(super) fn whole(op: Arithmetic, (a, b): (i64, i64), (c, d): (i64, i64)) -> Option<(i64, i64)> {
    let (a, b, c, d) = (i128::from(a), i128::from(b), i128::from(c), i128::from(d));
    let corners = match op {
        Arithmetic::Add => [a + c, b + d, a + c, b + d],
        Arithmetic::Subtract => [a - d, b - c, a - d, b - c],
        Arithmetic::Multiply => [a * c, a * d, b * c, b * d],
        Arithmetic::Divide => return None,
    };
    let (low, high) = corners.iter().fold((i128::MAX, i128::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    Some((low.try_into().ok()?, high.try_into().ok()?))
}

/// The range of a sum, difference or product; `None` if it is not finite.
pub(super) fn float(op: Arithmetic, (a, b): (f64, f64), (c, d): (f64, f64)) -> Option<(f64, f64)> {
    match op {
        Arithmetic::Add => finite_hull(&[a + c, b + d]),
        Arithmetic::Subtract => finite_hull(&[a - d, b - c]),
        Arithmetic::Multiply => finite_hull(&[a * c, a * d, b * c, b * d]),
        Arithmetic::Divide => None,
    }
}

/// The range of a quotient where the divisor is not zero; `None` if it is not finite. A `whole` divisor is at least 1
/// away from zero.
pub(super) fn quotient((a, b): (f64, f64), (c, d): (f64, f64), whole: bool) -> Option<(f64, f64)> {
    let spans_zero = c <= 0.0 && d >= 0.0;
    if spans_zero && !whole {
        return None;
    }
    let divisors: Vec<f64> = match spans_zero {
        false => vec![c, d],
        true => {
            let below = (c < 0.0).then_some([c, -1.0]);
            let above = (d > 0.0).then_some([1.0, d]);
            below.into_iter().chain(above).flatten().collect()
        }
    };
    if divisors.is_empty() {
        return Some((0.0, 0.0)); // Always NULL.
    }
    finite_hull(&divisors.iter().flat_map(|y| [a / y, b / y]).collect::<Vec<_>>())
}

fn finite_hull(corners: &[f64]) -> Option<(f64, f64)> {
    if corners.iter().any(|corner| !corner.is_finite()) {
        return None;
    }
    let low = corners.iter().copied().fold(f64::INFINITY, f64::min);
    let high = corners.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((low, high))
}

/// What conditions say about the range of one expression, where that is not NULL.
pub(super) struct Known<'e> {
    of: &'e Expr,
    /// Largest of the lower bounds, each with whether it is excluded.
    low: Vec<(Value, bool)>,
    high: Vec<(Value, bool)>,
}

impl<'e> Known<'e> {
    /// Nothing known about `of` yet.
    pub fn about(of: &'e Expr) -> Self {
        Self { of, low: Vec::new(), high: Vec::new() }
    }

    /// Learns from a condition that is true, or, where `holds` is false, that is false or NULL.
    pub fn learn(&mut self, condition: &Expr, holds: bool) {
        match condition {
            Expr::And(left, right) if holds => {
                self.learn(left, true);
                self.learn(right, true);
            }
            Expr::Or(left, right) if !holds => {
                self.learn(left, false);
                self.learn(right, false);
            }
            Expr::Compare(op, left, right) => match (&**left, &**right) {
                (left, Expr::Literal(bound)) if left == self.of => self.compare(*op, bound, holds),
                (Expr::Literal(bound), right) if right == self.of => self.compare(mirrored(*op), bound, holds),
                _ => {}
            },
            _ => {}
        }
    }

    fn compare(&mut self, op: Comparison, bound: &Value, holds: bool) {
        // `of` is not NULL and the bound is not either, so a comparison that is not true is false.
        let op = if holds { op } else { negated(op) };
        match op {
            Comparison::Less => self.high.push((bound.clone(), true)),
            Comparison::LessOrEqual => self.high.push((bound.clone(), false)),
            Comparison::Greater => self.low.push((bound.clone(), true)),
            Comparison::GreaterOrEqual => self.low.push((bound.clone(), false)),
            Comparison::Equal => {
                self.low.push((bound.clone(), false));
                self.high.push((bound.clone(), false));
            }
            Comparison::NotEqual => {}
        }
    }

    /// The bounds learnt on a whole number.
    pub fn ints(&self) -> (Option<i64>, Option<i64>) {
        let pick = |bounds: &[(Value, bool)], step: i64| -> Vec<i64> {
            let bound = |(value, excluded): &(Value, bool)| match value {
                Value::Int(value) => Some(if *excluded { value.saturating_add(step) } else { *value }),
                _ => None,
            };
            bounds.iter().filter_map(bound).collect()
        };
        (pick(&self.low, 1).into_iter().max(), pick(&self.high, -1).into_iter().min())
    }

    /// The bounds learnt on a number.
    pub fn floats(&self) -> (Option<f64>, Option<f64>) {
        let pick = |bounds: &[(Value, bool)]| -> Vec<f64> {
            let bound = |(value, _): &(Value, bool)| match value {
                Value::Float(value) => Some(*value),
                _ => None,
            };
            bounds.iter().filter_map(bound).collect()
        };
        (pick(&self.low).into_iter().reduce(f64::max), pick(&self.high).into_iter().reduce(f64::min))
    }
}

fn mirrored(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal | Comparison::NotEqual => op,
    }
}

fn negated(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_stay_inside_64_bits_or_are_refused() {
        assert_eq!(whole(Arithmetic::Subtract, (-2, 3), (5, 7)), Some((-9, -2)));
        assert_eq!(whole(Arithmetic::Multiply, (-2, 3), (-5, 7)), Some((-15, 21)));
        assert_eq!(whole(Arithmetic::Add, (0, i64::MAX), (0, 1)), None);
        assert_eq!(whole(Arithmetic::Subtract, (0, 0), (i64::MIN, 0)), None);
        assert_eq!(whole(Arithmetic::Multiply, (i64::MIN, 0), (i64::MIN, 0)), None);
    }

    #[test]
    fn quotients_are_bounded_where_the_divisor_keeps_away_from_zero() {
        assert_eq!(quotient((1.0, 8.0), (2.0, 4.0), false), Some((0.25, 4.0)));
        assert_eq!(quotient((1.0, 8.0), (0.0, 4.0), false), None);
        assert_eq!(quotient((1.0, 8.0), (0.0, 4.0), true), Some((0.25, 8.0)));
        assert_eq!(quotient((1.0, 8.0), (-2.0, 4.0), true), Some((-8.0, 8.0)));
        assert_eq!(quotient((1.0, 8.0), (0.0, 0.0), true), Some((0.0, 0.0)));
        assert_eq!(quotient((1.0, 8.0), (f64::MIN_POSITIVE / 4.0, 4.0), false), None);
    }

    #[test]
    fn conditions_narrow_the_expression_they_compare() {
        let column = Expr::Column("x".into());
        let ten = Expr::Literal(Value::Int(10));
        let condition = Expr::Compare(Comparison::Greater, Box::new(column.clone()), Box::new(ten));
        let mut known = Known::about(&column);
        known.learn(&condition, false);
        assert_eq!(known.ints(), (None, Some(10)));
        known.learn(&condition, true);
        assert_eq!(known.ints(), (Some(11), Some(10)));
        // A contradiction leaves the range as it was: the branch is never taken.
        assert_eq!(Range::Within(0, 50).narrowed(Some(11), Some(10)), Range::Within(0, 50));
        assert_eq!(Range::Within(0, 50).narrowed(Some(11), None), Range::Within(11, 50));
    }
}
