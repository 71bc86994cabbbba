//! The candidates' owner's side of the exchange.
//!
//! As many blocks are sent as the study has room for, so that their number does not reveal how many candidates there are. Those behind
//! the last candidate have nobody in them. Blocks leave at points of the grid, counted from what they follow. Of buckets the time between
//! blocks tells it all the same, roughly: they take longer than the grid's points are apart.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entente_host::random::{random, random_secret};
use entente_protocols::canonical::from_canonical;
use entente_protocols::digest::Digest;
use entente_protocols::lookalike::Refused;
use entente_protocols::lookalike::buckets::candidates::{BucketEvaluator, BucketWorker, Evaluation, PendingBuckets};
use entente_protocols::lookalike::buckets::message::EvaluationKey;
use entente_protocols::lookalike::candidates::{Awaiting, Evaluator, PendingBlock, Worker};
use entente_protocols::lookalike::exchange::{BATCH, KEY_PARTS, ToCandidatesOwner, ToModelOwner, WINDOW};
use entente_protocols::lookalike::message::{Commitment, MaskedBlock, Share};
use entente_protocols::lookalike::model::{Features, PublicModel};
use entente_protocols::lookalike::params::Params;
use entente_protocols::study::plans::score::Output;
use rayon::prelude::*;
use tracing::info;

use super::keys::GivenKeys;
use super::talk::{Meeting, Stop, Talk};
use crate::data::Candidates;
use crate::grid::Timing;
use crate::peers::Watch;
use crate::works::execution::Problem;

/// A session with the model's owner: its encrypted weights, ready to be evaluated.
pub(super) struct Session {
    name: Commitment,
    blocks: usize,
    evaluate: Evaluate,
    bits: i32,
}

/// How far a session is, said in the log at each tenth.
struct Progress {
    done: &'static str,
    all: u64,
    so_far: AtomicU64,
}

impl Progress {
    fn one_more(&self) {
        let before = self.so_far.fetch_add(1, Ordering::Relaxed);
        let tenths = |so_far: u64| 10 * so_far / self.all.max(1);
        if tenths(before + 1) > tenths(before) {
            info!(percent = 10 * tenths(before + 1), "candidates are {}", self.done);
        }
    }
}

/// What turns candidates into blocks for the model's owner.
enum Evaluate {
    Scores(Evaluator),
    Buckets(BucketEvaluator),
}

/// What is kept of a block until its share comes.
enum Pending {
    Score(PendingBlock),
    Bucket(PendingBuckets),
}

impl Pending {
    /// The scores of the block's customers, or their buckets.
    fn open(self, share: &Share) -> Result<Vec<i64>, Refused> {
        match self {
            Self::Score(pending) => pending.open(share),
            Self::Bucket(pending) => Ok(pending.open(share)?.into_iter().map(i64::from).collect()),
        }
    }
}

/// Blocks that were sent together and have not all been answered.
struct Batch {
    sealed: Vec<u8>,
    open: usize,
}

impl Session {
    /// Begins a session, up to the encrypted weights.
    pub(super) fn begin(params: Params, output: Output, meeting: &Meeting<'_>) -> Result<Self, Problem> {
        loop {
            match Self::try_begin(params.clone(), output, meeting) {
                Ok(session) => return Ok(session),
                Err(Stop::Unknown) => {}
                Err(Stop::For(problem)) => return Err(problem),
            }
        }
    }

    fn try_begin(params: Params, output: Output, meeting: &Meeting<'_>) -> Result<Self, Stop> {
        let Meeting { context, talk, keys } = meeting;
        let number = u32::from_le_bytes(random::<4>()?);
        let name = talk.ask(&ToModelOwner::Hello { session: number }, |answer| match answer {
            ToCandidatesOwner::Offered { session, commitment } if session == number => Some(Ok(commitment)),
            _ => None,
        })?;
        let blocks = params.shape().blocks as usize;
        let awaiting = Awaiting::new(*context, params, name, random_secret()?);
        let contribution = ToModelOwner::Part { session: name, contribution: awaiting.contribution() };
        let (request, bits, buckets) = talk.ask(&contribution, |answer| match answer {
            ToCandidatesOwner::Weights { session, request, bits, buckets } if session == name => {
                Some(Ok((request, bits, buckets)))
            }
            ToCandidatesOwner::Unknown { session } if session == name => Some(Err(Stop::Unknown)),
            _ => None,
        })?;
        let refused = |refused: Refused| Problem::Refused(refused.to_string());
        let evaluate = match (output, buckets) {
            (Output::Scores, None) => Evaluate::Scores(awaiting.accept(&request).map_err(refused)?),
            (Output::Buckets(_), Some(buckets)) => {
                let key = Self::key(name, buckets.key, talk, keys)?;
                let evaluation = Arc::new(Evaluation::new(&key).map_err(refused)?);
                Evaluate::Buckets(awaiting.accept_buckets(&request, &buckets, evaluation).map_err(refused)?)
            }
            _ => {
                let reason = "the model's owner sent what another output than the study's needs";
                return Err(Problem::Refused(reason.into()).into());
            }
        };
        Ok(Self { name, blocks, evaluate, bits: bits.clamp(-1000, 1000) })
    }

    /// The evaluation key of this digest: the one that is kept here, or else asked for, part by part.
    fn key(name: Commitment, digest: Digest, talk: &Talk<'_>, keys: &GivenKeys) -> Result<EvaluationKey, Stop> {
        if let Some(key) = keys.get(digest) {
            return Ok(key);
        }
        let mut bytes = Vec::new();
        for wanted in 0..KEY_PARTS {
            let ask = ToModelOwner::Key { session: name, part: wanted };
            bytes.append(&mut talk.ask(&ask, |answer| match answer {
                ToCandidatesOwner::KeyPart { session, part, bytes } if session == name && part == wanted => {
                    Some(Ok(bytes))
                }
                ToCandidatesOwner::Unknown { session } if session == name => Some(Err(Stop::Unknown)),
                _ => None,
            })?);
        }
        let key: Option<EvaluationKey> = from_canonical(&bytes, EvaluationKey::LIMIT).ok();
        let key = key.filter(|key| key.fits() && key.digest() == digest);
        let key =
            key.ok_or_else(|| Problem::Refused("the model's owner sent another evaluation key than it named".into()))?;
        keys.put(&key)?;
        info!(bytes = bytes.len(), "the evaluation key of the model is here, and is kept");
        Ok(key)
    }

    /// A unit of scores is 2^−bits of a unit of log-odds.
    pub(super) fn bits(&self) -> i32 {
        self.bits
    }

    /// What is opened of all candidates, their scores or their buckets, block by block. `timing` is the round's.
    pub(super) fn score(
        &self,
        model: &PublicModel,
        candidates: &Candidates,
        talk: &Talk<'_>,
        mut timing: Timing,
    ) -> Result<Vec<Vec<i64>>, Stop> {
        let blocks = self.blocks.max(candidates.blocks());
        let mut scores: Vec<Vec<i64>> = vec![Vec::new(); candidates.blocks()];
        // By the number that a block has in the session: its place, what is kept of it, and its batch.
        let mut waiting: HashMap<u32, (usize, Pending, usize)> = HashMap::new();
        let mut batches: HashMap<usize, Batch> = HashMap::new();
        let mut sent = 0;
        // A block whose scores are put into buckets takes long; it goes on its way at once, and what counts is its candidates.
        let (at_once, done, all) = match self.evaluate {
            Evaluate::Scores(_) => (BATCH, "scored", blocks as u64),
            Evaluate::Buckets(_) => (1, "put into buckets", candidates.len()),
        };
        let progress = Progress { done, all, so_far: AtomicU64::new(0) };
        loop {
            while batches.len() < WINDOW && sent < blocks {
                let next = sent..blocks.min(sent + at_once);
                let evaluated = self.evaluated(model, candidates, next.clone(), (talk.watch(), &progress))?;
                let mut masked = Vec::with_capacity(next.len());
                for (place, (block, pending)) in next.clone().zip(evaluated) {
                    waiting.insert(block.number, (place, pending, sent));
                    masked.push(block);
                }
                let sealed = talk.seal(&ToModelOwner::Blocks { session: self.name, blocks: masked })?;
                talk.send_held(sealed.clone(), &timing)?;
                batches.insert(sent, Batch { sealed, open: next.len() });
                sent += next.len();
            }
            if batches.is_empty() {
                return Ok(scores);
            }
            let again = || batches.values().for_each(|batch| talk.send(batch.sealed.clone()));
            let shares: Vec<Share> = talk.listen(again, |answer| match answer {
                // Those that are here already are waited for no more.
                ToCandidatesOwner::Shares { session, shares } if session == self.name => {
                    Ok(shares.iter().any(|share| waiting.contains_key(&share.number)).then_some(shares))
                }
                ToCandidatesOwner::Unknown { session } if session == self.name => Err(Stop::Unknown),
                _ => Ok(None),
            })?;
            timing = talk.heard();
            for share in &shares {
                // Already received; ignore the duplicate.
                let Some((place, pending, batch)) = waiting.remove(&share.number) else { continue };
                let opened = pending.open(share)?;
                if let Evaluate::Scores(_) = self.evaluate {
                    progress.one_more();
                }
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
        }
    }

    /// Evaluates some blocks on all cores, in their order.
    fn evaluated(
        &self,
        model: &PublicModel,
        candidates: &Candidates,
        blocks: Range<usize>,
        (watch, progress): (Watch<'_>, &Progress),
    ) -> Result<Vec<(MaskedBlock, Pending)>, Stop> {
        match &self.evaluate {
            Evaluate::Scores(evaluator) => {
                let evaluate = |worker: &mut Worker<'_>, number: usize| {
                    let (block, pending) = worker.block(&features(model, candidates, number)?.columns())?;
                    Ok((block, Pending::Score(pending)))
                };
                blocks.into_par_iter().map_init(|| evaluator.worker(), evaluate).collect()
            }
            Evaluate::Buckets(evaluator) => {
                let bucketed = |number: usize| {
                    let scored = evaluator.worker().scores(&features(model, candidates, number)?.columns())?;
                    let bootstrap = |worker: &mut BucketWorker<'_>, _| {
                        worker.bootstrap(&scored);
                        progress.one_more();
                        watch.goes_on()
                    };
                    (0..scored.customers())
                        .into_par_iter()
                        .map_init(|| evaluator.worker(), bootstrap)
                        .collect::<Result<(), _>>()?;
                    let (block, pending) = evaluator.worker().finish(scored);
                    Ok((block, Pending::Bucket(pending)))
                };
                blocks.map(bucketed).collect()
            }
        }
    }
}

/// The features of a block; behind the last there is nobody.
fn features(model: &PublicModel, candidates: &Candidates, number: usize) -> Result<Features, Stop> {
    if number >= candidates.blocks() {
        let nobody: Vec<&[u16]> = vec![&[]; candidates.columns().len()];
        return Ok(model.features(&nobody)?);
    }
    let features = candidates.block(number, |_, block, _| {
        let codes: Vec<&[u16]> = (0..block.columns().len()).map(|column| block.codes(column)).collect();
        model.features(&codes)
    })?;
    Ok(features?)
}
