//! The table of kernels is complete, and says what is so.

use std::collections::BTreeSet;

use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart, DateUnit};

use super::super::kernels::{Arguments, Kernel, Nulls, Range, Returns};
use super::*;

const TYPES: [ValueType; 5] = [ValueType::Int, ValueType::Float, ValueType::Bool, ValueType::Text, ValueType::Date];

/// Every operator that an expression can have.
pub(super) fn operators() -> Vec<Operator> {
    let arithmetic = [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide];
    let comparisons = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    let parts = [DatePart::Year, DatePart::Quarter, DatePart::Month, DatePart::Day, DatePart::DayOfWeek];
    let units = [DateUnit::Year, DateUnit::Quarter, DateUnit::Month];
    let mut all = vec![Operator::And, Operator::Or, Operator::Not, Operator::IsNull, Operator::Case];
    all.extend(arithmetic.map(Operator::Arithmetic));
    all.extend(comparisons.map(Operator::Compare));
    all.extend(TYPES.map(Operator::Cast));
    all.extend(parts.map(Operator::DatePart));
    all.extend(units.map(Operator::DateTrunc));
    all
}

/// Whether an expression may have this operator over operands of these types, and it computes something: as
/// [`Expr`]'s documentation says.
fn allowed(operator: Operator, types: &[ValueType]) -> bool {
    use ValueType::*;
    match operator {
        Operator::Arithmetic(Arithmetic::Divide) => types == [Float, Float],
        Operator::Arithmetic(_) => types == [Int, Int] || types == [Float, Float],
        Operator::Compare(Comparison::Equal | Comparison::NotEqual) => types.len() == 2 && types[0] == types[1],
        Operator::Compare(_) => types.len() == 2 && types[0] == types[1] && types[0] != Text,
        Operator::And | Operator::Or => types == [Bool, Bool],
        Operator::Not => types == [Bool],
        Operator::IsNull => types.len() == 1,
        // One branch at most, among the types that are tried.
        Operator::Case => types.len() == 1 || (types.len() == 3 && types[0] == Bool && types[1] == types[2]),
        Operator::Cast(Int) => types == [Float] || types == [Bool],
        Operator::Cast(Float) => types == [Int] || types == [Bool],
        Operator::Cast(Bool | Text | Date) => false,
        Operator::DatePart(_) | Operator::DateTrunc(_) => types == [Date],
    }
}

/// All lists of up to three types.
fn lists() -> Vec<Vec<ValueType>> {
    let mut lists = vec![vec![]];
    let mut last = lists.clone();
    for _ in 0..3 {
        last = last.iter().flat_map(|list| TYPES.map(|one| [list.clone(), vec![one]].concat())).collect();
        lists.extend(last.clone());
    }
    lists
}

#[test]
fn every_operator_has_one_row_for_each_type_it_has_and_no_other() {
    let mut used = BTreeSet::new();
    for operator in operators() {
        for types in lists() {
            let rows = || Kernel::all().iter().filter(|row| row.operator == operator && row.arguments.accept(&types));
            assert_eq!(rows().count(), usize::from(allowed(operator, &types)), "{operator:?} of {types:?}");
            for row in rows() {
                used.insert(row.name);
                assert!(row.arguments.arity().is_none_or(|arity| arity == types.len()), "{}", row.name);
            }
        }
    }
    assert_eq!(used.len(), Kernel::all().len(), "a row that nothing uses, or two of one name");
}

#[test]
fn expressions_are_taken_apart_into_operator_and_operands() {
    for operator in operators() {
        let count = match operator {
            Operator::Case => 5,
            Operator::Arithmetic(_) | Operator::Compare(_) | Operator::And | Operator::Or => 2,
            _ => 1,
        };
        let operands: Vec<Expr> = (0..count).map(|at| column(&at.to_string())).collect();
        let expr = build(operator, operands.clone());
        assert_eq!(Operator::of(&expr), Some((operator, operands.iter().collect())));
    }
}

/// Values at which something could go wrong.
fn edges(value_type: ValueType) -> Vec<Option<Value>> {
    let values: Vec<Value> = match value_type {
        ValueType::Int => {
            let large = [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, 1 << 53, (1 << 53) + 1, 1 << 32];
            (-3..=3).chain(large).map(Value::Int).collect()
        }
        ValueType::Float => {
            let (inf, whole) = (f64::INFINITY, 9_223_372_036_854_775_808.0);
            [0.0, 1.0, -1.0, 0.5, -0.5, 1.9, -1.9, 5e-324, -5e-324, f64::MAX, f64::MIN, inf, -inf, whole, -whole, 1e300]
                .map(Value::Float)
                .to_vec()
        }
        ValueType::Bool => [true, false].map(Value::Bool).to_vec(),
        ValueType::Text => TEXTS.map(|text| Value::Text(text.into())).to_vec(),
        ValueType::Date => {
            let days = [i32::MIN, i32::MIN + 1, -719_468, -1, i32::MAX - 1, i32::MAX];
            // Two years, one of them with a leap day, so that every month and day is among them.
            (19_723..20_454).chain(days).map(|day| Value::Date(Day(day))).collect()
        }
    };
    values.into_iter().map(Some).chain([None]).collect()
}

/// All combinations of edge values.
fn combinations(types: &[ValueType]) -> Vec<Vec<Option<Value>>> {
    types.iter().fold(vec![vec![]], |lists, value_type| {
        let edges = edges(*value_type);
        // Pairs of all days would be half a million.
        let every = if types.len() > 1 && *value_type == ValueType::Date { 40 } else { 1 };
        let edges: Vec<_> = edges.iter().rev().step_by(every).chain(edges.iter().rev().take(7)).collect();
        lists.iter().flat_map(|list| edges.iter().map(|edge| [list.clone(), vec![(*edge).clone()]].concat())).collect()
    })
}

/// The lists of types that a kernel is tried with.
fn tried(kernel: &Kernel) -> Vec<Vec<ValueType>> {
    match kernel.arguments {
        Arguments::One(one) => vec![vec![one]],
        Arguments::Two(one) => vec![vec![one; 2]],
        Arguments::Any => TYPES.map(|one| vec![one]).to_vec(),
        Arguments::Alike(types) => types.iter().map(|one| vec![*one; 2]).collect(),
        Arguments::Branches => {
            let none = TYPES.map(|one| vec![one]);
            let one = TYPES.map(|one| vec![ValueType::Bool, one, one]);
            let two = [ValueType::Bool; 5].to_vec();
            [none.to_vec(), one.to_vec(), vec![two]].concat()
        }
    }
}

#[test]
fn kernels_do_what_their_rows_say() {
    for kernel in Kernel::all() {
        let (mut low, mut high) = (None::<f64>, None::<f64>);
        for types in tried(kernel) {
            let rows = combinations(&types);
            let names: Vec<String> = (0..types.len()).map(|at| at.to_string()).collect();
            let column_of = |at: usize| vector(types[at], &rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>());
            let columns: Vec<(&str, Vector)> =
                names.iter().enumerate().map(|(at, name)| (name.as_str(), column_of(at))).collect();
            let expr = build(kernel.operator, names.iter().map(|name| column(name)).collect());
            let (found, _) = run(&[&expr], &columns, rows.len());
            let returns = match kernel.returns {
                Returns::Is(returns) => returns,
                Returns::Last => *types.last().unwrap(),
            };
            assert_eq!(found[0].value_type(), returns, "{}", kernel.name);
            for (row, found) in rows.iter().zip(values(&found[0])) {
                let said = format!("{} of {row:?} is {found:?}", kernel.name);
                let expected = reference::evaluate(&expr, &|name| &row[name.parse::<usize>().unwrap()]);
                assert!(same(&found, &expected), "{said}, not {expected:?}");
                check_null(kernel, row, &found, &said);
                check_range(kernel, row, &found, &said);
                if let Some(number) = found.as_ref().and_then(number) {
                    low = Some(low.map_or(number, |low| low.min(number)));
                    high = Some(high.map_or(number, |high| high.max(number)));
                }
            }
            constants_are_as_columns(kernel, &types, &rows, &columns);
        }
        let ends = match kernel.range {
            Range::Ints(low, high) => Some((low as f64, high as f64)),
            Range::Within(low, high) => Some((low, high)),
            Range::Floats => Some((f64::NEG_INFINITY, f64::INFINITY)),
            Range::Bools | Range::Days | Range::Arguments => None,
        };
        if let Some((lowest, highest)) = ends {
            assert_eq!((low, high), (Some(lowest), Some(highest)), "the ends of {}", kernel.name);
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn check_null(kernel: &Kernel, row: &[Option<Value>], found: &Option<Value>, said: &str) {
    let missing = row.iter().any(Option::is_none);
    let null = found.is_none();
    match kernel.nulls {
        Nulls::Strict => assert_eq!(null, missing, "{said}"),
        Nulls::Undefined => {
            let undefined = match (&row[0], &row[1], kernel.operator) {
                (Some(Value::Float(a)), Some(Value::Float(b)), Operator::Arithmetic(arithmetic)) => match arithmetic {
                    Arithmetic::Add => (a + b).is_nan(),
                    Arithmetic::Subtract => (a - b).is_nan(),
                    Arithmetic::Multiply => (a * b).is_nan(),
                    Arithmetic::Divide => *b == 0.0 || (a / b).is_nan(),
                },
                _ => true,
            };
            assert_eq!(null, undefined, "{said}");
        }
        Nulls::Kleene => {
            let decides = Some(Value::Bool(kernel.operator == Operator::Or));
            assert_eq!(null, missing && !row.contains(&decides), "{said}");
        }
        Nulls::Never => assert!(!null, "{said}"),
        Nulls::Chosen => {
            let (otherwise, branches) = row.split_last().unwrap();
            let taken = branches.chunks(2).find(|branch| branch[0] == Some(Value::Bool(true)));
            assert!(same(found, taken.map_or(otherwise, |branch| &branch[1])), "{said}");
        }
    }
}

fn check_range(kernel: &Kernel, row: &[Option<Value>], found: &Option<Value>, said: &str) {
    let Some(value) = found else { return };
    let within = match (kernel.range, value) {
        (Range::Ints(low, high), Value::Int(value)) => (low..=high).contains(value),
        (Range::Within(low, high), Value::Float(value)) => (low..=high).contains(value),
        (Range::Floats, Value::Float(value)) => !value.is_nan() && value.to_bits() != (-0.0f64).to_bits(),
        (Range::Bools, Value::Bool(_)) | (Range::Days, Value::Date(_)) => true,
        (Range::Arguments, value) => row.contains(&Some(value.clone())),
        _ => false,
    };
    assert!(within, "{said}");
}

/// Where an argument is the same on all rows, it does not matter whether a column or a constant says so.
fn constants_are_as_columns(
    kernel: &Kernel,
    types: &[ValueType],
    rows: &[Vec<Option<Value>>],
    columns: &[(&str, Vector)],
) {
    for (at, value_type) in types.iter().enumerate() {
        // Some of many rows will do: each constant meets all other columns.
        for row in rows.iter().step_by(1 + rows.len() / 37) {
            let same_everywhere = vector(*value_type, &vec![row[at].clone(); rows.len()]);
            let mut columns = columns.to_vec();
            columns[at].1 = same_everywhere;
            let operands = |place: Expr| {
                let mut operands: Vec<Expr> = columns.iter().map(|(name, _)| column(name)).collect();
                operands[at] = place;
                build(kernel.operator, operands)
            };
            let expected = operands(column(columns[at].0));
            let by_constant = operands(constant(*value_type, &row[at]));
            let (found, _) = run(&[&expected, &by_constant], &columns, rows.len());
            let (expected, found) = (values(&found[0]), values(&found[1]));
            assert!(expected.iter().zip(&found).all(|(a, b)| same(a, b)), "{} with {:?}", kernel.name, row[at]);
        }
    }
    // All arguments constant.
    for row in rows.iter().step_by(1 + rows.len() / 101) {
        let operands = row.iter().zip(types).map(|(value, value_type)| constant(*value_type, value)).collect();
        let expr = build(kernel.operator, operands);
        let (found, _) = run(&[&expr], &[], 3);
        let expected = reference::evaluate(&expr, &|_| unreachable!("no columns"));
        assert!(values(&found[0]).iter().all(|found| same(found, &expected)), "{} of {row:?}", kernel.name);
    }
}
