//! The sums of a plan over invented customers with one row each, whom no bound touches.

use std::collections::HashMap;

use arrow_array::Array;
use entente_protocols::language::expr::{Value, ValueType};
use entente_protocols::language::sums::{BaseSum, SumsPlan};
use entente_tables::evaluate::Program;
use entente_tables::read::ColumnReader;
use entente_tables::texts::Texts;
use entente_tables::vector::{Vector, tidy};

use super::invented::Draws;

/// What a component of the plan adds for a row.
enum Adds {
    /// The same for each row.
    Each(i64),
    /// That, where output number so much has a value.
    Present(usize, i64),
    /// The value of an output, within its range and from its centre, in grid units.
    Value { output: usize, low: f64, high: f64, center: f64, unit: f64 },
}

/// The sums over so many customers, component after component, in each one value per cell.
pub(super) fn over(plan: &SumsPlan, draws: &mut Draws, customers: usize) -> Result<Vec<i64>, String> {
    let mut texts = Texts::default();
    let read = |(name, column): &(String, _)| (name.clone(), ColumnReader::new(column, &mut texts).value_type());
    let types: Vec<(String, ValueType)> = plan.columns.iter().map(read).collect();
    let columns: Vec<Vector> =
        plan.columns.iter().map(|(_, column)| draws.column(column, &mut texts, customers)).collect();
    let mut program = Program::new(types, texts);
    let mut outputs = 0;
    let mut add = |program: &mut Program, expr| {
        outputs += 1;
        program.add(expr).map(|()| outputs - 1).map_err(|unfit| unfit.to_string())
    };
    let filter = plan.filter.as_ref().map(|filter| add(&mut program, filter)).transpose()?;
    let mut keys = Vec::new();
    for key in &plan.groups {
        let output = add(&mut program, &key.expr)?;
        let positions: HashMap<i64, usize> =
            key.domain.iter().enumerate().map(|(at, value)| (number(value, program.texts()), at)).collect();
        keys.push((output, key.domain.len(), positions));
    }
    let mut adds = Vec::new();
    for sum in &plan.sums {
        let unit = plan.grid_unit(sum);
        let one = (1.0 / unit) as i64;
        adds.push(match sum {
            BaseSum::Rows | BaseSum::Customers => Adds::Each(one),
            BaseSum::Present(expr) => Adds::Present(add(&mut program, expr)?, one),
            BaseSum::Values { expr, low, high, center } => {
                Adds::Value { output: add(&mut program, expr)?, low: *low, high: *high, center: *center, unit }
            }
        });
    }
    let mut found: Vec<Option<Vector>> = (0..outputs).map(|_| None).collect();
    program.run(&columns, customers, |output, vector| found[output] = Some(vector));
    let found: Vec<Vector> = found.into_iter().flatten().collect();
    let kept = filter.map(|filter| found[filter].holds());
    let cells = plan.cells();
    let mut sums = vec![0i64; cells * adds.len()];
    for row in (0..customers).filter(|row| kept.as_ref().is_none_or(|kept| kept.value(*row))) {
        let cell = keys.iter().try_fold(0, |cell, (output, count, positions)| {
            Some(cell * count + positions.get(&stored(&found[*output], row)?)?)
        });
        let Some(cell) = cell else { continue };
        for (component, adds) in adds.iter().enumerate() {
            sums[component * cells + cell] += adds.of(&found, row);
        }
    }
    Ok(sums)
}

impl Adds {
    fn of(&self, found: &[Vector], row: usize) -> i64 {
        match *self {
            Self::Each(units) => units,
            Self::Present(output, units) => stored(&found[output], row).map_or(0, |_| units),
            Self::Value { output, low, high, center, unit } => {
                let value = match &found[output] {
                    Vector::Int(values) => values.is_valid(row).then(|| values.value(row) as f64),
                    Vector::Float(values) => values.is_valid(row).then(|| values.value(row)),
                    Vector::Bool(_) | Vector::Text(_) | Vector::Date(_) => None,
                };
                value.map_or(0, |value| ((value.clamp(low, high) - center) / unit) as i64)
            }
        }
    }
}

/// A value of a public domain as the number by which rows have it.
fn number(value: &Value, texts: &mut Texts) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Float(value) => tidy(*value).unwrap_or_default().to_bits().cast_signed(),
        Value::Bool(value) => i64::from(*value),
        Value::Text(value) => i64::from(texts.code(value)),
        Value::Date(day) => i64::from(day.0),
    }
}

/// The same of a row; `None` where it has none.
fn stored(vector: &Vector, row: usize) -> Option<i64> {
    match vector {
        Vector::Int(values) => values.is_valid(row).then(|| values.value(row)),
        Vector::Float(values) => values.is_valid(row).then(|| values.value(row).to_bits().cast_signed()),
        Vector::Bool(values) => values.is_valid(row).then(|| i64::from(values.value(row))),
        Vector::Text(values) => values.is_valid(row).then(|| i64::from(values.value(row))),
        Vector::Date(values) => values.is_valid(row).then(|| i64::from(values.value(row))),
    }
}
