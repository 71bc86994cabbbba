//! A query's plan made ready for a data set: batches of stored columns ─▶ for each row that counts, its customer, its cell and
//! its values on the grid.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use entente_protocols::language::sums::{BaseSum, SumsPlan};

use super::bounding::NO_CELL;
use super::dataset::Dataset;
use super::error::DataError;
use super::expr::{Compiled, Domain};
use super::input::{Asked, Input};
use super::scan::ScanError;

/// Rows on their way to bounding.
pub(super) struct Rows {
    /// The privacy unit as stored.
    pub(super) unit: ArrayRef,
    /// The cell, or [`NO_CELL`] for a row that is in none.
    pub(super) cells: Vec<u32>,
    /// The values of each component that has them.
    pub(super) values: Vec<Vec<i64>>,
}

/// A plan ready to run.
#[derive(Debug)]
pub(super) struct Pipeline {
    input: Input,
    keys: Vec<Key>,
    values: Vec<GridValue>,
}

#[derive(Debug)]
struct Key {
    expr: Compiled,
    domain: Domain,
    count: u32,
}

/// What one component adds for a row.
#[derive(Debug)]
enum GridValue {
    Present { expr: Compiled, units: i64 },
    Clipped { expr: Compiled, low: f64, high: f64, center: f64, unit: f64 },
}

impl Pipeline {
    /// Compiles a plan for a data set, which must be the one it was made for.
    pub(super) fn new(dataset: &Dataset, plan: &SumsPlan) -> Result<Self, DataError> {
        let asked = Asked {
            dataset: &plan.dataset,
            privacy_unit: &plan.privacy_unit,
            columns: &plan.columns,
            filter: plan.filter.as_ref(),
        };
        let (input, mut texts) = Input::new(dataset, asked)?;
        let cells =
            plan.groups.iter().try_fold(1u32, |cells, key| cells.checked_mul(key.domain.len().try_into().ok()?));
        if cells.is_none_or(|cells| cells == NO_CELL) {
            return Err(input.unfit("it has 2^32 groups or more"));
        }
        let mut compile = |expr| input.compile(expr, &mut texts);
        let keys = plan.groups.iter().map(|key| compile(&key.expr)).collect::<Result<Vec<_>, _>>()?;
        let values = plan.sums.iter().filter_map(|sum| {
            let grid = plan.grid_unit(sum);
            match sum {
                BaseSum::Rows | BaseSum::Customers => None,
                BaseSum::Present(expr) => {
                    Some(compile(expr).map(|expr| GridValue::Present { expr, units: (1.0 / grid) as i64 }))
                }
                BaseSum::Values { expr, low, high, center } => Some(compile(expr).map(|expr| {
                    let (low, high, center) = (*low, *high, *center);
                    GridValue::Clipped { expr, low, high, center, unit: grid }
                })),
            }
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let keys = keys.into_iter().zip(&plan.groups).map(|(expr, key)| Key {
            expr,
            domain: Domain::new(&key.domain, &mut texts),
            count: key.domain.len() as u32,
        });
        let keys = keys.collect();
        Ok(Self { input, keys, values })
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(super) fn columns(&self) -> &[String] {
        self.input.columns()
    }

    /// Takes a batch to its customers, cells and values.
    pub(super) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Result<Rows, ScanError> {
        let (unit, typed) = self.input.rows(stored, rows)?;
        let mut cells = vec![0; typed.num_rows()];
        for key in &self.keys {
            key.domain.extend(&mut cells, key.count, &key.expr.evaluate(&typed)?);
        }
        let values = self.values.iter().map(|value| match value {
            GridValue::Present { expr, units } => Ok(present(&expr.evaluate(&typed)?, *units)),
            GridValue::Clipped { expr, low, high, center, unit } => {
                let grid = |value: f64| match value.is_nan() {
                    true => 0,
                    // Truncates toward zero, so that no value goes past the largest that the layout knows of.
                    false => ((value.max(*low).min(*high) - center) / unit) as i64,
                };
                Ok(quantise(&expr.evaluate(&typed)?, grid))
            }
        });
        let values = values.collect::<Result<_, ScanError>>()?;
        Ok(Rows { unit, cells, values })
    }
}

fn present(values: &ArrayRef, units: i64) -> Vec<i64> {
    match values.logical_nulls() {
        None => vec![units; values.len()],
        Some(nulls) => nulls.iter().map(|valid| if valid { units } else { 0 }).collect(),
    }
}

/// Values on the grid; NULL adds nothing.
fn quantise(values: &ArrayRef, grid: impl Fn(f64) -> i64) -> Vec<i64> {
    let mut units: Vec<i64> = if let Some(values) = values.as_primitive_opt::<Float64Type>() {
        values.values().iter().map(|&value| grid(value)).collect()
    } else if let Some(values) = values.as_primitive_opt::<Int64Type>() {
        values.values().iter().map(|&value| grid(value as f64)).collect()
    } else {
        vec![0; values.len()]
    };
    if let Some(nulls) = values.logical_nulls() {
        units.iter_mut().zip(&nulls).filter(|(_, valid)| !valid).for_each(|(units, _)| *units = 0);
    }
    units
}
