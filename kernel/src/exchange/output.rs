//! The sending side of an edge in one subtask: an open frame per channel.
//!
//! A frame leaves when it is full, when its sender runs dry ([`Outputs::flush`]), or when the task loop has held it for long enough;
//! so low load gives low latency and high load gives large batches, without a timeout to tune.
//!
//! A frame is full when it holds the records that the settings allow, or fewer if the receiver is slow: the receiver's word in the ring is the window that
//! the frames of the channel have to share (`debloating.rs`). The window is read when a frame is begun.
//!
//! Bounds: a channel holds at most its ring's capacity of frames, or as many as the window allows, one open frame here, and one in work at the receiver.
//! The open frame may grow past its size by in-band elements, of which there is a fixed number behind the last record, and on a side output by the records
//! that one call of a user's function emits.

use super::debloating::Portion;
use super::frame::{Batch, ErasedEnd, Frame, OutputChannel, typed};
use super::watch::ChannelWatch;
use crate::metrics::Counter;
use crate::time::Control;
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

struct Output<T> {
    channel: OutputChannel<T>,
    open: Frame<T>,
    /// How many records fill the open frame, and how many frames the channel.
    portion: Portion,
    /// Records handed over.
    sent: u64,
    /// The open frame is full, and so was the channel.
    blocked: bool,
}

/// The counters of a task's outputs. Nothing is counted per record.
#[derive(Clone, Default)]
pub(crate) struct OutputNumbers {
    /// Frames that were handed over.
    pub(crate) frames: Counter,
    /// The records in those frames.
    pub(crate) records: Counter,
    /// How often a full frame found its channel full.
    pub(crate) credit_waits: Counter,
    /// How many channels are full like that at the moment.
    pub(crate) blocked: Rc<Cell<usize>>,
    /// Records that were there only as a view, and were made owned to be handed on. Zero where an exchange leads straight into keyed state.
    pub(crate) rebuilt: Counter,
}

/// The sending side of an edge in one subtask, without the type of its records.
pub(crate) struct ErasedOutputs {
    pub(crate) ends: Vec<ErasedEnd>,
    pub(crate) frame_records: usize,
    pub(crate) numbers: OutputNumbers,
    pub(crate) watch: ChannelWatch,
}

impl ErasedOutputs {
    /// The same with the type of its records.
    pub(crate) fn typed<T: Send + 'static>(self) -> Outputs<T> {
        let channels = self.ends.into_iter().map(typed).collect();
        Outputs::new(channels, self.frame_records).counted_by(self.numbers).watched_by(self.watch)
    }
}

/// How much goes into `channel` from now on, with at most `most` records per frame.
#[inline]
fn portion<T>(channel: &OutputChannel<T>, most: usize) -> Portion {
    Portion::of(channel.data.word(), channel.data.capacity(), most)
}

/// The open frames of one subtask on one edge.
pub(crate) struct Outputs<T> {
    outputs: Vec<Output<T>>,
    frame_records: usize,
    blocked: usize,
    numbers: OutputNumbers,
    watch: Option<ChannelWatch>,
}

impl<T: Send> Outputs<T> {
    pub(crate) fn new(channels: Vec<OutputChannel<T>>, frame_records: usize) -> Self {
        assert!(frame_records > 0, "a frame must hold at least one record");
        let open = |channel| {
            let portion = portion(&channel, frame_records);
            Output { channel, open: Frame::new(), portion, sent: 0, blocked: false }
        };
        let outputs = channels.into_iter().map(open).collect();
        Self { outputs, frame_records, blocked: 0, numbers: OutputNumbers::default(), watch: None }
    }

    /// The same, with counters that others see, too.
    pub(crate) fn counted_by(self, numbers: OutputNumbers) -> Self {
        Self { numbers, ..self }
    }

    /// The same, but it reports to `watch` what goes into its channels.
    pub(crate) fn watched_by(self, watch: ChannelWatch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Counts a record that was made owned to be handed on.
    pub(crate) fn rebuilt(&self) {
        self.numbers.rebuilt.add(1);
    }

    /// Number of channels; zero if nobody consumes the edge.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.outputs.len()
    }

    #[inline]
    pub(crate) fn ready(&self) -> bool {
        self.blocked == 0
    }

    /// Adds a record for channel `target`, with the hash of its key on a keyed edge.
    #[inline]
    pub(crate) fn push(&mut self, target: usize, hash: Option<u64>, timestamp: i64, record: T) {
        let output = &mut self.outputs[target];
        output.open.push(hash, timestamp, record);
        if output.open.len() >= output.portion.records {
            self.seal(target);
        }
    }

    /// Adds an in-band element for every channel, behind the records in its open frame.
    pub(crate) fn control(&mut self, control: Control) {
        if let (Control::Barrier(checkpoint), Some(watch)) = (control, &self.watch) {
            for output in &self.outputs {
                // The checkpoint, and how many records stand before its barrier.
                let before = output.sent + output.open.len() as u64;
                watch.tell("channel.barrier.out", output.channel.number, [checkpoint.0 as i64, before as i64, 0]);
            }
        }
        // Splits concern the chain of their source alone.
        if !matches!(control, Control::SplitStarted(_) | Control::SplitFinished(_)) {
            self.outputs.iter_mut().for_each(|output| output.open.push_control(control));
        }
    }

    #[cold]
    #[inline(never)]
    fn seal(&mut self, target: usize) {
        let output = &mut self.outputs[target];
        // One call of a user's function may give a side output more than there is room for. A blocked output is left to `unblock`, which knows who waits.
        if !output.blocked && !Self::send(output, self.frame_records, &self.numbers) {
            output.blocked = true;
            self.blocked += 1;
            self.numbers.blocked.update(|blocked| blocked + 1);
            self.numbers.credit_waits.add(1);
        }
    }

    /// Moves the open frame into the channel. `false` if the channel is full.
    fn send(output: &mut Output<T>, frame_records: usize, numbers: &OutputNumbers) -> bool {
        let records = output.open.len();
        let frame = std::mem::replace(&mut output.open, Frame::new());
        match output.channel.data.try_push_within(output.portion.frames, Batch::Owned(frame)) {
            Ok(()) => {
                output.sent += records as u64;
                numbers.frames.add(1);
                numbers.records.add(records as u64);
                output.portion = portion(&output.channel, frame_records);
                output.open = match output.channel.returned.try_pop() {
                    Some(Batch::Owned(frame)) => frame,
                    _ => {
                        let mut frame = Frame::new();
                        // Small frames stay small: a cold channel should not cost a full frame's memory.
                        frame.reserve(records.min(output.portion.records));
                        frame
                    }
                };
                true
            }
            // The receiver has ended before its input did: the job is being taken down, and frames sent to it mean nothing any more.
            Err(_) if output.channel.data.is_closed() => true,
            Err(Batch::Owned(frame)) => {
                output.open = frame;
                false
            }
            Err(Batch::Archived(_)) => unreachable!("what was pushed was owned"),
        }
    }

    /// Tries to hand over the frames that found no room. `true` if none is left.
    pub(crate) fn unblock(&mut self) -> bool {
        if self.blocked > 0 {
            for output in self.outputs.iter_mut().filter(|output| output.blocked) {
                if Self::send(output, self.frame_records, &self.numbers) {
                    output.blocked = false;
                    self.blocked -= 1;
                    self.numbers.blocked.update(|blocked| blocked - 1);
                }
            }
        }
        self.blocked == 0
    }

    /// Hands over the open frames as far as there is room. `true` if nothing is held any more.
    ///
    /// Frames that found no room are left to [`unblock`](Self::unblock): the operator that is suspended above waits for exactly that, and would wait for
    /// ever if the room it needs came about in another way.
    pub(crate) fn flush(&mut self) -> bool {
        let mut held = false;
        for output in self.outputs.iter_mut().filter(|output| !output.open.is_empty()) {
            held |= output.blocked || !Self::send(output, self.frame_records, &self.numbers);
        }
        !held
    }

    /// Ready if one of the held frames can move now; registers with the channels that hold it up otherwise.
    pub(crate) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for output in self.outputs.iter_mut().filter(|output| output.blocked || !output.open.is_empty()) {
            if output.channel.data.poll_room_within(output.portion.frames, cx).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::frame::channel;
    use crate::exchange::watch::ChannelNumber;

    /// One call of a user's function may emit more to a side output than there is room for. Meanwhile, on another core, the receiver takes a frame.
    #[test]
    fn a_blocked_output_that_is_given_more_stays_blocked_until_it_is_resumed() {
        let (sender, mut receiver) = channel::<u64>(ChannelNumber(0), 1, u32::MAX);
        let mut outputs = Outputs::new(vec![sender], 1);
        outputs.push(0, None, 0, 1);
        outputs.push(0, None, 0, 2);
        assert!(!outputs.ready());
        assert_eq!(receiver.data.try_pop().map(|batch| batch.records()), Some(1));
        outputs.push(0, None, 0, 3);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(!outputs.ready() && outputs.poll_progress(&mut cx).is_ready());
        assert!(outputs.unblock() && outputs.ready());
        assert_eq!(receiver.data.try_pop().map(|batch| batch.records()), Some(2));
    }
}
