//! What goes into a study's [`Run`](super::run::Run), and what comes out.

use std::collections::BTreeMap;

use entente_host::Error;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::Roster;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::study::Question;
use entente_protocols::wire::message::{Progress, ToAttempt};

use super::event::AttemptEvent;
use super::queue::Turn;
use crate::kinds::RoundState;
use crate::store::{LostRound, RoundRecord, StudyRecord};

/// What a run asks about the alliance as it is now.
pub(super) trait Known {
    /// The roster.
    fn roster(&self) -> Result<Roster, Error>;
    /// The public schemas of a node that has connected since the coordinator started.
    fn schemas(&self, node: &str) -> Option<Vec<DatasetSchema>>;
    /// The public schemas of those of these partners that have ever connected.
    fn published(&self, partners: &[String]) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error>;
    /// Why a node's ledger is not trusted, if it is not.
    fn distrusted(&self, node: &str) -> Option<String>;
    /// Whether a node is connected.
    fn is_connected(&self, node: &str) -> bool;
}

/// What happens to a run.
pub(super) enum Event {
    /// Time passes.
    Time,
    /// Where it stands in the queue; the first of all events.
    Turn(Turn),
    /// What its nodes and its operator do.
    Attempt(AttemptEvent),
    /// The result was made, and is kept; this is what participants are told of it.
    Made(Box<ToAttempt>),
    /// What it asked for could not be done.
    Failed(Error),
}

/// What is to be done.
pub(super) enum Action {
    /// Tell a participant something, if it is connected.
    Tell {
        /// The participant.
        node: String,
        /// What it is about.
        attempt: AttemptId,
        /// What it is told.
        told: ToAttempt,
    },
    /// Keep that nodes may be charged for a round from now on, before any is told to compute it.
    Begin(LostRound),
    /// Keep a complete round, and that the next is begun, beside what comes next.
    Keep(RoundRecord, Option<LostRound>),
    /// Keep where the study stands after an attempt was given up, then tell nodes why.
    GiveUp {
        /// The study as it is now.
        record: Box<StudyRecord>,
        /// Who is told.
        nodes: Vec<String>,
        /// The attempt.
        attempt: u32,
        /// What they are told.
        reason: String,
    },
    /// Say where it stands.
    Report(Progress),
    /// Make the result and keep it, with the study as it is then; [`Event::Made`] follows.
    Finish(Box<Complete>),
    /// It is over.
    End(Result<(), Error>),
}

impl Action {
    /// Whether it is done only when the round that is being kept is there.
    pub(super) fn waits_for_rounds(&self) -> bool {
        match self {
            Self::Tell { .. } | Self::Report(_) => false,
            Self::Begin(_) | Self::Keep(..) | Self::GiveUp { .. } | Self::Finish(_) | Self::End(_) => true,
        }
    }
}

/// A study whose rounds are all there.
pub(super) struct Complete {
    /// The study as it is when its result is there.
    pub(super) record: StudyRecord,
    /// What was asked in the last attempt.
    pub(super) question: Question,
    /// What was made of the rounds' sums.
    pub(super) state: RoundState,
    /// All rounds.
    pub(super) rounds: Vec<RoundRecord>,
    /// Rounds in which attempts were given up.
    pub(super) lost: Vec<LostRound>,
}
