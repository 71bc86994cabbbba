//! Event columns: a plan that is charged to some years reads no others.

use entente_protocols::language::event::Event;
use entente_protocols::language::sql;

use super::*;
use crate::data::rows::features::Features;

/// The rows as a data set whose event column is `joined`.
fn by_year(folder: &Path, rows: &[Row]) -> Dataset {
    write_parquet(&folder.join("rows.parquet"), rows);
    let event = Event::new("joined", schema().columns.get("joined")).unwrap();
    open(folder, "rows.parquet", None).with_event(Some(event))
}

fn by_region(condition: &str) -> SumsPlan {
    let sql = format!("SELECT region, COUNT(*) AS n, SUM(amount) AS amount FROM customers {condition} GROUP BY region");
    let limits = sql::Limits { max_groups: Some(2), max_rows: Some(3) };
    sql::plan(&sql, limits, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// A row of a customer on a day.
fn on(customer: i64, joined: Option<&str>) -> Row {
    Row { customer: Some(customer), joined: joined.map(|day| Day::parse(day).unwrap().0), ..usual() }
}

/// The declared range is 2022 to 2025. Read clipped, a day behind it is its last, so that conditions hold on it.
#[test]
fn rows_of_other_years_do_not_count_whatever_the_conditions_are_on_them() {
    let folder = tempfile::tempdir().unwrap();
    let days = ["2021-12-31", "2022-01-01", "2024-12-31", "2025-01-01", "2025-12-31", "2026-01-01", "2031-05-05"];
    let dated = days.iter().zip(1..).map(|(day, customer)| on(customer, Some(day)));
    let rows: Vec<Row> = dated.chain([on(8, None)]).collect();
    let dataset = by_year(folder.path(), &rows);
    let counted = |condition: &str| -> Vec<u128> {
        customers(&dataset, &by_region(condition), &options(folder.path(), 1 << 20, 1)).into_keys().collect()
    };
    assert_eq!(counted("WHERE joined >= '2025-01-01'"), [4, 5]);
    assert_eq!(counted("WHERE joined < '2022-06-01'"), [2]);
    assert_eq!(counted("WHERE EXTRACT(YEAR FROM joined) = 2025"), [4, 5]);
    // All time is the declared range as well: a row moves into no year when that range is changed.
    assert_eq!(counted(""), [2, 3, 4, 5]);
    assert_eq!(counted("WHERE joined >= '2025-01-01' OR 1 = 1"), [2, 3, 4, 5]);
    assert_eq!(counted("WHERE joined IS NULL OR joined >= '2025-01-01'"), [4, 5]);
    let without = dataset.with_event(None);
    let all = customers(&without, &by_region("WHERE joined >= '2025-01-01'"), &options(folder.path(), 1 << 20, 1));
    assert_eq!(all.into_keys().collect::<Vec<_>>(), [4, 5, 6, 7], "without an event column, as declared");
}

#[test]
fn rows_to_train_on_are_of_the_years_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [on(1, Some("2024-06-01")), on(2, Some("2025-06-01")), on(3, Some("2026-06-01"))];
    let dataset = by_year(folder.path(), &rows);
    let sql = "SELECT customer, age, amount FROM customers WHERE joined >= '2025-01-01'";
    let plan = sql::rows(sql, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"));
    let features = Features::new(&dataset, &plan, Labels::default()).unwrap();
    let stored = record_batch(&rows);
    let columns: Vec<ArrayRef> =
        features.columns().iter().map(|name| stored.column_by_name(name).unwrap().clone()).collect();
    let none = crate::data::unit::NO_CELL;
    assert_eq!(features.rows(&columns, rows.len()).cells, [none, 0, none]);
}

/// A source that adds up by itself knows of no years.
#[test]
fn a_source_does_not_add_up_rows_of_all_years() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [on(1, Some("2025-06-01")), on(2, Some("2026-06-01"))];
    let event = Event::new("joined", schema().columns.get("joined")).unwrap();
    let source = memory::Memory { adds_up: true, ..memory::Memory::new(&rows, 1) };
    let dataset = source.open(None).with_event(Some(event));
    let plan = by_region("WHERE joined >= '2025-01-01'");
    let found = customers(&dataset, &plan, &options(folder.path(), 1 << 20, 1));
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Neighbours in one year: what a study of another year is made of is the same, also for a customer with rows in both.
    #[test]
    fn what_is_asked_of_one_year_is_the_same_without_a_customers_rows_of_others(
        rows in prop::collection::vec(any_row(), 1..120),
        who in 0usize..120,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let who = rows[who % rows.len()].customer;
        let year = |row: &Row| row.joined.map(|day| Day(day).date().year());
        let fewer: Vec<Row> = rows.iter().filter(|row| row.customer != who || year(row) == Some(2024)).cloned().collect();
        let plan = by_region("WHERE joined BETWEEN '2024-01-01' AND '2024-12-31'");
        let found = |rows: &[Row]| {
            customers(&by_year(folder.path(), rows), &plan, &options(folder.path(), 1 << 20, 1))
        };
        prop_assert_eq!(found(&rows), found(&fewer));
    }
}
