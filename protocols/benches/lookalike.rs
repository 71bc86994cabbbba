//! Encrypted scoring per candidate, against the transforms of the features alone.
//!
//! The floor of evaluation is one forward transform for each feature and block: there is no product without it. Both
//! are measured in this run, in turn, and the medians compared.

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench measures time and prints it")]

use std::time::Instant;

use dyn_stack::PodStack;
use entente_protocols::canonical::canonical_bytes;
use entente_protocols::digest::Digest;
use entente_protocols::lookalike::candidates::{Awaiting, Evaluator, Feature, PendingBlock, Worker};
use entente_protocols::lookalike::message::{MaskedBlock, Request, Share};
use entente_protocols::lookalike::owner::{KeyHolder, Offer};
use entente_protocols::lookalike::params::{BLOCK, Column, Params, Shape};
use pulp::c64;
use tfhe_fft::ordered::FftAlgo;
use tfhe_fft::unordered::{Method, Plan};
use zeroize::Zeroizing;

const BLOCKS: usize = 32;
const RUNS: usize = 9;

fn main() {
    println!("12-bit weights, 8-bit features, {} candidates a run (median of {RUNS} runs)", BLOCKS * BLOCK);
    for columns in [8, 32, 128] {
        measure(columns);
    }
}

fn measure(count: usize) {
    let columns = vec![Column::Scaled { bound: 127, weight: 2047 }; count];
    // As for a million candidates.
    let blocks = u32::try_from(1_000_000usize.div_ceil(BLOCK)).expect("some hundred");
    let params = Params::new(Shape { columns, blocks }).expect("it fits");
    let (holder, evaluator, request, preparation) = sides(&params);
    let features = features(count);
    let (mut floor, mut evaluation, mut sharing, mut opening) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut wire = 0;
    let mut worker = evaluator.worker();
    for _ in 0..RUNS {
        floor.push(time(|| transforms(count)).1);
        let (blocks, seconds) = time(|| evaluate(&mut worker, &features, BLOCKS));
        evaluation.push(seconds);
        let (masked, pending): (Vec<MaskedBlock>, Vec<PendingBlock>) = blocks.into_iter().unzip();
        let mut sharer = holder.worker();
        let share = |block| sharer.share(block).expect("no number comes twice");
        let (shares, seconds): (Vec<Share>, f64) = time(|| masked.iter().map(share).collect());
        sharing.push(seconds);
        wire = canonical_bytes(&masked[0]).len() + canonical_bytes(&shares[0]).len();
        let open = || pending.into_iter().zip(&shares).map(|(pending, share)| pending.open(share).expect("its own"));
        opening.push(time(|| open().for_each(|scores| assert_eq!(scores.len(), BLOCK))).1);
    }
    let [floor, evaluation, sharing, opening] = [floor, evaluation, sharing, opening].map(each);
    let budget = params.budget();
    println!("d = {count}");
    println!(
        "  a request of {} kB, prepared once in {:.0} ms",
        canonical_bytes(&request).len() / 1000,
        preparation * 1e3
    );
    println!("  features' transforms alone  {floor:7.3} µs a candidate");
    println!("  evaluating and masking      {evaluation:7.3} µs, {:.2} times the transforms", evaluation / floor);
    println!("  sharing                     {sharing:7.3} µs");
    println!("  opening                     {opening:7.3} µs");
    println!("  in all, on one core         {:7.3} µs", evaluation + sharing + opening);
    println!("  in all, on two threads      {:7.3} µs", both(&params));
    println!("  on the wire                 {:7.3} bytes", wire as f64 / BLOCK as f64);
    println!(
        "  step 2^{}, noise 2^{:.1}, smudging 2^{:.1} (at most 2^{:.1}); hints take {:.2} bits; products within {:.3} of whole numbers",
        budget.step_bits,
        budget.noise.log2(),
        budget.sigma.log2(),
        (8.6 * budget.sigma).log2(),
        budget.loss,
        budget.product_error
    );
}

/// Everything after the request, on two threads that share nothing but the keys.
fn both(params: &Params) -> f64 {
    let (holder, evaluator, _, _) = sides(params);
    let features = features(params.shape().columns.len());
    let all = || {
        let (mut worker, mut sharer) = (evaluator.worker(), holder.worker());
        for _ in 0..BLOCKS * 3 {
            let (masked, pending) = evaluate(&mut worker, &features, 1).remove(0);
            let scores = pending.open(&sharer.share(&masked).expect("in order")).expect("its own");
            assert_eq!(scores.len(), BLOCK);
        }
    };
    let ((), seconds) = time(|| {
        std::thread::scope(|scope| {
            scope.spawn(all);
            scope.spawn(all);
        });
    });
    seconds * 1e6 / (BLOCKS * 6 * BLOCK) as f64
}

fn sides(params: &Params) -> (KeyHolder, Evaluator, Request, f64) {
    let weights: Vec<i32> = (0..params.shape().weights() as i32).map(|i| (i * 997) % 4095 - 2047).collect();
    let (sides, seconds) = time(|| {
        let offer = Offer::new(Digest::ZERO, params.clone(), Zeroizing::new([1; 32]));
        let awaiting = Awaiting::new(Digest::ZERO, params.clone(), offer.commitment(), Zeroizing::new([2; 32]));
        let (holder, request) = offer.request(&awaiting.contribution(), &weights).expect("within bounds");
        let evaluator = awaiting.accept(&request).expect("it is honest");
        (holder, evaluator, request)
    });
    (sides.0, sides.1, sides.2, seconds)
}

fn features(count: usize) -> Vec<Vec<i8>> {
    let value = |i: usize, j: usize| i8::try_from((i * 31 + j * 17) % 255).unwrap_or(-100);
    (0..count).map(|i| (0..BLOCK).map(|j| value(i, j)).collect()).collect()
}

fn evaluate(worker: &mut Worker<'_>, features: &[Vec<i8>], blocks: usize) -> Vec<(MaskedBlock, PendingBlock)> {
    let features: Vec<Feature<'_>> = features.iter().map(|values| Feature::Scaled(values)).collect();
    (0..blocks).map(|_| worker.block(&features).expect("within the study's blocks")).collect()
}

fn transforms(columns: usize) {
    let plan = Plan::new(BLOCK / 2, Method::UserProvided { base_algo: FftAlgo::Dif4, base_n: BLOCK / 2 });
    let mut scratch = vec![0u8; plan.fft_scratch().unaligned_bytes_required()];
    let mut spectrum = vec![c64::new(1.0, -1.0); BLOCK / 2];
    for _ in 0..columns * BLOCKS {
        // Transforms grow numbers: without this they would end in infinities, which may cost other times.
        spectrum.fill(c64::new(1.0, -1.0));
        plan.fwd(&mut spectrum, PodStack::new(&mut scratch));
    }
}

fn time<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// The median of the runs, in µs a candidate.
fn each(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2] * 1e6 / (BLOCKS * BLOCK) as f64
}
