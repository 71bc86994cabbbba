//! Reading NDJSON (one JSON object a line) into columns of text, whatever the file holds.
//!
//! A field's text is the string itself, a number as it is written shortest, or `true` / `false`; lists and objects
//! are NULL. So a column may hold `7` in one line and `"7"` in the next. A line that is not a JSON object is a row of
//! NULLs (which belongs to no customer) and is counted, for the node's staff; an empty line is none.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::csv::{MAX_BATCH_BYTES, MAX_FIELD};

/// Longer lines are rows of NULLs.
const MAX_LINE: u64 = 16 << 20;

/// How far [`field_names`] looks.
const SAMPLE_LINES: usize = 10_000;
const SAMPLE_BYTES: usize = 8 << 20;

/// Adds the names of the fields in the first lines; the error says why this is no NDJSON.
pub(super) fn field_names(mut input: impl BufRead, names: &mut BTreeMap<String, ()>) -> Result<(), String> {
    let (mut line, mut seen, mut invalid) = (Vec::new(), 0, 0);
    for number in 0..SAMPLE_LINES {
        if seen > SAMPLE_BYTES || take_line(&mut input, &mut line).map_err(|error| error.to_string())? == 0 {
            break;
        }
        seen += line.len();
        let text = line.trim_ascii();
        if number == 0 && text.first() == Some(&b'[') {
            return Err("it holds a JSON array; one object a line is expected".into());
        }
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(text) {
            Ok(fields) => names.extend(fields.into_keys().map(|name| (name, ()))),
            Err(_) => invalid += 1,
        }
    }
    if invalid > 0 && names.is_empty() {
        return Err("none of its first lines is a JSON object; one object a line is expected".into());
    }
    Ok(())
}

/// A range of an NDJSON file as batches of text columns: the lines that begin in it.
pub(super) struct NdJsonReader {
    input: BufReader<File>,
    left: u64,
    places: HashMap<String, usize>,
    builders: Vec<StringBuilder>,
    cells: Vec<Cell>,
    line: Vec<u8>,
    batch_rows: usize,
    malformed: u64,
}

impl NdJsonReader {
    /// Reads `columns` of the lines that begin in `range`.
    pub(super) fn new(mut file: File, range: Range<u64>, columns: &[String], batch_rows: usize) -> io::Result<Self> {
        let start = range.start.saturating_sub(1);
        file.seek(SeekFrom::Start(start))?;
        let mut left = range.end.saturating_sub(start);
        let mut input = BufReader::with_capacity(256 << 10, file);
        if range.start > 0 {
            // Up to the line feed that is at or behind the byte before the range: an earlier line's end.
            left = left.saturating_sub(take_line(&mut input, &mut Vec::new())?);
        }
        Ok(Self {
            input,
            left,
            places: columns.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect(),
            builders: columns.iter().map(|_| StringBuilder::with_capacity(batch_rows, batch_rows * 8)).collect(),
            cells: columns.iter().map(|_| Cell::default()).collect(),
            line: Vec::new(),
            batch_rows,
            malformed: 0,
        })
    }

    /// The next batch's columns and number of rows; `None` at the end.
    pub(super) fn batch(&mut self) -> io::Result<Option<(Vec<ArrayRef>, usize)>> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.batch_rows && bytes < MAX_BATCH_BYTES && self.left > 0 {
            let taken = take_line(&mut self.input, &mut self.line)?;
            if taken == 0 {
                break;
            }
            self.left = self.left.saturating_sub(taken);
            let text = self.line.trim_ascii();
            if text.is_empty() && taken <= MAX_LINE {
                continue;
            }
            self.cells.iter_mut().for_each(|cell| cell.present = false);
            let mut json = serde_json::Deserializer::from_slice(text);
            let row = Row { places: &self.places, cells: &mut self.cells };
            let parsed = row.deserialize(&mut json).and_then(|()| json.end());
            if parsed.is_err() {
                self.malformed += 1;
            }
            for (cell, builder) in self.cells.iter().zip(&mut self.builders) {
                match cell.present && parsed.is_ok() && !cell.text.is_empty() && cell.text.len() <= MAX_FIELD {
                    true => builder.append_value(&cell.text),
                    false => builder.append_null(),
                }
                bytes += cell.text.len();
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        Ok(Some((self.builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect(), rows)))
    }

    /// How many lines so far were not JSON objects.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// Reads a line without its line feed (empty if longer than [`MAX_LINE`]) and says how many bytes of the file it took;
/// 0 at the end.
fn take_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut taken = 0;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if buffer.is_empty() {
            return Ok(taken);
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let length = end.unwrap_or(buffer.len());
        if taken + length as u64 <= MAX_LINE {
            line.extend_from_slice(&buffer[..length]);
        } else {
            line.clear();
        }
        let used = length + usize::from(end.is_some());
        input.consume(used);
        taken += used as u64;
        if end.is_some() {
            return Ok(taken);
        }
    }
}

/// One field of one row; the text is kept between rows for its memory.
#[derive(Default)]
struct Cell {
    present: bool,
    text: String,
}

struct Row<'a> {
    places: &'a HashMap<String, usize>,
    cells: &'a mut [Cell],
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Place(self.places))? {
            match place {
                Some(place) => map.next_value_seed(&mut self.cells[place])?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// Finds the column a key names.
struct Place<'a>(&'a HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.get(name).copied())
    }
}

impl Cell {
    fn set(&mut self, value: impl fmt::Display) {
        self.text.clear();
        self.present = write!(self.text, "{value}").is_ok();
    }
}

impl<'de> DeserializeSeed<'de> for &mut Cell {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Cell {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text.clear();
        self.text.push_str(value);
        self.present = true;
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.present = false;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.present = false;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.present = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn rows(text: &str, range: Range<u64>) -> (Vec<[Option<String>; 2]>, u64) {
        let mut reader = NdJsonReader::new(file(text), range, &["a".into(), "b".into()], 2).unwrap();
        let mut rows = Vec::new();
        while let Some((columns, count)) = reader.batch().unwrap() {
            let [a, b] = [0, 1].map(|i| columns[i].as_string::<i32>());
            assert_eq!(a.len(), count);
            rows.extend(a.iter().zip(b).map(|(a, b)| [a.map(str::to_owned), b.map(str::to_owned)]));
        }
        (rows, reader.malformed())
    }

    #[test]
    fn whatever_a_line_holds_is_a_row() {
        let text = concat!(
            "{\"a\": 7, \"b\": \"x\\u00e9\"}\n",
            "\r\n",
            "{\"b\": null, \"a\": \"7\", \"c\": {\"a\": 1}}\r\n",
            "{\"a\": -1.5, \"b\": true}\n",
            "{\"a\": [1, {\"b\": 2}], \"b\": {\"a\": []}}\n",
            "{\"a\": 1, \"b\": \"cut\n",
            "[1, 2]\n",
            "{\"a\": 1} 2\n",
            "{\"a\": 18446744073709551615, \"a\": \"\"}",
        );
        let (rows, malformed) = rows(text, 0..text.len() as u64);
        let expected = [
            [Some("7"), Some("xé")],
            [Some("7"), None],
            [Some("-1.5"), Some("true")],
            [None, None],
            [None, None],
            [None, None],
            [None, None],
            [None, None],
        ];
        assert_eq!(rows, expected.map(|row| row.map(|cell| cell.map(str::to_owned))));
        assert_eq!(malformed, 3);
    }

    #[test]
    fn ranges_share_the_lines_out() {
        let text = "{\"a\":1}\n{\"a\":22}\n\n{\"a\":333}";
        let (all, _) = rows(text, 0..text.len() as u64);
        for first in 0..=text.len() as u64 {
            for second in first..=text.len() as u64 {
                let parts = [0..first, first..second, second..text.len() as u64];
                let found: Vec<_> = parts.into_iter().flat_map(|range| rows(text, range).0).collect();
                assert_eq!(found, all, "{first} {second}");
            }
        }
    }

    #[test]
    fn names_come_from_all_first_lines() {
        let mut names = BTreeMap::new();
        field_names(BufReader::new(&b"{\"a\": 1}\nnonsense\n{\"b\": {\"c\": 2}}\n"[..]), &mut names).unwrap();
        assert_eq!(names.into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(field_names(BufReader::new(&b"nonsense\n"[..]), &mut BTreeMap::new()).is_err());
    }
}
