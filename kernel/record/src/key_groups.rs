//! Which subtask owns a key (docs/src/semantics.md#k-1).

/// The key groups of a job: the unit in which keyed state is handed over when the parallelism changes. Their number is fixed for a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroups {
    count: u32,
}

/// A range of hashes by their low 32 bits, by which key groups are cut; it includes `first` and `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The lowest hash.
    pub first: u32,
    /// The highest hash.
    pub last: u32,
}

impl HashRange {
    /// Every hash.
    pub const ALL: Self = Self { first: 0, last: u32::MAX };

    /// No hash, to begin with: the lowest is above the highest.
    pub const EMPTY: Self = Self { first: u32::MAX, last: 0 };

    /// The smallest range that holds this hash, too.
    #[inline]
    #[must_use]
    pub fn including(self, hash: u64) -> Self {
        Self { first: self.first.min(hash as u32), last: self.last.max(hash as u32) }
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// Whether both have a hash in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl KeyGroups {
    /// Flink's bound: the number of a group fits 16 bits.
    const MOST: u32 = 1 << 15;

    /// Flink's default.
    pub const DEFAULT: Self = Self { count: 128 };

    /// `count` key groups.
    ///
    /// # Panics
    /// If `count` is zero, or more than 2^15.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self::checked(count).unwrap_or_else(|| panic!("there are between 1 and {} key groups, not {count}", Self::MOST))
    }

    /// `count` key groups, if there can be so many.
    #[must_use]
    pub fn checked(count: u32) -> Option<Self> {
        (1..=Self::MOST).contains(&count).then_some(Self { count })
    }

    /// The number of key groups.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// The key group of a key with this hash: a range of its low 32 bits, by which tables of state are cut into parts. Within a part they use other bits.
    #[must_use]
    #[inline]
    pub fn of_hash(self, hash: u64) -> u32 {
        ((u64::from(hash as u32) * u64::from(self.count)) >> 32) as u32
    }

    /// The subtask, of `parallelism`, that owns the key group: contiguous ranges whose sizes differ by at most one, as in Flink.
    #[must_use]
    #[inline]
    pub fn subtask_of_group(self, group: u32, parallelism: usize) -> usize {
        group as usize * parallelism / self.count as usize
    }

    /// The key groups that `subtask` of `parallelism` owns.
    #[must_use]
    pub fn owned_by(self, subtask: usize, parallelism: usize) -> std::ops::Range<u32> {
        // The first group g with g * parallelism / count >= subtask.
        let first = |subtask: usize| (subtask * self.count as usize).div_ceil(parallelism) as u32;
        first(subtask)..first(subtask + 1)
    }

    /// The hashes of the keys in `groups`; all hashes if there are none, as a subtask has that owns no keys.
    ///
    /// # Panics
    /// If `groups` holds a group that does not exist.
    #[must_use]
    pub fn hashes_of(self, groups: std::ops::Range<u32>) -> HashRange {
        if groups.is_empty() {
            return HashRange::ALL;
        }
        assert!(groups.end <= self.count, "{groups:?} of {} key groups", self.count);
        // The first hash h with h * count >> 32 >= group.
        let first = |group: u32| (u64::from(group) << 32).div_ceil(u64::from(self.count));
        HashRange { first: first(groups.start) as u32, last: (first(groups.end) - 1) as u32 }
    }

    /// The subtask that owns the key with this hash.
    #[must_use]
    #[inline]
    pub fn subtask_of_hash(self, hash: u64, parallelism: usize) -> usize {
        self.subtask_of_group(self.of_hash(hash), parallelism)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subtask_owns_a_contiguous_range_and_none_is_empty() {
        for count in [1u32, 7, 128, 1000] {
            for parallelism in 1..=(count as usize).min(130) {
                let owners: Vec<_> = (0..count).map(|g| KeyGroups::new(count).subtask_of_group(g, parallelism)).collect();
                let ranges = (0..parallelism).flat_map(|s| KeyGroups::new(count).owned_by(s, parallelism).map(move |_| s));
                assert_eq!(ranges.collect::<Vec<_>>(), owners);
                assert!(owners.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] + 1));
                assert_eq!((owners[0], owners[count as usize - 1]), (0, parallelism - 1));
            }
        }
    }

    #[test]
    fn the_hashes_of_key_groups_are_those_that_fall_into_them() {
        for count in [1u32, 3, 7, 128, 1000, 1 << 15] {
            let groups = KeyGroups::new(count);
            assert_eq!((groups.hashes_of(0..count), groups.hashes_of(0..0)), (HashRange::ALL, HashRange::ALL));
            for group in [0, count / 3, count - 1] {
                let HashRange { first, last } = groups.hashes_of(group..group + 1);
                assert_eq!((groups.of_hash(first.into()), groups.of_hash(last.into())), (group, group));
                assert!(first == 0 || groups.of_hash(u64::from(first) - 1) == group - 1);
                assert!(last == u32::MAX || groups.of_hash(u64::from(last) + 1) == group + 1);
            }
        }
    }

    #[test]
    fn hashes_spread_evenly_over_the_groups() {
        let groups = KeyGroups::DEFAULT;
        let mut count = [0u32; 128];
        for i in 0..128_000u64 {
            count[groups.of_hash(xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes())) as usize] += 1;
        }
        assert!(count.iter().all(|n| (850..1150).contains(n)), "{count:?}");
    }
}
