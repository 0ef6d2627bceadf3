//! Entries by where they lie, for windows: a walk over the entries of a table that stops anywhere and goes on later, and finding an entry again.
//!
//! A position is that of an entry until an entry is added or removed.

use super::HotTable;
use super::slots::Found;

/// Where an entry lies. The default is before all entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub(super) part: u32,
    pub(super) at: u32,
}

impl From<Position> for u64 {
    fn from(Position { part, at }: Position) -> Self {
        Self::from(part) << 32 | Self::from(at)
    }
}

impl From<u64> for Position {
    fn from(number: u64) -> Self {
        Self { part: (number >> 32) as u32, at: number as u32 }
    }
}

impl<K, V> HotTable<K, V> {
    /// The value of the key with this hash for which `is_key` holds, to be changed, and its position. `make` makes an entry if there is none.
    #[inline]
    pub fn find_or_insert_with(&mut self, hash: u64, is_key: impl FnMut(&K) -> bool, make: impl FnOnce() -> (K, V)) -> (Position, &mut V) {
        match self.find(hash, is_key) {
            (place, Found::At(at)) => {
                // SAFETY: it was found there, and the table is borrowed mutably for as long as the value.
                let value = unsafe { &mut *self.changing(place, at).value(at) };
                (Position { part: place.part, at: at as u32 }, value)
            }
            (place, Found::Free(at)) => {
                let (key, value) = make();
                let position = self.put(hash, place.part, at, key, value);
                (position, self.value_at(position))
            }
        }
    }

    /// The value of an entry that is there, and has changed in this epoch.
    #[inline]
    pub(super) fn value_at(&mut self, position: Position) -> &mut V {
        self.parts[position.part as usize].slots.value_mut(position.at as usize)
    }

    /// The entry at `position`.
    #[must_use]
    pub fn entry_at(&self, position: Position) -> Option<(&K, &V)> {
        let slots = &self.parts.get(position.part as usize)?.slots;
        let (_, key, value) = slots.entry(position.at as usize)?;
        Some((key, value))
    }

    /// The entries from `position` on, each with its position, in an order that depends on nothing but the hashes and the history of the table.
    pub fn entries_from(&self, position: Position) -> impl Iterator<Item = (Position, &K, &V)> {
        let Position { part: first, at } = position;
        self.parts.iter().enumerate().skip(first as usize).flat_map(move |(number, part)| {
            let part_number = number as u32;
            let begin = if part_number == first { at as usize } else { 0 };
            let entry =
                move |at: usize| part.slots.entry(at).map(|(_, key, value)| (Position { part: part_number, at: at as u32 }, key, value));
            (begin..part.slots.capacity()).filter_map(entry)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_stops_anywhere_goes_on_there_and_meets_each_entry_once() {
        let mut table = HotTable::default().with_part_slots(8);
        for key in 0..100u64 {
            let (position, value) = table.find_or_insert_with(key << 40 | key << 25, |k| *k == key, || (key, 0));
            *value += key;
            assert_eq!(table.entry_at(position), Some((&key, &key)));
            assert_eq!(Position::from(u64::from(position)), position);
        }
        for step in [1, 3, 100, 1000] {
            let (mut next, mut met) = (Some(Position::default()), vec![]);
            while let Some(position) = next {
                let mut walk = table.entries_from(position);
                met.extend(walk.by_ref().take(step).map(|(_, key, _)| *key));
                next = walk.next().map(|(position, _, _)| position);
            }
            met.sort_unstable();
            assert_eq!(met, (0..100).collect::<Vec<_>>(), "{step} at a time");
        }
        assert_eq!(table.entry_at(Position { part: 1_000, at: 0 }), None);
    }

    #[test]
    fn an_empty_table_has_no_entry_at_any_position() {
        let table = HotTable::<u64, u64>::default();
        assert_eq!(table.entries_from(Position::default()).count(), 0);
        assert_eq!(table.entry_at(Position::default()), None);
    }
}
