//! The splits of a [`CsvSource`](super::CsvSource).

use thalweg_record::record::Record;

/// A file, and the position up to which its rows have been emitted.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub struct CsvSplit {
    /// The path of the file.
    pub file: String,
    /// Where the next row, or line ends before it, begins, in bytes; 0 at the beginning of the file, before its header.
    pub offset: u64,
    /// The line at that place, from 1.
    pub line: u64,
}
