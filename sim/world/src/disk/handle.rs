//! The asynchronous door to a disk: the engine's traits, each call an operation on the model.
//!
//! What an operation does is written here once; when it does it, and what comes between, is the affair of who has access: a process of a world
//! (`operation`), or a test that goes from step to step (`stepped`).

use super::faults::{DiskFaultKind, OperationClass};
use super::model::EIO;
use super::operation::Submission;
use super::{DiskState, DiskUser, InodeId, SimulatedDisk};
use crate::rng::Draw;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use thalweg_io::{Buffer, DirEntry, Disk, EntryKind, File, FileLock, IoError, LocalBoxFuture, OpenMode, ReadRequest, Rng, WriteError};

/// What a buffer holds while a read into it is under way.
const POISON: u8 = 0xDD;

/// Brings operations to a disk, sooner or later.
pub(crate) trait DiskAccess: Clone + 'static {
    /// Carries `effect` out on the disk, unless something comes between.
    fn operate<T: 'static>(
        self,
        operation: &'static str,
        object: PathBuf,
        class: OperationClass,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> impl Future<Output = Result<T, IoError>> + 'static;
}

/// A door to a disk.
#[derive(Clone)]
pub(crate) struct DiskHandle<A> {
    access: A,
}

impl<A: DiskAccess> DiskHandle<A> {
    pub(crate) fn new(access: A) -> Self {
        Self { access }
    }

    /// An operation on names that fails as a whole if a fault hits it.
    async fn on_names<T: 'static>(
        self,
        operation: &'static str,
        path: PathBuf,
        class: OperationClass,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> Result<T, IoError> {
        let effect = |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            effect(disk, submission)
        };
        self.access.operate(operation, path, class, effect).await
    }
}

/// What an operation with two names is about, as an error message has it.
fn pair(from: &Path, to: &Path) -> PathBuf {
    PathBuf::from(format!("{} to {}", from.display(), to.display()))
}

impl<A: DiskAccess> Disk for DiskHandle<A> {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let (handle, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let (operation, class) = match mode {
                OpenMode::CreateNew | OpenMode::CreateUncached => ("disk.create", OperationClass::Name),
                OpenMode::Read | OpenMode::Write => ("disk.open", OperationClass::Look),
            };
            let target = path.clone();
            let effect = move |disk: &SimulatedDisk, submission: &Submission| {
                let state = &mut *disk.state.borrow_mut();
                let inode = state.open(&target, mode)?;
                if let Some(open) = state.users.get_mut(&submission.user) {
                    *open.entry(inode).or_default() += 1;
                }
                Ok(OpenFile { disk: disk.clone(), inode, user: submission.user, life: state.life })
            };
            let open = handle.clone().on_names(operation, path.clone(), class, effect).await?;
            Ok(Rc::new(SimFile { handle, path, writable: mode != OpenMode::Read, open: Rc::new(open) }) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().list(&target);
        Box::pin(self.clone().on_names("disk.list", path.to_owned(), OperationClass::Look, effect))
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow().model.kind(&target);
        Box::pin(self.clone().on_names("disk.look at", path.to_owned(), OperationClass::Look, effect))
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.create_dir_all(&target);
        Box::pin(self.clone().on_names("disk.create directory", path.to_owned(), OperationClass::Name, effect))
    }

    fn rename(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (source, target) = (from.to_owned(), to.to_owned());
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.rename(&source, &target);
        Box::pin(self.clone().on_names("disk.rename", pair(from, to), OperationClass::Name, effect))
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (source, target) = (from.to_owned(), to.to_owned());
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.link(&source, &target);
        Box::pin(self.clone().on_names("disk.link", pair(from, to), OperationClass::Name, effect))
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.unlink(&target);
        Box::pin(self.clone().on_names("disk.remove", path.to_owned(), OperationClass::Unlink, effect))
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let model = &mut disk.state.borrow_mut().model;
            let directory = model.open_dir(&target)?;
            if submission.fault == Some(DiskFaultKind::Error) {
                model.fail_sync_dir(directory, submission.mark);
            }
            submission.check()?;
            model.sync_dir(directory, submission.mark);
            Ok(())
        };
        Box::pin(self.access.clone().operate("disk.sync directory", path.to_owned(), OperationClass::SyncDirectory, effect))
    }
}

/// Keeps a file's content reachable while somebody has it open. The end of a process closes it: what then still holds it belongs to the dead.
struct OpenFile {
    disk: SimulatedDisk,
    inode: InodeId,
    user: DiskUser,
    life: u64,
}

impl OpenFile {
    /// Whether neither its process has ended nor power failed since it was opened.
    fn is_open(&self, state: &DiskState) -> bool {
        state.life == self.life && state.users.contains_key(&self.user)
    }

    /// The file, unless the end of a process has closed it.
    fn inode(&self, state: &DiskState) -> io::Result<InodeId> {
        if self.is_open(state) { Ok(self.inode) } else { Err(io::Error::from_raw_os_error(EIO)) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let state = &mut *self.disk.state.borrow_mut();
        if self.is_open(state) {
            if let Some(count) = state.users.get_mut(&self.user).and_then(|open| open.get_mut(&self.inode)) {
                *count -= 1;
            }
            state.model.close(self.inode);
        }
    }
}

struct SimFile<A> {
    handle: DiskHandle<A>,
    path: PathBuf,
    writable: bool,
    open: Rc<OpenFile>,
}

impl<A: DiskAccess> File for SimFile<A> {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        let open = Rc::clone(&self.open);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            let state = &*disk.state.borrow();
            state.model.len(open.inode(state)?)
        };
        Box::pin(self.handle.access.clone().operate("disk.measure", self.path.clone(), OperationClass::Look, effect))
    }

    fn read_at(&self, offset: u64, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let open = Rc::clone(&self.open);
        buffer.resize(buffer.capacity(), POISON);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            let state = &mut *disk.state.borrow_mut();
            let len = state.model.read(open.inode(state)?, offset, &mut buffer)?;
            buffer.truncate(len);
            if submission.fault == Some(DiskFaultKind::Misread) && len > 0 {
                let bit = state.part_stream.below(8 * len as u64) as usize;
                buffer[bit / 8] ^= 1 << (bit % 8);
            }
            Ok(buffer)
        };
        Box::pin(self.handle.access.clone().operate("disk.read from", self.path.clone(), OperationClass::Read, effect))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        let reads = requests.into_iter().map(|request| self.read_at(request.offset, request.buffer)).collect();
        Box::pin(join_all(reads))
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        let (open, writable) = (Rc::clone(&self.open), self.writable);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let state = &mut *disk.state.borrow_mut();
            if !writable {
                return Err(io::Error::from_raw_os_error(EBADF));
            }
            let inode = open.inode(state)?;
            let is_cut_short = submission.interrupted && state.part_stream.chance(500);
            let mut written = submission.check();
            if written.is_ok() && !is_cut_short {
                written = state.model.write(inode, offset, &buffer);
            }
            state.writers.insert(inode, submission.user);
            if written.is_err() || is_cut_short {
                // It may have come some way.
                let most = (buffer.len() as u64).min(state.model.room_bytes());
                let done = state.part_stream.between(0, most) as usize;
                state.model.write(inode, offset, &buffer[..done])?;
            }
            if written.is_ok() && submission.fault == Some(DiskFaultKind::Phantom) {
                state.model.doom_last_write(inode);
            }
            Ok((written, buffer))
        };
        let (handle, path) = (self.handle.clone(), self.path.clone());
        Box::pin(async move {
            let (written, buffer) = handle.access.operate("disk.write to", path.clone(), OperationClass::Write, effect).await?;
            match written {
                Ok(()) => Ok(buffer),
                Err(error) => Err(WriteError::new(IoError::at("write to", &path, error), buffer)),
            }
        })
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let open = Rc::clone(&self.open);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let state = &mut *disk.state.borrow_mut();
            let inode = open.inode(state)?;
            if submission.check().is_err() {
                state.model.fail_sync(inode, submission.mark);
            }
            if submission.fault == Some(DiskFaultKind::Forgotten) {
                state.model.forget_failed(inode);
            }
            submission.check()?;
            state.model.sync(inode, submission.mark);
            Ok(())
        };
        Box::pin(self.handle.access.clone().operate("disk.sync", self.path.clone(), OperationClass::Sync, effect))
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        let open = Rc::clone(&self.open);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            let state = &mut *disk.state.borrow_mut();
            let inode = open.inode(state)?;
            Ok(state.try_lock(inode, submission.user)?.map(FileLock::new))
        };
        Box::pin(self.handle.access.clone().operate("disk.lock", self.path.clone(), OperationClass::Look, effect))
    }
}

/// Linux's number for writing through a handle that was opened for reading.
const EBADF: i32 = 9;

/// Drives `futures` at the same time; the results stand in their order.
async fn join_all<T>(futures: Vec<LocalBoxFuture<T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Some).collect();
    let mut results: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, result) in waiting.iter_mut().zip(&mut results) {
            if let Some(running) = future
                && let Poll::Ready(value) = Pin::new(running).poll(cx)
            {
                *result = Some(value);
                *future = None;
            }
        }
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}
