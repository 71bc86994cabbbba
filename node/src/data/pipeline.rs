//! A plan made ready for a data set: batches of stored columns ─▶ for each row that counts, its customer, its cell and
//! its values on the grid.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema, SchemaRef};
use entente_protocols::study::query::plan::{BaseSum, QueryPlan};

use super::bounding::NO_CELL;
use super::dataset::Dataset;
use super::error::DataError;
use super::expr::{Compiled, Domain};
use super::read::{ColumnReader, Texts};
use super::scan::{ScanError, record_batch};

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
    /// The stored columns it needs, the privacy unit first.
    columns: Vec<String>,
    consent: Option<super::consent::Consent>,
    /// Which stored column each typed column is read from, and how.
    readers: Vec<(usize, ColumnReader)>,
    typed: SchemaRef,
    filter: Option<Compiled>,
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
    pub(super) fn new(dataset: &Dataset, plan: &QueryPlan) -> Result<Self, DataError> {
        let schema = dataset.schema();
        let unfit = |problem: String| DataError::Plan { dataset: schema.name.clone(), problem };
        if plan.dataset != schema.name || plan.privacy_unit != schema.privacy_unit {
            return Err(unfit(format!("it is made for `{}` by `{}`", plan.dataset, plan.privacy_unit)));
        }
        let cells =
            plan.groups.iter().try_fold(1u32, |cells, key| cells.checked_mul(key.domain.len().try_into().ok()?));
        if cells.is_none_or(|cells| cells == NO_CELL) {
            return Err(unfit("it has 2^32 groups or more".into()));
        }
        let mut columns = vec![plan.privacy_unit.clone()];
        let mut readers = Vec::new();
        let mut fields = Vec::new();
        let mut texts = Texts::default();
        for (name, column_type) in &plan.columns {
            if schema.columns.get(name) != Some(column_type) {
                return Err(unfit(format!("column `{name}` is not declared as the plan says; plan the study again")));
            }
            let reader = ColumnReader::new(column_type, &mut texts);
            fields.push(Field::new(name, reader.data_type(), true));
            readers.push((columns.len(), reader));
            columns.push(name.clone());
        }
        let consent = dataset.consent().cloned();
        for name in consent.iter().flat_map(|consent| consent.columns()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let typed = Arc::new(Schema::new(fields));
        let mut compile = |expr| Compiled::new(expr, &typed, &mut texts).map_err(|error| unfit(error.to_string()));
        let filter = plan.filter.as_ref().map(&mut compile).transpose()?;
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
        Ok(Self { columns, consent, readers, typed, filter, keys, values })
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Takes a batch to its customers, cells and values.
    pub(super) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Result<Rows, ScanError> {
        let typed = self.readers.iter().map(|(column, reader)| reader.read(&stored[*column])).collect();
        let mut typed = record_batch(&self.typed, typed, rows)?;
        let mut unit = stored[0].clone();
        if let Some(kept) = self.kept(stored, rows, &typed)?
            && kept.true_count() < rows
        {
            typed = filter_record_batch(&typed, &kept)?;
            unit = filter(&unit, &kept)?;
        }
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

    fn kept(
        &self,
        stored: &[ArrayRef],
        rows: usize,
        typed: &arrow::array::RecordBatch,
    ) -> Result<Option<BooleanArray>, ScanError> {
        let column = |name: &str| stored.get(self.columns.iter().position(|column| column == name)?);
        let consent = self.consent.as_ref().map(|consent| consent.allows(rows, &column));
        let filter = self.filter.as_ref().map(|filter| filter.holds(typed)).transpose()?;
        Ok(match (consent, filter) {
            (Some(consent), Some(filter)) => Some(BooleanArray::new(consent.values() & filter.values(), None)),
            (consent, filter) => consent.or(filter),
        })
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
