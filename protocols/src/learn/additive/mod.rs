//! An additive model: the score is an intercept plus, for each feature, the step of a function of that feature alone. It
//! is read feature by feature, and scored with look-ups and additions.
//!
//! This is the shape of DP-EBM (Nori, Caruana, Bu, Shen, Kulkarni, ICML 2021, arXiv 2106.09680) with another way of
//! training: all features are updated in every round from one release, and rounds are steps of a preconditioned descent
//! whose size knows the noise, where DP-EBM boosts one feature at a time.
//!
//! **Releases**, of a method's budget:
//!
//! 1. 5 %: fine histograms of all numbers (`fine`), from which bins are made (`bins`). Left out if there are none.
//! 2. 15 %: for each bin the customers with and without the event; for a number the customers and the sum of the target.
//!    One cell a feature: norm √d for d features. It gives the sizes of all bins and the gradient at the start.
//! 3. 80 % in equal parts, round after round: the residual r = y − p of each customer, clipped to ±A, in its bin of each
//!    feature: norm A·√d.
//! 4. If pairs are asked for, a tenth of that: see `pairs`.
//!
//! Between releases everything is post-processing (`descent`). Public choices: T = 12 rounds, A = 0.8 (1.5 spreads of the
//! target for a number), at most 16 bins of equal weight and as many of single values; they are near the middle of a flat
//! optimum, found on the three public data sets of the quality bench, and do not depend on the data at hand.
//!
//! **A number as target** is standardised with mean and spread from a histogram in the first release, and y is cut at 3
//! spreads; the loss is the square, so that p above is the score itself.

mod bins;
mod descent;
mod pairs;
mod residuals;

use std::ops::Range;

use super::fine::Fine;
use super::frame::{Contribute, Input, Release, Role, Train, Unfit};
use super::options::{Options, affordable, only};
use super::recipe::{Recipe, Target};
use crate::privacy::bounds::Component;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{Column, UNIT};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// Whether an event is predicted, rather than a number.
    pub event: bool,
    /// How many rounds of residuals, T.
    pub rounds: u32,
    /// What a residual is clipped to, A: in probability, or in spreads of the target.
    pub clip: f64,
    /// Bins of a number, of equal weight; B.
    pub bins: u32,
    /// How strongly shapes are drawn to zero and to smoothness, where 1 is the usual.
    pub regularisation: f64,
    /// How many terms of two features are added.
    pub pairs: u32,
    /// Features whose shape may only rise (true) or fall, by position.
    pub monotone: Vec<(u32, bool)>,
}

/// Shares of the budget, in millionths: histograms of numbers, the start, and (of the rest) the pairs.
const FINE: u32 = 50_000;
const START: u32 = 150_000;
const PAIRS: u32 = 100_000;
/// The value of one customer in a cell of the start.
const ONE: i32 = 1024;
/// Most cells of all features; beyond it the input of a round would be too long a message.
const MAX_CELLS: usize = 200_000;
/// Most cells of one feature: codes have 16 bits, and the start has two cells for each.
const MAX_WIDTH: usize = 32_767;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, event: bool, rho: f64) -> Result<Self, String> {
        only(options, "additive", &["rounds", "clip", "bins", "regularisation", "pairs", "monotone"])?;
        let features = recipe.features.len();
        let within = |name: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(value),
            false => Err(format!("`{name}` is {value}; it lies between {low} and {high}")),
        };
        let most_clip = if event { 1.0 } else { 6.0 };
        let clip = within("clip", options.clip.unwrap_or(if event { 0.8 } else { 1.5 }), 0.01, most_clip)?;
        let rounds = within("rounds", f64::from(options.rounds.unwrap_or(12)), 1.0, 200.0)? as u32;
        let bins = within("bins", f64::from(options.bins.unwrap_or(16)), 2.0, 120.0)? as u32;
        let regularisation = within("regularisation", options.regularisation.unwrap_or(1.0), 0.01, 100.0)?;
        let pairs = within("pairs", f64::from(options.pairs.unwrap_or(0)), 0.0, 10.0)? as u32;
        if pairs > 0 && features < 2 {
            return Err("`pairs` needs two features or more".into());
        }
        let mut monotone = Vec::new();
        for (name, rising) in &options.monotone {
            let position = recipe.features.iter().position(|feature| feature.name == *name);
            let position = position.ok_or_else(|| format!("`monotone` names `{name}`, which is no feature"))?;
            if recipe.features[position].values.column() != Column::Number {
                return Err(format!("`monotone` names `{name}`, whose values have no order"));
            }
            monotone.push((position as u32, *rising));
        }
        let settings = Self { event, rounds, clip, bins, regularisation, pairs, monotone };
        let cells: usize = settings.widths(recipe).iter().sum();
        let wide = recipe.features.iter().find(|feature| settings.width(feature.values.column()) > MAX_WIDTH);
        if let Some(feature) = wide {
            return Err(format!("`{}` has more than {} categories; merge some with CASE", feature.name, MAX_WIDTH - 1));
        }
        if cells > MAX_CELLS {
            return Err(format!(
                "the features have {cells} bins and values in all; a model has at most {MAX_CELLS}: merge categories with CASE"
            ));
        }
        let noise = (features as f64 * f64::from(rounds) / (2.0 * 0.8 * rho)).sqrt() * clip;
        affordable(features, noise)?;
        Ok(settings)
    }

    /// How many cells a feature takes in a release: enough for its bins, however many come out.
    fn width(&self, column: Column) -> usize {
        match column {
            // Bins of equal weight, single values, and missing ones.
            Column::Number => 2 * self.bins as usize + 2,
            Column::Category { values } => usize::from(values) + 1,
        }
    }

    fn widths(&self, recipe: &Recipe) -> Vec<usize> {
        recipe.columns().into_iter().map(|column| self.width(column)).collect()
    }

    fn fine(&self, recipe: &Recipe) -> Fine {
        Fine::new(recipe, !self.event)
    }
}

/// Which of the releases one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fine,
    Start,
    Round,
    Pairs,
}

fn steps(settings: &Settings, recipe: &Recipe) -> Vec<Step> {
    let fine = settings.fine(recipe).release(FINE).map(|_| Step::Fine);
    let rounds = std::iter::repeat_n(Step::Round, settings.rounds as usize);
    let pairs = (settings.pairs > 0).then_some(Step::Pairs);
    fine.into_iter().chain([Step::Start]).chain(rounds).chain(pairs).collect()
}

pub(super) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
    let features = recipe.features.len() as u32;
    let cells = settings.widths(recipe).iter().sum::<usize>() as u64;
    let steps = steps(settings, recipe);
    let fine = if steps[0] == Step::Fine { FINE } else { 0 };
    let pairs = if settings.pairs > 0 { PAIRS } else { 0 };
    let round = (MILLION - fine - START - pairs) / settings.rounds.max(1);
    let clip = (settings.clip * f64::from(UNIT)) as u64;
    let mut number = 0;
    let release = |step: Step| {
        let (name, components) = match step {
            Step::Fine => return settings.fine(recipe).release(FINE),
            Step::Start if settings.event => {
                let counts = Component::Cells { cells: 2 * cells, touches: features, per_cell: ONE as u64 };
                ("bins by target".to_owned(), vec![(counts, START)])
            }
            Step::Start => {
                let component = |per_cell| (Component::Cells { cells, touches: features, per_cell }, START / 2);
                ("bins and sums of the target".to_owned(), vec![component(ONE as u64), component(clip)])
            }
            Step::Round => {
                number += 1;
                let residuals = Component::Cells { cells, touches: features, per_cell: clip };
                (format!("residuals {number}"), vec![(residuals, round)])
            }
            Step::Pairs => ("residuals of pairs".to_owned(), pairs::components(recipe.features.len(), clip, PAIRS)),
        };
        Some(Release { name, role: Role::Training, components })
    };
    steps.into_iter().filter_map(release).collect()
}

/// The releases that change the model, each one where the one before has left it.
pub(super) fn moves(settings: &Settings, recipe: &Recipe) -> Range<usize> {
    let steps = steps(settings, recipe);
    let end = steps.len() - usize::from(settings.pairs > 0);
    usize::from(steps.first() == Some(&Step::Fine))..end
}

/// The most bytes that a model without pairs takes in an input.
pub(super) fn size(settings: &Settings, recipe: &Recipe) -> usize {
    // The variant, the intercept, two lengths, and the shapes with a length each.
    28 + settings.widths(recipe).into_iter().map(|width| 8 + 8 * width).sum::<usize>()
}

pub(super) fn contributor(
    settings: &Settings,
    recipe: &Recipe,
    target: Option<&Target>,
    release: usize,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    let unfit = |problem: &str| Err(Unfit(problem.into()));
    let numbers = recipe.columns().contains(&Column::Number);
    let fits = |(column, width): (Column, usize)| column == Column::Number || column.dims() <= width;
    if let Some(recoding) = &input.recoding
        && !recoding.columns(recipe).into_iter().zip(settings.widths(recipe)).all(fits)
    {
        return unfit("a number has more bins than the plan has room for");
    }
    match steps(settings, recipe).get(release) {
        Some(Step::Fine) if input.recoding.is_none() => Ok(settings.fine(recipe).contributor()),
        Some(Step::Fine) => unfit("bins come before the histograms they are made from"),
        Some(_) if numbers && input.recoding.is_none() => unfit("there are no bins"),
        Some(Step::Start) => residuals::start(settings, recipe, target, input),
        Some(Step::Round) => residuals::round(settings, recipe, target, input),
        Some(Step::Pairs) => pairs::contributor(settings, recipe, target, input),
        None => unfit("there is no such release"),
    }
}

pub(super) fn start(settings: &Settings, recipe: &Recipe) -> Box<dyn Train> {
    Box::new(descent::Descent::new(settings, recipe))
}

#[cfg(test)]
mod tests;
