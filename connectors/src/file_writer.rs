//! The writer of one subtask of a [`FileSink`](super::FileSink).
//!
//! Records become lines in a block; full blocks go to the current file, one being written and one waiting while the next is being filled. A file that is
//! long enough, or whose epoch is sealed, is queued *behind* the writer: files there are finished one after the other while the next one is being written.
//! After the last file of an epoch its end is queued, at which the epoch becomes prepared. Thus sealing is nothing but closing a file, and epochs are
//! prepared in their order.
//!
//! Bounded: while more than [`FILES_BEHIND`] files or [`EPOCHS_BEHIND`] epochs are not finished, the writer takes no more records. So memory is bounded by
//! a few blocks for each of these files and for the current one.
//!
//! After a failed operation no other is begun and no epoch is prepared. A full disk is no failure: an operation that found no room is retried after a
//! pause, and everything else waits behind it (docs/src/semantics.md#o-7).

use super::delivery::DeliveryGuarantee;
use super::epoch_end::{Ending, EpochEnd};
use super::file_folder::{FileTransaction, Folder, PreparedFile};
use super::line_format::LineFormat;
use super::part_file::PartFile;
use super::part_name::PartName;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, BufferPool, IoError};
use thalweg_kernel::checkpoint::{Attempt, CheckpointId, JobId};
use thalweg_kernel::sink::{SinkContext, SinkWriter};
use thalweg_record::record::Record;

/// Full blocks of the current file, being written or waiting, at which a writer takes no more records.
const FULL_BLOCKS: usize = 2;

/// Closed files that are not finished, beyond which a writer takes no more records: one being synced and one waiting behind it.
const FILES_BEHIND: usize = 2;

/// Sealed epochs that are not prepared, beyond which a writer takes no more records.
const EPOCHS_BEHIND: usize = 2;

/// Empty blocks that are kept for reuse.
const SPARE_BLOCKS: usize = 3;

/// Settings shared by the writers of a sink.
#[derive(Clone)]
pub(super) struct WriterSettings {
    pub(super) suffix: String,
    pub(super) roll_at_bytes: u64,
    /// Whether the first commit removes the results of other jobs.
    pub(super) replaces: bool,
}

/// Work queued behind the writer, in order.
enum Behind {
    /// A file that gets no more blocks.
    File(Box<PartFile>),
    /// The end of an epoch, and its files.
    Epoch(Vec<PreparedFile>),
}

/// The queued work that is under way.
enum Finishing {
    File(Box<PartFile>),
    Epoch(EpochEnd),
}

/// Gathers lines into blocks and writes them.
pub struct FileWriter<T, L> {
    folder: Folder,
    settings: WriterSettings,
    format: L,
    block_bytes: usize,
    blocks: BufferPool,
    job: JobId,
    /// The process that coordinates the job.
    owner: u64,
    subtask: u64,
    attempt: Attempt,
    /// The epoch being written. The barrier may turn out to be a later epoch's.
    epoch: CheckpointId,
    /// The number of the current file within its epoch.
    roll: u64,
    /// The block being filled.
    block: Buffer,
    /// How many bytes the block may hold.
    block_limit: usize,
    /// The current file, from its first block on.
    current: Option<PartFile>,
    /// Closed files of the current epoch.
    closed: Vec<PartName>,
    behind: VecDeque<Behind>,
    finishing: Option<Finishing>,
    /// Counts files in `behind` and `finishing`.
    files_behind: usize,
    epochs_behind: usize,
    /// Prepared transactions that have not been handed out yet.
    prepared: VecDeque<Option<FileTransaction>>,
    /// Whether no epoch has been sealed yet.
    is_first_epoch: bool,
    failed: bool,
    record: PhantomData<fn(T)>,
}

impl<T: Record, L: LineFormat<T>> FileWriter<T, L> {
    pub(super) fn new(folder: Folder, settings: WriterSettings, format: L, context: &SinkContext) -> Self {
        let block_bytes = context.write_block_bytes.max(1);
        let mut writer = Self {
            folder,
            settings,
            format,
            block_bytes,
            blocks: BufferPool::new(block_bytes, SPARE_BLOCKS),
            job: context.job,
            owner: context.owner,
            subtask: context.subtask as u64,
            attempt: context.attempt,
            epoch: context.epoch,
            roll: 0,
            block: Buffer::default(),
            block_limit: 0,
            current: None,
            closed: Vec::new(),
            behind: VecDeque::new(),
            finishing: None,
            files_behind: 0,
            epochs_behind: 0,
            prepared: VecDeque::new(),
            is_first_epoch: true,
            failed: false,
            record: PhantomData,
        };
        writer.limit_block();
        writer
    }

    /// Lets the block end where the file reaches its length.
    fn limit_block(&mut self) {
        let left = self.settings.roll_at_bytes.saturating_sub(self.current.as_ref().map_or(0, PartFile::bytes));
        self.block_limit = self.block_bytes.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1);
    }

    /// Gives the block to the current file, and closes the file if it is long enough.
    #[cold]
    fn close_block(&mut self) {
        let block = std::mem::replace(&mut self.block, self.blocks.take());
        let name = PartName { job: self.job, subtask: self.subtask, epoch: self.epoch, roll: self.roll, attempt: Some(self.attempt) };
        let current = self
            .current
            .get_or_insert_with(|| PartFile::new(name, name.hidden(&self.settings.suffix), self.folder.clone(), self.blocks.clone()));
        current.append(block);
        if current.bytes() >= self.settings.roll_at_bytes {
            self.close_file();
        }
        self.limit_block();
    }

    fn close_file(&mut self) {
        if let Some(file) = self.current.take() {
            self.closed.push(file.name);
            self.roll += 1;
            self.files_behind += 1;
            self.behind.push_back(Behind::File(Box::new(file)));
        }
    }

    /// The names of a file of the epoch that `checkpoint` ends.
    fn prepared_file(&self, name: PartName, checkpoint: CheckpointId) -> PreparedFile {
        let attempt = name.attempt.filter(|_| self.folder.delivery == DeliveryGuarantee::AtLeastOnce);
        let visible = PartName { epoch: checkpoint, attempt, ..name };
        PreparedFile { hidden: name.hidden(&self.settings.suffix), visible: visible.visible(&self.settings.suffix) }
    }

    /// Starts the next piece of queued work.
    fn start_finishing(&mut self) {
        debug_assert!(self.finishing.is_none(), "one after the other");
        self.finishing = match self.behind.pop_front() {
            Some(Behind::File(file)) => Some(Finishing::File(file)),
            Some(Behind::Epoch(files)) => Some(Finishing::Epoch(self.end_of_epoch(files))),
            None => None,
        };
    }

    /// Makes the names of `files`, which are durable themselves, durable or visible.
    fn end_of_epoch(&mut self, files: Vec<PreparedFile>) -> EpochEnd {
        // So that the commit learns of this job even if it has no results yet.
        let announces = self.settings.replaces && self.subtask == 0 && std::mem::take(&mut self.is_first_epoch);
        EpochEnd::new(self.folder.clone(), files, Ending { job: self.job, owner: self.owner, announces })
    }

    /// Drives the current file. Ready if a block was written.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let Some(file) = &mut self.current else { return Poll::Pending };
        let mut changed = false;
        // The block sent after a written one must be polled, to be able to wake the task.
        while let Poll::Ready(true) = file.poll_write(cx)? {
            changed = true;
        }
        if changed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Drives the queued work. Ready if something was finished.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let mut changed = false;
        loop {
            match &mut self.finishing {
                None => {
                    if self.behind.is_empty() {
                        break;
                    }
                    self.start_finishing();
                    continue;
                }
                Some(Finishing::File(finishing)) => {
                    let Poll::Ready(result) = finishing.poll_finish(cx) else { break };
                    self.finishing = None;
                    result?;
                    self.files_behind -= 1;
                }
                Some(Finishing::Epoch(finishing)) => {
                    let Poll::Ready(result) = finishing.poll_end(cx) else { break };
                    self.finishing = None;
                    self.prepared.push_back(result?);
                    self.epochs_behind -= 1;
                }
            }
            changed = true;
        }
        if changed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<T: Record, L: LineFormat<T>> SinkWriter for FileWriter<T, L> {
    type In = T;
    type Transaction = FileTransaction;

    #[inline]
    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        self.format.append(record, &mut self.block);
        if self.block.len() >= self.block_limit {
            self.close_block();
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.current.as_ref().is_none_or(|file| file.blocks_pending() < FULL_BLOCKS)
            && self.files_behind <= FILES_BEHIND
            && self.epochs_behind <= EPOCHS_BEHIND
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        if self.failed {
            return Poll::Pending;
        }
        // Poll both, so that each can wake the task.
        let polled = [self.poll_current(cx), self.poll_behind(cx)];
        let mut progress = Poll::Pending;
        for result in polled.into_iter().filter(Poll::is_ready) {
            if let Poll::Ready(Err(_)) = &result {
                self.failed = true;
                return result;
            }
            progress = result;
        }
        progress
    }

    fn waits_for_room(&self) -> Option<String> {
        let behind = match &self.finishing {
            Some(Finishing::File(file)) => file.no_room(),
            Some(Finishing::Epoch(end)) => end.no_room(),
            None => None,
        };
        behind.or_else(|| self.current.as_ref()?.no_room()).map(IoError::to_string)
    }

    fn seal(&mut self, checkpoint: CheckpointId) {
        assert!(checkpoint >= self.epoch, "epoch {} is sealed by the barrier of checkpoint {checkpoint}", self.epoch);
        if !self.block.is_empty() {
            self.close_block();
        }
        self.close_file();
        let files = std::mem::take(&mut self.closed);
        let files = files.into_iter().map(|name| self.prepared_file(name, checkpoint)).collect();
        self.behind.push_back(Behind::Epoch(files));
        self.epochs_behind += 1;
        self.epoch = checkpoint.next();
        self.roll = 0;
        self.limit_block();
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FileTransaction>, IoError>> {
        assert!(self.epochs_behind + self.prepared.len() > 0, "preparing is asked for once for each sealed epoch");
        // Poll until pending: only then is the task woken.
        while self.prepared.is_empty() {
            ready!(self.poll_progress(cx))?;
        }
        Poll::Ready(Ok(self.prepared.pop_front().flatten()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(file) = &mut self.current {
            ready!(file.poll_rest(cx));
        }
        match &mut self.finishing {
            Some(Finishing::File(finishing)) => ready!(finishing.poll_rest(cx)),
            Some(Finishing::Epoch(finishing)) => ready!(finishing.poll_rest(cx)),
            None => {}
        }
        self.finishing = None;
        while let Some(behind) = self.behind.front_mut() {
            if let Behind::File(file) = behind {
                ready!(file.poll_rest(cx));
            }
            self.behind.pop_front();
        }
        Poll::Ready(())
    }
}
