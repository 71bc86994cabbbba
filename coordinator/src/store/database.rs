//! The database itself: its form, and that it is opened in it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::sqlite;
use entente_protocols::digest::Digest;
use rusqlite::Connection;

/// The database of an alliance.
pub struct Store {
    connection: Mutex<Connection>,
}

const VERSION: i64 = 8;

const SCHEMA: &str = "
CREATE TABLE ticket (
    hash BLOB PRIMARY KEY,           -- of the secret, which is in the ticket alone
    partner TEXT NOT NULL,
    expires INTEGER NOT NULL,        -- seconds since 1970
    used INTEGER
) STRICT;
CREATE TABLE partner (
    name TEXT PRIMARY KEY,
    identity BLOB NOT NULL,
    tls BLOB NOT NULL UNIQUE,        -- SHA-256 of the public key of its certificate
    certificate BLOB NOT NULL,
    enrolled INTEGER NOT NULL
) STRICT;
CREATE TABLE revoked (
    tls BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    identity BLOB NOT NULL,
    certificate BLOB NOT NULL,
    revoked INTEGER NOT NULL
) STRICT;
CREATE TABLE last_seen (
    name TEXT PRIMARY KEY,
    time INTEGER NOT NULL,
    software TEXT NOT NULL,
    datasets TEXT NOT NULL,          -- public schemas, JSON
    entries INTEGER NOT NULL,        -- head of its ledger
    head BLOB NOT NULL
) STRICT;
CREATE TABLE study (
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    study BLOB NOT NULL,             -- canonical bytes
    requester TEXT NOT NULL,
    named TEXT NOT NULL,             -- everybody it was proposed to at first, JSON
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    participants TEXT NOT NULL,      -- of this attempt, JSON
    warnings TEXT NOT NULL,          -- JSON
    reason TEXT
) STRICT;
CREATE TABLE result (
    study TEXT NOT NULL,
    file TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (study, file)
) STRICT;
CREATE TABLE notice (                -- what a node has still to be told: the result's hash, or why it was given up
    node TEXT NOT NULL,
    study TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    result BLOB,
    reason TEXT NOT NULL,
    PRIMARY KEY (node, study, attempt)
) STRICT;
";

/// What version 2 has more than version 1.
const ROUNDS: &str = "
CREATE TABLE round (                 -- sums of complete rounds, noise included
    study TEXT NOT NULL,
    round INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    participants INTEGER NOT NULL,
    plan BLOB NOT NULL,
    transcript BLOB NOT NULL,
    repeated INTEGER NOT NULL,
    rho INTEGER NOT NULL,            -- micro-units
    rho_person INTEGER NOT NULL,
    sd BLOB NOT NULL,                -- little-endian numbers of 64 bits
    sum BLOB NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (study, round)
) STRICT;
CREATE TABLE lost_round (            -- the last round of each attempt that nodes may have been charged for, whether or not it has a sum
    study TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    rho INTEGER NOT NULL,
    rho_person INTEGER NOT NULL,
    PRIMARY KEY (study, attempt)
) STRICT;
";

/// What version 3 has in another form than version 2: nodes show their checkpoints anew.
const CHECKPOINTS: &str = "
DROP TABLE IF EXISTS checkpoint;
CREATE TABLE checkpoint (            -- the latest of each node, by identity: a partner that enrols anew begins anew
    identity BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    entries INTEGER NOT NULL,
    note TEXT NOT NULL               -- with the coordinator's cosignature
) STRICT;
";

/// What version 4 has more than version 3.
const OVERSIGHT: &str = "
CREATE TABLE alarm (                 -- where what a node's ledger shows contradicts what was witnessed of it
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    reason TEXT NOT NULL,
    first INTEGER NOT NULL,          -- seconds since 1970
    last INTEGER NOT NULL,
    acknowledged INTEGER,
    note TEXT
) STRICT;
CREATE TABLE receipt (               -- what is stated of a study that is done
    study TEXT PRIMARY KEY,
    statement TEXT NOT NULL,         -- canonical JSON
    coordinator TEXT NOT NULL        -- its signature, JSON
) STRICT;
CREATE TABLE receipt_part (          -- what participants have signed of it
    study TEXT NOT NULL,
    node TEXT NOT NULL,
    part TEXT NOT NULL,              -- JSON
    PRIMARY KEY (study, node)
) STRICT;
";

/// What version 5 has more than version 4.
const RESUMED: &str = "
ALTER TABLE study ADD COLUMN begun INTEGER NOT NULL DEFAULT 1; -- the attempt with which it began, or was resumed after its end
";

/// What version 6 has more than version 5.
const COMPOSED: &str = "
CREATE TABLE composed (              -- studies that follow one another
    id TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    asked BLOB NOT NULL,             -- canonical bytes
    begun INTEGER NOT NULL,          -- how many legs have
    refusal TEXT                     -- why the next could not
) STRICT;
";

/// What version 7 has more than version 6: which round, as they are kept before nodes are told to compute them.
const BEGUN: &str = "
ALTER TABLE lost_round ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
";

/// What version 8 has more than version 7.
const PETITIONS: &str = "
ALTER TABLE study ADD COLUMN petition BLOB; -- the requester's signature, canonical bytes; NULL of the operator's
";

impl Store {
    /// Opens the database of the alliance in `dir`; makes it if there is none.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut connection = sqlite::open(&dir.join("entente.db")).map_err(failed)?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
        match transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).map_err(failed)? {
            before @ 0..VERSION => {
                if before == 0 {
                    transaction.execute_batch(SCHEMA).map_err(failed)?;
                }
                if before < 2 {
                    transaction.execute_batch(ROUNDS).map_err(failed)?;
                }
                if before < 3 {
                    transaction.execute_batch(CHECKPOINTS).map_err(failed)?;
                }
                if before < 4 {
                    transaction.execute_batch(OVERSIGHT).map_err(failed)?;
                }
                if before < 5 {
                    transaction.execute_batch(RESUMED).map_err(failed)?;
                }
                if before < 6 {
                    transaction.execute_batch(COMPOSED).map_err(failed)?;
                }
                if before < 7 {
                    transaction.execute_batch(BEGUN).map_err(failed)?;
                }
                transaction.execute_batch(PETITIONS).map_err(failed)?;
                transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
            }
            VERSION => {}
            other => {
                return Err(Error::failed(format!(
                    "entente.db was written by another version (format {other}, this one reads {VERSION})"
                ))
                .help("use the newer of the two"));
            }
        }
        transaction.commit().map_err(failed)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left no half-done change: an open transaction is rolled back.
        lock(&self.connection)
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("the alliance's database entente.db could not be read or written: {error}"))
}

pub(super) fn digest(bytes: Vec<u8>) -> rusqlite::Result<Digest> {
    let bytes = bytes.try_into().map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, 32))?;
    Ok(Digest(bytes))
}
