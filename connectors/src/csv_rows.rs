//! Records as rows of CSV.

use super::line_format::LineFormat;
use std::fmt::{Display, Write};
use thalweg_io::Buffer;
use thalweg_record::record::Record;

/// Rows of CSV whose fields a function writes.
#[derive(Clone)]
pub struct CsvRows<F> {
    function: F,
    row: CsvRowWriter,
}

impl<F> CsvRows<F> {
    pub(super) fn new(function: F) -> Self {
        Self { function, row: CsvRowWriter::default() }
    }
}

impl<T: Record, F> LineFormat<T> for CsvRows<F>
where
    F: for<'a> FnMut(T::Ref<'a>, &mut CsvRowWriter) + Clone + Send + 'static,
{
    #[inline]
    fn append(&mut self, view: T::Ref<'_>, block: &mut Buffer) {
        self.row.begin();
        (self.function)(view, &mut self.row);
        block.extend_from_slice(self.row.end());
    }
}

/// Takes the fields of one row, from left to right. Quotes the fields that need it.
///
/// ```
/// # mod thalweg { pub use thalweg_connectors as connectors; }
/// use thalweg::connectors::CsvRowWriter;
///
/// let mut row = CsvRowWriter::default();
/// row.field("New York, NY").field(7).optional(None::<i64>);
/// assert_eq!(row.as_bytes(), b"\"New York, NY\",7,");
/// ```
#[derive(Clone, Debug, Default)]
pub struct CsvRowWriter {
    bytes: Vec<u8>,
    fields: usize,
    /// The field being written, before quoting.
    scratch: String,
}

impl CsvRowWriter {
    fn begin(&mut self) {
        self.bytes.clear();
        self.fields = 0;
    }

    /// Ends the row and returns all of it.
    fn end(&mut self) -> &[u8] {
        // A row with a single empty field would be an empty line, which readers skip.
        if self.fields == 1 && self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"\"\"");
        }
        self.bytes.push(b'\n');
        &self.bytes
    }

    /// Adds a field.
    #[inline]
    pub fn field(&mut self, value: impl Display) -> &mut Self {
        self.scratch.clear();
        // Writing to a string fails only if `value` itself reports an error; the text written until then stays.
        let _ = write!(self.scratch, "{value}");
        if self.fields > 0 {
            self.bytes.push(b',');
        }
        self.fields += 1;
        let field = self.scratch.as_bytes();
        if field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            // Each quote is doubled, and the whole field is quoted.
            let start = self.bytes.len();
            self.bytes.resize(start + 2 * field.len() + 2, b'"');
            let (_, _, written) = csv_core::quote(field, &mut self.bytes[start + 1..], b'"', b'"', true);
            self.bytes.truncate(start + 1 + written);
            self.bytes.push(b'"');
        } else {
            self.bytes.extend_from_slice(field);
        }
        self
    }

    /// Adds a field: empty for `None`.
    #[inline]
    pub fn optional(&mut self, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.field(value),
            None => self.field(""),
        }
    }

    /// The row so far, without the end of its line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in prop::collection::vec(prop::collection::vec("[a\",\r\n é]{0,5}", 3), 0..5)) {
            let mut file = Vec::new();
            let mut writer = CsvRowWriter::default();
            for row in &rows {
                writer.begin();
                row.iter().for_each(|field| { writer.field(field); });
                file.extend_from_slice(writer.end());
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&file[..]);
            let read: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            prop_assert_eq!(read, rows);
        }
    }

    #[test]
    fn a_row_of_one_empty_field_is_not_an_empty_line() {
        let mut writer = CsvRowWriter::default();
        writer.begin();
        writer.field("");
        assert_eq!(writer.end(), b"\"\"\n");
    }
}
