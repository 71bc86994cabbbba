//! From the sum of all vectors to the table that people read: pure post-processing, which costs nothing.

use crate::language::expr::Value;
use crate::language::sums::{BaseSum, MeasureKind, SumsPlan};
use crate::privacy::interval::Estimate;
use crate::privacy::mechanism::Mechanism;

/// One row of the result: a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Values of the group keys, in the order in which they are shown.
    pub keys: Vec<Value>,
    /// Estimates, in the order of the plan's measures.
    pub measures: Vec<Estimate>,
}

/// The result of a query from the sum of all participants' vectors; one row a cell, in the order in which they are shown.
///
/// `None` if the vector has another length than the plan's.
pub fn rows(plan: &SumsPlan, mechanism: &Mechanism, sum: &[i64]) -> Option<Vec<Row>> {
    let cells = plan.cells();
    if sum.len() != cells * plan.sums.len() || mechanism.sigmas().len() != plan.sums.len() {
        return None;
    }
    let units: Vec<f64> = plan.sums.iter().map(|sum| plan.grid_unit(sum)).collect();
    // Value and standard deviation of a released sum, in its own unit.
    let released = |component: usize, cell: usize| {
        let unit = units[component];
        (sum[component * cells + cell] as f64 * unit, mechanism.total_sd(component) * unit)
    };
    let estimate = |kind: &MeasureKind, cell: usize| match *kind {
        MeasureKind::CountRows { rows: component } | MeasureKind::CountCustomers { customers: component } => {
            let (value, sd) = released(component, cell);
            Estimate::of_count(value, sd)
        }
        MeasureKind::Sum { sum } => {
            let (value, sd) = released(sum, cell);
            Estimate::of_sum(value, sd)
        }
        MeasureKind::Average { sum: component, count } => {
            let ((sum, sd_sum), (count, sd_count)) = (released(component, cell), released(count, cell));
            let (low, high, center) = range(&plan.sums[component]);
            Estimate::of_average(sum, sd_sum, count, sd_count, center, low, high)
        }
    };
    let row = |row: usize| {
        let (cell, keys) = plan.listed(row);
        Row {
            keys: keys.into_iter().cloned().collect(),
            measures: plan.shown.measures.iter().map(|measure| estimate(&measure.kind, cell)).collect(),
        }
    };
    Some((0..cells).map(row).collect())
}

/// How far each measure will be from the truth at 95 %, known before anything is asked: half the width of its interval, in
/// its own unit. For an average it depends on how many rows there are; it is given for a group of `rows` rows.
pub fn expected_error(plan: &SumsPlan, mechanism: &Mechanism, rows: f64) -> Vec<f64> {
    let sd = |component: usize| mechanism.total_sd(component) * plan.grid_unit(&plan.sums[component]);
    let half_width = |kind: &MeasureKind| match *kind {
        MeasureKind::CountRows { rows: component }
        | MeasureKind::CountCustomers { customers: component }
        | MeasureKind::Sum { sum: component } => {
            let estimate = Estimate::of_sum(0.0, sd(component));
            estimate.high
        }
        MeasureKind::Average { sum, count } => {
            let (low, high, center) = range(&plan.sums[sum]);
            let estimate = Estimate::of_average(0.0, sd(sum), rows, sd(count), center, low, high);
            (estimate.high - estimate.low) / 2.0
        }
    };
    plan.shown.measures.iter().map(|measure| half_width(&measure.kind)).collect()
}

fn range(sum: &BaseSum) -> (f64, f64, f64) {
    match sum {
        BaseSum::Values { low, high, center, .. } => (*low, *high, *center),
        BaseSum::Rows | BaseSum::Customers | BaseSum::Present(_) => (0.0, f64::INFINITY, 0.0),
    }
}
