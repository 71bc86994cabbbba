//! Joins and the transcript: who takes part in what, with which keys, agreed by all before anything is computed.

use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Roster, Signature};
use crate::ledger::Head;

const JOIN_LABEL: &str = "entente join 1";
const TRANSCRIPT_LABEL: &str = "entente transcript 1";

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

/// What a participant states when it joins an attempt of a study.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Join {
    /// The study.
    pub study: String,
    /// Attempts of a study are numbered from 1; each has its own participants, keys, noise and charge.
    pub attempt: u32,
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

/// A join with its participant's signature.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SignedJoin {
    /// What is stated.
    pub join: Join,
    /// By the participant's identity key.
    pub signature: Signature,
}

impl SignedJoin {
    /// Signs a join.
    pub fn new(join: Join, key: &IdentityKey) -> Self {
        let signature = key.sign(JOIN_LABEL, &crate::canonical::canonical_bytes(&join));
        Self { join, signature }
    }

    /// Whether `identity` signed it.
    pub fn verify(&self, identity: &PublicIdentity) -> bool {
        identity.verify(JOIN_LABEL, &crate::canonical::canonical_bytes(&self.join), &self.signature)
    }
}

/// Why an attempt is aborted before anything is computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// A participant that the pinned roster does not know, or knows under another key.
    #[error(
        "`{0}` is not in the pinned roster; compare fingerprints with the other partners, then accept the new roster with `entente-node roster --accept`"
    )]
    NotInRoster(String),
    /// A join whose signature does not verify.
    #[error("the key that the coordinator presented for `{0}` is not signed by it: somebody may be swapping keys")]
    Signature(String),
    /// The joins are not those of the participants.
    #[error("the coordinator presented other participants than it proposed")]
    Participants,
    /// Own join was changed.
    #[error("the coordinator changed this node's own join")]
    OwnJoin,
    /// Joined something else.
    #[error("`{0}` joined another question or attempt than this node: it was sent another plan")]
    Question(String),
    /// An X25519 key of small order.
    #[error("`{0}` sent a mask key without entropy")]
    WeakKey(String),
    /// A signature on the transcript is missing or is for another one.
    #[error("`{0}` did not sign the same transcript: it was sent other keys or another plan")]
    Transcript(String),
}

/// The transcript of an attempt: all joins, verified. Its hash T is signed by every participant and keys every mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    joins: Vec<Join>,
    identities: Vec<PublicIdentity>,
    digest: Digest,
}

impl Transcript {
    /// Checks the joins that the coordinator presents against the participants it proposed, the pinned roster and
    /// this node's own join (`own`).
    pub fn verify(joins: &[SignedJoin], participants: &[String], own: &Join, pinned: &Roster) -> Result<Self, Abort> {
        let transcript = Self::of(joins, participants, pinned)?;
        let mine = transcript.joins.iter().find(|join| join.participant == own.participant);
        if mine != Some(own) {
            return Err(Abort::OwnJoin);
        }
        let differs =
            |join: &&Join| join.study != own.study || join.attempt != own.attempt || join.question != own.question;
        match transcript.joins.iter().find(differs) {
            Some(join) => Err(Abort::Question(join.participant.clone())),
            None => Ok(transcript),
        }
    }

    /// The same without a join of one's own: the coordinator's view.
    pub fn of(joins: &[SignedJoin], participants: &[String], roster: &Roster) -> Result<Self, Abort> {
        let mut joins: Vec<&SignedJoin> = joins.iter().collect();
        joins.sort_by(|a, b| a.join.participant.cmp(&b.join.participant));
        let mut expected: Vec<&String> = participants.iter().collect();
        expected.sort();
        expected.dedup();
        if expected.len() != participants.len() || !joins.iter().map(|join| &join.join.participant).eq(expected) {
            return Err(Abort::Participants);
        }
        let mut identities = Vec::with_capacity(joins.len());
        for signed in &joins {
            let name = &signed.join.participant;
            let member = roster.members.get(name).ok_or_else(|| Abort::NotInRoster(name.clone()))?;
            if !signed.verify(&member.identity) {
                return Err(Abort::Signature(name.clone()));
            }
            identities.push(member.identity);
        }
        let joins: Vec<Join> = joins.into_iter().map(|signed| signed.join.clone()).collect();
        let digest = Digest::of(
            TRANSCRIPT_LABEL,
            &[
                &roster.authority.0,
                &crate::canonical::canonical_bytes(&joins),
                &crate::canonical::canonical_bytes(&identities),
            ],
        );
        Ok(Self { joins, identities, digest })
    }

    /// T.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The participants' joins, sorted by name.
    pub fn joins(&self) -> &[Join] {
        &self.joins
    }

    /// This participant's signature over T.
    pub fn sign(&self, key: &IdentityKey) -> Signature {
        key.sign(TRANSCRIPT_LABEL, &self.digest.0)
    }

    /// Whether `participant` signed T.
    pub fn signed_by(&self, participant: &str, signature: &Signature) -> bool {
        let position = self.joins.iter().position(|join| join.participant == participant);
        position.is_some_and(|i| self.identities[i].verify(TRANSCRIPT_LABEL, &self.digest.0, signature))
    }

    /// Checks that every participant signed T.
    pub fn verify_signatures(&self, signatures: &[(String, Signature)]) -> Result<(), Abort> {
        for join in &self.joins {
            let signed =
                signatures.iter().any(|(name, signature)| *name == join.participant && self.signed_by(name, signature));
            if !signed {
                return Err(Abort::Transcript(join.participant.clone()));
            }
        }
        Ok(())
    }
}
