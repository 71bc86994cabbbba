//! What travels, in order. Every size follows from the parameters and is checked before anything is read or allocated;
//! every content of the right size is a valid message, so that no answer tells one content from another.

use super::params::{BLOCK, MASK_CUT, Params, SHARE_CUT};
use super::ring::MODULUS_BITS;
use crate::digest::Digest;

/// From the seed owner: the hash of its part of the joint seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Commitment(pub Digest);

/// From the candidates' owner, once it has the commitment: its part of the joint seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SeedPart(pub [u8; 32]);

/// From the seed owner: its part of the joint seed, and the bodies of the encrypted weights behind that of the public
/// key.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Request {
    /// What was committed to.
    pub opening: [u8; 32],
    /// 7 bytes a coefficient, little-endian.
    pub bodies: Vec<u8>,
}

/// From the candidates' owner: the mask of a block.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct MaskedBlock {
    /// Blocks are numbered from 0.
    pub number: u32,
    /// 5 bytes a coefficient, little-endian.
    pub values: Vec<u8>,
}

/// From the seed owner: its share in the decryption of a block.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Share {
    /// The block's.
    pub number: u32,
    /// 4 bytes a coefficient, little-endian.
    pub values: Vec<u8>,
}

impl Request {
    /// A limit for [`crate::canonical::from_canonical`]: no request is longer.
    pub const LIMIT: usize = 0x40_0000;
    const WIDTH: usize = 7;

    pub(super) fn pack(opening: [u8; 32], bodies: impl Iterator<Item = u64>) -> Self {
        Self { opening, bodies: bodies.flat_map(|body| body.to_le_bytes().into_iter().take(Self::WIDTH)).collect() }
    }

    /// Whether its size is that of the parameters.
    pub(super) fn fits(&self, params: &Params) -> bool {
        self.bodies.len() == (params.shape().weights() + 1) * BLOCK * Self::WIDTH
    }

    /// The bodies modulo q.
    pub(super) fn bodies(&self) -> impl Iterator<Item = u64> {
        let (bodies, _) = self.bodies.as_chunks::<{ Self::WIDTH }>();
        bodies.iter().map(|[a, b, c, d, e, f, g]| {
            u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, 0]) & ((1 << MODULUS_BITS) - 1)
        })
    }
}
const _: () = assert!(
    (super::params::MAX_WEIGHTS + 1) * BLOCK * Request::WIDTH + 64 <= Request::LIMIT,
    "all requests are within"
);

impl MaskedBlock {
    /// A limit for [`crate::canonical::from_canonical`]: no block is longer.
    pub const LIMIT: usize = 0x1_0000;
    const WIDTH: usize = 5;

    /// Cuts the low bits of all coefficients.
    pub(super) fn pack(number: u32, polynomial: &[u64]) -> Self {
        let mut values = vec![0; BLOCK * Self::WIDTH];
        let (chunks, _) = values.as_chunks_mut::<{ Self::WIDTH }>();
        for (chunk, value) in chunks.iter_mut().zip(polynomial) {
            let [a, b, c, d, e, ..] = (value >> MASK_CUT).to_le_bytes();
            *chunk = [a, b, c, d, e];
        }
        Self { number, values }
    }

    /// Whether its size is right.
    pub(super) fn fits(&self) -> bool {
        self.values.len() == BLOCK * Self::WIDTH
    }

    /// The coefficients modulo q, the bits that were cut being 0.
    pub(super) fn unpack(&self, polynomial: &mut [u64]) {
        let (chunks, _) = self.values.as_chunks::<{ Self::WIDTH }>();
        for (value, [a, b, c, d, e]) in polynomial.iter_mut().zip(chunks) {
            *value = u64::from_le_bytes([*a, *b, *c, *d, *e, 0, 0, 0]) << MASK_CUT;
        }
    }
}

impl Share {
    /// A limit for [`crate::canonical::from_canonical`]: no share is longer.
    pub const LIMIT: usize = 0x1_0000;
    const WIDTH: usize = 4;

    /// Rounds all coefficients to what travels.
    pub(super) fn pack(number: u32, polynomial: &[u64]) -> Self {
        let mut values = vec![0; BLOCK * Self::WIDTH];
        let (chunks, _) = values.as_chunks_mut::<{ Self::WIDTH }>();
        for (chunk, value) in chunks.iter_mut().zip(polynomial) {
            // Modulo q, of which 32 bits are left.
            let [a, b, c, d, ..] = (value.wrapping_add(1 << (SHARE_CUT - 1)) >> SHARE_CUT).to_le_bytes();
            *chunk = [a, b, c, d];
        }
        Self { number, values }
    }

    /// Whether its size is right.
    pub(super) fn fits(&self) -> bool {
        self.values.len() == BLOCK * Self::WIDTH
    }

    /// The coefficients modulo q.
    pub(super) fn unpack(&self) -> impl Iterator<Item = u64> {
        let (chunks, _) = self.values.as_chunks::<{ Self::WIDTH }>();
        chunks.iter().map(|chunk| u64::from(u32::from_le_bytes(*chunk)) << SHARE_CUT)
    }
}
