//! The receiving side of a task: the channels of all its inputs, taken in turn, with their merged watermark and their aligned barriers.
//!
//! A channel is a channel here, whichever input it belongs to (docs/src/semantics.md#p-5): a task with two inputs has the minimum of the watermarks of both,
//! is idle when both are, takes its snapshot when the barrier has come on every channel of both, and ends with the last of them.

use super::alignment::BarrierAligner;
use super::debloating::{is_news, window_of_channel};
use super::inputs::Inputs;
use super::watch::ChannelNumber;
use crate::checkpoint::CheckpointId;
use crate::time::{Control, Watermark};
use crate::watermark::WatermarkValve;
use std::collections::VecDeque;
use std::task::{Context, Poll};

/// A frame in work, and how far it has been worked off.
pub(crate) struct Work<B> {
    pub(crate) batch: B,
    pub(crate) at: Progress,
}

/// How far the frame of a channel has been worked off: `done` of its records and `controls_done` of its in-band elements have been taken. The state of the
/// records before `prepared` is at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) channel: usize,
    pub(crate) done: usize,
    pub(crate) prepared: usize,
    pub(crate) controls_done: usize,
}

/// A channel as the gate knows it.
struct Arriving<B> {
    ended: bool,
    /// Records of frames that were worked off.
    received: u64,
    /// Something has arrived since the windows were last told.
    is_active: bool,
    /// The window that its sender was last told.
    told: u32,
    /// The rest of a frame, behind a barrier that other channels have yet to deliver.
    parked: Option<Work<B>>,
}

/// The channels of one subtask, over all its inputs.
pub(crate) struct InputGate<I: Inputs> {
    inputs: I,
    channels: Vec<Arriving<I::Batch>>,
    valve: WatermarkValve,
    aligner: BarrierAligner,
    next: usize,
    /// Merged in-band elements that the chain has not taken yet: at most three for each frame element.
    pub(crate) merged: VecDeque<Control>,
}

impl<I: Inputs> InputGate<I> {
    /// A gate whose downstream operators already know the watermark `restored`.
    pub(crate) fn new(inputs: I, restored: Watermark) -> Self {
        let count = inputs.count();
        assert!(count > 0, "a task that is fed by an exchange has at least one channel");
        let arriving = |_| Arriving { ended: false, received: 0, is_active: false, told: 0, parked: None };
        Self {
            channels: (0..count).map(arriving).collect(),
            inputs,
            valve: WatermarkValve::new(count, restored),
            aligner: BarrierAligner::new(count),
            next: 0,
            merged: VecDeque::new(),
        }
    }

    /// The next frame, or the rest of one, from each channel in turn so that none starves the others.
    pub(crate) fn take(&mut self) -> Option<Work<I::Batch>> {
        for _ in 0..self.channels.len() {
            let channel = self.next;
            self.next = if channel + 1 == self.channels.len() { 0 } else { channel + 1 };
            // docs/src/semantics.md#c-2
            if self.aligner.is_blocked(channel) {
                continue;
            }
            let arriving = &mut self.channels[channel];
            let fresh = |batch| Work { batch, at: Progress { channel, done: 0, prepared: 0, controls_done: 0 } };
            if let Some(work) = arriving.parked.take().or_else(|| self.inputs.pop(channel).map(fresh)) {
                arriving.is_active = true;
                return Some(work);
            }
        }
        None
    }

    /// Whether the channel from which `work` was just taken held as many frames as its sender may send. Frames of another process arrive in portions: for
    /// such a channel this cannot be seen here, and is assumed.
    pub(crate) fn was_full(&self, work: &Work<I::Batch>) -> bool {
        let channel = self.inputs.channel(work.at.channel);
        let frames = channel.capacity().min(self.channels[work.at.channel].told.max(1) as usize);
        I::is_from_elsewhere(&work.batch) || channel.waiting() + 1 >= frames
    }

    /// Tells each sender how many records it may have under way: the senders with something to send share `window`. The others might all begin at once, so
    /// each has its share of `most`, the most that may be under way at all. Returns the share of a sender with something to send.
    pub(crate) fn tell_windows(&mut self, window: u64, most: u64) -> u32 {
        let Self { inputs, channels, .. } = self;
        let speaks = |inputs: &I, number, arriving: &Arriving<I::Batch>| arriving.is_active || inputs.channel(number).waiting() > 0;
        let open = || channels.iter().enumerate().filter(|(_, arriving)| !arriving.ended);
        let all = open().count();
        let of_speaker = window_of_channel(window, open().filter(|(number, arriving)| speaks(inputs, *number, arriving)).count());
        let of_silent = window_of_channel(most, all).min(of_speaker);
        for (number, arriving) in channels.iter_mut().enumerate().filter(|(_, arriving)| !arriving.ended) {
            let of_channel = if speaks(inputs, number, arriving) { of_speaker } else { of_silent };
            arriving.is_active = false;
            if is_news(arriving.told, of_channel) {
                arriving.told = of_channel;
                inputs.channel_mut(number).tell_window(of_channel);
            }
        }
        of_speaker
    }

    /// Sets aside the rest of a frame whose channel is blocked. State is at hand for the frame in work alone.
    pub(crate) fn park(&mut self, mut work: Work<I::Batch>) {
        work.at.prepared = work.at.done;
        let arriving = &mut self.channels[work.at.channel];
        assert!(arriving.parked.is_none(), "a blocked channel was read");
        arriving.parked = Some(work);
    }

    /// Returns a worked-off frame to its sender, to be filled again.
    pub(crate) fn give_back(&mut self, work: Work<I::Batch>) {
        self.channels[work.at.channel].received += work.at.done as u64;
        self.inputs.give_back(work.at.channel, work.batch);
    }

    /// For each channel that has not ended: its number, and how many of its records have been taken; `in_work` is the channel whose frame is worked on, and
    /// how many records of that frame have been taken.
    pub(crate) fn received(&self, in_work: Option<(usize, usize)>) -> impl Iterator<Item = (ChannelNumber, u64)> {
        let open = self.channels.iter().enumerate().filter(|(_, arriving)| !arriving.ended);
        open.map(move |(number, arriving)| {
            let of_frame = match in_work {
                Some((channel, done)) if channel == number => done,
                _ => arriving.parked.as_ref().map_or(0, |work| work.at.done),
            };
            (self.inputs.channel(number).number(), arriving.received + of_frame as u64)
        })
    }

    /// Takes the in-band element `control` of `channel` into account; the elements that result from it wait in `merged`.
    pub(crate) fn step(&mut self, channel: usize, control: Control) {
        self.channels[channel].ended |= control == Control::EndOfInput;
        self.merged.extend(self.valve.step(channel, control).into_iter().flatten());
        // The end of a channel changes the watermark before it completes the barrier.
        let aligned = match control {
            Control::Barrier(checkpoint) => self.aligner.barrier(channel, checkpoint),
            Control::EndOfInput => self.aligner.ended(channel),
            _ => None,
        };
        self.merged.extend(aligned.map(Control::Barrier));
    }

    /// Whether records that `channel` has delivered behind a barrier have to wait for other channels.
    pub(crate) fn is_blocked(&self, channel: usize) -> bool {
        self.aligner.is_blocked(channel)
    }

    /// The checkpoint whose barrier some channels have yet to deliver.
    pub(crate) fn aligning(&self) -> Option<CheckpointId> {
        self.aligner.aligning()
    }

    /// The merged watermark that was forwarded last.
    pub(crate) fn watermark(&self) -> Watermark {
        self.valve.forwarded()
    }

    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether every channel has delivered its end of input.
    pub(crate) fn is_ended(&self) -> bool {
        self.valve.is_ended()
    }

    /// Frames waiting in each channel, in the order in which the task names its inputs and their edges.
    pub(crate) fn queue_lengths(&self) -> impl Iterator<Item = usize> {
        (0..self.channels.len()).map(|number| self.inputs.channel(number).waiting())
    }

    /// Frames waiting in the channels.
    pub(crate) fn queued(&self) -> usize {
        self.queue_lengths().sum()
    }

    /// Ready if there is a frame that may be taken; otherwise registers with every channel from which one may come.
    pub(crate) fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for (number, arriving) in self.channels.iter().enumerate() {
            if self.aligner.is_blocked(number) {
                continue;
            }
            // A sender that is gone before its end of input has failed; the coordinator stops this subtask.
            let has_items = |inputs: &mut I, cx: &mut Context<'_>| inputs.channel_mut(number).poll_items(cx) == Poll::Ready(true);
            if arriving.parked.is_some() || (!arriving.ended && has_items(&mut self.inputs, cx)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
