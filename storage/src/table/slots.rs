//! Memory for the slots of one part: open addressing with linear probing.
//!
//! A slot is a *word* and, behind it, a key and a value. The word is 0 in a free slot; otherwise it holds the hash of the key, of which bits 32 to 39 are given
//! up for a *tag*, which is never 0. So a lookup reads one cache line in most cases: it begins at the slot that bits 40 and up of the hash name, and goes on to
//! the next one until the word is that of the key, whatever its tag, or 0. Removing an entry moves those behind it forward, so there are no tombstones.
//!
//! The `unsafe` code of the table lies here and in `regions.rs`, behind positions that are checked where a caller could get them wrong; `mod.rs` dereferences
//! what was just found. Slots that are a chunk of regions go back to those regions, which outlive them: the table holds both.

use super::regions::Regions;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::NonZeroU8;
use std::ptr::NonNull;

/// The bits of a word that hold the tag, and that it does not keep of the hash.
const TAGS: u64 = 0xff << 32;

/// The first bit of the tag.
const TAG_BIT: u32 = 32;

/// The first bit of a hash that says where its entry is looked for first.
const HOME_BIT: u32 = 40;

/// Marks an entry for its table: when it was last changed, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(NonZeroU8);

impl Tag {
    /// The tag with this number.
    pub(super) const fn new(number: NonZeroU8) -> Self {
        Self(number)
    }

    /// Its number.
    #[inline]
    pub(super) const fn number(self) -> u8 {
        self.0.get()
    }

    /// The tag in the word of a slot; `None` if that is free.
    #[inline]
    fn of_word(word: u64) -> Option<Self> {
        NonZeroU8::new((word >> TAG_BIT) as u8).map(Self)
    }

    #[inline]
    fn bits(self) -> u64 {
        u64::from(self.0.get()) << TAG_BIT
    }
}

/// The word of an occupied slot for a key with this hash.
#[inline]
pub(super) fn word_of(hash: u64, tag: Tag) -> u64 {
    (hash & !TAGS) | tag.bits()
}

/// So many bytes ahead of the slot that is read slots are fetched, where they are read from front to back.
const READ_AHEAD: usize = 1 << 10;

#[repr(C)]
struct Slot<K, V> {
    word: u64,
    entry: MaybeUninit<(K, V)>,
}

/// What an empty part points to: no slot is ever looked for behind the first.
#[repr(align(64))]
struct Nothing(#[allow(dead_code, reason = "its bytes are read as the word of a slot")] [u64; 8]);
static NOTHING: Nothing = Nothing([0; 8]);

/// Where the slots of a part lie, for lookups: a copy of what its [`Slots`] hold. It is stale once those have grown.
pub(super) struct Place<K, V> {
    slots: NonNull<Slot<K, V>>,
    /// The number of slots less one; it is a power of two.
    mask: u32,
    /// The number of the part.
    pub(super) part: u32,
}

impl<K, V> Clone for Place<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Place<K, V> {}

/// The slots of one part.
pub(super) struct Slots<K, V> {
    slots: NonNull<Slot<K, V>>,
    mask: u32,
    len: u32,
    /// Whether the memory is a chunk of a region.
    is_chunk: bool,
    /// Entries are owned.
    entries: PhantomData<(K, V)>,
}

impl<K, V> Slots<K, V> {
    /// Bytes of one slot.
    pub(super) const SLOT_BYTES: usize = size_of::<Slot<K, V>>();

    /// None, and no memory.
    pub(super) fn none() -> Self {
        const { assert!(align_of::<Slot<K, V>>() <= 64, "no key or value is aligned to more than a cache line") };
        Self { slots: NonNull::from(&NOTHING).cast(), mask: 0, len: 0, is_chunk: false, entries: PhantomData }
    }

    fn layout(capacity: usize) -> Option<Layout> {
        Layout::array::<Slot<K, V>>(capacity).ok()?.align_to(64).ok()
    }

    /// `capacity` free slots, a power of two and at least 2; `None` if there is no memory. They are a chunk of `regions` if one is of that size.
    pub(super) fn with_capacity(capacity: usize, regions: &mut Regions) -> Option<Self> {
        assert!(capacity.is_power_of_two() && (2..=1 << 31).contains(&capacity), "{capacity} slots");
        let layout = Self::layout(capacity)?;
        let chunk = regions.take(layout.size());
        let slots = match chunk {
            Some(chunk) => chunk.cast(),
            // SAFETY: the layout is not empty, a slot has at least the eight bytes of its word.
            None => NonNull::new(unsafe { alloc_zeroed(layout) })?.cast(),
        };
        Some(Self { slots, mask: (capacity - 1) as u32, len: 0, is_chunk: chunk.is_some(), entries: PhantomData })
    }

    /// Number of entries.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Number of slots; 0 without memory.
    pub(super) fn capacity(&self) -> usize {
        if self.mask == 0 { 0 } else { self.mask as usize + 1 }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.capacity() * Self::SLOT_BYTES
    }

    /// Where they lie now, as part number `part`.
    pub(super) fn place(&self, part: u32) -> Place<K, V> {
        Place { slots: self.slots, mask: self.mask, part }
    }

    fn word(&self, at: usize) -> u64 {
        assert!(at <= self.mask as usize, "slot {at} of {}", self.capacity());
        // SAFETY: there are `mask + 1` slots (or the static nothing, of which this is the first word), and all their words have been written, if only with
        // zeros.
        unsafe { (*self.slots.as_ptr().add(at)).word }
    }

    /// The entry in the slot `at`.
    pub(super) fn entry(&self, at: usize) -> Option<(u64, &K, &V)> {
        self.entry_if(at, |_| true)
    }

    /// The entry in the slot `at`, if it has a wanted tag.
    #[inline]
    fn entry_if(&self, at: usize, is_wanted: impl FnOnce(Tag) -> bool) -> Option<(u64, &K, &V)> {
        let word = self.word(at);
        let tag = Tag::of_word(word)?;
        // SAFETY: the slot is there, as `word` has checked, and its word says that it is occupied: `fill` has written both, and `take_out` clears the word
        // when it moves the entry out; the tag of an occupied slot is not 0. The entry is borrowed from `self`.
        is_wanted(tag).then(|| unsafe {
            let (key, value) = (*self.slots.as_ptr().add(at)).entry.assume_init_ref();
            (word & !TAGS, key, value)
        })
    }

    /// The value of the entry in the slot `at`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(super) fn value_mut(&mut self, at: usize) -> &mut V {
        assert!(self.word(at) != 0, "slot {at} is free");
        // SAFETY: the slot is there, as `word` has checked, and is one of memory of our own, since the word of nothing is 0; it is occupied, and borrowed mutably
        // with `self`.
        unsafe { &mut (*self.slots.as_ptr().add(at)).entry.assume_init_mut().1 }
    }

    /// Whether the entry in the slot `at` has this tag.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    pub(super) fn has_tag(&self, at: usize, tag: Tag) -> bool {
        self.word(at) & TAGS == tag.bits()
    }

    /// The tag of the entry in the slot `at`; `None` if that is free.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    pub(super) fn tag(&self, at: usize) -> Option<Tag> {
        Tag::of_word(self.word(at))
    }

    /// The entries whose tags are `wanted`, with their hashes.
    #[inline]
    pub(super) fn with_tags(&self, wanted: impl Fn(Tag) -> bool) -> impl Iterator<Item = (u64, &K, &V)> {
        (0..self.capacity()).filter_map(move |at| {
            prefetch(self.slots.as_ptr().wrapping_add(at).cast::<u8>().wrapping_add(READ_AHEAD));
            self.entry_if(at, &wanted)
        })
    }

    /// Gives the entry in the occupied slot `at` this tag.
    ///
    /// # Panics
    /// If there is no entry.
    pub(super) fn set_tag(&mut self, at: usize, tag: Tag) {
        let word = self.word(at);
        assert!(word != 0, "slot {at} is free");
        // SAFETY: the slot is there, as `word` has checked, and is one of memory of our own, since the word of nothing is 0. The new word is not 0 either, so
        // that the slot stays occupied.
        unsafe { (*self.slots.as_ptr().add(at)).word = (word & !TAGS) | tag.bits() };
    }

    /// The slots that are occupied by entries without this tag.
    pub(super) fn without_tag(&self, tag: Tag) -> impl Iterator<Item = usize> + use<'_, K, V> {
        (0..self.capacity()).filter(move |at| self.word(*at) != 0 && !self.has_tag(*at, tag))
    }

    /// The words of the entries.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        (0..self.capacity()).map(|at| self.word(at)).filter(|word| *word != 0)
    }

    /// Puts an entry into a free slot for `word`, and returns that. There must be one free slot more, which ends lookups.
    pub(super) fn insert(&mut self, word: u64, key: K, value: V) -> usize {
        let mut at = self.home(word);
        while self.word(at) != 0 {
            at = (at + 1) & self.mask as usize;
        }
        self.fill(at, word, key, value);
        at
    }

    /// Puts an entry into the slot `at`.
    ///
    /// # Panics
    /// If it is not free, or the last free one.
    #[inline]
    pub(super) fn fill(&mut self, at: usize, word: u64, key: K, value: V) {
        assert!(self.word(at) == 0 && self.len < self.mask, "a part has no slot for an entry");
        self.len += 1;
        // SAFETY: the slot is there, and is one of memory of our own: that of nothing has a mask of 0, which was just refused.
        unsafe {
            let slot = &mut *self.slots.as_ptr().add(at);
            slot.word = word;
            slot.entry.write((key, value));
        }
    }

    fn home(&self, word: u64) -> usize {
        (word >> HOME_BIT) as usize & self.mask as usize
    }

    /// Takes the entry out of the occupied slot `at`, and leaves the slot as it is but for its word.
    fn take_out(&mut self, at: usize) -> (u64, (K, V)) {
        let word = self.word(at);
        assert!(word != 0, "slot {at} is free");
        self.len -= 1;
        // SAFETY: it is occupied; its word is cleared before the entry can be read again.
        unsafe {
            let slot = &mut *self.slots.as_ptr().add(at);
            slot.word = 0;
            (word, slot.entry.assume_init_read())
        }
    }

    /// Removes the entry in the occupied slot `at`, and closes the gap.
    pub(super) fn remove(&mut self, at: usize) -> (K, V) {
        let (_, removed) = self.take_out(at);
        let mask = self.mask as usize;
        let (mut gap, mut next) = (at, (at + 1) & mask);
        while self.word(next) != 0 {
            // It may lie where the gap is if a search for it passes there.
            let way = next.wrapping_sub(self.home(self.word(next))) & mask;
            if way >= next.wrapping_sub(gap) & mask {
                let (word, (key, value)) = self.take_out(next);
                self.fill(gap, word, key, value);
                gap = next;
            }
            next = (next + 1) & mask;
        }
        removed
    }

    /// Moves all entries out, to where `sort` says, and gives the memory back.
    pub(super) fn pour(mut self, regions: &mut Regions, mut sort: impl FnMut(u64, K, V)) {
        for at in 0..self.capacity() {
            if self.word(at) != 0 {
                let (word, (key, value)) = self.take_out(at);
                sort(word, key, value);
            }
        }
        self.free(regions);
    }

    /// Gives the memory back.
    pub(super) fn emptied(self, regions: &mut Regions) -> Self {
        self.free(regions);
        Self::none()
    }

    /// Drops all entries and gives the memory back.
    fn free(mut self, regions: &mut Regions) {
        self.drop_entries();
        let (slots, capacity) = (self.slots, self.capacity());
        let is_chunk = std::mem::take(&mut self.is_chunk);
        // Its own drop has nothing left to do.
        (self.slots, self.mask) = (NonNull::from(&NOTHING).cast(), 0);
        match Self::layout(capacity) {
            Some(layout) if is_chunk => {
                // SAFETY: the chunk was taken from these regions with this size, and nothing points to it any more but places that are stale.
                unsafe { regions.give(slots.cast(), layout.size()) };
            }
            Some(layout) if capacity > 0 => {
                // SAFETY: it was allocated with this layout.
                unsafe { dealloc(slots.as_ptr().cast(), layout) };
            }
            _ => {}
        }
    }

    fn drop_entries(&mut self) {
        if std::mem::needs_drop::<(K, V)>() && self.len > 0 {
            for at in 0..self.capacity() {
                if self.word(at) != 0 {
                    drop(self.take_out(at));
                }
            }
        }
    }
}

impl<K, V> Drop for Slots<K, V> {
    fn drop(&mut self) {
        self.drop_entries();
        if let Some(layout) = Self::layout(self.capacity()).filter(|layout| layout.size() > 0 && !self.is_chunk) {
            // SAFETY: it was allocated with this layout. A chunk goes with its region.
            unsafe { dealloc(self.slots.as_ptr().cast(), layout) };
        }
    }
}

/// What a lookup has come to.
pub(super) enum Found {
    /// The entry is in this slot.
    At(usize),
    /// It is not there; this is the free slot in which it would be found.
    Free(usize),
}

impl<K, V> Place<K, V> {
    /// Looks for the entry with this hash for whose key `is_key` holds.
    ///
    /// # Safety
    /// The slots from which the place was made are alive, and have not grown since.
    #[inline]
    pub(super) unsafe fn find(self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Found {
        let mask = self.mask as usize;
        let mut at = (hash >> HOME_BIT) as usize & mask;
        loop {
            // SAFETY: `at` is masked, so that there is such a slot, or it is the first of the static nothing, which has a word and no more: so the word is read
            // without a reference to the slot.
            let (slot, found) = unsafe {
                let slot = self.slots.as_ptr().add(at);
                (slot, (*slot).word)
            };
            // SAFETY: the word says that the slot is occupied; one slot at least is free, so the search ends.
            if (found ^ hash) & !TAGS == 0 && found != 0 && is_key(unsafe { &(*(&raw const (*slot).entry).cast::<(K, V)>()).0 }) {
                return Found::At(at);
            }
            if found == 0 {
                return Found::Free(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Whether the entry in an occupied slot has this tag.
    ///
    /// # Safety
    /// As [`find`](Self::find), which has found an entry in the slot `at`.
    #[inline]
    pub(super) unsafe fn has_tag(self, at: usize, tag: Tag) -> bool {
        // SAFETY: there is such a slot, as the caller promises.
        unsafe { (*self.slots.as_ptr().add(at)).word & TAGS == tag.bits() }
    }

    /// Gives the entry in an occupied slot this tag, and returns the one that it had, with the hash.
    ///
    /// # Safety
    /// As [`find`](Self::find), which has found an entry in the slot `at`; nobody else looks at its word.
    #[inline]
    pub(super) unsafe fn replace_tag(self, at: usize, tag: Tag) -> (Tag, u64) {
        // SAFETY: there is such a slot, as the caller promises.
        let word = unsafe { &mut (*self.slots.as_ptr().add(at)).word };
        let (before, hash) = (NonZeroU8::new((*word >> TAG_BIT) as u8), *word & !TAGS);
        *word = hash | tag.bits();
        (Tag(before.expect("invariant: an occupied slot has a tag")), hash)
    }

    /// The key and the value in an occupied slot.
    ///
    /// # Safety
    /// As [`find`](Self::find), which has found an entry in the slot `at`; and while the references live the entry is neither changed nor moved.
    #[inline]
    pub(super) unsafe fn entry<'a>(self, at: usize) -> (&'a K, &'a V) {
        // SAFETY: there is such a slot, and its entry was written, as the caller promises.
        unsafe {
            let (key, value) = (*self.slots.as_ptr().add(at)).entry.assume_init_ref();
            (key, value)
        }
    }

    /// Where the value of an occupied slot lies.
    ///
    /// # Safety
    /// As [`find`](Self::find), which has found an entry in the slot `at`.
    #[inline]
    pub(super) unsafe fn value(self, at: usize) -> *mut V {
        // SAFETY: there is such a slot, as the caller promises. No reference is made: others may look at the entry.
        unsafe { &raw mut (*(&raw mut (*self.slots.as_ptr().add(at)).entry).cast::<(K, V)>()).1 }
    }

    /// Brings the slot in which a search for this hash begins into the processor's caches. Returns at once.
    #[inline]
    pub(super) fn prefetch(self, hash: u64) {
        let slot = self.slots.as_ptr().wrapping_add((hash >> HOME_BIT) as usize & self.mask as usize).cast::<u8>();
        prefetch(slot);
        if Slots::<K, V>::SLOT_BYTES > 64 {
            prefetch(slot.wrapping_add(64));
        }
    }
}

/// Brings a cache line into the processor's caches, if there is memory there. Returns at once.
#[inline]
pub(super) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads and writes nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
