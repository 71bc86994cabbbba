//! Stored values as fields of CSV.
//!
//! Numbers are decimal, dates and times ISO 8601, bytes hexadecimal; lists stand in brackets, structs and maps in braces. What
//! is NULL, and a time beyond the calendar, is an empty field.

use std::fmt::{Debug, Write};

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

/// Whether values of a type have a form in CSV.
pub(super) fn has_form(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) | DataType::Map(of, _) => {
            has_form(of.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| has_form(field.data_type())),
        DataType::Dictionary(_, values) => has_form(values),
        _ => true,
    }
}

/// Writes the value of a row behind what `out` has.
pub(super) fn write(column: &ArrayRef, row: usize, out: &mut String) {
    if column.is_null(row) {
        return;
    }
    macro_rules! whole {
        ($($kind:ty),*) => {
            match column.data_type() {
                $(data_type if *data_type == <$kind>::DATA_TYPE => show(out, column.as_primitive::<$kind>().value(row)),)*
                _ => other(column, row, out),
            }
        };
    }
    whole!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Float16Type);
}

fn other(column: &ArrayRef, row: usize, out: &mut String) {
    match column.data_type() {
        DataType::Boolean => show(out, column.as_boolean().value(row)),
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            float(out, value, (1e-6..1e13).contains(&value.abs()));
        }
        DataType::Float64 => {
            let value = column.as_primitive::<Float64Type>().value(row);
            float(out, value, (1e-5..1e16).contains(&value.abs()));
        }
        DataType::Utf8 => out.push_str(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(column.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(column.as_string_view().value(row)),
        DataType::Binary => hexadecimal(out, column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hexadecimal(out, column.as_binary::<i64>().value(row)),
        DataType::BinaryView => hexadecimal(out, column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hexadecimal(out, column.as_fixed_size_binary().value(row)),
        DataType::Decimal32(..) => out.push_str(&column.as_primitive::<Decimal32Type>().value_as_string(row)),
        DataType::Decimal64(..) => out.push_str(&column.as_primitive::<Decimal64Type>().value_as_string(row)),
        DataType::Decimal128(..) => out.push_str(&column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => out.push_str(&column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Date32 => shown(out, column.as_primitive::<Date32Type>().value_as_date(row)),
        DataType::Date64 => shown(out, column.as_primitive::<Date64Type>().value_as_datetime(row)),
        DataType::Time32(TimeUnit::Second) => shown(out, column.as_primitive::<Time32SecondType>().value_as_time(row)),
        DataType::Time32(_) => shown(out, column.as_primitive::<Time32MillisecondType>().value_as_time(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            shown(out, column.as_primitive::<Time64MicrosecondType>().value_as_time(row));
        }
        DataType::Time64(_) => shown(out, column.as_primitive::<Time64NanosecondType>().value_as_time(row)),
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref();
            match unit {
                TimeUnit::Second => moment(out, column.as_primitive::<TimestampSecondType>(), row, zone),
                TimeUnit::Millisecond => moment(out, column.as_primitive::<TimestampMillisecondType>(), row, zone),
                TimeUnit::Microsecond => moment(out, column.as_primitive::<TimestampMicrosecondType>(), row, zone),
                TimeUnit::Nanosecond => moment(out, column.as_primitive::<TimestampNanosecondType>(), row, zone),
            }
        }
        DataType::Duration(unit) => {
            let found = match unit {
                TimeUnit::Second => column.as_primitive::<DurationSecondType>().value_as_duration(row),
                TimeUnit::Millisecond => column.as_primitive::<DurationMillisecondType>().value_as_duration(row),
                TimeUnit::Microsecond => column.as_primitive::<DurationMicrosecondType>().value_as_duration(row),
                TimeUnit::Nanosecond => column.as_primitive::<DurationNanosecondType>().value_as_duration(row),
            };
            found.into_iter().for_each(|found| show(out, found));
        }
        DataType::Dictionary(..) => write(&entente_tables::read::plain(&column.slice(row, 1)), 0, out),
        DataType::List(_) => list(out, &column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(out, &column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(out, &column.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            joined(out, ['{', '}'], fields.iter().zip(columns), |out, (field, column)| {
                show(out, format_args!("{}: ", field.name()));
                write(column, row, out);
            });
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            joined(out, ['{', '}'], 0..entries.len(), |out, entry| {
                write(entries.column(0), entry, out);
                out.push_str(": ");
                write(entries.column(1), entry, out);
            });
        }
        // Those without a form.
        _ => {}
    }
}

fn show(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// Dates and times, whose `Debug` is ISO 8601.
fn shown(out: &mut String, value: Option<impl Debug>) {
    if let Some(value) = value {
        let _ = write!(out, "{value:?}");
    }
}

/// The shortest decimal that is read as the same number: with its zeros where that is short, else with an exponent.
fn float(out: &mut String, value: impl std::fmt::Display + std::fmt::LowerExp, short: bool) {
    let plain = value.to_string();
    let zero = plain.trim_start_matches('-') == "0";
    if short || zero {
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    } else {
        let _ = write!(out, "{value:e}");
    }
}

fn hexadecimal(out: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| show(out, format_args!("{byte:02x}")));
}

/// With the offset of its zone; where that is unknown here, in UTC.
fn moment<T: ArrowTimestampType>(out: &mut String, column: &PrimitiveArray<T>, row: usize, zone: Option<&str>) {
    let Some(zone) = zone else { return shown(out, column.value_as_datetime(row)) };
    let zone: Option<Tz> = zone.parse().or_else(|_| "+00:00".parse()).ok();
    if let Some(moment) = zone.and_then(|zone| column.value_as_datetime_with_tz(row, zone)) {
        shown(out, Some(moment.naive_local()));
        let offset = moment.offset().to_string();
        out.push_str(if offset == "+00:00" { "Z" } else { &offset });
    }
}

fn list(out: &mut String, values: &ArrayRef) {
    joined(out, ['[', ']'], 0..values.len(), |out, at| write(values, at, out));
}

fn joined<T>(
    out: &mut String,
    [open, close]: [char; 2],
    parts: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (at, part) in parts.enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        each(out, part);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::*;
    use arrow_schema::Field;

    use super::*;

    fn texts(column: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(column);
        assert!(has_form(column.data_type()));
        let text = |row| {
            let mut out = String::new();
            write(&column, row, &mut out);
            out
        };
        (0..column.len()).map(text).collect()
    }

    #[test]
    fn numbers() {
        assert_eq!(texts(Int8Array::from(vec![Some(-128), None])), ["-128", ""]);
        assert_eq!(texts(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
        let floats =
            [0.0, -0.0, 1.0, -2.5, 0.1, 1e15, 1e16, 1.5e300, 1e-5, 9.9e-6, 123456.789, f64::INFINITY, f64::NAN];
        assert_eq!(
            texts(Float64Array::from(floats.to_vec())),
            [
                "0.0",
                "-0.0",
                "1.0",
                "-2.5",
                "0.1",
                "1000000000000000.0",
                "1e16",
                "1.5e300",
                "0.00001",
                "9.9e-6",
                "123456.789",
                "inf",
                "NaN"
            ]
        );
        assert_eq!(
            texts(Float32Array::from(vec![0.1, 1e12, 1e13, 1e-6, 1e-7])),
            ["0.1", "1000000000000.0", "1e13", "0.000001", "1e-7"]
        );
        let decimals = Decimal128Array::from(vec![1234, -5]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(texts(decimals), ["12.34", "-0.05"]);
        assert_eq!(texts(BooleanArray::from(vec![true, false])), ["true", "false"]);
        assert_eq!(texts(NullArray::new(1)), [""]);
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(texts(Date32Array::from(vec![0, -1, i32::MAX])), ["1970-01-01", "1969-12-31", ""]);
        assert_eq!(texts(Date64Array::from(vec![86_400_000])), ["1970-01-02T00:00:00"]);
        assert_eq!(texts(Time32SecondArray::from(vec![3_661])), ["01:01:01"]);
        assert_eq!(texts(TimestampMillisecondArray::from(vec![1_500])), ["1970-01-01T00:00:01.500"]);
        let at = |zone: &str| texts(TimestampSecondArray::from(vec![0]).with_timezone(zone)).remove(0);
        assert_eq!(at("+05:30"), "1970-01-01T05:30:00+05:30");
        assert_eq!(["UTC", "+00:00", "Europe/Berlin"].map(at), ["1970-01-01T00:00:00Z"; 3]);
        assert_eq!(texts(DurationSecondArray::from(vec![90])), ["PT90S"]);
    }

    #[test]
    fn texts_bytes_and_nested_values() {
        assert_eq!(texts(StringViewArray::from(vec![Some("a, b"), None])), ["a, b", ""]);
        assert_eq!(texts(BinaryArray::from(vec![&[0u8, 255][..]])), ["00ff"]);
        let dictionary: DictionaryArray<Int32Type> = [Some("x"), None, Some("x")].into_iter().collect();
        assert_eq!(texts(dictionary), ["x", "", "x"]);
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), None, Some(3)]);
        lists.append_value([]);
        assert_eq!(texts(lists.finish()), ["[1, , 3]", "[]"]);
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        let structs = StructArray::from(vec![
            (field("n", DataType::Int32), Arc::new(Int32Array::from(vec![7])) as ArrayRef),
            (field("t", DataType::Utf8), Arc::new(StringArray::from(vec!["x"]))),
        ]);
        assert_eq!(texts(structs), ["{n: 7, t: x}"]);
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        maps.keys().append_value("k");
        maps.values().append_value(1);
        maps.append(true).unwrap();
        assert_eq!(texts(maps.finish()), ["{k: 1}"]);
        assert!(!has_form(&DataType::List(field("x", DataType::Interval(IntervalUnit::DayTime)))));
    }
}
