//! Timers of keys, in the order in which they are due.
//!
//! Each timer remembers in which epoch it was set, and sealing begins another epoch. Saving walks over the timers in their order: those set since are passed
//! over, and those that are taken out ahead of the walk are kept aside.

use crate::checkpoint::Namespace;
use crate::saved::{Encode, Encoder, SavedEntries};
use crate::saving::Saving;
use crate::sealable::{SaveError, Sealable};
use crate::side_bytes::SideShare;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use thalweg_record::record::Key;

/// A set of `(time, key)`; a timer set twice is one timer. Setting, deleting and taking cost the logarithm of the number of timers.
pub struct TimerQueue<K> {
    /// The timers, each with the epoch in which it was set.
    timers: BTreeMap<(i64, K), u32>,
    epoch: u32,
    sealed: Option<Box<Sealed<K>>>,
}

/// Bytes that are handed out at once.
const SIDE_CHUNK: usize = 64 << 10;

/// A sealed content that is not saved as a whole yet: the timers of earlier epochs.
struct Sealed<K> {
    encoder: Encoder<K, ()>,
    /// The last timer that has been walked over.
    after: Option<(i64, K)>,
    /// Timers that were taken out before their turn came, in chunks of [`SIDE_CHUNK`].
    side: VecDeque<SavedEntries>,
    share: SideShare,
    error: Option<SaveError>,
}

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { timers: BTreeMap::new(), epoch: 0, sealed: None }
    }
}

fn namespace(time: i64) -> Option<Namespace> {
    Some((time, 0))
}

impl<K: Key> TimerQueue<K> {
    /// Sets a timer for `key`. `false` if it was set already.
    pub fn insert(&mut self, time: i64, key: K) -> bool {
        match self.timers.entry((time, key)) {
            Entry::Vacant(place) => {
                place.insert(self.epoch);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Deletes a timer of `key`. `false` if it was not set.
    pub fn remove(&mut self, time: i64, key: K) -> bool {
        let removed = self.timers.remove_entry(&(time, key));
        removed.is_some_and(|(timer, epoch)| {
            self.taken_out(&timer, epoch);
            true
        })
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_time(&self) -> Option<i64> {
        self.timers.first_key_value().map(|((time, _), _)| *time)
    }

    /// The timers that are due at `now`, in the order in which they are taken out.
    pub fn due(&self, now: i64) -> impl Iterator<Item = &(i64, K)> {
        self.timers.keys().take_while(move |(time, _)| *time <= now)
    }

    /// Removes and returns the next timer if it is due at `now`: the earliest, and among several at one time the one with the lowest key.
    pub fn pop_due(&mut self, now: i64) -> Option<(i64, K)> {
        if self.next_time()? > now {
            return None;
        }
        let (timer, epoch) = self.timers.pop_first()?;
        self.taken_out(&timer, epoch);
        Some(timer)
    }

    /// Keeps a timer that was set in `epoch`, and is no longer there, if it belongs to the sealed content and its turn has not come.
    fn taken_out(&mut self, timer: &(i64, K), epoch: u32) {
        let Some(sealed) = self.sealed.as_deref_mut().filter(|_| epoch != self.epoch) else { return };
        if sealed.error.is_some() || sealed.after.as_ref().is_some_and(|after| timer <= after) {
            return;
        }
        if sealed.side.back().is_none_or(|chunk| chunk.bytes.len() >= SIDE_CHUNK) {
            sealed.side.push_back(SavedEntries::default());
        }
        let Some(side) = sealed.side.back_mut() else { return };
        let (before, (time, key)) = (side.bytes.len(), timer);
        let added = sealed.encoder.extend(side, |open| open.add(K::hash(key.view()), namespace(*time), key, Some(&())));
        let kept = sealed.share.keep(side.bytes.len() - before).map_err(|bytes| SaveError::SideBuffersFull { bytes });
        sealed.error = added.map_err(SaveError::Archive).and(kept).err();
    }

    /// Number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there are no timers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}

impl<K: Key> Sealable<K, ()> for TimerQueue<K> {
    fn seal(&mut self, encode: Encode<K, ()>, saving: &Saving) {
        self.epoch += 1;
        let (encoder, share) = (Encoder::new(encode, &saving.side), SideShare::of(&saving.side));
        self.sealed = Some(Box::new(Sealed { encoder, after: None, side: VecDeque::new(), share, error: None }));
    }

    fn save(&mut self, budget: &mut usize, take: &mut dyn FnMut(&SavedEntries)) -> Result<bool, SaveError> {
        let Self { timers, epoch, sealed } = self;
        let Some(saving) = sealed.as_deref_mut() else { return Ok(true) };
        if let Some(error) = saving.error.take() {
            *sealed = None;
            return Err(error);
        }
        while *budget > 0
            && let Some(side) = saving.side.pop_front()
        {
            *budget = budget.saturating_sub(side.entries as usize);
            saving.share.give_back(side.bytes.len());
            take(&side);
        }
        let from = saving.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut ahead = timers.range((from, Bound::Unbounded));
        let (mut saved, mut last, mut left) = (SavedEntries::default(), None, *budget);
        let added = saving.encoder.extend(&mut saved, |open| {
            while left > 0
                && let Some((timer, set_in)) = ahead.next()
            {
                (left, last) = (left - 1, Some(timer));
                let (time, key) = timer;
                if *set_in != *epoch {
                    open.add(K::hash(key.view()), namespace(*time), key, Some(&()))?;
                }
            }
            Ok(())
        });
        if let Err(error) = added {
            *sealed = None;
            return Err(SaveError::Archive(error));
        }
        *budget = left;
        if saved.entries > 0 {
            take(&saved);
        }
        if let Some(last) = last {
            saving.after = Some(last.clone());
        }
        let is_all = left > 0;
        if is_all {
            *sealed = None;
        }
        Ok(is_all)
    }

    fn unseal(&mut self) {
        self.sealed = None;
    }

    fn table_bytes(&self) -> usize {
        self.timers.len() * size_of::<(i64, K, u32)>()
    }
}

#[cfg(test)]
mod tests;
