use std::sync::Arc;

use proptest::prelude::*;

use super::super::super::frame::{Place, Role};
use super::super::super::model::Model;
use super::super::super::recipe::{Feature, Recipe, Values};
use super::super::super::trainer::Trainer;
use super::super::super::training::{EvaluationSettings, Method};
use super::super::super::{additive, kmeans, logistic};
use super::*;
use crate::canonical::canonical_bytes;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::Column;
use crate::privacy::sums::Sums;

/// A linear congruential generator (Knuth's MMIX) and the polar method: the same customers and noise in each run.
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

/// The participants of all trainings here; each of them has as many customers as any other.
const PARTICIPANTS: usize = 3;

fn values() -> [Values; 6] {
    let number = || Values::Number { low: -1.0, high: 1.0 };
    let letters = Values::Category { values: ["a", "b", "c", "d"].map(String::from).to_vec() };
    [number(), number(), letters, Values::Bool, number(), number()]
}

fn training(method: Method, target: Option<Values>) -> Training {
    let feature = |(i, values)| Feature { name: format!("f{i}"), values };
    Training {
        recipe: Recipe { features: values().into_iter().enumerate().map(feature).collect() },
        target: target.map(|values| Target { name: "y".into(), values }),
        method,
        evaluation: Some(EvaluationSettings { share: MILLION / 10, per_partner: false }),
    }
}

/// Codes feature by feature, and of the target.
struct Customers {
    codes: Vec<Vec<u16>>,
    target: Vec<u16>,
}

impl Customers {
    /// A step, a line with missing values, two categories, something that goes with the line, and something that says
    /// nothing. The target is an event with log-odds of `odds` at the middle, or a number.
    fn new(random: &mut Random, count: usize, event: Option<f64>) -> Self {
        let code = |x: f64| (32768.0 + 32767.0 * x.clamp(-1.0, 1.0)).round() as u16;
        let (mut codes, mut target) = (vec![Vec::new(); 6], Vec::new());
        for _ in 0..count {
            let [step, line, idle] = [(); 3].map(|()| 2.0 * random.uniform() - 1.0);
            let (letter, yes) = ((random.uniform() * 4.0) as u16, random.uniform() < 0.3);
            let score = if step > 0.2 { 1.5 } else { 0.0 }
                + 1.2 * line
                + [0.9, -0.6, 0.0, 0.2][usize::from(letter)]
                + if yes { 0.7 } else { 0.0 };
            let with = 0.8 * line + 0.2 * random.normal();
            let line = if random.uniform() < 0.1 { 0 } else { code(line) };
            let row = [code(step), line, letter + 1, 1 + u16::from(yes), code(with), code(idle)];
            codes.iter_mut().zip(row).for_each(|(column, code)| column.push(code));
            target.push(match event {
                Some(odds) => 1 + u16::from(random.uniform() < 1.0 / (1.0 + (-score - odds).exp())),
                None => code(0.25 * (score - 1.0) + 0.15 * random.normal()),
            });
        }
        Self { codes, target }
    }

    /// What these bring to a release.
    fn sum(&self, training: &Training, release: usize, input: &Input, position: usize) -> Vec<i64> {
        let mut sums = Sums::new(Arc::new(training.releases(PARTICIPANTS)[release].layout()));
        let recode = |(i, codes): (usize, &Vec<u16>)| match &input.recoding {
            Some(recoding) => codes.iter().map(|code| recoding.columns[i].apply(*code)).collect(),
            None => codes.clone(),
        };
        let columns: Vec<Column> =
            input.recoding.as_ref().map_or_else(|| training.recipe.columns(), |r| r.columns(&training.recipe));
        let block = Block::new(columns.into(), self.codes.iter().enumerate().map(recode).collect()).unwrap();
        let target = if training.target.is_some() { &self.target[..] } else { &[] };
        let place = Place { position, participants: PARTICIPANTS };
        training.contributor(release, input, place).unwrap().add(&block, target, &[], &mut sums);
        sums.finish().values
    }
}

/// A training that has been run: the trainer behind it, and all that it was told of each release.
struct Run {
    trainer: Trainer,
    inputs: Vec<Input>,
    sums: Vec<(Vec<i64>, Vec<f64>)>,
    held_out: Customers,
}

impl Run {
    /// With four times as many customers as are held out; `change` is done to what the first participant sends.
    fn new(training: &Training, rho: f64, held_out: usize, seed: u64, change: impl Fn(usize, &mut [i64])) -> Self {
        let mut random = Random(seed);
        let event = training.target.as_ref().is_some_and(Target::is_event).then_some(-1.5);
        let partners = [(); PARTICIPANTS].map(|()| Customers::new(&mut random, 4 * held_out / PARTICIPANTS, event));
        let held_out = Customers::new(&mut random, held_out, event);
        let mut run = Self { trainer: Trainer::new(training, PARTICIPANTS), inputs: vec![], sums: vec![], held_out };
        for (index, release) in training.releases(PARTICIPANTS).iter().enumerate() {
            let input = run.trainer.input();
            let layout = release.layout();
            let mut sum = vec![0i64; layout.len()];
            if release.role == Role::HeldOut {
                sum = run.held_out.sum(training, index, &input, 0);
            } else {
                for (position, partner) in partners.iter().enumerate() {
                    let mut own = partner.sum(training, index, &input, position);
                    if position == 0 {
                        change(index, &mut own);
                    }
                    sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                }
            }
            let mut sds = Vec::new();
            for (component, range) in layout.ranges().into_iter().enumerate() {
                let rho = rho * f64::from(release.components[component].1) / f64::from(MILLION);
                // Of three participants any two make all of the noise.
                let sd = (1.5 * layout.sensitivity_squared(component) as f64 / (2.0 * rho)).sqrt();
                sum[range].iter_mut().for_each(|entry| *entry += (sd * random.normal()) as i64);
                sds.push(sd);
            }
            run.trainer.absorb(&sum, &sds).unwrap();
            run.inputs.push(input);
            run.sums.push((sum, sds));
        }
        run
    }

    fn changes(&self) -> &[Change] {
        &self.trainer.evaluation().unwrap().changes
    }

    /// The rounds that are named.
    fn named(&self) -> Vec<(u32, u32)> {
        self.changes().iter().filter(|change| change.rose).map(|change| (change.first, change.last)).collect()
    }
}

fn honest(_: usize, _: &mut [i64]) {}

fn additive(event: bool) -> Method {
    let clip = if event { 0.8 } else { 1.5 };
    let monotone = Vec::new();
    Method::Additive(additive::Settings { event, rounds: 6, clip, bins: 16, regularisation: 1.0, pairs: 0, monotone })
}

fn trainings() -> [Training; 4] {
    let logistic = Method::Logistic(logistic::Settings { rounds: 6, clip: 0.8, regularisation: 1.0 });
    let kmeans = Method::Kmeans(kmeans::Settings { clusters: 4, rounds: 5, seed: 0 });
    [
        training(additive(true), Some(Values::Bool)),
        training(additive(false), Some(Values::Number { low: -1.0, high: 1.0 })),
        training(logistic, Some(Values::Bool)),
        training(kmeans, None),
    ]
}

/// Customers and noise are the same in every run; with others, the noise of a change would be beyond five standard
/// deviations in one of three million.
#[test]
fn honest_trainings_are_not_warned_of() {
    for training in trainings() {
        for (rho, held_out) in [(0.005, 800), (0.1, 2000)] {
            for seed in 0..3 {
                let run = Run::new(&training, rho, held_out, seed, honest);
                assert_eq!(run.named(), [], "{:?} {rho} {seed}: {:?}", training.method, run.changes());
                assert_eq!(run.changes().len(), spans(&training).len());
            }
        }
    }
}

/// One participant of three sends the sums of one round with the wrong sign and ten times over, as its limits let pass; or,
/// where they do not, twice those of other clusters.
#[test]
fn the_round_that_was_poisoned_is_named_and_no_other() {
    for training in trainings() {
        let moves = spans(&training);
        for poisoned in [1, 2].map(|i| moves[i].start) {
            let entries = training.releases(PARTICIPANTS)[poisoned].layout().len();
            let poison = |index: usize, sum: &mut [i64]| {
                if index == poisoned && training.target.is_some() {
                    sum.iter_mut().for_each(|entry| *entry *= -10);
                } else if index == poisoned {
                    sum.rotate_left(entries / 4);
                    sum.iter_mut().for_each(|entry| *entry *= 2);
                }
            };
            for seed in 0..2 {
                let run = Run::new(&training, 0.5, 3000, seed, poison);
                let round = poisoned as u32 + 1;
                assert_eq!(run.named(), [(round, round)], "{:?} {seed}: {:?}", training.method, run.changes());
            }
        }
    }
}

/// Next to no noise: within a step of the grid a customer, and what little noise there is.
#[test]
fn changes_are_those_of_the_losses() {
    for training in trainings() {
        let run = Run::new(&training, 1e9, 500, 7, honest);
        let (model, input) = (run.trainer.model(), run.inputs.last().unwrap());
        assert_eq!(input.checkpoints.len(), models(&training));
        let loss = |parameters: &Parameters, row: usize| -> f64 {
            let model = Model { parameters: parameters.clone(), ..model.clone() };
            let codes: Vec<u16> = run.held_out.codes.iter().map(|codes| codes[row]).collect();
            let y = run.held_out.target[row];
            match &training.target {
                Some(target) if target.is_event() => (model.score(&codes) - f64::from(y - 1)).powi(2),
                Some(target) => (model.score(&codes).clamp(-1.0, 1.0) - f64::from(target.value(y))).powi(2).min(1.0),
                None => {
                    let Parameters::Centres { centres } = parameters else { panic!("clusters") };
                    let columns: Arc<[Column]> = training.recipe.columns().into();
                    let block = Block::new(columns.clone(), codes.iter().map(|code| vec![*code]).collect()).unwrap();
                    let mut x = vec![0.0; centres[0].len()];
                    block.entries(0, &crate::privacy::rows::places(&columns), |place, value| {
                        x.get_mut(place).into_iter().for_each(|x| *x = f64::from(value) / f64::from(UNIT));
                    });
                    let square = |centre: &Vec<f64>| centre.iter().zip(&x).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                    centres.iter().map(square).fold(f64::MAX, f64::min) / 12.0
                }
            }
        };
        let unit = if training.target.is_some() { 1.0 } else { 12.0 };
        for (change, pair) in run.changes().iter().zip(input.checkpoints.windows(2)) {
            let of = |row: usize| (loss(&pair[1], row) - loss(&pair[0], row)).clamp(-CLIP, CLIP);
            let mean = unit * (0..500).map(of).sum::<f64>() / 500.0;
            assert!((change.change.value - mean).abs() < 1e-4 * unit, "{mean} {change:?}");
            assert!(change.change.low <= change.change.value && change.change.value <= change.change.high);
        }
    }
}

#[test]
fn a_trainer_that_starts_again_asks_the_same_and_participants_may_go() {
    for training in trainings() {
        let run = Run::new(&training, 0.1, 600, 1, honest);
        let mut again = Trainer::new(&training, PARTICIPANTS);
        for (index, (sum, sd)) in run.sums.iter().enumerate() {
            // Whoever is left from some round on is told the same models.
            again.set_participants(if index > 3 { 2 } else { PARTICIPANTS });
            assert_eq!(again.input(), run.inputs[index]);
            again.absorb(sum, sd).unwrap();
        }
        assert_eq!(again.evaluation(), run.trainer.evaluation());
    }
}

#[test]
fn models_that_do_not_fit_the_plan_are_refused() {
    let place = Place { position: 1, participants: PARTICIPANTS };
    for training in trainings() {
        let run = Run::new(&training, 0.1, 60, 1, honest);
        let last = run.inputs.len() - 1;
        let input = &run.inputs[last];
        assert!(training.contributor(last, input, place).is_ok());
        let refused = |change: &dyn Fn(&mut Vec<Parameters>)| {
            let mut input = input.clone();
            change(&mut input.checkpoints);
            assert!(training.contributor(last, &input, place).is_err(), "{:?}", input.checkpoints);
        };
        refused(&|models| models.clear());
        refused(&|models| drop(models.pop()));
        refused(&|models| models.push(models[1].clone()));
        refused(&|models| *models.last_mut().unwrap() = Parameters::None);
        refused(&|models| models[1] = Parameters::Centres { centres: vec![vec![0.0; 3]] });
        let dims = crate::privacy::rows::dims(&training.recipe.columns());
        refused(&|models| models[1] = Parameters::Centres { centres: vec![vec![0.0; dims - 1]; 5] });
        refused(&|models| match &mut models[1] {
            Parameters::Weights { weights } => weights[0] = f64::NAN,
            Parameters::Additive { shapes, .. } => shapes[0][0] = f64::INFINITY,
            Parameters::Centres { centres } => drop(centres.pop()),
            Parameters::None => panic!("a model"),
        });
        // Rounds before it compare nothing.
        let mut early = run.inputs[last - 1].clone();
        assert!(training.contributor(last - 1, &early, place).is_ok() && early.checkpoints.is_empty());
        early.checkpoints.push(early.parameters.clone());
        assert!(training.contributor(last - 1, &early, place).is_err());
    }
}

#[test]
fn changes_that_no_customers_bring_are_refused() {
    let training = &trainings()[2];
    let run = Run::new(training, 0.5, 1000, 1, honest);
    let (sum, sd) = run.sums.last().unwrap();
    for factor in [1, -1] {
        let mut trainer = Trainer::new(training, PARTICIPANTS);
        run.sums[..run.sums.len() - 1].iter().for_each(|(sum, sd)| trainer.absorb(sum, sd).unwrap());
        let mut wrong = sum.clone();
        *wrong.last_mut().unwrap() += factor * (2000 * per_cell() as i64 + (8.0 * sd.last().unwrap()) as i64);
        let refused = trainer.absorb(&wrong, sd).unwrap_err();
        assert!(refused.0.contains("customers can bring"), "{refused}");
    }
}

proptest! {
    /// Whatever the plan, what is compared lies one behind the other up to the last release, and fits into an input.
    #[test]
    fn models_fit_into_an_input(
        wide in 1usize..60_000, clusters in 2u32..=100, rounds in 1u32..=50, bins in 2u32..120, pairs in 0u32..3, kind in 0..3,
    ) {
        let methods = trainings().map(|training| training.method);
        let [_, _, logistic, _] = methods;
        let method = match (kind, logistic) {
            (0, Method::Logistic(settings)) => Method::Logistic(logistic::Settings { rounds: 4 * rounds, ..settings }),
            (1, _) => Method::Kmeans(kmeans::Settings { clusters, rounds, seed: 0 }),
            _ => Method::Additive(additive::Settings {
                event: true, rounds: 4 * rounds, clip: 0.8, bins, regularisation: 1.0, pairs, monotone: vec![],
            }),
        };
        let target = (kind != 1).then_some(Values::Bool);
        let mut training = training(method, target);
        let values = Values::Category { values: vec![String::new(); wide] };
        training.recipe.features.push(Feature { name: "wide".into(), values });
        let spans = spans(&training);
        prop_assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start));
        prop_assert!(spans.iter().all(|span| span.start < span.end));
        let longest = spans.iter().map(Range::len).max().unwrap_or(0);
        prop_assert!(spans.iter().all(|span| span.len() + 1 >= longest), "evenly spaced");
        if let Some(last) = spans.last() {
            let after = training.releases(3).len() - 1 - usize::from(kind == 2 && pairs > 0);
            prop_assert_eq!(last.end, after);
        }
        let dims = crate::privacy::rows::dims(&training.recipe.columns());
        let model = match &training.method {
            Method::Kmeans(_) => Parameters::Centres { centres: vec![vec![0.5; dims - 1]; clusters as usize] },
            Method::Additive(_) => {
                let width = |column: &Column| match column {
                    Column::Number => 2 * bins as usize + 2,
                    Column::Category { .. } => column.dims(),
                };
                let shapes = training.recipe.columns().iter().map(|column| vec![0.5; width(column)]).collect();
                Parameters::Additive { intercept: 0.5, shapes, pairs: vec![] }
            }
            _ => Parameters::Weights { weights: vec![0.5; dims] },
        };
        let size = canonical_bytes(&model).len();
        prop_assert!(models(&training) * size <= MOST_BYTES);
        // And no fewer than fit: where not all are there, one more would be too many.
        let all = match &training.method {
            Method::Kmeans(settings) => kmeans::moves(settings),
            Method::Additive(settings) => additive::moves(settings, &training.recipe),
            Method::Logistic(settings) => logistic::moves(settings, &training.recipe),
            Method::Linear(_) => 0..0,
        };
        let spare = 16 * clusters as usize;
        prop_assert!(spans.len() == all.len() || (spans.len() + 2) * (size + spare) > MOST_BYTES);
    }
}
