//! A hash table that is mutated in place, cut into parts so that growing it never takes long, and laid out so that a lookup costs one cache miss.
//!
//! Each part holds a range of the low 32 bits of the hash, and is bounded by [`PART_BYTES`] and [`PART_SLOTS`]. A *directory* finds the part of a hash; it
//! doubles when a part to which only one of its places leads is full and has to split (extendible hashing), so that a table of millions of entries grows in
//! steps of some 50 us. Within a part a key is found by bits 40 and up (`slots.rs`). Large tables lie in huge pages (`regions.rs`).
//!
//! The content can be fixed at any moment and saved while the table goes on changing (`sealing.rs`).
//!
//! The caller brings the hash: no key is hashed here, also not when a table grows.

mod halving;
mod history;
mod part;
mod positions;
mod regions;
mod remains;
mod sealing;
mod side;
mod slots;
mod span;
mod tags;
mod turns;

pub use positions::Position;
pub use remains::Remains;

use crate::StateSize;
use crate::TableOwner;
use crate::checkpoint::Namespace;
use crate::saved::{Encode, SavedEntries};
use crate::saving::Saving;
use crate::sealable::{SaveError, Sealable};
use part::{FULL_EIGHTHS, Part};
use regions::Regions;
use sealing::{Content, Sealing, Step};
use slots::{Found, Place, Slots, word_of};
use span::Span;
use std::task::{Context, Poll};
use thalweg_record::{CheckpointId, HashRange};

/// Slots of a part at most, where entries are spread evenly and nothing else is asked for.
const PART_SLOTS: usize = 4096;

/// Bytes of a part at most, likewise.
const PART_BYTES: usize = 256 << 10;

/// Bytes of a part at most when it is saved, if it can be split, and where parts are small on purpose so many for each slot.
const SAVED_BYTES: usize = 1 << 20;
const SAVED_BYTES_PER_SLOT: usize = 256;

/// Slots of the first part when the first entry comes.
const FIRST_SLOTS: usize = 8;

/// The smallest part that holds entries and a free slot.
const LEAST_SLOTS: usize = 4;

/// Bits of the directory at most: beyond, parts grow.
const DEPTH_MAX: u32 = 24;

/// A map from keys to values whose hashes the caller knows.
pub struct HotTable<K, V> {
    /// 2^depth places, over the range of hashes.
    directory: Vec<Place<K, V>>,
    depth: u32,
    span: Span,
    parts: Vec<Part<K, V>>,
    /// Behind the parts: their slots may lie here, and are dropped first.
    regions: Regions,
    len: usize,
    /// The memory of all slots.
    slot_bytes: usize,
    owner: TableOwner,
    sealing: Sealing<K, V>,
    /// The slots that a part may grow to before it splits.
    part_slots: usize,
    /// Bytes of a part at most when it is saved, if it can be split.
    saved_bytes_most: usize,
}

impl<K, V> Default for HotTable<K, V> {
    fn default() -> Self {
        Self::of(TableOwner::default())
    }
}

/// The slots that a part may grow to before it splits, if its bytes allow `most`.
fn part_slots<K, V>(most: usize) -> usize {
    let slots = PART_BYTES / Slots::<K, V>::SLOT_BYTES;
    let slots = if slots < 2 * FIRST_SLOTS { 2 * FIRST_SLOTS } else { 1 << slots.ilog2() };
    slots.min(1 << most.max(LEAST_SLOTS).ilog2())
}

impl<K, V> HotTable<K, V> {
    /// An empty table of `owner`, who is named in the message if memory for growth runs out. It takes no memory for entries.
    #[must_use]
    pub fn of(owner: TableOwner) -> Self {
        Self::spanning(HashRange::ALL, owner)
    }

    /// The same for keys whose hashes lie in `range`: the directory is laid out for those alone. Others are found as well.
    #[must_use]
    pub fn spanning(range: HashRange, owner: TableOwner) -> Self {
        let part = Part::first();
        let part_slots = part_slots::<K, V>(PART_SLOTS);
        let regions = Regions::new(part_slots * Slots::<K, V>::SLOT_BYTES);
        let span = Span::of(range);
        Self {
            directory: vec![part.slots.place(0)],
            depth: 0,
            span,
            parts: vec![part],
            regions,
            len: 0,
            slot_bytes: 0,
            owner,
            sealing: Sealing::default(),
            part_slots,
            saved_bytes_most: SAVED_BYTES,
        }
    }

    /// The same in parts of `slots` slots at most, rounded down to a power of two, 4 at least; for empty tables. Small parts are for tests: they split often.
    #[must_use]
    pub fn with_part_slots(mut self, slots: usize) -> Self {
        assert!(self.parts.iter().all(|part| part.slots.capacity() == 0), "the table has parts");
        self.part_slots = part_slots::<K, V>(slots.min(PART_SLOTS));
        self.saved_bytes_most = SAVED_BYTES.min(slots.max(LEAST_SLOTS).saturating_mul(SAVED_BYTES_PER_SLOT));
        self.regions = Regions::new(self.part_slots * Slots::<K, V>::SLOT_BYTES);
        self
    }

    /// An empty table for the same keys and owner, with parts of the same size.
    #[must_use]
    pub fn another(&self) -> Self {
        let range = HashRange { first: self.span.first, last: self.span.last() };
        Self { saved_bytes_most: self.saved_bytes_most, ..Self::spanning(range, self.owner.clone()).with_part_slots(self.part_slots) }
    }

    /// Where the entries of a hash lie.
    #[inline]
    fn place(&self, hash: u64) -> Place<K, V> {
        let place = self.span.index(hash, self.depth) & (self.directory.len() - 1);
        // SAFETY: the directory has a power of two of places, at least one: masked with their number less one, the index is that of one of them.
        unsafe { *self.directory.get_unchecked(place) }
    }

    /// Looks for an entry.
    #[inline]
    fn find(&self, hash: u64, is_key: impl FnMut(&K) -> bool) -> (Place<K, V>, Found) {
        let place = self.place(hash);
        // SAFETY: the directory is brought up to date whenever the slots of a part have grown, and its parts live as long as the table.
        (place, unsafe { place.find(hash, is_key) })
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

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> StateSize {
        StateSize { entries: self.len, table_bytes: self.table_bytes() }
    }

    /// The value of the key with this hash for which `is_key` holds.
    #[inline]
    pub fn get(&self, hash: u64, is_key: impl FnMut(&K) -> bool) -> Option<&V> {
        match self.find(hash, is_key) {
            // SAFETY: it was found there, and the table is borrowed for as long as the value.
            (place, Found::At(at)) => Some(unsafe { &*place.value(at) }),
            _ => None,
        }
    }

    /// Begins to bring what is stored under `hash` into the processor's caches, and returns at once. Calls for several keys in a row overlap their cache
    /// misses, which the lookups proper, with a user's code in between, would take one after the other.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let place = self.place(hash);
        place.prefetch(hash);
        // What the first change since a checkpoint looks at.
        if self.sealing.has_sealed() {
            slots::prefetch(self.parts.as_ptr().wrapping_add(place.part as usize));
        }
    }

    /// Of how many of `hashes`, from the first on, what is stored is at hand: a lookup finds it without waiting. In memory that is all of them.
    #[inline]
    pub fn at_hand(&mut self, hashes: impl ExactSizeIterator<Item = u64>) -> usize {
        hashes.len()
    }

    /// Ready when something has come that [`at_hand`](Self::at_hand) did not find there; registers for that otherwise. In memory nothing ever has to.
    pub fn poll_at_hand(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The entry found at `at` is about to be changed.
    ///
    /// # Safety
    /// As [`Place::find`], which has found it.
    #[inline]
    unsafe fn changing(&mut self, place: Place<K, V>, at: usize) -> Place<K, V> {
        let tag = self.sealing.tag();
        // SAFETY: as the caller promises.
        if !unsafe { place.has_tag(at, tag) } {
            // SAFETY: likewise. The table is borrowed mutably, so that nobody else looks at the entry; and it is not changed before the call has returned.
            let ((before, hash), (key, value)) = unsafe { (place.replace_tag(at, tag), place.entry(at)) };
            self.sealing.touch(&mut self.parts[place.part as usize], before, (hash, key, value));
        }
        place
    }

    /// The value of the key with this hash for which `is_key` holds, to be changed.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, is_key: impl FnMut(&K) -> bool) -> Option<&mut V> {
        match self.find(hash, is_key) {
            // SAFETY: it was found there, and the table is borrowed mutably for as long as the value.
            (place, Found::At(at)) => Some(unsafe { &mut *self.changing(place, at).value(at) }),
            _ => None,
        }
    }

    /// The same, with an entry made by `make` if there is none.
    #[inline]
    pub fn get_or_insert_with(&mut self, hash: u64, is_key: impl FnMut(&K) -> bool, make: impl FnOnce() -> (K, V)) -> &mut V {
        self.find_or_insert_with(hash, is_key, make).1
    }

    /// Adds an entry whose key is not there yet, without looking.
    pub fn insert_new(&mut self, hash: u64, key: K, value: V) {
        let (place, Found::Free(at)) = self.find(hash, |_| false) else { unreachable!("invariant: no key was said to be the one") };
        self.put(hash, place.part, at, key, value);
    }

    /// Puts an entry into the free slot `at` of a part, or, if that is full, where it belongs when there is room.
    #[inline]
    fn put(&mut self, hash: u64, part: u32, at: usize, key: K, value: V) -> Position {
        self.len += 1;
        let word = word_of(hash, self.sealing.tag());
        let Self { sealing, parts, .. } = self;
        if parts[part as usize].has_room() {
            let part_of = &mut parts[part as usize];
            sealing.added(part_of);
            part_of.slots.fill(at, word, key, value);
            return Position { part, at: at as u32 };
        }
        self.make_room(hash);
        let part = self.place(hash).part;
        let part_of = &mut self.parts[part as usize];
        self.sealing.added(part_of);
        let at = part_of.slots.insert(word, key, value);
        Position { part, at: at as u32 }
    }

    /// Grows or splits the part of `hash` until it has room. A table that cannot grow ends the process, which would otherwise end without a reason.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, hash: u64) {
        loop {
            let number = self.place(hash).part as usize;
            if self.parts[number].has_room() {
                return;
            }
            let capacity = self.parts[number].slots.capacity();
            let splits = capacity >= self.part_slots && self.can_split(number);
            let grown = if splits {
                self.split(number, self.part_slots)
            } else {
                self.grow(number, (2 * capacity).max(FIRST_SLOTS.min(self.part_slots)))
            };
            if grown.is_none() {
                self.owner.cannot_grow(self.len - 1, self.table_bytes());
            }
        }
    }

    /// Gives a part `capacity` slots.
    fn grow(&mut self, number: usize, capacity: usize) -> Option<()> {
        let mut larger = Slots::with_capacity(capacity, &mut self.regions)?;
        let old = std::mem::replace(&mut self.parts[number].slots, Slots::none());
        self.slot_bytes = self.slot_bytes - old.bytes() + larger.bytes();
        old.pour(&mut self.regions, |word, key, value| {
            larger.insert(word, key, value);
        });
        self.parts[number].slots = larger;
        self.enter(number);
        Some(())
    }

    /// Whether splits would part the entries of a part before the directory is larger than the table. Entries that come in the order of their hashes share many
    /// bits, and are parted by the first in which they differ; equal hashes never are.
    fn can_split(&self, number: usize) -> bool {
        let Part { slots, .. } = &self.parts[number];
        let within = |word: u64| (word as u32).wrapping_sub(self.span.first);
        let mut words = slots.words().map(within);
        let first = words.next().unwrap_or_default();
        let differ = u64::from(words.fold(0, |differ, word| differ | (word ^ first))) & ((1 << self.span.bits) - 1);
        if differ == 0 {
            return false;
        }
        let depth = self.span.bits - differ.ilog2();
        depth <= self.depth || (depth <= DEPTH_MAX && size_of::<Place<K, V>>() << depth <= self.table_bytes())
    }

    /// Makes two parts of one, by the next bit of the hash, each of `slots_least` slots at least. One that gets no entry takes no memory. `None` if there is not
    /// enough memory; then nothing has changed.
    fn split(&mut self, number: usize, slots_least: usize) -> Option<()> {
        let Self { span, parts, regions, .. } = self;
        let span = *span;
        let Part { slots, depth, prefix, .. } = &mut parts[number];
        let is_upper = |word: u64| span.index(word, *depth + 1) & 1 == 1;
        let upper = slots.words().filter(|word| is_upper(*word)).count();
        let lower = slots.len() - upper;
        let before = slots.bytes();
        let mut halves = [Slots::none(), Slots::none()];
        if lower > 0 && upper > 0 {
            for (at, entries) in [lower, upper].into_iter().enumerate() {
                let capacity = (entries * 8 / FULL_EIGHTHS + 1).next_power_of_two().max(slots_least);
                match Slots::with_capacity(capacity, regions) {
                    Some(half) => halves[at] = half,
                    None => {
                        halves.into_iter().for_each(|half| drop(half.emptied(regions)));
                        return None;
                    }
                }
            }
            std::mem::replace(slots, Slots::none()).pour(regions, |word, key, value| {
                halves[usize::from(is_upper(word))].insert(word, key, value);
            });
        } else {
            halves[usize::from(lower == 0)] = std::mem::replace(slots, Slots::none());
        }
        (*depth, *prefix) = (*depth + 1, *prefix << 1);
        let depth = *depth;
        let is_upper = |word: u64| span.index(word, depth) & 1 == 1;
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|place| [*place, *place]).collect();
            self.depth = depth;
        }
        let [lower, upper] = halves;
        self.slot_bytes = self.slot_bytes - before + lower.bytes() + upper.bytes();
        self.parts[number].slots = lower;
        let upper = self.parts[number].split_off(upper, is_upper);
        self.parts.push(upper);
        self.enter(number);
        self.enter(self.parts.len() - 1);
        Some(())
    }

    /// Writes down where the slots of a part lie now.
    fn enter(&mut self, number: usize) {
        let place = self.parts[number].slots.place(number as u32);
        let Part { depth, prefix, .. } = self.parts[number];
        let doubled = self.depth - depth;
        let first = (prefix as usize) << doubled;
        self.directory[first..first + (1 << doubled)].fill(place);
    }

    /// Removes the entry and returns its value.
    pub fn remove(&mut self, hash: u64, is_key: impl FnMut(&K) -> bool) -> Option<V> {
        let (place, Found::At(at)) = self.find(hash, is_key) else { return None };
        // SAFETY: it was just found there.
        unsafe { self.changing(place, at) };
        self.len -= 1;
        let number = place.part as usize;
        let part = &mut self.parts[number];
        let (key, value) = part.slots.remove(at);
        self.sealing.removed(part, hash, key);
        let slots = &mut part.slots;
        // Small ones are kept: a part may have an entry now and then.
        if slots.len() == 0 && slots.capacity() >= self.part_slots {
            let slots = std::mem::replace(slots, Slots::none());
            self.slot_bytes -= slots.bytes();
            self.parts[number].slots = slots.emptied(&mut self.regions);
            self.enter(number);
        }
        Some(value)
    }

    /// [Seals](Sealable::seal) the table, whose entries are saved in this namespace, if there is one. Costs next to nothing, unless an earlier
    /// content is given up, or a hundred in a row have been.
    pub fn seal_in(&mut self, namespace: Option<Namespace>, encode: Encode<K, V>, saving: &Saving) {
        let is_whole = self.table_bytes() <= saving.whole_bytes_max;
        let bytes = self.table_bytes().min(self.part_slots * Slots::<K, V>::SLOT_BYTES);
        self.sealing.seal(&mut self.parts, Content { encode, namespace, is_whole, span: self.span, entries: self.len, bytes }, saving);
    }

    /// Whether a content is sealed that is not saved as a whole yet.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealing.is_sealed()
    }

    /// All entries, in an order that depends on nothing but the hashes and the history of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries_from(Position::default()).map(|(_, key, value)| (key, value))
    }
}

impl<K, V> Sealable<K, V> for HotTable<K, V> {
    fn seal(&mut self, encode: Encode<K, V>, saving: &Saving) {
        self.seal_in(None, encode, saving);
    }

    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        while *budget > 0 {
            if self.halve_next(budget) {
                continue;
            }
            if let Step::All = self.sealing.save_next(&mut self.parts, budget, take)? {
                return Ok(true);
            }
        }
        Ok(!self.is_sealed())
    }

    fn builds_on(&self) -> Option<CheckpointId> {
        self.sealing.builds_on()
    }

    fn unseal(&mut self) {
        self.sealing.unseal();
    }

    fn table_bytes(&self) -> usize {
        self.slot_bytes + self.directory.len() * size_of::<Place<K, V>>()
    }
}

#[cfg(test)]
mod tests;
