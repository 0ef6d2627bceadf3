//! Saving a table while it goes on changing.
//!
//! *Sealing* fixes the content of a table by raising a number, its epoch; whatever its size, that takes no time. From then on an entry is encoded as it was
//! when it is changed for the first time, or removed: into the *side buffer* of the table, unless its part was saved before. [`Sealing::save_next`] goes from
//! part to part, and hands out what is in the side buffer, and those entries of each part that have not changed since: each entry is in the side buffer, or in
//! one part with an older tag.
//!
//! A part of which an earlier content is known to be durable need not be saved whole: then only what was changed since is saved, and a tombstone for each entry
//! that was removed. Whether it is whole is decided once per part and epoch, when one of its entries is changed, or it is saved. It is whole in turn, so that
//! what is stored of a table does not grow, and what is superseded is superseded from one end to the other; and where most of it has changed.
//!
//! The tag of an entry says in which epoch it was last changed, as the remainder of a division: a tag that comes round again would be taken for that of the
//! present epoch. So parts are *swept*: entries that were not changed since what is stored of the part get the tag [`OLDER`]. [`Sealing::save`] does that on its
//! way, for parts that have not been swept for long; and sealing does a few of them, if checkpoint after checkpoint is given up before its turn comes.

mod sealed;

use super::history::LastSaved;
use super::part::{Part, Removed};
use super::side::Side;
use super::slots::Tag;
use super::span::Span;
use super::tags::{OLDER, epoch_of, tag_of};
use super::turns::Turns;
use crate::checkpoint::{Namespace, namespace_bytes};
use crate::saved::{Encode, Encoder, SavedEntries, SavedPart};
use crate::saving::Saving;
use crate::sealable::SaveError;
use crate::side_bytes::SideShare;
use rkyv::util::AlignedVec;
use sealed::{BYTES_OF_AN_ENTRY, Sealed};
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use thalweg_record::CheckpointId;

/// Saving sweeps parts that have not been swept for this many epochs.
const SWEPT_BY_SAVING: u32 = 50;

/// Sealing sweeps parts if some have not been swept for this many epochs, a few each time.
const SWEPT_BY_SEALING: u32 = 100;

/// By then sealing has swept all parts, however the table grows meanwhile: before tags come round.
const SWEPT_AT_LAST: u32 = 200;

/// What was stored longer ago is built on no more: the tags of what was changed since would come round before they are swept again.
const STORED_WITHIN: u32 = 50;

/// Nor is what was saved whole longer ago, so that a content lies in no more files than this, however many turns have been missed.
const WHOLE_WITHIN: u32 = 100;

/// Changes may add up to so many times what may change at once, until the part is saved whole.
const CHANGED_SINCE_WHOLE: usize = 4;

/// Chunks of it that are saved before each part: the sooner that is, the less is kept aside after them.
const CHUNKS_WITH_A_PART: usize = 4;

/// Removed entries that are remembered of a part, however small it is.
const REMOVED_LEAST: usize = 64;

/// A content that is about to be sealed.
pub(super) struct Content<K, V> {
    pub(super) encode: Encode<K, V>,
    pub(super) namespace: Option<Namespace>,
    /// Whether it is to be saved whole, whatever is stored.
    pub(super) is_whole: bool,
    pub(super) span: Span,
    /// How many entries it has, and how large it is: the whole of it, or a part if that is smaller.
    pub(super) entries: usize,
    pub(super) bytes: usize,
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
    /// The latest epochs, each with the checkpoint that its content was sealed for.
    checkpoints: VecDeque<(u32, CheckpointId)>,
    turns: Turns,
    builds_on: Option<CheckpointId>,
    /// About how many bytes an entry is, encoded, of parts that were saved whole; 0 if none has been yet.
    entry_bytes: usize,
    sealed: Option<Box<Sealed<K, V>>>,
}

/// How far saving has come.
pub(super) enum Step {
    /// There may be more.
    Some,
    /// All is saved.
    All,
}

impl<K, V> Default for Sealing<K, V> {
    fn default() -> Self {
        Self {
            epoch: 0,
            tag: tag_of(0),
            swept_in: 0,
            sweep_next: 0,
            checkpoints: VecDeque::new(),
            turns: Turns::default(),
            builds_on: None,
            entry_bytes: 0,
            sealed: None,
        }
    }
}

impl<K, V> Sealing<K, V> {
    /// The tag of entries that are changed now.
    #[inline]
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    /// An entry is added to a part.
    #[inline]
    pub(super) fn added(&mut self, part: &mut Part<K, V>) {
        self.turns.changed += 1;
        part.changes.change(self.epoch);
    }

    /// An entry of a part is about to be changed or removed for the first time in this epoch: until now it had the tag `before`.
    #[inline]
    pub(super) fn touch(&mut self, part: &mut Part<K, V>, before: Tag, entry: (u64, &K, &V)) {
        self.turns.changed += 1;
        if self.is_awaited(part) {
            self.touch_awaited(part, before, entry);
        }
        part.changes.change(self.epoch);
    }

    #[inline(never)]
    fn touch_awaited(&mut self, part: &mut Part<K, V>, before: Tag, entry: (u64, &K, &V)) {
        self.decide(part);
        let from = part.changes.saved_from;
        if (from == 0 || epoch_of(before, self.epoch).is_some_and(|of| of >= from))
            && let Some(sealed) = self.sealed.as_deref_mut()
        {
            sealed.keep_aside(entry);
        }
    }

    /// The entry with this key, which had the tag of this epoch, was removed from a part.
    pub(super) fn removed(&mut self, part: &mut Part<K, V>, hash: u64, key: K) {
        let (epoch, is_awaited) = (self.epoch, self.is_awaited(part));
        // It may be in what is stored, or will be.
        if part.history.given_up_in == epoch || !(part.history.may_be_stored() || is_awaited) {
            return;
        }
        if part.removed.len() < REMOVED_LEAST.max(part.slots.capacity() / 2) {
            part.removed.push(Removed { hash, epoch, key });
            return;
        }
        part.history.given_up_in = epoch;
        if is_awaited {
            part.removed.retain(|removed| removed.epoch < epoch);
        } else {
            part.forget_stored();
        }
    }

    /// Whether there is a sealed content in which what the part held then is yet to be saved.
    #[inline]
    fn is_awaited(&self, part: &Part<K, V>) -> bool {
        part.changes.saved_in != self.epoch && self.sealed.as_deref().is_some_and(|sealed| sealed.error.is_none())
    }

    /// Finds out whether what was last saved of a part is durable.
    fn look_up(&self, part: &mut Part<K, V>) {
        if part.history.given_up_in < self.epoch {
            part.history.forget_given_up();
        }
        let (Some(last), Some(sealed)) = (part.history.last_saved, self.sealed.as_deref()) else { return };
        if self.checkpoint_of(last.epoch).is_some_and(|checkpoint| sealed.stored.holds(checkpoint)) {
            let history = &mut part.history;
            (history.last_saved, history.stored_in) = (None, Some(last.epoch));
            if last.is_whole {
                history.whole_in = last.epoch;
            }
            part.removed.retain(|removed| removed.epoch >= last.epoch);
        }
    }

    fn checkpoint_of(&self, epoch: u32) -> Option<CheckpointId> {
        self.checkpoints.iter().rev().find(|(of, _)| *of == epoch).map(|(_, checkpoint)| *checkpoint)
    }

    /// Decides whether a part is saved whole in this epoch, once.
    #[inline]
    fn decide(&mut self, part: &mut Part<K, V>) {
        if part.changes.decided_in != self.epoch {
            self.decide_now(part);
        }
    }

    #[cold]
    fn decide_now(&mut self, part: &mut Part<K, V>) {
        self.look_up(part);
        let Some(sealed) = self.sealed.as_deref() else { return };
        let is_gone = |whole_in| self.checkpoint_of(whole_in).is_none_or(|checkpoint| !sealed.stored.reaches_back_to(checkpoint));
        if part.history.stored_in.is_some() && is_gone(part.history.whole_in) {
            part.history.stored_in = None;
        }
        let percent = sealed.changes_percent_max;
        let (now, entries) = (self.epoch, part.slots.len());
        let is_its_turn = sealed.turn.contains(&part.offset(sealed.span));
        let (changes, history) = (&mut part.changes, &mut part.history);
        let changed = mem::take(&mut changes.changed);
        history.changed_since_whole = history.changed_since_whole.saturating_add(changed);
        changes.decided_in = now;
        let is_recent = |stored: &u32| now - stored <= STORED_WITHIN && now - history.whole_in <= WHOLE_WITHIN;
        let is_whole = sealed.is_whole
            || 100 * changed as usize > percent.saturating_mul(entries)
            || 100 * history.changed_since_whole as usize > percent.saturating_mul(entries).saturating_mul(CHANGED_SINCE_WHOLE)
            || is_its_turn;
        changes.saved_from = history.stored_in.filter(is_recent).filter(|_| !is_whole).unwrap_or(0);
        if changes.is_whole() {
            history.changed_since_whole = 0;
        }
    }

    /// Hands out what a part held when it was sealed, or what of that had changed.
    /// Returns how many bytes that is.
    fn save_part(&mut self, part: &mut Part<K, V>, take: &mut dyn FnMut(&SavedEntries)) -> usize {
        self.decide(part);
        let epoch = self.epoch;
        let Some(sealed) = self.sealed.as_deref_mut() else { return 0 };
        let (changes, history) = (&mut part.changes, &mut part.history);
        changes.saved_in = epoch;
        let is_all = changes.is_whole();
        let changed_from = (!is_all).then_some(changes.saved_from);
        if !is_all {
            sealed.builds_on = Some(sealed.builds_on.map_or(history.whole_in, |on| on.min(history.whole_in)));
        }
        let is_base = history.given_up_in != epoch;
        history.last_saved = is_base.then_some(LastSaved { epoch, is_whole: is_all });
        if changed_from.is_some_and(|from| changes.changed_in < from) {
            return 0;
        }
        let mut saved = SavedEntries::none(mem::take(&mut sealed.spare));
        let range = part.range(sealed.span);
        // Of a state of one namespace what is saved is all there is. A namespace is one of many, and each says for itself what it supersedes.
        let is_range = is_all && (!sealed.is_whole || sealed.namespace.is_some());
        let within = sealed.namespace.filter(|_| is_range).map(namespace_bytes);
        saved.bytes.extend_from_slice(within.as_ref().map_or(&[], |namespace| namespace));
        // A small table is one section.
        if part.depth == 0 || (sealed.is_whole && !is_range) {
            sealed.take_aside(&mut saved);
        }
        sealed.encode_rest(&mut saved, part, changed_from, epoch);
        if is_range {
            saved.hashes = range;
            saved.part = if sealed.namespace.is_some() { SavedPart::RangeWithin } else { SavedPart::Range };
        }
        sealed.hand_out(&saved, take);
        if let Some(mean) = saved.bytes.len().checked_div(saved.entries as usize).filter(|_| is_all) {
            self.entry_bytes = if self.entry_bytes == 0 { mean } else { (3 * self.entry_bytes + mean).div_ceil(4) };
        }
        let bytes = saved.bytes.len();
        sealed.spare = saved.bytes;
        sealed.spare.clear();
        if !is_base {
            part.forget_stored();
        }
        bytes
    }

    fn sweep(&self, part: &mut Part<K, V>) {
        let history = &mut part.history;
        history.swept_in = self.epoch;
        let is_recent = |epoch: u32| self.epoch - epoch <= STORED_WITHIN;
        history.stored_in = history.stored_in.filter(|stored| is_recent(*stored));
        history.last_saved = history.last_saved.filter(|last| is_recent(last.epoch));
        // What was last saved may be durable, and not looked up yet.
        let from = history.stored_in.or(history.last_saved.map(|last| last.epoch));
        let is_old = |tag: Tag| from.is_none_or(|from| epoch_of(tag, self.epoch).is_none_or(|of| of < from));
        let old: Vec<usize> = part.slots.without_tag(self.tag).filter(|at| part.slots.tag(*at).is_some_and(is_old)).collect();
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
        self.swept_in = parts.iter().map(|part| part.history.swept_in).min().unwrap_or(self.epoch);
    }

    /// See [`HotTable::seal_in`](super::HotTable::seal_in).
    pub(super) fn seal(&mut self, parts: &mut [Part<K, V>], content: Content<K, V>, saving: &Saving) {
        self.unseal();
        self.next_epoch(parts);
        let Content { encode, namespace, is_whole, span, entries, bytes } = content;
        // There may be thousands of small tables with namespaces, to whose contents nothing is added.
        if namespace.is_none() || !is_whole {
            self.checkpoints.push_back((self.epoch, saving.checkpoint));
        }
        while self.checkpoints.front().is_some_and(|(epoch, _)| self.epoch - epoch > WHOLE_WITHIN) {
            self.checkpoints.pop_front();
        }
        self.sealed = Some(Box::new(Sealed {
            encoder: Encoder::new(encode, &saving.side),
            namespace,
            is_whole,
            changes_percent_max: saving.changes_percent_max,
            turn: self.turns.next(entries, saving.changes_percent_max, span),
            span,
            stored: Rc::clone(&saving.stored),
            next: 0,
            builds_on: None,
            share: SideShare::of(&saving.side),
            side: Side::for_a_table_of(bytes),
            spare: AlignedVec::new(),
            error: None,
        }));
    }

    /// Whether a content has ever been sealed.
    #[inline]
    pub(super) fn has_sealed(&self) -> bool {
        self.epoch > 0
    }

    /// Whether a content is sealed that is not saved as a whole yet.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// See [`Sealable::builds_on`](crate::Sealable::builds_on).
    pub(super) fn builds_on(&self) -> Option<CheckpointId> {
        match self.sealed.as_deref() {
            Some(sealed) => self.known(sealed.builds_on),
            None => self.builds_on,
        }
    }

    /// The checkpoint that an epoch was sealed for on which parts build.
    fn known(&self, epoch: Option<u32>) -> Option<CheckpointId> {
        epoch.map(|epoch| self.checkpoint_of(epoch).expect("invariant: nothing builds on an epoch that is forgotten"))
    }

    /// See [`Sealable::unseal`](crate::Sealable::unseal).
    pub(super) fn unseal(&mut self) {
        if let Some(mut sealed) = self.sealed.take() {
            // The share goes with what is sealed.
            while let Some(chunk) = sealed.side.take() {
                sealed.encoder.side().give_chunk(chunk.bytes);
            }
        }
    }

    /// The number of the part that is saved next, if all of it is, and its table has no namespace.
    pub(super) fn next_to_save_whole(&mut self, parts: &mut [Part<K, V>]) -> Option<usize> {
        let sealed = self.sealed.as_deref().filter(|sealed| sealed.error.is_none() && sealed.namespace.is_none())?;
        let next = sealed.next;
        let part = parts.get_mut(next).filter(|part| part.changes.saved_in != self.epoch)?;
        self.decide(part);
        part.changes.is_whole().then_some(next)
    }

    /// About how many bytes an entry is, encoded, after the parts that were saved whole last; 0 if none was.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// About how many bytes an entry of a part is, encoded: some of them are, and what that costs is taken off `budget`. 0 if it has none.
    pub(super) fn sample(&mut self, part: &Part<K, V>, budget: &mut usize) -> usize {
        let Some(sealed) = self.sealed.as_deref_mut() else { return 0 };
        let (bytes, entries) = sealed.sample(part);
        *budget = budget.saturating_sub(entries.max(bytes / BYTES_OF_AN_ENTRY));
        bytes.checked_div(entries).unwrap_or(0)
    }

    /// Saves some of what was kept aside and the next part: see [`Sealable::save`](crate::Sealable::save).
    pub(super) fn save_next(
        &mut self,
        parts: &mut [Part<K, V>],
        budget: &mut usize,
        take: &mut dyn FnMut(&SavedEntries),
    ) -> Result<Step, SaveError> {
        let Some(sealed) = self.sealed.as_deref_mut() else { return Ok(Step::All) };
        if let Some(error) = sealed.error.take() {
            self.unseal();
            return Err(error);
        }
        for _ in 0..CHUNKS_WITH_A_PART {
            let Some(chunk) = sealed.side.take_full() else { break };
            *budget = budget.saturating_sub(sealed.hand_out_aside(chunk, take));
        }
        let Some(part) = parts.get_mut(sealed.next) else {
            if let Some(chunk) = sealed.side.take() {
                *budget = budget.saturating_sub(sealed.hand_out_aside(chunk, take));
                return Ok(Step::Some);
            }
            let (builds_on, span) = (sealed.builds_on, sealed.span);
            if builds_on.is_none() {
                self.turns.begin_anew(parts.len(), span);
            }
            self.builds_on = self.known(builds_on);
            self.sealed = None;
            self.note_swept(parts);
            return Ok(Step::All);
        };
        sealed.next += 1;
        let mut cost = part.slots.len().max(part.slots.capacity() / 8).max(1);
        if part.changes.saved_in != self.epoch {
            cost = cost.max(self.save_part(part, take) / BYTES_OF_AN_ENTRY);
            if self.epoch - part.history.swept_in > SWEPT_BY_SAVING {
                self.sweep(part);
            }
        }
        *budget = budget.saturating_sub(cost);
        Ok(Step::Some)
    }
}

#[cfg(test)]
mod layered_tests;
#[cfg(test)]
mod tests;
