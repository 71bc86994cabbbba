//! Features queries over real files, against the recipe's own coding.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::*;
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::language::schema::{ColumnType, DatasetSchema, Day};
use entente_protocols::language::sql;
use entente_protocols::learn::recipe::Values;

use super::*;
use crate::data::{Dataset, Engine, Options, Room, UnitKey};

/// A row as stored. `number` has a code of its own for each value, which is that value and one.
#[derive(Clone, Debug, Default)]
pub(in crate::data) struct Row {
    pub(in crate::data) id: i64,
    pub(in crate::data) number: Option<i64>,
    pub(in crate::data) spend: Option<f64>,
    pub(in crate::data) region: Option<&'static str>,
    pub(in crate::data) joined: Option<i32>,
    pub(in crate::data) churned: Option<bool>,
}

pub(in crate::data) const ALL: &str = "SELECT id, number, spend, region, joined, churned FROM people";

pub(in crate::data) fn schema() -> DatasetSchema {
    let regions = ["north", "south", "a, b"].map(str::to_owned).to_vec();
    DatasetSchema {
        name: "people".into(),
        privacy_unit: "id".into(),
        columns: [
            ("number".into(), ColumnType::Int { min: Some(0), max: Some(65534) }),
            ("spend".into(), ColumnType::Float { min: Some(-10.0), max: Some(100.0) }),
            ("region".into(), ColumnType::Category { values: regions }),
            ("joined".into(), ColumnType::Date { min: Some(Day(0)), max: Some(Day(20_000)) }),
            ("churned".into(), ColumnType::Bool),
        ]
        .into(),
    }
}

pub(in crate::data) fn plan(sql: &str) -> RowsPlan {
    sql::rows(sql, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Rows with something missing or out of bounds here and there; customer number `id` is there once.
pub(in crate::data) fn rows(ids: std::ops::Range<i64>) -> Vec<Row> {
    let row = |id: i64| Row {
        id,
        number: (id % 11 != 3).then_some(id % 65535),
        spend: match id % 7 {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(f64::INFINITY),
            3 => Some(-55.5),
            _ => Some((id % 1000) as f64 / 9.0),
        },
        region: [Some("south"), Some("north"), Some("nowhere"), None, Some("a, b")][(id % 5) as usize],
        joined: (id % 13 != 0).then_some((id * 17 % 21_000) as i32 - 500),
        churned: (id % 3 != 0).then_some(id % 2 == 0),
    };
    ids.map(row).collect()
}

/// The codes of [`ALL`] by the recipe.
pub(in crate::data) fn expected(row: &Row) -> Vec<u16> {
    let plan = plan(ALL);
    let values = |at: usize| &plan.outputs[at].values;
    vec![
        row.number.map_or(0, |number| values(0).code_of_number(number as f64)),
        row.spend.map_or(0, |spend| values(1).code_of_number(spend)),
        row.region.map_or(0, |region| values(2).code_of_text(region)),
        row.joined.map_or(0, |day| values(3).code_of_number(f64::from(day))),
        row.churned.map_or(0, |churned| values(4).code_of_bool(churned)),
    ]
}

pub(in crate::data) fn write_csv(path: &Path, rows: &[Row]) {
    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| format!("\"{}\"", value.to_string())).unwrap_or_default()
    }
    let line = |row: &Row| {
        let (spend, joined) = (text(row.spend), text(row.joined.map(Day)));
        format!("{},{},{spend},{},{joined},{},yes\n", row.id, text(row.number), text(row.region), text(row.churned))
    };
    let header = "id,number,spend,region,joined,churned,consent\n".to_owned();
    fs::write(path, header + &rows.iter().map(line).collect::<String>()).unwrap();
}

pub(in crate::data) fn write_parquet(path: &Path, rows: &[Row]) {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>()) as ArrayRef),
        ("number", Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>())),
        ("spend", Arc::new(rows.iter().map(|row| row.spend).collect::<Float64Array>())),
        ("region", Arc::new(rows.iter().map(|row| row.region).collect::<StringArray>())),
        ("joined", Arc::new(rows.iter().map(|row| row.joined).collect::<Date32Array>())),
        ("churned", Arc::new(rows.iter().map(|row| row.churned).collect::<BooleanArray>())),
    ])
    .unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(in crate::data) fn options(folder: &Path) -> Options {
    let key = UnitKey::new([9; 32]);
    Options { memory: 64 << 20, customers: Room::of(64 << 20), threads: 2, spill: folder.join("spill"), key }
}

async fn attempt(
    folder: &Path,
    source: &str,
    plan: &RowsPlan,
    split: Split,
    options: Options,
) -> Result<Customers, DataError> {
    let dataset = Dataset::open(schema(), source, folder, None).unwrap();
    Engine::new(options).customers(&dataset, plan, split).await
}

async fn customers(folder: &Path, source: &str, sql: &str, split: Split) -> Customers {
    attempt(folder, source, &plan(sql), split, options(folder)).await.unwrap()
}

/// All rows of a role, sorted: the features' codes, the target's and the weight's, if there are such.
fn listed(customers: &Customers, role: Role) -> Vec<Vec<u16>> {
    let each = |rows: &mut Vec<Vec<u16>>, block: &Block, labels: &Labels<Vec<u16>>| {
        let Labels { target, weight, .. } = labels;
        assert!([target, weight].iter().all(|codes| codes.is_empty() || codes.len() == block.rows()));
        for row in 0..block.rows() {
            let codes = (0..block.columns().len()).map(|column| block.codes(column)[row]);
            rows.push(codes.chain(target.get(row).copied()).chain(weight.get(row).copied()).collect());
        }
    };
    let mut rows = customers.fold(role, Vec::new, each, |a, b| [a, b].concat()).unwrap();
    assert_eq!(rows.len() as u64, customers.len(role));
    rows.sort();
    rows
}

pub(in crate::data) fn sorted(rows: impl Iterator<Item = Vec<u16>>) -> Vec<Vec<u16>> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

const NO_SPLIT: Split = Split { target: None, weight: None, holdout: 0, seed: 1 };

#[tokio::test]
async fn codes_are_those_of_the_recipe_whatever_the_format_order_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(0..500);
    write_csv(&folder.path().join("a.csv"), &rows);
    write_parquet(&folder.path().join("a.parquet"), &rows);
    rows.reverse();
    fs::create_dir(folder.path().join("parts")).unwrap();
    write_parquet(&folder.path().join("parts/1.parquet"), &rows[..123]);
    write_parquet(&folder.path().join("parts/2.parquet"), &rows[123..]);
    let expected = sorted(rows.iter().map(expected));
    assert!(expected.iter().any(|row| row.contains(&0)) && expected.iter().any(|row| !row.contains(&0)));
    for source in ["a.csv", "a.parquet", "parts"] {
        let customers = customers(folder.path(), source, ALL, NO_SPLIT).await;
        assert_eq!(listed(&customers, Role::Training), expected, "{source}");
        assert!(customers.is_empty(Role::HeldOut) && listed(&customers, Role::HeldOut).is_empty());
        assert_eq!(customers.columns()[2], Column::Category { values: 3 });
    }
}

#[tokio::test]
async fn computed_features_conditions_and_consent() {
    let folder = tempfile::tempdir().unwrap();
    let text = "id,number,spend,region,joined,churned,consent\n1,10,5,north,1970-03-05,yes,yes\n\
                2,200,-7,south,1970-03-05,no,yes\n3,11,5,north,,yes,no\n4,12,,east,1971-01-01,,yes\n\
                ,13,5,north,1970-03-05,yes,yes\n";
    fs::write(folder.path().join("a.csv"), text).unwrap();
    let sql = "SELECT number < 100 AS few, number * 2 AS double, CASE WHEN spend < 0 THEN 'debt' WHEN spend > 0 THEN \
               'credit' END AS kind, EXTRACT(MONTH FROM joined) AS month, id, COALESCE(region, 'none') AS place FROM \
               people WHERE number <> 200";
    let dataset = Dataset::open(schema(), "a.csv", folder.path(), Some("consent = 'yes'")).unwrap();
    let plan = plan(sql);
    let found = Engine::new(options(folder.path())).customers(&dataset, &plan, NO_SPLIT).await.unwrap();
    let month = Values::Number { low: 1.0, high: 12.0 };
    let double = Values::Number { low: 0.0, high: 131_068.0 };
    // Customer 2 fails the condition, 3 did not consent, one has no name.
    let one = vec![2, double.code_of_number(20.0), 2, month.code_of_number(3.0), 1];
    let four = vec![2, double.code_of_number(24.0), 0, month.code_of_number(1.0), 4];
    assert_eq!(listed(&found, Role::Training), sorted([one, four].into_iter()));
}

#[tokio::test]
async fn customers_with_several_rows_or_no_target_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let row = |id, number, churned| Row { id, number: Some(number), churned, ..Row::default() };
    let rows = [
        row(1, 1, Some(true)),
        row(2, 2, None),
        row(3, 3, Some(false)),
        row(3, 33, Some(false)),
        // One of its rows has no target, so that one row is left of it.
        row(4, 4, Some(false)),
        row(4, 44, None),
        row(-5, 5, Some(true)),
    ];
    write_csv(&folder.path().join("a.csv"), &rows);
    write_parquet(&folder.path().join("a.parquet"), &rows);
    for source in ["a.csv", "a.parquet"] {
        let sql = "SELECT id, churned, number FROM people";
        let found = customers(folder.path(), source, sql, Split { target: Some(0), ..NO_SPLIT }).await;
        assert_eq!(**found.columns(), [Column::Number]);
        assert_eq!(listed(&found, Role::Training), [[2, 2], [5, 1], [6, 2]], "{source}");
        let found = customers(folder.path(), source, sql, NO_SPLIT).await;
        assert_eq!(listed(&found, Role::Training), [[0, 3], [2, 2], [2, 6]], "{source}");
    }
}

#[tokio::test]
async fn who_is_held_out_is_the_customers_own_affair() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..20_000).map(|id| Row { id, number: Some(id), ..Row::default() }).collect();
    write_parquet(&folder.path().join("a.parquet"), &rows);
    write_csv(&folder.path().join("few.csv"), &rows[5_000..6_000]);
    let sql = "SELECT id, number FROM people";
    let split = Split { holdout: 200_000, seed: 7, ..NO_SPLIT };
    let found = customers(folder.path(), "a.parquet", sql, split).await;
    let held_out = listed(&found, Role::HeldOut);
    // 4000 expected; 6.2 standard deviations of a fair choice, which a key of 2^128 would miss once in 1e9.
    assert!(held_out.len().abs_diff(4000) < 351, "{}", held_out.len());
    assert_eq!(found.len(Role::Training) + found.len(Role::HeldOut), 20_000);
    // The same among others, in another format, under a condition.
    let few = |codes: &&Vec<u16>| (5_001..=6_000).contains(&codes[0]);
    let few: Vec<Vec<u16>> = held_out.iter().filter(few).cloned().collect();
    assert_eq!(listed(&customers(folder.path(), "few.csv", sql, split).await, Role::HeldOut), few);
    let filtered = format!("{sql} WHERE number >= 5000 AND number < 6000");
    assert_eq!(listed(&customers(folder.path(), "a.parquet", &filtered, split).await, Role::HeldOut), few);
    // Another for another seed; a larger share holds out the same and more.
    let other = customers(folder.path(), "a.parquet", sql, Split { seed: 8, ..split }).await;
    let both = listed(&other, Role::HeldOut).iter().filter(|row| held_out.contains(row)).count();
    assert!(both.abs_diff(800) < 180, "{both}");
    let more =
        listed(&customers(folder.path(), "few.csv", sql, Split { holdout: 500_000, ..split }).await, Role::HeldOut);
    assert!(more.len() > few.len() && few.iter().all(|row| more.contains(row)));
    let all = customers(folder.path(), "few.csv", sql, Split { holdout: 1_000_000, ..split }).await;
    assert_eq!((all.len(Role::Training), all.len(Role::HeldOut)), (0, 1_000));
}

#[tokio::test]
async fn files_give_what_memory_gives_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..20_000));
    let split = Split { target: Some(4), holdout: 300_000, seed: 3, ..NO_SPLIT };
    let plan = plan(ALL);
    let mut found = Vec::new();
    for (memory, limit, threads) in [(64 << 20, 64 << 20, 1), (64 << 20, 0, 2), (100_000, 140_000, 3), (0, 0, 1)] {
        let options = Options { memory, customers: Room::of(limit), threads, ..options(folder.path()) };
        let mut customers = attempt(folder.path(), "a.parquet", &plan, split, options).await.unwrap();
        let in_file = |part: &Part| part.blocks.iter().filter(|stored| matches!(stored, Stored::File { .. })).count();
        let in_file: usize = customers.parts.iter().map(in_file).sum();
        assert_eq!((in_file > 0, customers.file.is_some()), (limit < 1 << 20, limit < 1 << 20));
        let before = [Role::Training, Role::HeldOut].map(|role| listed(&customers, role));
        // Numbers become three bins, of which the last does not exist; categories stay.
        let bins: Vec<u16> = (0..=u16::MAX).map(|code| code.div_ceil(30_000)).collect();
        let same: Vec<u16> = (0..=u16::MAX).collect();
        let columns: Arc<[Column]> =
            [Column::Category { values: 2 }, Column::Number, Column::Category { values: 3 }, Column::Number].into();
        let tables = [bins, same.clone(), same.iter().map(|code| code.wrapping_mul(2)).collect(), same.clone()];
        customers.recode(columns.clone(), &tables).unwrap();
        assert_eq!(*customers.columns(), columns);
        let after = [Role::Training, Role::HeldOut].map(|role| listed(&customers, role));
        let recoded = before.clone().map(|rows| {
            sorted(rows.into_iter().map(|mut row| {
                row[0] = Some(tables[0][usize::from(row[0])]).filter(|code| *code <= 2).unwrap_or(0);
                row[2] = Some(row[2] * 2).filter(|code| *code <= 3).unwrap_or(0);
                row
            }))
        });
        assert_eq!(after, recoded);
        assert!(customers.recode(columns.clone(), &tables[..3]).is_err());
        assert!(customers.recode(columns[..3].into(), &tables[..3]).is_err());
        assert!(customers.recode(columns, &[vec![0], same.clone(), same.clone(), same]).is_err());
        assert_eq!([Role::Training, Role::HeldOut].map(|role| listed(&customers, role)), after);
        found.push((before, after));
        #[cfg(unix)]
        assert!(fs::read_dir(folder.path().join("spill")).map_or(0, Iterator::count) == 0);
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    let churned = rows(0..20_000).iter().filter(|row| row.churned.is_some()).count();
    assert_eq!(found[0].0.iter().map(Vec::len).sum::<usize>(), churned);
}

/// The target and the weight are no columns of any block, in memory or in a file; a weight that is missing is no reason to
/// leave a customer out.
#[tokio::test]
async fn a_target_and_a_weight_stand_beside_the_codes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(0..3_000);
    write_csv(&folder.path().join("a.csv"), &rows);
    let labelled = rows.iter().filter(|row| row.churned.is_some());
    let expected = sorted(labelled.map(|row| {
        let mut codes = expected(row);
        let weight = codes.remove(1);
        codes.push(weight);
        codes
    }));
    assert!(expected.iter().any(|codes| codes[4] == 0), "some have no weight");
    for limit in [64 << 20, 9_000, 0] {
        let options = Options { customers: Room::of(limit), ..options(folder.path()) };
        let split = Split { target: Some(4), weight: Some(1), ..NO_SPLIT };
        let mut found = attempt(folder.path(), "a.csv", &plan(ALL), split, options).await.unwrap();
        assert_eq!(found.columns().len(), 3);
        assert_eq!(listed(&found, Role::Training), expected);
        found.recode(found.columns().clone(), &vec![vec![0; 1 << 16]; 3]).unwrap();
        let rest = sorted(expected.iter().map(|codes| vec![0, 0, 0, codes[3], codes[4]]));
        assert_eq!(listed(&found, Role::Training), rest);
    }
}

/// Trainings that go on at the same time have so much memory together, and give it back as they end.
#[tokio::test]
async fn customers_of_all_plans_share_the_room() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..1000));
    // For one of them.
    let options = Options { customers: Room::of(20_000), ..options(folder.path()) };
    let found = async || attempt(folder.path(), "a.parquet", &plan(ALL), NO_SPLIT, options.clone()).await.unwrap();
    let (first, second) = (found().await, found().await);
    assert!(first.file.is_none() && second.file.is_some());
    assert_eq!(listed(&first, Role::Training), listed(&second, Role::Training));
    drop(first);
    assert!(found().await.file.is_none());
}

#[tokio::test]
async fn a_wide_plan_has_smaller_blocks() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..1200));
    let features: String = (0..1000).map(|at| format!(", number AS a{at}")).collect();
    let sql = format!("SELECT id{features} FROM people");
    let options = Options { threads: 1, ..options(folder.path()) };
    let found = attempt(folder.path(), "a.parquet", &plan(&sql), NO_SPLIT, options).await.unwrap();
    assert_eq!(found.parts[0].blocks.len(), 2);
    let all = listed(&found, Role::Training);
    assert!(all.len() == 1200 && all.iter().all(|row| row.iter().all(|code| *code == row[0])));
}

#[tokio::test]
async fn plans_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(&folder.path().join("a.csv"), &rows(0..3));
    let refused = async |plan: &RowsPlan, target| {
        let split = Split { target, ..NO_SPLIT };
        let error = attempt(folder.path(), "a.csv", plan, split, options(folder.path())).await.err().unwrap();
        error.to_string()
    };
    let mut fine = plan("SELECT id, number FROM people");
    assert!(refused(&fine, Some(1)).await.contains("lacks an output"));
    assert!(refused(&fine, Some(0)).await.contains("no features"));
    fine.columns[0].1 = ColumnType::Int { min: Some(0), max: Some(3) };
    assert!(refused(&fine, None).await.contains("plan the study again"));
}

#[tokio::test]
async fn no_rows_are_no_customers() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(&folder.path().join("a.csv"), &[]);
    let mut found = customers(folder.path(), "a.csv", ALL, NO_SPLIT).await;
    assert_eq!(found.fold(Role::Training, || 5, |_, _, _| panic!("no block"), |a, b| a + b), Ok(5));
    let same: Vec<u16> = (0..=u16::MAX).collect();
    found.recode(found.columns().clone(), &vec![same; 5]).unwrap();
}
