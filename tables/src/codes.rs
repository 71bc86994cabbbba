//! From values to the codes of a model's columns: one way for those who train by them and those who score.
//!
//! ```text
//! a node:            stored ─▶ read as declared ─▶ expressions ─▶ [Coder] ─▶ codes
//! `model predict`:   stored ─▶ read as the model's feature ─────▶ [Coder] ─▶ codes, and what could not be read
//!                              └──────────────── [FeatureReader] ───────┘
//! ```

use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::DataType;
use entente_protocols::language::schema::ColumnType;
use entente_protocols::learn::recipe::Values;

use crate::read::{ColumnReader, absent};
use crate::texts::Texts;
use crate::vector::Vector;

/// Gives values their codes.
#[derive(Clone, Debug)]
pub struct Coder {
    values: Values,
    /// The code of each text by its number.
    texts: Vec<u16>,
}

impl Coder {
    /// A coder of these values; `texts` are those that they are read or computed with.
    pub fn new(values: &Values, texts: &mut Texts) -> Self {
        let mut codes = Vec::new();
        if let Values::Category { values } = values {
            for (text, code) in values.iter().zip(1u16..=u16::MAX) {
                let number = texts.code(text) as usize;
                codes.resize(codes.len().max(number + 1), 0);
                codes[number] = code;
            }
        }
        Self { values: values.clone(), texts: codes }
    }

    /// The code of each row's value: 0, which is a missing value, where it is NULL, not in the list, or of another type.
    pub fn codes(&self, vector: &Vector) -> Vec<u16> {
        let number = |x: f64| self.values.code_of_number(x);
        let mut codes = match vector {
            Vector::Int(values) => each(values, |x| number(x as f64)),
            Vector::Float(values) => each(values, number),
            Vector::Date(days) => each(days, |day| number(f64::from(day))),
            Vector::Text(texts) => each(texts, |text| {
                usize::try_from(text).ok().and_then(|text| self.texts.get(text).copied()).unwrap_or(0)
            }),
            Vector::Bool(values) => {
                let codes = [false, true].map(|value| self.values.code_of_bool(value));
                values.values().iter().map(|value| codes[usize::from(value)]).collect()
            }
        };
        if let Some(nulls) = vector.nulls() {
            codes.iter_mut().zip(nulls).for_each(|(code, valid)| *code *= u16::from(valid));
        }
        codes
    }
}

fn each<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, code: impl Fn(T::Native) -> u16) -> Vec<u16> {
    values.values().iter().map(|&value| code(value)).collect()
}

/// Reads stored columns as a feature of a model, and codes them.
#[derive(Debug)]
pub struct FeatureReader {
    column_type: ColumnType,
    reader: ColumnReader,
    coder: Coder,
}

/// The codes of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// One a row.
    pub codes: Vec<u16>,
    /// How many values are there, but are not of the feature's type or none of its categories.
    pub unread: u64,
}

impl FeatureReader {
    /// A reader of columns with these values. What a node declares of a column beside its type does not matter here: numbers
    /// and days outside the bounds get the code of the nearest bound in any case.
    pub fn new(values: &Values) -> Self {
        let column_type = match values {
            Values::Number { .. } => ColumnType::Float { min: None, max: None },
            Values::Date { .. } => ColumnType::Date { min: None, max: None },
            Values::Category { values } => ColumnType::Category { values: values.clone() },
            Values::Bool => ColumnType::Bool,
        };
        let mut texts = Texts::default();
        let reader = ColumnReader::new(&column_type, &mut texts);
        Self { reader, coder: Coder::new(values, &mut texts), column_type }
    }

    /// As what columns are read.
    pub fn declared(&self) -> &'static str {
        self.column_type.name()
    }

    /// Whether a column of a stored type can be read; if not, what to do.
    ///
    /// # Errors
    ///
    /// What to do.
    pub fn check(&self, stored: &DataType) -> Result<(), &'static str> {
        ColumnReader::check(stored, &self.column_type)
    }

    /// The codes of a column.
    pub fn read(&self, raw: &ArrayRef) -> Coded {
        let vector = self.reader.read(raw);
        let unread = vector.null_count().saturating_sub(absent(raw)) as u64;
        Coded { codes: self.coder.codes(&vector), unread }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::*;
    use entente_protocols::language::schema::Day;

    use super::*;

    /// The codes of a column, and how many values could not be read.
    fn coded(values: &Values, raw: impl Array + 'static) -> (Vec<u16>, u64) {
        let reader = FeatureReader::new(values);
        let raw: ArrayRef = Arc::new(raw);
        assert_eq!(reader.check(raw.data_type()), Ok(()));
        let Coded { codes, unread } = reader.read(&raw);
        (codes, unread)
    }

    fn region() -> Values {
        Values::Category { values: ["north", "7", "true"].map(str::to_owned).to_vec() }
    }

    #[test]
    fn numbers() {
        let number = Values::Number { low: 0.0, high: 65534.0 };
        let text = ["7", " 7.5 ", "-3", "inf", "nan", "x", " ", "1e9"];
        assert_eq!(coded(&number, StringArray::from(text.to_vec())), (vec![8, 9, 1, 65535, 0, 0, 0, 65535], 3));
        let floats = vec![Some(7.0), Some(f64::NAN), None, Some(f64::NEG_INFINITY)];
        assert_eq!(coded(&number, Float64Array::from(floats)), (vec![8, 0, 0, 1], 1));
        let decimals = Decimal128Array::from(vec![700, -100]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(coded(&number, decimals), (vec![8, 1], 0));
        assert_eq!(coded(&number, BooleanArray::from(vec![true, false])), (vec![2, 1], 0));
    }

    #[test]
    fn days() {
        let day = |text: &str| Day::parse(text).unwrap().0;
        let date = Values::Date { low: day("2020-01-01"), high: day("2020-01-01") + 65534 };
        let text = vec!["2020-01-02", " 2020-01-02 23:59 ", "2.1.2020", "2020-01-02x", "1999-01-01", ""];
        assert_eq!(coded(&date, StringViewArray::from(text)), (vec![2, 2, 0, 0, 1, 0], 2));
        let evening = i64::from(day("2020-01-02")) * 86_400 + 86_399;
        let times = TimestampSecondArray::from(vec![Some(evening), None]).with_timezone("+05:00");
        assert_eq!(coded(&date, times), (vec![2, 0], 0), "the day in UTC");
    }

    #[test]
    fn conditions_and_categories() {
        let text = vec![Some("YES"), Some(" no "), Some("1"), Some("2"), Some(""), None];
        assert_eq!(coded(&Values::Bool, StringArray::from(text)), (vec![2, 1, 2, 0, 0, 0], 1));
        assert_eq!(coded(&Values::Bool, Int32Array::from(vec![1, 0, 7])), (vec![2, 1, 0], 1));
        assert_eq!(coded(&Values::Bool, BooleanArray::from(vec![Some(true), None])), (vec![2, 0], 0));

        let text = vec!["7", "north", " north", "south", ""];
        assert_eq!(coded(&region(), LargeStringArray::from(text)), (vec![2, 1, 0, 0, 0], 2));
        assert_eq!(coded(&region(), UInt64Array::from(vec![7, u64::MAX])), (vec![2, 0], 1));
        assert_eq!(coded(&region(), BooleanArray::from(vec![true, false])), (vec![3, 0], 1));
        let dictionary: DictionaryArray<Int8Type> = [Some("true"), None, Some("south")].into_iter().collect();
        assert_eq!(coded(&region(), dictionary), (vec![3, 0, 0], 1));
    }

    #[test]
    fn types_that_a_node_cannot_read_are_none_here() {
        for (values, stored) in [
            (Values::Bool, DataType::Float64),
            (region(), DataType::Float32),
            (region(), DataType::Date32),
            (Values::Date { low: 0, high: 1 }, DataType::Int32),
            (Values::Number { low: 0.0, high: 1.0 }, DataType::Date32),
            (Values::Number { low: 0.0, high: 1.0 }, DataType::Binary),
        ] {
            let reader = FeatureReader::new(&values);
            assert!(reader.check(&stored).is_err(), "{} from {stored}", reader.declared());
        }
    }

    #[test]
    fn long_lists_and_other_types_have_codes_as_well() {
        let values = Values::Category { values: (0..65_534).map(|i| format!("v{i}")).collect() };
        let mut texts = Texts::default();
        let other = texts.code("other");
        let coder = Coder::new(&values, &mut texts);
        let [first, last] = ["v0", "v65533"].map(|text| texts.code(text));
        let found = coder.codes(&Vector::Text(Int32Array::from(vec![first, last, other, -1, i32::MAX])));
        assert_eq!(found, [1, 65_534, 0, 0, 0]);
        assert_eq!(coder.codes(&Vector::Int(Int64Array::from(vec![1]))), [0]);
        assert_eq!(Coder::new(&Values::Bool, &mut texts).codes(&Vector::Int(Int64Array::from(vec![1]))), [0]);
    }
}
