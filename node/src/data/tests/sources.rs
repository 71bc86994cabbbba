//! What the engine does, it does over any source of rows: the same integers, and the same silence when rows stop arriving.

use super::audience::{Naming, Scores};
use super::memory::Memory;
use super::*;

fn engine(folder: &Path) -> Engine {
    Engine::new(options(folder, 64 << 20, 2))
}

/// One row of each of some customers, so that trainings and scorings have them.
fn one_each(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.customer);
    rows.dedup_by_key(|row| row.customer);
    rows
}

fn features() -> entente_protocols::language::rows::RowsPlan {
    let sql = "SELECT customer, age, amount, region, member FROM customers WHERE amount > 20";
    entente_protocols::language::sql::rows(sql, &schema()).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// Codes of a row, customer by customer where they are told apart.
type Coded = Vec<(Option<u128>, Vec<u16>)>;

fn coded(units: Option<&[u128]>, block: &entente_protocols::privacy::rows::Block) -> Coded {
    let codes = |row: usize| (0..block.columns().len()).map(|column| block.codes(column)[row]).collect();
    (0..block.rows()).map(|row| (units.map(|units| units[row]), codes(row))).collect()
}

/// All that the engine says of a data set, but for sums.
#[derive(Debug, PartialEq)]
struct Said {
    customers: Coded,
    candidates: Coded,
    consenting: Vec<bool>,
    named: u64,
    report: Report,
}

const CONSENT: &str = "member AND age >= 40";

async fn said(folder: &Path, study: &str, source: Arc<dyn RowSource>) -> Said {
    let engine = engine(folder);
    let dataset = Dataset::new(schema(), source.clone(), Some(CONSENT)).unwrap();
    let split = Split { target: Some(3), weight: None, holdout: 0, seed: 1 };
    let customers = engine.customers(&dataset, &features(), split).await.unwrap();
    let both = |one: Coded, other: Coded| [one, other].concat();
    let each = |all: &mut Coded, block: &_, _: &_| all.extend(coded(None, block));
    let mut customers = customers.fold(Role::Training, Vec::new, each, both).unwrap();
    customers.sort();
    let spec = BlockSpec { block_rows: 7, most: None, segment: None, left_out: None };
    let found = engine.candidates(&dataset, &features(), spec).await.unwrap();
    let blocks = (0..found.blocks()).map(|number| found.block(number, |units, block, _| coded(Some(units), block)));
    let mut candidates = blocks.fold(Vec::new(), |found, block| both(found, block.unwrap()));
    candidates.sort();
    let units: Vec<u128> = (0..12).collect();
    let scores = Scores::of_scores(units.iter().map(|unit| (*unit, 0.5)).collect()).unwrap();
    let created = "2026-01-01T00:00:00Z".into();
    let naming = Naming { folder: folder.join("audience"), study: study.parse().unwrap(), created };
    Said {
        customers,
        candidates,
        consenting: engine.consenting(&dataset, units).await.unwrap(),
        named: engine.name_audience(&dataset, scores, &naming).await.unwrap(),
        report: Report { place: String::new(), ..check(&schema(), Ok(source), Some(CONSENT), &engine).await },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Files, rows that arrive from elsewhere, and sums of a source that adds up by itself.
    #[test]
    fn sums_are_the_same_integers_from_every_source(
        rows in prop::collection::vec(any_row(), 0..150),
        batch_rows in 1usize..40,
        filter: bool,
        consent: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        write_parquet(&folder.path().join("all.parquet"), &rows);
        let (plan, consent) = (plan(filter), consent.then_some(CONSENT));
        let expected =
            customers(&open(folder.path(), "all.parquet", consent), &plan, &options(folder.path(), 64 << 20, 1));
        let memory = Memory::new(&rows, batch_rows);
        let adds_up = Memory { adds_up: true, ..memory.clone() };
        for (source, memory, threads) in
            [(&memory, 64 << 20, 1), (&memory, 0, 3), (&adds_up, 64 << 20, 2), (&adds_up, 0, 1)]
        {
            let found = customers(&source.clone().open(consent), &plan, &options(folder.path(), memory, threads));
            prop_assert_eq!(&found, &expected, "{} {}", source.adds_up, threads);
        }
    }

    /// Trainings, scorings, who consents, audiences and `check`.
    #[test]
    fn whatever_else_is_asked_is_answered_alike_from_every_source(
        rows in prop::collection::vec(any_row(), 0..60),
        batch_rows in 1usize..20,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows = one_each(rows);
        write_parquet(&folder.path().join("all.parquet"), &rows);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let files = said(folder.path(), "s-1", open_source("all.parquet", folder.path()).unwrap()).await;
            let memory = said(folder.path(), "s-2", Arc::new(Memory::new(&rows, batch_rows))).await;
            prop_assert_eq!(files, memory);
            Ok(())
        })?;
    }
}

/// However far they have come: no part of a sum, and no word about why.
#[tokio::test]
async fn rows_that_stop_arriving_half_way_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vec![usual(); 3];
    let engine = engine(folder.path());
    for (breaks_after, adds_up) in [(0, false), (1, false), (2, false), (0, true), (2, true)] {
        let source = Memory { breaks_after, adds_up, ..Memory::new(&rows, 1) };
        let dataset = source.clone().open(None);
        assert_eq!(engine.bounded_sums(&dataset, &plan(false)).await.err(), Some(DataError::Failed));
        let split = Split { target: None, weight: None, holdout: 0, seed: 1 };
        assert_eq!(engine.customers(&dataset, &features(), split).await.err(), Some(DataError::Failed));
        assert_eq!(engine.consenting(&dataset, vec![7]).await, Err(DataError::Failed));
        let report = check(&schema(), Ok(Arc::new(source)), None, &engine).await;
        assert_eq!((report.rows, report.findings.len()), (0, 1));
        assert_eq!(report.findings[0].problem, DataError::Failed.problem());
    }
}

#[tokio::test]
async fn sums_of_another_shape_than_the_plan_s_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let spoils: [fn(&mut Rows); 6] = [
        |sums| sums.counts = None,
        |sums| sums.counts.iter_mut().flatten().for_each(|count| *count = 0),
        |sums| drop(sums.values.pop()),
        |sums| sums.values[0].push(1),
        |sums| sums.cells.push(1),
        |sums| sums.unit = Arc::new(StringArray::from(vec!["7"; sums.unit.len()])),
    ];
    for (number, spoils) in spoils.into_iter().enumerate() {
        let source = Memory { adds_up: true, spoils, ..Memory::new(&[usual()], 1) };
        let answer = engine(folder.path()).bounded_sums(&source.open(None), &plan(false)).await;
        assert_eq!(answer.err(), Some(DataError::Failed), "{number}");
    }
}

/// What is computed for an attempt that has ended takes no threads from others, and until it has let go of them, nobody else has them.
#[tokio::test]
async fn what_nobody_needs_any_more_ends_though_its_rows_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(Memory { hangs: true, ..Memory::new(&[usual()], 1) });
    let dataset = Dataset::new(schema(), source.clone(), None).unwrap();
    let (sender, ending) = Ending::told();
    let engine = engine(folder.path()).until(ending);
    let plan = plan(false);
    let sums = engine.bounded_sums(&dataset, &plan);
    let ended = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(Arc::strong_count(&source) > 2, "it is read");
        sender.send_replace(true);
    };
    assert_eq!(tokio::join!(sums, ended).0.err(), Some(DataError::Failed));
    drop(dataset);
    assert_eq!(Arc::strong_count(&source), 1, "nothing reads it any more");
}
