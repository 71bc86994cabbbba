//! How much is computed follows from the plan and the number of rows, whatever the rows hold: no filter, no consent, no
//! condition and no NULL saves any of it.

use super::*;
use crate::data::pass::each_batch;
use crate::data::rows::features::Features;

/// Rows of a data set, and how many values a plan looks at over all of them.
fn looked_at(
    dataset: &Dataset,
    columns: &[String],
    counted: impl Fn(&[ArrayRef], usize) -> (Rows, u64),
) -> (usize, u64) {
    let scan = dataset.source().read(columns, dataset.schema()).unwrap();
    let mut all = (0, 0);
    let batch = |stored: Batch| {
        let rows = stored[0].len();
        let (found, looked_at) = counted(&stored, rows);
        assert_eq!((found.unit.len(), found.cells.len()), (rows, rows), "every row is there, be it in no cell");
        assert!(found.values.iter().all(|values| values.len() == rows));
        all = (all.0 + rows, all.1 + looked_at);
        Ok(())
    };
    each_batch(&*scan, &AtomicBool::new(false), batch).unwrap();
    all
}

fn of_sums(dataset: &Dataset, plan: &SumsPlan) -> (usize, u64) {
    let pipeline = Pipeline::new(dataset, plan).unwrap();
    looked_at(dataset, pipeline.columns(), |stored, rows| pipeline.counted(stored, rows))
}

/// By region, where age and spend are in a range: CASE, AND, OR, dates and quotients, in the filter and behind it.
fn sums() -> SumsPlan {
    let sql = "SELECT region, CASE WHEN age < 30 THEN 'young' WHEN member THEN 'member' ELSE 'other' END AS kind, \
                      COUNT(*) AS rows, AVG(amount / NULLIF(age, 50)) AS share, SUM(CASE WHEN member THEN age END) AS age \
               FROM customers WHERE amount >= 10 AND (joined < DATE '2024-06-01' OR EXTRACT(MONTH FROM joined) = 12) \
               GROUP BY region, kind";
    let limits = entente_protocols::language::sql::Limits::default();
    entente_protocols::language::sql::plan(sql, limits, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// The features of a model, of rows that a filter keeps and that have a target.
fn features(dataset: &Dataset) -> Features {
    let sql = "SELECT customer, age, amount, region, member FROM customers WHERE amount > 20 AND NOT region = 'north'";
    let plan = entente_protocols::language::sql::rows(sql, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"));
    Features::new(dataset, &plan, Labels { target: Some(3), ..Labels::default() }).unwrap()
}

fn of_features(dataset: &Dataset) -> (usize, u64) {
    let features = features(dataset);
    looked_at(dataset, features.columns(), |stored, rows| features.counted(stored, rows))
}

/// Of a table with a consent predicate and without, by a plan of each sort.
fn all(folder: &Path, rows: &[Row]) -> [(usize, u64); 4] {
    write_parquet(&folder.join("rows.parquet"), rows);
    let [any, some] = [None, Some("member AND age >= 40")].map(|consent| open(folder, "rows.parquet", consent));
    [of_sums(&any, &sums()), of_sums(&some, &sums()), of_features(&any), of_features(&some)]
}

#[test]
fn a_row_more_or_less_extreme_changes_no_work() {
    let folder = tempfile::tempdir().unwrap();
    let usual = usual();
    let nulls = Row { customer: None, region: None, amount: None, age: None, joined: None, member: None };
    let neighbours = [
        nulls.clone(),
        Row { customer: Some(7), ..nulls.clone() },
        // In none of the filters.
        Row { amount: Some(0.0), ..usual.clone() },
        // Without consent.
        Row { member: Some(false), ..usual.clone() },
        Row { age: Some(20), member: None, ..usual.clone() },
        // Another branch, no quotient, another month.
        Row { age: Some(50), ..usual.clone() },
        Row { joined: Some(20_430), region: Some("north"), ..usual.clone() },
        Row {
            customer: Some(i64::MIN),
            region: Some("nowhere"),
            amount: Some(f64::INFINITY),
            age: Some(i64::MAX),
            joined: Some(-100_000),
            member: Some(false),
        },
        Row { amount: Some(f64::NAN), age: Some(i64::MIN), joined: Some(2_900_000), ..usual.clone() },
    ];
    let table = |last: &Row, others: &Row| -> Vec<Row> { [vec![others.clone(); 30], vec![last.clone()]].concat() };
    for others in [&usual, &nulls] {
        let found = all(folder.path(), &table(&usual, others));
        assert!(found.iter().all(|(rows, looked_at)| *rows == 31 && *looked_at > 31), "{found:?}");
        for neighbour in &neighbours {
            assert_eq!(all(folder.path(), &table(neighbour, others)), found, "{neighbour:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn tables_with_as_many_rows_take_the_same_work(
        one in prop::collection::vec(any_row(), 50),
        other in prop::collection::vec(any_row(), 50),
    ) {
        let folder = tempfile::tempdir().unwrap();
        prop_assert_eq!(all(folder.path(), &one), all(folder.path(), &other));
    }
}
