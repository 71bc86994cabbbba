//! Invented values of declared columns.

use std::f64::consts::TAU;

use arrow_array::{BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array};
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::{ColumnType, Day};
use entente_tables::texts::Texts;
use entente_tables::vector::Vector;

/// One value of so many is missing.
const MISSING: u64 = 20;
/// Within what invented numbers lie where nothing is declared.
const LOWEST: i64 = -100;
const HIGHEST: i64 = 100;

/// Draws of a generator (SplitMix64) that need be neither secret nor unpredictable.
pub(super) struct Draws(u64);

impl Draws {
    /// Those of a seed.
    pub(super) fn of(seed: &[u8]) -> Self {
        let Digest(bytes) = Digest::of("entente rehearsal 1", &[seed]);
        Self(bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed, by Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos()
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.wrapping_add_unsigned(self.next() % span.max(1))
    }

    /// A value of each row, now and then missing.
    fn each<T>(&mut self, rows: usize, mut value: impl FnMut(&mut Self) -> T) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| {
                let drawn = value(self);
                (!self.next().is_multiple_of(MISSING)).then_some(drawn)
            })
            .collect()
    }

    /// So many values of a column.
    pub(super) fn column(&mut self, column: &ColumnType, texts: &mut Texts, rows: usize) -> Vector {
        match column {
            ColumnType::Category { values } => {
                let codes: Vec<i32> = values.iter().map(|value| texts.code(value)).collect();
                let last = i64::try_from(codes.len()).unwrap_or(i64::MAX) - 1;
                let code = |draws: &mut Self| codes.get(draws.between(0, last.max(0)) as usize).copied();
                Vector::Text(self.each(rows, code).into_iter().map(Option::flatten).collect::<Int32Array>())
            }
            ColumnType::Int { min, max } => {
                let (low, high) = ends(*min, *max, (LOWEST, HIGHEST));
                Vector::Int(Int64Array::from(self.each(rows, |draws| draws.between(low, high))))
            }
            ColumnType::Float { min, max } => {
                let low = min.unwrap_or_else(|| max.unwrap_or(HIGHEST as f64) - (HIGHEST - LOWEST) as f64);
                let high = max.unwrap_or_else(|| low + (HIGHEST - LOWEST) as f64);
                let value = |draws: &mut Self| (low + draws.unit() * (high - low)).clamp(low, high) + 0.0;
                Vector::Float(Float64Array::from(self.each(rows, value)))
            }
            ColumnType::Date { min, max } => {
                let days = |day: &Option<Day>| day.map(|Day(day)| i64::from(day));
                let (low, high) = ends(days(min), days(max), (0, 20_000));
                let day = |draws: &mut Self| i32::try_from(draws.between(low, high)).unwrap_or_default();
                Vector::Date(Date32Array::from(self.each(rows, day)))
            }
            ColumnType::Bool => Vector::Bool(BooleanArray::from(self.each(rows, |draws| draws.next() % 2 == 1))),
        }
    }
}

/// The ends of a range of which one or both may not be declared.
fn ends(min: Option<i64>, max: Option<i64>, (lowest, highest): (i64, i64)) -> (i64, i64) {
    let span = highest - lowest;
    let low = min.unwrap_or_else(|| max.map_or(lowest, |max| max.saturating_sub(span)));
    (low, max.unwrap_or_else(|| if min.is_some() { low.saturating_add(span) } else { highest }))
}
