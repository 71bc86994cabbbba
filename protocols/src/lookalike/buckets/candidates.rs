//! The candidates' owner: evaluates, looks every customer's score up in the encrypted table, packs, and keeps what it
//! computes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::FourierLweBootstrapKeyOwned;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use super::super::Refused;
use super::super::candidates::{Awaiting, Evaluator, Feature, PendingBlock, Worker, decompress};
use super::super::message::{MaskedBlock, Request, Share};
use super::super::params::BLOCK;
use super::super::ring::{MODULUS_BITS, Ring, Spectra};
use super::message::{BucketRequest, EvaluationKey, unpack};
use super::owner::{bootstrap_masks, down_masks, packing_masks, switch_masks, table_masks};
use super::pack::{Packer, prepare};
use super::params::{BOOTSTRAP_BITS, DOUBLINGS, DOWN_BITS, DOWN_LEVELS, MAX_BUCKETS, SMALL, STEP_BITS};
use crate::digest::Digest;

/// An evaluation key, made ready: 63 MB, public to both sides, to be kept for all studies of a model.
pub struct Evaluation {
    digest: Digest,
    bootstrap: FourierLweBootstrapKeyOwned,
    packing: Spectra,
}

impl Evaluation {
    /// Checks a key's size and makes it ready.
    pub fn new(key: &EvaluationKey) -> Result<Self, Refused> {
        if !key.fits() {
            return Err(Refused::Size);
        }
        let list = SeededLweBootstrapKey::from_container(
            unpack(&key.bootstrap),
            GlweSize(2),
            PolynomialSize(BLOCK),
            DecompositionBaseLog(BOOTSTRAP_BITS),
            DecompositionLevelCount(1),
            bootstrap_masks(&key.masks),
            CiphertextModulus::new_native(),
        );
        let list = list.decompress_into_lwe_bootstrap_key();
        let mut bootstrap = FourierLweBootstrapKeyOwned::new(
            LweDimension(SMALL),
            GlweSize(2),
            PolynomialSize(BLOCK),
            DecompositionBaseLog(BOOTSTRAP_BITS),
            DecompositionLevelCount(1),
        );
        convert_standard_lwe_bootstrap_key_to_fourier(&list, &mut bootstrap);
        let packing = prepare(&Ring::new(), &decompress(unpack(&key.packing), packing_masks(&key.masks)));
        Ok(Self { digest: key.digest(), bootstrap, packing })
    }

    /// The key's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The requests of a study, accepted. No `Debug`; what is secret of it is zeroized when dropped.
pub struct BucketEvaluator {
    evaluator: Evaluator,
    evaluation: Arc<Evaluation>,
    down: LweKeyswitchKeyOwned<u64>,
    table: Vec<u64>,
    switch: Spectra,
    fft: Fft,
}

impl Awaiting {
    /// Checks the requests against the commitment, the parameters and the evaluation key, and prepares them: once a study.
    pub fn accept_buckets(
        self,
        request: &Request,
        buckets: &BucketRequest,
        evaluation: Arc<Evaluation>,
    ) -> Result<BucketEvaluator, Refused> {
        if !buckets.fits() {
            return Err(Refused::Size);
        }
        if buckets.key != evaluation.digest {
            return Err(Refused::Key);
        }
        let evaluator = self.accept(request)?;
        let down = SeededLweKeyswitchKey::from_container(
            unpack(&buckets.down),
            DecompositionBaseLog(DOWN_BITS),
            DecompositionLevelCount(DOWN_LEVELS),
            LweDimension(SMALL).to_lwe_size(),
            down_masks(&buckets.masks),
            CiphertextModulus::new_native(),
        );
        let high = |value: u64| value << (64 - MODULUS_BITS);
        let table = decompress(unpack(&buckets.table), table_masks(&buckets.masks));
        let switch = decompress(unpack(&buckets.switch), switch_masks(&buckets.masks));
        Ok(BucketEvaluator {
            switch: prepare(&evaluator.ring, &switch),
            evaluator,
            evaluation,
            down: down.decompress_into_lwe_keyswitch_key(),
            table: table.into_iter().map(high).collect(),
            fft: Fft::new(PolynomialSize(BLOCK)),
        })
    }
}

impl BucketEvaluator {
    /// What evaluates, with memory of its own: one for each thread.
    pub fn worker(&self) -> BucketWorker<'_> {
        let stack = blind_rotate_assign_mem_optimized_requirement::<u64>(
            GlweSize(2),
            PolynomialSize(BLOCK),
            self.fft.as_view(),
        );
        BucketWorker {
            shared: self,
            scores: self.evaluator.worker(),
            packer: Packer::new(&self.evaluator.ring),
            sample: Zeroizing::new(vec![0; BLOCK + 1]),
            small: Zeroizing::new(vec![0; SMALL + 1]),
            rotated: Zeroizing::new(vec![0; 2 * BLOCK]),
            stack: Zeroizing::new(vec![0; stack.unaligned_bytes_required()]),
        }
    }
}

/// The encrypted scores of a block, on which any number of workers bootstrap. No `Debug`; zeroized when dropped.
pub struct ScoredBlock {
    number: u32,
    count: usize,
    /// Of 2^64.
    pair: Zeroizing<Vec<u64>>,
    next: AtomicUsize,
    leaves: Vec<OnceLock<Zeroizing<Vec<u64>>>>,
}

impl ScoredBlock {
    /// How many customers it has.
    pub fn customers(&self) -> usize {
        self.count
    }
}

/// Evaluates blocks and bootstraps. See [`BucketEvaluator::worker`].
pub struct BucketWorker<'a> {
    shared: &'a BucketEvaluator,
    scores: Worker<'a>,
    packer: Packer<'a>,
    sample: Zeroizing<Vec<u64>>,
    small: Zeroizing<Vec<u64>>,
    rotated: Zeroizing<Vec<u64>>,
    stack: Zeroizing<Vec<u8>>,
}

impl BucketWorker<'_> {
    /// Evaluates up to [`BLOCK`] customers, as [`Worker::block`] does: this is the quick part, of which nothing leaves.
    pub fn scores(&mut self, features: &[Feature<'_>]) -> Result<ScoredBlock, Refused> {
        let mut pair = Zeroizing::new(vec![0; 2 * BLOCK]);
        let (number, count) = self.scores.bare(features, &mut pair)?;
        pair.iter_mut().for_each(|value| *value <<= 64 - MODULUS_BITS);
        let leaves = (0..count).map(|_| OnceLock::new()).collect();
        Ok(ScoredBlock { number, count, pair, next: AtomicUsize::new(0), leaves })
    }

    /// Bootstraps one customer of a block that no worker has taken yet; false if there is none. This is where the time
    /// goes: call it from all threads, until it is false, and count the calls for progress.
    pub fn bootstrap(&mut self, block: &ScoredBlock) -> bool {
        let take = |customer| (customer < block.count).then_some(customer + 1);
        let Ok(customer) = block.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else { return false };
        block.leaves[customer].get_or_init(|| self.leaf(&block.pair, customer));
        true
    }

    /// Packs a block and masks it; bootstraps what is left before. What comes out first is for the model's owner, the
    /// rest stays here.
    pub fn finish(&mut self, block: ScoredBlock) -> (MaskedBlock, PendingBuckets) {
        let ScoredBlock { number, count, pair, leaves, .. } = &block;
        let leaf = |(customer, leaf): (usize, &'_ OnceLock<_>)| {
            leaf.get_or_init(|| self.leaf(pair, customer));
        };
        leaves.iter().enumerate().for_each(leaf);
        let leaves: Vec<&[u64]> = leaves.iter().filter_map(OnceLock::get).map(|leaf| &leaf[..]).collect();
        let packed = self.packer.pack(&self.shared.evaluation.packing, &leaves, 0, 1);
        let mut packed = packed.unwrap_or_else(|| Zeroizing::new(vec![0; 2 * BLOCK]));
        self.packer.switch(&self.shared.switch, 0, &mut packed);
        let (masked, pending) = self.scores.mask((*number, *count), STEP_BITS, &packed);
        (masked, PendingBuckets(pending))
    }

    /// The bucket of a customer under the big key, modulo 2^43: the mask, and of the body what belongs to it.
    fn leaf(&mut self, pair: &[u64], customer: usize) -> Zeroizing<Vec<u64>> {
        self.down(pair, customer);
        let native = CiphertextModulus::new_native();
        let small = LweCiphertext::from_container(&self.small[..], native);
        let positions = lwe_ciphertext_centered_binary_modulus_switch(
            small,
            PolynomialSize(BLOCK).to_blind_rotation_input_modulus_log(),
        );
        self.rotated.copy_from_slice(&self.shared.table);
        blind_rotate_assign_mem_optimized(
            &positions,
            &mut GlweCiphertext::from_container(&mut self.rotated[..], PolynomialSize(BLOCK), native),
            &self.shared.evaluation.bootstrap,
            self.shared.fft.as_view(),
            PodStack::new(&mut self.stack),
        );
        let cut = 64 - MODULUS_BITS + DOUBLINGS;
        let rounded = |value: &u64| value.wrapping_add(1 << (cut - 1)) >> cut;
        Zeroizing::new(self.rotated[..=BLOCK].iter().map(rounded).collect())
    }

    /// Brings a customer's score under the small key.
    fn down(&mut self, pair: &[u64], customer: usize) {
        let native = CiphertextModulus::new_native();
        let pair = GlweCiphertext::from_container(pair, PolynomialSize(BLOCK), native);
        let mut sample = LweCiphertext::from_container(&mut self.sample[..], native);
        extract_lwe_sample_from_glwe_ciphertext(&pair, &mut sample, MonomialDegree(customer));
        let mut small = LweCiphertext::from_container(&mut self.small[..], native);
        keyswitch_lwe_ciphertext(&self.shared.down, &sample, &mut small);
    }
}

/// A block that waits for its share. No `Debug`; zeroized when dropped.
pub struct PendingBuckets(PendingBlock);

impl PendingBuckets {
    /// The buckets of the block's customers, from 0, in their order. A share of the right size gives buckets whatever is
    /// in it: nothing that happens after tells the model's owner what it opened to.
    pub fn open(self, share: &Share) -> Result<Vec<u8>, Refused> {
        let buckets = self.0.open(share)?;
        Ok(buckets.into_iter().map(|bucket| bucket.rem_euclid(MAX_BUCKETS as i64) as u8).collect())
    }
}

#[cfg(test)]
impl BucketWorker<'_> {
    /// Where a bootstrap looks a customer's score up, given the small key.
    pub(super) fn position(&mut self, block: &ScoredBlock, customer: usize, small: &[u64]) -> usize {
        self.down(&block.pair, customer);
        let sample = LweCiphertext::from_container(&self.small[..], CiphertextModulus::new_native());
        let log = PolynomialSize(BLOCK).to_blind_rotation_input_modulus_log();
        let switched = lwe_ciphertext_centered_binary_modulus_switch::<u64, usize, _>(sample, log);
        let mask: usize = switched.mask().zip(small).filter(|(_, bit)| **bit == 1).map(|(mask, _)| mask).sum();
        (switched.body() + 2 * BLOCK * SMALL - mask) % (2 * BLOCK)
    }
}

#[cfg(test)]
impl PendingBuckets {
    /// What is left of all coefficients beside the nearest bucket.
    pub(super) fn noise(&self, share: &Share) -> Vec<i64> {
        self.0.noise(share)
    }
}
