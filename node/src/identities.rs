//! What the files of data sets contain: found out once, apart from studies, and kept by the files' stamps.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use entente_host::Error;
use entente_host::clock::Clock;
use entente_host::locks::lock;
use entente_protocols::digest::Digest;
use tracing::{error, info};

use crate::data::{Contents, Stamp, Stamped, TICK, stamped};
use crate::store::IdentityStore;

/// How many threads read files: studies go on beside.
const THREADS: usize = 2;

/// What files contain, and who finds it out.
pub struct Identities {
    store: Mutex<IdentityStore>,
    base: PathBuf,
    sources: Vec<String>,
    clock: Clock,
    /// One at a time.
    at_work: Mutex<()>,
    is_begun: AtomicBool,
}

impl Identities {
    /// Of the files that these sources name, relative to `base`.
    pub fn new(store: IdentityStore, base: PathBuf, sources: Vec<String>, clock: Clock) -> Arc<Self> {
        let (store, at_work, is_begun) = (Mutex::new(store), Mutex::default(), false.into());
        Arc::new(Self { store, base, sources, clock, at_work, is_begun })
    }

    /// What the file that had this stamp contains, where it is known.
    pub fn contents(&self, stamp: &Stamp) -> Option<Digest> {
        // What cannot be read is found out again.
        lock(&self.store).contents(stamp).unwrap_or_default()
    }

    /// Finds out what is not known; the number of files that were read for it.
    pub fn identify(&self) -> Result<usize, Error> {
        let _at_work = lock(&self.at_work);
        // Whoever opens a data set says what is wrong with its files.
        let files = self.sources.iter().filter_map(|source| stamped(source, &self.base).ok()).flatten();
        let unknown: Vec<Stamped> = files.filter(|file| self.contents(&file.stamp).is_none()).collect();
        if !unknown.is_empty() {
            self.clock.pass(TICK);
        }
        let mut count = 0;
        for file in unknown {
            // Two data sets may be in the same file.
            count += usize::from(self.contents(&file.stamp).is_none() && self.read(&file)?);
        }
        Ok(count)
    }

    fn read(&self, file: &Stamped) -> Result<bool, Error> {
        match file.contents(THREADS) {
            Ok(Contents::Are(contents)) => {
                lock(&self.store).keep(&file.stamp, contents)?;
                info!(file = %file.path.display(), bytes = file.stamp.bytes, "a file of a data set is identified");
                Ok(true)
            }
            // Looked for again when it is asked for.
            Ok(Contents::Moved) => Ok(false),
            Err(error) => {
                error!(file = %file.path.display(), %error, "a file of a data set cannot be identified");
                Ok(false)
            }
        }
    }

    /// Whether a thread is at it that [`Self::begin`] has started.
    pub fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    /// The same in a thread of its own, unless one is at it.
    pub fn begin(self: &Arc<Self>) {
        if self.is_begun.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = self.clone();
        let work = move || {
            if let Err(error) = own.identify() {
                error!(%error, "what files contain could not be written down");
            }
            own.is_begun.store(false, Ordering::Release);
        };
        if let Err(error) = thread::Builder::new().name("identify".into()).spawn(work) {
            error!(%error, "no thread could be started that identifies data");
            self.is_begun.store(false, Ordering::Release);
        }
    }
}
