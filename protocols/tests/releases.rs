//! Whole releases through the one door, in memory: what arrives has the noise that was promised, and no more is charged.

use std::sync::Arc;

use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster};
use entente_protocols::kind::Kind;
use entente_protocols::ledger::store::Memory;
use entente_protocols::ledger::{Begin, Caps, Head, Ledger};
use entente_protocols::policy::{Admitted, ApprovalMode, Decision, Policy, Request, StudyRef};
use entente_protocols::privacy::bounds::{Bounded, Clipping, Component, CustomerCell, Layout};
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::mechanism::{Mechanism, Scope};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::release;
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::secagg::pledge::{EphemeralKey, Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::wire::frame::{FrameReader, encode_contribution};

const UNIT: u64 = 1 << 30;
const CELLS: usize = 2000;
/// One customer in every cell at each party.
const TRUTH: i64 = 1;

fn bounded(layout: &Arc<Layout>) -> Bounded {
    let mut clipping = Clipping::new(layout.clone());
    for cell in 0..CELLS as u32 {
        clipping.customer([CustomerCell { cell, rows: 1, sums: &[] }].into_iter());
    }
    clipping.finish()
}

/// What the coordinator gets from `n` parties of which `t` may collude, for a charge of at most `micro`.
fn sum(n: u8, t: u32, scope: Scope, micro: u64) -> (Vec<i64>, Mechanism) {
    let layout = Arc::new(Layout::new(CELLS, 1, 1, vec![Component::Rows { unit: UNIT }]));
    let mechanism = Mechanism::new((*layout).clone(), scope, n.into(), t, Rho::from_micro(micro)).unwrap();
    let identity = |i: u8| IdentityKey::from_secret(&[i + 1; 32]);
    let ephemeral = |i: u8| EphemeralKey::from_secret([i + 101; 32]);
    let names: Vec<String> = (0..n).map(|i| format!("p{i}")).collect();
    let member = |i: u8| (names[usize::from(i)].clone(), Member { identity: identity(i).public(), tls: Digest::ZERO });
    let members = (0..n).map(member).collect();
    let roster = Roster { alliance: "a".into(), authority: Digest::ZERO, coordinator: identity(90).public(), members };
    let pledge = |i: u8| {
        let (participant, ephemeral) = (names[usize::from(i)].clone(), ephemeral(i).public());
        let (question, ledger) = (Digest::ZERO, Head::EMPTY);
        SignedPledge::new(
            Pledge { attempt: AttemptId::new("s", 1), participant, question, ephemeral, ledger, stored: None },
            &identity(i),
        )
    };
    let pledges: Vec<SignedPledge> = (0..n).map(pledge).collect();
    let transcript = Transcript::of(&pledges, &names, &roster).unwrap();
    let mut total = vec![0i64; CELLS];
    for i in 0..n {
        let caps = Caps { lifetime: mechanism.rho(), per_study: mechanism.rho(), delta: 1e-6 };
        let mut ledger = Ledger::open(Memory::default(), [("d".into(), caps)].into(), "test").unwrap();
        let rules = Policy {
            approve: ApprovalMode::Auto,
            kinds: vec![Admitted::Studies(Kind::Query)],
            min_partners: 2,
            min_colluders: 1,
            per_study: mechanism.rho(),
        };
        let Decision::Approved(approved) = rules.decide(request(&mechanism, &names), None) else {
            panic!("the rules admit it")
        };
        let begun = ledger.reserve(approved, transcript.digest(), transcript.digest(), "now").unwrap();
        let Begin::Compute(mut reservation) = begun else { panic!("nothing is computed yet") };
        let noised = release::add_noise(reservation.draw().unwrap(), bounded(&layout)).unwrap();
        let keys = MaskKeys::derive(&transcript, &names[usize::from(i)], &ephemeral(i), 1, Digest::ZERO).unwrap();
        let outbound = ledger.computed(noised.mask(&keys).unwrap(), "now").unwrap();
        let mut reader = FrameReader::from_nodes();
        reader.feed(&encode_contribution(&AttemptId::new("s", 1), 1, &outbound));
        let received = reader.next_frame().unwrap().unwrap().decode_contribution().unwrap();
        for (total, value) in total.iter_mut().zip(received.values) {
            *total = total.wrapping_add(value);
        }
        assert_eq!(ledger.spent("d").rho, mechanism.rho());
    }
    (total, mechanism)
}

fn request(mechanism: &Mechanism, names: &[String]) -> Request {
    let study = StudyRef {
        id: "s".into(),
        attempt: 1,
        name: "n".into(),
        purpose: "p".into(),
        legal_basis: None,
        kind: Kind::Query,
        plan_sha256: None,
        question_sha256: None,
    };
    Request {
        study,
        dataset: "d".into(),
        snapshot: Digest::ZERO,
        consent: None,
        requester: "operator".into(),
        recipients: vec![],
        participants: names.to_vec(),
        privacy_unit: "id".into(),
        round: 1,
        mechanism: Arc::new(mechanism.clone()),
        rho: mechanism.rho(),
        delta: 1e-6,
    }
}

/// The noise of each cell in customers.
fn noise(n: u8, t: u32, scope: Scope, micro: u64) -> Vec<f64> {
    let (sum, _) = sum(n, t, scope, micro);
    sum.iter().map(|value| (value - i64::from(n) * TRUTH * UNIT as i64) as f64 / UNIT as f64).collect()
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
        let k = if scope == Scope::Person { f64::from(n) } else { 1.0 };
        let expected = f64::from(n) / (f64::from(n) - f64::from(t)) * k * k / (2.0 * rho);
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
