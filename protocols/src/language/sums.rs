//! The typed plan of sums over groups: what a node executes, the coordinator decodes and both hash.
//!
//! A plan is made by [`super::sql`] alone, from SQL and a public schema, and is total, as its
//! [expressions](super::expr) are. A row whose group key is NULL or outside the public groups is left out. A sum leaves
//! NULLs out.

use super::expr::{Expr, Value};
use super::schema::ColumnType;
use crate::privacy::bounds::{Component, Layout};

/// One `GROUP BY` key.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct GroupKey {
    /// What is grouped by.
    pub expr: Expr,
    /// Its public values, in the order of the result; without repeats, all of one type.
    pub domain: Vec<Value>,
}

/// A sum that is released: one component of the vector, for every cell (combination of group keys).
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum BaseSum {
    /// The number of rows.
    Rows,
    /// The number of customers with at least one row.
    Customers,
    /// The number of rows where the expression is not NULL.
    Present(Expr),
    /// The sum of `expr - center` over rows where it is not NULL, each clipped to `low..=high` before `center` is
    /// taken off. `expr` is Int or Float. `center` is 0 for a SUM and the middle of the range for an AVG, which
    /// halves what one row can do.
    Values {
        /// What is summed.
        expr: Expr,
        /// Smallest value that counts.
        low: f64,
        /// Largest value that counts.
        high: f64,
        /// Taken off every value.
        center: f64,
    },
}

/// What a measure is computed from; numbers are positions in [`SumsPlan::sums`].
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum MeasureKind {
    /// `COUNT(*)`.
    CountRows {
        /// A [`BaseSum::Rows`].
        rows: usize,
    },
    /// `COUNT(DISTINCT unit)`.
    CountCustomers {
        /// A [`BaseSum::Customers`].
        customers: usize,
    },
    /// `SUM(expr)`.
    Sum {
        /// A [`BaseSum::Values`] with center 0.
        sum: usize,
    },
    /// `AVG(expr)`: center + sum / count.
    Average {
        /// A [`BaseSum::Values`].
        sum: usize,
        /// A [`BaseSum::Present`] of the same expression.
        count: usize,
    },
}

/// One measure of the result.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Measure {
    /// Its name in the result.
    pub name: String,
    /// How it is computed.
    pub kind: MeasureKind,
}

/// A group key as it is shown.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct ShownKey {
    /// Its name in the result.
    pub name: String,
    /// Its position in [`SumsPlan::groups`].
    pub group: usize,
}

/// How the released numbers are shown: names and orders, which change none of them.
#[derive(Clone, Debug, Default, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Shown {
    /// The group keys, each once, in the order by which rows are listed: the last key runs fastest.
    pub keys: Vec<ShownKey>,
    /// What is computed from the sums.
    pub measures: Vec<Measure>,
    /// The order of the result's columns.
    pub outputs: Vec<Output>,
}

/// A column of the result, in the order of the SELECT list; numbers are positions in [`Shown::keys`] and [`Shown::measures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Output {
    /// A group key.
    Group(usize),
    /// A measure.
    Measure(usize),
}

/// The typed plan of a query over one data set, in its normal form: however a question is written, all is the same but for how
/// the answer is [`Shown`].
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct SumsPlan {
    /// The data set.
    pub dataset: String,
    /// The column that is one customer.
    pub privacy_unit: String,
    /// The columns that the plan reads, by name, with the types and bounds it relies on.
    pub columns: Vec<(String, ColumnType)>,
    /// Rows are kept where this is true.
    pub filter: Option<Expr>,
    /// Group keys; the cells of what is released are all combinations, the last key running fastest.
    pub groups: Vec<GroupKey>,
    /// What is released.
    pub sums: Vec<BaseSum>,
    /// How it is shown.
    pub shown: Shown,
    /// Largest number of groups (cells) one customer may touch, at least 1.
    pub max_groups: u32,
    /// Largest number of rows one customer may count with, at least 1.
    pub max_rows: u32,
}

/// The total that one customer's clipped values of a component may reach, in grid units: 2^30. Fine enough that
/// truncation is a millionth of the noise, coarse enough that 2^33 customers fit into 64 bits.
const CUSTOMER_UNITS: f64 = (1u64 << 30) as f64;

impl SumsPlan {
    /// The number of cells: combinations of group keys; 1 without groups.
    pub fn cells(&self) -> usize {
        self.groups.iter().map(|group| group.domain.len()).product()
    }

    /// The cell that is listed as row number `row` of the result, and the values of its keys in the order of [`Shown::keys`].
    pub fn listed(&self, mut row: usize) -> (usize, Vec<&Value>) {
        let (mut cell, mut keys) = (0, Vec::with_capacity(self.groups.len()));
        for ShownKey { group, .. } in self.shown.keys.iter().rev() {
            let (domain, faster) = (&self.groups[*group].domain, &self.groups[group + 1..]);
            let value = row % domain.len();
            row /= domain.len();
            cell += value * faster.iter().map(|key| key.domain.len()).product::<usize>();
            keys.push(&domain[value]);
        }
        keys.reverse();
        (cell, keys)
    }

    /// Its expressions.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let summed = self.sums.iter().filter_map(|sum| match sum {
            BaseSum::Rows | BaseSum::Customers => None,
            BaseSum::Present(expr) | BaseSum::Values { expr, .. } => Some(expr),
        });
        self.filter.iter().chain(self.groups.iter().map(|key| &key.expr)).chain(summed)
    }

    /// The same question without how it is shown.
    pub fn unnamed(&self) -> Self {
        Self { shown: Shown::default(), ..self.clone() }
    }

    /// The size of one grid unit of a component, a power of two: a value `x` counts as `trunc(x / unit)`.
    ///
    /// It is the smallest power of two for which `max_rows` rows of the largest absolute value stay within 2^30
    /// units (for customers: one customer in one cell stays within 2^20).
    pub fn grid_unit(&self, sum: &BaseSum) -> f64 {
        let largest = match sum {
            BaseSum::Rows | BaseSum::Present(_) => f64::from(self.max_rows),
            BaseSum::Customers => 1024.0,
            BaseSum::Values { low, high, center, .. } => {
                f64::from(self.max_rows) * (low - center).abs().max((high - center).abs())
            }
        };
        if largest == 0.0 {
            return 1.0;
        }
        // log2 may be off in the last place; the loop settles it exactly, as powers of two divide exactly.
        let mut unit = (largest / CUSTOMER_UNITS).log2().floor().exp2();
        while largest / unit > CUSTOMER_UNITS {
            unit *= 2.0;
        }
        while largest / (unit / 2.0) <= CUSTOMER_UNITS {
            unit /= 2.0;
        }
        unit
    }

    /// How the released vector is laid out and bounded: component after component, in each one value per cell.
    pub fn layout(&self) -> Layout {
        let components = self.sums.iter().map(|sum| {
            let unit = self.grid_unit(sum);
            match sum {
                BaseSum::Rows => Component::Rows { unit: (1.0 / unit) as u64 },
                BaseSum::Customers => Component::Customers { unit: (1.0 / unit) as u64 },
                BaseSum::Present(_) => Component::Values { per_row: (1.0 / unit) as u64 },
                BaseSum::Values { low, high, center, .. } => Component::Values {
                    per_row: ((low - center).abs().max((high - center).abs()) / unit).trunc() as u64,
                },
            }
        });
        Layout::new(self.cells(), self.max_groups, self.max_rows, components.collect())
    }
}
