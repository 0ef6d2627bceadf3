//! The receiving side of a task: all its channels, taken in turn.

use super::frame::{Frame, InputChannel};
use crate::time::Control;
use crate::watermark::WatermarkValve;
use std::collections::VecDeque;
use std::task::{Context, Poll};

/// The channels of one subtask, over all its input edges, and their merged watermark.
pub(crate) struct InputGate<T> {
    channels: Vec<InputChannel<T>>,
    ended: Vec<bool>,
    valve: WatermarkValve,
    next: usize,
    /// Merged in-band elements that the chain has not taken yet: at most two for each frame element.
    pub(crate) merged: VecDeque<Control>,
}

impl<T: Send> InputGate<T> {
    pub(crate) fn new(channels: Vec<InputChannel<T>>) -> Self {
        assert!(!channels.is_empty(), "a task that is fed by an exchange has at least one channel");
        Self { ended: vec![false; channels.len()], valve: WatermarkValve::new(channels.len()), next: 0, merged: VecDeque::new(), channels }
    }

    /// The next frame, from each channel in turn so that none starves the others.
    pub(crate) fn take(&mut self) -> Option<(usize, Frame<T>)> {
        for _ in 0..self.channels.len() {
            let channel = self.next;
            self.next = if channel + 1 == self.channels.len() { 0 } else { channel + 1 };
            if let Some(frame) = self.channels[channel].data.try_pop() {
                return Some((channel, frame));
            }
        }
        None
    }

    /// Returns a worked-off frame to its sender, to be filled again.
    pub(crate) fn give_back(&mut self, channel: usize, mut frame: Frame<T>) {
        frame.clear();
        // A sender that has ended has no use for it.
        drop(self.channels[channel].returned.try_push(frame));
    }

    /// Takes the in-band element `control` of `channel` into account; what comes of it waits in `merged`.
    pub(crate) fn step(&mut self, channel: usize, control: Control) {
        self.ended[channel] |= control == Control::EndOfInput;
        self.merged.extend(self.valve.step(channel, control).into_iter().flatten());
    }

    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether every channel has delivered its end of input.
    pub(crate) fn is_ended(&self) -> bool {
        self.valve.is_ended()
    }

    /// Frames waiting in the channels.
    pub(crate) fn queued(&self) -> usize {
        self.channels.iter().map(|channel| channel.data.len()).sum()
    }

    /// Ready if a frame is there; registers with every channel that has not ended otherwise.
    pub(crate) fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for (channel, ended) in self.channels.iter_mut().zip(&self.ended) {
            // A sender that is gone before its end has failed; who stops this subtask is the coordinator.
            if !ended && matches!(channel.data.poll_items(cx), Poll::Ready(true)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
