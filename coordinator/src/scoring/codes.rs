//! From a table's values to a recipe's codes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit};
use arrow::error::ArrowError;
use entente_protocols::language::schema::Day;
use entente_protocols::learn::recipe::Values;

/// The codes of one column.
pub(super) struct Codes {
    /// One a row.
    pub codes: Vec<u16>,
    /// How many values are there but could not be read, or are no category of the list.
    pub unread: u64,
}

/// The codes of a column for a feature with these values; `Err` says what type cannot be read.
pub(super) fn codes(values: &Values, column: &ArrayRef) -> Result<Codes, String> {
    let unlike = |error: ArrowError| format!("is of type {}, which does not fit: {error}", column.data_type());
    let column = plain(column).map_err(unlike)?;
    let text = *column.data_type() == DataType::Utf8;
    Ok(match values {
        Values::Number { .. } if text => texts(&column, |text| {
            text.trim().parse().ok().filter(|x: &f64| !x.is_nan()).map(|x| values.code_of_number(x))
        }),
        Values::Number { .. } => {
            let column = cast(&column, &DataType::Float64).map_err(unlike)?;
            let column = column.as_primitive::<Float64Type>();
            // NaN is a number's way to be missing.
            collect(column.iter().map(|x| x.map(|x| Some(values.code_of_number(x)))))
        }
        Values::Date { .. } if text => {
            texts(&column, |text| day(text.trim()).map(|day| values.code_of_number(f64::from(day.0))))
        }
        Values::Date { .. } => {
            // Without its zone a time is in UTC.
            let column = match column.data_type() {
                DataType::Timestamp(_, Some(_)) => {
                    cast(&column, &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(unlike)?
                }
                _ => column,
            };
            let column = cast(&column, &DataType::Date32).map_err(unlike)?;
            let days = column.as_primitive::<Date32Type>();
            collect(days.iter().map(|day| day.map(|day| Some(values.code_of_number(f64::from(day))))))
        }
        Values::Bool => match column.data_type() {
            DataType::Boolean => {
                collect(column.as_boolean().iter().map(|value| value.map(|value| Some(values.code_of_bool(value)))))
            }
            _ => {
                let column = cast(&column, &DataType::Utf8).map_err(unlike)?;
                texts(&column, |text| condition(text.trim()).map(|value| values.code_of_bool(value)))
            }
        },
        Values::Category { values: list } => {
            let column = cast(&column, &DataType::Utf8).map_err(unlike)?;
            let codes: std::collections::HashMap<&str, u16> =
                list.iter().map(|value| (value.as_str(), values.code_of_text(value))).collect();
            texts(&column, |text| codes.get(text).copied())
        }
    })
}

/// Texts of every encoding as one type; other types as they are.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
        DataType::Dictionary(_, values) => plain(&cast(column, values)?),
        _ => Ok(column.clone()),
    }
}

fn texts(column: &ArrayRef, code: impl Fn(&str) -> Option<u16>) -> Codes {
    // Nothing at all is missing, and not in vain.
    collect(column.as_string::<i32>().iter().map(|text| text.filter(|text| !text.is_empty()).map(&code)))
}

/// From what is there, if it is, and what it is, if it can be read.
fn collect(values: impl Iterator<Item = Option<Option<u16>>>) -> Codes {
    let mut unread = 0;
    let code = |value: Option<Option<u16>>| match value {
        Some(None | Some(0)) => {
            unread += 1;
            0
        }
        Some(Some(code)) => code,
        None => 0,
    };
    let codes = values.map(code).collect();
    Codes { codes, unread }
}

fn day(text: &str) -> Option<Day> {
    let date = text.get(..10)?;
    text[10..].starts_with(['T', ' ']).then_some(()).or_else(|| (text.len() == 10).then_some(()))?;
    Day::parse(date)
}

fn condition(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") || is("yes") || text == "1" {
        Some(true)
    } else if is("false") || is("no") || text == "0" {
        Some(false)
    } else {
        None
    }
}
