//! A sealed content that is not saved as a whole yet: how entries are encoded and kept aside, and how far saving has come.

use super::super::part::Part;
use super::super::side::Side;
use super::super::slots::Tag;
use super::super::span::Span;
use super::super::tags::{epoch_of, tag_of};
use crate::checkpoint::Namespace;
use crate::saved::{Encoder, SavedEntries, SavedPart};
use crate::saving::Stored;
use crate::sealable::SaveError;
use crate::side_bytes::SideShare;
use rkyv::util::AlignedVec;
use std::mem;
use std::ops::Range;
use std::rc::Rc;

/// Bytes that count as much as an entry, of what is to be saved at once.
pub(super) const BYTES_OF_AN_ENTRY: usize = 32;

/// What was kept aside is encoded already: so many bytes of it count as much as an entry.
const BYTES_AT_HAND: usize = 4 * BYTES_OF_AN_ENTRY;

/// Entries of a part that are encoded to find out how large they are, fewer if so many bytes tell enough.
const SAMPLE: usize = 8;
const SAMPLE_BYTES: usize = 64 << 10;

/// A sealed content that is not saved as a whole yet.
pub(super) struct Sealed<K, V> {
    pub(super) encoder: Encoder<K, V>,
    pub(super) namespace: Option<Namespace>,
    /// Whether it is saved whole, whatever is stored.
    pub(super) is_whole: bool,
    /// Of how many per cent of its entries a part may have changed, at most, not to be saved whole.
    pub(super) changes_percent_max: usize,
    /// Parts that begin here, in their table's range of hashes, are saved whole.
    pub(super) turn: Range<u64>,
    pub(super) span: Span,
    pub(super) stored: Rc<Stored>,
    /// The part whose turn is next.
    pub(super) next: usize,
    /// The earliest epoch in which a part was saved whole on which what was saved builds.
    pub(super) builds_on: Option<u32>,
    /// What has changed since, as it was, and how much that is.
    pub(super) side: Side,
    pub(super) share: SideShare,
    /// Memory to encode the next part in.
    pub(super) spare: AlignedVec,
    pub(super) error: Option<SaveError>,
}

impl<K, V> Sealed<K, V> {
    /// Keeps an entry aside.
    #[inline]
    pub(super) fn keep_aside(&mut self, entry: (u64, &K, &V)) {
        let added = self.side.add(&self.encoder, self.namespace, entry).map_err(SaveError::Archive);
        let kept = added.and_then(|bytes| self.share.keep(bytes).map_err(|bytes| SaveError::SideBuffersFull { bytes }));
        self.error = kept.err();
    }

    /// Adds all that was kept aside to `saved`.
    pub(super) fn take_aside(&mut self, saved: &mut SavedEntries) {
        while let Some(chunk) = self.side.take() {
            saved.hashes = saved.hashes.hull(chunk.hashes);
            saved.entries += chunk.entries;
            saved.bytes.extend_from_slice(&chunk.bytes);
            self.give_back(chunk);
        }
    }

    /// Hands out a chunk of what was kept aside. Returns what that costs, counted in entries.
    pub(super) fn hand_out_aside(&mut self, chunk: SavedEntries, take: &mut dyn FnMut(&SavedEntries)) -> usize {
        self.hand_out(&chunk, take);
        let cost = chunk.bytes.len() / BYTES_AT_HAND;
        self.give_back(chunk);
        cost
    }

    /// Gives the memory of a chunk back.
    fn give_back(&mut self, chunk: SavedEntries) {
        self.share.give_back(chunk.bytes.len());
        self.encoder.side().give_chunk(chunk.bytes);
    }

    /// Encodes what is to be saved of a part besides what was kept aside: what was changed since an earlier epoch, in the epochs before this one, or all.
    pub(super) fn encode_rest(&mut self, saved: &mut SavedEntries, part: &Part<K, V>, changed_from: Option<u32>, epoch: u32) {
        let (namespace, now) = (self.namespace, tag_of(epoch));
        let is_saved = |tag: Tag| tag != now && changed_from.is_none_or(|from| epoch_of(tag, epoch).is_some_and(|of| of >= from));
        let added = self.encoder.extend(saved, |open| {
            if changed_from.is_some() {
                let mut before = part.removed.iter().filter(|removed| removed.epoch < epoch);
                before.try_for_each(|removed| open.add(removed.hash, namespace, &removed.key, None))?;
            }
            let mut unchanged = part.slots.with_tags(is_saved);
            unchanged.try_for_each(|(hash, key, value)| open.add(hash, namespace, key, Some(value)))
        });
        if let Err(error) = added {
            self.error.get_or_insert(SaveError::Archive(error));
        }
    }

    /// Hands out what was saved, unless that has failed.
    pub(super) fn hand_out(&mut self, saved: &SavedEntries, take: &mut dyn FnMut(&SavedEntries)) {
        if self.error.is_none() && (saved.entries > 0 || saved.part != SavedPart::Some) {
            take(saved);
        }
    }

    /// How many bytes some entries of a part are, encoded, and how many entries these are.
    pub(super) fn sample(&mut self, part: &Part<K, V>) -> (usize, usize) {
        let mut some = SavedEntries::none(mem::take(&mut self.spare));
        for (hash, key, value) in part.slots.with_tags(|_| true).take(SAMPLE) {
            // An error comes again when the part is saved.
            let added = self.encoder.extend(&mut some, |open| open.add(hash, self.namespace, key, Some(value)));
            if added.is_err() || some.bytes.len() > SAMPLE_BYTES {
                break;
            }
        }
        let (bytes, entries) = (some.bytes.len(), some.entries as usize);
        self.spare = some.bytes;
        self.spare.clear();
        (bytes, entries)
    }
}
