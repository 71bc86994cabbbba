//! Mask streams: what participant i adds and participant j takes off again.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use super::pledge::{EphemeralKey, derived};
use super::transcript::{Abort, Transcript};
use crate::digest::Digest;

/// The keys of one participant's mask streams in one round. No `Debug`; zeroized when dropped.
pub struct MaskKeys {
    /// Key and whether the stream is added (towards participants later in the order) or subtracted.
    streams: Vec<(Zeroizing<[u8; 32]>, bool)>,
}

impl MaskKeys {
    /// The keys that `me`, a participant of `transcript` with ephemeral key `key`, shares with each other one, for
    /// round number `round` whose public input has hash `input`.
    pub fn derive(
        transcript: &Transcript,
        me: &str,
        key: &EphemeralKey,
        round: u32,
        input: Digest,
    ) -> Result<Self, Abort> {
        let all: Vec<String> = transcript.pledges().iter().map(|pledge| pledge.participant.clone()).collect();
        Self::among(transcript, &all, me, key, round, input)
    }

    /// The same towards those of the participants who contribute to the sum, of whom `me` is one.
    pub fn among(
        transcript: &Transcript,
        contributors: &[String],
        me: &str,
        key: &EphemeralKey,
        round: u32,
        input: Digest,
    ) -> Result<Self, Abort> {
        let position = transcript.pledges().iter().position(|pledge| pledge.participant == me);
        let mine = position.ok_or(Abort::Participants)?;
        if transcript.pledges()[mine].ephemeral != key.public() {
            return Err(Abort::OwnJoin);
        }
        let info = Digest::of("entente mask 1", &[&round.to_le_bytes(), &input.0]);
        let contributes = |name: &String| contributors.contains(name);
        let others = transcript.pledges().iter().enumerate();
        let others = others.filter(|(other, pledge)| *other != mine && contributes(&pledge.participant));
        let streams = others.map(|(other, pledge)| {
            let shared = key.shared(pledge.ephemeral).ok_or_else(|| Abort::WeakKey(pledge.participant.clone()))?;
            Ok((derived(&shared, transcript.digest(), info), mine < other))
        });
        Ok(Self { streams: streams.collect::<Result<_, _>>()? })
    }

    /// The number of other participants.
    pub fn peers(&self) -> usize {
        self.streams.len()
    }

    /// Adds the masks to `values`, modulo 2^64. On bare numbers, which nothing can send: for measuring.
    #[doc(hidden)]
    pub fn bench_apply(&self, values: &mut [i64]) {
        self.apply(values);
    }

    /// Adds the masks to `values`, modulo 2^64.
    pub(crate) fn apply(&self, values: &mut [i64]) {
        // The keystream is made in pieces that stay in the nearest cache, and used at once.
        let mut buffer = Zeroizing::new([0u8; 8192]);
        for (key, add) in &self.streams {
            let mut stream = ChaCha20::new((&**key).into(), (&[0u8; 12]).into());
            for piece in values.chunks_mut(buffer.len() / 8) {
                let bytes = &mut buffer[..8 * piece.len()];
                bytes.fill(0);
                stream.apply_keystream(bytes);
                let (words, _) = bytes.as_chunks::<8>();
                for (value, word) in piece.iter_mut().zip(words) {
                    let mask = i64::from_le_bytes(*word);
                    *value = if *add { value.wrapping_add(mask) } else { value.wrapping_sub(mask) };
                }
            }
        }
    }
}

/// The longest vector one stream can mask: ChaCha20's counter of 32 bits spans 256 GiB.
pub const MAX_LENGTH: usize = 1 << 34;
const _: () = assert!(crate::privacy::mechanism::MAX_LENGTH <= MAX_LENGTH);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Party, alliance};

    fn transcript(parties: &[Party], question: u8) -> Transcript {
        let (names, roster) = alliance(parties);
        let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([question; 32]))).collect();
        Transcript::of(&pledges, &names, &roster).unwrap()
    }

    fn masked(party: &Party, transcript: &Transcript, round: u32, input: u8, values: &[i64]) -> Vec<i64> {
        let keys = MaskKeys::derive(transcript, &party.name, &party.ephemeral, round, Digest([input; 32])).unwrap();
        let mut values = values.to_vec();
        keys.apply(&mut values);
        values
    }

    fn sum(vectors: &[Vec<i64>]) -> Vec<i64> {
        let add = |a: Vec<i64>, b: &Vec<i64>| a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b)).collect();
        vectors.iter().fold(vec![0; vectors[0].len()], add)
    }

    #[test]
    fn masks_cancel_in_the_sum_of_all_and_only_there() {
        let parties = Party::some(4);
        let transcript = transcript(&parties, 1);
        let values: Vec<i64> = (0..3000).map(|i| i * 17 - 500).collect();
        let vectors: Vec<_> = parties.iter().map(|party| masked(party, &transcript, 1, 1, &values)).collect();
        let expected: Vec<i64> = values.iter().map(|value| 4 * value).collect();
        assert_eq!(sum(&vectors), expected);
        // Three of four are uniform: of 3000 words, none is what it would be unmasked (chance 3000/2^64).
        let partial = sum(&vectors[..3]);
        assert!(partial.iter().zip(&values).all(|(sum, value)| *sum != 3 * value));
    }

    /// Each of these changes alone makes the sum garbage: the key depends on it.
    #[test]
    fn masks_depend_on_transcript_round_and_input() {
        let parties = Party::some(2);
        let (one, two) = (transcript(&parties, 1), transcript(&parties, 2));
        let zeroes = vec![0i64; 64];
        let base = masked(&parties[0], &one, 1, 1, &zeroes);
        let others = [(&two, 1, 1), (&one, 2, 1), (&one, 1, 2)];
        assert_eq!(sum(&[base.clone(), masked(&parties[1], &one, 1, 1, &zeroes)]), zeroes);
        for (transcript, round, input) in others {
            let other = masked(&parties[1], transcript, round, input, &zeroes);
            assert!(sum(&[base.clone(), other]).iter().all(|word| *word != 0));
        }
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let mut parties = Party::some(2);
        parties[1].public = [0; 32];
        let transcript = transcript(&parties, 1);
        let result = MaskKeys::derive(&transcript, &parties[0].name, &parties[0].ephemeral, 1, Digest::ZERO);
        assert_eq!(result.err(), Some(Abort::WeakKey(parties[1].name.clone())));
    }
}
