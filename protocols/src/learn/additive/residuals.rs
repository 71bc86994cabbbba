//! What a node brings: its customers' bins, and their residuals.

use pulp::Arch;

use super::settings::{ONE, Settings};
use crate::kernels::lookups::{LOOKED_UP, Lookups, VALUES};
use crate::learn::frame::{Contribute, Input, Unfit, weighed};
use crate::learn::model::Parameters;
use crate::learn::recipe::{Recipe, Target};
use crate::learn::sigmoid::{sigmoid, steps};
use crate::privacy::joint::{PLACES, groups};
use crate::privacy::rows::{Block, Codes, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// Rows that are scored together: their scores and a few columns stay in the fastest cache.
const ROWS: usize = 1 << 12;

/// A model as nodes score with it.
pub(super) struct Scorer {
    intercept: f32,
    columns: Vec<Column>,
    terms: Vec<Term>,
    target: Target,
    /// What residuals are measured in.
    unit: f32,
    /// What residuals are clipped to, in 1/[`UNIT`].
    most: i32,
}

/// What features add to a score.
enum Term {
    /// Some joint columns, by their numbers, of features with few values each.
    Few { joints: Vec<usize>, lookups: Lookups },
    /// A feature of many values.
    Many { feature: usize, shape: Vec<f32> },
}

/// The terms of shapes, one a feature, over rows of these columns: the same ones whatever the rows hold.
///
/// Values of features with few are rounded to 1/32760 of the largest sum of nine: what that moves a score by is far below
/// what the noise of a round moves the model by.
fn terms(columns: &[Column], shapes: &[Vec<f64>]) -> Vec<Term> {
    let shapes = shapes.iter().map(|shape| shape.iter().map(|value| *value as f32).collect::<Vec<f32>>());
    let shapes: Vec<Vec<f32>> = shapes.chain(std::iter::repeat(Vec::new())).take(columns.len()).collect();
    let slots: Vec<usize> = columns.iter().map(|column| column.slots()).collect();
    let groups = groups(&slots, PLACES);
    let is_few = |number: &usize| groups[*number].clone().all(|feature| shapes[feature].len() <= VALUES);
    let (few, many): (Vec<usize>, Vec<usize>) = (0..groups.len()).partition(is_few);
    let together = |joints: &[usize]| {
        let joint = |number: &usize| {
            let group = groups[*number].clone();
            (&slots[group.clone()], shapes[group].iter().map(|shape| &shape[..]).collect())
        };
        let values: Vec<(&[usize], Vec<&[f32]>)> = joints.iter().map(joint).collect();
        Term::Few { joints: joints.to_vec(), lookups: Lookups::new(&values) }
    };
    let alone = |feature: usize| Term::Many { feature, shape: shapes[feature].clone() };
    few.chunks(LOOKED_UP)
        .map(together)
        .chain(many.into_iter().flat_map(|number| groups[number].clone()).map(alone))
        .collect()
}

impl Scorer {
    pub(super) fn new(
        settings: &Settings,
        recipe: &Recipe,
        target: Option<&Target>,
        input: &Input,
    ) -> Result<Self, Unfit> {
        let Parameters::Additive { intercept, shapes, .. } = &input.parameters else {
            return Err(Unfit("the model is not an additive one".into()));
        };
        let target = target.cloned().ok_or_else(|| Unfit("there is no target".into()))?;
        let most = (settings.clip * f64::from(UNIT)) as i32;
        let columns = input.recoding.as_ref().map_or_else(|| recipe.columns(), |recoding| recoding.columns(recipe));
        let terms = terms(&columns, shapes);
        Ok(Self { intercept: *intercept as f32, columns, terms, target, unit: input.unit as f32, most })
    }

    /// Each customer's clipped residual, in 1/[`UNIT`].
    pub(super) fn residuals(&self, block: &Block, target: &[u16]) -> Vec<i32> {
        let scores = self.scores(block);
        let mut residuals = vec![0; scores.len().min(target.len())];
        let rows = residuals.iter_mut().zip(&scores).zip(target);
        // Compiled for the processor that it runs on. A NaN, which no finite model makes, becomes 0.
        let arch = Arch::new();
        if self.target.is_event() {
            arch.dispatch(|| {
                for ((residual, score), code) in rows {
                    let event = if *code == 2 { 1.0 } else { 0.0 };
                    *residual = steps(event - sigmoid(*score), self.most);
                }
            });
        } else {
            arch.dispatch(|| {
                for ((residual, score), code) in rows {
                    *residual = steps((self.target.value(*code) - *score) / self.unit, self.most);
                }
            });
        }
        residuals
    }

    /// The score of each row, which depends on that row alone.
    fn scores(&self, block: &Block) -> Vec<f32> {
        let mut scores = vec![self.intercept; block.rows()];
        if **block.columns() != *self.columns {
            // Not one of the plan: the model says nothing of it.
            return scores;
        }
        let joints = block.joints();
        for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
            let rows = number * ROWS..number * ROWS + scores.len();
            for term in &self.terms {
                match term {
                    Term::Few { joints: numbers, lookups } => {
                        let codes = |number: &usize| &block.joint_codes(&joints[*number])[rows.clone()];
                        let columns: Vec<&[u16]> = numbers.iter().map(codes).collect();
                        lookups.add_scores(scores, &columns);
                    }
                    Term::Many { feature, shape } => {
                        for (score, code) in scores.iter_mut().zip(&block.codes(*feature)[rows.clone()]) {
                            // A code that the model has no value for adds nothing; there is none after the recoding.
                            *score += shape.get(usize::from(*code)).copied().unwrap_or(0.0);
                        }
                    }
                }
            }
        }
        scores
    }
}

pub(super) fn start(
    settings: &Settings,
    recipe: &Recipe,
    target: Option<&Target>,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    let widths = settings.widths(recipe);
    match settings.event {
        true => Ok(Box::new(Split { widths })),
        false => Ok(Box::new(Sizes { widths, scorer: Scorer::new(settings, recipe, target, input)? })),
    }
}

pub(super) fn round(
    settings: &Settings,
    recipe: &Recipe,
    target: Option<&Target>,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    Ok(Box::new(Round { widths: settings.widths(recipe), scorer: Scorer::new(settings, recipe, target, input)? }))
}

/// Customers in each bin, without and with the event.
struct Split {
    widths: Vec<usize>,
}

impl Contribute for Split {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let split = |(feature, width): (usize, &usize)| -> Vec<u16> {
            // Of a plan that was not chosen but made up, a code may be too large; it is in no cell then, or in a wrong one.
            let event = u16::try_from(*width).unwrap_or(u16::MAX);
            let own = |(code, target): (&u16, &u16)| code.saturating_add(if *target == 2 { event } else { 0 });
            block.codes(feature).iter().zip(target).map(own).collect()
        };
        let codes: Vec<Vec<u16>> = self.widths.iter().enumerate().take(block.columns().len()).map(split).collect();
        let columns: Vec<Codes<'_>> =
            codes.iter().zip(&self.widths).map(|(codes, width)| Codes { codes, cells: 2 * width }).collect();
        sums.add(&[Part::Cells { columns: &columns, values: &weighed(vec![ONE; block.rows()], weights) }]);
    }
}

/// Customers in each bin, and the sums of their targets, as residuals of the mean.
struct Sizes {
    widths: Vec<usize>,
    scorer: Scorer,
}

impl Contribute for Sizes {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let residuals = weighed(self.scorer.residuals(block, target), weights);
        sums.add(&[
            Part::Block { block, cells: &self.widths, values: &weighed(vec![ONE; block.rows()], weights) },
            Part::Block { block, cells: &self.widths, values: &residuals },
        ]);
    }
}

/// Residuals in each bin.
struct Round {
    widths: Vec<usize>,
    scorer: Scorer,
}

impl Contribute for Round {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let residuals = weighed(self.scorer.residuals(block, target), weights);
        sums.add(&[Part::Block { block, cells: &self.widths, values: &residuals }]);
    }
}
