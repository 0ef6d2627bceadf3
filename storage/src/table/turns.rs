//! Whose turn it is to be saved whole: the parts of a table in the order of their hashes, so many in each epoch that what is stored of the table does not grow.

use super::span::Span;
use std::mem;
use std::ops::Range;

/// In so many epochs each part is saved whole once: at most, where little changes, and at least, where much does.
const MOST: u64 = 64;
const LEAST: u64 = 2;

/// At most of a table of which all was saved at once, until its turns have come round: until then that stays stored, besides what comes after it.
pub(super) const AFTER_ALL: u64 = 12;

/// The turns of a table.
#[derive(Default)]
pub(super) struct Turns {
    /// How many entries have changed since the last turn.
    pub(super) changed: usize,
    /// Where, in the range of hashes, the turn has come to.
    at: u64,
    /// How much of the range is to have its turn until nothing builds any more on an epoch in which all was saved.
    left: u64,
}

impl Turns {
    /// The next turn, of a table with so many entries: until it comes round, changes add up to what may change of a part at once. So what is stored of the table
    /// is at most half as much again as the table, if that is half.
    pub(super) fn next(&mut self, entries: usize, changes_percent_max: usize, span: Span) -> Range<u64> {
        let changed = mem::take(&mut self.changed) as u64;
        let most = if self.left > 0 { AFTER_ALL } else { MOST };
        let turns = ((entries as u64).saturating_mul(changes_percent_max as u64) / (100 * changed).max(1)).clamp(LEAST, most);
        let size = 1 << span.bits;
        let from = if self.at < size { self.at } else { 0 };
        let length = size.div_ceil(turns);
        self.left = self.left.saturating_sub(length);
        self.at = from + length;
        from..self.at
    }

    /// All of a table of so many parts was saved at once. The first of them have their turn at once: of a few parts that would be too much.
    pub(super) fn begin_anew(&mut self, parts: usize, span: Span) {
        if parts as u64 > AFTER_ALL {
            (self.at, self.left) = (0, 1 << span.bits);
        }
    }
}
