//! Secret randomness: everything is drawn from ChaCha20 streams under keys that HKDF-SHA256 derives from the caller's
//! seed.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The largest draw of [`Stream::gaussian`], in standard deviations: √(2·ln 2^53) < 8.6.
pub(super) const GAUSSIAN_BOUND: f64 = 8.6;

/// The key for the use that `label` and `parts` name.
pub(super) fn key(secret: &[u8; 32], label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let info = crate::digest::Digest::of(label, parts);
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand(&info.0, &mut *key)
        .expect("32 bytes are within HKDF-SHA256's limit of 8160");
    key
}

/// A stream of secret numbers.
pub(super) struct Stream(ChaCha20);

impl Stream {
    /// The stream for the use that `label` and `parts` name.
    pub(super) fn new(secret: &[u8; 32], label: &str, parts: &[&[u8]]) -> Self {
        Self(ChaCha20::new((&*key(secret, label, parts)).into(), (&[0u8; 12]).into()))
    }

    /// Uniform bytes.
    pub(super) fn bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }

    /// Discrete noise with standard deviation `sigma`, by Box and Muller's transform, rounded; `numbers` are the
    /// places.
    ///
    /// Its distance from a rounded normal distribution is that of 53 bits: a tail of 2^-53 is missing.
    pub(super) fn gaussian(&mut self, sigma: f64, numbers: &mut [i64]) {
        let mut uniform = Zeroizing::new([0u8; 8 * 256]);
        for numbers in numbers.chunks_mut(256) {
            self.bytes(&mut *uniform);
            let (pairs, _) = uniform.as_chunks::<16>();
            for (numbers, pair) in numbers.chunks_mut(2).zip(pairs) {
                let unit = |bytes: &[u8]| {
                    let word = u64::from_le_bytes(bytes.try_into().expect("half of sixteen bytes"));
                    (word >> 11) as f64 * 2f64.powi(-53)
                };
                let (size, angle) = (1.0 - unit(&pair[..8]), std::f64::consts::TAU * unit(&pair[8..]));
                let radius = sigma * (-2.0 * size.ln()).sqrt();
                let (sine, cosine) = angle.sin_cos();
                for (number, projection) in numbers.iter_mut().zip([cosine, sine]) {
                    *number = (radius * projection).round_ties_even() as i64;
                }
            }
        }
    }
}

#[cfg(test)]
impl Stream {
    /// Uniform words.
    pub(super) fn fill(&mut self, words: &mut [u64]) {
        for word in words {
            let mut bytes = [0; 8];
            self.bytes(&mut bytes);
            *word = u64::from_le_bytes(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 2^16 draws, mean and variance are within 6.2 standard errors (false alarms below 1e-9), and none is beyond
    /// the bound.
    #[test]
    fn gaussians_have_their_moments_and_their_bound() {
        let sigma = 2f64.powi(25);
        let mut numbers = vec![0; 1 << 16];
        Stream::new(&[1; 32], "test", &[]).gaussian(sigma, &mut numbers);
        let count = numbers.len() as f64;
        let scaled: Vec<f64> = numbers.iter().map(|number| *number as f64 / sigma).collect();
        let mean = scaled.iter().sum::<f64>() / count;
        let variance = scaled.iter().map(|x| x * x).sum::<f64>() / count;
        assert!(mean.abs() < 6.2 / count.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 6.2 * (2.0 / count).sqrt(), "{variance}");
        assert!(scaled.iter().all(|x| x.abs() <= GAUSSIAN_BOUND));
    }

    #[test]
    fn streams_differ_by_secret_label_and_parts() {
        let first = |mut stream: Stream| {
            let mut words = [0; 2];
            stream.fill(&mut words);
            words
        };
        let all = [
            first(Stream::new(&[1; 32], "a", &[b"x"])),
            first(Stream::new(&[2; 32], "a", &[b"x"])),
            first(Stream::new(&[1; 32], "b", &[b"x"])),
            first(Stream::new(&[1; 32], "a", &[b"y"])),
        ];
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    }
}
