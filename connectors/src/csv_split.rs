//! The splits of a [`CsvSource`](super::CsvSource).

use thalweg_record::record::Record;

/// A file, and how far it has been emitted.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub struct CsvSplit {
    /// The file.
    pub file: String,
    /// Where the next row begins, in bytes, or line ends before it; 0 from the beginning, its header included.
    pub offset: u64,
    /// The line at that place, from 1.
    pub line: u64,
}
