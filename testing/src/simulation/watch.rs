//! What must hold of every frame that a node says, and of its ledger after every step.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::{Entry, Record, State};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{Contribution, FromAttempt, FromNode};
use memchr::memmem;

use super::same::Same;

/// How unlikely it is, as a power of two, that a masked vector looks as if it were not masked. 10^4 alliances send fewer than 2^19,
/// each held against fewer than 2^6 others: a false alarm has a probability below 2^-31, which is 1e-9.
const UNLIKELY: u32 = 56;

/// What nobody but its node may ever see.
#[derive(Default)]
pub(super) struct Secrets {
    /// As they are written: who the customers are, and what they have spent.
    pub(super) words: Vec<String>,
    /// What they have spent, as numbers.
    pub(super) numbers: Vec<f64>,
}

impl Secrets {
    /// Whether there is one in these bytes; as a number, where these were not sealed: by chance, eight bytes of ten thousand
    /// alliances' frames are one of a node's numbers with a probability below 1e-9.
    fn are_in(&self, bytes: &[u8], is_sealed: bool) -> bool {
        let is_in = |secret: &[u8]| memmem::find(bytes, secret).is_some();
        self.words.iter().any(|secret| is_in(secret.as_bytes()))
            || !is_sealed && self.numbers.iter().any(|secret| is_in(&secret.to_le_bytes()))
    }
}

/// A release: the round, and the transcript under which its vector is masked.
type Release = (Digest, u32);

/// What was seen of one node.
pub(super) struct Watched {
    secrets: Secrets,
    pub(super) same: Same,
    /// Its ledger as it is on the disk.
    entries: u64,
    spent: Rho,
    /// What was charged, and the entry that says so.
    charges: HashMap<Release, (Rho, u64)>,
    /// What a study was charged for.
    studies: HashMap<String, Rho>,
    /// The witnesses that are recorded to be away, for longer than a simulation takes.
    pub(super) away: BTreeSet<String>,
    computed: HashSet<Release>,
    /// The vectors that it has sent, each once, and how many contributed to their sums.
    sent: BTreeMap<Release, (Vec<i64>, usize)>,
    /// After an older state of the node was put back: how many entries that had, if vectors had left that were charged since.
    behind: Option<u64>,
}

impl Watched {
    pub(super) fn new(name: &'static str, secrets: Secrets) -> Self {
        let (charges, studies, away, computed, sent) = Default::default();
        Self {
            secrets,
            same: Same::new(name),
            entries: 0,
            spent: Rho::ZERO,
            charges,
            studies,
            away,
            computed,
            sent,
            behind: None,
        }
    }

    /// Reads what the ledger has more than before: no more is ever spent than the cap.
    pub(super) fn read(&mut self, store: &LedgerStore) -> Result<(), String> {
        for line in store.some_after(self.entries, usize::MAX >> 1).map_err(|error| error.to_string())? {
            let entry: Entry = line.entry().map_err(|error| error.to_string())?;
            self.entries += 1;
            if entry.sequence != self.entries {
                return Err(format!("entry {} follows {}", entry.sequence, self.entries - 1));
            }
            if let Record::Away(away) = &entry.record {
                self.away.insert(away.partner.clone());
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
                State::Reserved => {
                    let of_study = self.studies.entry(record.study.id.clone()).or_default();
                    *of_study = of_study.plus(record.charge());
                    self.charges.insert(release, (record.charge(), entry.sequence)).is_some()
                }
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
        let (before, spent) = (self.entries, self.spent);
        let store = self.read_anew(folder)?;
        if self.entries < before || self.spent < spent {
            return Err(format!("its ledger had {before} entries, and has {} after a crash", self.entries));
        }
        Ok(store)
    }

    fn read_anew(&mut self, folder: &Folder) -> Result<LedgerStore, String> {
        let store = open(folder)?;
        (self.entries, self.spent) = (0, Rho::ZERO);
        self.charges.clear();
        self.studies.clear();
        self.computed.clear();
        self.read(&store)?;
        Ok(store)
    }

    /// The same after an older state of the node was put back: from now on nothing leaves that is charged now, if something had
    /// left that was charged since then.
    pub(super) fn put_back(&mut self, folder: &Folder) -> Result<(), String> {
        let sent = self.last_sent();
        self.read_anew(folder)?;
        self.same.forget();
        if sent > self.entries {
            self.behind = Some(self.behind.map_or(self.entries, |behind| behind.min(self.entries)));
        }
        Ok(())
    }

    /// How many entries its ledger has.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The entry that charged for the last vector that has left.
    pub(super) fn last_sent(&self) -> u64 {
        self.sent.keys().filter_map(|release| self.charges.get(release)).map(|(_, entry)| *entry).max().unwrap_or(0)
    }

    /// Whether an older state of the node was put back, and vectors had left that were charged since.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What a study was charged for here.
    pub(super) fn charged(&self, study: &str) -> Rho {
        self.studies.get(study).copied().unwrap_or(Rho::ZERO)
    }

    /// A frame leaves the node; its ledger has been read. `contributors` are as many as an attempt has.
    pub(super) fn says(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        contributors: impl Fn(&AttemptId) -> Option<usize>,
    ) -> Result<(), String> {
        let said: Option<FromNode> = if frame.is_contribution() { None } else { frame.decode().ok() };
        let is_sealed = matches!(said, Some(FromNode::Attempt(_, FromAttempt::Relay { .. })));
        if self.secrets.are_in(bytes, is_sealed) {
            return Err("a frame tells of a customer".into());
        }
        if let Some(FromNode::Attempt(attempt, said)) = &said {
            return self.same.says(attempt, said);
        }
        if !frame.is_contribution() {
            return Ok(());
        }
        let contribution = frame.decode_contribution().map_err(|error| error.to_string())?;
        let contributors = contributors(&contribution.attempt).ok_or("a vector leaves that nobody has asked for")?;
        self.contributes(contribution, contributors)
    }

    fn contributes(&mut self, contribution: Contribution, contributors: usize) -> Result<(), String> {
        let Contribution { transcript, round, values, attempt } = contribution;
        let release = (transcript, round);
        let about = format!("the vector of {attempt}, round {round}");
        let charge = self.charges.get(&release).filter(|_| self.computed.contains(&release));
        let Some((_, entry)) = charge else {
            return Err(format!("{about}, leaves without a charge, or before it is stored"));
        };
        if self.behind.is_some_and(|behind| *entry > behind) {
            return Err(format!("{about}, leaves, though its ledger was put back to an older state"));
        }
        if contributors > 1 {
            let others = self.sent.iter().filter(|(other, (sent, _))| **other != release && sent.len() == values.len());
            is_masked(&values, others.map(|(_, (sent, _))| &sent[..])).map_err(|why| format!("{about}, {why}"))?;
        }
        if self.sent.get(&release).is_some_and(|(sent, _)| *sent != values) {
            return Err(format!("{about}, is not the one that was sent before"));
        }
        self.sent.insert(release, (values, contributors));
        let charges = self.sent.keys().filter_map(|release| self.charges.get(release));
        let released: Rho = charges.map(|(charge, _)| *charge).sum();
        if released > self.spent {
            return Err(format!("{released} is released, and {} charged", self.spent));
        }
        Ok(())
    }

    /// By which entry the vector in a frame was charged, if it is one.
    pub(super) fn charged_by(&self, frame: &Frame) -> Option<u64> {
        let Contribution { transcript, round, .. } = frame.decode_contribution().ok()?;
        self.charges.get(&(transcript, round)).map(|(_, entry)| *entry)
    }

    /// All vectors that were sent, and how many contributed to their sums.
    pub(super) fn sent(&self) -> impl Iterator<Item = (&Release, &[i64], usize)> {
        self.sent.iter().map(|(release, (values, contributors))| (release, &values[..], *contributors))
    }

    /// The numbers of all masked vectors that were sent.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i64> {
        self.sent().filter(|(.., contributors)| *contributors > 1).flat_map(|(_, values, _)| values.iter().copied())
    }
}

/// Whether a vector is as small as sums over few customers are. A uniform one is with a probability of 2^-[`UNLIKELY`] at most.
pub(super) fn is_small(values: &[i64]) -> bool {
    let bits = 63_u32.saturating_sub(UNLIKELY.div_ceil(u32::try_from(values.len()).unwrap_or(u32::MAX).max(1)));
    !values.is_empty() && values.iter().all(|value| value.unsigned_abs() < 1 << bits)
}

/// Why a vector is not masked, or masked like one of these others.
fn is_masked<'v>(values: &[i64], mut others: impl Iterator<Item = &'v [i64]>) -> Result<(), &'static str> {
    let apart = |other: &[i64]| other.iter().zip(values).map(|(a, b)| a.wrapping_sub(*b)).collect::<Vec<_>>();
    if is_small(values) {
        return Err("is not masked");
    }
    if others.any(|other| is_small(&apart(other))) { Err("is masked like another") } else { Ok(()) }
}

/// A node's ledger, to read from beside it.
pub(super) fn open(folder: &Folder) -> Result<LedgerStore, String> {
    LedgerStore::open_read_only(&folder.state("ledger.sqlite")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    #[test]
    fn what_is_not_masked_is_told_from_two_numbers_on() {
        let mut choices = Choices::new(1, [2]);
        let mut uniform = |count: usize| -> Vec<i64> { (0..count).map(|_| choices.next().cast_signed()).collect() };
        for count in [2, 3, 8, 100] {
            let (mask, other) = (uniform(count), uniform(count));
            let plain: Vec<i64> = (0..).map(|number| number * 1_000_003 - 70_000_000).take(count).collect();
            let masked: Vec<i64> = plain.iter().zip(&mask).map(|(plain, mask)| plain.wrapping_add(*mask)).collect();
            assert_eq!(is_masked(&plain, [].into_iter()), Err("is not masked"), "{count}");
            assert_eq!(is_masked(&masked, [&other[..]].into_iter()), Ok(()), "{count}");
            let like = [&other[..], &mask];
            assert_eq!(is_masked(&masked, like.into_iter()), Err("is masked like another"), "{count}");
        }
    }

    #[test]
    fn customers_are_found_as_words_and_as_numbers() {
        let secrets = Secrets { words: vec!["0123456789abcdef".into()], numbers: vec![1_234.567_890_123] };
        assert!(secrets.are_in(b"..0123456789abcdef..", true) && !secrets.are_in(b"..0123456789abcde...", false));
        let number = [&b"..."[..], &1_234.567_890_123_f64.to_le_bytes()].concat();
        assert!(secrets.are_in(&number, false) && !secrets.are_in(&number, true));
    }
}
