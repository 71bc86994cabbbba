//! Channels between two participants of an attempt, through the coordinator: it passes on what it cannot read or change.
//!
//! Each direction has a key of its own, which both have agreed on ([`super::agreement`]). Messages are sealed by
//! XChaCha20-Poly1305 under random nonces of 192 bits, so that a restart repeats none. Those of the participant whose name comes
//! later carry its encapsulation, so that the other one can open the first of them without having kept anything.
//!
//! **What the coordinator can do** is to drop messages, to repeat them and to change their order. So what is said must say
//! by itself what it belongs to, and saying it twice must do no harm.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::agreement::{Agreed, CIPHERTEXT, Encapsulation};
use crate::identity::Signature;

/// Bytes of a nonce, which must be random for every message.
pub const NONCE: usize = 24;

/// One end of a channel. No `Debug`; its keys are zeroized when dropped.
pub struct Channel {
    sending: XChaCha20Poly1305,
    receiving: XChaCha20Poly1305,
    /// What stands before each message of this end.
    prefix: Vec<u8>,
    /// How many bytes stand before each message of the other end.
    skipped: usize,
}

/// Bytes of an encapsulation before a message: ciphertext and signature.
const PREFIX: usize = CIPHERTEXT + 64;

/// Bytes that the other end did not seal for this channel and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message between two partners was changed on its way, or is not for this attempt")]
pub struct Forged;

impl Channel {
    /// The channel of `me` to `peer`, with whom it has agreed on keys; `sent` is what it has encapsulated to others. `None` if it
    /// shares nothing with `peer`.
    pub fn new(agreed: &Agreed, me: &str, peer: &str, sent: &[Encapsulation]) -> Option<Self> {
        let cipher = |from: &str, to: &str| {
            let (key, is_later) = agreed.key(peer, "entente channel 2", &[from.as_bytes(), to.as_bytes()])?;
            Some((XChaCha20Poly1305::new(&Key::from(*key)), is_later))
        };
        let ((sending, is_later), (receiving, _)) = cipher(me, peer).zip(cipher(peer, me))?;
        let (prefix, skipped) = if is_later {
            (Vec::new(), PREFIX)
        } else {
            let own = sent.iter().find(|one| one.to == peer && Some(&one.ciphertext) == agreed.sent(peer))?;
            ([&own.ciphertext[..], &own.signature.0].concat(), 0)
        };
        Some(Self { sending, receiving, prefix, skipped })
    }

    /// What a later participant, `from`, has encapsulated to `me`, as its messages carry it. Not verified.
    pub fn encapsulation(from: &str, me: &str, sealed: &[u8]) -> Option<Encapsulation> {
        let (ciphertext, rest) = sealed.split_first_chunk::<CIPHERTEXT>()?;
        let (signature, _) = rest.split_first_chunk::<64>()?;
        let (from, to) = (from.into(), me.into());
        Some(Encapsulation { from, to, ciphertext: *ciphertext, signature: Signature(*signature) })
    }

    /// Seals a message for the other end.
    pub fn seal(&self, nonce: [u8; NONCE], message: &[u8]) -> Vec<u8> {
        let sealed = self.sending.encrypt(&XNonce::from(nonce), message);
        let sealed = sealed.expect("messages are far shorter than the cipher's limit of 256 GiB");
        [&self.prefix[..], &nonce, &sealed].concat()
    }

    /// Opens a message that the other end sealed.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let sealed = sealed.get(self.skipped..).ok_or(Forged)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Forged)?;
        self.receiving.decrypt(&XNonce::from(*nonce), sealed).map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::secagg::transcript::{Abort, Transcript};
    use crate::testing::{Party, agreed, alliance, encapsulations};

    fn transcript(parties: &[Party], question: u8) -> Transcript {
        let (names, roster) = alliance(parties);
        let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([question; 32]))).collect();
        Transcript::of(&pledges, &names, &roster).unwrap()
    }

    fn channel(parties: &[Party], transcript: &Transcript, me: usize, peer: usize) -> Channel {
        let sent = encapsulations(parties, transcript);
        let agreed = agreed(parties, me, transcript).unwrap();
        Channel::new(&agreed, &parties[me].name, &parties[peer].name, &sent).unwrap()
    }

    #[test]
    fn the_other_end_alone_can_open() {
        let parties = Party::some(3);
        let (one, two) = (transcript(&parties, 1), transcript(&parties, 2));
        let channel = |transcript, me, peer| channel(&parties, transcript, me, peer);
        for (a, b, c) in [(0, 1, 2), (1, 0, 2)] {
            let sealed = channel(&one, a, b).seal([7; NONCE], b"hello");
            assert_eq!(channel(&one, b, a).open(&sealed).unwrap(), b"hello");
            assert!(!sealed.windows(5).any(|window| window == b"hello"));
            for other in [channel(&one, c, a), channel(&one, a, b), channel(&one, b, c), channel(&two, b, a)] {
                assert_eq!(other.open(&sealed), Err(Forged), "another party, direction or attempt");
            }
            // What stands before it is looked at when the channel is made.
            let before = if a > b { PREFIX } else { 0 };
            for i in before..sealed.len() {
                let mut changed = sealed.clone();
                changed[i] ^= 1;
                assert_eq!(channel(&one, b, a).open(&changed), Err(Forged), "byte {i}");
            }
            assert_eq!(channel(&one, b, a).open(&sealed[..10]), Err(Forged));
            // Thrown back to who sealed it, in the form that this end expects.
            let thrown_back = if a > b { sealed[PREFIX..].to_vec() } else { [&[0; PREFIX][..], &sealed].concat() };
            assert_eq!(channel(&one, a, b).open(&thrown_back), Err(Forged));
        }
    }

    /// The earlier one needs nothing but the first message to it.
    #[test]
    fn a_later_participant_s_message_brings_what_it_has_encapsulated() {
        let parties = Party::some(2);
        let transcript = transcript(&parties, 1);
        let sealed = channel(&parties, &transcript, 1, 0).seal([7; NONCE], b"hello");
        let open = |sealed: &[u8]| {
            let received = Channel::encapsulation("p1", "p0", sealed).ok_or(Abort::Encapsulation("p1".into()))?;
            let agreed = Agreed::with(&transcript, "p0", &parties[0].ephemeral, "p1", &[received])?;
            let channel = Channel::new(&agreed, "p0", "p1", &[]).expect("they have agreed");
            Ok(channel.open(sealed).ok())
        };
        assert_eq!(open(&sealed), Ok(Some(b"hello".to_vec())));
        for i in [0, CIPHERTEXT - 1, CIPHERTEXT, PREFIX - 1] {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(open(&changed), Err(Abort::Signature("p1".into())), "byte {i}");
        }
        assert_eq!(open(&sealed[..CIPHERTEXT]), Err(Abort::Encapsulation("p1".into())));
    }

    #[test]
    fn there_is_no_channel_to_oneself_to_strangers_or_with_weak_keys() {
        let mut parties = Party::some(2);
        let sound = transcript(&parties, 1);
        let sent = encapsulations(&parties, &sound);
        let with = |transcript: &Transcript, key: usize, peer: &str| {
            Agreed::with(transcript, "p0", &parties[key].ephemeral, peer, &sent).err()
        };
        assert_eq!(with(&sound, 0, "p0"), Some(Abort::Participants));
        assert_eq!(with(&sound, 0, "p9"), Some(Abort::Participants));
        assert_eq!(with(&sound, 1, "p1"), Some(Abort::OwnPledge));
        let agreed = Agreed::with(&sound, "p0", &parties[0].ephemeral, "p1", &sent).unwrap();
        assert!(Channel::new(&agreed, "p0", "p9", &[]).is_none());
        parties[1].public.x25519 = [0; 32];
        let weak = transcript(&parties, 1);
        let agreed = Agreed::with(&weak, "p0", &parties[0].ephemeral, "p1", &[]);
        assert_eq!(agreed.err(), Some(Abort::WeakKey("p1".into())));
    }
}
