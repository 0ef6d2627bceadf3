//! Gathers one subtask's part of its checkpoints: the state of its operators, the position of its source, and the epochs its sink has prepared.
//!
//! The head of the task begins a snapshot before it hands the barrier to the chain and ends it when the barrier has passed. In between the stages write
//! their state, or seal it and owe it: then it is saved, slice by slice, while the task goes on. The snapshot is whole when the barrier has passed and nothing
//! is owed. What there is of it waits in [`Images`] to be written. The sink reports prepared epochs later, in order. The driver takes both out and joins them
//! by checkpoint.

use super::images::Images;
use crate::checkpoint::CheckpointId;
use crate::graph_ids::OperatorId;
use crate::time::Watermark;
use rkyv::util::AlignedVec;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::MonotonicNs;
use thalweg_storage::checkpoint::{Scope, SnapshotWriter, StateIndex, StateLayout};
use thalweg_storage::{SavedEntries, Saving, SideBytes, Stored};

/// The prefix of the names of the engine's own states. No user's state may have it.
pub(crate) const RESERVED_STATES: &str = "thalweg/";

/// The state that holds a task's merged watermark, with its first operator.
pub(crate) const WATERMARK_STATE: &str = "thalweg/watermark";

/// The bound of what all states of a subtask keep aside while they are saved, at first: this part of their tables, and [`SIDE_BYTES_LEAST`].
const SIDE_PART: usize = 8;
const SIDE_BYTES_LEAST: usize = 64 << 20;

/// At worst all of what the states were is kept: after some doublings the bound is larger than any.
const DOUBLED_MAX: u32 = 20;

/// The place where snapshots are stored.
#[derive(Clone)]
pub struct SnapshotPlace {
    /// The checkpoint folder.
    pub dir: PathBuf,
    /// Snapshots up to this size, in bytes, travel with the acknowledgement.
    pub inline_bytes_max: usize,
}

/// The time a subtask spent on its part in a checkpoint, by its own clock. The rest of `end_to_end` is the way of the barrier, or of the acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTimes {
    /// From the first channel that delivered the barrier to the last: the other channels waited meanwhile. Zero for sources.
    pub alignment: Duration,
    /// From then until the barrier had passed all operators of the task, each of which has sealed or saved its state: no record was worked off meanwhile
    /// (Flink's "sync duration").
    pub saving: Duration,
    /// From then until what was sealed was saved and all of it durable, while the task went on (Flink's "async duration").
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

/// A state that is sealed for the snapshot of a checkpoint, and its place there.
#[derive(Clone, Copy)]
pub(crate) struct Owed {
    pub(crate) checkpoint: CheckpointId,
    state: StateIndex,
}

/// Gathers the snapshots of one subtask. Used on its core alone; each call is on the control path.
pub(crate) struct Snapshots {
    /// The uid of the task's first operator.
    task_uid: String,
    /// The checkpoint whose barrier is in the chain.
    in_chain: Cell<Option<CheckpointId>>,
    /// Makes the newest of the images.
    writer: RefCell<SnapshotWriter>,
    /// How many states are sealed for the latest checkpoint and not saved, and which checkpoint that is.
    owed: Cell<usize>,
    owed_to: Cell<Option<CheckpointId>>,
    images: RefCell<Images>,
    /// What states keep aside, and how many times its bound has been doubled, because it was too small.
    side_bytes: Rc<SideBytes>,
    doubled: Cell<u32>,
    /// The snapshots that are durable in files of their own, and a size up to which a state is not worth one: it is saved whole each time.
    stored: Rc<Stored>,
    whole_bytes_max: usize,
    changes_percent_max: usize,
    /// The sink's latest report: why it waits for room, or (`None`) that it no longer does.
    sink_waits: RefCell<Option<Option<String>>>,
    prepared: RefCell<VecDeque<PreparedEpoch>>,
    /// Whether the task ends in a sink.
    pub(crate) has_sink: Cell<bool>,
}

impl Snapshots {
    /// The snapshots of a task whose first operator has the uid `task_uid`. Images are handed over to be written in pieces of `piece_bytes`. A state that takes
    /// up to `whole_bytes_max` is saved whole each time, and so is a part of which more than `changes_percent_max` per cent have changed.
    pub(crate) fn new(task_uid: String, piece_bytes: usize, whole_bytes_max: usize, changes_percent_max: usize) -> Self {
        Self {
            task_uid,
            in_chain: Cell::default(),
            writer: RefCell::default(),
            owed: Cell::default(),
            owed_to: Cell::default(),
            images: RefCell::new(Images::new(piece_bytes)),
            side_bytes: SideBytes::at_most(SIDE_BYTES_LEAST),
            doubled: Cell::default(),
            stored: Rc::default(),
            whole_bytes_max,
            changes_percent_max,
            sink_waits: RefCell::default(),
            prepared: RefCell::default(),
            has_sink: Cell::new(false),
        }
    }

    /// The barrier of `checkpoint` is about to enter the chain, now.
    pub(crate) fn begin(&self, checkpoint: CheckpointId, now: MonotonicNs) {
        let before = self.in_chain.replace(Some(checkpoint));
        assert!(before.is_none(), "the barrier of checkpoint {checkpoint} came while another one was in the chain");
        self.images.borrow_mut().begin(checkpoint, now);
        self.writer.replace(SnapshotWriter::new());
        self.owed.set(0);
        self.owed_to.set(Some(checkpoint));
        self.side_bytes.begin(SIDE_BYTES_LEAST << self.doubled.get());
    }

    /// Notes how long the channels have waited for the last of them to deliver the barrier.
    pub(crate) fn aligned(&self, alignment: Duration) {
        if let Some(image) = self.images.borrow_mut().newest() {
            image.alignment = alignment;
        }
    }

    /// Notes the watermark that the whole task has reached.
    pub(crate) fn watermark(&self, watermark: Watermark) {
        self.write(|writer| {
            let state = writer.state(&self.task_uid, WATERMARK_STATE, &StateLayout::default());
            writer.append(state, Scope::Subtask, 1, &watermark.0.to_le_bytes());
        });
    }

    /// Notes a split that is being read, with its position.
    pub(crate) fn split(&self, number: u32, split: AlignedVec) {
        if let Some(image) = self.images.borrow_mut().newest() {
            image.splits.push((number, split));
        }
    }

    /// Writes state into the snapshot that has begun.
    pub(crate) fn write<R>(&self, write: impl FnOnce(&mut SnapshotWriter) -> R) -> R {
        assert!(self.in_chain.get().is_some(), "state is written between the beginning and the end of a snapshot");
        let mut writer = self.writer.borrow_mut();
        let written = write(&mut writer);
        self.images.borrow_mut().grown(&mut writer);
        written
    }

    /// A state of `bytes` is about to be sealed for the snapshot that has begun, and will be saved later. The snapshot names it even if it turns out to be
    /// empty.
    pub(crate) fn owes(&self, (operator, name, layout): (&str, &str, &StateLayout), bytes: usize) -> (Owed, Saving) {
        let state = self.writer.borrow_mut().state(operator, name, layout);
        let checkpoint = self.in_chain.get().expect("invariant: state is sealed while the barrier is in the chain");
        self.owed.set(self.owed.get() + 1);
        self.side_bytes.set_most(self.side_bytes.most().saturating_add((bytes / SIDE_PART) << self.doubled.get()));
        let saving = Saving {
            checkpoint,
            side: Rc::clone(&self.side_bytes),
            stored: Rc::clone(&self.stored),
            whole_bytes_max: self.whole_bytes_max,
            changes_percent_max: self.changes_percent_max,
        };
        (Owed { checkpoint, state }, saving)
    }

    /// What the states keep aside while they are saved.
    pub(crate) fn side_bytes(&self) -> &SideBytes {
        &self.side_bytes
    }

    /// The snapshot of `checkpoint` is durable, in a file: later ones may build on it.
    pub(crate) fn stored(&self, checkpoint: CheckpointId) {
        self.stored.note(checkpoint);
    }

    /// What was stored before `checkpoint` will not be named any more.
    pub(crate) fn forget_stored(&self, checkpoint: CheckpointId) {
        self.stored.forget_before(checkpoint);
    }

    /// Whether later snapshots may build on what was stored for `checkpoint`.
    pub(crate) fn reaches_back_to(&self, checkpoint: CheckpointId) -> bool {
        self.stored.reaches_back_to(checkpoint)
    }

    /// From the next checkpoint on states may keep twice as much aside.
    pub(crate) fn double_side_bytes(&self) {
        self.doubled.set((self.doubled.get() + 1).min(DOUBLED_MAX));
    }

    /// Whether the snapshot of `checkpoint` is still being made, so that what is sealed for it is of use.
    pub(crate) fn wants(&self, checkpoint: CheckpointId) -> bool {
        self.images.borrow_mut().newest().is_some_and(|image| image.checkpoint == checkpoint && image.is_wanted())
    }

    /// Appends entries of a sealed state to its snapshot, which is being made.
    pub(crate) fn append(&self, owed: Owed, saved: &SavedEntries) {
        let mut writer = self.writer_of(owed);
        writer.append(owed.state, saved.scope(), saved.entries, &saved.bytes);
        self.images.borrow_mut().grown(&mut writer);
    }

    /// What a state has in its snapshot, which is being made, is to be added to what the snapshots of `earlier` and later ones have.
    pub(crate) fn builds_on(&self, owed: Owed, earlier: CheckpointId) {
        self.writer_of(owed).builds_on_earlier(owed.state);
        self.images.borrow_mut().build_on(earlier);
    }

    /// The writer that makes the snapshot.
    fn writer_of(&self, owed: Owed) -> RefMut<'_, SnapshotWriter> {
        assert!(self.wants(owed.checkpoint), "checkpoint {} is of no use any more", owed.checkpoint);
        self.writer.borrow_mut()
    }

    /// What a state owed to the snapshot of `checkpoint` is in it, or will not come.
    pub(crate) fn paid(&self, checkpoint: CheckpointId) {
        if self.owed_to.get() == Some(checkpoint) {
            let owed = self.owed.get().checked_sub(1).expect("invariant: what is paid was owed");
            self.owed.set(owed);
            self.end_if_whole();
        }
    }

    /// The snapshot of `checkpoint` cannot be made: the checkpoint is declined. `is_outpaced`: because state changes faster than it is saved.
    pub(crate) fn give_up(&self, checkpoint: CheckpointId, is_outpaced: bool) {
        self.images.borrow_mut().give_up(checkpoint, is_outpaced);
    }

    /// The attempt is over: no snapshot will be of use.
    pub(crate) fn give_up_all(&self) {
        self.images.borrow_mut().give_up_all();
    }

    /// Whether sealed state is to be saved now: there is some, and room for it.
    pub(crate) fn can_save(&self) -> bool {
        self.owed.get() > 0 && self.images.borrow().has_room()
    }

    /// The barrier of `checkpoint` has passed the whole chain: with what is sealed, the written state is the subtask's snapshot.
    pub(crate) fn end(&self, checkpoint: CheckpointId, now: MonotonicNs) {
        let begun = self.in_chain.take();
        assert_eq!(begun, Some(checkpoint), "one snapshot began and another one ended");
        if let Some(image) = self.images.borrow_mut().newest() {
            image.sealed_at = Some(now);
        }
        self.end_if_whole();
    }

    fn end_if_whole(&self) {
        if self.owed.get() == 0 && self.in_chain.get().is_none() {
            self.images.borrow_mut().end(&mut self.writer.borrow_mut());
        }
    }

    /// See [`Images::tell_whole`].
    pub(crate) fn tell_whole(&self) -> Option<(CheckpointId, u64)> {
        self.images.borrow_mut().tell_whole()
    }

    /// The images that are being made or wait to be written.
    pub(crate) fn images(&self) -> RefMut<'_, Images> {
        self.images.borrow_mut()
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

    /// Takes the next prepared epoch out.
    pub(crate) fn pop_prepared(&self) -> Option<PreparedEpoch> {
        self.prepared.borrow_mut().pop_front()
    }
}
