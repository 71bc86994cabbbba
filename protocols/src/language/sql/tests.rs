//! What is accepted, what is refused and with which words, and random text.

mod accepted;
mod random;
mod refused;
mod rows;
mod seeds;

use super::*;
use crate::language::schema::{ColumnType, Day};

/// The public schema that the tests ask.
fn schema() -> DatasetSchema {
    let day = |text| Day::parse(text);
    let words = |values: &[&str]| ColumnType::Category { values: values.iter().map(|&value| value.into()).collect() };
    let columns = [
        ("region", words(&["north", "south", "east", "west"])),
        ("tier", words(&["gold", "silver"])),
        ("age", ColumnType::Int { min: Some(18), max: Some(95) }),
        ("visits", ColumnType::Int { min: Some(0), max: Some(10) }),
        ("big", ColumnType::Int { min: Some(0), max: Some(i64::MAX) }),
        ("clicks", ColumnType::Int { min: None, max: None }),
        ("spend", ColumnType::Float { min: Some(0.0), max: Some(5000.0) }),
        ("change", ColumnType::Float { min: Some(-1.5), max: Some(1.0) }),
        ("weight", ColumnType::Float { min: None, max: None }),
        ("joined", ColumnType::Date { min: day("2015-01-01"), max: day("2030-12-31") }),
        ("seen", ColumnType::Date { min: day("2024-02-27"), max: day("2024-03-02") }),
        ("born", ColumnType::Date { min: None, max: None }),
        ("churned", ColumnType::Bool),
        ("größe", ColumnType::Float { min: Some(0.0), max: Some(250.0) }),
        ("Mixed", ColumnType::Bool),
    ];
    DatasetSchema {
        name: "customers".into(),
        privacy_unit: "customer_id".into(),
        columns: columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect(),
    }
}

fn planned(sql: &str) -> Result<SumsPlan, Refusal> {
    plan(sql, Limits::default(), &schema())
}
