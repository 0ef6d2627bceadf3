//! Rows of CSV files that could not be understood, and the side output that they leave by (docs/src/semantics.md#s-3).

use thalweg_kernel::OutputTag;
use thalweg_record::record::Record;

/// Where the rows go that cannot be understood. Take it right behind the source: `rows.side_output(&MALFORMED)`.
pub const MALFORMED: OutputTag<MalformedRecord> = OutputTag::new("malformed");

/// A row that could not be understood.
#[derive(Clone, Debug, PartialEq, Record)]
#[non_exhaustive]
pub struct MalformedRecord {
    /// The file it stands in.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The field that is to blame, from 1.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
    /// The row as it stands in the file (what is not UTF-8 replaced); of one that is too long, the beginning.
    pub text: String,
}
