//! The candidates' owner: evaluates an encrypted model on its own customers, and keeps what it computes.

use std::sync::atomic::{AtomicU32, Ordering};

use tfhe::core_crypto::commons::math::random::CompressionSeed;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::Refused;
use super::draw::Stream;
use super::mask_seed::Agreement;
use super::message::{Commitment, MaskedBlock, Request, SeedPart, Share};
use super::owner::modulus;
use super::params::{BLOCK, Column, MASK_CUT, Params};
use super::ring::{self, LIMBS, MODULUS_BITS, Ring, Scratch, Spectra, TOGETHER};
use crate::digest::Digest;

/// A candidates' owner that has the seed owner's commitment. No `Debug`; zeroized when dropped.
pub struct Awaiting {
    params: Params,
    agreement: Agreement,
    commitment: Commitment,
    secret: Zeroizing<[u8; 32]>,
    contribution: SeedPart,
}

impl Awaiting {
    /// For one study and one partner: `context` as at the seed owner, `secret` 32 fresh random bytes. The same secret
    /// must never serve twice: two blocks under the same mask show the difference of their features.
    pub fn new(context: Digest, params: Params, commitment: Commitment, secret: Zeroizing<[u8; 32]>) -> Self {
        let agreement = Agreement::new(context, &params);
        let parts: [&[u8]; 2] = [&context.0, &commitment.0.0];
        let contribution = super::draw::key(&secret, "entente lookalike contribution 1", &parts);
        Self { params, agreement, commitment, secret, contribution: SeedPart(*contribution) }
    }

    /// What goes to the seed owner.
    pub fn contribution(&self) -> SeedPart {
        self.contribution
    }

    /// Checks a request against the commitment and the parameters, and prepares it: once a study.
    pub fn accept(self, request: &Request) -> Result<Evaluator, Refused> {
        let polynomials = self.polynomials(request)?;
        Ok(Evaluator::new(self.params, self.secret, &polynomials))
    }

    /// Mask and body, modulo q, of the public key, of the first weight, and so on.
    pub(super) fn polynomials(&self, request: &Request) -> Result<Vec<u64>, Refused> {
        if !request.fits(&self.params) {
            return Err(Refused::Size);
        }
        if self.agreement.commit(&request.opening) != self.commitment {
            return Err(Refused::Opening);
        }
        let seed = self.agreement.seed(&request.opening, &self.contribution.0);
        Ok(decompress(request.bodies().map(|body| body << (64 - MODULUS_BITS)).collect(), seed))
    }
}

/// Mask and body in turn, modulo q, of bodies in the high bits.
pub(super) fn decompress(bodies: Vec<u64>, seed: CompressionSeed) -> Vec<u64> {
    let (size, degree) = (GlweSize(2), PolynomialSize(BLOCK));
    let list = SeededGlweCiphertextList::from_container(bodies, size, degree, seed, modulus());
    let list = list.decompress_into_glwe_ciphertext_list();
    list.as_ref().iter().map(|value| value >> (64 - MODULUS_BITS)).collect()
}

/// The features of the customers of one block in one column.
#[derive(Clone, Copy)]
pub enum Feature<'a> {
    /// Numbers within the bound.
    Scaled(&'a [i8]),
    /// Levels, from 0.
    OneHot(&'a [u16]),
}

impl Feature<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Scaled(values) => values.len(),
            Self::OneHot(values) => values.len(),
        }
    }

    fn within(&self, column: &Column) -> bool {
        // All are looked at, which takes less time than stopping at the first that is wrong.
        match (self, column) {
            (Self::Scaled(values), Column::Scaled { bound, .. }) => {
                values.iter().fold(0, |largest, value| value.unsigned_abs().max(largest)) <= *bound
            }
            (Self::OneHot(values), Column::OneHot { levels, .. }) => {
                values.iter().fold(0, |largest, value| (*value).max(largest)) < *levels
            }
            _ => false,
        }
    }
}

/// Transforms of one ciphertext: the limbs of its mask and of its body.
pub(super) const PAIR: usize = 2 * LIMBS;

/// A request that was accepted, with the transforms of all it contains. No `Debug`; zeroized when dropped.
pub struct Evaluator {
    params: Params,
    secret: Zeroizing<[u8; 32]>,
    pub(super) ring: Ring,
    ciphertexts: Spectra,
    next: AtomicU32,
}

impl Evaluator {
    /// From masks and bodies modulo q in turn, the public key's first.
    pub(super) fn new(params: Params, secret: Zeroizing<[u8; 32]>, polynomials: &[u64]) -> Self {
        let ring = Ring::new();
        let mut scratch = ring.scratch();
        let count = polynomials.len() / BLOCK;
        let mut ciphertexts = Spectra::new(count * LIMBS);
        for (i, polynomial) in polynomials.chunks_exact(BLOCK).enumerate() {
            ring.forward_limbs(polynomial, &mut scratch, ciphertexts.get_mut(i * LIMBS, LIMBS));
        }
        Self { params, secret, ring, ciphertexts, next: AtomicU32::new(0) }
    }

    /// What evaluates blocks, with memory of its own: one for each thread.
    pub fn worker(&self) -> Worker<'_> {
        Worker {
            evaluator: self,
            scratch: self.ring.scratch(),
            features: Spectra::new(TOGETHER),
            loaded: 0,
            first: 0,
            sums: Spectra::new(PAIR),
            random: Zeroizing::new(vec![0; BLOCK / 8 + 2 * BLOCK]),
            mask: Zeroizing::new(vec![0; BLOCK]),
        }
    }
}

/// Evaluates blocks. See [`Evaluator::worker`].
pub struct Worker<'a> {
    evaluator: &'a Evaluator,
    scratch: Scratch,
    /// Transforms that wait to be multiplied, how many they are and what ciphertext the first one belongs to.
    features: Spectra,
    loaded: usize,
    first: usize,
    sums: Spectra,
    random: Zeroizing<Vec<u8>>,
    mask: Zeroizing<Vec<u64>>,
}

impl Worker<'_> {
    /// Evaluates up to [`BLOCK`] customers, `features` being in the order of the shape's columns. What comes out first
    /// is for the seed owner, the rest stays here. Every block has a number of its own, and by it its own randomness; a
    /// block takes part of the study's number of blocks however few customers are in it.
    pub fn block(&mut self, features: &[Feature<'_>]) -> Result<(MaskedBlock, PendingBlock), Refused> {
        let count = self.check(features)?;
        let number = self.number()?;
        self.begin(0);
        self.add_mask("entente lookalike block 1", number);
        self.add_features(features);
        Ok(self.finish(number, count, self.evaluator.params.budget().step_bits, None))
    }

    /// Evaluates up to [`BLOCK`] customers: the block's number, how many they are, and A and B without any mask, which
    /// are for nobody else.
    pub(super) fn bare(&mut self, features: &[Feature<'_>], pair: &mut [u64]) -> Result<(u32, usize), Refused> {
        let count = self.check(features)?;
        let number = self.number()?;
        self.begin(1);
        self.add_features(features);
        let (mask, body) = pair.split_at_mut(BLOCK);
        self.evaluator.ring.inverse_limbs(self.sums.get_mut(0, LIMBS), &mut self.scratch, mask);
        self.evaluator.ring.inverse_limbs(self.sums.get_mut(LIMBS, LIMBS), &mut self.scratch, body);
        Ok((number, count))
    }

    /// Masks A and B, whatever they are of, for the seed owner to open.
    pub(super) fn mask(
        &mut self,
        (number, count): (u32, usize),
        step_bits: u32,
        pair: &[u64],
    ) -> (MaskedBlock, PendingBlock) {
        self.begin(0);
        self.add_mask("entente lookalike bucket block 1", number);
        self.multiply();
        self.finish(number, count, step_bits, Some(pair))
    }

    /// How many customers these are.
    fn check(&self, features: &[Feature<'_>]) -> Result<usize, Refused> {
        let columns = &self.evaluator.params.shape().columns;
        let count = features.first().map_or(0, Feature::len);
        if features.len() != columns.len() || count > BLOCK || features.iter().any(|feature| feature.len() != count) {
            return Err(Refused::Features);
        }
        match features.iter().zip(columns).position(|(feature, column)| !feature.within(column)) {
            Some(column) => Err(Refused::Column(column)),
            None => Ok(count),
        }
    }

    /// A number that no other block of the study has.
    fn number(&self) -> Result<u32, Refused> {
        let blocks = self.evaluator.params.shape().blocks;
        let next = |number| (number < blocks).then_some(number + 1);
        self.evaluator.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| Refused::Number)
    }

    /// Begins a sum with the ciphertext of this number.
    fn begin(&mut self, first: usize) {
        self.sums.clear();
        (self.first, self.loaded) = (first, 0);
    }

    /// Adds u times the public key; draws e' too.
    fn add_mask(&mut self, label: &str, number: u32) {
        Stream::new(&self.evaluator.secret, label, &[&number.to_le_bytes()]).bytes(&mut self.random);
        let bits = self.random.iter().take(BLOCK / 8).flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1));
        for (small, bit) in self.scratch.small.iter_mut().zip(bits) {
            *small = f64::from(bit);
        }
        self.add();
    }

    /// Adds all columns times their weights.
    fn add_features(&mut self, features: &[Feature<'_>]) {
        for (feature, column) in features.iter().zip(&self.evaluator.params.shape().columns) {
            for level in 0..column.weights() {
                self.load(feature, level);
                self.add();
            }
        }
        self.multiply();
    }

    /// Makes a column's polynomial, or that of the customers of one level.
    fn load(&mut self, feature: &Feature<'_>, level: usize) {
        let small = &mut self.scratch.small;
        match feature {
            Feature::Scaled(values) => {
                small.iter_mut().zip(*values).for_each(|(small, value)| *small = f64::from(*value));
            }
            Feature::OneHot(values) => {
                let is_level = |value: &u16| f64::from(u8::from(usize::from(*value) == level));
                small.iter_mut().zip(*values).for_each(|(small, value)| *small = is_level(value));
            }
        }
        small[feature.len()..].fill(0.0);
    }

    /// Takes the polynomial that is loaded for the next ciphertext.
    fn add(&mut self) {
        self.evaluator.ring.forward(&mut self.scratch, self.features.get_mut(self.loaded, 1));
        self.loaded += 1;
        if self.loaded == TOGETHER {
            self.multiply();
        }
    }

    /// Adds the products of what was taken and its ciphertexts.
    fn multiply(&mut self) {
        let Evaluator { ring, ciphertexts, .. } = self.evaluator;
        let ciphertexts = ciphertexts.get(self.first * PAIR, self.loaded * PAIR);
        ring.multiply_add(self.sums.get_mut(0, PAIR), self.features.get(0, self.loaded), ciphertexts);
        self.first += self.loaded;
        self.loaded = 0;
    }

    /// A' = ⌊(A + e')/2^14⌋ for the seed owner, and B, which stays; `pair` is added to both sums.
    fn finish(
        &mut self,
        number: u32,
        count: usize,
        step_bits: u32,
        pair: Option<&[u64]>,
    ) -> (MaskedBlock, PendingBlock) {
        let ring = &self.evaluator.ring;
        ring.inverse_limbs(self.sums.get_mut(0, LIMBS), &mut self.scratch, &mut self.mask);
        let mut kept = Zeroizing::new(vec![0; BLOCK]);
        ring.inverse_limbs(self.sums.get_mut(LIMBS, LIMBS), &mut self.scratch, &mut kept);
        // Modulo 2^64, of which the modulus is a divisor.
        for (value, added) in self.mask.iter_mut().chain(kept.iter_mut()).zip(pair.unwrap_or_default()) {
            *value = value.wrapping_add(*added);
        }
        let (noise, _) = self.random[BLOCK / 8..].as_chunks::<2>();
        for (value, noise) in self.mask.iter_mut().zip(noise) {
            *value = value.wrapping_add(u64::from(u16::from_le_bytes(*noise)) & ((1 << MASK_CUT) - 1));
        }
        (MaskedBlock::pack(number, &self.mask), PendingBlock { number, count, step_bits, kept })
    }
}

/// A block that waits for its share. No `Debug`; zeroized when dropped.
pub struct PendingBlock {
    number: u32,
    count: usize,
    step_bits: u32,
    kept: Zeroizing<Vec<u64>>,
}

impl PendingBlock {
    /// The scores of the block's customers, in their order. A share of the right size gives scores whatever is in it:
    /// nothing that happens after tells the seed owner what it opened to.
    pub fn open(self, share: &Share) -> Result<Vec<i64>, Refused> {
        if !share.fits() {
            return Err(Refused::Size);
        }
        if share.number != self.number {
            return Err(Refused::Number);
        }
        let half = 1 << (self.step_bits - 1);
        let score =
            |(kept, share): (&u64, u64)| (ring::centred(kept.wrapping_sub(share).wrapping_add(half))) >> self.step_bits;
        Ok(self.kept.iter().zip(share.unpack()).take(self.count).map(score).collect())
    }
}

#[cfg(test)]
impl PendingBlock {
    /// What is left of all coefficients beside the nearest multiple of the step.
    pub(super) fn noise(&self, share: &Share) -> Vec<i64> {
        let rest = |value: i64| (value << (64 - self.step_bits)) >> (64 - self.step_bits);
        self.kept.iter().zip(share.unpack()).map(|(kept, share)| rest(kept.wrapping_sub(share).cast_signed())).collect()
    }
}
