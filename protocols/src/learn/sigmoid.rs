//! The logistic function, as loops over many customers need it: without branches or calls, so that compilers work on
//! several at a time. And residuals rounded to the weights of customers, likewise.

use crate::privacy::rows::UNIT;

/// 1/(1 + e^−x) to within 1e-6; not a number where x is none.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    // e^−x = 2^n·2^f with a whole number n and f within ±½; beyond 2^±126 it is 0 or 1 in any case.
    let exponent = (x * -std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
    let shifted = exponent + ROUND;
    let f = exponent - (shifted - ROUND);
    // The Taylor series of 2^f, whose rest is below 3e-6.
    let series = (((1.333_355_8e-3 * f + 9.618_129e-3) * f + 5.550_411e-2) * f + 0.240_226_5) * f;
    let series = (series + std::f32::consts::LN_2) * f + 1.0;
    // n in the place of a number's exponent; what is above it in the bits of ROUND falls out.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    1.0 / (1.0 + power * series)
}

/// A number that rounds what is added to it: 1.5·2^23, beyond which there are no fractions.
const ROUND: f32 = 12_582_912.0;

/// A residual in steps of 1/[`UNIT`], to the nearest, clipped to ±`most` of them; 0 if it is not a number.
#[inline(always)]
pub(super) fn steps(residual: f32, most: i32) -> i32 {
    // At most 2^15, so that it is exact as a float and far from the end of what ROUND can round.
    let limit = most.clamp(0, UNIT + 1) as f32;
    let clipped = (residual * UNIT as f32).clamp(-limit, limit);
    let clipped = if clipped.is_nan() { 0.0 } else { clipped };
    (clipped + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_logistic_function() {
        for i in -200_000..=200_000 {
            let x = i as f32 / 1000.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 1e-6, "{x}: {} {exact}", sigmoid(x));
        }
        assert_eq!([f32::INFINITY, f32::MAX].map(sigmoid), [1.0; 2]);
        assert!([f32::NEG_INFINITY, f32::MIN].map(sigmoid).into_iter().all(|p| (0.0..1e-30).contains(&p)));
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn residuals_are_rounded_and_clipped() {
        for (residual, most, expected) in [
            (0.5, 32767, 16384),
            (-0.5, 32767, -16384),
            (1.0, 32767, 32767),
            (-1.0, 26213, -26213),
            (2.0, 26213, 26213),
            (1e-5, 32767, 0),
            (2e-5, 32767, 1),
            (f32::INFINITY, 100, 100),
            (f32::NEG_INFINITY, 100, -100),
            (f32::NAN, 100, 0),
            (1.0, -5, 0),
        ] {
            assert_eq!(steps(residual, most), expected, "{residual} {most}");
        }
    }
}
