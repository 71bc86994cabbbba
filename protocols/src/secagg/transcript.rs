//! The transcript: everybody's pledges, agreed by all before anything is computed.

use super::pledge::{Pledge, SignedPledge};
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Roster, Signature};

const TRANSCRIPT_LABEL: &str = "entente transcript 2";

/// Why an attempt is aborted before anything is computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// A participant that the pinned roster does not know, or knows under another key.
    #[error(
        "`{0}` is not in the pinned roster; compare fingerprints with the other partners, then accept the new roster with `entente-node roster --accept`"
    )]
    NotInRoster(String),
    /// A pledge whose signature does not verify.
    #[error("the key that the coordinator presented for `{0}` is not signed by it: somebody may be swapping keys")]
    Signature(String),
    /// The pledges are not those of the participants.
    #[error("the coordinator presented other participants than it proposed")]
    Participants,
    /// Own pledge was changed.
    #[error("the coordinator changed this node's own pledge")]
    OwnPledge,
    /// Pledged itself to something else.
    #[error("`{0}` pledged itself to another question or attempt than this node: it was sent another plan")]
    Question(String),
    /// Decided on something else.
    #[error("`{0}` was shown another name, purpose, legal basis, requester or terms of the study than this node")]
    Proposal(String),
    /// A key of small order, or bytes that are not a key.
    #[error("`{0}` sent a mask key without entropy")]
    WeakKey(String),
    /// An encapsulated secret is missing.
    #[error("the coordinator has not passed on what `{0}` encapsulated to this node")]
    Encapsulation(String),
    /// A signature on the transcript is missing or is for another one.
    #[error("`{0}` did not sign the same transcript: it was sent other keys or another plan")]
    Transcript(String),
}

/// The transcript of an attempt: all pledges, verified. Its hash T is signed by every participant and keys every mask.
///
/// A node keeps it as it was when it signed: whoever leaves the roster later has taken part all the same.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Transcript {
    pledges: Vec<Pledge>,
    identities: Vec<PublicIdentity>,
    digest: Digest,
}

impl Transcript {
    /// Checks the pledges that the coordinator presents against the participants it proposed, the pinned roster and
    /// this node's own pledge (`own`).
    pub fn verify(
        pledges: &[SignedPledge],
        participants: &[String],
        own: &Pledge,
        pinned: &Roster,
    ) -> Result<Self, Abort> {
        let transcript = Self::of(pledges, participants, pinned)?;
        let mine = transcript.pledges.iter().find(|pledge| pledge.participant == own.participant);
        if mine != Some(own) {
            return Err(Abort::OwnPledge);
        }
        let differs = |pledge: &&Pledge| pledge.attempt != own.attempt || pledge.question != own.question;
        if let Some(pledge) = transcript.pledges.iter().find(differs) {
            return Err(Abort::Question(pledge.participant.clone()));
        }
        match transcript.pledges.iter().find(|pledge| pledge.proposal != own.proposal) {
            Some(pledge) => Err(Abort::Proposal(pledge.participant.clone())),
            None => Ok(transcript),
        }
    }

    /// The same without a pledge of one's own: the coordinator's view.
    pub fn of(pledges: &[SignedPledge], participants: &[String], roster: &Roster) -> Result<Self, Abort> {
        let mut pledges: Vec<&SignedPledge> = pledges.iter().collect();
        pledges.sort_by(|a, b| a.pledge.participant.cmp(&b.pledge.participant));
        let mut expected: Vec<&String> = participants.iter().collect();
        expected.sort();
        expected.dedup();
        if expected.len() != participants.len() || !pledges.iter().map(|pledge| &pledge.pledge.participant).eq(expected)
        {
            return Err(Abort::Participants);
        }
        let mut identities = Vec::with_capacity(pledges.len());
        for signed in &pledges {
            let name = &signed.pledge.participant;
            let member = roster.members.get(name).ok_or_else(|| Abort::NotInRoster(name.clone()))?;
            if !signed.verify(&member.identity) {
                return Err(Abort::Signature(name.clone()));
            }
            identities.push(member.identity);
        }
        let pledges: Vec<Pledge> = pledges.into_iter().map(|signed| signed.pledge.clone()).collect();
        let digest = Digest::of(
            TRANSCRIPT_LABEL,
            &[
                &roster.authority.0,
                &crate::canonical::canonical_bytes(&pledges),
                &crate::canonical::canonical_bytes(&identities),
            ],
        );
        Ok(Self { pledges, identities, digest })
    }

    /// T.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The participants' pledges, sorted by name.
    pub fn pledges(&self) -> &[Pledge] {
        &self.pledges
    }

    /// Whether it is made of these pledges.
    pub fn is_of(&self, pledges: &[SignedPledge]) -> bool {
        let mut pledges: Vec<&Pledge> = pledges.iter().map(|signed| &signed.pledge).collect();
        pledges.sort_by(|a, b| a.participant.cmp(&b.participant));
        pledges.into_iter().eq(&self.pledges)
    }

    /// The pledge of a participant.
    pub fn pledge(&self, participant: &str) -> Option<&Pledge> {
        self.pledges.iter().find(|pledge| pledge.participant == participant)
    }

    /// The identity of a participant.
    pub(super) fn identity(&self, participant: &str) -> Option<&PublicIdentity> {
        let position = self.pledges.iter().position(|pledge| pledge.participant == participant)?;
        self.identities.get(position)
    }

    /// This participant's signature over T.
    pub fn sign(&self, key: &IdentityKey) -> Signature {
        key.sign(TRANSCRIPT_LABEL, &self.digest.0)
    }

    /// Whether `participant` signed T.
    pub fn signed_by(&self, participant: &str, signature: &Signature) -> bool {
        let identity = self.identity(participant);
        identity.is_some_and(|identity| identity.verify(TRANSCRIPT_LABEL, &self.digest.0, signature))
    }

    /// Checks that every participant signed T.
    pub fn verify_signatures(&self, signatures: &[(String, Signature)]) -> Result<(), Abort> {
        for pledge in &self.pledges {
            let signed = signatures
                .iter()
                .any(|(name, signature)| *name == pledge.participant && self.signed_by(name, signature));
            if !signed {
                return Err(Abort::Transcript(pledge.participant.clone()));
            }
        }
        Ok(())
    }
}
