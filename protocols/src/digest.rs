//! One hash for everything that is signed, chained or compared: SHA-256 with a domain label.
//!
//! `Digest::of(label, parts)` hashes the label and each part with its length in front, so that no two different
//! lists of parts, and no two uses with different labels, can give the same input to the hash.

use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256; shown, and stored in files, as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// All zeroes: what the first entry of a chain names as its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of `parts` for the use that `label` names.
    pub fn of(label: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The plain SHA-256 of `bytes`, as `sha256sum` prints it.
    pub fn plain(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 16 hexadecimal digits, for people's eyes.
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

/// The plain SHA-256 of bytes that are written to it, piece by piece.
#[derive(Default)]
pub struct PlainSum(Sha256);

impl PlainSum {
    /// Goes on with these bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything that was written.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for PlainSum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It is too short or too long.
    #[error("`{0}` is not a hash: it has not 64 digits")]
    Length(String),
    /// It has other signs.
    #[error("`{0}` is not a hash: 64 hexadecimal digits are expected")]
    Digits(String),
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(DigestError::Length(text.into()));
        }
        const_hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::Digits(text.into()))?;
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_labels_are_kept_apart() {
        let one = Digest::of("a", &[b"bc", b"d"]);
        assert_ne!(one, Digest::of("a", &[b"b", b"cd"]));
        assert_ne!(one, Digest::of("ab", &[b"c", b"d"]));
        assert_ne!(one, Digest::of("a", &[b"bcd"]));
    }

    #[test]
    fn text_form_round_trips_and_plain_is_sha256sum() {
        let digest = Digest::plain(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let upper = digest.to_string().to_uppercase();
        assert_eq!(upper.parse(), Ok(digest));
        let prefixed = format!("0x{}", &upper[2..]);
        for bad in
            ["ba78", "", &prefixed, &upper[1..], &(upper.clone() + "0"), &upper.replace('B', "G"), &"é".repeat(32)]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let mut sum = PlainSum::default();
        io::Write::write_all(&mut sum, b"a").and_then(|()| io::Write::write_all(&mut sum, b"bc")).unwrap();
        assert_eq!(sum.finish(), digest);
    }
}
