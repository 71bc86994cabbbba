//! SQL's three-valued logic, 64 rows at a time.

use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

/// For each row whether something is true, is false or, where it is neither, NULL.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    yes: BooleanBuffer,
    no: BooleanBuffer,
}

impl Truth {
    /// True where `bits` is and false elsewhere, but NULL on rows that are not `known`.
    pub fn new(bits: &BooleanBuffer, known: &BooleanBuffer) -> Self {
        Self { yes: bits & known, no: &!bits & known }
    }

    /// True where `bits` is and false elsewhere.
    pub fn certain(bits: BooleanBuffer) -> Self {
        Self { no: !&bits, yes: bits }
    }

    /// The same on every row.
    pub fn constant(value: Option<bool>, rows: usize) -> Self {
        let filled = |set: bool| if set { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
        Self { yes: filled(value == Some(true)), no: filled(value == Some(false)) }
    }

    /// Where it is true.
    pub fn yes(&self) -> &BooleanBuffer {
        &self.yes
    }

    /// Where it is not NULL.
    pub fn known(&self) -> BooleanBuffer {
        &self.yes | &self.no
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.yes.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.yes.is_empty()
    }

    /// True where both are, false where either is.
    pub fn and(&self, other: &Self) -> Self {
        Self { yes: &self.yes & &other.yes, no: &self.no | &other.no }
    }

    /// True where either is, false where both are.
    pub fn or(&self, other: &Self) -> Self {
        Self { yes: &self.yes | &other.yes, no: &self.no & &other.no }
    }

    /// True where it is false, and the other way round.
    pub fn not(&self) -> Self {
        Self { yes: self.no.clone(), no: self.yes.clone() }
    }

    /// This one where `chosen` is set, `other` elsewhere.
    pub fn select(&self, chosen: &BooleanBuffer, other: &Self) -> Self {
        Self { yes: select(chosen, &self.yes, &other.yes), no: select(chosen, &self.no, &other.no) }
    }
}

/// The bits of `this` where `chosen` is set, those of `other` elsewhere.
pub(crate) fn select(chosen: &BooleanBuffer, this: &BooleanBuffer, other: &BooleanBuffer) -> BooleanBuffer {
    &(chosen & this) | &(&!chosen & other)
}

impl From<&BooleanArray> for Truth {
    fn from(values: &BooleanArray) -> Self {
        match values.nulls() {
            Some(nulls) => Self::new(values.values(), nulls.inner()),
            None => Self::certain(values.values().clone()),
        }
    }
}

impl From<&Truth> for BooleanArray {
    fn from(truth: &Truth) -> Self {
        Self::new(truth.yes.clone(), Some(NullBuffer::new(truth.known())))
    }
}

impl FromIterator<Option<bool>> for Truth {
    fn from_iter<I: IntoIterator<Item = Option<bool>>>(rows: I) -> Self {
        Self::from(&rows.into_iter().collect::<BooleanArray>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [Option<bool>; 3] = [Some(true), Some(false), None];

    fn read(truth: &Truth) -> Vec<Option<bool>> {
        BooleanArray::from(truth).iter().collect()
    }

    #[test]
    fn logic_is_kleenes() {
        for left in VALUES {
            for right in VALUES {
                // More rows than one word has bits.
                let [a, b] = [left, right].map(|value| std::iter::repeat_n(value, 70).collect::<Truth>());
                let and = match (left, right) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                let or = match (left, right) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                };
                assert_eq!(read(&a.and(&b)), [and; 70]);
                assert_eq!(read(&a.or(&b)), [or; 70]);
                assert_eq!(read(&a.not()), [left.map(|value| !value); 70]);
                assert_eq!(a, Truth::constant(left, 70));
                assert_eq!(read(&a.select(&BooleanBuffer::new_set(70), &b)), [left; 70]);
                assert_eq!(read(&a.select(&BooleanBuffer::new_unset(70), &b)), [right; 70]);
            }
        }
    }

    #[test]
    fn what_stands_where_a_value_is_null_does_not_matter() {
        let nulls = NullBuffer::from(vec![true, false, false]);
        let truth = Truth::from(&BooleanArray::new(BooleanBuffer::from(vec![true, true, false]), Some(nulls)));
        assert_eq!(read(&truth), [Some(true), None, None]);
        assert_eq!((truth.len(), truth.yes().count_set_bits()), (3, 1));
    }
}
