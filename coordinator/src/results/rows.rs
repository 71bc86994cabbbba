//! A table on a page for people.

use entente_protocols::language::expr::Value;
use entente_protocols::language::sums::Output;
use maud::{Markup, html};

use super::RESULT;
use super::number::{self, Style};
use super::table::{Cell, ResultTable, Row};

/// The most rows that the page shows.
const MOST_ROWS: usize = 1000;

/// The part of a page that has the table; these files have all of it.
pub(crate) fn section(table: &ResultTable, files: [&str; 2]) -> Markup {
    let [csv, parquet] = files;
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
                "Numbers are rounded to what their intervals support; " code { (RESULT) } ", " code { (csv) } " and "
                code { (parquet) } " hold them as released."
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
