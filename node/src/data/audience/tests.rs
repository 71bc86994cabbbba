//! Audiences of real files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use arrow_array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use entente_protocols::language::schema::DatasetSchema;

use super::*;
use crate::data::{Dataset, Engine, Options, UnitKey};

fn key() -> UnitKey {
    UnitKey::new([3; 32])
}

fn engine(folder: &Path, threads: usize) -> Engine {
    Engine::new(Options { threads, ..Options::new(folder.join("spill"), key()) })
}

fn dataset(folder: &Path, source: &str, unit: &str, consent: Option<&str>) -> Dataset {
    let schema = DatasetSchema { name: "people".into(), privacy_unit: unit.into(), columns: [].into() };
    Dataset::open(schema, source, folder, consent).unwrap()
}

fn number(name: &str) -> u128 {
    let names: arrow_array::ArrayRef = std::sync::Arc::new(StringArray::from(vec![name]));
    key().units(&names)[0].unwrap()
}

fn naming(folder: &Path, study: &str) -> Naming {
    let (folder, created) = (folder.join("audience"), "2026-01-01T00:00:00Z".into());
    Naming { folder, study: study.parse().unwrap(), created }
}

fn csv(audience: &Audience, selection: &Selection) -> String {
    let out = audience.choose(selection, &key()).write(Form::Csv, selection, Vec::new()).unwrap();
    String::from_utf8(out).unwrap()
}

const PEOPLE: [(&str, f64); 5] = [("7", 0.5), ("ann", 2.5), ("b, \"c\"", 2.5), ("dan", -1.0), ("gone", 9.0)];

#[tokio::test]
async fn who_was_scored_and_consents_is_there_once_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let table = "id,ok\n7,yes\nann,no\nann,yes\nann,yes\n\"b, \"\"c\"\"\",yes\ndan,no\nzoe,yes\n,yes\n";
    fs::write(folder.path().join("a.csv"), table).unwrap();
    let json = r#"{"id":"b, \"c\"","ok":"yes"}
{"ok":"yes"}
{"id":"zoe","ok":"yes"}
{"id":7,"ok":"yes"}
{"id":"dan","ok":"no"}
{"id":"ann","ok":"yes"}
"#;
    fs::write(folder.path().join("a.ndjson"), json).unwrap();
    let units = ["7", "ann", "ann", "b, \"c\"", "dan", "zoe"].map(Some);
    let batch = RecordBatch::try_from_iter([
        ("id", std::sync::Arc::new(units.into_iter().chain([None]).collect::<StringArray>()) as _),
        ("ok", std::sync::Arc::new(StringArray::from(vec!["yes", "yes", "no", "yes", "no", "yes", "yes"])) as _),
    ]);
    write(&folder.path().join("a.parquet"), &batch.unwrap());
    for (study, source, threads) in [("s-1", "a.csv", 1), ("s-2", "a.ndjson", 2), ("s-3", "a.parquet", 3)] {
        let scores = Scores::of_scores(PEOPLE.map(|(name, score)| (number(name), score)).to_vec()).unwrap();
        let dataset = dataset(folder.path(), source, "id", Some("ok = 'yes'"));
        let naming = naming(folder.path(), study);
        assert_eq!(engine(folder.path(), threads).name_audience(&dataset, scores, &naming).await.unwrap(), 3);
        let audience = Audience::read(&naming.study.file(&naming.folder)).unwrap();
        let header = audience.header();
        assert_eq!((header.study.to_string().as_str(), header.customers, header.opened), (study, 3, Opened::Scores));
        assert_eq!((header.dataset.as_str(), header.privacy_unit.as_str()), ("people", "id"));
        let text = csv(&audience, &Selection::Count(10));
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.remove(0), lines.remove(2)), ("id,score,percentile", "7,0.5,40"));
        // Two are equal: their order is the key's.
        lines.sort_unstable();
        assert_eq!(lines, ["\"b, \"\"c\"\"\",2.5,80", "ann,2.5,80"], "{source}");
    }
    let headers = list(&folder.path().join("audience")).unwrap();
    assert_eq!(headers.len(), 3);
    #[cfg(unix)]
    for (path, mode) in [("audience", 0o700), ("audience/s-1.parquet", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::metadata(folder.path().join(path)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{path}");
    }
    assert!(fs::read_dir(folder.path().join("audience")).unwrap().count() == 3, "nothing else is left there");
}

fn write(path: &Path, batch: &RecordBatch) {
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn numbers_stay_numbers_and_a_unit_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let signed = std::sync::Arc::new(Int64Array::from(vec![Some(-4), None, Some(5)]));
    let large = std::sync::Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(5)]));
    let batch = RecordBatch::try_from_iter([("bucket", signed as _), ("percentile", large as _)]).unwrap();
    write(&folder.path().join("a.parquet"), &batch);
    for (unit, negative, lines) in [
        ("bucket", -4i64 as u64, "bucket,audience_bucket,percentile\n-4,15,100\n5,2,50\n"),
        ("percentile", u64::MAX, "percentile,bucket,audience_percentile\n18446744073709551615,15,100\n5,2,50\n"),
    ] {
        let scores = Scores::of_buckets(vec![(u128::from(negative), 15), (5, 2)]).unwrap();
        let dataset = dataset(folder.path(), "a.parquet", unit, None);
        let naming = naming(folder.path(), unit);
        engine(folder.path(), 2).name_audience(&dataset, scores, &naming).await.unwrap();
        let audience = Audience::read(&naming.study.file(&naming.folder)).unwrap();
        assert_eq!(csv(&audience, &Selection::Share(100.0)), lines);
        let selection = Selection::Buckets(BTreeSet::from([15, 3]));
        let chosen = audience.choose(&selection, &key());
        assert_eq!(chosen.units(), [u128::from(negative)]);
        let bytes = chosen.write(Form::Parquet, &selection, Vec::new()).unwrap();
        fs::write(folder.path().join("out.parquet"), bytes).unwrap();
        let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            fs::File::open(folder.path().join("out.parquet")).unwrap(),
        );
        let mut read = builder.unwrap().build().unwrap();
        let batch = read.next().unwrap().unwrap();
        let types: Vec<String> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!((batch.num_rows(), &types[1..]), (1, &["Int32".to_owned(), "Float64".to_owned()][..]));
    }
}

#[tokio::test]
async fn the_best_are_the_same_whatever_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids: Vec<i64> = (0..1_000).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for source in ["a.csv", "b.csv"] {
        let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
        fs::write(folder.path().join(source), format!("id\n{text}")).unwrap();
        // Ten scores, so that ties decide.
        let scores = Scores::of_scores(ids.iter().map(|id| (*id as u128, (*id % 10) as f64)).collect()).unwrap();
        let naming = naming(folder.path(), "s");
        let dataset = dataset(folder.path(), source, "id", None);
        engine(folder.path(), 2).name_audience(&dataset, scores, &naming).await.unwrap();
        let audience = Audience::read(&naming.study.file(&naming.folder)).unwrap();
        let selections =
            [Selection::Share(15.0), Selection::Count(150), Selection::MinScore(8.0), Selection::Share(0.01)];
        found.push(selections.iter().map(|selection| csv(&audience, selection)).collect());
        ids.reverse();
    }
    assert_eq!(found[0], found[1]);
    let counts: Vec<usize> = found[0].iter().map(|text| text.lines().count() - 1).collect();
    assert_eq!(counts, [150, 150, 200, 0]);
    assert_eq!(found[0][0], found[0][1]);
    assert!(found[0][0].lines().skip(1).take(100).all(|line| line.ends_with(",9,100")));
}

#[tokio::test]
async fn who_consents_is_asked_of_the_data_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "id,ok\n1,yes\n2,no\n2,yes\nann,yes\n3,no\n").unwrap();
    let dataset = dataset(folder.path(), "a.csv", "id", Some("ok = 'yes'"));
    let asked = vec![3, number("ann"), 2, 9, 1, 2];
    let found = engine(folder.path(), 2).consenting(&dataset, asked).await.unwrap();
    assert_eq!(found, [false, true, true, false, true, true]);
    fs::remove_file(folder.path().join("a.csv")).unwrap();
    assert!(engine(folder.path(), 2).consenting(&dataset, vec![1]).await.is_err());
    let naming = naming(folder.path(), "s");
    let scores = Scores::of_scores(vec![(1, 1.0)]).unwrap();
    assert!(engine(folder.path(), 2).name_audience(&dataset, scores, &naming).await.is_err());
    assert_eq!(fs::read_dir(naming.folder).unwrap().count(), 0, "a file that was begun is removed");
}

#[tokio::test]
async fn a_file_that_is_not_the_audience_it_is_called_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "id\n1\n").unwrap();
    let naming = naming(folder.path(), "s");
    let dataset = dataset(folder.path(), "a.csv", "id", None);
    let scores = Scores::of_scores(vec![(1, 1.0)]).unwrap();
    engine(folder.path(), 1).name_audience(&dataset, scores, &naming).await.unwrap();
    let good = naming.study.file(&naming.folder);
    let other = naming.folder.join("t.parquet");
    let refused = || Audience::read(&other).unwrap_err().to_string();
    assert!(refused().contains("No such file"));
    fs::copy(&good, &other).unwrap();
    assert!(refused().contains("is of study s"), "{}", refused());
    let bytes = fs::read(&good).unwrap();
    fs::write(&other, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused().contains("restore it"), "{}", refused());
    let batch = RecordBatch::try_from_iter([("id", std::sync::Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    write(&other, &batch);
    assert!(refused().contains("does not say"), "{}", refused());
    let found = list(&naming.folder).unwrap();
    assert!(found.len() == 2 && found[0].is_ok() && found[1].is_err());
    assert!(list(&folder.path().join("nowhere")).unwrap().is_empty());
}

#[test]
fn studies_that_cannot_be_files_are_none() {
    for good in ["20261122-101500-ab12", "a", "A_b"] {
        assert_eq!(
            good.parse::<StudyId>().unwrap().file(Path::new("x")),
            Path::new("x").join(format!("{good}.parquet"))
        );
    }
    for bad in ["", "../x", "a/b", "a\\b", "-a", "_a", ".a", "a.b", "a b", "a\0", "ä", "a\n", &"a".repeat(101)] {
        assert!(bad.parse::<StudyId>().is_err(), "{bad:?}");
    }
}

#[test]
fn one_selection_has_one_text() {
    let bucket = Selection::Buckets([12, 3, 12].into());
    let texts = [Selection::Share(5.0), Selection::Share(0.5), Selection::Count(5), Selection::MinScore(-1.5), bucket];
    let texts = texts.map(|selection| selection.to_string());
    assert_eq!(texts, ["top 5%", "top 0.5%", "top 5", "score of at least -1.5", "bucket 3,12"]);
}
