//! `result.json` of a query: written in a fixed order of keys, and read back for terminals.

use entente_host::terminal::one_line;
use entente_protocols::language::expr::Value;
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::CONFIDENCE;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::results::header::Header;
use crate::results::json::{self, EstimateView, Number, cell};
use crate::results::table::{ResultTable, Row};

/// The bytes of `result.json`.
pub fn write(header: &Header<'_>, table: &ResultTable) -> Result<Vec<u8>, String> {
    let rows = table.rows.iter().map(|row| RowView { table, row }).collect();
    let document = Document { header, confidence: CONFIDENCE, columns: table.columns(), rows };
    json::write(&document)
}

/// Columns and rows of a `result.json` as text for people: measures as `value [low, high]`.
///
/// `None` if it is not the result of a query.
pub fn table(result: &[u8]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let result: serde_json::Value = serde_json::from_slice(result).ok()?;
    let columns = result.get("columns")?.as_array()?.iter();
    let columns: Vec<&str> = columns.map(|column| column.as_str()).collect::<Option<_>>()?;
    let row = |row: &serde_json::Value| columns.iter().map(|column| cell(row.get(column)?)).collect::<Option<Vec<_>>>();
    let rows = result.get("rows")?.as_array()?.iter().map(row).collect::<Option<Vec<_>>>()?;
    Some((columns.into_iter().map(one_line).collect(), rows))
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
