//! The beginning of an attempt: the checkpoint it resumes from, its entry in the log, and the splits that are to be read.
//!
//! Every refusal comes before anything changes: the checkpoint is read and compared with the job, and every sink checks its place, before the attempt
//! stands in the log. The log entry fences the attempt's predecessors (docs/src/semantics.md#r-1).

use crate::attempt::deployment::{Placement, RestorePlan};
use crate::attempt::folder::Storage;
use crate::attempt::sinks::Sinks;
use crate::attempt::splits::{SplitsOfSource, aligned, cannot_enumerate};
use crate::checkpoint::{Attempt, CheckpointConfig, CheckpointId, Restore, Restored};
use crate::error::JobError;
use crate::graph::Job;
use crate::job::inbox::Inbox;
use crate::job::logbook::Logbook;
use crate::job::origin::{self, Found};
use crate::source::SourceError;
use crate::subtask::panics::without_panic;
use std::sync::Arc;
use thalweg_io::Io;
use thalweg_storage::checkpoint::{CheckpointError, Metadata};

/// How often to look for the latest checkpoint while a running job replaces it by newer ones.
const FINDS_MAX: u32 = 5;

/// How often to begin an attempt that takes a job over from a process which keeps writing into the log.
const BEGINS_MAX: u32 = 20;

/// An attempt that is about to begin.
pub(crate) struct Begun {
    pub(crate) attempt: Attempt,
    pub(crate) epoch: CheckpointId,
    /// The checkpoint that it resumes from, if any.
    pub(crate) from: Option<(Metadata, RestorePlan)>,
    pub(crate) storage: Option<Storage>,
}

/// Begins attempts of a job.
pub(crate) struct Beginning<'a> {
    pub(crate) job: &'a Job,
    pub(crate) io: &'a Io,
    pub(crate) inbox: &'a mut Inbox,
    pub(crate) logbook: &'a mut Logbook,
}

impl Beginning<'_> {
    /// Begins an attempt. When it takes a job over from a process that is at work, a checkpoint of that process may have taken the log entry that this one
    /// was about to write: then it reads the changes and tries again.
    pub(crate) async fn begin(&mut self) -> Result<Begun, JobError> {
        let Some(config) = &self.job.checkpoints else {
            let attempt = Attempt(self.logbook.attempt.0 + 1);
            return Ok(Begun { attempt, epoch: CheckpointId(1), from: None, storage: None });
        };
        for _ in 1..BEGINS_MAX {
            match self.begin_once(config).await {
                Err(error) if self.logbook.is_blank() && (error.is_fenced() || self.log_has_moved(config).await?) => {}
                begun => return begun,
            }
        }
        self.begin_once(config).await
    }

    async fn log_has_moved(&mut self, config: &CheckpointConfig) -> Result<bool, JobError> {
        self.logbook.has_moved(self.io, config, self.inbox).await
    }

    /// Opens the folder, decides which checkpoint to resume from, and reads it. A checkpoint that cannot be restored, or a place that must not be written
    /// over, is refused before anything changes.
    async fn begin_once(&mut self, config: &CheckpointConfig) -> Result<Begun, JobError> {
        let Found { store, history, origin, checkpoint } = self.find(config).await?;
        self.logbook.check_not_overtaken(&history, config)?;
        self.logbook.note(&history, checkpoint.as_ref().map(|checkpoint| checkpoint.metadata.job));
        let past = checkpoint.as_ref().map_or(CheckpointId(1), |checkpoint| checkpoint.metadata.id.next());
        let epoch = history.next_checkpoint().max(past);
        let mut from = None;
        if let Some(checkpoint) = checkpoint {
            let (metadata, path) = (checkpoint.metadata.clone(), checkpoint.path.clone());
            let file = (checkpoint.metadata_bytes, checkpoint.metadata_crc);
            let allow_non_restored_state = config.allow_non_restored_state;
            let restored = Restored::new(checkpoint, allow_non_restored_state);
            self.job.check_restorable(&metadata, &restored)?;
            from = Some((metadata, RestorePlan { path, metadata: file, allow_non_restored_state, loaded: Some(Arc::new(restored)) }));
        }
        let next = Attempt(history.last_attempt().map_or(1, |last| last.0 + 1));
        let metadata = from.as_ref().map(|(metadata, _)| metadata);
        let sinks = Sinks { job: self.job, io: self.io, id: self.logbook.job, owner: self.logbook.owner, attempt: next, from: metadata };
        sinks.check(config.discard_later_output, self.inbox).await?;
        let now = self.io.clock().wall();
        let mut store = store.owned_by(self.logbook.owner);
        let begun = store.begin_attempt(self.logbook.job, origin, now).await;
        let attempt = begun.map_err(JobError::of_the_coordinator)?;
        Ok(Begun { attempt, epoch, from, storage: Some(Storage { store, config: config.clone() }) })
    }

    async fn find(&mut self, config: &CheckpointConfig) -> Result<Found, JobError> {
        // The user's choice concerns the first attempt that begins.
        let restore = if self.logbook.is_blank() { config.restore.clone() } else { Restore::Latest };
        let mut tries = 0;
        loop {
            tries += 1;
            let finding = origin::find(self.io.clone(), config.dir.clone(), restore.clone());
            match self.inbox.listening(finding).await? {
                Ok(found) => return Ok(found),
                // A job that is still running may have removed it just now, for a newer one.
                Err(CheckpointError::NotFound { .. }) if restore == Restore::Latest && tries < FINDS_MAX => {}
                Err(error) => return Err(JobError::of_the_coordinator(error)),
            }
        }
    }

    /// The splits of every source: those of the checkpoint, or those that the source finds now.
    pub(crate) async fn find_splits(&mut self, from: Option<&Metadata>) -> Result<Vec<SplitsOfSource>, JobError> {
        let mut splits = Vec::new();
        for (source, task) in &self.job.sources {
            let (id, meta) = (source.operator, &self.job.operators[source.operator.0]);
            if let Some(entry) = from.and_then(|metadata| metadata.sources.iter().find(|entry| entry.uid == meta.uid)) {
                let positions = entry.splits.iter().map(|split| (split.number, aligned(&split.position)));
                splits.push(SplitsOfSource { source: id, splits: positions.collect() });
                continue;
            }
            let parallelism = Placement::of_crew(self.job, &self.inbox.crew)?.parallelism[*task];
            let found = self.inbox.listening(without_panic((source.splits)(self.io.clone(), parallelism))).await?;
            let found = found.unwrap_or_else(|panic| Err(SourceError::Other(panic)));
            let found = found.map_err(|error| cannot_enumerate(meta.name.clone(), error))?;
            splits.push(SplitsOfSource::found(id, found));
        }
        Ok(splits)
    }
}
