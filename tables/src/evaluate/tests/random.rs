//! Random expressions over random rows.

use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart, DateUnit};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// Two columns of each type, in the order of [`TYPES`].
const COLUMNS: [&str; 10] = ["i", "j", "f", "g", "b", "c", "t", "u", "d", "e"];
const TYPES: [ValueType; 5] = [ValueType::Int, ValueType::Float, ValueType::Bool, ValueType::Text, ValueType::Date];

type Row = [Option<Value>; 10];

/// One strategy for each of [`TYPES`].
type OfEach<T> = [BoxedStrategy<T>; 5];

/// Values of a type, often at the edges; of numbers none that no column and no expression gives.
fn value(value_type: ValueType) -> BoxedStrategy<Value> {
    match value_type {
        ValueType::Int => prop_oneof![
            -9i64..9,
            any::<i64>(),
            prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]),
        ]
        .prop_map(Value::Int)
        .boxed(),
        ValueType::Float => prop_oneof![
            -9.0..9.0f64,
            any::<f64>().prop_filter_map("a number", crate::vector::tidy),
            prop::sample::select(vec![
                0.0,
                1.0,
                -1.0,
                0.5,
                5e-324,
                f64::MAX,
                f64::MIN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                9_223_372_036_854_775_807.0,
            ]),
        ]
        .prop_map(Value::Float)
        .boxed(),
        ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ValueType::Text => prop::sample::select(TEXTS.to_vec()).prop_map(|text| Value::Text(text.into())).boxed(),
        ValueType::Date => {
            prop_oneof![19_700i32..20_500, any::<i32>(), prop::sample::select(vec![i32::MIN, -1, 0, i32::MAX])]
                .prop_map(|day| Value::Date(Day(day)))
                .boxed()
        }
    }
}

fn row() -> impl Strategy<Value = Row> {
    let column = |at: usize| prop::option::weighted(0.8, value(TYPES[at / 2]));
    (0..10).map(column).collect::<Vec<_>>().prop_map(|values| values.try_into().expect("ten columns"))
}

/// Columns, constants and NULL.
fn leaves() -> OfEach<Expr> {
    [0, 1, 2, 3, 4].map(|at| {
        let value_type = TYPES[at];
        let odd = match value_type {
            // Constants have what columns never have.
            ValueType::Float => prop::sample::select(vec![f64::NAN, -0.0]).prop_map(Value::Float).boxed(),
            _ => value(value_type),
        };
        prop_oneof![
            6 => prop::sample::select(vec![COLUMNS[2 * at], COLUMNS[2 * at + 1]]).prop_map(column),
            3 => value(value_type).prop_map(Expr::Literal),
            1 => odd.prop_map(Expr::Literal),
            1 => Just(Expr::Null(value_type)),
        ]
        .boxed()
    })
}

/// Expressions one operator deeper than `inner`.
fn deeper(leaves: &OfEach<Expr>, inner: &OfEach<Expr>) -> OfEach<Expr> {
    fn boxed(expr: Expr) -> Box<Expr> {
        Box::new(expr)
    }
    let [int, float, bool, text, date] = inner.clone();
    let case = |of: &BoxedStrategy<Expr>| {
        let branches = prop::collection::vec((bool.clone(), of.clone()), 0..4);
        (branches, of.clone()).prop_map(|(branches, otherwise)| Expr::Case(branches, boxed(otherwise))).boxed()
    };
    let arithmetic = |of: &BoxedStrategy<Expr>, operators: &[Arithmetic]| {
        (prop::sample::select(operators.to_vec()), of.clone(), of.clone())
            .prop_map(|(arithmetic, left, right)| Expr::Arithmetic(arithmetic, boxed(left), boxed(right)))
            .boxed()
    };
    let compare = |of: &BoxedStrategy<Expr>, comparisons: &[Comparison]| {
        (prop::sample::select(comparisons.to_vec()), of.clone(), of.clone())
            .prop_map(|(comparison, left, right)| Expr::Compare(comparison, boxed(left), boxed(right)))
            .boxed()
    };
    let cast = |of: &BoxedStrategy<Expr>, to: ValueType| of.clone().prop_map(move |e| Expr::Cast(boxed(e), to)).boxed();
    let pair = (bool.clone(), bool.clone());
    let all = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    let parts = [DatePart::Year, DatePart::Quarter, DatePart::Month, DatePart::Day, DatePart::DayOfWeek];
    let units = [DateUnit::Year, DateUnit::Quarter, DateUnit::Month];
    let whole = [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply];
    let any = proptest::strategy::Union::new([&int, &float, &bool, &text, &date].map(Clone::clone));
    [
        prop_oneof![
            1 => leaves[0].clone(),
            3 => arithmetic(&int, &whole),
            2 => case(&int),
            1 => cast(&float, ValueType::Int),
            1 => cast(&bool, ValueType::Int),
            1 => (prop::sample::select(parts.to_vec()), date.clone()).prop_map(|(p, e)| Expr::DatePart(p, boxed(e))),
        ]
        .boxed(),
        prop_oneof![
            1 => leaves[1].clone(),
            4 => arithmetic(&float, &[whole[0], whole[1], whole[2], Arithmetic::Divide]),
            2 => case(&float),
            1 => cast(&int, ValueType::Float),
            1 => cast(&bool, ValueType::Float),
            1 => cast(&float, ValueType::Float),
        ]
        .boxed(),
        prop_oneof![
            1 => leaves[2].clone(),
            2 => compare(&int, &all),
            2 => compare(&float, &all),
            1 => compare(&bool, &all),
            2 => compare(&text, &all[..2]),
            2 => compare(&date, &all),
            2 => pair.clone().prop_map(|(left, right)| Expr::And(boxed(left), boxed(right))),
            2 => pair.prop_map(|(left, right)| Expr::Or(boxed(left), boxed(right))),
            2 => bool.clone().prop_map(|inner| Expr::Not(boxed(inner))),
            2 => any.prop_map(|inner| Expr::IsNull(boxed(inner))),
            2 => case(&bool),
        ]
        .boxed(),
        prop_oneof![1 => leaves[3].clone(), 2 => case(&text)].boxed(),
        prop_oneof![
            1 => leaves[4].clone(),
            2 => case(&date),
            2 => (prop::sample::select(units.to_vec()), date.clone()).prop_map(|(u, e)| Expr::DateTrunc(u, boxed(e))),
        ]
        .boxed(),
    ]
}

/// Expressions of any type, up to four operators deep.
fn expr() -> impl Strategy<Value = Expr> {
    let leaves = leaves();
    let deep = (0..4).fold(leaves.clone(), |inner, _| deeper(&leaves, &inner));
    proptest::strategy::Union::new(deep)
}

fn columns(rows: &[Row]) -> Vec<(&'static str, Vector)> {
    let column = |at: usize| {
        let values: Vec<Option<Value>> = rows.iter().map(|row| row[at].clone()).collect();
        (COLUMNS[at], vector(TYPES[at / 2], &values))
    };
    (0..10).map(column).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Several expressions at once, so that what they share is computed once, give what the reference gives, each on each row.
    #[test]
    fn expressions_are_what_the_reference_says(
        exprs in prop::collection::vec(expr(), 1..4),
        // Some more than a word of bits has.
        rows in prop::collection::vec(row(), 0..80),
    ) {
        let (found, _) = run(&exprs.iter().collect::<Vec<_>>(), &columns(&rows), rows.len());
        for (expr, found) in exprs.iter().zip(&found) {
            for (row, found) in rows.iter().zip(values(found)) {
                let column = |name: &str| &row[COLUMNS.iter().position(|column| *column == name).expect("a column")];
                let expected = reference::evaluate(expr, &column);
                prop_assert!(same(&found, &expected), "{expr:?} of {row:?} is {found:?}, not {expected:?}");
            }
        }
    }

    /// Neither the other rows of a batch, nor their number, nor the place in it matter to a row; and what rows hold does not
    /// matter to how much is computed.
    #[test]
    fn a_rows_value_is_its_own_affair_and_the_work_is_everybodys(
        expr in expr(),
        rows in prop::collection::vec(row(), 1..70),
        others in prop::collection::vec(row(), 70),
        turn in any::<prop::sample::Index>(),
    ) {
        let (all, looked_at) = run(&[&expr], &columns(&rows), rows.len());
        let all = values(&all[0]);
        let mut turned = rows.clone();
        let turn = turn.index(rows.len());
        turned.rotate_left(turn);
        let (found, _) = run(&[&expr], &columns(&turned), rows.len());
        for (row, found) in values(&found[0]).iter().enumerate() {
            prop_assert!(same(found, &all[(row + turn) % rows.len()]));
        }
        let (alone, _) = run(&[&expr], &columns(&rows[turn..=turn]), 1);
        prop_assert!(same(&values(&alone[0])[0], &all[turn]));

        let nulls: Vec<Row> = rows.iter().map(|_| [const { None }; 10]).collect();
        for others in [&others[..rows.len()], &nulls] {
            prop_assert_eq!(run(&[&expr], &columns(others), rows.len()).1, looked_at);
        }
    }
}

/// The properties above say little if all expressions are small, or of one operator.
#[test]
fn random_expressions_have_all_operators_and_are_deep() {
    fn visit(expr: &Expr, depth: usize, found: &mut std::collections::BTreeSet<String>, deepest: &mut usize) {
        *deepest = depth.max(*deepest);
        if let Some((operator, operands)) = Operator::of(expr) {
            found.insert(format!("{operator:?}"));
            operands.into_iter().for_each(|operand| visit(operand, depth + 1, found, deepest));
        }
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut found, mut deepest) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..300 {
        let expr = expr().new_tree(&mut runner).expect("the strategy rejects nothing").current();
        visit(&expr, 0, &mut found, &mut deepest);
    }
    assert_eq!(deepest, 4);
    // All but casts to Bool, Text and Date, which are of those types alone.
    assert_eq!(found.len(), table::operators().len() - 3, "{found:?}");
}
