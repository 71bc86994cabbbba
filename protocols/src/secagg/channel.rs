//! Channels between two participants of an attempt, through the coordinator: it passes on what it cannot read or change.
//!
//! Both have each other's X25519 key of the attempt, signed by an identity of the pinned roster ([`super::pledge`]). Each
//! direction has a key of its own: HKDF-SHA256(X25519(i, j); salt T; info: sender and receiver). Messages are sealed by
//! XChaCha20-Poly1305 under random nonces of 192 bits, so that a restart repeats none.
//!
//! **What the coordinator can do** is to drop messages, to repeat them and to change their order. So what is said must say
//! by itself what it belongs to, and saying it twice must do no harm.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::pledge::{EphemeralKey, derived};
use super::transcript::{Abort, Transcript};
use crate::digest::Digest;

/// Bytes of a nonce, which must be random for every message.
pub const NONCE: usize = 24;

/// One end of a channel. No `Debug`; its keys are zeroized when dropped.
pub struct Channel {
    sending: XChaCha20Poly1305,
    receiving: XChaCha20Poly1305,
}

/// Bytes that the other end did not seal for this channel and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message between two partners was changed on its way, or is not for this attempt")]
pub struct Forged;

impl Channel {
    /// The channel of `me`, a participant of `transcript` with ephemeral key `key`, to `peer`, another one.
    pub fn new(transcript: &Transcript, me: &str, key: &EphemeralKey, peer: &str) -> Result<Self, Abort> {
        let pledge = |name: &str| transcript.pledges().iter().find(|pledge| pledge.participant == name);
        let (mine, theirs) = pledge(me).zip(pledge(peer)).filter(|_| me != peer).ok_or(Abort::Participants)?;
        if mine.ephemeral != key.public() {
            return Err(Abort::OwnJoin);
        }
        let shared = key.shared(theirs.ephemeral).ok_or_else(|| Abort::WeakKey(peer.into()))?;
        let cipher = |from: &str, to: &str| {
            let info = Digest::of("entente channel 1", &[from.as_bytes(), to.as_bytes()]);
            let key = derived(&shared, transcript.digest(), info);
            XChaCha20Poly1305::new(&Key::from(*key))
        };
        Ok(Self { sending: cipher(me, peer), receiving: cipher(peer, me) })
    }

    /// Seals a message for the other end.
    pub fn seal(&self, nonce: [u8; NONCE], message: &[u8]) -> Vec<u8> {
        let sealed = self.sending.encrypt(&XNonce::from(nonce), message);
        let sealed = sealed.expect("messages are far shorter than the cipher's limit of 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a message that the other end sealed.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Forged)?;
        self.receiving.decrypt(&XNonce::from(*nonce), sealed).map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Party, alliance};

    fn transcript(parties: &[Party], question: u8) -> Transcript {
        let (names, roster) = alliance(parties);
        let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([question; 32]))).collect();
        Transcript::of(&pledges, &names, &roster).unwrap()
    }

    fn channel(transcript: &Transcript, me: &Party, peer: &Party) -> Channel {
        Channel::new(transcript, &me.name, &me.ephemeral, &peer.name).unwrap()
    }

    #[test]
    fn the_other_end_alone_can_open() {
        let parties = Party::some(3);
        let (one, two) = (transcript(&parties, 1), transcript(&parties, 2));
        let [a, b, c] = [&parties[0], &parties[1], &parties[2]];
        let sealed = channel(&one, a, b).seal([7; NONCE], b"hello");
        assert_eq!(channel(&one, b, a).open(&sealed).unwrap(), b"hello");
        assert!(!sealed.windows(5).any(|window| window == b"hello"));
        for other in [channel(&one, c, a), channel(&one, a, b), channel(&one, b, c), channel(&two, b, a)] {
            assert_eq!(other.open(&sealed), Err(Forged), "another party, direction or attempt");
        }
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(channel(&one, b, a).open(&changed), Err(Forged), "byte {i}");
        }
        assert_eq!(channel(&one, b, a).open(&sealed[..10]), Err(Forged));
    }

    #[test]
    fn there_is_no_channel_to_oneself_to_strangers_or_with_weak_keys() {
        let mut parties = Party::some(2);
        let sound = transcript(&parties, 1);
        let new =
            |transcript: &Transcript, key: &EphemeralKey, peer: &str| Channel::new(transcript, "p0", key, peer).err();
        assert_eq!(new(&sound, &parties[0].ephemeral, "p0"), Some(Abort::Participants));
        assert_eq!(new(&sound, &parties[0].ephemeral, "p9"), Some(Abort::Participants));
        assert_eq!(new(&sound, &parties[1].ephemeral, "p1"), Some(Abort::OwnJoin));
        parties[1].public = [0; 32];
        let weak = transcript(&parties, 1);
        assert_eq!(new(&weak, &parties[0].ephemeral, "p1"), Some(Abort::WeakKey("p1".into())));
    }
}
