use std::sync::Arc;

use proptest::prelude::*;

use super::super::recipe::{Feature, Recipe, Target, Values};
use super::super::training::Method;
use super::super::{kmeans, linear};
use super::noisy::repair;
use super::*;
use crate::privacy::interval::Estimate;
use crate::privacy::rows::{Block, Column, UNIT};
use crate::privacy::sums::Sums;

/// A linear congruential generator (Knuth's MMIX) and the polar method: the same customers in each run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

fn training(target: Option<Values>, per_partner: bool) -> Training {
    let number = Values::Number { low: 0.0, high: 10.0 };
    let features = [("x", number.clone()), ("z", number)];
    let features = features.map(|(name, values)| Feature { name: name.into(), values }).to_vec();
    let kmeans = kmeans::Settings { clusters: 2, rounds: 1, seed: 0 };
    Training {
        recipe: Recipe { features },
        method: if target.is_some() { Method::Linear(linear::Settings::default()) } else { Method::Kmeans(kmeans) },
        target: target.map(|values| Target { name: "y".into(), values }),
        evaluation: Some(EvaluationSettings { share: 100_000, per_partner }),
    }
}

/// Codes of two numbers, and of the target.
type Customer = ([u16; 2], u16);

fn code(x: f64) -> u16 {
    (32768.0 + 32767.0 * x.clamp(-1.0, 1.0)).round() as u16
}

/// The evaluation of customers, the first half of them at participant 0 of 3 and the others at participant 2, with
/// noise of `sd` of one customer's most in every cell, each component's being drawn by `random`.
fn evaluate(
    training: &Training,
    model: &Parameters,
    customers: &[Customer],
    sd: f64,
    random: &mut Random,
) -> Evaluation {
    let releases = training.releases(3);
    let release = releases.last().unwrap();
    let layout = Arc::new(release.layout());
    let input = Input { recoding: None, parameters: model.clone(), unit: 1.0, checkpoints: Vec::new() };
    let mut total = Sums::new(layout.clone());
    for (position, customers) in [(0, &customers[..customers.len() / 2]), (2, &customers[customers.len() / 2..])] {
        let column = |i: usize| customers.iter().map(|customer| customer.0[i]).collect::<Vec<_>>();
        let block = Block::new([Column::Number; 2].into(), vec![column(0), column(1)]).unwrap();
        let target: Vec<u16> = customers.iter().map(|customer| customer.1).collect();
        let mut sums = Sums::new(layout.clone());
        let place = Place { position, participants: 3 };
        training.contributor(releases.len() - 1, &input, place).unwrap().add(&block, &target, &[], &mut sums);
        assert!(total.merge(&sums));
    }
    let sums = total.finish().values;
    let mut noisy = Vec::new();
    let mut sds = Vec::new();
    for ((component, _), range) in release.components.iter().zip(layout.ranges()) {
        let Component::Cells { per_cell, .. } = component else { panic!("cells alone") };
        let sd = (sd * *per_cell as f64).max(4.0);
        noisy.push(sums[range].iter().map(|cell| cell + (sd * random.normal()) as i64).collect::<Vec<i64>>());
        sds.push(sd);
    }
    let parts: Vec<&[i64]> = noisy.iter().map(Vec::as_slice).collect();
    let settings = training.evaluation.as_ref().unwrap();
    let evaluation = of(settings, training, model, &parts, &sds, 3).unwrap();
    let bound = |estimate: &Estimate| estimate.low <= estimate.value && estimate.value <= estimate.high;
    let all = std::iter::once(&evaluation.all).chain(&evaluation.partners);
    assert!(all.flat_map(|all| &all.metrics).all(|metric| bound(&metric.estimate)), "{evaluation:?}");
    evaluation
}

/// Scores in logits: 2.5·x + z − 1, and an event with that probability.
fn events(count: usize, random: &mut Random) -> (Parameters, Vec<Customer>, Vec<(f64, bool)>) {
    let model = Parameters::Weights { weights: vec![2.5, 0.0, 1.0, 0.0, -1.0] };
    let mut customers = Vec::new();
    let mut truth = Vec::new();
    for _ in 0..count {
        let codes = [code(random.normal() * 0.4), code(2.0 * random.uniform() - 1.0)];
        let score = model.score(&[Column::Number; 2], &codes);
        let event = random.uniform() < 1.0 / (1.0 + (-score).exp());
        customers.push((codes, 1 + u16::from(event)));
        truth.push((score, event));
    }
    (model, customers, truth)
}

/// AUC and KS by sorting.
fn exact(truth: &[(f64, bool)]) -> (f64, f64) {
    let mut sorted = truth.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let events = truth.iter().filter(|customer| customer.1).count() as f64;
    let others = truth.len() as f64 - events;
    let (mut with, mut without, mut sum, mut ks) = (0.0f64, 0.0f64, 0.0, 0.0f64);
    for (_, event) in sorted {
        if event {
            with += 1.0;
            sum += without;
        } else {
            without += 1.0;
        }
        ks = ks.max((without / others - with / events).abs());
    }
    (sum / (events * others), ks)
}

#[test]
fn without_noise_metrics_are_those_of_the_scores() {
    for per_partner in [false, true] {
        let mut random = Random(11);
        let (model, mut customers, truth) = events(30_000, &mut random);
        // Not known whether the event happened: not counted.
        customers.push(([1, 1], 0));
        let training = training(Some(Values::Bool), per_partner);
        let evaluation = evaluate(&training, &model, &customers, 0.0, &mut random);
        let metric = |name| evaluation.all.metric(name).unwrap().value;
        let close =
            |name, exact: f64, by: f64| assert!((metric(name) - exact).abs() < by, "{name} {exact} {evaluation:?}");
        let (auc, ks) = exact(&truth);
        close("auc", auc, 0.002);
        close("gini", 2.0 * auc - 1.0, 0.004);
        close("ks", ks, 0.01);
        let mean =
            |f: &dyn Fn(f64, bool) -> f64| truth.iter().map(|(s, y)| f(*s, *y)).sum::<f64>() / truth.len() as f64;
        let chance = |score: f64| 1.0 / (1.0 + (-score).exp());
        close("log_loss", mean(&|s, y| if y { -chance(s).ln() } else { -(1.0 - chance(s)).ln() }), 0.002);
        close("brier", mean(&|s, y| (chance(s) - f64::from(u8::from(y))).powi(2)), 0.001);
        let happened = truth.iter().filter(|customer| customer.1).count() as f64;
        close("events", happened, 0.5);
        assert_eq!(evaluation.all.customers.value, 30_000.0);
        let mut sorted = truth.clone();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let captured = |count: usize| sorted[..count].iter().filter(|customer| customer.1).count() as f64 / happened;
        let share = happened / 30_000.0;
        close("accuracy", 1.0 - 2.0 * share * (1.0 - captured(happened as usize)), 0.005);

        let Detail::Event(curves) = &evaluation.detail else { panic!("an event") };
        for (i, gain) in curves.gains.iter().enumerate() {
            assert!((gain.captured.value - captured(3000 * (i + 1))).abs() < 0.006, "{gain:?}");
            assert!((gain.lift.value - gain.captured.value / gain.targeted).abs() < 1e-12);
        }
        assert!(curves.calibration.len() >= 6 && curves.roc.len() == 23);
        assert_eq!((curves.calibration[0].from, curves.calibration.last().unwrap().to), (0.0, 1.0));
        for group in &curves.calibration {
            let around = group.observed.high - group.observed.low;
            assert!((group.observed.value - group.predicted).abs() < 1.2 * around, "{group:?}");
            assert!(around < 0.08 && group.from <= group.predicted && group.predicted <= group.to, "{group:?}");
        }
        let partners: Vec<f64> = evaluation.partners.iter().map(|partner| partner.customers.value).collect();
        assert_eq!(partners, if per_partner { vec![15_000.0, 0.0, 15_000.0] } else { vec![] });
        if per_partner {
            let (first, nobody) = (evaluation.partners[0].metric("auc").unwrap(), evaluation.partners[1].metric("auc"));
            assert!((first.value - auc).abs() < 0.02);
            assert_eq!(nobody.unwrap(), Estimate { value: 0.5, low: 0.0, high: 1.0 });
        }
    }
}

/// The bias that the module states.
#[test]
fn binning_loses_little_of_an_auc() {
    // An AUC of 0.75 between normal distributions of one spread: 0.954 of it apart.
    let (mut typical, mut worst) = (0.0f64, 0.0f64);
    for spread in [0.5, 0.7, 1.0, 1.4, 2.0] {
        for center in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            let edges = classification::edges(&[], &Parameters::None);
            let mut cells = vec![vec![0.0; classification::BINS]; 2];
            for (label, shift) in [(0, -0.477), (1, 0.477)] {
                for step in -60_000..60_000 {
                    let z = (f64::from(step) + 0.5) / 10_000.0;
                    let score = center + spread * (z + shift);
                    cells[label][edges.partition_point(|edge| *edge <= score)] += (-z * z / 2.0).exp();
                }
            }
            let (mut below, mut sum) = (0.0, 0.0);
            for (without, with) in cells[0].iter().zip(&cells[1]) {
                sum += with * (below + without / 2.0);
                below += without;
            }
            let lost = 0.75 - sum / (below * cells[1].iter().sum::<f64>());
            worst = worst.max(lost.abs());
            if spread >= 0.7 && center.abs() <= 0.5 {
                typical = typical.max(lost.abs());
            }
        }
    }
    assert!(typical < 0.002 && worst < 0.005, "{typical} {worst}");
}

/// Samples of customers with noise, always the same ones: of 60, 95 % are 57 with a standard deviation of 1.7.
#[test]
fn intervals_cover_noise_and_sampling() {
    let mut random = Random(3);
    let training = training(Some(Values::Bool), false);
    let (model, many, _) = events(400_000, &mut random);
    let all = evaluate(&training, &model, &many, 0.0, &mut random);
    for (count, sd) in [(2000, 0.0), (2000, 8.0), (6000, 15.0)] {
        let mut covered = [0; 6];
        for sample in 0..60 {
            let customers = &many[sample * count..(sample + 1) * count];
            let evaluation = evaluate(&training, &model, customers, sd, &mut random);
            for (covered, metric) in covered.iter_mut().zip(&evaluation.all.metrics) {
                let truth = all.all.metric(metric.name).unwrap().value;
                *covered += usize::from(metric.estimate.low <= truth && truth <= metric.estimate.high);
                assert!(metric.name != "auc" || metric.estimate.high - metric.estimate.low < 0.2, "{metric:?}");
            }
        }
        // KS, the third, is the largest of noisy differences.
        assert!(covered.iter().enumerate().all(|(i, covered)| *covered >= 52 || i == 2), "{count} {sd}: {covered:?}");
    }
}

#[test]
fn numbers_are_evaluated() {
    let mut random = Random(5);
    let training = training(Some(Values::Number { low: 100.0, high: 300.0 }), true);
    let model = Parameters::Weights { weights: vec![0.5, 0.0, 0.0, 0.0, 0.1] };
    let mut customers = Vec::new();
    let (mut errors, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for _ in 0..20_000 {
        let x = 2.0 * random.uniform() - 1.0;
        let y = (0.5 * x + 0.1 + 0.2 * random.normal()).clamp(-1.0, 1.0);
        customers.push(([code(x), 1], code(y)));
        errors += (0.5 * x + 0.1 - y).powi(2) / 20_000.0;
        sum += y / 20_000.0;
        squares += y * y / 20_000.0;
    }
    customers.push(([1, 1], 0));
    let exact =
        [("r2", 1.0 - errors / (squares - sum * sum)), ("rmse", 100.0 * errors.sqrt()), ("mean", 200.0 + 100.0 * sum)];
    for (sd, wide) in [(0.0, 1.0), (20.0, 2.0)] {
        let evaluation = evaluate(&training, &model, &customers, sd, &mut random);
        for (name, truth) in exact {
            let found = evaluation.all.metric(name).unwrap();
            assert!(found.low <= truth && truth <= found.high, "{name}: {truth} {found:?}");
            assert!((found.high - found.low) < wide * 0.05 * truth.abs(), "{name}: {truth} {found:?}");
        }
        let partners: Vec<_> = evaluation.partners.iter().map(|partner| partner.metric("r2").unwrap()).collect();
        assert!((partners[2].value - exact[0].1).abs() < 0.05, "{partners:?}");
        assert_eq!((partners[1].low, partners[1].high), (-1.0, 1.0), "no customers");
    }
}

#[test]
fn clusters_are_evaluated() {
    let mut random = Random(6);
    let training = training(None, true);
    let model = Parameters::Centres { centres: vec![vec![-0.5, 0.0, 0.0, 0.0], vec![0.5, 0.0, 0.0, 0.0]] };
    let mut customer = |i: usize| {
        let (x, z) = (if i.is_multiple_of(4) { -0.5 } else { 0.5 }, 0.0);
        ([code(x + 0.1 * random.normal()), code(z + 0.1 * random.normal())], 0)
    };
    let customers: Vec<_> = (0..8000).map(&mut customer).collect();
    let evaluation = evaluate(&training, &model, &customers, 10.0, &mut random);
    let distance = evaluation.all.metric("distance").unwrap();
    assert!(distance.low <= 0.02 && 0.02 <= distance.high && distance.high < 0.05, "{distance:?}");
    let Detail::Clusters { clusters } = &evaluation.detail else { panic!("clusters") };
    let share = clusters[0].share;
    assert!(share.low <= 0.25 && 0.25 <= share.high && share.high - share.low < 0.05, "{share:?}");
    assert_eq!(evaluation.partners.len(), 3);
}

#[test]
fn repaired_histograms_keep_their_total() {
    assert_eq!(repair(&[3.0, 5.0, 0.0]), [3.0, 5.0, 0.0]);
    assert_eq!(repair(&[3.0, 5.0, -2.0]), [2.0, 4.0, 0.0]);
    assert_eq!(repair(&[1.0, -5.0]), [0.0, 0.0]);
    assert_eq!(repair(&[10.0, 1.0, -3.0]), [8.0, 0.0, 0.0]);
}

#[test]
fn what_customers_cannot_bring_is_named() {
    let training = training(Some(Values::Bool), false);
    let settings = training.evaluation.clone().unwrap();
    let mut cells = vec![0i64; 48];
    cells[3] = -40_000;
    let refused = of(&settings, &training, &Parameters::None, &[&cells], &[4096.0], 3).unwrap_err();
    assert!(refused.0.contains("counts -39 customers") && refused.0.contains("masks hide"), "{refused}");
    assert!(of(&settings, &training, &Parameters::None, &[&cells[1..]], &[4096.0], 3).is_err());
    assert!(of(&settings, &training, &Parameters::None, &[&cells], &[f64::NAN], 3).is_err());
    // Counted by itself, but not among all.
    let (settings, mut each) = (EvaluationSettings { share: 1, per_partner: true }, vec![0i64; 144]);
    each[50] = 1 << 30;
    let refused = of(&settings, &training, &Parameters::None, &[&[0; 48], &each], &[4096.0, 4096.0], 3).unwrap_err();
    assert!(refused.0.contains("differ"), "{refused}");
}

#[test]
fn shares_of_the_budget_and_expectations() {
    let number = Values::Number { low: 0.0, high: 1.0 };
    for (target, components) in [(Some(Values::Bool), 1), (Some(number), 4), (None, 2)] {
        for per_partner in [false, true] {
            let training = training(target.clone(), per_partner);
            let release = training.releases(3).pop().unwrap();
            let parts = components * if per_partner { 2 } else { 1 };
            assert_eq!(release.components.len(), parts as usize);
            assert_eq!(release.components.iter().map(|(_, share)| share).sum::<u32>(), 100_000);
            let sd: Vec<f64> = vec![10.0 * 32767.0; parts as usize];
            let width = |customers: f64| {
                let expected = expected(&training, customers, &sd).unwrap().estimate;
                expected.high - expected.low
            };
            assert!(width(1e6) < width(1e4) && width(1e4) < width(100.0) + 1e-9, "{target:?}");
        }
    }
    let expected = expected(&training(Some(Values::Bool), false), 1e5, &[1024.0]).unwrap();
    assert!(expected.name == "auc" && (expected.estimate.value - 0.75).abs() < 0.003, "{expected:?}");
    let input = Input { recoding: None, parameters: Parameters::None, unit: 1.0, checkpoints: Vec::new() };
    let place = Place { position: 0, participants: 3 };
    assert!(contributor(&training(None, false), &input, place).is_err(), "no model yet");
}

fn sums(cells: usize) -> impl Strategy<Value = Vec<i64>> {
    let cell = prop_oneof![3 => -5000i64..2_000_000, 1 => any::<i64>()];
    prop_oneof![
        proptest::collection::vec(-5000i64..2_000_000, cells),
        proptest::collection::vec(cell, cells),
        Just(vec![0; cells]),
    ]
}

proptest! {
    /// Whatever the sums are, they are refused, or all numbers are finite and in order.
    #[test]
    fn no_sum_panics(
        (all, each) in (sums(48), sums(144)),
        (four, twelve) in (sums(4), sums(12)),
        sd in prop_oneof![Just(4.0), 1e3..1e5, Just(1e19)],
        kind in 0..3,
        per_partner in any::<bool>(),
    ) {
        let number = Values::Number { low: 0.0, high: 1.0 };
        let target = [Some(Values::Bool), Some(number), None][kind as usize].clone();
        let training = training(target, per_partner);
        let mut parts: Vec<&[i64]> = match kind {
            0 => vec![&all],
            1 => four.chunks(1).collect(),
            _ => four.chunks(2).collect(),
        };
        if per_partner {
            match kind {
                0 => parts.push(&each),
                1 => parts.extend(twelve.chunks(3)),
                _ => parts.extend(twelve[..6].chunks(3)),
            }
        }
        let settings = training.evaluation.as_ref().unwrap();
        let model = Parameters::Weights { weights: vec![1e300, 0.0, -1e300, 0.0, f64::from(UNIT)] };
        if let Ok(evaluation) = of(settings, &training, &model, &parts, &vec![sd; parts.len()], 3) {
            // JSON has null where a number is not finite.
            let written = serde_json::to_string(&evaluation).unwrap();
            prop_assert!(!written.contains("null"), "{}", written);
            for metric in std::iter::once(&evaluation.all).chain(&evaluation.partners).flat_map(|all| &all.metrics) {
                let Estimate { value, low, high } = metric.estimate;
                prop_assert!(low <= value && value <= high, "{metric:?}");
            }
        }
    }
}
