//! The report for a period: one file, without anything from elsewhere, with what regulators ask. `docs/regulators.md` says which
//! field answers which question.

use std::collections::HashMap;
use std::sync::Arc;

use entente_host::Error;
use entente_host::clock;
use entente_host::locks::lock;
use entente_host::pages::look::{STYLE, document, facts};
use entente_protocols::kind::Kind;
use entente_protocols::ledger::entry::{Entry, Privacy};
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use maud::{Markup, html};

use super::index::{Line, name};
use super::pages::{act, described, minute, status, words};
use super::shown::Review;
use super::words::{Words, number};
use crate::state::SOFTWARE;

/// The most studies that are described one by one; more are counted.
const DESCRIBED: usize = 500;

/// Days, both included.
pub(super) struct Period {
    pub(super) from: jiff::civil::Date,
    pub(super) to: jiff::civil::Date,
}

impl Period {
    pub(super) fn of(asked: &HashMap<String, String>) -> Result<Self, Error> {
        let day = |key: &str| {
            let text = asked.get(key).map(String::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
                Error::refused(format!("no `{key}` is given"))
                    .help("write the first day and the last: /report?from=2026-01-01&to=2026-12-31")
            })?;
            text.parse()
                .map_err(|_| Error::refused(format!("`{key}` is `{text}`")).help("write a day such as 2026-01-31"))
        };
        let period = Self { from: day("from")?, to: day("to")? };
        if period.to < period.from { Err(Error::refused("the period ends before it begins")) } else { Ok(period) }
    }

    fn has(&self, time: &str) -> bool {
        time.get(..10)
            .and_then(|day| day.parse().ok())
            .is_some_and(|day: jiff::civil::Date| (self.from..=self.to).contains(&day))
    }
}

pub(super) fn report(review: &Arc<Review>, period: &Period) -> Result<Markup, Error> {
    let (lines, numbers, state) = {
        let index = review.index()?;
        let lines: Vec<Line> = index.lines.iter().filter(|line| period.has(&line.time)).cloned().collect();
        (lines, index.officers.clone(), status(review, &index)?)
    };
    let officers: Vec<Entry> = review.entries(&numbers)?.into_iter().filter(|entry| period.has(&entry.time)).collect();
    let mut studies = Vec::new();
    for line in lines.iter().take(DESCRIBED) {
        studies.push((line, review.entries(&line.entries)?));
    }
    let mut purposes: Vec<&str> =
        studies.iter().filter_map(|(_, entries)| Some(entries.last()?.study()?.study.purpose.as_str())).collect();
    purposes.sort_unstable();
    purposes.dedup();
    let title = format!("Privacy of customers at {}, {} to {}", review.config.name, period.from, period.to);
    let body = html! {
        h1 { (title) }
        p.soft { "Made " (minute(&clock::now().to_string())) " UTC by " (SOFTWARE) " from the ledger. Keep it for at least three years; the ledger itself is never shortened." }
        (state)
        (record(review, &lines, &purposes))
        (assessment(review, &lines))
        (guarantee(review, &studies))
        section aria-labelledby="studies" {
            h2 id="studies" { "Studies of the period" }
            p { (lines.len()) " studies and refusals." @if lines.len() > DESCRIBED { " The first " (DESCRIBED) " are described; all are in the export." } }
            @for (line, entries) in &studies {
                @if let Some(record) = entries.last().and_then(Entry::study) {
                    h3 { (record.study.name) ", " (minute(&line.time)) ": " (name(line.state)) }
                    (facts(&described(record)))
                    (facts(&[
                        ("Decided by", html! { (line.decision) }),
                        ("Cost", html! { "ρ = " (line.charge) ", of a person at all partners " (line.person) }),
                    ]))
                    (words(&Words::of(entries, review.own_numbers(entries))))
                }
            }
        }
        section aria-labelledby="officers" {
            h2 id="officers" { "What officers recorded in the period" }
            @if officers.is_empty() { p { "Nothing." } }
            ul { @for entry in &officers { @let (who, what) = act(entry); li { (minute(&entry.time)) ", " (who) ": " (what) } } }
        }
    };
    Ok(document(&title, STYLE, &body))
}

/// The record of processing activities.
fn record(review: &Review, lines: &[Line], purposes: &[&str]) -> Markup {
    let mut requesters: Vec<&str> = lines.iter().map(|line| line.requester.as_str()).collect();
    requesters.sort_unstable();
    requesters.dedup();
    let datasets = &review.config.datasets;
    html! {
        section aria-labelledby="record" {
            h2 id="record" { "Record of processing (GDPR Art. 30; PIPL Art. 55, 56)" }
            (facts(&[
                ("Controller", html! { (review.config.name) ", one of the partners of a data alliance; its contact and that of its data protection officer: to be filled in" }),
                ("Joint parties", html! { "the participants of each study, below" }),
                ("Purposes", html! { @if purposes.is_empty() { "no study in the period" } @else { (purposes.join("; ")) } }),
                ("Data subjects", html! { @for (i, (name, dataset)) in datasets.iter().enumerate() { @if i > 0 { "; " } "whoever has a " code { (dataset.schema.privacy_unit) } " in " (name) } }),
                ("Categories of data", html! { @for (i, (name, dataset)) in datasets.iter().enumerate() { @if i > 0 { "; " } (name) ": " (dataset.schema.columns.keys().cloned().collect::<Vec<_>>().join(", ")) } }),
                ("Consent", html! { @for (i, (name, dataset)) in datasets.iter().enumerate() { @if i > 0 { "; " } (name) ": " (dataset.consent.as_deref().unwrap_or("no predicate is configured")) } }),
                ("Recipients", html! { (requesters.join(", ")) " and whom each study names; of noisy sums over all participants, and of one partner's own where a study below says so" }),
                ("Transfers to third countries", html! { "no personal data leave this node; where recipients of results are, the software does not know: to be filled in" }),
                ("Erasure", html! { "the data stay where they are, and are read anew for each study; results are kept by their recipients, the ledger without end" }),
                ("Security", html! { "contribution bounding and discrete Gaussian noise before anything leaves; masks by secure aggregation; TLS 1.3 with mutual certificates and hybrid post-quantum key exchange; keys on this node alone; a signed ledger, cosigned by witnesses" }),
            ]))
        }
    }
}

/// The impact assessment.
fn assessment(review: &Review, lines: &[Line]) -> Markup {
    let refused = lines.iter().filter(|line| line.state == entente_protocols::ledger::entry::State::Refused).count();
    let (rho, person) =
        (lines.iter().map(|line| line.charge).sum::<Rho>(), lines.iter().map(|line| line.person).sum::<Rho>());
    let delta = review.config.caps.delta;
    html! {
        section aria-labelledby="assessment" {
            h2 id="assessment" { "Impact assessment (GDPR Art. 35; PIPL Art. 56)" }
            (facts(&[
                ("The processing", html! { "sums over customers, " (Kind::all().map(Kind::sums).collect::<Vec<_>>().join(", ")) ", as each study below says" }),
                ("Necessity and proportion", html! { "each study states its purpose; a rule or a steward approved it by name; " (refused) " were refused in the period; numbers have no more precision than the budget bought" }),
                ("Risks to data subjects", html! { "that somebody tells from results whether a customer is in the data, or a property of one. It is bounded by what was spent: in the period ρ = " (rho) " (ε = " (number(rho.epsilon(delta))) "), of a person at all partners ρ = " (person) " (ε = " (number(person.epsilon(delta))) "), both over all data sets together" }),
                ("Measures", html! { "the guarantee below; caps per population and study, which never renew by time; pauses by officers, which hold at once" }),
                ("Kept", html! { "the ledger is append-only and is never shortened: longer than the three years of PIPL Art. 56" }),
            ]))
        }
    }
}

/// The questions of NIST SP 800-226.
fn guarantee(review: &Review, studies: &[(&Line, Vec<Entry>)]) -> Markup {
    let all = || studies.iter().flat_map(|(_, entries)| entries).filter_map(|entry| entry.study()?.privacy.as_deref());
    let list = |of: &dyn Fn(&Privacy) -> String| {
        let mut found: Vec<String> = all().map(of).collect();
        found.sort();
        found.dedup();
        if found.is_empty() { "no release in the period".to_owned() } else { found.join("; ") }
    };
    let delta = review.config.caps.delta;
    let index = lock(&review.index);
    html! {
        section aria-labelledby="guarantee" {
            h2 id="guarantee" { "The guarantee (NIST SP 800-226)" }
            (facts(&[
                ("Unit of privacy", html! { "all rows of one customer: one value of " (list(&|privacy| format!("“{}”", privacy.privacy_unit))) }),
                ("Neighbouring data sets", html! { "they differ by adding or removing one customer, with all its rows; scope “person”: at every participant" }),
                ("Scopes", html! { (list(&|privacy| match privacy.scope { Scope::Customer => "customer of one partner".into(), Scope::Person => "person at all partners".into() })) }),
                ("Mechanism", html! { (list(&|privacy| privacy.mechanism.clone())) ", in exact integers; accounted in ρ-zCDP, composed by addition; ε by the tight conversion" }),
                ("ε and δ since the beginning", html! { @for (i, (name, totals)) in index.chain.accounts().iter().filter(|(_, totals)| totals.cap > Rho::ZERO).enumerate() { @if i > 0 { "; " }
                    (name) ": ε = " (number(totals.spent.epsilon(delta))) " of " (number(totals.cap.epsilon(delta))) " at δ = " (format!("{delta:e}")) ", of a person ε = " (number(totals.person.epsilon(delta))) } }),
                ("Trust model", html! { "distributed: no party sees another's numbers without noise; the noise is that of all participants but the colluders assumed (" (list(&|privacy| format!("{} of {}", privacy.colluders, privacy.participants))) "); the coordinator is trusted with availability alone" }),
                ("Side channels", html! { "one opaque error to the outside; charges before rows are read; noise without floating point. Not covered: how long a node computes; in studies with buckets, the time of blocks tells about how many candidates there are" }),
                ("Collection and access", html! { "data are not collected: they stay in this node's sources, read by its process alone" }),
            ]))
        }
    }
}
