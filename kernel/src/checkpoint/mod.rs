//! Checkpoints as the engine takes and restores them.
//!
//! A barrier runs through the graph; when it reaches a stage with state, that stage seals it (`sealed_state.rs`): it is saved into the subtask's snapshot
//! later, by slices, while records flow. The driver saves and stores the snapshot in the background and tells the coordinator (docs/src/semantics.md#c-1). The
//! bytes of state, and all files, are the affair of `thalweg_storage::checkpoint`.

mod config;
mod contents;
mod difference;
mod given_layouts;
pub(crate) mod images;
mod operator_state;
mod reader;
mod restored;
mod sealed_state;
pub(crate) mod snapshots;

pub use config::{CheckpointConfig, RestartStrategy, Restore};
pub use contents::CheckpointContents;
pub use difference::{CheckpointDifference, ComparedPart, PartFate, PartKind, PartLayout};
pub(crate) use given_layouts::GivenLayouts;
pub(crate) use operator_state::{OperatorState, WantedState, WantedStates};
pub use reader::{CheckpointReader, KeyedEntry};
pub(crate) use restored::Restored;
pub(crate) use sealed_state::SealedState;
pub use snapshots::PreparedEpoch;
pub(crate) use snapshots::{RESERVED_STATES, SnapshotPlace, SnapshotTimes, Snapshots, WATERMARK_STATE};
pub use thalweg_storage::checkpoint::{Attempt, CheckpointId, JobId};
