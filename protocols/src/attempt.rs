//! Attempts of studies: what pledges, transcripts, messages, noise and charges are of.

use std::fmt;

/// One attempt of a study. Attempts have their own participants, keys, noise and charges, for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct AttemptId {
    /// The study's identifier.
    pub study: String,
    /// Counted from 1.
    pub number: u32,
}

impl AttemptId {
    /// Attempt `number` of `study`.
    pub fn new(study: impl Into<String>, number: u32) -> Self {
        Self { study: study.into(), number }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} of study {}", self.number, self.study)
    }
}
