//! `report.html` of a query: one page for people, which needs nothing but itself.

use maud::{Markup, html};

use crate::results::header::Header;
use crate::results::table::ResultTable;
use crate::results::{chart, page, rows};

/// The table for spreadsheets.
pub(super) const CSV: &str = "result.csv";
/// The table for data tools.
pub(super) const PARQUET: &str = "result.parquet";

/// What was asked, for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The SQL.
    pub sql: &'a str,
    /// The data set it is about.
    pub dataset: &'a str,
    /// The column that is one customer.
    pub privacy_unit: &'a str,
    /// Largest number of groups a customer may touch.
    pub max_groups: u32,
    /// Largest number of rows a customer may count with.
    pub max_rows: u32,
}

/// The page.
pub(super) fn page(header: &Header<'_>, asked: Asked<'_>, table: &ResultTable) -> Markup {
    let body = html! {
        (page::heading(header, &format!("Result of a {}", header.study.kind)))
        (page::asked_for(header, asked.dataset, asked.sql))
        (page::privacy(header, asked.privacy_unit))
        (rows::section(table, [CSV, PARQUET]))
        (charts(table))
        (reading(header, asked, table))
        (page::warnings(header))
        (page::record(header))
    };
    page::page(header, &body)
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
