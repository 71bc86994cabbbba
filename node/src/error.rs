//! Errors as the command line ends with them: whose fault, and what to do.

use std::path::Path;

/// An error with the exit code it means: 1 refused or the user's mistake, 2 failure.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    code: u8,
}

impl Error {
    /// Refused, or the user's mistake.
    pub fn user(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// A failure.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Something could not be done with a file: the user's to mend where it is missing or forbidden.
    pub fn file(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let message = format!("could not {what} {}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => Self::user(message),
            _ => Self::failure(message),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl From<entente_protocols::config::ConfigError> for Error {
    fn from(error: entente_protocols::config::ConfigError) -> Self {
        Self::user(error.to_string())
    }
}

impl From<entente_protocols::ledger::LedgerError> for Error {
    fn from(error: entente_protocols::ledger::LedgerError) -> Self {
        use entente_protocols::ledger::LedgerError;
        match error {
            LedgerError::OverCap(_)
            | LedgerError::NoBudget(_)
            | LedgerError::Paused(_)
            | LedgerError::Quarantined(_)
            | LedgerError::Office(_) => Self::user(error.to_string()),
            LedgerError::Store(_) | LedgerError::Damaged(_) | LedgerError::Bytes(_) | LedgerError::OutOfOrder(_) => {
                Self::failure(error.to_string())
            }
        }
    }
}

impl From<entente_protocols::ledger::store::StoreError> for Error {
    fn from(error: entente_protocols::ledger::store::StoreError) -> Self {
        Self::failure(error.to_string())
    }
}
