//! Key agreement: what two participants share that nobody else knows, by X25519 and ML-KEM-768 together.
//!
//! The one whose name comes later encapsulates to the key in the other's pledge, and signs the ciphertext. Both then have
//!
//! ```text
//! K = HKDF-SHA256(x ‖ s; salt T; info: use, both names, both X25519 keys, both encapsulation keys, ciphertext)
//! ```
//!
//! with x = X25519(i, j) and s the encapsulated secret, both of 32 bytes. Whoever breaks one of the two problems alone, be it
//! years later with all that was sent on record, has nothing.
//!
//! **Why K names the pair.** A participant may choose its keys after it has seen the others': a copy of another's, its inverse,
//! another encoding of it. It then does not know x, but can make two pairs have the same one; if K depended on x and T alone, two
//! masks at the node between them would cancel. K is a pseudorandom function, keyed by x ‖ s, of an input that is another for
//! every pair, whatever keys they have: K_ij and K_il are independent for all who do not know the secret of i or that of j
//! (HKDF as an extractor and PRF: Krawczyk 2010, section 5; of hybrids: Giacon, Heuer & Poettering 2018, theorem 1).
//!
//! A ciphertext is made of randomness that follows from the sender's ephemeral secret, T and the receiver's name: after a restart
//! it is the same one again.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use ml_kem::kem::Decapsulate;
use ml_kem::{Ciphertext, EncapsulationKey, MlKem768};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::pledge::{EphemeralKey, Pledge};
use super::transcript::{Abort, Transcript};
use crate::digest::Digest;
use crate::identity::{IdentityKey, Signature};

/// Bytes of a ciphertext of ML-KEM-768.
pub const CIPHERTEXT: usize = 1088;

const LABEL: &str = "entente encapsulation 1";

/// A secret that one participant has encapsulated to an earlier one.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Encapsulation {
    /// Who made it.
    pub from: String,
    /// For whom.
    pub to: String,
    /// ML-KEM-768's.
    pub ciphertext: [u8; CIPHERTEXT],
    /// By the sender's identity key, over T, both names and the ciphertext.
    pub signature: Signature,
}

impl std::fmt::Debug for Encapsulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, ciphertext, .. } = self;
        f.debug_struct("Encapsulation")
            .field("from", from)
            .field("to", to)
            .field("of", &Digest::plain(ciphertext))
            .finish()
    }
}

fn signed(transcript: Digest, from: &str, to: &str, ciphertext: &[u8]) -> Digest {
    Digest::of(LABEL, &[&transcript.0, from.as_bytes(), to.as_bytes(), ciphertext])
}

impl Encapsulation {
    /// Those of `me` to every participant before it in the order of names.
    ///
    /// # Errors
    ///
    /// If an encapsulation key is not one.
    pub fn of(
        transcript: &Transcript,
        me: &str,
        key: &EphemeralKey,
        identity: &IdentityKey,
    ) -> Result<Vec<Self>, Abort> {
        let earlier = transcript.pledges().iter().take_while(|pledge| pledge.participant.as_str() < me);
        let encapsulation = |pledge: &Pledge| {
            let (ciphertext, _) = encapsulate(transcript, key, pledge)?;
            Ok(Self::signed(transcript, (me, identity), &pledge.participant, ciphertext))
        };
        earlier.map(encapsulation).collect()
    }

    pub(super) fn signed(
        transcript: &Transcript,
        (me, identity): (&str, &IdentityKey),
        to: &str,
        ciphertext: [u8; CIPHERTEXT],
    ) -> Self {
        let signature = identity.sign(LABEL, &signed(transcript.digest(), me, to, &ciphertext).0);
        Self { from: me.into(), to: to.into(), ciphertext, signature }
    }

    /// Checks that its sender has signed it for an earlier participant of this attempt.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn verify(&self, transcript: &Transcript) -> Result<(), Abort> {
        let Self { from, to, ciphertext, signature } = self;
        let digest = signed(transcript.digest(), from, to, ciphertext);
        let is_signed = transcript.identity(from).is_some_and(|identity| identity.verify(LABEL, &digest.0, signature));
        let is_for_one = from > to && transcript.pledge(to).is_some();
        if is_signed && is_for_one { Ok(()) } else { Err(Abort::Signature(from.clone())) }
    }
}

type Secret = Zeroizing<[u8; 32]>;

fn encapsulate(transcript: &Transcript, key: &EphemeralKey, to: &Pledge) -> Result<([u8; CIPHERTEXT], Secret), Abort> {
    let theirs = EncapsulationKey::<MlKem768>::new(&to.ephemeral.ml_kem.into());
    let theirs = theirs.map_err(|_| Abort::WeakKey(to.participant.clone()))?;
    let use_of = Digest::of("entente encapsulated 1", &[&transcript.digest().0, to.participant.as_bytes()]);
    let (ciphertext, secret) = theirs.encapsulate_deterministic(&key.randomness(use_of));
    Ok((ciphertext.into(), Zeroizing::new(secret.into())))
}

/// What a participant shares with others of an attempt. No `Debug`; zeroized when dropped.
pub struct Agreed {
    transcript: Digest,
    pairs: BTreeMap<String, Pair>,
}

struct Pair {
    /// x ‖ s.
    shared: Zeroizing<[u8; 64]>,
    /// Both names, all four keys and the ciphertext, the earlier participant's first.
    binding: Digest,
    /// Whether the other one comes later.
    is_later: bool,
    /// What this one has encapsulated to the other.
    sent: Option<[u8; CIPHERTEXT]>,
}

impl Agreed {
    /// What `me`, a participant of `transcript` with these ephemeral keys, shares with every other one, after these
    /// encapsulations to it.
    ///
    /// # Errors
    ///
    /// If a key is weak, or an encapsulation is missing or not signed.
    pub fn with_all(
        transcript: &Transcript,
        me: &str,
        key: &EphemeralKey,
        received: &[Encapsulation],
    ) -> Result<Self, Abort> {
        let others = transcript.pledges().iter().map(|pledge| pledge.participant.as_str()).filter(|name| *name != me);
        let pair = |name: &str| Ok((name.to_owned(), Pair::of(transcript, (me, key), name, received)?));
        Ok(Self { transcript: transcript.digest(), pairs: others.map(pair).collect::<Result<_, _>>()? })
    }

    /// The same with one of them alone.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn with(
        transcript: &Transcript,
        me: &str,
        key: &EphemeralKey,
        peer: &str,
        received: &[Encapsulation],
    ) -> Result<Self, Abort> {
        let pair = Pair::of(transcript, (me, key), peer, received)?;
        Ok(Self { transcript: transcript.digest(), pairs: [(peer.to_owned(), pair)].into() })
    }

    /// The key shared with `peer` for one use, and whether `peer` comes later in the order of names.
    pub(super) fn key(&self, peer: &str, label: &str, of: &[&[u8]]) -> Option<(Zeroizing<[u8; 32]>, bool)> {
        let pair = self.pairs.get(peer)?;
        let info: Vec<&[u8]> = [&pair.binding.0[..]].into_iter().chain(of.iter().copied()).collect();
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&self.transcript.0), &*pair.shared)
            .expand(&Digest::of(label, &info).0, &mut *key)
            .expect("32 bytes are within HKDF-SHA256's limit of 8160");
        Some((key, pair.is_later))
    }

    /// Those with whom something is shared.
    pub(super) fn peers(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    /// What was encapsulated to `peer`, if it comes earlier.
    pub(super) fn sent(&self, peer: &str) -> Option<&[u8; CIPHERTEXT]> {
        self.pairs.get(peer)?.sent.as_ref()
    }
}

impl Pair {
    fn of(
        transcript: &Transcript,
        (me, key): (&str, &EphemeralKey),
        peer: &str,
        received: &[Encapsulation],
    ) -> Result<Self, Abort> {
        let pledges = transcript.pledge(me).zip(transcript.pledge(peer)).filter(|_| me != peer);
        let (mine, theirs) = pledges.ok_or(Abort::Participants)?;
        if mine.ephemeral != key.public() {
            return Err(Abort::OwnPledge);
        }
        let x = key.shared(theirs.ephemeral.x25519).ok_or_else(|| Abort::WeakKey(peer.into()))?;
        let is_later = me < peer;
        let (ciphertext, secret) = if is_later {
            let received = received.iter().find(|one| one.from == peer && one.to == me);
            let received = received.ok_or_else(|| Abort::Encapsulation(peer.into()))?;
            received.verify(transcript)?;
            let secret = key.ml_kem().decapsulate(&Ciphertext::<MlKem768>::from(received.ciphertext));
            (received.ciphertext, Zeroizing::new(secret.into()))
        } else {
            encapsulate(transcript, key, theirs)?
        };
        let mut shared = Zeroizing::new([0; 64]);
        shared[..32].copy_from_slice(&*x);
        shared[32..].copy_from_slice(&*secret);
        let (first, second) = if is_later { (mine, theirs) } else { (theirs, mine) };
        let names = [first, second].map(|pledge| pledge.participant.as_bytes());
        let keys = [first, second].map(|pledge| &pledge.ephemeral);
        let binding = Digest::of(
            "entente pair 1",
            &[names[0], names[1], &keys[0].x25519, &keys[1].x25519, &keys[0].ml_kem, &keys[1].ml_kem, &ciphertext],
        );
        Ok(Self { shared, binding, is_later, sent: (!is_later).then_some(ciphertext) })
    }
}
