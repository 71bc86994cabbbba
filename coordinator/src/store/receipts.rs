//! Receipts: what is stated of a study, and what its participants have signed of it by now.

use entente_host::Error;
use entente_protocols::ledger::receipt::{Coordinator, Part, Receipt, Statement, canonical, parse_statement};
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Store, failed};

/// Keeps what is stated of a study.
pub(super) fn put(connection: &Connection, statement: &Statement, coordinator: &Coordinator) -> Result<(), Error> {
    let sql = "INSERT OR REPLACE INTO receipt (study, statement, coordinator) VALUES (?1, ?2, ?3)";
    let row = params![statement.subject.study, canonical(statement), canonical(coordinator)];
    connection.execute(sql, row).map(drop).map_err(failed)
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("a receipt in entente.db is damaged: {error}"))
}

impl Store {
    /// What is stated of a study that is done, in canonical form.
    pub fn statement(&self, study: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT statement FROM receipt WHERE study = ?1";
        self.lock().query_row(sql, [study], |row| row.get(0)).optional().map_err(failed)
    }

    /// Keeps a participant's part, which the caller has verified.
    pub fn put_part(&self, study: &str, part: &Part) -> Result<(), Error> {
        let sql = "INSERT OR REPLACE INTO receipt_part (study, node, part) VALUES (?1, ?2, ?3)";
        self.lock().execute(sql, params![study, part.node, canonical(part)]).map(drop).map_err(failed)
    }

    /// A study's receipt, with the parts that are there; `None` before it is done.
    pub fn receipt(&self, study: &str) -> Result<Option<Receipt>, Error> {
        let connection = self.lock();
        let sql = "SELECT statement, coordinator FROM receipt WHERE study = ?1";
        let found: Option<(String, String)> =
            connection.query_row(sql, [study], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(failed)?;
        let Some((statement, coordinator)) = found else { return Ok(None) };
        let statement = parse_statement(&statement).map_err(damaged)?;
        let coordinator = serde_json::from_str(&coordinator).map_err(damaged)?;
        let mut query =
            connection.prepare("SELECT part FROM receipt_part WHERE study = ?1 ORDER BY node").map_err(failed)?;
        let parts = query.query_map([study], |row| row.get::<_, String>(0));
        let parts: Vec<String> = parts.and_then(Iterator::collect).map_err(failed)?;
        let parts = parts.iter().map(|part| serde_json::from_str(part).map_err(damaged)).collect::<Result<_, _>>()?;
        Ok(Some(Receipt::new(statement, coordinator, parts)))
    }
}
