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
//! cannot be told from their noise an interval is the whole range of what is possible. Values are clamped to that
//! range.

pub mod checkpoints;
pub mod classification;
pub mod clusters;
pub mod regression;

use super::frame::{Contribute, Implausible, Input, Place, Release, Role, SLACK, Unfit};
use super::kmeans;
use super::model::Parameters;
use super::recipe::Target;
use super::training::{EvaluationSettings, Method, Training};
use crate::privacy::bounds::Component;
use crate::privacy::interval::Estimate;

/// How well a model does.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// On all held-out customers.
    pub all: Performance,
    /// On those of each participant, by position; empty unless asked for.
    pub partners: Vec<Performance>,
    /// More about all of them.
    pub detail: Detail,
    /// What the training's rounds did to them, in order; empty where a model has one round.
    pub changes: Vec<checkpoints::Change>,
}

/// How well a model does on some customers.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Performance {
    /// How many customers these are; the interval covers noise alone.
    pub customers: Estimate,
    /// In a fixed order, the one that matters most first.
    pub metrics: Vec<Metric>,
}

impl Performance {
    /// A metric by its name.
    pub fn metric(&self, name: &str) -> Option<Estimate> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.estimate)
    }
}

/// A number that says how well a model does.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Metric {
    /// Its name; the modules list them.
    pub name: &'static str,
    /// Its value.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// What there is to say by kind of model.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Detail {
    /// An event.
    Event(classification::Curves),
    /// A number: nothing more.
    Number,
    /// Clusters.
    Clusters {
        /// By position.
        clusters: Vec<clusters::Cluster>,
    },
}

/// What is evaluated, in terms of what is released.
enum Kind<'a> {
    Event,
    Number(&'a Target),
    Clusters(usize),
}

impl<'a> Kind<'a> {
    fn of(training: &'a Training) -> Self {
        match (&training.target, &training.method) {
            (Some(target), _) if target.is_event() => Self::Event,
            (Some(target), _) => Self::Number(target),
            (None, Method::Kmeans(kmeans::Settings { clusters, .. })) => Self::Clusters(*clusters as usize),
            // Not a training that can be planned.
            (None, _) => Self::Clusters(1),
        }
    }

    /// Components: cells over all customers, cells for one participant's, the most of one customer in grid units.
    fn components(&self) -> Vec<(u64, u64, u64)> {
        match self {
            Self::Event => classification::components(),
            Self::Number(_) => regression::components(),
            Self::Clusters(clusters) => clusters::components(*clusters),
        }
    }
}

pub(super) fn release(settings: &EvaluationSettings, training: &Training, participants: usize) -> Release {
    let cells = |cells, per_cell| Component::Cells { cells, touches: 1, per_cell };
    let forms = Kind::of(training).components();
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
    Ok(match Kind::of(training) {
        Kind::Event => Box::new(classification::Bins::new(&training.recipe.columns(), model, position, changes)),
        Kind::Number(target) => Box::new(regression::Errors::new(model, target.clone(), position, changes)),
        Kind::Clusters(_) => Box::new(clusters::Distances::new(model, position, changes)?),
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
    let parts = Kind::of(training).components().len() * if settings.per_partner { 2 } else { 1 };
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

/// Sums in customers, or in the most that one customer brings, `most`.
fn scaled(sum: &[&[i64]], sd: &[f64], most: &[u64]) -> Result<Vec<Noisy>, Implausible> {
    if sd.iter().any(|sd| !sd.is_finite() || *sd < 0.0) {
        return Err(Implausible("the noise of the evaluation is no number".into()));
    }
    let scaled: Vec<Noisy> = (sum.iter().zip(sd).zip(most))
        .map(|((sum, sd), most)| {
            let unit = *most as f64;
            Noisy { cells: sum.iter().map(|cell| *cell as f64 / unit).collect(), sd: sd / unit }
        })
        .collect();
    let absurd = |noisy: &Noisy| noisy.cells.iter().any(|cell| cell.abs() > MOST_CUSTOMERS + SLACK * noisy.sd);
    if scaled.iter().any(absurd) {
        return Err(Implausible(
            "a cell of the evaluation has more customers than there are people: a participant sent something else"
                .into(),
        ));
    }
    Ok(scaled)
}

/// What the sums say of the model, those of all customers first, then those of each of `blocks` participants.
fn rate(training: &Training, model: &Parameters, sums: &[Noisy], blocks: usize) -> Result<Evaluation, Implausible> {
    let kind = Kind::of(training);
    let (all, each) = sums.split_at(kind.components().len().min(sums.len()));
    match kind {
        Kind::Event => classification::of(&training.recipe.columns(), model, all, each, blocks),
        Kind::Number(target) => regression::of(target, all, each, blocks),
        Kind::Clusters(_) => clusters::of(&training.recipe.columns(), all, each, blocks),
    }
}

/// The main metric (AUC, R², or the mean squared distance) with the interval that an evaluation of so many held-out
/// customers would have, `sd` being the noise of its components in grid units: for a typical model, which means an AUC
/// of 0.75 at one event in five customers, or an R² of 0.5 for a target of a sixth of its range as standard deviation,
/// or clusters of one size at a tenth of the largest distance.
pub fn expected(training: &Training, customers: f64, sd: &[f64]) -> Option<Metric> {
    let kind = Kind::of(training);
    let forms = kind.components();
    let typical = match kind {
        Kind::Event => classification::typical(),
        Kind::Number(_) => regression::typical(),
        Kind::Clusters(clusters) => clusters::typical(clusters),
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

/// Cells of one component, in customers or what one of them brings at most, and the noise in each.
#[derive(Clone, Debug)]
struct Noisy {
    cells: Vec<f64>,
    sd: f64,
}

/// More than there are people: no alliance has so many customers in a cell.
const MOST_CUSTOMERS: f64 = 1e10;
/// Standard deviations that a count must be above zero for something to be said with it as a denominator.
const SAID: f64 = 4.0;

impl Noisy {
    /// Participant number `position`'s block of cells.
    fn block(&self, position: usize, cells: usize) -> Self {
        let block = self.cells.chunks(cells.max(1)).nth(position).unwrap_or_default();
        Self { cells: block.to_vec(), sd: self.sd }
    }

    /// The sum over blocks.
    fn sum(&self, blocks: usize, cells: usize) -> Self {
        let block = |cell: usize| self.cells.iter().skip(cell).step_by(cells.max(1)).sum();
        Self { cells: (0..cells).map(block).collect(), sd: self.sd * (blocks as f64).sqrt() }
    }

    /// Two measurements of the same cells as one, weighed by precision; if no noise explains how they differ, some
    /// participant has brought other customers to one than to the other.
    fn with(&self, other: &Self) -> Result<Self, Implausible> {
        let slack = SLACK * self.sd.hypot(other.sd);
        let apart = |(one, two): (&f64, &f64)| (one - two).abs() > slack + 1e-9 * one.abs();
        if self.cells.iter().zip(&other.cells).any(apart) {
            return Err(implausible("the counts of all customers differ from the sum of every participant's"));
        }
        let (one, two) = (self.sd.powi(2), other.sd.powi(2));
        let weight = if one + two > 0.0 { two / (one + two) } else { 1.0 };
        let mean = |(a, b): (&f64, &f64)| weight * a + (1.0 - weight) * b;
        let sd = if one + two > 0.0 { (one * two / (one + two)).sqrt() } else { 0.0 };
        Ok(Self { cells: self.cells.iter().zip(&other.cells).map(mean).collect(), sd })
    }

    /// Refuses a cell that no noise makes so negative.
    fn counts(&self) -> Result<(), Implausible> {
        match self.cells.iter().find(|cell| **cell < -SLACK * self.sd) {
            Some(cell) => Err(implausible(&format!("a cell counts {cell:.0} customers, less than noise explains"))),
            None => Ok(()),
        }
    }

    /// Refuses a sum of which each of the customers, counted in `counts` cell by cell, brings `least` to 1.
    fn within(&self, counts: &Self, least: f64) -> Result<(), Implausible> {
        let slack = SLACK * self.sd.hypot(counts.sd);
        for (cell, count) in self.cells.iter().zip(&counts.cells) {
            let count = count.max(0.0);
            let slack = slack + 1e-9 * count;
            if *cell < least * count - slack || *cell > count + slack {
                return Err(implausible(&format!("a sum is {cell:.0}, more than {count:.0} customers can bring")));
            }
        }
        Ok(())
    }

    fn total(&self) -> f64 {
        self.cells.iter().sum()
    }

    /// The noise in the total.
    fn total_sd(&self) -> f64 {
        self.sd * (self.cells.len() as f64).sqrt()
    }

    /// How many customers the cells count.
    fn count(&self) -> Estimate {
        Estimate::of_count(self.total(), self.total_sd())
    }
}

fn implausible(what: &str) -> Implausible {
    Implausible(format!(
        "{what}: some participant sent something else than its held-out customers' sums; the masks hide which one"
    ))
}

/// The histogram without negative cells that is nearest to a noisy one and has the same total: max(c − τ, 0) with the
/// one τ that keeps it. All zero where the total is not positive.
fn repair(cells: &[f64]) -> Vec<f64> {
    let total: f64 = cells.iter().sum();
    if total <= 0.0 {
        return vec![0.0; cells.len()];
    }
    let mut sorted = cells.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // With the k largest cells kept, τ is (their sum − total)/k; the largest k whose smallest kept cell is above its τ
    // is right.
    let mut sum = 0.0;
    let mut tau = 0.0;
    for (k, cell) in sorted.iter().enumerate() {
        sum += cell;
        let with = (sum - total) / (k + 1) as f64;
        if *cell > with {
            tau = with;
        }
    }
    cells.iter().map(|cell| (cell - tau).max(0.0)).collect()
}

/// `f` of uncertain numbers by the delta method, within `range`; the whole range where it has no value or `said` is
/// false.
fn delta(x: &[f64], variance: &[f64], range: (f64, f64), said: bool, f: impl Fn(&[f64]) -> f64) -> Estimate {
    let (least, most) = range;
    let value = f(x);
    let whole = Estimate { value: value.clamp(least, most), low: least, high: most };
    if !value.is_finite() {
        return Estimate { value: (least + most) / 2.0, ..whole };
    }
    let step = 1e-6 * x.iter().map(|x| x.abs()).sum::<f64>();
    let mut moved = x.to_vec();
    let mut sum = 0.0;
    for (i, variance) in variance.iter().enumerate() {
        moved[i] = x[i] + step;
        let above = f(&moved);
        moved[i] = x[i] - step;
        let slope = (above - f(&moved)) / (2.0 * step);
        moved[i] = x[i];
        sum += slope.powi(2) * variance;
    }
    if said && sum.is_finite() { clamp(Estimate::of_sum(value, sum.sqrt()), range) } else { whole }
}

fn clamp(estimate: Estimate, (least, most): (f64, f64)) -> Estimate {
    let clamp = |x: f64| x.clamp(least, most);
    Estimate { value: clamp(estimate.value), low: clamp(estimate.low), high: clamp(estimate.high) }
}

/// The variance between customers of a number of 0 to 1 with this mean, of which only the mean is known. It is at most
/// that of a condition, and taken to be at most that of the square of a variable with kurtosis 6, twice the normal
/// one's.
fn spread(mean: f64) -> f64 {
    let mean = mean.clamp(0.0, 1.0);
    (mean * (1.0 - mean)).min(5.0 * mean * mean)
}

#[cfg(test)]
mod tests;
