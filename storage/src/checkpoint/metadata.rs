//! A checkpoint's metadata: all of its content, or references to it, in one file.
//!
//! The body is JSON, so that a person or another program can read it; the images of small snapshots follow it, each aligned to 16, and larger images are
//! files of their own. The body holds length and checksum of both kinds. Bytes of the file that no checksum covers are zero, and checked.
//! See docs/src/formats.md#metadata.

use super::frame::{ALIGN, FileKind, HEADER_BYTES, Reader, framed, unframe};
use super::names::is_state_file;
use super::snapshot::ImageMemory;
use super::snapshot_writer::pad;
use super::{Attempt, CheckpointError, CheckpointId, JobId, Snapshot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use thalweg_io::Buffer;
use thalweg_record::record::Layout;
use thalweg_record::{HashRange, KeyGroups, hex};

/// The files at most that the state of a subtask lies in.
pub const FILES_MAX: usize = 256;

/// The content of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The job that took it.
    pub job: JobId,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// The checkpoint's number.
    pub id: CheckpointId,
    /// When it was completed, in milliseconds since 1970.
    pub completed_at_ms: i64,
    /// The time from its trigger to its completion, in milliseconds.
    pub duration_ms: u64,
    /// The number of key groups of the job's keys. It cannot change from one attempt to the next.
    pub key_groups: u32,
    /// Whether the input had ended: no records will follow.
    pub finished: bool,
    /// The operators of the job, including those without state.
    pub operators: Vec<OperatorEntry>,
    /// Where the state of each subtask is. Filled in when the checkpoint is stored.
    pub snapshots: Vec<SnapshotEntry>,
    /// The positions of the sources.
    pub sources: Vec<SourceEntry>,
    /// Every prepared transaction that is not known to be committed.
    pub transactions: Vec<TransactionEntry>,
    /// Subtasks that had finished.
    pub finished_subtasks: Vec<FinishedSubtask>,
}

/// An operator of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorEntry {
    /// Identifies the operator, so that its state is found on restore.
    pub uid: String,
    /// The operator's name for people.
    pub name: String,
    /// Its number of subtasks.
    pub parallelism: u32,
}

/// The state of one subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotEntry {
    /// The name of the task.
    pub task: String,
    /// The index of the subtask in its task, from 0.
    pub subtask: u32,
    /// The parallelism of the task.
    pub parallelism: u32,
    /// Where its images are, the oldest first: each changes what those before it hold. One that is inline stands alone.
    pub places: Vec<Place>,
}

impl SnapshotEntry {
    /// The number of files that the state lies in; 0 if it is inline.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.places.iter().filter(|place| matches!(place, Place::File(_))).count() as u64
    }
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// Behind the metadata, in the same file.
    Inline {
        /// The offset from the first image on, in bytes; a multiple of 16.
        offset: u64,
        /// The length in bytes.
        len: u64,
        /// The CRC-32 of the image.
        crc: u32,
    },
    /// In a file of the same folder.
    File(FileRef),
}

/// A file of a checkpoint folder as its parent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its name in the folder.
    pub name: String,
    /// The length in bytes.
    pub len: u64,
    /// What tells it from others: of a metadata file the CRC-32 of all of it, of a state file the [root checksum](super::ImageEnd::root_crc) of its image, so
    /// that its end is enough to know it by.
    pub crc: u32,
}

/// The positions of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// The source's uid.
    pub uid: String,
    /// The layout of a position.
    pub layout: Layout,
    /// The position of each split.
    pub splits: Vec<SplitEntry>,
}

/// The position up to which a split was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitEntry {
    /// The number of the split.
    pub number: u32,
    /// The archive of its position.
    #[serde(with = "hex::bytes")]
    pub position: Vec<u8>,
}

/// A prepared transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionEntry {
    /// The sink's uid.
    pub sink_uid: String,
    /// The checkpoint for which it was prepared: this checkpoint or an earlier one.
    pub checkpoint: CheckpointId,
    /// The layout of the transaction.
    pub layout: Layout,
    /// The archive of the transaction.
    #[serde(with = "hex::bytes")]
    pub transaction: Vec<u8>,
}

/// A subtask that had finished.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedSubtask {
    /// The name of the task.
    pub task: String,
    /// The index of the subtask in its task, from 0.
    pub subtask: u32,
}

/// The image of a subtask's state: small and in memory, or already written to a file.
#[derive(Debug)]
pub enum Image {
    /// To be put behind the metadata.
    Inline(Buffer),
    /// A durable file; its *name* becomes durable when the checkpoint is completed.
    File(FileRef),
}

impl Image {
    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File(file) => file.len,
        }
    }
}

/// A part of a subtask's state, as the subtask acknowledges it: the keys of a range of hashes, and all state without a key.
#[derive(Debug)]
pub struct StateFile {
    /// The range of hashes of its keys.
    pub hashes: HashRange,
    /// The image of the part.
    pub image: Image,
}

/// A subtask's contribution to a checkpoint.
#[derive(Debug)]
pub struct TaskSnapshot {
    /// The name of the task.
    pub task: String,
    /// The index of the subtask in its task, from 0.
    pub subtask: u32,
    /// The parallelism of the task.
    pub parallelism: u32,
    /// The images of its state, the oldest first.
    pub images: Vec<Image>,
}

impl Metadata {
    /// The names of the files that the checkpoint consists of besides its metadata.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.snapshots.iter().flat_map(|snapshot| &snapshot.places).filter_map(|place| match place {
            Place::File(file) => Some(file),
            Place::Inline { .. } => None,
        })
    }

    /// Fills in [`Metadata::snapshots`] with `snapshots` and returns the content of the file.
    ///
    /// # Panics
    /// If there are snapshots already, or the metadata breaks a rule that [`Metadata::decode`] checks.
    #[must_use]
    pub fn encode(&mut self, snapshots: Vec<TaskSnapshot>) -> Buffer {
        assert!(self.snapshots.is_empty(), "the places of snapshots are given here");
        let mut images = Vec::new();
        let mut offset = 0;
        let mut place_of = |image| match image {
            Image::File(file) => Place::File(file),
            Image::Inline(image) => {
                let place = Place::Inline { offset: offset as u64, len: image.len() as u64, crc: crc32fast::hash(&image) };
                offset += image.len().next_multiple_of(ALIGN);
                images.push(image);
                place
            }
        };
        for TaskSnapshot { task, subtask, parallelism, images } in snapshots {
            let places = images.into_iter().map(&mut place_of).collect();
            self.snapshots.push(SnapshotEntry { task, subtask, parallelism, places });
        }
        if let Err(broken) = self.check() {
            panic!("checkpoint {}: {broken}", self.id);
        }
        let body = serde_json::to_vec(self).expect("invariant: these types have a form in JSON");
        let framed = framed(FileKind::Metadata, &body);
        let mut file = Buffer::with_capacity(framed.len().next_multiple_of(ALIGN) + offset);
        file.extend_from_slice(&framed);
        pad(&mut file);
        for image in images {
            file.extend_from_slice(&image);
            pad(&mut file);
        }
        file
    }

    /// Reads a metadata file and checks every byte of it, the images' own checksums included. Errors name `name`.
    ///
    /// # Errors
    /// If any byte of the file differs from what was written.
    pub fn decode(name: &str, file: Buffer) -> Result<Decoded, CheckpointError> {
        let mut reader = Reader::new(name, &file, 0);
        let body = unframe(&mut reader, FileKind::Metadata)?;
        let metadata: Self =
            serde_json::from_slice(body).map_err(|error| reader.corrupt(HEADER_BYTES, format!("not a checkpoint's metadata: {error}")))?;
        metadata.check().map_err(|broken| reader.corrupt(HEADER_BYTES, broken))?;
        reader.padding()?;
        let images_at = reader.at();
        let mut ranges = Vec::new();
        for (snapshot, entry) in metadata.snapshots.iter().enumerate() {
            let [Place::Inline { offset, len, crc }] = entry.places[..] else { continue };
            let at = reader.at();
            if offset != (at - images_at) as u64 {
                return Err(reader.corrupt(at, format!("snapshot {snapshot} is not the one that follows")));
            }
            let image = reader.take(usize::try_from(len).unwrap_or(usize::MAX), "a snapshot")?;
            if crc32fast::hash(image) != crc {
                return Err(reader.corrupt(at, format!("the checksum of snapshot {snapshot} does not match")));
            }
            ranges.push((snapshot, at..at + image.len()));
            reader.padding()?;
        }
        reader.end()?;
        let file: Arc<dyn ImageMemory> = Arc::new(file);
        let parsed = ranges.into_iter().map(|(snapshot, range)| Ok((snapshot, Snapshot::parse_within(name, Arc::clone(&file), range)?)));
        let inline = parsed.collect::<Result<_, CheckpointError>>()?;
        Ok(Decoded { metadata, inline })
    }

    /// Checks the rules between fields; `Err` says which rule is broken.
    fn check(&self) -> Result<(), String> {
        if KeyGroups::checked(self.key_groups).is_none() {
            return Err(format!("there cannot be {} key groups", self.key_groups));
        }
        let (mut seen, mut files) = (BTreeSet::new(), BTreeSet::new());
        for snapshot in &self.snapshots {
            let SnapshotEntry { task, subtask, parallelism, places } = snapshot;
            if subtask >= parallelism {
                return Err(format!("subtask {subtask} of {task} is beyond its parallelism of {parallelism}"));
            }
            if !seen.insert((task, *subtask)) {
                return Err(format!("subtask {subtask} of {task} is there twice"));
            }
            if places.is_empty() || places.len() > FILES_MAX {
                return Err(format!("the state of subtask {subtask} of {task} lies in {} places", places.len()));
            }
            for place in places {
                match place {
                    Place::File(file) if !is_state_file(&file.name) => {
                        return Err(format!("{:?} is not the name of a state file", file.name));
                    }
                    Place::File(file) if !files.insert(&file.name) => return Err(format!("the file {:?} is named twice", file.name)),
                    Place::Inline { .. } if places.len() > 1 => {
                        return Err(format!("the state of subtask {subtask} of {task} is inline, and in files"));
                    }
                    _ => {}
                }
            }
        }
        let mut finished = BTreeSet::new();
        if let Some(FinishedSubtask { task, subtask }) = self.finished_subtasks.iter().find(|ended| !finished.insert(*ended)) {
            return Err(format!("subtask {subtask} of {task} has ended twice"));
        }
        if let Some(later) = self.transactions.iter().find(|transaction| transaction.checkpoint > self.id) {
            return Err(format!("a transaction of {} belongs to the later checkpoint {}", later.sink_uid, later.checkpoint));
        }
        Ok(())
    }
}

/// The content of a metadata file.
#[derive(Debug)]
pub struct Decoded {
    /// The metadata itself.
    pub metadata: Metadata,
    /// The snapshots that lie in the same file, with the places of their subtasks in [`Metadata::snapshots`].
    pub inline: Vec<(usize, Snapshot)>,
}
