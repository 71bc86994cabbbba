//! Why a ledger does not do what it is asked.

use super::account::OverCap;
use super::chain::Finding;
use super::note::NoteError;
use super::store::StoreError;
use crate::digest::Digest;
use crate::policy::OverQuota;

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A cap; a refusal, not a failure.
    #[error(transparent)]
    OverCap(Box<OverCap>),
    /// What its requester may ask for within a day; a refusal.
    #[error(transparent)]
    OverQuota(Box<OverQuota>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain is broken: nothing is released from this ledger any more.
    #[error(
        "the ledger is damaged or was changed: {0}; restore the state folder, or have it looked at with `entente-node ledger verify`"
    )]
    Damaged(Finding),
    /// A data set without a budget.
    #[error("there is no budget for data set `{0}`; add it to node.toml")]
    NoBudget(String),
    /// The bytes of a release are not those that were recorded: nothing of it is sent.
    #[error(
        "the stored bytes of release {0} are not those that its entry records: the database was damaged or changed; restore the state \
         folder from a backup"
    )]
    Bytes(Digest),
    /// A call out of order.
    #[error("release {0} is not in the state that this step needs")]
    OutOfOrder(Digest),
    /// An officer has paused it; a refusal.
    #[error("{0}")]
    Paused(String),
    /// Somebody holds a checkpoint of this ledger that it does not go on from; a refusal.
    #[error("{0}")]
    Quarantined(String),
    /// What an officer asks for cannot be done; a refusal.
    #[error("{0}")]
    Office(String),
}

impl LedgerError {
    /// Whether the ledger says no, by budget or by officers, rather than cannot.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::OverCap(_)
            | Self::OverQuota(_)
            | Self::NoBudget(_)
            | Self::Paused(_)
            | Self::Quarantined(_)
            | Self::Office(_) => true,
            Self::Store(_) | Self::Damaged(_) | Self::Bytes(_) | Self::OutOfOrder(_) => false,
        }
    }
}

impl From<OverCap> for LedgerError {
    fn from(over: OverCap) -> Self {
        Self::OverCap(Box::new(over))
    }
}

impl From<OverQuota> for LedgerError {
    fn from(over: OverQuota) -> Self {
        Self::OverQuota(Box::new(over))
    }
}

impl From<NoteError> for LedgerError {
    fn from(error: NoteError) -> Self {
        Self::Office(format!("no checkpoint can be made of this ledger: {error}"))
    }
}
