//! The study kind `lookalike`: at the candidates' owner, customers are read, scored blindly with the model's owner, and counted by
//! score; the audience stays here.
//!
//! ```text
//! candidates' owner: meet (Hello … Request) ─▶ [charge] ─▶ read ─▶ blocks ⇄ shares ─▶ audience file (here)
//!                                                                               └──▶ counts by score ─▶ Bounded
//! model's owner:     answers, as long as the attempt goes on (owner)
//! ```
//!
//! The two meet before anything is charged: a model's owner that is not there costs nothing.
//!
//! Where the model's owner is a candidates' owner as well, it meets nobody: it scores its own customers in the clear, by the same
//! whole numbers, and leaves out those that the study says are seeds.

mod candidates;
pub mod keys;
pub mod owner;
mod talk;

use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::learn::recipe::Values;
use entente_protocols::lookalike::model::Quantised;
use entente_protocols::lookalike::params::BLOCK;
use entente_protocols::privacy::bounds::{Bounded, Layout};
use entente_protocols::privacy::rows::{Codes, UNIT};
use entente_protocols::privacy::sums::{Part, Sums};
use entente_protocols::study::lookalike::{LookalikePlan, Output};
use rayon::prelude::*;

use crate::data::audience::Scores;
use crate::data::{BlockSpec, Candidates, DataError, Dataset, Engine};
use candidates::Session;
use keys::GivenKeys;
pub use talk::{Problem, Talk};

/// What the sides agree on beforehand: the transcript and both partners.
pub fn context(transcript: Digest, owner: &str, candidates: &str) -> Digest {
    Digest::of("entente lookalike context 1", &[&transcript.0, owner.as_bytes(), candidates.as_bytes()])
}

/// A candidates' owner's way to the model's owner.
pub struct Meeting<'a> {
    /// What the sides agree on beforehand.
    pub context: Digest,
    /// How they talk.
    pub talk: Talk<'a>,
    /// The evaluation keys that are here already.
    pub keys: GivenKeys,
}

/// Who scores a candidates' owner's customers.
pub enum Scorer<'a> {
    /// Another partner, which holds the model and sees nobody.
    Blind(Box<Meeting<'a>>),
    /// This node, whose model it is.
    Own(Quantised),
}

/// The execution of one attempt at a candidates' owner.
pub struct Execution {
    /// This node's name.
    name: String,
    session: Option<Box<Session>>,
}

impl Execution {
    /// At the node of this name; nothing is said or read yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), session: None }
    }

    /// Meets the model's owner, if it is another, unless that is done: everything up to the encrypted weights.
    pub fn meet(&mut self, plan: &LookalikePlan, scorer: &Scorer<'_>) -> Result<(), Problem> {
        match scorer {
            Scorer::Blind(meeting) => self.meet_other(plan, meeting),
            Scorer::Own(_) => Ok(()),
        }
    }

    fn meet_other(&mut self, plan: &LookalikePlan, meeting: &Meeting<'_>) -> Result<(), Problem> {
        if self.session.is_none() {
            let params = plan.params().map_err(|infeasible| Problem::Refused(infeasible.to_string()))?;
            self.session = Some(Box::new(Session::begin(params, plan.output, meeting)?));
        }
        Ok(())
    }

    /// Reads and scores the candidates: their counts by score, and the audience.
    pub fn compute(
        &mut self,
        engine: &impl Engine,
        dataset: &Dataset,
        plan: &LookalikePlan,
        layout: Arc<Layout>,
        scorer: &Scorer<'_>,
    ) -> Result<(Bounded, Scores), Problem> {
        let segment = plan.segment.map(|segment| segment as usize);
        let (rows, left_out) = plan.reads(&self.name);
        let spec = BlockSpec { block_rows: BLOCK, most: Some(plan.candidates), segment, left_out };
        let reading = engine.candidates(dataset, rows, spec);
        let mut candidates = tokio::runtime::Handle::current().block_on(reading)?;
        if let Some(recoding) = &plan.model.recoding {
            let tables: Vec<Vec<u16>> = (0..recoding.columns.len()).map(|feature| recoding.table(feature)).collect();
            candidates.recode(plan.model.columns().into(), &tables)?;
        }
        let (opened, bits) = match scorer {
            Scorer::Blind(meeting) => self.scored_blindly(plan, &candidates, meeting)?,
            Scorer::Own(model) => (scored_here(plan, &candidates, model)?, model.bits),
        };
        let owner = plan.candidate_partners.iter().position(|name| *name == self.name);
        let owner = owner.ok_or_else(|| Problem::Failed("this node is no candidates' owner".into()))?;
        let (mut sums, steps) = (Sums::new(layout), plan.steps());
        let mut audience = Vec::new();
        for (number, opened) in opened.iter().enumerate() {
            let (scores, values): (Vec<u16>, Vec<f64>) = match plan.output {
                Output::Scores => {
                    let log_odds = opened.iter().map(|score| *score as f64 * f64::from(-bits).exp2());
                    let cell = |x: f64| steps.partition_point(|step| step.threshold <= x) as u16;
                    log_odds.map(|x| (cell(x), 1.0 / (1.0 + (-x).exp()))).unzip()
                }
                // A wrong key or table of the model's owner can give a bucket that there is not: it counts as the last.
                Output::Buckets(_) => opened
                    .iter()
                    .map(|bucket| (*bucket).clamp(0, steps.len() as i64) as u16)
                    .map(|bucket| (bucket, f64::from(bucket)))
                    .unzip(),
            };
            candidates.block(number, |units, _, labels| {
                let kept = kept(scores.len(), &labels.left_out);
                let of = |codes: &[u16]| kept.iter().filter_map(|row| codes.get(*row).copied()).collect::<Vec<u16>>();
                count(plan, owner, (&of(&scores), &of(&labels.segment)), &mut sums);
                audience.extend(kept.iter().filter_map(|row| Some((*units.get(*row)?, *values.get(*row)?))));
            })?;
        }
        let audience = match plan.output {
            Output::Scores => Scores::of_scores(audience)?,
            Output::Buckets(_) => {
                Scores::of_buckets(audience.into_iter().map(|(unit, bucket)| (unit, bucket as u8)).collect())?
            }
        };
        Ok((sums.finish(), audience))
    }

    /// What the model's owner opens of all candidates, block by block: scores in units of 2^−bits, or buckets.
    fn scored_blindly(
        &mut self,
        plan: &LookalikePlan,
        candidates: &Candidates,
        meeting: &Meeting<'_>,
    ) -> Result<(Vec<Vec<i64>>, i32), Problem> {
        loop {
            self.meet_other(plan, meeting)?;
            let session = self.session.take().ok_or_else(|| Problem::Failed("nobody was met".into()))?;
            match session.score(&plan.model, candidates, &meeting.talk) {
                Ok(opened) => return Ok((opened, session.bits())),
                // The model's owner has started anew, and has another key.
                Err(Problem::Unknown) => {}
                Err(problem) => return Err(problem),
            }
        }
    }
}

/// The same of a node's own customers by its own model: its scores to the last unit, and the buckets that these lie in.
fn scored_here(plan: &LookalikePlan, candidates: &Candidates, model: &Quantised) -> Result<Vec<Vec<i64>>, Problem> {
    let edges = model.edges(&plan.steps());
    let scored = |number: usize| {
        let scores = candidates.block(number, |_, block, _| {
            let codes: Vec<&[u16]> = (0..block.columns().len()).map(|column| block.codes(column)).collect();
            plan.model.scores(model, &codes)
        })??;
        Ok(match plan.output {
            Output::Scores => scores,
            Output::Buckets(_) => {
                scores.iter().map(|score| edges.partition_point(|edge| edge <= score) as i64).collect()
            }
        })
    };
    (0..candidates.blocks()).into_par_iter().map(scored).collect()
}

/// The rows of a block that are not left out.
fn kept(rows: usize, left_out: &[u16]) -> Vec<usize> {
    let is_left_out = Values::Bool.code_of_bool(true);
    (0..rows).filter(|row| left_out.get(*row) != Some(&is_left_out)).collect()
}

/// Counts customers of the candidates' owner number `owner`, each once, in the cell of its segment and score and, where there are
/// several owners, in that of its owner. Where there are no segments, there are no codes of them.
fn count(plan: &LookalikePlan, owner: usize, (scores, segments): (&[u16], &[u16]), sums: &mut Sums) {
    let cells = cells(plan, scores, segments);
    let owner = vec![owner as u16; cells.len()];
    let values = vec![UNIT; cells.len()];
    let by_score = [Codes { codes: &cells, cells: plan.cells() }];
    let by_owner = [Codes { codes: &owner, cells: plan.candidate_partners.len() }];
    let by_score = Part::Cells { columns: &by_score, values: &values };
    let by_owner = Part::Cells { columns: &by_owner, values: &values };
    if plan.candidate_partners.len() > 1 { sums.add(&[by_score, by_owner]) } else { sums.add(&[by_score]) }
}

/// The one cell of each customer of a block, by the cells of scores and of segments: it depends on that customer alone.
fn cells(plan: &LookalikePlan, scores: &[u16], segments: &[u16]) -> Vec<u16> {
    let all = plan.scores();
    let cell = |(row, score): (usize, &u16)| {
        // A plan has fewer cells than 2^16.
        (usize::from(segments.get(row).copied().unwrap_or(0)) * all + usize::from(*score)) as u16
    };
    scores.iter().enumerate().map(cell).collect()
}

impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests;
