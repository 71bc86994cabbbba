//! A lookalike study, from end to end: a coordinator and two nodes on loopback, a million candidates with 32 features,
//! from the submission to the result, the audience file and the ledgers included. Asked: below 10 s, and below 1 GiB of
//! memory a side; here both sides and the coordinator are one process.
//!
//! `cargo bench -p entente-examples --bench lookalike [-- CANDIDATES]`. Tables are written by a process of its own, so that this
//! one's peak is that of the alliance.

mod customers;
mod memory;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use entente_examples::alliance::{Error, Folders, PARTNERS, confirm, enrol, found, start};
use entente_node::state::Folder;
use entente_testing::study;

const FEATURES: usize = 32;
const CANDIDATES: usize = 1_000_000;
const SMALL: usize = 5000;
const SETTINGS: &str = "[budget]\nepsilon = 90.0\ndelta = 1e-6\nper_study_epsilon = 20.0\n[policy]\napprove = \"auto\"\nmax_candidates = 10000000\n";
/// Set in the process that writes a table: the file, its rows and a seed.
const CHILD: [&str; 3] = ["ENTENTE_BENCH_FILE", "ENTENTE_BENCH_ROWS", "ENTENTE_BENCH_SEED"];

fn main() -> Result<(), Error> {
    if let [Ok(file), Ok(rows), Ok(seed)] = CHILD.map(std::env::var) {
        return customers::write(Path::new(&file), FEATURES, rows.parse()?, seed.parse()?);
    }
    let candidates = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(CANDIDATES);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench(candidates))
}

async fn bench(candidates: usize) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let folders = Folders::new(folder.path());
    let coordinator = found(&folders).await?;
    let mut nodes = Vec::new();
    for (number, partner) in (0..).zip(PARTNERS) {
        enrol(&folders, partner, number, SETTINGS).await?;
        let dir = folders.node(partner);
        let mut config = std::fs::read_to_string(dir.join("node.toml"))?;
        let large = if partner == "telecom" { candidates } else { 1 };
        for (name, rows) in [("small", SMALL), ("large", large)] {
            let file = dir.join(format!("data/{name}.parquet"));
            let told =
                [file.as_os_str().to_owned(), rows.to_string().into(), (number + rows as u64).to_string().into()];
            let child =
                std::process::Command::new(std::env::current_exe()?).envs(CHILD.into_iter().zip(told)).status()?;
            assert!(child.success(), "a table could not be written");
            writeln!(
                config,
                "\n[[dataset]]\nname = \"{name}\"\nsource = \"data/{name}.parquet\"\nprivacy_unit = \"id\"\n\
                 [dataset.columns]\ny = {{ type = \"bool\" }}"
            )?;
            for feature in 0..FEATURES {
                writeln!(config, "x{feature} = {{ type = \"float\", min = -4, max = 4 }}")?;
            }
        }
        std::fs::write(dir.join("node.toml"), config)?;
        nodes.push(start(&folders, partner).await?);
    }
    confirm(&folders, &PARTNERS).await?;
    let features: Vec<String> = (0..FEATURES).map(|feature| format!("x{feature}")).collect();
    let features = features.join(", ");
    let training = study("s").train("logistic", &format!("SELECT id, {features}, y FROM small"));
    let training = training.with("target", "y").epsilon(10.0).build()?;
    let files = entente::run_study(&folders.coordinator(), training, |_| ()).await?;
    let model = files.get("model.json").ok_or("a model")?;
    println!("before the study: {} MiB", memory::now()?);
    for run in 0..3 {
        let study =
            study(&format!("s{run}")).lookalike("retailer", &["telecom"], &format!("SELECT id, {features} FROM large"));
        let study = study.with("candidates", i64::try_from(candidates + run)?).build_with(model)?;
        let started = Instant::now();
        let files = entente::run_study(&folders.coordinator(), study, |_| ()).await?;
        let elapsed = started.elapsed().as_secs_f64();
        let result: serde_json::Value = serde_json::from_slice(files.get("result.json").ok_or("a result")?)?;
        let id = result["study"]["id"].as_str().ok_or("an id")?;
        let audience = Folder::new(folders.node("telecom")).audiences().join(format!("{id}.parquet"));
        println!(
            "{candidates} candidates with {FEATURES} features: {elapsed:.2} s ({:.2} µs each), an audience of {} MiB; asked: 10 s. At \
             most {} MiB so far for both sides and the coordinator, asked: 1024 a side",
            elapsed * 1e6 / candidates as f64,
            std::fs::metadata(audience)?.len() >> 20,
            memory::peak()?
        );
    }
    drop(nodes);
    coordinator.shutdown().await;
    Ok(())
}
