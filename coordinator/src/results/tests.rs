//! Files of hand-made tables, read back by other readers where there are some.

use std::io::Write;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type};
use arrow_schema::DataType;
use entente_protocols::language::expr::{Value, ValueType};
use entente_protocols::language::schema::Day;
use entente_protocols::language::sums::Output;
use entente_protocols::privacy::interval::Estimate;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::table::{Cell, Key, Measure, ResultTable, Row};
use super::{columnar, csv};

fn cell(value: f64, low: f64, high: f64) -> Cell {
    Cell { estimate: Estimate { value, low, high }, known: true }
}

/// A key of every type, and a measure whose ends have names that another measure has already.
fn table() -> ResultTable {
    let key = |name: &str, value_type| Key { name: name.into(), value_type, unit: None, sequence: false };
    let row = |text: &str, whole, truth, day, cells: [Cell; 2]| Row {
        keys: vec![Value::Text(text.into()), Value::Int(whole), Value::Bool(truth), Value::Date(Day(day))],
        cells: cells.to_vec(),
    };
    ResultTable {
        keys: vec![
            key("label, quoted", ValueType::Text),
            key("whole", ValueType::Int),
            key("truth", ValueType::Bool),
            key("day", ValueType::Date),
        ],
        measures: vec![
            Measure { name: "spend".into(), whole: false },
            Measure { name: "Spend_Low".into(), whole: true },
        ],
        order: vec![
            Output::Measure(0),
            Output::Group(0),
            Output::Group(1),
            Output::Group(2),
            Output::Group(3),
            Output::Measure(1),
        ],
        rows: vec![
            row("say \"hi\", twice\nor more", i64::MAX, true, 0, [cell(0.1 + 0.2, -1e300, 1e300), cell(3.0, 0.0, 7.0)]),
            row("=1+1", i64::MIN, false, -1, [cell(-4.5, -5.0, -4.0), cell(0.0, 0.0, 12.0)]),
        ],
    }
}

#[test]
fn csv_is_rfc_4180() {
    let text = csv::write(&table());
    let expected = [
        "spend,spend_low_,spend_high,\"label, quoted\",whole,truth,day,Spend_Low,Spend_Low_low,Spend_Low_high\r\n"
            .to_owned(),
        format!(
            "0.30000000000000004,-1{zeroes},1{zeroes},\"say \"\"hi\"\", twice\nor more\",9223372036854775807,true,\
             1970-01-01,3,0,7\r\n",
            zeroes = "0".repeat(300)
        ),
        "-4.5,-5,-4,=1+1,-9223372036854775808,false,1969-12-31,0,0,12\r\n".to_owned(),
    ];
    assert_eq!(text, expected.concat());
}

#[test]
fn parquet_reads_back_with_its_types() {
    let bytes = columnar::write(&table()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    let types: Vec<(String, DataType)> =
        batch.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let expected = [
        ("spend", DataType::Float64),
        ("spend_low_", DataType::Float64),
        ("spend_high", DataType::Float64),
        ("label, quoted", DataType::Utf8),
        ("whole", DataType::Int64),
        ("truth", DataType::Boolean),
        ("day", DataType::Date32),
        ("Spend_Low", DataType::Float64),
        ("Spend_Low_low", DataType::Float64),
        ("Spend_Low_high", DataType::Float64),
    ];
    assert_eq!(types, expected.map(|(name, data_type)| (name.to_owned(), data_type)));
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().values(), &[0.1 + 0.2, -4.5]);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().values(), &[-1e300, -5.0]);
    assert_eq!(batch.column(3).as_string::<i32>().value(0), "say \"hi\", twice\nor more");
    assert_eq!(batch.column(4).as_primitive::<Int64Type>().values(), &[i64::MAX, i64::MIN]);
    assert!(batch.column(5).as_boolean().value(0) && !batch.column(5).as_boolean().value(1));
    assert_eq!(batch.column(6).as_primitive::<Date32Type>().values(), &[0, -1]);
    assert!(batch.columns().iter().all(|column| column.null_count() == 0));
}
