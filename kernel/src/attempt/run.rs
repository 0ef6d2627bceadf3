//! One attempt of a job, from the moment its subtasks are on their cores until the last of them is gone.
//!
//! Carries out the decisions of the coordinators: passes on splits and triggers, gathers acknowledgements, stores checkpoints and has sinks commit. Storing
//! and committing run in the background, beside each other; both come to their end before the attempt does.

mod committing;
mod event;
mod word;

use crate::attempt::checkpoint_coordinator::{self as checkpoints, Cadence, CheckpointCoordinator, Completion, GivenUp};
use crate::attempt::collecting::{About, Collecting, written_bytes};
use crate::attempt::coordinator::{self, Coordinator};
use crate::attempt::deployment::AttemptPlan;
use crate::attempt::folder::{CheckpointFolder, Complete, Persisted, Storage};
use crate::attempt::room::RoomWaits;
use crate::attempt::roster::Roster;
use crate::attempt::sinks::SinkUndone;
use crate::attempt::splits::SplitsOfSource;
use crate::attempt::stored_files::StoredFiles;
use crate::attempt::telling::Telling;
use crate::attempt::transactions::{PreparedTransaction, TransactionLedger};
use crate::checkpoint::{CheckpointId, PreparedEpoch};
use crate::error::JobError;
use crate::graph::Job;
use crate::graph_ids::{OperatorId, SubtaskId, WorkerId};
use crate::job::history::CheckpointFailure;
use crate::job::journal::Journal;
use crate::messages::{Acknowledgement, FromSubtask, ToCoordinator, ToSubtask};
use crate::worker::shared::CoreShared;
use std::time::Duration;
use thalweg_io::{Io, LocalBoxFuture, MailboxReceiver, MonotonicNs};
use thalweg_storage::checkpoint::SplitEntry;

/// A stop that takes longer says what it waits for, and again after each such time.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// The parts that an attempt is run with.
pub(crate) struct AttemptParts<'a> {
    pub(crate) job: &'a Job,
    pub(crate) io: &'a Io,
    pub(crate) shared: &'a CoreShared,
    pub(crate) plan: AttemptPlan,
    pub(crate) roster: Roster<'a>,
    pub(crate) journal: &'a Journal,
    pub(crate) telling: Telling<'a>,
    /// How many workers the job should run on, if there are that many.
    pub(crate) workers_wanted: usize,
    pub(crate) splits: Vec<SplitsOfSource>,
    pub(crate) storage: Option<Storage>,
    /// The user wanted the input to end where it is, before this attempt began.
    pub(crate) drains: bool,
    /// The user wanted the job to stop with a checkpoint, while an attempt ended for another reason.
    pub(crate) stops: bool,
}

/// How an attempt went.
pub(crate) struct AttemptEnd {
    pub(crate) result: Result<Completion, JobError>,
    /// Number of checkpoints it completed.
    pub(crate) completed: u64,
    /// Whether some of its sinks were told to commit, and not all have confirmed: prepared transactions must stay.
    pub(crate) commit_is_open: bool,
    /// Whether the user wanted the job to end.
    pub(crate) is_cancelled: bool,
    /// Whether the user wanted the job to stop with a checkpoint.
    pub(crate) stops: bool,
    /// Whether the user wanted the input to end: it also ends in an attempt that follows.
    pub(crate) drains: bool,
    /// Whether another attempt has taken over.
    pub(crate) is_fenced: bool,
    pub(crate) storage: Option<Storage>,
}

/// An event that wakes the coordinator.
enum Event {
    Message(Option<ToCoordinator>),
    Persisted(Box<Persisted>),
    /// Files of earlier checkpoints are removed.
    Cleaned,
    Committed(CheckpointId, Result<(), SinkUndone>),
    Tick,
}

/// A running attempt.
pub(crate) struct AttemptRun<'a> {
    parts: AttemptParts<'a>,
    folder: CheckpointFolder,
    coordinator: Coordinator,
    checkpoints: CheckpointCoordinator,
    ledger: TransactionLedger,
    collecting: Option<Collecting>,
    stored: StoredFiles,
    finished: Vec<bool>,
    committing: Option<LocalBoxFuture<(CheckpointId, Result<(), SinkUndone>)>>,
    /// The checkpoint that is to be committed again, and when, because there was no room.
    commit_again: Option<(MonotonicNs, CheckpointId)>,
    /// The writers that wait for room.
    room: RoomWaits,
    timer: Option<(MonotonicNs, LocalBoxFuture<()>)>,
    /// When a stop that is under way next says what it waits for.
    stop_word_at: Option<MonotonicNs>,
    completed: u64,
    commit_is_open: bool,
    is_cancelled: bool,
    is_fenced: bool,
    /// The subtask that has failed, if it reported that itself.
    failed_by: Option<SubtaskId>,
    /// All subtasks have been told that the attempt is over: no checkpoint begins or is committed any more.
    closing: bool,
    end: Option<Result<Completion, JobError>>,
}

impl<'a> AttemptRun<'a> {
    pub(crate) fn new(mut parts: AttemptParts<'a>) -> Self {
        let folder = CheckpointFolder::new(parts.storage.take());
        let cadence = match folder.storage() {
            Some(Storage { config, .. }) => Cadence {
                interval: config.interval,
                timeout: config.timeout,
                min_pause: config.min_pause,
                tolerable_failures: config.tolerable_failures,
            },
            None => Cadence { interval: None, timeout: Duration::MAX, min_pause: Duration::ZERO, tolerable_failures: 0 },
        };
        let is_source = parts.roster.infos().iter().map(|info| info.source.is_some()).collect();
        let (now, subtasks) = (parts.io.clock().now(), parts.roster.infos().len());
        Self {
            coordinator: Coordinator::new(subtasks, parts.splits.iter().map(|of| (of.source, of.numbers()))),
            checkpoints: CheckpointCoordinator::new(cadence, is_source, parts.plan.epoch, now),
            ledger: TransactionLedger::default(),
            collecting: None,
            stored: StoredFiles::new(subtasks),
            finished: vec![false; subtasks],
            committing: None,
            commit_again: None,
            room: RoomWaits::default(),
            timer: None,
            stop_word_at: None,
            completed: 0,
            commit_is_open: false,
            is_cancelled: false,
            is_fenced: false,
            failed_by: None,
            closing: false,
            end: None,
            folder,
            parts,
        }
    }

    /// Runs until the last subtask is gone and nothing is under way.
    pub(crate) async fn run(mut self, inbox: &mut MailboxReceiver<ToCoordinator>) -> AttemptEnd {
        if self.parts.drains {
            self.take_message(ToCoordinator::Drain);
        }
        if self.parts.stops {
            self.take_message(ToCoordinator::Stop);
        }
        if self.parts.telling.callers().want_checkpoint() {
            self.requested();
        }
        while self.end.is_none() || self.folder.is_busy() || self.committing.is_some() {
            match self.next_event(inbox).await {
                Event::Message(Some(message)) => self.take_message(message),
                // The handle holds a sender, so only a core that is being torn down gets here.
                Event::Message(None) => break,
                Event::Persisted(persisted) => self.persisted(*persisted),
                Event::Cleaned => self.folder.discard(self.parts.io, &mut self.stored),
                Event::Committed(checkpoint, result) => self.committed(checkpoint, result),
                Event::Tick => {
                    self.say_what_a_stop_waits_for();
                    self.commit_again_when_due();
                    self.tell_of_room();
                    self.decide(checkpoints::CheckpointInput::Tick);
                }
            }
        }
        self.parts.telling.attempt_ended();
        self.nobody_waits_for_room();
        let torn_down = || Err(JobError::Internal { place: "core 0".to_owned(), message: "it was torn down".to_owned() });
        AttemptEnd {
            result: self.end.unwrap_or_else(torn_down),
            completed: self.completed,
            commit_is_open: self.commit_is_open,
            is_cancelled: self.is_cancelled,
            stops: self.parts.stops,
            drains: self.parts.drains,
            is_fenced: self.is_fenced,
            storage: self.folder.into_storage(),
        }
    }

    fn take_message(&mut self, message: ToCoordinator) {
        // Also when the attempt is closing after a failure.
        self.is_cancelled |= matches!(message, ToCoordinator::Cancel);
        self.parts.stops |= matches!(message, ToCoordinator::Stop);
        self.parts.drains |= matches!(message, ToCoordinator::Drain);
        match message {
            ToCoordinator::FromSubtask { attempt, message } if attempt == self.parts.plan.attempt => self.take_from_subtask(message),
            // Law 10: messages of an older attempt change nothing.
            ToCoordinator::FromSubtask { .. } => {}
            ToCoordinator::Joined(member) => self.parts.roster.join(member),
            ToCoordinator::Lost { worker, reason } => self.lost(worker, reason),
            ToCoordinator::Metrics { attempt, metrics } if attempt == self.parts.plan.attempt => self.parts.shared.publish(metrics),
            ToCoordinator::Metrics { .. } => {}
            ToCoordinator::Impossible(error) => self.steer(coordinator::AttemptInput::Failed(error)),
            ToCoordinator::Cancel => self.steer(coordinator::AttemptInput::Failed(JobError::Cancelled)),
            ToCoordinator::Drain => {
                self.decide(checkpoints::CheckpointInput::Drain);
                self.steer(coordinator::AttemptInput::Drain);
            }
            ToCoordinator::Stop if self.folder.exists() => {
                self.stop_word_at.get_or_insert(self.parts.io.clock().now().after(STOP_PATIENCE));
                self.decide(checkpoints::CheckpointInput::Stop);
            }
            ToCoordinator::Stop => self.steer(coordinator::AttemptInput::Failed(JobError::Cancelled)),
            ToCoordinator::Checkpoint(caller) => {
                self.parts.telling.callers().ask(caller);
                self.requested();
            }
            ToCoordinator::Watch(caller) => self.parts.telling.callers().watch(caller),
        }
    }

    fn take_from_subtask(&mut self, message: FromSubtask) {
        match message {
            FromSubtask::SplitRequested { source, subtask } => self.steer(coordinator::AttemptInput::SplitRequested { source, subtask }),
            FromSubtask::Acknowledged { subtask, acknowledgement } => self.acknowledged(subtask, acknowledgement),
            FromSubtask::Declined { subtask, checkpoint, is_outpaced, keeps_files, prepared } => {
                self.note_prepared(prepared);
                if !keeps_files {
                    self.stored.acknowledged(subtask, &[]);
                }
                self.decide(checkpoints::CheckpointInput::Declined { checkpoint, is_outpaced });
            }
            FromSubtask::WaitsForRoom { subtask, reason } => {
                let is_missing = reason.is_some();
                self.room.writer(subtask, reason);
                self.tell_of_room();
                self.decide(checkpoints::CheckpointInput::Room { subtask, is_missing });
            }
            FromSubtask::Finished { subtask, prepared } => {
                self.note_prepared(prepared);
                self.finished[subtask] = true;
                self.decide(checkpoints::CheckpointInput::Finished { subtask });
            }
            FromSubtask::Failed { subtask, error } => {
                self.failed_by = subtask;
                self.steer(coordinator::AttemptInput::Failed(error));
            }
            FromSubtask::Ended { subtask, metrics } => {
                self.parts.shared.publish(metrics);
                self.steer(coordinator::AttemptInput::Ended { subtask });
            }
        }
    }

    /// A worker is gone, and with it its subtasks (docs/src/semantics.md#r-2).
    fn lost(&mut self, worker: WorkerId, reason: String) {
        let Some((member, subtasks)) = self.parts.roster.lose(worker) else { return };
        self.parts.io.observe("worker.lost", &member.name, [worker.0 as i64, self.parts.plan.attempt.0 as i64, 0]);
        self.steer(coordinator::AttemptInput::Lost { subtasks, error: JobError::WorkerLost { worker: member.name, reason } });
    }

    fn note_prepared(&mut self, prepared: Option<PreparedEpoch>) {
        if let Some(PreparedEpoch { checkpoint, sink, transaction: Some(bytes) }) = prepared {
            self.ledger.prepared(PreparedTransaction { sink, epoch: checkpoint, bytes });
        }
    }

    fn acknowledged(&mut self, subtask: SubtaskId, acknowledgement: Acknowledgement) {
        let Acknowledgement { checkpoint, state, splits, prepared, times } = acknowledgement;
        // Also if the checkpoint was given up: the next one names the transaction (docs/src/semantics.md#o-2).
        self.note_prepared(prepared);
        self.stored.acknowledged(subtask, &state);
        let is_collecting = self.checkpoints.is_collecting(checkpoint);
        if let Some(collecting) = self.collecting.as_mut().filter(|collecting| is_collecting && collecting.checkpoint == checkpoint) {
            self.parts.telling.acknowledged(&self.parts.roster.infos()[subtask], written_bytes(&state), times);
            collecting.snapshots.push((subtask, state));
            if !splits.is_empty() {
                let source = self.parts.roster.infos()[subtask].source.expect("invariant: only the subtasks of a source have splits");
                let positions = splits.into_iter().map(|(number, split)| SplitEntry { number, position: split.to_vec() });
                collecting.splits.push((source, positions.collect()));
            }
        }
        self.decide(checkpoints::CheckpointInput::Acknowledged { subtask, checkpoint });
    }

    /// Asks the attempt's coordinator and takes the actions it returns.
    fn steer(&mut self, input: coordinator::AttemptInput) {
        self.tell_failure(&input);
        for action in self.coordinator.step(input) {
            match action {
                coordinator::Action::Assign { source, subtask, number } => {
                    let splits = self.parts.splits.iter_mut().find(|of| of.source == source);
                    let split = splits.and_then(|of| of.splits.remove(&number)).expect("invariant: a split is given out once");
                    tracing::debug!(number, subtask, "split assigned");
                    self.parts.roster.tell(subtask, ToSubtask::Split { number, split });
                }
                coordinator::Action::NoMoreSplits { subtask } => self.parts.roster.tell(subtask, ToSubtask::NoMoreSplits),
                coordinator::Action::DrainAll => self.parts.roster.tell_all(|| ToSubtask::Drain),
                coordinator::Action::CloseAll => {
                    self.parts.io.observe("attempt.close", &self.parts.job.name, [self.parts.plan.attempt.0 as i64, 0, 0]);
                    self.closing = true;
                    if self.collecting.take().is_some() {
                        self.parts.telling.attempt_ended();
                    }
                    self.stored.close();
                    self.folder.discard(self.parts.io, &mut self.stored);
                    self.parts.roster.tell_all(|| ToSubtask::Close);
                }
                coordinator::Action::End(result) => self.end = Some(result),
            }
        }
    }

    /// Asks the checkpoint coordinator and takes the actions it returns.
    fn decide(&mut self, input: checkpoints::CheckpointInput) {
        if self.closing {
            return;
        }
        let now = self.parts.io.clock().now();
        for action in self.checkpoints.step(now, input) {
            match action {
                checkpoints::Action::Trigger { checkpoint, stops } => self.trigger(checkpoint, stops, now),
                checkpoints::Action::Persist { checkpoint, is_last } => self.persist(checkpoint, is_last, now),
                checkpoints::Action::GiveUp { checkpoint, reason } => {
                    let why = match reason {
                        GivenUp::Expired => CheckpointFailure::Expired,
                        GivenUp::NoRoom => CheckpointFailure::NoRoom,
                        GivenUp::Outpaced => CheckpointFailure::Outpaced,
                    };
                    self.parts.telling.failed(checkpoint, why);
                    tracing::warn!(%checkpoint, "checkpoint given up: {why}");
                    self.observe("checkpoint.give-up", checkpoint, 0);
                    self.parts.shared.numbers(|numbers| numbers.count("numberOfFailedCheckpoints", 1));
                    self.collecting = None;
                    self.folder.discard(self.parts.io, &mut self.stored);
                }
                checkpoints::Action::Commit { checkpoint } => self.commit(checkpoint),
                checkpoints::Action::Complete(completion) => self.steer(coordinator::AttemptInput::Completed(completion)),
                checkpoints::Action::Fail { failures } => {
                    let timeout = self.checkpoints.timeout();
                    self.steer(coordinator::AttemptInput::Failed(JobError::CheckpointsExpired { failures, timeout }));
                }
            }
        }
    }

    /// Triggers are sent by the way on which splits are assigned, and the positions of the enumerators are taken at that very moment: a split is either
    /// with the enumerator or with a reader that knows of it before the barrier (docs/src/semantics.md#s-5).
    fn trigger(&mut self, checkpoint: CheckpointId, stops: bool, now: MonotonicNs) {
        self.observe("checkpoint.trigger", checkpoint, 0);
        tracing::debug!(%checkpoint, stops, "checkpoint triggered");
        self.parts.telling.began(checkpoint, stops);
        self.collecting = Some(Collecting { checkpoint, since: now, snapshots: Vec::new(), splits: self.unassigned() });
        self.parts.roster.tell_sources(|| ToSubtask::Trigger { checkpoint, stops });
    }

    /// The splits of each source that are not assigned.
    fn unassigned(&self) -> Vec<(OperatorId, Vec<SplitEntry>)> {
        self.parts.splits.iter().map(|of| (of.source, of.entries())).collect()
    }

    fn persist(&mut self, checkpoint: CheckpointId, is_last: bool, now: MonotonicNs) {
        self.observe("checkpoint.collected", checkpoint, i64::from(is_last));
        let collected = self.collecting.take();
        if collected.is_none() && self.folder.exists() {
            self.parts.telling.began(checkpoint, is_last);
        }
        let collecting =
            collected.unwrap_or_else(|| Collecting { checkpoint, since: now, snapshots: Vec::new(), splits: self.unassigned() });
        assert_eq!(collecting.checkpoint, checkpoint, "the checkpoint that is complete is the one that was collected");
        let metadata = collecting.metadata(About {
            job: self.parts.job,
            plan: &self.parts.plan,
            infos: self.parts.roster.infos(),
            finished: &self.finished,
            transactions: self.ledger.named_by(checkpoint),
            is_last,
            collected_at: self.parts.io.clock().wall(),
            duration: Duration::from_nanos(now.0.saturating_sub(collecting.since.0)),
        });
        let (since, size) = (collecting.since, collecting.size());
        let snapshots = collecting.into_snapshots(self.parts.roster.infos());
        if !self.folder.complete(Complete { metadata, snapshots, since, size }, self.parts.io) {
            // Without a folder the last checkpoint is the only one, and the transactions that the sinks have prepared make it durable.
            self.decide(checkpoints::CheckpointInput::Persisted { checkpoint });
        }
    }

    fn persisted(&mut self, persisted: Persisted) {
        let Persisted { checkpoint, since, size, commit, result } = persisted;
        match result {
            Ok(_) => {
                self.completed += 1;
                self.stored.completed();
                let duration = self.parts.io.clock().now().since(since);
                self.parts.shared.numbers(|numbers| {
                    numbers.count("numberOfCompletedCheckpoints", 1);
                    numbers.show("lastCheckpointDuration", i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
                    numbers.show("lastCheckpointSize", i64::try_from(size.written).unwrap_or(i64::MAX));
                    numbers.show("lastCheckpointFullSize", i64::try_from(size.full).unwrap_or(i64::MAX));
                    numbers.record("checkpointCommitDuration", commit);
                });
                self.parts.telling.completed(checkpoint, size.written);
                self.observe("checkpoint.complete", checkpoint, 0);
                tracing::debug!(%checkpoint, "checkpoint complete");
                self.decide(checkpoints::CheckpointInput::Persisted { checkpoint });
            }
            Err(error) if error.is_storage_full() => {
                tracing::warn!(%checkpoint, %error, "no room for the checkpoint");
                self.decide(checkpoints::CheckpointInput::PersistDeclined { checkpoint });
            }
            Err(source) => {
                self.stored.keep_all();
                // If another attempt has taken over, that outweighs every other reason.
                self.is_fenced |= source.is_fenced();
                self.fail(JobError::of_the_coordinator(source));
            }
        }
    }

    /// A restart right after a checkpoint loses little: this is the time to bring in workers that are missing here and have joined since
    /// (docs/src/semantics.md#r-3).
    fn enlarge(&mut self) {
        let is_ending = self.closing || self.is_cancelled || self.checkpoints.is_ending();
        if self.parts.roster.could_grow(self.parts.workers_wanted) && !is_ending {
            self.steer(coordinator::AttemptInput::Failed(JobError::Rescaled));
        }
    }

    /// Ends the attempt; logs `error` if it is ending for another reason anyway.
    fn fail(&mut self, error: JobError) {
        if self.closing {
            tracing::warn!(%error, "failed while the attempt was closing");
        }
        self.steer(coordinator::AttemptInput::Failed(error));
    }

    fn observe(&self, what: &'static str, checkpoint: CheckpointId, detail: i64) {
        self.parts.io.observe(what, &self.parts.job.name, [checkpoint.0 as i64, detail, 0]);
    }
}
