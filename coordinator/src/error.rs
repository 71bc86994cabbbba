//! Why something was not done: refused (or the user's mistake), or failed.

/// What went wrong, told so that whoever reads it knows what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Refused, or the user's mistake. Exit code 1.
    #[error("{0}")]
    Refused(String),
    /// It should have worked and did not. Exit code 2.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code of a command that ends so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Failed(_) => 2,
        }
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}
