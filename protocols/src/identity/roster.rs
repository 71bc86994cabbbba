//! The roster: which partners there are and which keys they have, as each node pins it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::PublicIdentity;
use crate::digest::Digest;
use crate::reason::Reason;

/// One partner in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Member {
    /// Signs mask keys, transcripts and checkpoints.
    pub identity: PublicIdentity,
    /// SHA-256 of the public key of the partner's TLS certificates; a renewed certificate keeps the key.
    pub tls: Digest,
}

/// The partners of an alliance and its coordinator, with their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// The alliance's name.
    pub alliance: String,
    /// Fingerprint (SHA-256) of the alliance's certificate authority; tells two alliances of one name apart.
    pub authority: Digest,
    /// The coordinator's identity.
    pub coordinator: PublicIdentity,
    /// Partners by name.
    pub members: BTreeMap<String, Member>,
}

impl Roster {
    /// The fingerprint that people compare out of band. Equal exactly for equal rosters.
    pub fn fingerprint(&self) -> Digest {
        Digest::of("entente roster 1", &[&crate::canonical::canonical_bytes(self)])
    }

    /// The fingerprint in groups of four digits, easier to read aloud.
    pub fn fingerprint_words(&self) -> String {
        let digits = self.fingerprint().to_string();
        let groups: Vec<&str> = (0..16).map(|i| &digits[4 * i..4 * i + 4]).collect();
        groups.join(" ")
    }
}

const NAME: &str = "use 1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter";

/// A name that cannot be a partner's or an alliance's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a name: {NAME}")]
pub struct NameError(pub String);

impl From<NameError> for Reason {
    fn from(error: NameError) -> Self {
        Self::from(format!("`{}` cannot be a name", error.0)).help(NAME)
    }
}

/// Checks a partner's name: it stands in files, certificates and messages.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let good = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed);
    if good { Ok(()) } else { Err(NameError(name.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["retailer", "bank-2", "a", "telecom_north"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "Bank", "2bank", "a b", "../x", "ä", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
