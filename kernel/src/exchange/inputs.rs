//! The channels that feed a subtask, input by input: an operator has one input or two, each with its own type of records, and an input has the channels of
//! one edge or, behind a union, of several.
//!
//! The gate (`gate.rs`) takes turns, aligns barriers and merges watermarks over the channels of all inputs by their places, and does not know the types of
//! their records. Types come back where a frame is worked off (`Heads` in `task.rs`).

use super::frame::{Batch, InputChannel, Spare};
use super::watch::ChannelNumber;
use crate::record::Record;
use crate::subtask::context::SubtaskContext;
use std::task::{Context, Poll};

/// The receiving end of a channel, without the type of its records.
pub(crate) trait ReceivingEnd {
    fn number(&self) -> ChannelNumber;

    /// Frames that wait.
    fn waiting(&self) -> usize;

    /// Frames that may wait.
    fn capacity(&self) -> usize;

    /// Tells the sender how many records may be under way.
    fn tell_window(&mut self, records: u32);

    /// `Ready(true)` when a frame waits, `Ready(false)` when the sender is gone; registers for that otherwise.
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<bool>;
}

impl<T: Send> ReceivingEnd for InputChannel<T> {
    fn number(&self) -> ChannelNumber {
        self.number
    }

    fn waiting(&self) -> usize {
        self.data.len()
    }

    fn capacity(&self) -> usize {
        self.data.capacity()
    }

    fn tell_window(&mut self, records: u32) {
        self.data.tell(records);
        // A link between processes waits for frames that come back, and for nothing else: this wakes it.
        self.returned.nudge();
    }

    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.data.poll_items(cx)
    }
}

impl<T> InputChannel<T> {
    fn give_back(&mut self, mut batch: Batch<T>) {
        if let Batch::Owned(frame) = &mut batch {
            frame.clear();
        }
        // A sender that has ended has no use for the batch.
        drop(self.returned.try_push(batch));
    }
}

/// The channels of all inputs of a subtask, each at a place of its own.
pub(crate) trait Inputs: Sized + 'static {
    /// A batch of any of the inputs.
    type Batch;
    /// Memory through which the rest of an interrupted frame moves to its beginning.
    type Spare: Default;

    /// Takes the channels that were made for a subtask.
    fn take(cx: &mut SubtaskContext) -> Self;

    /// Number of channels.
    fn count(&self) -> usize;

    fn channel(&self, place: usize) -> &dyn ReceivingEnd;

    fn channel_mut(&mut self, place: usize) -> &mut dyn ReceivingEnd;

    /// The next batch of a channel.
    fn pop(&mut self, place: usize) -> Option<Self::Batch>;

    /// Returns the memory of a batch that was worked off.
    fn give_back(&mut self, place: usize, batch: Self::Batch);

    /// Records of a batch.
    fn records(batch: &Self::Batch) -> usize;

    /// Whether a batch came from another process.
    fn is_from_elsewhere(batch: &Self::Batch) -> bool;
}

/// One input, of `T`.
pub(crate) struct OneInput<T> {
    channels: Vec<InputChannel<T>>,
}

impl<T: Record> Inputs for OneInput<T> {
    type Batch = Batch<T>;
    type Spare = Spare<T>;

    fn take(cx: &mut SubtaskContext) -> Self {
        Self { channels: cx.take_input(0) }
    }

    fn count(&self) -> usize {
        self.channels.len()
    }

    fn channel(&self, place: usize) -> &dyn ReceivingEnd {
        &self.channels[place]
    }

    fn channel_mut(&mut self, place: usize) -> &mut dyn ReceivingEnd {
        &mut self.channels[place]
    }

    #[inline]
    fn pop(&mut self, place: usize) -> Option<Batch<T>> {
        self.channels[place].data.try_pop()
    }

    fn give_back(&mut self, place: usize, batch: Batch<T>) {
        self.channels[place].give_back(batch);
    }

    fn records(batch: &Batch<T>) -> usize {
        batch.records()
    }

    fn is_from_elsewhere(batch: &Batch<T>) -> bool {
        batch.is_from_elsewhere()
    }
}

/// Two inputs, of `A` and of `B`; the places of the second are behind those of the first.
pub(crate) struct TwoInputs<A, B> {
    first: Vec<InputChannel<A>>,
    second: Vec<InputChannel<B>>,
}

/// A batch of the first or of the second input.
pub(crate) enum OfTwo<A, B> {
    First(Batch<A>),
    Second(Batch<B>),
}

impl<A: Record, B: Record> Inputs for TwoInputs<A, B> {
    type Batch = OfTwo<A, B>;
    type Spare = (Spare<A>, Spare<B>);

    fn take(cx: &mut SubtaskContext) -> Self {
        let (first, second) = (cx.take_input(0), cx.take_input(1));
        assert!(!first.is_empty() && !second.is_empty(), "each of two inputs has a channel");
        Self { first, second }
    }

    fn count(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn channel(&self, place: usize) -> &dyn ReceivingEnd {
        match place.checked_sub(self.first.len()) {
            None => &self.first[place],
            Some(place) => &self.second[place],
        }
    }

    fn channel_mut(&mut self, place: usize) -> &mut dyn ReceivingEnd {
        match place.checked_sub(self.first.len()) {
            None => &mut self.first[place],
            Some(place) => &mut self.second[place],
        }
    }

    fn pop(&mut self, place: usize) -> Option<OfTwo<A, B>> {
        match place.checked_sub(self.first.len()) {
            None => self.first[place].data.try_pop().map(OfTwo::First),
            Some(place) => self.second[place].data.try_pop().map(OfTwo::Second),
        }
    }

    fn give_back(&mut self, place: usize, batch: OfTwo<A, B>) {
        match batch {
            OfTwo::First(batch) => self.first[place].give_back(batch),
            OfTwo::Second(batch) => self.second[place - self.first.len()].give_back(batch),
        }
    }

    fn records(batch: &OfTwo<A, B>) -> usize {
        match batch {
            OfTwo::First(batch) => batch.records(),
            OfTwo::Second(batch) => batch.records(),
        }
    }

    fn is_from_elsewhere(batch: &OfTwo<A, B>) -> bool {
        match batch {
            OfTwo::First(batch) => batch.is_from_elsewhere(),
            OfTwo::Second(batch) => batch.is_from_elsewhere(),
        }
    }
}
