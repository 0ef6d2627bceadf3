//! Removing the files that no retained checkpoint needs.
//!
//! A file is removed if its name is one of ours, no retained checkpoint names it, and nobody who may still write owns it: it is of an earlier attempt than
//! the newest entry of the log, or of this attempt and of the checkpoint that is now complete or an earlier one. The coordinator has just appended an
//! entry, so all earlier attempts are fenced; a file that such an attempt still creates is removed by the next cleaning.
//!
//! If the metadata of a retained checkpoint cannot be read, the files it names are unknown, and no state file is removed at all.

use super::files::{read_metadata, remove};
use super::log::{KEPT_ENTRIES, list};
use super::names::FileName;
use super::{CheckpointError, CheckpointId, LogEntry, Metadata, Retained};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use thalweg_io::Disk;

/// The outcome of a cleaning.
#[derive(Debug, Default)]
pub struct Cleanup {
    /// Files that were removed.
    pub removed: u64,
    /// The error that kept it from removing more.
    pub error: Option<CheckpointError>,
}

/// The files that retained checkpoints name.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// By the name of the metadata file.
    named: BTreeMap<String, BTreeSet<String>>,
}

impl Collector {
    /// Notes the files that a checkpoint names, which spares reading its metadata.
    pub(super) fn learn(&mut self, retained: &Retained, metadata: &Metadata) {
        self.named.insert(retained.metadata.name.clone(), metadata.files().map(|file| file.name.clone()).collect());
    }

    /// Whether a checkpoint names a file, as far as is noted.
    pub(super) fn names(&self, retained: &Retained, file: &str) -> bool {
        self.named.get(&retained.metadata.name).is_some_and(|files| files.contains(file))
    }

    /// Removes files neither named by a checkpoint of `keep` nor being written, after `newest` was appended; up to `completed`, files of its attempt too.
    pub(super) async fn collect(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        newest: Option<&LogEntry>,
        keep: &[Retained],
        completed: Option<CheckpointId>,
    ) -> Cleanup {
        let mut cleanup = Cleanup::default();
        let Some(newest) = newest else { return cleanup };
        if let Err(error) = self.try_collect(disk, dir, newest, keep, completed, &mut cleanup).await {
            cleanup.error = Some(error);
        }
        cleanup
    }

    async fn try_collect(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        newest: &LogEntry,
        keep: &[Retained],
        completed: Option<CheckpointId>,
        cleanup: &mut Cleanup,
    ) -> Result<(), CheckpointError> {
        let names = list(disk, dir).await?;
        let known = self.named_by(disk, dir, keep).await;
        for name in names {
            let goes = match &name {
                FileName::LogEntry { number } => number.saturating_add(KEPT_ENTRIES) <= newest.number,
                // The newest entry has a head of its own, or will have.
                FileName::Head { number } => *number < newest.number,
                // It could not be linked any more: its number is taken.
                FileName::Temporary { number, .. } => *number <= newest.number,
                FileName::Metadata { attempt, checkpoint } | FileName::State { attempt, checkpoint, .. } => {
                    let is_past = *attempt < newest.attempt || *attempt == newest.attempt && completed.is_some_and(|id| *checkpoint <= id);
                    is_past && known.as_ref().is_ok_and(|known| !known.contains(&name.to_string()))
                }
            };
            if goes && remove(disk, dir, &name.to_string()).await? {
                cleanup.removed += 1;
            }
        }
        known.map(drop)
    }

    /// The names of all files of the checkpoints `keep`, their metadata included.
    async fn named_by(&mut self, disk: &dyn Disk, dir: &Path, keep: &[Retained]) -> Result<BTreeSet<String>, CheckpointError> {
        self.named.retain(|metadata, _| keep.iter().any(|retained| retained.metadata.name == *metadata));
        for retained in keep {
            if !self.named.contains_key(&retained.metadata.name) {
                let bytes = read_metadata(disk, dir, &retained.metadata).await?;
                let decoded = Metadata::decode(&dir.join(&retained.metadata.name).display().to_string(), bytes)?;
                self.learn(retained, &decoded.metadata);
            }
        }
        let metadata = self.named.keys().cloned();
        Ok(metadata.chain(self.named.values().flatten().cloned()).collect())
    }
}
