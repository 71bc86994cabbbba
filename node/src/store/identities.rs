//! The contents of files by their stamps, so that a file is read for them once.

use std::path::Path;

use entente_protocols::digest::Digest;
use entente_protocols::ledger::store::StoreError;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{open, read, written};
use crate::data::Stamp;

/// What is known of files. Losing it costs reading them again, and nothing else.
pub struct IdentityStore(Connection);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS files (device TEXT NOT NULL, number TEXT NOT NULL, bytes TEXT NOT NULL, modified INTEGER NOT NULL,
    changed INTEGER NOT NULL, contents TEXT NOT NULL, PRIMARY KEY (device, number, bytes, modified, changed)) STRICT, WITHOUT ROWID;
";

impl IdentityStore {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open(path, SCHEMA).map(Self)
    }

    /// The contents of the file that had this stamp, where they are known.
    pub fn contents(&self, stamp: &Stamp) -> Result<Option<Digest>, StoreError> {
        let sql = "SELECT contents FROM files WHERE device = ?1 AND number = ?2 AND bytes = ?3 AND modified = ?4 AND changed = ?5";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let Stamp { device, number, bytes, modified, changed } = *stamp;
        let row = params![device.to_string(), number.to_string(), bytes.to_string(), modified, changed];
        let contents: Option<String> = select.query_row(row, |row| row.get(0)).optional().map_err(read)?;
        contents.map(|contents| contents.parse().map_err(read)).transpose()
    }

    /// Keeps the contents of a file, in the place of what it was before.
    pub fn keep(&mut self, stamp: &Stamp, contents: Digest) -> Result<(), StoreError> {
        let Stamp { device, number, bytes, modified, changed } = *stamp;
        let (device, number) = (device.to_string(), number.to_string());
        let transaction = self.0.transaction().map_err(written)?;
        let before = "DELETE FROM files WHERE device = ?1 AND number = ?2";
        transaction.execute(before, params![device, number]).map_err(written)?;
        let sql =
            "INSERT INTO files (device, number, bytes, modified, changed, contents) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let row = params![device, number, bytes.to_string(), modified, changed, contents.to_string()];
        transaction.execute(sql, row).map_err(written)?;
        transaction.commit().map_err(written)
    }
}
