use std::sync::Arc;

use proptest::prelude::*;

use super::super::frame::Place;
use super::super::recipe::{Feature, Values};
use super::super::trainer::Trainer;
use super::super::training::{Method, Training};
use super::*;
use crate::privacy::gaussian::add_noise;

const PLACE: Place = Place { position: 0, participants: 3 };

fn training(clusters: u32, rounds: u32, seed: u64) -> Training {
    let number = Values::Number { low: 0.0, high: 10.0 };
    let features = [("x", number.clone()), ("c", Values::Bool), ("y", number)];
    Training {
        recipe: Recipe { features: features.map(|(name, values)| Feature { name: name.into(), values }).to_vec() },
        target: None,
        method: Method::Kmeans(Settings { clusters, rounds, seed }),
        evaluation: None,
    }
}

/// Customers around three points: (−0.7, false, −0.6), (0, true, 0.7), (0.8, true, −0.5), each ±0.1.
fn block(rows: usize) -> Block {
    let mut random = Random(5);
    let mut codes = vec![Vec::new(); 3];
    for row in 0..rows {
        let (x, c, y) = [(-0.7, 1, -0.6), (0.0, 2, 0.7), (0.8, 2, -0.5)][row % 3];
        let mut code = |x: f64| (32768.0 + 32767.0 * (x + 0.2 * (random.uniform() - 0.5))).round() as u16;
        codes[0].push(code(x));
        codes[1].push(c);
        codes[2].push(code(y));
    }
    Block::new([Column::Number, Column::Category { values: 2 }, Column::Number].into(), codes).unwrap()
}

fn train(training: &Training, block: &Block, sigma: u64) -> Parameters {
    let mut trainer = Trainer::new(training, 3);
    for (number, release) in training.releases(3).iter().enumerate() {
        let mut sums = Sums::new(Arc::new(release.layout()));
        training.contributor(number, &trainer.input(), PLACE).unwrap().add(block, &[], &[], &mut sums);
        let sum = sums.finish().values;
        let sum = if sigma > 0 { add_noise(&[(&sum, sigma)]).unwrap() } else { sum };
        trainer.absorb(&sum, &[sigma as f64]).unwrap();
    }
    let model = trainer.model();
    assert_eq!(model.check(), Ok(()));
    model.parameters
}

/// How far the three centres are from the three points, in the numbers alone.
fn error(parameters: &Parameters) -> f64 {
    let Parameters::Centres { centres } = parameters else { panic!("no centres") };
    let farthest = [(-0.7, -0.6), (0.0, 0.7), (0.8, -0.5)].map(|(x, y): (f64, f64)| {
        centres.iter().map(|c| (c[0] - x).abs().max((c[5] - y).abs())).fold(f64::MAX, f64::min)
    });
    farthest.into_iter().fold(0.0, f64::max)
}

#[test]
fn separated_clusters_are_found() {
    let block = block(3000);
    for seed in 0..20 {
        let parameters = train(&training(3, 6, seed), &block, 0);
        assert!(error(&parameters) < 0.02, "seed {seed}: {parameters:?}");
        assert_eq!(parameters, train(&training(3, 6, seed), &block, 0), "the same sums, the same model");
    }
    // Noise of about 6 customers in each entry of 1000: 0.006, and 15 of these are 0.1.
    let noisy = train(&training(3, 6, 1), &block, 6 * 1024 * 32767);
    assert!(error(&noisy) < 0.1, "{noisy:?}");
}

#[test]
fn noise_alone_still_makes_centres_in_the_box() {
    let Parameters::Centres { centres } = train(&training(4, 3, 9), &block(30), 1 << 40) else { panic!("no centres") };
    assert!(centres.iter().flatten().all(|entry| (-1.0..=1.0).contains(entry)));
    assert_eq!(centres.len(), 4);
}

#[test]
fn cells_cover_all_codes() {
    assert_eq!([0, 1, 8192, 8193, 65535].map(|code| cell(Column::Number, code)), [0, 1, 1, 2, 8]);
    assert_eq!(cell(Column::Category { values: 3 }, 2), 2);
}

#[test]
fn shares_of_the_budget_and_settings() {
    let releases = training(3, 4, 0).releases(3);
    assert_eq!(releases.iter().map(|release| release.components[0].1).sum::<u32>(), MILLION);
    let check = |clusters, rounds| Settings { clusters, rounds, seed: 0 }.check().is_ok();
    assert!(check(2, 1) && !check(1, 1) && !check(101, 1) && !check(2, 0) && !check(2, 51));
    // A round whose input is another number of centres.
    let parameters = Parameters::Centres { centres: vec![vec![0.0; 7]; 12] };
    let input = Input { recoding: None, parameters, unit: 1.0, checkpoints: Vec::new() };
    assert!(training(3, 4, 0).contributor(1, &input, PLACE).is_ok(), "four candidates a cluster");
    assert!(training(3, 4, 0).contributor(2, &input, PLACE).is_err());
    assert!(training(12, 4, 0).contributor(2, &input, PLACE).is_ok());
}

proptest! {
    /// Whatever the sums are, they are refused or make centres that score.
    #[test]
    fn no_sum_panics(
        first in proptest::collection::vec(prop_oneof![any::<i64>(), -10_000i64..1_000_000], 21),
        second in proptest::collection::vec(prop_oneof![any::<i64>(), -1_000_000_000i64..1_000_000_000_000], 96),
        sd in prop_oneof![Just(4.0), 1e3..1e12, Just(1e18)],
    ) {
        let training = training(3, 2, 1);
        let mut trainer = Trainer::new(&training, 3);
        if trainer.absorb(&first, &[sd]).is_ok() {
            let before = trainer.model();
            if trainer.absorb(&second, &[sd]).is_err() {
                prop_assert_eq!(before, trainer.model(), "a refused sum changes nothing");
            }
        }
        prop_assert_eq!(trainer.model().check(), Ok(()));
    }
}
