//! Sizes, and the noise of bucketing: how sharp an edge is, that opening is right, and what shares take from the keys.
//!
//! **Parameters** are those of tfhe's `V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128`: small keys of 918 bits with
//! TUniform(45), big ones of degree 2048 with TUniform(17), both of 2^64; one level of 23 bits for bootstrapping, four of
//! 4 bits for the keyswitch before it; mean-compensated modulus switching.
//!
//! **Sharpness.** A bootstrap looks a score up at one of 4096 positions on the circle, of which 2048 in a row are free to
//! choose from, the rest being their negatives. The model's owner lays its range of scores, the widest that its weights
//! can give, on these less `guard` at both ends. The position is off by (in positions, and given all keys)
//!
//! - modulus switching: each of 918 masks is rounded, uniformly within ±½, and counts ½ − z_i = ±½ of that once the
//!   mean is taken off; the body is rounded too: variance 918/48 + 1/12;
//! - keyswitch: 2048·4 errors of TUniform(45) times digits of at most 8, whose square is 21.5 on the average; what is cut
//!   below the digits, uniform within ±2^47, for each 1 among the bits of s;
//! - the errors in the encrypted weights, some 2^-19.
//!
//! [`blur`] is the deviation of the sum, 4.8 positions, as a share of the range: 0.25 %. Roundings are uniform and digits too over the masks
//! of the keys, independently of the secrets; so by Hoeffding all squares of digits add up to at most 1.16 times their
//! mean but with probability 2^-66, and so do the bits of s, at most 1.22 times. Given these, all is a sum of
//! independent sub-Gaussian terms with their variances as proxies, and within t deviations but with probability
//! 2·exp(−t²/2), which is 2^-66 for t = 9.64. So **a score that is farther than [`clear`] from all edges is in its
//! bucket but with a probability of at most 2^-64**, given that opening is right: 2.4 % of the range.
//!
//! **Opening.** Buckets are multiples of 2^50 modulo 2^54. The noise of a bootstrap is what tfhe's formula says (an
//! average, over an error of its floating point that is measured, not proved; 2^9 of its deviations are in half a
//! step), packing adds
//!
//! - 4^11·N/24 for the 21 bits that are cut, and V for each of the twelve kinds of keyswitch, the first of which is
//!   doubled ten times (Chen, Dai, Kim, Song 2021 have the sum, (4^11 − 1)/3·V), with
//!   V = 2N·4^14/12·V_e + N/24·4^26, V_e the variance of the keys' errors;
//! - the mask e_0·u and the cut r·s, as for scores.
//!
//! The smudging noise takes what is left of half a step.
//!
//! **Shares are hints**, as in `params` of scores, here also about the model's keys z and S and about the errors of all
//! evaluation keys: each of them counts with a coefficient of known size in the noise of what is opened. The loss is
//! ½·log2(1 + M·b²·C/σ²), with the largest b²·C among these.

use std::f64::consts::LN_2;

use tfhe::core_crypto::commons::noise_formulas::lwe_programmable_bootstrap::pbs_variance_132_bits_security_tuniform_fft_mul;
use tfhe::core_crypto::prelude::*;

use super::super::draw::GAUSSIAN_BOUND;
use super::super::params::{BLOCK, KEY_NOISE_BITS, MASK_CUT, Params, SHARE_CUT};
use super::super::ring::MODULUS_BITS;

/// The most buckets.
pub const MAX_BUCKETS: usize = 16;

/// Bits of a small key.
pub(super) const SMALL: usize = 918;
/// Of TUniform noise under a small key, of 2^64.
pub(super) const SMALL_NOISE_BITS: u32 = 45;
/// Of TUniform noise under a big key, of 2^64: the same as [`KEY_NOISE_BITS`] of 2^54.
pub(super) const BIG_NOISE_BITS: u32 = KEY_NOISE_BITS + 64 - MODULUS_BITS;
/// Of a digit in bootstrapping, which has one.
pub(super) const BOOTSTRAP_BITS: usize = 23;
/// Of a digit in the keyswitch to a small key.
pub(super) const DOWN_BITS: usize = 4;
/// How many digits that is.
pub(super) const DOWN_LEVELS: usize = 4;
/// Of a digit in keyswitches between big keys.
pub(super) const PACK_BITS: u32 = 14;
/// How many digits that is: 28 of 54 bits.
pub(super) const PACK_LEVELS: usize = 2;
/// log2 of the customers of a block.
pub(super) const DOUBLINGS: u32 = BLOCK.ilog2();
/// The step between buckets is 2^50 of 2^54.
pub(super) const STEP_BITS: u32 = MODULUS_BITS - MAX_BUCKETS.ilog2();
/// A position is 2^42 of 2^54.
pub(super) const POSITION_BITS: u32 = MODULUS_BITS - DOUBLINGS - 1;
/// Low bits of a body, of 2^64, that do not travel: an error of 2^14.2 beside one of 2^16.2, by a public rule.
pub(super) const BODY_CUT: u32 = 16;

/// The standard deviation of a score at an edge, as a share of the range of scores that the model's weights can give.
pub fn blur(params: &Params) -> f64 {
    deviation(params, 1.0, 1.0) / room(params)
}

/// How far from all edges, as a share of the range, a score is in its bucket but with a probability of at most 2^-64.
pub fn clear(params: &Params) -> f64 {
    guard(params) / room(params)
}

/// The same in positions.
pub(super) fn guard(params: &Params) -> f64 {
    // But with probability 2^-66 each: of a mean over so many values, and of noise on both sides.
    let excess = |count: f64, width: f64, mean: f64| 1.0 + width * (66.0 * LN_2 / (2.0 * count)).sqrt() / mean;
    let digits = excess((BLOCK * DOWN_LEVELS) as f64, 64.0, digit_square(DOWN_BITS));
    let ones = excess(BLOCK as f64, 1.0, 0.5);
    (2.0 * 67.0 * LN_2).sqrt() * deviation(params, digits, ones)
}

/// Positions that the range is laid on: one is lost at either end to where the range begins.
pub(super) fn room(params: &Params) -> f64 {
    BLOCK as f64 - 2.0 * guard(params).ceil() - 2.0
}

/// The deviation of a position, digits and key bits being some times what they are on the average.
fn deviation(params: &Params, digits: f64, ones: f64) -> f64 {
    let unit = |bits: u32| 4f64.powi(POSITION_BITS.cast_signed() - bits.cast_signed());
    let small = 64 - MODULUS_BITS;
    let switching = SMALL as f64 / 48.0 + 1.0 / 12.0;
    let errors = (BLOCK * DOWN_LEVELS) as f64 * digit_square(DOWN_BITS) * tuniform(SMALL_NOISE_BITS);
    let cut = BLOCK as f64 / 2.0 * 4f64.powi(64 - (DOWN_BITS * DOWN_LEVELS) as i32) / 12.0;
    let squares: f64 = params.shape().columns.iter().map(|column| (column.largest() as f64).powi(2)).sum();
    let weights = BLOCK as f64 * squares * tuniform(KEY_NOISE_BITS);
    let down = (errors * digits + cut * ones) / 4f64.powi(small.cast_signed());
    (switching + (down + weights) / unit(0)).sqrt()
}

/// The variance of TUniform noise.
fn tuniform(bits: u32) -> f64 {
    (2.0 * 4f64.powi(bits.cast_signed()) + 1.0) / 6.0
}

/// The mean square of a balanced digit.
fn digit_square(bits: usize) -> f64 {
    (4f64.powi(bits as i32) + 2.0) / 12.0
}

/// The bounds of what is opened, modulo 2^54; see the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// All noise but the smudging, beyond it with a probability of at most 2^-64 in the whole study if that of
    /// bootstraps is as tfhe has it.
    pub noise: f64,
    /// σ of the smudging noise.
    pub sigma: f64,
    /// Bits that the shares of a whole study take at most from the logarithm of the deviation of a dimension of a
    /// secret.
    pub loss: f64,
}

impl Budget {
    /// Every study whose scores can be opened can be bucketed: the loss is within [`super::super::params::MAX_LOSS`]
    /// with the most blocks, which a test shows.
    pub fn of(params: &Params) -> Self {
        let degree = BLOCK as f64;
        let coefficients = f64::from(params.shape().blocks) * degree;
        let square = |bits: u32| 4f64.powi(bits.cast_signed()) / 12.0;
        // Errors of keys, of 2^54, with what is cut from their bodies.
        let body_cut = BODY_CUT - (64 - MODULUS_BITS);
        let error = tuniform(KEY_NOISE_BITS) + square(body_cut);
        let pack_cut = MODULUS_BITS - PACK_BITS * PACK_LEVELS as u32;
        let switch = 2.0 * degree * square(PACK_BITS) * error + degree / 2.0 * square(pack_cut);
        let doubled = (4f64.powi(DOUBLINGS.cast_signed()) - 1.0) / 3.0;
        let leaves = 4f64.powi(DOUBLINGS.cast_signed()) * degree / 24.0;
        let mask = degree * (tuniform(KEY_NOISE_BITS) + 4f64.powi(MASK_CUT.cast_signed() - 1));
        let proxy = bootstrap() + doubled * switch + switch + leaves + mask;
        let tail = (2.0 * proxy * (65.0 * LN_2 + coefficients.ln())).sqrt();
        let noise = tail + 2f64.powi(SHARE_CUT.cast_signed() - 1);
        let sigma = (2f64.powi(STEP_BITS.cast_signed() - 1) - 1.0 - noise) / GAUSSIAN_BOUND;

        let bootstrap_cut = square(MODULUS_BITS - BOOTSTRAP_BITS as u32) / 4.0;
        let about_small = (degree / 2.0 + 1.0) * bootstrap_cut;
        let about_big = SMALL as f64 / 2.0 * bootstrap_cut + doubled * square(pack_cut) / 4.0;
        let about_errors = square(BOOTSTRAP_BITS as u32).max(doubled * square(PACK_BITS)) * error;
        let about_key = (square(MASK_CUT) * 3.0).max(square(pack_cut)) / 4.0;
        let largest = about_small.max(about_big).max(about_errors).max(about_key);
        let loss = 0.5 * (1.0 + coefficients * largest / sigma.powi(2)).log2();
        Self { noise, sigma, loss }
    }
}

/// The variance of a bootstrap's noise, of 2^54: tfhe's formula, and the cut bodies.
fn bootstrap() -> f64 {
    let formula = pbs_variance_132_bits_security_tuniform_fft_mul(
        LweDimension(SMALL),
        GlweDimension(1),
        PolynomialSize(BLOCK),
        DecompositionBaseLog(BOOTSTRAP_BITS),
        DecompositionLevelCount(1),
        53.0,
        2f64.powi(64),
    );
    let rows = (SMALL * 2 * BLOCK) as f64;
    let cut = 4f64.powi(BODY_CUT.cast_signed() - 64 + MODULUS_BITS.cast_signed()) / 12.0;
    formula.0 * 4f64.powi(MODULUS_BITS.cast_signed()) + rows * digit_square(BOOTSTRAP_BITS) * cut
}

#[cfg(test)]
mod tests {
    use super::super::super::params::{Column, MAX_BLOCKS, MAX_LOSS, Shape};
    use super::*;

    fn widest(blocks: u32) -> Params {
        Params::new(Shape { columns: vec![Column::OneHot { levels: 16, weight: (1 << 12) - 1 }; 8], blocks }).unwrap()
    }

    /// The numbers that the documentation states.
    #[test]
    fn edges_are_as_sharp_as_documented() {
        let params = widest(512);
        assert!((0.0024..0.0025).contains(&blur(&params)), "{}", blur(&params));
        assert!((0.0235..0.0245).contains(&clear(&params)), "{}", clear(&params));
        let budget = Budget::of(&params);
        assert!((44.0..46.0).contains(&budget.sigma.log2()), "{budget:?}");
        assert!(budget.loss < 0.1, "{budget:?}");
    }

    #[test]
    fn the_most_blocks_take_no_more_than_the_limit_from_any_secret() {
        let budget = Budget::of(&widest(MAX_BLOCKS));
        assert!(budget.loss < MAX_LOSS, "{budget:?}");
    }
}
