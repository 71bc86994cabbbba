//! The seed owner: encrypts its model for one study and one partner, and answers masks with shares.

use std::sync::atomic::{AtomicBool, Ordering};

use tfhe::core_crypto::commons::generators::DeterministicSeeder;
use tfhe::core_crypto::commons::math::random::CompressionSeed;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::Refused;
use super::draw::{self, Stream};
use super::mask_seed::{Agreement, tfhe_seed};
use super::message::{Commitment, MaskedBlock, Request, SeedPart, Share};
use super::params::{BLOCK, KEY_NOISE_BITS, Params};
use super::ring::{LIMBS, MODULUS_BITS, Ring, Scratch, Spectra};
use crate::digest::Digest;

/// A seed owner that has committed to its part of the joint seed. No `Debug`; zeroized when dropped.
pub struct Offer {
    pub(super) params: Params,
    agreement: Agreement,
    pub(super) secret: Zeroizing<[u8; 32]>,
    opening: [u8; 32],
}

impl Offer {
    /// For one study and one partner: `context` is a hash over the study's transcript and both partners, `secret` are
    /// 32 fresh random bytes, of which everything secret is derived. The same secret must never serve twice.
    pub fn new(context: Digest, params: Params, secret: Zeroizing<[u8; 32]>) -> Self {
        let agreement = Agreement::new(context, &params);
        let opening = *draw::key(&secret, "entente lookalike opening 1", &[&context.0]);
        Self { params, agreement, secret, opening }
    }

    /// What goes to the candidates' owner first.
    pub fn commitment(&self) -> Commitment {
        self.agreement.commit(&self.opening)
    }

    /// Encrypts `weights`, in the order of the shape's columns and levels, under a fresh key.
    pub fn request(self, contribution: &SeedPart, weights: &[i32]) -> Result<(KeyHolder, Request), Refused> {
        self.check(weights)?;
        let (step, sigma) = (1 << self.params.budget().step_bits, self.params.budget().sigma);
        let (holder, request, _) = self.encrypt(contribution, weights, step, sigma);
        Ok((holder, request))
    }

    /// Whether these are weights for the study's columns.
    pub(super) fn check(&self, weights: &[i32]) -> Result<(), Refused> {
        let columns = self.params.shape().columns.iter();
        let bounds = columns.flat_map(|column| std::iter::repeat_n(column.weight_bound(), column.weights()));
        if weights.len() != self.params.shape().weights()
            || bounds.zip(weights).any(|(bound, weight)| weight.unsigned_abs() > bound)
        {
            return Err(Refused::Weights);
        }
        Ok(())
    }

    /// Encrypts `weights` that were checked, a score counting `step`, for shares with noise of deviation `sigma`; with
    /// the key.
    pub(super) fn encrypt(
        self,
        contribution: &SeedPart,
        weights: &[i32],
        step: u64,
        sigma: f64,
    ) -> (KeyHolder, Request, Zeroizing<Vec<u64>>) {
        let seed = self.agreement.seed(&self.opening, &contribution.0);
        let key = binary_key(&self.secret, "entente lookalike key 1", BLOCK);
        // An encryption of 0, and of each weight as a constant.
        let mut plain = Zeroizing::new(vec![0u64; (weights.len() + 1) * BLOCK]);
        for (constant, weight) in plain.iter_mut().skip(BLOCK).step_by(BLOCK).zip(weights) {
            *constant = i64::from(*weight).cast_unsigned().wrapping_mul(step);
        }
        let noise = draw::key(&self.secret, "entente lookalike key noise 1", &[]);
        let bodies = encrypt(&key, &plain, seed, &noise);
        let request = Request::pack(self.opening, bodies.iter().map(|body| body >> (64 - MODULUS_BITS)));
        let holder = KeyHolder::new(&self.params, sigma, self.secret, &key);
        (holder, request, key)
    }
}

/// A binary key of `length` bits.
pub(super) fn binary_key(secret: &[u8; 32], label: &str, length: usize) -> Zeroizing<Vec<u64>> {
    let mut key = Zeroizing::new(vec![0; length]);
    let seed = tfhe_seed(&draw::key(secret, label, &[]));
    let mut generator = SecretRandomGenerator::<DefaultRandomGenerator>::new(seed);
    generate_binary_lwe_secret_key(&mut LweSecretKey::from_container(&mut key[..]), &mut generator);
    key
}

/// The bodies of encryptions of polynomials modulo q, one behind another, as tfhe has them: in the high bits.
pub(super) fn encrypt(
    key: &Zeroizing<Vec<u64>>,
    plain: &Zeroizing<Vec<u64>>,
    seed: CompressionSeed,
    noise: &[u8; 32],
) -> Vec<u64> {
    let count = GlweCiphertextCount(plain.len() / BLOCK);
    let mut list = SeededGlweCiphertextList::new(0, GlweSize(2), PolynomialSize(BLOCK), count, seed, modulus());
    encrypt_seeded_glwe_ciphertext_list(
        &GlweSecretKey::from_container(&key[..], PolynomialSize(BLOCK)),
        &mut list,
        &PlaintextList::from_container(&plain[..]),
        TUniform::new(KEY_NOISE_BITS),
        &mut DeterministicSeeder::<DefaultRandomGenerator>::new(tfhe_seed(noise)),
    );
    list.into_container()
}

/// q, as tfhe has it.
pub(super) fn modulus() -> CiphertextModulus<u64> {
    CiphertextModulus::try_new_power_of_2(MODULUS_BITS as usize).expect("54 bits fit into 64")
}

/// A seed owner that has sent its request. It answers every block once. No `Debug`; zeroized when dropped.
pub struct KeyHolder {
    sigma: f64,
    secret: Zeroizing<[u8; 32]>,
    ring: Ring,
    key: Spectra,
    answered: Vec<AtomicBool>,
}

impl KeyHolder {
    fn new(params: &Params, sigma: f64, secret: Zeroizing<[u8; 32]>, key: &Zeroizing<Vec<u64>>) -> Self {
        let (ring, mut spectrum) = (Ring::new(), Spectra::new(1));
        let mut scratch = ring.scratch();
        for (small, bit) in scratch.small.iter_mut().zip(key.iter()) {
            *small = *bit as f64;
        }
        ring.forward(&mut scratch, spectrum.get_mut(0, 1));
        let answered = (0..params.shape().blocks).map(|_| AtomicBool::new(false)).collect();
        Self { sigma, secret, ring, key: spectrum, answered }
    }

    /// What computes shares, with memory of its own: one for each thread.
    pub fn worker(&self) -> Sharer<'_> {
        let [masks, sums] = [Spectra::new(LIMBS), Spectra::new(LIMBS)];
        Sharer {
            holder: self,
            scratch: self.ring.scratch(),
            masks,
            sums,
            noise: Zeroizing::new(vec![0; BLOCK]),
            polynomial: Zeroizing::new(vec![0; BLOCK]),
        }
    }
}

/// Computes shares. See [`KeyHolder::worker`].
pub struct Sharer<'a> {
    holder: &'a KeyHolder,
    scratch: Scratch,
    masks: Spectra,
    sums: Spectra,
    noise: Zeroizing<Vec<i64>>,
    polynomial: Zeroizing<Vec<u64>>,
}

impl Sharer<'_> {
    /// The share for a block. Refuses a wrong size or number, and a number that was answered before: each answer is a
    /// hint about the key, and the budget counts those of the study. Whoever may need an answer again keeps the
    /// message.
    pub fn share(&mut self, block: &MaskedBlock) -> Result<Share, Refused> {
        if !block.fits() {
            return Err(Refused::Size);
        }
        let answered = self.holder.answered.get(block.number as usize).ok_or(Refused::Number)?;
        if answered.swap(true, Ordering::Relaxed) {
            return Err(Refused::Number);
        }
        self.decrypt(block);
        Ok(Share::pack(block.number, self.smudge(block)))
    }

    /// A'·s, modulo q. It gives the key away.
    pub(super) fn decrypt(&mut self, block: &MaskedBlock) -> &[u64] {
        let ring = &self.holder.ring;
        block.unpack(&mut self.polynomial);
        ring.forward_limbs(&self.polynomial, &mut self.scratch, self.masks.get_mut(0, LIMBS));
        self.sums.clear();
        ring.multiply_add(self.sums.get_mut(0, LIMBS), self.holder.key.get(0, 1), self.masks.get(0, LIMBS));
        ring.inverse_limbs(self.sums.get_mut(0, LIMBS), &mut self.scratch, &mut self.polynomial);
        &self.polynomial
    }

    /// Adds e'', which depends on the mask too: a node that wrongly answers two masks under one number shows two hints,
    /// and not their difference without noise.
    pub(super) fn smudge(&mut self, block: &MaskedBlock) -> &[u64] {
        let parts: [&[u8]; 2] = [&block.number.to_le_bytes(), &block.values];
        let mut stream = Stream::new(&self.holder.secret, "entente lookalike smudging 1", &parts);
        stream.gaussian(self.holder.sigma, &mut self.noise);
        for (value, noise) in self.polynomial.iter_mut().zip(self.noise.iter()) {
            *value = value.wrapping_add(noise.cast_unsigned());
        }
        &self.polynomial
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lookalike::candidates::Awaiting;
    use crate::lookalike::ring::centred;
    use crate::lookalike::ring::tests::product;
    use crate::lookalike::tests::{context, small};

    /// The key that a seed owner derives from `secret`.
    pub(in crate::lookalike) fn secret_bits(secret: &[u8; 32]) -> Vec<bool> {
        binary_key(secret, "entente lookalike key 1", BLOCK).iter().map(|bit| *bit == 1).collect()
    }

    /// tfhe's encryption modulo 2^54 is what the budget counts with: TUniform(7) around Δ·w, at every coefficient.
    #[test]
    fn bodies_are_mask_times_key_plus_message_and_bounded_noise() {
        let (params, secret) = (small(1), Zeroizing::new([3; 32]));
        let offer = Offer::new(context(), params.clone(), secret.clone());
        let awaiting = Awaiting::new(context(), params.clone(), offer.commitment(), Zeroizing::new([4; 32]));
        let weights = [2047, -2047, 1, 0];
        let (_, request) = offer.request(&awaiting.contribution(), &weights).unwrap();
        let key: Vec<i64> = secret_bits(&secret).into_iter().map(i64::from).collect();
        let polynomials = awaiting.polynomials(&request).unwrap();
        let messages = std::iter::once(0).chain(weights);
        let mut seen = std::collections::BTreeSet::new();
        for (pair, message) in polynomials.chunks_exact(2 * BLOCK).zip(messages) {
            let (mask, body) = pair.split_at(BLOCK);
            for (j, (body, known)) in body.iter().zip(product(&key, mask)).enumerate() {
                let step = if j == 0 { i64::from(message) << params.budget().step_bits } else { 0 };
                let noise = centred(body.wrapping_sub(known).wrapping_sub(step.cast_unsigned()));
                assert!(noise.abs() <= 1 << KEY_NOISE_BITS, "{noise}");
                seen.insert(noise);
            }
        }
        assert!(seen.len() > 250, "all 257 values occur some 40 times");
    }
}
