//! The checkpoint folder of one job, as its coordinator uses it.
//!
//! [`CheckpointStore::complete`] is the commit point of a checkpoint: when it returns, a restart begins with this checkpoint. In this order, each step
//! durable before the next: state files, metadata file, the names of both, the log entry. [`CheckpointStore::clean_up`] then removes files that no retained
//! checkpoint names any more; no caller waits for it. A store that was overtaken by another attempt gets [`CheckpointError::Fenced`] and removes nothing
//! that the other attempt may need.
//!
//! A full disk leaves everything as it was before the call. Any other failure takes the store out of use.

use super::files::{create, remove};
use super::garbage::{Cleanup, Collector};
use super::load::{Checkpoint, load};
use super::log::Log;
use super::log_entry::{Event, LogEntry, Origin, Retained};
use super::metadata::{Metadata, TaskSnapshot};
use super::names::FileName;
use super::{Attempt, CheckpointError, CheckpointId, FileRef, JobId};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thalweg_io::{Disk, Rng, UnixMillis};

/// The history of a job, as its checkpoint folder tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The newest entry of the log; `None` in a new folder.
    pub newest: Option<LogEntry>,
}

impl History {
    /// The job, if an attempt ever began here.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.newest.as_ref().map(|entry| entry.job)
    }

    /// The latest attempt.
    #[must_use]
    pub fn last_attempt(&self) -> Option<Attempt> {
        self.newest.as_ref().map(|entry| entry.attempt)
    }

    /// The process that began the latest attempt.
    #[must_use]
    pub fn owner(&self) -> Option<u64> {
        self.newest.as_ref().map(|entry| entry.owner)
    }

    /// Whether the job finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.newest.as_ref().is_some_and(|entry| entry.event == Event::JobFinished)
    }

    /// The checkpoints that can be restored, latest first. Empty as well if the last attempt began with another state than theirs and has completed no
    /// checkpoint: see [`History::unfinished_origin`].
    pub fn restorable(&self) -> impl Iterator<Item = &Retained> {
        self.newest.iter().flat_map(|entry| entry.retained.iter().rev())
    }

    /// The state that the last attempt began with, if it completed no checkpoint. A restart that goes on begins with the same.
    #[must_use]
    pub fn unfinished_origin(&self) -> Option<&Origin> {
        match &self.newest.as_ref()?.event {
            Event::AttemptStarted { restored } => Some(restored),
            Event::CheckpointCompleted { .. } | Event::JobFinished => None,
        }
    }

    /// The number of the next checkpoint.
    #[must_use]
    pub fn next_checkpoint(&self) -> CheckpointId {
        self.newest.as_ref().map_or(CheckpointId(1), |entry| entry.next_checkpoint)
    }
}

/// A checkpoint folder, opened for writing. Each coordinator has its own.
pub struct CheckpointStore {
    disk: Rc<dyn Disk>,
    dir: PathBuf,
    log: Log,
    /// The attempt that this store began.
    attempt: Option<Attempt>,
    owner: u64,
    collector: Collector,
    cleanup: Cleanup,
    /// The latest checkpoint that this attempt completed.
    completed: Option<CheckpointId>,
}

impl CheckpointStore {
    /// Opens the folder at `dir`, created durably if it is missing, and returns its history. Removes nothing. `rng` gives temporary files their names.
    ///
    /// # Errors
    /// If the disk fails, or the newest entry of the log cannot be read.
    pub async fn open(disk: Rc<dyn Disk>, dir: &Path, rng: Box<dyn Rng>) -> Result<(Self, History), CheckpointError> {
        make_folder(&*disk, dir).await?;
        let log = Log::open(Rc::clone(&disk), dir, rng).await?;
        let history = History { newest: log.newest().cloned() };
        let store = Self {
            disk,
            dir: dir.to_owned(),
            log,
            attempt: None,
            owner: 0,
            collector: Collector::default(),
            cleanup: Cleanup::default(),
            completed: None,
        };
        Ok((store, history))
    }

    /// Sets the process that the next attempt belongs to: a number that no other process has.
    #[must_use]
    pub fn owned_by(self, owner: u64) -> Self {
        Self { owner, ..self }
    }

    /// Begins the next attempt and fences every earlier one. The job keeps its id; `job_if_new` is for the first attempt. Checkpoints later than the origin
    /// are no longer retained: they belong to a past that this attempt does not continue. Their files stay until a checkpoint is complete.
    ///
    /// # Errors
    /// If another attempt began meanwhile, or the disk is full or fails. A `restored` checkpoint that is not retained is [`CheckpointError::NotFound`].
    ///
    /// # Panics
    /// If this store has begun an attempt already.
    pub async fn begin_attempt(&mut self, job_if_new: JobId, restored: Origin, now: UnixMillis) -> Result<Attempt, CheckpointError> {
        assert!(self.attempt.is_none(), "a store begins one attempt");
        self.log.check()?;
        let before = self.log.newest();
        let retained: Vec<Retained> = before.map(|entry| entry.retained.clone()).unwrap_or_default();
        let from_elsewhere = matches!(restored, Origin::Elsewhere { .. });
        let (kept, at_least): (Vec<_>, u64) = match &restored {
            Origin::Fresh => (Vec::new(), 1),
            Origin::Elsewhere { id, .. } => (Vec::new(), id.0.saturating_add(1)),
            Origin::Checkpoint(id) => {
                if !retained.iter().any(|retained| retained.id == *id) {
                    let what = format!("checkpoint {id} in {}", self.dir.display());
                    return Err(CheckpointError::NotFound { what, cure: self.known(&retained) });
                }
                (retained.iter().filter(|retained| retained.id <= *id).cloned().collect(), 1)
            }
        };
        let attempt = Attempt(before.map_or(1, |entry| entry.attempt.0 + 1));
        let entry = LogEntry {
            number: self.log.next_number(),
            job: before.map_or(job_if_new, |entry| entry.job),
            attempt,
            owner: self.owner,
            written_at_ms: now.0,
            event: Event::AttemptStarted { restored },
            retained: kept,
            next_checkpoint: before.map_or(CheckpointId(1), |entry| entry.next_checkpoint).max(CheckpointId(at_least)),
        };
        self.log.append(entry).await?;
        self.attempt = Some(attempt);
        // Not only what is retained now: see above. An origin that is not retained may still lie in this folder.
        if !from_elsewhere {
            self.cleanup = self.collector.collect(&*self.disk, &self.dir, self.log.newest(), &retained, None).await;
        }
        Ok(attempt)
    }

    fn known(&self, retained: &[Retained]) -> String {
        let ids: Vec<_> = retained.iter().map(|retained| retained.id.to_string()).collect();
        if ids.is_empty() { "it has none: start afresh".to_owned() } else { format!("it has {}", ids.join(", ")) }
    }

    /// Stores a checkpoint and keeps the `retain` newest. When it returns, the checkpoint is complete: its transactions may be committed.
    ///
    /// # Errors
    /// A full disk: there is no such checkpoint, and the earlier ones are unchanged; the files of its subtasks stay. Fenced: another attempt has begun, which may or may not have seen
    /// this checkpoint complete. Anything else: it is unknown whether the checkpoint is complete.
    ///
    /// # Panics
    /// If no attempt was begun, `metadata` is not of this attempt, its number was used before, or `retain` is 0.
    pub async fn complete(
        &mut self,
        mut metadata: Metadata,
        snapshots: Vec<TaskSnapshot>,
        retain: usize,
    ) -> Result<Retained, CheckpointError> {
        assert!(retain > 0, "a job without checkpoints has no use for a store");
        self.log.check()?;
        let (attempt, before) = self.current();
        assert_eq!((metadata.attempt, metadata.job), (attempt, before.job), "checkpoint {} is of this attempt", metadata.id);
        assert!(metadata.id >= before.next_checkpoint, "checkpoint {} follows {}", metadata.id, before.next_checkpoint);
        let file = metadata.encode(snapshots);
        let name = FileName::Metadata { checkpoint: metadata.id, attempt }.to_string();
        let completed = Retained {
            id: metadata.id,
            attempt,
            completed_at_ms: metadata.completed_at_ms,
            metadata: FileRef { name: name.clone(), len: file.len() as u64, crc: crc32fast::hash(&file) },
        };
        let mut entry = LogEntry {
            number: self.log.next_number(),
            written_at_ms: metadata.completed_at_ms,
            event: Event::CheckpointCompleted { id: metadata.id },
            next_checkpoint: metadata.id.next(),
            ..before.clone()
        };
        entry.retained.push(completed.clone());
        entry.retained.drain(..entry.retained.len().saturating_sub(retain));

        let stored = self.store(&name, file, entry).await;
        if let Err(error) = stored {
            // A full disk is noticed before the entry is linked: nobody can have seen this checkpoint. After any other error somebody may have.
            if error.is_storage_full() {
                let _ = remove(&*self.disk, &self.dir, &name).await;
            }
            return Err(error);
        }
        self.collector.learn(&completed, &metadata);
        self.completed = Some(metadata.id);
        Ok(completed)
    }

    /// Removes the files that the latest completed checkpoint has made superfluous. If the call is omitted or interrupted, the next call removes them too.
    pub async fn clean_up(&mut self) {
        let retained = self.retained().to_vec();
        self.cleanup = self.collector.collect(&*self.disk, &self.dir, self.log.newest(), &retained, self.completed).await;
    }

    async fn store(&mut self, name: &str, file: thalweg_io::Buffer, entry: LogEntry) -> Result<(), CheckpointError> {
        let written = create(&*self.disk, &self.dir, name, file).await;
        let named = match written {
            // The sync also makes the names of the state files durable.
            Ok(_) => self.disk.sync_dir(&self.dir).await.map_err(CheckpointError::io),
            Err(error) => Err(error),
        };
        if let Err(error) = named {
            if !error.is_storage_full() {
                self.log.poison();
            }
            return Err(error);
        }
        self.log.append(entry).await
    }

    /// Records that the job finished. Retained checkpoints stay.
    ///
    /// # Errors
    /// As [`CheckpointStore::begin_attempt`].
    ///
    /// # Panics
    /// If no attempt was begun.
    pub async fn finish_job(&mut self, now: UnixMillis) -> Result<(), CheckpointError> {
        self.log.check()?;
        let (_, before) = self.current();
        let entry = LogEntry { number: self.log.next_number(), written_at_ms: now.0, event: Event::JobFinished, ..before.clone() };
        let retained = entry.retained.clone();
        self.log.append(entry).await?;
        self.cleanup = self.collector.collect(&*self.disk, &self.dir, self.log.newest(), &retained, None).await;
        Ok(())
    }

    /// Reads a retained checkpoint with all its files, and checks every byte.
    ///
    /// # Errors
    /// If anything is missing or not as it was written, or the disk fails.
    pub async fn load(&self, retained: &Retained) -> Result<Checkpoint, CheckpointError> {
        load(&*self.disk, &self.dir, retained).await
    }

    /// Whether a checkpoint that this store has completed and retains names this file.
    #[must_use]
    pub fn is_named(&self, file: &str) -> bool {
        self.retained().iter().any(|retained| self.collector.names(retained, file))
    }

    /// The path of the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The outcome of the last cleaning. A failed cleaning fails no operation: the files that stay are tried again with the next.
    #[must_use]
    pub fn last_cleanup(&self) -> &Cleanup {
        &self.cleanup
    }

    /// The checkpoints retained now, newest last.
    #[must_use]
    pub fn retained(&self) -> &[Retained] {
        self.log.newest().map(|entry| &entry.retained[..]).unwrap_or_default()
    }

    fn current(&self) -> (Attempt, &LogEntry) {
        let attempt = self.attempt.expect("an attempt is begun before anything is stored");
        (attempt, self.log.newest().expect("invariant: an attempt begins with an entry"))
    }
}

impl std::fmt::Debug for CheckpointStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointStore").field("dir", &self.dir).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// Creates the folder and those above it, and makes all their names durable: an earlier attempt may have created them and died before the sync.
async fn make_folder(disk: &dyn Disk, dir: &Path) -> Result<(), CheckpointError> {
    disk.create_dir_all(dir).await.map_err(CheckpointError::creating)?;
    for folder in dir.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match disk.sync_dir(folder).await {
            // We cannot have created a folder that we may not read.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && folder != dir => {}
            outcome => outcome.map_err(CheckpointError::io)?,
        }
    }
    Ok(())
}
