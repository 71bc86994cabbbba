//! What kernels compute with: a value for each row of a batch, or one that stands for all of them.

use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use entente_protocols::language::expr::ValueType;

use crate::truth::{Truth, select};
use crate::vector::Vector;

/// The values of a kernel's argument or result.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Int(Lane<Int64Type>),
    Float(Lane<Float64Type>),
    Bool(Truth),
    Text(Lane<Int32Type>),
    Date(Lane<Date32Type>),
}

/// Values of one Arrow type.
///
/// Which rows have one is always written out: if it were left away where all do, one NULL would decide how much every later
/// kernel computes.
#[derive(Debug)]
pub(super) enum Lane<T: ArrowPrimitiveType> {
    Rows { values: ScalarBuffer<T::Native>, known: BooleanBuffer },
    Constant(Option<T::Native>),
}

// By hand, since Arrow's types themselves have no `Clone`.
impl<T: ArrowPrimitiveType> Clone for Lane<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Rows { values, known } => Self::Rows { values: values.clone(), known: known.clone() },
            Self::Constant(value) => Self::Constant(*value),
        }
    }
}

/// Compiling has checked the types of all operands before a kernel is chosen.
const CHECKED: &str = "a kernel computes with the types of its row in the table";

impl Operand {
    pub(super) fn int(&self) -> &Lane<Int64Type> {
        let Self::Int(lane) = self else { unreachable!("{CHECKED}") };
        lane
    }

    pub(super) fn float(&self) -> &Lane<Float64Type> {
        let Self::Float(lane) = self else { unreachable!("{CHECKED}") };
        lane
    }

    pub(super) fn bool(&self) -> &Truth {
        let Self::Bool(truth) = self else { unreachable!("{CHECKED}") };
        truth
    }

    pub(super) fn text(&self) -> &Lane<Int32Type> {
        let Self::Text(lane) = self else { unreachable!("{CHECKED}") };
        lane
    }

    pub(super) fn date(&self) -> &Lane<Date32Type> {
        let Self::Date(lane) = self else { unreachable!("{CHECKED}") };
        lane
    }

    /// NULL on every row.
    pub(super) fn null(value_type: ValueType, rows: usize) -> Self {
        match value_type {
            ValueType::Int => Self::Int(Lane::Constant(None)),
            ValueType::Float => Self::Float(Lane::Constant(None)),
            ValueType::Bool => Self::Bool(Truth::constant(None, rows)),
            ValueType::Text => Self::Text(Lane::Constant(None)),
            ValueType::Date => Self::Date(Lane::Constant(None)),
        }
    }

    /// Which rows have a value.
    pub(super) fn known(&self, rows: usize) -> BooleanBuffer {
        match self {
            Self::Int(lane) => lane.known(rows),
            Self::Float(lane) => lane.known(rows),
            Self::Bool(truth) => truth.known(),
            Self::Text(lane) => lane.known(rows),
            Self::Date(lane) => lane.known(rows),
        }
    }

    /// The number of values that a kernel looks at.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int(lane) => lane.len(),
            Self::Float(lane) => lane.len(),
            Self::Bool(truth) => truth.len(),
            Self::Text(lane) => lane.len(),
            Self::Date(lane) => lane.len(),
        }
    }

    /// A value for each row.
    pub(super) fn vector(&self, rows: usize) -> Vector {
        match self {
            Self::Int(lane) => Vector::Int(lane.array(rows)),
            Self::Float(lane) => Vector::Float(lane.array(rows)),
            Self::Bool(truth) => Vector::Bool(BooleanArray::from(truth)),
            Self::Text(lane) => Vector::Text(lane.array(rows)),
            Self::Date(lane) => Vector::Date(lane.array(rows)),
        }
    }
}

impl From<&Vector> for Operand {
    fn from(vector: &Vector) -> Self {
        match vector {
            Vector::Int(values) => Self::Int(Lane::from(values)),
            Vector::Float(values) => Self::Float(Lane::from(values)),
            Vector::Bool(values) => {
                let bits = BooleanBuffer::new(values.values().sliced(), 0, values.len());
                Self::Bool(Truth::new(&bits, &known_of(values.nulls(), values.len())))
            }
            Vector::Text(values) => Self::Text(Lane::from(values)),
            Vector::Date(values) => Self::Date(Lane::from(values)),
        }
    }
}

impl<T: ArrowPrimitiveType> From<&PrimitiveArray<T>> for Lane<T> {
    fn from(array: &PrimitiveArray<T>) -> Self {
        Self::Rows { values: array.values().clone(), known: known_of(array.nulls(), array.len()) }
    }
}

/// Which of the rows have a value: in bits that begin with a word, whatever they are cut from.
fn known_of(nulls: Option<&NullBuffer>, rows: usize) -> BooleanBuffer {
    match nulls {
        Some(nulls) => BooleanBuffer::new(nulls.inner().sliced(), 0, rows),
        None => BooleanBuffer::new_set(rows),
    }
}

impl<T: ArrowPrimitiveType> Lane<T> {
    /// `f` of every value, those that stand where a row is NULL included.
    pub(super) fn map<O: ArrowPrimitiveType>(&self, f: impl Fn(T::Native) -> O::Native) -> Lane<O> {
        match self {
            Self::Rows { values, known } => {
                Lane::Rows { values: values.iter().map(|&value| f(value)).collect(), known: known.clone() }
            }
            Self::Constant(value) => Lane::Constant(value.map(f)),
        }
    }

    /// `f` of both sides on every row; NULL where either is.
    pub(super) fn zip<U: ArrowPrimitiveType, O: ArrowPrimitiveType>(
        &self,
        other: &Lane<U>,
        f: impl Fn(T::Native, U::Native) -> O::Native,
    ) -> Lane<O> {
        match (self, other) {
            (Self::Constant(None), _) | (_, Lane::Constant(None)) => Lane::Constant(None),
            (Self::Constant(Some(a)), Lane::Constant(Some(b))) => Lane::Constant(Some(f(*a, *b))),
            (Self::Rows { .. }, Lane::Constant(Some(b))) => self.map(|a| f(a, *b)),
            (Self::Constant(Some(a)), Lane::Rows { .. }) => other.map(|b| f(*a, b)),
            (Self::Rows { values: a, known: in_a }, Lane::Rows { values: b, known: in_b }) => {
                Lane::Rows { values: a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect(), known: in_a & in_b }
            }
        }
    }

    /// Whether `f` holds between both sides on every row; NULL where either is.
    pub(super) fn test(&self, other: &Self, rows: usize, f: impl Fn(T::Native, T::Native) -> bool) -> Truth {
        match (self, other) {
            (Self::Constant(None), _) | (_, Self::Constant(None)) => Truth::constant(None, rows),
            (Self::Constant(Some(a)), Self::Constant(Some(b))) => Truth::constant(Some(f(*a, *b)), rows),
            (Self::Rows { values, known }, Self::Constant(Some(b))) => {
                Truth::new(&packed(values, values, |a, _| f(a, *b)), known)
            }
            (Self::Constant(Some(a)), Self::Rows { values, known }) => {
                Truth::new(&packed(values, values, |_, b| f(*a, b)), known)
            }
            (Self::Rows { values: a, known: in_a }, Self::Rows { values: b, known: in_b }) => {
                Truth::new(&packed(a, b, f), &(in_a & in_b))
            }
        }
    }

    /// This one where `chosen` is set, `other` elsewhere.
    pub(super) fn select(&self, chosen: &BooleanBuffer, other: &Self) -> Self {
        let rows = chosen.len();
        let blanks = [self, other].map(Self::blank);
        let sides = self.words(&blanks[0]).zip(other.words(&blanks[1]));
        let mut values = Vec::with_capacity(rows);
        for (word, (a, b)) in words(chosen).zip(sides) {
            let either = |(bit, (&a, &b)): (usize, (&T::Native, &T::Native))| if word >> bit & 1 == 1 { a } else { b };
            let left = (rows - values.len()).min(WORD);
            values.extend(a[..left].iter().zip(&b[..left]).enumerate().map(either));
        }
        let known = select(chosen, &self.known(rows), &other.known(rows));
        Self::Rows { values: values.into(), known }
    }

    /// What stands for any word's values where all are the same.
    fn blank(&self) -> [T::Native; WORD] {
        match self {
            Self::Rows { .. } | Self::Constant(None) => [T::Native::default(); WORD],
            Self::Constant(Some(value)) => [*value; WORD],
        }
    }

    /// The values, a word of bits' at a time; a constant has no end.
    fn words<'v>(&'v self, blank: &'v [T::Native; WORD]) -> Box<dyn Iterator<Item = &'v [T::Native]> + 'v> {
        match self {
            Self::Rows { values, .. } => Box::new(values.chunks(WORD)),
            Self::Constant(_) => Box::new(std::iter::repeat(blank.as_slice())),
        }
    }

    fn known(&self, rows: usize) -> BooleanBuffer {
        match self {
            Self::Rows { known, .. } => known.clone(),
            Self::Constant(Some(_)) => BooleanBuffer::new_set(rows),
            Self::Constant(None) => BooleanBuffer::new_unset(rows),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Rows { values, .. } => values.len(),
            Self::Constant(_) => 1,
        }
    }

    fn array(&self, rows: usize) -> PrimitiveArray<T> {
        match self {
            Self::Rows { values, known } => PrimitiveArray::new(values.clone(), Some(NullBuffer::new(known.clone()))),
            Self::Constant(Some(value)) => PrimitiveArray::new(ScalarBuffer::from(vec![*value; rows]), None),
            Self::Constant(None) => PrimitiveArray::new_null(rows),
        }
    }
}

impl Lane<Float64Type> {
    /// NaN as NULL and -0 as 0.
    pub(super) fn tidied(self) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.and_then(crate::vector::tidy)),
            Self::Rows { values, known } => {
                let numbers = packed(&values, &values, |value, _| !value.is_nan());
                Self::Rows { values: values.iter().map(|value| value + 0.0).collect(), known: &known & &numbers }
            }
        }
    }
}

/// Rows of one word of bits.
const WORD: usize = 64;

/// One bit for each pair of values: a word at a time, without a check of any bound.
fn packed<T: Copy + Default, U: Copy + Default>(a: &[T], b: &[U], f: impl Fn(T, U) -> bool) -> BooleanBuffer {
    let word = |a: &[T; WORD], b: &[U; WORD]| {
        let mut word = 0u64;
        for bit in 0..WORD {
            word |= u64::from(f(a[bit], b[bit])) << bit;
        }
        word.to_le()
    };
    let ((a_full, a_rest), (b_full, b_rest)) = (a.as_chunks(), b.as_chunks());
    let mut words = Vec::with_capacity(a_full.len() + 1);
    words.extend(a_full.iter().zip(b_full).map(|(a, b)| word(a, b)));
    if !a_rest.is_empty() {
        let (mut last_a, mut last_b) = ([T::default(); WORD], [U::default(); WORD]);
        last_a[..a_rest.len()].copy_from_slice(a_rest);
        last_b[..b_rest.len()].copy_from_slice(b_rest);
        words.push(word(&last_a, &last_b));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, a.len())
}

/// Words of bits, the last one filled up.
fn words(bits: &BooleanBuffer) -> impl Iterator<Item = u64> {
    let chunks = bits.bit_chunks();
    let rest = (chunks.remainder_len() > 0).then(|| chunks.remainder_bits());
    chunks.iter().collect::<Vec<_>>().into_iter().chain(rest)
}

/// One flag for each bit.
pub(super) fn unpacked(bits: &BooleanBuffer) -> Vec<bool> {
    let mut flags = Vec::with_capacity(bits.len() + WORD);
    words(bits).for_each(|word| flags.extend((0..WORD).map(|bit| word >> bit & 1 == 1)));
    flags.truncate(bits.len());
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise one row's NULL would decide what all kernels behind it do.
    #[test]
    fn a_column_has_the_same_form_with_and_without_nulls() {
        let column = |null: Option<usize>| -> PrimitiveArray<Int64Type> {
            (0..300).map(|row| (null != Some(row)).then_some(row as i64)).collect()
        };
        let flags = |null: Option<usize>| -> BooleanArray {
            (0..300).map(|row| (null != Some(row)).then_some(row % 3 == 0)).collect()
        };
        let forms = |from: usize, null: Option<usize>| {
            let Lane::Rows { values, known } = Lane::from(&column(null).slice(from, 200)) else { panic!("a column") };
            let Operand::Bool(truth) = Operand::from(&Vector::Bool(flags(null).slice(from, 200))) else {
                panic!("a column")
            };
            let known_flags = truth.known();
            let form = |bits: &BooleanBuffer| (bits.offset(), bits.len(), bits.inner().len());
            assert_eq!(
                known.count_set_bits(),
                200 - null.map_or(0, |null| usize::from((from..from + 200).contains(&null)))
            );
            assert_eq!(known, known_flags);
            (values.len(), form(&known), form(truth.yes()), form(&known_flags))
        };
        for from in [0, 1, 8, 63, 64, 77] {
            for null in [0, 70, 150, 299] {
                assert_eq!(forms(from, None), forms(from, Some(null)), "rows from {from}, NULL in {null}");
            }
        }
    }

    #[test]
    fn bits_and_flags_are_the_same() {
        let flags: Vec<bool> = (0..200u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1).collect();
        for (start, end) in [(0, 0), (0, 1), (0, 8), (0, 64), (0, 65), (3, 200), (67, 131)] {
            let bits = packed(&flags[start..end], &flags[start..end], |flag, _| flag);
            assert_eq!(bits, BooleanBuffer::from(&flags[start..end]));
            assert_eq!(unpacked(&bits), flags[start..end]);
            assert_eq!(unpacked(&BooleanBuffer::from(flags.as_slice()).slice(start, end - start)), flags[start..end]);
        }
    }
}
