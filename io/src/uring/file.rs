//! An open file. Reads and writes go through the page cache, but for aligned writes to a file that was created for that; short ones are continued.

use super::descriptor::Descriptor;
use super::helper::Helper;
use super::raw::{Kept, Op, Request, Ring};
use crate::{BUFFER_ALIGN, Buffer, File, FileLock, IoError, LocalBoxFuture, ReadRequest, WriteError};
use io_uring::{opcode, types};
use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The most bytes that the kernel moves in one operation (`MAX_RW_COUNT` of a 4 KiB-page system).
const TRANSFER_MAX_BYTES: usize = 0x7fff_f000;

/// The file's shared parts; each operation's future holds a clone.
#[derive(Clone)]
struct Open {
    ring: Rc<Ring>,
    helper: Helper,
    descriptor: Rc<Descriptor>,
    uncached: Option<Rc<Uncached>>,
    path: Rc<Path>,
}

/// The same file, opened to be written around the page cache.
struct Uncached {
    descriptor: Rc<Descriptor>,
    /// The file system opens files like this and does not write to them, or wants more than our alignment.
    is_refused: Cell<bool>,
}

/// A file of the ring's core.
pub(super) struct UringFile(Open);

impl UringFile {
    pub(super) fn new(ring: &Rc<Ring>, helper: &Helper, descriptor: Rc<Descriptor>, uncached: Option<Rc<Descriptor>>, path: &Path) -> Self {
        let uncached = uncached.map(|descriptor| Rc::new(Uncached { descriptor, is_refused: Cell::new(false) }));
        Self(Open { ring: Rc::clone(ring), helper: helper.clone(), descriptor, uncached, path: path.into() })
    }
}

/// A read whose first part is with the kernel, or which has nothing to read.
enum Begun {
    UnderWay(Op),
    Nothing(Buffer),
}

impl Open {
    fn error(&self, operation: &'static str, error: io::Error) -> IoError {
        IoError::at(operation, &self.path, error)
    }

    /// Queues a read that continues after the content of `buffer`; `offset` is the place in the file of the buffer's start.
    fn queue_read(&self, offset: u64, mut buffer: Buffer) -> Begun {
        let filled = buffer.len();
        let room = (buffer.capacity() - filled).min(TRANSFER_MAX_BYTES);
        if room == 0 {
            return Begun::Nothing(buffer);
        }
        // SAFETY: `filled` is at most the capacity, so the pointer stays within the buffer.
        let target = unsafe { buffer.as_mut_ptr().add(filled) };
        let entry = opcode::Read::new(self.descriptor.target(), target, room as u32).offset(offset.saturating_add(filled as u64)).build();
        let request = Request { descriptor: Some(Rc::clone(&self.descriptor)), kept: Kept::Buffer(buffer), opens: false };
        // SAFETY: the entry points at `room` bytes within the buffer, which the request owns, behind what is filled.
        Begun::UnderWay(unsafe { self.ring.queue(entry, request) })
    }

    /// Waits for a read and continues it until the buffer or the file ends.
    async fn finish_read(&self, offset: u64, mut begun: Begun) -> Result<Buffer, IoError> {
        loop {
            let op = match begun {
                Begun::UnderWay(op) => op,
                Begun::Nothing(buffer) => return Ok(buffer),
            };
            let (result, kept) = op.await;
            let Kept::Buffer(mut buffer) = kept else { unreachable!("invariant: a read keeps its buffer") };
            match result {
                Ok(0) => return Ok(buffer),
                // SAFETY: the kernel has written that many bytes behind those that were filled.
                Ok(read) => unsafe { buffer.set_len(buffer.len() + read as usize) },
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(self.error("read from", error)),
            }
            begun = self.queue_read(offset, buffer);
            self.ring.submit();
        }
    }

    async fn write(self, offset: u64, mut buffer: Buffer) -> Result<Buffer, WriteError> {
        let mut written = 0;
        while written < buffer.len() {
            let left = (buffer.len() - written).min(TRANSFER_MAX_BYTES);
            let position = offset.saturating_add(written as u64);
            let is_aligned = written.is_multiple_of(BUFFER_ALIGN) && position.is_multiple_of(BUFFER_ALIGN as u64) && left >= BUFFER_ALIGN;
            let uncached = self.uncached.as_ref().filter(|uncached| is_aligned && !uncached.is_refused.get());
            let (descriptor, part) = match uncached {
                Some(uncached) => (&uncached.descriptor, left - left % BUFFER_ALIGN),
                None => (&self.descriptor, left),
            };
            // SAFETY: `written` is less than the length, so the pointer stays within the buffer.
            let source = unsafe { buffer.as_mut_ptr().add(written) };
            let entry = opcode::Write::new(descriptor.target(), source, part as u32).offset(position).build();
            let request = Request { descriptor: Some(Rc::clone(descriptor)), kept: Kept::Buffer(buffer), opens: false };
            // SAFETY: the entry points at `part` bytes within the buffer, which the request owns.
            let op = unsafe { self.ring.start(entry, request) };
            self.helper.free_workers();
            let (result, kept) = op.await;
            let Kept::Buffer(returned) = kept else { unreachable!("invariant: a write keeps its buffer") };
            buffer = returned;
            match result {
                Ok(0) => return Err(self.error("write to", io::ErrorKind::WriteZero.into()).into()),
                Ok(count) => written += count as usize,
                Err(error) if is_transient(&error) => {}
                Err(error) if uncached.is_some() && is_refusal(&error) => {
                    uncached.iter().for_each(|uncached| uncached.is_refused.set(true));
                }
                Err(error) => return Err(WriteError::new(self.error("write to", error), buffer)),
            }
        }
        Ok(buffer)
    }
}

/// Whether the file system does not write around the page cache, or not like this.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Whether the operation did nothing, because of a signal or a temporary shortage.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

impl File for UringFile {
    fn path(&self) -> PathBuf {
        self.0.path.to_path_buf()
    }

    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>> {
        let open = self.0.clone();
        Box::pin(async move {
            let stat = stat(&open.ring, Some(&open.descriptor), CString::default()).await;
            stat.map(|stat| stat.stx_size).map_err(|error| open.error("measure", error))
        })
    }

    fn read_at(&self, offset: u64, mut buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>> {
        let open = self.0.clone();
        Box::pin(async move {
            buffer.clear();
            let begun = open.queue_read(offset, buffer);
            open.ring.submit();
            open.finish_read(offset, begun).await
        })
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>> {
        let open = self.0.clone();
        Box::pin(async move {
            let begin = |ReadRequest { offset, mut buffer }| {
                buffer.clear();
                (offset, open.queue_read(offset, buffer))
            };
            let begun: Vec<_> = requests.into_iter().map(begin).collect();
            open.ring.submit();
            let mut results = Vec::with_capacity(begun.len());
            for (offset, begun) in begun {
                results.push(open.finish_read(offset, begun).await);
            }
            results
        })
    }

    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>> {
        Box::pin(self.0.clone().write(offset, buffer))
    }

    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>> {
        let open = self.0.clone();
        Box::pin(async move { sync(&open.ring, &open.helper, &open.descriptor).await.map_err(|error| open.error("sync", error)) })
    }

    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>> {
        let open = self.0.clone();
        Box::pin(async move {
            // SAFETY: the descriptor is open as long as `open` holds it, and this borrow ends before.
            let borrowed = unsafe { BorrowedFd::borrow_raw(open.descriptor.raw()) };
            // A duplicate of the same open file, so it holds the same lock: whatever becomes of this future and of the file, the lock lives by it.
            let duplicate = borrowed.try_clone_to_owned().map_err(|error| open.error("lock", error))?;
            // On the helper thread: the call may have to ask a server.
            let locked = open.helper.run(move || try_lock(duplicate)).await;
            locked.map(|held| held.map(FileLock::new)).map_err(|error| open.error("lock", error))
        })
    }
}

/// A held lock of flock(2). It belongs to the open file, and would end with the last descriptor at the latest; but the descriptor through which it was
/// taken may be closed later, through the ring. So dropping this unlocks explicitly, and the lock is free at once.
pub(crate) struct Locked(OwnedFd);

impl Drop for Locked {
    fn drop(&mut self) {
        // The result does not matter: closing unlocks as well.
        // SAFETY: the descriptor is open as long as this owns it, and the call takes no pointers.
        let _ = unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Blocks: only for the helper thread.
pub(crate) fn try_lock(file: OwnedFd) -> io::Result<Option<Locked>> {
    loop {
        // SAFETY: the descriptor is open, and the call takes no pointers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(Locked(file)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EWOULDBLOCK) => return Ok(None),
            // The errors of file systems without locks, or whose server does not support them.
            Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK | libc::EINVAL) => return Err(io::ErrorKind::Unsupported.into()),
            _ => return Err(error),
        }
    }
}

/// A full fsync: bytes, length and all metadata.
pub(super) async fn sync(ring: &Rc<Ring>, helper: &Helper, descriptor: &Rc<Descriptor>) -> io::Result<()> {
    let entry = opcode::Fsync::new(descriptor.target()).build();
    let request = Request { descriptor: Some(Rc::clone(descriptor)), kept: Kept::Nothing, opens: false };
    // Never retried, whatever the error: the page cache may have dropped bytes that it could not write.
    // SAFETY: the entry points at nothing.
    let op = unsafe { ring.start(entry, request) };
    helper.free_workers();
    op.await.0.map(drop)
}

/// The metadata of the entry at `path`, or of `descriptor` if there is one (then `path` is empty). Symbolic links are followed.
pub(super) async fn stat(ring: &Rc<Ring>, descriptor: Option<&Rc<Descriptor>>, path: CString) -> io::Result<libc::statx> {
    // SAFETY: statx is made of integers, for which zero is a value.
    let mut stat: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
    let (target, flags) = match descriptor {
        Some(descriptor) => (descriptor.target(), libc::AT_EMPTY_PATH),
        None => (types::Fd(libc::AT_FDCWD), 0),
    };
    let entry =
        opcode::Statx::new(target, path.as_ptr(), (&raw mut *stat).cast()).flags(flags).mask(libc::STATX_TYPE | libc::STATX_SIZE).build();
    let request = Request { descriptor: descriptor.cloned(), kept: Kept::Stat(stat, path), opens: false };
    // SAFETY: the entry points at the path's and the stat's heap memory, which the request owns.
    let (result, kept) = unsafe { ring.start(entry, request) }.await;
    let Kept::Stat(stat, _) = kept else { unreachable!("invariant: a stat keeps what it fills in") };
    result.map(|_| *stat)
}
