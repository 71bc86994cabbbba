//! `report.html` of a query: one page for people, which needs nothing but itself.

use entente_protocols::language::expr::Value;
use entente_protocols::language::sums::Output;
use maud::{Markup, html};

use super::number::{self, Style};
use super::{Asked, CSV, Cell, Header, PARQUET, RESULT, ResultTable, Row, chart, page};

/// The most rows of the table that the page shows.
const MOST_ROWS: usize = 1000;

/// The page.
pub(super) fn page(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Markup {
    let body = html! {
        (page::heading(header, &format!("Result of a {}", header.study.kind)))
        (page::asked_for(header, asked.dataset, asked.sql))
        (page::privacy(header, asked.privacy_unit))
        (result(table))
        (charts(table))
        (reading(header, asked, table))
        (page::warnings(header))
        (page::record(header))
    };
    page::page(header, &body)
}

pub(super) fn result(table: &ResultTable) -> Markup {
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

/// Whether noise may have turned a sign.
fn near_zero(table: &ResultTable) -> bool {
    let estimates = table.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.estimate);
    estimates.into_iter().any(|estimate| estimate.low < 0.0 && estimate.high > 0.0)
}

fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
