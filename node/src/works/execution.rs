//! What works have in common: how they are executed, with what, and why they stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::receipt::Statement;
use entente_protocols::privacy::bounds::{Bounded, Layout};

use super::score::keys::OwnKeys;
use crate::config::ModelRules;
use crate::data::audience::Scores;
use crate::data::{DataError, Dataset, Engine};
use crate::dialogue::Dialogue;
use crate::grid::Timing;
use crate::state::Folder;
use crate::store::{StoredModel, StudyStore};

/// The execution of one part in one attempt: what its rounds share. Calls block, and must be made where that is allowed.
pub trait Execution: Send {
    /// Checks the input of the next round, which [`Self::compute`] goes by: hash of the model that it evaluates, if it evaluates one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn ready(&mut self, round: u32, input: &[u8]) -> Result<Option<Digest>, String>;

    /// Tells and asks other participants what has to be known before anything is charged.
    ///
    /// # Errors
    ///
    /// If they refuse, or are silent.
    fn meet(&mut self, _: &Means<'_>) -> Result<(), Problem> {
        Ok(())
    }

    /// What the round comes to that was made ready.
    ///
    /// # Errors
    ///
    /// If it cannot be computed.
    fn compute(&mut self, means: &Means<'_>, dataset: &Dataset, layout: Layout) -> Result<Computed, Problem>;

    /// Says to other participants, instead of [`Self::compute`] or after it, what it would say if there were no customers: they are not
    /// to see that the data could not be read.
    ///
    /// # Errors
    ///
    /// If they refuse, or are silent.
    fn nobody(&mut self, _: &Means<'_>) -> Result<(), Problem> {
        Ok(())
    }
}

/// What a round comes to at this node.
pub struct Computed {
    /// What goes on to noise and masks.
    pub bounded: Bounded,
    /// What stays here.
    pub keeps: Option<Keep>,
}

/// What a study leaves at a node, for its own staff.
pub enum Keep {
    /// The scores of its customers, and the data set that they are in.
    Audience(Scores, Dataset),
    /// The model that it has helped to train.
    Model(StoredModel),
}

/// The end of an attempt with a result, as its receipt states it.
pub struct End<'a> {
    /// The attempt.
    pub id: &'a AttemptId,
    /// Hash of the plan of those whose customers were summed over.
    pub plan: Digest,
    /// What everybody signed before anything was computed.
    pub transcript: Digest,
    /// What the receipt states.
    pub statement: &'a Statement,
    /// SHA-256 of the result.
    pub result: Digest,
    /// The model file that came with it.
    pub model: &'a [u8],
    /// When it came, RFC 3339.
    pub now: String,
}

/// What an execution does its work with.
pub struct Means<'a> {
    /// What this node has of its own.
    pub own: Own<'a>,
    /// What all participants have signed.
    pub transcript: Digest,
    /// The other participants that this one asks, by name.
    pub dialogues: &'a BTreeMap<String, Dialogue<'a>>,
    /// When the round was told, and what it is predicted to take.
    pub timing: Timing,
}

/// What a node has of its own, beside its data sets.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its folder.
    pub folder: &'a Folder,
    /// Its models, and the studies that it took part in.
    pub studies: &'a Arc<Mutex<StudyStore>>,
    /// How far its models may score others' customers.
    pub rules: ModelRules,
    /// What reads its data sets.
    pub engine: &'a Engine,
    /// What works keep in memory over attempts.
    pub memory: &'a Memory,
}

/// What works keep in memory over attempts.
#[derive(Default)]
pub struct Memory {
    /// Evaluation keys of this node's models.
    pub(super) keys: OwnKeys,
}

/// Why a work does not go on.
#[derive(Debug)]
pub enum Problem {
    /// By public facts: this node, or another participant, refuses.
    Refused(String),
    /// Here, and in detail only.
    Failed(String),
    /// The data could not be read to their end.
    Unread(String),
}

impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        Self::Unread(error.to_string())
    }
}

impl From<entente_protocols::lookalike::Refused> for Problem {
    fn from(refused: entente_protocols::lookalike::Refused) -> Self {
        Self::Failed(refused.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}
