//! What must hold of every frame that a node says, and of its ledger after every step.

use std::collections::{BTreeMap, HashMap, HashSet};

use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::{Entry, State};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::Contribution;
use memchr::memmem;

/// What nobody but its node may ever see.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new(secrets: Vec<String>) -> Self {
        Self(secrets)
    }

    /// Whether there is one in these bytes.
    fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|secret| memmem::find(bytes, secret.as_bytes()).is_some())
    }
}

/// A release: the round, and the transcript under which its vector is masked.
type Release = (Digest, u32);

/// What was seen of one node.
pub(super) struct Watched {
    secrets: Secrets,
    /// Its ledger as it is on the disk.
    entries: u64,
    spent: Rho,
    charges: HashMap<Release, Rho>,
    computed: HashSet<Release>,
    /// The vectors that it has sent, each once.
    sent: BTreeMap<Release, Vec<i64>>,
}

impl Watched {
    pub(super) fn new(secrets: Secrets) -> Self {
        let (charges, computed, sent) = Default::default();
        Self { secrets, entries: 0, spent: Rho::ZERO, charges, computed, sent }
    }

    /// Reads what the ledger has more than before: no more is ever spent than the cap.
    pub(super) fn read(&mut self, store: &LedgerStore) -> Result<(), String> {
        for line in store.some_after(self.entries, usize::MAX >> 1).map_err(|error| error.to_string())? {
            let entry: Entry = line.entry().map_err(|error| error.to_string())?;
            self.entries += 1;
            if entry.sequence != self.entries {
                return Err(format!("entry {} follows {}", entry.sequence, self.entries - 1));
            }
            let Some(record) = entry.study() else { continue };
            let account = &record.account;
            if account.spent_after > account.cap {
                return Err(format!("entry {} spends {} of {}", entry.sequence, account.spent_after, account.cap));
            }
            self.spent = account.spent_after;
            let (Some(transcript), Some(round)) = (record.transcript, record.round) else { continue };
            let release = (transcript, round);
            let is_again = match entry.state() {
                State::Reserved => self.charges.insert(release, record.charge()).is_some(),
                State::Computed => !self.computed.insert(release),
                _ => false,
            };
            if is_again {
                return Err(format!("entry {} is of a release that was {:?} before", entry.sequence, entry.state()));
            }
        }
        Ok(())
    }

    /// The same after a crash: what was there before is there still.
    pub(super) fn read_again(&mut self, folder: &Folder) -> Result<LedgerStore, String> {
        let store = open(folder)?;
        let (before, spent) = (std::mem::take(&mut self.entries), self.spent);
        self.charges.clear();
        self.computed.clear();
        self.read(&store)?;
        if self.entries < before || self.spent < spent {
            return Err(format!("its ledger had {before} entries, and has {} after a crash", self.entries));
        }
        Ok(store)
    }

    /// A frame leaves the node; its ledger has been read.
    pub(super) fn says(&mut self, frame: &Frame, bytes: &[u8], contributors: usize) -> Result<(), String> {
        if self.secrets.are_in(bytes) {
            return Err("a frame names a customer".into());
        }
        if !frame.is_contribution() {
            return Ok(());
        }
        let Contribution { transcript, round, values, attempt } =
            frame.decode_contribution().map_err(|error| error.to_string())?;
        let release = (transcript, round);
        let about = format!("the vector of {attempt}, round {round}");
        if !self.charges.contains_key(&release) || !self.computed.contains(&release) {
            return Err(format!("{about}, leaves without a charge, or before it is stored"));
        }
        if contributors > 1 && values.len() >= 4 {
            // By chance for uniform numbers: 2^-23 each, so 2^-92 for four.
            let is_small = |value: i64| value.unsigned_abs() < 1 << 40;
            if values.iter().all(|value| is_small(*value)) {
                return Err(format!("{about}, is not masked"));
            }
            let apart = |other: &Vec<i64>| other.iter().zip(&values).all(|(a, b)| is_small(a.wrapping_sub(*b)));
            if self.sent.iter().any(|(other, sent)| *other != release && sent.len() == values.len() && apart(sent)) {
                return Err(format!("{about}, is masked like another"));
            }
        }
        if self.sent.get(&release).is_some_and(|sent| *sent != values) {
            return Err(format!("{about}, is not the one that was sent before"));
        }
        self.sent.insert(release, values);
        let released: Rho = self.sent.keys().map(|release| self.charges[release]).sum();
        if released > self.spent {
            return Err(format!("{released} is released, and {} charged", self.spent));
        }
        Ok(())
    }

    /// The numbers of all vectors that were sent.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i64> {
        self.sent.values().flatten().copied()
    }
}

/// A node's ledger, to read from beside it.
pub(super) fn open(folder: &Folder) -> Result<LedgerStore, String> {
    LedgerStore::open_read_only(&folder.state("ledger.sqlite")).map_err(|error| error.to_string())
}
