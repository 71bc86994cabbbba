//! The coordinator's side of one attempt: a state machine without I/O, clock or randomness.
//!
//! It takes what participants send, in any order and however often, and says what to send to whom
//! ([`Collector::next_for`]), which is also what to send again when a participant reconnects. Stages follow one
//! another when the last participant has answered: joining, signing, summing (round after round); or joining, resending where
//! every participant holds a stored answer under one and the same old transcript.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::Encapsulation;
use super::pledge::SignedPledge;
use super::transcript::{Abort, Transcript};
use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::{Roster, Signature};

/// What an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Participants check the study, perhaps ask a steward, and join.
    Joining,
    /// Participants check each other's pledges and sign the transcript.
    Signing,
    /// Participants compute and send their vectors.
    Summing,
    /// Participants send their stored vectors again.
    Resending,
    /// All vectors are in.
    Complete,
}

/// What to send to a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The proposal.
    Propose,
    /// Everybody's pledges.
    Start(Vec<SignedPledge>),
    /// The present round, its public input, and everybody's signatures over the transcript.
    Go {
        /// Counted from 1 over all attempts.
        round: u32,
        /// See [`Collector::new`].
        input: Vec<u8>,
        /// By name.
        signatures: Vec<(String, Signature)>,
        /// What later participants have encapsulated to this one.
        encapsulations: Vec<Encapsulation>,
    },
    /// The request for the vector of a round stored under this transcript.
    Resend {
        /// Counted from 1 over all attempts.
        round: u32,
        /// The transcript.
        transcript: Digest,
    },
    /// Nothing: others are waited for.
    Wait,
}

/// One attempt.
pub struct Collector {
    id: AttemptId,
    participants: Vec<String>,
    contributors: Vec<String>,
    roster: Roster,
    question: Digest,
    proposal: Option<Digest>,
    pledges: BTreeMap<String, SignedPledge>,
    transcript: Option<Transcript>,
    stored: Option<Digest>,
    signatures: BTreeMap<String, Signature>,
    encapsulations: Vec<Encapsulation>,
    round: u32,
    input: Vec<u8>,
    received: BTreeSet<String>,
    sum: Vec<i64>,
}

/// Something a participant sent that cannot be used; the attempt cannot go on with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not one of the participants, or for something else.
    #[error("`{0}` sent something that does not belong to this attempt")]
    Stranger(String),
    /// A pledge that differs from its first, or a signature or question that does not verify.
    #[error(transparent)]
    Abort(#[from] Abort),
    /// A vector of another length.
    #[error("`{participant}` sent {found} numbers where {expected} are expected")]
    Length {
        /// Who.
        participant: String,
        /// How many came.
        found: usize,
        /// How many were expected.
        expected: usize,
    },
}

impl Collector {
    /// Attempt `id`, to sum vectors from `participants`, all in `roster`, who answer `question`: first those of `length` of
    /// round number `round`, counted from 1, whose public input is `input`.
    pub fn new(
        id: AttemptId,
        participants: Vec<String>,
        roster: Roster,
        question: Digest,
        round: u32,
        input: Vec<u8>,
        length: usize,
    ) -> Self {
        Self {
            id,
            contributors: participants.clone(),
            participants,
            roster,
            question,
            proposal: None,
            pledges: BTreeMap::new(),
            transcript: None,
            stored: None,
            signatures: BTreeMap::new(),
            encapsulations: Vec::new(),
            round,
            input,
            received: BTreeSet::new(),
            sum: vec![0; length],
        }
    }

    /// Takes pledges alone that are about this proposal.
    #[must_use]
    pub fn about(self, proposal: Digest) -> Self {
        Self { proposal: Some(proposal), ..self }
    }

    /// Sums over these of the participants only; the others join and sign like them.
    #[must_use]
    pub fn over(self, contributors: Vec<String>) -> Self {
        Self { contributors, ..self }
    }

    /// Goes on with the next round under the same transcript, when the present one is complete: vectors of `length` with
    /// this public input.
    pub fn next_round(&mut self, input: Vec<u8>, length: usize) {
        self.round += 1;
        self.input = input;
        self.received.clear();
        self.sum = vec![0; length];
    }

    /// The present round, counted from 1 over all attempts.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// The participants.
    pub fn participants(&self) -> &[String] {
        &self.participants
    }

    /// What is waited for now.
    pub fn stage(&self) -> Stage {
        match &self.transcript {
            _ if self.received.len() == self.contributors.len() => Stage::Complete,
            None if self.stored.is_some() => Stage::Resending,
            None => Stage::Joining,
            Some(_) if self.signatures.len() < self.participants.len() => Stage::Signing,
            Some(_) => Stage::Summing,
        }
    }

    /// Who is waited for in the present stage.
    pub fn waiting_for(&self) -> Vec<&str> {
        let has = |name: &String| match self.stage() {
            Stage::Joining => self.pledges.contains_key(name),
            Stage::Signing => self.signatures.contains_key(name),
            Stage::Summing | Stage::Resending | Stage::Complete => self.received.contains(name),
        };
        let all = match self.stage() {
            Stage::Joining | Stage::Signing => &self.participants,
            Stage::Summing | Stage::Resending | Stage::Complete => &self.contributors,
        };
        all.iter().filter(|name| !has(name)).map(String::as_str).collect()
    }

    /// What this participant has to do next, if anything.
    pub fn next_for(&self, participant: &str) -> Step {
        if !self.waiting_for().contains(&participant) {
            return Step::Wait;
        }
        match self.stage() {
            Stage::Joining => Step::Propose,
            Stage::Signing => Step::Start(self.pledges.values().cloned().collect()),
            Stage::Summing => Step::Go {
                round: self.round,
                input: self.input.clone(),
                signatures: self.signatures.clone().into_iter().collect(),
                encapsulations: self.encapsulations.iter().filter(|one| one.to == participant).cloned().collect(),
            },
            Stage::Resending => {
                let round = self.round;
                self.stored.map_or(Step::Wait, |transcript| Step::Resend { round, transcript })
            }
            Stage::Complete => Step::Wait,
        }
    }

    /// The transcript under which the vectors are masked, once it is known.
    pub fn transcript(&self) -> Option<Digest> {
        self.stored.or(self.transcript.as_ref().map(Transcript::digest))
    }

    /// Whether stored vectors are sent again, at no charge.
    pub fn is_resend(&self) -> bool {
        self.stored.is_some()
    }

    /// The heads of the participants' ledgers when they joined.
    pub fn pledges(&self) -> impl Iterator<Item = &SignedPledge> {
        self.pledges.values()
    }

    /// Takes a pledge. True if the stage has changed, so that everybody has a new step.
    pub fn pledged(&mut self, from: &str, signed: SignedPledge) -> Result<bool, Unusable> {
        self.expect(from, &signed.pledge.participant)?;
        if signed.pledge.attempt != self.id || signed.pledge.question != self.question {
            return Err(Abort::Question(from.into()).into());
        }
        if self.proposal.is_some_and(|proposal| proposal != signed.pledge.proposal) {
            return Err(Abort::Proposal(from.into()).into());
        }
        if let Some(known) = self.pledges.get(from) {
            // A pledge is sent again after a reconnection; it must be the same one.
            return if *known == signed { Ok(false) } else { Err(Unusable::Stranger(from.into())) };
        }
        let identity = self.roster.members.get(from).ok_or_else(|| Abort::NotInRoster(from.into()))?.identity;
        if !signed.verify(&identity) {
            return Err(Abort::Signature(from.into()).into());
        }
        self.pledges.insert(from.into(), signed);
        if self.pledges.len() < self.participants.len() {
            return Ok(false);
        }
        // Who contributes nothing stores nothing.
        let contributed = self.contributors.iter().filter_map(|name| self.pledges.get(name));
        let mut stored = contributed.map(|signed| signed.pledge.stored);
        let first = stored.next().flatten();
        if first.is_some() && stored.all(|other| other == first) {
            self.stored = first;
        } else {
            let pledges: Vec<SignedPledge> = self.pledges.values().cloned().collect();
            self.transcript = Some(Transcript::of(&pledges, &self.participants, &self.roster)?);
        }
        Ok(true)
    }

    /// Takes a signature over the transcript, and what its participant has encapsulated to every earlier one. True if the
    /// stage has changed.
    pub fn signed(
        &mut self,
        from: &str,
        signature: Signature,
        encapsulations: Vec<Encapsulation>,
    ) -> Result<bool, Unusable> {
        self.expect(from, from)?;
        let transcript = self.transcript.as_ref().ok_or_else(|| Unusable::Stranger(from.into()))?;
        if !transcript.signed_by(from, &signature) {
            return Err(Abort::Transcript(from.into()).into());
        }
        let earlier =
            transcript.pledges().iter().map(|pledge| pledge.participant.as_str()).take_while(|name| *name < from);
        if !earlier.eq(encapsulations.iter().map(|one| one.to.as_str())) {
            return Err(Unusable::Stranger(from.into()));
        }
        for one in &encapsulations {
            self.expect(from, &one.from)?;
            one.verify(transcript)?;
        }
        if self.signatures.insert(from.into(), signature).is_some() {
            return Ok(false);
        }
        self.encapsulations.extend(encapsulations);
        Ok(self.signatures.len() == self.participants.len())
    }

    /// Takes a round's vector masked under `transcript`. True if it was the last one: [`Collector::sum`] is then the sum
    /// of the round.
    pub fn contribution(
        &mut self,
        from: &str,
        transcript: Digest,
        round: u32,
        vector: &[i64],
    ) -> Result<bool, Unusable> {
        self.expect(from, from)?;
        if !self.contributors.iter().any(|name| name == from) {
            return Err(Unusable::Stranger(from.into()));
        }
        // Sent again after a reconnection, and the others have gone on since.
        if round < self.round && self.transcript() == Some(transcript) {
            return Ok(false);
        }
        if !matches!(self.stage(), Stage::Summing | Stage::Resending | Stage::Complete)
            || self.transcript() != Some(transcript)
            || round != self.round
        {
            return Err(Unusable::Stranger(from.into()));
        }
        if vector.len() != self.sum.len() {
            return Err(Unusable::Length { participant: from.into(), found: vector.len(), expected: self.sum.len() });
        }
        if !self.received.insert(from.into()) {
            return Ok(false);
        }
        for (sum, value) in self.sum.iter_mut().zip(vector) {
            *sum = sum.wrapping_add(*value);
        }
        Ok(self.stage() == Stage::Complete)
    }

    /// The sum of all vectors of the present round, in which masks have cancelled; `None` until all are in.
    pub fn sum(&self) -> Option<&[i64]> {
        (self.stage() == Stage::Complete).then_some(&self.sum)
    }

    fn expect(&self, from: &str, claimed: &str) -> Result<(), Unusable> {
        let known = from == claimed && self.participants.iter().any(|name| name == from);
        if known { Ok(()) } else { Err(Unusable::Stranger(from.into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IdentityKey;
    use crate::secagg::pledge::EphemeralKey;
    use crate::testing::{Party, alliance, attempt};

    const QUESTION: Digest = Digest([3; 32]);

    fn collector(parties: &[Party]) -> Collector {
        let (names, roster) = alliance(parties);
        Collector::new(attempt(), names, roster, QUESTION, 1, b"input".to_vec(), 2)
    }

    #[test]
    fn an_attempt_goes_through_its_stages_with_messages_repeated() {
        let parties = Party::some(3);
        let (names, roster) = alliance(&parties);
        let mut collector = collector(&parties);
        assert_eq!(collector.next_for("p1"), Step::Propose);
        assert_eq!(collector.pledged("p0", parties[0].pledge(QUESTION)), Ok(false));
        assert_eq!(collector.pledged("p0", parties[0].pledge(QUESTION)), Ok(false), "again");
        assert_eq!(collector.next_for("p0"), Step::Wait);
        assert_eq!(collector.pledged("p1", parties[1].pledge(QUESTION)), Ok(false));
        assert_eq!(collector.waiting_for(), ["p2"]);
        assert_eq!(collector.pledged("p2", parties[2].pledge(QUESTION)), Ok(true));

        let Step::Start(pledges) = collector.next_for("p0") else { panic!("pledges come next") };
        let transcript = Transcript::verify(&pledges, &names, &parties[0].pledge(QUESTION).pledge, &roster).unwrap();
        for (i, party) in parties.iter().enumerate() {
            let (signature, encapsulations) = party.sign(&transcript);
            assert_eq!(collector.signed(&party.name, signature, encapsulations), Ok(i == 2));
        }
        let Step::Go { round: 1, input, signatures, encapsulations } = collector.next_for("p1") else {
            panic!("the first round is next")
        };
        assert_eq!(encapsulations.iter().map(|one| one.from.as_str()).collect::<Vec<_>>(), ["p2"]);
        assert_eq!(input, b"input");
        assert_eq!(transcript.verify_signatures(&signatures), Ok(()));
        let t = transcript.digest();
        for (i, party) in parties.iter().enumerate() {
            assert_eq!(collector.sum(), None);
            assert_eq!(collector.contribution(&party.name, t, 1, &[1, i64::MAX]), Ok(i == 2));
            assert_eq!(collector.contribution(&party.name, t, 1, &[1, i64::MAX]), Ok(false), "again");
        }
        assert_eq!(collector.sum(), Some(&[3, i64::MAX.wrapping_mul(3)][..]));

        collector.next_round(b"next".to_vec(), 1);
        let Step::Go { round: 2, input, .. } = collector.next_for("p0") else { panic!("the second round is next") };
        assert_eq!(input, b"next");
        assert_eq!(collector.contribution("p0", t, 1, &[1, i64::MAX]), Ok(false), "of the round before, sent again");
        assert!(collector.contribution("p0", t, 3, &[1]).is_err(), "of a round that has not begun");
        for (i, party) in parties.iter().enumerate() {
            assert_eq!(collector.contribution(&party.name, t, 2, &[5]), Ok(i == 2));
        }
        assert_eq!(collector.sum(), Some(&[15][..]));
    }

    #[test]
    fn stored_answers_are_used_only_if_everybody_has_the_same() {
        let parties = Party::some(2);
        let (old, other) = (Digest([8; 32]), Digest([9; 32]));
        let joined = |first, second| {
            let mut collector = collector(&parties);
            collector.pledged("p0", parties[0].pledge_with(QUESTION, first)).unwrap();
            assert_eq!(collector.pledged("p1", parties[1].pledge_with(QUESTION, second)), Ok(true));
            collector
        };
        for (first, second) in [(Some(old), None), (None, Some(old)), (Some(old), Some(other)), (None, None)] {
            assert_eq!(joined(first, second).stage(), Stage::Signing, "everybody draws fresh noise");
        }
        let mut collector = joined(Some(old), Some(old));
        assert_eq!(collector.next_for("p0"), Step::Resend { round: 1, transcript: old });
        assert!(collector.contribution("p0", other, 1, &[1, 1]).is_err(), "another transcript");
        assert_eq!(collector.contribution("p0", old, 1, &[1, 1]), Ok(false));
        assert_eq!(collector.contribution("p1", old, 1, &[1, 1]), Ok(true));
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        let parties = Party::some(3);
        let mut collector = collector(&parties[..2]);
        let stranger = Unusable::Stranger("p2".into());
        assert_eq!(collector.pledged("p2", parties[2].pledge(QUESTION)), Err(stranger.clone()));
        assert!(collector.pledged("p0", parties[1].pledge(QUESTION)).is_err(), "in another's name");
        assert!(collector.pledged("p0", parties[0].pledge(Digest::ZERO)).is_err(), "another question");
        let mut forged = parties[0].pledge(QUESTION);
        forged.pledge.ephemeral.x25519 = [7; 32];
        assert_eq!(collector.pledged("p0", forged), Err(Abort::Signature("p0".into()).into()));
        assert!(collector.contribution("p0", Digest::ZERO, 1, &[0, 0]).is_err(), "too early");
        for party in &parties[..2] {
            collector.pledged(&party.name, party.pledge(QUESTION)).unwrap();
        }
        assert!(collector.signed("p0", parties[0].identity.sign("x", b"y"), Vec::new()).is_err());
        let transcript = collector.transcript.clone().unwrap();
        let (signature, sent) = parties[1].sign(&transcript);
        assert_eq!(collector.signed("p1", signature, Vec::new()), Err(Unusable::Stranger("p1".into())), "none");
        let twice = [&sent[..], &sent].concat();
        assert_eq!(collector.signed("p1", signature, twice), Err(Unusable::Stranger("p1".into())));
        let mut changed = sent.clone();
        changed[0].ciphertext[0] ^= 1;
        assert_eq!(collector.signed("p1", signature, changed), Err(Abort::Signature("p1".into()).into()));
        assert_eq!(collector.signed("p1", signature, sent), Ok(false));
    }

    /// What a node sees when its coordinator cheats.
    #[test]
    fn nodes_abort_on_swapped_keys_other_plans_and_invented_partners() {
        let parties = Party::some(4);
        let (names, roster) = alliance(&parties[..3]);
        let own = parties[0].pledge(QUESTION).pledge;
        let pledges: Vec<_> = parties[..3].iter().map(|party| party.pledge(QUESTION)).collect();
        let verify =
            |pledges: &[SignedPledge], names: &[String]| Transcript::verify(pledges, names, &own, &roster).map(drop);
        assert_eq!(verify(&pledges, &names), Ok(()));

        let mut swapped = pledges.clone();
        swapped[1].pledge.ephemeral = EphemeralKey::from_secret([77; 32]).public();
        assert_eq!(verify(&swapped, &names), Err(Abort::Signature("p1".into())));
        let mallory = IdentityKey::from_secret(&[66; 32]);
        swapped[1] = SignedPledge::new(swapped[1].pledge.clone(), &mallory);
        assert_eq!(verify(&swapped, &names), Err(Abort::Signature("p1".into())));

        let mut plans = pledges.clone();
        plans[2] = parties[2].pledge(Digest([4; 32]));
        assert_eq!(verify(&plans, &names), Err(Abort::Question("p2".into())));

        let invented: Vec<_> = pledges.iter().cloned().chain([parties[3].pledge(QUESTION)]).collect();
        assert_eq!(verify(&invented, &names), Err(Abort::Participants));
        let with_invented: Vec<_> = names.iter().cloned().chain(["p3".into()]).collect();
        assert_eq!(verify(&invented, &with_invented), Err(Abort::NotInRoster("p3".into())));

        let mut own_changed = pledges.clone();
        own_changed[0] = parties[0].pledge_with(QUESTION, Some(Digest::ZERO));
        assert_eq!(verify(&own_changed, &names), Err(Abort::OwnPledge));

        let transcript = Transcript::verify(&pledges, &names, &own, &roster).unwrap();
        let signatures: Vec<_> = parties[..3].iter().map(|p| (p.name.clone(), transcript.sign(&p.identity))).collect();
        assert_eq!(transcript.verify_signatures(&signatures), Ok(()));
        assert_eq!(transcript.verify_signatures(&signatures[..2]), Err(Abort::Transcript("p2".into())));
    }
}
