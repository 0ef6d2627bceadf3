//! The records before the head of a task: those of a frame that have not been taken yet.

use super::{Batch, Entry};
use crate::record::Record;

/// The records of a frame that have not been taken, in order, with the hashes of their keys.
pub struct Ahead<'a, T: Record>(Left<'a, T>);

enum Left<'a, T: Record> {
    /// The rest of a frame of this process.
    Owned(&'a [Entry<T>], &'a [u64]),
    /// The rest of a frame of another process.
    Archived(&'a [T::Archived], &'a [[u8; 8]]),
}

impl<T: Record> Ahead<'_, T> {
    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Left::Owned(entries, _) => entries.len(),
            Left::Archived(records, _) => records.len(),
        }
    }

    /// Whether no records are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hashes of the records' keys; empty where the edge is not keyed.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        let (owned, archived): (&[u64], &[[u8; 8]]) = match &self.0 {
            Left::Owned(_, hashes) => (hashes, &[]),
            Left::Archived(_, hashes) => (&[], hashes),
        };
        let hash = |place: usize| owned.get(place).copied().unwrap_or_else(|| u64::from_le_bytes(archived[place]));
        (0..owned.len() + archived.len()).map(hash)
    }

    /// The record at `place`.
    ///
    /// # Panics
    /// If `place` is not less than [`len`](Self::len).
    #[must_use]
    pub fn view(&self, place: usize) -> T::Ref<'_> {
        match &self.0 {
            Left::Owned(entries, _) => entries[place].record.view(),
            Left::Archived(records, _) => T::view_archived(&records[place]),
        }
    }
}

impl<T: Record> Batch<T> {
    /// The records that are left when `done` of them have been taken.
    pub(crate) fn ahead(&self, done: usize) -> Ahead<'_, T> {
        Ahead(match self {
            // Records that were taken are gone from the frame; their hashes are not.
            Self::Owned(frame) => Left::Owned(&frame.entries, frame.hashes.get(done..).unwrap_or_default()),
            Self::Archived(frame) => Left::Archived(&frame.records()[done..], frame.hashes().get(done..).unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;

    #[test]
    fn of_a_frame_that_was_begun_the_rest_is_ahead() {
        let mut frame = Frame::new();
        for n in 0..4u64 {
            frame.push(Some(10 * n), 0, n);
        }
        frame.taking(&mut Vec::new(), |taking| assert!(taking.next().zip(taking.next()).zip(taking.next()).is_some()));
        let batch = Batch::Owned(frame);
        let ahead = batch.ahead(3);
        assert_eq!((ahead.len(), ahead.view(0), ahead.hashes().collect::<Vec<_>>()), (1, 3, vec![30]));
        assert!(!ahead.is_empty());
    }
}
