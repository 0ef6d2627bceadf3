//! Reading a whole checkpoint, by its log entry or by a path that the user gave.
//!
//! Each file is checked by itself, and has the length and the checksum that its parent holds. Nothing is skipped: a checkpoint with a single wrong byte is not
//! loaded, nor is one whose snapshots do not go back far enough.

use super::files::{read, read_image, read_metadata};
use super::log::newest;
use super::metadata::{Decoded, Place};
use super::names::FileName;
use super::{CheckpointError, FileRef, Layers, Metadata, Retained, Snapshot, SnapshotEntry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thalweg_io::{Disk, EntryKind};
use thalweg_record::KeyGroups;

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// The checkpoint's metadata.
    pub metadata: Metadata,
    /// The state of each subtask, in the order of [`Metadata::snapshots`].
    pub snapshots: Vec<(SnapshotEntry, Layers)>,
    /// Its metadata file, from which [`load_path`] reads the checkpoint.
    pub path: PathBuf,
    /// The length of the metadata file.
    pub metadata_bytes: u64,
    /// The CRC-32 of the metadata file: another file of the same name is another checkpoint.
    pub metadata_crc: u32,
}

/// Reads a retained checkpoint of the folder `dir`.
///
/// # Errors
/// If anything is missing or not as it was written, or the disk fails.
pub async fn load(disk: &dyn Disk, dir: &Path, retained: &Retained) -> Result<Checkpoint, CheckpointError> {
    let decoded = decode(disk, dir, retained).await?;
    with_snapshots(disk, dir, &retained.metadata, decoded).await
}

/// Reads the metadata of a retained checkpoint of the folder `dir`, without the state.
///
/// # Errors
/// As [`load`].
pub async fn load_metadata(disk: &dyn Disk, dir: &Path, retained: &Retained) -> Result<Metadata, CheckpointError> {
    Ok(decode(disk, dir, retained).await?.metadata)
}

async fn decode(disk: &dyn Disk, dir: &Path, retained: &Retained) -> Result<Decoded, CheckpointError> {
    let bytes = read_metadata(disk, dir, &retained.metadata).await?;
    let name = dir.join(&retained.metadata.name).display().to_string();
    let decoded = Metadata::decode(&name, bytes)?;
    let (attempt, id) = (decoded.metadata.attempt, decoded.metadata.id);
    if (attempt, id) != (retained.attempt, retained.id) {
        return Err(CheckpointError::corrupt(&name, 0, format!("it is checkpoint {id} of attempt {attempt} under another's name")));
    }
    Ok(decoded)
}

/// Reads the checkpoint at `path`: the newest of a checkpoint folder, or that of a metadata file.
///
/// # Errors
/// If there is no checkpoint at `path`, and as [`load`].
pub async fn load_path(disk: &dyn Disk, path: &Path) -> Result<Checkpoint, CheckpointError> {
    match locate(disk, path).await? {
        Located::Retained { dir, retained } => load(disk, &dir, &retained).await,
        Located::File { dir, name } => {
            let path = dir.join(&name);
            let shown = path.display().to_string();
            let bytes = read(disk, &path, None, u64::MAX).await?;
            let (len, crc) = (bytes.len() as u64, crc32fast::hash(&bytes));
            let decoded = Metadata::decode(&shown, bytes)?;
            let expected = FileName::Metadata { checkpoint: decoded.metadata.id, attempt: decoded.metadata.attempt }.to_string();
            if expected != name {
                return Err(CheckpointError::corrupt(&shown, 0, format!("it is {expected} under another's name")));
            }
            with_snapshots(disk, &dir, &FileRef { name, len, crc }, decoded).await
        }
    }
}

enum Located {
    Retained { dir: PathBuf, retained: Retained },
    File { dir: PathBuf, name: String },
}

async fn locate(disk: &dyn Disk, path: &Path) -> Result<Located, CheckpointError> {
    let shown = path.display();
    match disk.kind(path).await.map_err(CheckpointError::io)? {
        Some(EntryKind::Directory) => {
            let Some(entry) = newest(disk, path).await? else { return Err(no_log(path)) };
            let retained = entry.retained.last().cloned().ok_or_else(|| CheckpointError::NotFound {
                what: format!("complete checkpoint in {shown}"),
                cure: format!("its job has begun attempt {} and completed none since: start afresh", entry.attempt),
            })?;
            Ok(Located::Retained { dir: path.to_owned(), retained })
        }
        Some(EntryKind::File) => {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !matches!(FileName::parse(name), Some(FileName::Metadata { .. })) {
                let reason = "does not have the name of a checkpoint's metadata".to_owned();
                return Err(CheckpointError::Foreign { file: shown.to_string(), reason });
            }
            Ok(Located::File { dir: path.parent().map(Path::to_owned).unwrap_or_default(), name: name.to_owned() })
        }
        Some(EntryKind::Other) => {
            Err(CheckpointError::Foreign { file: shown.to_string(), reason: "is neither a folder nor a file".to_owned() })
        }
        None => {
            let cure = "name a checkpoint folder, or a metadata file (chk-*.metadata) in one".to_owned();
            Err(CheckpointError::NotFound { what: format!("checkpoint at {shown}"), cure })
        }
    }
}

pub(super) fn no_log(dir: &Path) -> CheckpointError {
    let cure = "name the folder that the job was given for its checkpoints".to_owned();
    CheckpointError::NotFound { what: format!("checkpoint in {} (no log-*.entry)", dir.display()), cure }
}

async fn with_snapshots(disk: &dyn Disk, dir: &Path, file: &FileRef, decoded: Decoded) -> Result<Checkpoint, CheckpointError> {
    let Decoded { metadata, inline } = decoded;
    let path = dir.join(&file.name);
    let key_groups = KeyGroups::new(metadata.key_groups);
    let mut inline: BTreeMap<usize, Snapshot> = inline.into_iter().collect();
    let mut snapshots = Vec::with_capacity(metadata.snapshots.len());
    for (place, entry) in metadata.snapshots.iter().enumerate() {
        let mut images: Vec<Snapshot> = inline.remove(&place).into_iter().collect();
        for place in &entry.places {
            if let Place::File(file) = place {
                images.push(read_image(disk, dir, file).await?);
            }
        }
        let layers = Layers::new(images);
        let owned = key_groups.hashes_of(key_groups.owned_by(entry.subtask as usize, entry.parallelism as usize));
        layers.check(owned).map_err(|broken| {
            CheckpointError::corrupt(&path.display().to_string(), 0, format!("subtask {} of {}: {broken}", entry.subtask, entry.task))
        })?;
        snapshots.push((entry.clone(), layers));
    }
    Ok(Checkpoint { metadata, snapshots, path, metadata_bytes: file.len, metadata_crc: file.crc })
}
