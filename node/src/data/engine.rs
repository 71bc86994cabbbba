//! The engine: what executes a plan over a data set.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::ArrayRef;
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::bounds::{Bounded, Clipping};

use super::audience::{Naming, Scores};
use super::bounding::Sink;
use super::consent::lookup::consenting;
use super::customers::candidate_rows::{CandidateRows, CandidateSink};
use super::customers::candidates::{BlockSpec, Candidates};
use super::customers::training_rows::{TrainingRows, TrainingSink};
use super::customers::{Customers, Split};
use super::dataset::Dataset;
use super::error::DataError;
use super::options::Options;
use super::pass::{Shape, execute, gather};
use super::rows::features::Features;
use super::rows::pipeline::Pipeline;
use super::workers::{Ending, background};

/// Executes plans over any source of rows: computes and bounds by itself. What comes back has been bounded customer by
/// customer, or is one row a customer for training to bound or for this node to score.
#[derive(Clone)]
pub struct Engine {
    options: Arc<Options>,
    ending: Ending,
}

impl Engine {
    /// An engine.
    pub fn new(options: Options) -> Self {
        let (_, never) = Ending::told();
        Self { options: Arc::new(options), ending: never }
    }

    /// The same, whose work stops soon when `ending` comes.
    #[must_use]
    pub fn until(&self, ending: Ending) -> Self {
        Self { options: self.options.clone(), ending }
    }

    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The sums of a plan over a data set, each customer's part bounded as the plan's layout says.
    ///
    /// Dropping the future ends the work soon.
    pub async fn bounded_sums(&self, dataset: &Dataset, plan: &SumsPlan) -> Result<Bounded, DataError> {
        let pipeline = Pipeline::new(dataset, plan)?;
        let layout = Arc::new(plan.layout());
        let (dataset, plan, options) = (dataset.clone(), plan.clone(), self.options.clone());
        background(&self.ending, move |stop| {
            let sink = || Clipping::new(layout.clone());
            let clippings = each_customer(&dataset, &plan, &pipeline, &options, stop, sink)?;
            let mut all = Clipping::new(layout.clone());
            for clipping in &clippings {
                if !all.merge(clipping) {
                    return Err(DataError::opaque("two threads had different layouts"));
                }
            }
            Ok(all.finish())
        })
        .await
    }

    /// The rows of a features query over a data set: of each customer who has exactly one, its codes.
    ///
    /// Dropping the future ends the work soon.
    pub async fn customers(&self, dataset: &Dataset, plan: &RowsPlan, split: Split) -> Result<Customers, DataError> {
        let features = Features::new(dataset, plan, split.labels())?;
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(&self.ending, move |stop| {
            let rows = |stored: &[ArrayRef], rows: usize| features.rows(stored, rows);
            let shape = Shape { values: features.values(), max_groups: 1 };
            let training = TrainingRows::new(features.meanings(), split, &options);
            let sink = || training.sink();
            let (sinks, _) = execute(&dataset, features.columns(), &options, shape, stop, rows, sink)?;
            let found = sinks.into_iter().map(TrainingSink::finish).collect::<Result<Vec<_>, _>>();
            let (customers, several) = training.finish(found.map_err(DataError::opaque)?);
            if several > 0 {
                let name = &dataset.schema().name;
                tracing::warn!(target: "entente::data", dataset = name, customers = several,
                    "customers with several rows are left out of training");
            }
            Ok(customers)
        })
        .await
    }

    /// The rows of a features query over a data set: of each customer who has exactly one, its codes and who it is, to
    /// be scored.
    ///
    /// Dropping the future ends the work soon.
    pub async fn candidates(
        &self,
        dataset: &Dataset,
        plan: &RowsPlan,
        spec: BlockSpec,
    ) -> Result<Candidates, DataError> {
        let features = Features::new(dataset, plan, spec.labels())?;
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(&self.ending, move |stop| {
            let rows = |stored: &[ArrayRef], rows: usize| features.rows(stored, rows);
            let shape = Shape { values: features.values(), max_groups: 1 };
            let all = CandidateRows::new(features.meanings(), spec, &options);
            let sink = || all.sink();
            let (sinks, _) = execute(&dataset, features.columns(), &options, shape, stop, rows, sink)?;
            let found = sinks.into_iter().map(CandidateSink::finish).collect::<Result<Vec<_>, _>>();
            let candidates = all.finish(found.map_err(DataError::opaque)?).map_err(DataError::opaque)?;
            let several = candidates.several_rows();
            if several > 0 {
                let name = &dataset.schema().name;
                tracing::warn!(target: "entente::data", dataset = name, customers = several,
                    "customers with several rows are not candidates");
            }
            Ok(candidates)
        })
        .await
    }

    /// Writes the audience of a study: each customer who was scored and consents, by name. Says how many these are.
    ///
    /// The file appears complete or not at all. Dropping the future ends the work soon, and leaves no file.
    pub async fn name_audience(&self, dataset: &Dataset, scores: Scores, naming: &Naming) -> Result<u64, DataError> {
        let (dataset, options, naming) = (dataset.clone(), self.options.clone(), naming.clone());
        background(&self.ending, move |stop| naming.write(&dataset, &options, stop, &scores)).await
    }

    /// Which of some customers consent by what the data set says now, in their order.
    ///
    /// Dropping the future ends the work soon.
    pub async fn consenting(&self, dataset: &Dataset, customers: Vec<u128>) -> Result<Vec<bool>, DataError> {
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(&self.ending, move |stop| consenting(&dataset, &options, stop, &customers)).await
    }
}

/// Gives each customer with its sums in a plan's cells to one of several sinks, whoever adds up its rows.
pub(super) fn each_customer<S: Sink>(
    dataset: &Dataset,
    plan: &SumsPlan,
    pipeline: &Pipeline,
    options: &Options,
    stop: &AtomicBool,
    sink: impl Fn() -> S + Sync,
) -> Result<Vec<S>, DataError> {
    let layout = plan.layout();
    let shape = Shape { values: layout.value_columns(), max_groups: layout.max_groups() as usize };
    // A source knows of no days that count.
    let by_source = dataset.event().is_none();
    let added_up = by_source.then(|| dataset.source().sums(plan, dataset.consent())).transpose();
    if let Some(scan) = added_up.map_err(DataError::opaque)?.flatten() {
        return gather(&*scan, dataset, options, shape, stop, sink);
    }
    let rows = |stored: &[ArrayRef], rows: usize| pipeline.rows(stored, rows);
    Ok(execute(dataset, pipeline.columns(), options, shape, stop, rows, sink)?.0)
}
