//! The two ends of a channel, with the type of its records and without.

use super::Batch;
use crate::exchange::remote::{Packer, RecordPacker, RecordUnpacker, Unpacker};
use crate::exchange::watch::ChannelNumber;
use crate::record::{Layout, Record, RecordLayout};
use std::any::Any;
use std::sync::Arc;
use thalweg_io::{Consumer, Producer, ring};

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
