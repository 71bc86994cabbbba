//! The public schema of a data set: what partners agree on before any study, and all a study can refer to.
//!
//! Types, bounds and categories are **public and agreed**, never read off the data. Everything that a release
//! needs to know about values (how far one customer can move a sum, which groups there are) comes from here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A calendar day, as days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Day(pub i32);

impl Day {
    /// The day with this ISO 8601 text (`2025-01-31`), or `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let date: jiff::civil::Date = text.parse().ok()?;
        (text.len() == 10).then(|| Self::from_date(date))
    }

    /// The day of a civil date.
    pub fn from_date(date: jiff::civil::Date) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        let days = date.duration_since(epoch).as_hours() / 24;
        Self(i32::try_from(days).expect("jiff's dates span less than 2^31 days"))
    }

    /// The civil date of this day; years beyond jiff's range (±9999) are clamped to it.
    pub fn date(self) -> jiff::civil::Date {
        let epoch = jiff::civil::date(1970, 1, 1);
        let span = jiff::SignedDuration::from_hours(i64::from(self.0) * 24);
        epoch.saturating_add(span)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an ISO 8601 date")))
    }
}

/// What a column holds, and its public bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ColumnType {
    /// Text out of a public list; any other text is NULL.
    Category {
        /// The public values, in the order results are listed in; without repeats.
        values: Vec<String>,
    },
    /// Whole numbers, clipped to `min..=max` where both are given.
    Int {
        /// Smallest value, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        /// Largest value, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// Numbers, clipped to `min..=max` where both are given; NaN is NULL.
    Float {
        /// Smallest value, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// Largest value, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// Calendar days, clipped to `min..=max` where both are given.
    Date {
        /// First day, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Day>,
        /// Last day, inclusive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<Day>,
    },
    /// True or false.
    Bool,
}

impl ColumnType {
    /// The word used for this type in schemas and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Category { .. } => "category",
            Self::Int { .. } => "int",
            Self::Float { .. } => "float",
            Self::Date { .. } => "date",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn bounds<T: fmt::Display>(f: &mut fmt::Formatter<'_>, min: &Option<T>, max: &Option<T>) -> fmt::Result {
            match (min, max) {
                (Some(min), Some(max)) => write!(f, " {min}..{max}"),
                _ => f.write_str(" without bounds"),
            }
        }
        f.write_str(self.name())?;
        match self {
            Self::Category { values } => write!(f, " of {}", values.len()),
            Self::Int { min, max } => bounds(f, min, max),
            Self::Float { min, max } => bounds(f, min, max),
            Self::Date { min, max } => bounds(f, min, max),
            Self::Bool => Ok(()),
        }
    }
}

/// The public schema of one data set, as a node publishes it. Holds nothing read off the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct DatasetSchema {
    /// The data set's name; studies say `FROM name`.
    pub name: String,
    /// The column whose value is one customer.
    pub privacy_unit: String,
    /// The declared columns; any other column of the source does not exist for studies.
    pub columns: BTreeMap<String, ColumnType>,
}

/// The longest name of a data set or column, in bytes.
const MAX_NAME: usize = 200;
/// The longest schema, in bytes of its canonical form: all partners of a study are sent it.
const MAX_SCHEMA: usize = 512 << 10;

impl DatasetSchema {
    /// The one of `schemas` that a study means by `name`: the exact one, else the one that differs in case alone.
    pub fn named<'a>(schemas: impl Iterator<Item = &'a Self> + Clone, name: &str) -> Option<&'a Self> {
        let exact = schemas.clone().find(|schema| schema.name == name);
        exact.or_else(|| schemas.clone().find(|schema| schema.name.eq_ignore_ascii_case(name)))
    }

    /// Hash of the whole schema: equal exactly where two partners declare the same.
    pub fn digest(&self) -> Digest {
        Digest::of("entente schema 1", &[&crate::canonical::canonical_bytes(self)])
    }

    /// Checks what the type alone cannot say: bounds in order, finite, both or none; categories present and unlike.
    pub fn validate(&self) -> Result<(), SchemaError> {
        let is_bad = |name: &&String| name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control);
        let mut names = [&self.name, &self.privacy_unit].into_iter().chain(self.columns.keys());
        if let Some(name) = names.find(is_bad) {
            // As far as it can be shown.
            let shown = |name: &str| name.chars().filter(|c| !c.is_control()).take(40).collect::<String>();
            let what = format!("has a name that is empty, longer than {MAX_NAME} bytes, or has control characters");
            let (dataset, column) = (shown(&self.name), shown(name));
            return Err(SchemaError { dataset, column, what, remedy: Some("give it another") });
        }
        let length = crate::canonical::canonical_bytes(self).len();
        if length > MAX_SCHEMA {
            let what = format!("and the others are {length} bytes long, and may be {MAX_SCHEMA} together");
            let longest =
                self.columns.iter().max_by_key(|(_, column)| crate::canonical::canonical_bytes(*column).len());
            let column = longest.map(|(name, _)| name.clone()).unwrap_or_default();
            let remedy = Some("declare fewer values, or delete columns that no study needs");
            return Err(SchemaError { dataset: self.name.clone(), column, what, remedy });
        }
        for (column, column_type) in &self.columns {
            let fail = |(what, remedy): (String, Option<&'static str>)| {
                Err(SchemaError { dataset: self.name.clone(), column: column.clone(), what, remedy })
            };
            if *column == self.privacy_unit {
                let what = "is the privacy unit and cannot be a column of studies as well";
                return fail((what.into(), Some("delete it from the columns")));
            }
            match column_type {
                ColumnType::Category { values } => {
                    if values.is_empty() {
                        return fail(("is a category without values".into(), Some("list them: values = [\"…\"]")));
                    }
                    let mut seen = std::collections::HashSet::new();
                    if let Some(twice) = values.iter().find(|value| !seen.insert(*value)) {
                        return fail((format!("lists the value `{twice}` twice"), Some("keep one")));
                    }
                    if values.iter().any(String::is_empty) {
                        let remedy = "an empty field is NULL, so delete it from the list";
                        return fail(("lists an empty value".into(), Some(remedy)));
                    }
                }
                ColumnType::Int { min, max } => check_bounds(*min, *max).or_else(fail)?,
                ColumnType::Float { min, max } => {
                    if [min, max].into_iter().flatten().any(|bound| !bound.is_finite()) {
                        return fail(("has a bound that is not a finite number".into(), None));
                    }
                    check_bounds(*min, *max).or_else(fail)?;
                }
                ColumnType::Date { min, max } => check_bounds(*min, *max).or_else(fail)?,
                ColumnType::Bool => {}
            }
        }
        Ok(())
    }
}

/// What is wrong with a pair of bounds, and what to do.
fn check_bounds<T: PartialOrd + fmt::Display>(
    min: Option<T>,
    max: Option<T>,
) -> Result<(), (String, Option<&'static str>)> {
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err((format!("has min {min} above max {max}"), Some("swap them"))),
        (Some(_), None) => Err(("has a min but no max".into(), Some("give both or none"))),
        (None, Some(_)) => Err(("has a max but no min".into(), Some("give both or none"))),
        _ => Ok(()),
    }
}

/// A schema that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The data set.
    pub dataset: String,
    /// The column.
    pub column: String,
    /// What is wrong with it, as the rest of a sentence that begins with the column.
    pub what: String,
    /// What to do about it, where that can be said.
    pub remedy: Option<&'static str>,
}

impl SchemaError {
    /// What is wrong, and where.
    pub fn problem(&self) -> String {
        format!("column `{}` of data set `{}` {}", self.column, self.dataset, self.what)
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SchemaError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(column_type: ColumnType) -> DatasetSchema {
        DatasetSchema { name: "d".into(), privacy_unit: "id".into(), columns: [("c".into(), column_type)].into() }
    }

    #[test]
    fn days_round_trip() {
        for text in ["1970-01-01", "2024-02-29", "1899-12-31", "2030-12-31"] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Day::parse("1970-01-02"), Some(Day(1)));
        for text in ["2025-02-30", "2025-1-1", "20250101", "today", ""] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    /// All partners of a study are sent it, and what is wrong with it is logged.
    #[test]
    fn names_and_schemas_of_any_length_are_refused_in_few_words() {
        let long = |length: usize| "x".repeat(length);
        for name in ["", "a\u{1b}[2J", &long(201)] {
            for place in 0..3 {
                let mut schema = schema(ColumnType::Bool);
                match place {
                    0 => schema.name = name.into(),
                    1 => schema.privacy_unit = name.into(),
                    _ => drop(schema.columns.insert(name.into(), ColumnType::Bool)),
                }
                let error = schema.validate().unwrap_err().to_string();
                assert!(
                    error.len() < 400 && !error.contains(char::is_control) && error.contains("has a name"),
                    "{error}"
                );
            }
        }
        let values = |count: usize| ColumnType::Category { values: (0..count).map(|i| format!("{i:09}")).collect() };
        schema(values(30_000)).validate().unwrap();
        let error = schema(values(40_000)).validate().unwrap_err().to_string();
        assert!(error.contains("column `c`") && error.contains("524288"), "{error}");
    }

    #[test]
    fn schemas_that_cannot_bound_anything_are_refused() {
        let refused = [
            (ColumnType::Category { values: vec![] }, "without values"),
            (ColumnType::Category { values: vec!["a".into(), "a".into()] }, "twice"),
            (ColumnType::Int { min: Some(2), max: Some(1) }, "above max"),
            (ColumnType::Int { min: Some(2), max: None }, "no max"),
            (ColumnType::Float { min: Some(f64::NAN), max: Some(1.0) }, "finite"),
        ];
        for (column_type, expected) in refused {
            let error = schema(column_type).validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(schema(ColumnType::Int { min: Some(1), max: Some(1) }).validate().is_ok());
        let mut unit_as_column = schema(ColumnType::Bool);
        unit_as_column.privacy_unit = "c".into();
        assert!(unit_as_column.validate().unwrap_err().to_string().contains("privacy unit"));
    }
}
