//! Contribution bounding and clipping: the only way to make a [`Bounded`] vector, and what sets its sensitivity.
//!
//! ```text
//! rows of one customer ─▶ values on the grid, summed per cell ─▶ Clipping::customer ─▶ … ─▶ Bounded
//! ```
//!
//! **Neighbouring data sets** differ by one customer, all of whose rows come or go. The vector is a sum of one
//! term per customer (exact, modulo 2^64, so in any order), so its sensitivity is the largest norm of one term.
//!
//! **Proof of the bound.** [`Clipping::customer`] keeps at most g = `max_groups` of the customer's cells. Let n be
//! its rows in them and R = `max_rows`. If n > R, every row counts with weight R/n (integers, truncated toward
//! zero); that is the expectation of drawing R of the rows, without the draw's own noise. Then per component:
//!
//! - `Rows` with unit u: cell values c_i·u·min(1, R/n) are non-negative and sum to at most R·u. A vector's L2 norm is
//!   at most its L1 norm, so the norm is at most **R·u**, however many cells there are.
//! - `Values` with |row| ≤ b: the cells are clipped, in the order given, so that Σ|s_i| ≤ R·b. This holds whatever
//!   was passed in. Norm at most **R·b**. (For honest input the clip changes nothing: n rows of at most b, weighed
//!   down by R/n.)
//! - `Customers` with unit u: at most g cells hold u. Norm at most **√g·u**; also never more than R cells can hold a
//!   row, but that is not used.
//!
//! Squares of these norms are integers and are kept as such ([`Layout::sensitivity_squared`]). The components are
//! noised apart, so their squares are never added up here.

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;

/// One component of a released vector: one number per cell, bounded for each customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Component {
    /// The number of rows; each counts as `unit` grid units.
    Rows {
        /// Grid units per row.
        unit: u64,
    },
    /// The number of customers; each counts as `unit` grid units in each cell it has a row in.
    Customers {
        /// Grid units per customer and cell.
        unit: u64,
    },
    /// The sum of a value, of which one row has at most `per_row` grid units either way.
    Values {
        /// Largest absolute value of one row, in grid units.
        per_row: u64,
    },
    /// The sum of one value a customer, in each of a few different cells ([`super::sums`]).
    Cells {
        /// The number of cells.
        cells: u64,
        /// Largest number of cells that one customer touches.
        touches: u32,
        /// Largest absolute value of one customer, in grid units.
        per_cell: u64,
    },
    /// The sum of one vector a customer ([`super::sums`]).
    Vector {
        /// Its length.
        length: u64,
        /// Largest L2 norm of one customer's vector, in grid units.
        norm: u64,
    },
}

/// The shape of a released vector and the bounds on one customer, component after component. In a grouped layout, which
/// [`Clipping`] fills, each component has one number a cell; in a layout of sums ([`super::sums`]) each has its own length.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Layout {
    cells: u64,
    max_groups: u32,
    max_rows: u32,
    components: Vec<Component>,
}

impl Layout {
    /// A vector of `components`, each with one number for every one of `cells` cells.
    pub fn new(cells: usize, max_groups: u32, max_rows: u32, components: Vec<Component>) -> Self {
        let max_groups = max_groups.min(u32::try_from(cells).unwrap_or(u32::MAX)).max(1);
        Self { cells: cells as u64, max_groups, max_rows: max_rows.max(1), components }
    }

    /// A vector of components that [`super::sums::Sums`] fills: each customer counts once in each.
    pub fn sums(components: Vec<Component>) -> Self {
        Self { cells: 0, max_groups: 1, max_rows: 1, components }
    }

    /// The number of cells of a grouped layout.
    pub fn cells(&self) -> usize {
        usize::try_from(self.cells).expect("made from a usize, or refused by the limits on a plan")
    }

    /// The length of component number `component`.
    pub fn component_len(&self, component: usize) -> usize {
        let length = match self.components[component] {
            Component::Rows { .. } | Component::Customers { .. } | Component::Values { .. } => self.cells,
            Component::Cells { cells, .. } => cells,
            Component::Vector { length, .. } => length,
        };
        usize::try_from(length).unwrap_or(usize::MAX)
    }

    /// Where each component lies in the vector. Lengths that do not fit into memory count as empty.
    pub fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut end = 0usize;
        let range = |component| {
            let start = end;
            end = start.checked_add(self.component_len(component)).unwrap_or(start);
            start..end
        };
        (0..self.components.len()).map(range).collect()
    }

    /// Largest number of cells one customer may touch; at most the number of cells.
    pub fn max_groups(&self) -> u32 {
        self.max_groups
    }

    /// Largest number of rows one customer may count with.
    pub fn max_rows(&self) -> u32 {
        self.max_rows
    }

    /// The components, in order.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// How many of the components are `Values`: the number of sums that each row brings.
    pub fn value_columns(&self) -> usize {
        self.components.iter().filter(|component| matches!(component, Component::Values { .. })).count()
    }

    /// The length of the vector.
    pub fn len(&self) -> usize {
        let lengths = (0..self.components.len()).map(|component| self.component_len(component));
        lengths.fold(0, usize::saturating_add)
    }

    /// Whether the vector is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The square of the L2 sensitivity of component number `component`, in grid units squared (see the module).
    pub fn sensitivity_squared(&self, component: usize) -> u128 {
        let rows = u128::from(self.max_rows);
        match self.components[component] {
            Component::Rows { unit } => (rows * u128::from(unit)).pow(2),
            Component::Customers { unit } => u128::from(self.max_groups) * u128::from(unit).pow(2),
            Component::Values { per_row } => (rows * u128::from(per_row)).pow(2),
            Component::Cells { touches, per_cell, .. } => {
                u128::from(touches).saturating_mul(u128::from(per_cell).pow(2))
            }
            Component::Vector { norm, .. } => u128::from(norm).pow(2),
        }
    }

    /// Hash of the layout.
    pub fn digest(&self) -> Digest {
        Digest::of("entente layout 1", &[&crate::canonical::canonical_bytes(self)])
    }
}

/// What one customer has in one cell, before bounding.
#[derive(Clone, Copy, Debug)]
pub struct CustomerCell<'a> {
    /// The cell, below [`Layout::cells`]; a customer's cells are all different.
    pub cell: u32,
    /// The number of its rows there.
    pub rows: u64,
    /// For each `Values` component in order, the sum over these rows, in grid units.
    pub sums: &'a [i64],
}

/// The clipping step: takes customers one by one and adds up what each may contribute.
///
/// Several can run side by side and be [merged](Clipping::merge); the result is the same in any order.
pub struct Clipping {
    sums: Bounded,
}

impl Clipping {
    /// A step without customers yet.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self { sums: Bounded::of_nobody(layout) }
    }

    /// Adds one customer, given once with **all** its cells, those to be kept first in front.
    ///
    /// Which cells are kept must depend on this customer alone (say by a keyed hash of customer and cell), not on
    /// others or on the order of rows. Cells outside the layout, or with too few sums, count as empty.
    pub fn customer<'a>(&mut self, cells: impl Iterator<Item = CustomerCell<'a>> + Clone) {
        let Bounded { layout, values } = &mut self.sums;
        let (count, wanted) = (layout.cells(), layout.value_columns());
        let kept = cells
            .filter(|cell| (cell.cell as usize) < count && cell.rows > 0 && cell.sums.len() >= wanted)
            .take(layout.max_groups as usize);
        let rows: u64 = kept.clone().fold(0, |sum, cell| sum.saturating_add(cell.rows));
        let most = u64::from(layout.max_rows);
        // Weighs a sum over rows down to `most` rows. `None`: nothing to weigh down, which is the common case.
        let weight = (rows > most).then_some((i128::from(most), i128::from(rows)));
        let weigh = |value: i128| match weight {
            None => value,
            Some((most, rows)) => value * most / rows,
        };
        let mut column = 0;
        // `max(1)`: a layout without cells has no totals either.
        for (component, totals) in layout.components.iter().zip(values.chunks_exact_mut(count.max(1))) {
            match *component {
                // Of a layout of sums, which is not filled here: nobody counts.
                Component::Cells { .. } | Component::Vector { .. } => {}
                Component::Rows { unit } => {
                    let mut left = i128::from(most) * i128::from(unit);
                    for cell in kept.clone() {
                        let value = weigh(i128::from(cell.rows) * i128::from(unit)).min(left);
                        left -= value;
                        add(&mut totals[cell.cell as usize], value);
                    }
                }
                Component::Customers { unit } => {
                    for cell in kept.clone() {
                        add(&mut totals[cell.cell as usize], i128::from(unit));
                    }
                }
                Component::Values { per_row } => {
                    let mut left = i128::from(most) * i128::from(per_row);
                    for cell in kept.clone() {
                        let value = weigh(i128::from(cell.sums[column])).clamp(-left, left);
                        left -= value.abs();
                        add(&mut totals[cell.cell as usize], value);
                    }
                    column += 1;
                }
            }
        }
    }

    /// Adds what another step of the same layout has summed; false, and no change, if the layouts differ.
    #[must_use]
    pub fn merge(&mut self, other: &Self) -> bool {
        self.sums.merge(&other.sums)
    }

    /// Ends the step.
    pub fn finish(self) -> Bounded {
        self.sums
    }
}

fn add(total: &mut i64, value: i128) {
    // Modulo 2^64: truncating the wide value is what makes the sum independent of the order.
    *total = total.wrapping_add(value as i64);
}

/// A vector of bounded sums whose sensitivity is known. It is exact, so it must not leave the node: it has no
/// accessor, no `Debug` and no serialisation, and only a mechanism can use it up.
pub struct Bounded {
    pub(super) layout: Arc<Layout>,
    pub(crate) values: Vec<i64>,
}

impl Bounded {
    /// What a step begins with.
    pub(super) fn of_nobody(layout: Arc<Layout>) -> Self {
        let values = vec![0; layout.len()];
        Self { layout, values }
    }

    /// Adds what another step has summed of other customers; false, and no change, if the layouts differ.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        if self.layout != other.layout {
            return false;
        }
        for (value, more) in self.values.iter_mut().zip(&other.values) {
            *value = value.wrapping_add(*more);
        }
        true
    }

    /// The layout it was clipped to.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { .. } => f.write_str("rows"),
            Self::Customers { .. } => f.write_str("customers"),
            Self::Values { .. } => f.write_str("values"),
            Self::Cells { touches, .. } => write!(f, "a value in {touches} cells"),
            Self::Vector { .. } => f.write_str("a vector"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPONENTS: [Component; 3] =
        [Component::Rows { unit: 8 }, Component::Values { per_row: 100 }, Component::Customers { unit: 4 }];

    fn layout(cells: usize, max_groups: u32, max_rows: u32) -> Arc<Layout> {
        Arc::new(Layout::new(cells, max_groups, max_rows, COMPONENTS.to_vec()))
    }

    type Customer = Vec<(u32, u64, i64)>;

    fn release(layout: &Arc<Layout>, customers: &[Customer]) -> Vec<i64> {
        let mut clipping = Clipping::new(layout.clone());
        for customer in customers {
            let sums: Vec<[i64; 1]> = customer.iter().map(|&(_, _, sum)| [sum]).collect();
            let cells = customer.iter().zip(&sums);
            clipping.customer(cells.map(|(&(cell, rows, _), sums)| CustomerCell { cell, rows, sums }));
        }
        clipping.finish().values
    }

    #[test]
    fn honest_customers_within_the_bounds_are_summed_exactly() {
        let customers = [vec![(0, 2, 150), (1, 1, -100)], vec![(0, 1, 7)]];
        assert_eq!(release(&layout(2, 2, 3), &customers), [24, 8, 157, -100, 8, 4]);
    }

    #[test]
    fn rows_above_the_bound_are_weighed_down_together() {
        // 6 rows where 3 may count: each counts half.
        assert_eq!(release(&layout(2, 2, 3), &[vec![(0, 4, 400), (1, 2, -100)]]), [16, 8, 200, -50, 4, 4]);
    }

    #[test]
    fn groups_above_the_bound_are_left_out_in_the_order_given() {
        assert_eq!(release(&layout(2, 1, 9), &[vec![(1, 4, 40), (0, 2, 30)]]), [0, 32, 0, 40, 0, 4]);
    }

    #[test]
    fn cells_that_do_not_exist_count_for_nothing() {
        assert_eq!(release(&layout(1, 1, 9), &[vec![(7, 4, 40), (0, 2, 30)]]), [16, 30, 4]);
    }

    fn any_customer() -> impl Strategy<Value = Customer> {
        let sum = prop_oneof![any::<i64>(), -1000i64..1000, Just(i64::MIN), Just(i64::MAX)];
        let rows = prop_oneof![1u64..50, Just(u64::MAX), Just(1 << 62)];
        proptest::collection::btree_map(0u32..6, (rows, sum), 0..6)
            .prop_map(|cells| cells.into_iter().map(|(cell, (rows, sum))| (cell, rows, sum)).collect())
    }

    proptest! {
        /// Whatever one customer brings, extremes included, it moves each component by at most its sensitivity.
        #[test]
        fn one_customer_moves_the_vector_by_at_most_the_sensitivity(
            others in proptest::collection::vec(any_customer(), 0..4),
            one in any_customer(),
            max_groups in 1u32..6,
            max_rows in 1u32..30,
        ) {
            let layout = layout(5, max_groups, max_rows);
            let without = release(&layout, &others);
            let with = release(&layout, &[others, vec![one]].concat());
            for component in 0..COMPONENTS.len() {
                let cells = component * 5..(component + 1) * 5;
                let square: u128 = cells.map(|i| u128::from(with[i].wrapping_sub(without[i]).unsigned_abs()).pow(2)).sum();
                prop_assert!(square <= layout.sensitivity_squared(component), "component {component}: {square}");
            }
        }

        /// The order of customers does not matter, nor how they are spread over steps.
        #[test]
        fn sums_do_not_depend_on_the_order(customers in proptest::collection::vec(any_customer(), 0..6)) {
            let layout = layout(5, 2, 7);
            let reversed: Vec<_> = customers.iter().rev().cloned().collect();
            prop_assert_eq!(release(&layout, &customers), release(&layout, &reversed));
        }
    }
}
