//! The unit that moves through a channel: a batch of records with the in-band elements between them.
//!
//! Only this folder knows how a frame stores them: senders add records and elements, receivers take them in turn ([`Frame::taking`]), packers walk over
//! them to make bytes. [`ahead`] shows the records that have not been taken yet; a [`run`] crosses a joint between two chains in one task; [`channel`] has
//! the two ends between which frames move.

mod ahead;
mod channel;
mod run;

pub use ahead::Ahead;
pub(crate) use channel::{ErasedEnd, InputChannel, OutputChannel, channel, typed};
pub(crate) use run::Run;

use super::remote::ArchivedFrame;
use crate::time::Control;

/// A record and its timestamp.
pub(crate) struct Entry<T> {
    timestamp: i64,
    record: T,
}

/// A batch. `controls` holds in-band elements with the number of records that precede each of them, in order.
pub(crate) struct Frame<T> {
    entries: Vec<Entry<T>>,
    /// On a keyed edge the key hash of each record, so that no key is hashed twice; empty elsewhere.
    hashes: Vec<u64>,
    controls: Vec<(u32, Control)>,
}

/// Memory through which the rest of an interrupted frame moves to its beginning.
pub(crate) type Spare<T> = Vec<Entry<T>>;

/// A frame whose records are being taken. Records that are left stay in the frame.
pub(crate) struct Taking<'a, T> {
    entries: std::vec::Drain<'a, Entry<T>>,
    /// The hashes of all records of the frame, those that were taken before included.
    pub(crate) hashes: &'a [u64],
    pub(crate) controls: &'a [(u32, Control)],
}

impl<T> Taking<'_, T> {
    /// Records that are left.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes the next record, with its timestamp.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(i64, T)> {
        self.entries.next().map(|entry| (entry.timestamp, entry.record))
    }

    /// Moves what is left to `spare`.
    fn finish(self, spare: &mut Spare<T>) {
        spare.extend(self.entries);
    }
}

impl<T> Frame<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), hashes: Vec::new(), controls: Vec::new() }
    }

    /// Number of records.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reserves memory for this many more records.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.entries.reserve(records);
    }

    /// Adds a record, with the hash of its key on a keyed edge.
    #[inline]
    pub(crate) fn push(&mut self, hash: Option<u64>, timestamp: i64, record: T) {
        self.entries.push(Entry { timestamp, record });
        if let Some(hash) = hash {
            self.hashes.push(hash);
        }
    }

    /// Lets `take` take the frame's records. Records that it leaves go to `spare` and back.
    pub(crate) fn taking<R>(&mut self, spare: &mut Spare<T>, take: impl FnOnce(&mut Taking<'_, T>) -> R) -> R {
        let mut taking = Taking { entries: self.entries.drain(..), hashes: &self.hashes, controls: &self.controls };
        let taken = take(&mut taking);
        taking.finish(spare);
        std::mem::swap(spare, &mut self.entries);
        taken
    }

    /// The records.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = &T> + Clone {
        self.entries.iter().map(|entry| &entry.record)
    }

    /// The timestamps of the records.
    pub(crate) fn timestamps(&self) -> impl ExactSizeIterator<Item = i64> {
        self.entries.iter().map(|entry| entry.timestamp)
    }

    /// The hashes of the records' keys; empty where the edge is not keyed.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The frame with these in-band elements, at whatever positions they give.
    #[cfg(test)]
    pub(crate) fn with_controls(self, controls: &[(u32, Control)]) -> Self {
        Self { controls: controls.to_vec(), ..self }
    }

    /// The in-band elements, each with the number of records before it.
    pub(crate) fn controls(&self) -> &[(u32, Control)] {
        &self.controls
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.controls.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.hashes.clear();
        self.controls.clear();
    }

    /// Puts `control` behind the records that are in the frame. Of several watermarks, or several changes of idleness, without a record between
    /// them only the last means anything; keeping one of each bounds the frame's size (docs/src/semantics.md#w-3). Nothing moves over a barrier.
    pub(crate) fn push_control(&mut self, control: Control) {
        assert!(!matches!(self.controls.last(), Some((_, Control::EndOfInput))), "{control:?} follows the end of input");
        let position = u32::try_from(self.entries.len()).expect("invariant: a frame holds fewer than 2^32 records");
        let is_status = |c: &Control| matches!(c, Control::Idle | Control::Active);
        let supersedes = |earlier: &Control| match control {
            Control::Watermark(_) => matches!(earlier, Control::Watermark(_)),
            Control::Idle | Control::Active => is_status(earlier),
            Control::Barrier(_) | Control::EndOfInput | Control::SplitStarted(_) | Control::SplitFinished(_) => false,
        };
        let holds = |(at, earlier): &(u32, Control)| *at != position || matches!(earlier, Control::Barrier(_));
        let movable = self.controls.iter().rposition(holds).map_or(0, |i| i + 1);
        if let Some(i) = self.controls[movable..].iter().position(|(_, earlier)| supersedes(earlier)) {
            self.controls.remove(movable + i);
        }
        self.controls.push((position, control));
    }
}

/// A frame as it moves: owned where it was made, an archive where it came from another process.
pub(crate) enum Batch<T> {
    Owned(Frame<T>),
    Archived(ArchivedFrame<T>),
}

impl<T> Batch<T> {
    /// Number of records.
    pub(crate) fn records(&self) -> usize {
        match self {
            Self::Owned(frame) => frame.entries.len(),
            Self::Archived(frame) => frame.len(),
        }
    }

    /// Whether the frame came from another process.
    pub(crate) fn is_from_elsewhere(&self) -> bool {
        matches!(self, Self::Archived(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::CheckpointId;
    use crate::time::Watermark;

    #[test]
    fn only_the_last_watermark_and_status_between_two_records_is_kept() {
        let mut frame = Frame::new();
        let watermark = |t| Control::Watermark(Watermark(t));
        for control in [watermark(1), Control::Idle, watermark(2), Control::Active] {
            frame.push_control(control);
        }
        frame.push(None, 0, 7u64);
        frame.push_control(watermark(3));
        frame.push_control(Control::EndOfInput);
        assert_eq!(frame.controls, [(0, watermark(2)), (0, Control::Active), (1, watermark(3)), (1, Control::EndOfInput)]);
    }

    #[test]
    fn a_watermark_that_came_before_a_barrier_stays_before_it() {
        let mut frame = Frame::<u64>::new();
        let (watermark, barrier) = (|t| Control::Watermark(Watermark(t)), Control::Barrier(CheckpointId(1)));
        for control in [watermark(1), barrier, watermark(2), watermark(3)] {
            frame.push_control(control);
        }
        assert_eq!(frame.controls, [(0, watermark(1)), (0, barrier), (0, watermark(3))]);
    }
}
