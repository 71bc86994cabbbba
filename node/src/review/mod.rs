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
mod shown;
mod watch;
mod words;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use entente_host::Error;
use entente_host::locks::lock;
use entente_host::pages::{Page, read};
use entente_protocols::ledger::verify::export;
use maud::Markup;

use crate::alarms::Alarms;
use crate::config::Config;
use crate::state::Folder;
pub use shown::Review;
pub use words::Words;

/// The page of the node in `folder`.
fn own(folder: &Folder, config: &Config) -> Page {
    Page {
        name: "the review page",
        address: config.review,
        keys: folder.state_folder(),
        setting: "`review` in [node] of node.toml",
        example: "127.0.0.1:8081",
        opens: "entente-node review",
    }
}

/// Serves the page of the node in `folder`, until the future is dropped. Where it is off or cannot be served, the node works all the same:
/// this never ends.
pub async fn serve(folder: &Folder, config: &Config, alarms: Arc<Alarms>) -> Infallible {
    let pages = || {
        let review = Arc::new(Review::open(folder, config.clone())?.counting(alarms));
        let verifying = review.clone();
        tokio::task::spawn_blocking(move || verifying.verify());
        Ok(router(review))
    };
    own(folder, config).serve(&format!("Entente node {}", config.name), pages).await
}

/// The address that opens the page of the node in `folder`, token included.
pub fn url(folder: &Folder) -> Result<String, Error> {
    own(folder, &crate::config::load(folder)?).url()
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

async fn page(
    review: Arc<Review>,
    make: impl FnOnce(&Arc<Review>) -> Result<Response, Error> + Send + 'static,
) -> Response {
    read(move || make(&review)).await.unwrap_or_else(|problem| problem)
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
