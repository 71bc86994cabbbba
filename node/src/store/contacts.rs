//! Who was in which exported audience, and when: what a cap on contacts is counted by.
//!
//! Customers are pseudonyms under a key that only the node has. An export is written here, durably, before its file
//! appears: after a crash in between a customer may be counted who was never contacted, but nobody is contacted who is
//! not counted.

use std::path::Path;

use entente_protocols::ledger::store::StoreError;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::database::{open, read, written};

/// The exports of audiences and the customers in them, in SQLite.
pub struct ContactStore(Connection);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS exports (id INTEGER PRIMARY KEY, study TEXT NOT NULL, selection TEXT NOT NULL,
    day TEXT NOT NULL, seconds INTEGER NOT NULL, done INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS contacts (customer BLOB NOT NULL, export INTEGER NOT NULL REFERENCES exports (id),
    PRIMARY KEY (customer, export)) STRICT, WITHOUT ROWID;
";

/// What identifies an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The study whose audience it is of.
    pub study: String,
    /// What was chosen, as a text that is the same for the same choice.
    pub selection: String,
    /// When.
    pub time: jiff::Timestamp,
}

/// How often a customer may be in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactCap {
    /// The most exports within the window; 0 for as many as one likes.
    pub most: u32,
    /// The window in days, up to now.
    pub days: u32,
}

/// What became of an export's customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which customers are within the cap, in their order.
    pub kept: Vec<bool>,
    /// The record; none where fewer were left than had to be, and nothing was written.
    pub id: Option<i64>,
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

impl ContactStore {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open(path, SCHEMA).map(Self)
    }

    /// Counts a contact of each customer who is within the cap, unless fewer than `least` are; what was written is on
    /// the disk on return.
    ///
    /// An export of the same selection of the same study on the same day (UTC) is the same export, and so is one that
    /// was begun on another day and is not [`done`](Self::done): who is in it already stays, and is not counted twice.
    pub fn record(
        &mut self,
        export: &Export,
        customers: &[[u8; 16]],
        cap: ContactCap,
        least: u64,
    ) -> Result<Recorded, StoreError> {
        // Two exports at once see one another.
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate).map_err(written)?;
        let id = begin(&transaction, export)?;
        let kept = within(&transaction, export, id, customers, cap)?;
        let count = kept.iter().filter(|kept| **kept).count() as u64;
        if count < least {
            return Ok(Recorded { kept, id: None });
        }
        {
            let sql = "INSERT OR IGNORE INTO contacts (customer, export) VALUES (?1, ?2)";
            let mut insert = transaction.prepare(sql).map_err(written)?;
            for (customer, _) in customers.iter().zip(&kept).filter(|(_, kept)| **kept) {
                insert.execute(params![customer, id]).map_err(written)?;
            }
        }
        transaction.commit().map_err(written)?;
        Ok(Recorded { kept, id: Some(id) })
    }

    /// Says that an export's files are in their places: on another day, the same selection is another export.
    pub fn done(&self, id: i64) -> Result<(), StoreError> {
        self.0.execute("UPDATE exports SET done = 1 WHERE id = ?1", [id]).map(drop).map_err(written)
    }
}

/// The export's record, as of now.
fn begin(transaction: &Transaction<'_>, export: &Export) -> Result<i64, StoreError> {
    let Export { study, selection, time } = export;
    let (seconds, day) = (time.as_second(), time.strftime("%Y-%m-%d").to_string());
    let sql = "SELECT id FROM exports WHERE study = ?1 AND selection = ?2 AND (day = ?3 OR NOT done)
        ORDER BY id DESC LIMIT 1";
    let known: Option<i64> =
        transaction.query_row(sql, params![study, selection, day], |row| row.get(0)).optional().map_err(read)?;
    match known {
        Some(id) => {
            let sql = "UPDATE exports SET day = ?2, seconds = ?3, done = 0 WHERE id = ?1";
            transaction.execute(sql, params![id, day, seconds]).map_err(written)?;
            Ok(id)
        }
        None => {
            let sql = "INSERT INTO exports (study, selection, day, seconds, done) VALUES (?1, ?2, ?3, ?4, 0)";
            transaction.execute(sql, params![study, selection, day, seconds]).map_err(written)?;
            Ok(transaction.last_insert_rowid())
        }
    }
}

/// Which customers may be in an export: who is in it already, and who was in fewer others than the cap.
fn within(
    transaction: &Transaction<'_>,
    export: &Export,
    id: i64,
    customers: &[[u8; 16]],
    cap: ContactCap,
) -> Result<Vec<bool>, StoreError> {
    if cap.most == 0 {
        return Ok(vec![true; customers.len()]);
    }
    let since = export.time.as_second().saturating_sub(i64::from(cap.days) * SECONDS_A_DAY);
    let sql = "SELECT COUNT(*) FILTER (WHERE export <> ?2), COUNT(*) FILTER (WHERE export = ?2)
        FROM contacts JOIN exports ON exports.id = contacts.export WHERE customer = ?1 AND seconds > ?3";
    let mut count = transaction.prepare(sql).map_err(read)?;
    let mut within = |customer: &[u8; 16]| {
        let counts =
            count.query_row(params![customer, id, since], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
        counts.map(|(others, this)| this > 0 || others < i64::from(cap.most)).map_err(read)
    };
    customers.iter().map(&mut within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: ContactCap = ContactCap { most: 2, days: 30 };

    fn export(study: &str, selection: &str, time: &str) -> Export {
        Export { study: study.into(), selection: selection.into(), time: time.parse().unwrap() }
    }

    fn customers(numbers: std::ops::Range<u8>) -> Vec<[u8; 16]> {
        numbers.map(|number| [number; 16]).collect()
    }

    #[test]
    fn who_was_contacted_often_is_left_out_until_the_window_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = ContactStore::open(&folder.path().join("contacts.sqlite")).unwrap();
        let mut kept = |study, time, numbers| {
            let recorded = store.record(&export(study, "top 5", time), &customers(numbers), CAP, 1).unwrap();
            recorded.id.into_iter().for_each(|id| store.done(id).unwrap());
            recorded.kept
        };
        assert_eq!(kept("a", "2026-01-01T10:00:00Z", 0..3), [true; 3]);
        assert_eq!(kept("b", "2026-01-02T10:00:00Z", 1..4), [true; 3]);
        assert_eq!(kept("c", "2026-01-03T10:00:00Z", 0..4), [true, false, false, true]);
        assert_eq!(kept("d", "2026-01-31T09:59:59Z", 0..2), [false, false]);
        assert_eq!(kept("d", "2026-01-31T10:00:01Z", 0..2), [true, true], "the first is 30 days ago");
    }

    #[test]
    fn the_same_export_does_not_count_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = ContactStore::open(&folder.path().join("contacts.sqlite")).unwrap();
        let one = ContactCap { most: 1, days: 30 };
        let mut record = |selection, time, numbers, least| {
            store.record(&export("a", selection, time), &customers(numbers), one, least).unwrap()
        };
        let first = record("top 2", "2026-01-01T10:00:00Z", 0..2, 1);
        assert_eq!(first.kept, [true; 2]);
        // It crashed before it was done: another day is the same export.
        let again = record("top 2", "2026-01-03T10:00:00Z", 0..3, 1);
        assert_eq!((again.kept, again.id), (vec![true; 3], first.id));
        assert_eq!(record("top 3", "2026-01-03T10:00:00Z", 0..3, 0).kept, [false; 3], "another selection");
        store.done(first.id.unwrap()).unwrap();
        let mut record = |time| store.record(&export("a", "top 2", time), &customers(0..3), one, 1).unwrap();
        assert_eq!(record("2026-01-03T23:59:59Z").kept, [true; 3], "the same day");
        store.done(first.id.unwrap()).unwrap();
        let mut record = |time| store.record(&export("a", "top 2", time), &customers(0..3), one, 1).unwrap();
        assert_eq!(record("2026-01-04T00:00:00Z"), Recorded { kept: vec![false; 3], id: None }, "another day");
    }

    #[test]
    fn too_few_are_not_recorded_and_no_cap_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = ContactStore::open(&folder.path().join("contacts.sqlite")).unwrap();
        let mut record = |study, most, least| {
            let cap = ContactCap { most, days: 1 };
            store.record(&export(study, "top 2", "2026-01-01T10:00:00Z"), &customers(0..2), cap, least).unwrap()
        };
        assert_eq!(record("a", 1, 3).id, None);
        assert_eq!(record("b", 1, 2).kept, [true; 2], "nobody was counted");
        assert_eq!(record("c", 0, 2).kept, [true; 2]);
        assert_eq!(record("d", 1, 0).kept, [false; 2]);
    }
}
