//! The two ends of a channel, with the type of its records and without.

use super::Batch;
use crate::exchange::watch::ChannelNumber;
use std::any::Any;
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

/// The two ends of the channel `number`, with room for `frames` frames under way, and for `window` records until the receiver knows its pace.
pub(crate) fn channel<T: Send>(number: ChannelNumber, frames: usize, window: u32) -> (OutputChannel<T>, InputChannel<T>) {
    let (data_in, mut data_out) = ring(frames);
    data_out.tell(window);
    // One frame may be open at the sender and one in work at the receiver: with two more places a return never finds the ring full.
    let (returned_in, returned_out) = ring(frames + 2);
    (OutputChannel { number, data: data_in, returned: returned_out }, InputChannel { number, data: data_out, returned: returned_in })
}

/// An end of a channel, without its type: an `OutputChannel<T>` or an `InputChannel<T>`.
pub(crate) type ErasedEnd = Box<dyn Any + Send>;

/// The end with its type.
pub(crate) fn typed<C: 'static>(end: ErasedEnd) -> C {
    *end.downcast().expect("invariant: an edge and what stands at its ends were made for the same record type")
}
