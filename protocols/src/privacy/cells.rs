//! Each customer's value, added to one cell of every column: what a round over bins spends its time with.
//!
//! What takes time is to add to a cell that the processor does not foresee. Narrow columns share that ([`super::joint`]): what
//! is added to is a table of all combinations of their codes, and its margins are what each column's cells get in the end.
//!
//! **Overflow.** Tables and their margins have 32 bits. Each number in them is a sum of values of different customers, each
//! within ±`most`; a table is emptied at the latest after ⌊(2^31 − 1)/`most`⌋ customers, so that no such sum is beyond
//! 2^31 − 1. Totals are exact modulo 2^64, as all sums are.

use pulp::{Arch, Simd, WithSimd};

use super::joint::{Joint, LANES, PLACES, strides};
use super::rows::{Block, Codes};

/// Memory that is used again and again.
#[derive(Default)]
pub(super) struct Tables {
    /// Empty between two uses. It has 2^16 cells, so that any code of 16 bits is a place in it; beyond [`PLACES`] they are
    /// never touched.
    cells: Vec<i32>,
    rows: Vec<[i32; LANES / 2]>,
    sum: Vec<i32>,
}

/// Columns with their cells.
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    Codes(&'a [Codes<'a>]),
    /// The first columns of a block, with as many cells each.
    Block(&'a Block, &'a [usize]),
}

/// A column whose values are added up.
struct Column<'a> {
    totals: &'a mut [i64],
    codes: &'a [u16],
    /// How many codes it has in a joint one.
    slots: usize,
}

impl Tables {
    /// Adds each value, clamped to ±`most`, to the total of its customer's cell in each column. Their totals follow one
    /// another; columns beyond them, and codes beyond a column's cells, have none.
    pub(super) fn add(&mut self, totals: &mut [i64], columns: Columns<'_>, values: &[i32], most: i32) {
        let most = most.max(0);
        // Customers whose values add up in 32 bits.
        let enough = (i32::MAX / most.max(1)) as usize;
        // With a few customers, emptying a table takes longer than they do.
        let places = PLACES.min(2 * enough.min(values.len()));
        let joined;
        let joints = match columns {
            Columns::Block(block, _) => block.joints(),
            Columns::Codes(columns) => {
                joined = joints(columns, values.len(), places);
                &joined
            }
        };
        Arch::new().dispatch(Adding { tables: self, totals, columns, joints, values, most, enough, places });
    }

    #[inline(always)]
    fn add_shared(&mut self, columns: &mut [Column<'_>], joint: &[u16], values: &[i32], enough: usize) {
        let slots: Vec<usize> = columns.iter().map(|column| column.slots).collect();
        let Some(width) = strides(&slots).first().copied() else { return };
        self.cells.resize(1 << 16, 0);
        for (joint, values) in joint.chunks(enough).zip(values.chunks(enough)) {
            self.fill(joint, values);
            self.empty(columns, width);
        }
    }

    /// Adds values to the table's cells.
    #[inline(always)]
    fn fill(&mut self, places: &[u16], values: &[i32]) {
        let table: &mut [i32; 1 << 16] = (&mut self.cells[..]).try_into().expect("it was made of this size");
        let rows = places.len().min(values.len());
        let (places, last_places) = places[..rows].as_chunks::<4>();
        let (values, last_values) = values[..rows].as_chunks::<4>();
        for (places, values) in places.iter().zip(values) {
            // Four places, and two values, in one load each: beside those of cells there is no time for more.
            let places = places.iter().rev().fold(0, |all, place| all << 16 | u64::from(*place));
            let two = |i: usize| u64::from(values[i].cast_unsigned()) | u64::from(values[i + 1].cast_unsigned()) << 32;
            let values = [two(0), two(2)];
            for i in 0..4 {
                let value = (values[i / 2] >> (32 * (i % 2))) as u32;
                table[usize::from((places >> (16 * i)) as u16)] += value.cast_signed();
            }
        }
        for (place, value) in last_places.iter().zip(last_values) {
            table[usize::from(*place)] += value;
        }
    }

    /// Adds the table's margins to the columns' totals, and makes it zero. A row of it has `width` cells.
    #[inline(always)]
    fn empty(&mut self, columns: &mut [Column<'_>], width: usize) {
        let Some((first, inner)) = columns.split_first_mut() else { return };
        let table = &mut self.cells[..first.slots * width];
        self.rows.clear();
        self.rows.resize(first.slots, [0; LANES / 2]);
        self.sum.clear();
        for start in (0..width).step_by(LANES) {
            let mut sum = [0; LANES];
            for (cells, row) in table.chunks_exact_mut(width).zip(&mut self.rows) {
                let Some(cells) = cells[start..].first_chunk_mut::<LANES>() else { continue };
                let (now, mut own) = (std::mem::replace(cells, [0; LANES]), *row);
                for i in 0..LANES / 2 {
                    own[i] += now[i] + now[i + LANES / 2];
                }
                *row = own;
                for (sum, cell) in sum.iter_mut().zip(now) {
                    *sum += cell;
                }
            }
            self.sum.extend_from_slice(&sum);
        }
        // What is behind the last cell is of customers in none.
        for (total, row) in first.totals.iter_mut().zip(&self.rows) {
            add(total, row.iter().sum());
        }
        match inner {
            [second] => second.totals.iter_mut().zip(&self.sum).for_each(|(total, sum)| add(total, *sum)),
            [second, third] => {
                for (i, row) in self.sum.chunks_exact(third.slots).take(second.slots).enumerate() {
                    if let Some(total) = second.totals.get_mut(i) {
                        add(total, row.iter().sum());
                    }
                    third.totals.iter_mut().zip(row).for_each(|(total, sum)| add(total, *sum));
                }
            }
            _ => {}
        }
    }
}

/// The part of [`Tables::add`] that is compiled for the processor that it runs on.
struct Adding<'a> {
    tables: &'a mut Tables,
    totals: &'a mut [i64],
    columns: Columns<'a>,
    joints: &'a [Joint],
    values: &'a [i32],
    most: i32,
    enough: usize,
    places: usize,
}

impl WithSimd for Adding<'_> {
    type Output = ();

    // A closure would not be inlined, and so be compiled for any processor.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { tables, mut totals, columns, joints, values, most, enough, places } = self;
        let clamped: Vec<i32> = values.iter().map(|value| (*value).clamp(-most, most)).collect();
        for joint in joints {
            let mut own: Vec<Column<'_>> = Vec::with_capacity(joint.slots.len());
            for (number, slots) in joint.columns.clone().zip(&joint.slots) {
                let Some(Codes { codes, cells }) = columns.column(number) else { break };
                let Some((of_column, others)) = std::mem::take(&mut totals).split_at_mut_checked(cells) else { break };
                totals = others;
                own.push(Column { totals: of_column, codes, slots: *slots });
            }
            // Not where some have no totals, or a table is too large for so few customers.
            if joint.codes.is_empty() || own.len() < joint.slots.len() || joint.places() > places {
                own.iter_mut().for_each(|column| column.add(&clamped));
            } else {
                tables.add_shared(&mut own, &joint.codes, &clamped, enough);
            }
        }
    }
}

/// Columns joined where that does not take too many places.
fn joints(columns: &[Codes<'_>], rows: usize, places: usize) -> Vec<Joint> {
    // All codes in no cell count as the one behind the last cell.
    let columns = columns.iter().map(|Codes { codes, cells }| {
        let codes = &codes[..codes.len().min(rows)];
        let largest = codes.iter().copied().max().unwrap_or(0);
        (codes, usize::from(largest).min(*cells) + 1)
    });
    let columns: Vec<_> = columns.collect();
    Joint::all(&columns, rows, places)
}

impl<'a> Columns<'a> {
    /// Column number `number`, if it exists.
    fn column(self, number: usize) -> Option<Codes<'a>> {
        match self {
            Self::Codes(columns) => columns.get(number).copied(),
            Self::Block(block, cells) => Some(Codes { codes: block.codes(number), cells: *cells.get(number)? }),
        }
    }
}

impl Column<'_> {
    #[inline(always)]
    fn add(&mut self, values: &[i32]) {
        for (code, value) in self.codes.iter().zip(values) {
            if let Some(total) = self.totals.get_mut(usize::from(*code)) {
                add(total, *value);
            }
        }
    }
}

fn add(total: &mut i64, value: i32) {
    *total = total.wrapping_add(i64::from(value));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::privacy::rows::Column as Meaning;

    /// What [`Tables::add`] stands for.
    fn plain(totals: &mut [i64], columns: &[Codes<'_>], values: &[i32], most: i32) {
        let mut start = 0;
        for column in columns {
            for (code, value) in column.codes.iter().zip(values) {
                if usize::from(*code) < column.cells {
                    totals[start + usize::from(*code)] += i64::from((*value).clamp(-most, most));
                }
            }
            start += column.cells;
        }
    }

    /// Numbers that are the same in every run.
    fn numbers() -> impl FnMut() -> u32 {
        let mut state = 5u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        }
    }

    /// Columns that share a table come to the same as each by itself, whatever their codes, over any number of rows, and
    /// however often a table is emptied.
    #[test]
    fn columns_together_are_added_like_single_ones() {
        let widths = [17usize, 3, 17, 60, 70, 4000, 0, 2, 5, 18, 18, 18, 1, 1, 70_000, 16];
        let mut random = numbers();
        let code = |width: usize, random: u32| match random % 10 {
            0 if width != 18 => u16::MAX,
            _ => (random / 10 % (width as u32 + 2)) as u16,
        };
        let mut tables = Tables::default();
        for rows in [0, 1, 31, 700, 9000] {
            for most in [0, 1, 26213, i32::MAX / 3000, i32::MAX / 700, i32::MAX] {
                let codes = widths.map(|width| (0..rows).map(|_| code(width, random())).collect::<Vec<u16>>());
                let values: Vec<i32> = (0..rows).map(|_| random().cast_signed()).collect();
                let columns: Vec<Codes<'_>> =
                    widths.iter().zip(&codes).map(|(cells, codes)| Codes { codes, cells: *cells }).collect();
                let mut together = vec![7i64; widths.iter().sum()];
                let mut single = together.clone();
                tables.add(&mut together, Columns::Codes(&columns), &values, most);
                plain(&mut single, &columns, &values, most);
                assert!(together == single, "{rows} rows, values within {most}");
                assert!(tables.cells.iter().all(|cell| *cell == 0), "a table is left as it was found");
            }
        }
    }

    /// All values at an extreme in one cell of each column: the largest sums that there can be.
    #[test]
    fn tables_do_not_overflow() {
        let mut tables = Tables::default();
        let rows = 70_000;
        for most in [1, 32767, 32768, 1 << 20, i32::MAX / 512, i32::MAX] {
            for value in [i32::MIN, i32::MAX] {
                let codes = vec![16u16; rows];
                let columns = [17, 17, 17, 16].map(|cells| Codes { codes: &codes, cells });
                let mut totals = vec![0i64; 17 * 3 + 16];
                tables.add(&mut totals, Columns::Codes(&columns), &vec![value; rows], most);
                let expected = rows as i64 * i64::from(value.clamp(-most, most));
                for (i, total) in totals.iter().enumerate() {
                    let held = [16, 33, 50].contains(&i);
                    assert_eq!(*total, if held { expected } else { 0 }, "{most} {value} {i}");
                }
            }
        }
    }

    #[test]
    fn columns_of_unequal_lengths_or_without_totals_do_no_harm() {
        let (long, short) = (vec![1u16; 3000], vec![1u16; 5]);
        let columns = [&long, &short, &long, &long].map(|codes| Codes { codes, cells: 3 });
        let mut totals = [0i64; 12];
        Tables::default().add(&mut totals, Columns::Codes(&columns), &vec![2; 4000], 9);
        assert_eq!(totals, [0, 6000, 0, 0, 10, 0, 0, 6000, 0, 0, 6000, 0]);
        let mut totals = [0i64; 9];
        Tables::default().add(&mut totals, Columns::Codes(&columns), &[-100, 3], 9);
        assert_eq!(totals, [0, -6, 0, 0, -6, 0, 0, -6, 0]);
    }

    proptest! {
        #[test]
        fn any_columns_are_added_like_single_ones(
            widths in proptest::collection::vec(0usize..40, 0..9),
            seed in any::<u16>(),
            rows in 0usize..2000,
            most in prop_oneof![Just(26213), 0..i32::MAX],
        ) {
            let mut random = numbers();
            (0..seed).for_each(|_| { random(); });
            let codes: Vec<Vec<u16>> = widths
                .iter()
                .map(|width| (0..rows).map(|_| (random() % (*width as u32 + 3)) as u16).collect())
                .collect();
            let values: Vec<i32> = (0..rows).map(|_| random().cast_signed()).collect();
            let columns: Vec<Codes<'_>> =
                widths.iter().zip(&codes).map(|(cells, codes)| Codes { codes, cells: *cells }).collect();
            let mut together = vec![0i64; widths.iter().sum()];
            let mut single = together.clone();
            Tables::default().add(&mut together, Columns::Codes(&columns), &values, most);
            plain(&mut single, &columns, &values, most);
            prop_assert_eq!(together, single);
            // Of a block, whose columns may have other numbers of cells than values.
            let meanings = widths.iter().map(|width| Meaning::Category { values: *width as u16 + 1 });
            let block = Block::new(meanings.collect(), codes).unwrap();
            let cells: Vec<usize> = widths.iter().rev().copied().collect();
            let columns: Vec<Codes<'_>> =
                cells.iter().enumerate().map(|(i, cells)| Codes { codes: block.codes(i), cells: *cells }).collect();
            let mut together = vec![0i64; cells.iter().sum()];
            let mut single = together.clone();
            Tables::default().add(&mut together, Columns::Block(&block, &cells), &values, most);
            plain(&mut single, &columns, &values, most);
            prop_assert_eq!(together, single);
        }
    }
}
