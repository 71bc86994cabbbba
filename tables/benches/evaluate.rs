//! Expressions over columns in memory, against reading the columns that they compute with.
//!
//! `cargo bench -p entente-tables [-- ROWS]`. The floor of an expression is to add up the words of its columns once, from
//! memory that no cache holds. Both go over the same batches in turn, on one core, and the medians are compared.

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench measures time and prints it")]

use std::hint::black_box;
use std::time::Instant;

use arrow_array::{Array, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array};
use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart, Expr, Value, ValueType};
use entente_protocols::language::schema::Day;
use entente_tables::evaluate::Program;
use entente_tables::texts::Texts;
use entente_tables::vector::Vector;

const ROWS: usize = 4_000_000;
const BATCH: usize = 8 << 10;
const RUNS: usize = 7;
const SEED: u64 = 20_260_114;

const COLUMNS: [(&str, ValueType); 7] = [
    ("age", ValueType::Int),
    ("visits", ValueType::Int),
    ("spend", ValueType::Float),
    ("change", ValueType::Float),
    ("member", ValueType::Bool),
    ("region", ValueType::Text),
    ("joined", ValueType::Date),
];

fn main() {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let batches = batches(rows);
    println!("{rows} rows in batches of {BATCH}, a twentieth NULL, one core, medians of {RUNS} runs");
    println!("{:44} {:>8} {:>8} {:>6}", "", "ns/row", "floor", "ratio");
    for (name, columns, expr) in expressions() {
        let types = columns.iter().map(|column| (COLUMNS[*column].0.to_owned(), COLUMNS[*column].1)).collect();
        let mut program = Program::new(types, Texts::default());
        program.add(&expr).expect("a well-typed expression");
        let batches: Vec<Vec<Vector>> =
            batches.iter().map(|batch| columns.iter().map(|column| batch[*column].clone()).collect()).collect();
        let (mut found, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            floor.push(time(|| batches.iter().flatten().map(words).fold(0, u64::wrapping_add)));
            found.push(time(|| {
                for batch in &batches {
                    program.run(batch, batch[0].len(), |_, vector| drop(black_box(vector)));
                }
            }));
        }
        let [found, floor] = [found, floor].map(|times| median(times) / rows as f64 * 1e9);
        println!("{name:44} {found:8.2} {floor:8.2} {:6.1}", found / floor);
    }
}

/// What is measured: the columns that each needs, by their place.
fn expressions() -> Vec<(&'static str, Vec<usize>, Expr)> {
    let [age, visits, spend, change, member, region, joined] =
        [0, 1, 2, 3, 4, 5, 6].map(|at| Expr::Column(COLUMNS[at].0.into()));
    let boxed = |expr: &Expr| Box::new(expr.clone());
    let literal = |value| Expr::Literal(value);
    let compare = |comparison, left: &Expr, right: &Expr| Expr::Compare(comparison, boxed(left), boxed(right));
    let arithmetic = |operator, left: &Expr, right: &Expr| Expr::Arithmetic(operator, boxed(left), boxed(right));
    let or = |left: &Expr, right: &Expr| Expr::Or(boxed(left), boxed(right));
    let float = |expr: &Expr| Expr::Cast(boxed(expr), ValueType::Float);
    let younger = |than| compare(Comparison::Less, &age, &literal(Value::Int(than)));
    let bins = [25, 35, 45, 55, 65].map(|than| (younger(than), literal(Value::Int(than))));
    let late = compare(Comparison::GreaterOrEqual, &joined, &literal(Value::Date(Day(19_900))));
    let rich = compare(Comparison::Greater, &spend, &literal(Value::Float(100.0)));
    let within = |name: &str| compare(Comparison::Equal, &region, &literal(Value::Text(name.into())));
    let product = arithmetic(Arithmetic::Multiply, &spend, &change);
    let either = or(&late, &member);
    vec![
        ("age < 30", vec![0], younger(30)),
        ("age = visits", vec![0, 1], compare(Comparison::Equal, &age, &visits)),
        ("age * visits", vec![0, 1], arithmetic(Arithmetic::Multiply, &age, &visits)),
        ("spend * change + spend", vec![2, 3], arithmetic(Arithmetic::Add, &product, &spend)),
        ("spend / change", vec![2, 3], arithmetic(Arithmetic::Divide, &spend, &change)),
        ("age AS float / visits AS float", vec![0, 1], {
            arithmetic(Arithmetic::Divide, &float(&age), &float(&visits))
        }),
        ("spend > 100 AND (joined >= day OR member)", vec![2, 4, 6], Expr::And(boxed(&rich), boxed(&either))),
        ("region = 'a' OR region = 'b'", vec![5], or(&within("a"), &within("b"))),
        ("CASE in five branches over age", vec![0], Expr::Case(bins.to_vec(), Box::new(literal(Value::Int(99))))),
        ("CASE WHEN member THEN spend ELSE change", vec![2, 3, 4], Expr::Case(vec![(member, spend)], boxed(&change))),
        ("EXTRACT(YEAR FROM joined)", vec![6], Expr::DatePart(DatePart::Year, boxed(&joined))),
    ]
}

fn batches(rows: usize) -> Vec<Vec<Vector>> {
    let mut state = SEED;
    let mut random = move || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut value = move |below: u64| {
        let random = random();
        (!random.is_multiple_of(20)).then_some((random >> 32) % below)
    };
    let mut batch = |rows: usize| {
        let mut values = |below| (0..rows).map(|_| value(below)).collect::<Vec<_>>();
        vec![
            Vector::Int(values(80).into_iter().map(|x| x.map(|x| x as i64 + 18)).collect::<Int64Array>()),
            Vector::Int(values(50).into_iter().map(|x| x.map(|x| x as i64)).collect::<Int64Array>()),
            Vector::Float(values(50_000).into_iter().map(|x| x.map(|x| x as f64 / 100.0)).collect::<Float64Array>()),
            Vector::Float(values(4_000).into_iter().map(|x| x.map(|x| x as f64 / 1e3 - 2.0)).collect::<Float64Array>()),
            Vector::Bool(values(2).into_iter().map(|x| x.map(|x| x == 1)).collect::<BooleanArray>()),
            Vector::Text(values(8).into_iter().map(|x| x.map(|x| x as i32)).collect::<Int32Array>()),
            Vector::Date(values(2_000).into_iter().map(|x| x.map(|x| x as i32 + 18_500)).collect::<Date32Array>()),
        ]
    };
    (0..rows).step_by(BATCH).map(|start| batch(BATCH.min(rows - start))).collect()
}

/// The sum of all words of a column.
fn words(vector: &Vector) -> u64 {
    let bytes = |bytes: &[u8]| {
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
        rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
    };
    let data = match vector {
        Vector::Int(values) => values.to_data(),
        Vector::Float(values) => values.to_data(),
        Vector::Bool(values) => values.to_data(),
        Vector::Text(values) => values.to_data(),
        Vector::Date(values) => values.to_data(),
    };
    let values = data.buffers().iter().map(|buffer| bytes(buffer.as_slice())).fold(0, u64::wrapping_add);
    values.wrapping_add(data.nulls().map_or(0, |nulls| bytes(nulls.validity())))
}

fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
