//! The one door: the only way from bounded sums to something that may leave a node.
//!
//! ```text
//! Permit + Bounded ─add_noise──────▶ Noised<Distributed> ─mask─▶ Masked ─▶ Ledger::computed ─▶ Outbound
//! Permit + Bounded ─add_full_noise─▶ Noised<Local>      ────────────────▶ Ledger::computed ─▶ Outbound
//! ```
//!
//! The types carry the promise. [`Bounded`] comes from the clipping step alone, and with it the sensitivity; [`Permit`]
//! from the ledger alone, after the charge is durable, and is used up here; a share of distributed noise is too little
//! by itself, so [`Noised<Distributed>`] can only be masked; what is sent comes out of the outbox alone.
//! `tests/door/` holds the programs that must not compile.

use std::marker::PhantomData;
use std::sync::Arc;

use zeroize::Zeroize;

use crate::digest::Digest;
use crate::ledger::{Permit, Protected, sealed};
use crate::privacy::bounds::Bounded;
use crate::privacy::gaussian;
use crate::privacy::mechanism::Mechanism;
use crate::secagg::mask::MaskKeys;

/// Marks a vector with one share of the noise: not sendable unless masked.
pub enum Distributed {}
/// Marks a vector with all of the noise.
pub enum Local {}

/// A bounded vector with noise. Not `Clone`, not serialisable.
pub struct Noised<Kind> {
    release: Digest,
    transcript: Digest,
    mechanism: Arc<Mechanism>,
    values: Vec<i64>,
    kind: PhantomData<Kind>,
}

/// A vector with its share of noise, under masks: uniform to all who lack the other participants' vectors.
pub struct Masked {
    release: Digest,
    transcript: Digest,
    values: Vec<i64>,
}

/// Why a vector could not be noised or masked. The permit is used up all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The vector was clipped to other bounds than were paid for.
    #[error("the vector is not the one that was charged for")]
    Layout,
    /// The share is not what the mechanism needs.
    #[error("the mechanism is not one of {0}")]
    Kind(&'static str),
    /// No randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(String),
}

/// Adds this participant's share of the noise (see [`crate::privacy::mechanism`]).
pub fn add_noise(permit: Permit, bounded: Bounded) -> Result<Noised<Distributed>, ReleaseError> {
    if permit.mechanism().participants() < 2 {
        return Err(ReleaseError::Kind("several participants"));
    }
    noised(permit, bounded)
}

/// Adds noise that is enough by itself: for a study of one participant, whose one share is all of the noise.
pub fn add_full_noise(permit: Permit, bounded: Bounded) -> Result<Noised<Local>, ReleaseError> {
    if permit.mechanism().participants() != 1 {
        return Err(ReleaseError::Kind("one participant"));
    }
    noised(permit, bounded)
}

fn noised<Kind>(permit: Permit, bounded: Bounded) -> Result<Noised<Kind>, ReleaseError> {
    let (release, transcript, mechanism) = permit.into_parts();
    if bounded.layout() != mechanism.layout() {
        return Err(ReleaseError::Layout);
    }
    let ranges = mechanism.layout().ranges().into_iter().zip(mechanism.sigmas());
    let components: Vec<(&[i64], u64)> = ranges.map(|(range, sigma)| (&bounded.values[range], *sigma)).collect();
    let values = gaussian::add_noise(&components).map_err(|error| ReleaseError::Randomness(error.to_string()))?;
    Ok(Noised { release, transcript, mechanism, values, kind: PhantomData })
}

impl Noised<Distributed> {
    /// Masks the vector with keys shared with every other participant.
    pub fn mask(mut self, keys: &MaskKeys) -> Result<Masked, ReleaseError> {
        if keys.peers() + 1 != self.mechanism.participants() as usize {
            return Err(ReleaseError::Kind("as many participants as there are mask keys"));
        }
        let mut values = std::mem::take(&mut self.values);
        keys.apply(&mut values);
        Ok(Masked { release: self.release, transcript: self.transcript, values })
    }
}

impl<Kind> Drop for Noised<Kind> {
    fn drop(&mut self) {
        self.values.zeroize();
    }
}

impl Protected for Masked {}

impl sealed::IntoParts for Masked {
    fn into_parts(self) -> sealed::Parts {
        sealed::Parts { release: self.release, transcript: self.transcript, values: self.values }
    }
}

impl Protected for Noised<Local> {}

impl sealed::IntoParts for Noised<Local> {
    fn into_parts(mut self) -> sealed::Parts {
        let values = std::mem::take(&mut self.values);
        sealed::Parts { release: self.release, transcript: self.transcript, values }
    }
}
