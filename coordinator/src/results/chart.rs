//! Charts of estimates with their intervals, as SVG inside the report: no scripts, colours from the page's style.
//!
//! Text of categories and names goes through maud, which escapes it. Widths of text are estimated generously, as
//! nothing is measured before a browser sees it.

use entente_protocols::language::expr::Value;
use entente_protocols::privacy::interval::Estimate;
use maud::{Markup, html};

use super::number::{self, Style};
use super::table::{ResultTable, Row};

/// The most rows that a chart of dots shows.
pub(crate) const MOST_DOTS: usize = 60;
/// The most rows that a line shows.
pub(crate) const MOST_POINTS: usize = 400;

pub(crate) const WIDTH: f64 = 760.0;
/// Of one character at the size of labels; most are narrower.
pub(crate) const CHARACTER: f64 = 7.0;

/// A drawing for the report.
pub(crate) struct Chart {
    /// The drawing.
    pub svg: Markup,
    /// How to read it.
    pub caption: &'static str,
    /// How many of the table's rows it shows.
    pub shown: usize,
}

/// The chart of one measure; `None` without group keys, where there is nothing to compare.
pub(crate) fn chart(table: &ResultTable, measure: usize) -> Option<Chart> {
    let marks = |most: usize| table.rows.iter().take(most).map(|row| mark(table, row, measure)).collect::<Vec<_>>();
    let name = &table.measures[measure].name;
    let names: Vec<&str> = table.keys.iter().map(|key| key.name.as_str()).collect();
    let keys = names.join(" and ");
    match table.keys.as_slice() {
        [] => None,
        [key] if key.sequence && table.rows.len() > 2 => {
            let marks = marks(MOST_POINTS);
            let title = format!("{name} over {keys}");
            let desc = format!(
                "A line through {} points, inside the band of their 95 % intervals. The table above has the numbers.",
                marks.len()
            );
            let caption = "The band is the 95 % interval of each point.";
            Some(Chart { svg: line(measure, &title, &desc, &marks), caption, shown: marks.len() })
        }
        _ => {
            let marks = marks(MOST_DOTS);
            let title = format!("{name} by {keys}");
            let desc = format!(
                "One dot, with the whiskers of its 95 % interval, for each of {} groups. The table above has the numbers.",
                marks.len()
            );
            let caption = "Whiskers are 95 % intervals; where none show, the interval is narrower than the dot.";
            Some(Chart { svg: dots(measure, &title, &desc, &marks), caption, shown: marks.len() })
        }
    }
}

struct Mark {
    label: String,
    /// Where a line puts it.
    position: f64,
    estimate: Estimate,
    known: bool,
}

impl Mark {
    fn tooltip(&self) -> String {
        let shown = number::shown(&self.estimate, Style::Typeset);
        format!("{}: {} ({} to {})", self.label, shown.value, shown.low, shown.high)
    }
}

fn mark(table: &ResultTable, row: &Row, measure: usize) -> Mark {
    let cell = row.cells[measure];
    let position = match row.keys.first() {
        Some(Value::Date(day)) => f64::from(day.0),
        Some(Value::Int(value)) => *value as f64,
        _ => 0.0,
    };
    Mark { label: table.label(row), position, estimate: cell.estimate, known: cell.known }
}

/// A linear map from values to the drawing.
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Scale {
    /// Over everything that the intervals cover, and zero unless that would squeeze them into less than half.
    fn of(marks: &[Mark], from: f64, to: f64) -> Self {
        let low = marks.iter().map(|mark| mark.estimate.low).fold(f64::INFINITY, f64::min);
        let high = marks.iter().map(|mark| mark.estimate.high).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match (low, high) {
            (low, high) if !(low.is_finite() && high.is_finite()) => (0.0, 1.0),
            (low, high) if low > 0.0 && low < high / 2.0 => (0.0, high),
            (low, high) if high < 0.0 && high > low / 2.0 => (low, 0.0),
            (low, high) => (low, high),
        };
        let least = (high.abs().max(low.abs()) * 1e-6).max(f64::MIN_POSITIVE);
        // Halves, as the whole span may not be finite.
        let pad = ((high / 2.0 - low / 2.0) * 0.06).max(least);
        let low = if low == 0.0 { low } else { (low - pad).max(f64::MIN / 4.0) };
        let high = if high == 0.0 { high } else { (high + pad).min(f64::MAX / 4.0) };
        if low < high { Self { low, high, from, to } } else { Self { low: 0.0, high: 1.0, from, to } }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        let at = self.from + share.clamp(0.0, 1.0) * (self.to - self.from);
        (at * 100.0).round() / 100.0
    }

    pub(crate) fn spans_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// One row each: a dot, its whiskers, the value at the right.
fn dots(id: usize, title: &str, desc: &str, marks: &[Mark]) -> Markup {
    const ROW: f64 = 28.0;
    const TOP: f64 = 6.0;
    let longest = marks.iter().map(|mark| shortened(&mark.label).chars().count()).max().unwrap_or(0);
    let left = 16.0 + CHARACTER * longest as f64;
    let values: Vec<String> = marks.iter().map(|mark| number::shown(&mark.estimate, Style::Typeset).value).collect();
    let right = 20.0 + 7.6 * values.iter().map(|value| value.chars().count()).max().unwrap_or(0) as f64;
    let bottom = TOP + ROW * marks.len() as f64;
    let scale = Scale::of(marks, left + 6.0, WIDTH - right - 6.0);
    let ticks = number::ticks(scale.low, scale.high, 6);
    let body = html! {
        @for (tick, label) in &ticks {
            @let x = scale.at(*tick);
            line.grid x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
            text.tick x=(x) y=(bottom + 18.0) text-anchor="middle" { (label) }
        }
        @if scale.spans_zero() {
            @let x = scale.at(0.0);
            line.zero x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
        }
        @for (i, (mark, value)) in marks.iter().zip(&values).enumerate() {
            @let y = TOP + ROW * (i as f64 + 0.5);
            @let (low, high) = (scale.at(mark.estimate.low), scale.at(mark.estimate.high));
            g {
                title { (mark.tooltip()) }
                rect.hover x="0" y=(y - ROW / 2.0) width=(WIDTH) height=(ROW) {}
                text.label x=(left - 8.0) y=(y + 4.5) text-anchor="end" { (shortened(&mark.label)) }
                line.whisker x1=(low) x2=(high) y1=(y) y2=(y) {}
                line.whisker x1=(low) x2=(low) y1=(y - 5.0) y2=(y + 5.0) {}
                line.whisker x1=(high) x2=(high) y1=(y - 5.0) y2=(y + 5.0) {}
                circle.dot.unknown[!mark.known] cx=(scale.at(mark.estimate.value)) cy=(y) r="5" {}
                text.value x=(WIDTH - 4.0) y=(y + 4.5) text-anchor="end" { (value) }
            }
        }
    };
    svg(id, title, desc, bottom + 26.0, &body)
}

/// A line through the values inside the band of their intervals.
fn line(id: usize, title: &str, desc: &str, marks: &[Mark]) -> Markup {
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 250.0;
    let scale = Scale::of(marks, BOTTOM, TOP);
    let ticks = number::ticks(scale.low, scale.high, 5);
    let widest = ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
    let left = 18.0 + 7.6 * widest as f64;

    let mut marks: Vec<&Mark> = marks.iter().collect();
    marks.sort_by(|a, b| a.position.total_cmp(&b.position));
    let (first, last) = marks.first().zip(marks.last()).map_or((0.0, 1.0), |(a, b)| (a.position, b.position));
    // Room for half a label on either side.
    let along = Scale { low: first, high: last.max(first + 1.0), from: left + 24.0, to: WIDTH - 32.0 };
    let x = |mark: &Mark| along.at(mark.position);
    let path = |points: &mut dyn Iterator<Item = (f64, f64)>| -> String {
        let points: Vec<String> = points.map(|(x, y)| format!("{x},{y}")).collect();
        points.join(" ")
    };
    let above = marks.iter().map(|mark| (x(mark), scale.at(mark.estimate.high)));
    let below = marks.iter().rev().map(|mark| (x(mark), scale.at(mark.estimate.low)));
    let band = path(&mut above.chain(below));
    let line = path(&mut marks.iter().map(|mark| (x(mark), scale.at(mark.estimate.value))));
    let radius = if marks.len() <= 60 { 3.5 } else { 2.0 };
    let body = html! {
        @for (tick, label) in &ticks {
            @let y = scale.at(*tick);
            line.grid x1=(left) x2=(WIDTH) y1=(y) y2=(y) {}
            text.tick x=(left - 8.0) y=(y + 4.0) text-anchor="end" { (label) }
        }
        @if scale.spans_zero() {
            @let y = scale.at(0.0);
            line.zero x1=(left) x2=(WIDTH) y1=(y) y2=(y) {}
        }
        @for mark in spaced(&marks, &x) {
            line.notch x1=(x(mark)) x2=(x(mark)) y1=(BOTTOM) y2=(BOTTOM + 5.0) {}
            text.tick x=(x(mark)) y=(BOTTOM + 20.0) text-anchor="middle" { (shortened(&mark.label)) }
        }
        polygon.band points=(band) {}
        polyline.line points=(line) {}
        @for mark in &marks {
            circle.dot.unknown[!mark.known] cx=(x(mark)) cy=(scale.at(mark.estimate.value)) r=(radius) {
                title { (mark.tooltip()) }
            }
        }
    };
    svg(id, title, desc, BOTTOM + 30.0, &body)
}

/// Every n-th mark, so that labels do not overlap; a dozen for a year of months, where that fits.
fn spaced<'m>(marks: &[&'m Mark], x: &dyn Fn(&Mark) -> f64) -> Vec<&'m Mark> {
    let widest = marks.iter().map(|mark| shortened(&mark.label).chars().count()).max().unwrap_or(0);
    let room = CHARACTER * widest as f64 + 14.0;
    let fits = |every: usize| {
        let shown: Vec<f64> = marks.iter().step_by(every).map(|mark| x(mark)).collect();
        shown.windows(2).all(|pair| pair[1] - pair[0] >= room)
    };
    let every =
        [1, 2, 3, 4, 6, 12, 24, 36, 60, 120].into_iter().find(|every| fits(*every)).unwrap_or(marks.len().max(1));
    marks.iter().step_by(every).copied().collect()
}

/// A drawing with a title and a description of its own.
pub(crate) fn svg(id: usize, title: &str, desc: &str, height: f64, body: &Markup) -> Markup {
    let (title_id, desc_id) = (format!("chart-{id}-title"), format!("chart-{id}-desc"));
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
            aria-labelledby=(format!("{title_id} {desc_id}")) {
            title id=(title_id) { (title) }
            desc id=(desc_id) { (desc) }
            (body)
        }
    }
}

/// Labels end where they would take the chart's place; the tooltip and the table have them whole.
pub(crate) fn shortened(label: &str) -> String {
    const MOST: usize = 34;
    if label.chars().count() <= MOST { label.to_owned() } else { label.chars().take(MOST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: f64, low: f64, high: f64) -> Mark {
        let estimate = Estimate { value: (low + high) / 2.0, low, high };
        Mark { label: "2024-01".into(), position, estimate, known: true }
    }

    #[test]
    fn scales_stay_inside_the_drawing_whatever_the_numbers() {
        for (low, high) in
            [(0.0, 0.0), (5.0, 5.0), (-3.0, 9.0), (1e-300, 2e-300), (f64::MIN, f64::MAX), (1e15, 1e15 + 1.0)]
        {
            let marks = [mark(0.0, low, high), mark(1.0, low, high)];
            let scale = Scale::of(&marks, 100.0, 700.0);
            for value in [low, high, 0.0] {
                assert!((100.0..=700.0).contains(&scale.at(value)), "{low} {high} {value}: {}", scale.at(value));
            }
            let drawn = dots(0, "t", "d", &marks).into_string() + &line(0, "t", "d", &marks).into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{low} {high}");
        }
    }

    #[test]
    fn labels_of_a_line_do_not_touch() {
        let marks: Vec<Mark> = (0..24).map(|i| mark(f64::from(i), 0.0, 1.0)).collect();
        let marks: Vec<&Mark> = marks.iter().collect();
        let shown = spaced(&marks, &|mark| mark.position * 28.0);
        assert_eq!(
            shown.iter().map(|mark| mark.position).collect::<Vec<_>>(),
            [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0]
        );
    }
}
