//! Whole releases through the one door, in memory: what arrives has the noise that was promised, and no more is charged.

use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::privacy::bounds::{Bounded, Clipping, Component, CustomerCell, Layout};
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::{Mechanism, Scope};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::testing::{DATASET, Parties};

const UNIT: u64 = 1 << 30;
const CELLS: usize = 2000;
/// One customer in every cell at each party.
const TRUTH: i64 = 1;
const NAMES: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];

fn bounded(layout: &Arc<Layout>) -> Bounded {
    let mut clipping = Clipping::new(layout.clone());
    for cell in 0..CELLS as u32 {
        clipping.customer([CustomerCell { cell, rows: 1, sums: &[] }].into_iter());
    }
    clipping.finish()
}

/// What the coordinator gets from `n` parties of which `t` may collude, for a charge of at most `micro`.
fn sum(n: usize, t: u32, scope: Scope, micro: u64) -> (Vec<i64>, Mechanism) {
    let layout = Arc::new(Layout::new(CELLS, 1, 1, vec![Component::Rows { unit: UNIT }]));
    let mechanism = Mechanism::new((*layout).clone(), scope, n as u32, t, Rho::from_micro(micro)).unwrap();
    let mut parties = Parties::new(&NAMES[..n], Digest::ZERO, mechanism.rho());
    let total = parties.sum(1, &mechanism, |_| bounded(&layout));
    assert!(parties.parties.iter().all(|party| party.ledger.spent(DATASET).rho == mechanism.rho()));
    (total, mechanism)
}

/// The noise of each cell in customers.
fn noise(n: usize, t: u32, scope: Scope, micro: u64) -> Vec<f64> {
    let (sum, _) = sum(n, t, scope, micro);
    sum.iter().map(|value| (value - n as i64 * TRUTH * UNIT as i64) as f64 / UNIT as f64).collect()
}

fn variance(noise: &[f64]) -> f64 {
    noise.iter().map(|z| z * z).sum::<f64>() / noise.len() as f64
}

/// The variance of the sum is n/(n−t) times Δ²/2ρ, and with scope person n² times that: what a coalition of t cannot subtract
/// is then at least what ρ asks for. Within 7 standard errors of 2000 draws (false alarm 3e-12).
#[test]
fn the_noise_of_the_sum_is_what_the_charge_promises() {
    let rho = 0.05;
    for (n, t, scope) in [
        (2, 1, Scope::Customer),
        (3, 1, Scope::Customer),
        (3, 2, Scope::Customer),
        (5, 2, Scope::Customer),
        (3, 1, Scope::Person),
    ] {
        let k = if scope == Scope::Person { n as f64 } else { 1.0 };
        let expected = n as f64 / (n as f64 - f64::from(t)) * k * k / (2.0 * rho);
        let found = variance(&noise(n, t, scope, 50_000));
        assert!(
            (found / expected - 1.0).abs() < 7.0 * (2.0 / CELLS as f64).sqrt(),
            "{n} {t} {scope:?}: {found} for {expected}"
        );
    }
}

/// Intervals at 95 % hold the truth in 95 % of 2000 cells: binomial, standard error 0.0049, within 7 of them. Counts are rounded
/// outward and may only hold it more often.
#[test]
fn intervals_cover_the_noise_of_all_shares() {
    let (sum, mechanism) = sum(3, 1, Scope::Customer, 50_000);
    let sd = mechanism.total_sd(0) / UNIT as f64;
    let covers = |value: &&i64| {
        let estimate = Estimate::of_sum(**value as f64 / UNIT as f64, sd);
        estimate.low <= 3.0 && 3.0 <= estimate.high
    };
    let share = sum.iter().filter(covers).count() as f64 / CELLS as f64;
    assert!((share - 0.95).abs() < 7.0 * 0.0049, "{share}");
}

/// Two releases of the same data have independent noise: their difference has twice the variance. Reused noise would have none.
#[test]
fn every_release_draws_afresh() {
    let (first, second) = (noise(3, 1, Scope::Customer, 50_000), noise(3, 1, Scope::Customer, 50_000));
    let difference: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
    let expected = 2.0 * 1.5 / (2.0 * 0.05);
    let found = variance(&difference);
    assert!((found / expected - 1.0).abs() < 7.0 * (2.0 / CELLS as f64).sqrt(), "{found} for {expected}");
}
