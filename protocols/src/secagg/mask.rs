//! Mask streams: what participant i adds and participant j takes off again.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use super::agreement::Agreed;
use crate::digest::Digest;

/// The keys of one participant's mask streams in one round. No `Debug`; zeroized when dropped.
pub struct MaskKeys {
    /// Key and whether the stream is added (towards participants later in the order) or subtracted.
    streams: Vec<(Zeroizing<[u8; 32]>, bool)>,
}

impl MaskKeys {
    /// The keys that a participant shares with each of `contributors`, itself left out, for round number `round` whose public
    /// input has hash `input`.
    pub fn among(agreed: &Agreed, contributors: &[String], round: u32, input: Digest) -> Self {
        let others = agreed.peers().filter(|peer| contributors.iter().any(|name| name == peer));
        let stream = |peer| agreed.key(peer, "entente mask 2", &[&round.to_le_bytes(), &input.0]);
        Self { streams: others.filter_map(stream).collect() }
    }

    /// The same with everybody.
    pub fn with_all(agreed: &Agreed, round: u32, input: Digest) -> Self {
        let all: Vec<String> = agreed.peers().map(String::from).collect();
        Self::among(agreed, &all, round, input)
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
    use crate::secagg::transcript::{Abort, Transcript};
    use crate::testing::{Party, agreed, alliance};

    fn transcript(parties: &[Party], question: u8) -> Transcript {
        let (names, roster) = alliance(parties);
        let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([question; 32]))).collect();
        Transcript::of(&pledges, &names, &roster).unwrap()
    }

    fn masked(all: &[Party], me: usize, transcript: &Transcript, round: u32, input: u8, values: &[i64]) -> Vec<i64> {
        let keys = MaskKeys::with_all(&agreed(all, me, transcript).unwrap(), round, Digest([input; 32]));
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
        let vectors: Vec<_> = (0..4).map(|me| masked(&parties, me, &transcript, 1, 1, &values)).collect();
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
        let base = masked(&parties, 0, &one, 1, 1, &zeroes);
        let others = [(&two, 1, 1), (&one, 2, 1), (&one, 1, 2)];
        assert_eq!(sum(&[base.clone(), masked(&parties, 1, &one, 1, 1, &zeroes)]), zeroes);
        for (transcript, round, input) in others {
            let other = masked(&parties, 1, transcript, round, input, &zeroes);
            assert!(sum(&[base.clone(), other]).iter().all(|word| *word != 0));
        }
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let mut parties = Party::some(2);
        parties[1].public.x25519 = [0; 32];
        let transcript = transcript(&parties, 1);
        assert_eq!(agreed(&parties, 0, &transcript).err(), Some(Abort::WeakKey(parties[1].name.clone())));
    }
}
