//! One error for commands and requests: refused, or failed.
//!
//! A refusal, or the user's mistake, ends a command with exit code 1; a failure, something that should have worked and
//! did not, with 2. The text is for people: what failed, where, why, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::Path;

use entente_protocols::config::ConfigError;
use entente_protocols::ledger::LedgerError;
use entente_protocols::ledger::store::StoreError;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Refused, or the user's mistake.
    #[error("{0}")]
    Refused(String),
    /// It should have worked.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Refused, or the user's mistake.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// It should have worked.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// "could not WHAT PATH: why". The user's mistake if the path is wrong or forbidden, or the file's content is not
    /// what it should be; a failure if the machine is at fault, as with a full disk.
    pub fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        let text = format!("could not {what} {}: {error}", path.display());
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::InvalidFilename
            | ErrorKind::ReadOnlyFilesystem => Self::Refused(text),
            _ => Self::Failed(text),
        }
    }

    /// The exit code of a command that ends so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Failed(_) => 2,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::refused(error.to_string())
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        if error.is_refusal() { Self::refused(error.to_string()) } else { Self::failed(error.to_string()) }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_the_users_and_a_full_disk_is_not() {
        let file = |kind: ErrorKind| Error::file("write", Path::new("a/b"), &kind.into());
        for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::IsADirectory] {
            assert_eq!(file(kind).exit_code(), 1, "{kind}");
        }
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            assert_eq!(file(kind).exit_code(), 2, "{kind}");
        }
        assert!(file(ErrorKind::NotFound).to_string().starts_with("could not write a/b: "));
    }
}
