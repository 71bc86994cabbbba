//! The feature recipe and the target: how a customer's values become codes ([`crate::privacy::rows`]). Training,
//! evaluation, scoring and export all go by them, so that they cannot disagree.
//!
//! **Numbers.** A value is clipped to its public bounds, and its code is 1 + ⌊65534·(x − low)/(high − low) + ½⌋. What is
//! not a number has code 0, which is a missing value. **Categories** have the position of their value in the public
//! list, counted from 1, and 0 for anything else. **Conditions** are the categories `false` and `true`. **Dates** are
//! numbers of days since 1970-01-01.

use serde::{Deserialize, Serialize};

use crate::privacy::rows::{Column, UNIT, number};

/// The steps of a number's range, one less than its codes.
pub const STEPS: f64 = 65534.0;

/// What a feature's values are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Values {
    /// Numbers within public bounds.
    Number {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
    /// Days since 1970-01-01 within public bounds.
    Date {
        /// First day.
        low: i32,
        /// Last day.
        high: i32,
    },
    /// Text out of a public list of at most 65534.
    Category {
        /// The list, without repeats.
        values: Vec<String>,
    },
    /// True or false.
    Bool,
}

impl Values {
    /// What the codes mean to the sums.
    pub fn column(&self) -> Column {
        match self {
            Self::Number { .. } | Self::Date { .. } => Column::Number,
            Self::Category { values } => Column::Category { values: u16::try_from(values.len()).unwrap_or(u16::MAX) },
            Self::Bool => Column::Category { values: 2 },
        }
    }

    /// The bounds of a number or a date.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        match *self {
            Self::Number { low, high } => Some((low, high)),
            Self::Date { low, high } => Some((f64::from(low), f64::from(high))),
            Self::Category { .. } | Self::Bool => None,
        }
    }

    /// The code of a number or a date (in days); missing for a category.
    pub fn code_of_number(&self, x: f64) -> u16 {
        match self.bounds() {
            Some((low, high)) if !x.is_nan() => {
                let range = high - low;
                // All values of an empty range are its one value, in the middle.
                let step =
                    if range > 0.0 { ((x.clamp(low, high) - low) / range * STEPS + 0.5).floor() } else { 32767.0 };
                step as u16 + 1
            }
            _ => 0,
        }
    }

    /// The code of a text; missing for a number.
    pub fn code_of_text(&self, text: &str) -> u16 {
        match self {
            Self::Category { values } => {
                let position = values.iter().position(|value| value == text);
                position.and_then(|position| u16::try_from(position + 1).ok()).unwrap_or(0)
            }
            Self::Bool | Self::Number { .. } | Self::Date { .. } => 0,
        }
    }

    /// The code of a condition; missing for anything else.
    pub fn code_of_bool(&self, value: bool) -> u16 {
        if *self == Self::Bool { 1 + u16::from(value) } else { 0 }
    }

    /// The value in the middle of a number's step; `None` where it is missing, or a category.
    pub fn number(&self, code: u16) -> Option<f64> {
        let (low, high) = self.bounds().filter(|_| code > 0)?;
        Some(low + (high - low) * (f64::from(code) - 1.0) / STEPS)
    }
}

/// A feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub values: Values,
}

/// The features of a model, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(transparent)]
pub struct Recipe {
    /// The features.
    pub features: Vec<Feature>,
}

impl Recipe {
    /// What the codes of a row mean, column by column.
    pub fn columns(&self) -> Vec<Column> {
        self.features.iter().map(|feature| feature.values.column()).collect()
    }
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What its values are: a condition or two categories, of which the second is the event, or a number.
    pub values: Values,
}

impl Target {
    /// Whether an event is predicted, rather than a number.
    pub fn is_event(&self) -> bool {
        self.values.bounds().is_none()
    }

    /// The target of a code: 0 or 1 for an event, −1 to 1 for a number in its range.
    pub fn value(&self, code: u16) -> f32 {
        if self.is_event() { f32::from(u8::from(code == 2)) } else { number(code) as f32 / UNIT as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_codes_over_their_whole_range() {
        let age = Values::Number { low: 18.0, high: 95.0 };
        assert_eq!([18.0, 95.0, 3.0, 300.0, f64::NAN].map(|x| age.code_of_number(x)), [1, 65535, 1, 65535, 0]);
        assert_eq!(age.code_of_number(f64::INFINITY), 65535);
        for years in 18..=95 {
            let code = age.code_of_number(f64::from(years));
            assert!((age.number(code).unwrap() - f64::from(years)).abs() < 77.0 / STEPS);
        }
        assert_eq!(age.number(0), None);
        assert_eq!(Values::Number { low: 3.0, high: 3.0 }.code_of_number(3.0), 32768, "the middle: x = 0");
        assert_eq!(Values::Date { low: 0, high: 65534 }.code_of_number(7.0), 8);
        assert_eq!(age.code_of_text("40"), 0);
    }

    #[test]
    fn categories_and_conditions_have_positions() {
        let region = Values::Category { values: vec!["north".into(), "south".into()] };
        assert_eq!(["south", "north", "east", ""].map(|text| region.code_of_text(text)), [2, 1, 0, 0]);
        assert_eq!(region.code_of_number(1.0), 0);
        assert_eq!((Values::Bool.code_of_bool(false), Values::Bool.code_of_bool(true)), (1, 2));
        assert_eq!(
            (region.column(), Values::Bool.column()),
            (Column::Category { values: 2 }, Column::Category { values: 2 })
        );
    }
}
