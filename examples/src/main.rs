//! The quickstart: a whole alliance on loopback, studies over real tables, the results beside the truth, and the ledgers.
//!
//! `cargo run --release` runs it in a temporary folder; `cargo run --release -- FOLDER` keeps everything in FOLDER, so that
//! the commands `entente` and `entente-node` can be tried on it.

mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use entente::Update;
use entente::views::Files;
use entente_examples::alliance::{Error, Folders, PARTNERS, SETTINGS, confirm, enrol, found, roster, start};
use entente_examples::truth;
use entente_protocols::study::Study;

/// The studies, in the order they are run.
const STUDIES: [(&str, &str); 3] = [
    ("campaign-by-job.toml", include_str!("../studies/campaign-by-job.toml")),
    ("churn-by-contract.toml", include_str!("../studies/churn-by-contract.toml")),
    ("spend-by-quarter.toml", include_str!("../studies/spend-by-quarter.toml")),
];

/// The training, run after them.
const MODEL: (&str, &str) = ("churn-model.toml", include_str!("../studies/churn-model.toml"));

/// The study that scores with the model, run behind it.
const LOOKALIKE: (&str, &str) = ("like-leavers.toml", include_str!("../studies/like-leavers.toml"));

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(quickstart()),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn quickstart() -> Result<(), Error> {
    let kept: Option<PathBuf> = std::env::args_os().nth(1).map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let folder = kept.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let folders = Folders::new(folder);

    println!("An alliance on loopback: a coordinator, and a node each for {}.", PARTNERS.join(", "));
    let coordinator = found(&folders).await?;
    println!("  the coordinator listens on {}", coordinator.address());
    let mut nodes = Vec::new();
    for (number, partner) in (0..).zip(PARTNERS) {
        enrol(&folders, partner, number, SETTINGS).await?;
        nodes.push(start(&folders, partner).await?);
        println!("  {partner} joined by ticket and is connected by QUIC with mutual TLS");
    }
    confirm(&folders, &PARTNERS).await?;
    println!("  all three have compared the roster's fingerprint, and confirmed it:");
    println!("    {}", roster(&folders)?.fingerprint_words());

    for (file, text) in STUDIES {
        let study = entente_protocols::study::file::parse(file, text)?;
        println!(
            "\n{}\n{} (ε = {}, {})",
            print::rule(file),
            study.purpose,
            study.privacy.epsilon,
            print::scope(&study)
        );
        let result = run(&folders, study.clone()).await?;
        print::beside_the_truth(&result, &truth::of(&study.name).ok_or("no truth for this study")?)?;
    }

    let (file, text) = MODEL;
    let study = entente_protocols::study::file::parse(file, text)?;
    println!("\n{}\n{} (ε = {}, {})", print::rule(file), study.purpose, study.privacy.epsilon, print::scope(&study));
    let files = run_to_files(&folders, study).await?;
    print::model(&result_of(&files)?)?;

    let model = files.get("model.json").ok_or("a training without model.json")?;
    let (file, text) = LOOKALIKE;
    let study = entente_protocols::study::file::parse_with(file, text, |_| Ok(model.clone()))?;
    println!("\n{}\n{} (ε = {}, {})", print::rule(file), study.purpose, study.privacy.epsilon, print::scope(&study));
    let truth = truth::scores(model, &folders.node("telecom").join("data/subscribers.csv"))?;
    print::reach(&run(&folders, study).await?, &truth.into_values().collect::<Vec<_>>())?;

    println!("\n{}", print::rule("the same question under another name"));
    let (file, text) = STUDIES[0];
    let mut again = entente_protocols::study::file::parse(file, text)?;
    again.name = "campaign-by-job-once-more".into();
    let result = run(&folders, again).await?;
    print::repeated(&result)?;

    println!("\n{}", print::rule("one study too many"));
    let (file, text) = STUDIES[1];
    let mut more = entente_protocols::study::file::parse(file, &text.replace("tenure < 12", "tenure < 6"))?;
    more.name = "churn-in-half-a-year".into();
    match run(&folders, more).await {
        Ok(_) => return Err("the budget of the population admits no third study of this size".into()),
        Err(error) => println!("refused, as the budget is spent:\n  {error}"),
    }

    for partner in PARTNERS {
        println!("\n{}", print::rule(&format!("the ledger of {partner}")));
        print::ledger(&folders.node(partner))?;
    }
    if kept.is_some() {
        println!("\nEverything is in {}. Try, for example:", folder.display());
        println!("  cargo run --release -p entente-node -- ledger verify --dir {}", folders.node("bank").display());
    }
    drop(nodes);
    coordinator.shutdown().await;
    Ok(())
}

async fn run(folders: &Folders, study: Study) -> Result<serde_json::Value, Error> {
    result_of(&run_to_files(folders, study).await?)
}

fn result_of(files: &Files) -> Result<serde_json::Value, Error> {
    Ok(serde_json::from_slice(files.get("result.json").ok_or("a result without result.json")?)?)
}

async fn run_to_files(folders: &Folders, study: Study) -> Result<Files, Error> {
    let started = Instant::now();
    let dir = folders.coordinator();
    let mut shown = 0;
    let files = entente::run_study(&dir, study, move |update| {
        if let Update::Progress(progress) = update {
            // Of a training, a line a round.
            if progress.stage == "summing" && progress.rounds.1 > 1 && progress.rounds.0 == shown {
                return;
            }
            shown = if progress.stage == "summing" { progress.rounds.0 } else { 0 };
            let waiting: Vec<&str> = progress.waiting.iter().map(|(partner, _)| partner.as_str()).collect();
            let waiting =
                if waiting.is_empty() { String::new() } else { format!(", waiting for {}", waiting.join(", ")) };
            let round = match progress.rounds {
                (round, rounds) if rounds > 1 => format!(" round {round} of {rounds}"),
                _ => String::new(),
            };
            println!("  {}{round}{waiting}", progress.stage);
        }
    })
    .await?;
    println!("  done in {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    Ok(files)
}
