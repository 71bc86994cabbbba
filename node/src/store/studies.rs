//! The studies that a node takes part in: the database, and the steward's decisions. What else it keeps of them is beside it.

use std::path::Path;

use entente_protocols::digest::Digest;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::policy::{StewardDecision, Verdict};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{open, read, written};

/// How long a steward's decision holds.
const DECISION_HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The studies a node takes part in, and the steward's decisions.
pub struct StudyStore(pub(super) Connection);

const STUDY_SCHEMA: &str = "
DROP TABLE IF EXISTS attempts; -- of earlier versions, whose attempts cannot go on
DROP TABLE IF EXISTS attempt;
DROP TABLE IF EXISTS attempted;
CREATE TABLE IF NOT EXISTS tried (study TEXT, number INTEGER, received TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT,
    proposal BLOB NOT NULL, pledge BLOB, signed BLOB, answers INTEGER NOT NULL, PRIMARY KEY (study, number)) STRICT;
CREATE INDEX IF NOT EXISTS tried_received ON tried (received);
CREATE TABLE IF NOT EXISTS models (study TEXT NOT NULL, name TEXT NOT NULL, predicts TEXT NOT NULL, source TEXT NOT NULL,
    sha256 TEXT NOT NULL, received TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (study, sha256)) STRICT;
CREATE TABLE IF NOT EXISTS evaluated (transcript TEXT PRIMARY KEY, learnt TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (study TEXT, number INTEGER, candidates TEXT, begun INTEGER NOT NULL,
    PRIMARY KEY (study, number, candidates)) STRICT;
CREATE TABLE IF NOT EXISTS holds (study TEXT, number INTEGER, since TEXT NOT NULL, has_ended INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (study, number)) STRICT;
CREATE TABLE IF NOT EXISTS receipts (study TEXT, attempt INTEGER, before TEXT NOT NULL, statement TEXT, part TEXT,
    PRIMARY KEY (study, attempt)) STRICT;
DROP TABLE IF EXISTS decisions; -- of earlier versions, which did not say of what
CREATE TABLE IF NOT EXISTS verdict (study TEXT, proposal TEXT, decision TEXT NOT NULL, time TEXT NOT NULL,
    approves INTEGER NOT NULL, has_ended INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (study, proposal)) STRICT;
";

impl StudyStore {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open(path, STUDY_SCHEMA).map(Self)
    }

    /// Records a steward's decision on what was proposed under a study's identifier; the last one counts.
    pub fn decide(&self, study: &str, decision: &StewardDecision, now: &str) -> Result<(), StoreError> {
        let json = serde_json::to_string(decision).map_err(written)?;
        let sql =
            "INSERT OR REPLACE INTO verdict (study, proposal, decision, time, approves) VALUES (?1, ?2, ?3, ?4, ?5)";
        let approves = decision.verdict == Verdict::Approve;
        let row = params![study, decision.proposal.to_string(), json, now, approves];
        self.0.execute(sql, row).map(drop).map_err(written)
    }

    /// The steward's decision on what is proposed, while it holds.
    pub fn decision(
        &self,
        study: &str,
        proposal: Digest,
        now: Timestamp,
    ) -> Result<Option<StewardDecision>, StoreError> {
        let recorded = self.recorded_decision(study, proposal)?;
        let holds = |(_, time, has_ended): &(StewardDecision, String, bool)| {
            let age = time.parse::<Timestamp>().map(|time| now.duration_since(time));
            !has_ended && age.is_ok_and(|age| !age.is_negative() && age <= DECISION_HOLDS)
        };
        Ok(recorded.filter(holds).map(|(decision, ..)| decision))
    }

    /// The same for an attempt that this node has signed, in which others may be charged by now: what was approved then does not run out
    /// any more. What has ended otherwise since, or is denied, has.
    pub fn standing_decision(&self, study: &str, proposal: Digest) -> Result<Option<StewardDecision>, StoreError> {
        let recorded = self.recorded_decision(study, proposal)?;
        Ok(recorded.filter(|(.., has_ended)| !has_ended).map(|(decision, ..)| decision))
    }

    /// The last decision on what is proposed, with its time and whether it has ended.
    pub fn recorded_decision(
        &self,
        study: &str,
        proposal: Digest,
    ) -> Result<Option<(StewardDecision, String, bool)>, StoreError> {
        let sql = "SELECT decision, time, has_ended FROM verdict WHERE study = ?1 AND proposal = ?2";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let row = select.query_row([study, &proposal.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let row: Option<(String, String, bool)> = row.optional().map_err(read)?;
        row.map(|(json, time, has_ended)| Ok((serde_json::from_str(&json).map_err(read)?, time, has_ended))).transpose()
    }

    /// The last denial of anything that was proposed under this identifier. It has no end.
    pub fn denial(&self, study: &str) -> Result<Option<StewardDecision>, StoreError> {
        let sql = "SELECT decision FROM verdict WHERE study = ?1 AND approves = 0 ORDER BY time DESC LIMIT 1";
        let mut select = self.0.prepare_cached(sql).map_err(read)?;
        let json: Option<String> = select.query_row([study], |row| row.get(0)).optional().map_err(read)?;
        json.map(|json| serde_json::from_str(&json).map_err(read)).transpose()
    }

    /// No approval of this study holds any more: it is over. A denial stays.
    pub fn end_approvals(&self, study: &str) -> Result<(), StoreError> {
        let sql = "UPDATE verdict SET has_ended = 1 WHERE study = ?1 AND approves = 1";
        self.0.execute(sql, [study]).map(drop).map_err(written)
    }
}
