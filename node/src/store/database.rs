//! A database of this folder, and what is said where one fails.

use std::path::Path;

use entente_host::sqlite;
use entente_protocols::ledger::store::StoreError;
use rusqlite::Connection;

pub(super) fn read<E: std::fmt::Display>(error: E) -> StoreError {
    StoreError { what: "read", why: error.to_string() }
}

pub(super) fn written<E: std::fmt::Display>(error: E) -> StoreError {
    StoreError { what: "written", why: error.to_string() }
}

pub(super) fn unopened(error: sqlite::OpenError) -> StoreError {
    StoreError { what: "opened", why: error.to_string() }
}

pub(super) fn open(path: &Path, schema: &str) -> Result<Connection, StoreError> {
    let connection = sqlite::open(path).map_err(unopened)?;
    let made = connection.execute_batch(schema);
    made.map_err(|error| StoreError { what: "opened", why: format!("{}: {error}", path.display()) })?;
    Ok(connection)
}
