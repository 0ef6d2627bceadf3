//! Saving a table while it goes on changing.
//!
//! *Sealing* fixes the content of a table by raising a number, its epoch; whatever its size, that takes no time. From then on an entry is encoded as it was
//! when it is changed for the first time, or removed: into the *side buffer* of its part. [`Sealing::save`] goes from part to part, as far as it is told to,
//! and hands out what each part held when it was sealed: its side buffer, and those of its entries that have not changed since. If a part splits, its side
//! buffer stays with the lower half, also what belongs to the upper one: each entry is in one side buffer, or in one part with an older tag.
//!
//! The tag of an entry says in which epoch it was last changed, as the remainder of a division: a tag that comes round again would be taken for that of the
//! present epoch. So parts are *swept*: entries not changed in the present epoch get the tag [`OLDER`]. [`Sealing::save`] does that on its way, for parts
//! that have not been swept for long; and sealing does a few of them, if checkpoint after checkpoint is given up before its turn comes.

use super::part::Part;
use super::slots::Tag;
use crate::checkpoint::Namespace;
use crate::saved::{Encode, Encoder, SavedEntries};
use crate::sealable::SaveError;
use crate::side_bytes::{SideBytes, SideShare};
use rkyv::util::AlignedVec;
use std::num::NonZeroU8;
use std::rc::Rc;

/// The tag of entries that were changed so long ago that nobody asks when.
const OLDER: Tag = Tag::new(NonZeroU8::MIN);

/// The numbers of tags that count epochs: all but 0, which free slots have, and that of [`OLDER`].
const EPOCH_TAGS: u32 = 254;

/// Saving sweeps parts that have not been swept for this many epochs.
const SWEPT_BY_SAVING: u32 = 50;

/// Sealing sweeps parts if some have not been swept for this many epochs, a few each time.
const SWEPT_BY_SEALING: u32 = 100;

/// By then sealing has swept all parts, however the table grows meanwhile: before tags come round.
const SWEPT_AT_LAST: u32 = 200;

/// The tag of entries that are changed in this epoch.
fn tag_of(epoch: u32) -> Tag {
    let number = u8::try_from(2 + epoch % EPOCH_TAGS).ok().and_then(NonZeroU8::new);
    Tag::new(number.expect("invariant: between 2 and 255"))
}

/// A sealed content that is not saved as a whole yet.
struct Sealed<K, V> {
    encoder: Encoder<K, V>,
    namespace: Option<Namespace>,
    /// The part whose turn is next.
    next: usize,
    /// What the side buffers take.
    share: SideShare,
    /// Memory to encode the next part in.
    spare: AlignedVec,
    error: Option<SaveError>,
}

/// The epochs of a table, and its sealed content.
pub(super) struct Sealing<K, V> {
    epoch: u32,
    /// The tag of entries that are changed now.
    tag: Tag,
    /// No part was swept earlier than in this epoch.
    swept_in: u32,
    /// The part that sealing would sweep next.
    sweep_next: usize,
    sealed: Option<Box<Sealed<K, V>>>,
}

impl<K, V> Default for Sealing<K, V> {
    fn default() -> Self {
        Self { epoch: 0, tag: tag_of(0), swept_in: 0, sweep_next: 0, sealed: None }
    }
}

impl<K, V> Sealing<K, V> {
    /// The tag of entries that are changed now.
    #[inline]
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    /// The entry in the slot `at` of a part, which does not have the tag of this epoch, is about to be changed or removed.
    #[cold]
    #[inline(never)]
    pub(super) fn touch(&mut self, part: &mut Part<K, V>, at: usize) {
        part.slots.set_tag(at, self.tag);
        let Some(sealed) = self.sealed.as_deref_mut().filter(|sealed| part.saved_in != self.epoch && sealed.error.is_none()) else {
            return;
        };
        let Some((hash, key, value)) = part.slots.entry(at) else { return };
        let side = part.side.get_or_insert_default();
        let before = side.bytes.len();
        let namespace = sealed.namespace;
        let added = sealed.encoder.extend(side, |open| open.add(hash, namespace, key, value)).map_err(SaveError::Archive);
        let kept = sealed.share.keep(side.bytes.len() - before).map_err(|bytes| SaveError::SideBuffersFull { bytes });
        sealed.error = added.and(kept).err();
    }

    /// Encodes what a part held when it was sealed.
    fn save_part(&mut self, part: &mut Part<K, V>) -> SavedEntries {
        let side = part.side.take().map(|side| *side);
        let Some(sealed) = self.sealed.as_deref_mut() else { return SavedEntries::none(AlignedVec::new()) };
        part.saved_in = self.epoch;
        let mut saved = side.unwrap_or_else(|| SavedEntries::none(std::mem::take(&mut sealed.spare)));
        // What is not from a side buffer is empty so far.
        sealed.share.give_back(saved.bytes.len());
        let (namespace, slots) = (sealed.namespace, &part.slots);
        let added = sealed.encoder.extend(&mut saved, |open| {
            let mut unchanged = slots.without_tag(self.tag).filter_map(|at| slots.entry(at));
            unchanged.try_for_each(|(hash, key, value)| open.add(hash, namespace, key, value))
        });
        if let Err(error) = added {
            sealed.error.get_or_insert(SaveError::Archive(error));
        }
        if self.epoch - part.swept_in > SWEPT_BY_SAVING {
            self.sweep(part);
        }
        saved
    }

    fn sweep(&self, part: &mut Part<K, V>) {
        part.swept_in = self.epoch;
        let old: Vec<usize> = part.slots.without_tag(self.tag).collect();
        old.into_iter().for_each(|at| part.slots.set_tag(at, OLDER));
    }

    /// Begins the next epoch.
    fn next_epoch(&mut self, parts: &mut [Part<K, V>]) {
        self.epoch += 1;
        self.tag = tag_of(self.epoch);
        if self.epoch - self.swept_in <= SWEPT_BY_SEALING {
            return;
        }
        let left = (self.swept_in + SWEPT_AT_LAST).saturating_sub(self.epoch).max(1);
        let due = (parts.len() - self.sweep_next).div_ceil(left as usize);
        for part in parts.iter_mut().skip(self.sweep_next).take(due) {
            self.sweep(part);
        }
        self.sweep_next += due;
        if self.sweep_next >= parts.len() {
            self.note_swept(parts);
        }
    }

    /// All parts have been visited.
    fn note_swept(&mut self, parts: &[Part<K, V>]) {
        self.sweep_next = 0;
        self.swept_in = parts.iter().map(|part| part.swept_in).min().unwrap_or(self.epoch);
    }

    /// See [`HotTable::seal_in`](super::HotTable::seal_in).
    pub(super) fn seal(&mut self, parts: &mut [Part<K, V>], encode: Encode<K, V>, namespace: Option<Namespace>, side: &Rc<SideBytes>) {
        self.unseal(parts);
        self.next_epoch(parts);
        let encoder = Encoder::new(encode, side);
        let sealed = Sealed { encoder, namespace, next: 0, share: SideShare::of(side), spare: AlignedVec::new(), error: None };
        self.sealed = Some(Box::new(sealed));
    }

    /// Whether a content is sealed that is not saved as a whole yet.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// See [`Sealable::unseal`](crate::Sealable::unseal).
    pub(super) fn unseal(&mut self, parts: &mut [Part<K, V>]) {
        if self.sealed.take().is_some() {
            parts.iter_mut().for_each(|part| part.side = None);
        }
    }

    /// See [`Sealable::save`](crate::Sealable::save).
    pub(super) fn save(
        &mut self,
        parts: &mut [Part<K, V>],
        budget: &mut usize,
        take: &mut dyn FnMut(&SavedEntries),
    ) -> Result<bool, SaveError> {
        loop {
            let Some(sealed) = self.sealed.as_deref_mut() else { return Ok(true) };
            if let Some(error) = sealed.error.take() {
                self.unseal(parts);
                return Err(error);
            }
            if *budget == 0 {
                return Ok(false);
            }
            let Some(part) = parts.get_mut(sealed.next) else {
                self.sealed = None;
                self.note_swept(parts);
                return Ok(true);
            };
            sealed.next += 1;
            *budget = budget.saturating_sub(part.slots.len().max(part.slots.capacity() / 8).max(1));
            if part.saved_in == self.epoch {
                continue;
            }
            let saved = self.save_part(part);
            if let Some(sealed) = self.sealed.as_deref_mut().filter(|sealed| sealed.error.is_none()) {
                if saved.entries > 0 {
                    take(&saved);
                }
                sealed.spare = saved.bytes;
                sealed.spare.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests;
