//! When a checkpoint begins, when it is complete, and what is done then.
//!
//! One checkpoint is under way at a time. It is *collecting* from its trigger until every subtask has acknowledged it or has finished; then it is
//! *persisting*, and the moment that succeeds is the commit point: only then are sinks told to commit (docs/src/semantics.md#c-3). Messages for a
//! checkpoint that was given up change nothing. When all subtasks have finished a last checkpoint is made, also without an interval
//! (docs/src/semantics.md#e-3).
//!
//! Pure: `step(now, input) -> actions`. Snapshots, transactions and splits are carried by the driver in `attempt.rs`; this file knows only numbers.

use crate::checkpoint::CheckpointId;
use crate::graph_ids::SubtaskId;
use std::time::Duration;
use thalweg_io::MonotonicNs;

/// Delay before a last checkpoint that found no room on the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The part of the configuration that concerns time and failures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cadence {
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) min_pause: Duration,
    pub(crate) tolerable_failures: u32,
}

/// An event that the coordinator reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointInput {
    /// Time has passed.
    Tick,
    /// The subtask's part of the checkpoint is durable.
    Acknowledged { subtask: SubtaskId, checkpoint: CheckpointId },
    /// There was no room for a part of the checkpoint, or its state has changed too fast while it was saved.
    Declined { checkpoint: CheckpointId, is_outpaced: bool },
    /// The sink of the subtask waits for room on a disk, or goes on.
    Room { subtask: SubtaskId, is_missing: bool },
    /// The subtask has come to the end of its input, and its results are prepared.
    Finished { subtask: SubtaskId },
    /// The checkpoint is durable.
    Persisted { checkpoint: CheckpointId },
    /// There was no room for the checkpoint's metadata: it is not durable, and will not be.
    PersistDeclined { checkpoint: CheckpointId },
    /// All transactions that the checkpoint names are committed.
    Committed { checkpoint: CheckpointId },
    /// The job is to end with a checkpoint from which it can resume.
    Stop,
    /// A caller wants a checkpoint that begins from now on.
    Request,
    /// The sources end where they are. A checkpoint that began now would hold no position for records that are not going to be read.
    Drain,
}

/// Why a checkpoint was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    Expired,
    NoRoom,
    /// State has changed too fast while it was saved.
    Outpaced,
}

/// How the work of an attempt was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The input has ended and all results are committed.
    Finished { checkpoint: CheckpointId },
    /// The job was stopped with this checkpoint, whose results are committed.
    Stopped { checkpoint: CheckpointId },
}

/// An instruction for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell the sources to send the barrier, and, if the job is to stop with it, nothing more.
    Trigger { checkpoint: CheckpointId, stops: bool },
    /// Make the checkpoint durable: all its parts are there.
    Persist { checkpoint: CheckpointId, is_last: bool },
    /// Forget the checkpoint, and remove the files that no later one will name.
    GiveUp { checkpoint: CheckpointId, reason: GivenUp },
    /// Have the sinks commit the transactions that the checkpoint names.
    Commit { checkpoint: CheckpointId },
    /// The work of the attempt is complete.
    Complete(Completion),
    /// This many checkpoints have failed one after the other, which is too many.
    Fail { failures: u32 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Collecting,
    Persisting { is_last: bool },
}

struct Pending {
    checkpoint: CheckpointId,
    since: MonotonicNs,
    acknowledged: Vec<bool>,
    stage: Stage,
    /// It was triggered in order to stop the job.
    stops: bool,
    /// A sink has waited for room since it began.
    had_no_room: bool,
}

/// Decides about the checkpoints of one attempt.
pub(crate) struct CheckpointCoordinator {
    cadence: Cadence,
    is_source: Vec<bool>,
    finished: Vec<bool>,
    /// By subtask: whether its sink waits for room.
    without_room: Vec<bool>,
    next: CheckpointId,
    pending: Option<Pending>,
    /// When the next checkpoint may be triggered, if ever.
    next_trigger: Option<MonotonicNs>,
    /// When the last checkpoint is tried again, after it found no room.
    last_retry: Option<MonotonicNs>,
    failures: u32,
    stopping: bool,
    /// A caller has asked for the next checkpoint: it does not wait for its time.
    requested: bool,
    draining: bool,
    /// The newest checkpoint that is durable and not known to be committed; and whether the sinks are committing it or an older one.
    to_commit: Option<CheckpointId>,
    committing: Option<CheckpointId>,
    /// The checkpoint that ends the attempt, once it is durable.
    completion: Option<Completion>,
    ended: bool,
}

impl CheckpointCoordinator {
    /// For an attempt that begins at `now`, whose first checkpoint is `next`; `is_source` has an entry per subtask.
    pub(crate) fn new(cadence: Cadence, is_source: Vec<bool>, next: CheckpointId, now: MonotonicNs) -> Self {
        assert!(is_source.contains(&true), "a job has a source");
        Self {
            cadence,
            finished: vec![false; is_source.len()],
            without_room: vec![false; is_source.len()],
            is_source,
            next,
            pending: None,
            next_trigger: cadence.interval.map(|interval| now.after(interval)),
            last_retry: None,
            failures: 0,
            stopping: false,
            requested: false,
            draining: false,
            to_commit: None,
            committing: None,
            completion: None,
            ended: false,
        }
    }

    /// Time after which a checkpoint is given up.
    pub(crate) fn timeout(&self) -> Duration {
        self.cadence.timeout
    }

    /// When a tick may have consequences.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicNs> {
        match &self.pending {
            Some(Pending { stage: Stage::Collecting, since, .. }) => Some(since.after(self.cadence.timeout)),
            Some(_) => None,
            None if self.completion.is_some() || self.ended => None,
            None if self.all_finished() => self.last_retry,
            // Without a source a due trigger stays due: waiting for it would be spinning.
            None => self.next_trigger.filter(|_| self.sources_remain()),
        }
    }

    /// Whether the attempt ends with the checkpoint that is under way or the next.
    pub(crate) fn is_ending(&self) -> bool {
        self.stopping || self.draining || self.completion.is_some() || self.ended || self.all_finished()
    }

    /// Whether snapshots for `checkpoint` are being collected.
    pub(crate) fn is_collecting(&self, checkpoint: CheckpointId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.checkpoint == checkpoint && pending.stage == Stage::Collecting)
    }

    /// Whether the only checkpoint that can still begin is the last one.
    pub(crate) fn only_the_end_is_left(&self) -> bool {
        !self.sources_remain()
    }

    /// The checkpoint under way and the subtasks that have not acknowledged it; no subtasks while it is made durable.
    pub(crate) fn awaited(&self) -> Option<(CheckpointId, Vec<SubtaskId>)> {
        let pending = self.pending.as_ref()?;
        let missing = |subtask: &SubtaskId| !pending.acknowledged[*subtask] && !self.finished[*subtask];
        Some((pending.checkpoint, (0..self.finished.len()).filter(missing).collect()))
    }

    /// Takes `input` into account and returns the actions to take, in order.
    pub(crate) fn step(&mut self, now: MonotonicNs, input: CheckpointInput) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            CheckpointInput::Tick => {}
            CheckpointInput::Acknowledged { subtask, checkpoint } => {
                if let Some(pending) = self.pending.as_mut().filter(|pending| pending.checkpoint == checkpoint) {
                    assert!(!pending.acknowledged[subtask], "subtask {subtask} acknowledged checkpoint {checkpoint} twice");
                    pending.acknowledged[subtask] = true;
                }
            }
            CheckpointInput::Declined { checkpoint, is_outpaced } => {
                if self.is_collecting(checkpoint) {
                    actions.extend(self.give_up(now, if is_outpaced { GivenUp::Outpaced } else { GivenUp::NoRoom }));
                }
            }
            CheckpointInput::Room { subtask, is_missing } => {
                self.without_room[subtask] = is_missing;
                if let Some(pending) = &mut self.pending {
                    pending.had_no_room |= is_missing;
                }
            }
            CheckpointInput::Finished { subtask } => {
                assert!(!self.finished[subtask], "subtask {subtask} finished twice");
                self.finished[subtask] = true;
            }
            CheckpointInput::Persisted { checkpoint } => self.persisted(now, checkpoint),
            CheckpointInput::PersistDeclined { checkpoint } => {
                assert!(self.pending.as_ref().is_some_and(|pending| pending.checkpoint == checkpoint), "{checkpoint} is not under way");
                actions.extend(self.give_up(now, GivenUp::NoRoom));
            }
            CheckpointInput::Committed { checkpoint } => {
                assert_eq!(self.committing, Some(checkpoint), "nobody was told to commit checkpoint {checkpoint}");
                self.committing = None;
            }
            CheckpointInput::Drain => self.draining = true,
            CheckpointInput::Stop => {
                self.stopping = true;
                if self.pending.is_none() {
                    self.next_trigger = Some(now);
                }
            }
            CheckpointInput::Request => {
                self.requested = true;
                if self.pending.is_none() {
                    self.next_trigger = Some(now);
                }
            }
        }
        self.advance(now, &mut actions);
        actions
    }

    /// Takes every action that has become possible.
    fn advance(&mut self, now: MonotonicNs, actions: &mut Vec<Action>) {
        if let Some(pending) = &self.pending
            && pending.stage == Stage::Collecting
        {
            if pending.acknowledged.iter().zip(&self.finished).all(|(acknowledged, finished)| *acknowledged || *finished) {
                self.persist(actions, false);
            } else if now >= pending.since.after(self.cadence.timeout) {
                // A barrier does not pass a sink that waits.
                let reason = if pending.had_no_room { GivenUp::NoRoom } else { GivenUp::Expired };
                actions.extend(self.give_up(now, reason));
            }
        }
        if self.pending.is_none() && self.completion.is_none() && !self.ended {
            if self.all_finished() {
                if self.last_retry.is_none_or(|at| now >= at) {
                    self.begin(now);
                    self.persist(actions, true);
                }
            } else if self.next_trigger.is_some_and(|at| now >= at) && self.sources_remain() {
                let checkpoint = self.begin(now);
                actions.push(Action::Trigger { checkpoint, stops: self.stopping });
            }
        }
        if self.committing.is_none()
            && let Some(checkpoint) = self.to_commit.take()
        {
            self.committing = Some(checkpoint);
            actions.push(Action::Commit { checkpoint });
        }
        if self.committing.is_none()
            && let Some(completion) = self.completion.take()
        {
            self.ended = true;
            actions.push(Action::Complete(completion));
        }
    }

    fn all_finished(&self) -> bool {
        self.finished.iter().all(|finished| *finished)
    }

    /// Whether a source is left: only sources can send a barrier.
    fn sources_remain(&self) -> bool {
        !self.draining && self.is_source.iter().zip(&self.finished).any(|(is_source, finished)| *is_source && !*finished)
    }

    fn begin(&mut self, now: MonotonicNs) -> CheckpointId {
        let checkpoint = self.next;
        self.next = checkpoint.next();
        self.requested = false;
        let acknowledged = vec![false; self.finished.len()];
        let had_no_room = self.without_room.contains(&true);
        self.pending = Some(Pending { checkpoint, since: now, acknowledged, stage: Stage::Collecting, stops: self.stopping, had_no_room });
        self.next_trigger = self.cadence.interval.map(|interval| now.after(interval));
        checkpoint
    }

    fn persist(&mut self, actions: &mut Vec<Action>, is_last: bool) {
        let pending = self.pending.as_mut().expect("invariant: a checkpoint is persisted while it is under way");
        pending.stage = Stage::Persisting { is_last };
        actions.push(Action::Persist { checkpoint: pending.checkpoint, is_last });
    }

    fn persisted(&mut self, now: MonotonicNs, checkpoint: CheckpointId) {
        let pending = self.pending.take().expect("invariant: what is persisted was under way");
        assert_eq!(pending.checkpoint, checkpoint, "another checkpoint was being persisted");
        self.failures = 0;
        self.to_commit = Some(checkpoint);
        match pending.stage {
            Stage::Collecting => panic!("checkpoint {checkpoint} is durable before it was complete"),
            Stage::Persisting { is_last: true } => self.completion = Some(Completion::Finished { checkpoint }),
            Stage::Persisting { is_last: false } if pending.stops => self.completion = Some(Completion::Stopped { checkpoint }),
            Stage::Persisting { is_last: false } => {
                let earliest = now.after(self.cadence.min_pause);
                let wanted = if self.stopping { Some(now) } else { self.next_trigger };
                self.next_trigger = if self.requested { Some(now) } else { wanted.map(|at| at.max(earliest)) };
            }
        }
    }

    fn give_up(&mut self, now: MonotonicNs, reason: GivenUp) -> Vec<Action> {
        let pending = self.pending.take().expect("invariant: a checkpoint is given up while it is under way");
        let mut actions = vec![Action::GiveUp { checkpoint: pending.checkpoint, reason }];
        let wanted = if self.stopping { Some(now.after(RETRY)) } else { self.next_trigger };
        let paused = wanted.map(|at| at.max(now.after(self.cadence.min_pause)));
        self.next_trigger = if self.requested { Some(now) } else { paused };
        self.last_retry = Some(now.after(RETRY)).filter(|_| self.all_finished());
        // A full disk is waited for, and state that changes too fast gets more memory for the next one. Without a source to send the barrier nothing is at fault.
        let counts = reason == GivenUp::Expired && self.sources_remain();
        self.failures += u32::from(counts);
        if counts && self.failures > self.cadence.tolerable_failures {
            actions.push(Action::Fail { failures: self.failures });
        }
        actions
    }
}

#[cfg(test)]
mod tests;
