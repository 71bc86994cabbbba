//! A query's plan made ready for a data set: batches of stored columns ─▶ for each row that counts, its customer, its cell and
//! its values on the grid.

use arrow_array::ArrayRef;
use entente_protocols::language::sums::{BaseSum, SumsPlan};
use entente_tables::vector::Vector;

use super::Rows;
use super::domain::{Domain, leave_out};
use super::input::{Asked, Found, Input};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::unit::NO_CELL;

/// A plan ready to run.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Its expressions are those of `keys`, then those of `values`.
    input: Input,
    keys: Vec<Key>,
    values: Vec<GridValue>,
}

#[derive(Debug)]
struct Key {
    domain: Domain,
    count: u32,
}

/// What one component adds for a row.
#[derive(Debug)]
enum GridValue {
    Present { units: i64 },
    Clipped { low: f64, high: f64, center: f64, unit: f64 },
}

impl Pipeline {
    /// Compiles a plan for a data set, which must be the one it was made for.
    pub(crate) fn new(dataset: &Dataset, plan: &SumsPlan) -> Result<Self, DataError> {
        let asked = Asked {
            dataset: &plan.dataset,
            privacy_unit: &plan.privacy_unit,
            columns: &plan.columns,
            filter: plan.filter.as_ref(),
        };
        let mut input = Input::new(dataset, asked)?;
        let cells =
            plan.groups.iter().try_fold(1u32, |cells, key| cells.checked_mul(key.domain.len().try_into().ok()?));
        if cells.is_none_or(|cells| cells == NO_CELL) {
            return Err(input.unfit("it has 2^32 groups or more", None));
        }
        let mut keys = Vec::with_capacity(plan.groups.len());
        for key in &plan.groups {
            input.compute(&key.expr)?;
            keys.push(Key { domain: Domain::new(&key.domain, input.texts()), count: key.domain.len() as u32 });
        }
        let mut values = Vec::with_capacity(plan.sums.len());
        for sum in &plan.sums {
            let grid = plan.grid_unit(sum);
            let (expr, value) = match sum {
                BaseSum::Rows | BaseSum::Customers => continue,
                BaseSum::Present(expr) => (expr, GridValue::Present { units: (1.0 / grid) as i64 }),
                BaseSum::Values { expr, low, high, center } => {
                    (expr, GridValue::Clipped { low: *low, high: *high, center: *center, unit: grid })
                }
            };
            input.compute(expr)?;
            values.push(value);
        }
        Ok(Self { input, keys, values })
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(crate) fn columns(&self) -> &[String] {
        self.input.columns()
    }

    /// Takes a batch to its customers, cells and values.
    pub(crate) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Rows {
        self.counted(stored, rows).0
    }

    /// The same, and how many values were looked at.
    pub(crate) fn counted(&self, stored: &[ArrayRef], rows: usize) -> (Rows, u64) {
        let mut cells = vec![0; rows];
        let mut values = Vec::with_capacity(self.values.len());
        let Found { kept, looked_at } =
            self.input.evaluate(stored, rows, |expression, vector| match expression.checked_sub(self.keys.len()) {
                None => self.keys[expression].domain.extend(&mut cells, self.keys[expression].count, &vector),
                Some(value) => values.push(self.values[value].units(&vector)),
            });
        if let Some(kept) = &kept {
            leave_out(&mut cells, kept);
        }
        (Rows { unit: stored[0].clone(), cells, counts: None, values }, looked_at)
    }
}

impl GridValue {
    /// What each row adds; NULL adds nothing.
    fn units(&self, vector: &Vector) -> Vec<i64> {
        let mut units: Vec<i64> = match *self {
            Self::Present { units } => vec![units; vector.len()],
            Self::Clipped { low, high, center, unit } => {
                let grid = |value: f64| match value.is_nan() {
                    true => 0,
                    // Truncates toward zero, so that no value goes past the largest that the layout knows of.
                    false => ((value.max(low).min(high) - center) / unit) as i64,
                };
                match vector {
                    Vector::Float(values) => values.values().iter().map(|&value| grid(value)).collect(),
                    Vector::Int(values) => values.values().iter().map(|&value| grid(value as f64)).collect(),
                    // No number: the planner sums nothing else.
                    Vector::Bool(_) | Vector::Text(_) | Vector::Date(_) => vec![0; vector.len()],
                }
            }
        };
        if let Some(nulls) = vector.nulls() {
            units.iter_mut().zip(nulls).for_each(|(units, valid)| *units *= i64::from(valid));
        }
        units
    }
}
