//! Charts of a model: curves over shares of customers, and what each feature adds.

use entente_protocols::privacy::interval::Estimate;
use maud::{Markup, html};

use super::terms::{Level, Term};
use crate::results::chart::{CHARACTER, Scale, WIDTH, shortened, svg};
use crate::results::number::{self, Style};

/// The most levels of a category that are drawn.
const MOST_BARS: usize = 40;
const TOP: f64 = 10.0;

/// A chart whose axes are shares from 0 to 1.
pub(super) struct Curve<'a> {
    /// For the drawing's ids.
    pub id: usize,
    /// Title and description.
    pub title: &'a str,
    /// What it shows, for those who do not see it.
    pub desc: &'a str,
    /// What the axes are.
    pub axes: (&'a str, &'a str),
    /// The points, from left to right.
    pub points: Vec<(f64, Estimate)>,
    /// Whether a line joins them, rather than whiskers standing at each.
    pub joined: bool,
    /// Where the axes end.
    pub most: f64,
}

/// Draws a curve, beside the diagonal that says nothing.
pub(super) fn curve(curve: &Curve<'_>) -> Markup {
    const BOTTOM: f64 = 310.0;
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 560.0;
    let most = if curve.most > 0.0 && curve.most < 1.0 { curve.most } else { 1.0 };
    let along = Scale { low: 0.0, high: most, from: LEFT, to: RIGHT };
    let up = Scale { low: 0.0, high: most, from: BOTTOM, to: TOP };
    let ticks = number::ticks(0.0, 100.0 * most, 5);
    let at = |x: f64, y: f64| format!("{},{}", along.at(x), up.at(y));
    let line: Vec<String> = curve.points.iter().map(|(x, y)| at(*x, y.value)).collect();
    let above = curve.points.iter().map(|(x, y)| at(*x, y.high));
    let below = curve.points.iter().rev().map(|(x, y)| at(*x, y.low));
    let band: Vec<String> = above.chain(below).collect();
    let body = html! {
        @for (tick, label) in &ticks {
            @let (x, y) = (along.at(tick / 100.0), up.at(tick / 100.0));
            line.grid x1=(LEFT) x2=(RIGHT) y1=(y) y2=(y) {}
            line.grid x1=(x) x2=(x) y1=(TOP) y2=(BOTTOM) {}
            text.tick x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (label) " %" }
            text.tick x=(x) y=(BOTTOM + 18.0) text-anchor="middle" { (label) " %" }
        }
        text.tick x=((LEFT + RIGHT) / 2.0) y=(BOTTOM + 38.0) text-anchor="middle" { (curve.axes.0) }
        text.tick x=(RIGHT + 12.0) y=(TOP + 12.0) { (curve.axes.1) }
        line.zero x1=(along.at(0.0)) y1=(up.at(0.0)) x2=(along.at(most)) y2=(up.at(most)) {}
        @if curve.joined {
            polygon.band points=(band.join(" ")) {}
            polyline.line points=(line.join(" ")) {}
        }
        @for (x, y) in &curve.points {
            @let (cx, shown) = (along.at(*x), percent(y));
            @if !curve.joined {
                line.whisker x1=(cx) x2=(cx) y1=(up.at(y.low)) y2=(up.at(y.high)) {}
            }
            circle.dot cx=(cx) cy=(up.at(y.value)) r=(if curve.joined { "3" } else { "5" }) {
                title { (number::half_width(100.0 * x.max(1e-4), Style::Typeset)) " %: " (shown) }
            }
        }
    };
    svg(curve.id, curve.title, curve.desc, BOTTOM + 46.0, &body)
}

/// A share as text, with its interval.
pub(super) fn percent(share: &Estimate) -> String {
    let Estimate { value, low, high } = *share;
    let shown = number::shown(&Estimate { value: 100.0 * value, low: 100.0 * low, high: 100.0 * high }, Style::Typeset);
    format!("{} % ({} to {})", shown.value, shown.low, shown.high)
}

/// What a feature adds to the score, on an axis that all features share.
pub(super) fn term(id: usize, term: &Term, unit: &str, ends: (f64, f64)) -> Markup {
    let title = format!("{}: what it adds to the score", term.feature);
    let desc = format!("One value, in {unit}, for each of {} levels; shapes.csv has the numbers.", term.levels.len());
    let bins = term.sequence && term.levels.len() > 2;
    if bins { steps(id, &title, &desc, term, ends) } else { bars(id, &title, &desc, term, ends) }
}

/// Short text of a number that has no interval.
pub(super) fn short(x: f64) -> String {
    let width = (x.abs() / 50.0).max(5e-4);
    number::shown(&Estimate { value: x, low: x - width, high: x + width }, Style::Typeset).value
}

/// A level's value, and where 95 % of its noise lies.
fn valued(level: &Level) -> String {
    match level.noise {
        Some(sd) => {
            let shown = number::shown(&Estimate::of_sum(level.value, sd), Style::Typeset);
            format!("{} ({} to {})", shown.value, shown.low, shown.high)
        }
        None => short(level.value),
    }
}

/// The axis of values: all of them and zero.
fn values(ends: (f64, f64), from: f64, to: f64) -> Scale {
    let (low, high) = (ends.0.min(0.0), ends.1.max(0.0));
    let pad = (0.04 * (high / 2.0 - low / 2.0) * 2.0).max(1e-9);
    if (high - low).is_finite() {
        Scale { low: low - pad, high: high + pad, from, to }
    } else {
        Scale { low: -1.0, high: 1.0, from, to }
    }
}

/// A step a bin, all as wide: bins hold about as many customers each.
fn steps(id: usize, title: &str, desc: &str, term: &Term, ends: (f64, f64)) -> Markup {
    const BOTTOM: f64 = 200.0;
    let scale = values(ends, BOTTOM, TOP);
    let ticks = number::ticks(scale.low, scale.high, 5);
    let widest = ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
    let left = 18.0 + 7.6 * widest as f64;
    let levels = &term.levels[1..];
    let width = (WIDTH - 40.0 - left) / levels.len().max(1) as f64;
    let x = |bin: usize| ((left + 8.0 + width * bin as f64) * 100.0).round() / 100.0;
    let step = |(bin, value): (usize, f64)| {
        let y = scale.at(value);
        format!("{},{y} {},{y}", x(bin), x(bin + 1))
    };
    let path: Vec<String> = levels.iter().map(|level| level.value).enumerate().map(step).collect();
    let ends = |level: &Level| level.noise.map(|sd| Estimate::of_sum(level.value, sd));
    let bands: Vec<(f64, f64)> = levels
        .iter()
        .map(|level| ends(level).map_or((level.value, level.value), |ends| (ends.low, ends.high)))
        .collect();
    // Where each bin begins; as many as fit.
    let begins: Vec<&str> = levels.iter().map(|level| level.label.split(" to ").next().unwrap_or("")).collect();
    let widest = begins.iter().map(|label| label.chars().count()).max().unwrap_or(0) as f64 * CHARACTER + 14.0;
    let every = ((widest / width).ceil() as usize).max(1);
    let last = levels.last().and_then(|level| level.label.split(" to ").nth(1)).unwrap_or("");
    let body = html! {
        @for (tick, label) in &ticks {
            @let y = scale.at(*tick);
            line.grid x1=(left) x2=(WIDTH) y1=(y) y2=(y) {}
            text.tick x=(left - 8.0) y=(y + 4.0) text-anchor="end" { (label) }
        }
        line.zero x1=(left) x2=(WIDTH) y1=(scale.at(0.0)) y2=(scale.at(0.0)) {}
        @for (bin, label) in begins.iter().enumerate() {
            line.notch x1=(x(bin)) x2=(x(bin)) y1=(BOTTOM) y2=(BOTTOM + 5.0) {}
            // The end of the range needs the last one's place.
            @if bin % every == 0 && (levels.len() - bin) as f64 * width >= widest {
                text.tick x=(x(bin)) y=(BOTTOM + 20.0) text-anchor="middle" { (label) }
            }
        }
        text.tick x=(x(levels.len())) y=(BOTTOM + 20.0) text-anchor="middle" { (last) }
        @for (bin, (low, high)) in bands.iter().enumerate() {
            @let (top, foot) = (scale.at(*high), scale.at(*low));
            rect.band x=(x(bin)) y=(top) width=(width) height=(foot - top) {}
        }
        polyline.line points=(path.join(" ")) {}
        @for (bin, level) in levels.iter().enumerate() {
            g {
                title { (level.label) ": " (valued(level)) }
                rect.hover x=(x(bin)) y=(TOP) width=(width) height=(BOTTOM - TOP) {}
            }
        }
    };
    svg(id, title, desc, BOTTOM + 30.0, &body)
}

/// A bar a level.
fn bars(id: usize, title: &str, desc: &str, term: &Term, ends: (f64, f64)) -> Markup {
    const ROW: f64 = 24.0;
    let levels = &term.levels[..term.levels.len().min(MOST_BARS)];
    let longest = levels.iter().map(|level| shortened(&level.label).chars().count()).max().unwrap_or(0);
    let left = 16.0 + CHARACTER * longest as f64;
    let bottom = TOP + ROW * levels.len() as f64;
    let scale = values(ends, left + 6.0, WIDTH - 80.0);
    let ticks = number::ticks(scale.low, scale.high, 6);
    let zero = scale.at(0.0);
    let body = html! {
        @for (tick, label) in &ticks {
            @let x = scale.at(*tick);
            line.grid x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
            text.tick x=(x) y=(bottom + 18.0) text-anchor="middle" { (label) }
        }
        line.zero x1=(zero) x2=(zero) y1=(TOP) y2=(bottom) {}
        @for (i, level) in levels.iter().enumerate() {
            @let y = TOP + ROW * (i as f64 + 0.5);
            @let x = scale.at(level.value);
            text.label x=(left - 8.0) y=(y + 4.5) text-anchor="end" { (shortened(&level.label)) }
            rect.bar x=(x.min(zero)) y=(y - 7.0) width=((x - zero).abs()) height="14" { title { (level.label) ": " (valued(level)) } }
            text.value x=(WIDTH - 4.0) y=(y + 4.5) text-anchor="end" { (short(level.value)) }
            @if let Some(sd) = level.noise {
                @let ends = Estimate::of_sum(level.value, sd);
                line.whisker x1=(scale.at(ends.low)) x2=(scale.at(ends.high)) y1=(y) y2=(y) {}
            }
        }
    };
    svg(id, title, desc, bottom + 26.0, &body)
}
