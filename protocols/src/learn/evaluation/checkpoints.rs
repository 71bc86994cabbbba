//! Which round made the model worse: what each round of training did to the loss of held-out customers.
//!
//! **Mechanism.** The models between the rounds are **checkpoints**, which the evaluation's input carries. For each model
//! but the first, every held-out customer brings the change of its loss from the model before, clipped to ±[`CLIP`] and
//! in steps of 1/[`UNIT`], to a cell of its own. The loss is between 0 and 1: of an event the squared error of its
//! probability; of a number the squared error as in [`super::regression`]; of a cluster the squared distance as a share
//! of the largest, as in [`super::clusters`]. Whoever lacks a target brings nothing, and where the training weighs customers,
//! each brings its change times its weight: an honest round lowers the loss that it was made for, and may raise another.
//!
//! **Sensitivity.** One customer touches one cell for each of k changes, each with at most C: norm √k·C
//! ([`crate::privacy::sums::Part::Values`]).
//!
//! **Charge.** A quarter of the evaluation's budget ([`SHARE`]), whatever k is; the noise of all other numbers of the
//! evaluation is 15 % larger for it. The noise in a mean change is √k·C/√(2ρ) over the customers: at 12 rounds,
//! ε = 1 and 5,000 held-out customers less than 0.002, where losses are of about 0.2.
//!
//! **Why C is 1/16.** Noise grows with C, and what is lost below C does not: a round moves a customer's loss by 0.005 to
//! 0.05. In simulated trainings (events, frequent and rare, numbers, clusters; 1,000 to 20,000 held-out customers, ρ of
//! 0.005 to 1) a sign that is flipped, ten times over, stands 3 times as far out of the noise as with C = ¼ in early
//! rounds. With 1/32 it would be 4 times, but rare events, whose customers gain much where all others lose a little,
//! begin to look like losses.
//!
//! **Alarm.** A round is named where the mean change is above zero by more than [`ALARM`] standard deviations of its
//! noise (by chance one in three million changes), and by more than [`LEAST`] of the final model's loss. The noise of a
//! round's own release makes honest steps go the wrong way as well. But where it does by more than a trifle, budget and
//! customers are so few that the change is lost in this noise: in 1,446 honest trainings such rises were of at most 3.3
//! standard deviations, and of more than 2.2 in two only (rare events, 1,000 held-out customers, ρ = 0.005). A warning
//! is to be expected in one of 15,000.
//!
//! **What it cannot find.** Drifts of less than that in each round; a round that changes little, as late ones do; what
//! makes the model worse only for few customers; anything where held-out customers are few for the noise; sums that are
//! wrong but lower the loss, as those of a partner that counts its customers several times; and whatever a partner hides
//! by falsifying its part of this very release.
//!
//! **What is compared.** All releases that change the model, of an additive one up to the residuals of pairs, which are
//! fitted to the mean of the rounds' models and not to the last of them; of clusters from the second round on, as the
//! first has more centres than the others. A linear model has one release and nothing to compare. Where models are so
//! large that not all of them fit into [`MOST_BYTES`], evenly spaced ones are compared, the last always included.

use std::ops::Range;

use super::super::frame::{Implausible, Input, Unfit, weighed};
use super::super::model::Parameters;
use super::super::recipe::Target;
use super::super::training::{Moves, Training};
use super::loss::{chance, error, most, nearest};
use super::noisy::{Noisy, SAID};
use super::outcome::{Change, Performance};
use super::predicted::Predicted;
use crate::privacy::bounds::Component;
use crate::privacy::interval::Estimate;
use crate::privacy::rows::{Block, UNIT};

/// C: what a customer's change of loss is clipped to.
pub const CLIP: f64 = 1.0 / 16.0;
/// The checkpoints take one part in this many of the evaluation's budget.
pub const SHARE: u32 = 4;
/// A rise of the loss is reported if it is more than this many standard deviations of its noise.
pub const ALARM: f64 = 5.0;
/// The share of the final loss that it must rise by.
pub const LEAST: f64 = 0.02;
/// The most bytes of all models that are compared: half of what an input may have.
pub const MOST_BYTES: usize = 2_000_000;

/// The changes that are released, each as the releases that lie between its two models: mostly a single one. A pure
/// function of public facts, the same for nodes and coordinator.
pub fn spans(training: &Training) -> Vec<Range<usize>> {
    if training.evaluation.is_none() {
        return Vec::new();
    }
    let Some(Moves { releases, size }) = training.method.moves(&training.recipe) else { return Vec::new() };
    let count = releases.len().min((MOST_BYTES / size.max(1)).saturating_sub(1));
    // Called only where `count` is not 0.
    let edge = |i: usize| releases.start + i * releases.len() / count;
    (0..count).map(|i| edge(i)..edge(i + 1)).collect()
}

/// How many models are compared.
pub fn models(training: &Training) -> usize {
    match spans(training).len() {
        0 => 0,
        spans => spans + 1,
    }
}

fn per_cell() -> u64 {
    (CLIP * f64::from(UNIT)) as u64
}

pub(super) fn component(spans: usize) -> Component {
    Component::Cells { cells: spans as u64, touches: spans as u32, per_cell: per_cell() }
}

/// What a node compares its customers' losses by.
pub(super) struct Changes {
    loss: Loss,
    models: Vec<Parameters>,
}

enum Loss {
    Event,
    Number(Target),
    Distance,
}

impl Changes {
    /// Of the models that the input has, which fit the plan but may be of another kind than its method's.
    pub(super) fn new(training: &Training, input: &Input) -> Result<Self, Unfit> {
        let predicted = Predicted::of(training);
        let same = |model: &Parameters| std::mem::discriminant(model) == std::mem::discriminant(&input.parameters);
        let fits = |(i, model): (usize, &Parameters)| match (&predicted, model) {
            (Predicted::Clusters(clusters), Parameters::Centres { centres }) => centres.len() == *clusters,
            (Predicted::Clusters(_), _) => false,
            // Before the first release there may be no model: the same score for everybody.
            (_, Parameters::None) => i == 0,
            (_, model) => same(model),
        };
        if !input.checkpoints.iter().enumerate().all(fits) {
            return Err(Unfit("a model of an earlier round is of another kind than the last one".into()));
        }
        let loss = match predicted {
            Predicted::Event => Loss::Event,
            Predicted::Number(target) => Loss::Number(target.clone()),
            Predicted::Clusters(_) => Loss::Distance,
        };
        Ok(Self { loss, models: input.checkpoints.clone() })
    }

    /// Change by change the clipped one of each customer, as much as it counts.
    pub(super) fn of(&self, block: &Block, target: &[u16], weights: &[u16]) -> Vec<Vec<i32>> {
        let mut models = self.models.iter().map(|model| self.losses(model, block, target));
        let Some(mut before) = models.next() else { return Vec::new() };
        // What is no number, as of a customer without a target, is cast to 0.
        let step = |change: f64| (change.clamp(-CLIP, CLIP) * f64::from(UNIT)) as i32;
        let change = |after: Vec<f64>| {
            let changes = before.iter().zip(&after).map(|(before, after)| step(after - before)).collect();
            let changes = weighed(changes, weights);
            before = after;
            changes
        };
        models.map(change).collect()
    }

    /// The loss of each customer; no number where its target is not known.
    fn losses(&self, model: &Parameters, block: &Block, target: &[u16]) -> Vec<f64> {
        let columns = block.columns();
        let mut codes = vec![0; columns.len()];
        let mut each = |loss: &dyn Fn(&[u16], u16) -> f64| {
            let one = |row: usize| {
                codes.iter_mut().enumerate().for_each(|(i, code)| *code = block.codes(i)[row]);
                loss(&codes, target.get(row).copied().unwrap_or(0))
            };
            (0..block.rows()).map(one).collect()
        };
        match &self.loss {
            Loss::Event => each(&|codes, target| {
                let event = match target {
                    1 => 0.0,
                    2 => 1.0,
                    _ => f64::NAN,
                };
                (chance(model.score(columns, codes)) - event).powi(2)
            }),
            Loss::Number(of) => each(&|codes, target| match target {
                0 => f64::NAN,
                known => error(model, of, columns, codes, known),
            }),
            Loss::Distance => nearest(model, block).into_iter().map(|(_, square)| square).collect(),
        }
    }
}

/// What the sum of all changes says, with the number of customers and what is known of the model.
pub(super) fn of(
    training: &Training,
    sums: &Noisy,
    counts: &Noisy,
    all: &Performance,
) -> Result<Vec<Change>, Implausible> {
    let (count, counted) = (counts.total(), counts.total_sd());
    sums.within(&Noisy { cells: vec![count; sums.cells.len()], sd: counted }, -1.0)?;
    let metric = |name: &str| all.metric(name).map_or(0.0, |metric| metric.value);
    let (loss, unit) = match Predicted::of(training) {
        Predicted::Event => (metric("brier"), 1.0),
        Predicted::Number(target) => {
            let (low, high) = target.values.bounds().unwrap_or((-1.0, 1.0));
            (metric("rmse").powi(2), ((high - low) / 2.0).powi(2))
        }
        Predicted::Clusters(_) => (metric("distance"), most(&training.recipe.columns())),
    };
    let change = |(span, sum): (Range<usize>, &f64)| {
        let mean = Estimate::of_average(*sum, sums.sd, count, counted, 0.0, -1.0, 1.0);
        let scaled = |change: f64| change * CLIP * unit;
        let rose = count > SAID * counted && *sum > ALARM * sums.sd && scaled(mean.value) > LEAST * loss;
        let change = Estimate { value: scaled(mean.value), low: scaled(mean.low), high: scaled(mean.high) };
        Change { first: span.start as u32 + 1, last: span.end as u32, change, rose }
    };
    Ok(spans(training).into_iter().zip(&sums.cells).map(change).collect())
}

#[cfg(test)]
mod tests;
