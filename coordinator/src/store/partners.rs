//! Partners: who is enrolled with which keys, what was last heard of them, and the checkpoints witnessed for them.

use std::collections::BTreeMap;

use entente_host::Error;
use entente_protocols::identity::{Member, PublicIdentity};
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::{Checkpoint, Head};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::database::{Store, digest, failed};

/// An enrolled partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerRecord {
    /// Its keys.
    pub member: Member,
    /// When it enrolled, in seconds since 1970.
    pub enrolled: i64,
}

/// What a partner's node said when it last connected.
#[derive(Clone, Debug, PartialEq)]
pub struct LastSeen {
    /// When, in seconds since 1970.
    pub time: i64,
    /// Name and version of its software.
    pub software: String,
    /// Public schemas of its data sets.
    pub datasets: Vec<DatasetSchema>,
    /// The end of its ledger.
    pub ledger: Head,
}

impl Store {
    /// Enrolled partners by name.
    pub fn partners(&self) -> Result<BTreeMap<String, PartnerRecord>, Error> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached("SELECT name, identity, tls, enrolled FROM partner").map_err(failed)?;
        let rows = query.query_map([], |row| {
            let identity = PublicIdentity(digest(row.get(1)?)?.0);
            let member = Member { identity, tls: digest(row.get(2)?)? };
            Ok((row.get::<_, String>(0)?, PartnerRecord { member, enrolled: row.get(3)? }))
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// Ends a partner's membership. Its keys, if it was enrolled.
    pub fn revoke(&self, name: &str, now: i64) -> Result<Option<Member>, Error> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let found: Option<(Vec<u8>, Vec<u8>)> = transaction
            .query_row("SELECT identity, tls FROM partner WHERE name = ?1", [name], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(failed)?;
        transaction
            .execute(
                "INSERT INTO revoked (tls, name, identity, certificate, revoked)
                 SELECT tls, name, identity, certificate, ?2 FROM partner WHERE name = ?1",
                params![name, now],
            )
            .map_err(failed)?;
        for statement in [
            "DELETE FROM partner WHERE name = ?1",
            "DELETE FROM ticket WHERE partner = ?1",
            "DELETE FROM last_seen WHERE name = ?1",
            "DELETE FROM notice WHERE node = ?1",
        ] {
            transaction.execute(statement, [name]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        found
            .map(|(identity, tls)| {
                let identity = PublicIdentity(digest(identity).map_err(failed)?.0);
                Ok(Member { identity, tls: digest(tls).map_err(failed)? })
            })
            .transpose()
    }

    /// Remembers what a node said.
    pub fn saw(&self, name: &str, seen: &LastSeen) -> Result<(), Error> {
        let datasets = serde_json::to_string(&seen.datasets).map_err(|error| Error::failed(error.to_string()))?;
        let entries = i64::try_from(seen.ledger.entries).unwrap_or(i64::MAX);
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO last_seen (name, time, software, datasets, entries, head)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![name, seen.time, seen.software, datasets, entries, seen.ledger.hash.0.as_slice()],
            )
            .map(drop)
            .map_err(failed)
    }

    /// What nodes last said, by name.
    pub fn last_seen(&self) -> Result<BTreeMap<String, LastSeen>, Error> {
        let connection = self.lock();
        let mut query = connection
            .prepare("SELECT name, time, software, datasets, entries, head FROM last_seen")
            .map_err(failed)?;
        let rows = query.query_map([], |row| {
            // Schemas that another version wrote are left out: they come again with the next hello.
            let datasets = serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default();
            let ledger = Head { entries: row.get::<_, i64>(4)?.unsigned_abs(), hash: digest(row.get(5)?)? };
            Ok((row.get(0)?, LastSeen { time: row.get(1)?, software: row.get(2)?, datasets, ledger }))
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// The latest checkpoint of the node with this identity.
    pub fn witnessed(&self, identity: &PublicIdentity) -> Result<Option<Checkpoint>, Error> {
        witnessed(&self.lock(), identity)
    }

    /// The latest checkpoints of all nodes that ever had one, by name.
    pub fn all_witnessed(&self) -> Result<Vec<Checkpoint>, Error> {
        let connection = self.lock();
        let mut query = connection.prepare("SELECT note FROM checkpoint ORDER BY name, identity").map_err(failed)?;
        let notes: Result<Vec<String>, _> = query.query_map([], |row| row.get(0)).and_then(Iterator::collect);
        notes.map_err(failed)?.iter().map(|note| checkpoint(note)).collect()
    }

    /// Puts checkpoints in the place of older ones, all in one durable write: whatever `judge` keeps in what it is given. It is on
    /// the disk when this returns.
    ///
    /// # Errors
    ///
    /// If it could not be written; nothing is kept then.
    pub fn witness<T>(&self, judge: impl FnOnce(&Checkpoints<'_>) -> T) -> Result<T, Error> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let judged = judge(&Checkpoints(&transaction));
        transaction.commit().map_err(failed)?;
        Ok(judged)
    }
}

/// The checkpoints that are kept, while they are being replaced.
pub struct Checkpoints<'c>(&'c Connection);

impl Checkpoints<'_> {
    /// See [`Store::witnessed`].
    pub fn newest(&self, identity: &PublicIdentity) -> Result<Option<Checkpoint>, Error> {
        witnessed(self.0, identity)
    }

    /// Keeps a node's checkpoint, with the coordinator's cosignature, in the place of an older one. The caller has judged it.
    pub fn keep(&self, node: &str, identity: &PublicIdentity, checkpoint: &Checkpoint) -> Result<(), Error> {
        let entries = i64::try_from(checkpoint.statement().size).unwrap_or(i64::MAX);
        let row = params![identity.0.as_slice(), node, entries, checkpoint.to_string()];
        let sql = "INSERT OR REPLACE INTO checkpoint (identity, name, entries, note) VALUES (?1, ?2, ?3, ?4)";
        self.0.prepare_cached(sql).and_then(|mut insert| insert.execute(row)).map(drop).map_err(failed)
    }
}

fn witnessed(connection: &Connection, identity: &PublicIdentity) -> Result<Option<Checkpoint>, Error> {
    let mut query = connection.prepare_cached("SELECT note FROM checkpoint WHERE identity = ?1").map_err(failed)?;
    let note: Option<String> = query.query_row([identity.0.as_slice()], |row| row.get(0)).optional().map_err(failed)?;
    note.map(|note| checkpoint(&note)).transpose()
}

fn checkpoint(note: &str) -> Result<Checkpoint, Error> {
    Checkpoint::parse(note).map_err(|error| Error::failed(format!("a checkpoint in entente.db is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_a_partner_is_remembered_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let seen = LastSeen { time: 1, software: "s".into(), datasets: vec![], ledger: Head::EMPTY };
        store.saw("bank", &seen).unwrap();
        assert_eq!(store.last_seen().unwrap().get("bank"), Some(&seen));
        assert_eq!(store.revoke("bank", 2).unwrap(), None, "it was never enrolled");
        assert!(store.last_seen().unwrap().is_empty());
    }
}
