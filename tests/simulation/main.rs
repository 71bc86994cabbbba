//! Whole alliances in virtual time, of many seeds: what must hold after every step and at the end, whatever goes wrong between.
//!
//! `ENTENTE_SIMULATE=SECONDS` simulates for so long, from seed `ENTENTE_SIMULATE_FROM` on; `ENTENTE_SIMULATE_SEED` is one seed alone,
//! with its log.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use entente_testing::Error;
use entente_testing::simulation::{Simulated, Summary, simulate};
use tokio::runtime::Runtime;

/// How long it takes unless told otherwise.
const SHORT: Duration = Duration::from_secs(6);

/// Some with faults, some with several studies at once, and one whose partners wait for another.
const AGAIN: [u64; 4] = [3, 4, 7, 11];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn alliances_of_many_seeds_keep_their_promises_whatever_goes_wrong() -> Result<(), Error> {
    let runtime = Runtime::new()?;
    let _runtime = runtime.enter();
    if let Some(seed) = number("ENTENTE_SIMULATE_SEED") {
        tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).init();
        println!("{}", simulate(seed)?);
        return Ok(());
    }
    let long = number("ENTENTE_SIMULATE").map_or(SHORT, Duration::from_secs);
    let (begin, found) = (Instant::now(), Mutex::new((Summary::default(), Vec::new())));
    let next = AtomicU64::new(number("ENTENTE_SIMULATE_FROM").unwrap_or_default());
    let simulates = || {
        let _runtime = runtime.enter();
        while begin.elapsed() < long {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let simulated = simulate(seed);
            let (summary, failed) = &mut *found.lock().expect("nobody panics");
            match simulated {
                Ok(simulated) => summary.add(seed, &simulated),
                Err(problem) => failed.push(problem.to_string()),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(simulates);
        }
    });
    let (summary, failed) = found.into_inner().expect("nobody panicked");
    println!("{summary}\n{:.1} a second", summary.count() as f64 / begin.elapsed().as_secs_f64());
    failed.iter().for_each(|problem| println!("FAILED: {problem}"));
    if !failed.is_empty() {
        return Err(format!("{} seeds failed", failed.len()).into());
    }
    summary.check().inspect_err(|problem| println!("FAILED: {problem}"))
}

#[test]
fn a_seed_says_all_that_happens() -> Result<(), Error> {
    let runtime = Runtime::new()?;
    let _runtime = runtime.enter();
    for seed in AGAIN {
        let (one, other) = (simulate(seed)?, simulate(seed)?);
        let what = |simulated: &Simulated| (simulated.frames, simulated.end, simulated.met.clone());
        assert_eq!(what(&one), what(&other), "seed {seed}, {}", one.study);
    }
    Ok(())
}
