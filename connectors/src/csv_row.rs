//! A row of a CSV file as the user's function sees it: fields by the names in the header, and the line as it was.

use super::csv_parser::RawRecord;
use serde::de::DeserializeOwned;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::str::FromStr;

/// Why a row could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct CsvError {
    /// The offending field, from 1; also 1 if the whole row is to blame.
    pub column: u64,
    /// The error, with the name of the column.
    pub reason: String,
}

impl CsvError {
    /// An error that blames the whole row.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { column: 1, reason: reason.into() }
    }
}

/// The names of the columns of one file.
pub(super) struct Header {
    names: csv::StringRecord,
    /// The column after the one looked up last: programs ask for columns in the same order row after row.
    expected: Cell<usize>,
    /// For serde, which takes fields only in this form.
    scratch: RefCell<csv::StringRecord>,
}

impl Header {
    /// Reads the names from the first record of a file.
    ///
    /// # Errors
    /// If they are not UTF-8.
    pub(super) fn new(record: &RawRecord<'_>) -> Result<Self, CsvError> {
        let fields = utf8(record, None)?;
        let names = spans(record.ends).map(|(start, end)| &fields[start..end]).collect();
        Ok(Self { names, expected: Cell::new(0), scratch: RefCell::default() })
    }

    fn position(&self, name: &str) -> Option<usize> {
        let expected = self.expected.get();
        let found = if self.names.get(expected) == Some(name) { Some(expected) } else { self.names.iter().position(|known| known == name) };
        self.expected.set(found.map_or(0, |position| position + 1));
        found
    }

    /// `column dep_delay`, or `column 20` if the header has fewer.
    fn describe(&self, position: usize) -> String {
        self.names.get(position).map_or_else(|| format!("column {}", position + 1), |name| format!("column {name}"))
    }
}

fn spans(ends: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied())
}

/// The fields as text, checked to be UTF-8.
fn utf8<'a>(record: &RawRecord<'a>, header: Option<&Header>) -> Result<&'a str, CsvError> {
    // All fields are checked at once; but if a character is split across the end of a field, its halves are invalid.
    if let Ok(text) = std::str::from_utf8(record.fields)
        && record.ends.iter().all(|end| text.is_char_boundary(*end))
    {
        return Ok(text);
    }
    let invalid = spans(record.ends).position(|(start, end)| std::str::from_utf8(&record.fields[start..end]).is_err()).unwrap_or(0);
    let column = header.map_or_else(|| format!("column {}", invalid + 1), |header| header.describe(invalid));
    Err(CsvError { column: invalid as u64 + 1, reason: format!("{column} is not valid UTF-8") })
}

/// A row of a CSV file, as the user's function gets it.
pub struct CsvRow<'a> {
    header: &'a Header,
    fields: &'a str,
    ends: &'a [usize],
    text: &'a [u8],
    line: u64,
}

impl<'a> CsvRow<'a> {
    /// # Errors
    /// If the number of fields is not that of the header, or a field is not UTF-8.
    pub(super) fn new(record: &RawRecord<'a>, header: &'a Header) -> Result<Self, CsvError> {
        let (expected, found) = (header.names.len(), record.ends.len());
        if expected != found {
            let lines = if record.last_line > record.line {
                format!(" in lines {} to {}; is a closing quote missing?", record.line, record.last_line)
            } else {
                String::new()
            };
            let reason = format!("the row has {found} fields, but the header has {expected}{lines}");
            return Err(CsvError { column: expected.min(found) as u64 + 1, reason });
        }
        Ok(Self { header, fields: utf8(record, Some(header))?, ends: record.ends, text: record.text, line: record.line })
    }

    fn field(&self, position: usize) -> Option<&'a str> {
        let start = if position == 0 { 0 } else { *self.ends.get(position - 1)? };
        self.fields.get(start..*self.ends.get(position)?)
    }

    fn find(&self, name: &str) -> Result<(usize, &'a str), CsvError> {
        let found = self.header.position(name).and_then(|position| Some((position, self.field(position)?)));
        found.ok_or_else(|| {
            let known = self.header.names.iter().collect::<Vec<_>>().join(", ");
            CsvError::new(format!("there is no column {name}; the header names {known}"))
        })
    }

    /// The field in the column `name`, without the quotes around it.
    ///
    /// # Errors
    /// If the header has no such column.
    pub fn get(&self, name: &str) -> Result<&'a str, CsvError> {
        self.find(name).map(|(_, field)| field)
    }

    /// The field in the column `name` as a value: `row.parse::<u32>("hour")?`.
    ///
    /// # Errors
    /// If the header has no such column or the field is no such value.
    pub fn parse<N: FromStr<Err: Display>>(&self, name: &str) -> Result<N, CsvError> {
        let (position, field) = self.find(name)?;
        field
            .parse()
            .map_err(|error| CsvError { column: position as u64 + 1, reason: format!("column {name}: {:?}: {error}", Shortened(field)) })
    }

    /// Like [`parse`](Self::parse), where a value may be missing: `None` if the field is `null` (`"NA"`, `""`, ...).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_unless<N: FromStr<Err: Display>>(&self, null: &str, name: &str) -> Result<Option<N>, CsvError> {
        if self.get(name)? == null { Ok(None) } else { self.parse(name).map(Some) }
    }

    /// The whole row as a value whose fields are named like the columns.
    ///
    /// # Errors
    /// If a column is missing or a field is no such value.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, CsvError> {
        let mut record = self.header.scratch.borrow_mut();
        record.clear();
        spans(self.ends).for_each(|(start, end)| record.push_field(&self.fields[start..end]));
        record.deserialize(Some(&self.header.names)).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &csv::Error) -> CsvError {
        let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return CsvError::new(error.to_string()) };
        let position = err.field().and_then(|position| usize::try_from(position).ok());
        match position.and_then(|position| Some((position, self.field(position)?))) {
            Some((position, field)) => CsvError {
                column: position as u64 + 1,
                reason: format!("{}: {:?}: {}", self.header.describe(position), Shortened(field), err.kind()),
            },
            None => CsvError::new(err.kind().to_string()),
        }
    }

    /// An error that blames the field in the column `name`, for checks that the row's own functions cannot do.
    #[must_use]
    pub fn error(&self, name: &str, reason: impl Display) -> CsvError {
        let column = self.header.position(name).map_or(1, |position| position as u64 + 1);
        CsvError { column, reason: format!("column {name}: {reason}") }
    }

    /// The row exactly as it stands in the file, without the end of its line; a quoted field may hold line ends of its own.
    #[must_use]
    pub fn text(&self) -> &'a str {
        // The fields are UTF-8, and the rest of the text is quotes and commas.
        std::str::from_utf8(self.text).expect("invariant: a row of valid fields is valid UTF-8")
    }

    /// The line of the file on which the row begins, from 1; the header is usually on line 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// At most 40 characters of a field, for messages.
struct Shortened<'a>(&'a str);

impl std::fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.char_indices().nth(40) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}
