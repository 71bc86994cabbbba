//! The study kind `query`: the engine does all of it.

use entente_protocols::privacy::bounds::Bounded;
use entente_protocols::study::query::plan::QueryPlan;

use crate::data::{DataError, Dataset, Engine};

/// The bounded sums of a query.
pub async fn execute(engine: &impl Engine, dataset: &Dataset, plan: &QueryPlan) -> Result<Bounded, DataError> {
    engine.bounded_sums(dataset, plan).await
}
