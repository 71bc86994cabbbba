//! One pass over a data set: all its rows, on all threads, through bounding into sinks.
//!
//! ```text
//! Scan ─▶ `rows`: unit, cell, values of each ─▶ Bounding ─▶ one sink a thread
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use arrow_array::ArrayRef;
use entente_host::locks::lock;
use entente_tables::texts::is_text;

use super::bounding::{Bounding, Settings, Sink};
use super::dataset::Dataset;
use super::error::DataError;
use super::files::scan::{Scan, ScanError};
use super::options::Options;
use super::rows::pipeline::Rows;
use super::unit::{Names, Numbers, UnitKey, Units};

/// Runs `work` beside the asynchronous tasks, and tells it to stop when nobody waits for it any more.
///
/// It has a thread of its own, not one of the runtime's: whoever waits for it may hold one of these, and they are limited. The thread
/// stays for the next work, as memory that one has let go of is another's only with difficulty.
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
    let (done, result) = tokio::sync::oneshot::channel();
    // Nobody may be waiting any more.
    let work = move || -> Answer {
        let done_with = work(&stop);
        Box::new(move || drop(done.send(done_with)))
    };
    on_a_worker(Box::new(work)).map_err(DataError::opaque)?;
    result.await.unwrap_or_else(|_| Err(DataError::opaque("the thread that works panicked")))
}

type Work = Box<dyn FnOnce() -> Answer + Send>;
/// What is said when the thread is ready for the next work.
type Answer = Box<dyn FnOnce()>;

/// Threads that have nothing to do, the last one that had something at the end.
static IDLE: Mutex<Vec<mpsc::Sender<Work>>> = Mutex::new(Vec::new());

/// Has work done by a thread that has nothing to do, or by a new one.
fn on_a_worker(mut work: Work) -> std::io::Result<()> {
    loop {
        let idle = lock(&IDLE).pop();
        let Some(worker) = idle else { break };
        match worker.send(work) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(unsent)) => work = unsent,
        }
    }
    let (worker, queue) = mpsc::channel::<Work>();
    let own = worker.clone();
    let begin = move || {
        // Work that panics ends its thread, which is in no list then.
        for work in queue {
            let answer = work();
            lock(&IDLE).push(own.clone());
            answer();
        }
    };
    thread::Builder::new().name("data".into()).spawn(begin)?;
    // It has just begun to wait.
    let _ = worker.send(work);
    Ok(())
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
