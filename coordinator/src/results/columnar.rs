//! `result.parquet`: the columns of the CSV with their types.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use arrow_schema::{Field, Schema};
use entente_protocols::language::expr::{Value, ValueType};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::table::{Flat, ResultTable};

/// The bytes of `result.parquet`. Not compressed: released numbers are noise in their last digits, and dictionaries
/// already take care of repeated keys.
pub(crate) fn write(table: &ResultTable) -> Result<Vec<u8>, String> {
    encode(table)
        .map_err(|error| format!("the result cannot be written as Parquet ({error}); this is a bug, please report it"))
}

fn encode(table: &ResultTable) -> Result<Vec<u8>, ParquetError> {
    bytes(&batch(table)?)
}

/// The bytes of a Parquet file with one batch.
pub(crate) fn bytes(batch: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes)
}

fn batch(table: &ResultTable) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (name, column) in table.flat() {
        let array: ArrayRef = match column {
            Flat::Key(key) => keys(table, key),
            Flat::Number(measure, part) => Arc::new(Float64Array::from_iter_values(
                table.rows.iter().map(|row| part(&row.cells[measure].estimate)),
            )),
        };
        // Nothing here is ever NULL: rows without a group are left out before anything is summed.
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

fn keys(table: &ResultTable, key: usize) -> ArrayRef {
    let values = table.rows.iter().map(|row| &row.keys[key]);
    // A key's values all have its type, so nothing is filtered out; were one to differ, the lengths would, and writing
    // fails.
    match table.keys[key].value_type {
        ValueType::Int => Arc::new(Int64Array::from_iter_values(values.filter_map(|value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        }))),
        ValueType::Float => Arc::new(Float64Array::from_iter_values(values.filter_map(|value| match value {
            Value::Float(value) => Some(*value),
            _ => None,
        }))),
        ValueType::Bool => Arc::new(BooleanArray::from_iter(values.filter_map(|value| match value {
            Value::Bool(value) => Some(Some(*value)),
            _ => None,
        }))),
        ValueType::Text => Arc::new(StringArray::from_iter_values(values.filter_map(|value| match value {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        }))),
        ValueType::Date => Arc::new(Date32Array::from_iter_values(values.filter_map(|value| match value {
            Value::Date(value) => Some(value.0),
            _ => None,
        }))),
    }
}
