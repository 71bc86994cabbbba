//! Customers as rows of codes: what training sums over, one row a customer.
//!
//! A row has one code a column. A **number** is a step of its public range: code 0 is a missing value, codes 1 to 65535
//! stand for x = code − 32768, that is −[`UNIT`] to [`UNIT`], evenly from the lower bound to the upper one. A
//! **category** is a position in a public list, counted from 1; 0 is missing.
//!
//! **Design vector.** Linear models see a row as an integer vector: for a number its x (0 where missing) and an
//! indicator of missing values; for a category one indicator a value, the missing one first; at the end a constant.
//! Indicators and the constant are [`UNIT`] where they hold and 0 elsewhere.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::joint::{Joint, PLACES};

/// One, in the units of a design vector.
pub const UNIT: i32 = 32767;
/// x of a number is its code less this.
const ZERO: i32 = 32768;

/// What a column's codes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Column {
    /// A step of a public range.
    Number,
    /// A position in a list of `values` values.
    Category {
        /// How many values there are, the missing one not counted.
        values: u16,
    },
}

impl Column {
    /// How many entries of the design vector it takes.
    pub fn dims(self) -> usize {
        match self {
            Self::Number => 2,
            Self::Category { values } => usize::from(values) + 1,
        }
    }

    /// How many codes a row can have.
    pub(crate) fn slots(self) -> usize {
        match self {
            Self::Number => 1 << 16,
            Self::Category { values } => usize::from(values) + 1,
        }
    }
}

/// Codes of some customers with their number of cells.
#[derive(Clone, Copy)]
pub struct Codes<'a> {
    /// One code a customer; one that is not below `cells` is in no cell.
    pub codes: &'a [u16],
    /// The number of cells of this column.
    pub cells: usize,
}

/// Where each column's entries lie in the design vector; the constant lies behind the last.
pub fn places(columns: &[Column]) -> Vec<Range<usize>> {
    let mut end = 0;
    let place = |column: &Column| {
        let start = end;
        end += column.dims();
        start..end
    };
    columns.iter().map(place).collect()
}

/// The length of the design vector, its constant included.
pub fn dims(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.dims()).sum::<usize>() + 1
}

/// x of a number's code; 0 where it is missing.
pub fn number(code: u16) -> i32 {
    if code == 0 { 0 } else { i32::from(code) - ZERO }
}

/// Some customers, column by column.
pub struct Block {
    columns: Arc<[Column]>,
    codes: Vec<Vec<u16>>,
    /// Of each column, whether a row lacks it.
    gaps: Vec<bool>,
    /// Narrow columns as one: a third of the codes once more, made when a round first goes over them.
    joints: OnceLock<Vec<Joint>>,
    /// ⌈‖x‖⌉ of each row's design vector.
    norms: Vec<u32>,
}

impl Block {
    /// Rows from their codes, one vector a column. A code that its column does not have is a missing value.
    ///
    /// `None` if there are not as many vectors as columns, of one length, or more than 2^20 columns.
    pub fn new(columns: Arc<[Column]>, mut codes: Vec<Vec<u16>>) -> Option<Self> {
        let rows = codes.first().map_or(0, Vec::len);
        if codes.len() != columns.len() || columns.len() > 1 << 20 || codes.iter().any(|codes| codes.len() != rows) {
            return None;
        }
        let unit = i64::from(UNIT) * i64::from(UNIT);
        // The constant, and one indicator or number a column, each at most a unit: below 2^51.
        let constant = columns.iter().filter(|column| **column != Column::Number).count() as i64 + 1;
        let mut squares = vec![constant * unit; rows];
        for (column, codes) in columns.iter().zip(&mut codes) {
            match *column {
                Column::Number => {
                    for (square, &code) in squares.iter_mut().zip(&*codes) {
                        let x = i64::from(number(code));
                        *square += if code == 0 { unit } else { x * x };
                    }
                }
                Column::Category { values } => {
                    codes.iter_mut().filter(|code| **code > values).for_each(|code| *code = 0);
                }
            }
        }
        let norms = squares.into_iter().map(|square| {
            let root = square.unsigned_abs().isqrt();
            let root = root + u64::from(root * root < square.unsigned_abs());
            u32::try_from(root).unwrap_or(u32::MAX)
        });
        let norms = norms.collect();
        let gaps = codes.iter().map(|codes| codes.contains(&0)).collect();
        Some(Self { columns, codes, gaps, joints: OnceLock::new(), norms })
    }

    /// The number of customers.
    pub fn rows(&self) -> usize {
        self.norms.len()
    }

    /// What the columns mean.
    pub fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The codes of column number `column`.
    pub fn codes(&self, column: usize) -> &[u16] {
        &self.codes[column]
    }

    /// Whether a row lacks column number `column`: loops over the others need not look.
    pub fn has_gaps(&self, column: usize) -> bool {
        self.gaps[column]
    }

    /// All columns in order, neighbours joined as [`super::joint::groups`] says of their slots.
    pub(crate) fn joints(&self) -> &[Joint] {
        self.joints.get_or_init(|| {
            let columns = self.codes.iter().zip(&*self.columns).map(|(codes, column)| (&codes[..], column.slots()));
            let columns: Vec<_> = columns.collect();
            Joint::all(&columns, self.rows(), PLACES)
        })
    }

    /// The codes of one of the [joints](Self::joints).
    pub(crate) fn joint_codes<'a>(&'a self, joint: &'a Joint) -> &'a [u16] {
        if joint.columns.len() == 1 { self.codes(joint.columns.start) } else { &joint.codes }
    }

    /// An upper bound on the L2 norm of each row's design vector.
    pub fn norms(&self) -> &[u32] {
        &self.norms
    }

    /// The entries of a row's design vector that are not zero, in ascending order: place and value.
    pub fn entries(&self, row: usize, places: &[Range<usize>], mut entry: impl FnMut(usize, i32)) {
        for ((column, codes), place) in self.columns.iter().zip(&self.codes).zip(places) {
            match (*column, codes[row]) {
                (Column::Number, 0) => entry(place.start + 1, UNIT),
                (Column::Number, code) => entry(place.start, number(code)),
                (Column::Category { .. }, code) => entry(place.start + usize::from(code), UNIT),
            }
        }
        entry(places.last().map_or(0, |last| last.end), UNIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_bound_the_design_vector() {
        let columns: Arc<[Column]> = [Column::Number, Column::Category { values: 2 }, Column::Number].into();
        let codes = vec![vec![1, 65535, 0, 32768, 40000], vec![0, 1, 2, 3, 1], vec![0, 1, 2, 60000, 32768]];
        let block = Block::new(columns.clone(), codes).unwrap();
        let places = places(&columns);
        assert_eq!((places.clone(), dims(&columns)), (vec![0..2, 2..5, 5..7], 8));
        assert_eq!(block.codes(1), [0, 1, 2, 0, 1], "a code that does not exist is missing");
        assert_eq!([0, 1, 2].map(|column| block.has_gaps(column)), [true; 3]);
        for row in 0..block.rows() {
            let (mut square, mut last) = (0i64, None);
            block.entries(row, &places, |place, value| {
                assert!(Some(place) > last && place < 8);
                last = Some(place);
                square += i64::from(value).pow(2);
            });
            let norm = i64::from(block.norms()[row]);
            assert!(norm * norm >= square && (norm - 1).pow(2) < square, "row {row}");
        }
        assert!(Block::new(columns.clone(), vec![vec![]; 2]).is_none());
        assert!(Block::new(columns, vec![vec![1], vec![], vec![1]]).is_none());
    }
}
