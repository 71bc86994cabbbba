//! One error for commands and requests: refused, or failed.
//!
//! A refusal, or the user's mistake, ends a command with exit code 1; a failure, something that should have worked and
//! did not, with 2. What failed, where and why stands apart from what to do about it: a command prints the one as its
//! error and the other as help.

use std::io::{self, ErrorKind};
use std::path::Path;

use entente_protocols::config::ConfigError;
use entente_protocols::ledger::LedgerError;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::reason::Reason;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Refused, or the user's mistake.
    #[error("{0}")]
    Refused(Reason),
    /// It should have worked.
    #[error("{0}")]
    Failed(Reason),
}

impl Error {
    /// Refused, or the user's mistake.
    pub fn refused(reason: impl Into<Reason>) -> Self {
        Self::Refused(reason.into())
    }

    /// It should have worked.
    pub fn failed(reason: impl Into<Reason>) -> Self {
        Self::Failed(reason.into())
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(self, remedy: impl Into<String>) -> Self {
        match self {
            Self::Refused(reason) => Self::Refused(reason.help(remedy)),
            Self::Failed(reason) => Self::Failed(reason.help(remedy)),
        }
    }

    /// What failed, and what to do about it.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Refused(reason) | Self::Failed(reason) => reason,
        }
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
            | ErrorKind::ReadOnlyFilesystem => Self::refused(text),
            _ => Self::failed(text),
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
        Self::Refused(error.reason.at(error.file))
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
