//! Finished queries, from their study files on.

#![expect(clippy::disallowed_methods, reason = "reports to look at go where the environment says")]

use entente_protocols::digest::Digest;
use entente_protocols::language::schema::{ColumnType, DatasetSchema, Day};
use entente_protocols::study::parts::Work;
use entente_protocols::study::{Question, Study};
use entente_protocols::testing::{self, Draft};

use super::*;
use crate::kinds::{Finished, RoundState, expected_error, finish, notes, table};
use crate::results::number;
use crate::store::RoundRecord;

fn schema(regions: &[&str]) -> DatasetSchema {
    let columns = [
        ("region", ColumnType::Category { values: regions.iter().map(|region| (*region).to_owned()).collect() }),
        ("age", ColumnType::Int { min: Some(18), max: Some(95) }),
        ("spend", ColumnType::Float { min: Some(0.0), max: Some(5000.0) }),
        ("joined", ColumnType::Date { min: Day::parse("2023-01-01"), max: Day::parse("2024-12-31") }),
        ("churned", ColumnType::Bool),
    ];
    let columns = columns.into_iter().map(|(name, column_type)| (name.to_owned(), column_type)).collect();
    DatasetSchema { name: "customers".into(), privacy_unit: "customer_id".into(), columns }
}

const REGIONS: [&str; 5] = ["north", "south", "east", "west", "islands & overseas"];

const BY_REGION: &str = "SELECT region, COUNT(*) AS rows, COUNT(DISTINCT customer_id) AS customers, SUM(spend) AS spend, \
                         AVG(age) AS age FROM customers GROUP BY region";

fn study(name: &str, sql: &str) -> Draft {
    testing::study(name).purpose("Quarterly benchmark of the alliance").query(sql)
}

fn by_region() -> (Study, Question) {
    asked(study("spend-by-region", BY_REGION).groups(1).rows(20), &REGIONS)
}

fn asked(study: Draft, regions: &[&str]) -> (Study, Question) {
    let study = study.build().unwrap();
    let partners = ["telecom", "retailer", "bank"].map(str::to_owned);
    let question = Question::new(&study, &schema(regions), &partners, 0).unwrap();
    (study, question)
}

fn plan(question: &Question) -> &SumsPlan {
    match question.work() {
        Work::Sums(plan) => plan,
        Work::Rounds(_) | Work::Score(_) | Work::Hold(_) => panic!("a query was asked"),
    }
}

/// The one round of a query.
fn rounds(question: &Question, sum: &[i64], repeated: bool) -> Vec<RoundRecord> {
    let mechanism = question.mechanism();
    vec![RoundRecord {
        round: 1,
        attempt: 1,
        participants: mechanism.participants(),
        plan: question.plan_digest(),
        transcript: Digest::plain(b"transcript"),
        repeated,
        rho: mechanism.rho(),
        rho_person: mechanism.rho_person(),
        sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
        sum: sum.to_vec(),
        seconds: 0.1,
    }]
}

fn finished<'a>(study: &'a Study, question: &'a Question, rounds: &'a [RoundRecord]) -> Finished<'a> {
    Finished {
        id: "s-0001",
        study,
        question,
        state: &RoundState::Sums,
        rounds,
        lost: &[],
        started: "2026-03-01T12:00:00Z".parse().unwrap(),
        finished: "2026-03-01T12:03:20.5Z".parse().unwrap(),
        warnings: &[],
        receipt: Digest::ZERO,
    }
}

/// The sum whose table would show `truth(component, cell)`, plus noise as all shares make it.
fn noisy_sum(question: &Question, seed: u64, truth: &dyn Fn(usize, usize) -> f64) -> Vec<i64> {
    let plan = plan(question);
    let mut normal = Normal(seed);
    let mut sum = Vec::new();
    for (component, base) in plan.sums.iter().enumerate() {
        for cell in 0..plan.cells() {
            let noise = normal.next() * question.mechanism().total_sd(component);
            sum.push((truth(component, cell) / plan.grid_unit(base) + noise).round() as i64);
        }
    }
    sum
}

/// Normal numbers, the same in every run: splitmix64 and Box-Muller.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Truths of [`BY_REGION`]'s sums: rows, customers, spend, and age above the middle of 56.5 with its count. Made by the
/// kind of sum, as their order is the planner's.
fn region_truth(question: &Question) -> impl Fn(usize, usize) -> f64 + use<> {
    use entente_protocols::language::sums::BaseSum;
    let plan = plan(question);
    let sums = plan.sums.clone();
    move |component, cell| {
        let customers = [41_200.0, 18_900.0, 7_300.0, 2_450.0, 90.0][cell];
        match &sums[component] {
            BaseSum::Customers => customers,
            BaseSum::Rows | BaseSum::Present(_) => customers * 3.2,
            BaseSum::Values { center, .. } if *center == 0.0 => customers * [410.0, 380.0, 520.0, 305.0, 350.0][cell],
            BaseSum::Values { .. } => customers * 3.2 * [-8.0, -3.5, 1.0, 4.0, 0.0][cell],
        }
    }
}

fn files_by_region() -> (Study, Question, BTreeMap<String, Vec<u8>>) {
    let (study, question) = by_region();
    let sum = noisy_sum(&question, 7, &region_truth(&question));
    let files = finish(&finished(&study, &question, &rounds(&question, &sum, false))).unwrap();
    (study, question, files)
}

#[test]
fn result_json_is_as_agreed() {
    let (study, question, files) = files_by_region();
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), [REPORT, CSV, RESULT, PARQUET]);
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();

    assert_eq!(result["study"]["id"], "s-0001");
    assert_eq!(result["study"]["name"], "spend-by-region");
    assert_eq!(result["study"]["kind"], "query");
    assert_eq!(result["study"]["purpose"], "Quarterly benchmark of the alliance");
    assert_eq!(result["study"]["plan_sha256"], question.plan_digest().to_string());
    assert_eq!(result["participants"], serde_json::json!(["bank", "retailer", "telecom"]));
    assert_eq!(result["started"], "2026-03-01T12:00:00Z");
    assert_eq!(result["finished"], "2026-03-01T12:03:20.5Z");
    assert_eq!(result["transcript_sha256"], Digest::plain(b"transcript").to_string());
    assert_eq!(result["repeated"], false);
    assert_eq!(result["confidence"], 0.95);
    assert_eq!(result["columns"], serde_json::json!(["region", "rows", "customers", "spend", "age"]));

    let privacy = &result["privacy"];
    let rho = question.mechanism().rho();
    assert_eq!(privacy["scope"], "customer");
    assert_eq!((&privacy["epsilon"], &privacy["delta"]), (&1.0.into(), &1e-6.into()));
    assert_eq!(privacy["rho_micro"], rho.micro().to_string());
    assert_eq!(privacy["rho"].to_string(), number::trimmed(rho));
    assert_eq!(privacy["rho_person"].to_string(), number::trimmed(rho.times(9)));
    assert_eq!(privacy["colluders"], 1);
    assert!(privacy["mechanism"].is_string());
    let spent = privacy["epsilon_spent"].as_f64().unwrap();
    assert!(spent > 0.9 && spent <= study.privacy.epsilon, "{spent}");
    assert!(privacy["epsilon_person"].as_f64().unwrap() > 3.0);

    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["region"].as_str().unwrap()).collect::<Vec<_>>(), REGIONS);
    for measure in ["rows", "customers", "spend", "age"] {
        for row in rows {
            let part = |name: &str| row[measure][name].as_f64().unwrap();
            assert!(part("low") <= part("value") && part("value") <= part("high"), "{row}");
        }
    }
    assert!(rows[0]["customers"]["value"].is_i64());
    // Keys stand in the order of the contract and of the SELECT list.
    let text = String::from_utf8(files[RESULT].clone()).unwrap();
    let order = [
        "\"study\"",
        "\"participants\"",
        "\"privacy\"",
        "\"started\"",
        "\"warnings\"",
        "\"confidence\"",
        "\"rows\": [",
    ];
    let places: Vec<usize> = order.iter().map(|key| text.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(text.find("\"region\": \"north\"") < text.find("\"customers\": {"));
    assert_eq!(
        finish(&finished(
            &study,
            &question,
            &rounds(&question, &noisy_sum(&question, 7, &region_truth(&question)), false)
        ))
        .unwrap(),
        files
    );
}

#[test]
fn terminals_get_rounded_intervals() {
    let (_, _, files) = files_by_region();
    let table = table(&files[RESULT]).unwrap();
    assert_eq!(table.columns, ["region", "rows", "customers", "spend", "age"]);
    assert_eq!(table.rows.len(), 5);
    assert_eq!(table.rows[0][0], "north");
    let shape = |text: &str| text.chars().filter(|c| "[],".contains(*c)).collect::<String>();
    assert!(
        table.rows.iter().all(|row| row[1..].iter().all(|cell| shape(cell) == "[,]" && cell.len() < 40)),
        "{table:?}"
    );
    assert_eq!(crate::kinds::table(b"{}"), None);
    let stated = |kind: &str, rows: &str| {
        crate::kinds::table(
            format!(r#"{{"study": {{"kind": "{kind}"}}, "columns": ["a"], "rows": {rows}}}"#).as_bytes(),
        )
    };
    assert_eq!(stated("query", "[{}]"), None);
    let red = r#"[{"a": "\u001b[31mred"}]"#;
    assert_eq!(stated("train", red), None, "as its study's kind has it, and no other");
    assert_eq!(stated("portrait", red), None);
    let hostile = stated("query", red).unwrap();
    assert_eq!(hostile.rows[0][0], "\u{fffd}[31mred");
}

#[test]
fn a_sum_of_another_question_is_an_error() {
    let (study, question) = by_region();
    for sum in [&[][..], &[1, 2, 3], &[0; 26]] {
        let error = finish(&finished(&study, &question, &rounds(&question, sum, false))).unwrap_err();
        assert!(error.contains("s-0001"), "{error}");
    }
}

#[test]
fn keys_keep_their_types() {
    let sql = "SELECT COUNT(*) AS n, churned, DATE_TRUNC('month', joined) AS month, EXTRACT(QUARTER FROM joined) AS q \
               FROM customers GROUP BY 2, 3, 4";
    let (study, question) = asked(study("keys", sql).groups(5), &REGIONS);
    let sum = noisy_sum(&question, 1, &|_, _| 100.0);
    let files = finish(&finished(&study, &question, &rounds(&question, &sum, false))).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    let row = &result["rows"][0];
    assert_eq!(result["columns"], serde_json::json!(["n", "churned", "month", "q"]));
    assert_eq!((&row["churned"], &row["month"], &row["q"]), (&false.into(), &"2023-01-01".into(), &1.into()));
    assert_eq!(result["rows"].as_array().unwrap().len(), 2 * 24 * 4);
    let report = String::from_utf8(files[REPORT].clone()).unwrap();
    assert!(report.contains("The first 60 of 192 rows."), "a chart that leaves rows out says so");
    assert!(report.contains("false · 2023-01 · 1"));
}

#[test]
fn averages_of_nothing_are_the_whole_range() {
    let sql = "SELECT region, AVG(age) AS age FROM customers GROUP BY region";
    let (study, question) = asked(study("nothing", sql), &REGIONS);
    let plan = plan(&question);
    let sum = vec![0; plan.cells() * plan.sums.len()];
    let files = finish(&finished(&study, &question, &rounds(&question, &sum, false))).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    assert_eq!(result["rows"][0]["age"], serde_json::json!({"value": 56.5, "low": 18, "high": 95}));
    assert!(String::from_utf8(files[REPORT].clone()).unwrap().contains('†'));
}

#[test]
fn numbers_are_finite_whatever_the_sum() {
    let sql = "SELECT region, SUM(big) AS big, AVG(big) AS mean, COUNT(*) AS n FROM customers GROUP BY region";
    let study = study("large", sql).rows(1_000_000).build().unwrap();
    let mut schema = schema(&REGIONS);
    schema.columns.insert("big".into(), ColumnType::Float { min: Some(-1e100), max: Some(1e100) });
    let question = Question::new(&study, &schema, &["a".to_owned(), "b".to_owned()], 0).unwrap();
    let plan = plan(&question);
    for extreme in [i64::MIN, i64::MAX, 0, 1, -1] {
        let sum = vec![extreme; plan.cells() * plan.sums.len()];
        let files = finish(&finished(&study, &question, &rounds(&question, &sum, false))).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
        for row in result["rows"].as_array().unwrap() {
            for measure in ["big", "mean", "n"] {
                assert!(["value", "low", "high"].iter().all(|part| row[measure][part].is_number()), "{extreme}: {row}");
            }
        }
        let report = String::from_utf8(files[REPORT].clone()).unwrap();
        assert!(!report.contains("NaN") && !report.contains("inf,") && !report.contains("\"inf"), "{extreme}");
        assert!(table(&files[RESULT]).is_some());
    }
}

#[test]
fn the_report_escapes_what_partners_and_operators_wrote() {
    let evil = "<script>alert(1)</script>";
    let (study, question) = asked(study(evil, BY_REGION), &[evil, "\"><svg onload=x>", "a&b", "x", "y"]);
    let sum = noisy_sum(&question, 3, &region_truth(&question));
    let warnings = [format!("{evil} was late")];
    let files =
        finish(&Finished { warnings: &warnings, ..finished(&study, &question, &rounds(&question, &sum, false)) })
            .unwrap();
    let report = String::from_utf8(files[REPORT].clone()).unwrap();
    assert!(!report.contains("<script") && !report.contains("<svg onload"));
    // Heading, title, warning, table, label and tooltip of each chart.
    assert!(report.matches("&lt;script&gt;").count() >= 4 + 2 * 4);
    assert!(report.contains("a&amp;b"));
    for outside in ["http://", "https://", "//", "url(", "@import"] {
        let own = report.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(outside), "the page loads nothing: {outside}");
    }
}

#[test]
fn what_was_not_stated_is_told() {
    let (study, question) = asked(study("n", BY_REGION), &REGIONS);
    let notes = notes(&study, &question);
    for expected in ["`max_groups_per_customer`", "`max_rows_per_customer`", "`region` is NULL", "3² = 9 times"] {
        assert!(notes.iter().any(|note| note.contains(expected)), "{expected}: {notes:?}");
    }
    // A warning that the caller has from here already is not told twice.
    let sum = noisy_sum(&question, 3, &region_truth(&question));
    let files =
        finish(&Finished { warnings: &notes, ..finished(&study, &question, &rounds(&question, &sum, false)) }).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    assert_eq!(result["warnings"], serde_json::json!(notes));
}

#[test]
fn nothing_is_told_where_all_was_stated() {
    let (study, question) = asked(study("n", "SELECT COUNT(*) FROM customers").rows(3).for_persons(), &REGIONS);
    assert_eq!(notes(&study, &question), Vec::<String>::new());
    // One row, and nothing to compare it with.
    let files = finish(&finished(&study, &question, &rounds(&question, &[1 << 40], false))).unwrap();
    assert!(!String::from_utf8(files[REPORT].clone()).unwrap().contains("<figure"));
    assert_eq!(table(&files[RESULT]).unwrap().rows.len(), 1);
}

/// The error told beforehand against that of 4,000 released numbers each: their share within the half width has a
/// standard error of 0.0034, and lies outside 0.95 ± 0.025 by chance with probability below 1e-12.
#[test]
fn the_error_told_beforehand_is_that_of_results() {
    let (study, question) = by_region();
    let errors = expected_error(&question);
    assert_eq!(
        errors.iter().map(|error| error.name.as_str()).collect::<Vec<_>>(),
        ["rows", "customers", "spend", "age"]
    );
    assert_eq!(errors.iter().map(|error| error.note.is_some()).collect::<Vec<_>>(), [false, false, false, true]);
    // As the prediction says: groups of 1000 rows, the average in the middle. The sum is far from zero, counts too.
    let plan = plan(&question);
    let truth = |component: usize, _: usize| {
        use entente_protocols::language::sums::BaseSum;
        match &plan.sums[component] {
            BaseSum::Values { center, .. } if *center != 0.0 => 0.0,
            BaseSum::Rows | BaseSum::Customers | BaseSum::Present(_) => 1000.0,
            BaseSum::Values { .. } => 1e6,
        }
    };
    let truths = [1000.0, 1000.0, 1e6, 56.5];
    let mut hits = [0usize; 4];
    let repeats = 800;
    for seed in 0..repeats {
        let sum = noisy_sum(&question, seed, &truth);
        let rows = entente_protocols::study::query::outcome::rows(plan, question.mechanism(), &sum).unwrap();
        for row in rows {
            for (measure, estimate) in row.measures.iter().enumerate() {
                hits[measure] += usize::from((estimate.value - truths[measure]).abs() <= errors[measure].half_width);
            }
        }
    }
    drop(study);
    for (measure, hits) in hits.into_iter().enumerate() {
        let share = hits as f64 / (repeats as f64 * 5.0);
        assert!((share - 0.95).abs() < 0.025, "{}: {share}", errors[measure].name);
    }
}

/// Writes two reports where `ENTENTE_REPORTS` says, for people to look at.
#[test]
fn reports_to_look_at() {
    let (_, _, files) = files_by_region();
    let months = "\n    SELECT DATE_TRUNC('month', joined) AS month,\n           COUNT(DISTINCT customer_id) AS customers,\n           \
                  AVG(spend) AS spend\n    FROM customers\n    WHERE age >= 25\n    GROUP BY month\n";
    let months = study("joined-by-month", months).rows(4).for_persons().colluders(2);
    let (study, question) = asked(months, &REGIONS);
    let truth = |component: usize, cell: usize| {
        use entente_protocols::language::sums::BaseSum;
        let plan = plan(&question);
        let customers = 5200.0 + 130.0 * cell as f64 + 1500.0 * (cell as f64 / 12.0 * std::f64::consts::TAU).sin();
        match &plan.sums[component] {
            BaseSum::Customers => customers,
            BaseSum::Rows | BaseSum::Present(_) => customers * 1.7,
            BaseSum::Values { center, .. } => customers * 1.7 * (1900.0 + 20.0 * cell as f64 - center),
        }
    };
    let sum = noisy_sum(&question, 11, &truth);
    let by_month = finish(&finished(&study, &question, &rounds(&question, &sum, true))).unwrap();
    let report = String::from_utf8(by_month[REPORT].clone()).unwrap();
    assert!(report.contains("<polyline") && report.contains(">2023-01<"), "months make a line");
    if let Some(folder) = std::env::var_os("ENTENTE_REPORTS").map(std::path::PathBuf::from) {
        std::fs::write(folder.join("region.html"), &files[REPORT]).unwrap();
        std::fs::write(folder.join("month.html"), &by_month[REPORT]).unwrap();
        std::fs::write(folder.join("region.json"), &files[RESULT]).unwrap();
    }
}
