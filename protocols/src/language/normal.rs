//! The normal form of plans: what is asked, without what a text may say in several ways.
//!
//! **Conditions.** `AND` and `OR` are commutative, associative and idempotent in SQL's three-valued logic, and every operand has a
//! value on every row. So operands of nested ANDs, and of nested ORs, stand in one list, each once, in the order of their
//! canonical bytes; from there on they are a balanced tree, so that a long list is not a deep one.
//!
//! **Lists.** Group keys and sums stand in the order of their canonical bytes. What is released, component after component and
//! cell after cell, then has one order however it was asked; how it is shown is said beside it.

use super::expr::Expr;
use crate::canonical::canonical_bytes;

/// An expression of the same value and type on every row, which is the same for conditions that say the same.
pub(super) fn expr(expr: Expr) -> Expr {
    let boxed = |inner: Box<Expr>| Box::new(self::expr(*inner));
    match expr {
        Expr::And(..) => connected(Connective::And, expr),
        Expr::Or(..) => connected(Connective::Or, expr),
        Expr::Column(_) | Expr::Literal(_) | Expr::Null(_) => expr,
        Expr::Arithmetic(op, left, right) => Expr::Arithmetic(op, boxed(left), boxed(right)),
        Expr::Compare(op, left, right) => Expr::Compare(op, boxed(left), boxed(right)),
        Expr::Not(inner) => Expr::Not(boxed(inner)),
        Expr::IsNull(inner) => Expr::IsNull(boxed(inner)),
        Expr::Case(branches, otherwise) => {
            let branch = |(condition, result)| (self::expr(condition), self::expr(result));
            Expr::Case(branches.into_iter().map(branch).collect(), boxed(otherwise))
        }
        Expr::Cast(inner, to) => Expr::Cast(boxed(inner), to),
        Expr::DatePart(part, inner) => Expr::DatePart(part, boxed(inner)),
        Expr::DateTrunc(unit, inner) => Expr::DateTrunc(unit, boxed(inner)),
    }
}

/// A list in the order of its items' canonical bytes, each once, and where each of the given items is in it.
pub(super) fn ordered<T: bincode::Encode>(items: Vec<T>) -> (Vec<T>, Vec<usize>) {
    let count = items.len();
    let mut keyed: Vec<(Vec<u8>, usize, T)> =
        items.into_iter().enumerate().map(|(at, item)| (canonical_bytes(&item), at, item)).collect();
    keyed.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let (mut list, mut places) = (Vec::with_capacity(count), vec![0; count]);
    let mut last = None;
    for (bytes, at, item) in keyed {
        if last.as_ref() != Some(&bytes) {
            list.push(item);
            last = Some(bytes);
        }
        places[at] = list.len() - 1;
    }
    (list, places)
}

#[derive(Clone, Copy, PartialEq)]
enum Connective {
    And,
    Or,
}

fn connected(connective: Connective, whole: Expr) -> Expr {
    let mut operands = Vec::new();
    flatten(connective, whole, &mut operands);
    let mut flat = Vec::with_capacity(operands.len());
    // In its normal form, an operand can be of this connective: one of several equal ones stands for all of them.
    operands.into_iter().for_each(|operand| flatten(connective, expr(operand), &mut flat));
    let (mut level, _) = ordered(flat);
    while level.len() > 1 {
        let mut pairs = Vec::with_capacity(level.len().div_ceil(2));
        let mut rest = level.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match (rest.next().map(Box::new), connective) {
                (Some(right), Connective::And) => Expr::And(Box::new(left), right),
                (Some(right), Connective::Or) => Expr::Or(Box::new(left), right),
                (None, _) => left,
            });
        }
        level = pairs;
    }
    level.pop().expect("a connective has operands")
}

fn flatten(connective: Connective, expr: Expr, operands: &mut Vec<Expr>) {
    match (expr, connective) {
        (Expr::And(left, right), Connective::And) | (Expr::Or(left, right), Connective::Or) => {
            flatten(connective, *left, operands);
            flatten(connective, *right, operands);
        }
        (other, _) => operands.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::expr::{Value, ValueType};

    fn column(name: &str) -> Expr {
        Expr::Column(name.into())
    }

    fn and(left: Expr, right: Expr) -> Expr {
        Expr::And(Box::new(left), Box::new(right))
    }

    fn or(left: Expr, right: Expr) -> Expr {
        Expr::Or(Box::new(left), Box::new(right))
    }

    #[test]
    fn conditions_are_lists_without_order_and_repeats() {
        let [a, b, c] = ["a", "b", "c"].map(column);
        let expected = and(and(a.clone(), b.clone()), c.clone());
        assert_eq!(expr(and(c.clone(), and(b.clone(), and(a.clone(), c.clone())))), expected);
        assert_eq!(expr(and(b.clone(), b.clone())), b);
        // What is left of equal operands is itself of the outer connective.
        let twice = or(and(a.clone(), b.clone()), and(b.clone(), a.clone()));
        assert_eq!(expr(and(c.clone(), twice)), expected);
        // Inside of other expressions as well; the order of what is not commutative stays.
        let case = |condition| Expr::Case(vec![(condition, c.clone())], Box::new(Expr::Null(ValueType::Bool)));
        assert_eq!(expr(case(or(b.clone(), a.clone()))), case(or(a.clone(), b.clone())));
        let implied = |one: &Expr, other: &Expr| or(Expr::Not(Box::new(one.clone())), other.clone());
        assert_ne!(expr(implied(&a, &b)), expr(implied(&b, &a)));
    }

    #[test]
    fn lists_say_where_their_items_went() {
        let words = ["b", "a", "b", "c"].map(|word| Value::Text(word.into()));
        let (list, places) = ordered(words.to_vec());
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(places, [1, 0, 1, 2]);
    }
}
