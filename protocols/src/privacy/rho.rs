//! ρ of zero-concentrated differential privacy, the unit of account, and (ε, δ) derived from it.
//!
//! A mechanism is ρ-zCDP if for all neighbouring data sets and all α > 1 the Rényi divergence of order α between its
//! outputs is at most ρα (Bun and Steinke 2016). Releases compose by adding their ρ, adaptively as well; a filter
//! that admits a release only while the sum stays within a cap keeps the whole interaction cap-zCDP (Whitehouse,
//! Ramdas, Rogers, Wu 2023, Theorem 1). Nothing is ever subtracted.

use std::fmt;
use std::iter::Sum;

use opendp::combinators::ConcentratedMeasure;
use opendp::measures::ZeroConcentratedDivergence;
use serde::{Deserialize, Serialize};

/// The whole, where shares of budgets and of customers are counted in millionths.
pub const MILLION: u32 = 1_000_000;

/// An amount of ρ in micro-units (1e-6). Always rounded up when it is a charge, down when it is a budget.
///
/// In JSON it is a decimal string, as an integer may exceed 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Rho(u64);

impl Rho {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than anything can cost.
    pub const MAX: Self = Self(u64::MAX);

    /// From micro-units.
    pub const fn from_micro(micro: u64) -> Self {
        Self(micro)
    }

    /// In micro-units.
    pub const fn micro(self) -> u64 {
        self.0
    }

    /// As a number, for charts and formulas.
    pub fn value(self) -> f64 {
        self.0 as f64 * 1e-6
    }

    /// The sum; sticks at the largest amount, which no cap admits.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of `self` after `other`, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `factor` times as much; sticks at the largest amount.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The largest amount whose tight (ε, δ) reading at `delta` is at most `epsilon`: what a stated budget allows.
    ///
    /// `None` unless ε is positive and finite and 0 < δ < 1.
    pub fn within(epsilon: f64, delta: f64) -> Option<Self> {
        if !(epsilon > 0.0 && epsilon <= 1e6 && delta > 0.0 && delta < 1.0) {
            return None;
        }
        let allowed = |micro: u64| micro == 0 || delta_of(Self(micro), epsilon).is_some_and(|found| found <= delta);
        // At α = 1 + √(ln(1/δ)/ρ) the loss is below ρ + 2√(ρ ln(1/δ)) (Bun and Steinke 2016, Prop. 1.3), and tight
        // conversion allows more: start there, double until too much, then halve the gap.
        let log = (1.0 / delta).ln();
        let mut low = ((((log + epsilon).sqrt() - log.sqrt()).powi(2)) * 1e6) as u64;
        while !allowed(low) {
            low /= 2;
        }
        let mut high = low.saturating_mul(2).max(1);
        while allowed(high) {
            low = high;
            high = high.checked_mul(2)?;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if allowed(middle) { low = middle } else { high = middle }
        }
        Some(Self(low))
    }

    /// The tight ε at this `delta`, rounded up. Infinite if `delta` is not between 0 and 1.
    ///
    /// ρ-zCDP implies (ε, δ) for all α > 1 with ln δ = (α−1)(αρ−ε) − ln(α−1) + α ln(1−1/α) (Canonne, Kamath, Steinke 2020,
    /// Proposition 12); the derivative by α is zero where ε = (2α−1)ρ + ln(1−1/α). Both together say (α−1)²ρ + ln α = ln(1/δ), whose
    /// left side grows with α: the best α is found by Newton's steps, and ε from the first equation, which holds for any α. opendp, which
    /// searches by both, takes a millisecond or more; a charge states several ε, and takes no longer than the disk.
    pub fn epsilon(self, delta: f64) -> f64 {
        if self == Self::ZERO {
            return 0.0;
        }
        if !(delta > 0.0 && delta < 1.0) {
            return f64::INFINITY;
        }
        let (rho, log) = (self.value(), -delta.ln());
        // Over t = α − 1: between 0 and where t²ρ alone is enough. Newton's steps, and half the gap where one would leave it. Behind a
        // step of Δ, t is off by at most Δ²/t, as |f″| ≤ 2f′/t; and ε changes with the square of what t is off by.
        let (mut low, mut high) = (0.0, (log / rho).sqrt());
        let mut t = high;
        for _ in 0..64 {
            let over = t * t * rho + t.ln_1p() - log;
            if over < 0.0 {
                low = t
            } else {
                high = t
            }
            let next = t - over / (2.0 * t * rho + 1.0 / (1.0 + t));
            let next = if next > low && next < high { next } else { 0.5 * (low + high) };
            let done = (next - t).abs() <= 1e-7 * t;
            t = next;
            if done {
                break;
            }
        }
        let alpha = 1.0 + t;
        let epsilon = alpha * rho + (log - t.ln() + alpha * (-1.0 / alpha).ln_1p()) / t;
        // A few roundings, each of half a unit in the last place of a term.
        (epsilon * (1.0 + 1e-13)).max(0.0)
    }
}

/// The tight δ at which ρ-zCDP implies (ε, δ).
fn delta_of(rho: Rho, epsilon: f64) -> Option<f64> {
    ZeroConcentratedDivergence::convert(rho.value()).ok()?.delta(epsilon).ok()
}

impl Sum for Rho {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Rho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Serialize for Rho {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Rho {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Rho;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of micro-ρ as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rho, E> {
                text.parse().map(Rho).map_err(|_| E::custom(format!("`{text}` is not a number of micro-ρ")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values: opendp 0.16 and, independently, the definition evaluated with dp-accounting's grid.
    #[test]
    fn epsilon_is_the_tight_one() {
        assert!((Rho::from_micro(100_000).epsilon(1e-6) - 2.141939).abs() < 1e-5);
        assert!((Rho::from_micro(1_000_000).epsilon(1e-6) - 7.766217).abs() < 1e-5);
        assert_eq!(Rho::ZERO.epsilon(1e-6), 0.0);
        assert_eq!(Rho::from_micro(1).epsilon(0.0), f64::INFINITY);
    }

    /// Never below what opendp finds, but for the last digits, nor above.
    #[test]
    fn epsilon_is_that_of_opendp() {
        for micro in [1, 7, 100, 1_500, 40_000, 1_000_000, 25_000_000, 1_000_000_000] {
            for delta in [1e-12, 1e-9, 1e-6, 8.7e-5, 1e-3, 0.1, 0.5] {
                let rho = Rho::from_micro(micro);
                let theirs = ZeroConcentratedDivergence::convert(rho.value()).unwrap().epsilon(delta).unwrap();
                let ours = rho.epsilon(delta);
                assert!((ours - theirs).abs() <= 1e-8 * theirs + 1e-9, "{rho} {delta}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn a_budget_is_the_largest_rho_within_it() {
        for (epsilon, delta) in [(0.01, 1e-6), (0.1, 1e-9), (1.0, 1e-6), (1.0, 8.7e-5), (10.0, 1e-6), (50.0, 1e-5)] {
            let rho = Rho::within(epsilon, delta).unwrap();
            assert!(rho.epsilon(delta) <= epsilon * (1.0 + 1e-9), "{epsilon} {delta} {rho}");
            let more = rho.plus(Rho::from_micro(1 + rho.micro() / 10_000));
            assert!(more.epsilon(delta) > epsilon, "{epsilon} {delta} {rho}");
        }
        for (epsilon, delta) in
            [(0.0, 1e-6), (-1.0, 1e-6), (f64::NAN, 1e-6), (1.0, 0.0), (1.0, 1.0), (f64::INFINITY, 0.1)]
        {
            assert_eq!(Rho::within(epsilon, delta), None, "{epsilon} {delta}");
        }
    }

    #[test]
    fn amounts_never_wrap() {
        assert_eq!(Rho::MAX.plus(Rho::from_micro(1)), Rho::MAX);
        assert_eq!(Rho::MAX.times(2), Rho::MAX);
        assert_eq!(Rho::ZERO.minus(Rho::MAX), Rho::ZERO);
        assert_eq!(Rho::from_micro(1_234_567).to_string(), "1.234567");
    }
}
