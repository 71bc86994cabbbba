//! Customers scored by a model that another participant holds.

use crate::language::rows::{self, RowsPlan};
use crate::learn::file::ScoreShare;
use crate::lookalike::exchange::SESSIONS;
use crate::lookalike::model::PublicModel;
use crate::lookalike::params::{BLOCK, Infeasible, MAX_BLOCKS, Params};
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rho::{MILLION, Rho};
use crate::privacy::rows::UNIT;

/// What may be opened of a candidate's score.
pub const OUTPUTS: [&str; 2] = ["scores", "buckets"];
/// Milliseconds that a core may take to put one candidate into its bucket: for what is said beforehand, and how long to wait for
/// it. With room: `cargo bench -p entente-protocols --bench buckets` gave 20.5 on an idle machine.
pub const BUCKET_MILLIS: u64 = 27;
/// The most candidates of one partner, unless study or policy say otherwise.
pub const CANDIDATES: u64 = 1_000_000;
/// So many candidates of a partner may be put into buckets at most, whatever study and policy say: the shares of all sessions of all
/// studies with one key stay within the blocks for which [`crate::lookalike::buckets`] bounds what they take from it.
pub const MOST_BUCKETED: u64 = (MAX_BLOCKS / SESSIONS) as u64 * BLOCK as u64;
/// Where there are several candidates' owners: the share of the budget that says how many candidates each has.
const OWNERS: u32 = 200_000;

/// What a candidates' owner learns of each of its candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Output {
    /// The score.
    Scores,
    /// Which of this many ranges of scores it lies in; there may be fewer, as ranges without customers are left out.
    Buckets(u32),
}

impl Output {
    /// One of [`OUTPUTS`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => OUTPUTS[0],
            Self::Buckets(_) => OUTPUTS[1],
        }
    }

    /// Seconds that one core takes for this many candidates, where that is worth mentioning.
    pub fn seconds(self, candidates: u64) -> u32 {
        match self {
            Self::Scores => 0,
            Self::Buckets(_) => u32::try_from(candidates.saturating_mul(BUCKET_MILLIS) / 1000).unwrap_or(u32::MAX / 2),
        }
    }
}

/// By which model customers are scored, and what is opened: the same for all who take part.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Scoring {
    /// What is public of the model.
    pub model: PublicModel,
    /// The partner that holds the model.
    pub seed_partner: String,
    /// The partners whose customers are scored, sorted.
    pub candidate_partners: Vec<String>,
    /// The most candidates of one partner.
    pub candidates: u64,
    /// What is opened.
    pub output: Output,
}

/// The typed plan of a candidates' owner over its data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct ScorePlan {
    /// The features query, in the order of the model's features; behind them, where there is one, the segment; and behind all,
    /// where customers are left out, whether one is.
    pub rows: RowsPlan,
    /// Which of the outputs of `rows` is the segment. It may have the name of a feature.
    pub segment: Option<u32>,
    /// Which of them says who is left out: the seed partner alone can tell.
    pub left_out: Option<u32>,
    /// By which model.
    pub scoring: Scoring,
}

impl Scoring {
    /// The parameters of the encryption, which every node computes by itself.
    ///
    /// # Errors
    ///
    /// If none fit.
    pub fn params(&self) -> Result<Params, Infeasible> {
        self.model.params(self.candidates)
    }

    /// The scores by which candidates are counted, ascending: all that the model's evaluation has, or the edges of the
    /// buckets.
    pub fn steps(&self) -> Vec<ScoreShare> {
        match self.output {
            Output::Scores => self.model.shares.clone(),
            Output::Buckets(count) => self.model.edges(count),
        }
    }

    /// Cells by score: below the first threshold, from each threshold to the next, and from the last.
    pub fn scores(&self) -> usize {
        self.steps().len() + 1
    }
}

impl ScorePlan {
    /// How many segments there are, by a customer's code: the declared values, and before them, under code 0, whoever has none
    /// of these. One where there is no segment.
    pub fn segments(&self) -> usize {
        self.segment_output().map_or(1, |output| output.values.column().dims())
    }

    /// The segment, where there is one.
    pub fn segment_output(&self) -> Option<&rows::Output> {
        self.rows.outputs.get(self.segment? as usize)
    }

    /// Cells of the reach: of each segment those by score, segment after segment.
    pub fn cells(&self) -> usize {
        self.scoring.scores() * self.segments()
    }

    /// How the one released vector is laid out and bounded, with what each component may cost of `rho`: a candidate
    /// counts in the cell of its segment and score, and, where there are several owners, in that of its owner.
    pub fn round(&self, rho: Rho) -> (Layout, Vec<Rho>) {
        let component =
            |cells: usize, touches| Component::Cells { cells: cells as u64, touches, per_cell: UNIT as u64 };
        // Under the cap, one customer can take another's place: see the module.
        let (by_score, by_owner) = (component(self.cells(), 2), component(self.scoring.candidate_partners.len(), 1));
        if self.scoring.candidate_partners.len() < 2 {
            return (Layout::sums(vec![by_score]), vec![rho]);
        }
        let part = |share: u32| {
            let part = u128::from(rho.micro()) * u128::from(share) / u128::from(MILLION);
            Rho::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let components = vec![by_score, by_owner];
        (Layout::sums(components), vec![part(MILLION - OWNERS), part(OWNERS)])
    }
}
