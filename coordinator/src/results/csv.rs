//! `result.csv` after RFC 4180: UTF-8, a header line, lines ended by CR LF, fields quoted where they must be.
//!
//! Values that a spreadsheet would take for a formula (`=1+1`) are left as they are: they are data.

use entente_protocols::language::expr::Value;

use super::table::{Flat, ResultTable};

/// The text of `result.csv`.
pub(crate) fn write(table: &ResultTable) -> String {
    let columns = table.flat();
    let mut text = String::new();
    line(&mut text, columns.iter().map(|(name, _)| quoted(name)));
    for row in &table.rows {
        let field = |column: &Flat| match *column {
            Flat::Key(key) => match &row.keys[key] {
                Value::Text(text) => quoted(text),
                other => other.to_string(),
            },
            // The shortest decimal that reads back as the same number.
            Flat::Number(measure, part) => part(&row.cells[measure].estimate).to_string(),
        };
        line(&mut text, columns.iter().map(|(_, column)| field(column)));
    }
    text
}

/// Adds a line of fields that are quoted where they must be.
pub(crate) fn line(text: &mut String, fields: impl Iterator<Item = String>) {
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
pub(crate) fn quoted(field: &str) -> String {
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
