//! What can go wrong with checkpoints, and what the person can do about it.
//!
//! Three cases call for three reactions and are told apart: the disk is full ([`CheckpointError::is_storage_full`]: the checkpoint is declined and
//! tried again later), another attempt has taken over ([`CheckpointError::is_fenced`]: stop, show nothing), and everything else (the attempt fails).

use thalweg_io::IoError;

/// A failed operation on a checkpoint folder. Every message names the file, or the folder, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The disk or the network under it failed. What the operation wrote may be there, in part or not at all: nothing of it is tried again.
    #[error("{source}; see to the disk and restart the job: it goes on from its latest complete checkpoint")]
    Io {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// The folder is none, or this user may not write there.
    #[error("{source}; it cannot be used for checkpoints: choose another folder, or give this user the right to write there")]
    Unusable {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// There is no room. What was begun has been removed, and earlier checkpoints are untouched.
    #[error("{source}; the checkpoint is declined and the earlier ones are intact: make room, or retain fewer checkpoints")]
    StorageFull {
        /// The operation, the file and the system's reason.
        source: IoError,
    },

    /// Another attempt of the job has written to the log since: this one is over.
    #[error(
        "another attempt of this job has taken over {folder} (its log has entry {entry}): this one must stop; nothing it prepared is lost"
    )]
    Fenced {
        /// The checkpoint folder.
        folder: String,
        /// The entry that the other attempt wrote.
        entry: u64,
    },

    /// An earlier operation of this store failed in a way that leaves open what is on disk.
    #[error("the checkpoint store of {folder} has failed before and is out of use: restart the job")]
    Poisoned {
        /// The checkpoint folder.
        folder: String,
    },

    /// Bytes are not what was written.
    #[error(
        "{file} is corrupt at byte {offset}: {reason}; it is not used: restore an older checkpoint, or bring \
         the file back from a copy"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },

    /// The file is intact and of a version that this program does not know.
    #[error(
        "{file} has format version {found}, and this program reads version {known}: use the version of Thalweg that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// The file.
        file: String,
        /// The version it has.
        found: u32,
        /// The version that can be read.
        known: u32,
    },

    /// The file is something else.
    #[error("{file} {reason}: name a checkpoint folder, or a metadata file (chk-*.metadata) in one")]
    Foreign {
        /// The file.
        file: String,
        /// What it is, or is not.
        reason: String,
    },

    /// The newest entry of the log is not there any more.
    #[error(
        "{file} is missing: the log had it, for {head} is its second name, and to go on from {older} would lose or repeat what came after it; \
         give it its name back (cp {head} {file}), or remove {head} to go on from {older} all the same"
    )]
    MissingEntry {
        /// The file that is missing.
        file: String,
        /// The other name of the same file, which tells.
        head: String,
        /// What is there instead.
        older: String,
    },

    /// Something else has the name of an entry that is to come.
    #[error("{file} is {kind} and not an entry of the log, and has the name of one that is to come: move it out of the folder")]
    NotAnEntry {
        /// Its path.
        file: String,
        /// What it is.
        kind: &'static str,
    },

    /// There is nothing of the kind.
    #[error("there is no {what}: {cure}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What the person can do.
        cure: String,
    },
}

impl CheckpointError {
    /// Whether the disk was full: a checkpoint declined, not an attempt failed.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::StorageFull { .. })
    }

    /// Whether another attempt has taken over.
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

    /// Whether the folder cannot be used as it is, which does not pass by itself.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }

    pub(super) fn corrupt(file: &str, offset: usize, reason: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset: offset as u64, reason: reason.into() }
    }

    /// An error of an operation that is not part of writing: it is never a full disk.
    pub(super) fn io(source: IoError) -> Self {
        use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        match source.kind() {
            NotADirectory | PermissionDenied | ReadOnlyFilesystem => Self::Unusable { source },
            _ => Self::Io { source },
        }
    }

    /// An error of creating the folder: what has its name already is something else.
    pub(super) fn creating(source: IoError) -> Self {
        if source.kind() == std::io::ErrorKind::AlreadyExists { Self::Unusable { source } } else { Self::writing(source) }
    }

    /// An error of an operation that takes room, on a file that nothing refers to yet.
    pub(super) fn writing(source: IoError) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::StorageFull { source },
            _ => Self::io(source),
        }
    }
}
