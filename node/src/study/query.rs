//! The study kind `query`: the engine does all of it.

use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::bounds::Bounded;

use crate::data::{DataError, Dataset, Engine};

/// The bounded sums of a query.
pub async fn execute(engine: &impl Engine, dataset: &Dataset, plan: &SumsPlan) -> Result<Bounded, DataError> {
    engine.bounded_sums(dataset, plan).await
}
