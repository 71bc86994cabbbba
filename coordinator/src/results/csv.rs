//! `result.csv`: a header line, and a line for each row.

use entente_host::csv::{line, quoted};
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
