//! How much state there is in memory.

use std::iter::Sum;

/// The size of tables or timers. Reading it costs the same whatever they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// The number of entries.
    pub entries: usize,
    /// Bytes of memory that the entries take, free slots included, without what keys and values own outside of them.
    pub table_bytes: usize,
}

impl Sum for StateSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |sum, size| Self {
            entries: sum.entries + size.entries,
            table_bytes: sum.table_bytes + size.table_bytes,
        })
    }
}
