//! What a node brings: its customers' bins, and their residuals.

use crate::learn::model::Parameters;
use crate::learn::recipe::Recipe;
use crate::learn::sigmoid::{sigmoid, steps};
use crate::learn::training::{Contribute, Input, Target, Training, Unfit};
use crate::privacy::rows::{Block, UNIT};
use crate::privacy::sums::{Codes, Part, Sums};

use super::{ONE, Settings};

/// Rows that are scored together: their scores stay in the fastest cache.
const ROWS: usize = 1 << 10;
/// Most values of a table of two features: it stays in the fastest cache.
const PAIRED: usize = 1 << 12;

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
    One {
        feature: usize,
        shape: Vec<f32>,
    },
    /// Two features that follow one another: looking values up is what takes time, and one look-up is for both. Of codes
    /// a and b, the value is at min(a, `last.0`)·(`last.1` + 1) + min(b, `last.1`).
    Two {
        feature: usize,
        last: (u16, u16),
        values: Box<[f32; PAIRED]>,
    },
}

/// The terms of shapes, one a feature.
fn terms(shapes: &[Vec<f64>]) -> Vec<Term> {
    // A code that the model has no value for adds nothing; there is none after the recoding.
    let value = |shape: &[f64], code: usize| shape.get(code).map_or(0.0, |value| *value as f32);
    let mut terms = Vec::new();
    let mut feature = 0;
    while let Some(shape) = shapes.get(feature) {
        let second = shapes.get(feature + 1).filter(|second| (shape.len() + 1) * (second.len() + 1) <= PAIRED);
        match second {
            Some(second) => {
                let mut values = Box::new([0.0; PAIRED]);
                for (row, first) in values.chunks_mut(second.len() + 1).zip(0..=shape.len()) {
                    let both = |code: usize| value(shape, first) + value(second, code);
                    row.iter_mut().enumerate().for_each(|(code, value)| *value = both(code));
                }
                // Below `PAIRED`.
                terms.push(Term::Two { feature, last: (shape.len() as u16, second.len() as u16), values });
                feature += 2;
            }
            None => {
                terms.push(Term::One { feature, shape: shape.iter().map(|value| *value as f32).collect() });
                feature += 1;
            }
        }
    }
    terms
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
        // By reference: collected in place of the scores, it would not be vector code.
        let rows = scores.iter().zip(target);
        // A NaN, which no finite model makes, becomes 0.
        if self.target.is_event() {
            let event = |code: u16| if code == 2 { 1.0 } else { 0.0 };
            rows.map(|(score, code)| steps(event(*code) - sigmoid(*score), self.most)).collect()
        } else {
            rows.map(|(score, code)| steps((self.target.value(*code) - *score) / self.unit, self.most)).collect()
        }
    }

    fn scores(&self, block: &Block) -> Vec<f32> {
        let mut scores = vec![self.intercept; block.rows()];
        let features = block.columns().len();
        let mut places = [0u16; ROWS];
        for (number, scores) in scores.chunks_mut(ROWS).enumerate() {
            let rows = number * ROWS..number * ROWS + scores.len();
            let codes = |column: usize| &block.codes(column)[rows.clone()];
            for term in &self.terms {
                match term {
                    Term::One { feature, shape } if *feature < features => {
                        for (score, code) in scores.iter_mut().zip(codes(*feature)) {
                            *score += shape.get(usize::from(*code)).copied().unwrap_or(0.0);
                        }
                    }
                    Term::Two { feature, last, values } if feature + 1 < features => {
                        let rows = codes(*feature).iter().zip(codes(feature + 1));
                        for (place, (a, b)) in places.iter_mut().zip(rows) {
                            *place = (*a).min(last.0) * (last.1 + 1) + (*b).min(last.1);
                        }
                        for (score, place) in scores.iter_mut().zip(&places) {
                            // The remainder changes nothing, and says that the place is in the table.
                            *score += values[usize::from(*place) % PAIRED];
                        }
                    }
                    // Of a block that is not one of the plan.
                    Term::One { .. } | Term::Two { .. } => {}
                }
            }
        }
        scores
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
