//! How good models are under differential privacy: mean AUC on customers that were held out, over seeds, three real
//! tables and several budgets. Prints the table of `docs/accuracy.md`.
//!
//! Everything a study does is done: the tables are split over three partners' files, nodes read them with their features
//! query, each round's sums are charged, noised with the discrete Gaussian, masked and added up; one partner is assumed to
//! collude. Two things differ: the whole budget goes to training, as that of the peers does, and the AUC is that of the
//! held-out customers themselves, not of a noisy histogram. No network and no disk are between the parties.
//!
//! `cargo bench -p entente-tests --bench quality [-- SEEDS [MODEL]]`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use entente_node::data::{Customers, Dataset, Engine, Labels, Options, Role, Split, UnitKey};
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::learn::frame::Place;
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::trainer::Trainer;
use entente_protocols::privacy::rows::Block;
use entente_protocols::privacy::sums::Sums;
use entente_protocols::study::Question;
use entente_protocols::study::parts::Work;
use entente_testing::{DATASET, Parties, study};

const PARTNERS: [&str; 3] = ["bank", "retailer", "telecom"];
/// A table, its target and the δ of the peers' figures (for Bank: one in the number of customers trained with, halved).
const TABLES: [(&str, &str, f64); 3] = [("telco", "Churn", 8.7e-5), ("adult", "income", 1.6e-5), ("bank", "y", 3.2e-5)];
const EPSILONS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
const MODELS: [&str; 2] = ["additive", "logistic"];
/// Held out, as in the peers' figures.
const HOLDOUT: u32 = 300_000;

type Failure = Box<dyn std::error::Error>;

#[derive(serde::Deserialize)]
struct Tables {
    dataset: Vec<Table>,
}

#[derive(serde::Deserialize)]
struct Table {
    name: String,
    source: String,
    privacy_unit: String,
    columns: BTreeMap<String, ColumnType>,
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let seeds: u64 = words.first().map_or(Ok(10), |word| word.parse())?;
    let models: Vec<&str> = MODELS.into_iter().filter(|model| words.get(1).is_none_or(|only| only == model)).collect();
    let tables: Tables = toml::from_str(include_str!("quality/datasets.toml"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!("Mean AUC over {seeds} seeds, standard error behind ±.\n");
    let head: Vec<String> = EPSILONS.iter().map(|epsilon| format!("ε = {epsilon}")).collect();
    println!("| data | model | {} | without noise |", head.join(" | "));
    println!("|---|---|{}", "---|".repeat(EPSILONS.len() + 1));
    for (name, target, delta) in TABLES {
        let table = tables.dataset.iter().find(|table| table.name == name).ok_or("a table")?;
        for model in &models {
            let mut cells = Vec::new();
            // ε = 100, the largest a study may state, stands for no noise.
            for epsilon in EPSILONS.into_iter().chain([100.0]) {
                let mut aucs = Vec::new();
                for seed in 1..=seeds {
                    aucs.push(runtime.block_on(auc(table, target, model, epsilon, delta, seed))?);
                }
                let n = aucs.len() as f64;
                let mean = aucs.iter().sum::<f64>() / n;
                let variance = aucs.iter().map(|auc| (auc - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
                cells.push(format!("{mean:.4} ± {:.4}", (variance / n).sqrt()));
            }
            println!("| {name} | {model} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

/// Splits the table over the partners, trains a model and says how well it does.
async fn auc(table: &Table, target: &str, model: &str, epsilon: f64, delta: f64, seed: u64) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(&table.source);
    let text = std::fs::read_to_string(data)?;
    let mut lines = text.lines();
    let header = lines.next().ok_or("a header")?;
    let mut parts = vec![format!("{header}\n"); PARTNERS.len()];
    for line in lines {
        let digest = Digest::of("partner", &[&seed.to_le_bytes(), line.as_bytes()]);
        let part = &mut parts[usize::from(digest.0[0]) % PARTNERS.len()];
        part.push_str(line);
        part.push('\n');
    }
    let schema = DatasetSchema {
        name: table.name.clone(),
        privacy_unit: table.privacy_unit.clone(),
        columns: table.columns.clone(),
    };
    let columns: Vec<String> = table.columns.keys().map(|column| format!("\"{column}\"")).collect();
    let features = format!("SELECT \"{}\", {} FROM {}", table.privacy_unit, columns.join(", "), table.name);
    let study = study("quality").train(model, &features).epsilon(epsilon).delta(delta).colluders(1);
    let study = study.with("target", target).with("evaluation", 0.0).with("seed", i64::try_from(seed)?).build()?;
    let question = Question::new(&study, &schema, &PARTNERS.map(str::to_owned), 0)?;
    let Work::Rounds(plan) = question.work() else { return Err("a training".into()) };
    let mut nodes = Vec::new();
    for (partner, part) in PARTNERS.iter().zip(parts) {
        let path = folder.path().join(format!("{partner}.csv"));
        std::fs::write(&path, part)?;
        let dataset = Dataset::open(schema.clone(), &path.to_string_lossy(), folder.path(), None)?;
        let engine = Engine::new(Options::new(folder.path().join("spill"), UnitKey::new([7; 32])));
        let target = plan.target.map(|target| target as usize);
        let split = Split { target, weight: None, holdout: HOLDOUT, seed };
        nodes.push(engine.customers(&dataset, &plan.rows, split).await?);
    }
    let mut parties = Parties::new(&PARTNERS, question.digest(), question.rho_from(0));
    let mut trainer = Trainer::new(&plan.training, PARTNERS.len());
    let mut recoded = false;
    for round in question.rounds() {
        let mechanism = question.round(round).ok_or("a round")?;
        let input = trainer.input();
        if let Some(recoding) = input.recoding.as_ref().filter(|_| !recoded) {
            let columns = recoding.columns(&plan.training.recipe);
            let tables: Vec<Vec<u16>> = (0..columns.len()).map(|feature| recoding.table(feature)).collect();
            for node in &mut nodes {
                node.recode(columns.clone().into(), &tables)?;
            }
            recoded = true;
        }
        let layout = Arc::new(mechanism.layout().clone());
        let mut total = vec![0i64; layout.len()];
        for (position, node) in nodes.iter().enumerate() {
            let place = Place { position, participants: PARTNERS.len() };
            let contribute = plan.training.contributor(trainer.next(), &input, place)?;
            let merge = |mut sums: Sums, other: Sums| {
                assert!(sums.merge(&other), "of one layout");
                sums
            };
            let new = || Sums::new(layout.clone());
            let sums = node.fold(
                Role::Training,
                new,
                |sums, block, labels| contribute.add(block, &labels.target, &[], sums),
                merge,
            )?;
            let values = parties.release(position, round, mechanism, sums.finish()).values;
            total.iter_mut().zip(values).for_each(|(total, value)| *total = total.wrapping_add(value));
        }
        let sd: Vec<f64> = (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect();
        trainer.absorb(&total, &sd)?;
    }
    assert!(
        parties.parties.iter().all(|party| party.ledger.spent(DATASET).rho <= study.privacy.rho),
        "within the budget"
    );
    let parameters = trainer.model().parameters;
    let mut scored = Vec::new();
    for node in &nodes {
        scored.extend(score(node, &parameters)?);
    }
    Ok(area(scored))
}

/// The score and the event of every held-out customer.
fn score(node: &Customers, parameters: &Parameters) -> Result<Vec<(f64, bool)>, Failure> {
    let columns = node.columns().clone();
    let each = |scored: &mut Vec<(f64, bool)>, block: &Block, labels: &Labels<Vec<u16>>| {
        for (row, target) in labels.target.iter().enumerate() {
            let codes: Vec<u16> = (0..columns.len()).map(|column| block.codes(column)[row]).collect();
            scored.push((parameters.score(&columns, &codes), *target == 2));
        }
    };
    let merge = |mut a: Vec<_>, b: Vec<_>| {
        a.extend(b);
        a
    };
    Ok(node.fold(Role::HeldOut, Vec::new, each, merge)?)
}

/// The area under the ROC curve; ties count half.
fn area(mut scored: Vec<(f64, bool)>) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area, mut events) = (0.0, 0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let with = tied.iter().filter(|(_, event)| *event).count() as f64;
        let without = tied.len() as f64 - with;
        area += with * (below + without / 2.0);
        below += without;
        events += with;
    }
    area / (events * below)
}
