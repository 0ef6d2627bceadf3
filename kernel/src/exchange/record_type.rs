//! The records of an edge, without their type, for the code that wires or carries its channels.

use super::frame::{ErasedEnd, InputChannel, OutputChannel, channel, typed};
use super::remote::{Packer, RecordPacker, RecordUnpacker, Unpacker};
use super::watch::ChannelNumber;
use crate::record::{Layout, Record, RecordLayout};
use std::any::Any;
use std::sync::Arc;

/// The operations on the records of an edge that need not know their type.
#[derive(Clone)]
pub(crate) struct RecordType {
    /// The layout of the records.
    pub(crate) layout: Layout,
    /// Makes the two ends of a channel, the sender's and the receiver's, with room for this many frames, and this many records at first.
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
