//! Scoring: at a candidates' owner, customers are read, scored blindly with the model's owner, and counted by score; the audience
//! stays here.
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
mod held;
#[expect(clippy::disallowed_methods, reason = "evaluation keys are files, of which the oldest are deleted")]
pub mod keys;
mod owner;
mod talk;

use std::sync::Arc;

use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::learn::recipe::Values;
use entente_protocols::lookalike::model::Quantised;
use entente_protocols::lookalike::params::BLOCK;
use entente_protocols::privacy::bounds::Layout;
use entente_protocols::privacy::rows::{Codes, UNIT};
use entente_protocols::privacy::sums::{Part as SumsPart, Sums};
use entente_protocols::study::parts::{Part, Side};
use entente_protocols::study::plans::score::{Output, ScorePlan};
use rayon::prelude::*;
use tracing::info;

use super::execution::{self, Computed, Keep, Means, Own, Problem};
use crate::data::audience::{Naming, Scores};
use crate::data::{BlockSpec, Candidates, Dataset};
use candidates::Session;
pub use held::{answering, rules};
use keys::GivenKeys;
use talk::{Meeting, Stop, Talk, context};

/// The execution of one attempt at a candidates' owner.
pub struct Execution {
    plan: Arc<ScorePlan>,
    /// The model's owner, where it is another.
    asks: Option<String>,
    session: Option<Box<Session>>,
}

impl Execution {
    /// Of this plan, in this part; nothing is said or read yet.
    pub fn new(plan: Arc<ScorePlan>, part: Part<'_>) -> Self {
        let asks = part.dialogues.iter().find(|dialogue| dialogue.side == Side::Asks);
        Self { plan, asks: asks.map(|dialogue| dialogue.with.clone()), session: None }
    }

    /// The way to the model's owner, where it is another.
    fn meeting<'m>(&self, means: &'m Means<'_>) -> Result<Option<Meeting<'m>>, Problem> {
        let Some(owner) = &self.asks else { return Ok(None) };
        let dialogue = means.dialogues.get(owner);
        let dialogue = dialogue.ok_or_else(|| Problem::Failed("the model's owner takes no part".into()))?;
        let context = context(means.transcript, owner, means.own.name);
        Ok(Some(Meeting { context, talk: Talk::new(dialogue), keys: GivenKeys::of(means.own.folder) }))
    }

    /// Meets the model's owner, unless that is done: everything up to the encrypted weights.
    fn met(&mut self, meeting: &Meeting<'_>) -> Result<(), Problem> {
        if self.session.is_none() {
            let scoring = &self.plan.scoring;
            let params = scoring.params().map_err(|infeasible| Problem::Refused(infeasible.to_string()))?;
            self.session = Some(Box::new(Session::begin(params, scoring.output, meeting)?));
        }
        Ok(())
    }

    /// What is opened of all candidates, block by block: scores in units of 2^−bits, or buckets.
    fn scored(&mut self, candidates: &Candidates, means: &Means<'_>) -> Result<(Vec<Vec<i64>>, i32), Problem> {
        let Some(meeting) = self.meeting(means)? else {
            let scoring = &self.plan.scoring;
            let file = held::model(scoring, means.own)?;
            let quantised = scoring.model.quantised(&file.model.parameters);
            let model = quantised.map_err(|unfit| Problem::Failed(unfit.to_string()))?;
            return Ok((scored_here(&self.plan, candidates, &model)?, model.bits));
        };
        loop {
            self.met(&meeting)?;
            let session = self.session.take().ok_or_else(|| Problem::Failed("nobody was met".into()))?;
            match session.score(&self.plan.scoring.model, candidates, &meeting.talk, means.timing) {
                Ok(opened) => return Ok((opened, session.bits())),
                // The model's owner has started anew, and has another key.
                Err(Stop::Unknown) => {}
                Err(Stop::For(problem)) => return Err(problem),
            }
        }
    }
}

impl execution::Execution for Execution {
    fn ready(&mut self, round: u32, input: &[u8]) -> Result<Option<Digest>, String> {
        if round == 1 && input.is_empty() {
            Ok(None)
        } else {
            Err("customers are scored in one round, without an input".into())
        }
    }

    fn meet(&mut self, means: &Means<'_>) -> Result<(), Problem> {
        self.meeting(means)?.map_or(Ok(()), |meeting| self.met(&meeting))
    }

    fn compute(&mut self, means: &Means<'_>, dataset: &Dataset, layout: Layout) -> Result<Computed, Problem> {
        let plan = self.plan.clone();
        let scoring = &plan.scoring;
        let segment = plan.segment.map(|segment| segment as usize);
        let left_out = plan.left_out.map(|left_out| left_out as usize);
        let spec = BlockSpec { block_rows: BLOCK, most: Some(scoring.candidates), segment, left_out };
        let reading = means.own.engine.candidates(dataset, &plan.rows, spec);
        let mut candidates = tokio::runtime::Handle::current().block_on(reading)?;
        if let Some(recoding) = &scoring.model.recoding {
            let tables: Vec<Vec<u16>> = (0..recoding.columns.len()).map(|feature| recoding.table(feature)).collect();
            candidates.recode(scoring.model.columns().into(), &tables)?;
        }
        let (opened, bits) = self.scored(&candidates, means)?;
        let owner = scoring.candidate_partners.iter().position(|name| name == means.own.name);
        let owner = owner.ok_or_else(|| Problem::Failed("this node is not a candidates' owner".into()))?;
        let (mut sums, steps) = (Sums::new(Arc::new(layout)), scoring.steps());
        let mut audience = Vec::new();
        for (number, opened) in opened.iter().enumerate() {
            let (scores, values): (Vec<u16>, Vec<f64>) = match scoring.output {
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
                count(&plan, owner, (&of(&scores), &of(&labels.segment)), &mut sums);
                audience.extend(kept.iter().filter_map(|row| Some((*units.get(*row)?, *values.get(*row)?))));
            })?;
        }
        let audience = match scoring.output {
            Output::Scores => Scores::of_scores(audience)?,
            Output::Buckets(_) => {
                Scores::of_buckets(audience.into_iter().map(|(unit, bucket)| (unit, bucket as u8)).collect())?
            }
        };
        Ok(Computed { bounded: sums.finish(), keeps: Some(Keep::Audience(audience, dataset.clone())) })
    }

    fn nobody(&mut self, means: &Means<'_>) -> Result<(), Problem> {
        // Where blocks are on their way already, they are not said again.
        if self.session.is_some() {
            self.scored(&Candidates::nobody(self.plan.scoring.model.columns().into()), means)?;
        }
        Ok(())
    }
}

/// What the audience of a study is called.
fn naming(id: &AttemptId, created: String, own: Own<'_>) -> Result<Naming, Problem> {
    let study = id.study.parse().map_err(|error| Problem::Failed(format!("the study's identifier: {error}")))?;
    Ok(Naming { folder: own.folder.audiences(), study, created })
}

/// Whether the audience of a study can be written, as far as that is known before it is there.
pub fn can_keep(id: &AttemptId, own: Own<'_>) -> Result<(), Problem> {
    Ok(naming(id, String::new(), own)?.can_be_written()?)
}

/// Whether the audience of a study is there.
pub fn has_kept(id: &AttemptId, own: Own<'_>) -> bool {
    naming(id, String::new(), own).is_ok_and(|naming| naming.is_written())
}

/// Writes the audience of a study into this node's folder, where it stays.
pub fn keep(scores: Scores, id: &AttemptId, created: String, dataset: &Dataset, own: Own<'_>) -> Result<(), Problem> {
    let naming = naming(id, created, own)?;
    let writing = own.engine.name_audience(dataset, scores, &naming);
    let customers = tokio::runtime::Handle::current().block_on(writing)?;
    info!(study = id.study, customers, "the audience is written; `entente-node audience export` makes a file of it");
    Ok(())
}

/// The same of a node's own customers by its own model: their scores to the last unit, and the buckets that these lie in.
fn scored_here(plan: &ScorePlan, candidates: &Candidates, model: &Quantised) -> Result<Vec<Vec<i64>>, Problem> {
    let edges = model.edges(&plan.scoring.steps());
    let scored = |number: usize| {
        let scores = candidates.block(number, |_, block, _| {
            let codes: Vec<&[u16]> = (0..block.columns().len()).map(|column| block.codes(column)).collect();
            plan.scoring.model.scores(model, &codes)
        })??;
        Ok(match plan.scoring.output {
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
fn count(plan: &ScorePlan, owner: usize, (scores, segments): (&[u16], &[u16]), sums: &mut Sums) {
    let cells = cells(plan, scores, segments);
    let owner = vec![owner as u16; cells.len()];
    let values = vec![UNIT; cells.len()];
    let by_score = [Codes { codes: &cells, cells: plan.cells() }];
    let by_owner = [Codes { codes: &owner, cells: plan.scoring.candidate_partners.len() }];
    let by_score = SumsPart::Cells { columns: &by_score, values: &values };
    let by_owner = SumsPart::Cells { columns: &by_owner, values: &values };
    if plan.scoring.candidate_partners.len() > 1 { sums.add(&[by_score, by_owner]) } else { sums.add(&[by_score]) }
}

/// The one cell of each customer of a block, by the cells of scores and of segments: it depends on that customer alone.
fn cells(plan: &ScorePlan, scores: &[u16], segments: &[u16]) -> Vec<u16> {
    let all = plan.scoring.scores();
    let cell = |(row, score): (usize, &u16)| {
        // A plan has fewer cells than 2^16.
        (usize::from(segments.get(row).copied().unwrap_or(0)) * all + usize::from(*score)) as u16
    };
    scores.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
mod tests;
