//! The review page: for a compliance officer, read-only, on loopback, served by the node.
//!
//! ```text
//! ledger (its file, read-only) ─▶ Index, verified entry by entry ─▶ pages, report, CSV
//!                             └──▶ export                            metrics
//! ```
//!
//! It has no door to data or customers: all it reads is the ledger, what was proposed, `node.toml`, and how often there was an alarm. [`Words`] says of a study
//! what a lawyer asks.

mod index;
mod pages;
mod report;
mod watch;
mod words;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use entente_host::clock::{self, Moment};
use entente_host::locks::lock;
use entente_host::pages::Access;
use entente_host::{Error, files};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::entry::Entry;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::export;
use maud::Markup;
use tracing::{info, warn};

use crate::alarms::Alarms;
use crate::config::Config;
use crate::state::Folder;
use crate::store::{LedgerStore, StudyStore};
use index::Index;
pub use words::Words;

/// After how long the whole ledger is verified anew, beside what is added to it.
const ANEW: Duration = Duration::from_secs(600);
/// Entries that are verified while others wait for the index.
const AT_ONCE: usize = 2000;

/// What pages are made of: read from the ledger, entry by entry, and what it was where that ended early.
pub struct Review {
    folder: Folder,
    config: Config,
    store: Mutex<LedgerStore>,
    index: Mutex<Index>,
    /// Pages that wait for the index: a verification lets them go first, since a mutex alone is not fair.
    waiting: AtomicUsize,
    verified: Mutex<Verified>,
    alarms: Arc<Alarms>,
}

/// When the ledger was last verified from its first entry on.
struct Verified {
    began: Moment,
    at: Option<jiff::Timestamp>,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// Serves the page of the node in `folder`, until the future is dropped; returns at once where the page is off or its address is taken,
/// which does not keep the node from working.
pub async fn serve(folder: &Folder, config: &Config, alarms: Arc<Alarms>) -> Result<(), Error> {
    let Some(address) = config.review else { return Ok(()) };
    let bound = match entente_host::pages::bind(address).await {
        Ok(bound) => bound,
        Err(error) => {
            warn!(%address, %error, "the review page is not served; set `review` in [node] of node.toml to a free address, or \"off\"");
            return Ok(());
        }
    };
    let access = Access::open(&folder.state_folder()).map_err(failed)?;
    let review = Arc::new(Review::open(folder, config.clone())?.counting(alarms));
    info!(address = %bound.address(), "serving the review page; `entente-node review` prints how to open it");
    let verifying = review.clone();
    tokio::task::spawn_blocking(move || verifying.verify());
    bound.serve(access, &format!("Entente node {}", config.name), router(review)).await.map_err(failed)
}

/// The address that opens the page of the node in `folder`, token included.
pub fn url(folder: &Folder) -> Result<String, Error> {
    let config = crate::load(folder)?;
    let off = || {
        Error::refused("the review page is off")
            .help("set `review` in [node] of node.toml, for example to \"127.0.0.1:8081\"")
    };
    let address: SocketAddr = config.review.ok_or_else(off)?;
    Ok(Access::open(&folder.state_folder()).map_err(failed)?.url(address))
}

impl Review {
    /// Opens what the page shows.
    pub fn open(folder: &Folder, config: Config) -> Result<Self, Error> {
        let store = Mutex::new(LedgerStore::open_read_only(&folder.state("ledger.sqlite"))?);
        let verified = Mutex::new(Verified { began: clock::moment(), at: None });
        Ok(Self {
            folder: folder.clone(),
            config,
            store,
            index: Mutex::default(),
            waiting: AtomicUsize::new(0),
            verified,
            alarms: Arc::default(),
        })
    }

    /// The same, counting what there was alarm for at the node that runs here.
    #[must_use]
    pub fn counting(self, alarms: Arc<Alarms>) -> Self {
        Self { alarms, ..self }
    }

    /// Verifies the ledger to its end; others see how far it is.
    pub fn verify(&self) {
        loop {
            while self.waiting.load(Ordering::Relaxed) > 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
            let done = lock(&self.index).take(&lock(&self.store), AT_ONCE);
            match done {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "the ledger could not be read for the review page");
                    return;
                }
            }
        }
        lock(&self.verified).at.get_or_insert_with(clock::now);
    }

    /// The index, with what was added since; the whole is verified anew beside it from time to time.
    fn index(self: &Arc<Self>) -> Result<MutexGuard<'_, Index>, Error> {
        let is_due = {
            let mut verified = lock(&self.verified);
            let is_due = verified.at.is_some() && clock::moment().since(verified.began) > ANEW;
            if is_due {
                verified.began = clock::moment();
            }
            is_due
        };
        if is_due {
            let this = self.clone();
            std::thread::spawn(move || this.verify_anew());
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut index = lock(&self.index);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        index.take(&lock(&self.store), AT_ONCE)?;
        Ok(index)
    }

    fn verify_anew(&self) {
        let Ok(store) = LedgerStore::open_read_only(&self.folder.state("ledger.sqlite")) else { return };
        let mut index = Index::default();
        while matches!(index.take(&store, AT_ONCE), Ok(false)) {}
        *lock(&self.index) = index;
        lock(&self.verified).at = Some(clock::now());
    }

    /// What the study of these entries tells of single partners, as it was proposed.
    fn own_numbers(&self, entries: &[Entry]) -> Option<String> {
        let study = &entries.last()?.study()?.study;
        let path = self.folder.state("studies.sqlite");
        // Not made by looking.
        let store = files::exists(&path).then(|| StudyStore::open(&path).ok())??;
        let attempt = store.get(&AttemptId::new(&study.id, study.attempt)).ok()??;
        self.config.own_numbers(&attempt.proposal)
    }

    /// Entries by number.
    fn entries(&self, sequences: &[u64]) -> Result<Vec<Entry>, Error> {
        let store = lock(&self.store);
        let mut entries = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let line =
                store.some_after(sequence.saturating_sub(1), 1)?.pop().ok_or_else(|| failed("an entry is gone"))?;
            entries.push(line.entry().map_err(failed)?);
        }
        Ok(entries)
    }
}

/// All pages, without login.
pub fn router(review: Arc<Review>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/studies/{id}", get(study))
        .route("/officers", get(officers))
        .route("/report", get(period))
        .route("/ledger.jsonl", get(ledger))
        .route("/studies.csv", get(csv))
        .route("/metrics", get(metrics))
        .with_state(review)
}

type Shared = State<Arc<Review>>;
type Asked = Query<HashMap<String, String>>;

/// Does what blocks, and words for what fails.
async fn page(
    review: Arc<Review>,
    make: impl FnOnce(&Arc<Review>) -> Result<Response, Error> + Send + 'static,
) -> Response {
    let made = tokio::task::spawn_blocking(move || make(&review)).await;
    match made {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let status =
                if error.exit_code() == 1 { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
            (status, format!("{error}\n")).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a fault in this program; please report it\n").into_response(),
    }
}

fn html(markup: Markup) -> Response {
    Html(markup.into_string()).into_response()
}

fn download(name: &str, kind: &'static str, content: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], content).into_response()
}

async fn overview(State(review): Shared, Query(asked): Asked) -> Response {
    page(review, move |review| Ok(html(pages::overview(review, &asked)?))).await
}

async fn study(State(review): Shared, Path(id): Path<String>) -> Response {
    page(review, move |review| {
        Ok(match pages::study(review, &id)? {
            Some(markup) => html(markup),
            None => (StatusCode::NOT_FOUND, html(pages::nothing(review, &id))).into_response(),
        })
    })
    .await
}

async fn officers(State(review): Shared) -> Response {
    page(review, move |review| Ok(html(pages::officers(review)?))).await
}

async fn period(State(review): Shared, Query(asked): Asked) -> Response {
    page(review, move |review| {
        let period = report::Period::of(&asked)?;
        let name = format!("entente-{}-{}-{}.html", review.config.name, period.from, period.to);
        Ok(download(&name, "text/html; charset=utf-8", report::report(review, &period)?.into_string()))
    })
    .await
}

async fn ledger(State(review): Shared) -> Response {
    page(review, move |review| {
        let name = &review.config.name;
        let text = export(name, &review.folder.signer(name)?, &*lock(&review.store))?;
        Ok(download(&format!("entente-{name}-ledger.jsonl"), "application/jsonl", text))
    })
    .await
}

async fn csv(State(review): Shared, Query(asked): Asked) -> Response {
    page(review, move |review| {
        let text = pages::csv(review, &asked)?;
        Ok(download(&format!("entente-{}-studies.csv", review.config.name), "text/csv; charset=utf-8", text))
    })
    .await
}

async fn metrics(State(review): Shared) -> Response {
    page(review, move |review| {
        let text = watch::metrics(review)?.text();
        Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
    })
    .await
}

/// How often the ledger is in quarantine: whether anything was shown that it does not go on from.
fn contradictions(review: &Review) -> Result<usize, Error> {
    let index = lock(&review.index);
    let sightings = lock(&review.store).sightings()?;
    Ok(sightings.iter().filter(|sighting| index.contradicts(&sighting.checkpoint)).count())
}
