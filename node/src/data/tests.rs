//! The whole way from files to customers' cells, against a reference written row by row.
//!
//! `Bounded` has no accessor, and gets none for tests: what is compared is what the clipping step is given.

mod memory;
mod sources;
mod work;
mod years;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::types::Int32Type;
use arrow_array::*;
use entente_protocols::language::expr::*;
use entente_protocols::language::schema::{ColumnType, DatasetSchema, Day};
use entente_protocols::language::sums::*;
use entente_protocols::privacy::bounds::CustomerCell;
use proptest::prelude::*;

use super::bounding::{Bounding, Settings, Sink};
use super::engine::each_customer;
use super::options::Options;
use super::rows::pipeline::Pipeline;
use super::*;

/// Cell, rows and sums, in the order in which the clipping step would keep them.
type Cells = Vec<(u32, u64, Vec<i64>)>;

#[derive(Default)]
struct Recorder(BTreeMap<u128, Cells>);

impl Sink for Recorder {
    fn customer<'a>(&mut self, unit: u128, cells: impl Iterator<Item = CustomerCell<'a>> + Clone) {
        let cells = cells.map(|cell| (cell.cell, cell.rows, cell.sums.to_vec())).collect();
        assert!(self.0.insert(unit, cells).is_none(), "a customer came twice");
    }
}

fn merged(recorders: Vec<Recorder>) -> BTreeMap<u128, Cells> {
    let mut all = BTreeMap::new();
    for (unit, cells) in recorders.into_iter().flat_map(|recorder| recorder.0) {
        assert!(all.insert(unit, cells).is_none(), "two threads had the same customer");
    }
    all
}

fn options(folder: &Path, memory: usize, threads: usize) -> Options {
    Options { memory, customers: Room::of(64 << 20), threads, spill: folder.join("spill"), key: UnitKey::new([9; 32]) }
}

fn customers(dataset: &Dataset, plan: &SumsPlan, options: &Options) -> BTreeMap<u128, Cells> {
    let pipeline = Pipeline::new(dataset, plan).unwrap();
    merged(each_customer(dataset, plan, &pipeline, options, &AtomicBool::new(false), Recorder::default).unwrap())
}

// --- A table, written in every format.

#[derive(Clone, Debug)]
struct Row {
    customer: Option<i64>,
    region: Option<&'static str>,
    amount: Option<f64>,
    age: Option<i64>,
    joined: Option<i32>,
    member: Option<bool>,
}

fn any_row() -> impl Strategy<Value = Row> {
    use proptest::option::weighted;
    let customer = prop_oneof![8 => 0i64..12, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => Just(-1)];
    let region = prop::sample::select(vec!["north", "south", "east", "nowhere", "North", "with, comma \"and\" quotes"]);
    let amount = prop_oneof![
        8 => -10.0..120.0f64,
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324]),
    ];
    let age = prop_oneof![8 => 0i64..120, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let joined = prop_oneof![8 => 19_000i32..20_500, 1 => Just(-100_000), 1 => Just(2_900_000)];
    (
        weighted(0.95, customer),
        weighted(0.9, region),
        weighted(0.9, amount),
        weighted(0.9, age),
        weighted(0.9, joined),
        weighted(0.9, any::<bool>()),
    )
        .prop_map(|(customer, region, amount, age, joined, member)| Row {
            customer,
            region,
            amount,
            age,
            joined,
            member,
        })
}

/// A row that every plan here counts.
fn usual() -> Row {
    Row {
        customer: Some(7),
        region: Some("south"),
        amount: Some(55.5),
        age: Some(44),
        joined: Some(19_600),
        member: Some(true),
    }
}

fn schema() -> DatasetSchema {
    let regions = ["north", "south", "east", "with, comma \"and\" quotes"].map(str::to_owned).to_vec();
    let day = |text| Day::parse(text);
    DatasetSchema {
        name: "customers".into(),
        privacy_unit: "customer".into(),
        columns: [
            ("region".into(), ColumnType::Category { values: regions }),
            ("amount".into(), ColumnType::Float { min: Some(0.0), max: Some(100.0) }),
            ("age".into(), ColumnType::Int { min: Some(18), max: Some(95) }),
            ("joined".into(), ColumnType::Date { min: day("2022-01-01"), max: day("2025-12-31") }),
            ("member".into(), ColumnType::Bool),
        ]
        .into(),
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(name.into())
}

fn int(value: i64) -> Expr {
    Expr::Literal(Value::Int(value))
}

/// Groups by region (without the quoted one) and year; sums rows, customers, ages and a computed value.
fn plan(filter: bool) -> SumsPlan {
    let as_float = Expr::Cast(Box::new(column("age")), ValueType::Float);
    let ratio = Expr::Arithmetic(
        Arithmetic::Divide,
        Box::new(column("amount")),
        Box::new(Expr::Arithmetic(
            Arithmetic::Subtract,
            Box::new(as_float),
            Box::new(Expr::Literal(Value::Float(18.0))),
        )),
    );
    let old = Expr::Compare(Comparison::GreaterOrEqual, Box::new(column("age")), Box::new(int(30)));
    let member = Expr::Or(Box::new(column("member")), Box::new(Expr::IsNull(Box::new(column("member")))));
    let years = (2022..2026).map(Value::Int).collect();
    SumsPlan {
        dataset: "customers".into(),
        privacy_unit: "customer".into(),
        columns: schema().columns.into_iter().collect(),
        filter: filter.then(|| Expr::And(Box::new(old), Box::new(member))),
        groups: vec![
            GroupKey {
                expr: column("region"),
                domain: ["south", "north", "east"].map(|region| Value::Text(region.into())).to_vec(),
            },
            GroupKey { expr: Expr::DatePart(DatePart::Year, Box::new(column("joined"))), domain: years },
        ],
        sums: vec![
            BaseSum::Rows,
            BaseSum::Present(column("amount")),
            BaseSum::Values { expr: column("amount"), low: 0.0, high: 100.0, center: 50.0 },
            BaseSum::Customers,
            BaseSum::Values { expr: ratio, low: -1.0, high: 3.0, center: 0.0 },
        ],
        shown: Shown::default(),
        max_groups: 3,
        max_rows: 5,
    }
}

/// What [`plan`] means, in plain words.
fn reference(rows: &[Row], filter: bool) -> BTreeMap<u128, Cells> {
    let plan = plan(filter);
    let [present, amount, ratio] = [1, 2, 4].map(|sum| plan.grid_unit(&plan.sums[sum]));
    let mut customers: BTreeMap<u128, BTreeMap<u32, (u64, Vec<i64>)>> = BTreeMap::new();
    for row in rows {
        let Some(customer) = row.customer else { continue };
        let read_amount = row.amount.filter(|value| !value.is_nan()).map(|value| value.clamp(0.0, 100.0));
        let read_age = row.age.map(|age| age.clamp(18, 95));
        if filter && !(read_age.is_some_and(|age| age >= 30) && row.member != Some(false)) {
            continue;
        }
        let region = match row.region {
            Some("south") => 0,
            Some("north") => 1,
            Some("east") => 2,
            _ => continue,
        };
        let Some(joined) = row.joined else { continue };
        let joined = Day(joined.clamp(Day::parse("2022-01-01").unwrap().0, Day::parse("2025-12-31").unwrap().0));
        let cell = region * 4 + (joined.date().year() - 2022) as u32;
        let (count, sums) =
            customers.entry(u128::from(customer as u64)).or_default().entry(cell).or_insert((0, vec![0; 3]));
        *count += 1;
        if let Some(value) = read_amount {
            sums[0] += (1.0 / present) as i64;
            sums[1] += ((value - 50.0) / amount) as i64;
            if let Some(age) = read_age.filter(|age| *age != 18) {
                sums[2] += ((value / (age as f64 - 18.0)).clamp(-1.0, 3.0) / ratio) as i64;
            }
        }
    }
    let cells = |cells: BTreeMap<u32, (u64, Vec<i64>)>| {
        cells.into_iter().map(|(cell, (rows, sums))| (cell, rows, sums)).collect()
    };
    customers.into_iter().map(|(unit, found)| (unit, cells(found))).collect()
}

/// Without the order in which cells would be kept.
fn sorted(mut customers: BTreeMap<u128, Cells>) -> BTreeMap<u128, Cells> {
    customers.values_mut().for_each(|cells| cells.sort());
    customers
}

fn write_csv(path: &Path, rows: &[Row]) {
    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| format!("\"{}\"", value.to_string().replace('"', "\"\""))).unwrap_or_default()
    }
    let mut file = File::create(path).unwrap();
    writeln!(file, "age,customer,unused,region,amount,joined,member").unwrap();
    for row in rows {
        let joined = row.joined.map(|day| format!("{}T23:59:59Z", Day(day)));
        let member = row.member.map(|member| if member { "YES" } else { "no" });
        writeln!(
            file,
            "{},{},x,{},{},{},{}",
            text(row.age),
            row.customer.map(|customer| customer.to_string()).unwrap_or_default(),
            text(row.region),
            text(row.amount),
            text(joined),
            text(member)
        )
        .unwrap();
    }
}

fn write_json(path: &Path, rows: &[Row]) {
    let mut file = File::create(path).unwrap();
    // All names, so that none is missing where there is no row.
    file.write_all(
        b"{\"customer\":null,\"region\":null,\"amount\":null,\"age\":null,\"joined\":null,\"member\":null}\n",
    )
    .unwrap();
    for row in rows {
        let mut fields = serde_json::Map::new();
        fields.extend(row.region.map(|region| ("region".to_owned(), region.into())));
        // JSON has no infinity and no NaN but as text.
        let amount =
            row.amount.map(|amount| if amount.is_finite() { amount.into() } else { amount.to_string().into() });
        fields.extend(amount.map(|amount| ("amount".to_owned(), amount)));
        fields.extend(row.age.map(|age| ("age".to_owned(), age.into())));
        fields.extend(row.joined.map(|day| ("joined".to_owned(), Day(day).to_string().into())));
        fields.extend(row.member.map(|member| ("member".to_owned(), member.into())));
        let customer =
            row.customer.map(|customer| if customer % 2 == 0 { customer.into() } else { customer.to_string().into() });
        fields.insert("customer".into(), customer.unwrap_or(serde_json::Value::Null));
        writeln!(file, "{}", serde_json::Value::Object(fields)).unwrap();
    }
}

fn record_batch(rows: &[Row]) -> RecordBatch {
    let region: DictionaryArray<Int32Type> = rows.iter().map(|row| row.region).collect();
    RecordBatch::try_from_iter([
        ("region", Arc::new(region) as ArrayRef),
        ("customer", Arc::new(rows.iter().map(|row| row.customer).collect::<Int64Array>())),
        ("amount", Arc::new(rows.iter().map(|row| row.amount).collect::<Float64Array>())),
        ("age", Arc::new(rows.iter().map(|row| row.age).collect::<Int64Array>())),
        ("joined", Arc::new(rows.iter().map(|row| row.joined).collect::<Date32Array>())),
        ("member", Arc::new(rows.iter().map(|row| row.member).collect::<BooleanArray>())),
    ])
    .unwrap()
}

fn write_parquet(path: &Path, rows: &[Row]) {
    let batch = record_batch(rows);
    let properties =
        parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(7)).build();
    let file = File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn open(folder: &Path, source: &str, consent: Option<&str>) -> Dataset {
    Dataset::open(schema(), source, folder, consent).unwrap_or_else(|error| panic!("{error}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Every format, order, cut into files, number of threads and memory gives the same, and what the reference gives.
    #[test]
    fn every_way_of_storing_and_reading_gives_the_same(
        rows in prop::collection::vec(any_row(), 0..150),
        cut in 0usize..150,
        filter: bool,
        seed: u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut shuffled = rows.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let (first, second) = shuffled.split_at(cut.min(rows.len()));
        write_csv(&path("all.csv"), &rows);
        write_json(&path("all.json"), &rows);
        write_parquet(&path("all.parquet"), &rows);
        fs::create_dir(path("parts")).unwrap();
        write_parquet(&path("parts/1.parquet"), first);
        write_parquet(&path("parts/2.parquet"), second);
        let plan = plan(filter);
        let found = customers(&open(folder.path(), "all.parquet", None), &plan, &options(folder.path(), 64 << 20, 1));
        prop_assert_eq!(sorted(found.clone()), reference(&rows, filter));
        for (source, memory, threads) in
            [("all.csv", 64 << 20, 2), ("all.json", 64 << 20, 1), ("parts", 64 << 20, 3), ("parts", 0, 2), ("all.csv", 10_000, 1)]
        {
            let again = customers(&open(folder.path(), source, None), &plan, &options(folder.path(), memory, threads));
            prop_assert_eq!(&again, &found, "{} {} {}", source, memory, threads);
        }
    }

    /// Random rows through the operator alone, with memory for everything, for little and for nothing.
    #[test]
    fn bounding_is_a_group_by(
        rows in prop::collection::vec((0i64..30, 0u32..9, any::<i64>()), 0..400),
        max_groups in 1usize..9,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected: BTreeMap<u128, BTreeMap<u32, (u64, i64)>> = BTreeMap::new();
        for (unit, cell, value) in &rows {
            let (count, sum) = expected.entry(*unit as u128).or_default().entry(*cell).or_default();
            *count += 1;
            *sum = sum.wrapping_add(*value);
        }
        let mut kept = None;
        for (memory, threads) in [(1 << 20, 1), (100_000, 3), (0, 1)] {
            let spill = folder.path().to_owned();
            let bounding = Bounding::<1>::new(Settings { values: 1, counted: false, max_groups, memory, threads, spill, key: [3; 16] });
            for part in rows.chunks(101) {
                let mut router = bounding.router();
                let units: Vec<[i64; 1]> = part.iter().map(|row| [row.0]).collect();
                let cells: Vec<u32> = part.iter().map(|row| row.1).collect();
                let values: Vec<i64> = part.iter().map(|row| row.2).collect();
                router.rows(&units, &cells, &[&values]).unwrap();
                router.flush().unwrap();
            }
            let found = merged(bounding.finish(&AtomicBool::new(false), Recorder::default).unwrap());
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
            prop_assert_eq!(found.len(), expected.len());
            for (unit, cells) in sorted(found.clone()) {
                let cells: BTreeMap<_, _> = cells.into_iter().map(|(cell, rows, sums)| (cell, (rows, sums[0]))).collect();
                prop_assert_eq!(&cells, &expected[&unit]);
            }
            prop_assert_eq!(kept.get_or_insert_with(|| found.clone()), &found);
        }
    }
}

fn slice(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

fn total(customers: &BTreeMap<u128, Cells>) -> u64 {
    customers.values().flatten().map(|(_, rows, _)| rows).sum()
}

/// Also while customers are given to sinks, which can take as long as reading them.
#[test]
fn nobody_is_given_to_a_sink_when_nobody_waits_any_more() {
    // Once all is held in memory, and once all is in files.
    for memory in [1 << 20, 0] {
        let folder = tempfile::tempdir().unwrap();
        let spill = folder.path().to_owned();
        let settings = Settings { values: 0, counted: false, max_groups: 1, memory, threads: 2, spill, key: [3; 16] };
        let bounding = Bounding::<1>::new(settings);
        let mut router = bounding.router();
        (0..1000).for_each(|unit| router.rows(&[[unit]], &[0], &[]).unwrap());
        router.flush().unwrap();
        drop(router);
        let given = bounding.finish(&AtomicBool::new(true), Recorder::default);
        assert!(given.is_err(), "{memory}");
    }
}

#[test]
fn which_groups_are_kept_is_the_customers_own_affair() {
    // Customer 1 has all nine cells; its order must not change with who else is there.
    let settings = |folder: &Path| Settings {
        values: 0,
        counted: false,
        max_groups: 2,
        memory: 1 << 20,
        threads: 1,
        spill: folder.into(),
        key: [3; 16],
    };
    let folder = tempfile::tempdir().unwrap();
    let order = |others: std::ops::Range<i64>, unit: i64| -> Vec<u32> {
        let bounding = Bounding::<1>::new(settings(folder.path()));
        let mut router = bounding.router();
        for unit in others.chain([unit]) {
            router.rows(&[[unit]; 9], &[8, 7, 6, 5, 4, 3, 2, 1, 0], &[]).unwrap();
        }
        router.flush().unwrap();
        merged(bounding.finish(&AtomicBool::new(false), Recorder::default).unwrap())[&(unit as u128)]
            .iter()
            .map(|cell| cell.0)
            .collect()
    };
    assert_eq!(order(0..0, 100), order(0..50, 100));
    assert_ne!(order(0..0, 100), order(0..0, 101));
}

#[test]
fn text_customers_are_told_apart_and_the_absent_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let text = "customer,region,amount,age,joined,member\nA-1,north,1,20,2022-01-01,1\nA-1,north,1,20,2022-01-01,1\n\
                ,north,1,20,2022-01-01,1\n007,south,1,20,2023-01-01,1\n7,south,1,20,2023-01-01,1\n";
    slice(folder.path(), "a.csv", text);
    let found = customers(&open(folder.path(), "a.csv", None), &plan(false), &options(folder.path(), 1 << 20, 2));
    assert_eq!(found.len(), 3);
    assert_eq!(found[&7].len(), 1);
    assert_eq!(total(&found), 4);
}

#[test]
fn only_rows_with_consent_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let text = "customer,region,amount,age,joined,member,consent\n1,north,1,20,2022-01-01,1,yes\n2,north,1,20,2022-01-01,1,no\n\
                3,north,1,20,2022-01-01,1,\n4,north,1,16,2022-01-01,1,yes\n";
    slice(folder.path(), "a.csv", text);
    let options = options(folder.path(), 1 << 20, 1);
    // The stored age counts, not the one clipped to 18.
    let dataset = open(folder.path(), "a.csv", Some("consent AND age >= 18"));
    assert_eq!(customers(&dataset, &plan(false), &options).into_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(customers(&open(folder.path(), "a.csv", None), &plan(false), &options).len(), 4);
}

#[test]
fn whatever_the_bytes_the_same_kind_of_answer() {
    let folder = tempfile::tempdir().unwrap();
    let header = "customer,region,amount,age,joined,member\n";
    slice(folder.path(), "none.csv", header);
    slice(folder.path(), "empty.csv", "");
    slice(folder.path(), "odd.csv", &format!("{header}\"1,2\n\n1,north,1,20,2022-01-01\n,,,,,,,,,\n\u{0}\u{1}"));
    let found = customers(&open(folder.path(), "*.csv", None), &plan(false), &options(folder.path(), 1 << 20, 2));
    assert!(found.is_empty());
}

#[test]
fn a_plan_for_another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    slice(folder.path(), "a.csv", "customer,region,amount,age,joined,member\n");
    let dataset = open(folder.path(), "a.csv", None);
    let mut other = plan(false);
    other.columns[1].1 = ColumnType::Float { min: Some(0.0), max: Some(1e9) };
    assert!(Pipeline::new(&dataset, &other).unwrap_err().to_string().contains("plan the study again"));
    let mut other = plan(false);
    other.privacy_unit = "age".into();
    assert!(Pipeline::new(&dataset, &other).is_err());
}
