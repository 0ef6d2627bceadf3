//! Reports an attempt's checkpoints to the outside: events for the history, and answers to callers who have asked for one.
//!
//! One checkpoint is under way at a time, and the outcome of each that has begun is reported once, whatever becomes of the attempt.

use crate::attempt::placement::SubtaskInfo;
use crate::checkpoint::{Attempt, CheckpointId, SnapshotTimes};
use crate::job::callers::Callers;
use crate::job::history::{CheckpointFailure, JobEvent, SubtaskCheckpoint};
use crate::job::journal::Journal;
use crate::messages::CheckpointOutcome;
use std::time::Duration;
use thalweg_io::{Io, MonotonicNs};

/// Reports on the checkpoints of one attempt.
pub(crate) struct Telling<'a> {
    journal: &'a Journal,
    io: &'a Io,
    callers: &'a mut Callers,
    attempt: Attempt,
    /// The checkpoint that is under way, and when it began.
    under_way: Option<(CheckpointId, MonotonicNs)>,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(journal: &'a Journal, io: &'a Io, callers: &'a mut Callers, attempt: Attempt) -> Self {
        Self { journal, io, callers, attempt, under_way: None }
    }

    /// The callers that wait for the outcome of a command.
    pub(crate) fn callers(&mut self) -> &mut Callers {
        self.callers
    }

    pub(crate) fn began(&mut self, checkpoint: CheckpointId, ends_job: bool) {
        assert!(self.under_way.is_none(), "checkpoint {checkpoint} began while another one was under way");
        self.under_way = Some((checkpoint, self.io.clock().now()));
        self.callers.begun();
        self.journal.tell(JobEvent::CheckpointBegan { attempt: self.attempt, checkpoint, ends_job });
    }

    /// A subtask has acknowledged the checkpoint, and it counts.
    pub(crate) fn acknowledged(&self, of: &SubtaskInfo, bytes: u64, times: SnapshotTimes) {
        let Some((checkpoint, since)) = self.under_way else { return };
        let (acknowledged_at, end_to_end) = (self.io.clock().wall(), self.io.clock().now().since(since));
        let part = SubtaskCheckpoint { acknowledged_at, end_to_end, bytes, times };
        let (task_uid, subtask) = (of.task_uid.clone(), of.subtask);
        self.journal.tell(JobEvent::SubtaskAcknowledged { checkpoint, task_uid, subtask, part });
    }

    pub(crate) fn completed(&mut self, checkpoint: CheckpointId, bytes: u64) {
        let Some(duration) = self.decided(checkpoint) else { return };
        self.journal.tell(JobEvent::CheckpointCompleted { checkpoint, duration });
        self.callers.decided(&CheckpointOutcome::Completed { checkpoint, duration, bytes });
    }

    pub(crate) fn failed(&mut self, checkpoint: CheckpointId, reason: CheckpointFailure) {
        let Some(duration) = self.decided(checkpoint) else { return };
        self.journal.tell(JobEvent::CheckpointFailed { checkpoint, duration, reason });
        self.callers.decided(&CheckpointOutcome::Declined(reason));
    }

    /// The attempt has ended: a checkpoint that is still under way will not complete.
    pub(crate) fn attempt_ended(&mut self) {
        if let Some((checkpoint, _)) = self.under_way {
            self.failed(checkpoint, CheckpointFailure::AttemptEnded);
        }
    }

    /// How long the checkpoint took; `None` if it is not the one under way.
    fn decided(&mut self, checkpoint: CheckpointId) -> Option<Duration> {
        let (_, since) = self.under_way.take_if(|(under_way, _)| *under_way == checkpoint)?;
        Some(self.io.clock().now().since(since))
    }
}
