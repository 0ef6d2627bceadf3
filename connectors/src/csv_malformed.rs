//! Rows of CSV files that cannot be understood, and the side output that carries them (docs/src/semantics.md#s-3).

use thalweg_kernel::OutputTag;
use thalweg_record::record::Record;

/// The side output of rows that cannot be understood. Take it right behind the source: `rows.side_output(&MALFORMED)`.
pub const MALFORMED: OutputTag<MalformedRecord> = OutputTag::new("malformed");

/// A row that could not be understood.
#[derive(Clone, Debug, PartialEq, Record)]
#[non_exhaustive]
pub struct MalformedRecord {
    /// The file that contains it.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The offending field, from 1.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
    /// The row as it stands in the file (invalid UTF-8 replaced); if it is too long, its beginning.
    pub text: String,
}
