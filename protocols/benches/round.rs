//! A node's work in a round over a million rows of 50 numbers, beside its floor: reading the same codes from memory.
//!
//! `cargo bench -p entente-protocols --bench round`. Rows are in blocks as nodes keep them, 100 MB of codes, far more than
//! caches hold. Each run times the floor and every kind of round in turn, by one thread and by two. Rounds over bins read a
//! joint code for three numbers, made in a first round that is not timed: how long reading so many takes is said as well.

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench measures time and prints it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use entente_protocols::learn::frame::{Contribute, Input, Place};
use entente_protocols::learn::model::{Parameters, Recode, Recoding};
use entente_protocols::learn::recipe::{Feature, Recipe, Target, Values};
use entente_protocols::learn::training::{Method, Training};
use entente_protocols::learn::{additive, logistic};
use entente_protocols::privacy::bounds::Layout;
use entente_protocols::privacy::rows::{Block, dims};
use entente_protocols::privacy::sums::Sums;

const ROWS: usize = 1_000_000;
const BLOCK: usize = 8192;
const FEATURES: usize = 50;
/// Joint codes of as many bins.
const JOINTS: usize = FEATURES.div_ceil(3);
const BINS: u16 = 16;
/// One number in so many is missing in the rows that lack some.
const MISSING: u64 = 20;
const RUNS: usize = 15;
const PLACE: Place = Place { position: 0, participants: 3 };

/// A round with the rows it goes over.
struct Case {
    name: &'static str,
    blocks: Vec<(Block, Vec<u16>)>,
    layout: Arc<Layout>,
    contribute: Box<dyn Contribute>,
}

fn main() {
    let mut random = splitmix(20_251_203);
    let number = |random: &mut dyn FnMut() -> u64| (random() >> 48).max(1) as u16;
    let bin = |random: &mut dyn FnMut() -> u64| 1 + (random() % u64::from(BINS)) as u16;
    let gapped =
        move |random: &mut dyn FnMut() -> u64| if random().is_multiple_of(MISSING) { 0 } else { number(random) };
    let (logistic, additive) = (logistic(), additive());
    let cases = [
        case("logistic, gradient", &logistic, BLOCK, &mut random, number),
        case("logistic, gradient, a twentieth missing", &logistic, BLOCK, &mut random, gapped),
        case("additive, residuals in bins", &additive, BLOCK, &mut random, bin),
    ];
    println!("{ROWS} rows of {FEATURES} numbers, blocks of {BLOCK}; median of {RUNS} runs, the fastest beside it");
    for case in &cases {
        contribute(case, &case.blocks);
    }
    for threads in [1, 2] {
        let (mut floor, mut joints) = (Vec::new(), Vec::new());
        let mut times = vec![Vec::new(); cases.len()];
        for _ in 0..RUNS {
            for (case, times) in cases.iter().zip(&mut times) {
                floor.push(over(threads, &case.blocks, |blocks| stream(blocks, FEATURES)));
                joints.push(over(threads, &case.blocks, |blocks| stream(blocks, JOINTS)));
                times.push(over(threads, &case.blocks, |blocks| contribute(case, blocks)));
            }
        }
        let (floor, least) = middle(&mut floor);
        let rate = (ROWS * FEATURES * 2) as f64 / floor / 1e6;
        let (joints, _) = middle(&mut joints);
        println!(
            "{threads} thread(s): reading the codes {floor:.2} ms ({least:.2}), {rate:.1} GB/s; as many as there are"
        );
        println!("  joint codes of bins {joints:.2} ms");
        for (case, times) in cases.iter().zip(&mut times) {
            let (median, least) = middle(times);
            println!("  {:40} {median:6.2} ms ({least:.2}), {:.2} times the floor", case.name, median / floor);
        }
    }
    println!("asked: at most 2 times the floor");
}

/// Milliseconds that it takes so many threads to do `work` on their shares of the blocks.
fn over(threads: usize, blocks: &[(Block, Vec<u16>)], work: impl Fn(&[(Block, Vec<u16>)]) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for share in blocks.chunks(blocks.len().div_ceil(threads)) {
            let work = &work;
            scope.spawn(move || work(share));
        }
    });
    started.elapsed().as_secs_f64() * 1e3
}

fn stream(blocks: &[(Block, Vec<u16>)], columns: usize) {
    let add = |sum: u16, codes: &[u16]| codes.iter().fold(sum, |sum, code| sum.wrapping_add(*code));
    for (block, _) in blocks {
        black_box((0..columns).fold(0, |sum, column| add(sum, block.codes(column))));
    }
}

fn contribute(case: &Case, blocks: &[(Block, Vec<u16>)]) {
    let mut sums = Sums::new(case.layout.clone());
    for (block, target) in blocks {
        case.contribute.add(block, target, &[], &mut sums);
    }
    black_box(sums.finish());
}

fn middle(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn splitmix(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn case(
    name: &'static str,
    (training, input): &(Training, Input),
    rows: usize,
    random: &mut dyn FnMut() -> u64,
    code: impl Fn(&mut dyn FnMut() -> u64) -> u16,
) -> Case {
    // The third release, behind histograms and the first sums.
    let release = 2;
    let columns = input.recoding.as_ref().map_or_else(|| training.recipe.columns(), |it| it.columns(&training.recipe));
    let columns: Arc<[_]> = columns.into();
    let blocks = (0..ROWS.div_ceil(rows)).map(|number| {
        let rows = rows.min(ROWS - number * rows);
        let codes = (0..FEATURES).map(|_| (0..rows).map(|_| code(random)).collect()).collect();
        let target = (0..rows).map(|_| 1 + (random() % 2) as u16).collect();
        (Block::new(columns.clone(), codes).expect("as many codes in each column"), target)
    });
    let contribute = training.contributor(release, input, PLACE).expect("an input of this training");
    let layout = Arc::new(training.releases(PLACE.participants)[release].layout());
    Case { name, blocks: blocks.collect(), layout, contribute }
}

fn training(method: Method) -> Training {
    let feature = |i: usize| Feature { name: format!("x{i}"), values: Values::Number { low: -1.0, high: 1.0 } };
    let target = Target { name: "y".into(), values: Values::Bool };
    let recipe = Recipe { features: (0..FEATURES).map(feature).collect() };
    Training { recipe, target: Some(target), method, evaluation: None }
}

fn logistic() -> (Training, Input) {
    let training = training(Method::Logistic(logistic::Settings { rounds: 12, clip: 0.8, regularisation: 1.0 }));
    let weights = (0..dims(&training.recipe.columns())).map(|i| f64::from(i as u32 % 7) * 0.1 - 0.3).collect();
    let scale = Recode::Scale(vec![(1, 1), (65535, 65535)]);
    let recoding = Some(Recoding { columns: vec![scale; FEATURES] });
    (training, Input { recoding, parameters: Parameters::Weights { weights }, unit: 1.0, checkpoints: Vec::new() })
}

fn additive() -> (Training, Input) {
    let settings = additive::Settings {
        event: true,
        rounds: 12,
        clip: 0.8,
        bins: u32::from(BINS),
        regularisation: 1.0,
        pairs: 0,
        monotone: Vec::new(),
    };
    let edges = (1..BINS).map(|edge| edge * 4096).collect();
    let recoding = Some(Recoding { columns: vec![Recode::Bins(edges); FEATURES] });
    let shape = (0..=BINS).map(|bin| f64::from(bin) * 0.02 - 0.16).collect();
    let parameters = Parameters::Additive { intercept: 0.1, shapes: vec![shape; FEATURES], pairs: Vec::new() };
    (training(Method::Additive(settings)), Input { recoding, parameters, unit: 1.0, checkpoints: Vec::new() })
}
