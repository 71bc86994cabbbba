//! What a node keeps: the ledger, the studies it takes part in, others' checkpoints that it witnesses, whom it contacted, and what
//! files of its data sets contain; five SQLite databases in its state folder.
//!
//! `ledger.sqlite` can be opened with ordinary tools; its view `log` shows the entries as columns. Triggers forbid
//! changing, deleting or replacing anything in it, whatever program opens it; who can write the file can drop them, and is found by the
//! entries' hashes and by what witnesses hold. `studies.sqlite` holds what a study needs to go on after a restart, but for ephemeral keys,
//! which are files ([`EphemeralStore`]) and are deleted once the study's vectors are stored; all are opened by [`sqlite`], so that what was
//! written is on the disk when a call returns.

pub mod attempts;
mod contacts;
mod database;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a key is a file, so that what is deleted is gone"
)]
mod ephemeral;
pub mod holds;
mod identities;
mod models;
mod receipts;
mod sessions;
mod studies;
mod witnessed;

use std::path::Path;

use entente_host::sqlite;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::line::Line;
use entente_protocols::ledger::office::Sighting;
use entente_protocols::ledger::store::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

pub use contacts::{ContactCap, ContactStore, Export, Recorded};
pub use ephemeral::{EphemeralStore, OLDEST};
pub use identities::IdentityStore;
pub use models::StoredModel;
pub use studies::StudyStore;
pub use witnessed::WitnessStore;

use database::{open, read, unopened, written};

/// The ledger's entries, stored vectors, checkpoints and sightings, in SQLite. Several processes can have it open: an entry's sequence
/// is taken once.
pub struct LedgerStore(Connection);

const LEDGER_SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outbox (release TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (number INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sightings (number INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL, by TEXT NOT NULL, time TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS earlier (number INTEGER PRIMARY KEY, identity TEXT NOT NULL, checkpoint TEXT NOT NULL, by TEXT NOT NULL,
    time TEXT NOT NULL) STRICT;
CREATE VIEW IF NOT EXISTS log AS SELECT sequence,
    entry ->> '$.time' AS time, entry ->> '$.state' AS state, entry ->> '$.dataset' AS dataset,
    entry ->> '$.study.id' AS study, entry ->> '$.study.name' AS name, entry ->> '$.study.purpose' AS purpose,
    CAST(COALESCE(entry ->> '$.by_year.accounts[0].charge', entry ->> '$.account.charge') AS INTEGER) AS charge_micro_rho,
    CAST(COALESCE(entry ->> '$.by_year.spent_all_time', entry ->> '$.account.spent_after') AS INTEGER) AS spent_micro_rho,
    CAST(entry ->> '$.account.cap' AS INTEGER) AS cap_micro_rho,
    entry ->> '$.approved_by' AS approved_by, COALESCE(entry ->> '$.officer', entry ->> '$.officers') AS officers,
    COALESCE(entry ->> '$.reason', entry ->> '$.text') AS reason, hash FROM entries ORDER BY sequence;
";

impl LedgerStore {
    /// Opens or makes the ledger's database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut schema = LEDGER_SCHEMA.to_owned();
        for (table, is_there) in [
            ("entries", "sequence = NEW.sequence"),
            ("outbox", "release = NEW.release OR rowid = NEW.rowid"),
            ("checkpoints", "number = NEW.number"),
            ("sightings", "number = NEW.number"),
            ("earlier", "number = NEW.number"),
        ] {
            // Where REPLACE deletes, a client of SQLite fires triggers of deletion only if it was asked to: insertion it cannot pass.
            let replaced = format!("WHEN EXISTS (SELECT 1 FROM {table} WHERE {is_there})");
            for (action, when) in [("UPDATE", ""), ("DELETE", ""), ("INSERT", &replaced)] {
                schema += &format!(
                    "CREATE TRIGGER IF NOT EXISTS {table}_no_{action} BEFORE {action} ON {table} {when} \
                     BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
                );
            }
        }
        open(path, &schema).map(Self)
    }

    /// Opens an existing ledger to read from it, beside a running node or without one.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        sqlite::open_read_only(path).map(Self).map_err(unopened)
    }

    fn column<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(sql).map_err(read)?;
        let rows = statement.query_map(parameters, row).map_err(read)?;
        rows.collect::<Result<_, _>>().map_err(read)
    }
}

impl LedgerStore {
    /// At most `count` entries behind number `sequence`, first to last.
    pub fn some_after(&self, sequence: u64, count: usize) -> Result<Vec<Line>, StoreError> {
        let sql = "SELECT hash, entry FROM entries WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let count = u64::try_from(count).unwrap_or(u64::MAX >> 1);
        let rows = self.column(sql, [sequence, count], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
        rows.into_iter().map(|(hash, json)| Ok(Line { hash: hash.parse().map_err(read)?, json })).collect()
    }

    /// The newest checkpoint that was kept, as a note.
    pub fn newest_checkpoint(&self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT checkpoint FROM checkpoints ORDER BY number DESC LIMIT 1";
        Ok(self.column(sql, [], |row| row.get(0))?.pop())
    }
}

impl Store for LedgerStore {
    fn entries_after(&self, sequence: u64) -> Result<Vec<Line>, StoreError> {
        let sql = "SELECT hash, entry FROM entries WHERE sequence > ?1 ORDER BY sequence";
        let rows = self.column(sql, [sequence], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
        rows.into_iter().map(|(hash, json)| Ok(Line { hash: hash.parse().map_err(read)?, json })).collect()
    }

    fn append(&mut self, sequence: u64, line: &Line, release: Option<(Digest, &[u8])>) -> Result<(), StoreError> {
        // Immediate: another writer between the look at the last sequence and the insertion would be an error that no waiting mends.
        let immediate = rusqlite::TransactionBehavior::Immediate;
        let transaction = self.0.transaction_with_behavior(immediate).map_err(written)?;
        let last: u64 = transaction
            .prepare_cached("SELECT COALESCE(MAX(sequence), 0) FROM entries")
            .and_then(|mut last| last.query_row([], |row| row.get(0)))
            .map_err(written)?;
        if sequence != last + 1 {
            return Err(written("an entry with this sequence exists, or one before it is missing"));
        }
        let sql = "INSERT INTO entries (sequence, hash, entry) VALUES (?1, ?2, ?3)";
        // Prepared once: that takes longer than what it does.
        transaction
            .prepare_cached(sql)
            .and_then(|mut insert| insert.execute(params![sequence, line.hash.to_string(), line.json]))
            .map_err(written)?;
        if let Some((release, bytes)) = release {
            let sql = "INSERT INTO outbox (release, bytes) VALUES (?1, ?2)";
            transaction
                .prepare_cached(sql)
                .and_then(|mut insert| insert.execute(params![release.to_string(), bytes]))
                .map_err(written)?;
        }
        transaction.commit().map_err(written)
    }

    fn release(&self, release: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM outbox WHERE release = ?1";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        select.query_row([release.to_string()], |row| row.get(0)).optional().map_err(read)
    }

    fn append_checkpoint(&mut self, checkpoint: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO checkpoints (checkpoint) VALUES (?1)";
        self.0.execute(sql, [checkpoint]).map(drop).map_err(written)
    }

    fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        self.column("SELECT checkpoint FROM checkpoints ORDER BY number", [], |row| row.get(0))
    }

    fn append_sighting(&mut self, sighting: &Sighting) -> Result<(), StoreError> {
        let Sighting { checkpoint, identity, by, time } = sighting;
        let inserted = match identity {
            None => {
                let sql = "INSERT INTO sightings (checkpoint, by, time) VALUES (?1, ?2, ?3)";
                self.0.execute(sql, params![checkpoint, by, time])
            }
            Some(identity) => {
                let sql = "INSERT INTO earlier (identity, checkpoint, by, time) VALUES (?1, ?2, ?3, ?4)";
                self.0.execute(sql, params![identity.to_string(), checkpoint, by, time])
            }
        };
        inserted.map(drop).map_err(written)
    }

    fn sightings(&self) -> Result<Vec<Sighting>, StoreError> {
        let mut sightings = self.column("SELECT checkpoint, by, time FROM sightings ORDER BY number", [], |row| {
            Ok(Sighting { checkpoint: row.get(0)?, identity: None, by: row.get(1)?, time: row.get(2)? })
        })?;
        // A ledger that an earlier version has made, and that is only read.
        let there = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'earlier'";
        if self.column(there, [], |row| row.get::<_, String>(0))?.is_empty() {
            return Ok(sightings);
        }
        let sql = "SELECT identity, checkpoint, by, time FROM earlier ORDER BY number";
        let earlier =
            self.column(sql, [], |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))?;
        for (identity, (checkpoint, by, time)) in earlier {
            let identity = Some(identity.parse().map_err(read)?);
            sightings.push(Sighting { checkpoint, identity, by, time });
        }
        Ok(sightings)
    }
}

#[cfg(test)]
mod tests {
    use entente_protocols::attempt::AttemptId;
    use entente_protocols::identity::PublicIdentity;
    use entente_protocols::ledger::store::contract;
    use entente_protocols::policy::{StewardDecision, Verdict};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_ledger_keeps_the_contract_of_stores() {
        let folder = tempfile::tempdir().unwrap();
        contract(|| LedgerStore::open(&folder.path().join("ledger.sqlite")).unwrap());
    }

    /// Also with another client of SQLite, which sets none of our pragmas, and in a ledger that an earlier version has made.
    #[test]
    fn what_is_in_the_ledger_cannot_be_changed_deleted_or_replaced_with_sql() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        Connection::open(&path).unwrap().execute_batch(LEDGER_SCHEMA).unwrap();
        let mut store = LedgerStore::open(&path).unwrap();
        let line = Line { json: "{}".into(), hash: Line::hash("{}") };
        let sighting = Sighting { checkpoint: "c".into(), identity: None, by: "b".into(), time: "t".into() };
        let earlier = Sighting { identity: Some(PublicIdentity([7; 32])), ..sighting.clone() };
        store.append(1, &line, Some((Digest::ZERO, b"x"))).unwrap();
        store.append_checkpoint("a checkpoint").unwrap();
        store.append_sighting(&sighting).unwrap();
        store.append_sighting(&earlier).unwrap();
        let foreign = Connection::open(&path).unwrap();
        for (table, key, columns, values) in [
            ("entries", "sequence", "hash, entry", "'', ''"),
            ("outbox", "release", "bytes", "x''"),
            ("outbox", "rowid", "release, bytes", "'other', x''"),
            ("checkpoints", "number", "checkpoint", "''"),
            ("sightings", "number", "checkpoint, by, time", "'', '', ''"),
            ("earlier", "number", "identity, checkpoint, by, time", "'', '', '', ''"),
        ] {
            let insert = format!("INTO {table} ({key}, {columns}) SELECT {key}, {values} FROM {table}");
            let (column, value) = (columns.split(", ").next().unwrap(), values.split(", ").next().unwrap());
            for sql in [
                format!("DELETE FROM {table}"),
                format!("UPDATE {table} SET {column} = {value}"),
                format!("UPDATE OR REPLACE {table} SET {column} = {value}"),
                format!("REPLACE {insert}"),
                format!("INSERT OR REPLACE {insert}"),
                format!("INSERT {insert} WHERE true ON CONFLICT DO UPDATE SET {column} = excluded.{column}"),
            ] {
                for connection in [&store.0, &foreign] {
                    let error = connection.execute(&sql, []).expect_err(&sql).to_string();
                    assert!(error.contains("append-only"), "{sql}: {error}");
                }
            }
        }
        assert_eq!(store.entries().unwrap(), [line]);
        assert_eq!(store.release(Digest::ZERO).unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(store.checkpoints().unwrap(), ["a checkpoint"]);
        assert_eq!(store.sightings().unwrap(), [sighting, earlier]);
        // And it goes on.
        let line = Line { json: "[]".into(), hash: Line::hash("[]") };
        store.append(2, &line, Some((Digest([1; 32]), b"y"))).unwrap();
        store.append_checkpoint("another").unwrap();
    }

    #[test]
    fn decisions_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || StudyStore::open(&folder.path().join("studies.sqlite")).unwrap();
        let proposal = Digest([3; 32]);
        let decision = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Deny("no".into()) };
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let now = at("2026-03-08T12:00:00Z");
        open().decide("s", &decision, "2026-03-01T12:00:01Z").unwrap();
        assert_eq!(open().decision("s", proposal, now).unwrap().as_ref(), Some(&decision));
        assert_eq!(open().decision("t", proposal, now).unwrap(), None);
        assert_eq!(open().decision("s", Digest([4; 32]), now).unwrap(), None, "of something else");
        assert_eq!(open().decision("s", proposal, at("2026-03-08T12:00:02Z")).unwrap(), None, "a week is over");
        assert_eq!(open().decision("s", proposal, at("2026-03-01T12:00:00Z")).unwrap(), None, "by a clock that is off");
        open().end_approvals("s").unwrap();
        assert_eq!(open().decision("s", proposal, now).unwrap(), Some(decision.clone()), "it was denied");
        assert_eq!(open().denial("s").unwrap(), Some(decision.clone()));
        let approved = StewardDecision { verdict: Verdict::Approve, ..decision };
        open().decide("s", &approved, "2026-03-08T11:00:00Z").unwrap();
        assert_eq!(open().decision("s", proposal, now).unwrap(), Some(approved.clone()));
        assert_eq!(open().denial("s").unwrap(), None);
        open().end_approvals("s").unwrap();
        assert_eq!(open().decision("s", proposal, now).unwrap(), None, "the study is over");
        assert_eq!(open().recorded_decision("s", proposal).unwrap().unwrap().0, approved);
        assert!(open().all().unwrap().is_empty() && open().get(&AttemptId::new("s", 1)).unwrap().is_none());
    }
}
