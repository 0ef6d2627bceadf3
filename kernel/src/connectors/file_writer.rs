//! The writer of one subtask of a [`FileSink`](super::FileSink).

use super::file_sink::subtask_of;
use super::line_format::LineFormat;
use crate::record::Record;
use crate::sink::SinkWriter;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use thalweg_io::{Buffer, Disk, File, IoError, LocalBoxFuture, OpenMode};

/// Full blocks, under way or waiting, at which a writer takes no more records.
const FULL_BLOCKS: usize = 2;

/// Where a writer's file is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) disk: Rc<dyn Disk>,
    pub(super) dir: PathBuf,
    /// Its name while it is in progress.
    pub(super) hidden: PathBuf,
    /// Its name when it is committed.
    pub(super) visible: PathBuf,
    /// If old results are to be replaced: this subtask and their number.
    pub(super) replaces: Option<(usize, usize)>,
}

impl Place {
    /// Writes a block and gives its memory back.
    async fn write(self, file: Option<Rc<dyn File>>, offset: u64, block: Buffer) -> Result<Written, IoError> {
        let file = match file {
            Some(file) => file,
            None => self.disk.open(&self.hidden, OpenMode::CreateNew).await?,
        };
        let block = file.write_at(offset, block).await?;
        Ok(Written { file, block })
    }

    /// Makes the file and its hidden name durable.
    ///
    /// A name that somebody else has given meanwhile fails the job here, while nothing is shown yet: another job writes into the same folder.
    async fn prepare(self, file: Rc<dyn File>) -> Result<(), IoError> {
        if self.replaces.is_none() && self.disk.kind(&self.visible).await?.is_some() {
            let reason = "another job has written there meanwhile; give each job a folder of its own";
            return Err(IoError::at("publish", &self.visible, std::io::Error::new(std::io::ErrorKind::AlreadyExists, reason)));
        }
        file.sync().await?;
        self.disk.sync_dir(&self.dir).await
    }

    /// Shows the file, if there is one.
    async fn commit(self, written: bool) -> Result<(), IoError> {
        let Self { disk, dir, hidden, visible, replaces } = self;
        if let Some((subtask, parallelism)) = replaces {
            // Old results of any parallelism are shared out over the subtasks of this one. No subtask removes what another has just shown.
            for entry in disk.list(&dir).await? {
                if subtask_of(&entry.name).is_some_and(|old| old % parallelism == subtask) {
                    disk.unlink(&dir.join(entry.name)).await?;
                }
            }
        }
        if written {
            // Fails if the name is taken: nothing is ever written over.
            disk.link(&hidden, &visible).await?;
        }
        // The new name has to be durable before the old one may go. That the old one has gone need not be: a next job removes it.
        if written || replaces.is_some() {
            disk.sync_dir(&dir).await?;
        }
        if written { disk.unlink(&hidden).await } else { Ok(()) }
    }

    /// Removes the file, if it came to that.
    async fn abort(self) -> Result<(), IoError> {
        match self.disk.unlink(&self.hidden).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// A block that has been written.
struct Written {
    file: Rc<dyn File>,
    block: Buffer,
}

/// Gathers lines into blocks and writes them.
pub struct FileWriter<T, L> {
    place: Place,
    format: L,
    block_bytes: usize,
    /// Being filled.
    block: Buffer,
    /// Full, and waiting for the one that is under way.
    full: VecDeque<Buffer>,
    /// An empty one that need not be allocated again.
    spare: Option<Buffer>,
    writing: Option<LocalBoxFuture<Result<Written, IoError>>>,
    file: Option<Rc<dyn File>>,
    /// Where the next block begins.
    offset: u64,
    /// The first block has been sent on its way: the file may exist.
    begun: bool,
    /// Preparing, committing or aborting.
    ending: Option<LocalBoxFuture<Result<(), IoError>>>,
    aborting: bool,
    record: PhantomData<fn(T)>,
}

impl<T: Record, L: LineFormat<T>> FileWriter<T, L> {
    pub(super) fn new(place: Place, format: L, block_bytes: usize) -> Self {
        Self {
            place,
            format,
            block_bytes,
            block: Buffer::default(),
            full: VecDeque::new(),
            spare: None,
            writing: None,
            file: None,
            offset: 0,
            begun: false,
            ending: None,
            aborting: false,
            record: PhantomData,
        }
    }

    fn close_block(&mut self) {
        let next = self.spare.take().unwrap_or_else(|| Buffer::with_capacity(self.block_bytes));
        self.full.push_back(std::mem::replace(&mut self.block, next));
        self.start_write();
    }

    /// Sends the next full block on its way, unless one is.
    fn start_write(&mut self) {
        if self.writing.is_none()
            && let Some(block) = self.full.pop_front()
        {
            self.begun = true;
            let offset = self.offset;
            self.offset += block.len() as u64;
            self.writing = Some(Box::pin(self.place.clone().write(self.file.clone(), offset, block)));
        }
    }

    /// Waits for the block that is under way and sends the next one. Ready with `false` if there is none.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, IoError>> {
        let Some(writing) = &mut self.writing else { return Poll::Ready(Ok(false)) };
        let result = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        let Written { file, mut block } = result?;
        self.file = Some(file);
        block.clear();
        self.spare = Some(block);
        self.start_write();
        Poll::Ready(Ok(true))
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        let Some(ending) = &mut self.ending else { return Poll::Ready(Ok(())) };
        let result = ready!(ending.as_mut().poll(cx));
        self.ending = None;
        Poll::Ready(result)
    }
}

impl<T: Record, L: LineFormat<T>> SinkWriter for FileWriter<T, L> {
    type In = T;

    #[inline]
    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        self.format.append(record, &mut self.block);
        if self.block.len() >= self.block_bytes {
            self.close_block();
        }
    }

    #[inline]
    fn ready(&self) -> bool {
        self.full.len() + usize::from(self.writing.is_some()) < FULL_BLOCKS
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        match ready!(self.poll_write(cx)) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_prepare(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        if self.ending.is_none() {
            if !self.block.is_empty() {
                self.close_block();
            }
            while ready!(self.poll_write(cx))? {}
            let Some(file) = self.file.take() else { return Poll::Ready(Ok(())) };
            self.ending = Some(Box::pin(self.place.clone().prepare(file)));
        }
        self.poll_ending(cx)
    }

    fn poll_commit(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        if self.ending.is_none() {
            self.ending = Some(Box::pin(self.place.clone().commit(self.begun)));
        }
        self.poll_ending(cx)
    }

    fn poll_abort(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        // What is under way could bring the file back: it comes to its end first, in whichever way.
        self.full.clear();
        if let Some(writing) = &mut self.writing {
            drop(ready!(writing.as_mut().poll(cx)));
            self.writing = None;
        }
        if !self.begun {
            return Poll::Ready(Ok(()));
        }
        if !self.aborting {
            // Preparing may be under way.
            drop(ready!(self.poll_ending(cx)));
            self.aborting = true;
            self.ending = Some(Box::pin(self.place.clone().abort()));
        }
        self.poll_ending(cx)
    }
}
