//! Sums over customers' rows, in one release: the engine does all of it.

use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::bounds::Layout;

use super::execution::{self, Computed, Means, Problem};
use crate::data::Dataset;

/// Rounds share nothing: there is one.
pub struct Execution {
    plan: Arc<SumsPlan>,
}

impl Execution {
    /// Of this plan.
    pub fn new(plan: Arc<SumsPlan>) -> Self {
        Self { plan }
    }
}

impl execution::Execution for Execution {
    fn ready(&mut self, round: u32, input: &[u8]) -> Result<Option<Digest>, String> {
        if round == 1 && input.is_empty() {
            Ok(None)
        } else {
            Err("sums are made in one round, without an input".into())
        }
    }

    fn compute(&mut self, means: &Means<'_>, dataset: &Dataset, _: Layout) -> Result<Computed, Problem> {
        let reading = means.own.engine.bounded_sums(dataset, &self.plan);
        let bounded = tokio::runtime::Handle::current().block_on(reading)?;
        Ok(Computed { bounded, keeps: None })
    }
}
