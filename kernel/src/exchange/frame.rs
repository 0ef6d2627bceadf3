//! What moves through a channel: a batch of records with the in-band elements between them.

use super::remote::{ArchivedFrame, Packer, RecordPacker, RecordUnpacker, Unpacker};
use super::watch::ChannelNumber;
use crate::record::{Layout, Record, RecordLayout};
use crate::time::Control;
use std::any::Any;
use std::sync::Arc;
use thalweg_io::{Consumer, Producer, ring};

/// A record and its timestamp.
pub(crate) struct Entry<T> {
    pub(crate) timestamp: i64,
    pub(crate) record: T,
}

/// A batch. `controls` holds in-band elements with the number of records that precede each of them, in order.
pub(crate) struct Frame<T> {
    pub(crate) entries: Vec<Entry<T>>,
    /// On a keyed edge the key hash of each record, so that no key is hashed twice; empty elsewhere.
    pub(crate) hashes: Vec<u64>,
    pub(crate) controls: Vec<(u32, Control)>,
}

impl<T> Frame<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), hashes: Vec::new(), controls: Vec::new() }
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

    /// Whether it came from another process.
    pub(crate) fn is_from_elsewhere(&self) -> bool {
        matches!(self, Self::Archived(_))
    }
}

/// The sender's end of a channel.
pub(crate) struct OutputChannel<T> {
    pub(crate) number: ChannelNumber,
    pub(crate) data: Producer<Batch<T>>,
    pub(crate) returned: Consumer<Batch<T>>,
}

/// The receiver's end of a channel.
pub(crate) struct InputChannel<T> {
    pub(crate) number: ChannelNumber,
    pub(crate) data: Consumer<Batch<T>>,
    pub(crate) returned: Producer<Batch<T>>,
}

/// The two ends of the channel `number` with room for `frames` frames under way, in which `window` records may be until the receiver knows its pace.
pub(crate) fn channel<T: Send>(number: ChannelNumber, frames: usize, window: u32) -> (OutputChannel<T>, InputChannel<T>) {
    let (data_in, mut data_out) = ring(frames);
    data_out.tell(window);
    // One frame may be open at the sender and one in work at the receiver: with two more places a return never finds the ring full.
    let (returned_in, returned_out) = ring(frames + 2);
    (OutputChannel { number, data: data_in, returned: returned_out }, InputChannel { number, data: data_out, returned: returned_in })
}

/// An end of a channel, without its type: an `OutputChannel<T>` or an `InputChannel<T>`.
pub(crate) type ErasedEnd = Box<dyn Any + Send>;

/// What can be done with the records of an edge without knowing their type.
#[derive(Clone)]
pub(crate) struct RecordType {
    /// What they are made of.
    pub(crate) layout: Layout,
    /// Makes the two ends of a channel with room for so many frames, and so many records at first: the sender's, the receiver's.
    pub(crate) channel: fn(ChannelNumber, usize, u32) -> (ErasedEnd, ErasedEnd),
    /// Takes the receiver's end of a channel, to make bytes of its frames.
    pub(crate) packer: fn(ErasedEnd, &Self) -> Box<dyn Packer>,
    /// Takes the sender's end of a channel, to feed it with frames that are bytes.
    pub(crate) unpacker: fn(ErasedEnd, &Self) -> Box<dyn Unpacker>,
    /// A `RecordLayout<T>`.
    typed: Arc<dyn Any + Send + Sync>,
}

impl RecordType {
    /// Records of `T` with the layout of the type.
    pub(crate) fn of<T: Record>() -> Self {
        Self::with(RecordLayout::<T>::default())
    }

    /// Records of `T` with this layout.
    pub(crate) fn with<T: Record>(layout: RecordLayout<T>) -> Self {
        Self {
            layout: layout.layout().clone(),
            channel: |number, frames, window| {
                let (output, input) = channel::<T>(number, frames, window);
                (Box::new(output), Box::new(input))
            },
            packer: |end, record| Box::new(RecordPacker::new(typed::<InputChannel<T>>(end), &record.layout)),
            unpacker: |end, record| Box::new(RecordUnpacker::new(typed::<OutputChannel<T>>(end), record.typed())),
            typed: Arc::new(layout),
        }
    }

    /// The layout with its type.
    pub(crate) fn typed<T: Record>(&self) -> RecordLayout<T> {
        let layout: Option<&RecordLayout<T>> = self.typed.downcast_ref();
        layout.expect("invariant: it was made for these records").clone()
    }
}

/// The end with its type.
pub(crate) fn typed<C: 'static>(end: ErasedEnd) -> C {
    *end.downcast().expect("invariant: an edge and what stands at its ends were made for the same record type")
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
        frame.entries.push(Entry { timestamp: 0, record: 7u64 });
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
