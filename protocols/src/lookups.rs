//! Sums of values that are looked up in small tables, for what the processor has: what scoring with an additive model
//! spends its time with.
//!
//! A table of at most 64 values stays in registers, where processors look up many codes at once. Values are whole numbers
//! of a scale that some columns share, so that sums are exact and the same on every processor. The loop is written once
//! over [`Isa`]; AVX-512 or AVX2 is taken at run time where the processor has it.

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// How many columns are looked up together.
pub(crate) const LOOKED_UP: usize = 8;
/// Most values of a table; what is behind them is 0.
pub(crate) const VALUES: usize = ENTRIES - 1;
const ENTRIES: usize = 64;
/// The largest sum of the columns' values before they are rounded, each by at most a half: sums have 16 bits.
const MOST: f32 = 32760.0;
/// Rows that are worked on at once.
const LANES: usize = 32;

/// What some columns of codes add to a score: the value of each one's code.
///
/// What is added to a row's score depends on that row alone, to the last bit.
pub(crate) struct Lookups {
    tables: Vec<Table>,
    /// What a unit of the values is worth.
    scale: f32,
    /// Whether codes of more than five bits have values.
    long: bool,
}

/// The values of a column, as words and as the bytes of these.
struct Table {
    words: [i16; ENTRIES],
    low: [u8; ENTRIES],
    high: [u8; ENTRIES],
}

impl Lookups {
    /// Of at most [`LOOKED_UP`] columns with at most [`VALUES`] values each, which are rounded to 1/32760 of the largest sum
    /// that they can make. A code without a value adds nothing.
    pub(crate) fn new(values: &[&[f32]]) -> Self {
        // Of models that are far from any use, something finite.
        let finite = |value: f32| if value.is_nan() { 0.0 } else { value.clamp(-1e30, 1e30) };
        let values = &values[..values.len().min(LOOKED_UP)];
        let largest = |values: &&[f32]| values.iter().fold(0.0f32, |most, value| most.max(finite(*value).abs()));
        let scale = (values.iter().map(largest).sum::<f32>() / MOST).max(f32::MIN_POSITIVE);
        let table = |values: &&[f32]| {
            let mut words = [0i16; ENTRIES];
            for (word, value) in words[..VALUES].iter_mut().zip(*values) {
                *word = (finite(*value) / scale).round() as i16;
            }
            Table { words, low: words.map(|word| word.to_le_bytes()[0]), high: words.map(|word| word.to_le_bytes()[1]) }
        };
        let long = values.iter().any(|values| values.len() >= ENTRIES / 2);
        Self { tables: values.iter().map(table).collect(), scale, long }
    }

    /// Adds to the score of each row what the columns add, one slice a column.
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
    let Lookups { tables, scale, .. } = lookups;
    let columns = &columns[..columns.len().min(tables.len())];
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
        for (table, chunks) in tables.iter().zip(&chunks[..columns.len()]) {
            sums = isa.add(sums, isa.look_up::<LONG>(table, &chunks[i]));
        }
        for (score, sum) in scores.iter_mut().zip(isa.lanes(sums)) {
            *score += scale * f32::from(sum);
        }
    }
    let start = rows - rest.len();
    for (i, score) in rest.iter_mut().enumerate() {
        let mut sum = 0;
        for (table, codes) in tables.iter().zip(columns) {
            sum += table.words[usize::from(codes[start + i]).min(VALUES)];
        }
        *score += scale * f32::from(sum);
    }
}

/// What the loop needs of a processor, on [`LANES`] numbers at once.
trait Isa: Copy {
    /// As many numbers of 16 bits.
    type Words: Copy;

    fn zero(self) -> Self::Words;
    /// Each code's value. Unless `LONG`, only the first half of the table's entries are not 0.
    fn look_up<const LONG: bool>(self, table: &Table, codes: &[u16; LANES]) -> Self::Words;
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
    fn look_up<const LONG: bool>(self, table: &Table, codes: &[u16; LANES]) -> Self::Words {
        let last = if LONG { VALUES } else { ENTRIES / 2 - 1 };
        let codes = self.avx512bw._mm512_min_epu16(pulp::cast(*codes), pulp::cast([last as u16; LANES]));
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
    fn look_up<const LONG: bool>(self, table: &Table, codes: &[u16; LANES]) -> Self::Words {
        let [mut first, mut second]: Self::Words = pulp::cast(*codes);
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

/// What any processor can do.
#[derive(Clone, Copy)]
struct Portable;

impl Isa for Portable {
    type Words = [i16; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Words {
        [0; LANES]
    }

    #[inline(always)]
    fn look_up<const LONG: bool>(self, table: &Table, codes: &[u16; LANES]) -> Self::Words {
        codes.map(|code| table.words[usize::from(code).min(VALUES)])
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
                let lookups = Lookups::new(&[&values[..]; LOOKED_UP]);
                let all = all(&lookups, &codes);
                assert!(all.iter().all(|scores| *scores == all[0]), "{length} {value}");
                for (code, score) in codes[0].iter().zip(&all[0]) {
                    let expected = if usize::from(*code) < length { 0.5 + 8.0 * value } else { 0.5 };
                    assert!((score - expected).abs() <= 1e-3 * expected.abs(), "{length} {value} {code}: {score}");
                }
            }
        }
    }

    #[test]
    fn values_that_are_no_numbers_or_next_to_none_are_harmless() {
        let codes = [0u16, 1, 65535];
        for value in [f32::NAN, f32::INFINITY, -f32::MAX, 1e-44, 0.0] {
            for scores in all(&Lookups::new(&[&[value, 1.0][..]; LOOKED_UP]), &[&codes[..]; LOOKED_UP]) {
                assert!(scores.iter().all(|score| score.is_finite()) && scores[2] == 0.5, "{value}: {scores:?}");
            }
        }
    }

    proptest! {
        /// To the last bit, near what they should be, and of a row alone.
        #[test]
        fn scores_are_the_same_on_every_processor(
            values in proptest::collection::vec(proptest::collection::vec(-2f32..2.0, 0..VALUES), 1..=LOOKED_UP),
            rows in proptest::collection::vec([0u16..70, 0u16..33, 0u16..1000, 0u16..20], 0..100),
        ) {
            let four: [Vec<u16>; 4] = std::array::from_fn(|i| rows.iter().map(|row| row[i]).collect());
            let columns: Vec<&[u16]> = (0..values.len()).map(|i| &four[i % 4][..]).collect();
            let values: Vec<&[f32]> = values.iter().map(|values| &values[..]).collect();
            let all = all(&Lookups::new(&values), &columns);
            prop_assert!(all.iter().all(|scores| *scores == all[0]));
            for (row, score) in rows.iter().zip(&all[0]) {
                let value = |(i, values): (usize, &&[f32])| values.get(usize::from(row[i % 4])).copied().unwrap_or(0.0);
                let expected = 0.5 + values.iter().enumerate().map(value).sum::<f32>();
                // Eight values, each wrong by half of 16/32760.
                prop_assert!((score - expected).abs() < 3e-3, "{} {}", score, expected);
            }
        }
    }
}
