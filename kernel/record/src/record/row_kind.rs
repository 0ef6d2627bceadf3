//! The kind of change that a record makes, in a stream that describes a changing table.

use super::Record;
use core::fmt;

/// The change that a record makes to a table (Flink's `RowKind`, with its names and codes). Records may carry it as a field; no exchange, operator or store
/// looks at it.
///
/// ```
/// # extern crate thalweg_record as thalweg;
/// use thalweg::record::{Record, RowKind};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Balance { kind: RowKind, account: u64, cents: i64 }
///
/// let before = Balance { kind: RowKind::UpdateBefore, account: 7, cents: 100 };
/// assert_eq!(before.kind.to_string(), "-U");
/// assert!(before.kind.is_retraction());
/// ```
#[derive(Record, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// A new row: `+I`.
    Insert,
    /// A row as it was before an update: `-U`. The update itself follows.
    UpdateBefore,
    /// A row as it is after an update: `+U`.
    UpdateAfter,
    /// A row that is gone: `-D`.
    Delete,
}

impl RowKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Insert, Self::UpdateBefore, Self::UpdateAfter, Self::Delete];

    /// The code of the kind, from 0 to 3.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this code, if there is one.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the record retracts an earlier one.
    #[must_use]
    pub fn is_retraction(self) -> bool {
        matches!(self, Self::UpdateBefore | Self::Delete)
    }
}

/// The kind as its two characters, `+I` for instance.
impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_are_flinks() {
        let told: Vec<_> = RowKind::ALL.iter().map(|kind| (kind.code(), kind.to_string())).collect();
        assert_eq!(told, [(0, "+I".to_owned()), (1, "-U".to_owned()), (2, "+U".to_owned()), (3, "-D".to_owned())]);
        for kind in RowKind::ALL {
            assert_eq!(RowKind::of_code(kind.code()), Some(kind));
            assert_eq!(kind.is_retraction(), kind.to_string().starts_with('-'));
        }
        assert_eq!(RowKind::of_code(4), None);
    }
}
