//! Signed notes and cosignatures in the forms of C2SP (<https://c2sp.org/signed-note>, <https://c2sp.org/tlog-cosignature>), so
//! that existing tools of transparency logs read and verify them.
//!
//! ```text
//! text, one or more lines
//!                                                     an empty line
//! — NAME base64(key id ‖ signature)                   Ed25519 over the text
//! — NAME base64(key id ‖ time ‖ signature)            a witness's cosignature
//! ```
//!
//! Unlike everything else that an identity key signs, these are signatures over the text itself, without a label, as the form
//! has it. None can be taken for another: a labelled message is signed as its hash of exactly 32 bytes ([`IdentityKey::sign`]),
//! and no text signed here is that short ([`Note::new`] refuses it); a cosignature is over a text that begins with
//! `cosignature/v1`, which no note of ours does. `signed_note` of crates.io does the same and was not taken: it brings a second version of
//! ed25519-dalek and sha2.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::identity::{IdentityKey, PublicIdentity, Signature};

/// The longest note that is read, in bytes.
pub const MAX_NOTE: usize = 1 << 20;
/// The most signatures of one note.
const MAX_SIGNATURES: usize = 200;

const ED25519: u8 = 0x01;
const COSIGNATURE: u8 = 0x04;

/// Why something is not a signed note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a signed note: {0}")]
pub struct NoteError(pub &'static str);

/// One line of signature: whose it says it is, and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: String,
    key: [u8; 4],
    bytes: Vec<u8>,
}

/// A text with signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

fn key_id(name: &str, algorithm: u8, key: &PublicIdentity) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', algorithm]).chain_update(key.0).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A key in the form in which tools of transparency logs take it: `NAME+ID+base64(algorithm ‖ key)`.
pub fn verifier(name: &str, key: &PublicIdentity) -> String {
    let id = data_encoding::HEXLOWER.encode(&key_id(name, ED25519, key));
    format!("{name}+{id}+{}", data_encoding::BASE64.encode(&[&[ED25519], &key.0[..]].concat()))
}

fn cosigned_text(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl SignatureLine {
    /// Reads one line, without its end.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let fail = || NoteError("a line of signature has another form than `— NAME BASE64`");
        let (name, base64) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(fail)?;
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(fail());
        }
        let bytes = data_encoding::BASE64.decode(base64.as_bytes()).map_err(|_| fail())?;
        let (key, bytes) = bytes.split_first_chunk::<4>().filter(|(_, bytes)| bytes.len() <= 128).ok_or_else(fail)?;
        Ok(Self { name: name.into(), key: *key, bytes: bytes.to_vec() })
    }

    /// Whose it says it is.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key[..], &self.bytes].concat();
        write!(f, "— {} {}", self.name, data_encoding::BASE64.encode(&bytes))
    }
}

impl Note {
    /// A note without signatures.
    pub fn new(text: String) -> Result<Self, NoteError> {
        if text.len() <= 32 || text.len() > MAX_NOTE {
            return Err(NoteError("its text is too short or too long"));
        }
        if !text.ends_with('\n') || text.lines().any(|line| line.is_empty() || line.chars().any(char::is_control)) {
            return Err(NoteError("its text is not made of lines"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note: exactly what is written by its [`fmt::Display`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError("it is too long"));
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(NoteError("it has no signatures"))?;
        let mut parsed = Self::new(format!("{text}\n"))?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError("its last line does not end"))?;
        for line in signatures.split('\n') {
            if parsed.signatures.len() == MAX_SIGNATURES {
                return Err(NoteError("it has too many signatures"));
            }
            parsed.signatures.push(SignatureLine::parse(line)?);
        }
        Ok(parsed)
    }

    /// The text that is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, first to last.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Signs it in the name of `name`, before all other signatures.
    pub fn sign(&mut self, name: &str, key: &IdentityKey) {
        let signature = key.sign_note(&self.text);
        let line =
            SignatureLine { name: name.into(), key: key_id(name, ED25519, &key.public()), bytes: signature.0.to_vec() };
        self.signatures.insert(0, line);
    }

    /// Whether `key` signed it in the name of `name`.
    pub fn is_signed_by(&self, name: &str, key: &PublicIdentity) -> bool {
        let id = key_id(name, ED25519, key);
        let mine = |line: &&SignatureLine| line.name == name && line.key == id;
        self.signatures.iter().find(mine).is_some_and(|line| {
            <[u8; 64]>::try_from(&line.bytes[..]).is_ok_and(|bytes| key.verify_note(&self.text, &Signature(bytes)))
        })
    }

    /// A witness's cosignature; `time` in seconds since 1970.
    pub fn cosign(&self, name: &str, key: &IdentityKey, time: u64) -> SignatureLine {
        let signature = key.sign_note(&cosigned_text(time, &self.text));
        let bytes = [&time.to_be_bytes()[..], &signature.0].concat();
        SignatureLine { name: name.into(), key: key_id(name, COSIGNATURE, &key.public()), bytes }
    }

    /// When `key` made this cosignature of the note in the name of `name`, if it did; in seconds since 1970.
    pub fn cosigned(&self, line: &SignatureLine, name: &str, key: &PublicIdentity) -> Option<u64> {
        if line.name != name || line.key != key_id(name, COSIGNATURE, key) {
            return None;
        }
        let (time, signature) = line.bytes.split_first_chunk::<8>()?;
        let (time, signature) = (u64::from_be_bytes(*time), Signature(signature.try_into().ok()?));
        key.verify_note(&cosigned_text(time, &self.text), &signature).then_some(time)
    }

    /// Adds a cosignature, in the place of an older one of the same key.
    pub fn add(&mut self, line: SignatureLine) {
        self.signatures.retain(|known| known.name != line.name || known.key != line.key);
        self.signatures.push(line);
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "entente/5a/bank";
    const TEXT: &str = "entente/5a/bank\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nversion 2\n";
    /// Made with Python's `cryptography` 48.0.0 (Ed25519PrivateKey.from_private_bytes of 32 bytes 7, and 8 for the witness
    /// `entente/5a` at 1700000000), hashlib and base64, from the two specifications alone.
    const VECTOR: &str = include_str!("note.vector");

    fn key(byte: u8) -> IdentityKey {
        IdentityKey::from_secret(&[byte; 32])
    }

    fn note() -> Note {
        let mut note = Note::new(TEXT.into()).unwrap();
        note.sign(NAME, &key(7));
        let cosignature = note.cosign("entente/5a", &key(8), 1_700_000_000);
        note.add(cosignature);
        note
    }

    #[test]
    fn notes_are_those_of_an_independent_implementation() {
        let (verifying, vector) = VECTOR.split_once('\n').unwrap();
        assert_eq!(verifier(NAME, &key(7).public()), verifying);
        assert_eq!(note().to_string(), vector);
        assert_eq!(Note::parse(vector).unwrap(), note());
    }

    #[test]
    fn signatures_hold_for_their_key_name_and_text_alone() {
        let note = note();
        assert!(note.is_signed_by(NAME, &key(7).public()));
        assert!(!note.is_signed_by(NAME, &key(8).public()) && !note.is_signed_by("entente/5a", &key(7).public()));
        let line = &note.signatures()[1];
        assert_eq!(note.cosigned(line, "entente/5a", &key(8).public()), Some(1_700_000_000));
        assert_eq!(note.cosigned(line, "entente/5a", &key(7).public()), None);
        assert_eq!(note.cosigned(&note.signatures()[0], NAME, &key(7).public()), None, "no cosignature");
        let other = Note::new(TEXT.replace("\n3\n", "\n4\n")).unwrap();
        assert_eq!(other.cosigned(line, "entente/5a", &key(8).public()), None);
        // A labelled signature is none over a text.
        let labelled = key(7).sign("entente checkpoint 1", TEXT.as_bytes());
        assert!(!key(7).public().verify_note(TEXT, &labelled));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let good = note().to_string();
        let verifies = |bytes: Vec<u8>| {
            let note = String::from_utf8(bytes).ok().and_then(|text| Note::parse(&text).ok());
            note.is_some_and(|note| {
                note.is_signed_by(NAME, &key(7).public())
                    && note.signatures().len() == 2
                    && note.cosigned(&note.signatures()[1], "entente/5a", &key(8).public()).is_some()
            })
        };
        assert!(verifies(good.clone().into_bytes()));
        for i in 0..good.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = good.clone().into_bytes();
                changed[i] ^= flip;
                assert!(!verifies(changed), "byte {i}");
            }
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = note().to_string();
        let bad = [
            String::new(),
            TEXT.into(),
            good.trim_end().into(),
            good.replace("— ", "- "),
            good.replace("\n3\n", "\n\u{7}\n"),
            good.replace("— entente/5a/bank", "— entente/5a+bank"),
            good.clone() + "\n",
            good.replacen('=', "", 1),
            format!("short\n\n{}", note().signatures()[0]),
            good.clone() + &format!("{}\n", note().signatures()[0]).repeat(MAX_SIGNATURES),
            "x\n".repeat(MAX_NOTE),
        ];
        for bad in bad {
            if bad != good {
                let parsed = Note::parse(&bad);
                assert!(parsed.is_err() || !parsed.unwrap().is_signed_by(NAME, &key(7).public()), "{bad}");
            }
        }
    }
}
