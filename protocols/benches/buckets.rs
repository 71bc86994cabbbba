//! Buckets per candidate, against the bare keyswitch and bootstrap of tfhe with the same parameters.
//!
//! There are no buckets without these two. Both are measured in this run, in turn for each customer, on one thread, and
//! the medians compared. Blocks are filled in part, which is to the disadvantage of packing: a full one takes fewer
//! steps a customer.

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench measures time and prints it")]

use std::sync::Arc;
use std::time::Instant;

use entente_protocols::canonical::canonical_bytes;
use entente_protocols::digest::Digest;
use entente_protocols::lookalike::buckets::candidates::{BucketEvaluator, Evaluation};
use entente_protocols::lookalike::buckets::owner::{EvaluationSecret, range};
use entente_protocols::lookalike::buckets::{blur, clear};
use entente_protocols::lookalike::candidates::{Awaiting, Feature};
use entente_protocols::lookalike::owner::{KeyHolder, Offer};
use entente_protocols::lookalike::params::{BLOCK, Column, Params, Shape};
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::FourierLweBootstrapKeyOwned;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

const CUSTOMERS: usize = 128;
const COLUMNS: usize = 32;
const RUNS: usize = 5;

fn main() {
    let columns = vec![Column::Scaled { bound: 127, weight: 2047 }; COLUMNS];
    let params = Params::new(Shape { columns, blocks: 488 }).expect("it fits");
    let (holder, evaluator) = sides(&params);
    let values: Vec<i8> = (0..CUSTOMERS).map(|i| i8::try_from(i * 37 % 127).expect("below 127")).collect();
    let features = vec![Feature::Scaled(&values); COLUMNS];

    let mut bare = Bare::new();
    let (mut worker, mut sharer) = (evaluator.worker(), holder.worker());
    let (mut floor, mut bootstrapping, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (block, scores) = time(|| worker.scores(&features).expect("within bounds"));
        for _ in 0..CUSTOMERS {
            floor.push(time(|| bare.run()).1);
            bootstrapping.push(time(|| worker.bootstrap(&block)).1);
        }
        let ((masked, pending), finish) = time(|| worker.finish(block));
        let open = || pending.open(&sharer.share(&masked).expect("no number comes twice")).expect("its own");
        others.push((scores + finish + time(open).1) / CUSTOMERS as f64);
    }
    let [floor, bootstrapping, others] = [floor, bootstrapping, others].map(|times| median(times) * 1e6);
    let all = bootstrapping + others;
    println!("{CUSTOMERS} candidates a block, {COLUMNS} columns, median of {RUNS} runs");
    println!("  tfhe's keyswitch and bootstrap  {floor:9.1} µs a candidate");
    println!("  buckets, on one thread          {all:9.1} µs, {:.3} times these", all / floor);
    println!("    keyswitch and bootstrap       {bootstrapping:9.1} µs");
    println!("    scores, packing, opening      {others:9.1} µs");
    println!("  bootstraps on two threads       {:9.1} µs", both(&evaluator, &features));
    println!(
        "  an edge is blurred by {:.2} % of the range, and clear at {:.2} %",
        1e2 * blur(&params),
        1e2 * clear(&params)
    );
}

/// The bootstraps of a block, on two threads, in µs a candidate.
fn both(evaluator: &BucketEvaluator, features: &[Feature<'_>]) -> f64 {
    let block = evaluator.worker().scores(features).expect("within bounds");
    let run = || {
        let mut worker = evaluator.worker();
        while worker.bootstrap(&block) {}
    };
    let ((), seconds) = time(|| {
        std::thread::scope(|scope| {
            scope.spawn(run);
            scope.spawn(run);
        });
    });
    seconds * 1e6 / CUSTOMERS as f64
}

fn sides(params: &Params) -> (KeyHolder, BucketEvaluator) {
    let secret = EvaluationSecret::new(Zeroizing::new([1; 32]));
    let (key, seconds) = time(|| secret.key());
    println!("an evaluation key of {} kB, made in {seconds:.2} s", canonical_bytes(&key).len() / 1000);
    let (evaluation, seconds) = time(|| Arc::new(Evaluation::new(&key).expect("it is honest")));
    println!("made ready in {seconds:.2} s");
    let offer = Offer::new(Digest::ZERO, params.clone(), Zeroizing::new([2; 32]));
    let awaiting = Awaiting::new(Digest::ZERO, params.clone(), offer.commitment(), Zeroizing::new([3; 32]));
    let weights: Vec<i32> = (0..COLUMNS as i32).map(|i| (i * 997) % 4095 - 2047).collect();
    let (low, high) = range(params, &weights).expect("as many as there are");
    let edges: Vec<i64> = (1..16).map(|k| low + (high - low) / 16 * k).collect();
    let contribution = awaiting.contribution();
    let (holder, request, buckets) =
        offer.request_buckets(&contribution, &weights, &edges, &secret, evaluation.digest()).expect("within bounds");
    let sizes = [canonical_bytes(&request).len(), canonical_bytes(&buckets).len()];
    let (evaluator, seconds) =
        time(|| awaiting.accept_buckets(&request, &buckets, evaluation).expect("they are honest"));
    println!("requests of {} and {} kB, made ready in {seconds:.2} s", sizes[0] / 1000, sizes[1] / 1000);
    (holder, evaluator)
}

/// tfhe's two steps alone. What is in keys and ciphertexts makes no difference to the time.
struct Bare {
    switch: LweKeyswitchKeyOwned<u64>,
    bootstrap: FourierLweBootstrapKeyOwned,
    table: GlweCiphertextOwned<u64>,
    sample: LweCiphertextOwned<u64>,
    small: LweCiphertextOwned<u64>,
    fft: Fft,
    buffers: ComputationBuffers,
}

impl Bare {
    fn new() -> Self {
        let (big, small, degree) = (LweDimension(BLOCK), LweDimension(918), PolynomialSize(BLOCK));
        let native = CiphertextModulus::new_native();
        let one = DecompositionLevelCount(1);
        let (bits, levels) = (DecompositionBaseLog(4), DecompositionLevelCount(4));
        let mut switch = LweKeyswitchKeyOwned::new(0, bits, levels, big, small, native);
        let bits = DecompositionBaseLog(23);
        let mut key = LweBootstrapKeyOwned::new(0, GlweSize(2), degree, bits, one, small, native);
        let mut table = GlweCiphertextOwned::new(0, GlweSize(2), degree, native);
        let mut sample = LweCiphertextOwned::new(0, big.to_lwe_size(), native);
        for numbers in [switch.as_mut(), key.as_mut(), table.as_mut(), sample.as_mut()] {
            for (i, number) in numbers.iter_mut().enumerate() {
                *number = (i as u64 + 1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(31)
                    .wrapping_mul(0xd6e8_feb8_6659_fd93);
            }
        }
        let mut bootstrap = FourierLweBootstrapKeyOwned::new(small, GlweSize(2), degree, bits, one);
        convert_standard_lwe_bootstrap_key_to_fourier(&key, &mut bootstrap);
        let fft = Fft::new(degree);
        let mut buffers = ComputationBuffers::new();
        let stack =
            programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(GlweSize(2), degree, fft.as_view());
        buffers.resize(stack.unaligned_bytes_required());
        let small = LweCiphertextOwned::new(0, small.to_lwe_size(), native);
        Self { switch, bootstrap, table, sample, small, fft, buffers }
    }

    fn run(&mut self) {
        keyswitch_lwe_ciphertext(&self.switch, &self.sample, &mut self.small);
        programmable_bootstrap_lwe_ciphertext_mem_optimized(
            &self.small,
            &mut self.sample,
            &self.table,
            &self.bootstrap,
            self.fft.as_view(),
            self.buffers.stack(),
        );
    }
}

fn time<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
