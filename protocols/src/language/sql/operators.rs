//! Operators: each with its types, its public range, and what it refuses so that it is total.

use sqlparser::ast;

use crate::language::expr::{Arithmetic, Comparison, Expr, Value, ValueType};
use crate::language::schema::Day;

use super::error::{EXPRESSIONS, Refusal, listed, nearest};
use super::range::{self, Cause, Range};
use super::scope::{Outcome, Scope};
use super::typed::{Domain, Typed};

impl<'a> Scope<'a> {
    /// Arithmetic with its range; refused where a value could leave the type, so that it is total.
    pub fn arithmetic(
        &self,
        expr: &ast::Expr,
        op: Arithmetic,
        (left_ast, left): (&ast::Expr, Typed<'a>),
        (right_ast, right): (&ast::Expr, Typed<'a>),
    ) -> Outcome<'a> {
        for (part, value) in [(left_ast, &left), (right_ast, &right)] {
            let instead = match value.domain {
                Domain::Null | Domain::Int(_) | Domain::Float { .. } => continue,
                Domain::Date(_) => "Write a comparison of dates, EXTRACT(YEAR FROM date) or DATE_TRUNC('month', date)",
                Domain::Bool => "Write CAST(condition AS BIGINT) for 1 and 0",
                Domain::Text(_) => "Write CASE WHEN column = 'value' THEN number … END",
            };
            return Err(self.refuse(part, format!("it is {} where a number is needed", value.type_name()), instead));
        }
        let size = left.size + right.size + 1;
        let make = |left: Typed<'a>, right: Typed<'a>| Expr::Arithmetic(op, Box::new(left.expr), Box::new(right.expr));
        let domain = match (&left.domain, &right.domain) {
            (Domain::Null, _) | (_, Domain::Null) => return Ok(Typed::null()),
            (Domain::Int(a), Domain::Int(b)) if op != Arithmetic::Divide => {
                let (a, b) = (self.bounds(left_ast, a)?, self.bounds(right_ast, b)?);
                let Some((low, high)) = range::whole(op, a, b) else {
                    let why = "within the declared bounds the whole number could leave 64 bits";
                    let instead = "Write CAST(… AS DOUBLE PRECISION) around one side, or declare narrower bounds";
                    return Err(self.refuse(expr, why, instead));
                };
                Domain::Int(Range::Within(low, high))
            }
            _ => {
                let (left, right) = (left.into_float(), right.into_float());
                let domain = self.float_domain(expr, op, (left_ast, &left), (right_ast, &right))?;
                let size = left.size + right.size + 1;
                return Ok(Typed { expr: make(left, right), domain, size });
            }
        };
        Ok(Typed { expr: make(left, right), domain, size })
    }

    fn float_domain(
        &self,
        expr: &ast::Expr,
        op: Arithmetic,
        (left_ast, left): (&ast::Expr, &Typed<'a>),
        (right_ast, right): (&ast::Expr, &Typed<'a>),
    ) -> Result<Domain<'a>, Refusal> {
        let (Domain::Float { range: a, whole: whole_a }, Domain::Float { range: b, whole: whole_b }) =
            (&left.domain, &right.domain)
        else {
            return Err(self.refuse(expr, "both sides must be numbers", EXPRESSIONS));
        };
        let (a, b) = (self.bounds(left_ast, a)?, self.bounds(right_ast, b)?);
        if op == Arithmetic::Divide {
            let divisor = || Cause::Divisor(self.source.shortened(self.source.extent(right_ast)));
            let range = range::quotient(a, b, *whole_b)
                .map_or_else(|| Range::Unbounded(divisor()), |(low, high)| Range::Within(low, high));
            return Ok(Domain::Float { range, whole: false });
        }
        match range::float(op, a, b) {
            Some((low, high)) => Ok(Domain::Float { range: Range::Within(low, high), whole: *whole_a && *whole_b }),
            None => Err(self.refuse(
                expr,
                "within the declared bounds the number could become infinite",
                "Write it with smaller factors, or declare narrower bounds",
            )),
        }
    }

    /// The bounds of an operand, or the refusal of one that has none.
    pub fn bounds<T: Copy>(&self, expr: &ast::Expr, range: &Range<T>) -> Result<(T, T), Refusal> {
        match range {
            Range::Within(low, high) => Ok((*low, *high)),
            Range::Unbounded(cause) => Err(self.unbounded(expr, cause)),
        }
    }

    /// The refusal of an expression without public bounds, naming what lacks them.
    pub fn unbounded(&self, expr: &ast::Expr, cause: &Cause) -> Refusal {
        match cause {
            Cause::Column(column) => self.refuse(
                expr,
                format!("it has no public bounds, since column `{column}` has no declared min and max"),
                format!(
                    "Declare min and max for `{column}` in node.toml at each partner, or bound it here: CASE WHEN \
                     {column} < 0 THEN 0 WHEN {column} > 100 THEN 100 ELSE {column} END"
                ),
            ),
            Cause::Divisor(divisor) => self.refuse(
                expr,
                format!("it has no public bounds, since the divisor `{divisor}` can come arbitrarily near 0"),
                format!(
                    "Write a divisor that keeps away from 0, such as a constant, a whole number or CASE WHEN \
                     {divisor} >= 1 THEN {divisor} END"
                ),
            ),
        }
    }

    /// A comparison of a value that is typed already with an expression that is not.
    pub fn compare(
        &self,
        op: Comparison,
        (left_ast, left): (&ast::Expr, Typed<'a>),
        right_ast: &ast::Expr,
        depth: usize,
    ) -> Outcome<'a> {
        let right = self.at_depth(right_ast, depth)?;
        self.compare_typed(op, (left_ast, left), (right_ast, right))
    }

    pub fn compare_typed(
        &self,
        op: Comparison,
        (left_ast, left): (&ast::Expr, Typed<'a>),
        (right_ast, right): (&ast::Expr, Typed<'a>),
    ) -> Outcome<'a> {
        let (left, right) = match (&left.domain, &right.domain) {
            (Domain::Int(_), Domain::Float { .. }) => (left, right.whole_literal()),
            (Domain::Float { .. }, Domain::Int(_)) => (left.whole_literal(), right),
            _ => (left, right),
        };
        let mut both = vec![(left_ast, left), (right_ast, right)];
        let value_type = self.unify(&mut both)?;
        let (Some((right_ast, right)), Some((left_ast, left))) = (both.pop(), both.pop()) else {
            return Ok(Typed::null()); // Not reached: unify keeps the number of values.
        };
        if matches!(left.domain, Domain::Null) || matches!(right.domain, Domain::Null) {
            return Ok(Typed::null());
        }
        let ordered = !matches!(op, Comparison::Equal | Comparison::NotEqual);
        if ordered && matches!(value_type, Some(ValueType::Text | ValueType::Bool)) {
            let why = format!("it is {}, which has no order", left.type_name());
            return Err(self.refuse(left_ast, why, "Write = , <> or IN (…)"));
        }
        self.check_word((left_ast, &left), (right_ast, &right))?;
        self.check_word((right_ast, &right), (left_ast, &left))?;
        let size = left.size + right.size;
        Ok(Typed::condition(Expr::Compare(op, Box::new(left.expr), Box::new(right.expr)), size))
    }

    /// Refuses a text literal that the other side can never be: nearly always a slip that would publish noise.
    fn check_word(
        &self,
        (literal_ast, literal): (&ast::Expr, &Typed<'a>),
        (other_ast, other): (&ast::Expr, &Typed<'a>),
    ) -> Result<(), Refusal> {
        let (Some(word), Domain::Text(words)) = (literal.text_literal(), &other.domain) else { return Ok(()) };
        let values = || words.iter().flat_map(|words| words.iter());
        if values().any(|value| value == word) {
            return Ok(());
        }
        let other = self.source.shortened(self.source.extent(other_ast));
        let near = nearest(word, values());
        let instead = match near.first() {
            Some(_) => {
                format!("Write {}; the public values are {}", listed(near.iter().copied(), 3), listed(values(), 20))
            }
            None => format!("Write one of the public values: {}", listed(values(), 20)),
        };
        Err(self.refuse(literal_ast, format!("it is not a public value of `{other}`"), instead))
    }

    /// Gives all values one type: whole numbers become numbers beside numbers, text literals become dates beside
    /// dates, NULL becomes anything. The type is open where all are NULL.
    pub fn unify(&self, values: &mut [(&ast::Expr, Typed<'a>)]) -> Result<Option<ValueType>, Refusal> {
        let types: Vec<ValueType> = values.iter().filter_map(|(_, value)| value.value_type()).collect();
        let common = match types.first() {
            None => return Ok(None),
            Some(ValueType::Int | ValueType::Float) if types.contains(&ValueType::Float) => ValueType::Float,
            Some(ValueType::Text) if types.contains(&ValueType::Date) => ValueType::Date,
            Some(first) => *first,
        };
        let first = values.iter().find(|(_, value)| value.value_type() == Some(common));
        let first = first.map(|(expr, value)| (*expr, value.type_name()));
        for (expr, value) in values.iter_mut() {
            let taken = std::mem::replace(value, Typed::null());
            *value = match (common, taken.text_literal()) {
                (ValueType::Date, Some(text)) => self.day(expr, text)?,
                (ValueType::Float, _) => taken.into_float().of_type(common),
                _ => taken.of_type(common),
            };
            if value.value_type().is_some_and(|value_type| value_type != common) {
                let (other, other_type) = first.unwrap_or((expr, "of another type"));
                let other = self.source.shortened(self.source.extent(other));
                let why = format!("it is {} beside `{other}`, which is {other_type}", value.type_name());
                return Err(self.refuse(expr, why, "Write both of one type; CAST(… AS type) converts numbers"));
            }
        }
        Ok(Some(common))
    }

    /// A date literal.
    pub fn day(&self, expr: &ast::Expr, text: &str) -> Outcome<'a> {
        match Day::parse(text) {
            Some(day) => Ok(Typed::literal(Value::Date(day))),
            None => Err(self.refuse(expr, "it is not a date", "Write a date as DATE '2025-01-31'")),
        }
    }

    /// `CASE`: one result more than conditions. Its range is the hull of its results, each narrowed by what the
    /// conditions say about that very expression.
    pub fn choose(
        &self,
        expr: &ast::Expr,
        conditions: Vec<Typed<'a>>,
        mut results: Vec<(&ast::Expr, Typed<'a>)>,
    ) -> Outcome<'a> {
        let size = conditions.iter().chain(results.iter().map(|(_, result)| result)).map(|part| part.size + 1).sum();
        self.check_size(expr, size)?;
        for (at, (_, result)) in results.iter_mut().enumerate() {
            let taken = std::mem::replace(result, Typed::null());
            let failed = conditions[..at.min(conditions.len())].iter().map(|condition| &condition.expr);
            *result = taken.narrowed(failed, conditions.get(at).map(|condition| &condition.expr));
        }
        let Some(value_type) = self.unify(&mut results)? else { return Ok(Typed::null()) };
        let domain = results.iter().map(|(_, result)| result.domain.clone()).reduce(hull).unwrap_or(Domain::Null);
        let mut results: Vec<Expr> = results.into_iter().map(|(_, result)| result.of_type(value_type).expr).collect();
        let otherwise = results.pop().unwrap_or(Expr::Null(value_type));
        let branches = conditions.into_iter().map(|condition| condition.expr).zip(results).collect();
        Ok(Typed { expr: Expr::Case(branches, Box::new(otherwise)), domain, size })
    }
}

/// `NOT`.
pub(super) fn not(condition: Typed<'_>) -> Typed<'_> {
    Typed::condition(Expr::Not(Box::new(condition.expr)), condition.size)
}

/// `IS NULL`.
pub(super) fn is_null(value: Typed<'_>) -> Typed<'_> {
    match value.domain {
        Domain::Null => Typed::literal(Value::Bool(true)),
        _ => Typed::condition(Expr::IsNull(Box::new(value.expr)), value.size),
    }
}

/// A comparison as a condition, also where it is always NULL.
pub(super) fn as_condition(comparison: Typed<'_>) -> Typed<'_> {
    Typed { domain: Domain::Bool, ..comparison.of_type(ValueType::Bool) }
}

/// `AND` or `OR`.
pub(super) fn connect<'a>(make: fn(Box<Expr>, Box<Expr>) -> Expr, left: Typed<'a>, right: Typed<'a>) -> Typed<'a> {
    let (left, right) = (as_condition(left), as_condition(right));
    Typed::condition(make(Box::new(left.expr), Box::new(right.expr)), left.size + right.size)
}

/// `OR` over all of them, as a balanced tree, so that a long list is not a deep one.
pub(super) fn any_of(mut conditions: Vec<Typed<'_>>) -> Option<Typed<'_>> {
    while conditions.len() > 1 {
        let mut pairs = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut rest = conditions.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => connect(Expr::Or, left, right),
                None => left,
            });
        }
        conditions = pairs;
    }
    conditions.pop()
}

/// What either of two domains can be; they are of one type, or NULL.
fn hull<'a>(left: Domain<'a>, right: Domain<'a>) -> Domain<'a> {
    match (left, right) {
        (Domain::Null, other) | (other, Domain::Null) => other,
        (Domain::Int(a), Domain::Int(b)) => Domain::Int(a.hull(b)),
        (Domain::Float { range: a, whole: whole_a }, Domain::Float { range: b, whole: whole_b }) => {
            Domain::Float { range: a.hull(b), whole: whole_a && whole_b }
        }
        (Domain::Date(a), Domain::Date(b)) => Domain::Date(a.hull(b)),
        (Domain::Text(mut words), Domain::Text(more)) => {
            for more in more {
                if !words.contains(&more) {
                    words.push(more);
                }
            }
            Domain::Text(words)
        }
        (left, _) => left,
    }
}
