//! Reading stored values as the declared types: parsing, converting and clipping, total on every value.
//!
//! | declared | from numbers | from text | NULL |
//! |---|---|---|---|
//! | int | truncated toward zero, out of range is the nearest bound | whole or with a decimal point | NaN, other text |
//! | float | as it is; -0 is 0; ±infinity is the nearest bound | with a decimal point | NaN, other text |
//! | bool | 1 and 0 | true/false, yes/no, 1/0 in any case | anything else |
//! | date | dates and timestamps (UTC), cut to the day | ISO 8601, a time of day is cut off | anything else |
//! | category | whole numbers and bools by their text | exactly as listed | text not listed |
//!
//! Categories only have to be distinguished, so each is held as its number in [`Texts`].

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    PrimitiveArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, i256};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;
use entente_protocols::language::expr::ValueType;
use entente_protocols::language::schema::ColumnType;

use crate::calendar::parse_date;
use crate::texts::{Texts, canonical_int, is_text, texts_of};
use crate::vector::Vector;

/// Reads a stored column as a declared type, clipped to its bounds.
#[derive(Debug)]
pub struct ColumnReader(Form);

#[derive(Debug)]
enum Form {
    Category { texts: HashMap<String, i32>, numbers: HashMap<i64, i32> },
    Int { min: i64, max: i64 },
    Float { min: f64, max: f64 },
    Date { min: i32, max: i32 },
    Bool,
}

impl ColumnReader {
    /// A reader for a declared type.
    pub fn new(column_type: &ColumnType, texts: &mut Texts) -> Self {
        Self(match column_type {
            ColumnType::Category { values } => {
                let texts: HashMap<_, _> = values.iter().map(|value| (value.clone(), texts.code(value))).collect();
                let numbers = texts.iter().filter_map(|(text, code)| Some((canonical_int(text.as_bytes())?, *code)));
                let numbers = numbers.collect();
                Form::Category { texts, numbers }
            }
            ColumnType::Int { min, max } => Form::Int { min: min.unwrap_or(i64::MIN), max: max.unwrap_or(i64::MAX) },
            ColumnType::Float { min, max } => {
                Form::Float { min: min.unwrap_or(f64::NEG_INFINITY), max: max.unwrap_or(f64::INFINITY) }
            }
            ColumnType::Date { min, max } => {
                Form::Date { min: min.map_or(i32::MIN, |day| day.0), max: max.map_or(i32::MAX, |day| day.0) }
            }
            ColumnType::Bool => Form::Bool,
        })
    }

    /// Whether a stored type can be read as a declared one; if not, what to do.
    pub fn check(stored: &DataType, declared: &ColumnType) -> Result<(), &'static str> {
        use DataType::*;
        let stored = match stored {
            Dictionary(_, values) => values,
            other => other,
        };
        let number = stored.is_integer() || stored.is_floating() || stored.is_decimal();
        let (allowed, fix) = match declared {
            ColumnType::Int { .. } | ColumnType::Float { .. } => {
                (number || *stored == Boolean, "store it as a number or as text")
            }
            ColumnType::Bool => (stored.is_integer() || *stored == Boolean, "store it as bool, as 1 and 0 or as text"),
            ColumnType::Date { .. } => {
                (matches!(stored, Date32 | Date64 | Timestamp(..)), "store it as a date, a timestamp or ISO 8601 text")
            }
            ColumnType::Category { .. } => {
                (stored.is_integer() || *stored == Boolean, "store it as text, or declare it as int or float")
            }
        };
        if allowed || is_text(stored) { Ok(()) } else { Err(fix) }
    }

    /// The type of the values that [`Self::read`] gives.
    pub fn value_type(&self) -> ValueType {
        match &self.0 {
            Form::Category { .. } => ValueType::Text,
            Form::Int { .. } => ValueType::Int,
            Form::Float { .. } => ValueType::Float,
            Form::Date { .. } => ValueType::Date,
            Form::Bool => ValueType::Bool,
        }
    }

    /// Reads a column; a stored type that [`Self::check`] refuses gives NULLs.
    pub fn read(&self, raw: &ArrayRef) -> Vector {
        if let Some(dictionary) = raw.as_any_dictionary_opt() {
            // Each distinct value is read once, unless the dictionary is larger than the batch.
            if dictionary.values().len() <= raw.len() {
                return self.read(dictionary.values()).take(dictionary.keys());
            }
            return self.read(&plain(raw));
        }
        match &self.0 {
            Form::Category { texts, numbers } => Vector::Text(categories(raw, texts, numbers)),
            Form::Int { min, max } => {
                let (min, max) = (*min, *max);
                Vector::Int(ints(raw).unary(|value| value.max(min).min(max)))
            }
            Form::Float { min, max } => Vector::Float(clip_floats(&floats(raw), *min, *max)),
            Form::Date { min, max } => {
                let (min, max) = (*min, *max);
                Vector::Date(dates(raw).unary(|value| value.max(min).min(max)))
            }
            Form::Bool => Vector::Bool(bools(raw)),
        }
    }
}

/// A column without its dictionary, if it has one.
pub fn plain(raw: &ArrayRef) -> ArrayRef {
    match raw.as_any_dictionary_opt() {
        Some(dictionary) => take(dictionary.values(), dictionary.keys(), None)
            .unwrap_or_else(|_| new_null_array(dictionary.values().data_type(), raw.len())),
        None => raw.clone(),
    }
}

/// Whether a value is absent: NULL, or an empty text.
pub fn absent(raw: &ArrayRef) -> usize {
    let empty = match raw.data_type() {
        DataType::Dictionary(_, values) if is_text(values) => return absent(&plain(raw)),
        data_type if is_text(data_type) => texts_of(raw, |texts| texts.filter(|text| *text == Some("")).count()),
        _ => 0,
    };
    raw.null_count() + empty
}

fn parsed<T: ArrowPrimitiveType>(raw: &ArrayRef, parse: impl Fn(&str) -> Option<T::Native>) -> PrimitiveArray<T> {
    texts_of(raw, |texts| texts.map(|text| text.and_then(&parse)).collect())
}

fn converted<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    raw: &ArrayRef,
    convert: impl Fn(S::Native) -> T::Native,
) -> PrimitiveArray<T> {
    raw.as_primitive::<S>().unary(convert)
}

fn nulls<T: ArrowPrimitiveType>(raw: &ArrayRef) -> PrimitiveArray<T> {
    PrimitiveArray::new_null(raw.len())
}

/// Numbers as f64, NaN still among them.
pub fn floats(raw: &ArrayRef) -> Float64Array {
    match raw.data_type() {
        DataType::Float64 => raw.as_primitive().clone(),
        DataType::Float32 => converted::<Float32Type, _>(raw, f64::from),
        DataType::Float16 => converted::<Float16Type, _>(raw, f64::from),
        DataType::Int64 => converted::<Int64Type, _>(raw, |value| value as f64),
        DataType::Int32 => converted::<Int32Type, _>(raw, f64::from),
        DataType::Int16 => converted::<Int16Type, _>(raw, f64::from),
        DataType::Int8 => converted::<Int8Type, _>(raw, f64::from),
        DataType::UInt64 => converted::<UInt64Type, _>(raw, |value| value as f64),
        DataType::UInt32 => converted::<UInt32Type, _>(raw, f64::from),
        DataType::UInt16 => converted::<UInt16Type, _>(raw, f64::from),
        DataType::UInt8 => converted::<UInt8Type, _>(raw, f64::from),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(raw, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(raw, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(raw, *scale),
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(raw, *scale),
        DataType::Boolean => {
            raw.as_boolean().iter().map(|value| value.map(|value| f64::from(u8::from(value)))).collect()
        }
        _ => parsed(raw, parse_float),
    }
}

fn decimal<D: DecimalType>(raw: &ArrayRef, scale: i8) -> Float64Array
where
    D::Native: ToFloat,
{
    let power = 10f64.powi(i32::from(scale).abs());
    raw.as_primitive::<D>().unary(|value| match scale {
        0.. => value.to_float() / power,
        _ => value.to_float() * power,
    })
}

trait ToFloat {
    fn to_float(self) -> f64;
}

macro_rules! to_float {
    ($($integer:ty),*) => { $(impl ToFloat for $integer {
        fn to_float(self) -> f64 {
            self as f64
        }
    })* };
}
to_float!(i32, i64, i128);

impl ToFloat for i256 {
    fn to_float(self) -> f64 {
        // Two halves of 128 bits, of the magnitude, so that they do not cancel.
        let (low, high) = self.wrapping_abs().to_parts();
        let magnitude = high as u128 as f64 * 2f64.powi(128) + low as f64;
        if self.is_negative() { -magnitude } else { magnitude }
    }
}

fn parse_float(text: &str) -> Option<f64> {
    text.trim_ascii().parse().ok()
}

fn clip_floats(array: &Float64Array, min: f64, max: f64) -> Float64Array {
    let values = array.values();
    let nulls = match values.iter().any(|value| value.is_nan()) {
        false => array.nulls().cloned(),
        true => {
            let numbers = NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |i| !values[i].is_nan()));
            NullBuffer::union(array.nulls(), Some(&numbers))
        }
    };
    // Adding zero turns -0 into 0, which Arrow's comparisons would tell apart.
    let clipped = values.iter().map(|value| value.max(min).min(max) + 0.0).collect::<Vec<_>>();
    Float64Array::new(clipped.into(), nulls)
}

/// Numbers as i64: truncated toward zero, the nearest i64 where there is none.
pub fn ints(raw: &ArrayRef) -> Int64Array {
    match raw.data_type() {
        DataType::Int64 => raw.as_primitive().clone(),
        DataType::Int32 => converted::<Int32Type, _>(raw, i64::from),
        DataType::Int16 => converted::<Int16Type, _>(raw, i64::from),
        DataType::Int8 => converted::<Int8Type, _>(raw, i64::from),
        DataType::UInt64 => converted::<UInt64Type, _>(raw, |value| i64::try_from(value).unwrap_or(i64::MAX)),
        DataType::UInt32 => converted::<UInt32Type, _>(raw, i64::from),
        DataType::UInt16 => converted::<UInt16Type, _>(raw, i64::from),
        DataType::UInt8 => converted::<UInt8Type, _>(raw, i64::from),
        DataType::Decimal32(_, scale) => whole(raw.as_primitive::<Decimal32Type>().unary(i128::from), *scale),
        DataType::Decimal64(_, scale) => whole(raw.as_primitive::<Decimal64Type>().unary(i128::from), *scale),
        DataType::Decimal128(_, scale) => whole(raw.as_primitive::<Decimal128Type>().clone(), *scale),
        DataType::Boolean => raw.as_boolean().iter().map(|value| value.map(i64::from)).collect(),
        data_type if is_text(data_type) => parsed(raw, parse_int),
        _ => floats(raw).unary_opt(|value| (!value.is_nan()).then_some(value as i64)),
    }
}

fn whole(values: PrimitiveArray<Decimal128Type>, scale: i8) -> Int64Array {
    let power = 10i128.saturating_pow(u32::from(scale.unsigned_abs()));
    values.unary(|value| {
        let value = if scale >= 0 { value / power } else { value.saturating_mul(power) };
        value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    })
}

fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    text.parse().ok().or_else(|| text.parse().ok().filter(|value: &f64| !value.is_nan()).map(|value| value as i64))
}

/// Calendar days; of timestamps, the day in UTC.
pub fn dates(raw: &ArrayRef) -> Date32Array {
    fn days(value: i64, per_day: i64) -> i32 {
        value.div_euclid(per_day).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
    const DAY: i64 = 86_400;
    match raw.data_type() {
        DataType::Date32 => raw.as_primitive().clone(),
        DataType::Date64 => converted::<Date64Type, _>(raw, |value| days(value, DAY * 1_000)),
        DataType::Timestamp(TimeUnit::Second, _) => converted::<TimestampSecondType, _>(raw, |value| days(value, DAY)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            converted::<TimestampMillisecondType, _>(raw, |value| days(value, DAY * 1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            converted::<TimestampMicrosecondType, _>(raw, |value| days(value, DAY * 1_000_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            converted::<TimestampNanosecondType, _>(raw, |value| days(value, DAY * 1_000_000_000))
        }
        _ => parsed(raw, parse_date),
    }
}

/// True and false.
pub fn bools(raw: &ArrayRef) -> BooleanArray {
    match raw.data_type() {
        DataType::Boolean => raw.as_boolean().clone(),
        data_type if data_type.is_integer() => ints(raw).iter().map(|value| bit(value?)).collect(),
        _ => texts_of(raw, |texts| texts.map(|text| parse_bool(text?)).collect()),
    }
}

fn bit(value: i64) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// true/false, yes/no, 1/0 in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") || is("yes") || text == "1" {
        Some(true)
    } else if is("false") || is("no") || text == "0" {
        Some(false)
    } else {
        None
    }
}

fn categories(raw: &ArrayRef, texts: &HashMap<String, i32>, numbers: &HashMap<i64, i32>) -> Int32Array {
    match raw.data_type() {
        DataType::Boolean => {
            let codes = [texts.get("false"), texts.get("true")];
            raw.as_boolean().iter().map(|value| codes[usize::from(value?)].copied()).collect()
        }
        // Not clipped: 2^64 - 1 is not the category "9223372036854775807".
        DataType::UInt64 => {
            let values = raw.as_primitive::<UInt64Type>().iter();
            values.map(|value| numbers.get(&i64::try_from(value?).ok()?).copied()).collect()
        }
        data_type if data_type.is_integer() => ints(raw).iter().map(|value| numbers.get(&value?).copied()).collect(),
        data_type if is_text(data_type) => parsed(raw, |text| texts.get(text).copied()),
        _ => nulls::<Int32Type>(raw),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::*;

    use entente_protocols::language::schema::Day;

    use super::*;

    fn read(column_type: &ColumnType, raw: impl Array + 'static) -> Vector {
        let reader = ColumnReader::new(column_type, &mut Texts::default());
        let read = reader.read(&(Arc::new(raw) as ArrayRef));
        assert_eq!(read.value_type(), reader.value_type());
        read
    }

    fn int(raw: impl Array + 'static) -> Vec<Option<i64>> {
        let column_type = ColumnType::Int { min: Some(-10), max: Some(100) };
        let Vector::Int(values) = read(&column_type, raw) else { panic!("not whole numbers") };
        values.iter().collect()
    }

    fn float(raw: impl Array + 'static) -> Vec<Option<f64>> {
        let column_type = ColumnType::Float { min: Some(-10.0), max: Some(100.0) };
        let Vector::Float(values) = read(&column_type, raw) else { panic!("not numbers") };
        values.iter().collect()
    }

    #[test]
    fn ints_from_everything() {
        assert_eq!(int(Int64Array::from(vec![Some(i64::MIN), None, Some(7)])), [Some(-10), None, Some(7)]);
        assert_eq!(int(UInt64Array::from(vec![u64::MAX, 7])), [Some(100), Some(7)]);
        assert_eq!(int(Int8Array::from(vec![-128, 7])), [Some(-10), Some(7)]);
        let inf = f64::INFINITY;
        assert_eq!(
            int(Float64Array::from(vec![1.9, -1.9, f64::NAN, inf, -inf, 1e300])),
            [Some(1), Some(-1), None, Some(100), Some(-10), Some(100)]
        );
        let text = StringArray::from(vec!["7", " 7.9 ", "-7.9", "99999999999999999999", "x", "", "NaN", "1e1", "+3"]);
        assert_eq!(int(text), [Some(7), Some(7), Some(-7), Some(100), None, None, None, Some(10), Some(3)]);
        let decimals = Decimal128Array::from(vec![1234, -199]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(int(decimals), [Some(12), Some(-1)]);
        let large = Decimal256Array::from(vec![i256::from_i128(1234)]).with_precision_and_scale(40, -1).unwrap();
        assert_eq!(int(large), [Some(100)]);
        assert_eq!(int(BooleanArray::from(vec![true, false])), [Some(1), Some(0)]);
    }

    #[test]
    fn floats_from_everything() {
        let inf = f64::INFINITY;
        let found = float(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(inf), Some(-inf), Some(-0.0)]));
        assert_eq!(found, [Some(1.5), None, None, Some(100.0), Some(-10.0), Some(0.0)]);
        assert!(found[5].unwrap().is_sign_positive());
        assert_eq!(float(Float32Array::from(vec![0.5, f32::NAN])), [Some(0.5), None]);
        assert_eq!(float(Int32Array::from(vec![i32::MIN, 3])), [Some(-10.0), Some(3.0)]);
        let text = StringViewArray::from(vec!["12.34", "inf", "nan", "1,5", "", "1e-1", "5."]);
        assert_eq!(float(text), [Some(12.34), Some(100.0), None, None, None, Some(0.1), Some(5.0)]);
        let decimals = Decimal128Array::from(vec![1234, -199]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(float(decimals), [Some(12.34), Some(-1.99)]);
        let large = Decimal256Array::from(vec![i256::from_i128(-15)]).with_precision_and_scale(40, 1).unwrap();
        assert_eq!(float(large), [Some(-1.5)]);
    }

    #[test]
    fn bools_and_dates() {
        let text = StringArray::from(vec!["TRUE", "yes", "1", "No", " false", "0", "y", ""]);
        let (t, f) = (Some(true), Some(false));
        assert_eq!(
            read(&ColumnType::Bool, text),
            Vector::Bool(vec![t, t, t, f, f, f, None, None].into_iter().collect())
        );
        let numbers = Int16Array::from(vec![0, 1, 2]);
        assert_eq!(read(&ColumnType::Bool, numbers), Vector::Bool(vec![f, t, None].into_iter().collect()));

        let column_type = ColumnType::Date { min: Some(Day(0)), max: Some(Day(10)) };
        let days = |raw: ArrayRef| -> Vec<Option<i32>> {
            let Vector::Date(days) = read(&column_type, raw) else { panic!("not days") };
            days.iter().collect()
        };
        let text = StringArray::from(vec!["1970-01-03", "1970-01-03 23:59", "1969-12-31", "2999-01-01", "1970-02-30"]);
        assert_eq!(days(Arc::new(text)), [Some(2), Some(2), Some(0), Some(10), None]);
        assert_eq!(days(Arc::new(Date32Array::from(vec![i32::MIN, 3, i32::MAX]))), [Some(0), Some(3), Some(10)]);
        assert_eq!(days(Arc::new(Date64Array::from(vec![-1, 86_400_000]))), [Some(0), Some(1)]);
        let nanoseconds = TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX, 2 * 86_400_000_000_000 - 1]);
        assert_eq!(days(Arc::new(nanoseconds.with_timezone("+02:00"))), [Some(0), Some(10), Some(1)]);
    }

    #[test]
    fn categories_are_numbers() {
        let column_type = ColumnType::Category { values: vec!["a".into(), "7".into(), "true".into()] };
        let codes = |raw: ArrayRef| -> Vec<Option<i32>> {
            let Vector::Text(texts) = read(&column_type, raw) else { panic!("not texts") };
            texts.iter().collect()
        };
        let (a, seven, yes) = (Some(0), Some(1), Some(2));
        assert_eq!(
            codes(Arc::new(StringArray::from(vec![Some("a"), None, Some("A"), Some("7")]))),
            [a, None, None, seven]
        );
        assert_eq!(codes(Arc::new(Int32Array::from(vec![7, 8]))), [seven, None]);
        assert_eq!(codes(Arc::new(UInt64Array::from(vec![7, u64::MAX]))), [seven, None]);
        assert_eq!(codes(Arc::new(BooleanArray::from(vec![true, false]))), [yes, None]);
        let keys = vec![Some("a"), None, Some("b"), Some("a"), Some("7")];
        let dictionary: DictionaryArray<Int8Type> = keys.into_iter().collect();
        assert_eq!(codes(Arc::new(dictionary.clone())), [a, None, None, a, seven]);
        // A dictionary larger than the batch.
        assert_eq!(codes(Arc::new(dictionary.slice(0, 1))), [a]);
    }

    #[test]
    fn stored_types_are_checked() {
        let list = DataType::new_list(DataType::Int64, true);
        let int = ColumnType::Int { min: None, max: None };
        let date = ColumnType::Date { min: None, max: None };
        assert!(ColumnReader::check(&list, &int).is_err());
        assert!(ColumnReader::check(&DataType::Int64, &date).is_err());
        assert!(ColumnReader::check(&DataType::Utf8View, &date).is_ok());
        assert!(ColumnReader::check(&DataType::Float64, &ColumnType::Bool).is_err());
    }
}
