use std::sync::Arc;

use proptest::prelude::*;

use super::super::fine::CELLS;
use super::super::frame::Place;
use super::super::model::Model;
use super::super::options::Options;
use super::super::recipe::{Feature, Values};
use super::super::trainer::Trainer;
use super::super::training::{Method, Training};
use super::scale::scale;
use super::*;
use crate::privacy::bounds::Layout;
use crate::privacy::rho::MILLION;

const PLACE: Place = Place { position: 0, participants: 3 };
const DEFAULT: Settings = Settings { rounds: 12, clip: 0.8, regularisation: 1.0 };

fn training(settings: Settings, features: Vec<Values>) -> Training {
    let feature = |(i, values)| Feature { name: format!("f{i}"), values };
    Training {
        recipe: Recipe { features: features.into_iter().enumerate().map(feature).collect() },
        target: Some(Target { name: "y".into(), values: Values::Bool }),
        method: Method::Logistic(settings),
        evaluation: None,
    }
}

fn range(low: f64, high: f64) -> Values {
    Values::Number { low, high }
}

fn letters(count: u8) -> Values {
    Values::Category { values: (0..count).map(|i| char::from(b'a' + i).to_string()).collect() }
}

/// Customers: codes feature by feature, target codes, and the log-odds that targets were drawn by.
struct Customers {
    codes: Vec<Vec<u16>>,
    target: Vec<u16>,
    truth: Vec<f64>,
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

impl Customers {
    fn new(count: usize, seed: u64, mut one: impl FnMut(&mut Random) -> (Vec<u16>, f64)) -> Self {
        let mut random = Random(seed);
        let mut all = Self { codes: Vec::new(), target: Vec::new(), truth: Vec::new() };
        for _ in 0..count {
            let (codes, truth) = one(&mut random);
            all.codes.resize(codes.len(), Vec::new());
            all.codes.iter_mut().zip(codes).for_each(|(column, code)| column.push(code));
            all.target.push(1 + u16::from(random.uniform() < 1.0 / (1.0 + (-truth).exp())));
            all.truth.push(truth);
        }
        all
    }

    /// The exact sum of a release, and its layout.
    fn sum(&self, training: &Training, release: usize, input: &Input) -> (Vec<i64>, Arc<Layout>) {
        let layout = Arc::new(training.releases(3)[release].layout());
        let mut sums = Sums::new(layout.clone());
        let recode = |(i, codes): (usize, &Vec<u16>)| match &input.recoding {
            Some(recoding) => codes.iter().map(|code| recoding.columns[i].apply(*code)).collect(),
            None => codes.clone(),
        };
        let codes = self.codes.iter().enumerate().map(recode).collect();
        let block = Block::new(training.recipe.columns().into(), codes).unwrap();
        training.contributor(release, input, PLACE).unwrap().add(&block, &self.target, &[], &mut sums);
        (sums.finish().values, layout)
    }

    /// A whole training at this ρ.
    fn train(&self, training: &Training, rho: f64) -> Model {
        let mut random = Random(99);
        let mut trainer = Trainer::new(training, 3);
        for (i, release) in training.releases(3).iter().enumerate() {
            let (mut sum, layout) = self.sum(training, i, &trainer.input());
            let rho = rho * f64::from(release.components[0].1) / f64::from(MILLION);
            let sd = (layout.sensitivity_squared(0) as f64 / (2.0 * rho)).sqrt();
            sum.iter_mut().for_each(|entry| *entry += (sd * random.normal()) as i64);
            trainer.absorb(&sum, &[sd]).unwrap();
        }
        let model = trainer.model();
        assert_eq!(model.check(), Ok(()));
        assert_eq!(trainer.input().parameters, model.parameters, "what is evaluated is what comes out");
        model
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
}

/// Four numbers, two conditions and two categories, with a missing value here and there; one event in four.
fn mixed() -> Vec<Values> {
    let numbers = (0..4).map(|_| range(-1.0, 1.0));
    numbers.chain([Values::Bool, Values::Bool, letters(4), letters(3)]).collect()
}

fn mixed_customer(random: &mut Random) -> (Vec<u16>, f64) {
    let x: Vec<f64> = (0..4).map(|_| 2.0 * random.uniform() - 1.0).collect();
    let mut codes: Vec<u16> = x.iter().map(|x| (32768.0 + 32767.0 * x) as u16).collect();
    let mut truth = -1.6 + 1.5 * x[0] - x[1] + 0.7 * x[2];
    if random.uniform() < 0.1 {
        truth += 0.4 - 0.7 * x[2];
        codes[2] = 0;
    }
    for effect in [0.9, 0.0] {
        let yes = random.uniform() < 0.3;
        truth += if yes { effect } else { 0.0 };
        codes.push(1 + u16::from(yes));
    }
    for effects in [[0.0, 0.8, -0.6, 0.3], [0.2, 0.0, -0.5, 0.0]] {
        let values = if effects[3] == 0.0 { 3.0 } else { 4.0 };
        let value = (values * random.uniform()) as usize;
        truth += effects[value];
        codes.push(1 + value as u16);
    }
    (codes, truth)
}

#[test]
fn without_noise_the_model_is_found() {
    let (train, test) = (Customers::new(20_000, 1, mixed_customer), Customers::new(20_000, 2, mixed_customer));
    let training = training(Settings { rounds: 40, clip: 1.0, ..DEFAULT }, mixed());
    let model = train.train(&training, 1e12);
    let Parameters::Weights { weights } = &model.parameters else { panic!("no weights") };
    // Conditions start behind eight entries of numbers.
    let effects = [weights[10] - weights[9], weights[13] - weights[12], weights[16] - weights[15]];
    for (effect, truth) in effects.into_iter().zip([0.9, 0.0, 0.8]) {
        assert!((effect - truth).abs() < 0.12, "{effect} {truth}: {weights:?}");
    }
    let scores = test.scores(&model);
    let probability = |score: &f64| 1.0 / (1.0 + (-score).exp());
    let wrong = scores.iter().zip(&test.truth).map(|(a, b)| (probability(a) - probability(b)).abs());
    let wrong = wrong.sum::<f64>() / scores.len() as f64;
    assert!(wrong < 0.015, "{wrong}");
    assert!(test.auc(&test.truth) - test.auc(&scores) < 0.002);
}

#[test]
fn with_noise_it_ranks_nearly_as_well() {
    let (train, test) = (Customers::new(20_000, 1, mixed_customer), Customers::new(20_000, 2, mixed_customer));
    let model = train.train(&training(DEFAULT, mixed()), 0.03);
    let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
    assert!(best - auc < 0.01, "{auc} of {best}");
    // With next to no budget: nothing said, and nothing wild.
    let model = train.train(&training(DEFAULT, mixed()), 1e-6);
    let Parameters::Weights { weights } = &model.parameters else { panic!("no weights") };
    assert!(weights.iter().take(weights.len() - 1).all(|weight| weight.abs() < 3.0), "{weights:?}");
}

#[test]
fn long_tails_are_learned() {
    let spend = range(0.0, 100_000.0);
    let customer = |random: &mut Random| {
        let log = 3.0 + 1.2 * random.normal();
        (vec![spend.code_of_number(log.exp())], 1.5 * (log - 3.0) / 1.2 - 0.5)
    };
    let (train, test) = (Customers::new(20_000, 3, customer), Customers::new(20_000, 4, customer));
    let model = train.train(&training(DEFAULT, vec![spend.clone()]), 0.03);
    let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
    assert!(best - auc < 0.01, "{auc} of {best}");
    // Not by rank alone: the log-odds follow, which are the same for all on the range as it is.
    let odds = |x: f64| model.raw(&[spend.code_of_number(x)]);
    assert!(odds(100.0) - odds(5.0) > 1.5, "{} {}", odds(100.0), odds(5.0));
}

#[test]
fn scales_ascend_whatever_histograms_say() {
    let fine = Fine::new(&training(DEFAULT, vec![range(-3.0, 50.0)]).recipe, false);
    let first = fine.first_codes(0).unwrap();
    let mut random = Random(5);
    let mut cells = vec![vec![0.0; 257], vec![4.0; 257], vec![1e12; 257]];
    cells.extend((0..20).map(|i| (0..257).map(|_| random.uniform().powi(i)).collect()));
    for place in [0, 1, 128, 256] {
        let mut alone = vec![0.0; 257];
        alone[place] = 1000.0;
        cells.push(alone);
    }
    for cells in &cells {
        let (recode, variance) = scale(cells, &first);
        assert!((0.0..=1.0).contains(&variance));
        let Recode::Scale(knots) = &recode else { panic!("no scale") };
        assert!(!knots.is_empty() && knots.len() <= CELLS, "{}", knots.len());
        let recoding = Recoding { columns: vec![recode] };
        assert_eq!(recoding.check(&training(DEFAULT, vec![range(-3.0, 50.0)]).recipe), Ok(()));
        assert!(
            [recoding.columns[0].apply(1), recoding.columns[0].apply(65535)].iter().any(|x| [1, 65535].contains(x))
        );
    }
    let (even, variance) = scale(&cells[1], &first);
    assert!((variance - 0.3).abs() < 0.15, "{variance}");
    assert!(even.apply(65535) == 65535 && even.apply(1) < 20_000);
}

#[test]
fn shares_and_norms_are_as_stated() {
    let with = training(DEFAULT, mixed());
    let names: Vec<String> = with.releases(3).into_iter().map(|release| release.name).collect();
    assert_eq!((names.len(), names[1].as_str(), names[13].as_str()), (14, "sums by label", "gradient 12"));
    let without = training(DEFAULT, vec![Values::Bool, letters(3)]);
    let releases = without.releases(3);
    assert_eq!((releases.len(), releases[0].components[0].1, releases[1].components[0].1), (13, 150_000, 70_833));
    // √3 in steps of 1/32767, rounded up; times 1024, and ⌊0.8·32767⌋.
    assert_eq!(releases[0].components[0].0, Component::Vector { length: 16, norm: 1024 * 56755 });
    assert_eq!(releases[1].components[0].0, Component::Vector { length: 8, norm: 26213 * 56755 });
    for training in [with, without] {
        let shares: u32 = training.releases(3).iter().map(|release| release.components[0].1).sum();
        assert!((MILLION - 20..=MILLION).contains(&shares));
    }
}

#[test]
fn residuals_are_clipped_and_customers_without_a_label_do_not_count() {
    let training = training(Settings { rounds: 1, ..DEFAULT }, vec![letters(2)]);
    let customers = Customers { codes: vec![vec![1, 2, 2, 0]], target: vec![2, 1, 0, 7], truth: Vec::new() };
    let input = |parameters| Input { recoding: None, parameters, unit: 1.0, checkpoints: Vec::new() };
    let (sum, _) = customers.sum(&training, 0, &input(Parameters::None));
    let one = 1024 * i64::from(UNIT);
    assert_eq!(sum, [0, one, 0, one, 0, 0, one, one]);
    let (sum, _) = customers.sum(&training, 1, &input(Parameters::Weights { weights: vec![0.0, -1.0, 9.0, 1.0] }));
    // A residual of ½ is rounded to the nearest step.
    let (half, most) = (i64::from(UNIT / 2 + 1) * i64::from(UNIT), 26213 * i64::from(UNIT));
    assert_eq!(sum, [0, half, -most, half - most]);
    // Finite as 64 bits alone.
    let wild = Parameters::Weights { weights: vec![0.0, 1e300, -1e300, 1e300] };
    assert_eq!(customers.sum(&training, 1, &input(wild)).0, [0; 4]);
}

#[test]
fn inputs_of_another_form_are_refused() {
    let training = training(DEFAULT, vec![range(0.0, 1.0), letters(2)]);
    let weights = Parameters::Weights { weights: vec![0.0; 6] };
    let scale = Recoding { columns: vec![Recode::Scale(vec![(1, 1), (65535, 65535)]), Recode::Keep] };
    let bins = Recoding { columns: vec![Recode::Bins(vec![5]), Recode::Keep] };
    let fits = |release, recoding: Option<&Recoding>, parameters: &Parameters| {
        let input =
            Input { recoding: recoding.cloned(), parameters: parameters.clone(), unit: 1.0, checkpoints: Vec::new() };
        training.contributor(release, &input, PLACE).is_ok()
    };
    assert!(fits(0, None, &Parameters::None) && fits(1, Some(&scale), &Parameters::None));
    assert!(fits(2, Some(&scale), &weights) && fits(13, Some(&scale), &weights));
    assert!(!fits(0, Some(&scale), &Parameters::None) && !fits(0, None, &weights));
    assert!(!fits(1, None, &Parameters::None) && !fits(1, Some(&bins), &Parameters::None));
    assert!(!fits(2, Some(&scale), &Parameters::None) && !fits(2, None, &weights) && !fits(14, Some(&scale), &weights));
    let number = Training { target: Some(Target { name: "y".into(), values: range(0.0, 1.0) }), ..training.clone() };
    let input = Input { recoding: None, parameters: Parameters::None, unit: 1.0, checkpoints: Vec::new() };
    assert!(number.contributor(0, &input, PLACE).is_err());
}

#[test]
fn sums_that_no_customers_can_bring_are_named() {
    let training = training(DEFAULT, vec![letters(2), Values::Bool]);
    let customers = Customers::new(300, 6, |random| {
        (vec![1 + u16::from(random.uniform() < 0.5), 1 + u16::from(random.uniform() < 0.5)], 0.0)
    });
    let mut trainer = Trainer::new(&training, 3);
    let (labels, _) = customers.sum(&training, 0, &trainer.input());
    let one = i64::from(UNIT) * 1024;
    let refusal = |trainer: &mut Trainer, honest: &[i64], sd: f64, changes: &[(usize, i64)]| {
        let mut sum = honest.to_vec();
        changes.iter().for_each(|(place, change)| sum[*place] = sum[*place].wrapping_add(*change));
        let before = trainer.input();
        let refusal = trainer.absorb(&sum, &[sd]).unwrap_err().0;
        assert_eq!(trainer.input(), before);
        refusal
    };
    let sd = one as f64;
    assert!(refusal(&mut trainer, &labels, sd, &[(6, -500 * one)]).contains("less than noise explains"));
    assert!(refusal(&mut trainer, &labels, sd, &[(1, 500 * one)]).contains("at most"));
    assert!(refusal(&mut trainer, &labels, sd, &[(8, 50 * one)]).contains("by category"));
    assert!(refusal(&mut trainer, &labels, f64::NAN, &[]).contains("another form"));
    assert!(refusal(&mut trainer, &labels, 1e200, &[]).contains("larger than numbers"));
    assert!(refusal(&mut trainer, &labels[1..], sd, &[]).contains("length"));
    trainer.absorb(&labels, &[sd]).unwrap();
    let (gradient, _) = customers.sum(&training, 1, &trainer.input());
    let one = i64::from(UNIT) * i64::from(UNIT);
    let sd = one as f64;
    assert!(refusal(&mut trainer, &gradient, sd, &[(6, 1 << 60)]).contains("at most"));
    assert!(refusal(&mut trainer, &gradient, sd, &[(4, 60 * one)]).contains("residuals by category"));
    trainer.absorb(&gradient, &[sd]).unwrap();
}

#[test]
fn the_same_sums_make_the_same_model() {
    let training = training(Settings { rounds: 3, ..DEFAULT }, mixed());
    let customers = Customers::new(500, 8, mixed_customer);
    assert_eq!(customers.train(&training, 0.05), customers.train(&training, 0.05));
    assert_eq!(Trainer::new(&training, 3).model().parameters, Parameters::None);
}

#[test]
fn options_are_checked() {
    let recipe = training(DEFAULT, mixed()).recipe;
    let choose = |options: &Options, rho| Settings::choose(options, &recipe, rho);
    assert_eq!(choose(&Options::default(), 0.01), Ok(DEFAULT));
    let options = Options { rounds: Some(200), clip: Some(1.0), regularisation: Some(0.0), ..Options::default() };
    assert_eq!(choose(&options, 0.01), Ok(Settings { rounds: 200, clip: 1.0, regularisation: 0.0 }));
    for wrong in [
        Options { rounds: Some(0), ..Options::default() },
        Options { rounds: Some(201), ..Options::default() },
        Options { clip: Some(f64::NAN), ..Options::default() },
        Options { clip: Some(0.0), ..Options::default() },
        Options { regularisation: Some(-1.0), ..Options::default() },
        Options { bins: Some(3), ..Options::default() },
    ] {
        assert!(choose(&wrong, 0.01).is_err());
    }
    assert!(choose(&Options::default(), 1e-9).unwrap_err().contains("select fewer"));
}

proptest! {
    /// Whatever sums are, they are refused or make a model that scores.
    #[test]
    fn no_sum_panics(
        changes in proptest::collection::vec((0usize..400, prop_oneof![any::<i64>(), -1i64 << 40..1 << 40]), 0..6),
        sd in prop_oneof![Just(0.0), Just(4.0), 1e8..1e15, Just(1e19), Just(1e200)],
        regularisation in prop_oneof![Just(0.0), Just(1.0)],
        numbers in any::<bool>(),
    ) {
        let features = if numbers { vec![range(0.0, 9.0), letters(2)] } else { vec![letters(2), Values::Bool] };
        let training = training(Settings { rounds: 3, regularisation, ..DEFAULT }, features);
        let customers = Customers::new(20, 7, |random| (vec![1 + (2.0 * random.uniform()) as u16; 2], 0.0));
        let mut trainer = Trainer::new(&training, 3);
        for release in 0..training.releases(3).len() {
            let (mut sum, _) = customers.sum(&training, release, &trainer.input());
            let length = sum.len();
            changes.iter().for_each(|(place, change)| sum[place % length] = *change);
            if trainer.absorb(&sum, &[sd]).is_err() {
                break;
            }
            prop_assert_eq!(trainer.model().check(), Ok(()));
        }
    }
}
