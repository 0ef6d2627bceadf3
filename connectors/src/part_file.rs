//! One result file while it is being written, under its hidden name.
//!
//! Blocks are written one after the other. Once no more come the file is *finished*: what is left of it is written, and its bytes are made durable. Its
//! name is not yet: that takes a sync of the folder.
//!
//! A disk that is full is waited for: the block for which there was no room, or no room for the file itself, is written again in a while, and again
//! (docs/src/semantics.md#o-7). A sync that fails is not done again, whatever its reason.

use super::file_folder::Folder;
use super::part_name::PartName;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, BufferPool, File, IoError, LocalBoxFuture, OpenMode, WriteError};

/// What has become of a block.
enum Written {
    /// It is in the file.
    Done(Rc<dyn File>, Buffer),
    /// There was no room for it; nor for the file, if there is none.
    NoRoom(Option<Rc<dyn File>>, Buffer, IoError),
}

/// See the module. The file comes to be with its first block.
pub(super) struct PartFile {
    pub(super) name: PartName,
    /// Where in the folder it is.
    hidden: String,
    folder: Folder,
    blocks: BufferPool,
    file: Option<Rc<dyn File>>,
    /// Where the next block begins that is not under way.
    offset: u64,
    /// Full, and waiting for the one that is under way.
    full: VecDeque<Buffer>,
    writing: Option<LocalBoxFuture<Result<Written, IoError>>>,
    /// Why the first of the full blocks is not written yet, from the first time there was no room for it until it is.
    no_room: Option<IoError>,
    /// Until when it rests.
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

    /// Blocks under way or waiting.
    pub(super) fn blocks_pending(&self) -> usize {
        self.full.len() + usize::from(self.writing.is_some())
    }

    /// How long it will be with what has been given to it.
    pub(super) fn bytes(&self) -> u64 {
        self.offset + self.full.iter().map(|block| block.len() as u64).sum::<u64>()
    }

    /// What it waits for, if there was no room for what is to be written next.
    pub(super) fn no_room(&self) -> Option<&IoError> {
        self.no_room.as_ref()
    }

    /// Takes the next block.
    pub(super) fn append(&mut self, block: Buffer) {
        self.full.push_back(block);
        self.start_write();
    }

    /// Sends the next full block on its way, unless one is, or rests.
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

    /// Waits for the block that is under way and sends the next one. Ready with `false` if there is none.
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

    /// Writes what is left and makes the bytes durable. Ready once.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        while ready!(self.poll_write(cx))? {}
        let Some(file) = &self.file else { return Poll::Ready(Ok(())) };
        let synced = ready!(self.syncing.get_or_insert_with(|| file.sync()).as_mut().poll(cx));
        self.syncing = None;
        Poll::Ready(synced)
    }

    /// Waits for what is under way and begins nothing more.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.full.clear();
        self.pause = None;
        if let Some(writing) = &mut self.writing {
            // The attempt is over: whether it was written no longer matters.
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
