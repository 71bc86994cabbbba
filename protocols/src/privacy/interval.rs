//! Confidence intervals of published numbers: what the noise of all shares means for a count, a sum, an average.
//!
//! The noise of a sum is the sum of n discrete Gaussians with σ ≥ 4 grid units each, whose distribution function
//! differs from the normal one by less than a grid unit's weight; with the grids used, intervals of the normal
//! distribution have the stated coverage to far more digits than are shown. They cover noise, **not** what clipping and
//! contribution bounding left out, which is a choice of the study and not random.

use serde::{Deserialize, Serialize};

/// Coverage of all intervals.
pub const CONFIDENCE: f64 = 0.95;
/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A published number with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end at 95 %.
    pub low: f64,
    /// Upper end at 95 %.
    pub high: f64,
}

impl Estimate {
    /// Of a sum with normal noise of standard deviation `sd`.
    pub fn of_sum(value: f64, sd: f64) -> Self {
        Self { value, low: value - Z * sd, high: value + Z * sd }
    }

    /// Of a count: a whole number, not negative. Rounding outward and cutting at zero keep the coverage, as the truth is
    /// a whole number that is not negative.
    pub fn of_count(value: f64, sd: f64) -> Self {
        let raw = Self::of_sum(value, sd);
        Self { value: raw.value.round().max(0.0), low: raw.low.floor().max(0.0), high: raw.high.ceil().max(0.0) }
    }

    /// Of `center + sum / count` with independent normal noise on both, known to lie in `low..=high`.
    ///
    /// Fieller's interval (1954): all averages a for which the noisy `sum − (a − center)·count`, a normal variable of
    /// variance sd_s² + (a − center)²·sd_c², is within 1.96 standard deviations of zero. Its coverage is exact also
    /// where the count is small. Where the data say nothing, it is the whole range.
    pub fn of_average(sum: f64, sd_sum: f64, count: f64, sd_count: f64, center: f64, low: f64, high: f64) -> Self {
        let whole = Self { value: center, low, high };
        let a = count * count - Z * Z * sd_count * sd_count;
        let b = sum * count;
        let c = sum * sum - Z * Z * sd_sum * sd_sum;
        let discriminant = b * b - a * c;
        if a <= 0.0 || count <= 0.0 || discriminant < 0.0 {
            // The count cannot be told from zero.
            let value = if count > 0.0 { (center + sum / count).clamp(low, high) } else { center };
            return Self { value, ..whole };
        }
        let root = discriminant.sqrt();
        let clamp = |offset: f64| (center + offset).clamp(low, high);
        Self { value: clamp(sum / count), low: clamp((b - root) / a), high: clamp((b + root) / a) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::gaussian::add_noise;

    /// The coverage of each kind of interval over 20,000 releases at 95 %: binomial, standard error 0.0015; outside
    /// 0.95 ± 0.011 by chance with probability below 1e-12 for exact intervals; counts may only cover more.
    #[test]
    fn intervals_cover_as_stated() {
        let (draws, sd) = (20_000, 3000u64);
        let unit = 256.0;
        let noise = |_: ()| add_noise(&[(&vec![0; draws], sd)]).unwrap();
        let (first, second) = (noise(()), noise(()));
        let sd = sd as f64 / unit;
        let share = |covered: usize| covered as f64 / draws as f64;
        let noisy = |truth: f64, noise: i64| truth + noise as f64 / unit;
        let covers = |truth: f64, estimate: Estimate| estimate.low <= truth && truth <= estimate.high;

        let sums = first.iter().filter(|z| covers(-40.0, Estimate::of_sum(noisy(-40.0, **z), sd))).count();
        assert!((share(sums) - 0.95).abs() < 0.011, "{}", share(sums));
        for truth in [0.0, 3.0, 1000.0] {
            let counts = first.iter().filter(|z| covers(truth, Estimate::of_count(noisy(truth, **z), sd))).count();
            assert!(share(counts) > 0.95 - 0.011, "{}", share(counts));
        }
        // An average of 52 over `rows` rows, bounds 18 to 95: with few rows the count is hardly above its noise.
        for rows in [5.0, 40.0, 2000.0] {
            let (center, truth) = (56.5, 52.0);
            let averages = first.iter().zip(&second).filter(|(s, c)| {
                let (sum, count) = (noisy((truth - center) * rows, **s), noisy(rows, **c));
                covers(truth, Estimate::of_average(sum, sd, count, sd, center, 18.0, 95.0))
            });
            let covered = share(averages.count());
            assert!(covered > 0.95 - 0.011, "{rows} rows: {covered}");
            assert!(rows < 2000.0 || covered < 0.95 + 0.011, "{rows} rows: {covered}");
        }
    }

    #[test]
    fn an_average_of_nothing_is_the_whole_range() {
        let estimate = Estimate::of_average(0.3, 10.0, -2.0, 10.0, 50.0, 0.0, 100.0);
        assert_eq!(estimate, Estimate { value: 50.0, low: 0.0, high: 100.0 });
    }
}
