//! An entry of the log: what the coordinator remembers.
//!
//! Each entry is complete by itself, and the one with the highest number holds. The others are kept so that a coordinator that was left behind, and appends
//! under an old number, always finds a higher one (docs/src/formats.md#the-log).

use super::frame::{FileKind, HEADER_BYTES, Reader, framed, unframe};
use super::names::FileName;
use super::{Attempt, CheckpointError, CheckpointId, FileRef, JobId};
use serde::{Deserialize, Serialize};
use thalweg_record::hex;

/// The event that an entry records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// An attempt began.
    AttemptStarted {
        /// The state it began with.
        restored: Origin,
    },
    /// A checkpoint is complete.
    CheckpointCompleted {
        /// The checkpoint's number.
        id: CheckpointId,
    },
    /// The job finished: nothing is left to do.
    JobFinished,
}

/// The state that an attempt begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// No state.
    Fresh,
    /// The state of a checkpoint which this folder retains.
    Checkpoint(CheckpointId),
    /// The state of a checkpoint of another folder, or of one that is no longer retained.
    Elsewhere {
        /// The checkpoint's number.
        id: CheckpointId,
        /// The checkpoint's place, as the user wrote it.
        path: String,
    },
}

/// A complete checkpoint that can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retained {
    /// The checkpoint's number.
    pub id: CheckpointId,
    /// The attempt that took it.
    pub attempt: Attempt,
    /// When it was completed, in milliseconds since 1970.
    pub completed_at_ms: i64,
    /// Its metadata file.
    pub metadata: FileRef,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Its place in the log, from 1.
    pub number: u64,
    /// The job whose log this is.
    pub job: JobId,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// The process that runs the attempt: lets a process recognize its own attempts, even one whose entry failed to be written.
    #[serde(with = "hex::number")]
    pub owner: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_at_ms: i64,
    /// Why it was written.
    pub event: Event,
    /// The retained checkpoints, newest last.
    pub retained: Vec<Retained>,
    /// The number of the next checkpoint.
    pub next_checkpoint: CheckpointId,
}

impl LogEntry {
    /// The content of the entry's file.
    ///
    /// # Panics
    /// If the entry breaks a rule that [`LogEntry::decode`] checks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if let Err(broken) = self.check() {
            panic!("log entry {}: {broken}", self.number);
        }
        framed(FileKind::LogEntry, &serde_json::to_vec(self).expect("invariant: these types have a form in JSON"))
    }

    /// Reads the file of an entry and checks every byte of it. Errors name `name`.
    ///
    /// # Errors
    /// If any byte of the file differs from what was written.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader::new(name, bytes, 0);
        let body = unframe(&mut reader, FileKind::LogEntry)?;
        reader.end()?;
        let corrupt = |reason| reader.corrupt(HEADER_BYTES, reason);
        let entry: Self = serde_json::from_slice(body).map_err(|error| corrupt(format!("not a log entry: {error}")))?;
        entry.check().map_err(corrupt)?;
        Ok(entry)
    }

    /// The same for the file that has the name of entry `number`.
    pub(super) fn decode_numbered(name: &str, number: u64, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let entry = Self::decode(name, bytes)?;
        if entry.number != number {
            return Err(CheckpointError::corrupt(name, HEADER_BYTES, format!("it is entry {} under another's name", entry.number)));
        }
        Ok(entry)
    }

    /// Checks the rules between fields; `Err` says which rule is broken.
    fn check(&self) -> Result<(), String> {
        for retained in &self.retained {
            let expected = FileName::Metadata { checkpoint: retained.id, attempt: retained.attempt };
            if retained.metadata.name != expected.to_string() {
                return Err(format!("{:?} is not the metadata of checkpoint {}", retained.metadata.name, retained.id));
            }
        }
        if !self.retained.is_sorted_by(|a, b| a.id < b.id) {
            return Err("the retained checkpoints are out of order".to_owned());
        }
        if self.retained.last().is_some_and(|last| last.id >= self.next_checkpoint || last.attempt > self.attempt) {
            return Err("the last checkpoint is later than the entry allows".to_owned());
        }
        Ok(())
    }
}
