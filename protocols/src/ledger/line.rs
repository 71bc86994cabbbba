//! How entries are written, and what is hashed.
//!
//! An entry is one line of JSON. Its hash is that of a leaf of the ledger's tree ([`super::tree::leaf`]), over **the exact bytes of that
//! line**, so anybody can recompute it without knowing the fields.

use super::entry::Entry;
use super::read::Reader;
use super::tree::leaf;
use crate::digest::Digest;

/// An entry's text and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<T = String> {
    /// One line of JSON, exactly as hashed.
    pub json: T,
    /// The hash.
    pub hash: Digest,
}

impl Line {
    /// Writes an entry.
    pub fn of(entry: &Entry) -> Self {
        let json = serde_json::to_string(entry).expect("an entry has string keys and no failing serialisers");
        let hash = Self::hash(&json);
        Self { json, hash }
    }

    /// The hash of an entry's text.
    pub fn hash(json: &str) -> Digest {
        leaf(json.as_bytes())
    }

    /// The entry that it says.
    pub fn entry(&self) -> Result<Entry, serde_json::Error> {
        Reader::default().read(&self.json)
    }

    /// The same, borrowed.
    pub fn as_deref(&self) -> Line<&str> {
        Line { json: &self.json, hash: self.hash }
    }
}
