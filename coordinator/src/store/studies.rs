//! Studies: what was asked, where it stands, its result, and what nodes have still to be told about it.

use std::collections::BTreeMap;
use std::fmt;

use entente_host::Error;
use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::{MAX_CANONICAL, canonical_bytes, from_canonical};
use entente_protocols::digest::Digest;
use entente_protocols::identity::petition::Petition;
use entente_protocols::ledger::receipt::{Coordinator, Statement};
use entente_protocols::study::Study;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::{Store, digest, failed};

/// Whether a study goes on, and how it ended if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StudyState {
    /// It goes on as long as the coordinator runs.
    Running,
    /// Its result is there.
    Done,
    /// Refused: by the coordinator, or by so many partners that too few are left.
    Refused,
    /// Too few partners answered, or something went wrong.
    Failed,
    /// Given up by the operator.
    Cancelled,
}

impl StudyState {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Refused, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

impl fmt::Display for StudyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A study as the coordinator keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyRecord {
    /// Its identifier.
    pub id: String,
    /// When it was submitted.
    pub created: jiff::Timestamp,
    /// What is asked.
    pub study: Study,
    /// Who asks.
    pub requester: String,
    /// Its signature, where that is a partner.
    pub petition: Option<Petition>,
    /// The partners of the first attempt.
    pub named: Vec<String>,
    /// Whether it goes on.
    pub state: StudyState,
    /// The present attempt, counted from 1. An attempt has the same participants for good.
    pub attempt: u32,
    /// The attempt with which it began, or was resumed after its end: then stewards decide anew.
    pub begun: u32,
    /// The participants of this attempt.
    pub participants: Vec<String>,
    /// What readers of the result should know.
    pub warnings: Vec<String>,
    /// Why it ended, where there is more to say than that it is done.
    pub reason: Option<String>,
}

impl StudyRecord {
    /// Whether it has ended, however.
    pub fn is_over(&self) -> bool {
        self.state != StudyState::Running
    }

    /// The present attempt.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId::new(&self.id, self.attempt)
    }
}

/// What a node has still to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which attempt.
    pub attempt: AttemptId,
    /// The hash of the result; `None` if the attempt was given up.
    pub result: Option<Digest>,
    /// Why it was given up.
    pub reason: String,
}

/// The receipt in a result folder.
pub const RECEIPT: &str = "receipt.json";

const COLUMNS: &str =
    "id, created, study, requester, named, state, attempt, participants, warnings, reason, begun, petition";

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("lists of texts have no failing serialisers")
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<StudyRecord, String>> {
    let id: String = row.get(0)?;
    let (created, study): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let list = |column| row.get::<_, String>(column).map(|text| serde_json::from_str(&text).unwrap_or_default());
    let (state, attempt): (String, u32) = (row.get(5)?, row.get(6)?);
    let (requester, named, participants, warnings, reason) = (row.get(3)?, list(4)?, list(7)?, list(8)?, row.get(9)?);
    let (begun, petition): (_, Option<Vec<u8>>) = (row.get(10)?, row.get(11)?);
    let petition = petition.map(|bytes| from_canonical(&bytes, MAX_CANONICAL)).transpose();
    let unreadable = || format!("study {id} was stored by another version and cannot be read by this one");
    let (Ok(created), Ok(study), Some(state), Ok(petition)) =
        (created.parse(), from_canonical(&study, MAX_CANONICAL), StudyState::parse(&state), petition)
    else {
        return Ok(Err(unreadable()));
    };
    Ok(Ok(StudyRecord {
        id,
        created,
        study,
        requester,
        petition,
        named,
        state,
        attempt,
        begun,
        participants,
        warnings,
        reason,
    }))
}

const UPDATE: &str = "UPDATE study SET state = ?2, attempt = ?3, participants = ?4, warnings = ?5, reason = ?6, begun = ?7 WHERE id = ?1";

/// Writes where a study stands.
fn update(connection: &Connection, record: &StudyRecord) -> Result<(), Error> {
    let StudyRecord { id, state, attempt, begun, participants, warnings, reason, .. } = record;
    connection
        .execute(UPDATE, params![id, state.word(), attempt, json(participants), json(warnings), reason, begun])
        .map(drop)
        .map_err(failed)
}

/// Writes a new study.
pub(super) fn insert(connection: &Connection, record: &StudyRecord) -> Result<(), Error> {
    connection
        .execute(
            &format!("INSERT INTO study ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"),
            params![
                record.id,
                record.created.to_string(),
                canonical_bytes(&record.study),
                record.requester,
                json(&record.named),
                record.state.word(),
                record.attempt,
                json(&record.participants),
                json(&record.warnings),
                record.reason,
                record.begun,
                record.petition.as_ref().map(canonical_bytes),
            ],
        )
        .map(drop)
        .map_err(failed)
}

impl Store {
    /// Keeps a new study.
    pub fn add_study(&self, record: &StudyRecord) -> Result<(), Error> {
        insert(&self.lock(), record)
    }

    /// Keeps where a study stands.
    pub fn update_study(&self, record: &StudyRecord) -> Result<(), Error> {
        update(&self.lock(), record)
    }

    /// Keeps a study's result with what its receipt states, that it is done, and that its participants have to be told.
    pub fn complete_study(
        &self,
        record: &StudyRecord,
        files: &BTreeMap<String, Vec<u8>>,
        (statement, coordinator): (&Statement, &Coordinator),
    ) -> Result<(), Error> {
        let result = statement.result().ok_or_else(|| Error::failed("the receipt names no result.json"))?;
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(failed)?;
        update(&transaction, record)?;
        super::receipts::put(&transaction, statement, coordinator)?;
        for (file, content) in files {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO result (study, file, content) VALUES (?1, ?2, ?3)",
                    params![record.id, file, content],
                )
                .map_err(failed)?;
        }
        for node in &record.participants {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO notice (node, study, attempt, result, reason) VALUES (?1, ?2, ?3, ?4, '')",
                    params![node, record.id, record.attempt, result.0.as_slice()],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// A study.
    pub fn study(&self, id: &str) -> Result<Option<StudyRecord>, Error> {
        let found = self
            .lock()
            .query_row(&format!("SELECT {COLUMNS} FROM study WHERE id = ?1"), [id], read)
            .optional()
            .map_err(failed)?;
        found.transpose().map_err(Error::failed)
    }

    /// All studies, oldest first. Those that cannot be read are left out.
    pub fn studies(&self) -> Result<Vec<StudyRecord>, Error> {
        let connection = self.lock();
        let mut query =
            connection.prepare(&format!("SELECT {COLUMNS} FROM study ORDER BY created, id")).map_err(failed)?;
        let rows = query.query_map([], read).and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(failed)?;
        Ok(rows.into_iter().filter_map(Result::ok).collect())
    }

    /// The files of a study's result, its receipt with the parts that are there by now.
    pub fn result(&self, id: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut files = self.result_files(id)?;
        if let Some(receipt) = self.receipt(id)? {
            files.insert(RECEIPT.into(), receipt.text().into_bytes());
        }
        Ok(files)
    }

    fn result_files(&self, id: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let connection = self.lock();
        let mut query = connection.prepare("SELECT file, content FROM result WHERE study = ?1").map_err(failed)?;
        let rows = query.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// One file of a study's result.
    pub fn result_file(&self, id: &str, file: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT content FROM result WHERE study = ?1 AND file = ?2";
        self.lock().query_row(sql, [id, file], |row| row.get(0)).optional().map_err(failed)
    }

    /// Keeps where a study stands after an attempt was given up, and that these nodes have to be told why.
    pub fn give_up(&self, record: &StudyRecord, nodes: &[String], attempt: u32, reason: &str) -> Result<(), Error> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(failed)?;
        update(&transaction, record)?;
        for node in nodes {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO notice (node, study, attempt, result, reason) VALUES (?1, ?2, ?3, NULL, ?4)",
                    params![node, record.id, attempt, reason],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// What a node has still to be told.
    pub fn notices(&self, node: &str) -> Result<Vec<Notice>, Error> {
        let connection = self.lock();
        let mut query = connection
            .prepare("SELECT study, attempt, result, reason FROM notice WHERE node = ?1 ORDER BY study, attempt")
            .map_err(failed)?;
        let rows = query.query_map([node], |row| {
            let result = row.get::<_, Option<Vec<u8>>>(2)?.map(digest).transpose()?;
            let attempt = AttemptId::new(row.get::<_, String>(0)?, row.get(1)?);
            Ok(Notice { attempt, result, reason: row.get(3)? })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// A node has recorded what it was told.
    pub fn remove_notice(&self, node: &str, attempt: &AttemptId) -> Result<(), Error> {
        self.lock()
            .execute(
                "DELETE FROM notice WHERE node = ?1 AND study = ?2 AND attempt = ?3",
                params![node, attempt.study, attempt.number],
            )
            .map(drop)
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use entente_protocols::identity::{IdentityKey, Signature};
    use entente_protocols::kind::Kind;
    use entente_protocols::ledger::receipt::{Part, Subject};
    use entente_protocols::testing;

    use super::*;

    #[test]
    fn studies_survive_with_their_results_and_notices() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut record = StudyRecord {
            id: "1".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            study: testing::study("n").query("SELECT COUNT(*) FROM d").build().unwrap(),
            requester: "a".into(),
            petition: Some(Petition { time: 7, study_sha256: Digest([8; 32]), signature: Signature([7; 64]) }),
            named: vec!["a".into(), "b".into()],
            state: StudyState::Running,
            attempt: 1,
            begun: 1,
            participants: vec!["a".into(), "b".into()],
            warnings: vec![],
            reason: None,
        };
        store.add_study(&record).unwrap();
        (record.attempt, record.participants) = (2, vec!["a".into()]);
        store.give_up(&record, &["b".into()], 1, "lost").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.study("1").unwrap().as_ref(), Some(&record));
        assert_eq!(store.study("2").unwrap(), None);

        (record.state, record.warnings) = (StudyState::Done, vec!["w".into()]);
        let files: BTreeMap<_, _> = [("result.json".to_owned(), b"{}".to_vec())].into();
        let key = IdentityKey::from_secret(&[9; 32]);
        let subject = Subject {
            alliance: "spring".into(),
            attempt: 2,
            authority: Digest::ZERO,
            kind: Kind::Query,
            name: "n".into(),
            participants: vec!["a".into()],
            plan_sha256: Digest::ZERO,
            purpose: "p".into(),
            requester: "operator".into(),
            rounds: vec![],
            study: "1".into(),
        };
        let named = [("result.json".to_owned(), Digest([7; 32]))].into();
        let statement = Statement { files: named, finished: "now".into(), subject };
        store.complete_study(&record, &files, (&statement, &Coordinator::sign(&statement, &key))).unwrap();
        assert_eq!(store.studies().unwrap(), [record]);
        let part = Part::sign(&statement, "a", &key, "before".into(), "after".into());
        store.put_part("1", &part).unwrap();
        let receipt = store.receipt("1").unwrap().unwrap();
        assert_eq!((&receipt.statement, receipt.nodes.as_slice()), (&statement, &[part][..]));
        assert_eq!(store.receipt("2").unwrap(), None);
        let mut found = store.result("1").unwrap();
        assert_eq!(found.remove(RECEIPT), Some(receipt.text().into_bytes()));
        assert_eq!(found, files);
        let notice = |number, result, reason: &str| Notice {
            attempt: AttemptId::new("1", number),
            result,
            reason: reason.into(),
        };
        assert_eq!(store.notices("a").unwrap(), [notice(2, Some(Digest([7; 32])), "")]);
        assert_eq!(store.notices("b").unwrap(), [notice(1, None, "lost")]);
        store.remove_notice("b", &AttemptId::new("1", 1)).unwrap();
        assert_eq!(store.notices("b").unwrap(), []);
    }
}
