//! Pledges: what a participant signs when it takes part in an attempt: which question, with which key, from which ledger.

use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Signature};
use crate::ledger::Head;

const PLEDGE_LABEL: &str = "entente join 1";

/// A node's ephemeral X25519 key of one attempt. No `Debug`; zeroized when dropped. A node keeps it on its disk until
/// the attempt's vector is computed, so that a restart can go on, and then deletes it.
pub struct EphemeralKey(StaticSecret);

impl EphemeralKey {
    /// From 32 secret random bytes.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self(StaticSecret::from(secret))
    }

    /// The secret bytes, for the node's own store.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The secret shared with another's key; `None` for a key of small order, which would make it predictable.
    pub(super) fn shared(&self, other: [u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.0.diffie_hellman(&PublicKey::from(other));
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }
}

/// The key of two participants for one use, from the secret that they share: HKDF-SHA256 with the transcript's hash as salt.
pub(super) fn derived(shared: &[u8; 32], transcript: Digest, info: Digest) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&transcript.0), shared)
        .expand(&info.0, &mut *key)
        .expect("32 bytes are within HKDF-SHA256's limit of 8160");
    key
}

/// What a participant states when it takes part in an attempt of a study.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Pledge {
    /// The attempt.
    pub attempt: AttemptId,
    /// The participant's name.
    pub participant: String,
    /// Hash over what is asked: plan, mechanism (n, t, σ, scale) and participants.
    pub question: Digest,
    /// Its X25519 key of this attempt.
    pub ephemeral: [u8; 32],
    /// The head of its ledger.
    pub ledger: Head,
    /// The transcript under which it holds a stored answer to this question over its present snapshot.
    pub stored: Option<Digest>,
}

/// A pledge with its participant's signature.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SignedPledge {
    /// What is stated.
    pub pledge: Pledge,
    /// By the participant's identity key.
    pub signature: Signature,
}

impl SignedPledge {
    /// Signs a pledge.
    pub fn new(pledge: Pledge, key: &IdentityKey) -> Self {
        let signature = key.sign(PLEDGE_LABEL, &crate::canonical::canonical_bytes(&pledge));
        Self { pledge, signature }
    }

    /// Whether `identity` signed it.
    pub fn verify(&self, identity: &PublicIdentity) -> bool {
        identity.verify(PLEDGE_LABEL, &crate::canonical::canonical_bytes(&self.pledge), &self.signature)
    }
}
