//! The clipping step of training rounds: every customer is a row of a [`Block`], a round gives it a weight, and what is
//! released are weighted sums of what the row says.
//!
//! **Proof of the bounds.** A vector is a sum of one term a customer, exact modulo 2^64. In each component the term is
//! one of the following, made here from any codes and any weights, so that the bound holds whatever was passed in:
//!
//! - [`Part::Cells`] and [`Part::Block`]: at most `touches` columns, each with cells of its own, and in each column at
//!   most one cell holds v, |v| ≤ `per_cell`. Norm at most **√touches·per_cell**. (How they are added up, without an
//!   overflow: `cells`.)
//! - [`Part::Values`], for the same component: at most `touches` columns, each a single cell, and in each column a value
//!   of its own, clamped to ±`per_cell`. So at most `touches` entries are not zero, each of them at most `per_cell`: norm
//!   at most **√touches·per_cell** again.
//! - [`Part::Vectors`]: w·x with the design vector x ([`super::rows`]), w an integer. Where |w|·‖x‖ > `norm`, w is
//!   replaced by ±⌊norm/⌈‖x‖⌉⌋ (per-customer gradient clipping, Abadi et al. 2016, in integers). Norm at most **norm**.
//! - [`Part::Moments`]: the upper triangle of w·xxᵀ, entries on the diagonal times 128, others times 181. As
//!   181² ≤ 2·128², its squared norm is at most w²·128²·(Σ_i x_i⁴ + 2Σ_{i<j} x_i²x_j²) = (128·w·‖x‖²)²; where
//!   128·w·‖x‖² > `norm`, w is replaced by ⌊norm/(128·‖x‖²)⌋. Norm at most **norm**. (The weight √2 off the diagonal is that
//!   of AdaSSP; Wang 2018, arXiv 1803.02596.)

use std::sync::Arc;

use super::bounds::{Bounded, Component, Layout};
use super::cells::{Columns, Tables};
use super::rows::{Block, Codes, Column, UNIT, places};
use crate::kernels::columns::Halves;

/// The largest weight of a row, in absolute value; others are clamped to it.
pub const MAX_WEIGHT: i32 = 32767;
/// Entries of second moments are this coarser than those of the design vector: ±255.
pub const MOMENT_SCALE: i32 = 128;
/// The factors of entries on the diagonal of second moments, and off it.
pub const MOMENT_FACTORS: (i64, i64) = (128, 181);

/// What some customers bring to one component, in the order of these customers.
pub enum Part<'a> {
    /// For [`Component::Cells`]: each customer's value, in one cell of each column; the columns' cells follow one
    /// another.
    Cells {
        /// The columns, at most as many as the component's `touches`.
        columns: &'a [Codes<'a>],
        /// One value a customer.
        values: &'a [i32],
    },
    /// For [`Component::Cells`]: the same, of the columns of a block.
    Block {
        /// The customers.
        block: &'a Block,
        /// The number of cells of each column, of at most as many columns as the component's `touches`.
        cells: &'a [usize],
        /// One value a customer.
        values: &'a [i32],
    },
    /// For [`Component::Cells`]: in each cell another value of each customer.
    Values {
        /// Cell by cell one value a customer; at most as many cells as the component's `touches`.
        columns: &'a [Vec<i32>],
    },
    /// For [`Component::Vector`]: each customer's design vector times its weight.
    Vectors {
        /// The customers.
        block: &'a Block,
        /// One weight a customer.
        weights: &'a [i32],
        /// Where the component holds several vectors, which of them each customer is added to.
        slots: Option<&'a [u16]>,
    },
    /// For [`Component::Vector`]: each customer's second moments times its weight, row by row of the upper triangle.
    Moments {
        /// The customers.
        block: &'a Block,
        /// Entries of the vector behind those of the block's design vector: one slice an entry, one number a customer,
        /// within ±[`UNIT`].
        extra: &'a [&'a [i16]],
        /// One weight a customer, not negative.
        weights: &'a [i32],
    },
}

/// Adds up what customers bring. Several can run side by side and be [merged](Sums::merge).
pub struct Sums {
    sums: Bounded,
    tables: Tables,
}

impl Sums {
    /// Sums without customers yet; `layout` is one of [`Layout::sums`].
    pub fn new(layout: Arc<Layout>) -> Self {
        Self { sums: Bounded::of_nobody(layout), tables: Tables::default() }
    }

    /// Adds some customers, who are given **once**: one part a component, in order. A part of another form than the
    /// component's counts for nothing.
    pub fn add(&mut self, parts: &[Part<'_>]) {
        let Bounded { layout, values } = &mut self.sums;
        for ((component, range), part) in layout.components().iter().zip(layout.ranges()).zip(parts) {
            let totals = &mut values[range];
            match (*component, part) {
                (Component::Cells { touches, per_cell, .. }, Part::Cells { columns, values }) => {
                    let columns = &columns[..columns.len().min(touches as usize)];
                    self.tables.add(totals, Columns::Codes(columns), values, most(per_cell));
                }
                (Component::Cells { touches, per_cell, .. }, Part::Block { block, cells, values }) => {
                    let cells = &cells[..cells.len().min(touches as usize)];
                    self.tables.add(totals, Columns::Block(block, cells), values, most(per_cell));
                }
                (Component::Cells { touches, per_cell, .. }, Part::Values { columns }) => {
                    add_values(totals, touches, per_cell, columns);
                }
                (Component::Vector { norm, .. }, Part::Vectors { block, weights, slots }) => {
                    add_vectors(totals, norm, block, weights, *slots);
                }
                (Component::Vector { norm, .. }, Part::Moments { block, extra, weights }) => {
                    add_moments(totals, norm, block, extra, weights);
                }
                _ => {}
            }
        }
    }

    /// Adds what another of the same layout has summed; false, and no change, if the layouts differ.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        self.sums.merge(&other.sums)
    }

    /// Ends the step.
    pub fn finish(self) -> Bounded {
        self.sums
    }
}

/// The length of the upper triangle of a symmetric matrix.
pub const fn triangle(dims: usize) -> usize {
    dims * (dims + 1) / 2
}

fn add_values(totals: &mut [i64], touches: u32, per_cell: u64, columns: &[Vec<i32>]) {
    let most = most(per_cell);
    for (total, values) in totals.iter_mut().zip(columns.iter().take(touches as usize)) {
        values.iter().for_each(|value| add(total, i64::from((*value).clamp(-most, most))));
    }
}

/// The largest value that a customer has in a cell.
fn most(per_cell: u64) -> i32 {
    i32::try_from(per_cell).unwrap_or(i32::MAX)
}

/// The weight with which a vector of norm at most `length` stays within `norm`.
fn clip(weight: i32, length: u64, norm: u64) -> i32 {
    let weight = weight.clamp(-MAX_WEIGHT, MAX_WEIGHT);
    if u64::from(weight.unsigned_abs()).checked_mul(length).is_some_and(|product| product <= norm) {
        return weight;
    }
    // Reached only where the product is larger than `norm`, so the quotient is below |weight|.
    let most = i32::try_from(norm / length.max(1)).unwrap_or(MAX_WEIGHT);
    if weight < 0 { -most } else { most }
}

/// The weights of a block's rows, each within `norm`.
fn clipped(norm: u64, block: &Block, weights: &[i32]) -> Vec<i32> {
    let weights = &weights[..weights.len().min(block.rows())];
    let within = |weight: &i32| (*weight).clamp(-MAX_WEIGHT, MAX_WEIGHT);
    let longest = block.norms().iter().copied().max().unwrap_or(0);
    let heaviest = weights.iter().map(|weight| within(weight).abs()).max().unwrap_or(0);
    // Where the longest row with the heaviest weight is within the norm, all are: `clip` would change nothing.
    if u64::from(longest) * u64::from(heaviest.unsigned_abs()) <= norm {
        return weights.iter().map(within).collect();
    }
    weights.iter().zip(block.norms()).map(|(&weight, &length)| clip(weight, u64::from(length), norm)).collect()
}

fn add_vectors(totals: &mut [i64], norm: u64, block: &Block, weights: &[i32], slots: Option<&[u16]>) {
    let clipped = clipped(norm, block, weights);
    let places = places(block.columns());
    let dims = places.last().map_or(0, |last| last.end) + 1;
    let Some(slots) = slots else {
        if let Some(totals) = totals.get_mut(..dims) {
            add_design(totals, block, &clipped);
        }
        return;
    };
    for (row, (&weight, &slot)) in clipped.iter().zip(slots).enumerate().take(block.rows()) {
        let start = usize::from(slot) * dims;
        if let Some(totals) = totals.get_mut(start..start + dims) {
            block.entries(row, &places, |place, value| add(&mut totals[place], i64::from(weight * value)));
        }
    }
}

/// Rows whose weights stay in the fastest cache, beside a column's codes.
const DESIGN_ROWS: usize = 1 << 12;

/// Σ w·x, column by column: what a round of gradients spends its time with. Weights are clipped before, and so within
/// ±[`MAX_WEIGHT`].
fn add_design(totals: &mut [i64], block: &Block, weights: &[i32]) {
    for (number, weights) in weights.chunks(DESIGN_ROWS).enumerate() {
        add_design_rows(totals, block, number * DESIGN_ROWS, weights);
    }
}

/// The same over some rows, from number `start` on.
fn add_design_rows(totals: &mut [i64], block: &Block, start: usize, weights: &[i32]) {
    let unit = i64::from(UNIT);
    let halves = Halves::of(weights);
    let mut rest = &mut *totals;
    for (i, column) in block.columns().iter().enumerate() {
        let (own, others) = rest.split_at_mut(column.dims());
        let codes = &block.codes(i)[start..start + weights.len()];
        match column {
            Column::Number => {
                let (value, missing) = halves.over(codes, block.has_gaps(i));
                add(&mut own[0], value);
                add(&mut own[1], missing * unit);
            }
            Column::Category { .. } => {
                for (&code, &weight) in codes.iter().zip(weights) {
                    // A block has no code beyond its column's values.
                    add(&mut own[usize::from(code)], i64::from(weight) * unit);
                }
            }
        }
        rest = others;
    }
    if let Some(constant) = rest.first_mut() {
        add(constant, weights.iter().map(|&weight| i64::from(weight)).sum::<i64>() * unit);
    }
}

fn add_moments(totals: &mut [i64], norm: u64, block: &Block, extra: &[&[i16]], weights: &[i32]) {
    let places = places(block.columns());
    let design = places.last().map_or(0, |last| last.end) + 1;
    let dims = design + extra.len();
    if totals.len() < triangle(dims) || extra.iter().any(|extra| extra.len() < block.rows()) {
        return;
    }
    let (diagonal, other) = MOMENT_FACTORS;
    let mut entries: Vec<(usize, i64)> = Vec::with_capacity(block.columns().len() + 1 + extra.len());
    for (row, &weight) in weights.iter().enumerate().take(block.rows()) {
        entries.clear();
        block.entries(row, &places, |place, value| entries.push((place, i64::from(value / MOMENT_SCALE))));
        let extra = extra.iter().enumerate().map(|(i, values)| (design + i, i64::from(values[row]) / 128));
        entries.extend(extra);
        let square: u64 = entries.iter().map(|(_, value)| value.unsigned_abs().pow(2)).sum();
        let weight = i64::from(clip(weight.max(0), square.saturating_mul(diagonal.unsigned_abs()), norm));
        for (i, &(first, x)) in entries.iter().enumerate() {
            // Row `first` of the upper triangle starts behind those above it.
            let start = first * dims - first * first.saturating_sub(1) / 2 - first;
            add(&mut totals[start + first], weight * diagonal * x * x);
            for &(second, y) in &entries[i + 1..] {
                add(&mut totals[start + second], weight * other * x * y);
            }
        }
    }
}

fn add(total: &mut i64, value: i64) {
    *total = total.wrapping_add(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 3] = [Column::Number, Column::Category { values: 3 }, Column::Number];
    const DIMS: usize = 9;

    fn layout(norm: u64, touches: u32) -> Arc<Layout> {
        Arc::new(Layout::sums(vec![
            Component::Cells { cells: 12, touches, per_cell: 500 },
            Component::Vector { length: DIMS as u64, norm },
            Component::Vector { length: 2 * DIMS as u64, norm },
            Component::Vector { length: triangle(DIMS + 1) as u64, norm },
            Component::Cells { cells: 3, touches, per_cell: 500 },
            Component::Cells { cells: 12, touches, per_cell: 500 },
        ]))
    }

    /// Codes of the three columns, a cell beyond the columns, value, weight, slot and extra entry.
    type Customer = ([u16; 3], u16, i32, i32, u16, i16);

    fn release(layout: &Arc<Layout>, customers: &[Customer]) -> Vec<i64> {
        let mut sums = Sums::new(layout.clone());
        for customers in customers.chunks(3) {
            let column = |i: usize| customers.iter().map(|customer| customer.0[i]).collect::<Vec<_>>();
            let block = Block::new(COLUMNS.into(), (0..3).map(column).collect()).unwrap();
            let cells: Vec<u16> = customers.iter().map(|customer| customer.1).collect();
            let values: Vec<i32> = customers.iter().map(|customer| customer.2).collect();
            let weights: Vec<i32> = customers.iter().map(|customer| customer.3).collect();
            let slots: Vec<u16> = customers.iter().map(|customer| customer.4).collect();
            let extra: Vec<i16> = customers.iter().map(|customer| customer.5).collect();
            let codes = [Codes { codes: &cells, cells: 8 }, Codes { codes: block.codes(1), cells: 4 }];
            // One more than there are cells.
            let columns = [values.clone(), weights.clone(), values.clone(), weights.clone()];
            sums.add(&[
                Part::Cells { columns: &codes, values: &values },
                Part::Vectors { block: &block, weights: &weights, slots: None },
                Part::Vectors { block: &block, weights: &weights, slots: Some(&slots) },
                Part::Moments { block: &block, extra: &[&extra], weights: &weights },
                Part::Values { columns: &columns },
                Part::Block { block: &block, cells: &[5, 4, 3], values: &values },
            ]);
        }
        sums.finish().values
    }

    #[test]
    fn honest_customers_within_the_bounds_are_summed_exactly() {
        let layout = layout(u64::MAX, 2);
        // x = (1000, ·, one-hot 2, missing), weight 3; nothing is clipped.
        let sum = release(&layout, &[([33768, 2, 0], 7, 40, 3, 1, 256), ([32768, 2, 32768], 7, -50, 0, 0, 0)]);
        assert_eq!(sum[..12], [0, 0, 0, 0, 0, 0, 0, -10, 0, 0, -10, 0]);
        let unit = i64::from(UNIT);
        let design = [3000, 0, 0, 0, 3 * unit, 0, 0, 3 * unit, 3 * unit];
        assert_eq!(sum[12..21], design);
        assert_eq!(sum[21..30], [0; DIMS]);
        assert_eq!(sum[30..39], design);
        let moments = &sum[39..39 + triangle(DIMS + 1)];
        assert_eq!(moments[0], 3 * 128 * 7 * 7, "1000/128 is 7");
        assert_eq!(moments[4], 3 * 181 * 7 * 255, "with the indicator at place 4");
        assert_eq!(moments[DIMS], 3 * 181 * 7 * 2, "with the extra entry, 256/128");
        assert_eq!(moments[triangle(DIMS + 1) - 1], 3 * 128 * 2 * 2);
        let values = &sum[39 + triangle(DIMS + 1)..];
        assert_eq!(values[..3], [-10, 3, 0], "two cells may be touched");
        assert_eq!(values[3..], [0, 0, 0, 0, 0, 0, 0, -10, 0, 0, 0, 0], "codes of numbers are beyond these cells");
    }

    fn any_customer() -> impl Strategy<Value = Customer> {
        let code = prop_oneof![any::<u16>(), 0u16..4, Just(1), Just(65535)];
        let weight = prop_oneof![any::<i32>(), -100i32..100, Just(i32::MIN), Just(i32::MAX)];
        let codes = [code.clone(), code.clone(), code.clone()];
        (codes, code, weight.clone(), weight, 0u16..4, any::<i16>())
    }

    proptest! {
        /// Whatever one customer brings, extremes included, it moves each component by at most its sensitivity.
        #[test]
        fn one_customer_moves_the_vector_by_at_most_the_sensitivity(
            others in proptest::collection::vec(any_customer(), 0..5),
            one in any_customer(),
            norm in prop_oneof![1u64..100_000_000, Just(1 << 40)],
            touches in 1u32..4,
        ) {
            let layout = layout(norm, touches);
            let without = release(&layout, &others);
            let with = release(&layout, &[others, vec![one]].concat());
            for (component, range) in layout.ranges().into_iter().enumerate() {
                let square: u128 =
                    range.map(|i| u128::from(with[i].wrapping_sub(without[i]).unsigned_abs()).pow(2)).sum();
                prop_assert!(square <= layout.sensitivity_squared(component), "component {component}: {square}");
            }
        }

        /// The order of customers does not matter, nor how they are spread over blocks and steps.
        #[test]
        fn sums_do_not_depend_on_the_order(customers in proptest::collection::vec(any_customer(), 0..8)) {
            let layout = layout(1_000_000, 2);
            let reversed: Vec<_> = customers.iter().rev().copied().collect();
            prop_assert_eq!(release(&layout, &customers), release(&layout, &reversed));
        }
    }
}
