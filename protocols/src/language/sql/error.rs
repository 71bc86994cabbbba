//! Why a query is refused, where, and what to write instead.

use std::fmt;

use crate::reason::Reason;

/// A query, or a part of one, that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The SQL text of the offending part, shortened; or the name and value of a limit.
    pub part: String,
    /// The line the part begins on, from 1; 0 where the part is not in the SQL (a limit, the schema).
    pub line: u64,
    /// The column the part begins at, in characters from 1; 0 where the part is not in the SQL.
    pub column: u64,
    /// What is wrong with it.
    pub why: String,
    /// What to write or do instead: a sentence, never empty.
    pub instead: String,
}

impl Refusal {
    /// The refusal of something that is not in the SQL.
    pub(super) fn outside(part: impl Into<String>, why: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { part: part.into(), line: 0, column: 0, why: why.into(), instead: instead.into() }
    }

    /// What is wrong, apart from what to write instead.
    pub fn reason(&self) -> Reason {
        let place = if self.line > 0 { format!("line {}, column {}: ", self.line, self.column) } else { String::new() };
        // A sentence, which goes on behind a word of its own here; but not names such as AVG.
        let (first, rest) = self.instead.split_at_checked(1).unwrap_or_default();
        let first = if rest.starts_with(char::is_lowercase) { first.to_lowercase() } else { first.to_owned() };
        Reason::from(format!("{place}`{}` cannot be asked: {}", self.part, self.why)).help(first + rest)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}.", self.reason().problem, self.instead)
    }
}

/// What expressions consist of, for messages.
pub(super) const EXPRESSIONS: &str = "Write it with + - * /, = <> < <= > >=, AND, OR, NOT, IN, BETWEEN, IS NULL, CASE, \
                                      CAST and the functions ABS, COALESCE, NULLIF, EXTRACT, DATE_PART, DATE_TRUNC";
/// The functions there are, for messages.
pub(super) const FUNCTIONS: &str = "Write it with ABS, COALESCE, NULLIF, CAST, EXTRACT, DATE_PART, DATE_TRUNC or CASE";
/// The measures there are, for messages.
pub(super) const MEASURE_NAMES: &str = "the measures are COUNT(*), COUNT(DISTINCT unit), SUM and AVG";

/// Up to three of `known` that look most like `word`, the nearest first; none if none is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const NEAR: f64 = 0.75;
    let word = word.to_lowercase();
    let mut scored: Vec<(f64, &str)> =
        known.map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known)).collect();
    scored.retain(|(score, _)| *score >= NEAR);
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scored.into_iter().take(3).map(|(_, known)| known).collect()
}

/// `a`, `b` and so on: at most `most` of the words, and how many more there are.
pub(super) fn listed<'a>(words: impl Iterator<Item = &'a str>, most: usize) -> String {
    let words: Vec<&str> = words.collect();
    let mut text = words.iter().take(most).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    if words.len() > most {
        text.push_str(&format!(" and {} more", words.len() - most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_write_instead_stands_apart() {
        let refusal = |instead: &str| Refusal { line: 2, column: 7, ..Refusal::outside("x", "it is long", instead) };
        let reason = refusal("Write y").reason();
        assert_eq!(reason.problem, "line 2, column 7: `x` cannot be asked: it is long");
        assert_eq!(reason.remedy.as_deref(), Some("write y"));
        assert_eq!(refusal("AVG does it").reason().remedy.as_deref(), Some("AVG does it"));
        assert_eq!(refusal("Write y").to_string(), format!("{}. Write y.", reason.problem));
    }
}
