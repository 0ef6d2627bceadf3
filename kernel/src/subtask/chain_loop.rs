//! How a task runs its chain, whether a source feeds it or channels do: when it hands over open frames, how it resumes suspended operators, and where a
//! snapshot begins and ends.
//!
//! A frame leaves when it is full; or when nothing is left to do, since its records would only get older; or after a number of batches, so that a channel
//! that gets few records does not wait for ever beside one that gets many; or behind a barrier, for which the other tasks wait.

use crate::chain::{Resumed, Stage};
use crate::checkpoint::{CheckpointId, Snapshots};
use crate::subtask::context::SubtaskContext;
use crate::subtask::driven::Step;
use std::rc::Rc;
use std::task::Context;
use thalweg_io::Io;

/// A fused chain and the state its task keeps about it.
pub(crate) struct ChainLoop<H> {
    pub(crate) head: H,
    flush_after: u32,
    /// Batches since open frames were last handed over.
    batches: u32,
    /// The barrier that is in the chain.
    barrier: Option<CheckpointId>,
    pub(crate) snapshots: Rc<Snapshots>,
    io: Io,
    /// Name of the task, for observers.
    place: String,
}

impl<H: Stage> ChainLoop<H> {
    pub(crate) fn new(cx: &SubtaskContext, head: H) -> Self {
        Self {
            head,
            flush_after: cx.settings().flush_after_frames,
            batches: 0,
            barrier: None,
            snapshots: Rc::clone(&cx.snapshots),
            io: cx.io.clone(),
            place: cx.name.to_string(),
        }
    }

    /// Resumes the suspended operators; returns how the slice ends if they are not done.
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>) -> Option<Step> {
        if self.head.ready() {
            return None;
        }
        let resumed = self.head.resume();
        if resumed != Resumed::Done {
            // A suspended chain gets no further for now: 0 because the slice is over, 1 for want of room, 2 because state is being fetched.
            let reason = match resumed {
                Resumed::Done | Resumed::Again => 0,
                Resumed::Blocked => 1,
                Resumed::AwaitsState => 2,
            };
            self.observe("task.suspended", [reason, 0, 0]);
        }
        match resumed {
            Resumed::Done => None,
            Resumed::Again => {
                // A record that becomes very many must not delay the channels that get few of them.
                self.count_batch();
                self.flush_now_and_then();
                self.head.drive(cx);
                Some(Step::Busy)
            }
            Resumed::Blocked => {
                // Receivers of the other channels should not wait because one channel is full.
                self.head.flush();
                Some(Step::Waiting)
            }
            Resumed::AwaitsState => Some(self.await_state(cx)),
        }
    }

    /// Nothing can be done before state has come, and nobody knows how long that takes: open frames are handed over.
    pub(crate) fn await_state(&mut self, cx: &mut Context<'_>) -> Step {
        self.head.drive(cx);
        self.run_dry()
    }

    /// One more batch has gone down the chain.
    pub(crate) fn count_batch(&mut self) {
        self.batches += 1;
    }

    /// Hands over open frames that have been open for enough batches.
    pub(crate) fn flush_now_and_then(&mut self) {
        if self.batches >= self.flush_after {
            self.batches = 0;
            self.head.flush();
        }
    }

    /// Nothing to do for now: records in open frames would only get older.
    pub(crate) fn run_dry(&mut self) -> Step {
        self.batches = 0;
        self.head.flush();
        Step::Waiting
    }

    /// Nothing follows: `Finished` when no frame is left to hand over.
    pub(crate) fn wind_up(&mut self) -> Step {
        if self.head.flush() { Step::Finished } else { Step::Waiting }
    }

    /// From here on the chain is in the snapshot of `checkpoint`, until its barrier has passed.
    pub(crate) fn begin_snapshot(&mut self, checkpoint: CheckpointId) {
        self.snapshots.begin(checkpoint, self.io.clock().now());
        self.barrier = Some(checkpoint);
    }

    /// A barrier that has passed the whole chain, which is ready again, ends the snapshot.
    pub(crate) fn end_snapshot(&mut self) {
        if let Some(checkpoint) = self.barrier.take() {
            self.snapshots.end(checkpoint, self.io.clock().now());
            // The other tasks wait for the barrier.
            self.head.flush();
        }
    }

    /// Reports to observers.
    pub(crate) fn observe(&self, name: &'static str, values: [i64; 3]) {
        self.io.observe(name, &self.place, values);
    }
}
