//! What every report has, whatever its study's kind: the page itself, heading, privacy, warnings, record.
//!
//! No scripts, fonts or images from anywhere, and a content security policy that holds it to that. maud escapes all
//! text, also inside the charts.

use entente_host::pages::look::document;
use entente_protocols::privacy::mechanism::Scope;
use maud::{Markup, html};

use super::header::Header;

const CSS: &str = include_str!("report.css");

/// A page with these parts.
pub(crate) fn page(header: &Header<'_>, body: &Markup) -> Markup {
    document(header.study.name, CSS, body)
}

/// Name and purpose; `what` the page is goes above.
pub(crate) fn heading(header: &Header<'_>, what: &str) -> Markup {
    html! {
        header {
            p.eyebrow { (what) " · " (time(header.finished)) }
            h1 { (header.study.name) }
            p.purpose { (header.study.purpose) }
            @if let Some(basis) = header.study.legal_basis {
                p.meta { "Legal basis: " (basis) }
            }
        }
    }
}

/// The data set, the participants and the SQL of the study.
pub(crate) fn asked_for(header: &Header<'_>, dataset: &str, sql: &str) -> Markup {
    let n = header.participants.len();
    html! {
        section aria-labelledby="asked" {
            h2 id="asked" { "What was asked" }
            p {
                "Of the data set " strong { (dataset) } " at "
                @if n == 1 { "one participant: " } @else { (n) " participants, all together: " }
                @for (i, participant) in header.participants.iter().enumerate() {
                    @if i > 0 { ", " }
                    strong { (participant) }
                }
                "."
            }
            pre { code { (unindented(sql)) } }
        }
    }
}

/// Who is protected, and how much of the protection was spent.
pub(crate) fn privacy(header: &Header<'_>, privacy_unit: &str) -> Markup {
    let (privacy, n) = (&header.privacy, header.participants.len());
    let epsilon = |epsilon: Option<f64>| epsilon.map_or_else(|| "not bounded".to_owned(), |epsilon| upward(epsilon, 3));
    html! {
        section.privacy aria-labelledby="privacy" {
            h2 id="privacy" { "Privacy" }
            p {
                @match privacy.scope {
                    Scope::Customer => {
                        "The promise protects each customer of each partner: all rows with one " code { (privacy_unit) }
                        " at one partner. "
                    }
                    Scope::Person => {
                        "The promise protects each person, even one who is a customer of every participant. "
                    }
                }
                "ε and δ bound how much any result can depend on whether one of them is in the data; smaller is safer."
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "Who is protected" }
                            th scope="col" { "ε" }
                            th scope="col" { "δ" }
                            th scope="col" { "ρ (zCDP)" }
                        }
                    }
                    tbody {
                        tr {
                            th scope="row" { "As stated by the study" }
                            td { (privacy.epsilon) " at most" } td { (delta(privacy.delta)) } td { "–" }
                        }
                        @if privacy.scope == Scope::Customer {
                            tr {
                                th scope="row" { "One customer of one partner: spent" }
                                td { (epsilon(privacy.epsilon_spent)) } td { (delta(privacy.delta)) } td { (privacy.rho) }
                            }
                        }
                        tr {
                            th scope="row" {
                                "One person who is a customer of "
                                @if n == 1 { "the participant" } @else { "all " (n) " participants" }
                                @if privacy.scope == Scope::Person { ": spent" }
                            }
                            td { (epsilon(privacy.epsilon_person)) } td { (delta(privacy.delta)) } td { (privacy.rho_person) }
                        }
                    }
                }
            }
            p {
                @if n == 1 {
                    "The participant added discrete Gaussian noise to its sums before anything left it. "
                } @else {
                    "Every participant added discrete Gaussian noise to its own sums before anything left it, and only the total of all participants was ever seen. "
                }
                @match privacy.colluders {
                    0 => { "The coordinator learns nothing else." }
                    t => {
                        "The promise holds even if the coordinator and "
                        @if t == 1 { "any one participant" } @else { "any " (t) " participants" }
                        " pool all they know."
                    }
                }
                @if header.repeated {
                    " This very release had been made before and is shown once more: nothing was charged again."
                }
            }
        }
    }
}

/// What a reader must know.
pub(crate) fn warnings(header: &Header<'_>) -> Markup {
    html! {
        @if !header.warnings.is_empty() {
            section.warnings aria-labelledby="warnings" {
                h2 id="warnings" { "Mind that" }
                ul {
                    @for warning in &header.warnings { li { (with_code(warning)) } }
                }
            }
        }
    }
}

/// Text with what stands between backticks set as code.
pub(crate) fn with_code(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (i, part) in parts.into_iter().enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// What identifies the study.
pub(crate) fn record(header: &Header<'_>) -> Markup {
    html! {
        footer.record {
            h2 { "Record" }
            dl {
                dt { "Study" } dd { code { (header.study.id) } }
                dt { "Submitted and finished" } dd { (time(header.started)) " – " (time(header.finished)) }
                dt { "Transcript that all participants signed (SHA-256)" } dd { code { (header.transcript_sha256) } }
                dt { "Subject of the receipt, receipt.json (SHA-256)" } dd { code { (header.receipt_sha256) } }
                dt { "Plan (SHA-256)" } dd { code { (header.study.plan_sha256) } }
                dt { "Mechanism" } dd { (header.privacy.mechanism) }
            }
        }
    }
}

/// A time as people write it.
pub(crate) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A loss with `digits` digits after the point, never less than it is.
pub(crate) fn upward(x: f64, digits: i32) -> String {
    let scale = 10f64.powi(digits);
    let rounded = (x * scale).ceil() / scale;
    if rounded.is_finite() { rounded.to_string() } else { x.to_string() }
}

/// δ as books set it.
pub(crate) fn delta(delta: f64) -> Markup {
    let text = format!("{delta:e}");
    match text.split_once('e') {
        Some(("1", exponent)) => html! { "10" sup { (exponent.replace('-', "\u{2212}")) } },
        Some((digits, exponent)) => html! { (digits) " · 10" sup { (exponent.replace('-', "\u{2212}")) } },
        None => html! { (text) },
    }
}

/// SQL without the blank lines and the indentation that its place in a study file gave it.
pub(crate) fn unindented(sql: &str) -> String {
    let lines: Vec<&str> = sql.trim_end().lines().skip_while(|line| line.trim().is_empty()).collect();
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(common..).unwrap_or("")).collect();
    cut.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_is_unindented_and_losses_are_rounded_up() {
        assert_eq!(unindented("\n  SELECT a\n    FROM b\n\n"), "SELECT a\n  FROM b");
        assert_eq!(upward(0.99881, 3), "0.999");
        assert_eq!(upward(2.0, 3), "2");
        assert_eq!(delta(1e-6).into_string(), "10<sup>\u{2212}6</sup>");
    }
}
