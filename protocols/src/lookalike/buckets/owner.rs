//! The model's owner: makes the evaluation key of a model, and a study's request with its edges.

use tfhe::core_crypto::commons::generators::DeterministicSeeder;
use tfhe::core_crypto::commons::math::random::CompressionSeed;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::super::Refused;
use super::super::draw;
use super::super::mask_seed::tfhe_seed;
use super::super::message::{Request, SeedPart};
use super::super::owner::{KeyHolder, Offer, binary_key, encrypt};
use super::super::params::{BLOCK, Column, Params};
use super::super::ring::MODULUS_BITS;
use super::message::{BucketRequest, EvaluationKey, mask_seed, pack};
use super::pack::{automorphism, exponent, switch_plain};
use super::params::{
    BIG_NOISE_BITS, BOOTSTRAP_BITS, Budget, DOUBLINGS, DOWN_BITS, DOWN_LEVELS, MAX_BUCKETS, POSITION_BITS, SMALL,
    SMALL_NOISE_BITS, guard, room,
};
use crate::digest::Digest;

/// The keys z and S of a model, of which its evaluation key is made. No `Debug`; zeroized when dropped.
pub struct EvaluationSecret {
    secret: Zeroizing<[u8; 32]>,
    small: Zeroizing<Vec<u64>>,
    big: Zeroizing<Vec<u64>>,
}

impl EvaluationSecret {
    /// For one model: `secret` are 32 random bytes, from which it always comes out the same. They must serve for
    /// nothing else, and for no other model.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        let small = binary_key(&secret, "entente lookalike small key 1", SMALL);
        let big = binary_key(&secret, "entente lookalike big key 1", BLOCK);
        Self { secret, small, big }
    }

    /// The evaluation key: some seconds of work, so it is worth keeping.
    pub fn key(&self) -> EvaluationKey {
        let masks = *draw::key(&self.secret, "entente lookalike evaluation masks 1", &[]);
        let mut list = SeededLweBootstrapKey::new(
            0u64,
            GlweSize(2),
            PolynomialSize(BLOCK),
            DecompositionBaseLog(BOOTSTRAP_BITS),
            DecompositionLevelCount(1),
            LweDimension(SMALL),
            bootstrap_masks(&masks),
            CiphertextModulus::new_native(),
        );
        generate_seeded_lwe_bootstrap_key(
            &LweSecretKey::from_container(&self.small[..]),
            &GlweSecretKey::from_container(&self.big[..], PolynomialSize(BLOCK)),
            &mut list,
            TUniform::new(BIG_NOISE_BITS),
            &mut noise(&self.secret, "entente lookalike bootstrap noise 1"),
        );
        let mut plain = Zeroizing::new(Vec::with_capacity(EvaluationKey::PACKING));
        let mut image = Zeroizing::new(vec![0; BLOCK]);
        for step in 1..=DOUBLINGS {
            automorphism(&self.big, exponent(step), &mut image);
            switch_plain(&image, &mut plain);
        }
        let seed = draw::key(&self.secret, "entente lookalike packing noise 1", &[]);
        let packing = encrypt(&self.big, &plain, packing_masks(&masks), &seed);
        EvaluationKey { masks, bootstrap: pack(&list.into_container()), packing: pack(&packing) }
    }
}

fn noise(secret: &[u8; 32], label: &str) -> DeterministicSeeder<DefaultRandomGenerator> {
    DeterministicSeeder::new(tfhe_seed(&draw::key(secret, label, &[])))
}

pub(super) fn bootstrap_masks(masks: &[u8; 32]) -> CompressionSeed {
    mask_seed(masks, "entente lookalike bootstrap masks 1")
}

pub(super) fn packing_masks(masks: &[u8; 32]) -> CompressionSeed {
    mask_seed(masks, "entente lookalike packing masks 1")
}

pub(super) fn down_masks(masks: &[u8; 32]) -> CompressionSeed {
    mask_seed(masks, "entente lookalike down masks 1")
}

pub(super) fn table_masks(masks: &[u8; 32]) -> CompressionSeed {
    mask_seed(masks, "entente lookalike table masks 1")
}

pub(super) fn switch_masks(masks: &[u8; 32]) -> CompressionSeed {
    mask_seed(masks, "entente lookalike switch masks 1")
}

impl Offer {
    /// Encrypts `weights` for a study whose scores are bucketed: a score is in bucket k if it is at least k of `edges`,
    /// which are at most 15, ascending. `key` is the digest of the evaluation key of `evaluation`. Shares are made as for
    /// scores, by what is returned first.
    pub fn request_buckets(
        self,
        contribution: &SeedPart,
        weights: &[i32],
        edges: &[i64],
        evaluation: &EvaluationSecret,
        key: Digest,
    ) -> Result<(KeyHolder, Request, BucketRequest), Refused> {
        self.check(weights)?;
        if edges.is_empty() || edges.len() >= MAX_BUCKETS || !edges.is_sorted_by(|one, two| one < two) {
            return Err(Refused::Edges);
        }
        let scale = Scale::new(&self.params, weights);
        let table = scale.table(edges);
        let secret = self.secret.clone();
        let sigma = Budget::of(&self.params).sigma;
        let (holder, request, study) = self.encrypt(contribution, weights, scale.step, sigma);

        let masks = *draw::key(&secret, "entente lookalike bucket masks 1", &[]);
        let mut plain = Zeroizing::new(Vec::with_capacity(2 * BLOCK));
        switch_plain(&evaluation.big, &mut plain);
        let seed = draw::key(&secret, "entente lookalike switch noise 1", &[]);
        let switch = encrypt(&study, &plain, switch_masks(&masks), &seed);
        let seed = draw::key(&secret, "entente lookalike table noise 1", &[]);
        let table = encrypt(&evaluation.big, &table, table_masks(&masks), &seed);
        let down = down(&study, evaluation, &masks, &secret);
        let buckets = BucketRequest { key, masks, down: pack(&down), table: pack(&table), switch: pack(&switch) };
        Ok((holder, request, buckets))
    }
}

/// The study's key under the small one.
fn down(study: &[u64], evaluation: &EvaluationSecret, masks: &[u8; 32], secret: &[u8; 32]) -> Vec<u64> {
    let mut list = SeededLweKeyswitchKey::new(
        0u64,
        DecompositionBaseLog(DOWN_BITS),
        DecompositionLevelCount(DOWN_LEVELS),
        LweDimension(BLOCK),
        LweDimension(SMALL),
        down_masks(masks),
        CiphertextModulus::new_native(),
    );
    generate_seeded_lwe_keyswitch_key(
        &LweSecretKey::from_container(study),
        &LweSecretKey::from_container(&evaluation.small[..]),
        &mut list,
        TUniform::new(SMALL_NOISE_BITS),
        &mut noise(secret, "entente lookalike down noise 1"),
    );
    list.into_container()
}

/// The lowest and the highest score that a customer within the bounds of the study's columns can have: edges are
/// [`super::blur`] sharp as shares of the difference.
pub fn range(params: &Params, weights: &[i32]) -> Result<(i64, i64), Refused> {
    if weights.len() != params.shape().weights() {
        return Err(Refused::Weights);
    }
    let (mut low, mut high) = (0, 0);
    let mut rest = weights;
    for column in &params.shape().columns {
        let (mine, others) = rest.split_at(column.weights());
        rest = others;
        let values = mine.iter().map(|weight| i64::from(*weight));
        let (lowest, highest) = match column {
            Column::Scaled { bound, .. } => {
                let most = i64::from(*bound) * values.map(i64::abs).sum::<i64>();
                (-most, most)
            }
            Column::OneHot { .. } => (values.clone().min().unwrap_or(0), values.max().unwrap_or(0)),
        };
        low += lowest;
        high += highest;
    }
    Ok((low, high))
}

/// How scores lie on the circle. No `Debug`: it follows from the weights.
struct Scale {
    low: i64,
    /// Of a score, of 2^54.
    step: u64,
    /// Positions before that of the lowest score.
    guard: i64,
}

impl Scale {
    /// For weights that were checked.
    fn new(params: &Params, weights: &[i32]) -> Self {
        let (low, high) = range(params, weights).expect("their number was checked");
        // A whole number of positions below 2048.
        let room = (room(params) as u64) << POSITION_BITS;
        Self { low, step: room / high.abs_diff(low).max(1), guard: guard(params).ceil() as i64 }
    }

    /// The look-up table modulo 2^54: the bucket of each position, of those that are not positive of its opposite,
    /// negated.
    fn table(&self, edges: &[i64]) -> Zeroizing<Vec<u64>> {
        let begin = self.low.cast_unsigned().wrapping_mul(self.step) & ((1 << MODULUS_BITS) - 1);
        let (first, offset) = ((begin >> POSITION_BITS).cast_signed() - self.guard, begin & ((1 << POSITION_BITS) - 1));
        let mut table = Zeroizing::new(vec![0; BLOCK]);
        for k in 0..BLOCK as i64 {
            // Twice how far the middle of the position is from the lowest score.
            let distance = (i128::from(2 * (k - self.guard) + 1) << POSITION_BITS) - 2 * i128::from(offset);
            let below = |edge: &&i64| {
                let edge = 2 * (i128::from(**edge) - i128::from(self.low)) - 1;
                edge * i128::from(self.step) <= distance
            };
            let bucket = (edges.iter().filter(below).count() as u64) << super::params::STEP_BITS;
            let position = (first + k).rem_euclid(2 * BLOCK as i64) as usize;
            table[position % BLOCK] = if position < BLOCK { bucket } else { bucket.wrapping_neg() };
        }
        table
    }
}

#[cfg(test)]
impl EvaluationSecret {
    /// z.
    pub(super) fn small(&self) -> &[u64] {
        &self.small
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookalike::tests::small;

    /// What a bootstrap without noise reads at a score's position.
    fn read(scale: &Scale, table: &[u64], score: i64) -> u64 {
        let phase = score.cast_unsigned().wrapping_mul(scale.step) & ((1 << MODULUS_BITS) - 1);
        let position = (phase >> POSITION_BITS) as usize;
        let value = table[position % BLOCK];
        let value = if position < BLOCK { value } else { value.wrapping_neg() };
        (value >> super::super::params::STEP_BITS) % 16
    }

    #[test]
    fn ranges_are_what_the_weights_can_give() {
        let params = small(1);
        assert_eq!(range(&params, &[-3, 5, 7, -2]), Ok((-383, 388)));
        assert_eq!(range(&params, &[2, 5]), Err(Refused::Weights));
    }

    /// Every score that is farther from an edge than half a position is in its bucket, wherever the range lies.
    #[test]
    fn tables_have_the_buckets_of_scores() {
        let params = small(1);
        for weights in [[3, 0, 0, 0], [1, 2000, 2000, 2000], [-2, -2047, -1500, 7], [0, 0, 0, 0], [2047; 4]] {
            let (low, high) = range(&params, &weights).unwrap();
            let scale = Scale::new(&params, &weights);
            for edges in [vec![(low + high) / 2], vec![i64::MIN, low, i64::MAX], (-7..8).map(|i| i * 40).collect()] {
                let table = scale.table(&edges);
                for score in (low..=high).step_by(13) {
                    let bucket = edges.iter().filter(|edge| **edge <= score).count() as u64;
                    let half = 1 << (POSITION_BITS - 1);
                    let near = |edge: &i64| {
                        let distance = 2 * (i128::from(score) - i128::from(*edge)) + 1;
                        (distance * i128::from(scale.step)).abs() <= 2 * half
                    };
                    if !edges.iter().any(near) {
                        assert_eq!(read(&scale, &table, score), bucket, "{score} of {edges:?}");
                    }
                }
            }
        }
    }
}
