//! The fixed cost of a study: from submission to result, a coordinator and three nodes on loopback, small tables.
//!
//! The time for which replies are held is no cost, and a line of its own.
//!
//! Shown beside its floor: each node makes durable, one after the other, that it has joined, what is charged, the bytes it
//! sends, the result and a checkpoint, so that the time of a durable commit is measured in this run too.

mod disk;
mod held;

use std::time::Instant;

use entente_examples::alliance::{Error, Folders, PARTNERS, SETTINGS, confirm, enrol, found, start};
use entente_testing::study;

const RUNS: usize = 31;

fn main() -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench())
}

async fn bench() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let folders = Folders::new(folder.path());
    let coordinator = found(&folders).await?;
    let mut nodes = Vec::new();
    let settings = SETTINGS.replace("epsilon = 1.6", "epsilon = 30.0");
    for (number, partner) in (0..).zip(PARTNERS) {
        enrol(&folders, partner, number, &settings).await?;
        let data = folders.node(partner).join("data/subscribers.csv");
        let small: Vec<String> = std::fs::read_to_string(&data)?.lines().take(200).map(String::from).collect();
        std::fs::write(data, small.join("\n") + "\n")?;
        nodes.push(start(&folders, partner).await?);
    }
    confirm(&folders, &PARTNERS).await?;
    held::listen()?;
    let (mut seconds, mut waits) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        // Every question is another, or it would be answered from the outbox.
        let sql = format!(
            "SELECT Contract, COUNT(*) AS n, AVG(MonthlyCharges) AS charges FROM subscribers WHERE tenure > {run} GROUP BY Contract"
        );
        let study = study("s").sql(&sql).build()?;
        held::seconds();
        let started = Instant::now();
        entente::run_study(&folders.coordinator(), study, |_| ()).await?;
        let elapsed = started.elapsed().as_secs_f64();
        let wait: f64 = held::seconds().values().sum();
        seconds.push(elapsed - wait);
        waits.push(wait);
    }
    let commit = disk::durable_write(folder.path())?;
    seconds.sort_by(f64::total_cmp);
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[(share * (RUNS - 1) as f64) as usize] * 1e3;
    println!(
        "a study over three nodes on loopback but for its wait, {RUNS} runs: median {:.0} ms, 10 % {:.0} ms, 90 % {:.0} ms",
        at(0.5),
        at(0.1),
        at(0.9)
    );
    println!("its reply is held (median): {:.1} ms more", waits[RUNS / 2] * 1e3);
    println!("a durable write of 4 KiB beside it (median): {:.1} ms", commit * 1e3);
    println!("ratio {:.1}; asked: below 150 ms", at(0.5) / (commit * 1e3));
    drop(nodes);
    coordinator.shutdown().await;
    Ok(())
}
