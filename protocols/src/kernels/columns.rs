//! Loops over columns of codes, for what the processor has: what a training round spends its time with.
//!
//! Both loops are sums of products of whole numbers, exact and the same on every processor. Compilers do not find the
//! instruction that processors have for them (products of neighbours of 16 bits, added in pairs to 32 bits), so the loops
//! are written once over [`Isa`]; at run time AVX2 is taken where the processor has it.

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;

use super::Portable;

/// How many columns are scored together.
pub(crate) const SCORED: usize = 8;
/// The largest weight of a column that is scored: eight products with numbers of 16 bits add up in 32 bits.
const MOST: f32 = 8191.0;
/// Steps over which products with half weights add up in 32 bits: two a lane and step, 2·2^7·2^15·2^7 = 2^30.
const STEPS: usize = 1 << 7;

/// What some columns of numbers add to a score: Σ slope·x, x being the code less 32768 (also where it is missing, so −32768),
/// and Σ 32768·missing over those that are missing.
///
/// What is added to a row's score depends on that row alone, to the last bit: were it to depend on what other rows lack, one
/// customer could move the residuals of many.
pub(crate) struct Weights {
    slopes: [i16; SCORED],
    missing: [i16; SCORED],
    /// What a unit of the others is worth.
    scale: f32,
}

impl Weights {
    /// Weights, rounded to 1/8191 of the largest.
    pub(crate) fn new(slopes: &[f32; SCORED], missing: &[f32; SCORED]) -> Self {
        // Of models that are far from any use, something finite.
        let finite = |weight: f32| if weight.is_nan() { 0.0 } else { weight.clamp(-1e30, 1e30) };
        let (slopes, missing) = (slopes.map(finite), missing.map(finite));
        let largest = slopes.iter().chain(&missing).fold(0.0f32, |most, weight| most.max(weight.abs()));
        let scale = (largest / MOST).max(f32::MIN_POSITIVE);
        let round = |weight: f32| (weight / scale).round() as i16;
        Self { slopes: slopes.map(round), missing: missing.map(round), scale }
    }

    /// Adds to the score of each row what the columns add, one slice a column. Missing values are looked for where there may be
    /// some (`gaps`).
    pub(crate) fn add_scores(&self, scores: &mut [f32], columns: &[&[u16]; SCORED], gaps: bool) {
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = V3::try_new() {
            return isa.vectorize(|| add_scores(isa, self, scores, columns, gaps));
        }
        add_scores(Portable, self, scores, columns, gaps);
    }
}

/// Weights w = 256·high + low, with low and high within ±128: products of the halves with numbers of 16 bits add up in 32
/// bits over some rows, for which processors have an instruction.
pub(crate) struct Halves {
    weights: Vec<i16>,
    low: Vec<i16>,
    high: Vec<i16>,
}

impl Halves {
    /// Of weights within ±32767.
    pub(crate) fn of(weights: &[i32]) -> Self {
        let high = |weight: i32| (weight + 128) >> 8;
        Self {
            weights: weights.iter().map(|weight| *weight as i16).collect(),
            low: weights.iter().map(|weight| (weight - (high(*weight) << 8)) as i16).collect(),
            high: weights.iter().map(|weight| high(*weight) as i16).collect(),
        }
    }

    /// Σ w·x over the rows of a column (x = 0 where it is missing), and Σ w over the rows that lack it, which are looked for
    /// where there may be some (`gaps`).
    pub(crate) fn over(&self, codes: &[u16], gaps: bool) -> (i64, i64) {
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = V3::try_new() {
            return isa.vectorize(|| sums(isa, self, codes, gaps));
        }
        sums(Portable, self, codes, gaps)
    }
}

#[inline(always)]
fn add_scores<I: Isa>(isa: I, weights: &Weights, scores: &mut [f32], columns: &[&[u16]; SCORED], gaps: bool) {
    if gaps {
        add_scores_of::<I, true>(isa, weights, scores, columns);
    } else {
        add_scores_of::<I, false>(isa, weights, scores, columns);
    }
}

// Loops rather than closures: whatever is not inlined is compiled for any processor.
#[inline(always)]
fn add_scores_of<I: Isa, const GAPS: bool>(isa: I, weights: &Weights, scores: &mut [f32], codes: &[&[u16]; SCORED]) {
    let Weights { slopes, missing, scale } = *weights;
    const PAIRS: usize = SCORED / 2;
    let (mut slope_pairs, mut missing_pairs) = ([isa.zero(); PAIRS], [isa.zero(); PAIRS]);
    for i in 0..PAIRS {
        slope_pairs[i] = isa.pairs([slopes[2 * i], slopes[2 * i + 1]]);
        missing_pairs[i] = isa.pairs([missing[2 * i], missing[2 * i + 1]]);
    }
    let mut rows = scores.len();
    for codes in codes {
        rows = rows.min(codes.len());
    }
    let whole = rows - rows % LANES;
    let mut columns: [&[[u16; LANES]]; SCORED] = [&[]; SCORED];
    for (column, codes) in columns.iter_mut().zip(codes) {
        *column = codes[..whole].as_chunks().0;
    }
    let pair = |i: usize| columns[2 * i].iter().zip(columns[2 * i + 1]);
    let pairs = pair(0).zip(pair(1)).zip(pair(2).zip(pair(3)));
    for (scores, ((first, second), (third, fourth))) in scores[..whole].as_chunks_mut::<LANES>().0.iter_mut().zip(pairs)
    {
        let pairs: [_; PAIRS] = [first, second, third, fourth];
        let (mut low, mut high) = (isa.zero(), isa.zero());
        let (mut none_low, mut none_high) = (isa.zero(), isa.zero());
        for i in 0..PAIRS {
            let (a, b) = (isa.load(pairs[i].0), isa.load(pairs[i].1));
            let (first, second) = isa.zip(isa.centred(a), isa.centred(b));
            low = isa.add(low, isa.dot(first, slope_pairs[i]));
            high = isa.add(high, isa.dot(second, slope_pairs[i]));
            if GAPS {
                let (first, second) = isa.zip(isa.missing(a), isa.missing(b));
                none_low = isa.add(none_low, isa.dot(first, missing_pairs[i]));
                none_high = isa.add(none_high, isa.dot(second, missing_pairs[i]));
            }
        }
        isa.add_scaled(scores, (low, high), scale);
        if GAPS {
            // −1 where a code is missing. Where none is, this adds nothing: the scale is finite.
            isa.add_scaled(scores, (none_low, none_high), -32768.0 * scale);
        }
    }
    for row in whole..rows {
        let (mut sum, mut none) = (0i32, 0i32);
        for i in 0..SCORED {
            let code = codes[i][row];
            sum += (i32::from(code) - 32768) * i32::from(slopes[i]);
            none -= if code == 0 { i32::from(missing[i]) } else { 0 };
        }
        scores[row] += scale * sum as f32;
        scores[row] += -32768.0 * scale * none as f32;
    }
}

#[inline(always)]
fn sums<I: Isa>(isa: I, halves: &Halves, codes: &[u16], gaps: bool) -> (i64, i64) {
    if gaps { sums_of::<I, true>(isa, halves, codes) } else { sums_of::<I, false>(isa, halves, codes) }
}

#[inline(always)]
fn sums_of<I: Isa, const GAPS: bool>(isa: I, halves: &Halves, codes: &[u16]) -> (i64, i64) {
    let rows = codes.len().min(halves.weights.len());
    let (mut value, mut missing) = (0i64, 0i64);
    let whole = rows - rows % LANES;
    let mut start = 0;
    while start < whole {
        let end = whole.min(start + STEPS * LANES);
        let (mut by_low, mut by_high, mut without) = (isa.zero(), isa.zero(), isa.zero());
        let lanes =
            codes[start..end].as_chunks::<LANES>().0.iter().zip(halves.weights[start..end].as_chunks::<LANES>().0);
        let both =
            halves.low[start..end].as_chunks::<LANES>().0.iter().zip(halves.high[start..end].as_chunks::<LANES>().0);
        for ((codes, weights), (low, high)) in lanes.zip(both) {
            let words = isa.load(codes);
            let x = isa.centred(words);
            by_low = isa.add(by_low, isa.dot(x, isa.load_signed(low)));
            by_high = isa.add(by_high, isa.dot(x, isa.load_signed(high)));
            if GAPS {
                // −1 where it is missing: at most 2^16 a lane at once, and 2^23 in all.
                without = isa.add(without, isa.dot(isa.missing(words), isa.load_signed(weights)));
            }
        }
        value += total(isa.lanes(by_high)) * 256 + total(isa.lanes(by_low));
        missing -= total(isa.lanes(without));
        start = end;
    }
    for (&code, &weight) in codes[whole..rows].iter().zip(&halves.weights[whole..rows]) {
        let weight = i64::from(weight);
        value += (i64::from(code) - 32768) * weight;
        missing += if GAPS && code == 0 { weight } else { 0 };
    }
    (value + missing * 32768, missing)
}

#[inline(always)]
fn total(lanes: [i32; LANES / 2]) -> i64 {
    lanes.into_iter().map(i64::from).sum()
}

/// Numbers of 16 bits that are worked on at once, or half as many of 32 bits.
const LANES: usize = 16;

/// What the loops need of a processor, on [`LANES`] numbers at once.
trait Isa: Copy {
    /// As many numbers of 16 bits, or half as many of 32.
    type Words: Copy;

    fn zero(self) -> Self::Words;
    /// The same two numbers over and over.
    fn pairs(self, pair: [i16; 2]) -> Self::Words;
    fn load(self, codes: &[u16; LANES]) -> Self::Words;
    fn load_signed(self, numbers: &[i16; LANES]) -> Self::Words;
    /// Codes less 32768.
    fn centred(self, codes: Self::Words) -> Self::Words;
    /// −1 where a code is 0, and 0 elsewhere.
    fn missing(self, codes: Self::Words) -> Self::Words;
    /// a and b taken in turn, in two halves, of which [`Isa::add_scaled`] knows the order.
    fn zip(self, a: Self::Words, b: Self::Words) -> (Self::Words, Self::Words);
    /// Products of 16 bits, added in pairs to 32 bits.
    fn dot(self, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Sums of 32 bits.
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn lanes(self, words: Self::Words) -> [i32; LANES / 2];
    /// Adds numbers of 32 bits, one a row, times `scale`; the numbers were made from the two halves of [`Isa::zip`].
    fn add_scaled(self, scores: &mut [f32; LANES], numbers: (Self::Words, Self::Words), scale: f32);
}

#[cfg(target_arch = "x86_64")]
impl Isa for V3 {
    type Words = std::arch::x86_64::__m256i;

    #[inline(always)]
    fn zero(self) -> Self::Words {
        self.avx._mm256_setzero_si256()
    }

    #[inline(always)]
    fn pairs(self, [a, b]: [i16; 2]) -> Self::Words {
        pulp::cast([[a, b]; LANES / 2])
    }

    #[inline(always)]
    fn load(self, codes: &[u16; LANES]) -> Self::Words {
        pulp::cast(*codes)
    }

    #[inline(always)]
    fn load_signed(self, numbers: &[i16; LANES]) -> Self::Words {
        pulp::cast(*numbers)
    }

    #[inline(always)]
    fn centred(self, codes: Self::Words) -> Self::Words {
        self.avx2._mm256_xor_si256(codes, self.avx._mm256_set1_epi16(i16::MIN))
    }

    #[inline(always)]
    fn missing(self, codes: Self::Words) -> Self::Words {
        self.avx2._mm256_cmpeq_epi16(codes, self.zero())
    }

    #[inline(always)]
    fn zip(self, a: Self::Words, b: Self::Words) -> (Self::Words, Self::Words) {
        (self.avx2._mm256_unpacklo_epi16(a, b), self.avx2._mm256_unpackhi_epi16(a, b))
    }

    #[inline(always)]
    fn dot(self, a: Self::Words, b: Self::Words) -> Self::Words {
        self.avx2._mm256_madd_epi16(a, b)
    }

    #[inline(always)]
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words {
        self.avx2._mm256_add_epi32(a, b)
    }

    #[inline(always)]
    fn lanes(self, words: Self::Words) -> [i32; LANES / 2] {
        pulp::cast(words)
    }

    #[inline(always)]
    fn add_scaled(self, scores: &mut [f32; LANES], (first, second): (Self::Words, Self::Words), scale: f32) {
        // Halves of 128 bits were taken in turn, each by itself.
        let rows = [
            self.avx2._mm256_permute2x128_si256::<0x20>(first, second),
            self.avx2._mm256_permute2x128_si256::<0x31>(first, second),
        ];
        let scale = self.avx._mm256_set1_ps(scale);
        let mut sums: [std::arch::x86_64::__m256; 2] = pulp::cast(*scores);
        for (sum, rows) in sums.iter_mut().zip(rows) {
            *sum = self.avx._mm256_add_ps(*sum, self.avx._mm256_mul_ps(scale, self.avx._mm256_cvtepi32_ps(rows)));
        }
        *scores = pulp::cast(sums);
    }
}

impl Isa for Portable {
    type Words = [i16; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Words {
        [0; LANES]
    }

    #[inline(always)]
    fn pairs(self, pair: [i16; 2]) -> Self::Words {
        std::array::from_fn(|i| pair[i % 2])
    }

    #[inline(always)]
    fn load(self, codes: &[u16; LANES]) -> Self::Words {
        codes.map(u16::cast_signed)
    }

    #[inline(always)]
    fn load_signed(self, numbers: &[i16; LANES]) -> Self::Words {
        *numbers
    }

    #[inline(always)]
    fn centred(self, codes: Self::Words) -> Self::Words {
        codes.map(|code| code ^ i16::MIN)
    }

    #[inline(always)]
    fn missing(self, codes: Self::Words) -> Self::Words {
        codes.map(|code| if code == 0 { -1 } else { 0 })
    }

    #[inline(always)]
    fn zip(self, a: Self::Words, b: Self::Words) -> (Self::Words, Self::Words) {
        let half = |from: usize| std::array::from_fn(|i| [a, b][i % 2][from + i / 2]);
        (half(0), half(LANES / 2))
    }

    #[inline(always)]
    fn dot(self, a: Self::Words, b: Self::Words) -> Self::Words {
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        split(std::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
    }

    #[inline(always)]
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words {
        let (a, b) = (self.lanes(a), self.lanes(b));
        split(std::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }

    #[inline(always)]
    fn lanes(self, words: Self::Words) -> [i32; LANES / 2] {
        std::array::from_fn(|i| (i32::from(words[2 * i + 1]) << 16) | i32::from(words[2 * i].cast_unsigned()))
    }

    #[inline(always)]
    fn add_scaled(self, scores: &mut [f32; LANES], (first, second): (Self::Words, Self::Words), scale: f32) {
        let rows = self.lanes(first).into_iter().chain(self.lanes(second));
        for (score, row) in scores.iter_mut().zip(rows) {
            *score += scale * row as f32;
        }
    }
}

/// Numbers of 32 bits as pairs of 16 bits, the lower ones first.
#[inline(always)]
fn split(numbers: [i32; LANES / 2]) -> [i16; LANES] {
    std::array::from_fn(|i| (numbers[i / 2] >> (16 * (i % 2))) as i16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_WEIGHT: i32 = 32767;

    /// Sums by halves of weights are exact, at the extremes as well.
    #[test]
    fn halves_do_not_overflow() {
        let weights: Vec<i32> = (-MAX_WEIGHT..=MAX_WEIGHT).collect();
        let halves = Halves::of(&weights);
        for (i, weight) in weights.iter().enumerate() {
            let [whole, low, high] = [&halves.weights, &halves.low, &halves.high].map(|part| i32::from(part[i]));
            assert!(high * 256 + low == *weight && low.abs() <= 128 && high.abs() <= 128, "{weight}");
            assert_eq!(whole, *weight);
        }
        for code in [0u16, 1, 32767, 32768, 65535] {
            for weight in [MAX_WEIGHT, -MAX_WEIGHT, 128, -128, 127, 0] {
                for rows in [0, 1, 16, STEPS * LANES - 1, STEPS * LANES + 1, (1 << 16) + 5] {
                    let halves = Halves::of(&vec![weight; rows]);
                    let sum = |one: i32| i64::from(one) * i64::from(weight) * rows as i64;
                    let x = if code == 0 { 0 } else { i32::from(code) - 32768 };
                    let (codes, expected) = (vec![code; rows], (sum(x), sum(i32::from(code == 0))));
                    assert_eq!(halves.over(&codes, true), expected);
                    assert_eq!(sums(Portable, &halves, &codes, true), expected);
                    if code > 0 {
                        assert_eq!(halves.over(&codes, false), expected);
                    }
                }
            }
        }
    }

    fn any_code() -> impl Strategy<Value = u16> {
        prop_oneof![any::<u16>(), Just(0), Just(1), Just(65535)]
    }

    proptest! {
        #[test]
        fn sums_are_the_same_on_every_processor(rows in proptest::collection::vec((any_code(), -MAX_WEIGHT..=MAX_WEIGHT), 0..100)) {
            let (codes, weights): (Vec<u16>, Vec<i32>) = rows.into_iter().unzip();
            let halves = Halves::of(&weights);
            for gaps in [false, true] {
                prop_assert_eq!(halves.over(&codes, gaps), sums(Portable, &halves, &codes, gaps));
            }
        }

        /// To the last bit, and near what they should be.
        #[test]
        fn scores_are_the_same_on_every_processor(
            rows in proptest::collection::vec([any_code(), any_code(), any_code(), any_code()], 0..70),
            slopes in [-1e-4f32..1e-4, -1e-4f32..1e-4, -1e-6f32..1e-6, 9.9e-5f32..1e-4],
            missing in [-1e-4f32..1e-4, -1e-4f32..1e-4, -1e-6f32..1e-6, 9.9e-5f32..1e-4],
        ) {
            let eight = |four: [f32; 4]| std::array::from_fn(|i| four[i % 4]);
            let column = |i: usize| rows.iter().map(|row| row[i]).collect::<Vec<u16>>();
            let four = [column(0), column(1), column(2), column(3)];
            let columns: [&[u16]; SCORED] = std::array::from_fn(|i| &four[i % 4][..]);
            let weights = Weights::new(&eight(slopes), &eight(missing));
            let [mut one, mut other, mut full] = [(); 3].map(|()| vec![0.5; rows.len()]);
            weights.add_scores(&mut one, &columns, true);
            add_scores(Portable, &weights, &mut other, &columns, true);
            prop_assert_eq!(&one, &other);
            weights.add_scores(&mut full, &columns, false);
            for ((row, score), full) in rows.iter().zip(one).zip(full) {
                let term = |i: usize| {
                    let none = if row[i] == 0 { 32768.0 * missing[i] } else { 0.0 };
                    (f32::from(row[i]) - 32768.0) * slopes[i] + none
                };
                let expected = 0.5 + 2.0 * (0..4).map(term).sum::<f32>();
                // Sixteen weights, each wrong by half of 1e-4/8191, times 2^15.
                prop_assert!((score - expected).abs() < 4e-3, "{} {}", score, expected);
                prop_assert!(row.contains(&0) || score.to_bits() == full.to_bits(), "it depends on other rows");
            }
        }
    }

    #[test]
    fn weights_that_are_no_numbers_or_next_to_none_are_harmless() {
        let codes = [0u16, 65535, 1];
        for slope in [f32::NAN, f32::INFINITY, -f32::MAX, 1e-44, 0.0] {
            let mut scores = [0.0; 3];
            Weights::new(&[slope; SCORED], &[slope; SCORED]).add_scores(&mut scores, &[&codes; SCORED], true);
            assert!(scores.iter().all(|score| score.is_finite()), "{slope}: {scores:?}");
        }
    }
}
