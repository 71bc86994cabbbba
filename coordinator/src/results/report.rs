//! `report.html`: one page for people, which needs nothing but itself.
//!
//! No scripts, fonts or images from anywhere, and a content security policy that holds it to that. maud escapes all
//! text, also inside the charts.

use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::study::query::plan::{Output, Value};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::number::{self, Style};
use super::{Asked, CSV, Cell, Header, PARQUET, RESULT, ResultTable, Row, chart};

const CSS: &str = include_str!("report.css");
/// The most rows of the table that the page shows.
const MOST_ROWS: usize = 1000;

/// The page.
pub(super) fn page(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (header.study.name) " – Entente" }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    (heading(header))
                    (asked_for(header, asked))
                    (privacy(header, asked))
                    (result(table))
                    (charts(table))
                    (reading(header, asked, table))
                    (warnings(header))
                    (record(header))
                }
            }
        }
    }
}

fn heading(header: &Header<'_>) -> Markup {
    html! {
        header {
            p.eyebrow { "Result of a " (header.study.kind) " · " (time(header.finished)) }
            h1 { (header.study.name) }
            p.purpose { (header.study.purpose) }
            @if let Some(basis) = header.study.legal_basis {
                p.meta { "Legal basis: " (basis) }
            }
        }
    }
}

fn asked_for(header: &Header<'_>, asked: Asked<'_>) -> Markup {
    let n = header.participants.len();
    html! {
        section aria-labelledby="asked" {
            h2 id="asked" { "What was asked" }
            p {
                "Of the data set " strong { (asked.dataset) } " at "
                @if n == 1 { "one participant: " } @else { (n) " participants, all together: " }
                @for (i, participant) in header.participants.iter().enumerate() {
                    @if i > 0 { ", " }
                    strong { (participant) }
                }
                "."
            }
            pre { code { (unindented(asked.sql)) } }
        }
    }
}

fn privacy(header: &Header<'_>, asked: Asked<'_>) -> Markup {
    let (privacy, n) = (&header.privacy, header.participants.len());
    let epsilon = |epsilon: Option<f64>| epsilon.map_or_else(|| "not bounded".to_owned(), |epsilon| upward(epsilon, 3));
    html! {
        section.privacy aria-labelledby="privacy" {
            h2 id="privacy" { "Privacy" }
            p {
                @match privacy.scope {
                    Scope::Customer => {
                        "The promise protects each customer of each partner: all rows with one " code { (asked.privacy_unit) }
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

fn result(table: &ResultTable) -> Markup {
    let shown = table.rows.len().min(MOST_ROWS);
    html! {
        section aria-labelledby="result" {
            h2 id="result" { "Result" }
            div.scroll {
                table.result {
                    thead {
                        tr {
                            @for output in &table.order {
                                @match *output {
                                    Output::Group(key) => th scope="col" { (table.keys[key].name) },
                                    Output::Measure(measure) => {
                                        th.number scope=(if stacked(table) { "col" } else { "colgroup" })
                                            colspan=[(!stacked(table)).then_some("2")] {
                                            (table.measures[measure].name) small { "and 95 % interval" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    tbody {
                        @for row in &table.rows[..shown] { (result_row(table, row)) }
                    }
                }
            }
            @if table.rows.iter().any(|row| row.cells.iter().any(|cell| !cell.known)) {
                p.soft { "† The noise leaves nothing to say about this average: its interval is the whole declared range." }
            }
            @if shown < table.rows.len() {
                p.soft { "The first " (shown) " of " (table.rows.len()) " rows; the files beside this page have all." }
            }
            p.soft {
                "Numbers are rounded to what their intervals support; " code { (RESULT) } ", " code { (CSV) } " and "
                code { (PARQUET) } " hold them as released."
            }
        }
    }
}

/// Whether intervals stand below their values, as beside them they would not fit on paper.
fn stacked(table: &ResultTable) -> bool {
    table.measures.len() + table.keys.len() > 4
}

fn result_row(table: &ResultTable, row: &Row) -> Markup {
    let first = table.order.iter().find_map(|output| match output {
        Output::Group(key) => Some(*key),
        Output::Measure(_) => None,
    });
    html! {
        tr {
            @for output in &table.order {
                @match *output {
                    Output::Group(key) => {
                        @let label = table.keys[key].label(&row.keys[key]);
                        @let number = matches!(row.keys[key], Value::Float(_));
                        @if Some(key) == first {
                            th.number[number] scope="row" { bdi { (label) } }
                        } @else {
                            td.number[number] { bdi { (label) } }
                        }
                    }
                    Output::Measure(measure) => (numbers(&row.cells[measure], stacked(table))),
                }
            }
        }
    }
}

fn numbers(cell: &Cell, stacked: bool) -> Markup {
    let shown = number::shown(&cell.estimate, Style::Typeset);
    let value = html! { (shown.value) @if !cell.known { "†" } };
    let interval = html! { (shown.low) " to " (shown.high) };
    html! {
        @if stacked {
            td.number { strong { (value) } br; small { (interval) } }
        } @else {
            td.number.value { (value) }
            td.number.interval { (interval) }
        }
    }
}

fn charts(table: &ResultTable) -> Markup {
    let charts = (0..table.measures.len()).filter_map(|measure| Some((measure, chart::chart(table, measure)?)));
    html! {
        @for (measure, drawing) in charts {
            figure {
                h3 { (table.measures[measure].name) }
                div.scroll { (drawing.svg) }
                figcaption {
                    (drawing.caption)
                    @if drawing.shown < table.rows.len() {
                        " The first " (drawing.shown) " of " (table.rows.len()) " rows."
                    }
                }
            }
        }
    }
}

fn reading(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Markup {
    let several = table.rows.len() * table.measures.len() > 20;
    html! {
        section aria-labelledby="reading" {
            h2 id="reading" { "How to read this" }
            ul {
                li {
                    "An interval tells how far noise may have moved its number: in 95 of 100 such releases it covers the exact result. "
                    @if header.participants.len() > 1 { "It accounts for the noise of all participants together." }
                }
                @if several {
                    li {
                        "With " (table.rows.len() * table.measures.len()) " intervals on this page, about "
                        ((table.rows.len() * table.measures.len() + 10) / 20) " can be expected to miss."
                    }
                }
                li {
                    "Intervals do not cover what the study left out by choice: values outside their declared bounds count as the nearest bound, and a customer counts with at most "
                    (counted(asked.max_rows, "row"))
                    @if !table.keys.is_empty() { " and in at most " (counted(asked.max_groups, "group")) }
                    "."
                }
                @if !table.keys.is_empty() {
                    li { "Differences between groups that are smaller than their intervals may well be noise, and groups need not add up exactly." }
                    li { "Every public group is listed, also one that has no rows at all." }
                }
                @if near_zero(table) {
                    li { "A number whose interval reaches over zero may have the wrong sign: a sum of amounts can come out negative." }
                }
                @if table.measures.iter().any(|measure| measure.whole) {
                    li { "Counts are rounded to whole numbers and cut off at zero." }
                }
            }
        }
    }
}

fn warnings(header: &Header<'_>) -> Markup {
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

/// Whether noise may have turned a sign.
fn near_zero(table: &ResultTable) -> bool {
    let estimates = table.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.estimate);
    estimates.into_iter().any(|estimate| estimate.low < 0.0 && estimate.high > 0.0)
}

/// Text with what stands between backticks set as code.
fn with_code(text: &str) -> Markup {
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

fn record(header: &Header<'_>) -> Markup {
    html! {
        footer.record {
            h2 { "Record" }
            dl {
                dt { "Study" } dd { code { (header.study.id) } }
                dt { "Submitted and finished" } dd { (time(header.started)) " – " (time(header.finished)) }
                dt { "Transcript that all participants signed (SHA-256)" } dd { code { (header.transcript_sha256) } }
                dt { "Plan (SHA-256)" } dd { code { (header.study.plan_sha256) } }
                dt { "Mechanism" } dd { (header.privacy.mechanism) }
            }
        }
    }
}

fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A loss with `digits` digits after the point, never less than it is.
fn upward(x: f64, digits: i32) -> String {
    let scale = 10f64.powi(digits);
    let rounded = (x * scale).ceil() / scale;
    if rounded.is_finite() { rounded.to_string() } else { x.to_string() }
}

fn delta(delta: f64) -> Markup {
    let text = format!("{delta:e}");
    match text.split_once('e') {
        Some(("1", exponent)) => html! { "10" sup { (exponent.replace('-', "\u{2212}")) } },
        Some((digits, exponent)) => html! { (digits) " · 10" sup { (exponent.replace('-', "\u{2212}")) } },
        None => html! { (text) },
    }
}

/// SQL without the blank lines and the indentation that its place in a study file gave it.
fn unindented(sql: &str) -> String {
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
