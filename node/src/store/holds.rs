//! For which attempts budget is set aside, and since when: what a restart of the node does not begin anew.

use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::policy::Verdict;
use jiff::{SignedDuration, Timestamp};
use rusqlite::params;

use super::attempts::Attempt;
use super::{StudyStore, read, written};

/// How long something is set aside for an attempt of which nothing is heard any more.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An attempt for which budget is set aside.
pub struct Hold {
    /// The attempt, which has started.
    pub attempt: Attempt,
    /// When this node committed itself to it.
    pub since: Timestamp,
}

impl StudyStore {
    /// Records that this node commits itself to an attempt now.
    pub fn hold(&self, id: &AttemptId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO holds (study, number, since) VALUES (?1, ?2, ?3)";
        self.0.execute(sql, params![id.study, id.number, now.to_string()]).map(drop).map_err(written)
    }

    /// Nothing is set aside for an attempt any more, which cannot go on.
    pub fn end_hold(&self, id: &AttemptId) -> Result<(), StoreError> {
        let sql = "UPDATE holds SET has_ended = 1 WHERE study = ?1 AND number = ?2";
        self.0.execute(sql, params![id.study, id.number]).map(drop).map_err(written)
    }

    /// Those who have started, not all of whose vectors are stored, for whom something is set aside now.
    pub fn holds(&self, now: Timestamp) -> Result<Vec<Hold>, StoreError> {
        // Earlier versions did not write since when.
        let sql = "SELECT study, number, COALESCE(since, received) FROM tried LEFT JOIN holds USING (study, number)
            WHERE stage = 'joined' AND signed IS NOT NULL AND has_ended IS NOT 1";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let rows = select
            .query_map([], |row| Ok((AttemptId::new(row.get::<_, String>(0)?, row.get(1)?), row.get::<_, String>(2)?)))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(read)?;
        let mut holds = Vec::new();
        for (id, since) in rows {
            let since: Timestamp = since.parse().map_err(read)?;
            if now.duration_since(since) <= LONGEST
                && let Some(attempt) = self.get(&id)?
                && !self.is_denied(&attempt)?
            {
                holds.push(Hold { attempt, since });
            }
        }
        Ok(holds)
    }

    /// Whether a steward has denied what was proposed as an attempt, however long ago.
    pub fn is_denied(&self, attempt: &Attempt) -> Result<bool, StoreError> {
        let recorded = self.recorded_decision(&attempt.id.study, attempt.proposal.digest(&attempt.id))?;
        Ok(recorded.is_some_and(|(decision, ..)| matches!(decision.verdict, Verdict::Deny(_))))
    }
}
