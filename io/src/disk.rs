//! Files and directories, with the promises a database needs spelled out.
//!
//! *Durability*: after [`File::sync`] returned `Ok`, the file's bytes and length survive a power loss; its *name* survives only after [`Disk::sync_dir`] on
//! the directory that holds it (a new file, a rename, a link and an unlink alike). Nothing else is durable, and unsynced writes may survive in any order,
//! in part or torn. A failed sync is final: the data may be gone, and a second sync that succeeds proves nothing.
//!
//! *Locks*: a lock belongs to the process that holds it and ends with that process, however it ends, so a locked file has a living owner. A process that is
//! only stopped still holds its locks. Locks are advisory: they do not bind a process that does not take them.
//!
//! *Ordering*: operations under way at the same time on one file complete in any order. A caller that needs an order awaits each before the next.

use crate::{Buffer, IoError, LocalBoxFuture, WriteError};
use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For writing and reading; the file must not exist (`O_EXCL`).
    CreateNew,
    /// As `CreateNew`, for what is written in large pieces and not read soon. What of a piece begins and ends at a multiple of
    /// [`BUFFER_ALIGN`](crate::BUFFER_ALIGN), in the file as in memory, may bypass the page cache: that spares a copy and the cache, and promises no more.
    CreateUncached,
    /// For writing and reading; the file must exist and is not truncated.
    Write,
}

impl OpenMode {
    /// Whether the file is to be created, and must not exist.
    #[must_use]
    pub fn creates(self) -> bool {
        matches!(self, Self::CreateNew | Self::CreateUncached)
    }
}

/// The kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a socket, a device, a dangling link.
    Other,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name alone, without the directory's path.
    pub name: String,
    /// The kind of its target, symbolic links followed.
    pub kind: EntryKind,
}

/// One read of a [`File::read_batch`].
pub struct ReadRequest {
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// Filled from its start up to its capacity.
    pub buffer: Buffer,
}

/// A file system.
pub trait Disk {
    /// Opens the file at `path`.
    fn open(&self, path: &Path, mode: OpenMode) -> LocalBoxFuture<Result<Rc<dyn File>, IoError>>;

    /// The names in the directory at `path`, without `.` and `..`, sorted by name.
    fn list(&self, path: &Path) -> LocalBoxFuture<Result<Vec<DirEntry>, IoError>>;

    /// The kind of the entry at `path`, symbolic links followed; `None` if there is none.
    fn kind(&self, path: &Path) -> LocalBoxFuture<Result<Option<EntryKind>, IoError>>;

    /// Creates the directory at `path` and those above it that are missing; not an error if it exists.
    fn create_dir_all(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>>;

    /// Renames the file at `from` to `to`, replacing any file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>>;

    /// Adds the name `to` for the file at `from`; fails with `AlreadyExists` if `to` exists. The way to publish exactly once.
    fn link(&self, from: &Path, to: &Path) -> LocalBoxFuture<Result<(), IoError>>;

    /// Removes the name `path`.
    fn unlink(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>>;

    /// Makes the entries of the directory at `path` durable.
    fn sync_dir(&self, path: &Path) -> LocalBoxFuture<Result<(), IoError>>;
}

/// The lock on a file: see [`File::try_lock`]. The lock ends when this is dropped, and with the process.
pub struct FileLock {
    _held: Box<dyn Any + Send>,
}

impl FileLock {
    /// A lock that ends when `held` is dropped; for backends.
    #[must_use]
    pub fn new(held: impl Any + Send) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for FileLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileLock")
    }
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "its length is asked of the kernel, not looked up")]
pub trait File {
    /// The file's path at the time it was opened, for messages.
    fn path(&self) -> PathBuf;

    /// The file's length in bytes.
    fn len(&self) -> LocalBoxFuture<Result<u64, IoError>>;

    /// Reads from `offset` into `buffer` up to its capacity. Returns the buffer with its length set to the bytes read: less than the capacity only at the
    /// end of the file. On an error the buffer's content is undefined and the buffer is dropped.
    fn read_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, IoError>>;

    /// Several reads in one submission. The results are in the order of the requests, whatever the order of completion.
    fn read_batch(&self, requests: Vec<ReadRequest>) -> LocalBoxFuture<Vec<Result<Buffer, IoError>>>;

    /// Writes all of `buffer` at `offset` (a short write is continued) and returns it. After an error the range's content is undefined. If there was no
    /// room, only that range is affected: earlier writes are intact, and the buffer is returned to be written again.
    fn write_at(&self, offset: u64, buffer: Buffer) -> LocalBoxFuture<Result<Buffer, WriteError>>;

    /// Makes bytes and length durable (`fsync`).
    fn sync(&self) -> LocalBoxFuture<Result<(), IoError>>;

    /// Takes the lock on the file, under whatever name it was opened, if no handle holds it; `None` if one does, even another handle of this process. The
    /// lock is held until it is dropped, even if the file handle is dropped first. The file must be open for writing.
    ///
    /// Fails with `Unsupported` if the file system has no locks.
    fn try_lock(&self) -> LocalBoxFuture<Result<Option<FileLock>, IoError>>;
}
