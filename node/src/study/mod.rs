//! Execution of studies, one file a study kind: where the data and the protocol meet.

pub mod lookalike;
mod query;
mod train;

use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::learn::frame::Place;
use entente_protocols::privacy::bounds::{Bounded, Layout};
use entente_protocols::study::Plan;

use crate::data::audience::Scores;
use crate::data::{DataError, Dataset, Engine};
use lookalike::{Problem, Scorer};

/// The execution of one attempt of a study: what its rounds share.
pub enum Execution {
    /// Of a query, whose rounds share nothing: it has one.
    Query,
    /// Of a training.
    Train(Box<train::Execution>),
    /// Of a lookalike study, at a candidates' owner.
    Lookalike(lookalike::Execution),
}

/// A round whose input has been checked.
pub enum Ready {
    /// Of a query.
    Query,
    /// Of a training.
    Train(train::Ready),
    /// Of a lookalike study.
    Lookalike,
}

impl Ready {
    /// Hash of the model that the round evaluates, if it evaluates one.
    pub fn evaluates(&self) -> Option<Digest> {
        match self {
            Self::Query | Self::Lookalike => None,
            Self::Train(ready) => ready.evaluates(),
        }
    }
}

/// What a round comes to at this node.
pub enum Computed {
    /// What goes on to noise and masks.
    Bounded(Bounded),
    /// The same, and the scores of this node's customers, which stay here.
    Scored(Bounded, Scores),
}

impl Execution {
    /// Nothing is read yet. `place` is this node's among the participants, `name` its name.
    pub fn new(plan: &Plan, place: Place, name: &str) -> Self {
        match plan {
            Plan::Query(_) => Self::Query,
            Plan::Train(_) => Self::Train(Box::new(train::Execution::new(place))),
            Plan::Lookalike(_) => Self::Lookalike(lookalike::Execution::new(name)),
        }
    }

    /// Checks what a round is told; `Err` says what is wrong with it.
    pub fn ready(&self, plan: &Plan, round: u32, input: &[u8]) -> Result<Ready, String> {
        match (self, plan) {
            (Self::Query, Plan::Query(_)) if round == 1 && input.is_empty() => Ok(Ready::Query),
            (Self::Query, _) => Err("a query has one round, without an input".into()),
            (Self::Train(execution), Plan::Train(plan)) => execution.ready(plan, round, input).map(Ready::Train),
            (Self::Train(_), _) => Err("the plan is not one of a training".into()),
            (Self::Lookalike(_), Plan::Lookalike(_)) if round == 1 && input.is_empty() => Ok(Ready::Lookalike),
            (Self::Lookalike(_), _) => Err("a lookalike study has one round, without an input".into()),
        }
    }

    /// What other participants have to be told and asked before anything is charged.
    pub fn meet(&mut self, plan: &Plan, scorer: Option<&Scorer<'_>>) -> Result<(), Problem> {
        match (self, plan, scorer) {
            (Self::Lookalike(execution), Plan::Lookalike(plan), Some(scorer)) => execution.meet(plan, scorer),
            _ => Ok(()),
        }
    }

    /// What a round comes to. Blocks, and must be called where that is allowed.
    pub fn compute(
        &mut self,
        ready: Ready,
        engine: &impl Engine,
        dataset: &Dataset,
        plan: &Plan,
        layout: Layout,
        scorer: Option<&Scorer<'_>>,
    ) -> Result<Computed, Problem> {
        let runtime = tokio::runtime::Handle::current();
        match (self, ready, plan, scorer) {
            (Self::Query, Ready::Query, Plan::Query(plan), _) => {
                Ok(Computed::Bounded(runtime.block_on(query::execute(engine, dataset, plan))?))
            }
            (Self::Train(execution), Ready::Train(ready), Plan::Train(plan), _) => {
                runtime.block_on(execution.read(engine, dataset, plan))?;
                Ok(Computed::Bounded(execution.compute(ready, Arc::new(layout))?))
            }
            (Self::Lookalike(execution), Ready::Lookalike, Plan::Lookalike(plan), Some(scorer)) => {
                let layout = Arc::new(layout);
                let (bounded, audience) = execution.compute(engine, dataset, plan, layout, scorer)?;
                Ok(Computed::Scored(bounded, audience))
            }
            _ => Err(DataError::opaque("a round of another study kind").into()),
        }
    }
}
