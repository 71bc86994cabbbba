//! Rows on their way into [`Customers`]: packed values ─▶ blocks of codes, in memory or, where that is full, in a file.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use entente_host::locks::{into_inner, lock};
use entente_protocols::privacy::rows::{Block, Column};

use super::labels::Labels;
use super::{Customers, Held, Part, Stored, to_bytes};
use crate::data::options::Options;
use crate::data::room::Room;
use crate::data::rows::features::unpacked;
use crate::data::spill::SpillFile;

/// Where all threads put their blocks.
pub(crate) struct Blocks {
    columns: Arc<[Column]>,
    labels: Labels<Option<usize>>,
    room: Room,
    file: Mutex<Option<SpillFile>>,
    folder: PathBuf,
}

impl Blocks {
    /// No block yet. `columns` are the meanings of all outputs that are features, `labels` are the others.
    pub(crate) fn new(columns: Vec<Column>, labels: Labels<Option<usize>>, options: &Options) -> Self {
        Self {
            columns: columns.into(),
            labels,
            room: options.customers.clone(),
            file: Mutex::new(None),
            folder: options.spill.clone(),
        }
    }

    /// Codes of a row.
    pub(crate) fn outputs(&self) -> usize {
        self.columns.len() + self.labels.count()
    }

    /// The customers of these blocks, which were all put here; by role, in the order of [`Role`](super::Role).
    pub(crate) fn finish(self, parts: [Part; 2]) -> Customers {
        Customers::new(self.columns, self.labels.map(Option::is_some), parts, into_inner(self.file), self.folder)
    }

    /// Puts rows, by their packed values, into memory or, where that is full, into the file.
    pub(crate) fn store(&self, rows: &[i64]) -> io::Result<Stored> {
        let width = self.outputs().div_ceil(4);
        let codes = |output: usize| rows.chunks_exact(width).map(|row| unpacked(row, output)).collect::<Vec<u16>>();
        let features = (0..self.outputs()).filter(|output| !self.labels.contain(*output));
        let features: Vec<Vec<u16>> = features.map(codes).collect();
        let labels = self.labels.map(|output| output.map(codes).unwrap_or_default());
        let rows = rows.len() / width;
        // A norm beside the codes.
        let bytes = rows * (2 * self.outputs() + 4);
        if let Some(taken) = self.room.take(bytes) {
            let block = Block::new(self.columns.clone(), features)
                .ok_or_else(|| io::Error::other("a block has other columns than its plan"))?;
            return Ok(Stored::Memory(Box::new(Held { block, labels, _taken: taken })));
        }
        let bytes = to_bytes(features.iter().chain(labels.each()));
        let mut file = lock(&self.file);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(SpillFile::create(&self.folder)?),
        };
        Ok(Stored::File { at: file.append_bytes(&bytes)?, rows })
    }
}
