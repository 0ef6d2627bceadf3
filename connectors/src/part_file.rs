//! One result file while it is being written, under its hidden name.
//!
//! Blocks are written one after the other. After the last block the file is *finished*: waiting blocks are written, and its bytes are made durable. Its
//! name is not durable yet: that takes a sync of the folder.
//!
//! A full disk is waited out: a block that found no room, or no room for the file itself, is written again after a pause, until it succeeds
//! (docs/src/semantics.md#o-7). A failed sync is not retried, whatever its reason.

use super::file_folder::Folder;
use super::part_name::PartName;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, BufferPool, File, IoError, LocalBoxFuture, OpenMode, WriteError};

/// The outcome of writing a block.
enum Written {
    /// The block is in the file.
    Done(Rc<dyn File>, Buffer),
    /// There was no room for the block; if there is no file, not even for the file.
    NoRoom(Option<Rc<dyn File>>, Buffer, IoError),
}

/// See the module's documentation. The file is created with its first block.
pub(super) struct PartFile {
    pub(super) name: PartName,
    /// The hidden name of the file in the folder.
    hidden: String,
    folder: Folder,
    blocks: BufferPool,
    file: Option<Rc<dyn File>>,
    /// The offset of the next block that is not yet being written.
    offset: u64,
    /// Full blocks, waiting for the one being written.
    full: VecDeque<Buffer>,
    writing: Option<LocalBoxFuture<Result<Written, IoError>>>,
    /// Why the first of the full blocks is not written yet: set from the first time there was no room for it until it is written.
    no_room: Option<IoError>,
    /// The pause before the next try.
    pause: Option<LocalBoxFuture<()>>,
    syncing: Option<LocalBoxFuture<Result<(), IoError>>>,
}

impl PartFile {
    pub(super) fn new(name: PartName, hidden: String, folder: Folder, blocks: BufferPool) -> Self {
        Self {
            name,
            hidden,
            folder,
            blocks,
            file: None,
            offset: 0,
            full: VecDeque::new(),
            writing: None,
            no_room: None,
            pause: None,
            syncing: None,
        }
    }

    /// The number of blocks being written or waiting.
    pub(super) fn blocks_pending(&self) -> usize {
        self.full.len() + usize::from(self.writing.is_some())
    }

    /// The length of the file with all blocks given to it.
    pub(super) fn bytes(&self) -> u64 {
        self.offset + self.full.iter().map(|block| block.len() as u64).sum::<u64>()
    }

    /// The error it waits out, if there was no room for the next block.
    pub(super) fn no_room(&self) -> Option<&IoError> {
        self.no_room.as_ref()
    }

    /// Queues the next block.
    pub(super) fn append(&mut self, block: Buffer) {
        self.full.push_back(block);
        self.start_write();
    }

    /// Starts to write the next full block, unless a block is being written or the pause lasts.
    fn start_write(&mut self) {
        if self.writing.is_none()
            && self.pause.is_none()
            && let Some(block) = self.full.pop_front()
        {
            let offset = self.offset;
            self.offset += block.len() as u64;
            let (folder, hidden, file) = (self.folder.clone(), self.hidden.clone(), self.file.clone());
            self.writing = Some(Box::pin(async move {
                let file = match file {
                    Some(file) => file,
                    None => match folder.disk.open(&folder.path(&hidden), OpenMode::CreateNew).await {
                        Ok(file) => file,
                        Err(error) if error.is_storage_full() => return Ok(Written::NoRoom(None, block, error)),
                        Err(error) => return Err(error),
                    },
                };
                match file.write_at(offset, block).await {
                    Ok(block) => Ok(Written::Done(file, block)),
                    Err(WriteError::NoRoom(error, block)) => Ok(Written::NoRoom(Some(file), block, error)),
                    Err(WriteError::Failed(error)) => Err(error),
                }
            }));
        }
    }

    /// Waits for the block being written and starts the next one. Ready with `false` if there is none.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, IoError>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                self.start_write();
            }
            let Some(writing) = &mut self.writing else { return Poll::Ready(Ok(false)) };
            let result = ready!(writing.as_mut().poll(cx));
            self.writing = None;
            match result? {
                Written::Done(file, block) => {
                    self.file = Some(file);
                    self.blocks.give(block);
                    self.no_room = None;
                    self.start_write();
                    return Poll::Ready(Ok(true));
                }
                Written::NoRoom(file, block, error) => {
                    self.file = file;
                    self.offset -= block.len() as u64;
                    self.full.push_front(block);
                    self.no_room = Some(error);
                    self.pause = Some(self.folder.pause());
                }
            }
        }
    }

    /// Writes the waiting blocks and makes the bytes durable. Ready once.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        while ready!(self.poll_write(cx))? {}
        let Some(file) = &self.file else { return Poll::Ready(Ok(())) };
        let synced = ready!(self.syncing.get_or_insert_with(|| file.sync()).as_mut().poll(cx));
        self.syncing = None;
        Poll::Ready(synced)
    }

    /// Waits for the operation under way and begins no other.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.full.clear();
        self.pause = None;
        if let Some(writing) = &mut self.writing {
            // The attempt is over: whether the block was written no longer matters.
            drop(ready!(writing.as_mut().poll(cx)));
            self.writing = None;
        }
        if let Some(syncing) = &mut self.syncing {
            drop(ready!(syncing.as_mut().poll(cx)));
            self.syncing = None;
        }
        Poll::Ready(())
    }
}
