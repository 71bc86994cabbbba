//! What is alike in every `result.json`: how it is written, and how its numbers are and are read back.

use entente_host::terminal::one_line;
use entente_protocols::privacy::interval::Estimate;
use serde::ser::{Serialize, Serializer};

use super::number;

/// The bytes of a document.
pub(crate) fn write(document: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut bytes = serde_json::to_vec_pretty(document)
        .map_err(|error| format!("the result cannot be written as JSON ({error}); this is a bug, please report it"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A cell as text; a measure as `value [low, high]`.
pub(crate) fn cell(cell: &serde_json::Value) -> Option<String> {
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

/// An estimate, as results have it.
#[derive(serde::Serialize)]
pub(crate) struct EstimateView {
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
pub(crate) struct Number(pub(crate) f64);

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
