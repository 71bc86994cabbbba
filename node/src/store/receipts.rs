//! This node's parts of receipts: its checkpoint when it joined, and what it has signed in the end.

use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::receipt::{Part, canonical};
use entente_protocols::ledger::store::StoreError;
use rusqlite::{OptionalExtension, params};

use super::database::{read, written};
use super::studies::StudyStore;

impl StudyStore {
    /// Keeps the checkpoint with which an attempt was joined.
    pub fn put_before(&self, attempt: &AttemptId, before: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO receipts (study, attempt, before) VALUES (?1, ?2, ?3)";
        self.0.execute(sql, params![attempt.study, attempt.number, before]).map(drop).map_err(written)
    }

    /// The checkpoint with which an attempt was joined.
    pub fn before(&self, attempt: &AttemptId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT before FROM receipts WHERE study = ?1 AND attempt = ?2";
        self.0.query_row(sql, params![attempt.study, attempt.number], |row| row.get(0)).optional().map_err(read)
    }

    /// The statement of an attempt that this node has signed.
    pub fn receipt(&self, attempt: &AttemptId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT statement FROM receipts WHERE study = ?1 AND attempt = ?2";
        let found = self.0.query_row(sql, params![attempt.study, attempt.number], |row| row.get(0)).optional();
        Ok(found.map_err(read)?.flatten())
    }

    /// Keeps a statement with this node's signature of it.
    pub fn put_receipt(&self, attempt: &AttemptId, statement: &str, part: &Part) -> Result<(), StoreError> {
        let sql = "UPDATE receipts SET statement = ?3, part = ?4 WHERE study = ?1 AND attempt = ?2";
        self.0
            .execute(sql, params![attempt.study, attempt.number, statement, canonical(part)])
            .map(drop)
            .map_err(written)
    }
}
