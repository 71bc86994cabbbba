//! Execution of studies, one file a study kind: where the data and the protocol meet.

mod query;

use entente_protocols::privacy::bounds::Bounded;
use entente_protocols::study::Plan;

use crate::data::{DataError, Dataset, Engine};

/// The bounded sums that a plan asks of a data set.
pub async fn execute(engine: &impl Engine, dataset: &Dataset, plan: &Plan) -> Result<Bounded, DataError> {
    match plan {
        Plan::Query(plan) => query::execute(engine, dataset, plan).await,
    }
}
