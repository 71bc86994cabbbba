//! Tables of every form, scored as [`Model::score`] does.

use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, BooleanArray, Date32Array, DictionaryArray, TimestampMillisecondArray};
use arrow_schema::DataType;
use entente_protocols::language::schema::Day;
use entente_protocols::learn::model::{Model, Parameters};
use entente_protocols::learn::recipe::{Feature, Recipe, Target, Values};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::kinds::train::samples;

fn recipe() -> Recipe {
    let feature = |name: &str, values| Feature { name: name.into(), values };
    let day = |text: &str| Day::parse(text).unwrap().0;
    Recipe {
        features: vec![
            feature("age", Values::Number { low: 18.0, high: 95.0 }),
            feature("region", Values::Category { values: vec!["north".into(), "south".into(), "7".into()] }),
            feature("joined", Values::Date { low: day("2015-01-01"), high: day("2025-01-01") }),
            feature("consent", Values::Bool),
        ],
    }
}

fn logistic() -> ModelFile {
    let target = Some(Target { name: "churned".into(), values: Values::Bool });
    let weights = vec![1.5, -0.25, 0.1, 0.2, -0.4, 0.8, -1.0, 0.3, 0.0, -0.7, 0.7, -0.5];
    let parameters = Parameters::Weights { weights };
    samples::file(Model { recipe: recipe(), target, recoding: None, parameters })
}

fn kmeans() -> ModelFile {
    let mut centres = vec![vec![0.0; 11]; 2];
    (centres[0][0], centres[1][0]) = (-1.0, 1.0);
    let parameters = Parameters::Centres { centres };
    samples::file(Model { recipe: recipe(), target: None, recoding: None, parameters })
}

const CSV: &str = "\u{feff}id,region,age,consent,joined,note\n\
                   a,north,40,yes,2020-02-29,\"x, y\"\n\
                   b,south,12.5,0,2014-06-01T12:00:00,\n\
                   c,, 101 ,TRUE,,z\n\
                   d,east,old,maybe,29.2.2020,\n\
                   e,7,,No,2024-12-31 23:59,\n";

/// The scores of [`CSV`]'s rows.
fn expected(model: &Model) -> Vec<f64> {
    let features = &model.recipe.features;
    let age = |x: f64| features[0].values.code_of_number(x);
    let joined = |day: &str| features[2].values.code_of_number(f64::from(Day::parse(day).unwrap().0));
    [
        [age(40.0), 1, joined("2020-02-29"), 2],
        [age(12.5), 2, joined("2014-06-01"), 1],
        [age(101.0), 0, 0, 2],
        [0, 0, 0, 0],
        [0, 3, joined("2024-12-31"), 1],
    ]
    .map(|codes| model.score(&codes))
    .to_vec()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.at(name), content).unwrap();
        self.at(name)
    }
}

/// The last field of each line.
fn scores(csv: &str) -> Vec<f64> {
    csv.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn csv_is_scored_row_by_row() {
    let (place, model) = (Place::new(), logistic());
    let out = place.at("out.csv");
    let scored = predict(&model, &place.file("t.csv", CSV), Some(&out)).unwrap();
    let unread =
        [("age", 1), ("region", 1), ("joined", 1), ("consent", 1)].map(|(name, n)| (name.to_owned(), n)).to_vec();
    assert_eq!(scored, Scored { rows: 5, unread });
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("id,note,score\na,\"x, y\",0."), "{text}");
    assert_eq!(scores(&text), expected(&model.model));
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 2, "nothing else is left");

    let clusters = kmeans();
    predict(&clusters, &place.at("t.csv"), Some(&out)).unwrap();
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.contains("\nb,,1\n"), "{text}");
    assert_eq!(scores(&text), expected(&clusters.model));
}

#[test]
fn ndjson_is_scored_alike() {
    let (place, model) = (Place::new(), logistic());
    let lines = "{\"id\": 1, \"region\": \"north\", \"age\": 40, \"consent\": true, \"joined\": \"2020-02-29\"}\n\n\
                 {\"id\": 2, \"region\": \"south\", \"age\": 12.5, \"consent\": 0, \"joined\": \"2014-06-01\", \"score\": [3]}\n\
                 {\"age\": \"101\", \"region\": null, \"consent\": \"yes\"}\n\
                 {\"id\": 4}\n\
                 {\"region\": 7, \"consent\": false, \"joined\": \"2024-12-31\"}\n";
    let out = place.at("out.csv");
    predict(&model, &place.file("t.ndjson", lines), Some(&out)).unwrap();
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("id,score,score_\n1,,") && text.contains("\n2,[3],"), "{text}");
    assert_eq!(scores(&text), expected(&model.model));

    let broken = predict(&model, &place.file("b.jsonl", "{\"age\": 3}\n[1]\n"), None).unwrap_err();
    assert!(broken.to_string().contains("line 2") && broken.exit_code() == 1, "{broken}");
}

#[test]
fn parquet_is_scored_alike_and_keeps_its_types() {
    let (place, model) = (Place::new(), logistic());
    let ages = Float64Array::from(vec![Some(40.0), Some(12.5), Some(101.0), Some(f64::NAN), None]);
    let regions = [Some("north"), Some("south"), None, Some("east"), Some("7")];
    let regions: DictionaryArray<Int32Type> = regions.into_iter().collect();
    let day = |text: &str| Day::parse(text).unwrap().0;
    let joined = [Some(day("2020-02-29")), Some(day("2014-06-01")), None, None, Some(day("2024-12-31"))];
    let times = joined.map(|day| day.map(|day| i64::from(day) * 86_400_000 + 86_399_000)).to_vec();
    let times = TimestampMillisecondArray::from(times).with_timezone("+05:00");
    let consent = BooleanArray::from(vec![Some(true), Some(false), Some(true), None, Some(false)]);
    let days: ArrayRef = Arc::new(Date32Array::from(joined.to_vec()));
    let batch = RecordBatch::try_from_iter([
        ("day", days),
        ("age", Arc::new(ages) as ArrayRef),
        ("region", Arc::new(regions)),
        ("joined", Arc::new(times)),
        ("consent", Arc::new(consent)),
    ]);
    let batch = batch.unwrap();
    let table = place.at("t.parquet");
    let mut writer = ArrowWriter::try_new(fs::File::create(&table).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let out = place.at("out.parquet");
    predict(&model, &table, Some(&out)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&out).unwrap()).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(
        read[0].schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["day", "score"]
    );
    assert_eq!(read[0].column(0).data_type(), &DataType::Date32);
    assert_eq!(read[0].column(1).as_primitive::<Float64Type>().values().to_vec(), expected(&model.model));

    predict(&kmeans(), &table, Some(&out)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&out).unwrap()).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(read[0].column(1).as_primitive::<Int64Type>().value(1), 1);
    assert_eq!(read[0].column(1).null_count(), 0);
}

#[test]
fn what_cannot_be_scored_is_refused_with_words() {
    let (place, model) = (Place::new(), logistic());
    let cases = [
        ("t.csv", "Age,region,joined\n1,north,2020-01-01\n", "`age` (did you mean its column `Age`?)"),
        ("t.csv", "Age,region,joined\n1,north,2020-01-01\n", "`consent`"),
        ("t.csv", "age,age,region,joined,consent\n1,1,north,2020-01-01,1\n", "several columns `age`"),
        ("t.csv", "age,region,joined,consent\n1,north\n", "line: 2"),
        ("t.csv", "age,region,joined,consent\n", "no rows"),
        ("t.csv", "", "`age`"),
        ("t.xlsx", "x", ".parquet"),
        ("t.parquet", "PAR1", "t.parquet"),
    ];
    for (name, content, expected) in cases {
        let out = place.at("out.csv");
        let problem = predict(&model, &place.file(name, content), Some(&out)).unwrap_err();
        assert!(problem.to_string().contains(expected) && problem.exit_code() == 1, "{problem}");
        assert!(!out.exists(), "nothing half-written");
    }
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0]));
    let batch = ["age", "region", "joined", "consent"].map(|name| (name, zeros.clone()));
    let batch = RecordBatch::try_from_iter(batch).unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(place.at("f.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let problem = predict(&model, &place.at("f.parquet"), Some(&place.at("out.csv"))).unwrap_err().to_string();
    let expected = "column `region` is stored as Float64 and cannot be read as category; store it as text";
    assert!(problem.contains(expected), "{problem}");

    let nowhere = predict(&model, &place.file("t.csv", CSV), Some(&place.at("no/such/out.csv"))).unwrap_err();
    assert_eq!(nowhere.exit_code(), 1, "{nowhere}");
}

#[test]
fn model_files_are_read_with_words() {
    let place = Place::new();
    let model = logistic();
    fs::write(place.at("model.json"), model.to_bytes()).unwrap();
    assert_eq!(read_model(&place.at("model.json")).unwrap(), model);
    for (path, expected) in [
        (place.at("none.json"), "could not read"),
        (place.file("x.json", "{\"format\": \"entente-model\", \"version\": 9}"), "newer version"),
        (place.file("y.json", "[]"), "not a model file"),
    ] {
        let problem = read_model(&path).unwrap_err();
        assert!(problem.to_string().contains(expected) && problem.exit_code() == 1, "{problem}");
    }
}
