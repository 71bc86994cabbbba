//! One pass over a data set: all its rows, on all threads, through bounding into sinks.
//!
//! ```text
//! stored columns ─▶ `rows`: unit, cell, values of each ─▶ Bounding ─▶ one sink a thread
//! sums of a customer in a cell, by the source ────────────▲
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arrow_array::{Array, ArrayRef};
use entente_tables::texts::is_text;

use super::bounding::{Bounding, Settings, Sink};
use super::dataset::Dataset;
use super::error::DataError;
use super::options::Options;
use super::rows::{Batch, Rows, Scan, ScanError};
use super::unit::{Names, Numbers, UnitKey, Units};

/// What bounding has to know of a plan.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Values that a row brings.
    pub(super) values: usize,
    /// Cells that may be kept of a customer.
    pub(super) max_groups: usize,
}

/// Takes all rows of a data set through `rows` and bounding into sinks, and says how many records were not well formed.
/// `columns` has the privacy unit first.
pub(super) fn execute<S: Sink>(
    dataset: &Dataset,
    columns: &[String],
    options: &Options,
    shape: Shape,
    stop: &AtomicBool,
    rows: impl Fn(&[ArrayRef], usize) -> Rows + Sync,
    sink: impl Fn() -> S + Sync,
) -> Result<(Vec<S>, u64), DataError> {
    let scan = dataset.source().read(columns, dataset.schema()).map_err(DataError::opaque)?;
    let rows = |batch: Batch| {
        let count = checked(&batch, columns.len())?;
        Ok(rows(&batch, count))
    };
    let sinks = bound(&*scan, dataset, options, (shape, false), stop, rows, sink)?;
    Ok((sinks, scan.malformed()))
}

/// Takes what a source has added up by itself through bounding into sinks.
pub(super) fn gather<S: Sink>(
    scan: &dyn Scan<Rows>,
    dataset: &Dataset,
    options: &Options,
    shape: Shape,
    stop: &AtomicBool,
    sink: impl Fn() -> S + Sync,
) -> Result<Vec<S>, DataError> {
    let text = names_customers(dataset);
    let rows = |rows: Rows| {
        let Rows { unit, cells, counts: Some(counts), values } = &rows else {
            return Err("a source gave sums without the number of rows they are of".into());
        };
        let mut lengths = [cells.len(), counts.len()].into_iter().chain(values.iter().map(Vec::len));
        let fits = values.len() == shape.values && lengths.all(|length| length == unit.len());
        if !fits || is_text(unit.data_type()) != text || counts.iter().any(|count| *count < 1) {
            return Err("a source gave other sums than it was asked for".into());
        }
        Ok(rows)
    };
    bound(scan, dataset, options, (shape, true), stop, rows, sink)
}

/// Whether customers are told by text.
fn names_customers(dataset: &Dataset) -> bool {
    let stored = dataset.source().columns().field_with_name(&dataset.schema().privacy_unit);
    stored.is_ok_and(|field| is_text(field.data_type()))
}

/// Bounds what a scan gives; `counted` says whether its rows come with counts.
fn bound<T, S: Sink>(
    scan: &dyn Scan<T>,
    dataset: &Dataset,
    options: &Options,
    (shape, counted): (Shape, bool),
    stop: &AtomicBool,
    rows: impl Fn(T) -> Result<Rows, ScanError> + Sync,
    sink: impl Fn() -> S + Sync,
) -> Result<Vec<S>, DataError> {
    let settings = Settings {
        values: shape.values,
        counted,
        max_groups: shape.max_groups,
        memory: options.memory,
        threads: options.threads.max(1),
        spill: options.spill.clone(),
        key: options.key.order(),
    };
    let sinks = if names_customers(dataset) {
        bound_by::<2, Names, T, S>(scan, settings, &options.key, stop, rows, sink)
    } else {
        bound_by::<1, Numbers, T, S>(scan, settings, &options.key, stop, rows, sink)
    };
    sinks.map_err(DataError::opaque)
}

fn bound_by<const W: usize, U: Units<W>, T, S: Sink>(
    scan: &dyn Scan<T>,
    settings: Settings,
    key: &UnitKey,
    stop: &AtomicBool,
    rows: impl Fn(T) -> Result<Rows, ScanError> + Sync,
    sink: impl Fn() -> S + Sync,
) -> Result<Vec<S>, ScanError> {
    let threads = settings.threads;
    let bounding = Bounding::<W>::new(settings);
    let work = || -> Result<(), ScanError> {
        let mut router = bounding.router();
        each_batch(scan, stop, |batch| {
            let Rows { unit, mut cells, counts, values } = rows(batch)?;
            let units = U::words(&unit, key, &mut cells);
            let columns: Vec<&[i64]> = counts.iter().chain(&values).map(Vec::as_slice).collect();
            Ok(router.rows(&units, &cells, &columns)?)
        })?;
        Ok(router.flush()?)
    };
    on_threads(threads, stop, work)?;
    Ok(bounding.finish(stop, sink)?)
}

/// Gives this thread's batches to `f`, until there are no more or `stop` is set.
pub(super) fn each_batch<T>(
    scan: &dyn Scan<T>,
    stop: &AtomicBool,
    mut f: impl FnMut(T) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    for batch in scan.batches() {
        if stop.load(Ordering::Relaxed) {
            return Err("another thread failed, or nobody waits for the result any more".into());
        }
        f(batch?)?;
    }
    Ok(())
}

/// The rows of a batch that has this many columns.
pub(super) fn checked(batch: &[ArrayRef], columns: usize) -> Result<usize, ScanError> {
    let rows = batch.first().map_or(0, |column| column.len());
    if batch.len() != columns || batch.iter().any(|column| column.len() != rows) {
        return Err("a source gave other columns than it was asked for".into());
    }
    Ok(rows)
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
