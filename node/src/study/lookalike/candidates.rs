//! The candidates' owner's side of the exchange.
//!
//! As many blocks are sent as the study has room for, whatever the number of candidates: it would be told by it. Those behind
//! the last candidate have nobody in them.

use std::collections::HashMap;
use std::ops::Range;

use entente_protocols::digest::Digest;
use entente_protocols::lookalike::candidates::{Awaiting, Evaluator, PendingBlock, Worker};
use entente_protocols::lookalike::exchange::{BATCH, ToCandidatesOwner, ToModelOwner, WINDOW};
use entente_protocols::lookalike::message::{Commitment, MaskedBlock, Share};
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::lookalike::params::Params;
use rayon::prelude::*;
use tracing::info;

use super::talk::{Problem, Talk};
use crate::data::Candidates;
use crate::state::{random, random_secret};

/// A session with the model's owner: its encrypted weights, ready to be evaluated.
pub(super) struct Session {
    name: Commitment,
    blocks: usize,
    evaluator: Evaluator,
    bits: i32,
}

/// Blocks that were sent together and have not all been answered.
struct Batch {
    sealed: Vec<u8>,
    open: usize,
}

impl Session {
    /// Begins a session, up to the encrypted weights.
    pub(super) fn begin(context: Digest, params: Params, talk: &Talk<'_>) -> Result<Self, Problem> {
        loop {
            match Self::try_begin(context, params.clone(), talk) {
                Err(Problem::Unknown) => {}
                done => return done,
            }
        }
    }

    fn try_begin(context: Digest, params: Params, talk: &Talk<'_>) -> Result<Self, Problem> {
        let failed = |error: crate::error::Error| Problem::Failed(error.to_string());
        let number = u32::from_le_bytes(random::<4>().map_err(failed)?);
        let name = talk.ask(&ToModelOwner::Hello { session: number }, |answer| match answer {
            ToCandidatesOwner::Offered { session, commitment } if session == number => Some(Ok(commitment)),
            _ => None,
        })?;
        let blocks = params.shape().blocks as usize;
        let awaiting = Awaiting::new(context, params, name, random_secret().map_err(failed)?);
        let contribution = ToModelOwner::Part { session: name, contribution: awaiting.contribution() };
        let (request, bits) = talk.ask(&contribution, |answer| match answer {
            ToCandidatesOwner::Weights { session, request, bits } if session == name => Some(Ok((request, bits))),
            ToCandidatesOwner::Unknown { session } if session == name => Some(Err(Problem::Unknown)),
            _ => None,
        })?;
        let evaluator = awaiting.accept(&request).map_err(|refused| Problem::Refused(refused.to_string()))?;
        Ok(Self { name, blocks, evaluator, bits: bits.clamp(-1000, 1000) })
    }

    /// A unit of scores is 2^−bits of a unit of log-odds.
    pub(super) fn bits(&self) -> i32 {
        self.bits
    }

    /// The scores of all candidates, block by block.
    pub(super) fn score(
        &self,
        model: &PublicModel,
        candidates: &Candidates,
        talk: &Talk<'_>,
    ) -> Result<Vec<Vec<i64>>, Problem> {
        let blocks = self.blocks.max(candidates.blocks());
        let mut scores: Vec<Vec<i64>> = vec![Vec::new(); candidates.blocks()];
        // By the number that a block has in the session: its place, what is kept of it, and its batch.
        let mut waiting: HashMap<u32, (usize, PendingBlock, usize)> = HashMap::new();
        let mut batches: HashMap<usize, Batch> = HashMap::new();
        let (mut sent, mut told) = (0, 0);
        loop {
            while batches.len() < WINDOW && sent < blocks {
                let next = sent..blocks.min(sent + BATCH);
                let evaluated = self.evaluate(model, candidates, next.clone())?;
                let mut masked = Vec::with_capacity(next.len());
                for (place, (block, pending)) in next.clone().zip(evaluated) {
                    waiting.insert(block.number, (place, pending, sent));
                    masked.push(block);
                }
                let sealed = talk.seal(&ToModelOwner::Blocks { session: self.name, blocks: masked })?;
                talk.send(sealed.clone());
                batches.insert(sent, Batch { sealed, open: next.len() });
                sent += next.len();
            }
            if batches.is_empty() {
                return Ok(scores);
            }
            let again = || batches.values().for_each(|batch| talk.send(batch.sealed.clone()));
            let shares: Vec<Share> = talk.listen(again, |answer| match answer {
                ToCandidatesOwner::Shares { session, shares } if session == self.name => Ok(Some(shares)),
                ToCandidatesOwner::Unknown { session } if session == self.name => Err(Problem::Unknown),
                _ => Ok(None),
            })?;
            for share in &shares {
                // What came before already came again.
                let Some((place, pending, batch)) = waiting.remove(&share.number) else { continue };
                let opened = pending.open(share)?;
                if let Some(scores) = scores.get_mut(place) {
                    *scores = opened;
                }
                if let Some(open) = batches.get_mut(&batch) {
                    open.open -= 1;
                    if open.open == 0 {
                        batches.remove(&batch);
                    }
                }
            }
            let tenths = 10 * (sent - waiting.len()) / blocks.max(1);
            if tenths > told {
                told = tenths;
                info!(percent = 10 * tenths, "candidates are scored");
            }
        }
    }

    /// Evaluates some blocks on all cores, in their order.
    fn evaluate(
        &self,
        model: &PublicModel,
        candidates: &Candidates,
        blocks: Range<usize>,
    ) -> Result<Vec<(MaskedBlock, PendingBlock)>, Problem> {
        let nobody: Vec<&[u16]> = vec![&[]; candidates.columns().len()];
        let evaluate = |worker: &mut Worker<'_>, number: usize| {
            if number >= candidates.blocks() {
                return Ok(model.features(&nobody).and_then(|features| worker.block(&features.columns())));
            }
            candidates.block(number, |_, block| {
                let codes: Vec<&[u16]> = (0..block.columns().len()).map(|column| block.codes(column)).collect();
                worker.block(&model.features(&codes)?.columns())
            })
        };
        let evaluated = blocks.into_par_iter().map_init(|| self.evaluator.worker(), evaluate);
        let evaluated: Vec<_> = evaluated.collect::<Result<_, _>>()?;
        Ok(evaluated.into_iter().collect::<Result<_, _>>()?)
    }
}
