//! The operator's page: the alliance, its nodes and studies, what each node was witnessed to have spent, and alarms where a node's own
//! ledger differs. Read-only, on loopback; what it shows is what `entente partners` and `entente study list` tell.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use entente_host::Error;
use entente_host::pages::look::{facts, gauge, page};
use entente_host::pages::metrics::Metrics;
use entente_host::pages::{Page, read};
use maud::{Markup, html};

use crate::coordinator::Running;
use crate::hall::Hall;
use crate::hall::alliance::Alliance;
use crate::office::overview;
use crate::scheduler::Scheduler;
use crate::store::{Alarm, StudyState};
use crate::views::{AccountView, PartnerView, PartnersView, StudyView};

/// Studies that are listed; the command line lists all.
const LISTED: usize = 200;

/// The page of an alliance.
fn own(alliance: &Alliance) -> Page {
    Page {
        name: "the operator's page",
        address: alliance.page(),
        keys: alliance.dir().join("keys"),
        setting: "`page` in alliance.toml",
        example: "127.0.0.1:8080",
        opens: "entente page",
    }
}

/// Serves the page as long as the coordinator runs, which works all the same where it cannot be served: this never returns.
pub async fn serve(running: &Running) -> Infallible {
    let alliance = &running.hall().alliance;
    own(alliance).serve(&format!("Alliance {}", alliance.name()), || Ok(router(running))).await
}

/// The address that opens the page of the alliance in `dir`, token included.
pub fn url(dir: &Path) -> Result<String, Error> {
    own(&Alliance::open(dir)?).url()
}

/// All pages, without login.
pub fn router(running: &Running) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/metrics", get(metrics))
        .with_state(Known { hall: running.hall().clone(), scheduler: running.scheduler().clone() })
}

/// What pages are read from.
#[derive(Clone)]
struct Known {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
}

struct Seen {
    partners: PartnersView,
    studies: Vec<StudyView>,
    alarms: Vec<Alarm>,
}

fn seen(known: &Known) -> Result<Seen, Error> {
    let Known { hall, scheduler } = known;
    let mut studies = overview::studies(hall, scheduler)?;
    studies.reverse();
    Ok(Seen { partners: overview::partners(hall)?, studies, alarms: hall.store.alarms(true)? })
}

async fn overview(State(known): State<Known>) -> Result<Response, Response> {
    let seen = read(move || seen(&known)).await?;
    let name = &seen.partners.alliance;
    let body = html! {
        (alarms(&seen))
        section aria-labelledby="nodes" {
            h2 id="nodes" { "Nodes" }
            p.soft { "Roster " code { (seen.partners.roster_fingerprint) } }
            @if seen.partners.partners.is_empty() { p { "Nobody is enrolled yet." } }
            div.cards { @for partner in &seen.partners.partners { (node(partner)) } }
        }
        (studies(&seen.studies))
    };
    let title = "Nodes and studies";
    Ok(Html(page(title, &format!("Alliance {name}"), &[("/", title)], &body).into_string()).into_response())
}

fn alarms(seen: &Seen) -> Markup {
    let time = |seconds: i64| jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
    let (closed, open): (Vec<&Alarm>, Vec<&Alarm>) = seen.alarms.iter().partition(|alarm| alarm.acknowledged.is_some());
    html! {
        section aria-labelledby="alarms" {
            h2 id="alarms" { "Alarms" }
            @if open.is_empty() { p { span.good { "None." } " Every node's ledger goes on from what was witnessed of it." } }
            @for alarm in &open {
                p.bad role="alert" { (alarm.number) ": " (alarm.node) ", " (time(alarm.first)) " to " (time(alarm.last)) ": " (alarm.reason) }
            }
            @if !open.is_empty() { p { "Ask the partner, then " code { "entente acknowledge NUMBER --note TEXT" } "." } }
            @if !closed.is_empty() {
                ul { @for alarm in closed { @if let Some((at, note)) = &alarm.acknowledged {
                    li.soft { (alarm.number) ": " (alarm.node) ", " (alarm.reason) "; acknowledged " (time(*at)) ": " (note) }
                } } }
            }
        }
    }
}

fn node(partner: &PartnerView) -> Markup {
    html! {
        div.card {
            h3 { (partner.name) }
            (facts(&[
                ("Connected", html! {
                    @if partner.connected { span.good { "yes" } } @else { span.bad { "no" } }
                    @if let Some(since) = &partner.since { ", since " (since) }
                }),
                ("Software", html! { (partner.software.as_deref().unwrap_or("unknown")) }),
                ("Ledger as witnessed", html! {
                    @match &partner.witnessed {
                        Some(witnessed) => { (witnessed.ledger.entries) " entries, " code { (witnessed.ledger.hash.short()) } }
                        None => "nothing yet",
                    }
                }),
            ]))
            @for (of, account) in partner.witnessed.iter().flat_map(|witnessed| &witnessed.accounts) {
                @let AccountView { spent_rho, spent_rho_person, cap_rho } = account;
                p { (of) ": ρ = " (format!("{spent_rho:.6}")) " of " (format!("{cap_rho:.6}")) "; of a person " (format!("{spent_rho_person:.6}")) }
                (gauge(&format!("{} of {}: ρ = {spent_rho:.6} spent of {cap_rho:.6}", of, partner.name), *spent_rho, *cap_rho))
            }
            @for notice in &partner.notices { p.bad { (notice) } }
        }
    }
}

fn studies(studies: &[StudyView]) -> Markup {
    html! {
        section aria-labelledby="studies" {
            h2 id="studies" { "Studies" }
            @if studies.is_empty() { p { "No studies yet." } } @else {
                div.scroll {
                    table {
                        thead { tr {
                            th scope="col" { "Submitted" } th scope="col" { "Study" } th scope="col" { "Kind" } th scope="col" { "Purpose" }
                            th scope="col" { "Participants" } th scope="col" { "State" } th scope="col" { "Waits for" }
                        } }
                        tbody {
                            @for study in studies.iter().take(LISTED) {
                                tr {
                                    td { (study.created) } td { (study.name) " " code { (study.id) } } td { (study.kind) } td { (study.purpose) }
                                    td { (study.participants.join(", ")) }
                                    td { (study.state) @if let Some(stage) = &study.stage { ", " (stage) } @if let Some(reason) = &study.reason { ": " (reason) } }
                                    td { @for waiting in &study.waiting { p { (waiting.partner) ": " (waiting.reason) } } }
                                }
                            }
                        }
                    }
                }
                @if studies.len() > LISTED { p { "The newest " (LISTED) " of " (studies.len()) "; " code { "entente study list" } " has all." } }
            }
        }
    }
}

async fn metrics(State(known): State<Known>) -> Result<Response, Response> {
    let seen = read(move || seen(&known)).await?;
    let mut metrics = Metrics::default();
    for partner in &seen.partners.partners {
        let labels = [("node", partner.name.as_str())];
        let connected = f64::from(u8::from(partner.connected));
        metrics.gauge("entente_coordinator_node_connected", "1 where a node is connected.", &labels, connected);
        let open =
            seen.alarms.iter().filter(|alarm| alarm.node == partner.name && alarm.acknowledged.is_none()).count();
        metrics.gauge("entente_coordinator_alarms", "Alarms that nobody has acknowledged.", &labels, open as f64);
        let Some(witnessed) = &partner.witnessed else { continue };
        let entries = witnessed.ledger.entries as f64;
        metrics.gauge(
            "entente_coordinator_witnessed_entries",
            "Entries of a node's ledger, as witnessed.",
            &labels,
            entries,
        );
        for (population, account) in &witnessed.accounts {
            let labels = [("node", partner.name.as_str()), ("population", population.as_str())];
            let help = "Sum of the charges on a population as rho, as witnessed.";
            metrics.gauge("entente_coordinator_witnessed_spent_rho", help, &labels, account.spent_rho);
        }
    }
    for state in [StudyState::Running, StudyState::Done, StudyState::Refused, StudyState::Failed, StudyState::Cancelled]
    {
        let count = seen.studies.iter().filter(|study| study.state == state).count();
        let labels = [("state", &*state.to_string())];
        metrics.gauge("entente_coordinator_studies", "Studies by state.", &labels, count as f64);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.text()).into_response())
}
