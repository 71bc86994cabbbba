//! How many sessions of scoring each candidates' owner has begun with this node's model.

use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::store::StoreError;
use rusqlite::params;

use super::database::written;
use super::studies::StudyStore;

impl StudyStore {
    /// Counts one session more that a candidates' owner begins in an attempt; false, and nothing is counted, if it has begun so many.
    pub fn begin_session(&self, id: &AttemptId, candidates: &str, most: u32) -> Result<bool, StoreError> {
        let sql = "INSERT INTO sessions (study, number, candidates, begun) VALUES (?1, ?2, ?3, 1)
            ON CONFLICT DO UPDATE SET begun = begun + 1 WHERE begun < ?4";
        let row = params![id.study, id.number, candidates, most];
        self.0.execute(sql, row).map(|changed| changed > 0).map_err(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_by_attempt_and_partner_and_so_they_are_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |study: &str, number: u32, candidates: &str| {
            let store = StudyStore::open(&folder.path().join("studies.sqlite")).unwrap();
            store.begin_session(&AttemptId::new(study, number), candidates, 2).unwrap()
        };
        assert_eq!([(); 4].map(|()| begin("s", 1, "bank")), [true, true, false, false]);
        assert!(begin("s", 1, "telecom") && begin("s", 2, "bank") && begin("t", 1, "bank"));
    }
}
