//! Models that the node was given, with where each came from.

use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::ledger::store::StoreError;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::database::{read, written};
use super::studies::StudyStore;

/// A model file and its provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredModel {
    /// The study that trained it.
    pub study: String,
    /// That study's name.
    pub name: String,
    /// What it predicts, as a text.
    pub predicts: String,
    /// Where it came from: the study's result, or the file it was imported from.
    pub source: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// When it was stored, RFC 3339.
    pub received: String,
    /// The file.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl StoredModel {
    /// A model file that was just received.
    pub fn new(study: &str, name: &str, source: &str, file: &ModelFile, bytes: &[u8], received: String) -> Self {
        Self {
            study: study.into(),
            name: name.into(),
            predicts: file.model.target.as_ref().map_or_else(|| "clusters".into(), |target| target.name.clone()),
            source: source.into(),
            sha256: Digest::plain(bytes),
            received,
            bytes: bytes.to_vec(),
        }
    }
}

const COLUMNS: &str = "study, name, predicts, source, sha256, received, bytes";

type Raw = (String, String, String, String, String, String, Vec<u8>);

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

fn parse((study, name, predicts, source, sha256, received, bytes): Raw) -> Result<StoredModel, StoreError> {
    Ok(StoredModel { study, name, predicts, source, sha256: sha256.parse().map_err(read)?, received, bytes })
}

impl StudyStore {
    /// Keeps which model the last round under a transcript evaluates; to be called until its vector is stored, and not after.
    pub fn put_evaluated(&self, transcript: Digest, learnt: Digest) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO evaluated (transcript, learnt) VALUES (?1, ?2)";
        self.0.execute(sql, params![transcript.to_string(), learnt.to_string()]).map(drop).map_err(written)
    }

    /// The model that the last round under a transcript evaluated ([`entente_protocols::learn::model::Model::learnt`]).
    pub fn evaluated(&self, transcript: Digest) -> Result<Option<Digest>, StoreError> {
        let sql = "SELECT learnt FROM evaluated WHERE transcript = ?1";
        let found: Option<String> =
            self.0.query_row(sql, [transcript.to_string()], |row| row.get(0)).optional().map_err(read)?;
        found.map(|learnt| learnt.parse().map_err(read)).transpose()
    }

    /// Keeps a model; the same file of the same study is kept once, as it came first.
    pub fn put_model(&self, model: &StoredModel) -> Result<(), StoreError> {
        let StoredModel { study, name, predicts, source, sha256, received, bytes } = model;
        let sql = format!("INSERT OR IGNORE INTO models ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let row = params![study, name, predicts, source, sha256.to_string(), received, bytes];
        self.0.execute(&sql, row).map(drop).map_err(written)
    }

    /// Whether this file is kept as a model of a study.
    pub fn has_model(&self, study: &str, sha256: Digest) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM models WHERE study = ?1 AND sha256 = ?2)";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        select.query_row([study, &sha256.to_string()], |row| row.get(0)).map_err(read)
    }

    /// Forgets the models of a study; false if there was none.
    pub fn remove_model(&self, study: &str) -> Result<bool, StoreError> {
        self.0.execute("DELETE FROM models WHERE study = ?1", [study]).map(|removed| removed > 0).map_err(written)
    }

    /// All models, the newest first.
    pub fn models(&self) -> Result<Vec<StoredModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models ORDER BY received DESC, study");
        let mut statement = self.0.prepare(&sql).map_err(read)?;
        let rows = statement.query_map([], raw).map_err(read)?;
        rows.map(|row| parse(row.map_err(read)?)).collect()
    }

    /// The newest model of a study, if there is one.
    pub fn model(&self, study: &str) -> Result<Option<StoredModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE study = ?1 ORDER BY received DESC LIMIT 1");
        self.0.query_row(&sql, [study], raw).optional().map_err(read)?.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_kept_with_their_provenance() {
        let folder = tempfile::tempdir().unwrap();
        let store = || StudyStore::open(&folder.path().join("studies.sqlite")).unwrap();
        let model = StoredModel {
            study: "s-1".into(),
            name: "churn".into(),
            predicts: "churned".into(),
            source: "study s-1".into(),
            sha256: Digest::plain(b"{}"),
            received: "2026-01-01T00:00:00Z".into(),
            bytes: b"{}".to_vec(),
        };
        store().put_model(&model).unwrap();
        store().put_model(&StoredModel { source: "a file".into(), ..model.clone() }).unwrap();
        assert_eq!(store().models().unwrap(), std::slice::from_ref(&model), "the first provenance stays");
        assert_eq!(store().model("s-1").unwrap().as_ref(), Some(&model));
        assert_eq!(store().model("s-2").unwrap(), None);
        let has = |study: &str, sha256: Digest| store().has_model(study, sha256).unwrap();
        assert!(has("s-1", model.sha256) && !has("s-2", model.sha256) && !has("s-1", Digest::ZERO));
        assert!(!store().remove_model("s-2").unwrap() && store().remove_model("s-1").unwrap());
        assert!(!has("s-1", model.sha256) && store().models().unwrap().is_empty());
    }
}
