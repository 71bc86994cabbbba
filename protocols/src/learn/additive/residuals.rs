//! What a node brings: its customers' bins, and their residuals.

use crate::learn::model::Parameters;
use crate::learn::recipe::Recipe;
use crate::learn::training::{Contribute, Input, Target, Training, Unfit};
use crate::privacy::rows::{Block, UNIT};
use crate::privacy::sums::{Codes, Part, Sums};

use super::{ONE, Settings};

/// A model as nodes score with it.
pub(super) struct Scorer {
    intercept: f32,
    shapes: Vec<Vec<f32>>,
    target: Target,
    /// What residuals are measured in.
    unit: f32,
    clip: f32,
}

impl Scorer {
    pub(super) fn new(settings: &Settings, training: &Training, input: &Input) -> Result<Self, Unfit> {
        let Parameters::Additive { intercept, shapes, .. } = &input.parameters else {
            return Err(Unfit("the model is not an additive one".into()));
        };
        let target = training.target.clone().ok_or_else(|| Unfit("there is no target".into()))?;
        let narrow = |shape: &Vec<f64>| shape.iter().map(|value| *value as f32).collect();
        Ok(Self {
            intercept: *intercept as f32,
            shapes: shapes.iter().map(narrow).collect(),
            target,
            unit: input.unit as f32,
            clip: settings.clip as f32,
        })
    }

    /// Each customer's clipped residual, in 1/[`UNIT`].
    pub(super) fn residuals(&self, block: &Block, target: &[u16]) -> Vec<i32> {
        let mut scores = vec![self.intercept; block.rows()];
        for (feature, shape) in self.shapes.iter().enumerate().take(block.columns().len()) {
            for (score, code) in scores.iter_mut().zip(block.codes(feature)) {
                // A code that the model has no value for adds nothing; there is none after the recoding.
                *score += shape.get(usize::from(*code)).copied().unwrap_or(0.0);
            }
        }
        let event = self.target.is_event();
        let residual = |(score, code): (f32, &u16)| {
            let residual = if event {
                self.target.value(*code) - 1.0 / (1.0 + (-score).exp())
            } else {
                (self.target.value(*code) - score) / self.unit
            };
            // A NaN, which no finite model makes, becomes 0.
            (residual.clamp(-self.clip, self.clip) * UNIT as f32) as i32
        };
        scores.into_iter().zip(target).map(residual).collect()
    }
}

/// The columns of a block with the widths of the plan.
fn columns<'a>(block: &'a Block, widths: &[usize]) -> Vec<Codes<'a>> {
    let codes = |(feature, cells): (usize, &usize)| Codes { codes: block.codes(feature), cells: *cells };
    widths.iter().enumerate().take(block.columns().len()).map(codes).collect()
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
        let columns = columns(block, &self.widths);
        let residuals = self.scorer.residuals(block, target);
        sums.add(&[
            Part::Cells { columns: &columns, values: &vec![ONE; block.rows()] },
            Part::Cells { columns: &columns, values: &residuals },
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
        sums.add(&[Part::Cells { columns: &columns(block, &self.widths), values: &residuals }]);
    }
}
