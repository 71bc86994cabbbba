//! `result.json`: written in a fixed order of keys, and read back for terminals.

use entente_host::terminal::one_line;
use entente_protocols::language::expr::Value;
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::{CONFIDENCE, Estimate};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Header, ResultTable, Row, number};

/// The bytes of `result.json`.
pub fn write(header: &Header<'_>, table: &ResultTable) -> Result<Vec<u8>, String> {
    let rows = table.rows.iter().map(|row| RowView { table, row }).collect();
    let document = Document { header, confidence: CONFIDENCE, columns: table.columns(), rows };
    let mut bytes = serde_json::to_vec_pretty(&document)
        .map_err(|error| format!("the result cannot be written as JSON ({error}); this is a bug, please report it"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Columns and rows of a `result.json` as text for people: measures as `value [low, high]`.
///
/// `None` if it is not the result of a query.
pub fn read(result: &[u8]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let result: serde_json::Value = serde_json::from_slice(result).ok()?;
    let columns = result.get("columns")?.as_array()?.iter();
    let columns: Vec<&str> = columns.map(|column| column.as_str()).collect::<Option<_>>()?;
    let row = |row: &serde_json::Value| columns.iter().map(|column| cell(row.get(column)?)).collect::<Option<Vec<_>>>();
    let rows = result.get("rows")?.as_array()?.iter().map(row).collect::<Option<Vec<_>>>()?;
    Some((columns.into_iter().map(one_line).collect(), rows))
}

/// A cell as text; a measure as `value [low, high]`.
pub(super) fn cell(cell: &serde_json::Value) -> Option<String> {
    match cell {
        serde_json::Value::Object(_) => {
            let part = |name: &str| cell.get(name)?.as_f64();
            let estimate = Estimate { value: part("value")?, low: part("low")?, high: part("high")? };
            let shown = number::shown(&estimate, number::Style::Plain);
            Some(format!("{} [{}, {}]", shown.value, shown.low, shown.high))
        }
        serde_json::Value::String(text) => Some(one_line(text)),
        serde_json::Value::Null | serde_json::Value::Array(_) => None,
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(cell.to_string()),
    }
}

#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    header: &'a Header<'a>,
    confidence: f64,
    columns: Vec<&'a str>,
    rows: Vec<RowView<'a>>,
}

/// One row as an object whose keys stand in the order of the SELECT list.
struct RowView<'a> {
    table: &'a ResultTable,
    row: &'a Row,
}

impl Serialize for RowView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { table, row } = self;
        let mut map = serializer.serialize_map(Some(table.order.len()))?;
        for output in &table.order {
            match *output {
                Output::Group(key) => map.serialize_entry(&table.keys[key].name, &KeyView(&row.keys[key]))?,
                Output::Measure(measure) => {
                    map.serialize_entry(
                        &table.measures[measure].name,
                        &EstimateView::from(row.cells[measure].estimate),
                    )?;
                }
            }
        }
        map.end()
    }
}

struct KeyView<'a>(&'a Value);

impl Serialize for KeyView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Int(value) => value.serialize(serializer),
            Value::Float(value) => Number(*value).serialize(serializer),
            Value::Bool(value) => value.serialize(serializer),
            Value::Text(value) => value.serialize(serializer),
            Value::Date(value) => value.serialize(serializer),
        }
    }
}

#[derive(serde::Serialize)]
pub(super) struct EstimateView {
    value: Number,
    low: Number,
    high: Number,
}

impl From<Estimate> for EstimateView {
    fn from(Estimate { value, low, high }: Estimate) -> Self {
        let [value, low, high] = [value, low, high].map(Number);
        Self { value, low, high }
    }
}

/// A number without `.0` at its end where it is whole, so that counts look like counts.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = (1u64 << 53) as f64;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
