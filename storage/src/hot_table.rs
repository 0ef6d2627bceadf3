//! A hash table mutated in place, split so that growing it never takes long.
//!
//! Entries are spread over many small tables by bits of the hash that the small tables do not use. A table of a million entries then grows in 256
//! steps of some 50 us each instead of one of 10 ms. The caller supplies the hash: no key is hashed here, not even when a table grows.

use crate::TableOwner;
use hashbrown::HashTable;
use std::task::{Context, Poll};

/// Parts of a table. 256 parts of 1,000 entries cost no more than one table of 256,000; each part grows on its own.
const PARTS: usize = 256;

struct Slot<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// A map from keys to values whose hashes the caller knows.
pub struct HotTable<K, V> {
    parts: Vec<HashTable<Slot<K, V>>>,
    len: usize,
    owner: TableOwner,
}

impl<K, V> Default for HotTable<K, V> {
    fn default() -> Self {
        Self::of(TableOwner::default())
    }
}

/// Small tables find a bucket by the lowest bits of the hash and distinguish entries by the highest seven; these bits lie between.
#[inline]
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl<K, V> HotTable<K, V> {
    /// An empty table of `owner`, who is named in the message if memory for growth runs out.
    #[must_use]
    pub fn of(owner: TableOwner) -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0, owner }
    }

    /// Bytes of memory that the table takes, without memory that keys and values own outside of it.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }

    /// Makes room for one more entry in the part for `hash`. If the table cannot grow, ends the process with a message, instead of a silent death.
    #[inline]
    fn make_room(&mut self, hash: u64) {
        let part = &self.parts[part_of(hash)];
        if part.len() == part.capacity() {
            self.grow(part_of(hash));
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, part: usize) {
        if self.parts[part].try_reserve(1, |slot| slot.hash).is_err() {
            self.owner.cannot_grow(self.len, self.table_bytes());
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of the key with this hash for which `is_key` holds.
    #[inline]
    pub fn get(&self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Option<&V> {
        self.parts[part_of(hash)].find(hash, |slot| slot.hash == hash && is_key(&slot.key)).map(|slot| &slot.value)
    }

    /// Brings the entries stored under `hash` into the processor's caches. Calls for several keys in a row overlap their cache misses; the lookups proper,
    /// with user code in between, would take them one after the other.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        std::hint::black_box(self.parts[part_of(hash)].find(hash, |slot| slot.hash == hash).is_some());
    }

    /// How many of `hashes`, from the first on, have their entries at hand: a lookup does not wait. In memory that is all of them.
    #[inline]
    pub fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64>) -> usize {
        hashes.len()
    }

    /// Ready when an entry has arrived that [`at_hand`](Self::at_hand) did not find there; otherwise registers for that. In memory no caller ever waits.
    pub fn poll_at_hand(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The value of the key with this hash for which `is_key` holds, mutable.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Option<&mut V> {
        self.parts[part_of(hash)].find_mut(hash, |slot| slot.hash == hash && is_key(&slot.key)).map(|slot| &mut slot.value)
    }

    /// The mutable value of the key with this hash, inserted by `make` if it is absent.
    #[inline]
    pub fn get_or_insert_with(&mut self, hash: u64, mut is_key: impl FnMut(&K) -> bool, make: impl FnOnce() -> (K, V)) -> &mut V {
        self.make_room(hash);
        let entry = self.parts[part_of(hash)].entry(hash, |slot| slot.hash == hash && is_key(&slot.key), |slot| slot.hash);
        let occupied = match entry {
            hashbrown::hash_table::Entry::Occupied(occupied) => occupied,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let (key, value) = make();
                self.len += 1;
                vacant.insert(Slot { hash, key, value })
            }
        };
        &mut occupied.into_mut().value
    }

    /// Adds an entry whose key is known to be absent, without looking.
    pub fn insert_new(&mut self, hash: u64, key: K, value: V) {
        self.make_room(hash);
        self.len += 1;
        self.parts[part_of(hash)].insert_unique(hash, Slot { hash, key, value }, |slot| slot.hash);
    }

    /// Removes the entry and returns its value.
    pub fn remove(&mut self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Option<V> {
        let found = self.parts[part_of(hash)].find_entry(hash, |slot| slot.hash == hash && is_key(&slot.key)).ok()?;
        self.len -= 1;
        Some(found.remove().0.value)
    }

    /// The entries of the part numbered `part` with their hashes; `None` behind the last part. A caller that walks over a large table in slices goes part
    /// by part: each holds some 256th of the entries.
    pub fn part(&self, part: usize) -> Option<impl ExactSizeIterator<Item = (u64, &K, &V)>> {
        Some(self.parts.get(part)?.iter().map(|slot| (slot.hash, &slot.key, &slot.value)))
    }

    /// All entries, in an order that depends only on the hashes and the history of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter().map(|slot| (&slot.key, &slot.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A hash that collides often, fully and in part.
    fn bad_hash(key: u64) -> u64 {
        (key % 7).wrapping_mul(0x0101_0101_0101_0101)
    }

    #[test]
    fn it_behaves_like_a_map_under_colliding_hashes() {
        let mut table = HotTable::default();
        let mut model = BTreeMap::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 33) % 200;
            match (random >> 20) % 3 {
                0 => {
                    *table.get_or_insert_with(bad_hash(key), |k| *k == key, || (key, 0u64)) += 1;
                    *model.entry(key).or_insert(0) += 1;
                }
                1 => assert_eq!(table.remove(bad_hash(key), |k| *k == key), model.remove(&key)),
                _ => assert_eq!(table.get(bad_hash(key), |k| *k == key), model.get(&key)),
            }
            assert_eq!(table.len(), model.len());
        }
        let mut entries: Vec<_> = table.iter().map(|(k, v)| (*k, *v)).collect();
        entries.sort_unstable();
        assert_eq!(entries, model.into_iter().collect::<Vec<_>>());
    }
}
