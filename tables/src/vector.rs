//! The values of one type on the rows of a batch: what columns are read to, and what expressions give.

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrowPrimitiveType, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, PrimitiveArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::take::take;
use entente_protocols::language::expr::ValueType;

/// One value or NULL for each row, all of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// Whole numbers.
    Int(Int64Array),
    /// Numbers. Never NaN, and never -0, which Arrow tells apart from 0.
    Float(Float64Array),
    /// True or false.
    Bool(BooleanArray),
    /// Texts, by their numbers in [`Texts`](crate::texts::Texts).
    Text(Int32Array),
    /// Days since 1970-01-01.
    Date(Date32Array),
}

impl Vector {
    /// The type of the values.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Bool(_) => ValueType::Bool,
            Self::Text(_) => ValueType::Text,
            Self::Date(_) => ValueType::Date,
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.array().len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which rows have a value; all where this is `None`.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.array().nulls()
    }

    /// How many rows are NULL.
    pub fn null_count(&self) -> usize {
        self.array().null_count()
    }

    /// Where a condition is true; NULL counts as false, and so does what is not a condition.
    pub fn holds(&self) -> BooleanBuffer {
        match self {
            Self::Bool(values) => match values.nulls() {
                Some(nulls) => values.values() & nulls.inner(),
                None => values.values().clone(),
            },
            Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Date(_) => BooleanBuffer::new_unset(self.len()),
        }
    }

    /// The values at `keys`, an array of whole numbers; NULL where the key is.
    pub(crate) fn take(&self, keys: &dyn Array) -> Self {
        fn primitive<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, keys: &dyn Array) -> PrimitiveArray<T> {
            match take(values, keys, None) {
                Ok(taken) => taken.as_primitive().clone(),
                Err(_) => PrimitiveArray::new_null(keys.len()),
            }
        }
        match self {
            Self::Int(values) => Self::Int(primitive(values, keys)),
            Self::Float(values) => Self::Float(primitive(values, keys)),
            Self::Text(values) => Self::Text(primitive(values, keys)),
            Self::Date(values) => Self::Date(primitive(values, keys)),
            Self::Bool(values) => Self::Bool(match take(values, keys, None) {
                Ok(taken) => taken.as_boolean().clone(),
                Err(_) => BooleanArray::new_null(keys.len()),
            }),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Int(values) => values,
            Self::Float(values) => values,
            Self::Bool(values) => values,
            Self::Text(values) => values,
            Self::Date(values) => values,
        }
    }
}

/// NaN as NULL and -0 as 0.
pub fn tidy(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value + 0.0)
}
