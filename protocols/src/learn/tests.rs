//! What all methods have in common, release by release: nobody moves a sum by more than its sensitivity, whatever the
//! coordinator says, and no training spends more than its budget.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::evaluation::checkpoints;
use super::frame::{FULL, Input, Place, Role};
use super::model::{Pair, Parameters, Recode, Recoding};
use super::recipe::{Feature, Recipe, Target, Values};
use super::training::{EvaluationSettings, Method, Training};
use super::{additive, kmeans, linear, logistic};
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{self, Block, Column};
use crate::privacy::sums::Sums;

const PARTICIPANTS: usize = 3;

/// Public facts of a training, and all its methods' options.
#[derive(Clone, Debug)]
struct Facts {
    training: Training,
    participants: usize,
}

fn any_values() -> impl Strategy<Value = Values> {
    prop_oneof![
        3 => (-10.0..10.0, 0.0..20.0).prop_map(|(low, range)| Values::Number { low, high: low + range }),
        1 => Just(Values::Date { low: -40, high: 20_000 }),
        3 => (1usize..6).prop_map(|n| Values::Category { values: (0..n).map(|i| i.to_string()).collect() }),
        1 => Just(Values::Bool),
    ]
}

fn any_method(features: u32) -> impl Strategy<Value = (Method, Option<Values>)> {
    let event = prop_oneof![Just(Values::Bool), Just(Values::Category { values: vec!["no".into(), "yes".into()] })];
    let number = Just(Values::Number { low: -2.0, high: 9.0 });
    let linear = (proptest::option::of(0.1..20.0f64), proptest::option::of(0.0..50.0f64), number).prop_map(
        |(clip, regularisation, target)| (Method::Linear(linear::Settings { clip, regularisation }), Some(target)),
    );
    let logistic = (1u32..=200, 0.01..=1.0f64, event).prop_map(|(rounds, clip, target)| {
        (Method::Logistic(logistic::Settings { rounds, clip, regularisation: 1.0 }), Some(target))
    });
    let additive = (any::<bool>(), 1u32..=200, 0.01..=1.0f64, 2u32..=120, 0u32..=10, any::<bool>()).prop_map(
        move |(event, rounds, clip, bins, pairs, rising)| {
            let clip = if event { clip } else { 6.0 * clip };
            let pairs = if features > 1 { pairs } else { 0 };
            let monotone = vec![(0, rising)];
            let settings = additive::Settings { event, rounds, clip, bins, regularisation: 1.0, pairs, monotone };
            let target = if event { Values::Bool } else { Values::Number { low: 0.0, high: 1.0 } };
            (Method::Additive(settings), Some(target))
        },
    );
    let kmeans = (2u32..=100, 1u32..=50, any::<u64>())
        .prop_map(|(clusters, rounds, seed)| (Method::Kmeans(kmeans::Settings { clusters, rounds, seed }), None));
    prop_oneof![linear, logistic, additive, kmeans]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let features = proptest::collection::vec(any_values(), 1..6);
    let with = features.prop_flat_map(|features| {
        let count = features.len() as u32;
        (Just(features), any_method(count))
    });
    let evaluation = proptest::option::of((0..MILLION, any::<bool>()));
    (with, evaluation, 1usize..5).prop_map(|((features, (method, target)), evaluation, participants)| {
        let feature = |(i, values)| Feature { name: format!("f{i}"), values };
        let training = Training {
            recipe: Recipe { features: features.into_iter().enumerate().map(feature).collect() },
            target: target.map(|values| Target { name: "y".into(), values }),
            method,
            evaluation: evaluation.map(|(share, per_partner)| EvaluationSettings { share, per_partner }),
        };
        Facts { training, participants }
    })
}

/// Numbers, always the same, from what proptest drew.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    /// Small, large, huge, and exactly zero.
    fn value(&mut self) -> f64 {
        let sign = if self.next(2) == 0 { 1.0 } else { -1.0 };
        sign * [0.0, 0.01, 1.0, 3.5, 40.0, 1e4, 1e39, f64::MAX][self.next(8) as usize]
    }

    fn code(&mut self) -> u16 {
        match self.next(5) {
            0 => 0,
            1 => 65535,
            2 => 1,
            3 => 1 + self.next(5) as u16,
            _ => self.next(65536) as u16,
        }
    }
}

/// Some recoding that the recipe admits; with bins, without, or mixed.
fn recoding(recipe: &Recipe, random: &mut Random, bins: bool, most: usize) -> Recoding {
    let column = |column: Column| {
        if column != Column::Number {
            return Recode::Keep;
        }
        if bins {
            let mut edges: Vec<u16> = (0..random.next(most as u64)).map(|_| random.code().max(1)).collect();
            edges.sort_unstable();
            edges.dedup();
            return Recode::Bins(edges);
        }
        let mut knots: Vec<(u16, u16)> = (0..1 + random.next(5)).map(|_| (random.code().max(1), 0)).collect();
        knots.sort_unstable();
        knots.dedup();
        let mut at: Vec<u16> = knots.iter().map(|_| random.code().max(1)).collect();
        at.sort_unstable();
        knots.iter_mut().zip(at).for_each(|(knot, at)| knot.1 = at);
        Recode::Scale(knots)
    };
    Recoding { columns: recipe.columns().into_iter().map(column).collect() }
}

/// Some parameters of the kind that a release needs, whatever a coordinator may like.
fn parameters(training: &Training, release: usize, columns: &[Column], random: &mut Random) -> Parameters {
    match &training.method {
        Method::Linear(_) | Method::Logistic(_) => {
            Parameters::Weights { weights: (0..rows::dims(columns)).map(|_| random.value()).collect() }
        }
        Method::Kmeans(settings) => {
            let count = settings.clusters as usize * if release == 1 { 4 } else { 1 };
            let mut centre = |_| (0..rows::dims(columns) - 1).map(|_| random.value()).collect();
            Parameters::Centres { centres: (0..count).map(&mut centre).collect() }
        }
        Method::Additive(_) => {
            let shapes: Vec<Vec<f64>> =
                columns.iter().map(|column| (0..column.dims()).map(|_| random.value()).collect()).collect();
            let tried = columns.len().min(6);
            let mut pairs = Vec::new();
            for _ in 0..random.next((tried * tried.saturating_sub(1) / 2) as u64 + 1) {
                let features = (random.next(columns.len() as u64) as u32, random.next(columns.len() as u64) as u32);
                let mut groups = |feature: u32| -> Vec<u16> {
                    (0..columns[feature as usize].dims()).map(|_| random.next(4) as u16).collect()
                };
                let groups = (groups(features.0), groups(features.1));
                let count = |groups: &[u16]| groups.iter().max().map_or(0, |most| usize::from(*most) + 1);
                let values = (0..count(&groups.0) * count(&groups.1)).map(|_| random.value()).collect();
                pairs.push(Pair { features, groups, values });
            }
            Parameters::Additive { intercept: random.value(), shapes, pairs }
        }
    }
}

/// The inputs that a release may be given: of a form that it takes, with contents that a hostile coordinator chooses.
fn inputs(facts: &Facts, release: usize, random: &mut Random) -> Vec<Input> {
    let training = &facts.training;
    let mut inputs = Vec::new();
    for bins in [None, Some(true), Some(false)] {
        let most = match &training.method {
            Method::Additive(settings) => 2 * settings.bins as usize + 1,
            _ => 9,
        };
        let recoding = bins.map(|bins| recoding(&training.recipe, random, bins, most));
        let columns =
            recoding.as_ref().map_or_else(|| training.recipe.columns(), |recoding| recoding.columns(&training.recipe));
        let unit = [1.0, 1e-300, 0.3, f64::MAX][random.next(4) as usize];
        let some = parameters(training, release, &columns, random);
        let held_out = training.releases(facts.participants)[release].role == Role::HeldOut;
        let count = if held_out { checkpoints::models(training) } else { 0 };
        let checkpoints: Vec<_> = (0..count).map(|_| parameters(training, release, &columns, random)).collect();
        for parameters in [Parameters::None, some] {
            inputs.push(Input { recoding: recoding.clone(), parameters, unit, checkpoints: checkpoints.clone() });
        }
    }
    inputs
}

/// Codes, target and weight.
type Customer = (Vec<u16>, u16, u16);

/// The sum over some customers, in blocks of `rows`.
fn sum(
    facts: &Facts,
    release: usize,
    input: &Input,
    place: Place,
    customers: &[Customer],
    (rows, weighed): (usize, bool),
) -> Option<Vec<i64>> {
    let training = &facts.training;
    let mut sums = Sums::new(Arc::new(training.releases(facts.participants)[release].layout()));
    let contribute = training.contributor(release, input, place).ok()?;
    let columns: Arc<[Column]> = match &input.recoding {
        Some(recoding) => recoding.columns(&training.recipe).into(),
        None => training.recipe.columns().into(),
    };
    for block in customers.chunks(rows) {
        let column = |i: usize| -> Vec<u16> {
            let apply = |code: u16| input.recoding.as_ref().map_or(code, |recoding| recoding.columns[i].apply(code));
            block.iter().map(|(codes, ..)| apply(codes[i])).collect()
        };
        let block_of = Block::new(columns.clone(), (0..columns.len()).map(column).collect()).unwrap();
        let target: Vec<u16> = match training.target {
            Some(_) => block.iter().map(|(_, target, _)| *target).collect(),
            None => Vec::new(),
        };
        let weights: Vec<u16> = if weighed { block.iter().map(|(_, _, weight)| *weight).collect() } else { Vec::new() };
        contribute.add(&block_of, &target, &weights, &mut sums);
    }
    Some(sums.finish().values)
}

/// Checks one release with everything a coordinator may say; how many of the inputs it takes.
fn moved(facts: &Facts, release: usize, seed: u64) -> Result<usize, TestCaseError> {
    let mut random = Random(seed);
    let layout = facts.training.releases(facts.participants)[release].layout();
    let mut taken = 0;
    for input in inputs(facts, release, &mut random) {
        let weighed = random.next(2) == 0;
        let place =
            Place { position: random.next(facts.participants as u64) as usize, participants: facts.participants };
        let features = facts.training.recipe.features.len();
        let mut customer = || {
            let codes = (0..features).map(|_| random.code()).collect();
            let target = if random.next(2) == 0 { random.code() } else { random.next(4) as u16 };
            (codes, target, if random.next(2) == 0 { random.code() } else { random.next(1025) as u16 })
        };
        let others: Vec<Customer> = (0..3).map(|_| customer()).collect();
        let one = customer();
        let form = (2, weighed);
        let Some(without) = sum(facts, release, &input, place, &others, form) else { continue };
        taken += 1;
        // Whoever comes may come first, so that blocks are cut elsewhere.
        for with in
            [[&others[..], std::slice::from_ref(&one)].concat(), [std::slice::from_ref(&one), &others[..]].concat()]
        {
            let with = sum(facts, release, &input, place, &with, form).unwrap();
            for (component, range) in layout.ranges().into_iter().enumerate() {
                let square: u128 =
                    range.map(|i| u128::from(with[i].wrapping_sub(without[i]).unsigned_abs()).pow(2)).sum();
                prop_assert!(
                    square <= layout.sensitivity_squared(component),
                    "release {release}, component {component}: {square} with {one:?} and {input:?}"
                );
            }
        }
    }
    Ok(taken)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// One more customer, whatever it is and whatever model and recoding the coordinator has sent, moves each component of
    /// each release of each method by at most what its noise is sized for. And every release takes inputs of some form:
    /// none of this is true because everything is refused.
    #[test]
    fn one_customer_moves_no_release_by_more_than_its_sensitivity(facts in any_facts(), seed in any::<u64>()) {
        let releases = facts.training.releases(facts.participants).len();
        // The first three, of which each has a form of its own, one in the middle, and the last two.
        for release in [0, 1, 2, releases / 2, releases.saturating_sub(2), releases - 1] {
            if release < releases {
                prop_assert!(moved(&facts, release, seed)? > 0, "release {release} takes no input at all");
            }
        }
    }

    /// Whoever counts for nothing is as one who is not there, and whoever counts in full as if there were no weights, in all that
    /// a model is made from.
    #[test]
    fn weights_of_nothing_and_of_all(facts in any_facts(), seed in any::<u64>()) {
        let weighs = matches!(facts.training.method, Method::Logistic(_) | Method::Additive(_));
        let releases = facts.training.releases(facts.participants);
        let mut random = Random(seed);
        let place = Place { position: 0, participants: facts.participants };
        for release in (0..releases.len().min(3)).filter(|release| weighs && releases[*release].role == Role::Training) {
            for input in inputs(&facts, release, &mut random) {
                let features = facts.training.recipe.features.len();
                let some: Vec<Customer> = (0..6)
                    .map(|i| ((0..features).map(|_| random.code()).collect(), 1 + random.next(2) as u16, i % 2 * FULL))
                    .collect();
                let there: Vec<Customer> = some.iter().filter(|customer| customer.2 > 0).cloned().collect();
                let weighed = sum(&facts, release, &input, place, &some, (4, true));
                prop_assert_eq!(&weighed, &sum(&facts, release, &input, place, &there, (4, true)));
                prop_assert_eq!(weighed, sum(&facts, release, &input, place, &there, (4, false)));
            }
        }
    }

    /// Shares sum to at most the whole, and are not wasted but for rounding: one millionth a component.
    #[test]
    fn shares_sum_to_no_more_than_the_whole(facts in any_facts()) {
        let releases = facts.training.releases(facts.participants);
        let shares: Vec<u32> = releases.iter().flat_map(|release| &release.components).map(|c| c.1).collect();
        let total: u64 = shares.iter().copied().map(u64::from).sum();
        prop_assert!(total <= u64::from(MILLION), "{total}");
        // A method's own shares are rounded down, then what the evaluation takes comes off each.
        let rounding = 2 * shares.len() as u64 + 210;
        prop_assert!(total + rounding >= u64::from(MILLION), "{total} of {} releases", releases.len());
        let held_out = releases.iter().filter(|release| release.role == Role::HeldOut).count();
        prop_assert_eq!(held_out, usize::from(facts.training.evaluation.is_some()));
        for release in &releases {
            prop_assert!(!release.components.is_empty());
            prop_assert_eq!(release.layout().len(), release.layout().ranges().last().map_or(0, |range| range.end));
        }
    }
}

/// The strategy above reaches what it is meant to: all methods, events and numbers, pairs, and evaluation by partner.
#[test]
fn every_kind_of_release_is_tried() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let facts = any_facts().new_tree(&mut runner).unwrap().current();
        for release in facts.training.releases(PARTICIPANTS) {
            let first = release.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned();
            names.insert((first, release.components.len()));
        }
    }
    let names: Vec<(&str, usize)> = names.iter().map(|(name, components)| (name.as_str(), *components)).collect();
    for expected in [
        ("bins and sums of the target", 2),
        ("bins by target", 1),
        ("clusters, round", 1),
        ("evaluation", 2),
        ("evaluation", 3),
        ("gradient", 1),
        ("histograms", 1),
        ("histograms of numbers", 1),
        ("residuals", 1),
        ("residuals of pairs", 2),
        ("second moments", 1),
        ("sums by label", 1),
    ] {
        assert!(names.contains(&expected), "{expected:?} is not in {names:?}");
    }
}

/// Sums are taken over many rows at once, in numbers of fewer bits where these suffice. Where they would not, one customer
/// more would move a sum by far more than its sensitivity. So many customers who are alike bring exactly as many times what
/// one of them does: with those who make sums largest, around the sizes at which such loops are cut.
#[test]
fn very_many_customers_who_are_alike_bring_as_many_times_what_one_does() {
    let number = || Values::Number { low: -1.0, high: 1.0 };
    let letters = Values::Category { values: vec!["a".into(), "b".into(), "c".into()] };
    let values = [number(), letters, number(), Values::Bool, number()];
    let features = values.into_iter().map(|values| Feature { name: String::new(), values }).collect();
    let recipe = Recipe { features };
    let additive = |event: bool| {
        let clip = if event { 1.0 } else { 6.0 };
        let monotone = Vec::new();
        Method::Additive(additive::Settings {
            event,
            rounds: 1,
            clip,
            bins: 2,
            regularisation: 1.0,
            pairs: 1,
            monotone,
        })
    };
    let methods = [
        (Method::Linear(linear::Settings { clip: Some(20.0), regularisation: None }), Some(number())),
        (Method::Logistic(logistic::Settings { rounds: 1, clip: 1.0, regularisation: 1.0 }), Some(Values::Bool)),
        (additive(true), Some(Values::Bool)),
        (additive(false), Some(number())),
        (Method::Kmeans(kmeans::Settings { clusters: 2, rounds: 2, seed: 0 }), None),
    ];
    for (method, target) in methods {
        let training = Training {
            recipe: recipe.clone(),
            target: target.map(|values| Target { name: "y".into(), values }),
            method,
            evaluation: Some(EvaluationSettings { share: MILLION / 10, per_partner: true }),
        };
        let facts = Facts { training, participants: PARTICIPANTS };
        for release in 0..facts.training.releases(PARTICIPANTS).len() {
            let name = &facts.training.releases(PARTICIPANTS)[release].name;
            // Models that say yes to everybody and to nobody, so that residuals are as large as the clip, and others.
            let inputs = (0..4).flat_map(|seed| inputs(&facts, release, &mut Random(seed)));
            for (i, input) in inputs.chain(extreme(&facts, release)).enumerate() {
                // The least and the largest number, missing ones, and both ends of the target, in turn.
                for (code, target) in [(1, 1), (65535, 2), (0, 1), (0, 2), (65535, 65535), (1, 65535), (1, 2)] {
                    let customer: Customer = (vec![code, 1, code, 2, code], target, FULL);
                    let place = Place { position: 1, participants: PARTICIPANTS };
                    let one = std::slice::from_ref(&customer);
                    let Some(one) = sum(&facts, release, &input, place, one, (1, false)) else { continue };
                    // The longest is enough once in a while.
                    for count in [1023, 1024, 4097, (1 << 16) + 5].into_iter().take(if i % 24 == 1 { 4 } else { 2 }) {
                        let all = sum(&facts, release, &input, place, &vec![customer.clone(); count], (count, false))
                            .unwrap();
                        let times: Vec<i64> = one.iter().map(|entry| entry.wrapping_mul(count as i64)).collect();
                        assert!(all == times, "{name}: {count} customers of {customer:?} with {input:?}");
                    }
                }
            }
        }
    }
}

/// Models whose scores are as low or as high as can be, for everybody.
fn extreme(facts: &Facts, release: usize) -> Vec<Input> {
    let training = &facts.training;
    let mut random = Random(9);
    let mut all = Vec::new();
    for input in inputs(facts, release, &mut random) {
        for score in [-100.0, 100.0] {
            let mut input = input.clone();
            input.unit = 1e-3;
            match &mut input.parameters {
                Parameters::Weights { weights } => {
                    weights.fill(0.0);
                    *weights.last_mut().unwrap() = score;
                }
                Parameters::Additive { intercept, shapes, .. } => {
                    shapes.iter_mut().for_each(|shape| shape.fill(0.0));
                    *intercept = score;
                }
                Parameters::None | Parameters::Centres { .. } => continue,
            }
            // Some of the inputs are ones that are refused.
            if input.parameters.check(&training.recipe, input.recoding.as_ref()).is_ok() {
                all.push(input);
            }
        }
    }
    all
}
