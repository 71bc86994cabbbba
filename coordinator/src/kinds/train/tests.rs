//! Trainings of simulated customers, from their study files to their result folders. There is one participant, whose
//! one share is all of the noise; it is drawn anew in every run, so bounds on what is learnt are wide.

#![expect(clippy::disallowed_methods, reason = "reports to look at go where the environment says")]

use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::language::schema::{ColumnType, DatasetSchema, Day};
use entente_protocols::learn::frame::Place;
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::rows::Block;
use entente_protocols::privacy::sums::Sums;
use entente_protocols::study::Study;
use entente_protocols::study::parts::Work;
use entente_protocols::testing::{self, Draft, Parties};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{RoundState, finish, table};
use super::*;
use crate::results::{REPORT, RESULT};
use crate::store::RoundRecord;

const PARTNER: &str = "tele & com";
const FEATURES: &str = "SELECT customer_id, age, region, joined, consent, spend, churned FROM customers";

fn schema() -> DatasetSchema {
    let regions = ["north", "south <b>", "east", "west"].map(str::to_owned).to_vec();
    let columns = [
        ("region", ColumnType::Category { values: regions }),
        ("age", ColumnType::Int { min: Some(18), max: Some(95) }),
        ("spend", ColumnType::Float { min: Some(0.0), max: Some(5000.0) }),
        ("joined", ColumnType::Date { min: Day::parse("2015-01-01"), max: Day::parse("2024-12-31") }),
        ("consent", ColumnType::Bool),
        ("churned", ColumnType::Bool),
    ];
    let columns = columns.into_iter().map(|(name, column_type)| (name.to_owned(), column_type)).collect();
    DatasetSchema { name: "customers".into(), privacy_unit: "customer_id".into(), columns }
}

fn study(train: Draft, epsilon: f64) -> Study {
    train.purpose("Whom to write to").epsilon(epsilon).build().unwrap()
}

/// A training to predict `target`, from all there is.
fn training(model: &str, target: &str) -> Draft {
    testing::study("churn").train(model, FEATURES).with("target", target)
}

/// Numbers of 0 to 1, the same in every run: splitmix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Codes of customers, column by column as `outputs` has them: age, region, joined, consent, spend, churned.
fn customers(random: &mut Random, count: usize) -> Vec<Vec<u16>> {
    let mut columns = vec![Vec::new(); 6];
    for _ in 0..count {
        let age = random.unit();
        let region = (random.unit() * 4.0) as u16 + 1;
        let consent = u16::from(random.unit() < 0.5);
        let spend = (0.1 + 0.5 * age + 0.2 * f64::from(consent) + 0.1 * random.normal()).clamp(0.0, 1.0);
        let odds = -1.5 + 3.0 * (age - 0.5) + if region == 2 { 1.5 } else { 0.0 };
        let churned = random.unit() < 1.0 / (1.0 + (-odds).exp());
        let code = |x: f64| (x * 65534.0) as u16 + 1;
        let age = if random.unit() < 0.05 { 0 } else { code(age) };
        let row = [age, region, code(random.unit()), consent + 1, code(spend), u16::from(churned) + 1];
        columns.iter_mut().zip(row).for_each(|(column, code)| column.push(code));
    }
    columns
}

/// The files of a training of so many customers, the last of its rounds lost if there are to be `fewer`.
fn train(study: &Study, count: usize, fewer: bool) -> Result<BTreeMap<String, Vec<u8>>, String> {
    train_with(study, count, fewer, None)
}

/// As [`train`]; in round number `wrong`, customers have the event if they have not.
fn train_with(
    study: &Study,
    count: usize,
    fewer: bool,
    wrong: Option<u32>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let question = Question::new(study, &schema(), &[PARTNER.to_owned()], 0).unwrap();
    let mut parties = Parties::new(&[PARTNER], question.digest(), question.rho_from(0));
    let Work::Rounds(plan) = question.work() else { panic!("a training was asked") };
    let names: Vec<&str> = plan.rows.outputs.iter().map(|output| output.name.as_str()).collect();
    let order = ["age", "region", "joined", "consent", "spend", "churned"];
    let mut random = Random(3);
    let mut state = RoundState::new(&question, &[]).unwrap();
    let mut rounds: Vec<RoundRecord> = Vec::new();
    for (index, release) in plan.training.releases(1).iter().enumerate() {
        let RoundState::Rounds(trainer) = &state else { panic!("a training") };
        let input = trainer.input();
        let all = customers(&mut random, count);
        let column = |name: &str| all[order.iter().position(|known| *known == name).unwrap()].clone();
        let recoded = |(i, feature): (usize, &entente_protocols::learn::recipe::Feature)| -> Vec<u16> {
            let codes = column(&feature.name);
            match &input.recoding {
                Some(recoding) => codes.iter().map(|code| recoding.columns[i].apply(*code)).collect(),
                None => codes,
            }
        };
        let recipe = &plan.training.recipe;
        let codes = recipe.features.iter().enumerate().map(recoded).collect();
        let meanings = input.recoding.as_ref().map_or_else(|| recipe.columns(), |r| r.columns(recipe));
        let block = Block::new(meanings.into(), codes).unwrap();
        let mut target = plan.target.map_or_else(Vec::new, |target| column(names[target as usize]));
        if wrong == Some(index as u32 + 1) {
            target.iter_mut().for_each(|code| *code = 3 - *code);
        }
        let place = Place { position: 0, participants: 1 };
        let mut sums = Sums::new(Arc::new(release.layout()));
        plan.training.contributor(index, &input, place).unwrap().add(&block, &target, &[], &mut sums);
        let round = index as u32 + 1;
        let mechanism = question.round(round).unwrap();
        let record = RoundRecord {
            round,
            attempt: 1,
            participants: 1,
            plan: question.plan_digest(),
            transcript: Digest::plain(b"transcript"),
            repeated: false,
            rho: mechanism.rho(),
            rho_person: mechanism.rho_person(),
            sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
            sum: parties.release(0, round, mechanism, sums.finish()).values,
            seconds: 0.25,
        };
        state.absorb(&record).unwrap();
        rounds.push(record);
    }
    if fewer {
        rounds.pop();
    }
    finish(&Finished {
        id: "s-0002",
        study,
        question: &question,
        state: &state,
        rounds: &rounds,
        lost: &[],
        started: "2026-03-01T12:00:00Z".parse().unwrap(),
        finished: "2026-03-01T12:03:20.5Z".parse().unwrap(),
        warnings: &[],
        receipt: Digest::ZERO,
    })
}

fn look_at(name: &str, files: &BTreeMap<String, Vec<u8>>) {
    if let Some(folder) = std::env::var_os("ENTENTE_REPORTS").map(|folder| std::path::PathBuf::from(folder).join(name))
    {
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(file, bytes)| std::fs::write(folder.join(file), bytes).unwrap());
    }
}

/// What holds for every kind of model.
fn check(name: &str, files: &BTreeMap<String, Vec<u8>>, metrics: &[&str]) -> (serde_json::Value, String) {
    look_at(name, files);
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    assert_eq!(result["study"]["kind"], "train");
    assert_eq!(result["model"]["kind"], name);
    assert_eq!(result["confidence"], 0.95);
    for metric in metrics {
        let part = |part: &str| result["metrics"][metric][part].as_f64().unwrap();
        assert!(part("low") <= part("value") && part("value") <= part("high"), "{metric}: {}", result["metrics"]);
    }
    let rounds = result["rounds"].as_array().unwrap();
    let spent: f64 = rounds.iter().map(|round| round["rho"].as_f64().unwrap()).sum();
    assert!((spent - result["privacy"]["rho"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(rounds.last().unwrap()["customers"], "held-out");

    let file = ModelFile::parse(&files["model.json"]).unwrap();
    assert_eq!((file.kind(), file.study.id.as_str()), (name, "s-0002"));
    assert_eq!(file.metrics[metrics[0]].value, result["metrics"][metrics[0]]["value"].as_f64().unwrap());
    assert!(!files["model.onnx"].is_empty());

    let text = table(&files[RESULT]).unwrap();
    assert_eq!(text.rows.iter().take(metrics.len()).map(|row| row[0].as_str()).collect::<Vec<_>>(), metrics);
    let csv = String::from_utf8(files["metrics.csv"].clone()).unwrap();
    assert!(csv.starts_with("customers_of,metric,value,low,high\r\n"), "{csv}");
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".parquet")) {
        let file = bytes.clone();
        let mut stored = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut stored, &file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(stored).unwrap().build().unwrap();
        let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        let lines = String::from_utf8_lossy(&files[&name.replace("parquet", "csv")]).matches("\r\n").count();
        assert_eq!(rows + 1, lines, "{name}");
    }
    let report = String::from_utf8(files[REPORT].clone()).unwrap();
    assert!(!report.contains("NaN") && !report.contains("inf,") && !report.contains("\"inf"), "{name}");
    let own = report.replace("http://www.w3.org/2000/svg", "");
    assert!(!own.contains("//") && !own.contains("<script") && !own.contains("<b>"), "{name}: the page loads nothing");
    let mut ids: Vec<&str> = report.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{name}: ids are unique");
    (result, report)
}

fn keys(result: &serde_json::Value) -> Vec<&str> {
    result["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect()
}

#[test]
fn an_additive_model_has_shapes_and_curves() {
    let per_partner = training("additive", "churned").with("per_partner", true);
    let files = train(&study(per_partner, 2.0), 40_000, false).unwrap();
    let metrics = ["auc", "gini", "ks", "log_loss", "brier", "accuracy", "events"];
    let (result, report) = check("additive", &files, &metrics);
    assert!(result["metrics"]["auc"]["value"].as_f64().unwrap() > 0.65, "{}", result["metrics"]);
    for part in ["calibration", "gains", "roc"] {
        assert!(result[part].as_array().unwrap().len() > 3, "{part}");
    }
    assert!(result["per_partner"][PARTNER]["auc"]["value"].is_number());
    assert_eq!(table(&files[RESULT]).unwrap().columns, ["metric", "all", PARTNER]);
    let shapes = String::from_utf8(files["shapes.csv"].clone()).unwrap();
    assert!(shapes.starts_with("feature,level,low,high,value,noise_sd\r\n"), "{shapes}");
    assert!(shapes.contains("region,south <b>,,,") && shapes.contains("age,missing,,,"), "{shapes}");
    for expected in ["Calibration", "Gains", "ROC", "By partner", "south &lt;b&gt;", "log-odds", "tele &amp; com"] {
        assert!(report.contains(expected), "{expected}");
    }
}

#[test]
fn regressions_have_weights() {
    let files = train(&study(training("logistic", "churned"), 2.0), 40_000, false).unwrap();
    let (result, report) = check("logistic", &files, &["auc", "gini"]);
    assert!(result["metrics"]["auc"]["value"].as_f64().unwrap() > 0.65, "{}", result["metrics"]);
    assert!(report.contains("Factor") && !files.contains_key("shapes.csv"));

    let files = train(&study(training("linear", "spend"), 2.0), 40_000, false).unwrap();
    let (result, report) = check("linear", &files, &["r2", "rmse", "mean"]);
    assert!(result["metrics"]["r2"]["value"].as_f64().unwrap() > 0.4, "{}", result["metrics"]);
    assert!(report.contains("units of spend") && !report.contains("Calibration"));
    assert!(result.get("calibration").is_none());
}

#[test]
fn clusters_have_profiles_with_names() {
    let features = "SELECT customer_id, age, region, consent, spend FROM customers";
    let clusters = testing::study("churn").train("kmeans", features).with("clusters", 4);
    let files = train(&study(clusters, 2.0), 40_000, false).unwrap();
    let (result, report) = check("kmeans", &files, &["distance"]);
    let clusters = result["clusters"].as_array().unwrap();
    assert_eq!(clusters.len(), 4);
    for cluster in clusters {
        let name = cluster["name"].as_str().unwrap();
        assert!(
            cluster["share"]["value"].is_number() && report.contains(&name.replace('<', "&lt;").replace('>', "&gt;"))
        );
        let age = cluster["profile"]["age"]["mean"].as_f64().unwrap();
        assert!((18.0..=95.0).contains(&age));
    }
}

#[test]
fn poor_models_are_told_to_be_so() {
    let files = train(&study(training("logistic", "churned"), 0.3), 100, false).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    assert!(keys(&result).iter().any(|warning| warning.contains("not measurably better")), "{:?}", keys(&result));
    assert!(keys(&result).iter().any(|warning| warning.contains("few held-out")), "{:?}", keys(&result));

    let all = training("logistic", "churned").with("holdout", 0.0);
    let files = train(&study(all, 2.0), 1000, false).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
    assert!(keys(&result).iter().any(|warning| warning.contains("No customers are held out")));
    assert!(result.get("metrics").is_none() && !files.contains_key("metrics.csv"));
    assert_eq!(table(&files[RESULT]).unwrap().columns, ["rounds"]);
}

/// The noise of a change is some hundredths of what is told of, for 40,000 customers and ε = 2: that an honest round is
/// named, or a wrong one is not, has a chance far below 10^-9.
#[test]
fn a_round_that_made_the_model_worse_is_named() {
    for (model, rounds) in [("additive", 14), ("logistic", 14)] {
        for wrong in [None, Some(4)] {
            let files = train_with(&study(training(model, "churned"), 2.0), 40_000, false, wrong).unwrap();
            let result: serde_json::Value = serde_json::from_slice(&files[RESULT]).unwrap();
            let warnings: Vec<&str> =
                keys(&result).into_iter().filter(|warning| warning.contains("became worse")).collect();
            let changes: Vec<Option<f64>> = (result["rounds"].as_array().unwrap().iter())
                .map(|round| round.get("held_out_change").map(|change| change["value"].as_f64().unwrap()))
                .collect();
            assert_eq!(changes.len(), rounds + 1);
            assert!(
                changes[0].is_none() && changes[1..rounds].iter().all(Option::is_some) && changes[rounds].is_none()
            );
            let report = String::from_utf8(files[REPORT].clone()).unwrap();
            assert!(report.contains("Change of loss") && report.contains("the Brier score"));
            if wrong.is_some() {
                assert_eq!(warnings.len(), 1, "{:?}", keys(&result));
                assert!(warnings[0].contains("rose in round 4 by 0.") && warnings[0].matches("round 4").count() == 1);
                assert_eq!(warnings[0].matches("in round ").count(), 1, "{}", warnings[0]);
                assert!(changes[3].is_some_and(|change| change > 0.01) && report.contains("rose in round 4"));
            } else {
                assert_eq!(warnings, [""; 0]);
            }
        }
    }
}

#[test]
fn rounds_that_made_a_model_worse_are_named_together() {
    let change = |first, last, rose| {
        let change = Estimate { value: 0.0312, low: 0.0288, high: 0.0336 };
        Change { first, last, change, rose }
    };
    assert_eq!(worse(&[change(2, 2, false), change(3, 6, false)]), None);
    let warning = worse(&[change(2, 2, true), change(3, 6, true), change(7, 7, false)]).unwrap();
    let expected =
        "rose in round 2 by 0.0312 (0.0288 to 0.0336), between rounds 3 and 6 by 0.0312 (0.0288 to 0.0336), more";
    assert!(warning.contains(expected), "{warning}");
}

#[test]
fn rounds_that_are_missing_are_an_error() {
    let problem = train(&study(training("linear", "spend"), 2.0), 100, true).unwrap_err();
    assert!(problem.contains("s-0002") && problem.contains("resume"), "{problem}");
}

#[test]
fn the_error_of_a_metric_is_told_beforehand() {
    let study = study(training("logistic", "churned"), 1.0);
    let question = Question::new(&study, &schema(), &[PARTNER.to_owned()], 0).unwrap();
    let errors = super::super::expected_error(&question);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].name == "auc" && (0.005..0.2).contains(&errors[0].half_width), "{errors:?}");
    let notes = super::super::notes(&study, &question);
    assert!(notes.iter().any(|note| note.contains("20 % of customers are held out")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("each partner's own numbers")), "{notes:?}");
}

#[test]
fn a_training_that_shows_each_partner_s_own_numbers_says_so_beforehand() {
    let study = study(training("logistic", "churned").with("per_partner", true), 1.0);
    let question = Question::new(&study, &schema(), &[PARTNER.to_owned(), "bank".into()], 0).unwrap();
    let notes = super::super::notes(&study, &question);
    assert!(notes.iter().any(|note| note.contains("each partner's own numbers")), "{notes:?}");
}
