//! The pages themselves.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use entente_host::Error;
use entente_host::clock;
use entente_host::locks::lock;
use entente_host::pages::look::{facts, gauge, page, steps};
use entente_protocols::ledger::carry::CarriedOver;
use entente_protocols::ledger::entry::{Entry, Record, State, StudyRecord};
use entente_protocols::ledger::office::Action;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::{AccountKey, Chain};
use entente_protocols::privacy::rho::Rho;
use maud::{Markup, html};

use super::index::{Index, Line, name};
use super::shown::Review;
use super::words::{Words, number};

/// Studies on one page.
const PAGE: usize = 50;
/// The most rounds of one study whose charges are listed.
const ROUNDS: usize = 200;
const STATES: [State; 5] = [State::Reserved, State::Computed, State::Released, State::Repeated, State::Refused];

fn place(review: &Review) -> String {
    format!("Node {}: what was spent of its customers' privacy", review.config.name)
}

const LINKS: [(&str, &str); 4] = [
    ("/", "Budget and studies"),
    ("/officers", "Officers"),
    ("/ledger.jsonl", "Export of the ledger"),
    ("/#report", "Report"),
];

fn frame(review: &Review, title: &str, body: &Markup) -> Markup {
    page(title, &place(review), &LINKS, body)
}

/// RFC 3339 to the minute, for people.
pub(super) fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// Whether the ledger is whole.
pub(super) fn status(review: &Review, index: &Index) -> Result<Markup, Error> {
    let entries = index.chain.head().entries;
    let since = lock(&review.verified).at.map(|at| minute(&at.to_string()));
    let sightings = lock(&review.store).sightings()?;
    let shown: Vec<_> = sightings.iter().filter(|seen| index.contradicts(&seen.checkpoint)).collect();
    let newest = lock(&review.store).newest_checkpoint()?;
    let newest = newest.and_then(|note| entente_protocols::ledger::Checkpoint::parse(&note).ok());
    Ok(html! {
        section aria-labelledby="status" {
            h2 id="status" { "Is the ledger intact?" }
            @match (&index.broken, &since) {
                (Some(finding), _) => p.bad role="alert" { "No: " (finding) ". Nothing is released from it." },
                (None, None) => p { "It is being verified; " (entries) " entries follow from each other so far." },
                (None, Some(since)) => p {
                    span.good { "Yes: all " (entries) " entries follow from each other." }
                    " Fully verified at " (since) " UTC; later entries were verified as they arrived."
                },
            }
            @for seen in &shown {
                p.bad role="alert" { "In quarantine: " (seen.by) " holds a checkpoint, seen " (minute(&seen.time)) ", from which the ledger does not go on." }
            }
            @if let Some(newest) = newest {
                p.soft {
                    "Newest checkpoint kept with cosignatures: " (newest.statement().size) " entries, by "
                    (newest.cosignatures().map(|line| witness(line.name(), &newest.statement().origin)).collect::<Vec<_>>().join(", ")) "."
                }
            }
            @for absence in index.chain.away("") {
                p.bad { "The ledger goes on without a witness: " (absence) "." }
            }
            @for hold in index.chain.paused() {
                p.bad { (hold.subject) " is paused by " (hold.officer) ": " (hold.reason) }
            }
        }
    })
}

/// A witness as people call it: in its alliance, a partner's name, or the coordinator.
fn witness(name: &str, origin: &str) -> String {
    let alliance = origin.rsplit_once('/').map_or(origin, |(alliance, _)| alliance);
    match name.strip_prefix(alliance) {
        Some("") => "the coordinator".into(),
        Some(partner) => partner.trim_start_matches('/').into(),
        None => name.into(),
    }
}

/// The data sets of a population.
fn of_population(review: &Review, population: &str) -> String {
    let datasets = review.config.datasets.iter().filter(|(_, dataset)| dataset.population == population);
    datasets.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn budgets(review: &Review, index: &Index) -> Markup {
    let delta = review.config.caps.delta;
    html! {
        section aria-labelledby="budgets" {
            h2 id="budgets" { "Budget left" }
            div.cards {
                @for population in review.config.budgets().populations().keys() {
                    @let account = AccountKey::Population((*population).to_owned());
                    @let (spent, cap) = (index.chain.spent(&account), index.chain.cap(&account).unwrap_or(review.config.caps.lifetime));
                    @let left = cap.minus(spent.rho);
                    div.card {
                        h3 { (population) }
                        p.soft { "of " (of_population(review, population)) }
                        (gauge(&format!("{population}: ρ = {} spent of {cap}", spent.rho), spent.rho.value(), cap.value()))
                        (facts(&[
                            ("Left", html! { "ε = " (number(left.epsilon(delta))) ", ρ = " (left) }),
                            ("Spent", html! { "ε = " (number(spent.rho.epsilon(delta))) ", ρ = " (spent.rho) }),
                            ("Cap", html! { "ε = " (number(cap.epsilon(delta))) ", ρ = " (cap) }),
                            ("Spent, of a person at all partners", html! { "ε = " (number(spent.person.epsilon(delta))) ", ρ = " (spent.person) }),
                        ]))
                        (years(&index.chain, population, cap, delta))
                        @if let Some(points) = index.history.get(&account) {
                            (steps(&format!("{population}: ρ spent over time, up to {}; the dashed line is the cap", spent.rho), points, cap.value()))
                        }
                    }
                }
            }
            p.soft { "ε at δ = " (format!("{delta:e}")) "." }
        }
    }
}

/// What was spent in each year of events beside what is of all time, and the sum, where there are such.
fn years(chain: &Chain, population: &str, cap: Rho, delta: f64) -> Markup {
    let all_time = chain.spent(&AccountKey::Population(population.to_owned())).rho;
    let years: Vec<_> = chain.years(population).collect();
    html! {
        @if !years.is_empty() {
            table {
                caption { "By year of what rows tell of: each year has the cap, and what is spent over all time counts in each" }
                thead { tr { th scope="col" { "Year" } th scope="col" { "Spent, with all time" } th scope="col" { "Left" } } }
                tbody {
                    @for (year, totals) in years {
                        @let spent = all_time.plus(totals.spent);
                        tr {
                            th scope="row" { (year) }
                            td { "ε = " (number(spent.epsilon(delta))) ", ρ = " (spent) }
                            td { "ρ = " (cap.minus(spent)) }
                        }
                    }
                }
            }
            @let sum = chain.spent_all_time(population).rho;
            p { "A customer with rows of every year has lost at most ε = " (number(sum.epsilon(delta))) ", ρ = " (sum) ": the sum over all time." }
        }
    }
}

/// What is searched for.
struct Filter {
    text: String,
    dataset: String,
    state: String,
    from: usize,
}

impl Filter {
    fn of(asked: &HashMap<String, String>) -> Self {
        let of = |key: &str| asked.get(key).cloned().unwrap_or_default();
        Self { text: of("q"), dataset: of("dataset"), state: of("state"), from: of("from").parse().unwrap_or(0) }
    }

    fn admits(&self, line: &Line) -> bool {
        let text = self.text.to_lowercase();
        let fields = [&line.id, &line.name, line.kind.name(), &line.dataset, &line.requester, &line.decision];
        (text.is_empty() || fields.iter().any(|field| field.to_lowercase().contains(&text)))
            && (self.dataset.is_empty() || line.dataset == self.dataset)
            && (self.state.is_empty() || name(line.state) == self.state)
    }

    fn link(&self, from: usize) -> String {
        let part = |text: &str| -> String {
            text.bytes().fold(String::new(), |mut out, byte| {
                if byte.is_ascii_alphanumeric() {
                    out.push(char::from(byte));
                } else {
                    let _ = write!(out, "%{byte:02X}");
                }
                out
            })
        };
        format!(
            "/?q={}&dataset={}&state={}&from={from}#studies",
            part(&self.text),
            part(&self.dataset),
            part(&self.state)
        )
    }
}

pub(super) fn overview(review: &Arc<Review>, asked: &HashMap<String, String>) -> Result<Markup, Error> {
    let index = review.index()?;
    let filter = Filter::of(asked);
    // The newest first, no more than are shown and one.
    let found = index.lines.iter().rev().filter(|line| filter.admits(line)).skip(filter.from);
    let mut found: Vec<&Line> = found.take(PAGE + 1).collect();
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let delta = review.config.caps.delta;
    let today = clock::now().to_string();
    let today = today.get(..10).unwrap_or_default().to_owned();
    let body = html! {
        (status(review, &index)?)
        (budgets(review, &index))
        section aria-labelledby="studies" {
            h2 id="studies" { "Studies and refusals" }
            form method="get" action="/" {
                div { label for="q" { "Search" } input id="q" name="q" type="search" value=(filter.text); }
                div {
                    label for="dataset" { "Data set" }
                    select id="dataset" name="dataset" {
                        option value="" { "all" }
                        @for dataset in review.config.datasets.keys() { option value=(dataset) selected[*dataset == filter.dataset] { (dataset) } }
                    }
                }
                div {
                    label for="state" { "State" }
                    select id="state" name="state" {
                        option value="" { "all" }
                        @for state in STATES { option value=(name(state)) selected[name(state) == filter.state] { (name(state)) } }
                    }
                }
                button { "Show" }
            }
            @if found.is_empty() { p { "There are none." } } @else {
                div.scroll {
                    table {
                        thead { tr {
                            th scope="col" { "Since" } th scope="col" { "Study" } th scope="col" { "Kind" } th scope="col" { "Data set" }
                            th scope="col" { "Asked by" } th scope="col" { "State" }
                            th.number scope="col" { "Cost, ε" } th.number scope="col" { "of a person, ε" } th scope="col" { "Decided by" }
                        } }
                        tbody {
                            @for line in &found {
                                tr {
                                    td { (minute(&line.time)) }
                                    td { a href=(format!("/studies/{}", line.id)) { (line.name) } }
                                    td { (line.kind) } td { (line.dataset) } td { (line.requester) } td { (name(line.state)) }
                                    td.number { (number(line.charge.epsilon(delta))) } td.number { (number(line.person.epsilon(delta))) }
                                    td { (line.decision) }
                                }
                            }
                        }
                    }
                }
            }
            p {
                @if filter.from > 0 { a href=(filter.link(filter.from.saturating_sub(PAGE))) { "Newer" } " " }
                @if more { a href=(filter.link(filter.from + PAGE)) { "Older" } " " }
                a href="/studies.csv" { "All as CSV" }
            }
        }
        section aria-labelledby="report" {
            h2 id="report" { "Report for a period" }
            p { "One file with what regulators ask, to be kept and printed." }
            form method="get" action="/report" {
                div { label for="from" { "From" } input id="from" name="from" type="date" required value=(format!("{}-01-01", today.get(..4).unwrap_or_default())); }
                div { label for="to" { "To, inclusive" } input id="to" name="to" type="date" required value=(today); }
                button { "Make the report" }
            }
        }
    };
    Ok(frame(review, "Budget and studies", &body))
}

pub(super) fn nothing(review: &Review, id: &str) -> Markup {
    frame(review, "No such study", &html! { p { "The ledger has nothing about a study " code { (id) } "." } })
}

/// What the first of its entries says of a study.
pub(super) fn described(record: &StudyRecord) -> Vec<(&'static str, Markup)> {
    vec![
        ("Study", html! { code { (record.study.id) } }),
        ("Purpose", html! { (record.study.purpose) }),
        ("Legal basis", html! { (record.study.legal_basis.as_deref().unwrap_or("none is stated")) }),
        ("Kind", html! { (record.study.kind) }),
        ("Data set", html! { (record.dataset) }),
        (
            "Consent that was applied",
            html! { @match &record.consent { Some(consent) => code { (consent) }, None => "none is configured" } },
        ),
        ("Asked by", html! { (record.requester) @if record.petition.is_some() { ", which has signed it" } }),
        ("Result given to", html! { (record.recipients.join(", ")) }),
        ("Participants", html! { (record.participants.join(", ")) }),
    ]
}

pub(super) fn study(review: &Arc<Review>, id: &str) -> Result<Option<Markup>, Error> {
    let index = review.index()?;
    let lines: Vec<Line> = index.study(id).into_iter().cloned().collect();
    drop(index);
    let mut parts = Vec::new();
    let mut title = None;
    for line in &lines {
        let entries = review.entries(&line.entries)?;
        let Some(record) = entries.last().and_then(Entry::study) else { continue };
        title.get_or_insert_with(|| record.study.name.clone());
        parts.push(html! {
            (facts(&described(record)))
            (facts(&[
                ("State", html! { (name(line.state)) }),
                ("Decided by", html! { (line.decision) }),
                ("Cost", html! { "ε = " (number(line.charge.epsilon(review.config.caps.delta))) ", ρ = " (line.charge) }),
                ("Cost of a person at all partners", html! { "ε = " (number(line.person.epsilon(review.config.caps.delta))) ", ρ = " (line.person) }),
            ]))
            (words(&Words::of(&entries, review.own_numbers(&entries))))
            (rounds(&entries))
        });
    }
    let Some(title) = title else { return Ok(None) };
    Ok(Some(frame(review, &title, &html! { @for part in &parts { (part) } })))
}

pub(super) fn words(words: &Words) -> Markup {
    let part = |title: &str, id: &str, texts: &[String]| {
        html! {
            @if !texts.is_empty() {
                section aria-labelledby=(id) { h2 id=(id) { (title) } @for text in texts { p { (text) } } }
            }
        }
    };
    html! {
        (part("What left this node", "left", &words.left))
        (part("What each party can learn", "learn", &words.learn))
        (part("Why the guarantee holds", "why", &words.why))
    }
}

fn rounds(entries: &[Entry]) -> Markup {
    html! {
        section aria-labelledby="entries" {
            h2 id="entries" { "Entries of the ledger" }
            @if entries.len() > ROUNDS { p { "The first " (ROUNDS) " of " (entries.len()) "." } }
            div.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Entry" } th scope="col" { "Time" } th scope="col" { "State" } th.number scope="col" { "Round" }
                        th.number scope="col" { "Charge, ρ" } th scope="col" { "Mechanism" } th scope="col" { "Protects" }
                        th.number scope="col" { "Colluders" } th.number scope="col" { "Spent after, ρ" }
                    } }
                    tbody {
                        @for entry in entries.iter().take(ROUNDS) {
                            @if let Some(record) = entry.study() {
                                tr {
                                    td { (entry.sequence) } td { (minute(&entry.time)) } td { (name(entry.state())) }
                                    td.number { (record.round.map(|round| round.to_string()).unwrap_or_default()) }
                                    td.number { (record.charge()) }
                                    td { (record.privacy.as_ref().map(|privacy| privacy.mechanism.as_str()).unwrap_or_default()) }
                                    td { (record.privacy.as_ref().map(|privacy| privacy.scope.name()).unwrap_or_default()) }
                                    td.number { (record.privacy.as_ref().map(|privacy| privacy.colluders.to_string()).unwrap_or_default()) }
                                    td.number { (record.spent_all_time()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What an officer's entry says.
pub(super) fn act(entry: &Entry) -> (String, String) {
    match &entry.record {
        Record::Note(note) => (note.officer.clone(), format!("note on entry {}: {}", note.about, note.text)),
        Record::Paused(hold) => (hold.officer.clone(), format!("paused {}: {}", hold.subject, hold.reason)),
        Record::Resumed(hold) => (hold.officer.clone(), format!("let {} go on: {}", hold.subject, hold.reason)),
        Record::Proposed(proposal) => {
            let what = match &proposal.action {
                Action::Cap { account, to } => format!("a cap of ρ = {to} for {account}"),
                Action::Allow { account, for_year, rho } => {
                    format!("an allowance of ρ = {rho} for {account}, for {for_year}")
                }
                Action::Recover(_) => "a recovery".into(),
                Action::Rules(_) => "rules that admit more".into(),
                Action::Away(absence) => format!("that witness {absence}"),
            };
            (proposal.officer.clone(), format!("proposed {what}: {}", proposal.reason))
        }
        Record::Cap(change) => (
            change.officers.join(" and "),
            match change.for_year {
                Some(year) => {
                    format!(
                        "allowance for {year}: the cap of {} is ρ = {}: {}",
                        change.account, change.to, change.reason
                    )
                }
                None => format!("cap of {} is ρ = {}: {}", change.account, change.to, change.reason),
            },
        ),
        Record::Rules(change) => (change.officers.join(" and "), format!("rules: {}", change.reason)),
        Record::Carried(CarriedOver { dataset, population, spent, .. }) => (
            String::new(),
            format!("ρ = {spent}, spent on data set `{dataset}`, is carried over to population `{population}`"),
        ),
        Record::Recovered(recovery) => (recovery.officers.join(" and "), format!("recovery: {}", recovery.reason)),
        Record::Away(away) => {
            (away.by(), format!("witness {} is away until {}: {}", away.partner, away.until, away.reason))
        }
        Record::Reserved(_) | Record::Computed(_) | Record::Released(_) | Record::Repeated(_) | Record::Refused(_) => {
            Default::default()
        }
    }
}

pub(super) fn officers(review: &Arc<Review>) -> Result<Markup, Error> {
    let numbers: Vec<u64> = review.index()?.officers.iter().rev().take(500).copied().collect();
    let entries = review.entries(&numbers)?;
    let oversight = &review.config.oversight;
    let body = html! {
        p { "Officers by node.toml: " (if oversight.officers.is_empty() { "anybody who states a name".to_owned() } else { oversight.officers.join(", ") })
            ". A release waits until enough partners have cosigned its charge that any two such sets share an honest one"
            @if oversight.witnesses > 0 { ", and for at least " (oversight.witnesses) " of them" } "." }
        @if entries.is_empty() { p { "Officers have recorded nothing yet." } } @else {
            div.scroll {
                table {
                    thead { tr { th scope="col" { "Entry" } th scope="col" { "Time" } th scope="col" { "Officers" } th scope="col" { "What" } } }
                    tbody {
                        @for entry in &entries {
                            @let (who, what) = act(entry);
                            tr { td { (entry.sequence) } td { (minute(&entry.time)) } td { (who) } td { (what) } }
                        }
                    }
                }
            }
        }
    };
    Ok(frame(review, "What officers recorded", &body))
}

/// All studies that a filter admits, a line each.
pub(super) fn csv(review: &Arc<Review>, asked: &HashMap<String, String>) -> Result<String, Error> {
    // A text that a spreadsheet would take for a formula is not to be one.
    let cell = |text: &str| {
        let text = text.replace('"', "\"\"").replace(['\r', '\n'], " ");
        let guard = if text.starts_with(['=', '+', '-', '@', '\t']) { "'" } else { "" };
        format!("\"{guard}{text}\"")
    };
    let (index, filter) = (review.index()?, Filter::of(asked));
    let mut text = String::from("study,name,kind,dataset,requester,state,since,rho,rho_person,decision\n");
    for line in index.lines.iter().filter(|line| filter.admits(line)) {
        let texts = [&line.id, &line.name, line.kind.name(), &line.dataset, &line.requester].map(cell);
        let numbers = format!("{},{},{},{}", name(line.state), line.time, line.charge, line.person);
        let _ = writeln!(text, "{},{numbers},{}", texts.join(","), cell(&line.decision));
    }
    Ok(text)
}
