//! Lists, one per key: every few values of a list are an entry of one table, under its key and a number.
//!
//! So to add a value costs what the change of one short piece costs, however long the list is: no list is ever encoded as a whole, and a checkpoint has the
//! pieces that have changed. The first piece lies where the hash of the key alone says, as a value would, and most lists have no other one. How many pieces the others
//! have is known besides: that follows from the entries, and is not saved.

use crate::in_one_table::InOneTable;
use crate::{HotTable, StateSize, StateTable, TableOwner};
use std::task::{Context, Poll};
use thalweg_record::HashRange;
use thalweg_record::record::{Key, hash_of_pair};

/// Values of a piece at most.
const PIECE: usize = 32;

/// A list per key. Callers bring the hash of the key.
pub struct ListTable<K, V> {
    /// The pieces of a list are numbered from 0, and none is empty.
    pieces: HotTable<(K, u32), Vec<V>>,
    /// The number of the last piece of each list that has several.
    last: HotTable<K, u32>,
    /// Values of a piece at most: as many as a part of the table has slots, if those are few.
    piece: usize,
}

/// The hash under which a piece of a list lies. `hash`: that of the key.
#[inline]
#[must_use]
pub fn list_piece_hash<K: Key>(hash: u64, key: K::Ref<'_>, piece: u32) -> u64 {
    if piece == 0 { first_piece_hash(hash) } else { hash_of_pair::<K, u32>(key, piece) }
}

/// That of the first piece: the low half of a key's hash lies in the range of its subtask, the upper one anywhere, as the hashes of other pieces do.
#[inline]
fn first_piece_hash(hash: u64) -> u64 {
    hash.rotate_left(32)
}

#[inline]
fn is<K: Key>(key: K::Ref<'_>, piece: u32) -> impl Fn(&(K, u32)) -> bool {
    move |stored| stored.1 == piece && stored.0.matches(key)
}

impl<K: Key, V> ListTable<K, V> {
    /// The number of the last piece, if there is one at all.
    #[inline]
    fn last(&self, hash: u64, key: K::Ref<'_>) -> u32 {
        if self.last.is_empty() { 0 } else { self.last.get(hash, |stored| stored.matches(key)).copied().unwrap_or(0) }
    }

    fn set_last(&mut self, hash: u64, key: K::Ref<'_>, last: u32) {
        if last > 0 {
            *self.last.get_or_insert_with(hash, |stored| stored.matches(key), || (K::from_view(key), last)) = last;
        } else if !self.last.is_empty() {
            self.last.remove(hash, |stored| stored.matches(key));
        }
    }

    /// The values of the list of `key`, whose hash is `hash`, in the order in which they were added.
    pub fn get<'s, 'k>(&'s self, hash: u64, key: K::Ref<'k>) -> impl Iterator<Item = &'s V> + use<'s, 'k, K, V> {
        let pieces = 0..=self.last(hash, key);
        pieces.filter_map(move |piece| self.pieces.get(list_piece_hash::<K>(hash, key, piece), is(key, piece))).flatten()
    }

    /// Adds a value at the end.
    pub fn add(&mut self, hash: u64, key: K::Ref<'_>, value: V) {
        let last = self.last(hash, key);
        if let Some(values) = self.pieces.get_mut(list_piece_hash::<K>(hash, key, last), is(key, last)) {
            if values.len() < self.piece {
                values.push(value);
                return;
            }
            self.add_piece(hash, K::from_view(key), last + 1, vec![value]);
        } else {
            self.add_piece(hash, K::from_view(key), 0, vec![value]);
        }
    }

    /// Adds a piece that is not there yet. All pieces of a list have to be added, in any order.
    pub fn add_piece(&mut self, hash: u64, key: K, piece: u32, values: Vec<V>) {
        if piece > self.last(hash, key.view()) {
            self.set_last(hash, key.view(), piece);
        }
        self.pieces.insert_new(list_piece_hash::<K>(hash, key.view(), piece), (key, piece), values);
    }

    /// Replaces the list.
    pub fn update(&mut self, hash: u64, key: K::Ref<'_>, values: Vec<V>) {
        let before = self.last(hash, key);
        let pieces = u32::try_from(values.len().div_ceil(self.piece)).expect("a list of 2^37 values does not fit the memory");
        for piece in pieces..=before {
            self.pieces.remove(list_piece_hash::<K>(hash, key, piece), is(key, piece));
        }
        let mut values = values.into_iter();
        for piece in 0..pieces {
            let of_piece = values.by_ref().take(self.piece).collect();
            let make = || ((K::from_view(key), piece), Vec::new());
            *self.pieces.get_or_insert_with(list_piece_hash::<K>(hash, key, piece), is(key, piece), make) = of_piece;
        }
        self.set_last(hash, key, pieces.saturating_sub(1));
    }

    /// Removes the list and returns it.
    pub fn take(&mut self, hash: u64, key: K::Ref<'_>) -> Vec<V> {
        let last = self.last(hash, key);
        self.set_last(hash, key, 0);
        let mut piece = |piece| self.pieces.remove(list_piece_hash::<K>(hash, key, piece), is(key, piece)).unwrap_or_default();
        let mut values = piece(0);
        (1..=last).for_each(|number| values.append(&mut piece(number)));
        values
    }
}

impl<K: Key, V: 'static> StateTable for ListTable<K, V> {
    fn spanning(hashes: HashRange, part_slots: usize, owner: TableOwner) -> Self {
        // The hashes of pieces are spread over all there are.
        let pieces = HotTable::of(owner.clone()).with_part_slots(part_slots);
        Self { pieces, last: HotTable::spanning(hashes, owner).with_part_slots(part_slots), piece: PIECE.min(part_slots).max(1) }
    }

    fn prefetch(&self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.pieces.prefetch(first_piece_hash(*hash)));
    }

    fn at_hand(&mut self, hashes: &[u64]) -> usize {
        self.pieces.at_hand(hashes.iter().map(|hash| first_piece_hash(*hash)))
    }

    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pieces.poll_at_hand(cx)
    }

    fn size(&self) -> StateSize {
        let StateSize { entries, table_bytes } = self.pieces.size();
        StateSize { entries, table_bytes: table_bytes + self.last.size().table_bytes }
    }
}

impl<K, V> InOneTable for ListTable<K, V> {
    type Key = (K, u32);
    type Value = Vec<V>;

    fn table(&self) -> &HotTable<(K, u32), Vec<V>> {
        &self.pieces
    }

    fn table_mut(&mut self) -> &mut HotTable<(K, u32), Vec<V>> {
        &mut self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Act {
        Add(u8, usize),
        Update(u8, usize),
        Take(u8),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0..4u8, 1..40usize).prop_map(|(key, values)| Act::Add(key, values)),
            2 => (0..4u8, 0..100usize).prop_map(|(key, values)| Act::Update(key, values)),
            1 => (0..4u8).prop_map(Act::Take),
        ];
        proptest::collection::vec(act, 0..60)
    }

    proptest! {
        #[test]
        fn lists_are_those_of_the_standard_library(acts in acts()) {
            let mut lists = ListTable::<String, usize>::spanning(HashRange::ALL, usize::MAX, TableOwner::default());
            let mut model = BTreeMap::<String, Vec<usize>>::new();
            let hash = |key: &str| <String as Key>::hash(key);
            for act in acts {
                match act {
                    Act::Add(key, values) => {
                        let key = format!("key {key}");
                        (0..values).for_each(|value| lists.add(hash(&key), &key, value));
                        model.entry(key).or_default().extend(0..values);
                    }
                    Act::Update(key, values) => {
                        let key = format!("key {key}");
                        lists.update(hash(&key), &key, (0..values).collect());
                        model.insert(key, (0..values).collect());
                    }
                    Act::Take(key) => {
                        let key = format!("key {key}");
                        prop_assert_eq!(lists.take(hash(&key), &key), model.remove(&key).unwrap_or_default());
                    }
                }
                for key in (0..4).map(|key| format!("key {key}")) {
                    prop_assert!(lists.get(hash(&key), &key).eq(model.get(&key).into_iter().flatten()));
                }
            }
            // Nothing is left of lists that are gone.
            let pieces = model.values().map(|list| list.len().div_ceil(PIECE)).sum::<usize>();
            let long = model.values().filter(|list| list.len() > PIECE).count();
            prop_assert_eq!((lists.pieces.len(), lists.last.len()), (pieces, long));
        }
    }
}
