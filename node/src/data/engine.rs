//! Engines: what executes a plan over a data set. One so far, embedded in the node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arrow_array::ArrayRef;
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::bounds::{Bounded, Clipping};
use entente_tables::texts::is_text;

use super::audience::{Naming, Scores};
use super::bounding::{Bounding, Settings, Sink};
use super::candidates::{Candidates, Cut, Gatherer, Gathering};
use super::collect::{Collection, Collector};
use super::consenting::consenting;
use super::customers::{Customers, Split};
use super::dataset::Dataset;
use super::error::DataError;
use super::features::Features;
use super::pipeline::{Pipeline, Rows};
use super::scan::{Scan, ScanError};
use super::units::{Names, Numbers, UnitKey, Units};

/// Executes plans. From any engine comes back only what has been bounded customer by customer, or one row a customer
/// for training to bound or for this node to score.
pub trait Engine: Send + Sync {
    /// The sums of a plan over a data set, each customer's part bounded as the plan's layout says.
    ///
    /// Dropping the future ends the work soon.
    fn bounded_sums(
        &self,
        dataset: &Dataset,
        plan: &SumsPlan,
    ) -> impl Future<Output = Result<Bounded, DataError>> + Send;

    /// The rows of a features query over a data set: of each customer who has exactly one, its codes.
    ///
    /// Dropping the future ends the work soon.
    fn customers(
        &self,
        dataset: &Dataset,
        plan: &RowsPlan,
        split: Split,
    ) -> impl Future<Output = Result<Customers, DataError>> + Send;

    /// The rows of a features query over a data set: of each customer who has exactly one, its codes and who it is, to
    /// be scored.
    ///
    /// Dropping the future ends the work soon.
    fn candidates(
        &self,
        dataset: &Dataset,
        plan: &RowsPlan,
        cut: Cut,
    ) -> impl Future<Output = Result<Candidates, DataError>> + Send;

    /// Writes the audience of a study: each customer who was scored and consents, by name. Says how many these are.
    ///
    /// The file appears complete or not at all. Dropping the future ends the work soon, and leaves no file.
    fn name_audience(
        &self,
        dataset: &Dataset,
        scores: Scores,
        naming: &Naming,
    ) -> impl Future<Output = Result<u64, DataError>> + Send;

    /// Which of some customers consent by what the data set says now, in their order.
    ///
    /// Dropping the future ends the work soon.
    fn consenting(
        &self,
        dataset: &Dataset,
        customers: Vec<u128>,
    ) -> impl Future<Output = Result<Vec<bool>, DataError>> + Send;
}

/// How the embedded engine works.
#[derive(Clone)]
pub struct Options {
    /// Bytes that contribution bounding may take before it writes to files.
    pub memory: usize,
    /// Bytes that the customers of a features query may take, once bounded, before the rest goes to a file.
    pub customers: usize,
    /// Threads; each takes its own part of the data.
    pub threads: usize,
    /// A folder for what does not fit into memory, of this node alone.
    pub spill: PathBuf,
    /// Tells customers apart.
    pub key: UnitKey,
}

impl Options {
    /// 512 MiB for bounding, 2 GiB for customers (20 million with 50 features) and all cores.
    pub fn new(spill: PathBuf, key: UnitKey) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { memory: 512 << 20, customers: 2 << 30, threads, spill, key }
    }
}

/// The engine inside the node: reads files with Arrow, computes and bounds by itself.
#[derive(Clone)]
pub struct Embedded {
    options: Arc<Options>,
}

impl Embedded {
    /// An engine.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
}

impl Engine for Embedded {
    async fn bounded_sums(&self, dataset: &Dataset, plan: &SumsPlan) -> Result<Bounded, DataError> {
        let pipeline = Pipeline::new(dataset, plan)?;
        let layout = Arc::new(plan.layout());
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(move |stop| {
            let rows = |stored: &[ArrayRef], rows: usize| pipeline.rows(stored, rows);
            let shape = Shape { values: layout.value_columns(), max_groups: layout.max_groups() as usize };
            let sink = || Clipping::new(layout.clone());
            let (clippings, _) = execute(&dataset, pipeline.columns(), &options, shape, stop, rows, sink)?;
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

    async fn customers(&self, dataset: &Dataset, plan: &RowsPlan, split: Split) -> Result<Customers, DataError> {
        let features = Features::new(dataset, plan, split.apart(), split.target)?;
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(move |stop| {
            let rows = |stored: &[ArrayRef], rows: usize| features.rows(stored, rows);
            let shape = Shape { values: features.values(), max_groups: 1 };
            let collection = Collection::new(features.meanings(), split.apart(), split, &options);
            let collector = || collection.collector();
            let (collectors, _) = execute(&dataset, features.columns(), &options, shape, stop, rows, collector)?;
            let collected = collectors.into_iter().map(Collector::finish).collect::<Result<Vec<_>, _>>();
            let (customers, several) = collection.finish(collected.map_err(DataError::opaque)?.into_iter());
            if several > 0 {
                let name = &dataset.schema().name;
                tracing::warn!(target: "entente::data", dataset = name, customers = several,
                    "customers with several rows are left out of training");
            }
            Ok(customers)
        })
        .await
    }

    async fn candidates(&self, dataset: &Dataset, plan: &RowsPlan, cut: Cut) -> Result<Candidates, DataError> {
        let features = Features::new(dataset, plan, cut.apart(), None)?;
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(move |stop| {
            let rows = |stored: &[ArrayRef], rows: usize| features.rows(stored, rows);
            let shape = Shape { values: features.values(), max_groups: 1 };
            let gathering = Gathering::new(features.meanings(), cut, &options);
            let gatherer = || gathering.gatherer();
            let (gatherers, _) = execute(&dataset, features.columns(), &options, shape, stop, rows, gatherer)?;
            let gathered = gatherers.into_iter().map(Gatherer::finish).collect::<Result<Vec<_>, _>>();
            let candidates = gathering.finish(gathered.map_err(DataError::opaque)?).map_err(DataError::opaque)?;
            let several = candidates.several_rows();
            if several > 0 {
                let name = &dataset.schema().name;
                tracing::warn!(target: "entente::data", dataset = name, customers = several,
                    "customers with several rows are no candidates");
            }
            Ok(candidates)
        })
        .await
    }

    async fn name_audience(&self, dataset: &Dataset, scores: Scores, naming: &Naming) -> Result<u64, DataError> {
        let (dataset, options, naming) = (dataset.clone(), self.options.clone(), naming.clone());
        background(move |stop| naming.write(&dataset, &options, stop, &scores)).await
    }

    async fn consenting(&self, dataset: &Dataset, customers: Vec<u128>) -> Result<Vec<bool>, DataError> {
        let (dataset, options) = (dataset.clone(), self.options.clone());
        background(move |stop| consenting(&dataset, &options, stop, &customers)).await
    }
}

/// Runs `work` beside the asynchronous tasks, and tells it to stop when nobody waits for it any more.
pub(super) async fn background<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    struct StopOnDrop(Arc<AtomicBool>);
    impl Drop for StopOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let guard = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stop = guard.0.clone();
    tokio::task::spawn_blocking(move || work(&stop)).await.unwrap_or_else(|error| Err(DataError::opaque(error)))
}

/// What bounding has to know of a plan.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Values that a row brings.
    pub(super) values: usize,
    /// Cells that may be kept of a customer.
    pub(super) max_groups: usize,
}

/// Takes all rows of a data set through `rows` and bounding into sinks, and says how many records of text files were
/// not well formed. `columns` has the privacy unit first.
pub(super) fn execute<S: Sink>(
    dataset: &Dataset,
    columns: &[String],
    options: &Options,
    shape: Shape,
    stop: &AtomicBool,
    rows: impl Fn(&[ArrayRef], usize) -> Rows + Sync,
    sink: impl Fn() -> S + Sync,
) -> Result<(Vec<S>, u64), DataError> {
    let scan = Scan::new(dataset.source(), dataset.schema(), columns).map_err(DataError::opaque)?;
    let settings = Settings {
        values: shape.values,
        max_groups: shape.max_groups,
        memory: options.memory,
        threads: options.threads.max(1),
        spill: options.spill.clone(),
        key: options.key.order(),
    };
    let text = dataset.source().schema().field_with_name(&columns[0]).is_ok_and(|field| is_text(field.data_type()));
    let sinks = if text {
        bound::<2, Names, S>(&scan, settings, &options.key, stop, &rows, &sink)
    } else {
        bound::<1, Numbers, S>(&scan, settings, &options.key, stop, &rows, &sink)
    };
    Ok((sinks.map_err(DataError::opaque)?, scan.malformed()))
}

fn bound<const W: usize, U: Units<W>, S: Sink>(
    scan: &Scan<'_>,
    settings: Settings,
    key: &UnitKey,
    stop: &AtomicBool,
    rows: &(impl Fn(&[ArrayRef], usize) -> Rows + Sync),
    sink: &(impl Fn() -> S + Sync),
) -> Result<Vec<S>, ScanError> {
    let threads = settings.threads;
    let bounding = Bounding::<W>::new(settings);
    let work = || -> Result<(), ScanError> {
        let mut router = bounding.router();
        scan.run(stop, |columns, count| {
            let Rows { unit, mut cells, values } = rows(columns, count);
            let units = U::words(&unit, key, &mut cells);
            let values: Vec<&[i64]> = values.iter().map(Vec::as_slice).collect();
            Ok(router.rows(&units, &cells, &values)?)
        })?;
        Ok(router.flush()?)
    };
    on_threads(threads, stop, work)?;
    Ok(bounding.finish(sink)?)
}

/// Runs `work` on so many threads, all of which are told to stop when one of them fails.
pub(super) fn on_threads(
    threads: usize,
    stop: &AtomicBool,
    work: impl Fn() -> Result<(), ScanError> + Sync,
) -> Result<(), ScanError> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1))
            .map(|_| {
                scope.spawn(|| {
                    let result = work();
                    if result.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let mut first = Ok(());
        for thread in threads {
            let result = thread.join().unwrap_or_else(|_| Err("a thread that reads panicked".into()));
            first = first.and(result);
        }
        first
    })
}
