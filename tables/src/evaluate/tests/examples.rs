//! Each kind of expression on each kind of value, in plain view; and programs that do not fit.

use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart, DateUnit};

use super::*;
use Arithmetic::{Add, Divide, Multiply, Subtract};

fn columns() -> Vec<(&'static str, Vector)> {
    vec![
        ("i", Vector::Int(Int64Array::from(vec![Some(i64::MAX), Some(-7), None, Some(0)]))),
        ("f", Vector::Float(Float64Array::from(vec![Some(1e308), Some(-0.5), None, Some(0.0)]))),
        ("b", Vector::Bool(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
        ("d", Vector::Date(Date32Array::from(vec![Some(19_782), Some(-1), None, Some(i32::MAX)]))),
        ("t", Vector::Text(Int32Array::from(vec![Some(0), Some(1), None, Some(0)]))),
    ]
}

fn ints(expr: &Expr) -> Vec<Option<i64>> {
    let Vector::Int(values) = &run(&[expr], &columns(), 4).0[0] else { panic!("{expr:?} is not a whole number") };
    values.iter().collect()
}

fn floats(expr: &Expr) -> Vec<Option<f64>> {
    let Vector::Float(values) = &run(&[expr], &columns(), 4).0[0] else { panic!("{expr:?} is not a number") };
    values.iter().collect()
}

fn bools(expr: &Expr) -> Vec<Option<bool>> {
    let Vector::Bool(values) = &run(&[expr], &columns(), 4).0[0] else { panic!("{expr:?} is not a condition") };
    values.iter().collect()
}

fn int(value: i64) -> Expr {
    Expr::Literal(Value::Int(value))
}

fn arithmetic(operator: Arithmetic, left: Expr, right: Expr) -> Expr {
    Expr::Arithmetic(operator, Box::new(left), Box::new(right))
}

fn compare(comparison: Comparison, left: Expr, right: Expr) -> Expr {
    Expr::Compare(comparison, Box::new(left), Box::new(right))
}

fn float(value: f64) -> Expr {
    Expr::Literal(Value::Float(value))
}

fn text(value: &str) -> Expr {
    Expr::Literal(Value::Text(value.into()))
}

#[test]
fn arithmetic_never_fails() {
    assert_eq!(ints(&arithmetic(Add, column("i"), int(1))), [Some(i64::MIN), Some(-6), None, Some(1)]);
    assert_eq!(ints(&arithmetic(Multiply, column("i"), int(2))), [Some(-2), Some(-14), None, Some(0)]);
    assert_eq!(ints(&arithmetic(Subtract, int(1), Expr::Null(ValueType::Int))), [None; 4]);
    assert_eq!(floats(&arithmetic(Divide, float(1.0), column("f"))), [Some(1e-308), Some(-2.0), None, None]);
    let infinite = arithmetic(Multiply, column("f"), float(1e308));
    assert_eq!(floats(&infinite), [Some(f64::INFINITY), Some(-5e307), None, Some(0.0)]);
    // Infinity less infinity is not a number.
    assert_eq!(floats(&arithmetic(Subtract, infinite.clone(), infinite))[0], None);
    let zero = arithmetic(Multiply, column("f"), float(-0.0));
    assert_eq!(bools(&compare(Comparison::Equal, zero, float(0.0))), [Some(true), Some(true), None, Some(true)]);
}

#[test]
fn logic_has_three_values() {
    let (t, f) = (Some(true), Some(false));
    let null = Expr::Null(ValueType::Bool);
    let and = Expr::And(Box::new(column("b")), Box::new(null.clone()));
    assert_eq!(bools(&and), [None, f, None, None]);
    let or = Expr::Or(Box::new(null.clone()), Box::new(column("b")));
    assert_eq!(bools(&or), [t, None, None, t]);
    assert_eq!(bools(&Expr::Not(Box::new(column("b")))), [f, t, None, f]);
    assert_eq!(bools(&Expr::IsNull(Box::new(column("b")))), [f, f, t, f]);
    assert_eq!(bools(&Expr::IsNull(Box::new(null))), [t; 4]);
    assert_eq!(bools(&compare(Comparison::Less, column("i"), int(0))), [f, t, None, f]);
    assert_eq!(bools(&compare(Comparison::Equal, column("t"), text("b"))), [f, t, None, f]);
    assert_eq!(bools(&compare(Comparison::NotEqual, column("t"), text("elsewhere"))), [t, t, None, t]);
    let day = Expr::Literal(Value::Date(Day(0)));
    assert_eq!(bools(&compare(Comparison::Greater, column("d"), day)), [t, f, None, t]);
}

#[test]
fn cases_conversions_and_dates() {
    let case =
        Expr::Case(vec![(column("b"), column("i")), (Expr::IsNull(Box::new(column("b"))), int(5))], Box::new(int(1)));
    assert_eq!(ints(&case), [Some(i64::MAX), Some(1), Some(5), Some(0)]);
    let cast = |expr, to| Expr::Cast(Box::new(expr), to);
    assert_eq!(ints(&cast(column("f"), ValueType::Int)), [Some(i64::MAX), Some(0), None, Some(0)]);
    assert_eq!(floats(&cast(column("i"), ValueType::Float)), [Some(i64::MAX as f64), Some(-7.0), None, Some(0.0)]);
    assert_eq!(ints(&cast(column("b"), ValueType::Int)), [Some(1), Some(0), None, Some(1)]);
    let part = |part| ints(&Expr::DatePart(part, Box::new(column("d"))));
    assert_eq!(part(DatePart::Year), [Some(2024), Some(1969), None, Some(5_881_580)]);
    assert_eq!(part(DatePart::Quarter)[..2], [Some(1), Some(4)]);
    assert_eq!(part(DatePart::DayOfWeek)[..2], [Some(4), Some(3)]);
    let trunc = Expr::DateTrunc(DateUnit::Month, Box::new(column("d")));
    let february = Expr::Literal(Value::Date(Day::parse("2024-02-01").unwrap()));
    assert_eq!(bools(&compare(Comparison::Equal, trunc, february))[..2], [Some(true), Some(false)]);
}

#[test]
fn what_does_not_fit_is_refused_with_words() {
    let mut program = Program::new(vec![("i".into(), ValueType::Int), ("t".into(), ValueType::Text)], texts());
    for (expr, expected) in [
        (column("x"), "column `x`"),
        (arithmetic(Add, column("i"), float(1.0)), "[Int, Float]"),
        (arithmetic(Divide, column("i"), column("i")), "[Int, Int]"),
        (compare(Comparison::Less, column("t"), text("b")), "[Text, Text]"),
        (Expr::Not(Box::new(column("i"))), "[Int]"),
        (Expr::Case(vec![(column("i"), int(1))], Box::new(int(2))), "[Int, Int, Int]"),
        (Expr::Cast(Box::new(column("t")), ValueType::Int), "[Text]"),
        (Expr::DatePart(DatePart::Year, Box::new(column("i"))), "[Int]"),
    ] {
        let error = program.add(&expr).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(program.run(&columns_of(&["i", "t"]), 4, |_, _| panic!("nothing was added")), 0);
}

fn columns_of(names: &[&str]) -> Vec<Vector> {
    let columns = columns();
    names.iter().map(|name| columns.iter().find(|column| column.0 == *name).expect("a column").1.clone()).collect()
}

#[test]
fn what_occurs_twice_is_computed_once_and_outputs_come_in_order() {
    let double = arithmetic(Multiply, column("i"), column("i"));
    let sum = arithmetic(Add, double.clone(), column("i"));
    let once = run(&[&sum], &columns(), 4).1;
    assert_eq!(once, 16, "two kernels of two operands on four rows");
    // `run` holds that outputs come in the order in which they were added; the column itself is there first.
    let (found, looked_at) = run(&[&sum, &column("i"), &double, &sum, &int(3)], &columns(), 4);
    assert_eq!(looked_at, once);
    assert_eq!(values(&found[0]), values(&found[3]));
    assert_eq!(values(&found[1]), values(&columns_of(&["i"])[0]));
    assert_eq!(values(&found[4]), [const { Some(Value::Int(3)) }; 4]);
}

#[test]
#[should_panic(expected = "the columns that its program was made for")]
fn a_batch_with_other_columns_is_a_mistake_of_the_programmer() {
    let program = Program::new(vec![("i".into(), ValueType::Int)], texts());
    program.run(&columns_of(&["t"]), 4, |_, _| ());
}
