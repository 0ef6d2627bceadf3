//! What can go wrong with checkpoints, and what the user can do about it.
//!
//! Three cases call for three reactions and are told apart: the disk is full ([`CheckpointError::is_storage_full`]: the checkpoint is declined and
//! tried again later), another attempt has taken over ([`CheckpointError::is_fenced`]: stop, show nothing), and everything else (the attempt fails).

use thalweg_io::IoError;

/// A failed operation on a checkpoint folder. Every message names the file, or the folder, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The disk or the network under it failed. The bytes being written may be there, in part or not at all: the operation is not retried.
    #[error("{source}; see to the disk and restart the job: it goes on from its latest complete checkpoint")]
    Io {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// The path is not a folder, or this user may not write there.
    #[error("{source}; it cannot be used for checkpoints: choose another folder, or give this user the right to write there")]
    Unusable {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// The disk is full. Files already begun have been removed, and earlier checkpoints are untouched.
    #[error("{source}; the checkpoint is declined and the earlier ones are intact: make room, or retain fewer checkpoints")]
    StorageFull {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// Another attempt of the job has written to the log since: this attempt is over.
    #[error(
        "another attempt of this job has taken over {folder} (its log has entry {entry}): this one must stop; nothing it prepared is lost"
    )]
    Fenced {
        /// The checkpoint folder.
        folder: String,
        /// The entry that the other attempt wrote.
        entry: u64,
    },

    /// An earlier operation of this store failed in a way that leaves the content of the disk unknown.
    #[error("the checkpoint store of {folder} has failed before and is out of use: restart the job")]
    Poisoned {
        /// The checkpoint folder.
        folder: String,
    },

    /// The bytes read differ from those written.
    #[error(
        "{file} is corrupt at byte {offset}: {reason}; it is not used: restore an older checkpoint, or bring \
         the file back from a copy"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// The offset of the damage in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },

    /// The file is intact, but of a format version that this program does not know.
    #[error(
        "{file} has format version {found}, and this program reads version {known}: use the version of Thalweg that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// The file.
        file: String,
        /// The version of the file.
        found: u32,
        /// The version that this program can read.
        known: u32,
    },

    /// The path names neither a checkpoint folder nor a metadata file.
    #[error("{file} {reason}: name a checkpoint folder, or a metadata file (chk-*.metadata) in one")]
    Foreign {
        /// The file.
        file: String,
        /// What the file is, or is not.
        reason: String,
    },

    /// The newest entry of the log is missing.
    #[error(
        "{file} is missing: the log had it, for {head} is its second name, and to go on from {older} would lose or repeat what came after it; \
         give it its name back (cp {head} {file}), or remove {head} to go on from {older} all the same"
    )]
    MissingEntry {
        /// The file that is missing.
        file: String,
        /// The head, the second name of the same file: it shows that the entry was there.
        head: String,
        /// The older entry found in its place.
        older: String,
    },

    /// Something else has the name of an entry yet to be written.
    #[error("{file} is {kind} and not an entry of the log, and has the name of one that is to come: move it out of the folder")]
    NotAnEntry {
        /// The path of the obstacle.
        file: String,
        /// What kind of thing it is.
        kind: &'static str,
    },

    /// The checkpoint or folder asked for does not exist.
    #[error("there is no {what}: {cure}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What the user can do.
        cure: String,
    },
}

impl CheckpointError {
    /// Whether the disk was full: the checkpoint is declined, the attempt does not fail.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::StorageFull { .. })
    }

    /// Whether another attempt has taken over: this one must stop.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }

    /// Whether bytes on disk are damaged, foreign or of another version: an older checkpoint may still be whole.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. }
                | Self::UnknownVersion { .. }
                | Self::Foreign { .. }
                | Self::MissingEntry { .. }
                | Self::NotAnEntry { .. }
                | Self::NotFound { .. }
        )
    }

    /// Whether the folder is unusable as it is: retrying does not help.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }

    pub(super) fn corrupt(file: &str, offset: usize, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset: offset as u64, reason: reason.into() }
    }

    /// The error of an operation that does not write: it is never a full disk.
    pub(super) fn io(source: IoError) -> Self {
        use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        match source.kind() {
            NotADirectory | PermissionDenied | ReadOnlyFilesystem => Self::Unusable { source },
            _ => Self::Io { source },
        }
    }

    /// The error of creating the folder: its name may already belong to something else.
    pub(super) fn creating(source: IoError) -> Self {
        if source.kind() == std::io::ErrorKind::AlreadyExists { Self::Unusable { source } } else { Self::writing(source) }
    }

    /// The error of an operation that takes disk space, on a file that nothing refers to yet.
    pub(super) fn writing(source: IoError) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::StorageFull { source },
            _ => Self::io(source),
        }
    }
}
