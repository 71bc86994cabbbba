//! Threads that work on data, beside the runtime's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use entente_host::locks::lock;
use tokio::sync::watch;

use super::error::DataError;

/// What tells that all that is computed is for nothing by now.
#[derive(Clone)]
pub struct Ending(watch::Receiver<bool>);

impl Ending {
    /// It comes when `true` is sent.
    pub fn told() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    async fn has_come(mut self) {
        // Nobody will say so any more.
        if self.0.wait_for(|has_come| *has_come).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Runs `work` beside the asynchronous tasks, and tells it to stop when nobody waits for it any more, or `ending` has come. In the latter
/// case this waits until it has stopped: its threads and memory are nobody else's before.
///
/// It has a thread of its own, not one of the runtime's: whoever waits for it may hold one of these, and they are limited. The thread
/// stays for the next work, as memory that one has let go of is another's only with difficulty.
pub(super) async fn background<T: Send + 'static>(
    ending: &Ending,
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
    let (done, mut result) = tokio::sync::oneshot::channel();
    // Nobody may be waiting any more.
    let work = move || -> Answer {
        let done_with = work(&stop);
        Box::new(move || drop(done.send(done_with)))
    };
    on_a_worker(Box::new(work)).map_err(DataError::opaque)?;
    tokio::select! {
        done = &mut result => done.unwrap_or_else(|_| Err(DataError::opaque("the thread that works panicked"))),
        () = ending.clone().has_come() => {
            guard.0.store(true, Ordering::Relaxed);
            // Whatever it has come to is for nothing.
            let _ = result.await;
            Err(DataError::opaque("it is for a study that has ended"))
        }
    }
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
