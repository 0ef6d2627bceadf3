//! Gathers one subtask's part of its checkpoints: the state of its operators, the position of its source, and the epochs its sink has prepared.
//!
//! The head of the task begins a snapshot before it hands the barrier to the chain and ends it when the barrier has passed; in between the stages
//! write their state. The sink reports prepared epochs later, in order. The driver takes both out and joins them by checkpoint.

use crate::checkpoint::CheckpointId;
use crate::graph_ids::OperatorId;
use crate::record::Archiver;
use crate::time::Watermark;
use rkyv::util::AlignedVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use thalweg_io::{Buffer, MonotonicNs};
use thalweg_storage::checkpoint::{Scope, SnapshotWriter, StateLayout};

/// The prefix of the names of the engine's own states. No user's state may have it.
pub(crate) const RESERVED_STATES: &str = "thalweg/";

/// The state that holds a task's merged watermark, with its first operator.
pub(crate) const WATERMARK_STATE: &str = "thalweg/watermark";

/// The place where snapshots are stored.
#[derive(Clone)]
pub struct SnapshotPlace {
    /// The checkpoint folder.
    pub dir: PathBuf,
    /// Snapshots up to this size, in bytes, travel with the acknowledgement.
    pub inline_bytes_max: usize,
}

/// The state of a subtask at a barrier.
pub(crate) struct TakenSnapshot {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) image: Buffer,
    /// The splits in work, by number.
    pub(crate) splits: Vec<(u32, AlignedVec)>,
    /// When its barrier entered the chain, and how long the channels had waited for each other by then.
    pub(crate) begun: MonotonicNs,
    pub(crate) alignment: Duration,
}

/// The time a subtask spent on its part in a checkpoint, by its own clock. The rest of `end_to_end` is the way of the barrier, or of the acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTimes {
    /// From the first channel that delivered the barrier to the last: the other channels waited meanwhile. Zero for sources.
    pub alignment: Duration,
    /// From then until the barrier had passed all operators of the task, each of which has saved its state: no record was worked off meanwhile (Flink's
    /// "sync duration").
    pub saving: Duration,
    /// From then until the state was durable, while the task went on (Flink's "async duration").
    pub storing: Duration,
}

/// The result of a sink for one epoch: nothing, if nothing was written in it.
pub struct PreparedEpoch {
    /// The checkpoint that ends the epoch.
    pub checkpoint: CheckpointId,
    /// The sink.
    pub sink: OperatorId,
    /// The archive of its transaction.
    pub transaction: Option<AlignedVec>,
}

struct Writing {
    checkpoint: CheckpointId,
    splits: Vec<(u32, AlignedVec)>,
    begun: MonotonicNs,
    alignment: Duration,
}

/// Gathers the snapshots of one subtask. Used on its core alone; each call is on the control path.
pub(crate) struct Snapshots {
    /// The uid of the task's first operator.
    task_uid: String,
    writing: RefCell<Option<Writing>>,
    writer: RefCell<SnapshotWriter>,
    /// Memory of an image that has been stored, to be used again.
    spare: RefCell<Buffer>,
    /// The sink's latest report: why it waits for room, or (`None`) that it no longer does.
    sink_waits: RefCell<Option<Option<String>>>,
    archiver: RefCell<Archiver>,
    taken: RefCell<VecDeque<TakenSnapshot>>,
    prepared: RefCell<VecDeque<PreparedEpoch>>,
    /// Whether the task ends in a sink.
    pub(crate) has_sink: Cell<bool>,
}

impl Snapshots {
    pub(crate) fn new(task_uid: String) -> Self {
        Self {
            task_uid,
            writing: RefCell::default(),
            writer: RefCell::default(),
            spare: RefCell::default(),
            sink_waits: RefCell::default(),
            archiver: RefCell::default(),
            taken: RefCell::default(),
            prepared: RefCell::default(),
            has_sink: Cell::new(false),
        }
    }

    /// The barrier of `checkpoint` is about to enter the chain, now.
    pub(crate) fn begin(&self, checkpoint: CheckpointId, now: MonotonicNs) {
        let begun = Writing { checkpoint, splits: Vec::new(), begun: now, alignment: Duration::ZERO };
        let before = self.writing.replace(Some(begun));
        assert!(before.is_none(), "the barrier of checkpoint {checkpoint} came while another one was in the chain");
    }

    /// Notes how long the channels have waited for the last of them to deliver the barrier.
    pub(crate) fn aligned(&self, alignment: Duration) {
        if let Some(writing) = &mut *self.writing.borrow_mut() {
            writing.alignment = alignment;
        }
    }

    /// Notes the watermark that the whole task has reached.
    pub(crate) fn watermark(&self, watermark: Watermark) {
        let layout = StateLayout::default();
        self.write(|writer, _| {
            let state = writer.state(&self.task_uid, WATERMARK_STATE, layout);
            writer.section(state, Scope::Subtask).entry().extend_from_slice(&watermark.0.to_le_bytes());
        });
    }

    /// Notes a split that is being read, with its position.
    pub(crate) fn split(&self, number: u32, split: AlignedVec) {
        if let Some(writing) = &mut *self.writing.borrow_mut() {
            writing.splits.push((number, split));
        }
    }

    /// Writes state into the snapshot that has begun.
    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut SnapshotWriter, &mut Archiver) -> R) -> R {
        assert!(self.writing.borrow().is_some(), "state is written between the beginning and the end of a snapshot");
        write(&mut self.writer.borrow_mut(), &mut self.archiver.borrow_mut())
    }

    /// The barrier of `checkpoint` has passed the whole chain: the written state is the subtask's snapshot.
    pub(crate) fn end(&self, checkpoint: CheckpointId) {
        let writing = self.writing.take().expect("invariant: a snapshot ends after it began");
        let Writing { checkpoint: written, splits, begun, alignment } = writing;
        assert_eq!(written, checkpoint, "one snapshot began and another one ended");
        let image = self.writer.borrow_mut().finish(self.spare.take());
        self.taken.borrow_mut().push_back(TakenSnapshot { checkpoint, image, splits, begun, alignment });
    }

    /// Gives back the memory of an image that has been stored, for a later image.
    pub(crate) fn give_back(&self, image: Buffer) {
        self.spare.replace(image);
    }

    /// A sink has prepared an epoch.
    pub(crate) fn prepared(&self, epoch: PreparedEpoch) {
        self.prepared.borrow_mut().push_back(epoch);
    }

    /// The sink waits for room, for this reason, or (`None`) no longer waits.
    pub(crate) fn sink_waits(&self, reason: Option<String>) {
        self.sink_waits.replace(Some(reason));
    }

    /// Takes out the sink's report, if there has been one since the last call.
    pub(crate) fn take_sink_waits(&self) -> Option<Option<String>> {
        self.sink_waits.take()
    }

    /// Takes the next snapshot out.
    pub(crate) fn pop_taken(&self) -> Option<TakenSnapshot> {
        self.taken.borrow_mut().pop_front()
    }

    /// Takes the next prepared epoch out.
    pub(crate) fn pop_prepared(&self) -> Option<PreparedEpoch> {
        self.prepared.borrow_mut().pop_front()
    }
}
