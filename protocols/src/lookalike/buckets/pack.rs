//! Keyswitches between big keys, and packing: many ciphertexts, each right in its constant coefficient alone, become one.
//!
//! ```text
//! pack(c_0 … c_(n−1)):  E = pack(even ones),  O = pack(odd ones)
//!                       E + X^(N/n)·O  +  (E − X^(N/n)·O)(X^(n+1))      switched back to the key
//! ```
//!
//! (Chen, Dai, Kim and Song, "Efficient homomorphic conversion between (ring) LWE ciphertexts", 2021.) Every step
//! doubles the coefficients that belong and takes the others away; all eleven together multiply by N = 2^11. So a
//! ciphertext modulo 2^43 is taken as one modulo 2^54, wrong by multiples of 2^43, and what is wrong is gone in the
//! end.
//!
//! A polynomial times a key is computed exactly, as scores are: the two digits of 14 bits count as columns whose bound
//! is 2^13.

use zeroize::Zeroizing;

use super::super::candidates::PAIR;
use super::super::params::BLOCK;
use super::super::ring::{self, LIMBS, MODULUS_BITS, Ring, Scratch, Spectra};
use super::params::{PACK_BITS, PACK_LEVELS};

/// Transforms of one key: of the pairs of its levels.
const KEY: usize = PACK_LEVELS * PAIR;
const LOW_BITS: u32 = MODULUS_BITS - PACK_BITS * PACK_LEVELS as u32;

/// What is encrypted, level by level, for whoever may switch from the key `from`.
pub(super) fn switch_plain(from: &[u64], plain: &mut Vec<u64>) {
    for level in 1..=PACK_LEVELS as u32 {
        let factor = 1u64 << (MODULUS_BITS - PACK_BITS * level);
        // Negative, so that products are added.
        plain.extend(from.iter().map(|value| value.wrapping_mul(factor).wrapping_neg()));
    }
}

/// The exponent of the step that makes one of 2^step.
pub(super) fn exponent(step: u32) -> usize {
    (1 << step) + 1
}

/// f(X^exponent), the exponent being odd.
pub(super) fn automorphism(polynomial: &[u64], exponent: usize, image: &mut [u64]) {
    for (i, value) in polynomial.iter().enumerate() {
        let place = i * exponent % (2 * BLOCK);
        image[place % BLOCK] = if place < BLOCK { *value } else { value.wrapping_neg() };
    }
}

/// Keys between big keys, transformed, from masks and bodies in turn.
pub(super) fn prepare(ring: &Ring, polynomials: &[u64]) -> Spectra {
    let mut scratch = ring.scratch();
    let mut keys = Spectra::new(polynomials.len() / BLOCK * LIMBS);
    for (i, polynomial) in polynomials.chunks_exact(BLOCK).enumerate() {
        ring.forward_limbs(polynomial, &mut scratch, keys.get_mut(i * LIMBS, LIMBS));
    }
    keys
}

/// A mask and a body modulo 2^54, one behind the other.
pub(super) type Pair = Zeroizing<Vec<u64>>;

/// Packs and switches, with memory of its own.
pub(super) struct Packer<'a> {
    ring: &'a Ring,
    scratch: Scratch,
    digits: Spectra,
    sums: Spectra,
    product: Pair,
}

impl<'a> Packer<'a> {
    pub(super) fn new(ring: &'a Ring) -> Self {
        Self {
            ring,
            scratch: ring.scratch(),
            digits: Spectra::new(PACK_LEVELS),
            sums: Spectra::new(PAIR),
            product: Zeroizing::new(vec![0; 2 * BLOCK]),
        }
    }

    /// Brings a pair to another key by the key numbered `which`.
    pub(super) fn switch(&mut self, keys: &Spectra, which: usize, pair: &mut [u64]) {
        let (mask, body) = pair.split_at_mut(BLOCK);
        for level in 0..PACK_LEVELS {
            for (small, value) in self.scratch.small.iter_mut().zip(mask.iter()) {
                *small = digits(*value)[level] as f64;
            }
            self.ring.forward(&mut self.scratch, self.digits.get_mut(level, 1));
        }
        self.sums.clear();
        let key = keys.get(which * KEY, KEY);
        self.ring.multiply_add(self.sums.get_mut(0, PAIR), self.digits.get(0, PACK_LEVELS), key);
        self.ring.inverse_limbs(self.sums.get_mut(0, LIMBS), &mut self.scratch, mask);
        let product = &mut self.product[..BLOCK];
        self.ring.inverse_limbs(self.sums.get_mut(LIMBS, LIMBS), &mut self.scratch, product);
        for (body, product) in body.iter_mut().zip(product) {
            *body = body.wrapping_add(*product);
        }
    }

    /// Packs every `stride`th leaf from the one numbered `first` on; those behind the last are nothing. A leaf is a
    /// mask modulo 2^43, and of a body the constant coefficient.
    pub(super) fn pack(&mut self, keys: &Spectra, leaves: &[&[u64]], first: usize, stride: usize) -> Option<Pair> {
        if stride == BLOCK {
            let mut pair = Zeroizing::new(vec![0; 2 * BLOCK]);
            pair[..=BLOCK].copy_from_slice(leaves.get(first)?);
            return Some(pair);
        }
        // Whatever is in the odd half is behind something of the even one.
        let mut sum = self.pack(keys, leaves, first, 2 * stride)?;
        let mut difference = sum.clone();
        if let Some(odd) = self.pack(keys, leaves, first + stride, 2 * stride) {
            let halves = sum.chunks_exact_mut(BLOCK).zip(difference.chunks_exact_mut(BLOCK));
            for ((sum, difference), odd) in halves.zip(odd.chunks_exact(BLOCK)) {
                for (i, value) in odd.iter().enumerate() {
                    let value = if i + stride < BLOCK { *value } else { value.wrapping_neg() };
                    let place = (i + stride) % BLOCK;
                    sum[place] = sum[place].wrapping_add(value);
                    difference[place] = difference[place].wrapping_sub(value);
                }
            }
        }
        let step = (BLOCK / stride).ilog2();
        let mut image = Zeroizing::new(vec![0; 2 * BLOCK]);
        for (image, difference) in image.chunks_exact_mut(BLOCK).zip(difference.chunks_exact(BLOCK)) {
            automorphism(difference, exponent(step), image);
        }
        self.switch(keys, step as usize - 1, &mut image);
        for (sum, image) in sum.iter_mut().zip(image.iter()) {
            *sum = sum.wrapping_add(*image);
        }
        Some(sum)
    }
}

/// The two digits of a value modulo 2^54, high one first, each within ±2^13; rounded.
fn digits(value: u64) -> [i64; PACK_LEVELS] {
    let rounded = (ring::centred(value) + (1 << (LOW_BITS - 1))) >> LOW_BITS;
    let low = (rounded << (64 - PACK_BITS)) >> (64 - PACK_BITS);
    [(rounded - low) >> PACK_BITS, low]
}
const _: () = assert!(PACK_LEVELS == 2, "there are two digits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_small_and_give_the_value_back_but_for_the_cut() {
        for value in [0, 1, (1 << 25) - 1, 1 << 25, 1 << 39, 1 << 53, (1 << 53) - 1, (1 << 54) - 1, 0x1f_ffff_ffff_ffff]
        {
            let [high, low] = digits(value);
            assert!(high.abs() <= 1 << 13 && low.abs() <= 1 << 13);
            let rest = ring::centred(value) - (high << 40) - (low << 26);
            assert!(rest.abs() <= 1 << 25, "{value}");
        }
    }

    /// Products of keys and digits are within what [`ring`] proves.
    #[test]
    fn products_are_exact() {
        let norm = 2f64.powi(PACK_BITS.cast_signed() - 1) * (BLOCK as f64).sqrt();
        assert!(ring::error_bound(PACK_LEVELS, PACK_LEVELS as f64 * norm) <= ring::MAX_ERROR);
    }
}
