//! Numbers for people: no more digits than an interval supports.

use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::rho::Rho;

/// How digits are grouped and signs are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As programs read them: `-12345.6`.
    Plain,
    /// As books set them: `−12 345.6`, with narrow spaces that do not break.
    Typeset,
}

/// An estimate as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The estimate.
    pub value: String,
    /// Lower end.
    pub low: String,
    /// Upper end.
    pub high: String,
}

/// Rounds an estimate so that half the width of its interval has two digits: the interval outward, so that it still
/// covers what it covered, and the value to the nearest. Whole numbers stay whole.
pub fn shown(estimate: &Estimate, style: Style) -> Shown {
    let Estimate { value, low, high } = *estimate;
    let width = (high - low) / 2.0;
    let largest = low.abs().max(high.abs()).max(value.abs());
    if largest >= 1e15 || (largest > 0.0 && largest < 1e-5) {
        let text = |x: f64| typeset(format!("{x:.3e}"), style);
        return Shown { value: text(value), low: text(low), high: text(high) };
    }
    if width <= 0.0 {
        let text = |x: f64| typeset(unsigned_zero(x).to_string(), style);
        return Shown { value: text(value), low: text(low), high: text(high) };
    }
    let whole = [value, low, high].iter().all(|x| x.fract() == 0.0);
    let digits = (1 - width.log10().floor() as i32).min(if whole { 0 } else { 12 });
    let text = |x: f64, rounding: fn(f64) -> f64| decimal(x, digits, rounding, style);
    Shown { value: text(value, f64::round), low: text(low, f64::floor), high: text(high, f64::ceil) }
}

/// About how far a measure will be from the truth, as text: two digits, rounded up.
pub fn half_width(width: f64, style: Style) -> String {
    if width <= 0.0 || !(1e-5..1e15).contains(&width) {
        return typeset(format!("{width:.1e}"), style);
    }
    decimal(width, (1 - width.log10().floor() as i32).min(12), f64::ceil, style)
}

/// ρ without the zeroes at its end.
pub fn trimmed(rho: Rho) -> String {
    rho.to_string().trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Round numbers from `low` to `high`, about `most` of them, and how each is written. The first and last may lie
/// within the range; at least one is given.
pub fn ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let span = high - low;
    if span <= 0.0 || !span.is_finite() {
        return vec![(low, unsigned_zero(low).to_string())];
    }
    let raw = span / most.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (scale, suffix) = match low.abs().max(high.abs()) {
        x if x >= 1e15 => (0.0, ""),
        x if x >= 1e12 => (1e12, " T"),
        x if x >= 1e9 => (1e9, " B"),
        x if x >= 1e6 => (1e6, " M"),
        _ => (1.0, ""),
    };
    let label = |x: f64| match scale {
        0.0 => typeset(format!("{x:.2e}"), Style::Typeset),
        _ if x == 0.0 => "0".to_owned(),
        _ => {
            let digits = (-(step / scale).log10().floor() as i32).clamp(0, 12);
            decimal(x / scale, digits, f64::round, Style::Typeset) + suffix
        }
    };
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let ticks: Vec<(f64, String)> = (first..=last).map(|i| (i as f64 * step, label(i as f64 * step))).collect();
    if ticks.is_empty() { vec![(low, label(low))] } else { ticks }
}

/// `x` rounded to `digits` after the point, or before it where negative.
fn decimal(x: f64, digits: i32, rounding: fn(f64) -> f64, style: Style) -> String {
    let scale = 10f64.powi(digits.abs());
    let scaled = if digits >= 0 { x * scale } else { x / scale };
    // 0.29 · 100 is 28.999999999999996: what is whole but for the last bits stays whole.
    let near = scaled.round();
    let rounded = if (scaled - near).abs() <= 1e-9 * near.abs().max(1e-3) { near } else { rounding(scaled) };
    let x = unsigned_zero(if digits >= 0 { rounded / scale } else { rounded * scale });
    typeset(format!("{x:.*}", usize::try_from(digits).unwrap_or(0)), style)
}

fn unsigned_zero(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x }
}

fn typeset(text: String, style: Style) -> String {
    if style == Style::Plain {
        return text;
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("\u{2212}", digits));
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut set = sign.to_owned();
    for (i, digit) in digits[..whole].chars().enumerate() {
        // As in print, four digits stand together.
        if i > 0 && whole > 4 && (whole - i) % 3 == 0 {
            set.push('\u{202f}');
        }
        set.push(digit);
    }
    set + &digits[whole..].replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64, low: f64, high: f64) -> String {
        let shown = shown(&Estimate { value, low, high }, Style::Plain);
        format!("{} [{}, {}]", shown.value, shown.low, shown.high)
    }

    #[test]
    fn digits_follow_the_interval_and_intervals_round_outward() {
        assert_eq!(plain(52.34567, 51.21111, 53.48023), "52.3 [51.2, 53.5]");
        assert_eq!(plain(1_234_567.8, 1_222_222.2, 1_246_913.4), "1235000 [1222000, 1247000]");
        assert_eq!(plain(103.0, 99.0, 107.0), "103 [99, 107]");
        assert_eq!(plain(12_345.0, 11_111.0, 13_579.0), "12300 [11100, 13600]");
        assert_eq!(plain(0.290_001, 0.29, 0.31), "0.290 [0.290, 0.310]");
        assert_eq!(plain(-0.4, -12.0, 11.0), "0 [-12, 11]");
        assert_eq!(plain(5.0, 5.0, 5.0), "5 [5, 5]");
        assert_eq!(plain(1e20, 0.9e20, 1.1e20), "1.000e20 [9.000e19, 1.100e20]");
        assert_eq!(half_width(123.4, Style::Plain), "130");
        assert_eq!(half_width(0.0312, Style::Plain), "0.032");
    }

    #[test]
    fn typeset_numbers_are_grouped() {
        assert_eq!(typeset("-1234567.891".into(), Style::Typeset), "\u{2212}1\u{202f}234\u{202f}567.891");
        assert_eq!(typeset("1234".into(), Style::Typeset), "1234");
        assert_eq!(typeset("1.5e-7".into(), Style::Typeset), "1.5e\u{2212}7");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |low, high| ticks(low, high, 5).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(0.0, 103.0), ["0", "50", "100"]);
        assert_eq!(labels(-0.31, 0.42), ["\u{2212}0.2", "0.0", "0.2", "0.4"].map(|x| if x == "0.0" { "0" } else { x }));
        assert_eq!(labels(0.0, 2.4e6), ["0", "0.5 M", "1.0 M", "1.5 M", "2.0 M"]);
        assert_eq!(labels(7.0, 7.0), ["7"]);
        assert!(!ticks(1e300, 1.1e300, 5).is_empty());
        assert!(ticks(-1e-300, 1e-300, 5).len() > 1);
    }
}
