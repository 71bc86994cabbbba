//! Group keys' public domains: from the values of keys to the cell of each row.

use std::collections::HashMap;

use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::BooleanBuffer;
use entente_protocols::language::expr::Value;
use entente_tables::texts::Texts;
use entente_tables::vector::{Vector, tidy};

use crate::data::unit::NO_CELL;

/// The position of each value in a group key's public domain; [`NO_CELL`] for NULL and values outside.
#[derive(Debug)]
pub(crate) enum Domain {
    Bool([u32; 2]),
    /// Whole numbers, texts and days: position `lowest + i` at `i`.
    Dense {
        lowest: i64,
        positions: Vec<u32>,
    },
    Sparse(HashMap<i64, u32>),
    /// By the bits of the number.
    Float(HashMap<u64, u32>),
}

impl Domain {
    /// Prepares the lookup of a domain's values.
    pub(crate) fn new(values: &[Value], texts: &mut Texts) -> Self {
        let numbered = || values.iter().zip(0u32..);
        match values.first() {
            Some(Value::Bool(_)) => {
                let mut positions = [NO_CELL; 2];
                for (value, position) in numbered() {
                    if let Value::Bool(value) = value {
                        positions[usize::from(*value)] = position;
                    }
                }
                Self::Bool(positions)
            }
            Some(Value::Float(_)) => Self::Float(
                numbered()
                    .filter_map(|(value, position)| match value {
                        Value::Float(value) => Some((tidy(*value)?.to_bits(), position)),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => {
                let number = |value: &Value, texts: &mut Texts| match value {
                    Value::Int(value) => Some(*value),
                    Value::Text(value) => Some(i64::from(texts.code(value))),
                    Value::Date(day) => Some(i64::from(day.0)),
                    Value::Bool(_) | Value::Float(_) => None,
                };
                let pairs: Vec<(i64, u32)> =
                    numbered().filter_map(|(value, position)| Some((number(value, texts)?, position))).collect();
                let lowest = pairs.iter().map(|pair| pair.0).min().unwrap_or(0);
                let span = pairs.iter().map(|pair| pair.0.abs_diff(lowest)).max().unwrap_or(0);
                if span >= 4096 + 4 * pairs.len() as u64 {
                    return Self::Sparse(pairs.into_iter().collect());
                }
                let mut positions = vec![NO_CELL; span as usize + 1];
                for (value, position) in pairs {
                    positions[value.abs_diff(lowest) as usize] = position;
                }
                Self::Dense { lowest, positions }
            }
        }
    }

    /// Extends `cells` (the cells by the keys so far) by this key, whose domain has `count` values.
    pub(crate) fn extend(&self, cells: &mut [u32], count: u32, keys: &Vector) {
        let integer = |value: i64| match self {
            Self::Dense { lowest, positions } => {
                let at = usize::try_from(value.wrapping_sub(*lowest)).unwrap_or(usize::MAX);
                positions.get(at).copied().unwrap_or(NO_CELL)
            }
            Self::Sparse(positions) => positions.get(&value).copied().unwrap_or(NO_CELL),
            Self::Bool(_) | Self::Float(_) => NO_CELL,
        };
        match (keys, self) {
            (Vector::Int(keys), _) => extend(cells, count, keys, integer),
            (Vector::Text(keys), _) => extend(cells, count, keys, |key| integer(i64::from(key))),
            (Vector::Date(keys), _) => extend(cells, count, keys, |key| integer(i64::from(key))),
            (Vector::Float(keys), Self::Float(positions)) => {
                extend(cells, count, keys, |key| positions.get(&key.to_bits()).copied().unwrap_or(NO_CELL));
            }
            (Vector::Bool(keys), Self::Bool(positions)) => {
                for (cell, key) in cells.iter_mut().zip(keys) {
                    *cell = combine(*cell, count, key.map_or(NO_CELL, |key| positions[usize::from(key)]));
                }
            }
            // A domain of another type than its key: the planner makes none.
            (Vector::Float(_) | Vector::Bool(_), _) => cells.fill(NO_CELL),
        }
    }
}

fn combine(cell: u32, count: u32, position: u32) -> u32 {
    if cell == NO_CELL || position == NO_CELL { NO_CELL } else { cell * count + position }
}

fn extend<T: ArrowPrimitiveType>(
    cells: &mut [u32],
    count: u32,
    keys: &PrimitiveArray<T>,
    position: impl Fn(T::Native) -> u32,
) {
    for (cell, key) in cells.iter_mut().zip(keys.values()) {
        *cell = combine(*cell, count, position(*key));
    }
    if let Some(nulls) = keys.nulls() {
        leave_out(cells, nulls.inner());
    }
}

/// Gives rows that are not `kept` no cell.
pub(crate) fn leave_out(cells: &mut [u32], kept: &BooleanBuffer) {
    cells.iter_mut().zip(kept).filter(|(_, kept)| !kept).for_each(|(cell, _)| *cell = NO_CELL);
}

#[cfg(test)]
mod tests {
    use arrow_array::{BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array};
    use entente_protocols::language::schema::Day;

    use super::*;

    #[test]
    fn positions_in_public_domains() {
        let ints = Vector::Int(Int64Array::from(vec![Some(i64::MAX), Some(-7), None, Some(0)]));
        let floats = Vector::Float(Float64Array::from(vec![Some(1e308), Some(-0.5), None, Some(0.0)]));
        let bools = Vector::Bool(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]));
        let days = Vector::Date(Date32Array::from(vec![Some(19_782), Some(-1), None, Some(i32::MAX)]));
        let words = Vector::Text(Int32Array::from(vec![Some(0), Some(1), None, Some(0)]));
        let find = |values: &[Value], keys: &Vector| {
            let mut texts = Texts::default();
            assert_eq!(["a", "b"].map(|text| texts.code(text)), [0, 1]);
            let mut cells = vec![1, 1, 1, NO_CELL];
            Domain::new(values, &mut texts).extend(&mut cells, 10, keys);
            cells
        };
        let none = NO_CELL;
        assert_eq!(find(&[Value::Int(-7), Value::Int(0)], &ints), [none, 10, none, none]);
        assert_eq!(find(&[Value::Int(i64::MAX), Value::Int(i64::MIN), Value::Int(-7)], &ints), [10, 12, none, none]);
        assert_eq!(find(&[Value::Bool(false), Value::Bool(true)], &bools), [11, 10, none, none]);
        assert_eq!(find(&[Value::Float(-0.5), Value::Float(2.0)], &floats), [none, 10, none, none]);
        assert_eq!(find(&[Value::Text("b".into()), Value::Text("a".into())], &words), [11, 10, none, none]);
        assert_eq!(find(&[Value::Date(Day(-1))], &days), [none, 10, none, none]);
        assert_eq!(find(&[Value::Bool(true)], &floats), [none; 4], "another type than the key's");
    }
}
