//! Petitions: who asks for a study, by a signature that no coordinator can make.
//!
//! ```text
//! petition = time, H(study), Sign(requester's identity; H(alliance's authority, study's identifier, requester, time, H(study)))
//! ```
//!
//! A coordinator passes studies on, and could say of any that a partner had asked for it. So a partner signs what it asks for, under
//! an identifier that it draws itself, and whoever is asked verifies that against the roster that its own staff have confirmed. The
//! signature is good for one study under one identifier: passed on again, it is a further attempt of the same study, for which all
//! that a study may cost holds, and under another identifier it is nobody's. A study without one is the operator's, and says so.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{IdentityKey, PublicIdentity, Signature};
use crate::digest::Digest;

/// Who asks for what no partner has signed. No partner asks under this name.
pub const OPERATOR: &str = "operator";
/// How long after it was signed a petition may begin a study, as long as stewards may take; and how far ahead of another's clock.
pub const HOLDS: Duration = Duration::from_secs(7 * 24 * 3600);
const AHEAD: Duration = Duration::from_secs(24 * 3600);

const LABEL: &str = "entente petition 1";

/// A partner's signature on what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Petition {
    /// When it was signed, in seconds since 1970 by the requester's clock.
    pub time: i64,
    /// Hash of the study, as its file states it.
    pub study_sha256: Digest,
    /// By the requester's identity.
    pub signature: Signature,
}

/// What a petition is for.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Fingerprint of the alliance's authority.
    pub authority: Digest,
    /// The study's identifier.
    pub id: &'a str,
    /// Who asks.
    pub requester: &'a str,
}

/// The identifier of a study that is asked for at this time.
pub fn identifier(created: Timestamp, random: [u8; 3]) -> String {
    format!("{}-{}", created.strftime("%Y%m%d-%H%M%S"), data_encoding::HEXLOWER.encode(&random))
}

impl Asking<'_> {
    /// Texts with their lengths before them, and all numbers little-endian.
    fn message(&self, time: i64, study: Digest) -> Vec<u8> {
        let Self { authority, id, requester } = self;
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        [&authority.0[..], &text(id), &text(requester), &time.to_le_bytes(), &study.0].concat()
    }
}

impl Petition {
    /// Signs what is asked for, a study of this hash.
    pub fn sign(asking: &Asking<'_>, study: Digest, time: i64, key: &IdentityKey) -> Self {
        Self { time, study_sha256: study, signature: key.sign(LABEL, &asking.message(time, study)) }
    }

    /// Whether `identity` has asked for this, of the study whose hash is in it.
    pub fn verify(&self, asking: &Asking<'_>, identity: &PublicIdentity) -> bool {
        let message = asking.message(self.time, self.study_sha256);
        asking.requester != OPERATOR && identity.verify(LABEL, &message, &self.signature)
    }

    /// Whether a study may begin by it now.
    pub fn holds(&self, now: Timestamp) -> bool {
        let age = i128::from(now.as_second()) - i128::from(self.time);
        (-i128::from(AHEAD.as_secs())..=i128::from(HOLDS.as_secs())).contains(&age)
    }

    /// Whether an identifier was drawn at the time at which it was signed.
    pub fn has_drawn(&self, id: &str) -> bool {
        let Ok(time) = Timestamp::from_second(self.time) else { return false };
        let drawn = id.rsplit_once('-').and_then(|(_, random)| data_encoding::HEXLOWER.decode(random.as_bytes()).ok());
        drawn.and_then(|random| random.try_into().ok()).is_some_and(|random| identifier(time, random) == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKING: Asking<'_> = Asking { authority: Digest([1; 32]), id: "20260101-000000-a1b2c3", requester: "bank" };
    const STUDY: Digest = Digest([2; 32]);

    #[test]
    fn a_petition_is_for_one_study_of_one_requester_in_one_alliance_under_one_identifier() {
        let key = IdentityKey::from_secret(&[7; 32]);
        let petition = Petition::sign(&ASKING, STUDY, 1_767_225_600, &key);
        assert!(petition.verify(&ASKING, &key.public()));
        let others = [
            Asking { authority: Digest::ZERO, ..ASKING },
            Asking { id: "20260101-000000-a1b2c4", ..ASKING },
            Asking { requester: "telecom", ..ASKING },
        ];
        for other in others {
            assert!(!petition.verify(&other, &key.public()), "{other:?}");
        }
        let later = Petition { time: petition.time + 1, ..petition.clone() };
        assert!(!later.verify(&ASKING, &key.public()), "another time");
        let other = Petition { study_sha256: Digest::ZERO, ..petition.clone() };
        assert!(!other.verify(&ASKING, &key.public()), "another study");
        assert!(!petition.verify(&ASKING, &IdentityKey::from_secret(&[8; 32]).public()), "another partner's");
        let as_operator = Asking { requester: OPERATOR, ..ASKING };
        assert!(
            !Petition::sign(&as_operator, STUDY, 0, &key).verify(&as_operator, &key.public()),
            "nobody signs as operator"
        );
    }

    #[test]
    fn a_petition_begins_a_study_within_a_week_and_under_an_identifier_of_its_time() {
        let key = IdentityKey::from_secret(&[7; 32]);
        let petition = Petition::sign(&ASKING, STUDY, 1_767_225_600, &key);
        let at = |seconds: i64| Timestamp::from_second(petition.time + seconds).unwrap();
        let week = 7 * 24 * 3600;
        assert!([0, -24 * 3600, week].into_iter().all(|seconds| petition.holds(at(seconds))));
        assert!(![-24 * 3600 - 1, week + 1].into_iter().any(|seconds| petition.holds(at(seconds))));
        assert!(!Petition { time: i64::MIN, ..petition.clone() }.holds(at(0)));
        assert!(petition.has_drawn(ASKING.id) && petition.has_drawn(&identifier(at(0), [0, 0, 1])));
        for other in ["20260101-000001-a1b2c3", "20260101-000000-a1b2c3-1", "20260101-000000-A1B2C3", "a1b2c3", ""] {
            assert!(!petition.has_drawn(other), "{other}");
        }
        assert!(!Petition { time: i64::MAX, ..petition.clone() }.has_drawn(ASKING.id));
    }
}
