//! The range of hashes that a table is laid out for: a number of values of their low 32 bits that is a power of two.

use thalweg_record::HashRange;

/// The hashes that a directory is laid out for.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// The low 32 bits of the lowest.
    pub(super) first: u32,
    /// How many of the low 32 bits tell hashes apart, counted from `first` on.
    pub(super) bits: u32,
}

impl Span {
    pub(super) fn of(range: HashRange) -> Self {
        Self { first: range.first, bits: 32 - range.last.wrapping_sub(range.first).leading_zeros() }
    }

    /// The low 32 bits of the highest.
    pub(super) fn last(self) -> u32 {
        self.first.wrapping_add(((1u64 << self.bits) - 1) as u32)
    }

    /// Where, among 2^depth ranges of equal size, a hash lies. Bits above `depth` are set only for a hash that is outside.
    #[inline]
    pub(super) fn index(self, hash: u64, depth: u32) -> usize {
        (u64::from((hash as u32).wrapping_sub(self.first)) >> (self.bits - depth)) as usize
    }
}
