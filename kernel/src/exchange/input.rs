//! The receiving side of a task: all its channels, taken in turn, with their merged watermark and their aligned barriers.

use super::alignment::BarrierAligner;
use super::debloating::{is_news, window_of_channel};
use super::frame::{Batch, InputChannel};
use super::watch::ChannelNumber;
use crate::checkpoint::CheckpointId;
use crate::time::{Control, Watermark};
use crate::watermark::WatermarkValve;
use std::collections::VecDeque;
use std::task::{Context, Poll};

/// A frame in work: `done` of its records and `controls_done` of its in-band elements have been taken.
pub(crate) struct Work<T> {
    pub(crate) channel: usize,
    pub(crate) batch: Batch<T>,
    pub(crate) done: usize,
    pub(crate) controls_done: usize,
}

struct Input<T> {
    channel: InputChannel<T>,
    ended: bool,
    /// Records of frames that were worked off.
    received: u64,
    /// Something has come since the windows were told last.
    is_active: bool,
    /// The window that its sender was told last.
    told: u32,
    /// What lay behind a barrier that other channels have yet to deliver.
    parked: Option<Work<T>>,
}

/// The channels of one subtask, over all its input edges.
pub(crate) struct InputGate<T> {
    inputs: Vec<Input<T>>,
    valve: WatermarkValve,
    aligner: BarrierAligner,
    next: usize,
    /// Merged in-band elements that the chain has not taken yet: at most three for each frame element.
    pub(crate) merged: VecDeque<Control>,
}

impl<T: Send> InputGate<T> {
    /// A gate behind which everything has been told the watermark `restored`.
    pub(crate) fn new(channels: Vec<InputChannel<T>>, restored: Watermark) -> Self {
        assert!(!channels.is_empty(), "a task that is fed by an exchange has at least one channel");
        let valve = WatermarkValve::new(channels.len(), restored);
        let aligner = BarrierAligner::new(channels.len());
        let inputs = channels
            .into_iter()
            .map(|channel| Input { channel, ended: false, received: 0, is_active: false, told: 0, parked: None })
            .collect();
        Self { inputs, valve, aligner, next: 0, merged: VecDeque::new() }
    }

    /// The next frame, or the rest of one, from each channel in turn so that none starves the others.
    pub(crate) fn take(&mut self) -> Option<Work<T>> {
        for _ in 0..self.inputs.len() {
            let channel = self.next;
            self.next = if channel + 1 == self.inputs.len() { 0 } else { channel + 1 };
            // docs/src/semantics.md#c-2
            if self.aligner.is_blocked(channel) {
                continue;
            }
            let input = &mut self.inputs[channel];
            let fresh = |batch| Work { channel, batch, done: 0, controls_done: 0 };
            if let Some(work) = input.parked.take().or_else(|| input.channel.data.try_pop().map(fresh)) {
                input.is_active = true;
                return Some(work);
            }
        }
        None
    }

    /// Whether the channel from which `work` was just taken held as many frames as its sender may send. From another process they come in portions: there it
    /// cannot be seen here, and is taken for granted.
    pub(crate) fn was_full(&self, work: &Work<T>) -> bool {
        let Input { channel, told, .. } = &self.inputs[work.channel];
        let frames = channel.data.capacity().min((*told).max(1) as usize);
        matches!(work.batch, Batch::Archived(_)) || channel.data.len() + 1 >= frames
    }

    /// Tells each sender how many records it may have under way: those that have something to say share `window`. The others might all begin at once, so
    /// each has its share of `most`, what may be under way at all. Returns the share of those that have something to say.
    pub(crate) fn tell_windows(&mut self, window: u64, most: u64) -> u32 {
        let speaks = |input: &Input<T>| input.is_active || input.channel.data.len() > 0;
        let open = || self.inputs.iter().filter(|input| !input.ended);
        let all = open().count();
        let of_speaker = window_of_channel(window, open().filter(|input| speaks(input)).count(), all);
        let of_silent = window_of_channel(most, all, all).min(of_speaker);
        for input in self.inputs.iter_mut().filter(|input| !input.ended) {
            let of_channel = if speaks(input) { of_speaker } else { of_silent };
            input.is_active = false;
            if is_news(input.told, of_channel) {
                input.told = of_channel;
                input.channel.data.tell(of_channel);
                // A link between processes waits for frames that come back, and for nothing else.
                input.channel.returned.nudge();
            }
        }
        of_speaker
    }

    /// Lays aside what is left of a frame whose channel is blocked.
    pub(crate) fn park(&mut self, work: Work<T>) {
        let input = &mut self.inputs[work.channel];
        assert!(input.parked.is_none(), "a blocked channel was read");
        input.parked = Some(work);
    }

    /// Returns a worked-off frame to its sender, to be filled again.
    pub(crate) fn give_back(&mut self, work: Work<T>) {
        let Work { channel, mut batch, done, .. } = work;
        if let Batch::Owned(frame) = &mut batch {
            frame.clear();
        }
        let input = &mut self.inputs[channel];
        input.received += done as u64;
        // A sender that has ended has no use for it.
        drop(input.channel.returned.try_push(batch));
    }

    /// Of each channel that has not ended its number, and how many of its records have been taken; `in_work` is the channel whose frame is worked on, and
    /// how many of that frame's have been.
    pub(crate) fn received(&self, in_work: Option<(usize, usize)>) -> impl Iterator<Item = (ChannelNumber, u64)> {
        let open = self.inputs.iter().enumerate().filter(|(_, input)| !input.ended);
        open.map(move |(place, input)| {
            let of_frame = match in_work {
                Some((channel, done)) if channel == place => done,
                _ => input.parked.as_ref().map_or(0, |work| work.done),
            };
            (input.channel.number, input.received + of_frame as u64)
        })
    }

    /// Takes the in-band element `control` of `channel` into account; what comes of it waits in `merged`.
    pub(crate) fn step(&mut self, channel: usize, control: Control) {
        self.inputs[channel].ended |= control == Control::EndOfInput;
        self.merged.extend(self.valve.step(channel, control).into_iter().flatten());
        // What the end of a channel does to the watermark comes before the barrier that it completes.
        let aligned = match control {
            Control::Barrier(checkpoint) => self.aligner.barrier(channel, checkpoint),
            Control::EndOfInput => self.aligner.ended(channel),
            _ => None,
        };
        self.merged.extend(aligned.map(Control::Barrier));
    }

    /// Whether what `channel` has delivered behind a barrier has to wait for other channels.
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
        self.inputs.len()
    }

    /// Whether every channel has delivered its end of input.
    pub(crate) fn is_ended(&self) -> bool {
        self.valve.is_ended()
    }

    /// Frames waiting in each channel, in the order in which the task names its edges.
    pub(crate) fn queue_lengths(&self) -> impl Iterator<Item = usize> {
        self.inputs.iter().map(|input| input.channel.data.len())
    }

    /// Frames waiting in the channels.
    pub(crate) fn queued(&self) -> usize {
        self.queue_lengths().sum()
    }

    /// Ready if a frame is there that may be taken; registers with every channel from which one may come otherwise.
    pub(crate) fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for (channel, input) in self.inputs.iter_mut().enumerate() {
            if self.aligner.is_blocked(channel) {
                continue;
            }
            // A sender that is gone before its end has failed; who stops this subtask is the coordinator.
            if input.parked.is_some() || (!input.ended && matches!(input.channel.data.poll_items(cx), Poll::Ready(true))) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
