//! The seed of all masks, to which both sides contribute: neither chooses it.
//!
//! The seed owner commits to its part by a hash, the candidates' owner answers with its own, and only then the first is
//! opened. Whoever is honest has a uniform part that the other did not know when it fixed its own; so the hash of both
//! is uniform in the random-oracle model. The seed owner sees the seed before it opens, and can give the study up over
//! it: that buys it one more draw, at the price of a study that visibly failed.

use tfhe::core_crypto::commons::math::random::{CompressionSeed, Seed};

use super::message::Commitment;
use super::params::Params;
use crate::digest::Digest;

/// What both sides have agreed on before: `context` is a hash over the study's transcript and both partners.
pub(super) struct Agreement {
    context: Digest,
    shape: Digest,
}

impl Agreement {
    pub(super) fn new(context: Digest, params: &Params) -> Self {
        Self { context, shape: params.shape().digest() }
    }

    /// The commitment to the seed owner's part.
    pub(super) fn commit(&self, opening: &[u8; 32]) -> Commitment {
        Commitment(Digest::of("entente lookalike commitment 1", &[&self.context.0, &self.shape.0, opening]))
    }

    /// The seed of all masks.
    pub(super) fn seed(&self, opening: &[u8; 32], contribution: &[u8; 32]) -> CompressionSeed {
        let parts: [&[u8]; 4] = [&self.context.0, &self.shape.0, opening, contribution];
        let digest = Digest::of("entente lookalike masks 1", &parts);
        CompressionSeed::from(tfhe_seed(&digest.0))
    }
}

/// The first 128 bits, which is what tfhe's generators take.
pub(super) fn tfhe_seed(bytes: &[u8; 32]) -> Seed {
    let (first, _) = bytes.split_first_chunk::<16>().expect("16 of 32 bytes");
    Seed(u128::from_le_bytes(*first))
}
