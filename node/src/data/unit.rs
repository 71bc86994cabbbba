//! Who a row belongs to: the privacy unit as one or two words.
//!
//! A whole number stands for itself, and so does a text that is the only way to write one, so that `7` in a Parquet
//! file and `7` in a CSV file are the same customer. Any other text is 128 bits of a keyed hash.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use entente_protocols::digest::Digest;
use entente_tables::read::ints;
use entente_tables::texts::{canonical_int, is_text, texts_of};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use zeroize::ZeroizeOnDrop;

/// The cell of a row that is to be left out.
pub(crate) const NO_CELL: u32 = u32::MAX;

/// A node's secret for telling customers apart: it hashes their names and decides which of a customer's groups are
/// kept and who is held out of training. Who does not have it cannot choose names that collide or that are kept.
#[derive(Clone, ZeroizeOnDrop)]
pub struct UnitKey([u8; 32]);

impl UnitKey {
    /// A key of 32 random bytes; the same for the life of a node, so that the same question has the same answer.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn names(&self) -> &[u8; 16] {
        self.0.first_chunk().expect("16 of 32 bytes")
    }

    pub(super) fn order(&self) -> [u8; 16] {
        *self.0.last_chunk().expect("16 of 32 bytes")
    }

    /// The number of each row's customer, by the privacy unit as stored; none where there is none.
    pub fn units(&self, raw: &ArrayRef) -> Vec<Option<u128>> {
        fn of<const W: usize, U: Units<W>>(raw: &ArrayRef, key: &UnitKey) -> Vec<Option<u128>> {
            let mut cells = vec![0; raw.len()];
            let words = U::words(raw, key, &mut cells);
            words.iter().zip(cells).map(|(words, cell)| (cell != NO_CELL).then(|| number(words))).collect()
        }
        if is_text(raw.data_type()) { of::<2, Names>(raw, self) } else { of::<1, Numbers>(raw, self) }
    }

    /// Names and ranks of customers for one purpose, which say nothing about those for another.
    pub fn pseudonyms(&self, purpose: &str, scope: &str) -> Pseudonyms {
        let key = Digest::of("entente customers' pseudonyms 1", &[&self.0, purpose.as_bytes(), scope.as_bytes()]);
        Pseudonyms(SipHasher13::new_with_key(key.0.first_chunk().expect("16 of 32 bytes")))
    }

    /// The key that decides which customers are held out of training.
    pub(super) fn holdout(&self) -> [u8; 16] {
        *Digest::of("entente held-out customers 1", &[&self.0]).0.first_chunk().expect("16 of 32 bytes")
    }
}

/// What customers are called where their names must not be: whoever lacks the node's key learns nothing from it, not
/// even of customers with small numbers.
#[derive(Clone, Copy)]
pub struct Pseudonyms(SipHasher13);

impl Pseudonyms {
    /// 128 bits instead of a customer.
    pub fn name(&self, unit: u128) -> [u8; 16] {
        let mut hasher = self.0;
        hasher.write(&unit.to_le_bytes());
        hasher.finish128().as_bytes()
    }

    /// A customer's place among all, as good as random and always the same.
    pub fn rank(&self, unit: u128) -> u128 {
        u128::from_le_bytes(self.name(unit))
    }
}

/// A unit's words as one number, as [`Sink`](super::bounding::Sink)s are given it.
pub(super) fn number<const W: usize>(words: &[i64; W]) -> u128 {
    words.iter().rev().fold(0, |unit, &word| unit << 64 | u128::from(word as u64))
}

/// How many words a unit takes, and how they are found.
pub(super) trait Units<const W: usize> {
    /// The words of each row's unit. Rows without one get no cell.
    fn words(raw: &ArrayRef, key: &UnitKey, cells: &mut [u32]) -> Vec<[i64; W]>;
}

/// Units stored as whole numbers.
pub(super) struct Numbers;

/// Units stored as text.
pub(super) struct Names;

impl Units<1> for Numbers {
    fn words(raw: &ArrayRef, _key: &UnitKey, cells: &mut [u32]) -> Vec<[i64; 1]> {
        if let Some(nulls) = raw.nulls() {
            cells.iter_mut().zip(nulls).filter(|(_, valid)| !valid).for_each(|(cell, _)| *cell = NO_CELL);
        }
        match raw.data_type() {
            // Not clipped to i64, which would make one customer of many.
            DataType::UInt64 => raw.as_primitive::<UInt64Type>().values().iter().map(|&unit| [unit as i64]).collect(),
            _ => ints(raw).values().iter().map(|&unit| [unit]).collect(),
        }
    }
}

impl Units<2> for Names {
    fn words(raw: &ArrayRef, key: &UnitKey, cells: &mut [u32]) -> Vec<[i64; 2]> {
        let hasher = SipHasher13::new_with_key(key.names());
        let words = |text: &str| match canonical_int(text.as_bytes()) {
            Some(number) => [number, 0],
            None => {
                let mut hasher = hasher;
                hasher.write(text.as_bytes());
                let hash = hasher.finish128();
                // The sign keeps hashes and numbers apart.
                [hash.h1 as i64, hash.h2 as i64 | i64::MIN]
            }
        };
        texts_of(raw, |texts| {
            let rows = texts.zip(cells.iter_mut());
            rows.map(|(text, cell)| match text {
                // An empty field is NULL.
                None | Some("") => {
                    *cell = NO_CELL;
                    [0, 0]
                }
                Some(text) => words(text),
            })
            .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn numbers_are_the_same_customer_in_every_form() {
        let key = UnitKey::new([7; 32]);
        let mut cells = [0; 5];
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("7"), Some("-1"), None, Some(""), Some("007")]));
        let names = Names::words(&text, &key, &mut cells);
        assert_eq!(cells, [0, 0, NO_CELL, NO_CELL, 0]);
        let mut cells = [0; 3];
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), Some(-1), None]));
        let numbers = Numbers::words(&ints, &key, &mut cells);
        assert_eq!(cells, [0, 0, NO_CELL]);
        assert_eq!((names[0], names[1]), ([numbers[0][0], 0], [numbers[1][0], 0]));
        assert!(names[4][1] < 0);
        assert_ne!(names[4], Names::words(&text, &UnitKey::new([8; 32]), &mut [0; 5])[4]);
        let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1]));
        let large = Numbers::words(&large, &key, &mut [0; 2]);
        assert_ne!(large[0], large[1]);
        let (text, ints) = (key.units(&text), key.units(&ints));
        assert_eq!((text[..2].to_vec(), text[2], text[3]), (ints[..2].to_vec(), None, None));
    }

    #[test]
    fn pseudonyms_are_of_their_key_purpose_scope_and_customer() {
        let name = |key, purpose, scope, unit| UnitKey::new([key; 32]).pseudonyms(purpose, scope).name(unit);
        let one = name(1, "a", "b", 7);
        assert_eq!(one, name(1, "a", "b", 7));
        for other in [name(2, "a", "b", 7), name(1, "b", "b", 7), name(1, "a", "a", 7), name(1, "a", "b", 8)] {
            assert_ne!(one, other);
        }
    }
}
