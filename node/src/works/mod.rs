//! Works: what a node does in a study, one file or folder a work: where the data and the protocol meet.
//!
//! Which study kind it is for, a work does not know ([`entente_protocols::study::parts`]). Works are chosen among here and nowhere
//! else.

mod execution;
mod rounds;
mod score;
mod sums;

use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::learn::frame::Place;
use entente_protocols::study::parts::{Part, Work};

use crate::data::Dataset;
use crate::dialogue::Answer;
pub use execution::{Computed, Execution, Keep, Means, Memory, Own, Problem};

/// Begins a part; nothing is read yet. `place` is this node's among those who contribute.
///
/// # Errors
///
/// If the part brings nothing to a round.
pub fn begin(part: Part<'_>, place: Place) -> Result<Box<dyn Execution>, Problem> {
    match part.work {
        Work::Sums(plan) => Ok(Box::new(sums::Execution::new(plan.clone()))),
        Work::Rounds(plan) => Ok(Box::new(rounds::Execution::new(plan.clone(), place))),
        Work::Score(plan) => Ok(Box::new(score::Execution::new(plan.clone(), part))),
        Work::Hold(_) => Err(Problem::Refused("this node has nothing to bring to a round".into())),
    }
}

/// What answers another participant, where a part answers it.
///
/// # Errors
///
/// If this node cannot answer, or is not to.
pub fn answering(
    part: Part<'_>,
    (id, transcript): (&AttemptId, Digest),
    from: &str,
    own: Own<'_>,
) -> Result<Box<dyn Answer>, Problem> {
    match part.work {
        Work::Score(plan) => score::answering(&plan.scoring, (id, transcript), from, own),
        Work::Hold(scoring) => score::answering(scoring, (id, transcript), from, own),
        Work::Sums(_) | Work::Rounds(_) => {
            Err(Problem::Refused("the study has nothing that participants say to each other".into()))
        }
    }
}

/// Whether this node's rules let it do its part in an attempt, beyond what policy says of all studies.
///
/// # Errors
///
/// Which rule does not, and why it is there.
pub fn rules(part: Part<'_>, id: &AttemptId, own: Own<'_>) -> Result<(), Problem> {
    match part.work {
        Work::Score(plan) if plan.scoring.seed_partner == own.name => score::rules(&plan.scoring, id, own),
        Work::Hold(scoring) => score::rules(scoring, id, own),
        Work::Sums(_) | Work::Rounds(_) | Work::Score(_) => Ok(()),
    }
}

/// Whether what a part leaves at this node can be written there, as far as that is known before anything is charged.
///
/// # Errors
///
/// Why it cannot.
pub fn can_keep(part: Part<'_>, id: &AttemptId, own: Own<'_>) -> Result<(), Problem> {
    match part.work {
        Work::Score(_) => score::can_keep(id, own),
        Work::Sums(_) | Work::Rounds(_) | Work::Hold(_) => Ok(()),
    }
}

/// Whether what a part leaves at this node is there.
pub fn has_kept(part: Part<'_>, id: &AttemptId, own: Own<'_>) -> bool {
    match part.work {
        Work::Score(_) => score::has_kept(id, own),
        Work::Sums(_) | Work::Rounds(_) | Work::Hold(_) => true,
    }
}

/// Whether a model is the one that a part's rounds led to, as far as this node can tell: `evaluated` is the hash of the one that the
/// last round told it of.
///
/// # Errors
///
/// What tells that it is not.
pub fn has_trained(part: Part<'_>, file: &ModelFile, evaluated: Option<Digest>) -> Result<(), String> {
    match part.work {
        Work::Rounds(plan) => rounds::has_trained(plan, file, evaluated),
        Work::Sums(_) | Work::Score(_) | Work::Hold(_) => Err("the study trains no model".into()),
    }
}

impl Keep {
    /// Writes it into this node's folder. How many customers it is about, and what becomes of it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(self, id: &AttemptId, created: String, dataset: &Dataset, own: Own<'_>) -> Result<(), Problem> {
        match self {
            Self::Audience(scores) => score::keep(scores, id, created, dataset, own),
        }
    }
}
