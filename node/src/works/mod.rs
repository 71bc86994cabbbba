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
use entente_protocols::learn::frame::Place;
use entente_protocols::study::parts::{Learns, Part, Work};

use crate::dialogue::Answer;
pub use execution::{Computed, End, Execution, Keep, Means, Memory, Own, Problem};

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

/// What the end of an attempt leaves here of what a part has led to, if it leaves anything.
///
/// # Errors
///
/// What tells that it is not what the part has led to.
pub fn learnt(part: Part<'_>, end: &End<'_>, own: Own<'_>) -> Result<Option<Keep>, String> {
    match part.work {
        Work::Rounds(plan) if part.learns == Learns::Rounds => rounds::learnt(plan, end, own).map(Some),
        Work::Sums(_) | Work::Rounds(_) | Work::Score(_) | Work::Hold(_) => Ok(None),
    }
}

impl Keep {
    /// Writes it into this node's folder; what has no time of its own, as of `now`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(self, id: &AttemptId, now: String, own: Own<'_>) -> Result<(), Problem> {
        match self {
            Self::Audience(scores, dataset) => score::keep(scores, id, now, &dataset, own),
            Self::Model(model) => rounds::keep(&model, own),
        }
    }
}
