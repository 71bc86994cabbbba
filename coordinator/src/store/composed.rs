//! Composed studies: what was asked, and how many of the studies that it comes to have begun.

use entente_host::Error;
use entente_protocols::canonical::{MAX_CANONICAL, canonical_bytes, from_canonical};
use entente_protocols::study::seeded::Seeded;
use rusqlite::{OptionalExtension, Row, params};

use super::database::{Store, failed};
use super::studies::{StudyRecord, insert};

/// Studies that follow one another, each with the result of the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposedRecord {
    /// Its identifier.
    pub id: String,
    /// When it was submitted.
    pub created: jiff::Timestamp,
    /// What is asked.
    pub asked: Seeded,
    /// How many of its legs have begun.
    pub begun: u32,
    /// Why the next one could not begin, if so.
    pub refusal: Option<String>,
}

const COLUMNS: &str = "id, created, asked, begun, refusal";

fn read(row: &Row<'_>) -> rusqlite::Result<Result<ComposedRecord, String>> {
    let (id, created, asked): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (Ok(created), Ok(asked)) = (created.parse(), from_canonical(&asked, MAX_CANONICAL)) else {
        return Ok(Err(format!("study {id} was stored by another version and cannot be read by this one")));
    };
    Ok(Ok(ComposedRecord { id, created, asked, begun: row.get(3)?, refusal: row.get(4)? }))
}

impl Store {
    /// Keeps a new composed study, of which no leg has begun.
    pub fn add_composed(&self, record: &ComposedRecord) -> Result<(), Error> {
        let ComposedRecord { id, created, asked, begun, refusal } = record;
        let row = params![id, created.to_string(), canonical_bytes(asked), begun, refusal];
        let sql = format!("INSERT INTO composed ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)");
        self.lock().execute(&sql, row).map(drop).map_err(failed)
    }

    /// Keeps the study that a composed study's next leg is, and that it has begun.
    pub fn begin_leg(&self, composed: &str, number: u32, study: &StudyRecord) -> Result<(), Error> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(failed)?;
        insert(&transaction, study)?;
        let sql = "UPDATE composed SET begun = ?2, refusal = NULL WHERE id = ?1";
        transaction.execute(sql, params![composed, number]).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Keeps why a composed study's next leg could not begin.
    pub fn refuse_leg(&self, composed: &str, reason: &str) -> Result<(), Error> {
        let sql = "UPDATE composed SET refusal = ?2 WHERE id = ?1";
        self.lock().execute(sql, params![composed, reason]).map(drop).map_err(failed)
    }

    /// A composed study.
    pub fn composed(&self, id: &str) -> Result<Option<ComposedRecord>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM composed WHERE id = ?1");
        let found = self.lock().query_row(&sql, [id], read).optional().map_err(failed)?;
        found.transpose().map_err(Error::failed)
    }

    /// All composed studies whose last leg has not begun, oldest first. Those that cannot be read are left out.
    pub fn open_composed(&self) -> Result<Vec<ComposedRecord>, Error> {
        let connection = self.lock();
        let sql = format!(
            "SELECT {COLUMNS} FROM composed WHERE NOT EXISTS (SELECT 1 FROM study WHERE study.id = composed.id)
            ORDER BY created, id"
        );
        let mut query = connection.prepare(&sql).map_err(failed)?;
        let rows = query.query_map([], read).and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(failed)?;
        Ok(rows.into_iter().filter_map(Result::ok).collect())
    }
}

#[cfg(test)]
mod tests {
    use entente_protocols::testing;

    use super::super::studies::StudyState;
    use super::*;

    #[test]
    fn legs_are_kept_with_how_many_have_begun() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let draft = testing::study("n").lookalike("a", &["b"], "SELECT id, x FROM d");
        let asked = draft.with("seeds", "SELECT id FROM d WHERE y").build_seeded().unwrap();
        let created = jiff::Timestamp::UNIX_EPOCH;
        let mut record = ComposedRecord { id: "s".into(), created, asked, begun: 0, refusal: None };
        store.add_composed(&record).unwrap();
        let study = |id: &str| StudyRecord {
            id: id.into(),
            created,
            study: record.asked.training().clone(),
            requester: "operator".into(),
            petition: None,
            named: vec!["a".into()],
            state: StudyState::Running,
            attempt: 1,
            begun: 1,
            participants: vec!["a".into()],
            warnings: vec![],
            reason: None,
        };
        let (first, last) = (study("s-1"), study("s"));
        store.begin_leg("s", 1, &first).unwrap();
        assert!(store.begin_leg("s", 2, &first).is_err(), "there is such a study");
        store.refuse_leg("s", "no model").unwrap();
        (record.begun, record.refusal) = (1, Some("no model".into()));
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.composed("s").unwrap().as_ref(), Some(&record));
        assert_eq!((store.open_composed().unwrap(), store.composed("s-1").unwrap()), (vec![record.clone()], None));
        store.begin_leg("s", 2, &last).unwrap();
        (record.begun, record.refusal) = (2, None);
        assert_eq!((store.composed("s").unwrap(), store.open_composed().unwrap()), (Some(record), vec![]));
        assert_eq!(store.studies().unwrap().len(), 2);
    }
}
