//! What is released, in which order, for which part of the budget.

use std::ops::Range;

use super::pairs;
use super::settings::{FINE, ONE, PAIRS, START, Settings};
use crate::learn::frame::{Release, Role};
use crate::learn::recipe::Recipe;
use crate::privacy::bounds::Component;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::UNIT;

/// Which of the releases one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Fine,
    Start,
    Round,
    Pairs,
}

pub(super) fn steps(settings: &Settings, recipe: &Recipe) -> Vec<Step> {
    let fine = settings.fine(recipe).release(FINE).map(|_| Step::Fine);
    let rounds = std::iter::repeat_n(Step::Round, settings.rounds as usize);
    let pairs = (settings.pairs > 0).then_some(Step::Pairs);
    fine.into_iter().chain([Step::Start]).chain(rounds).chain(pairs).collect()
}

pub(in crate::learn) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
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
pub(in crate::learn) fn moves(settings: &Settings, recipe: &Recipe) -> Range<usize> {
    let steps = steps(settings, recipe);
    let end = steps.len() - usize::from(settings.pairs > 0);
    usize::from(steps.first() == Some(&Step::Fine))..end
}

/// The most bytes that a model without pairs takes in an input.
pub(in crate::learn) fn size(settings: &Settings, recipe: &Recipe) -> usize {
    // The variant, the intercept, two lengths, and the shapes with a length each.
    28 + settings.widths(recipe).into_iter().map(|width| 8 + 8 * width).sum::<usize>()
}
