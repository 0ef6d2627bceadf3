//! What went wrong at the door: the operation, its object, and the operating system's reason.

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

    /// The class of the reason, to branch on.
    #[must_use]
    pub fn kind(&self) -> std::io::ErrorKind {
        self.source.kind()
    }

    /// Whether there was no room, on the disk or within a quota: it may go when somebody has made some.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }

    /// The operating system's number of the reason, if it came from there.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The same reason under another operation's name, for a caller that knows better what was being done.
    #[must_use]
    pub fn renamed(self, operation: &'static str) -> Self {
        Self { operation, ..self }
    }
}

/// Why a [write](crate::File::write_at) has failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no room. What was to be written comes back: it can be written again, at the same place, when there is some.
    #[error("{0}")]
    NoRoom(IoError, Buffer),
    /// Anything else. The buffer is given up.
    #[error(transparent)]
    Failed(#[from] IoError),
}

impl WriteError {
    /// A failed write of `buffer`.
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
