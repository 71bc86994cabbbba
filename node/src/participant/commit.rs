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
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::SetAside;
use entente_protocols::ledger::store::StoreError;
use entente_protocols::secagg::pledge::Pledge;
use tracing::warn;

use super::{Participant, Problem, still_to_charge};
use crate::store::attempts::{Attempt, Stage};
use crate::store::holds::{Hold, LONGEST};
use crate::works;

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
        drop(self.approved(attempt, request.clone())?);
        works::can_keep(self.part(&question)?, id, self.own())?;
        if self.contributes(&question) {
            self.let_go_of_denied()?;
            let now = self.clock.now();
            lock(&self.studies).hold(id, now)?;
            let set_aside = self.ledger()?.earmark(&request, &self.quota(&request.requester), now);
            return set_aside.map_err(|error| super::join::over(error, request));
        }
        let obstacle = self.ledger()?.obstacle(&request.dataset, request.study.kind);
        obstacle.map_err(Problem::from)
    }

    /// Sets aside again what attempts may still cost that had started when this node stopped.
    pub(super) fn commit_again(&self) -> Result<(), StoreError> {
        let holds = lock(&self.studies).holds(self.clock.now())?;
        for Hold { attempt, since } in holds {
            let Stage::Started(started) = &attempt.stage else { continue };
            if matches!(self.ephemeral.get(&attempt.id), Ok(None)) {
                lock(&self.studies).end_hold(&attempt.id)?;
                continue;
            }
            let Ok(question) = self.question(&attempt.proposal) else {
                warn!(study = attempt.id.study, attempt = attempt.id.number, "it cannot go on: node.toml has changed");
                continue;
            };
            let still = still_to_charge(&lock(&self.ledger), self.name(), &question, started);
            if let Some((reads, open)) = still {
                let by_year = self.config.by_year(reads);
                let requester = &attempt.proposal.requester;
                let set_aside = SetAside { dataset: reads.dataset, by_year: by_year.as_ref(), requester, open };
                lock(&self.ledger).earmark_again(&attempt.id, set_aside, since);
            }
        }
        Ok(())
    }

    /// Lets go of what is set aside for attempts that a steward has denied since, beside this node: they are refused if they go on.
    pub(super) fn let_go_of_denied(&self) -> Result<(), StoreError> {
        let set_aside: Vec<AttemptId> = lock(&self.ledger).set_aside_for().cloned().collect();
        for id in set_aside {
            let studies = lock(&self.studies);
            let known = studies.get(&id)?;
            if known.is_some_and(|attempt| studies.is_denied(&attempt).is_ok_and(|denied| denied)) {
                drop(studies);
                lock(&self.ledger).let_go(&id);
            }
        }
        Ok(())
    }

    /// Lets go of what was set aside for attempts that nobody has ended.
    pub(super) fn let_go_of_old(&self) {
        if let Ok(then) = self.clock.now().checked_sub(LONGEST) {
            lock(&self.ledger).let_go_before(then);
        }
    }
}
