//! The ring Z_q[X]/(X^2048 + 1), q = 2^54, and exact products in it by floating point.
//!
//! **How.** A polynomial modulo q is cut into three signed limbs of 18 bits. Each limb and the small factor (a column
//! of features, a key) are folded into 1024 complex numbers, twisted and transformed; what is added up over columns is
//! added up as transforms; one inverse transform a limb, rounding to whole numbers, and the limbs are put together
//! modulo q.
//!
//! **Why that is exact.** Let u = 2^-53, L = 11 (ten levels of butterflies and the twist), and x_i, a_i the factors of
//! the i-th of m products. One level of a transform multiplies by a rounded root of unity and adds: its relative error
//! is at most η = 8u (Higham, *Accuracy and Stability of Numerical Algorithms*, theorem 24.2, has 6.7u for radix 2 with
//! roots correct to u; higher radices multiply less). Forward, ‖ΔX‖₂ ≤ Lη‖X‖₂. Products and their sum over columns add
//! (m + 3)u, relative to Σ|X||A|. In the inverse every output is a sum along paths of L factors, so its error is at
//! most Lη/n·Σ_k|Y_k|; and by Cauchy–Schwarz Σ_k|Y_k| ≤ Σ_i‖X_i‖₂‖A_i‖₂ = n·Σ_i‖x_i‖₂‖a_i‖₂. Together, to first order,
//!
//! |error of a coefficient| ≤ (3·11·8 + m + 3)·u·Σ_i‖x_i‖₂‖a_i‖₂,  ‖a_i‖₂ ≤ 2^17·√2048,
//!
//! **for any masks and features**, not on the average. [`error_bound`] computes this, and parameters for which it is
//! not below 1/4 are refused: half of what rounding tolerates.

use dyn_stack::PodStack;
use pulp::{Arch, Simd, WithSimd, bytemuck, c64};
use tfhe_fft::ordered::FftAlgo;
use tfhe_fft::unordered::{Method, Plan};
use zeroize::Zeroizing;

/// The number of coefficients of a polynomial: candidates in a block.
pub(super) const DEGREE: usize = 2048;
/// q = 2^54.
pub(super) const MODULUS_BITS: u32 = 54;
/// Limbs of a polynomial modulo q.
pub(super) const LIMBS: usize = 3;
/// How many products are best added up at once.
pub(super) const TOGETHER: usize = 4;
const LIMB_BITS: u32 = 18;
const HALF: usize = DEGREE / 2;
/// Adding and subtracting it rounds to a whole number what is below 2^51.
const ROUNDING: f64 = (3u64 << 51) as f64;

/// The most that [`error_bound`] may be.
pub(super) const MAX_ERROR: f64 = 0.25;

/// How far a coefficient of a sum of `columns` products can be from a whole number, `norms` being the sum of the small
/// factors' Euclidean norms; see the module for the proof.
pub(super) fn error_bound(columns: usize, norms: f64) -> f64 {
    let roundings = (3 * 11 * 8 + columns + 3) as f64;
    let limb = f64::from(1u32 << (LIMB_BITS - 1)) * (DEGREE as f64).sqrt();
    roundings * 2f64.powi(-53) * limb * norms
}

/// `value` modulo q, from −q/2 up.
pub(super) fn centred(value: u64) -> i64 {
    (value << (64 - MODULUS_BITS)).cast_signed() >> (64 - MODULUS_BITS)
}

/// Transforms of one polynomial or of several, one behind another. Zeroized when dropped, whatever they are of.
pub(super) struct Spectra(Zeroizing<Vec<f64>>);

impl Spectra {
    /// `count` transforms of nothing.
    pub(super) fn new(count: usize) -> Self {
        Self(Zeroizing::new(vec![0.0; count * DEGREE]))
    }

    /// The `count` transforms from the one numbered `first` on.
    pub(super) fn get(&self, first: usize, count: usize) -> &[c64] {
        bytemuck::cast_slice(&self.0[first * DEGREE..(first + count) * DEGREE])
    }

    /// The same, to be written.
    pub(super) fn get_mut(&mut self, first: usize, count: usize) -> &mut [c64] {
        bytemuck::cast_slice_mut(&mut self.0[first * DEGREE..(first + count) * DEGREE])
    }

    /// Sets all to nothing.
    pub(super) fn clear(&mut self) {
        self.0.fill(0.0);
    }
}

/// Memory that transforms work in; one for each thread. Zeroized when dropped.
pub(super) struct Scratch {
    stack: Zeroizing<Vec<u8>>,
    /// Coefficients on their way to a transform.
    pub(super) small: Zeroizing<Vec<f64>>,
}

/// Plans and roots of unity.
pub(super) struct Ring {
    arch: Arch,
    plan: Plan,
    twist: Vec<c64>,
    untwist: Vec<c64>,
}

impl Ring {
    pub(super) fn new() -> Self {
        let root = |j: usize| std::f64::consts::PI * j as f64 / DEGREE as f64;
        let scale = 1.0 / HALF as f64;
        Self {
            arch: Arch::new(),
            plan: Plan::new(HALF, Method::UserProvided { base_algo: FftAlgo::Dif4, base_n: HALF }),
            twist: (0..HALF).map(|j| c64::new(root(j).cos(), root(j).sin())).collect(),
            untwist: (0..HALF).map(|j| c64::new(root(j).cos() * scale, -root(j).sin() * scale)).collect(),
        }
    }

    pub(super) fn scratch(&self) -> Scratch {
        let bytes = self.plan.fft_scratch().unaligned_bytes_required();
        Scratch { stack: Zeroizing::new(vec![0; bytes]), small: Zeroizing::new(vec![0.0; DEGREE]) }
    }

    /// The transform of the polynomial in `scratch.small`.
    pub(super) fn forward(&self, scratch: &mut Scratch, spectrum: &mut [c64]) {
        let (low, high) = scratch.small.split_at(HALF);
        self.arch.dispatch(Fold { low, high, twist: &self.twist, spectrum });
        self.plan.fwd(spectrum, PodStack::new(&mut scratch.stack));
    }

    /// The transforms of the limbs of a polynomial modulo q.
    pub(super) fn forward_limbs(&self, polynomial: &[u64], scratch: &mut Scratch, spectra: &mut [c64]) {
        for (limb, spectrum) in spectra.chunks_exact_mut(HALF).enumerate() {
            for (small, value) in scratch.small.iter_mut().zip(polynomial) {
                *small = limbs(*value)[limb] as f64;
            }
            self.forward(scratch, spectrum);
        }
    }

    /// sums[k] += Σ_i x_i·a_i[k] for the transforms of some x_i, one behind another, and of the same number of lists
    /// a_i as long as `sums`. Faster for [`TOGETHER`] of them than one by one, as sums are read and written once.
    pub(super) fn multiply_add(&self, sums: &mut [c64], x: &[c64], a: &[c64]) {
        let (length, together) = (sums.len(), TOGETHER);
        let (x, x_rest) = x.split_at(x.len() / (together * HALF) * together * HALF);
        let (a, a_rest) = a.split_at(a.len() / (together * length) * together * length);
        for (x, a) in x.chunks_exact(together * HALF).zip(a.chunks_exact(together * length)) {
            self.arch.dispatch(MultiplyAdd::<TOGETHER> { sums, x, a });
        }
        for (x, a) in x_rest.chunks_exact(HALF).zip(a_rest.chunks_exact(length)) {
            self.arch.dispatch(MultiplyAdd::<1> { sums, x, a });
        }
    }

    /// The polynomial modulo q whose limbs' transforms are `sums`, which are used up.
    pub(super) fn inverse_limbs(&self, sums: &mut [c64], scratch: &mut Scratch, polynomial: &mut [u64]) {
        for spectrum in sums.chunks_exact_mut(HALF) {
            self.plan.inv(spectrum, PodStack::new(&mut scratch.stack));
        }
        self.arch.dispatch(Join { sums, untwist: &self.untwist, polynomial });
    }
}

/// value = Σ limb·2^(18·i) modulo q, every limb at most 2^17 in absolute value.
fn limbs(value: u64) -> [i64; LIMBS] {
    let low = |value: i64| (value << (64 - LIMB_BITS)) >> (64 - LIMB_BITS);
    let value = centred(value);
    let first = low(value);
    let rest = (value - first) >> LIMB_BITS;
    let second = low(rest);
    [first, second, (rest - second) >> LIMB_BITS]
}

/// X^1024 = i: both halves of a polynomial as one complex polynomial, and X ↦ e^(iπ/2048)·X.
struct Fold<'a> {
    low: &'a [f64],
    high: &'a [f64],
    twist: &'a [c64],
    spectrum: &'a mut [c64],
}

impl WithSimd for Fold<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let inputs = self.low.iter().zip(self.high).zip(self.twist);
        for (out, ((low, high), twist)) in self.spectrum.iter_mut().zip(inputs) {
            *out = c64::new(low * twist.re - high * twist.im, low * twist.im + high * twist.re);
        }
    }
}

struct MultiplyAdd<'a, const COUNT: usize> {
    sums: &'a mut [c64],
    x: &'a [c64],
    a: &'a [c64],
}

impl<const COUNT: usize> WithSimd for MultiplyAdd<'_, COUNT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let length = self.sums.len();
        // 1024 is a multiple of every processor's vector: there are no rests.
        let x: [&[S::c64s]; COUNT] = std::array::from_fn(|i| S::as_simd_c64s(&self.x[i * HALF..(i + 1) * HALF]).0);
        for (k, sums) in self.sums.chunks_exact_mut(HALF).enumerate() {
            let start = |i: usize| i * length + k * HALF;
            let a: [&[S::c64s]; COUNT] = std::array::from_fn(|i| S::as_simd_c64s(&self.a[start(i)..start(i) + HALF]).0);
            let (sums, _) = S::as_mut_simd_c64s(sums);
            for (j, sum) in sums.iter_mut().enumerate() {
                let mut value = *sum;
                for (x, a) in x.iter().zip(&a) {
                    value = simd.mul_add_c64s(x[j], a[j], value);
                }
                *sum = value;
            }
        }
    }
}

/// Undoes the fold of all limbs, rounds, and puts the limbs together.
struct Join<'a> {
    sums: &'a [c64],
    untwist: &'a [c64],
    polynomial: &'a mut [u64],
}

impl WithSimd for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let whole = |value: f64| (value + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits());
        let (first, rest) = self.sums.split_at(HALF);
        let (second, third) = rest.split_at(HALF);
        let (low, high) = self.polynomial.split_at_mut(HALF);
        let limbs = first.iter().zip(second).zip(third).zip(self.untwist);
        for ((low, high), (((first, second), third), w)) in low.iter_mut().zip(high).zip(limbs) {
            let (mut re, mut im) = (0u64, 0u64);
            for limb in [third, second, first] {
                re = (re << LIMB_BITS).wrapping_add(whole(limb.re * w.re - limb.im * w.im));
                im = (im << LIMB_BITS).wrapping_add(whole(limb.re * w.im + limb.im * w.re));
            }
            *low = re & ((1 << MODULUS_BITS) - 1);
            *high = im & ((1 << MODULUS_BITS) - 1);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lookalike::draw::Stream;

    /// Exact, by the definition.
    pub(in crate::lookalike) fn product(small: &[i64], wide: &[u64]) -> Vec<u64> {
        let mut result = vec![0u64; DEGREE];
        for (i, small) in small.iter().enumerate().filter(|(_, small)| **small != 0) {
            let small = small.cast_unsigned();
            let (wrapped, straight) = wide.split_at(DEGREE - i).swap();
            for (out, wide) in result[..i].iter_mut().zip(wrapped) {
                *out = out.wrapping_sub(small.wrapping_mul(*wide));
            }
            for (out, wide) in result[i..].iter_mut().zip(straight) {
                *out = out.wrapping_add(small.wrapping_mul(*wide));
            }
        }
        result.iter().map(|value| value & ((1 << MODULUS_BITS) - 1)).collect()
    }

    trait Swap {
        fn swap(self) -> Self;
    }

    impl<T> Swap for (T, T) {
        fn swap(self) -> Self {
            (self.1, self.0)
        }
    }

    /// Columns at their bounds with all signs alike, and masks whose limbs are all at theirs, are the worst there is.
    fn extremes_and_others() -> Vec<(Vec<i64>, Vec<u64>)> {
        let mut stream = Stream::new(&[7; 32], "test", &[]);
        let mut wide = vec![0u64; DEGREE];
        stream.fill(&mut wide);
        let wide: Vec<u64> = wide.iter().map(|value| value & ((1 << MODULUS_BITS) - 1)).collect();
        let mut bytes = vec![0u64; DEGREE];
        stream.fill(&mut bytes);
        let small: Vec<i64> = bytes.iter().map(|value| i64::from((value & 0xff) as u8 as i8).max(-127)).collect();
        let low_limbs = (1u64 << 17) | (1 << 35) | (1 << 53);
        vec![
            (small.clone(), wide.clone()),
            (vec![127; DEGREE], wide),
            (vec![127; DEGREE], vec![low_limbs; DEGREE]),
            (small, vec![low_limbs; DEGREE]),
            ((0..DEGREE).map(|i| if i % 2 == 0 { 127 } else { -127 }).collect(), vec![(1 << 54) - 1; DEGREE]),
        ]
    }

    #[test]
    fn products_are_exact() {
        let ring = Ring::new();
        let mut scratch = ring.scratch();
        for (small, wide) in extremes_and_others() {
            let (mut x, mut a, mut sums) = (Spectra::new(1), Spectra::new(LIMBS), Spectra::new(LIMBS));
            ring.forward_limbs(&wide, &mut scratch, a.get_mut(0, LIMBS));
            for (out, small) in scratch.small.iter_mut().zip(&small) {
                *out = *small as f64;
            }
            ring.forward(&mut scratch, x.get_mut(0, 1));
            // 128 times the same column: the largest sum that parameters allow for.
            for _ in 0..128 {
                ring.multiply_add(sums.get_mut(0, LIMBS), x.get(0, 1), a.get(0, LIMBS));
            }
            let mut found = vec![0; DEGREE];
            ring.inverse_limbs(sums.get_mut(0, LIMBS), &mut scratch, &mut found);
            let expected: Vec<i64> = small.iter().map(|value| 128 * value).collect();
            assert_eq!(found, product(&expected, &wide));
        }
    }

    #[test]
    fn limbs_are_small_and_give_the_value_back() {
        for value in [0, 1, (1 << 17) - 1, 1 << 17, 1 << 53, (1 << 53) - 1, (1 << 54) - 1, 0x1f_ffff_ffff_ffff] {
            let [first, second, third] = limbs(value);
            assert!([first, second, third].iter().all(|limb| limb.abs() <= 1 << 17));
            assert_eq!(first + (second << 18) + (third << 36), centred(value), "{value}");
        }
    }
}
