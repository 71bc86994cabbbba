//! What a node brings: its customers' bins, and their residuals.

use pulp::Arch;

use crate::learn::model::Parameters;
use crate::learn::recipe::Recipe;
use crate::learn::sigmoid::{sigmoid, steps};
use crate::learn::training::{Contribute, Input, Target, Training, Unfit};
use crate::lookups::{LOOKED_UP, Lookups, VALUES};
use crate::privacy::rows::{Block, UNIT};
use crate::privacy::sums::{Codes, Part, Sums};

use super::{ONE, Settings};

/// Rows that are scored together: their scores and a few columns stay in the fastest cache.
const ROWS: usize = 1 << 12;

/// A model as nodes score with it.
pub(super) struct Scorer {
    intercept: f32,
    terms: Vec<Term>,
    target: Target,
    /// What residuals are measured in.
    unit: f32,
    /// What residuals are clipped to, in 1/[`UNIT`].
    most: i32,
}

/// What features add to a score.
enum Term {
    /// Some features of few values each.
    Few { features: Vec<usize>, lookups: Lookups },
    /// A feature of many values.
    Many { feature: usize, shape: Vec<f32> },
}

/// The terms of shapes, one a feature: the same ones whatever the rows hold.
///
/// Values of features with few are rounded to 1/32760 of the largest sum of eight: what that moves a score by is far below
/// what the noise of a round moves the model by.
fn terms(shapes: &[Vec<f64>]) -> Vec<Term> {
    let shapes = shapes.iter().map(|shape| shape.iter().map(|value| *value as f32).collect::<Vec<f32>>());
    let (few, many): (Vec<_>, Vec<_>) = shapes.enumerate().partition(|(_, shape)| shape.len() <= VALUES);
    let group = |group: &[(usize, Vec<f32>)]| {
        let values: Vec<&[f32]> = group.iter().map(|(_, shape)| &shape[..]).collect();
        Term::Few { features: group.iter().map(|(feature, _)| *feature).collect(), lookups: Lookups::new(&values) }
    };
    let few = few.chunks(LOOKED_UP).map(group);
    few.chain(many.into_iter().map(|(feature, shape)| Term::Many { feature, shape })).collect()
}

impl Scorer {
    pub(super) fn new(settings: &Settings, training: &Training, input: &Input) -> Result<Self, Unfit> {
        let Parameters::Additive { intercept, shapes, .. } = &input.parameters else {
            return Err(Unfit("the model is not an additive one".into()));
        };
        let target = training.target.clone().ok_or_else(|| Unfit("there is no target".into()))?;
        let most = (settings.clip * f64::from(UNIT)) as i32;
        Ok(Self { intercept: *intercept as f32, terms: terms(shapes), target, unit: input.unit as f32, most })
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
        let there = block.columns().len();
        for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
            let rows = number * ROWS..number * ROWS + scores.len();
            let codes = |column: usize| &block.codes(column)[rows.clone()];
            for term in &self.terms {
                match term {
                    Term::Few { features, lookups } if features.iter().all(|feature| *feature < there) => {
                        let columns: Vec<&[u16]> = features.iter().map(|feature| codes(*feature)).collect();
                        lookups.add_scores(scores, &columns);
                    }
                    Term::Many { feature, shape } if *feature < there => {
                        for (score, code) in scores.iter_mut().zip(codes(*feature)) {
                            // A code that the model has no value for adds nothing; there is none after the recoding.
                            *score += shape.get(usize::from(*code)).copied().unwrap_or(0.0);
                        }
                    }
                    // Of a block that is not one of the plan.
                    Term::Few { .. } | Term::Many { .. } => {}
                }
            }
        }
        scores
    }
}

pub(super) fn start(settings: &Settings, training: &Training, input: &Input) -> Result<Box<dyn Contribute>, Unfit> {
    let widths = settings.widths(&training.recipe);
    match settings.event {
        true => Ok(Box::new(Split { widths })),
        false => Ok(Box::new(Sizes { widths, scorer: Scorer::new(settings, training, input)? })),
    }
}

pub(super) fn round(settings: &Settings, training: &Training, input: &Input) -> Result<Box<dyn Contribute>, Unfit> {
    let recipe: &Recipe = &training.recipe;
    Ok(Box::new(Round { widths: settings.widths(recipe), scorer: Scorer::new(settings, training, input)? }))
}

/// Customers in each bin, without and with the event.
struct Split {
    widths: Vec<usize>,
}

impl Contribute for Split {
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        let split = |(feature, width): (usize, &usize)| -> Vec<u16> {
            // Of a plan that was not chosen but made up, a code may be too large; it is in no cell then, or in a wrong one.
            let event = u16::try_from(*width).unwrap_or(u16::MAX);
            let own = |(code, target): (&u16, &u16)| code.saturating_add(if *target == 2 { event } else { 0 });
            block.codes(feature).iter().zip(target).map(own).collect()
        };
        let codes: Vec<Vec<u16>> = self.widths.iter().enumerate().take(block.columns().len()).map(split).collect();
        let columns: Vec<Codes<'_>> =
            codes.iter().zip(&self.widths).map(|(codes, width)| Codes { codes, cells: 2 * width }).collect();
        sums.add(&[Part::Cells { columns: &columns, values: &vec![ONE; block.rows()] }]);
    }
}

/// Customers in each bin, and the sums of their targets, as residuals of the mean.
struct Sizes {
    widths: Vec<usize>,
    scorer: Scorer,
}

impl Contribute for Sizes {
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        let residuals = self.scorer.residuals(block, target);
        sums.add(&[
            Part::Block { block, cells: &self.widths, values: &vec![ONE; block.rows()] },
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
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        let residuals = self.scorer.residuals(block, target);
        sums.add(&[Part::Block { block, cells: &self.widths, values: &residuals }]);
    }
}
