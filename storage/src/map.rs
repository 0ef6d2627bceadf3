//! Maps, one per key: every entry of a map is an entry of one table, under its key and its *map key*.
//!
//! So a change costs what the change of one entry costs, however large the map is: no map is ever encoded as a whole, and a checkpoint has the entries that
//! have changed. The entries of a map are spread over the table by a hash of both keys. Which map keys a key has, in their order, is known besides: that follows
//! from the entries, and is not saved.

use crate::in_one_table::InOneTable;
use crate::{HotTable, StateSize, StateTable, TableOwner};
use std::collections::BTreeSet;
use std::task::{Context, Poll};
use thalweg_record::HashRange;
use thalweg_record::record::{Key, hash_of_pair};

/// An ordered map per key. Callers bring the hash of the key.
pub struct MapTable<K, MK, MV> {
    entries: HotTable<(K, MK), MV>,
    /// Never empty for a key that is there.
    map_keys: HotTable<K, BTreeSet<MK>>,
}

/// The hash under which the entry of a map lies.
#[inline]
#[must_use]
pub fn map_entry_hash<K: Key, MK: Key>(key: K::Ref<'_>, map_key: &MK) -> u64 {
    hash_of_pair::<K, MK>(key, map_key.view())
}

#[inline]
fn is<K: Key, MK: Key>(key: K::Ref<'_>, map_key: &MK) -> impl Fn(&(K, MK)) -> bool {
    move |stored| stored.0.matches(key) && stored.1 == *map_key
}

impl<K: Key, MK: Key, MV> MapTable<K, MK, MV> {
    /// The value under `map_key` in the map of `key`.
    #[inline]
    pub fn get(&self, key: K::Ref<'_>, map_key: &MK) -> Option<&MV> {
        self.entries.get(map_entry_hash::<K, MK>(key, map_key), is(key, map_key))
    }

    /// Puts `value` under `map_key` into the map of `key`, whose hash is `hash`, and returns the previous value.
    pub fn put(&mut self, hash: u64, key: K::Ref<'_>, map_key: MK, value: MV) -> Option<MV> {
        let of_entry = map_entry_hash::<K, MK>(key, &map_key);
        if let Some(before) = self.entries.get_mut(of_entry, is(key, &map_key)) {
            return Some(std::mem::replace(before, value));
        }
        self.insert(hash, of_entry, (K::from_view(key), map_key), value);
        None
    }

    /// Adds an entry that is not there yet, without looking.
    pub fn insert_new(&mut self, hash: u64, key: K, map_key: MK, value: MV) {
        self.insert(hash, map_entry_hash::<K, MK>(key.view(), &map_key), (key, map_key), value);
    }

    fn insert(&mut self, hash: u64, of_entry: u64, (key, map_key): (K, MK), value: MV) {
        self.map_keys.get_or_insert_with(hash, |stored| *stored == key, || (key.clone(), BTreeSet::new())).insert(map_key.clone());
        self.entries.insert_new(of_entry, (key, map_key), value);
    }

    /// Removes the value under `map_key` from the map of `key`, whose hash is `hash`, and returns it.
    pub fn remove(&mut self, hash: u64, key: K::Ref<'_>, map_key: &MK) -> Option<MV> {
        let removed = self.entries.remove(map_entry_hash::<K, MK>(key, map_key), is(key, map_key))?;
        if let Some(map_keys) = self.map_keys.get_mut(hash, |stored| stored.matches(key)) {
            map_keys.remove(map_key);
            if map_keys.is_empty() {
                self.map_keys.remove(hash, |stored| stored.matches(key));
            }
        }
        Some(removed)
    }

    /// The entries of the map of `key`, whose hash is `hash`, in the order of their map keys. Costs a lookup for each.
    pub fn iter<'s, 'k>(&'s self, hash: u64, key: K::Ref<'k>) -> impl Iterator<Item = (&'s MK, &'s MV)> + use<'s, 'k, K, MK, MV> {
        let map_keys = self.map_keys.get(hash, |stored| stored.matches(key));
        map_keys.into_iter().flatten().map(move |map_key| {
            let value = self.get(key, map_key);
            (map_key, value.expect("invariant: every map key of a key has an entry"))
        })
    }

    /// Whether the map of `key`, whose hash is `hash`, has no entries.
    #[must_use]
    pub fn is_empty(&self, hash: u64, key: K::Ref<'_>) -> bool {
        self.map_keys.get(hash, |stored| stored.matches(key)).is_none()
    }

    /// Removes all entries of the map of `key`, whose hash is `hash`. Costs a lookup for each.
    pub fn clear(&mut self, hash: u64, key: K::Ref<'_>) {
        for map_key in self.map_keys.remove(hash, |stored| stored.matches(key)).into_iter().flatten() {
            self.entries.remove(map_entry_hash::<K, MK>(key, &map_key), is(key, &map_key));
        }
    }
}

impl<K: Key, MK: Key, MV: 'static> StateTable for MapTable<K, MK, MV> {
    fn spanning(hashes: HashRange, part_slots: usize, owner: TableOwner) -> Self {
        // The hashes of entries are spread over all there are.
        let entries = HotTable::of(owner.clone()).with_part_slots(part_slots);
        Self { entries, map_keys: HotTable::spanning(hashes, owner).with_part_slots(part_slots) }
    }

    /// Map keys of the current key are looked for first where a map is walked through; which entries are meant is not known before.
    fn prefetch(&self, hashes: &[u64]) {
        StateTable::prefetch(&self.map_keys, hashes);
    }

    fn at_hand(&mut self, hashes: &[u64]) -> usize {
        StateTable::at_hand(&mut self.map_keys, hashes)
    }

    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.map_keys.poll_at_hand(cx)
    }

    fn size(&self) -> StateSize {
        let StateSize { entries, table_bytes } = self.entries.size();
        StateSize { entries, table_bytes: table_bytes + self.map_keys.size().table_bytes }
    }
}

impl<K, MK, MV> InOneTable for MapTable<K, MK, MV> {
    type Key = (K, MK);
    type Value = MV;

    fn table(&self) -> &HotTable<(K, MK), MV> {
        &self.entries
    }

    fn table_mut(&mut self) -> &mut HotTable<(K, MK), MV> {
        &mut self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sealable;
    use crate::checkpoint::Namespace;
    use crate::saving::Saving;
    use crate::side_bytes::SideBytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use thalweg_record::record::{Appending, ArchiveError};

    type Maps = MapTable<String, u8, u32>;

    fn maps() -> Maps {
        Maps::spanning(HashRange::ALL, usize::MAX, TableOwner::default())
    }

    fn hash(key: &str) -> u64 {
        <String as Key>::hash(key)
    }

    #[derive(Clone, Debug)]
    enum Act {
        Put(u8, u8),
        Remove(u8, u8),
        Clear(u8),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..4u8, 0..20u8).prop_map(|(key, map_key)| Act::Put(key, map_key)),
            3 => (0..4u8, 0..20u8).prop_map(|(key, map_key)| Act::Remove(key, map_key)),
            1 => (0..4u8).prop_map(Act::Clear),
        ];
        proptest::collection::vec(act, 0..200)
    }

    proptest! {
        #[test]
        fn maps_are_those_of_the_standard_library(acts in acts()) {
            let (mut maps, mut model) = (maps(), BTreeMap::<String, BTreeMap<u8, u32>>::new());
            for (number, act) in (0..).zip(acts) {
                match act {
                    Act::Put(key, map_key) => {
                        let key = format!("key {key}");
                        let before = maps.put(hash(&key), &key, map_key, number);
                        prop_assert_eq!(before, model.entry(key).or_default().insert(map_key, number));
                    }
                    Act::Remove(key, map_key) => {
                        let key = format!("key {key}");
                        let removed = maps.remove(hash(&key), &key, &map_key);
                        prop_assert_eq!(removed, model.get_mut(&key).and_then(|map| map.remove(&map_key)));
                    }
                    Act::Clear(key) => {
                        let key = format!("key {key}");
                        maps.clear(hash(&key), &key);
                        model.remove(&key);
                    }
                }
                for key in (0..4).map(|key| format!("key {key}")) {
                    let expected = model.get(&key).cloned().unwrap_or_default();
                    prop_assert_eq!(maps.is_empty(hash(&key), &key), expected.is_empty());
                    prop_assert!(maps.iter(hash(&key), &key).eq(expected.iter()));
                    prop_assert!((0..20).all(|map_key| maps.get(&key, &map_key) == expected.get(&map_key)));
                }
            }
            prop_assert_eq!(maps.size().entries, model.values().map(BTreeMap::len).sum::<usize>());
        }
    }

    /// However large a map is, what is encoded in a call is the entry that is changed.
    #[test]
    fn a_change_keeps_one_entry_of_a_large_map_aside() {
        fn encode(out: &mut Appending<'_>, _: Option<Namespace>, _: &(String, u32), _: Option<&u32>) -> Result<(), ArchiveError> {
            out.bytes(&[0; 10]);
            Ok(())
        }
        let mut maps = MapTable::<String, u32, u32>::spanning(HashRange::ALL, usize::MAX, TableOwner::default());
        (0..50_000).for_each(|map_key| assert_eq!(maps.put(hash("a"), "a", map_key, 0), None));
        let side = SideBytes::at_most(100);
        maps.seal(encode, &Saving::alone(&side));
        maps.put(hash("a"), "a", 7, 1);
        maps.remove(hash("a"), "a", &8);
        assert_eq!(side.fill(100), 20, "two entries of ten bytes");
    }
}
