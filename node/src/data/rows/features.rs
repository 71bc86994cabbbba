//! A features query made ready for a data set: batches of stored columns ─▶ for each row that counts, its customer and
//! its codes, four to a value.
//!
//! Bounding adds a customer's values up. Sums are exact, so the codes of a customer with one row come out as they went
//! in; those of a customer with several are mixed up, and are not used.

use arrow_array::ArrayRef;
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::learn::recipe::Values;
use entente_protocols::privacy::rows::Column;
use entente_tables::codes::Coder;

use super::Rows;
use super::domain::leave_out;
use super::input::{Asked, Found, Input, PLAN_AGAIN};
use crate::data::customers::labels::Labels;
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::unit::NO_CELL;

/// Codes in a value.
const PACKED: usize = 4;

/// A features query ready to run.
#[derive(Debug)]
pub(crate) struct Features {
    /// Its expressions are the outputs.
    input: Input,
    outputs: Vec<(Values, Coder)>,
    labels: Labels<Option<usize>>,
}

impl Features {
    /// Compiles a plan for a data set, which must be the one it was made for. `labels` are the outputs that are no features;
    /// a row without the target does not count.
    pub(crate) fn new(dataset: &Dataset, plan: &RowsPlan, labels: Labels<Option<usize>>) -> Result<Self, DataError> {
        let asked = Asked {
            dataset: &plan.dataset,
            privacy_unit: &plan.privacy_unit,
            columns: &plan.columns,
            filter: plan.filter.as_ref(),
        };
        let mut input = Input::new(dataset, asked)?;
        if labels.each().into_iter().flatten().any(|output| *output >= plan.outputs.len()) {
            return Err(input.unfit("it lacks an output that the study needs", PLAN_AGAIN));
        }
        if plan.outputs.len() == labels.count() {
            return Err(input.unfit("it has no features", Some("add columns to its SELECT")));
        }
        let mut outputs = Vec::with_capacity(plan.outputs.len());
        for output in &plan.outputs {
            input.compute(&output.expr)?;
            outputs.push((output.values.clone(), Coder::new(&output.values, input.texts())));
        }
        Ok(Self { input, outputs, labels })
    }

    /// The stored columns that batches must have, the privacy unit first.
    pub(crate) fn columns(&self) -> &[String] {
        self.input.columns()
    }

    /// What the codes of all outputs that are features mean.
    pub(crate) fn meanings(&self) -> Vec<Column> {
        let features = self.outputs.iter().enumerate().filter(|(at, _)| !self.labels.contain(*at));
        features.map(|(_, (values, _))| values.column()).collect()
    }

    /// Values that a row brings.
    pub(crate) fn values(&self) -> usize {
        self.outputs.len().div_ceil(PACKED)
    }

    /// Takes a batch to its customers and their codes, all in one cell.
    pub(crate) fn rows(&self, stored: &[ArrayRef], rows: usize) -> Rows {
        self.counted(stored, rows).0
    }

    /// The same, and how many values were looked at.
    pub(crate) fn counted(&self, stored: &[ArrayRef], rows: usize) -> (Rows, u64) {
        let mut cells = vec![0; rows];
        let mut values = vec![vec![0; rows]; self.values()];
        let Found { kept, looked_at } = self.input.evaluate(stored, rows, |at, vector| {
            let codes = self.outputs[at].1.codes(&vector);
            if self.labels.target == Some(at) {
                cells.iter_mut().zip(&codes).filter(|(_, code)| **code == 0).for_each(|(cell, _)| *cell = NO_CELL);
            }
            let shift = 16 * (at % PACKED);
            for (value, code) in values[at / PACKED].iter_mut().zip(codes) {
                *value |= i64::from(code) << shift;
            }
        });
        if let Some(kept) = &kept {
            leave_out(&mut cells, kept);
        }
        (Rows { unit: stored[0].clone(), cells, counts: None, values }, looked_at)
    }
}

/// The code of output number `at` in a row's values.
pub(crate) fn unpacked(values: &[i64], at: usize) -> u16 {
    (values[at / PACKED] >> (16 * (at % PACKED))) as u16
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
