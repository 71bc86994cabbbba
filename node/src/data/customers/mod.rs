//! The rows of a features query, one a customer, as compact columns that training goes over again and again.
//!
//! ```text
//! Scan ─▶ [features] codes ─▶ Bounding ─▶ [training_rows] one row? role? ─▶ blocks in memory, then in a file ─▶ fold
//! ```
//!
//! They are rows of real customers and stay inside the node: what leaves it are sums that
//! [`Bounded`](entente_protocols::privacy::bounds::Bounded) stands for.

pub(super) mod blocks;
pub(super) mod candidate_rows;
pub(super) mod candidates;
pub(super) mod labels;
pub(super) mod training_rows;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use entente_protocols::learn::frame::Role;
use entente_protocols::privacy::rows::{Block, Column};
use rayon::prelude::*;

use crate::data::error::DataError;
use crate::data::room::Taken;
use crate::data::spill::SpillFile;
use labels::Labels;

/// What becomes of the rows of a features query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Which output is the target. Rows whose code of it is 0 are left out, before a customer's rows are counted.
    pub target: Option<usize>,
    /// Which output says how much a customer counts, if one does.
    pub weight: Option<usize>,
    /// How many customers per million are held out.
    pub holdout: u32,
    /// Another seed gives another choice of held-out customers.
    pub seed: u64,
}

impl Split {
    /// The outputs that are no features.
    pub(crate) fn labels(&self) -> Labels<Option<usize>> {
        Labels { target: self.target, weight: self.weight, ..Labels::default() }
    }
}

/// One output's codes of some customers.
type Codes = Vec<u16>;

/// Customers, one row each, in blocks without any order.
pub struct Customers {
    columns: Arc<[Column]>,
    /// Which labels there are.
    labels: Labels<bool>,
    /// In the order of [`Role`].
    parts: [Part; 2],
    file: Option<SpillFile>,
    folder: PathBuf,
}

impl Customers {
    pub(crate) fn new(
        columns: Arc<[Column]>,
        labels: Labels<bool>,
        parts: [Part; 2],
        file: Option<SpillFile>,
        folder: PathBuf,
    ) -> Self {
        Self { columns, labels, parts, file, folder }
    }

    /// The number of customers of a role.
    pub fn len(&self, role: Role) -> u64 {
        self.parts[role as usize].rows
    }

    /// Whether there is no customer of a role.
    pub fn is_empty(&self, role: Role) -> bool {
        self.len(role) == 0
    }

    /// What the columns of all blocks mean: the outputs of the plan that are features, in order.
    pub fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// Runs `each` over all blocks of a role, with the codes of their labels (none where there is no such label), on rayon's
    /// threads, with one accumulator a thread, and merges these.
    ///
    /// Which block meets which accumulator, and the order of both, differ from run to run.
    ///
    /// # Errors
    ///
    /// [`DataError::Failed`] where blocks cannot be read back from their file.
    pub fn fold<S: Send>(
        &self,
        role: Role,
        new: impl Fn() -> S + Sync,
        each: impl Fn(&mut S, &Block, &Labels<Vec<u16>>) + Sync,
        merge: impl Fn(S, S) -> S + Sync + Send,
    ) -> Result<S, DataError> {
        // Not rayon's own fold, which makes an accumulator for each piece it cuts: they can be large.
        let next = AtomicUsize::new(0);
        let work = |_| -> io::Result<S> {
            let mut state = new();
            let mut more = true;
            while more {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let visited = self.visit(role, number, |block, labels| each(&mut state, block, labels));
                more = visited?.is_some();
            }
            Ok(state)
        };
        let tasks = rayon::current_num_threads().min(self.blocks(role));
        let folded = (0..tasks).into_par_iter().with_max_len(1).map(work).try_reduce_with(|a, b| Ok(merge(a, b)));
        folded.unwrap_or_else(|| Ok(new())).map_err(DataError::opaque)
    }

    /// The number of blocks of a role.
    pub(crate) fn blocks(&self, role: Role) -> usize {
        self.parts[role as usize].blocks.len()
    }

    /// Gives a block, by its number, and the codes of its labels to `f`; `None` if there is no such block.
    pub(crate) fn visit<T>(
        &self,
        role: Role,
        number: usize,
        f: impl FnOnce(&Block, &Labels<Vec<u16>>) -> T,
    ) -> io::Result<Option<T>> {
        match self.parts[role as usize].blocks.get(number) {
            None => Ok(None),
            Some(Stored::Memory(held)) => Ok(Some(f(&held.block, &held.labels))),
            Some(Stored::File { at, rows }) => {
                let (codes, labels) = self.read(*at, *rows)?;
                Ok(Some(f(&block(&self.columns, codes)?, &labels)))
            }
        }
    }

    /// Replaces the codes of every column by table look-up: `tables[column]` has 65536 entries; `columns` says what the
    /// new codes mean. The codes of labels stay.
    ///
    /// # Errors
    ///
    /// [`DataError::Failed`] where a table is missing or not of that size, or a file cannot be read or written; then
    /// everything is as it was.
    pub fn recode(&mut self, columns: Arc<[Column]>, tables: &[Vec<u16>]) -> Result<(), DataError> {
        let counts = [columns.len(), tables.len()];
        if counts != [self.columns.len(); 2] || tables.iter().any(|table| table.len() != 1 << 16) {
            return Err(DataError::opaque("a recoding has not one table of 65536 codes for each column"));
        }
        self.file = self.recoded_file(tables).map_err(DataError::opaque)?;
        let stored = self.parts.par_iter_mut().flat_map(|part| part.blocks.par_iter_mut());
        let recoded = stored.try_for_each(|stored| {
            if let Stored::Memory(held) = stored {
                let old = &held.block;
                let codes = tables.iter().enumerate().map(|(column, table)| looked_up(table, old.codes(column)));
                held.block = block(&columns, codes.collect())?;
            }
            Ok(())
        });
        // Cannot fail: blocks keep their shape, which was checked.
        recoded.map_err(|error: io::Error| DataError::opaque(error))?;
        self.columns = columns;
        Ok(())
    }

    /// The file with all codes replaced. Blocks keep their places in it, since they keep their sizes.
    fn recoded_file(&self, tables: &[Vec<u16>]) -> io::Result<Option<SpillFile>> {
        if self.file.is_none() {
            return Ok(None);
        }
        let in_file = self.parts.iter().flat_map(|part| &part.blocks).filter_map(|stored| match stored {
            Stored::Memory(_) => None,
            Stored::File { at, rows } => Some((*at, *rows)),
        });
        let mut places: Vec<(u64, usize)> = in_file.collect();
        places.sort_unstable();
        let mut file = SpillFile::create(&self.folder)?;
        for (at, rows) in places {
            let (mut codes, labels) = self.read(at, rows)?;
            for (codes, table) in codes.iter_mut().zip(tables) {
                *codes = looked_up(table, codes);
            }
            if file.append_bytes(&to_bytes(codes.iter().chain(labels.each())))? != at {
                return Err(io::Error::other("a file of customers has gaps"));
            }
        }
        Ok(Some(file))
    }

    /// The codes of a block in the file, column by column, and those of its labels.
    fn read(&self, at: u64, rows: usize) -> io::Result<(Vec<Codes>, Labels<Codes>)> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the file of customers is not there"))?;
        let width = self.columns.len() + self.labels.each().into_iter().filter(|there| **there).count();
        let mut bytes = vec![0; 2 * rows * width];
        file.read_at(at, &mut bytes)?;
        let column = |bytes: &[u8]| bytes.as_chunks::<2>().0.iter().map(|code| u16::from_le_bytes(*code)).collect();
        let mut codes: Vec<Vec<u16>> = bytes.chunks_exact(2 * rows).map(column).collect();
        let mut behind = codes.split_off(self.columns.len()).into_iter();
        let labels = self.labels.map(|there| if *there { behind.next().unwrap_or_default() } else { Vec::new() });
        Ok((codes, labels))
    }
}

/// The customers of one role.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) blocks: Vec<Stored>,
    pub(crate) rows: u64,
}

impl Part {
    pub(crate) fn push(&mut self, stored: Stored) {
        self.rows += match &stored {
            Stored::Memory(held) => held.block.rows(),
            Stored::File { rows, .. } => *rows,
        } as u64;
        self.blocks.push(stored);
    }
}

/// Where a block is.
pub(crate) enum Stored {
    Memory(Box<Held>),
    /// At this byte of the file: the columns' codes, then those of the labels.
    File {
        at: u64,
        rows: usize,
    },
}

/// A block in memory, and the room that it takes.
pub(crate) struct Held {
    pub(crate) block: Block,
    pub(crate) labels: Labels<Vec<u16>>,
    pub(crate) _taken: Taken,
}

/// How codes are written to files.
pub(crate) fn to_bytes<'c>(columns: impl Iterator<Item = &'c Vec<u16>>) -> Vec<u8> {
    columns.flatten().flat_map(|code| code.to_le_bytes()).collect()
}

fn block(columns: &Arc<[Column]>, codes: Vec<Vec<u16>>) -> io::Result<Block> {
    Block::new(columns.clone(), codes).ok_or_else(|| io::Error::other("a block has other columns than its customers"))
}

fn looked_up(table: &[u16], codes: &[u16]) -> Vec<u16> {
    codes.iter().map(|&code| table[usize::from(code)]).collect()
}

#[cfg(test)]
pub(crate) mod tests;
