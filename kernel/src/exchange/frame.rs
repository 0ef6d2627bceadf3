//! What moves through a channel: a batch of records with the in-band elements between them.

use crate::time::Control;
use std::any::Any;
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

/// The sender's end of a channel.
pub(crate) struct OutputChannel<T> {
    pub(crate) data: Producer<Frame<T>>,
    pub(crate) returned: Consumer<Frame<T>>,
}

/// The receiver's end of a channel.
pub(crate) struct InputChannel<T> {
    pub(crate) data: Consumer<Frame<T>>,
    pub(crate) returned: Producer<Frame<T>>,
}

/// The two ends of a channel with room for `frames` frames under way.
fn channel<T: Send>(frames: usize) -> (OutputChannel<T>, InputChannel<T>) {
    let (data_in, data_out) = ring(frames);
    // One frame may be open at the sender and one in work at the receiver: with two more places a return never finds the ring full.
    let (returned_in, returned_out) = ring(frames + 2);
    (OutputChannel { data: data_in, returned: returned_out }, InputChannel { data: data_out, returned: returned_in })
}

/// The ends of an edge's channels, without their type: `senders[s]` belongs to sending subtask `s` and is a `Vec<OutputChannel<T>>`,
/// `receivers[r]` to receiving subtask `r` and is a `Vec<InputChannel<T>>`.
pub(crate) struct Channels {
    pub(crate) senders: Vec<Box<dyn Any + Send>>,
    pub(crate) receivers: Vec<Box<dyn Any + Send>>,
}

/// Makes the channels of an edge of `T`: one to one, or every sender to every receiver.
pub(crate) fn erased_channels<T: Send + 'static>(senders: usize, receivers: usize, one_to_one: bool, frames: usize) -> Channels {
    assert!(!one_to_one || senders == receivers, "a forward edge joins tasks of equal parallelism");
    let mut outputs: Vec<Vec<OutputChannel<T>>> = (0..senders).map(|_| Vec::new()).collect();
    let mut inputs: Vec<Vec<InputChannel<T>>> = (0..receivers).map(|_| Vec::new()).collect();
    for (s, output) in outputs.iter_mut().enumerate() {
        for (r, input) in inputs.iter_mut().enumerate() {
            if !one_to_one || s == r {
                let (sender, receiver) = channel(frames);
                output.push(sender);
                input.push(receiver);
            }
        }
    }
    let erase = |channels| -> Box<dyn Any + Send> { Box::new(channels) };
    Channels { senders: outputs.into_iter().map(erase).collect(), receivers: inputs.into_iter().map(|c| Box::new(c) as _).collect() }
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

    #[test]
    fn a_forward_edge_has_one_channel_a_subtask_and_another_one_has_all() {
        let count = |channels: &Channels| -> Vec<usize> {
            channels.senders.iter().map(|s| s.downcast_ref::<Vec<OutputChannel<u64>>>().unwrap().len()).collect()
        };
        assert_eq!(count(&erased_channels::<u64>(3, 3, true, 1)), [1, 1, 1]);
        assert_eq!(count(&erased_channels::<u64>(2, 3, false, 1)), [3, 3]);
    }
}
