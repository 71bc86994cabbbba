//! The newest checkpoint of each other node, as this one has witnessed it, under each identity that it has had.

use std::path::Path;

use entente_protocols::identity::PublicIdentity;
use entente_protocols::ledger::Checkpoint;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::privacy::rho::Rho;
use rusqlite::{Connection, OptionalExtension, params};

use super::{open, read, written};

/// What this node has witnessed of others. By identity: a partner that enrols anew begins a new ledger, which takes over what the one
/// before had spent.
pub struct WitnessStore(Connection);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS witnessed (identity TEXT PRIMARY KEY, node TEXT NOT NULL, entries INTEGER NOT NULL,
    checkpoint TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS taken_over (identity TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

impl WitnessStore {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open(path, SCHEMA).map(Self)
    }

    /// The newest checkpoint of the node with this identity, with this node's cosignature.
    pub fn newest(&self, identity: &PublicIdentity) -> Result<Option<Checkpoint>, StoreError> {
        let sql = "SELECT checkpoint FROM witnessed WHERE identity = ?1";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let note: Option<String> =
            select.query_row([identity.to_string()], |row| row.get(0)).optional().map_err(read)?;
        note.map(|note| Checkpoint::parse(&note).map_err(read)).transpose()
    }

    /// The newest checkpoints of all nodes that it has witnessed, by name.
    pub fn all(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let mut select = self.0.prepare("SELECT checkpoint FROM witnessed ORDER BY node, identity").map_err(read)?;
        let notes: Result<Vec<String>, _> = select.query_map([], |row| row.get(0)).and_then(Iterator::collect);
        notes.map_err(read)?.iter().map(|note| Checkpoint::parse(note).map_err(read)).collect()
    }

    /// What is kept of other identities that a node of this name had, where their ledgers have spent anything that was not taken over.
    pub fn earlier(
        &self,
        node: &str,
        identity: &PublicIdentity,
    ) -> Result<Vec<(PublicIdentity, Checkpoint)>, StoreError> {
        let sql = "SELECT identity, checkpoint FROM witnessed WHERE node = ?1 AND identity <> ?2
            AND identity NOT IN (SELECT identity FROM taken_over) ORDER BY identity";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let rows = select.query_map([node, &identity.to_string()], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Result<Vec<(String, String)>, _> = rows.and_then(Iterator::collect);
        let parse = |(identity, note): (String, String)| {
            Ok((identity.parse().map_err(read)?, Checkpoint::parse(&note).map_err(read)?))
        };
        let kept: Result<Vec<(PublicIdentity, Checkpoint)>, StoreError> =
            rows.map_err(read)?.into_iter().map(parse).collect();
        let has_spent = |(_, kept): &(PublicIdentity, Checkpoint)| {
            kept.statement().accounts.values().any(|totals| totals.spent.max(totals.person) > Rho::ZERO)
        };
        Ok(kept?.into_iter().filter(has_spent).collect())
    }

    /// What this identity's ledger had spent is in that of another identity now.
    pub fn taken_over(&self, identity: &PublicIdentity) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO taken_over (identity) VALUES (?1)";
        self.0.execute(sql, [identity.to_string()]).map(drop).map_err(written)
    }

    /// Keeps a checkpoint in the place of an older one. It is on the disk when this returns.
    pub fn keep(&self, node: &str, identity: &PublicIdentity, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO witnessed (identity, node, entries, checkpoint) VALUES (?1, ?2, ?3, ?4)";
        let row = params![identity.to_string(), node, checkpoint.statement().size, checkpoint.to_string()];
        self.0.prepare_cached(sql).and_then(|mut insert| insert.execute(row)).map(drop).map_err(written)
    }
}
