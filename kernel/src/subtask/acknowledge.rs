//! Makes a subtask's snapshots durable, and tells the coordinator.
//!
//! Snapshots are stored one after the other in the background, while they are still being made and the subtask goes on. A checkpoint is acknowledged when
//! the snapshot is durable *and* the sink, if the task ends in one, has prepared the epoch: never before (docs/src/semantics.md#c-3).

use crate::checkpoint::images::{Image, Oldest};
use crate::checkpoint::{Attempt, CheckpointId, PreparedEpoch, SnapshotPlace, SnapshotTimes, Snapshots};
use crate::error::JobError;
use crate::graph_ids::SubtaskId;
use crate::messages::{Acknowledgement, FromSubtask, ToCoordinator};
use crate::subtask::durations::TaskDurations;
use crate::subtask::snapshot_sizes::{OperatorSizes, SnapshotSizes};
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};
use thalweg_io::{Buffer, Io, LocalBoxFuture, Mailbox};
use thalweg_record::HashRange;
use thalweg_storage::checkpoint::{
    CheckpointError, FileRef, Image as StoredImage, Piece, Pieces, StateFile, StateSummary, state_file_name, write_snapshot,
};

/// A write that is under way.
type Writing = LocalBoxFuture<Result<Option<FileRef>, CheckpointError>>;

/// The pieces of the oldest image of a subtask, for the file that it is written to.
struct OldestImage(Rc<Snapshots>);

impl Pieces for OldestImage {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        self.0.images().poll_piece(cx)
    }

    fn give_back(&mut self, memory: Buffer) {
        self.0.images().give_back(memory);
    }
}

/// A file that is durable, and the states in it.
struct StoredFile {
    checkpoint: CheckpointId,
    file: FileRef,
    states: Vec<StateSummary>,
}

struct Stored {
    checkpoint: CheckpointId,
    /// The images that make it up, the oldest first; `None` if there was no room for the snapshot, or no use for it any more.
    images: Option<Vec<StoredImage>>,
    sizes: OperatorSizes,
    /// Why there is none: whether its state has changed too fast.
    is_outpaced: bool,
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
    durations: Rc<TaskDurations>,
    sizes: Rc<SnapshotSizes>,
    storing: Option<Writing>,
    /// The files on which snapshots may build, the oldest first, whatever has become of their checkpoints.
    files: Vec<StoredFile>,
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
        sizes: Rc<SnapshotSizes>,
    ) -> Self {
        let (durations, stored, prepared, files) = (Rc::default(), VecDeque::new(), VecDeque::new(), Vec::new());
        let number = u32::try_from(number).expect("invariant: there are no more subtasks than key groups");
        Self {
            subtask,
            attempt,
            io,
            task,
            number,
            hashes,
            name,
            place,
            snapshots,
            coordinator,
            durations,
            sizes,
            storing: None,
            files,
            stored,
            prepared,
        }
    }

    /// Continues as far as possible; registers for the write that is under way.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), JobError> {
        if let Some(reason) = self.snapshots.take_sink_waits() {
            self.report(FromSubtask::WaitsForRoom { subtask: self.subtask, reason });
        }
        while let Some((checkpoint, len)) = self.snapshots.tell_whole() {
            self.io.observe("checkpoint.snapshot", &self.name, [checkpoint.0 as i64, len as i64, 0]);
        }
        loop {
            if let Some(storing) = &mut self.storing {
                let Poll::Ready(written) = storing.as_mut().poll(cx) else { break };
                self.storing = None;
                let Some(mut image) = self.snapshots.images().written() else { break };
                let file = match written {
                    Ok(file) => file,
                    // A full disk does not fail the attempt: the checkpoint is declined (docs/src/semantics.md#c-4).
                    Err(error) if error.is_storage_full() => {
                        tracing::warn!(subtask = %self.name, checkpoint = %image.checkpoint, %error, "no room for the snapshot");
                        // What it would have superseded only takes room from the next.
                        if image.builds_on.is_none() {
                            self.forget_files(image.checkpoint.next());
                        }
                        None
                    }
                    Err(error) => return Err(JobError::of_a_snapshot(&self.name, error)),
                };
                let images = file.and_then(|file| self.with_earlier(&mut image, file));
                self.stored(image, images);
            }
            let oldest = self.snapshots.images().oldest(self.place.as_ref().map(|place| place.inline_bytes_max));
            match oldest {
                None | Some(Oldest::Growing) => break,
                Some(Oldest::GivenUp(image)) => self.stored(image, None),
                Some(Oldest::Whole(image, bytes)) => {
                    self.forget_files(image.checkpoint);
                    self.stored(image, Some(vec![StoredImage::Inline(bytes)]));
                }
                Some(Oldest::Write(checkpoint)) => self.store(checkpoint),
            }
        }
        while let Some(epoch) = self.snapshots.pop_prepared() {
            self.prepared.push_back(epoch);
        }
        self.acknowledge();
        Ok(())
    }

    /// Begins to write the oldest image.
    fn store(&mut self, checkpoint: CheckpointId) {
        let place = self.place.as_ref().expect("invariant: without a place images stay in memory");
        let (disk, dir, mut pieces) = (self.io.disk(), place.dir.clone(), OldestImage(Rc::clone(&self.snapshots)));
        let name = state_file_name(self.attempt, checkpoint, &self.task, self.number);
        self.storing = Some(Box::pin(async move { write_snapshot(&*disk, &dir, &name, &mut pieces).await }));
    }

    /// An image is durable in this file: with those on which it builds it makes up a snapshot, and later ones may build on it. What it does not build on is of
    /// no use any more. `None` if the files on which it builds are gone.
    fn with_earlier(&mut self, image: &mut Image, file: FileRef) -> Option<Vec<StoredImage>> {
        if image.builds_on.is_some_and(|earliest| !self.snapshots.reaches_back_to(earliest)) {
            return None;
        }
        self.snapshots.stored(image.checkpoint);
        self.files.retain(|file| image.builds_on.is_some_and(|earliest| file.checkpoint >= earliest));
        self.files.push(StoredFile { checkpoint: image.checkpoint, file, states: mem::take(&mut image.states) });
        Some(self.files.iter().map(|stored| StoredImage::File(stored.file.clone())).collect())
    }

    /// Nothing builds on what was stored before `checkpoint`, and no acknowledgement names it again.
    fn forget_files(&mut self, checkpoint: CheckpointId) {
        self.files.clear();
        self.snapshots.forget_stored(checkpoint);
    }

    /// What operators have in the snapshot of an image, of which the files are known if it lies in files.
    fn sizes_of(&self, image: &Image) -> OperatorSizes {
        if self.files.is_empty() {
            return OperatorSizes::of(&[&image.states], false);
        }
        let states: Vec<&[StateSummary]> = self.files.iter().map(|file| file.states.as_slice()).collect();
        OperatorSizes::of(&states, true)
    }

    /// A snapshot is durable, or stays in memory, or (`None`) does not exist.
    fn stored(&mut self, image: Image, images: Option<Vec<StoredImage>>) {
        let sizes = images.as_ref().map(|_| self.sizes_of(&image)).unwrap_or_default();
        let Image { checkpoint, splits, begun, alignment, sealed_at, is_outpaced, .. } = image;
        let times = sealed_at.filter(|_| images.is_some()).map(|sealed_at| {
            let storing = self.io.clock().now().since(sealed_at);
            SnapshotTimes { alignment, saving: sealed_at.since(begun), storing }
        });
        times.into_iter().for_each(|times| self.durations.checkpoint(times));
        self.stored.push_back(Stored { checkpoint, images, sizes, is_outpaced, splits, times: times.unwrap_or_default() });
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
            let Some(Stored { checkpoint, images, sizes, is_outpaced, splits, times }) = self.stored.pop_front() else { return };
            let message = match images {
                Some(images) => {
                    self.sizes.acknowledged(sizes);
                    self.io.observe("checkpoint.acknowledge", &self.name, [checkpoint.0 as i64, images.len() as i64, 0]);
                    let state = images.into_iter().map(|image| StateFile { hashes: self.hashes, image }).collect();
                    let acknowledgement = Acknowledgement { checkpoint, state, splits, prepared, times };
                    FromSubtask::Acknowledged { subtask: self.subtask, acknowledgement }
                }
                None => {
                    let keeps_files = !self.files.is_empty();
                    FromSubtask::Declined { subtask: self.subtask, checkpoint, is_outpaced, keeps_files, prepared }
                }
            };
            self.report(message);
        }
    }

    /// The attempt is over: ready when no write is under way any more. A file that was being written is removed; the next attempt's cleaning removes the others.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.snapshots.give_up_all();
        if let Some(storing) = &mut self.storing {
            drop(std::task::ready!(storing.as_mut().poll(cx)));
            self.storing = None;
        }
        Poll::Ready(())
    }

    /// The histograms of the subtask.
    pub(crate) fn durations(&self) -> &Rc<TaskDurations> {
        &self.durations
    }

    /// Whether sealed state is to be saved now: there is some, and room for it.
    pub(crate) fn can_save(&self) -> bool {
        self.snapshots.can_save()
    }

    /// Whether every snapshot that was taken is acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.snapshots.images().is_empty() && self.stored.is_empty()
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
