//! The node's data side as the rest of the node uses it.

#![expect(clippy::disallowed_methods, reason = "sources are made here")]

use std::fs;
use std::path::Path;

use entente_node::data::{DataError, Dataset, Engine, Options, Severity, UnitKey, check, open_source};
use entente_protocols::language::expr::{Expr, Value};
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::language::sums::{BaseSum, GroupKey, Shown, SumsPlan};

const TABLE: &str = "customer_id,region,spend,consent\n1,north,10.5,yes\n1,south,2000,yes\n2,north,,no\nx9,east,abc,yes\n,north,1,yes\n";

fn schema() -> DatasetSchema {
    DatasetSchema {
        name: "purchases".into(),
        privacy_unit: "customer_id".into(),
        columns: [
            ("region".into(), ColumnType::Category { values: vec!["north".into(), "south".into()] }),
            ("spend".into(), ColumnType::Float { min: Some(0.0), max: Some(100.0) }),
        ]
        .into(),
    }
}

fn plan() -> SumsPlan {
    let values = ["north", "south"].map(|region| Value::Text(region.into())).to_vec();
    SumsPlan {
        dataset: "purchases".into(),
        privacy_unit: "customer_id".into(),
        columns: schema().columns.into_iter().collect(),
        filter: None,
        groups: vec![GroupKey { expr: Expr::Column("region".into()), domain: values }],
        sums: vec![
            BaseSum::Rows,
            BaseSum::Values { expr: Expr::Column("spend".into()), low: 0.0, high: 100.0, center: 0.0 },
        ],
        shown: Shown::default(),
        max_groups: 1,
        max_rows: 20,
    }
}

fn engine(folder: &Path) -> Engine {
    Engine::new(Options::new(folder.join("spill"), UnitKey::new([1; 32])))
}

fn table() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("purchases.csv"), TABLE).unwrap();
    folder
}

#[tokio::test]
async fn a_plan_gives_bounded_sums_of_its_own_layout() {
    let folder = table();
    let dataset = Dataset::open(schema(), "purchases.csv", folder.path(), Some("consent = 'yes'")).unwrap();
    let bounded = engine(folder.path()).bounded_sums(&dataset, &plan()).await.unwrap();
    assert_eq!(*bounded.layout(), plan().layout());
    assert!(!dataset.has_changed());
}

#[tokio::test]
async fn a_file_that_goes_away_is_an_error_without_a_cause() {
    let folder = table();
    let dataset = Dataset::open(schema(), "purchases.csv", folder.path(), None).unwrap();
    fs::remove_file(folder.path().join("purchases.csv")).unwrap();
    let error = engine(folder.path()).bounded_sums(&dataset, &plan()).await.err().unwrap();
    assert_eq!(error, DataError::Failed);
    assert!(!error.to_string().contains("purchases"));
}

#[test]
fn opening_explains_what_does_not_fit() {
    let folder = table();
    let open = |schema: DatasetSchema, consent| {
        Dataset::open(schema, "purchases.csv", folder.path(), consent).unwrap_err().to_string()
    };
    let mut misspelt = schema();
    misspelt.columns.insert("Spent".into(), ColumnType::Bool);
    assert!(open(misspelt, None).contains("did you mean `spend`"));
    let mut unit = schema();
    unit.privacy_unit = "person".into();
    let error = open(unit, None);
    assert!(error.contains("the privacy unit `person` is not in the data, which has: customer_id"), "{error}");
    assert!(open(schema(), Some("consents")).contains("did you mean `consent`"));
    assert!(open(schema(), Some("upper(consent) = 'YES'")).contains("is not allowed"));
}

#[tokio::test]
async fn preflight_counts_what_is_wrong() {
    let folder = table();
    let report =
        check(&schema(), open_source("purchases.csv", folder.path()), Some("consent"), &engine(folder.path())).await;
    assert_eq!((report.rows, report.consenting, report.customers, report.most_rows), (5, 4, 3, 2));
    assert_eq!((report.without_unit, report.malformed, report.place.as_str()), (1, 0, "1 file"));
    let [region, spend] = &report.columns[..] else { panic!("two columns") };
    assert_eq!((region.null, region.outside, region.unparsable), (0, 1, 0));
    assert_eq!((spend.null, spend.outside, spend.unparsable), (1, 1, 1));
    assert_eq!(report.findings[0].severity, Severity::Error);
    assert!(report.findings[0].problem.contains("privacy unit is NULL in 1 of 5 rows"));
    assert!(report.findings.iter().all(|finding| !finding.fix.is_empty()));
}

/// What makes a training learn nothing is told to the node's own staff, as studies never say it.
#[tokio::test]
async fn preflight_finds_what_a_training_learns_nothing_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = "customer_id,region,spend,left\n1,north,1.5,no\n2,north,NaN,no\n3,north,2.5,no\n3,north,3.5,no\n";
    fs::write(folder.path().join("flat.csv"), text).unwrap();
    let mut schema = schema();
    schema.columns.insert("left".into(), ColumnType::Bool);
    let report = check(&schema, open_source("flat.csv", folder.path()), None, &engine(folder.path())).await;
    assert_eq!(report.several_rows, 1);
    let same = |column: &str| {
        report
            .findings
            .iter()
            .any(|found| found.column.as_deref() == Some(column) && found.problem.contains("same value"))
    };
    assert!(same("region") && same("left") && !same("spend"), "{:?}", report.findings);
    assert!(report.findings.iter().any(|found| found.problem.contains("1 of 3 customers have several rows")));
    let spend = report.columns.iter().find(|column| column.name == "spend").unwrap();
    assert_eq!((spend.unparsable, spend.extent), (1, Some((1.5, 3.5))), "NaN counts as NULL");
}

#[tokio::test]
async fn preflight_lists_all_that_is_missing() {
    let folder = table();
    let mut other = schema();
    other.privacy_unit = "person".into();
    other.columns.insert("age".into(), ColumnType::Int { min: None, max: None });
    let report =
        check(&other, open_source("purchases.csv", folder.path()), Some("nobody"), &engine(folder.path())).await;
    assert_eq!(report.findings.len(), 3, "{:?}", report.findings);
    let report = check(&schema(), open_source("nothing.csv", folder.path()), None, &engine(folder.path())).await;
    assert!(report.findings[0].problem.contains("no file or folder"), "{:?}", report.findings);
}
