//! The asynchronous door to a disk: operations with latencies, in flight at the same time, completing in any order.
//!
//! An operation is submitted when its future is first polled. It takes effect at one moment, which is its submission or its completion as the
//! stream of the disk decides (a sync always at its completion, and only for what was done before its submission). A future that is dropped
//! in between gives up the result, not the operation: like one that the kernel already has, it is still carried out.

use super::model::{EIO, ENOSPC};
use super::{DiskFaultKind, DiskState, InodeId, SimulatedDisk};
use crate::clock::sleep_until;
use crate::rng::Draw;
use crate::tasks::{NO_CORE, Tasks};
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use thalweg_io::{Buffer, DirEntry, Disk, EntryKind, File, IoError, LocalBoxFuture, OpenMode, ReadRequest, Rng, yield_now};

/// What a buffer holds while a read into it is under way.
const POISON: u8 = 0xDD;

/// A core's access to a disk.
#[derive(Clone)]
pub(crate) struct DiskHandle {
    disk: SimulatedDisk,
    tasks: Rc<Tasks>,
}

/// Whether an operation needs room, and whether it may take effect before it completes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// Looks only.
    Reads,
    /// Adds a name or content.
    NeedsRoom,
    /// Changes something, and needs no room for it.
    Changes,
    /// Makes durable what was done before.
    Syncs,
}

/// What an operation knows when it takes effect.
struct Submission {
    /// The model's mark when it was submitted.
    mark: u64,
    /// The fault that hits it.
    fault: Option<DiskFaultKind>,
    /// How many crashes the disk had seen: an operation from before a crash does nothing after it.
    crashes: u64,
}

impl DiskHandle {
    pub(crate) fn new(disk: SimulatedDisk, tasks: Rc<Tasks>) -> Self {
        Self { disk, tasks }
    }

    /// Carries `effect` out on the model, sooner or later.
    async fn operate<T: 'static>(
        self,
        operation: &'static str,
        object: PathBuf,
        nature: Nature,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> Result<T, IoError> {
        let place = object.to_string_lossy();
        self.tasks.note_operation(operation, &place);
        let (number, submission, early, due_ns, yields) = self.submit(nature);
        self.tasks.note(operation, &place, [number as i64, due_ns as i64, 0]);
        if let Some(fault) = submission.fault {
            self.tasks.note("disk.fault", &format!("{fault:?} on {place}"), [number as i64, 0, 0]);
        }
        let mut in_flight = InFlight { handle: self.clone(), due_ns, work: Some((submission, Box::new(effect))) };
        let mut result = if early { in_flight.take_effect() } else { None };
        for _ in 0..yields {
            yield_now().await;
        }
        sleep_until(&self.tasks, due_ns).await;
        if result.is_none() {
            result = in_flight.take_effect();
        }
        result.expect("invariant: an operation takes effect once").map_err(|error| IoError::at(verb(operation), &object, error))
    }

    /// Numbers an operation and draws how it will go: its number, what it will know, whether it takes effect at once, when it completes, and
    /// how often it yields before.
    fn submit(&self, nature: Nature) -> (u64, Submission, bool, u64, u64) {
        let state = &mut *self.disk.state.borrow_mut();
        let number = state.operations;
        state.operations += 1;
        let fault = state.faults.remove(&number).filter(|fault| *fault != DiskFaultKind::Full || nature == Nature::NeedsRoom);
        state.faults_injected += u64::from(fault.is_some());
        let early = state.stream.chance(state.config.early_effect_per_mille) && nature != Nature::Syncs;
        let yields = state.stream.below(3);
        let mut latency_ms = 0;
        if !state.stream.chance(state.config.instant_per_mille) {
            // Mostly a quarter of the maximum at most, now and then all of it.
            let max = if state.stream.chance(900) { state.config.latency_ms_max.div_ceil(4) } else { state.config.latency_ms_max };
            latency_ms = state.stream.between(1, max.max(1));
        }
        if let Some(DiskFaultKind::Stall { ms }) = fault {
            latency_ms += ms;
        }
        let due_ns = self.tasks.now_ns() + if latency_ms > 0 { latency_ms * 1_000_000 + state.stream.below(1_000_000) } else { 0 };
        (number, Submission { mark: state.model.mark(), fault, crashes: state.crashes }, early, due_ns, yields)
    }

    /// An operation on names that fails as a whole if a fault hits it.
    async fn on_names<T: 'static>(
        self,
        operation: &'static str,
        path: PathBuf,
        nature: Nature,
        effect: impl FnOnce(&SimulatedDisk, &Submission) -> io::Result<T> + 'static,
    ) -> Result<T, IoError> {
        let effect = |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            effect(disk, submission)
        };
        self.operate(operation, path, nature, effect).await
    }
}

/// What an operation with two names is about, as an error message has it.
fn pair(from: &Path, to: &Path) -> PathBuf {
    PathBuf::from(format!("{} to {}", from.display(), to.display()))
}

/// The name of an operation in the trace, as an error message has it.
fn verb(operation: &'static str) -> &'static str {
    operation.strip_prefix("disk.").unwrap_or(operation)
}

impl Submission {
    fn check(&self) -> io::Result<()> {
        match self.fault {
            Some(DiskFaultKind::Error) => Err(io::Error::from_raw_os_error(EIO)),
            Some(DiskFaultKind::Full) => Err(io::Error::from_raw_os_error(ENOSPC)),
            Some(DiskFaultKind::Stall { .. }) | None => Ok(()),
        }
    }
}

type Effect<T> = Box<dyn FnOnce(&SimulatedDisk, &Submission) -> io::Result<T>>;

/// An operation that the disk has and the program still waits for.
struct InFlight<T: 'static> {
    handle: DiskHandle,
    due_ns: u64,
    work: Option<(Submission, Effect<T>)>,
}

impl<T> InFlight<T> {
    /// Does the work; `None` if it has been done.
    fn take_effect(&mut self) -> Option<io::Result<T>> {
        let (submission, effect) = self.work.take()?;
        Some(run_effect(&self.handle.disk, &submission, effect))
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        let Some((submission, effect)) = self.work.take() else { return };
        let (disk, tasks, due_ns) = (self.handle.disk.clone(), Rc::clone(&self.handle.tasks), self.due_ns);
        if tasks.is_stopped() {
            // The process is gone; what the disk already had may or may not be done.
            if disk.state.borrow_mut().stream.chance(500) {
                drop(run_effect(&disk, &submission, effect));
            }
            return;
        }
        let abandoned = Rc::clone(&tasks);
        let finish = async move {
            sleep_until(&abandoned, due_ns).await;
            drop(run_effect(&disk, &submission, effect));
        };
        tasks.spawn(NO_CORE, "world/abandoned-disk-operation", Box::pin(finish));
    }
}

fn run_effect<T>(disk: &SimulatedDisk, submission: &Submission, effect: Effect<T>) -> io::Result<T> {
    if disk.state.borrow().crashes != submission.crashes {
        // Submitted before a crash: the drive never saw it.
        return Err(io::Error::from_raw_os_error(EIO));
    }
    effect(disk, submission)
}

impl Disk for DiskHandle {
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>> {
        let (handle, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let (operation, nature) = match mode {
                OpenMode::CreateNew => ("disk.create", Nature::NeedsRoom),
                OpenMode::Read | OpenMode::Write => ("disk.open", Nature::Reads),
            };
            let target = path.clone();
            let effect = move |disk: &SimulatedDisk, _: &Submission| {
                let state = &mut *disk.state.borrow_mut();
                let inode = state.model.open(&target, mode)?;
                Ok(OpenFile { disk: disk.clone(), inode, crashes: state.crashes })
            };
            let open = handle.clone().on_names(operation, path.clone(), nature, effect).await?;
            Ok(Rc::new(SimFile { handle, path, writable: mode != OpenMode::Read, open: Rc::new(open) }) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow().model.list(&target);
        Box::pin(self.clone().on_names("disk.list", path.to_owned(), Nature::Reads, effect))
    }

    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow().model.kind(&target);
        Box::pin(self.clone().on_names("disk.look at", path.to_owned(), Nature::Reads, effect))
    }

    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.create_dir_all(&target);
        Box::pin(self.clone().on_names("disk.create directory", path.to_owned(), Nature::NeedsRoom, effect))
    }

    fn rename(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (source, target) = (from.to_owned(), to.to_owned());
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.rename(&source, &target);
        Box::pin(self.clone().on_names("disk.rename", pair(from, to), Nature::NeedsRoom, effect))
    }

    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let (source, target) = (from.to_owned(), to.to_owned());
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.link(&source, &target);
        Box::pin(self.clone().on_names("disk.link", pair(from, to), Nature::NeedsRoom, effect))
    }

    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, _: &Submission| disk.state.borrow_mut().model.unlink(&target);
        Box::pin(self.clone().on_names("disk.remove", path.to_owned(), Nature::Changes, effect))
    }

    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>> {
        let target = path.to_owned();
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let model = &mut disk.state.borrow_mut().model;
            let directory = model.open_dir(&target)?;
            model.sync_dir(directory, submission.mark);
            Ok(())
        };
        Box::pin(self.clone().on_names("disk.sync directory", path.to_owned(), Nature::Syncs, effect))
    }
}

/// Keeps a file's content reachable while somebody has it open. A crash closes it: what then still holds it belongs to the dead.
struct OpenFile {
    disk: SimulatedDisk,
    inode: InodeId,
    crashes: u64,
}

impl OpenFile {
    /// The file, unless a crash has closed it.
    fn inode(&self, state: &DiskState) -> io::Result<InodeId> {
        if state.crashes == self.crashes { Ok(self.inode) } else { Err(io::Error::from_raw_os_error(EIO)) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let state = &mut *self.disk.state.borrow_mut();
        if state.crashes == self.crashes {
            state.model.close(self.inode);
        }
    }
}

struct SimFile {
    handle: DiskHandle,
    path: PathBuf,
    writable: bool,
    open: Rc<OpenFile>,
}

impl File for SimFile {
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
        Box::pin(self.handle.clone().operate("disk.measure", self.path.clone(), Nature::Reads, effect))
    }

    fn read_at(&self, offset: u64, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let open = Rc::clone(&self.open);
        buffer.resize(buffer.capacity(), POISON);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            submission.check()?;
            let state = &*disk.state.borrow();
            let len = state.model.read(open.inode(state)?, offset, &mut buffer)?;
            buffer.truncate(len);
            Ok(buffer)
        };
        Box::pin(self.handle.clone().operate("disk.read from", self.path.clone(), Nature::Reads, effect))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        let reads = requests.into_iter().map(|request| self.read_at(request.offset, request.buffer)).collect();
        Box::pin(join_all(reads))
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let (open, writable) = (Rc::clone(&self.open), self.writable);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let state = &mut *disk.state.borrow_mut();
            if !writable {
                return Err(io::Error::from_raw_os_error(EBADF));
            }
            let inode = open.inode(state)?;
            if submission.fault == Some(DiskFaultKind::Error) {
                let done = state.stream.between(0, buffer.len() as u64) as usize;
                state.model.write(inode, offset, &buffer[..done])?;
            }
            submission.check()?;
            state.model.write(inode, offset, &buffer)?;
            Ok(buffer)
        };
        Box::pin(self.handle.clone().operate("disk.write to", self.path.clone(), Nature::NeedsRoom, effect))
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let open = Rc::clone(&self.open);
        let effect = move |disk: &SimulatedDisk, submission: &Submission| {
            let state = &mut *disk.state.borrow_mut();
            let inode = open.inode(state)?;
            if submission.fault == Some(DiskFaultKind::Error) {
                state.model.fail_sync(inode, submission.mark);
            }
            submission.check()?;
            state.model.sync(inode, submission.mark);
            Ok(())
        };
        Box::pin(self.handle.clone().operate("disk.sync", self.path.clone(), Nature::Syncs, effect))
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
