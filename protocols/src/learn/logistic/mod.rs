//! Logistic regression from clipped gradients.
//!
//! **Releases**, with d features and C = √(d + 1), the largest norm of a design vector ([`crate::privacy::rows`]) in
//! units of one:
//!
//! 1. Fine histograms of the numbers (`learn::fine`), a twentieth of the budget; left out where there are none.
//! 2. Sums of x over customers with the event and over those without, 15 %. A customer is in one of the two: norm C. At
//!    weights of zero residuals are y − p₀ for everybody, so these sums are the gradient there, at any intercept and
//!    without clipping anything; and they say how frequent every entry is.
//! 3. T gradients Σ clip(y − p, ±A)·x, equal parts of the rest, norm A·C: per-customer clipped gradients (Abadi et al.
//!    2016, arXiv 1607.00133). As ‖x‖ ≤ C for everybody, clipping the residual is all the clipping there is.
//!
//! **Scale of numbers.** A number's range is public and may be far wider than where customers are. From its histogram
//! it gets a new scale: half is its value, clipped to the quantiles at 3 % and 97 %, half is its rank; centred, and
//! stretched to reach −1 or 1. A long tail then neither hides the rest nor loses its order.
//!
//! **Descent**, over entries centred at their means μ, with N customers and h = p₀(1 − p₀):
//!
//! - Steps are second-order with a diagonal: at weights of zero the Hessian Σ p(1 − p)·(x − μ)(x − μ)ᵀ has
//!   D = h·N·var(x) on it, and var(x) follows from the histograms and the second release. So rare categories move as
//!   fast as frequent ones. For an indicator the second moment stands for the variance, which is less: steps are
//!   shorter, not longer. Full second moments would be another release, with d² entries and a norm of C²: its noise
//!   outweighs what it says but where d is small, and experiments showed no gain there either.
//! - Each weight has a ridge: 1/τ² (τ = 1 for indicators, 2 for numbers, what is expected of weights a priori) and
//!   σ²/(D·τ²), σ² the noise of all gradients together. An entry whose D is small beside the noise stays at zero.
//! - Heavy-ball momentum at a fixed rate. A diagonal does not bound the Hessian of features that go together, so a
//!   step can be too long: where one gradient points against the one before by more than three standard deviations of
//!   their noise, the rate is halved and the momentum dropped.
//! - The constant is not shrunk, and has a Newton step of its own from each gradient.
//! - The model is the mean of the last six tenths of the iterates (Polyak & Juditsky 1992), which averages noise out.

mod descent;
mod residuals;
mod scale;
mod settings;

use std::ops::Range;

use settings::{HISTOGRAMS, LABELS, WEIGHT, has_numbers};

use super::fine::Fine;
use super::frame::{Contribute, Input, Release, Role, Train, Unfit, weighed};
use super::model::{Parameters, Recode, Recoding};
use super::recipe::{Recipe, Target};
use crate::privacy::bounds::Component;
use crate::privacy::rows::{self, Block, UNIT};
use crate::privacy::sums::{Part, Sums};

pub use settings::{MAX_ROUNDS, Settings};

pub(super) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
    let dims = rows::dims(&recipe.columns()) as u64;
    // As a block states the norms of its rows, rounded up, so that nobody is clipped: below 2^26.
    let square = (recipe.features.len() as u64 + 1) * u64::from(UNIT.unsigned_abs()).pow(2);
    let norm = square.isqrt() + u64::from(square.isqrt().pow(2) < square);
    let release = |name: String, length: u64, weight: i32, share: u32| {
        let component = Component::Vector { length, norm: norm * u64::from(weight.unsigned_abs()) };
        Release { name, role: Role::Training, components: vec![(component, share)] }
    };
    let histograms = Fine::new(recipe, false).release(HISTOGRAMS);
    let labels = release("sums by label".into(), 2 * dims, WEIGHT, LABELS);
    let gradient = |round| release(format!("gradient {round}"), dims, settings.most(), settings.gradient(recipe));
    let gradients = (1..=settings.rounds.clamp(1, MAX_ROUNDS)).map(gradient);
    histograms.into_iter().chain([labels]).chain(gradients).collect()
}

/// The releases that change the model.
pub(super) fn moves(settings: &Settings, recipe: &Recipe) -> Range<usize> {
    let first = usize::from(has_numbers(recipe));
    first..first + 1 + settings.rounds.clamp(1, MAX_ROUNDS) as usize
}

/// The most bytes that a model takes in an input: the variant, a length and the weights.
pub(super) fn size(recipe: &Recipe) -> usize {
    12 + 8 * rows::dims(&recipe.columns())
}

pub(super) fn contributor(
    settings: &Settings,
    recipe: &Recipe,
    target: Option<&Target>,
    release: usize,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    if !target.is_some_and(Target::is_event) {
        return Err(Unfit("a logistic model needs a condition to predict".into()));
    }
    let numbers = has_numbers(recipe);
    let binned = |recoding: &Recoding| recoding.columns.iter().any(|recode| matches!(recode, Recode::Bins(_)));
    if input.recoding.is_some() != (numbers && release > 0) || input.recoding.as_ref().is_some_and(binned) {
        return Err(Unfit("numbers have a scale from the second release on, and no bins".into()));
    }
    match (release.checked_sub(usize::from(numbers)), &input.parameters) {
        (None, Parameters::None) => Ok(Fine::new(recipe, false).contributor()),
        (Some(0), Parameters::None) => Ok(Box::new(Labels)),
        (Some(1..), Parameters::Weights { weights }) => {
            // What is too large for 32 bits becomes infinite, and its residuals ±1 or none.
            let weights = weights.iter().map(|weight| *weight as f32).collect();
            Ok(Box::new(residuals::Gradient { weights, most: settings.most() }))
        }
        _ => Err(Unfit("gradients are of weights, and what comes before them is of none".into())),
    }
}

pub(super) fn start(settings: &Settings, recipe: &Recipe) -> Box<dyn Train> {
    Box::new(descent::Regression::new(settings, recipe))
}

struct Labels;

impl Contribute for Labels {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        // There is no third vector: whoever has no label counts for nothing.
        let slot = |code: &u16| match *code {
            2 => 0,
            1 => 1,
            _ => 2,
        };
        let slots: Vec<u16> = target.iter().map(slot).collect();
        sums.add(&[Part::Vectors {
            block,
            weights: &weighed(vec![WEIGHT; block.rows()], weights),
            slots: Some(&slots),
        }]);
    }
}

#[cfg(test)]
mod tests;
