//! Identity keys and their signatures.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// A secret identity key. Has no `Debug` and is zeroized when dropped.
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// From 32 secret random bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret bytes, to be stored in a file that only its owner can read.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicIdentity {
        PublicIdentity(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for the purpose named by `label`.
    pub fn sign(&self, label: &str, message: &[u8]) -> Signature {
        Signature(self.0.sign(&Digest::of(label, &[message]).0).to_bytes())
    }

    /// Signs the text of a note, or a cosignature's, as it is.
    pub(crate) fn sign_note(&self, text: &str) -> Signature {
        Signature(self.0.sign(text.as_bytes()).to_bytes())
    }
}

/// A public identity key; shown as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct PublicIdentity(pub [u8; 32]);

impl PublicIdentity {
    /// Whether `signature` is this identity's over `message` for the purpose named by `label`. Strict: small-order
    /// keys and non-canonical signatures are refused.
    pub fn verify(&self, label: &str, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(&Digest::of(label, &[message]).0, &signature).is_ok())
    }

    /// Whether `signature` is this identity's over the text of a note, or a cosignature's.
    pub(crate) fn verify_note(&self, text: &str, signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Signature(pub [u8; 64]);

/// Text form of fixed-size keys and signatures: lower-case hexadecimal, in files and on screens.
macro_rules! hexadecimal {
    ($type:ident, $length:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::str::FromStr for $type {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
                let bytes = bytes.and_then(|bytes| <[u8; $length]>::try_from(bytes).ok());
                bytes.map(Self).ok_or(concat!("expected ", $length, " bytes in hexadecimal"))
            }
        }
    };
}

hexadecimal!(PublicIdentity, 32);
hexadecimal!(Signature, 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_label_and_message_alone() {
        let (key, other) = (IdentityKey::from_secret(&[1; 32]), IdentityKey::from_secret(&[2; 32]));
        let signature = key.sign("purpose", b"message");
        assert!(key.public().verify("purpose", b"message", &signature));
        assert!(!key.public().verify("another", b"message", &signature));
        assert!(!key.public().verify("purpose", b"massage", &signature));
        assert!(!other.public().verify("purpose", b"message", &signature));
        assert!(!PublicIdentity([0; 32]).verify("purpose", b"message", &Signature([0; 64])), "small order");
    }
}
