//! Random text never panics, and ranges hold what a reference evaluation gives.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::language::expr::{Arithmetic, Comparison, DatePart, Value, ValueType};

const VALID: [&str; 5] = [
    "SELECT region, COUNT(*) AS rows, COUNT(DISTINCT customer_id), SUM(spend), AVG(age) FROM customers \
     WHERE joined < DATE '2025-01-01' GROUP BY region",
    "SELECT CASE WHEN age < 30 THEN 'y' WHEN age >= 60 THEN 'o' END AS bin, AVG(ABS(change) / NULLIF(visits, 0)) \
     FROM customers AS c WHERE NOT (c.churned OR region IN ('north', 'west')) GROUP BY 1",
    "SELECT DATE_TRUNC('quarter', joined) AS q, SUM(CAST(spend AS BIGINT) * 2) FROM customers GROUP BY q",
    "SELECT EXTRACT(DOW FROM seen), COUNT(*) FROM customers WHERE age BETWEEN 20 AND 30 GROUP BY EXTRACT(DOW FROM seen)",
    "SELECT SUM(COALESCE(größe, -1.5e0)) FROM customers WHERE tier IS NOT NULL -- ende",
];

const TOKENS: [&str; 96] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "customers",
    "AS",
    "region",
    "age",
    "spend",
    "visits",
    "joined",
    "churned",
    "customer_id",
    "COUNT(*)",
    "COUNT(DISTINCT customer_id)",
    "SUM(",
    "AVG(",
    "COUNT(",
    "ABS(",
    "COALESCE(",
    "NULLIF(",
    "CAST(",
    "EXTRACT(",
    "DATE_TRUNC(",
    "'month'",
    "YEAR FROM",
    "AS BIGINT)",
    "::",
    "DATE",
    "'2020-01-01'",
    "'north'",
    "'ä😀'",
    "\"größe\"",
    "größe",
    "(",
    ")",
    ",",
    ".",
    "+",
    "-",
    "*",
    "/",
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "AND",
    "OR",
    "NOT",
    "IN (",
    "BETWEEN",
    "IS NULL",
    "IS NOT NULL",
    "LIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "NULL",
    "TRUE",
    "1",
    "0",
    "2.5",
    "1e300",
    "9223372036854775807",
    "99999999999999999999",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "JOIN",
    "ON",
    "USING",
    "UNION",
    "WITH",
    "OVER (",
    "FILTER (",
    "DISTINCT",
    "INTERVAL",
    "[",
    "]",
    "{",
    ";",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "$1",
    "\n",
    "\u{0}",
    "@",
    "\u{301}",
];

/// Plans, and checks that a refusal can be shown.
fn try_plan(sql: &str) -> bool {
    let _ = dataset_name(sql);
    for refusal in [planned(sql).err(), rows(sql, &schema()).err()].into_iter().flatten() {
        assert!(!refusal.instead.is_empty() && !refusal.to_string().is_empty());
        let lines = sql.split('\n').count() as u64;
        assert!((1..=lines).contains(&refusal.line) && refusal.column >= 1, "{refusal:?}");
    }
    match planned(sql) {
        Ok(plan) => {
            assert!(plan.layout().cells() > 0);
            true
        }
        Err(_) => false,
    }
}

#[test]
fn the_valid_ones_are_valid() {
    assert!(VALID.iter().all(|sql| try_plan(sql)));
}

proptest! {
    #[test]
    fn token_soup_never_panics(tokens in proptest::collection::vec(proptest::sample::select(&TOKENS[..]), 0..60)) {
        try_plan(&tokens.join(" "));
        try_plan(&format!("SELECT {} FROM customers", tokens.join(" ")));
        try_plan(&format!("SELECT COUNT(*) FROM customers WHERE {}", tokens.join("")));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        try_plan(&text);
        try_plan(&format!("SELECT {text} FROM customers"));
    }

    #[test]
    fn mutated_queries_never_panic(
        valid in proptest::sample::select(&VALID[..]),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..8, proptest::sample::select(&TOKENS[..])), 1..6),
    ) {
        let mut chars: Vec<char> = valid.chars().collect();
        for (at, deleted, inserted) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + deleted).min(chars.len());
            chars.splice(at..end, format!(" {inserted} ").chars());
        }
        try_plan(&chars.into_iter().collect::<String>());
    }

    /// Whatever the row, NULLs included, an accepted number is NULL or finite and inside its public range.
    #[test]
    fn ranges_contain_the_values(
        text in number(),
        rows in proptest::collection::vec(row(), 20),
    ) {
        let Ok(plan) = planned(&format!("SELECT SUM({text}) FROM customers")) else { return Ok(()) };
        let BaseSum::Values { expr, low, high, .. } = &plan.sums[0] else { panic!("{:?}", plan.sums) };
        for row in rows {
            let value = match evaluate(expr, &row) {
                None => continue,
                Some(Value::Int(value)) => value as f64,
                Some(Value::Float(value)) => value,
                Some(other) => panic!("{other:?}"),
            };
            prop_assert!(*low <= value && value <= *high, "{text} = {value} outside {low}..{high} at {row:?}");
        }
    }
}

/// A number in SQL, mostly one that is accepted.
fn number() -> impl Strategy<Value = String> {
    let leaves = [
        "age",
        "visits",
        "change",
        "spend",
        "clicks",
        "0",
        "1",
        "-3",
        "0.25",
        "7",
        "1e3",
        "-2.5",
        "NULL",
        "EXTRACT(MONTH FROM seen)",
        "CAST(churned AS BIGINT)",
    ];
    let leaf = proptest::sample::select(leaves.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let forms = [
            "({a} + {b})",
            "({a} - {b})",
            "({a} * {b})",
            "({a} / {b})",
            "(- {a})",
            "ABS({a})",
            "NULLIF({a}, {b})",
            "COALESCE({a}, {b})",
            "CAST({a} AS BIGINT)",
            "CAST({a} AS DOUBLE PRECISION)",
            "CASE WHEN {a} < {b} THEN {c} ELSE {a} END",
            "CASE WHEN {a} < -2.0 THEN -2.0 WHEN {a} > 9.5 THEN 9.5 ELSE {a} END",
            "CASE WHEN NOT {a} < 2 AND {a} <= 8 THEN {a} END",
            "CASE WHEN {a} > 3 OR {a} <= 1 THEN {b} ELSE {a} END",
            "CASE WHEN {a} >= 0.5 THEN {b} / {a} END",
            "({b} / CASE WHEN 1 > {a} THEN 1 ELSE {a} END)",
            "CASE {a} WHEN 1 THEN {b} WHEN {c} THEN {a} ELSE {a} END",
            "CASE WHEN {a} BETWEEN 2 AND 4 THEN {a} ELSE {b} END",
        ];
        (proptest::sample::select(forms.to_vec()), inner.clone(), inner.clone(), inner)
            .prop_map(|(form, a, b, c)| form.replace("{a}", &a).replace("{b}", &b).replace("{c}", &c))
    })
}

type Row = BTreeMap<&'static str, Value>;

/// Values within the declared bounds, often at them; a column that is not there is NULL.
fn row() -> impl Strategy<Value = Row> {
    let column = |name: &'static str, value: BoxedStrategy<Value>| {
        proptest::option::weighted(0.85, value).prop_map(move |value| value.map(|value| (name, value)))
    };
    let int = |low: i64, high: i64| prop_oneof![low..=high, Just(low), Just(high)].prop_map(Value::Int).boxed();
    let float = |low: f64, high: f64| {
        prop_oneof![low..=high, Just(low), Just(high), Just(0.0), Just(5e-324)].prop_map(Value::Float).boxed()
    };
    let seen = (19780i32..=19784).prop_map(|day| Value::Date(Day(day))).boxed();
    (
        column("age", int(18, 95)),
        column("visits", int(0, 10)),
        column("clicks", int(i64::MIN, i64::MAX)),
        column("spend", float(0.0, 5000.0)),
        column("change", float(-1.5, 1.0)),
        column("churned", any::<bool>().prop_map(Value::Bool).boxed()),
        column("seen", seen),
    )
        .prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].into_iter().flatten().collect())
}

/// The reference: what a plan's expression is on one row; panics where it is not total.
fn evaluate(expr: &Expr, row: &Row) -> Option<Value> {
    let condition = |expr: &Expr| match evaluate(expr, row) {
        None => None,
        Some(Value::Bool(value)) => Some(value),
        Some(other) => panic!("{other:?} is no condition"),
    };
    match expr {
        Expr::Column(name) => row.get(name.as_str()).cloned(),
        Expr::Literal(value) => Some(value.clone()),
        Expr::Null(_) => None,
        Expr::Arithmetic(op, left, right) => arithmetic(*op, evaluate(left, row)?, evaluate(right, row)?),
        Expr::Compare(op, left, right) => {
            let (left, right) = (evaluate(left, row)?, evaluate(right, row)?);
            let order = match (&left, &right) {
                (Value::Int(left), Value::Int(right)) => left.cmp(right),
                (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).expect("never NaN"),
                _ => panic!("{left:?} beside {right:?}"),
            };
            Some(Value::Bool(match op {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
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
        Expr::Not(inner) => condition(inner).map(|value| Value::Bool(!value)),
        Expr::IsNull(inner) => Some(Value::Bool(evaluate(inner, row).is_none())),
        Expr::Case(branches, otherwise) => {
            let taken = branches.iter().find(|(when, _)| condition(when) == Some(true));
            evaluate(taken.map_or(otherwise, |(_, result)| result), row)
        }
        Expr::Cast(inner, to) => Some(match (evaluate(inner, row)?, to) {
            (Value::Int(value), ValueType::Float) => Value::Float(value as f64),
            (Value::Bool(value), ValueType::Int) => Value::Int(value.into()),
            (Value::Float(value), ValueType::Int) => {
                assert!((-9.3e18..9.3e18).contains(&value));
                Value::Int(value as i64)
            }
            (value, to) => panic!("{value:?} to {to:?}"),
        }),
        Expr::DatePart(part, inner) => match (part, evaluate(inner, row)?) {
            (DatePart::Month, Value::Date(day)) => Some(Value::Int(day.date().month().into())),
            other => panic!("{other:?}"),
        },
        Expr::DateTrunc(..) => panic!("not generated"),
    }
}

fn arithmetic(op: Arithmetic, left: Value, right: Value) -> Option<Value> {
    Some(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(match op {
            Arithmetic::Add => left.checked_add(right).expect("inside i64"),
            Arithmetic::Subtract => left.checked_sub(right).expect("inside i64"),
            Arithmetic::Multiply => left.checked_mul(right).expect("inside i64"),
            Arithmetic::Divide => panic!("division is of numbers"),
        }),
        (Value::Float(left), Value::Float(right)) => {
            let value = match op {
                Arithmetic::Add => left + right,
                Arithmetic::Subtract => left - right,
                Arithmetic::Multiply => left * right,
                Arithmetic::Divide if right == 0.0 => return None,
                Arithmetic::Divide => left / right,
            };
            assert!(!value.is_nan());
            Value::Float(value)
        }
        other => panic!("{other:?}"),
    })
}

/// The property above says nothing if all are refused.
#[test]
fn most_random_numbers_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..300).filter(|_| {
        let text = number().new_tree(&mut runner).expect("the strategy rejects nothing").current();
        planned(&format!("SELECT SUM({text}) FROM customers")).is_ok()
    });
    let accepted = accepted.count();
    assert!(accepted > 100, "{accepted} of 300");
}
