//! Text in its several stored forms, and text as numbers.
//!
//! Categories only have to be distinguished, so a text is held as its number in [`Texts`], which one plan shares: comparing
//! is comparing numbers, and no text is copied row by row.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// The numbers of the texts of one plan.
#[derive(Debug, Default)]
pub struct Texts(HashMap<String, i32>);

impl Texts {
    /// The number of a text, a new one if it has none.
    pub fn code(&mut self, text: &str) -> i32 {
        let next = i32::try_from(self.0.len()).expect("a plan has less than 2^31 texts");
        *self.0.entry(text.to_owned()).or_insert(next)
    }
}

/// Whether a stored type is text, in any of Arrow's forms.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Runs `f` over the texts of an array of any text type but a dictionary.
pub fn texts_of<T>(raw: &ArrayRef, f: impl FnOnce(&mut dyn Iterator<Item = Option<&str>>) -> T) -> T {
    match raw.data_type() {
        DataType::Utf8 => f(&mut raw.as_string::<i32>().iter()),
        DataType::LargeUtf8 => f(&mut raw.as_string::<i64>().iter()),
        DataType::Utf8View => f(&mut raw.as_string_view().iter()),
        _ => f(&mut std::iter::repeat_n(None, raw.len())),
    }
}

/// The whole number that `text` is the only way to write: no plus sign, no leading zeros, no minus zero.
pub fn canonical_int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_ints_are_written_in_one_way() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("007", None),
            ("+7", None),
            ("7 ", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(canonical_int(text.as_bytes()), expected, "{text}");
        }
    }
}
