//! Where a ledger is kept: a trait, and an implementation in memory that tests use as its double.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::identity::PublicIdentity;
use crate::ledger::line::Line;
use crate::ledger::office::Sighting;

/// A store failed; the ledger's state on disk is as before or as after the call, never between.
#[derive(Debug, thiserror::Error)]
#[error("the ledger could not be {what}: {why}")]
pub struct StoreError {
    /// `read` or `written`.
    pub what: &'static str,
    /// The cause.
    pub why: String,
}

/// An append-only store of entries and of the bytes of releases.
///
/// **Contract.** When a call returns `Ok`, what it wrote survives a crash of the process and of the machine. Writes of
/// one call appear together or not at all. Nothing is ever changed or deleted. [`contract`] tests it.
pub trait Store {
    /// All entries, first to last.
    fn entries(&self) -> Result<Vec<Line>, StoreError> {
        self.entries_after(0)
    }
    /// The entries behind number `sequence`, first to last: also those that another has appended to the same store.
    fn entries_after(&self, sequence: u64) -> Result<Vec<Line>, StoreError>;
    /// Appends an entry, and with it the bytes of a release if given. An entry whose sequence exists is refused.
    fn append(&mut self, sequence: u64, line: &Line, release: Option<(Digest, &[u8])>) -> Result<(), StoreError>;
    /// The bytes of a release.
    fn release(&self, release: Digest) -> Result<Option<Vec<u8>>, StoreError>;
    /// Appends a checkpoint, as a note.
    fn append_checkpoint(&mut self, checkpoint: &str) -> Result<(), StoreError>;
    /// All checkpoints, first to last.
    fn checkpoints(&self) -> Result<Vec<String>, StoreError>;
    /// Appends a checkpoint that somebody has shown and the ledger does not go on from.
    fn append_sighting(&mut self, sighting: &Sighting) -> Result<(), StoreError>;
    /// All of them, first to last.
    fn sightings(&self) -> Result<Vec<Sighting>, StoreError>;
}

/// A store in memory: for tests and simulations. It survives nothing.
#[derive(Clone, Default)]
pub struct Memory {
    entries: Vec<Line>,
    releases: HashMap<Digest, Vec<u8>>,
    checkpoints: Vec<String>,
    sightings: Vec<Sighting>,
}

impl Store for Memory {
    fn entries_after(&self, sequence: u64) -> Result<Vec<Line>, StoreError> {
        let before = usize::try_from(sequence).unwrap_or(usize::MAX);
        Ok(self.entries.get(before..).unwrap_or_default().to_vec())
    }

    fn append(&mut self, sequence: u64, line: &Line, release: Option<(Digest, &[u8])>) -> Result<(), StoreError> {
        let fail = |why: &str| Err(StoreError { what: "written", why: why.into() });
        if sequence != self.entries.len() as u64 + 1 {
            return fail("an entry with this sequence exists, or one before it is missing");
        }
        if let Some((id, bytes)) = release {
            if self.releases.contains_key(&id) {
                return fail("the bytes of this release are stored already");
            }
            self.releases.insert(id, bytes.to_vec());
        }
        self.entries.push(line.clone());
        Ok(())
    }

    fn release(&self, release: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.releases.get(&release).cloned())
    }

    fn append_checkpoint(&mut self, checkpoint: &str) -> Result<(), StoreError> {
        self.checkpoints.push(checkpoint.into());
        Ok(())
    }

    fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.checkpoints.clone())
    }

    fn append_sighting(&mut self, sighting: &Sighting) -> Result<(), StoreError> {
        self.sightings.push(sighting.clone());
        Ok(())
    }

    fn sightings(&self) -> Result<Vec<Sighting>, StoreError> {
        Ok(self.sightings.clone())
    }
}

/// The contract as tests: call it with a way to open the same store again and again (for a store in files, from its
/// files). Panics where the contract is broken.
pub fn contract<S: Store>(mut open: impl FnMut() -> S) {
    let line = |text: &str| Line { json: text.into(), hash: Line::hash(text) };
    let release = (Digest([1; 32]), &b"bytes"[..]);
    let sighting = Sighting { checkpoint: "c".into(), identity: None, by: "b".into(), time: "t".into() };
    let earlier = Sighting { identity: Some(PublicIdentity([7; 32])), ..sighting.clone() };
    let mut store = open();
    assert!(store.entries().unwrap().is_empty() && store.checkpoints().unwrap().is_empty());
    assert!(store.sightings().unwrap().is_empty());
    store.append(1, &line("one"), None).unwrap();
    store.append(2, &line("two"), Some(release)).unwrap();
    assert_eq!(store.entries_after(1).unwrap(), [line("two")]);
    assert!(store.entries_after(2).unwrap().is_empty() && store.entries_after(9).unwrap().is_empty());
    store.append_checkpoint("a checkpoint").unwrap();
    store.append_sighting(&sighting).unwrap();
    store.append_sighting(&earlier).unwrap();
    assert!(store.append(2, &line("fork"), None).is_err(), "an entry is never replaced");
    assert!(store.append(4, &line("gap"), None).is_err(), "no entry is left out");
    assert!(store.append(3, &line("three"), Some((release.0, b"others"))).is_err(), "bytes are never replaced");
    let store = {
        drop(store);
        open()
    };
    let entries = store.entries().unwrap();
    if !entries.is_empty() {
        // A store that survives being opened again. What failed left nothing behind.
        assert_eq!(entries, [line("one"), line("two")]);
        assert_eq!(store.release(release.0).unwrap().as_deref(), Some(release.1));
        assert_eq!(store.release(Digest::ZERO).unwrap(), None);
        assert_eq!(store.checkpoints().unwrap(), ["a checkpoint"]);
        assert_eq!(store.sightings().unwrap(), [sighting, earlier]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        contract(Memory::default);
    }
}
