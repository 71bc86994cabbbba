//! A table of estimates, which most results are: group keys, and measures with their intervals.

use entente_protocols::language::expr::{DateUnit, Value, ValueType};
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::Estimate;

/// A table of estimates: one row per cell, in the order of the plan.
#[derive(Clone, Debug)]
pub struct ResultTable {
    /// The group keys.
    pub keys: Vec<Key>,
    /// The measures.
    pub measures: Vec<Measure>,
    /// Keys and measures in the order of the SELECT list.
    pub order: Vec<Output>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A group key's column.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub value_type: ValueType,
    /// What its dates were cut down to, for dates.
    pub unit: Option<DateUnit>,
    /// Whether its values follow upon one another in time, so that a line through them means something.
    pub sequence: bool,
}

impl Key {
    /// How people write a value of this key: a month without its first day.
    pub fn label(&self, value: &Value) -> String {
        match (value, self.unit) {
            (Value::Date(day), Some(DateUnit::Month)) => day.date().strftime("%Y-%m").to_string(),
            (Value::Date(day), Some(DateUnit::Quarter)) => {
                let date = day.date();
                format!("{} Q{}", date.year(), (date.month() + 2) / 3)
            }
            (Value::Date(day), Some(DateUnit::Year)) => day.date().year().to_string(),
            _ => value.to_string(),
        }
    }
}

/// A measure's column.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// Whether its values are counts.
    pub whole: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Values of the keys, in the order of [`ResultTable::keys`].
    pub keys: Vec<Value>,
    /// Estimates, in the order of [`ResultTable::measures`].
    pub cells: Vec<Cell>,
}

/// One published number; always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The number and its interval.
    pub estimate: Estimate,
    /// False where the noise leaves nothing to say, and the interval is the whole declared range.
    pub known: bool,
}

impl ResultTable {
    /// The names of the columns, in the order of the SELECT list.
    pub fn columns(&self) -> Vec<&str> {
        let name = |output: &Output| match *output {
            Output::Group(key) => self.keys[key].name.as_str(),
            Output::Measure(measure) => self.measures[measure].name.as_str(),
        };
        self.order.iter().map(name).collect()
    }

    /// What identifies a row, in one line.
    pub(super) fn label(&self, row: &Row) -> String {
        let labels: Vec<String> = self.keys.iter().zip(&row.keys).map(|(key, value)| key.label(value)).collect();
        labels.join(" · ")
    }

    /// The columns of a table that has only plain values: `m`, `m_low` and `m_high` for a measure `m`.
    ///
    /// Names are unique without regard to case, as data tools need: a name that another column has already gets
    /// underscores at its end.
    pub(super) fn flat(&self) -> Vec<(String, Flat)> {
        let mut taken: Vec<String> = self.columns().iter().map(|name| name.to_lowercase()).collect();
        let mut free = |mut name: String| {
            while taken.contains(&name.to_lowercase()) {
                name.push('_');
            }
            taken.push(name.to_lowercase());
            name
        };
        let mut columns = Vec::new();
        for output in &self.order {
            match *output {
                Output::Group(key) => columns.push((self.keys[key].name.clone(), Flat::Key(key))),
                Output::Measure(measure) => {
                    let name = &self.measures[measure].name;
                    columns.push((name.clone(), Flat::Number(measure, |estimate| estimate.value)));
                    columns.push((free(format!("{name}_low")), Flat::Number(measure, |estimate| estimate.low)));
                    columns.push((free(format!("{name}_high")), Flat::Number(measure, |estimate| estimate.high)));
                }
            }
        }
        columns
    }
}

/// A column of plain values.
#[derive(Clone, Copy)]
pub(super) enum Flat {
    /// A group key.
    Key(usize),
    /// A part of a measure's estimate.
    Number(usize, fn(&Estimate) -> f64),
}
