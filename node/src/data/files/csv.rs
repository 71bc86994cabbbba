//! Reading CSV into columns of text, whatever the file holds.
//!
//! Every sequence of bytes is some table, so that no row can stop a study: a record with too few fields has NULLs for
//! the rest, surplus fields are ignored, and a field that is not UTF-8 or is longer than [`MAX_FIELD`] is NULL, as an
//! empty one is. What was repaired like this is counted, for the node's staff. A quote opens a quoted field only as
//! its first character and `""` inside stands for one, as in RFC 4180.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;

/// Fields longer than this are NULL: no bound, category or customer is written in a megabyte.
pub(crate) const MAX_FIELD: usize = 1 << 20;

/// Ends a batch early, so that long texts do not pile up.
pub(super) const MAX_BATCH_BYTES: usize = 4 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The names in the first line, without a byte order mark. `None`: empty or not UTF-8.
pub(super) fn header(input: impl Read) -> io::Result<Vec<Option<String>>> {
    let mut names = Header(Vec::new());
    Splitter::new(input).records(&mut names)?;
    Ok(names.0.into_iter().map(|name| name.filter(|name| !name.is_empty())).collect())
}

struct Header(Vec<Option<String>>);

impl Records for Header {
    fn field(&mut self, column: usize, text: Option<&[u8]>) {
        self.0.resize(column, None);
        self.0.push(text.and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned));
    }

    fn record(&mut self, _fields: usize) -> bool {
        false
    }
}

/// A CSV file as batches of text columns.
pub(super) struct CsvReader {
    splitter: Splitter<File>,
    columns: Columns,
}

impl CsvReader {
    /// Reads, of the columns in the header (`fields` of them), those that `wanted` gives a place in the batches.
    pub(super) fn new(file: File, wanted: Vec<Option<usize>>, batch_rows: usize) -> io::Result<Self> {
        let mut splitter = Splitter::new(file);
        splitter.records(&mut Header(Vec::new()))?;
        let count = wanted.iter().flatten().count();
        let builders = (0..count).map(|_| StringBuilder::with_capacity(batch_rows, batch_rows * 8)).collect();
        Ok(Self {
            splitter,
            columns: Columns { wanted, builders, batch_rows, rows: 0, bytes: 0, next: 0, malformed: 0 },
        })
    }

    /// The next batch's columns and number of rows; `None` at the end.
    pub(super) fn batch(&mut self) -> io::Result<Option<(Vec<ArrayRef>, usize)>> {
        self.splitter.records(&mut self.columns)?;
        let rows = std::mem::take(&mut self.columns.rows);
        self.columns.bytes = 0;
        if rows == 0 {
            return Ok(None);
        }
        Ok(Some((self.columns.builders.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect(), rows)))
    }

    /// How many records so far were not as the header says.
    pub(super) fn malformed(&self) -> u64 {
        self.columns.malformed
    }
}

struct Columns {
    wanted: Vec<Option<usize>>,
    builders: Vec<StringBuilder>,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
    /// The first file column of this record that has not been filled yet.
    next: usize,
    malformed: u64,
}

impl Records for Columns {
    fn field(&mut self, column: usize, text: Option<&[u8]>) {
        self.next = column + 1;
        let Some(Some(place)) = self.wanted.get(column) else { return };
        let decoded = text.map(std::str::from_utf8);
        if !matches!(decoded, Some(Ok(_))) {
            self.malformed += 1;
        }
        match decoded {
            Some(Ok(text)) if !text.is_empty() => {
                self.bytes += text.len();
                self.builders[*place].append_value(text);
            }
            _ => self.builders[*place].append_null(),
        }
    }

    fn record(&mut self, fields: usize) -> bool {
        for place in self.wanted[self.next.min(self.wanted.len())..].iter().flatten() {
            self.builders[*place].append_null();
        }
        self.malformed += u64::from(fields != self.wanted.len());
        self.next = 0;
        self.rows += 1;
        self.rows < self.batch_rows && self.bytes < MAX_BATCH_BYTES
    }
}

/// What is done with the fields of a file.
trait Records {
    /// Field number `column` of the current record; `None` if it was too long to keep.
    fn field(&mut self, column: usize, text: Option<&[u8]>);
    /// The end of a record of so many fields; whether to go on with the next.
    fn record(&mut self, fields: usize) -> bool;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first character of a field.
    Start,
    /// In a field without quotes, or behind the closing quote of one.
    Bare,
    /// Between quotes.
    Quoted,
    /// Behind a quote between quotes: the closing one, or the first of two.
    Quote,
}

/// Cuts bytes into records and fields; holds one buffer and one field.
struct Splitter<R> {
    input: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    state: State,
    column: usize,
    /// The part of the current field that was in earlier buffers or had its quotes taken off.
    field: Vec<u8>,
    quoted: bool,
    too_long: bool,
    started: bool,
}

impl<R: Read> Splitter<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; 256 << 10].into(),
            at: 0,
            end: 0,
            state: State::Start,
            column: 0,
            field: Vec::new(),
            quoted: false,
            too_long: false,
            started: false,
        }
    }

    /// Passes records on until there are no more, or `to` has enough.
    fn records(&mut self, to: &mut impl Records) -> io::Result<()> {
        loop {
            while self.at < self.end {
                if self.step(to) {
                    return Ok(());
                }
            }
            self.end = match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                other => {
                    let read = other?;
                    if read == 0 {
                        // The last line may lack its line feed.
                        if self.column > 0 || self.state != State::Start {
                            self.end_field(to);
                            self.end_record(to);
                        }
                        return Ok(());
                    }
                    read
                }
            };
            self.at = if self.started || !self.buffer[..self.end].starts_with(BYTE_ORDER_MARK) { 0 } else { 3 };
            self.started |= self.end > 0;
        }
    }

    /// Takes what the current state can of the buffer; whether that ended a record after which `to` has enough.
    fn step(&mut self, to: &mut impl Records) -> bool {
        let rest = &self.buffer[self.at..self.end];
        match self.state {
            State::Start => {
                self.quoted = rest[0] == b'"';
                self.state = if self.quoted { State::Quoted } else { State::Bare };
                self.at += usize::from(self.quoted);
            }
            State::Bare => {
                let Some(length) = rest.iter().position(|&byte| byte == b',' || byte == b'\n') else {
                    self.keep(self.at..self.end);
                    self.at = self.end;
                    return false;
                };
                let (start, stop) = (self.at, self.at + length);
                let record_ends = self.buffer[stop] == b'\n';
                self.at = stop + 1;
                let whole = self.field.is_empty() && !self.too_long;
                if !whole {
                    self.keep(start..stop);
                }
                let text = if whole { &self.buffer[start..stop] } else { &self.field[..] };
                let text = if record_ends { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
                // A line without anything on it is no record.
                if record_ends && self.column == 0 && text.is_empty() && !self.too_long && !self.quoted {
                    self.field.clear();
                    self.state = State::Start;
                    return false;
                }
                to.field(self.column, (!self.too_long).then_some(text));
                self.next_field();
                return record_ends && !self.end_record(to);
            }
            State::Quoted => {
                let length = rest.iter().position(|&byte| byte == b'"');
                let stop = length.map_or(self.end, |length| self.at + length);
                self.keep(self.at..stop);
                self.at = stop + usize::from(length.is_some());
                if length.is_some() {
                    self.state = State::Quote;
                }
            }
            State::Quote => {
                if rest[0] == b'"' {
                    self.keep(self.at..self.at + 1);
                    self.at += 1;
                    self.state = State::Quoted;
                } else {
                    self.state = State::Bare;
                }
            }
        }
        false
    }

    fn keep(&mut self, range: std::ops::Range<usize>) {
        if self.field.len() + range.len() > MAX_FIELD {
            self.too_long = true;
            self.field.clear();
        }
        if !self.too_long {
            self.field.extend_from_slice(&self.buffer[range]);
        }
    }

    fn end_field(&mut self, to: &mut impl Records) {
        to.field(self.column, (!self.too_long).then_some(&self.field));
        self.next_field();
    }

    fn next_field(&mut self) {
        self.field.clear();
        self.too_long = false;
        self.quoted = false;
        self.column += 1;
        self.state = State::Start;
    }

    fn end_record(&mut self, to: &mut impl Records) -> bool {
        let fields = std::mem::take(&mut self.column);
        to.record(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a byte at a time, so that every field crosses a buffer's end.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (buffer[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    #[derive(Default)]
    struct All(Vec<Vec<Option<String>>>, Vec<Option<String>>);

    impl Records for All {
        fn field(&mut self, column: usize, text: Option<&[u8]>) {
            assert_eq!(column, self.1.len());
            self.1.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
        }

        fn record(&mut self, fields: usize) -> bool {
            assert_eq!(fields, self.1.len());
            self.0.push(std::mem::take(&mut self.1));
            true
        }
    }

    fn split(text: &str) -> Vec<Vec<Option<String>>> {
        let mut whole = All::default();
        Splitter::new(text.as_bytes()).records(&mut whole).unwrap();
        let mut dripped = All::default();
        Splitter::new(Drip(text.as_bytes())).records(&mut dripped).unwrap();
        assert_eq!(whole.0, dripped.0, "{text:?}");
        whole.0
    }

    #[test]
    fn records_and_fields() {
        for (text, expected) in [
            ("a,b\n1,2\n", &[&["a", "b"][..], &["1", "2"]][..]),
            ("a,b\r\n1,2", &[&["a", "b"], &["1", "2"]]),
            ("\"a,b\",\"c\nd\"\n", &[&["a,b", "c\nd"]]),
            ("\"a\"\"b\"\n", &[&["a\"b"]]),
            ("a\"b,\"c\"d\n", &[&["a\"b", "cd"]]),
            ("\n\r\na\n\n", &[&["a"]]),
            (",\n", &[&["", ""]]),
            ("\"\"\n", &[&[""]]),
            ("\"open,\n", &[&["open,\n"]]),
            ("a,", &[&["a", ""]]),
            ("", &[]),
        ] {
            let found = split(text);
            let found: Vec<Vec<&str>> =
                found.iter().map(|record| record.iter().map(|field| field.as_deref().unwrap()).collect()).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_field_without_end_is_null_and_costs_no_memory() {
        let text = format!("a,{},b\n", "x".repeat(3 * MAX_FIELD));
        assert_eq!(split(&text), [[Some("a".to_owned()), None, Some("b".to_owned())]]);
    }

    #[test]
    fn the_header_comes_without_a_byte_order_mark() {
        assert_eq!(header("\u{feff}\"a\",b\n1,2\n".as_bytes()).unwrap(), [Some("a".to_owned()), Some("b".to_owned())]);
    }

    #[test]
    fn ragged_records_become_nulls_and_are_counted() {
        use std::io::Write;

        use arrow_array::Array;
        use arrow_array::cast::AsArray;

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a,b,c\n1\n1,2,3,4\n\xff,,3\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut reader = CsvReader::new(file, vec![Some(1), None, Some(0)], 100).unwrap();
        let (columns, rows) = reader.batch().unwrap().unwrap();
        assert_eq!(rows, 3);
        assert_eq!(columns[1].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("1"), Some("1"), None]);
        assert_eq!(columns[0].as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("3"), Some("3")]);
        assert_eq!(columns[0].len(), 3);
        assert_eq!(reader.malformed(), 3);
        assert!(reader.batch().unwrap().is_none());
    }
}
