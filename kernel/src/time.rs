//! Event time, and the elements that flow in band with the records.

use crate::checkpoint::CheckpointId;

pub use thalweg_record::{NO_TIMESTAMP, TimeWindow, Watermark, format_millis};

/// An in-band element: it flows with the records, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// See [`Watermark`].
    Watermark(Watermark),
    /// The sender will be silent for a while: its watermark holds nobody back (docs/src/semantics.md#w-5).
    Idle,
    /// The sender has records again.
    Active,
    /// Records before it belong to this checkpoint, records behind it do not (docs/src/semantics.md#c-1).
    Barrier(CheckpointId),
    /// A source begins to read the split with this number; seen only inside the source's own chain.
    SplitStarted(u32),
    /// A source has read the whole split with this number; seen only inside the source's own chain.
    SplitFinished(u32),
    /// The end of input: nothing follows. Comes after [`Watermark::MAX`], once.
    EndOfInput,
}

impl Control {
    /// Kind and watermark (0 where there is none), for observers: 0 watermark, 1 idle, 2 active, 3 and 4 a split's start and end, 5 the
    /// end of input, 6 a barrier, with the number of its checkpoint.
    pub(crate) fn as_numbers(self) -> [i64; 2] {
        match self {
            Self::Watermark(watermark) => [0, watermark.0],
            Self::Idle => [1, 0],
            Self::Active => [2, 0],
            Self::SplitStarted(_) => [3, 0],
            Self::SplitFinished(_) => [4, 0],
            Self::EndOfInput => [5, 0],
            Self::Barrier(checkpoint) => [6, checkpoint.0 as i64],
        }
    }
}
