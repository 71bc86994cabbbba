//! What a study leaves at this node, such as an audience: written when the vector is stored, as others are charged by then. A failure
//! is this node's own affair, which its staff are told of.

use entente_protocols::attempt::AttemptId;
use tracing::error;

use super::Participant;
use crate::store::attempts::{Attempt, Stage};
use crate::works;

impl Participant {
    /// Says so where this node stopped between the vector of an attempt, which is stored, and what the study leaves here.
    pub(super) fn look_for_what_is_kept(&self, attempt: &Attempt) {
        let Attempt { id, proposal, stage: Stage::Started(_), .. } = attempt else { return };
        let Ok(question) = self.question(proposal) else { return };
        if self.part(&question).is_ok_and(|part| !works::has_kept(part, id, self.own())) {
            self.not_kept(id, "the node stopped before it was written");
        }
    }

    /// Says that what a study leaves here is not there.
    pub(super) fn not_kept(&self, AttemptId { study, number: attempt }: &AttemptId, why: &str) {
        error!(
            study,
            attempt,
            why,
            "ALARM: the study goes on, and its audience is not at {}: the same question is answered from what is stored and writes \
             none; mend the reason, then ask over newer data or for other features",
            self.name()
        );
    }
}
