//! Makes a subtask's snapshots durable, and tells the coordinator.
//!
//! Snapshots are stored one after the other in the background, while the subtask goes on. A checkpoint is acknowledged when the snapshot is durable
//! *and* the sink, if the task ends in one, has prepared the epoch: never before (docs/src/semantics.md#c-3).

use crate::checkpoint::{Attempt, CheckpointId, PreparedEpoch, SnapshotPlace, SnapshotTimes, Snapshots, TakenSnapshot};
use crate::error::JobError;
use crate::graph_ids::SubtaskId;
use crate::messages::{Acknowledgement, FromSubtask, ToCoordinator};
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{Buffer, Io, LocalBoxFuture, Mailbox, MonotonicNs};
use thalweg_record::HashRange;
use thalweg_storage::checkpoint::{CheckpointError, FileRef, Image, StateFile, state_file_name, write_snapshot};

/// A snapshot that waits to be stored, unless a later barrier has come meanwhile.
struct Waiting {
    taken: TakenSnapshot,
    is_over: bool,
    /// When it was taken.
    since: MonotonicNs,
}

struct Storing {
    checkpoint: CheckpointId,
    splits: Vec<(u32, AlignedVec)>,
    times: SnapshotTimes,
    since: MonotonicNs,
    write: LocalBoxFuture<Result<(FileRef, Buffer), CheckpointError>>,
}

struct Stored {
    checkpoint: CheckpointId,
    /// `None` if there was no room for the snapshot, or no use for it any more.
    snapshot: Option<Image>,
    splits: Vec<(u32, AlignedVec)>,
    times: SnapshotTimes,
}

/// Stores and acknowledges the snapshots of one subtask.
pub(crate) struct Acknowledger {
    subtask: SubtaskId,
    attempt: Attempt,
    io: Io,
    /// Name of the task, and number of the subtask in it, for the names of files.
    task: String,
    number: u32,
    /// The key hashes that the subtask owns.
    hashes: HashRange,
    name: String,
    place: Option<SnapshotPlace>,
    snapshots: Rc<Snapshots>,
    coordinator: Mailbox<ToCoordinator>,
    waiting: VecDeque<Waiting>,
    storing: Option<Storing>,
    /// Durable snapshots that wait for the sink.
    stored: VecDeque<Stored>,
    prepared: VecDeque<PreparedEpoch>,
}

impl Acknowledger {
    #[allow(clippy::too_many_arguments, reason = "they are its parts")]
    pub(crate) fn new(
        subtask: SubtaskId,
        attempt: Attempt,
        io: Io,
        (task, number): (String, usize),
        hashes: HashRange,
        name: String,
        place: Option<SnapshotPlace>,
        snapshots: Rc<Snapshots>,
        coordinator: Mailbox<ToCoordinator>,
    ) -> Self {
        let (waiting, stored, prepared) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let number = u32::try_from(number).expect("invariant: there are no more subtasks than key groups");
        Self { subtask, attempt, io, task, number, hashes, name, place, snapshots, coordinator, waiting, storing: None, stored, prepared }
    }

    /// Continues as far as possible; registers for the write that is under way.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), JobError> {
        if let Some(reason) = self.snapshots.take_sink_waits() {
            self.report(FromSubtask::WaitsForRoom { subtask: self.subtask, reason });
        }
        while let Some(taken) = self.snapshots.pop_taken() {
            self.io.observe("checkpoint.snapshot", &self.name, [taken.checkpoint.0 as i64, taken.image.len() as i64, 0]);
            // Barriers come one checkpoint after the other: checkpoints whose snapshots still wait to be stored have been given up.
            self.waiting.iter_mut().for_each(|waiting| waiting.is_over = true);
            self.waiting.push_back(Waiting { taken, is_over: false, since: self.io.clock().now() });
        }
        loop {
            if let Some(storing) = &mut self.storing {
                let Poll::Ready(written) = storing.write.as_mut().poll(cx) else { break };
                let Some(Storing { checkpoint, splits, times, since, .. }) = self.storing.take() else { break };
                let times = SnapshotTimes { storing: self.io.clock().now().since(since), ..times };
                let snapshot = match written {
                    Ok((file, memory)) => {
                        self.snapshots.give_back(memory);
                        Some(Image::File(file))
                    }
                    // A full disk does not fail the attempt: the checkpoint is declined (docs/src/semantics.md#c-4).
                    Err(error) if error.is_storage_full() => {
                        tracing::warn!(subtask = %self.name, %checkpoint, %error, "no room for the snapshot");
                        None
                    }
                    Err(error) => return Err(JobError::of_a_snapshot(&self.name, error)),
                };
                self.stored.push_back(Stored { checkpoint, snapshot, splits, times });
            }
            let Some(Waiting { taken, is_over, since }) = self.waiting.pop_front() else { break };
            if is_over {
                let times = SnapshotTimes::default();
                self.stored.push_back(Stored { checkpoint: taken.checkpoint, snapshot: None, splits: taken.splits, times });
            } else {
                self.store(taken, since);
            }
        }
        while let Some(epoch) = self.snapshots.pop_prepared() {
            self.prepared.push_back(epoch);
        }
        self.acknowledge();
        Ok(())
    }

    /// Stores a snapshot that was taken at `since`.
    fn store(&mut self, taken: TakenSnapshot, since: MonotonicNs) {
        let TakenSnapshot { checkpoint, image, splits, begun, alignment } = taken;
        let times = SnapshotTimes { alignment, saving: since.since(begun), storing: Duration::ZERO };
        match &self.place {
            Some(place) if image.len() > place.inline_bytes_max => {
                let (disk, dir) = (self.io.disk(), place.dir.clone());
                let name = state_file_name(self.attempt, checkpoint, &self.task, self.number);
                let write = Box::pin(async move { write_snapshot(&*disk, &dir, &name, image).await });
                self.storing = Some(Storing { checkpoint, splits, times, since, write });
            }
            _ => self.stored.push_back(Stored { checkpoint, snapshot: Some(Image::Inline(image)), splits, times }),
        }
    }

    fn acknowledge(&mut self) {
        let has_sink = self.snapshots.has_sink.get();
        while let Some(stored) = self.stored.front() {
            let prepared = if has_sink {
                let Some(epoch) = self.prepared.pop_front() else { return };
                assert_eq!(epoch.checkpoint, stored.checkpoint, "epochs are prepared in the order of their barriers");
                Some(epoch)
            } else {
                None
            };
            let Some(Stored { checkpoint, snapshot, splits, times }) = self.stored.pop_front() else { return };
            let message = match snapshot {
                Some(image) => {
                    self.io.observe("checkpoint.acknowledge", &self.name, [checkpoint.0 as i64, 0, 0]);
                    let acknowledgement =
                        Acknowledgement { checkpoint, state: vec![StateFile { hashes: self.hashes, image }], splits, prepared, times };
                    FromSubtask::Acknowledged { subtask: self.subtask, acknowledgement }
                }
                None => FromSubtask::Declined { checkpoint, prepared },
            };
            self.report(message);
        }
    }

    /// The attempt is over: ready when no write is under way any more. The next attempt's cleaning removes the files that were written.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(storing) = &mut self.storing {
            drop(std::task::ready!(storing.write.as_mut().poll(cx)));
            self.storing = None;
        }
        Poll::Ready(())
    }

    /// Whether every snapshot that was taken is acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.storing.is_none() && self.stored.is_empty()
    }

    /// The epoch that the sink has prepared since the last barrier. After the end of input, when everything is acknowledged.
    pub(crate) fn take_last_epoch(&mut self) -> Option<PreparedEpoch> {
        let last = self.prepared.pop_front();
        assert!(self.prepared.is_empty(), "one epoch at most follows the last barrier");
        last
    }

    /// Tells the coordinator, which outlives every subtask; if it is gone, the core is being torn down and nobody listens.
    pub(crate) fn report(&self, message: FromSubtask) {
        drop(self.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
    }
}
