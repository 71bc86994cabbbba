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
mod releases;
mod residuals;
mod settings;

use releases::{Step, steps};

use super::frame::{Contribute, Input, Train, Unfit};
use super::recipe::{Recipe, Target};
use crate::privacy::rows::Column;

pub(super) use releases::{moves, releases, size};
pub use settings::Settings;

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
