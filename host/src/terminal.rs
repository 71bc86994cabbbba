//! What is printed, and what must not reach a terminal.
//!
//! Results go to stdout; a reader that stops early is not an error. Names, reasons and files come from other machines,
//! so control characters in them are replaced or escaped.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::error::Error;

/// The most characters that are kept of a text from another machine.
const MOST: usize = 1000;

/// Prints lines of a result.
///
/// # Errors
///
/// If stdout cannot be written to.
pub fn print(text: impl Display) -> Result<(), Error> {
    write((printable(&text.to_string()) + "\n").as_bytes())
}

/// Prints a result for machines.
///
/// # Errors
///
/// If it cannot be written as JSON, or stdout cannot be written to.
pub fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).map_err(|error| Error::failed(error.to_string()))?;
    print_json_text(&json)
}

/// Prints existing JSON; control characters in strings are escaped, so the value stays the same.
///
/// # Errors
///
/// If stdout cannot be written to.
pub fn print_json_text(json: &str) -> Result<(), Error> {
    print(escaped(json))
}

/// A table for people, in the one look that all have.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.into_iter().collect::<Vec<_>>());
    table
}

/// Asks a person on a terminal: yes or no. `question` shows what it is about, and is not called where there is no terminal, for which
/// the answer is `None`.
///
/// # Errors
///
/// If the question cannot be shown, or the answer cannot be read.
pub fn ask(question: impl FnOnce() -> Result<String, Error>) -> Result<Option<bool>, Error> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(None);
    }
    write(printable(&question()?).as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Error::failed(format!("could not read an answer: {error}")))?;
    Ok(Some(is_yes(&answer)))
}

/// Only what is surely meant as a yes is one.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Writes a file to stdout, as it is.
///
/// # Errors
///
/// If stdout cannot be written to.
pub fn write(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("could not write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether a character changes how others are shown: controls, and what is invisible or turns the direction of writing.
fn paints(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || is_format
}

/// Replaces characters that paint, other than line ends and tabs.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if paints(c) && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Replaces all characters that paint, line ends included.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if paints(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Text from another machine, made fit for logs and to be kept: one line, nothing that paints, at most 1000
/// characters.
pub fn clean(text: &str) -> String {
    let mut clean: String = text.chars().take(MOST).map(|c| if paints(c) { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        clean.push('…');
    }
    clean
}

/// Escapes the control characters that JSON allows unescaped in strings.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        // Those below U+0020 cannot stand in a string, and these cannot stand outside one.
        if ('\u{7f}'..='\u{9f}').contains(&c) {
            escaped += &format!("\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}2Jc\u{7f}\r\n\td";

    #[test]
    fn nothing_that_is_shown_steers_a_terminal() {
        assert_eq!(printable("a\u{202e}b\u{200b}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(printable(HOSTILE), "a\u{fffd}[2Jb\u{fffd}2Jc\u{fffd}\u{fffd}\n\td");
        assert_eq!(one_line(HOSTILE), "a\u{fffd}[2Jb\u{fffd}2Jc\u{fffd}\u{fffd}\u{fffd}\u{fffd}d");
        assert_eq!(clean(HOSTILE), "a [2Jb 2Jc    d");
        assert_eq!(clean(&"ä".repeat(1001)), "ä".repeat(1000) + "…");
        assert_eq!(clean(&"ä".repeat(1000)), "ä".repeat(1000));
    }

    #[test]
    fn an_empty_answer_is_no() {
        assert!(["y\n", "Yes\n", " y "].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yy", "yes, but"].into_iter().any(is_yes));
    }

    #[test]
    fn json_is_shown_without_control_characters_and_stays_what_it_says() {
        let json = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        assert!(json.contains('\u{9b}'), "it may stand there as it is");
        let shown = printable(&escaped(&json));
        assert!(shown.chars().all(|c| !c.is_control() || c == '\n'));
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [HOSTILE]);
    }
}
