//! Sums of values that are looked up in small tables, for what the processor has: what scoring with an additive model
//! spends its time with.
//!
//! Codes come joined ([`crate::privacy::joint`]) and are taken apart by multiplications: that takes less time than to read
//! them apart. A table of at most 64 values stays in registers, where processors look up many codes at once. Values are
//! whole numbers of a scale that some columns share, so that sums are exact and the same on every processor. The loop is
//! written once over [`Isa`]; AVX-512 or AVX2 is taken at run time where the processor has it.

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

use super::Portable;
use crate::privacy::joint::{JOINED, PLACES, strides};

/// How many joint columns are looked up together.
pub(crate) const LOOKED_UP: usize = 3;
/// Most values of a table; what is behind them is 0.
pub(crate) const VALUES: usize = ENTRIES - 1;
const ENTRIES: usize = 64;
/// The largest sum of the columns' values before they are rounded, each by at most a half: sums have 16 bits.
const MOST: f32 = 32760.0;
const _: () = assert!(MOST + (LOOKED_UP * JOINED) as f32 / 2.0 <= 32767.0);
/// Rows that are worked on at once.
const LANES: usize = 32;

/// What some joint columns add to a score: the value of each one's code.
///
/// What is added to a row's score depends on that row alone, to the last bit.
pub(crate) struct Lookups {
    joints: Vec<Joined>,
    /// What a unit of the values is worth.
    scale: f32,
    /// Whether codes of more than five bits have values.
    long: bool,
}

/// The columns of a joint one, or a column by itself.
struct Joined {
    /// What the codes of all but the last were multiplied with.
    strides: Vec<Stride>,
    last: Table,
}

/// A column whose codes were multiplied with a stride: joint codes are divided by it.
struct Stride {
    table: Table,
    stride: u16,
    /// ⌊code·multiplier/2^(16 + shift)⌋ = ⌊code/stride⌋.
    multiplier: u16,
    shift: u32,
}

/// The values of a column, as words and as the bytes of these.
#[repr(align(64))]
struct Table {
    words: [i16; ENTRIES],
    low: [u8; ENTRIES],
    high: [u8; ENTRIES],
}

impl Lookups {
    /// Of at most [`LOOKED_UP`] joint columns: how many codes each one's columns have, and at most [`VALUES`] values of
    /// each, which are rounded to 1/32760 of the largest sum that they can make. A code without a value adds nothing.
    pub(crate) fn new(joints: &[(&[usize], Vec<&[f32]>)]) -> Self {
        // Of models that are far from any use, something finite.
        let finite = |value: f32| if value.is_nan() { 0.0 } else { value.clamp(-1e30, 1e30) };
        let joints = &joints[..joints.len().min(LOOKED_UP)];
        let all = || joints.iter().flat_map(|(_, values)| values);
        let largest = |values: &&[f32]| values.iter().fold(0.0f32, |most, value| most.max(finite(*value).abs()));
        let scale = (all().map(largest).sum::<f32>() / MOST).max(f32::MIN_POSITIVE);
        let table = |values: &[f32]| {
            let mut words = [0i16; ENTRIES];
            for (word, value) in words[..VALUES].iter_mut().zip(values) {
                *word = (finite(*value) / scale).round() as i16;
            }
            Table { words, low: words.map(|word| word.to_le_bytes()[0]), high: words.map(|word| word.to_le_bytes()[1]) }
        };
        let joined = |(slots, values): &(&[usize], Vec<&[f32]>)| {
            let strides = strides(slots).into_iter().zip(values);
            let strides = strides.map(|(stride, values)| Stride::new(stride, table(values)));
            Joined { strides: strides.collect(), last: table(values.last().copied().unwrap_or_default()) }
        };
        let long = all().any(|values| values.len() >= ENTRIES / 2);
        Self { joints: joints.iter().map(joined).collect(), scale, long }
    }

    /// Adds to the score of each row what the columns add, one slice a joint column.
    pub(crate) fn add_scores(&self, scores: &mut [f32], columns: &[&[u16]]) {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(isa) = V4::try_new() {
                return isa.vectorize(|| add_scores(isa, self, scores, columns));
            }
            if let Some(isa) = V3::try_new() {
                return isa.vectorize(|| add_scores(isa, self, scores, columns));
            }
        }
        add_scores(Portable, self, scores, columns);
    }
}

impl Stride {
    /// **Proof.** With the stride d ≥ 2 and 2^(shift + 2) > d, the multiplier is 2^(16 + shift)/d rounded up, so at most 2^15
    /// or, for d = 2, 2^15 again, and too large by e/d with e < d. ⌊code·multiplier/2^(16 + shift)⌋ is ⌊code/d⌋ as long as
    /// code·e < 2^(16 + shift), which holds for codes below 2^14. Joint codes are below 2^13.
    fn new(stride: usize, table: Table) -> Self {
        const _: () = assert!(PLACES <= 1 << 13);
        let stride = stride.max(2) as u32;
        let shift = stride.ilog2() - 1;
        Self { table, stride: stride as u16, multiplier: (1u32 << (16 + shift)).div_ceil(stride) as u16, shift }
    }
}

#[inline(always)]
fn add_scores<I: Isa>(isa: I, lookups: &Lookups, scores: &mut [f32], columns: &[&[u16]]) {
    match lookups.long {
        true => add_scores_of::<I, true>(isa, lookups, scores, columns),
        false => add_scores_of::<I, false>(isa, lookups, scores, columns),
    }
}

// Loops rather than closures: whatever is not inlined is compiled for any processor.
#[inline(always)]
fn add_scores_of<I: Isa, const LONG: bool>(isa: I, lookups: &Lookups, scores: &mut [f32], columns: &[&[u16]]) {
    let Lookups { joints, scale, .. } = lookups;
    let columns = &columns[..columns.len().min(joints.len())];
    let mut rows = scores.len();
    for codes in columns {
        rows = rows.min(codes.len());
    }
    let (whole, rest) = scores[..rows].as_chunks_mut::<LANES>();
    let mut chunks: [&[[u16; LANES]]; LOOKED_UP] = [&[]; LOOKED_UP];
    for (chunks, codes) in chunks.iter_mut().zip(columns) {
        *chunks = codes[..rows].as_chunks().0;
    }
    for (i, scores) in whole.iter_mut().enumerate() {
        let mut sums = isa.zero();
        for (joined, chunks) in joints.iter().zip(&chunks[..columns.len()]) {
            let mut codes = isa.load(&chunks[i]);
            for stride in &joined.strides {
                let (own, others) = isa.divide(codes, stride);
                sums = isa.add(sums, isa.look_up::<LONG>(&stride.table, own));
                codes = others;
            }
            sums = isa.add(sums, isa.look_up::<LONG>(&joined.last, codes));
        }
        for (score, sum) in scores.iter_mut().zip(isa.lanes(sums)) {
            *score += scale * f32::from(sum);
        }
    }
    let start = rows - rest.len();
    for (i, score) in rest.iter_mut().enumerate() {
        let mut sum = 0;
        for (joined, codes) in joints.iter().zip(columns) {
            let mut code = codes[start + i];
            for Stride { table, stride, .. } in &joined.strides {
                sum += table.words[usize::from(code / stride).min(VALUES)];
                code %= stride;
            }
            sum += joined.last.words[usize::from(code).min(VALUES)];
        }
        *score += scale * f32::from(sum);
    }
}

/// What the loop needs of a processor, on [`LANES`] numbers at once.
trait Isa: Copy {
    /// As many numbers of 16 bits.
    type Words: Copy;

    fn zero(self) -> Self::Words;
    fn load(self, codes: &[u16; LANES]) -> Self::Words;
    /// Quotients and remainders of joint codes.
    fn divide(self, codes: Self::Words, stride: &Stride) -> (Self::Words, Self::Words);
    /// Each code's value. Unless `LONG`, only the first half of the table's entries are not 0.
    fn look_up<const LONG: bool>(self, table: &Table, codes: Self::Words) -> Self::Words;
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words;
    fn lanes(self, words: Self::Words) -> [i16; LANES];
}

#[cfg(target_arch = "x86_64")]
impl Isa for V4 {
    type Words = std::arch::x86_64::__m512i;

    #[inline(always)]
    fn zero(self) -> Self::Words {
        self.avx512f._mm512_setzero_si512()
    }

    #[inline(always)]
    fn load(self, codes: &[u16; LANES]) -> Self::Words {
        pulp::cast(*codes)
    }

    #[inline(always)]
    fn divide(self, codes: Self::Words, stride: &Stride) -> (Self::Words, Self::Words) {
        let high = self.avx512bw._mm512_mulhi_epu16(codes, pulp::cast([stride.multiplier; LANES]));
        let quotients = self.avx512bw._mm512_srl_epi16(high, self.sse2._mm_cvtsi32_si128(stride.shift as i32));
        let products = self.avx512bw._mm512_mullo_epi16(quotients, pulp::cast([stride.stride; LANES]));
        (quotients, self.avx512bw._mm512_sub_epi16(codes, products))
    }

    #[inline(always)]
    fn look_up<const LONG: bool>(self, table: &Table, codes: Self::Words) -> Self::Words {
        let last = if LONG { VALUES } else { ENTRIES / 2 - 1 };
        let codes = self.avx512bw._mm512_min_epu16(codes, pulp::cast([last as u16; LANES]));
        let [first, second]: [Self::Words; 2] = pulp::cast(table.words);
        match LONG {
            true => self.avx512bw._mm512_permutex2var_epi16(first, codes, second),
            false => self.avx512bw._mm512_permutexvar_epi16(codes, first),
        }
    }

    #[inline(always)]
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words {
        self.avx512bw._mm512_add_epi16(a, b)
    }

    #[inline(always)]
    fn lanes(self, words: Self::Words) -> [i16; LANES] {
        pulp::cast(words)
    }
}

#[cfg(target_arch = "x86_64")]
impl Isa for V3 {
    type Words = [std::arch::x86_64::__m256i; 2];

    #[inline(always)]
    fn zero(self) -> Self::Words {
        [self.avx._mm256_setzero_si256(); 2]
    }

    #[inline(always)]
    fn load(self, codes: &[u16; LANES]) -> Self::Words {
        pulp::cast(*codes)
    }

    #[inline(always)]
    fn divide(self, codes: Self::Words, stride: &Stride) -> (Self::Words, Self::Words) {
        let [multiplier, by] =
            [stride.multiplier, stride.stride].map(|it| self.avx._mm256_set1_epi16(it.cast_signed()));
        let shift = self.sse2._mm_cvtsi32_si128(stride.shift as i32);
        let (mut quotients, mut remainders) = (codes, codes);
        for i in 0..2 {
            quotients[i] = self.avx2._mm256_srl_epi16(self.avx2._mm256_mulhi_epu16(codes[i], multiplier), shift);
            remainders[i] = self.avx2._mm256_sub_epi16(codes[i], self.avx2._mm256_mullo_epi16(quotients[i], by));
        }
        (quotients, remainders)
    }

    #[inline(always)]
    fn look_up<const LONG: bool>(self, table: &Table, codes: Self::Words) -> Self::Words {
        let [mut first, mut second] = codes;
        let last = self.avx._mm256_set1_epi16(if LONG { VALUES } else { ENTRIES / 2 - 1 } as i16);
        first = self.avx2._mm256_min_epu16(first, last);
        second = self.avx2._mm256_min_epu16(second, last);
        // Bytes in the order that unpacking them undoes.
        let codes = self.avx2._mm256_packus_epi16(first, second);
        let (low, high) = (table.low.as_chunks::<16>().0, table.high.as_chunks::<16>().0);
        let look_up = |part: &[u8; 16]| self.avx2._mm256_shuffle_epi8(pulp::cast([*part; 2]), codes);
        let (mut of_low, mut of_high) = (look_up(&low[0]), look_up(&high[0]));
        for part in 1..if LONG { 4 } else { 2 } {
            let beyond = self.avx2._mm256_cmpgt_epi8(codes, self.avx._mm256_set1_epi8(16 * part as i8 - 1));
            of_low = self.avx2._mm256_blendv_epi8(of_low, look_up(&low[part]), beyond);
            of_high = self.avx2._mm256_blendv_epi8(of_high, look_up(&high[part]), beyond);
        }
        [self.avx2._mm256_unpacklo_epi8(of_low, of_high), self.avx2._mm256_unpackhi_epi8(of_low, of_high)]
    }

    #[inline(always)]
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words {
        [self.avx2._mm256_add_epi16(a[0], b[0]), self.avx2._mm256_add_epi16(a[1], b[1])]
    }

    #[inline(always)]
    fn lanes(self, words: Self::Words) -> [i16; LANES] {
        pulp::cast(words)
    }
}

impl Isa for Portable {
    type Words = [i16; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Words {
        [0; LANES]
    }

    #[inline(always)]
    fn load(self, codes: &[u16; LANES]) -> Self::Words {
        codes.map(u16::cast_signed)
    }

    #[inline(always)]
    fn divide(self, codes: Self::Words, stride: &Stride) -> (Self::Words, Self::Words) {
        let quotients = codes.map(|code| code.cast_unsigned() / stride.stride);
        let remainder = |i: usize| codes[i].wrapping_sub((quotients[i] * stride.stride).cast_signed());
        (quotients.map(u16::cast_signed), std::array::from_fn(remainder))
    }

    #[inline(always)]
    fn look_up<const LONG: bool>(self, table: &Table, codes: Self::Words) -> Self::Words {
        codes.map(|code| table.words[usize::from(code.cast_unsigned()).min(VALUES)])
    }

    #[inline(always)]
    fn add(self, a: Self::Words, b: Self::Words) -> Self::Words {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn lanes(self, words: Self::Words) -> [i16; LANES] {
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Columns by themselves.
    fn alone<'v>(values: &[&'v [f32]]) -> Lookups {
        let joint = |values: &&'v [f32]| (&[1 << 16][..], vec![*values]);
        Lookups::new(&values.iter().map(joint).collect::<Vec<_>>())
    }

    /// What each way of looking up adds to scores of 0.5.
    fn all(lookups: &Lookups, columns: &[&[u16]]) -> Vec<Vec<f32>> {
        let rows = columns[0].len();
        let scores = |add: &dyn Fn(&mut [f32])| {
            let mut scores = vec![0.5; rows];
            add(&mut scores);
            scores
        };
        let mut all = vec![
            scores(&|scores| lookups.add_scores(scores, columns)),
            scores(&|scores| add_scores(Portable, lookups, scores, columns)),
            // Row by row.
            scores(&|scores| {
                for (row, score) in scores.iter_mut().enumerate() {
                    let own: Vec<&[u16]> = columns.iter().map(|codes| &codes[row..=row]).collect();
                    lookups.add_scores(std::slice::from_mut(score), &own);
                }
            }),
        ];
        #[cfg(target_arch = "x86_64")]
        {
            let v3 = V3::try_new();
            all.extend(v3.map(|isa| scores(&|scores| isa.vectorize(|| add_scores(isa, lookups, scores, columns)))));
            let v4 = V4::try_new();
            all.extend(v4.map(|isa| scores(&|scores| isa.vectorize(|| add_scores(isa, lookups, scores, columns)))));
        }
        all
    }

    /// At the extremes as well, and of codes beyond any table.
    #[test]
    fn sums_do_not_overflow() {
        let codes: Vec<u16> = (0..300).chain([32766, 32767, 32768, 65280, 65535]).collect();
        let codes = [&codes[..]; LOOKED_UP];
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 48, 49, VALUES] {
            for value in [1.0, -1.0, 0.1, -1e30] {
                let values = vec![value; length];
                let all = all(&alone(&[&values[..]; LOOKED_UP]), &codes);
                assert!(all.iter().all(|scores| *scores == all[0]), "{length} {value}");
                for (code, score) in codes[0].iter().zip(&all[0]) {
                    let expected = if usize::from(*code) < length { 0.5 + 3.0 * value } else { 0.5 };
                    assert!((score - expected).abs() <= 1e-3 * expected.abs(), "{length} {value} {code}: {score}");
                }
            }
        }
        // Nine columns at an extreme.
        for value in [1.0, -1.0, -1e30] {
            let (values, codes) = ([value; 17], [5 * 320 + 7 * 17 + 9u16; 33]);
            let joint = (&[17usize; JOINED][..], vec![&values[..]; JOINED]);
            for scores in all(&Lookups::new(&vec![joint; LOOKED_UP]), &[&codes[..]; LOOKED_UP]) {
                assert!(
                    scores.iter().all(|score| (score - 9.0 * value).abs() <= 0.5 + 1e-3 * value.abs()),
                    "{scores:?}"
                );
            }
        }
    }

    /// On every processor, whatever the stride.
    #[test]
    fn joint_codes_are_divided() {
        let codes: [[u16; LANES]; PLACES / LANES] =
            std::array::from_fn(|i| std::array::from_fn(|j| (i * LANES + j) as u16));
        fn check<I: Isa>(isa: I, codes: &[u16; LANES], stride: &Stride) {
            let (quotients, remainders) = isa.divide(isa.load(codes), stride);
            for (i, code) in codes.iter().enumerate() {
                let found = [isa.lanes(quotients)[i], isa.lanes(remainders)[i]].map(i16::cast_unsigned);
                assert_eq!(found, [code / stride.stride, code % stride.stride], "{code} by {}", stride.stride);
            }
        }
        for stride in (2..70).chain((96..PLACES).step_by(LANES)).chain([127, 128, 129, 3200, 4095, 4097]) {
            let none = Table { words: [0; ENTRIES], low: [0; ENTRIES], high: [0; ENTRIES] };
            let stride = Stride::new(stride, none);
            for codes in &codes {
                check(Portable, codes, &stride);
                #[cfg(target_arch = "x86_64")]
                {
                    if let Some(isa) = V3::try_new() {
                        check(isa, codes, &stride);
                    }
                    if let Some(isa) = V4::try_new() {
                        check(isa, codes, &stride);
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_no_numbers_or_next_to_none_are_harmless() {
        let codes = [0u16, 1, 65535];
        for value in [f32::NAN, f32::INFINITY, -f32::MAX, 1e-44, 0.0] {
            for scores in all(&alone(&[&[value, 1.0][..]; LOOKED_UP]), &[&codes[..]; LOOKED_UP]) {
                assert!(scores.iter().all(|score| score.is_finite()) && scores[2] == 0.5, "{value}: {scores:?}");
            }
        }
    }

    proptest! {
        /// To the last bit, near what they should be, and of a row alone.
        #[test]
        fn scores_are_the_same_on_every_processor(
            joints in proptest::collection::vec(
                proptest::collection::vec((2usize..=18, proptest::collection::vec(-2f32..2.0, 0..VALUES)), 1..=JOINED),
                1..=LOOKED_UP,
            ),
            rows in proptest::collection::vec([0u16..18, 0u16..3, 0u16..18, 0u16..9], 0..100),
        ) {
            let slots: Vec<Vec<usize>> = joints.iter().map(|all| all.iter().map(|(slots, _)| *slots).collect()).collect();
            // Of the column of a joint one, a row's code.
            let code = |row: &[u16; 4], joint: usize, i: usize| row[(joint + i) % 4].min(slots[joint][i] as u16 - 1);
            let joint_code = |row: &[u16; 4], joint: usize| {
                let strides = strides(&slots[joint]).into_iter().chain([1]);
                strides.enumerate().map(|(i, stride)| code(row, joint, i) * stride as u16).sum::<u16>()
            };
            let codes: Vec<Vec<u16>> =
                (0..joints.len()).map(|joint| rows.iter().map(|row| joint_code(row, joint)).collect()).collect();
            let values = joints.iter().zip(&slots);
            let values = values.map(|(all, slots)| (&slots[..], all.iter().map(|(_, values)| &values[..]).collect()));
            let lookups = Lookups::new(&values.collect::<Vec<_>>());
            let all = all(&lookups, &codes.iter().map(|codes| &codes[..]).collect::<Vec<_>>());
            prop_assert!(all.iter().all(|scores| *scores == all[0]));
            for (row, score) in rows.iter().zip(&all[0]) {
                let mut expected = 0.5;
                for (joint, all) in joints.iter().enumerate() {
                    for (i, (_, values)) in all.iter().enumerate() {
                        expected += values.get(usize::from(code(row, joint, i))).copied().unwrap_or(0.0);
                    }
                }
                // Nine values, each wrong by half of 18/32760.
                prop_assert!((score - expected).abs() < 3e-3, "{} {}", score, expected);
            }
        }
    }
}
