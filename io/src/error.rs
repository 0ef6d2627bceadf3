//! Errors of the door: the operation, its object, and the operating system's reason.

use crate::Buffer;
use std::fmt;
use std::path::Path;

/// A failed operation of a [`Disk`](crate::Disk), [`File`](crate::File) or [`Net`](crate::Net).
///
/// The message reads `cannot open data/x.csv: No such file or directory (os error 2)`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {subject}: {source}")]
pub struct IoError {
    operation: &'static str,
    subject: String,
    source: std::io::Error,
}

impl IoError {
    /// An error of `operation` ("open", "write to", "sync", ...) on `subject` (a path, an address).
    pub fn new(operation: &'static str, subject: impl fmt::Display, source: std::io::Error) -> Self {
        Self { operation, subject: subject.to_string(), source }
    }

    /// An error of `operation` on the file or directory at `path`.
    pub fn at(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::new(operation, path.display(), source)
    }

    /// The kind of the reason, to branch on.
    #[must_use]
    pub fn kind(&self) -> std::io::ErrorKind {
        self.source.kind()
    }

    /// Whether the disk, or a quota, was full: the operation may succeed when room has been made.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }

    /// The operating system's error number, if the reason came from there.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The same reason under another operation's name, for a caller that can name the operation better.
    #[must_use]
    pub fn renamed(self, operation: &'static str) -> Self {
        Self { operation, ..self }
    }
}

/// Why a [write](crate::File::write_at) failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no room. The buffer comes back: it can be written again, at the same place, when there is room.
    #[error("{0}")]
    NoRoom(IoError, Buffer),
    /// Any other error. The buffer is dropped.
    #[error(transparent)]
    Failed(#[from] IoError),
}

impl WriteError {
    /// A failed write, with the `buffer` that was to be written.
    #[must_use]
    pub fn new(error: IoError, buffer: Buffer) -> Self {
        if error.is_storage_full() { Self::NoRoom(error, buffer) } else { Self::Failed(error) }
    }
}

impl From<WriteError> for IoError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoRoom(error, _) | WriteError::Failed(error) => error,
        }
    }
}
