//! Whole alliances in virtual time, of many seeds: what must hold after every step and at the end, whatever goes wrong between.
//!
//! `ENTENTE_SIMULATE=SECONDS` simulates for so long, from `ENTENTE_SIMULATE_FROM=n` on, `ENTENTE_SIMULATE_SEED=n` one seed alone,
//! with its log.

use std::time::{Duration, Instant};

use entente_testing::Error;
use entente_testing::simulation::{Summary, simulate};

/// How long it takes unless told otherwise.
const SHORT: Duration = Duration::from_secs(6);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn alliances_of_many_seeds_keep_their_promises_whatever_goes_wrong() -> Result<(), Error> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _runtime = runtime.enter();
    if let Some(seed) = number("ENTENTE_SIMULATE_SEED") {
        tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).init();
        println!("{}", simulate(seed)?);
        return Ok(());
    }
    let long = number("ENTENTE_SIMULATE").map_or(SHORT, Duration::from_secs);
    let (begin, mut summary, mut failed) = (Instant::now(), Summary::default(), Vec::new());
    for seed in number("ENTENTE_SIMULATE_FROM").unwrap_or_default().. {
        match simulate(seed) {
            Ok(simulated) => summary.add(seed, &simulated),
            Err(problem) => failed.push(problem.to_string()),
        }
        if begin.elapsed() > long {
            break;
        }
    }
    println!("{summary}\n{:.1} a second", summary.count() as f64 / begin.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    summary.check()
}
