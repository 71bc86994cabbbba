//! What an exported file is, signed by its node: which study's customers, how many were left out and why, and the hash
//! of the file. It holds nothing of any one customer.
//!
//! **To verify one without this software**: the signature is Ed25519, by `identity`, over SHA-256(len(label) ‖ label ‖
//! len(body) ‖ body), where label is [`LABEL`], body is the value of `manifest` as JSON without white space, its keys
//! in the order of the file, in UTF-8 without escapes that are not needed, and lengths are 8 bytes, the lowest first.
//! `identity` has to be compared with the node's key in the alliance's roster: anybody can sign with a key of their
//! own.

use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, PublicIdentity, Signature};
use serde::{Deserialize, Serialize};

/// What signatures of manifests are for.
pub const LABEL: &str = "entente audience manifest 1";

/// The format of this version.
pub const FORMAT: &str = "entente audience manifest 1";

/// What is said of an exported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The node that exported it.
    pub node: String,
    /// The key that signed.
    pub identity: PublicIdentity,
    /// The study that scored its customers.
    pub study: String,
    /// The data set whose customers they are.
    pub dataset: String,
    /// The column that names them.
    pub privacy_unit: String,
    /// When they were scored, RFC 3339.
    pub scored: String,
    /// Which were selected.
    pub selection: String,
    /// How many were scored and named.
    pub candidates: u64,
    /// How many were selected.
    pub selected: u64,
    /// Of these, left out because they do not consent at the time of the export, or are gone from the data.
    pub without_consent: u64,
    /// Of these, left out because they were in too many exports.
    pub over_contact_cap: u64,
    /// How many are in the file.
    pub exported: u64,
    /// The fewest that the node's policy allows.
    pub min_audience: u64,
    /// The most exports a customer may be in within `contact_days`; 0 where that is not capped.
    pub max_contacts: u32,
    /// The window of the cap.
    pub contact_days: u32,
    /// The file's name; it is in the folder of its manifest.
    pub file: String,
    /// SHA-256 of the file, as `sha256sum` prints it.
    pub sha256: Digest,
    /// When it was exported, RFC 3339.
    pub created: String,
}

/// A manifest and its signature: the content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// What is said.
    pub manifest: Manifest,
    /// By the node's identity key, over the manifest for [`LABEL`].
    pub signature: Signature,
}

impl Signed {
    /// Signs a manifest.
    pub fn new(manifest: Manifest, key: &IdentityKey) -> Self {
        let signature = key.sign(LABEL, &body(&manifest));
        Self { manifest, signature }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("texts and whole numbers are always JSON");
        json + "\n"
    }

    /// Reads the text of a file, which has to be as [`text`](Self::text) writes it, to the last byte.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let signed: Self = serde_json::from_str(text).map_err(|error| format!("it is not a manifest: {error}"))?;
        if signed.manifest.format != FORMAT {
            return Err(format!(
                "its format is `{}`, not `{FORMAT}`; another version wrote it",
                signed.manifest.format
            ));
        }
        // What people read is then what was signed, and a byte that means nothing cannot be changed either.
        if signed.text() == text { Ok(signed) } else { Err("it was written anew or changed".into()) }
    }

    /// Whether `identity` signed it and says so in it.
    pub fn is_by(&self, identity: &PublicIdentity) -> bool {
        self.manifest.identity == *identity && identity.verify(LABEL, &body(&self.manifest), &self.signature)
    }
}

fn body(manifest: &Manifest) -> Vec<u8> {
    serde_json::to_vec(manifest).expect("texts and whole numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (Signed, IdentityKey) {
        let key = IdentityKey::from_secret(&[1; 32]);
        let manifest = Manifest {
            format: FORMAT.into(),
            node: "bank".into(),
            identity: key.public(),
            study: "s-1".into(),
            dataset: "clients".into(),
            privacy_unit: "id".into(),
            scored: "2026-01-01T00:00:00Z".into(),
            selection: "top 5%".into(),
            candidates: 1000,
            selected: 50,
            without_consent: 3,
            over_contact_cap: 2,
            exported: 45,
            min_audience: 10,
            max_contacts: 3,
            contact_days: 30,
            file: "übung.csv".into(),
            sha256: Digest::plain(b"x"),
            created: "2026-01-02T00:00:00Z".into(),
        };
        (Signed::new(manifest, &key), key)
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let (signed, key) = signed();
        let text = signed.text();
        assert!(Signed::parse(&text).is_ok_and(|parsed| parsed == signed && parsed.is_by(&key.public())));
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let parsed = String::from_utf8(bytes).ok().and_then(|text| Signed::parse(&text).ok());
                assert!(parsed.is_none_or(|parsed| !parsed.is_by(&key.public())), "byte {place}, bit {bit}");
            }
        }
        assert!(Signed::parse(&format!("{text} ")).is_err() && Signed::parse("").is_err());
    }

    #[test]
    fn another_key_or_purpose_is_none() {
        let (signed, key) = signed();
        let other = IdentityKey::from_secret(&[2; 32]);
        assert!(!signed.is_by(&other.public()));
        let claimed = Signed::new(signed.manifest.clone(), &other);
        assert!(!claimed.is_by(&key.public()) && !claimed.is_by(&other.public()));
        let purpose = Signed { signature: key.sign("entente checkpoint", &body(&signed.manifest)), ..signed };
        assert!(!purpose.is_by(&key.public()));
    }
}
