//! What is scored, within which bounds, and the proof that no score is wrong.
//!
//! A [`Shape`] is public to both sides and hashed into the joint seed; [`Params`] are computed from it, the same on
//! both, before anything is encrypted. There is no other way to have them than [`Params::new`], which refuses where the
//! bound below does not hold.
//!
//! **Encoding.** |score| ≤ S = Σ bound·weight over scaled columns + Σ weight over one-hot columns (one level of each
//! counts). The step Δ = 2^k is the largest with Δ(2S + 1) ≤ q, so scores do not wrap.
//!
//! **Correctness.** What the candidates' owner rounds is Δ·score + noise (the module above has the names), with
//!
//! noise = Σ x_i·e_i + e_0·u − r·s − e'' − r''.
//!
//! Write V = (2·4^7 + 1)/6 for the variance of TUniform(7), the law of e_0, …, e_d. It is a sum of independent ±2^j/2
//! (binary digits, and the half point that rounds), each sub-Gaussian with its own variance as proxy (cosh t ≤
//! e^(t²/2)); so it is sub-Gaussian with proxy V, and by independence a coefficient of the noise, given features, u, s
//! and all masks, has
//!
//! - Σ x_i·e_i: proxy V·N·(Σ bound² over scaled columns + 1 for every one-hot column: for each customer exactly one
//!   level counts, so a coefficient sums N of the group's errors, whatever the number of levels);
//! - e_0·u: proxy V·N, as u is binary;
//! - r·s: the mask is cut to multiples of 2^14 after adding e' uniform on 0..2^14, which rounds it up or down with mean
//!   zero (r has two values 2^14 apart, given all else): by Hoeffding's lemma proxy N·4^13, as s is binary;
//! - |e''| ≤ 8.6σ always, by how it is drawn; |r''| ≤ 2^21, half of what the share is cut to.
//!
//! With P the sum of the proxies and M the most coefficients of a study, all of them are within T = √(2P·ln(2^65·M))
//! but with probability M·2·exp(−T²/2P) = 2^-64. σ is then the largest with T + 2^21 + 8.6σ < Δ/2: **the probability
//! that any score of a study is wrong is at most 2^-64**, given exact products (`ring` proves these for all
//! inputs).
//!
//! **Smudging.** What a share tells about s and e_0, …, e_d is one noisy linear equation a coefficient, its noise of
//! deviation σ: LWE with hints (Kim, Lee, Seo, Song 2023, "Hint-MLWE"; Dachman-Soled, Ducas, Gong, Rossi 2020). In the
//! latter's measure a hint about a secret r of covariance C shrinks ln det C; by Fischer's and Jensen's inequalities M
//! hints with coefficients ≤ b take from each dimension of e_i at most ½·log2(1 + M·b²·V/σ²) bits, and from each of s
//! at most ½·log2(1 + M·4^13·¼/σ²). Parameters are refused if either is over [`MAX_LOSS`], 1 bit: the error's
//! deviation, 2^6.2 of 2^54, then counts as one of at least 2^5.2, and as the cost of lattice attacks goes with
//! 1/log2(q/deviation), 134 bits as 131. See the module above for what this is not.

use super::ring;
use crate::digest::Digest;

/// Customers of one block.
pub const BLOCK: usize = ring::DEGREE;
/// The most weights of a model.
pub const MAX_WEIGHTS: usize = 256;
/// The most blocks of a study.
pub const MAX_BLOCKS: u32 = 1 << 13;
/// The most bits of its logarithm that shares may take from the deviation of a secret.
pub const MAX_LOSS: f64 = 1.0;

/// Bits of TUniform noise in keys and weights, modulo 2^54: as 17 modulo 2^64.
///
/// Degree 2048, binary keys, this ratio of noise to modulus: the GLWE of
/// `V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128`, about 134 bits by the lattice estimator, says tfhe's security
/// document.
pub(super) const KEY_NOISE_BITS: u32 = 7;
/// Low bits of a mask that do not travel: 40 of 54 do.
pub(super) const MASK_CUT: u32 = 14;
/// Low bits of a share that do not travel: 32 of 54 do.
pub(super) const SHARE_CUT: u32 = 22;

/// A column of features, with the bounds of its values and of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Column {
    /// Numbers from −`bound` to `bound`, under one weight. Centred numbers have the smallest bound.
    Scaled {
        /// 1 to 127.
        bound: u8,
        /// The largest absolute value of the weight.
        weight: u32,
    },
    /// One of `levels` levels a customer, each with a weight of its own. One level is a constant: an intercept.
    OneHot {
        /// At least 1.
        levels: u16,
        /// The largest absolute value of a weight.
        weight: u32,
    },
}

impl Column {
    /// How many weights the model has for it.
    pub fn weights(&self) -> usize {
        match self {
            Self::Scaled { .. } => 1,
            Self::OneHot { levels, .. } => usize::from(*levels),
        }
    }

    /// The largest absolute value of a weight of it.
    pub fn weight_bound(&self) -> u32 {
        match self {
            Self::Scaled { weight, .. } | Self::OneHot { weight, .. } => *weight,
        }
    }

    pub(super) fn largest(&self) -> u64 {
        match self {
            Self::Scaled { bound, .. } => u64::from(*bound),
            Self::OneHot { .. } => 1,
        }
    }
}

/// What is scored: public, and the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Shape {
    /// The columns, in the order of weights and features.
    pub columns: Vec<Column>,
    /// The most blocks of [`BLOCK`] candidates that are scored; the last one may be filled in part.
    pub blocks: u32,
}

impl Shape {
    /// How many weights the model has.
    pub fn weights(&self) -> usize {
        self.columns.iter().map(Column::weights).sum()
    }

    /// Its hash.
    pub fn digest(&self) -> Digest {
        Digest::of("entente lookalike shape 1", &[&crate::canonical::canonical_bytes(self)])
    }
}

/// Why a shape cannot be scored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Infeasible {
    /// The number of weights.
    #[error("a model that is scored blindly has 1 to {MAX_WEIGHTS} weights, not {0}; use fewer columns or levels")]
    Weights(usize),
    /// The number of blocks.
    #[error("1 to {most} blocks of {BLOCK} candidates are scored in one study, not {blocks}", most = MAX_BLOCKS)]
    Blocks {
        /// Asked for.
        blocks: u32,
    },
    /// A column without values or weights.
    #[error(
        "column {0} has bounds that cannot be scored: numbers are bounded by 1 to 127, levels are at least 1, weights at least 1"
    )]
    Column(usize),
    /// The scores and their noise do not fit.
    #[error("{0}")]
    Room(Room),
}

/// By how much weights are too wide, if that is all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Room {
    /// Narrower weights would fit.
    #[error(
        "scores and the noise that hides the key do not fit into 54 bits; all weights {0} bits narrower would, or fewer columns, smaller bounds or fewer blocks"
    )]
    Bits(u32),
    /// Weights of one bit would not fit either.
    #[error("these columns are too many for weights of any width; use fewer of them, smaller bounds or fewer blocks")]
    None,
}

/// The proved bounds of a study, modulo 2^54; see the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// |score| ≤ this.
    pub score: u64,
    /// k: the step between scores is 2^k.
    pub step_bits: u32,
    /// T + 2^21: all noise but the smudging, beyond it with a probability of at most 2^-64 in the whole study.
    pub noise: f64,
    /// σ of the smudging noise.
    pub sigma: f64,
    /// Bits that the shares of a whole study take at most from the logarithm of the deviation of a dimension of a
    /// secret.
    pub loss: f64,
    /// How far a product is at most from a whole number before it is rounded to one.
    pub product_error: f64,
}

/// A shape that can be scored, with its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    shape: Shape,
    budget: Budget,
}

impl Params {
    /// The parameters for `shape`; an error says what would fit.
    pub fn new(shape: Shape) -> Result<Self, Infeasible> {
        let weights = shape.weights();
        if weights == 0 || weights > MAX_WEIGHTS || shape.columns.len() > MAX_WEIGHTS {
            return Err(Infeasible::Weights(weights));
        }
        if shape.blocks == 0 || shape.blocks > MAX_BLOCKS {
            return Err(Infeasible::Blocks { blocks: shape.blocks });
        }
        let wrong = |column: &Column| match column {
            Column::Scaled { bound, weight } => *bound == 0 || *bound > 127 || *weight == 0,
            Column::OneHot { levels, weight } => *levels == 0 || *weight == 0,
        };
        if let Some(column) = shape.columns.iter().position(wrong) {
            return Err(Infeasible::Column(column));
        }
        if let Some(budget) = Budget::of(&shape, 0) {
            return Ok(Self { shape, budget });
        }
        let bits = (1..32).find(|bits| Budget::of(&shape, *bits).is_some());
        Err(Infeasible::Room(bits.map_or(Room::None, Room::Bits)))
    }

    /// What is scored.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The proved bounds.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Budget {
    /// The budget of a shape with weights narrower by some bits, if there is one.
    fn of(shape: &Shape, narrower: u32) -> Option<Self> {
        let columns = shape.columns.iter();
        let score: u64 = columns
            .clone()
            .map(|column| column.largest() * u64::from((column.weight_bound() >> narrower).max(1)))
            .sum();
        let step_bits = ring::MODULUS_BITS - (2 * score + 1).next_power_of_two().ilog2();

        let degree = BLOCK as f64;
        let coefficients = f64::from(shape.blocks) * degree;
        let variance = (2.0 * 4f64.powi(KEY_NOISE_BITS.cast_signed()) + 1.0) / 6.0;
        let squares: f64 = columns.clone().map(|column| (column.largest() as f64).powi(2)).sum();
        let cut = 4f64.powi(MASK_CUT.cast_signed() - 1);
        let proxy = degree * (variance * (squares + 1.0) + cut);
        let tail = (2.0 * proxy * (65.0 * std::f64::consts::LN_2 + coefficients.ln())).sqrt();
        let noise = tail + 2f64.powi(SHARE_CUT.cast_signed() - 1);

        let room = 2f64.powi(step_bits.cast_signed() - 1) - 1.0 - noise;
        let sigma = room / super::draw::GAUSSIAN_BOUND;
        if sigma < 1.0 {
            return None;
        }
        let widest = columns.clone().map(Column::largest).max().unwrap_or(1) as f64;
        let hints = (widest.powi(2) * variance).max(cut / 4.0) * coefficients / sigma.powi(2);
        let loss = 0.5 * (1.0 + hints).log2();

        let norm = |column: &Column| match column {
            Column::Scaled { bound, .. } => f64::from(*bound) * degree.sqrt(),
            Column::OneHot { levels, .. } => (f64::from(*levels) * degree).sqrt(),
        };
        let norms = columns.map(norm).sum::<f64>() + degree.sqrt();
        let product_error = ring::error_bound(shape.weights() + 1, norms);
        let fits = loss <= MAX_LOSS && product_error <= ring::MAX_ERROR;
        fits.then_some(Self { score, step_bits, noise, sigma, loss, product_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookalike::draw::GAUSSIAN_BOUND;

    fn scaled(count: usize, weight_bits: u32, candidates: u32) -> Result<Params, Infeasible> {
        let column = Column::Scaled { bound: 127, weight: (1 << (weight_bits - 1)) - 1 };
        Params::new(Shape { columns: vec![column; count], blocks: candidates.div_ceil(BLOCK as u32) })
    }

    /// The numbers that the documentation and the bench state.
    #[test]
    fn models_of_usual_sizes_fit() {
        for (count, step_bits) in [(8, 32), (32, 30), (128, 28)] {
            let params = scaled(count, 12, 1_000_000).unwrap();
            let budget = params.budget();
            assert_eq!(budget.step_bits, step_bits);
            let half = 2f64.powi(step_bits.cast_signed() - 1);
            assert!(budget.noise + GAUSSIAN_BOUND * budget.sigma < half);
            assert!(budget.product_error < 0.21, "{}", budget.product_error);
        }
        assert!(scaled(32, 12, 1_000_000).unwrap().budget().loss < 0.03);
    }

    /// The noise of one-hot columns is that of one level each, so weights may be wider.
    #[test]
    fn one_hot_columns_leave_room() {
        let columns = vec![Column::OneHot { levels: 16, weight: (1 << 19) - 1 }; 8];
        let params = Params::new(Shape { columns, blocks: 512 }).unwrap();
        assert!(params.budget().loss < 0.01);
        assert_eq!(params.shape().weights(), 128);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let refused = scaled(128, 20, 1_000_000).unwrap_err();
        let Infeasible::Room(Room::Bits(bits)) = refused else { panic!("{refused}") };
        assert!(scaled(128, 20 - bits, 1_000_000).is_ok());
        assert!(scaled(128, 20 - bits + 1, 1_000_000).is_err());
        assert_eq!(scaled(257, 12, 1), Err(Infeasible::Weights(257)));
        assert_eq!(scaled(0, 12, 1), Err(Infeasible::Weights(0)));
        assert_eq!(scaled(8, 12, 0), Err(Infeasible::Blocks { blocks: 0 }));
        assert_eq!(scaled(8, 12, u32::MAX), Err(Infeasible::Blocks { blocks: u32::MAX.div_ceil(BLOCK as u32) }));
        for column in [
            Column::Scaled { bound: 0, weight: 1 },
            Column::Scaled { bound: 128, weight: 1 },
            Column::Scaled { bound: 1, weight: 0 },
            Column::OneHot { levels: 0, weight: 1 },
            Column::OneHot { levels: 1, weight: 0 },
        ] {
            let columns = vec![Column::OneHot { levels: 1, weight: 1 }, column];
            assert_eq!(Params::new(Shape { columns, blocks: 1 }), Err(Infeasible::Column(1)));
        }
    }
}
