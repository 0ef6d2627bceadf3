//! The content of a checkpoint folder, for people. Read-only.

use super::files::read_metadata;
use super::load::{Checkpoint, load_path, no_log};
use super::log::newest;
use super::{Attempt, CheckpointError, CheckpointId, JobId, LogEntry, Metadata, Place, Retained, SnapshotEntry, StateLayout};
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_io::Disk;

/// A checkpoint folder in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The newest entry of the log.
    pub newest: LogEntry,
    /// The retained checkpoints, latest first.
    pub checkpoints: Vec<CheckpointSummary>,
}

/// A checkpoint in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// As the log names it: number, attempt, time of completion.
    pub retained: Retained,
    /// Its size, or why that is not known.
    pub content: Result<CheckpointContent, String>,
}

/// The size of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointContent {
    /// Whether the input had ended.
    pub finished: bool,
    /// The time from its trigger to its completion, in milliseconds.
    pub duration_ms: u64,
    /// The number of files, its metadata included.
    pub files: u64,
    /// The total size of the files, in bytes.
    pub bytes: u64,
    /// The size of those that were written for it, its metadata included, in bytes. The others were written for earlier checkpoints.
    pub written_bytes: u64,
    /// The number of files that the state of one subtask lies in, of the subtask that has most: at most [`FILES_MAX`](super::FILES_MAX). 0 if all state lies
    /// within the metadata.
    pub subtask_files: u64,
}

/// A checkpoint in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The content of the metadata file.
    pub metadata: Metadata,
    /// The number and size of its files.
    pub content: CheckpointContent,
    /// Its states over all subtasks, by operator and name.
    pub states: Vec<StateInspection>,
    /// The number of splits whose positions it holds.
    pub source_positions: u64,
}

impl Inspection {
    /// The job that took it.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.metadata.job
    }

    /// Its number and the attempt that took it.
    #[must_use]
    pub fn id(&self) -> (CheckpointId, Attempt) {
        (self.metadata.id, self.metadata.attempt)
    }
}

/// A state over all subtasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInspection {
    /// The operator's uid.
    pub operator: String,
    /// The state's name.
    pub state: String,
    /// The layout of its entries.
    pub layout: StateLayout,
    /// The number of snapshots that contain it.
    pub subtasks: u64,
    /// The number of its entries; at most, if it is in several files of a subtask.
    pub entries: u64,
    /// Whether it is.
    pub is_layered: bool,
    /// The size of its entries, in bytes; those included that are superseded.
    pub bytes: u64,
    /// The size of those that were written for this checkpoint, in bytes.
    pub written_bytes: u64,
    /// The number of files that it lies in, in the subtask that has most; 0 if it lies within the metadata.
    pub files: u64,
}

fn content(metadata: &Metadata, metadata_bytes: u64) -> CheckpointContent {
    let len_of = |place: &Place| if let Place::File(file) = place { file.len } else { 0 };
    // The newest image of a subtask is the one that was written for this checkpoint.
    let written = metadata.snapshots.iter().filter_map(|snapshot| snapshot.places.last()).map(len_of);
    CheckpointContent {
        finished: metadata.finished,
        duration_ms: metadata.duration_ms,
        files: 1 + metadata.files().count() as u64,
        bytes: metadata.files().fold(metadata_bytes, |sum, file| sum.saturating_add(file.len)),
        written_bytes: written.fold(metadata_bytes, u64::saturating_add),
        subtask_files: metadata.snapshots.iter().map(SnapshotEntry::files).max().unwrap_or(0),
    }
}

/// The checkpoints of a folder. A damaged checkpoint is listed with what is wrong.
///
/// # Errors
/// If the folder has no log, its newest entry cannot be read, or the disk fails.
pub async fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing, CheckpointError> {
    let Some(newest) = newest(disk, dir).await? else { return Err(no_log(dir)) };
    let mut checkpoints = Vec::new();
    for retained in newest.retained.iter().rev() {
        let decoded = match read_metadata(disk, dir, &retained.metadata).await {
            Ok(bytes) => Metadata::decode(&dir.join(&retained.metadata.name).display().to_string(), bytes),
            Err(error) => Err(error),
        };
        let content = match decoded {
            Ok(decoded) => Ok(content(&decoded.metadata, retained.metadata.len)),
            Err(error) if error.is_damage() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        checkpoints.push(CheckpointSummary { retained: retained.clone(), content });
    }
    Ok(Listing { newest, checkpoints })
}

/// Reads the checkpoint at `path` (a metadata file, or a checkpoint folder: its newest) whole, checks it, and reports its content.
///
/// # Errors
/// As [`load_path`].
pub async fn inspect(disk: &dyn Disk, path: &Path) -> Result<Inspection, CheckpointError> {
    let Checkpoint { metadata, snapshots, metadata_bytes, .. } = load_path(disk, path).await?;
    let mut states: BTreeMap<(String, String), StateInspection> = BTreeMap::new();
    for (entry, state) in snapshots.iter().flat_map(|(entry, layers)| layers.states().into_iter().map(move |state| (entry, state))) {
        let key = (state.operator.clone(), state.state.clone());
        let sum = states.entry(key).or_insert_with(|| StateInspection {
            operator: state.operator,
            state: state.state,
            layout: state.layout,
            subtasks: 0,
            entries: 0,
            is_layered: false,
            bytes: 0,
            written_bytes: 0,
            files: 0,
        });
        sum.subtasks += 1;
        sum.entries = sum.entries.saturating_add(state.entries);
        sum.is_layered |= state.images > 1;
        sum.bytes = sum.bytes.saturating_add(state.bytes);
        sum.written_bytes = sum.written_bytes.saturating_add(state.written_bytes);
        sum.files = sum.files.max(entry.files().min(state.images as u64));
    }
    Ok(Inspection {
        content: content(&metadata, metadata_bytes),
        source_positions: metadata.sources.iter().map(|source| source.splits.len() as u64).sum(),
        states: states.into_values().collect(),
        metadata,
    })
}
