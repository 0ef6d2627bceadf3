//! Checkpoints on disk: the state from which a job resumes after any failure.
//!
//! The state of a subtask at a barrier is an image ([`SnapshotWriter`], [`Snapshot`]); the images of all subtasks, the positions of sources and the
//! prepared transactions are a checkpoint ([`Metadata`]); the checkpoints of a job lie in one folder with a log of numbered entries that says which
//! checkpoints hold, and which attempt may write ([`CheckpointStore`]). Every durable byte is checked before it is believed; docs/src/formats.md describes
//! the formats, field by field.
//!
//! The layout of a state's entries is in `entries`; their meaning is known to the operator that saved them. No code here reads a clock.

mod entries;
mod error;
mod extent;
mod files;
mod frame;
mod garbage;
mod inspect;
mod layers;
mod load;
mod log;
mod log_entry;
mod metadata;
mod names;
mod restoring;
mod snapshot;
mod snapshot_writer;
mod store;

pub(crate) use entries::namespace_bytes;
pub use entries::{Entries, Namespace, RawEntries, RawEntry, SavedEntry, append_entry, take_namespace};
pub use error::CheckpointError;
pub use files::{Piece, Pieces, discard, write_snapshot};
pub use frame::{FileHeader, FileKind};
pub use garbage::Cleanup;
pub use inspect::{CheckpointContent, CheckpointSummary, Inspection, Listing, StateInspection, inspect, list};
pub use layers::{LayeredState, Layers, layered};
pub use load::{Checkpoint, load, load_metadata, load_path};
pub use log_entry::{Event, LogEntry, Origin, Retained};
pub use metadata::{
    Decoded, FILES_MAX, FileRef, FinishedSubtask, Image, Metadata, OperatorEntry, Place, SnapshotEntry, SourceEntry, SplitEntry, StateFile,
    TaskSnapshot, TransactionEntry,
};
pub use names::{checkpoint_of_state_file, state_file_name};
pub use restoring::{RestoredEntry, restore};
pub use snapshot::{ImageMemory, Section, Snapshot};
pub use snapshot_writer::{ImageEnd, Scope, SnapshotWriter, StateIndex, StateLayout, StateSummary};
pub use store::{CheckpointStore, History};
pub use thalweg_record::{Attempt, CheckpointId, JobId};
