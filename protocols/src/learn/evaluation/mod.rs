//! How well a model does on customers it has not seen: one release of sums over held-out customers, and what follows
//! from it, which is post-processing.
//!
//! - [`classification`]: an event's customers and the others by score bin;
//! - [`regression`]: sums of the target, its square and the squared error;
//! - [`clusters`]: sizes, and squared distances from the centres.
//!
//! With `per_partner` every participant's customers are counted by themselves as well: as many components again, each
//! with one block of cells a participant, of which a node fills its own. Each half gets half of the budget, and the
//! sum of the blocks, which says the same as the first half with more noise, makes the first half's noise smaller by
//! n/(n + 1) of its variance.
//!
//! One more component says what each round of training did to these customers ([`checkpoints`]). It takes a quarter of
//! the evaluation's budget, the others share what is left in equal parts.
//!
//! **Intervals** are at 95 % and cover two things: the noise, and that the held-out customers are a sample of all those
//! that might have been held out. A count of c customers in a cell then has the variance s² + c (Poisson, which for
//! shares is the binomial one), and metrics have theirs by the delta method with numeric derivatives. Where counts
//! cannot be distinguished from their noise an interval is the whole range of what is possible. Values are clamped to that
//! range.

pub mod checkpoints;
pub mod classification;
pub mod clusters;
mod loss;
mod noisy;
mod outcome;
mod predicted;
pub mod regression;

use noisy::{MOST_CUSTOMERS, Noisy, scaled};
use predicted::Predicted;

use super::frame::{Contribute, Implausible, Input, Place, Release, Role, Unfit};
use super::model::Parameters;
use super::training::{EvaluationSettings, Training};
use crate::privacy::bounds::Component;

pub use outcome::{Calibration, Change, Cluster, Curves, Detail, Evaluation, Gain, Metric, Performance, Point};

pub(super) fn release(settings: &EvaluationSettings, training: &Training, participants: usize) -> Release {
    let cells = |cells, per_cell| Component::Cells { cells, touches: 1, per_cell };
    let forms = components(&Predicted::of(training));
    let parts = forms.len() as u32 * if settings.per_partner { 2 } else { 1 };
    let spans = checkpoints::spans(training).len();
    let compared = if spans > 0 { settings.share / checkpoints::SHARE } else { 0 };
    let share = (settings.share - compared) / parts;
    let all = forms.iter().map(|(all, _, per_cell)| (cells(*all, *per_cell), share));
    let each = forms.iter().map(|(_, each, per_cell)| (cells(each * participants as u64, *per_cell), share));
    let mut components: Vec<_> = if settings.per_partner { all.chain(each).collect() } else { all.collect() };
    if spans > 0 {
        components.push((checkpoints::component(spans), compared));
    }
    Release { name: "evaluation".into(), role: Role::HeldOut, components }
}

pub(super) fn contributor(training: &Training, input: &Input, place: Place) -> Result<Box<dyn Contribute>, Unfit> {
    if input.parameters == Parameters::None {
        return Err(Unfit("there is no model to evaluate yet".into()));
    }
    let settings = training.evaluation.as_ref().ok_or_else(|| Unfit("no evaluation is planned".into()))?;
    if place.position >= place.participants {
        return Err(Unfit(format!("there is no participant {} of {}", place.position + 1, place.participants)));
    }
    let position = settings.per_partner.then_some(place.position);
    let model = input.parameters.clone();
    let changes = checkpoints::Changes::new(training, input)?;
    Ok(match Predicted::of(training) {
        Predicted::Event => Box::new(classification::Bins::new(&training.recipe.columns(), model, position, changes)),
        Predicted::Number(target) => Box::new(regression::Errors::new(model, target.clone(), position, changes)),
        Predicted::Clusters(_) => Box::new(clusters::Distances::new(model, position, changes)?),
    })
}

pub(super) fn of(
    settings: &EvaluationSettings,
    training: &Training,
    model: &Parameters,
    sum: &[&[i64]],
    sd: &[f64],
    participants: usize,
) -> Result<Evaluation, Implausible> {
    let layout = release(settings, training, participants).layout();
    let lengths = layout.ranges().into_iter().map(|range| range.len());
    if !lengths.eq(sum.iter().map(|sum| sum.len())) || sd.len() != sum.len() {
        return Err(Implausible("the sum of the evaluation has another form than the release's".into()));
    }
    let blocks = if settings.per_partner { participants } else { 0 };
    let parts = components(&Predicted::of(training)).len() * if settings.per_partner { 2 } else { 1 };
    let most = |component: &Component| match component {
        Component::Cells { per_cell, .. } => *per_cell,
        _ => 1,
    };
    let most: Vec<u64> = layout.components().iter().map(most).collect();
    let scaled = scaled(sum, sd, &most)?;
    let (rated, compared) = scaled.split_at(parts);
    let mut evaluation = rate(training, model, rated, blocks)?;
    if let ([changes], Some(counts)) = (compared, rated.first()) {
        evaluation.changes = checkpoints::of(training, changes, counts, &evaluation.all)?;
    }
    Ok(evaluation)
}

/// Components: cells over all customers, cells for one participant's, the most of one customer in grid units.
fn components(predicted: &Predicted<'_>) -> Vec<(u64, u64, u64)> {
    match predicted {
        Predicted::Event => classification::components(),
        Predicted::Number(_) => regression::components(),
        Predicted::Clusters(clusters) => clusters::components(*clusters),
    }
}

/// What the sums say of the model, those of all customers first, then those of each of `blocks` participants.
fn rate(training: &Training, model: &Parameters, sums: &[Noisy], blocks: usize) -> Result<Evaluation, Implausible> {
    let predicted = Predicted::of(training);
    let (all, each) = sums.split_at(components(&predicted).len().min(sums.len()));
    match predicted {
        Predicted::Event => classification::of(&training.recipe.columns(), model, all, each, blocks),
        Predicted::Number(target) => regression::of(target, all, each, blocks),
        Predicted::Clusters(_) => clusters::of(&training.recipe.columns(), all, each, blocks),
    }
}

/// The main metric (AUC, R², or the mean squared distance) with the interval that an evaluation of so many held-out
/// customers would have, `sd` being the noise of its components in grid units: for a typical model, which means an AUC
/// of 0.75 at one event in five customers, or an R² of 0.5 for a target of a sixth of its range as standard deviation,
/// or clusters of one size at a tenth of the largest distance.
pub fn expected(training: &Training, customers: f64, sd: &[f64]) -> Option<Metric> {
    let predicted = Predicted::of(training);
    let forms = components(&predicted);
    let typical = match predicted {
        Predicted::Event => classification::typical(),
        Predicted::Number(_) => regression::typical(),
        Predicted::Clusters(clusters) => clusters::typical(clusters),
    };
    let customers = if customers.is_finite() { customers.clamp(0.0, MOST_CUSTOMERS) } else { 0.0 };
    let scale = |(shares, (_, _, per_cell)): (Vec<f64>, &(u64, u64, u64))| -> Vec<i64> {
        shares.into_iter().map(|share| (share * customers * *per_cell as f64) as i64).collect()
    };
    let sums: Vec<Vec<i64>> = typical.into_iter().zip(&forms).map(scale).collect();
    let sums: Vec<&[i64]> = sums.iter().map(Vec::as_slice).collect();
    let most: Vec<u64> = forms.iter().map(|(_, _, per_cell)| *per_cell).collect();
    let scaled = scaled(&sums, sd.get(..forms.len())?, &most).ok()?;
    rate(training, &Parameters::None, &scaled, 0).ok()?.all.metrics.first().copied()
}

#[cfg(test)]
mod tests;
