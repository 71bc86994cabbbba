//! Pledges: what a participant signs when it takes part in an attempt: which question, with which key, from which ledger, and what it
//! holds of the others'.

use hkdf::Hkdf;
use ml_kem::kem::KeyExport;
use ml_kem::{B32, DecapsulationKey, MlKem768};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Signature};
use crate::ledger::Head;

const PLEDGE_LABEL: &str = "entente join 4";

/// A node's ephemeral keys of one attempt: for X25519 and for ML-KEM-768 (FIPS 203), both made of one secret. No `Debug`;
/// zeroized when dropped. A node keeps the secret until the attempt's vectors are computed, so that a restart can go on, and
/// then deletes it.
pub struct EphemeralKey {
    secret: Zeroizing<[u8; 32]>,
    x25519: StaticSecret,
    ml_kem: DecapsulationKey<MlKem768>,
}

/// The public halves of a node's ephemeral keys.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct EphemeralPublic {
    /// For X25519.
    pub x25519: [u8; 32],
    /// ML-KEM-768's encapsulation key.
    pub ml_kem: [u8; ENCAPSULATION_KEY],
}

impl std::fmt::Debug for EphemeralPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EphemeralPublic").field(&Digest(self.x25519)).field(&Digest::plain(&self.ml_kem)).finish()
    }
}

/// Bytes of an encapsulation key of ML-KEM-768.
pub const ENCAPSULATION_KEY: usize = 1184;

impl EphemeralKey {
    /// From 32 secret random bytes.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let x25519 = expanded::<32>(&secret, Digest::of("entente ephemeral x25519 1", &[]));
        let ml_kem = expanded::<64>(&secret, Digest::of("entente ephemeral ml-kem-768 1", &[]));
        Self { secret, x25519: StaticSecret::from(*x25519), ml_kem: DecapsulationKey::from_seed((*ml_kem).into()) }
    }

    /// The public halves.
    pub fn public(&self) -> EphemeralPublic {
        EphemeralPublic {
            x25519: PublicKey::from(&self.x25519).to_bytes(),
            ml_kem: self.ml_kem.encapsulation_key().to_bytes().into(),
        }
    }

    /// The X25519 secret shared with another's key; `None` for a key of small order, which would make it predictable.
    pub(super) fn shared(&self, other: [u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.x25519.diffie_hellman(&PublicKey::from(other));
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }

    /// The key to decapsulate with.
    pub(super) fn ml_kem(&self) -> &DecapsulationKey<MlKem768> {
        &self.ml_kem
    }

    /// Randomness for one use, the same for the same use, so that what is made of it can be made again after a restart.
    pub(super) fn randomness(&self, of: Digest) -> Zeroizing<B32> {
        Zeroizing::new((*expanded::<32>(&self.secret, of)).into())
    }
}

/// HKDF-SHA256's output for a secret that is uniform.
fn expanded<const N: usize>(secret: &[u8; 32], info: Digest) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(None, secret)
        .expand(&info.0, &mut *key)
        .expect("at most 64 bytes are within HKDF-SHA256's limit of 8160");
    key
}

/// What a participant states when it takes part in an attempt of a study.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Pledge {
    /// The attempt.
    pub attempt: AttemptId,
    /// The participant's name.
    pub participant: String,
    /// Hash of what its staff or its rules have decided on: study, purpose, requester, terms ([`crate::study::proposal`]).
    pub proposal: Digest,
    /// Hash over what is asked: plan, mechanism (n, t, σ, scale) and participants.
    pub question: Digest,
    /// Its keys of this attempt.
    pub ephemeral: EphemeralPublic,
    /// The head of its ledger.
    pub ledger: Head,
    /// The transcript under which it holds a stored answer to this question over its present snapshot.
    pub stored: Option<Digest>,
    /// What it holds of the other participants' ledgers as their witness: whoever signs a transcript with it says that its ledger goes on
    /// from that.
    pub seen: Vec<Seen>,
}

/// What a participant holds of another one's ledger.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Seen {
    /// The other.
    pub participant: String,
    /// The number of entries.
    pub entries: u64,
    /// The root of the tree over them.
    pub root: Digest,
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
