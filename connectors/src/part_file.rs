//! One result file while it is being written, under its hidden name.
//!
//! Blocks are written one after the other. Once no more come the file is *finished*: what is left of it is written, and its bytes are made durable. Its
//! name is not yet: that takes a sync of the folder.

use super::file_folder::Folder;
use super::part_name::PartName;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, BufferPool, File, IoError, LocalBoxFuture, OpenMode};

/// A block that has been written.
type Written = (Rc<dyn File>, Buffer);

/// See the module. The file comes to be with its first block.
pub(super) struct PartFile {
    pub(super) name: PartName,
    /// Where in the folder it is.
    hidden: String,
    folder: Folder,
    blocks: BufferPool,
    file: Option<Rc<dyn File>>,
    /// Where the next block begins.
    offset: u64,
    /// Full, and waiting for the one that is under way.
    full: VecDeque<Buffer>,
    writing: Option<LocalBoxFuture<Result<Written, IoError>>>,
}

impl PartFile {
    pub(super) fn new(name: PartName, hidden: String, folder: Folder, blocks: BufferPool) -> Self {
        Self { name, hidden, folder, blocks, file: None, offset: 0, full: VecDeque::new(), writing: None }
    }

    /// Blocks under way or waiting.
    pub(super) fn blocks_pending(&self) -> usize {
        self.full.len() + usize::from(self.writing.is_some())
    }

    /// How long it will be with what has been given to it.
    pub(super) fn bytes(&self) -> u64 {
        self.offset + self.full.iter().map(|block| block.len() as u64).sum::<u64>()
    }

    /// Takes the next block.
    pub(super) fn append(&mut self, block: Buffer) {
        self.full.push_back(block);
        self.start_write();
    }

    /// Sends the next full block on its way, unless one is.
    fn start_write(&mut self) {
        if self.writing.is_none()
            && let Some(block) = self.full.pop_front()
        {
            let offset = self.offset;
            self.offset += block.len() as u64;
            let (folder, hidden, file) = (self.folder.clone(), self.hidden.clone(), self.file.clone());
            self.writing = Some(Box::pin(async move {
                let file = match file {
                    Some(file) => file,
                    None => folder.disk.open(&folder.path(&hidden), OpenMode::CreateNew).await?,
                };
                let block = file.write_at(offset, block).await?;
                Ok((file, block))
            }));
        }
    }

    /// Waits for the block that is under way and sends the next one. Ready with `false` if there is none.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, IoError>> {
        let Some(writing) = &mut self.writing else { return Poll::Ready(Ok(false)) };
        let result = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        let (file, block) = result?;
        self.file = Some(file);
        self.blocks.give(block);
        self.start_write();
        Poll::Ready(Ok(true))
    }

    /// Writes what is left and makes the bytes durable.
    pub(super) async fn finish(mut self) -> Result<(), IoError> {
        while std::future::poll_fn(|cx| self.poll_write(cx)).await? {}
        match self.file {
            Some(file) => file.sync().await,
            None => Ok(()),
        }
    }

    /// Waits for what is under way and begins nothing more.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.full.clear();
        if let Some(writing) = &mut self.writing {
            // The attempt is over: whether it was written no longer matters.
            drop(ready!(writing.as_mut().poll(cx)));
            self.writing = None;
        }
        Poll::Ready(())
    }
}
