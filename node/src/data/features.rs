//! A features query made ready for a data set: batches of stored columns ─▶ for each row that counts, its customer and
//! its codes, four to a value.
//!
//! Bounding adds a customer's values up. Sums are exact, so the codes of a customer with one row come out as they went
//! in; those of a customer with several are mixed up, and are not used.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use entente_protocols::language::expr::Value;
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::learn::recipe::Values;
use entente_protocols::privacy::rows::Column;

use super::bounding::NO_CELL;
use super::customers::Apart;
use super::dataset::Dataset;
use super::error::DataError;
use super::expr::{Compiled, Domain};
use super::input::{Asked, Input};
use super::pipeline::Rows;
use super::scan::ScanError;

/// Codes in a value.
const PACKED: usize = 4;

/// A features query ready to run.
#[derive(Debug)]
pub(super) struct Features {
    input: Input,
    outputs: Vec<Coder>,
    apart: Apart<Option<usize>>,
    target: Option<usize>,
}

impl Features {
    /// Compiles a plan for a data set, which must be the one it was made for. `apart` are the outputs that are no features,
    /// `target` is the one of them without which a row does not count.
    pub(super) fn new(
        dataset: &Dataset,
        plan: &RowsPlan,
        apart: Apart<Option<usize>>,
        target: Option<usize>,
    ) -> Result<Self, DataError> {
        let asked = Asked {
            dataset: &plan.dataset,
            privacy_unit: &plan.privacy_unit,
            columns: &plan.columns,
            filter: plan.filter.as_ref(),
        };
        let (input, mut texts) = Input::new(dataset, asked)?;
        if apart.iter().flatten().any(|output| *output >= plan.outputs.len()) {
            return Err(input.unfit("it lacks an output that the study needs; plan the study again"));
        }
        if plan.outputs.len() == apart.iter().flatten().count() {
            return Err(input.unfit("it has no features; add columns to its SELECT"));
        }
        let outputs = plan.outputs.iter().map(|output| {
            let domain = match &output.values {
                Values::Category { values } => {
                    let values: Vec<Value> = values.iter().cloned().map(Value::Text).collect();
                    Some(Domain::new(&values, &mut texts))
                }
                Values::Number { .. } | Values::Date { .. } | Values::Bool => None,
            };
            let expr = input.compile(&output.expr, &mut texts)?;
            Ok(Coder { expr, values: output.values.clone(), domain })
        });
        let outputs = outputs.collect::<Result<_, DataError>>()?;
        Ok(Self { input, outputs, apart, target })
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(super) fn columns(&self) -> &[String] {
        self.input.columns()
    }

    /// What the codes of all outputs that are features mean.
    pub(super) fn meanings(&self) -> Vec<Column> {
        let features = self.outputs.iter().enumerate().filter(|(at, _)| !self.apart.contains(&Some(*at)));
        features.map(|(_, output)| output.values.column()).collect()
    }

    /// Values that a row brings.
    pub(super) fn values(&self) -> usize {
        self.outputs.len().div_ceil(PACKED)
    }

    /// Takes a batch to its customers and their codes, all in one cell.
    pub(super) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Result<Rows, ScanError> {
        let (unit, typed) = self.input.rows(stored, rows)?;
        let mut cells = vec![0; typed.num_rows()];
        let mut values = vec![vec![0; typed.num_rows()]; self.values()];
        for (at, output) in self.outputs.iter().enumerate() {
            let codes = output.codes(&typed)?;
            if self.target == Some(at) {
                cells.iter_mut().zip(&codes).filter(|(_, code)| **code == 0).for_each(|(cell, _)| *cell = NO_CELL);
            }
            let shift = 16 * (at % PACKED);
            for (value, code) in values[at / PACKED].iter_mut().zip(codes) {
                *value |= i64::from(code) << shift;
            }
        }
        Ok(Rows { unit, cells, values })
    }
}

/// The code of output number `at` in a row's values.
pub(super) fn unpacked(values: &[i64], at: usize) -> u16 {
    (values[at / PACKED] >> (16 * (at % PACKED))) as u16
}

/// Computes one output and its codes.
#[derive(Debug)]
struct Coder {
    expr: Compiled,
    values: Values,
    /// Of a category, the position of each text.
    domain: Option<Domain>,
}

impl Coder {
    fn codes(&self, batch: &RecordBatch) -> Result<Vec<u16>, ScanError> {
        let array = self.expr.evaluate(batch)?;
        let number = |x: f64| self.values.code_of_number(x);
        let mut codes: Vec<u16> = match (array.data_type(), &self.domain) {
            (DataType::Float64, None) => {
                array.as_primitive::<Float64Type>().values().iter().map(|&x| number(x)).collect()
            }
            (DataType::Int64, None) => {
                array.as_primitive::<Int64Type>().values().iter().map(|&x| number(x as f64)).collect()
            }
            (DataType::Date32, None) => {
                array.as_primitive::<Date32Type>().values().iter().map(|&day| number(f64::from(day))).collect()
            }
            (DataType::Boolean, None) => {
                let codes = [false, true].map(|value| self.values.code_of_bool(value));
                array.as_boolean().values().iter().map(|value| codes[usize::from(value)]).collect()
            }
            (DataType::Int32, Some(domain)) => {
                let mut positions = vec![0; array.len()];
                domain.extend(&mut positions, 1, &array);
                // No position is one less than 0.
                positions.into_iter().map(|position| u16::try_from(position.wrapping_add(1)).unwrap_or(0)).collect()
            }
            // Of another type than the plan says: the planner makes no such output.
            _ => vec![0; array.len()],
        };
        if let Some(nulls) = array.logical_nulls() {
            codes.iter_mut().zip(&nulls).filter(|(_, valid)| !valid).for_each(|(code, _)| *code = 0);
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_packing() {
        let codes = [0u16, 65535, 1, 40000, 32768, 7];
        let mut values = [0i64; 2];
        for (at, code) in codes.into_iter().enumerate() {
            values[at / PACKED] |= i64::from(code) << (16 * (at % PACKED));
        }
        assert_eq!([0, 1, 2, 3, 4, 5].map(|at| unpacked(&values, at)), codes);
    }
}
