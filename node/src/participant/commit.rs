//! What a node looks at before it commits itself to an attempt, by its signature on the transcript.
//!
//! Nobody is charged before everybody has signed. So whatever a node may refuse for is looked at before: once others are charged, it
//! refuses nothing that it could have known. What the attempt may cost is set aside in the ledger until it ends, so that another
//! study, which goes on at the same time, does not use it up.
//!
//! If its data cannot be read any more by then, it is charged all the same and sums over nobody (`rounds`): a failure that others see
//! would tell them of rows, and leave them with a charge.
//!
//! What a person does after that still counts: an officer's pause, a steward's denial, a partner that staff drop.

use entente_host::locks::lock;
use entente_protocols::ledger::SetAside;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::pledge::Pledge;
use entente_protocols::study::Question;
use jiff::SignedDuration;
use tracing::warn;

use super::{Participant, Problem, release_id};
use crate::store::attempts::{Attempt, Stage, Started};

/// How long something is set aside for an attempt of which nothing is heard any more.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Participant {
    /// Checks all that this node may refuse an attempt for that is computed anew, and sets aside what it costs.
    pub(super) fn commit(&self, attempt: &Attempt, pledge: &Pledge) -> Result<(), Problem> {
        let Attempt { id, proposal, .. } = attempt;
        self.confirmed_with(&proposal.participants)?;
        self.asked_for(id, proposal)?;
        let question = self.question(proposal)?;
        if pledge.question != question.digest() {
            return Err(Problem::failed("the proposal asks something else than this node has pledged to take part in"));
        }
        let snapshot = self.present(&question, proposal)?;
        let request = self.request((id, proposal), &question, *question.rounds().start(), snapshot)?;
        drop(self.approved(id, request.clone())?);
        if self.contributes(&question) {
            let set_aside = self.ledger()?.earmark(&request, &self.quota(&request.requester), self.clock.now());
            return set_aside.map_err(|error| super::join::over(error, request));
        }
        let obstacle = self.ledger()?.obstacle(&request.dataset, request.study.kind);
        obstacle.map_err(Problem::from)
    }

    /// Sets aside again what attempts may still cost that had started when this node stopped.
    pub(super) fn commit_again(&self) -> Result<(), StoreError> {
        let started = lock(&self.studies).started()?;
        for attempt in started {
            let Stage::Started(started) = &attempt.stage else { continue };
            let Ok(question) = self.question(&attempt.proposal) else {
                warn!(study = attempt.id.study, attempt = attempt.id.number, "it cannot go on: node.toml has changed");
                continue;
            };
            if let Some((dataset, open)) = self.still_to_charge(&question, started) {
                let set_aside = SetAside { dataset, requester: &attempt.proposal.requester, open };
                lock(&self.ledger).earmark_again(&attempt.id, set_aside, self.clock.now());
            }
        }
        Ok(())
    }

    /// What an attempt may still cost, and which data set.
    fn still_to_charge<'q>(&self, question: &'q Question, started: &Started) -> Option<(&'q str, Rho)> {
        let dataset = self.part(question).ok().filter(|part| part.charged)?.work.reads()?.dataset;
        let (ledger, transcript) = (lock(&self.ledger), started.signed.transcript.digest());
        let charges = question.rounds().filter_map(|round| ledger.charge_of(release_id(transcript, round)));
        Some((dataset, question.rho_from(0).minus(charges.map(|(rho, _)| rho).sum())))
    }

    /// Lets go of what was set aside for attempts that nobody has ended.
    pub(super) fn let_go_of_old(&self) {
        if let Ok(then) = self.clock.now().checked_sub(LONGEST) {
            lock(&self.ledger).let_go_before(then);
        }
    }
}
