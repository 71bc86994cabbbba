//! An attack by a stopwatch: does the time at which a node replies tell whether one customer is in its data?
//!
//! Two nodes have the same table, but that at one there is a customer more, who has many rows. Both are asked the same questions in
//! turn, each of which computes much where it is about that customer. What is compared, by Welch's t-test:
//!
//! - when the reply **leaves**: |t| must be below 6.2, which chance exceeds with probability 1e-9;
//! - when the vector was **stored**, as if it left then: |t| must be above 20, or the attack is too weak to show anything.
//!
//! `cargo bench -p entente-tests --bench timing [-- REPLIES]`; the 10,000 replies of a full run take some seven minutes.

use std::time::{Duration, Instant};

use entente_node::sizes::Sizes;
use entente_protocols::attempt::AttemptId;
use entente_protocols::study::proposal::Proposal;
use entente_testing::{Error, PARTNERS, Proposed, Puppets, SETTINGS, World, study};

const REPLIES: usize = 10_000;
/// The node without the customer, and the one with.
const NODES: [&str; 2] = ["retailer", "bank"];
const COLUMNS: &str = "age = { type = \"int\", min = 18, max = 95 }\nchange = { type = \"float\", min = -100, max = 100 }\n\
                       code = { type = \"int\", min = 0, max = 100000 }";
const ROWS: usize = 2_000;
const MANY: usize = 20_000;
/// Questions of one alliance: nodes let themselves be asked a thousand a day.
const A_DAY: usize = 900;
/// The first questions warm caches.
const WARM: usize = 25;

fn table(partner: &str) -> String {
    let others: String = (0..ROWS).map(|id| format!("{id},{},{},{id}\n", 20 + id % 50, id % 90)).collect();
    let person = if partner == NODES[1] { "777777,77,42.5,7\n".repeat(MANY) } else { String::new() };
    "id,age,change,code\n".to_owned() + &others + &person
}

/// Of whoever is 77, more is asked than of others.
fn question(number: usize, partner: &str) -> Result<Proposed, Error> {
    let values: Vec<String> = (2..42).map(|value| format!("{value}.5")).collect();
    let costly = format!("CASE WHEN ABS(change) IN ({}) THEN 1 ELSE 2 END", values.join(", "));
    let sql =
        format!("SELECT SUM(CASE WHEN age = 77 THEN {costly} ELSE 0 END) AS a FROM customers WHERE code <> {number}");
    let study = study(&format!("q{number}")).epsilon(0.05).sql(&sql).partners(&[partner]).build()?;
    let id = AttemptId::new(&study.name, 1);
    Ok(Proposed { id, proposal: Proposal::first(study, &[partner.to_owned()], "operator") })
}

/// When the vector is stored and when it leaves, in seconds after the node was told.
async fn asked(puppets: &Puppets, number: usize, partner: &str) -> Result<[f64; 2], Error> {
    let mut proposed = question(number, partner)?;
    proposed.proposal = puppets.with_schemas(proposed.proposal);
    let signed = tokio::task::block_in_place(|| puppets.signatures(&proposed));
    let (node, go) = (puppets.participant(partner), proposed.go(&signed));
    let began = Instant::now();
    tokio::task::block_in_place(|| node.handle(go));
    let stored = began.elapsed();
    let left = node.leave(node.leaving().await);
    let leaves = began.elapsed();
    assert_eq!(left.len(), 1, "the contribution");
    Ok([stored, leaves].map(|time: Duration| time.as_secs_f64()))
}

/// Welch's t of two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let moments = |sample: &[f64]| {
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        (mean, sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
    };
    let ((a, va), (b, vb)) = (moments(one), moments(other));
    (b - a) / (va + vb).sqrt()
}

fn main() -> Result<(), Error> {
    let replies = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(REPLIES);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench(replies))
}

async fn bench(replies: usize) -> Result<(), Error> {
    // By what is measured, and by node.
    let mut samples: [[Vec<f64>; 2]; 2] = Default::default();
    while samples[0][0].len() < replies / 2 {
        let founding = World::of(&PARTNERS).settings(|_| format!("{SETTINGS}min_partners = 1\nwitnesses = 0\n")).table(
            "customers",
            COLUMNS,
            "id",
            table,
        );
        let puppets = Puppets::of(founding).await?;
        for node in NODES {
            // As before that customer came.
            Sizes::of(&puppets.world.folder(node)).record("customers", ROWS as u64)?;
        }
        for number in 0..A_DAY.min(replies / 2 - samples[0][0].len() + WARM) {
            // In an order that nothing else follows.
            let first = (number.wrapping_mul(0x9e37_79b9) >> 16) & 1;
            for place in [first, 1 - first] {
                let times = asked(&puppets, number, NODES[place]).await?;
                if number >= WARM {
                    samples.iter_mut().zip(times).for_each(|(sample, time)| sample[place].push(time));
                }
            }
        }
    }
    let [stored, leaves] = &samples;
    for (name, [without, with]) in [("stored", stored), ("leaves", leaves)] {
        let median = |sample: &[f64]| {
            let mut sorted = sample.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2] * 1e3
        };
        println!(
            "{name}: {} replies, median {:.3} ms without the customer and {:.3} ms with, t = {:.1}",
            without.len() + with.len(),
            median(without),
            median(with),
            welch(without, with)
        );
    }
    let (control, attack) = (welch(&stored[0], &stored[1]).abs(), welch(&leaves[0], &leaves[1]).abs());
    assert!(control > 20.0, "the attack is too weak to show anything: |t| = {control:.1} without the grid");
    assert!(attack < 6.2, "the time of replies tells of a customer: |t| = {attack:.1}");
    Ok(())
}
