//! Tables as files after RFC 4180: UTF-8, lines ended by CR LF, fields quoted where they must be.
//!
//! Values that a spreadsheet would take for a formula (`=1+1`) are left as they are: they are data.

/// Adds a line of fields that are quoted where they must be.
pub fn line(text: &mut String, fields: impl Iterator<Item = String>) {
    for (i, field) in fields.enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&field);
    }
    text.push_str("\r\n");
}

/// A field that holds a separator, a quote or a line break is quoted; so are outer blanks, which some readers strip,
/// and nothing at all, which would look like NULL.
pub fn quoted(field: &str) -> String {
    let special = field.contains([',', '"', '\r', '\n']);
    if special || field.is_empty() || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let cases = [
            ("north", "north"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("\r", "\"\r\""),
            (" x", "\" x\""),
            ("", "\"\""),
            ("=1+1", "=1+1"),
            ("-5", "-5"),
            ("semi;colon", "semi;colon"),
        ];
        for (field, expected) in cases {
            assert_eq!(quoted(field), expected);
        }
    }
}
