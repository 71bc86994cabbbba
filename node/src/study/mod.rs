//! Execution of studies, one file a study kind: where the data and the protocol meet.

mod query;
mod train;

use std::sync::Arc;

use entente_protocols::learn::training::Place;
use entente_protocols::privacy::bounds::{Bounded, Layout};
use entente_protocols::study::Plan;

use crate::data::{DataError, Dataset, Engine};

/// The execution of one attempt of a study: what its rounds share.
pub enum Execution {
    /// Of a query, whose rounds share nothing: it has one.
    Query,
    /// Of a training.
    Train(train::Execution),
}

/// A round whose input has been checked.
pub enum Ready {
    /// Of a query.
    Query,
    /// Of a training.
    Train(train::Ready),
}

impl Execution {
    /// Nothing is read yet. `place` is this node's among the participants.
    pub fn new(plan: &Plan, place: Place) -> Self {
        match plan {
            Plan::Query(_) => Self::Query,
            Plan::Train(_) => Self::Train(train::Execution::new(place)),
        }
    }

    /// Checks what a round is told; `Err` says what is wrong with it.
    pub fn ready(&self, plan: &Plan, round: u32, input: &[u8]) -> Result<Ready, String> {
        match (self, plan) {
            (Self::Query, Plan::Query(_)) if round == 1 && input.is_empty() => Ok(Ready::Query),
            (Self::Query, _) => Err("a query has one round, without an input".into()),
            (Self::Train(execution), Plan::Train(plan)) => execution.ready(plan, round, input).map(Ready::Train),
            (Self::Train(_), Plan::Query(_)) => Err("the plan is not one of a training".into()),
        }
    }

    /// The bounded sums of a round. Blocks, and must be called where that is allowed.
    pub fn compute(
        &mut self,
        ready: Ready,
        engine: &impl Engine,
        dataset: &Dataset,
        plan: &Plan,
        layout: Layout,
    ) -> Result<Bounded, DataError> {
        let runtime = tokio::runtime::Handle::current();
        match (self, ready, plan) {
            (Self::Query, Ready::Query, Plan::Query(plan)) => runtime.block_on(query::execute(engine, dataset, plan)),
            (Self::Train(execution), Ready::Train(ready), Plan::Train(plan)) => {
                runtime.block_on(execution.read(engine, dataset, plan))?;
                execution.compute(ready, Arc::new(layout))
            }
            _ => Err(DataError::opaque("a round of another study kind")),
        }
    }
}
