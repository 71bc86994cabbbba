use std::sync::Arc;

use proptest::prelude::*;

use super::super::fine::{Fine, Histograms};
use super::super::frame::Place;
use super::super::model::{Model, Parameters, Recode, Recoding};
use super::super::options::Options;
use super::super::recipe::{Feature, Target, Values};
use super::super::trainer::Trainer;
use super::super::training::{EvaluationSettings, Method, Training};
use super::*;
use crate::canonical::canonical_bytes;
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rho::MILLION;
use crate::privacy::rows::Block;
use crate::privacy::sums::Sums;

const PLACE: Place = Place { position: 0, participants: 3 };

fn settings(event: bool) -> Settings {
    let clip = if event { 0.8 } else { 1.5 };
    Settings { event, rounds: 12, clip, bins: 16, regularisation: 1.0, pairs: 0, monotone: Vec::new() }
}

fn training(settings: Settings, features: Vec<Values>) -> Training {
    let feature = |(i, values)| Feature { name: format!("f{i}"), values };
    let values = if settings.event { Values::Bool } else { range() };
    Training {
        recipe: Recipe { features: features.into_iter().enumerate().map(feature).collect() },
        target: Some(Target { name: "y".into(), values }),
        method: Method::Additive(settings),
        evaluation: None,
    }
}

fn range() -> Values {
    Values::Number { low: -1.0, high: 1.0 }
}

fn letters(count: usize) -> Values {
    Values::Category { values: (0..count).map(|i| format!("v{i}")).collect() }
}

/// The code of a number in [`range`].
fn code(x: f64) -> u16 {
    range().code_of_number(x)
}

/// Uniform numbers, always the same.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    /// About a standard normal number.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Customers: codes feature by feature, target codes, and the scores that targets were drawn by.
#[derive(Clone)]
struct Customers {
    codes: Vec<Vec<u16>>,
    target: Vec<u16>,
    truth: Vec<f64>,
}

impl Customers {
    /// Customers with an event, drawn by its log-odds, or with a number, to which something normal is added.
    fn new(event: bool, count: usize, seed: u64, one: impl Fn(&mut Random) -> (Vec<u16>, f64)) -> Self {
        let mut random = Random(seed);
        let mut all = Self { codes: Vec::new(), target: Vec::new(), truth: Vec::new() };
        for _ in 0..count {
            let (codes, truth) = one(&mut random);
            all.codes.resize(codes.len(), Vec::new());
            all.codes.iter_mut().zip(codes).for_each(|(column, code)| column.push(code));
            all.target.push(match event {
                true => 1 + u16::from(random.uniform() < 1.0 / (1.0 + (-truth).exp())),
                false => code(truth + 0.1 * random.normal()),
            });
            all.truth.push(truth);
        }
        all
    }

    /// The first `count` of them.
    fn first(&self, count: usize) -> Self {
        let codes = self.codes.iter().map(|codes| codes[..count].to_vec()).collect();
        Self { codes, target: self.target[..count].to_vec(), truth: self.truth[..count].to_vec() }
    }

    /// The exact sum of a release, and its layout.
    fn sum(&self, training: &Training, release: usize, input: &Input) -> (Vec<i64>, Arc<Layout>) {
        let layout = Arc::new(training.releases(3)[release].layout());
        let mut sums = Sums::new(layout.clone());
        let recode = |(i, codes): (usize, &Vec<u16>)| match &input.recoding {
            Some(recoding) => codes.iter().map(|code| recoding.columns[i].apply(*code)).collect(),
            None => codes.clone(),
        };
        let columns =
            input.recoding.as_ref().map_or_else(|| training.recipe.columns(), |r| r.columns(&training.recipe));
        let block = Block::new(columns.into(), self.codes.iter().enumerate().map(recode).collect()).unwrap();
        training.contributor(release, input, PLACE).unwrap().add(&block, &self.target, &[], &mut sums);
        (sums.finish().values, layout)
    }

    /// A trainer behind all releases at this ρ, `change` having been done to every sum.
    fn trained(&self, training: &Training, rho: f64, change: impl Fn(usize, &Input, &mut [i64])) -> Trainer {
        let mut random = Random(99);
        let mut trainer = Trainer::new(training, 3);
        for release in 0..training.releases(3).len() {
            let input = trainer.input();
            let (mut sum, layout) = self.sum(training, release, &input);
            let sd = noise(training, release, rho, &mut sum, &layout, &mut random);
            change(release, &input, &mut sum);
            trainer.absorb(&sum, &sd).unwrap();
        }
        assert_eq!(trainer.model().check(), Ok(()));
        assert_eq!(trainer.input().parameters, trainer.model().parameters, "what is evaluated is what comes out");
        trainer
    }

    fn train(&self, training: &Training, rho: f64) -> Model {
        self.trained(training, rho, |_, _, _| ()).model()
    }

    fn scores(&self, model: &Model) -> Vec<f64> {
        let row = |i: usize| self.codes.iter().map(|codes| codes[i]).collect::<Vec<u16>>();
        (0..self.target.len()).map(|i| model.raw(&row(i))).collect()
    }

    fn auc(&self, scores: &[f64]) -> f64 {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let (mut others, mut pairs) = (0.0, 0.0);
        for i in order {
            if self.target[i] == 2 {
                pairs += others;
            } else {
                others += 1.0;
            }
        }
        pairs / (others * (scores.len() as f64 - others))
    }

    fn r2(&self, scores: &[f64]) -> f64 {
        let values: Vec<f64> = self.target.iter().map(|code| (f64::from(*code) - 32768.0) / 32767.0).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error: f64 = values.iter().zip(scores).map(|(value, score)| (value - score).powi(2)).sum();
        1.0 - error / spread
    }
}

/// Adds the noise of a release at this ρ of all; its standard deviation in each component.
fn noise(
    training: &Training,
    release: usize,
    rho: f64,
    sum: &mut [i64],
    layout: &Layout,
    random: &mut Random,
) -> Vec<f64> {
    let components = &training.releases(3)[release].components;
    let mut sds = Vec::new();
    for (component, range) in layout.ranges().into_iter().enumerate() {
        let rho = rho * f64::from(components[component].1) / f64::from(MILLION);
        let sd = (layout.sensitivity_squared(component) as f64 / (2.0 * rho)).sqrt();
        sum[range].iter_mut().for_each(|entry| *entry += (sd * random.normal()) as i64);
        sds.push(sd);
    }
    sds
}

/// A step, a line with missing values, a category and something that says nothing.
fn mixed() -> Vec<Values> {
    vec![range(), range(), letters(4), range()]
}

fn mixed_customer(random: &mut Random) -> (Vec<u16>, f64) {
    let [step, line, idle] = [(); 3].map(|()| 2.0 * random.uniform() - 1.0);
    let missing = random.uniform() < 0.15;
    let value = (4.0 * random.uniform()) as usize;
    let truth = if step > 0.2 { 1.5 } else { 0.0 } + if missing { -0.8 } else { 1.2 * line };
    let truth = truth + [0.9, -0.6, 0.0, 0.2][value] - 1.0;
    (vec![code(step), if missing { 0 } else { code(line) }, 1 + value as u16, code(idle)], truth)
}

/// What a feature adds to the score with one code more than with another.
fn effect(model: &Model, feature: usize, of: u16, over: u16) -> f64 {
    let score = |own: u16| {
        let mut row = vec![code(0.0), code(0.0), 1, code(0.0)];
        row[feature] = own;
        model.raw(&row)
    };
    score(of) - score(over)
}

#[test]
fn without_noise_the_shapes_are_found() {
    let (train, test) =
        (Customers::new(true, 40_000, 1, mixed_customer), Customers::new(true, 20_000, 2, mixed_customer));
    let settings = Settings { rounds: 60, clip: 1.0, ..settings(true) };
    let model = train.train(&training(settings, mixed()), 1e9);
    let close = |(feature, of, over): (usize, u16, u16), truth: f64, slack: f64| {
        let found = effect(&model, feature, of, over);
        assert!((found - truth).abs() < slack, "feature {feature}, {of} over {over}: {found}, not {truth}");
    };
    close((0, code(0.7), code(-0.5)), 1.5, 0.2);
    close((0, code(0.9), code(0.5)), 0.0, 0.2);
    close((0, code(-0.2), code(-0.8)), 0.0, 0.2);
    close((1, code(0.8), code(-0.8)), 1.92, 0.25);
    close((1, code(0.4), code(-0.4)), 0.96, 0.2);
    close((1, 0, code(0.0)), -0.8, 0.2);
    close((2, 1, 3), 0.9, 0.12);
    close((2, 2, 3), -0.6, 0.12);
    close((3, code(0.8), code(-0.8)), 0.0, 0.2);
    let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
    // A step that lies within a bin is found as two.
    assert!(best - auc < 0.008, "{auc} of {best}");
    let probability = |score: f64| 1.0 / (1.0 + (-score).exp());
    let wrong = test.scores(&model).into_iter().zip(&test.truth).map(|(a, b)| (probability(a) - probability(*b)).abs());
    let wrong = wrong.sum::<f64>() / test.truth.len() as f64;
    assert!(wrong < 0.025, "{wrong}");
}

#[test]
fn with_noise_it_ranks_nearly_as_well() {
    let (train, test) =
        (Customers::new(true, 20_000, 1, mixed_customer), Customers::new(true, 20_000, 2, mixed_customer));
    let training = training(settings(true), mixed());
    let trained = train.trained(&training, 0.03, |_, _, _| ());
    let (auc, best) = (test.auc(&test.scores(&trained.model())), test.auc(&test.truth));
    assert!(best - auc < 0.015, "{auc} of {best}");
    let Parameters::Additive { shapes, .. } = trained.model().parameters else { panic!("no shapes") };
    let noise = trained.noise();
    assert!(shapes.iter().zip(&noise).all(|(shape, noise)| shape.len() == noise.len()));
    assert!(noise.iter().flatten().all(|sd| *sd > 0.0 && *sd < 1.0), "{noise:?}");
    // With next to no budget: nothing said, and nothing wild.
    let Parameters::Additive { shapes, .. } = train.train(&training, 1e-6).parameters else { panic!("no shapes") };
    assert!(shapes.iter().flatten().all(|value| value.abs() < 3.0), "{shapes:?}");
}

fn number_customer(random: &mut Random) -> (Vec<u16>, f64) {
    let (codes, truth) = mixed_customer(random);
    (codes, 0.2 * truth - 0.1)
}

#[test]
fn numbers_are_predicted() {
    let (train, test) =
        (Customers::new(false, 20_000, 3, number_customer), Customers::new(false, 20_000, 4, number_customer));
    let best = test.r2(&test.truth);
    let exact = train.train(&training(Settings { rounds: 60, clip: 6.0, ..settings(false) }, mixed()), 1e9);
    let close = |feature, of, over, truth: f64| {
        let found = effect(&exact, feature, of, over);
        assert!((found - truth).abs() < 0.03, "feature {feature}: {found}, not {truth}");
    };
    close(0, code(0.7), code(-0.5), 0.3);
    close(1, code(0.8), code(-0.8), 0.384);
    close(1, 0, code(0.0), -0.16);
    close(2, 1, 2, 0.3);
    for (model, slack) in [(exact, 0.02), (train.train(&training(settings(false), mixed()), 0.03), 0.08)] {
        let r2 = test.r2(&test.scores(&model));
        assert!(best - r2 < slack, "{r2} of {best}");
    }
    // Features without a number: the first release is of the target alone, and there is nothing to recode.
    let customer = |random: &mut Random| {
        let value = (3.0 * random.uniform()) as usize;
        (vec![1 + value as u16], [0.4, -0.2, 0.0][value])
    };
    let (train, test) = (Customers::new(false, 5_000, 5, customer), Customers::new(false, 5_000, 6, customer));
    let training = training(settings(false), vec![letters(3)]);
    assert_eq!(training.releases(3).len(), 14);
    let model = train.train(&training, 0.1);
    assert_eq!(model.recoding, None);
    assert!(test.r2(&test.truth) - test.r2(&test.scores(&model)) < 0.05);
}

#[test]
fn shapes_keep_their_direction_although_the_truth_does_not() {
    let customer = |random: &mut Random| {
        let (x, z) = (2.0 * random.uniform() - 1.0, 2.0 * random.uniform() - 1.0);
        (vec![if random.uniform() < 0.1 { 0 } else { code(x) }, code(z)], 2.0 * (0.3 - x) * (x + 0.6) - 1.5 * z)
    };
    let customers = Customers::new(true, 20_000, 7, customer);
    for (rising, rho) in [(true, 1e9), (false, 1e9), (true, 0.02), (false, 0.02), (true, 1e-4)] {
        let settings = Settings { monotone: vec![(0, rising), (1, true)], ..settings(true) };
        let model = customers.train(&training(settings, vec![range(), range()]), rho);
        let Parameters::Additive { shapes, .. } = &model.parameters else { panic!("no shapes") };
        for (shape, rising) in shapes.iter().zip([rising, true]) {
            let ordered = shape[1..]
                .windows(2)
                .all(|pair| if rising { pair[1] >= pair[0] - 1e-12 } else { pair[1] <= pair[0] + 1e-12 });
            assert!(ordered, "{rising} at {rho}: {shape:?}");
        }
        if rho > 1.0 {
            // Where it may not fall at all, it is flat.
            let flat = shapes[1][1..].iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            assert!(flat.1 - flat.0 < 0.1, "{:?}", shapes[1]);
            assert!(shapes[0].iter().any(|value| value.abs() > 0.1), "where it may go on, it does");
        }
    }
}

/// The event goes with the sign of a product: neither feature says anything alone.
fn crossed(random: &mut Random) -> (Vec<u16>, f64) {
    let [a, b, c] = [(); 3].map(|()| 2.0 * random.uniform() - 1.0);
    let value = (3.0 * random.uniform()) as u16;
    (vec![code(c), code(a), 1 + value, code(b)], if a * b > 0.0 { 1.5 } else { -1.5 })
}

#[test]
fn interactions_are_found_by_pairs_alone() {
    let features = || vec![range(), range(), letters(3), range()];
    let (train, test) = (Customers::new(true, 20_000, 8, crossed), Customers::new(true, 10_000, 9, crossed));
    let with = training(Settings { pairs: 1, ..settings(true) }, features());
    for (rho, slack) in [(1e9, 0.03), (0.03, 0.04)] {
        let without = train.train(&training(settings(true), features()), rho);
        assert!(test.auc(&test.scores(&without)) < 0.6);
        let model = train.train(&with, rho);
        let Parameters::Additive { pairs, .. } = &model.parameters else { panic!("no shapes") };
        assert_eq!(pairs.iter().map(|pair| pair.features).collect::<Vec<_>>(), [(1, 3)]);
        let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
        assert!(best - auc < slack, "{auc} of {best} at {rho}");
    }
    // A number as target, and where there is nothing to find, nothing is kept but by chance.
    let customer = |random: &mut Random| {
        let (codes, truth) = crossed(random);
        (codes, 0.2 * truth)
    };
    let (train, test) = (Customers::new(false, 10_000, 10, customer), Customers::new(false, 10_000, 11, customer));
    let model = train.train(&training(Settings { pairs: 3, ..settings(false) }, features()), 0.05);
    assert!(test.r2(&test.scores(&model)) > 0.6 * test.r2(&test.truth), "{}", test.r2(&test.scores(&model)));
}

#[test]
fn shares_and_norms_are_as_stated() {
    let categories = || vec![letters(3), Values::Bool];
    let names = |training: &Training| training.releases(3).into_iter().map(|r| r.name).collect::<Vec<_>>();
    let with = names(&training(Settings { pairs: 2, ..settings(true) }, mixed()));
    assert_eq!((with.len(), with[0].as_str(), with[1].as_str()), (15, "histograms of numbers", "bins by target"));
    assert_eq!((with[2].as_str(), with[14].as_str()), ("residuals 1", "residuals of pairs"));
    // Without a number there is nothing to bin.
    let without = training(settings(true), categories());
    assert_eq!(names(&without)[..2], ["bins by target", "residuals 1"]);
    assert_eq!(without.releases(3).len(), 13);
    let releases = without.releases(3);
    assert_eq!(releases[0].components, [(Component::Cells { cells: 14, touches: 2, per_cell: 1024 }, 150_000)]);
    assert_eq!(releases[1].components, [(Component::Cells { cells: 7, touches: 2, per_cell: 26213 }, 70_833)]);
}

#[test]
fn what_a_customer_brings_is_clipped() {
    let training = training(Settings { rounds: 1, ..settings(true) }, vec![letters(2), letters(2)]);
    let customers = Customers { codes: vec![vec![1, 2, 0], vec![1, 1, 2]], target: vec![2, 1, 1], truth: Vec::new() };
    let model = |intercept, second| {
        let shapes = vec![vec![0.0, 0.0, second], vec![0.0; 3]];
        Input {
            recoding: None,
            parameters: Parameters::Additive { intercept, shapes, pairs: Vec::new() },
            unit: 1.0,
            checkpoints: Vec::new(),
        }
    };
    let start = customers.sum(&training, 0, &Trainer::new(&training, 3).input()).0;
    assert_eq!(start, [1024, 0, 1024, 0, 1024, 0, 0, 1024, 1024, 0, 1024, 0]);
    // A residual of ½ is rounded to the nearest step.
    let half = 16384;
    assert_eq!(customers.sum(&training, 1, &model(0.0, 0.0)).0, [-half, half, -half, 0, 0, -half]);
    assert_eq!(customers.sum(&training, 1, &model(0.0, 50.0)).0, [-half, half, -26213, 0, half - 26213, -half]);
    // Finite as 64 bits alone: neither a NaN nor more than the clip.
    let wild = customers.sum(&training, 1, &model(1e300, -1e300)).0;
    assert!(wild.iter().all(|entry| entry.abs() <= 2 * 26213), "{wild:?}");
}

#[test]
fn the_same_sums_make_the_same_bytes_and_padding_never_matters() {
    let customers = Customers::new(true, 2_000, 12, mixed_customer);
    let numbers = Customers::new(false, 2_000, 12, number_customer);
    for (event, customers) in [(true, customers), (false, numbers)] {
        let training = training(Settings { rounds: 4, pairs: 2, ..settings(event) }, mixed());
        let Method::Additive(settings) = &training.method else { panic!("it is additive") };
        let widths = settings.widths(&training.recipe);
        let steps = steps(settings, &training.recipe);
        let padded = |garbage: i64| {
            customers.trained(&training, 0.05, |release, input, sum| {
                let codes = |feature: usize| match &input.recoding {
                    Some(recoding) => recoding.columns(&training.recipe)[feature].dims(),
                    None => 0,
                };
                // Blocks of one feature's cells: where each begins, and how many of its cells are used.
                let mut blocks: Vec<(usize, usize, usize)> = Vec::new();
                let mut start = 0;
                let parts = if steps[release] == Step::Start { 2 } else { 1 };
                for (feature, &width) in widths.iter().enumerate() {
                    for part in 0..parts {
                        let at = if event { start * parts + part * width } else { start + part * sum.len() / 2 };
                        blocks.push((at, codes(feature), width));
                    }
                    start += width;
                }
                if let (Step::Pairs, Parameters::Additive { pairs, .. }) = (steps[release], &input.parameters) {
                    let half = sum.len() / 2;
                    let block = |(i, pair): (usize, &super::super::model::Pair)| (16 * i, pair.values.len(), 16);
                    let once: Vec<_> = pairs.iter().enumerate().map(block).collect();
                    blocks = once.iter().copied().chain(once.iter().map(|b| (half + b.0, b.1, b.2))).collect();
                }
                if steps[release] != Step::Fine {
                    for (at, used, width) in blocks {
                        sum[at + used..at + width].fill(garbage);
                    }
                }
            })
        };
        let bytes = |trainer: Trainer| canonical_bytes(&trainer.input());
        let plain = bytes(customers.trained(&training, 0.05, |_, _, _| ()));
        assert_eq!(plain, bytes(customers.trained(&training, 0.05, |_, _, _| ())));
        for garbage in [0, i64::MAX, i64::MIN] {
            assert_eq!(plain, bytes(padded(garbage)), "{garbage}");
        }
        let fresh = Trainer::new(&training, 3);
        assert_eq!((fresh.model().parameters, fresh.input().parameters), (Parameters::None, Parameters::None));
    }
}

/// A partner that is lost takes its customers with it: nobody is accused, and what was learnt stays.
#[test]
fn rounds_go_on_with_fewer_customers() {
    let customers = Customers::new(true, 12_000, 13, mixed_customer);
    let rest = customers.first(4_000);
    let training = training(Settings { pairs: 1, ..settings(true) }, mixed());
    let mut random = Random(5);
    let mut trainer = Trainer::new(&training, 3);
    for release in 0..training.releases(3).len() {
        let present = if release < 6 { &customers } else { &rest };
        let (mut sum, layout) = present.sum(&training, release, &trainer.input());
        let sd = noise(&training, release, 0.03, &mut sum, &layout, &mut random);
        trainer.absorb(&sum, &sd).unwrap();
    }
    let test = Customers::new(true, 10_000, 14, mixed_customer);
    assert!(test.auc(&test.truth) - test.auc(&test.scores(&trainer.model())) < 0.05);
}

/// Thousands of values do not take the square of their number in memory or time.
#[test]
fn long_lists_of_values_are_no_burden() {
    let customer = |random: &mut Random| (vec![1 + (30_000.0 * random.uniform()) as u16], 0.0);
    let customers = Customers::new(true, 3_000, 15, customer);
    let training = training(Settings { rounds: 2, ..settings(true) }, vec![letters(30_000)]);
    let trained = customers.trained(&training, 1.0, |_, _, _| ());
    assert_eq!(trained.noise()[0].len(), 30_001);
}

/// A long list of values beside short ones, and more noise than customers: its many noisy bins are no reason to accuse
/// anybody, nor to mistake how many customers there are. (400 releases, each of which is refused once in 10^9.)
#[test]
fn honest_sums_are_not_taken_for_hostile_ones() {
    let customer = |random: &mut Random| {
        let yes = random.uniform() < 0.9;
        let value = if random.uniform() < 0.5 { 0.0 } else { 1500.0 * random.uniform() };
        (vec![1 + value as u16, 1 + u16::from(yes), code(random.uniform())], if yes { 0.5 } else { -0.5 })
    };
    let features = || vec![letters(1500), Values::Bool, range()];
    for event in [true, false] {
        let customers = Customers::new(event, 1_000, 21, customer);
        let training = training(Settings { rounds: 2, pairs: 1, ..settings(event) }, features());
        for seed in 0..40 {
            let rho = [10.0, 0.01, 0.000_1, 0.000_001][seed as usize % 4];
            let mut random = Random(seed);
            let mut trainer = Trainer::new(&training, 3);
            for release in 0..training.releases(3).len() {
                let (mut sum, layout) = customers.sum(&training, release, &trainer.input());
                let sd = noise(&training, release, rho, &mut sum, &layout, &mut random);
                assert_eq!(trainer.absorb(&sum, &sd), Ok(()), "release {release} at {rho}, seed {seed}");
            }
        }
    }
}

/// Of few heavy values every one gets bins of its own, as many as the plan has room for, and nobody falls out of them.
#[test]
fn every_customer_is_in_one_bin_of_each_feature() {
    for bins in [2, 3, 16, 120] {
        let training = training(Settings { bins, rounds: 1, ..settings(true) }, vec![range(), letters(2), range()]);
        let customer = |random: &mut Random| {
            let one = (f64::from(bins) * random.uniform()).floor() / f64::from(bins);
            let missing = random.uniform() < 0.2;
            (vec![code(2.0 * one - 1.0), 1, if missing { 0 } else { code(random.uniform()) }], 0.0)
        };
        let customers = Customers::new(true, 3_000, 22, customer);
        let mut trainer = Trainer::new(&training, 3);
        let (sum, _) = customers.sum(&training, 0, &trainer.input());
        assert_eq!(sum.iter().sum::<i64>(), 3 * 3_000 * 1024, "two numbers, and all");
        trainer.absorb(&sum, &[4.0]).unwrap();
        let (sum, _) = customers.sum(&training, 1, &trainer.input());
        assert_eq!(sum.iter().sum::<i64>(), 3 * 3_000 * 1024);
        trainer.absorb(&sum, &[4.0]).unwrap();
        let (sum, _) = customers.sum(&training, 2, &trainer.input());
        let Method::Additive(settings) = &training.method else { panic!("it is additive") };
        let mut rest = sum.as_slice();
        let mut totals = Vec::new();
        for width in settings.widths(&training.recipe) {
            let (own, others) = rest.split_at(width);
            totals.push(own.iter().sum::<i64>());
            rest = others;
        }
        assert!(totals.iter().all(|total| *total == totals[0]), "{totals:?}");
    }
}

#[test]
fn inputs_of_another_form_are_refused() {
    let training = training(Settings { bins: 2, pairs: 1, ..settings(true) }, vec![range(), letters(2)]);
    let bins = |edges: &[u16]| Some(Recoding { columns: vec![Recode::Bins(edges.to_vec()), Recode::Keep] });
    let scale = Some(Recoding { columns: vec![Recode::Scale(vec![(1, 1)]), Recode::Keep] });
    let additive = |codes: usize| Parameters::Additive {
        intercept: 0.0,
        shapes: vec![vec![0.0; codes], vec![0.0; 3]],
        pairs: Vec::new(),
    };
    let fits = |release, recoding: &Option<Recoding>, parameters: Parameters| {
        let input = Input { recoding: recoding.clone(), parameters, unit: 1.0, checkpoints: Vec::new() };
        training.contributor(release, &input, PLACE).map(|_| ()).map_err(|unfit| unfit.0)
    };
    let few = bins(&[100, 200]);
    assert_eq!(fits(0, &None, Parameters::None), Ok(()));
    assert!(fits(0, &few, Parameters::None).is_err());
    assert!(fits(1, &None, Parameters::None).is_err() && fits(1, &scale, Parameters::None).is_ok());
    assert_eq!(
        (fits(1, &few, additive(4)), fits(2, &few, additive(4)), fits(14, &few, additive(4))),
        (Ok(()), Ok(()), Ok(()))
    );
    assert!(fits(2, &few, Parameters::None).is_err() && fits(2, &few, additive(5)).is_err());
    assert!(fits(2, &few, Parameters::Weights { weights: vec![0.0; 8] }).is_err());
    assert!(fits(15, &few, additive(4)).is_err());
    // A plan with two bins has room for five, and for missing values.
    assert_eq!(fits(1, &bins(&[1, 2, 3, 4]), Parameters::None), Ok(()));
    let refusal = fits(1, &bins(&[1, 2, 3, 4, 5]), Parameters::None);
    assert!(refusal.unwrap_err().contains("more bins"));
    let many: Vec<u16> = (1..u16::MAX).collect();
    assert!(fits(2, &bins(&many), additive(usize::from(u16::MAX) + 1)).is_err());
    let pair = |features, groups: (Vec<u16>, Vec<u16>)| {
        let most = |groups: &[u16]| usize::from(*groups.iter().max().unwrap()) + 1;
        let values = vec![0.0; most(&groups.0) * most(&groups.1)];
        let Parameters::Additive { intercept, shapes, .. } = additive(4) else { panic!("it is additive") };
        let pairs = vec![super::super::model::Pair { features, groups, values }];
        Parameters::Additive { intercept, shapes, pairs }
    };
    let groups = || (vec![0, 0, 1, 2], vec![0, 1, 2]);
    assert_eq!(fits(14, &few, pair((0, 1), groups())), Ok(()));
    assert!(fits(14, &few, pair((0, 2), groups())).is_err() && fits(14, &few, pair((1, 0), groups())).is_err());
    assert!(fits(14, &few, pair((0, 1), (vec![0, 1, 2, 4], vec![0; 3]))).unwrap_err().contains("groups"));
}

#[test]
fn sums_that_no_customers_can_bring_are_named() {
    let customers = Customers::new(true, 5_000, 16, mixed_customer);
    let numbers = Customers::new(false, 5_000, 16, number_customer);
    for (event, customers) in [(true, customers), (false, numbers)] {
        let hostile = customers.first(1_500);
        let training = training(Settings { rounds: 2, pairs: 1, ..settings(event) }, mixed());
        let mut random = Random(17);
        let mut trainer = Trainer::new(&training, 3);
        for release in 0..training.releases(3).len() {
            let name = &training.releases(3)[release].name;
            let input = trainer.input();
            let (mut sum, layout) = customers.sum(&training, release, &input);
            let sd = noise(&training, release, 0.03, &mut sum, &layout, &mut random);
            let (mut share, _) = hostile.sum(&training, release, &input);
            let exact = share.clone();
            noise(&training, release, 0.09, &mut share, &layout, &mut random);
            let times = |share: &[i64], factor: i64| -> Vec<i64> {
                sum.iter().zip(share).map(|(all, own)| all.wrapping_add(own.wrapping_mul(factor))).collect()
            };
            let mut refused = |sum: &[i64], sd: &[f64], what: &str| {
                assert!(trainer.absorb(sum, sd).is_err(), "{name}: {what}");
                assert_eq!(trainer.input(), input, "{name}: the state is as before");
            };
            refused(&times(&share, 1_000_000_000), &sd, "10^9 times a share with its noise");
            refused(&times(&share, -1_000_000_000), &sd, "-10^9 times");
            if release > 0 {
                // As a histogram, this alone is what a billion times as many customers would bring.
                refused(&times(&exact, 1_000_000_000), &sd, "10^9 times a share without its noise");
            }
            for (place, value) in [(0, i64::MAX), (0, i64::MIN), (1, 1 << 50)] {
                for range in layout.ranges() {
                    let mut sum = sum.clone();
                    sum[range.start + place] = value;
                    refused(&sum, &sd, "an extreme entry");
                }
            }
            for wrong in [f64::NAN, f64::INFINITY, -1.0] {
                refused(&sum, &vec![wrong; sd.len()], "noise that is no number");
            }
            refused(&sum[1..], &sd, "too short");
            trainer.absorb(&sum, &sd).unwrap();
        }
    }
}

/// What limits cannot find: a partner that turns its residuals round sends numbers that customers might have brought. The
/// model is worse for it, and what shows that are the customers that were held out.
#[test]
fn a_flipped_sign_passes_and_the_evaluation_shows_it() {
    let share = MILLION / 10;
    let evaluation = Some(EvaluationSettings { share, per_partner: false });
    let training = Training { evaluation, ..training(settings(true), mixed()) };
    // Partners are of one size; one in three has a third of the customers, one in two half.
    let auc = |flipped: usize| {
        let (all, held_out) =
            (Customers::new(true, 12_000, 18, mixed_customer), Customers::new(true, 6_000, 19, mixed_customer));
        let hostile = all.first(flipped);
        let mut random = Random(20);
        let mut trainer = Trainer::new(&training, 3);
        let releases = training.releases(3);
        for (release, stated) in releases.iter().enumerate() {
            let present = if release + 1 == releases.len() { &held_out } else { &all };
            let (mut sum, layout) = present.sum(&training, release, &trainer.input());
            if stated.name.starts_with("residuals") && flipped > 0 {
                let (own, _) = hostile.sum(&training, release, &trainer.input());
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum -= 2 * own);
            }
            let sd = noise(&training, release, 0.05, &mut sum, &layout, &mut random);
            trainer.absorb(&sum, &sd).unwrap();
        }
        let estimate = trainer.evaluation().unwrap().all.metric("auc").unwrap();
        (estimate.low, estimate.value, estimate.high)
    };
    let (honest, third, most) = (auc(0), auc(4_000), auc(8_000));
    assert!(honest.1 > 0.7, "{honest:?}");
    assert!(third.1 < honest.1, "{third:?} {honest:?}");
    assert!(most.2 < honest.0, "beyond what noise explains: {most:?} {honest:?}");
}

#[test]
fn options_are_checked() {
    let recipe = training(settings(true), mixed()).recipe;
    let choose = |options: &Options, rho| Settings::choose(options, &recipe, true, rho);
    assert_eq!(choose(&Options::default(), 0.01), Ok(settings(true)));
    assert_eq!(Settings::choose(&Options::default(), &recipe, false, 0.01), Ok(settings(false)));
    let monotone = |name: &str| Options { monotone: vec![(name.into(), false)], ..Options::default() };
    assert_eq!(choose(&monotone("f1"), 0.01).unwrap().monotone, [(1, false)]);
    assert!(choose(&monotone("f9"), 0.01).unwrap_err().contains("not a feature"));
    assert!(choose(&monotone("f2"), 0.01).unwrap_err().contains("no order"));
    for wrong in [
        Options { rounds: Some(0), ..Options::default() },
        Options { rounds: Some(201), ..Options::default() },
        Options { clip: Some(f64::NAN), ..Options::default() },
        Options { clip: Some(1.1), ..Options::default() },
        Options { bins: Some(1), ..Options::default() },
        Options { bins: Some(121), ..Options::default() },
        Options { regularisation: Some(0.0), ..Options::default() },
        Options { pairs: Some(11), ..Options::default() },
        Options { clusters: Some(3), ..Options::default() },
    ] {
        assert!(choose(&wrong, 0.01).is_err(), "{wrong:?}");
    }
    let alone = training(settings(true), vec![range()]).recipe;
    let pair = Options { pairs: Some(1), ..Options::default() };
    assert!(Settings::choose(&pair, &alone, true, 0.01).unwrap_err().contains("two features"));
    assert!(choose(&Options::default(), 1e-9).unwrap_err().contains("carries 2 features, not 4"));
    assert!(choose(&Options::default(), 1e-10).unwrap_err().contains("a single feature"));
    let long = training(settings(true), vec![letters(30_000); 7]).recipe;
    assert!(Settings::choose(&Options::default(), &long, true, 1.0).unwrap_err().contains("210007 bins"));
    let wide = training(settings(true), vec![range(), letters(32_767)]).recipe;
    assert!(Settings::choose(&Options::default(), &wide, true, 1.0).unwrap_err().contains("`f1`"));
    let widest = training(settings(true), vec![letters(32_766)]).recipe;
    assert!(Settings::choose(&Options::default(), &widest, true, 1.0).is_ok());
}

proptest! {
    /// However a histogram comes out, its bins fit into the plan.
    #[test]
    fn bins_fit_into_the_plan(
        cells in prop_oneof![
            proptest::collection::vec(0.0..100.0, 257),
            proptest::collection::vec(prop_oneof![Just(0.0), 0.0..1.0, Just(1e9)], 257),
        ],
        bins in 2u32..=120,
        customers in 1.0..1e6,
        lightest in prop_oneof![Just(0.0), 0.0..1e4, Just(f64::MAX)],
        zero in -1.0..1.0,
    ) {
        let values = Values::Number { low: -1.0 - zero, high: 1.0 - zero };
        let training = training(Settings { bins, ..settings(true) }, vec![values]);
        let fine = Fine::new(&training.recipe, false);
        let histograms = Histograms { customers, features: vec![cells], target: None };
        let recoding = bins::recoding(&fine, &histograms, bins as usize, lightest);
        prop_assert_eq!(recoding.check(&training.recipe), Ok(()));
        prop_assert!(recoding.columns(&training.recipe)[0].dims() <= 2 * bins as usize + 2);
    }

    /// Whatever sums are, they are refused or make a model that scores.
    #[test]
    fn no_sum_panics(
        changes in proptest::collection::vec((0usize..400, prop_oneof![any::<i64>(), -1i64 << 40..1 << 40]), 0..6),
        factor in prop_oneof![Just(1), Just(1_000_000_000), Just(-1), Just(i64::MIN), any::<i64>()],
        sd in prop_oneof![Just(0.0), Just(4.0), 1e5..1e12, Just(1e19), Just(1e200), Just(f64::MAX)],
        regularisation in prop_oneof![Just(0.01), Just(1.0), Just(100.0)],
        (numbers, event, pairs) in any::<(bool, bool, bool)>(),
    ) {
        let features = if numbers { vec![range(), letters(2)] } else { vec![letters(2), Values::Bool] };
        let settings = Settings {
            rounds: 3,
            regularisation,
            bins: 3,
            pairs: u32::from(pairs),
            monotone: if numbers { vec![(0, true)] } else { Vec::new() },
            ..settings(event)
        };
        let training = training(settings, features);
        let customers = Customers::new(event, 20, 7, |random| (vec![1 + (2.0 * random.uniform()) as u16; 2], 0.0));
        let mut trainer = Trainer::new(&training, 3);
        for release in 0..training.releases(3).len() {
            let before = trainer.input();
            let (mut sum, layout) = customers.sum(&training, release, &before);
            let length = sum.len();
            sum.iter_mut().for_each(|entry| *entry = entry.wrapping_mul(factor));
            changes.iter().for_each(|(place, change)| sum[place % length] = *change);
            if trainer.absorb(&sum, &vec![sd; layout.components().len()]).is_err() {
                prop_assert_eq!(trainer.input(), before);
                break;
            }
            prop_assert_eq!(trainer.model().check(), Ok(()));
            prop_assert!(training.contributor(release, &before, PLACE).is_ok());
        }
    }
}
