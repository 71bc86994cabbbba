//! What travels beside what scores need: sizes are exact, checked before anything is read or allocated, and every content
//! of the right size is valid.

use tfhe::core_crypto::commons::math::random::CompressionSeed;

use super::super::mask_seed::tfhe_seed;
use super::super::params::BLOCK;
use super::params::{BODY_CUT, DOUBLINGS, DOWN_LEVELS, PACK_LEVELS, SMALL};
use crate::digest::Digest;

/// From the model's owner, once for a model: 22,831,152 bytes. Whoever has it keeps it, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct EvaluationKey {
    /// What all masks are expanded from.
    pub masks: [u8; 32],
    /// The bits of the small key under the big one: 6 bytes a coefficient, little-endian.
    pub bootstrap: Vec<u8>,
    /// The big key's eleven automorphisms under itself, likewise.
    pub packing: Vec<u8>,
}

/// From the model's owner, beside a [`super::super::message::Request`] of a study: 86,104 bytes.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct BucketRequest {
    /// The digest of the evaluation key.
    pub key: Digest,
    /// What all masks are expanded from.
    pub masks: [u8; 32],
    /// The study's key under the small one: 6 bytes a number, little-endian.
    pub down: Vec<u8>,
    /// The look-up table of the buckets under the big key, likewise.
    pub table: Vec<u8>,
    /// The big key under the study's, likewise.
    pub switch: Vec<u8>,
}

impl EvaluationKey {
    /// A limit for [`crate::canonical::from_canonical`]: all keys are as long.
    pub const LIMIT: usize = 32 + 2 * 8 + Self::BOOTSTRAP * WIDTH + Self::PACKING * WIDTH;
    pub(super) const BOOTSTRAP: usize = SMALL * 2 * BLOCK;
    pub(super) const PACKING: usize = DOUBLINGS as usize * PACK_LEVELS * BLOCK;

    /// Whether its sizes are right.
    pub fn fits(&self) -> bool {
        self.bootstrap.len() == Self::BOOTSTRAP * WIDTH && self.packing.len() == Self::PACKING * WIDTH
    }

    /// What names it.
    pub fn digest(&self) -> Digest {
        Digest::of("entente lookalike evaluation key 1", &[&self.masks, &self.bootstrap, &self.packing])
    }
}

impl BucketRequest {
    /// A limit for [`crate::canonical::from_canonical`]: all are as long.
    pub const LIMIT: usize = 2 * 32 + 3 * 8 + (Self::DOWN + Self::TABLE + Self::SWITCH) * WIDTH;
    pub(super) const DOWN: usize = BLOCK * DOWN_LEVELS;
    const TABLE: usize = BLOCK;
    const SWITCH: usize = PACK_LEVELS * BLOCK;

    /// Whether its sizes are right.
    pub(super) fn fits(&self) -> bool {
        let parts = [(&self.down, Self::DOWN), (&self.table, Self::TABLE), (&self.switch, Self::SWITCH)];
        parts.iter().all(|(bytes, count)| bytes.len() == count * WIDTH)
    }
}

/// Bytes of a number modulo 2^64 without its low bits.
const WIDTH: usize = (64 - BODY_CUT as usize) / 8;

/// Rounds numbers modulo 2^64 to what travels.
pub(super) fn pack(bodies: &[u64]) -> Vec<u8> {
    let bytes = |body: &u64| (body.wrapping_add(1 << (BODY_CUT - 1)) >> BODY_CUT).to_le_bytes().into_iter().take(WIDTH);
    bodies.iter().flat_map(bytes).collect()
}

/// The numbers, the bits that were cut being 0.
pub(super) fn unpack(bytes: &[u8]) -> Vec<u64> {
    let (bodies, _) = bytes.as_chunks::<WIDTH>();
    bodies.iter().map(|[a, b, c, d, e, f]| u64::from_le_bytes([0, 0, *a, *b, *c, *d, *e, *f])).collect()
}

/// The seed of the masks of one part of a message.
pub(super) fn mask_seed(masks: &[u8; 32], label: &str) -> CompressionSeed {
    CompressionSeed::from(tfhe_seed(&Digest::of(label, &[masks]).0))
}
