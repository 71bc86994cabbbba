//! Databases: SQLite, one file each, for its owner alone.
//!
//! What a call has written when it returns survives a crash of the machine, and what is deleted is overwritten. Several
//! processes can have a database open; they wait for each other, ten seconds at most.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::files;

/// How long one process waits for another.
const WAIT: Duration = Duration::from_secs(10);

/// Why a database could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct OpenError {
    path: PathBuf,
    why: String,
}

/// Opens a database, which is made if it is not there.
///
/// # Errors
///
/// If it cannot be opened, or is not a database.
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |why: String| OpenError { path: path.to_owned(), why };
    // SQLite gives its other files the mode of this one.
    files::create_private(path).map_err(|error| failed(error.to_string()))?;
    durable(path).map_err(|error| failed(error.to_string()))
}

fn durable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

/// Opens an existing database to read from it, while another process may write.
///
/// # Errors
///
/// If it cannot be opened.
pub fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(WAIT)?;
        Ok(connection)
    });
    opened.map_err(|error| OpenError { path: path.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_durable_private_and_gone_when_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let connection = open(&path).unwrap();
        let pragma = |name: &str| -> String {
            let value =
                connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
            match value {
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("busy_timeout"), "Integer(10000)");
        connection
            .execute_batch("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('an ephemeral key'); DELETE FROM t")
            .unwrap();
        connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
        assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("ephemeral"));
        #[cfg(unix)]
        for name in ["a.sqlite", "a.sqlite-wal"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_reader_changes_nothing_and_a_wrong_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        assert!(open_read_only(&path).is_err() && !path.exists(), "a reader makes nothing");
        open(&path).unwrap().execute_batch("CREATE TABLE t (x TEXT)").unwrap();
        assert!(open_read_only(&path).unwrap().execute("INSERT INTO t VALUES ('x')", []).is_err());
        std::fs::write(&path, "this is no database, and longer than its header would be".repeat(10)).unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("a.sqlite"));
    }
}
