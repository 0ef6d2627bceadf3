//! A job as its log describes it, and the attempts in the log that belong to this process.
//!
//! Another process may take the job over at any moment: it writes an attempt of its own into the log. A process that reads the log next and finds that the
//! last attempt is not its own is *fenced*: it changes nothing any more, and says so (docs/src/semantics.md#r-1).

use crate::checkpoint::{Attempt, CheckpointConfig, JobId, Restore};
use crate::error::JobError;
use crate::job::inbox::Inbox;
use crate::job::origin;
use thalweg_io::Io;
use thalweg_storage::checkpoint::{CheckpointError, History};

/// The past of a job according to its log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// There was an attempt, of this or another process.
    pub(crate) has_begun: bool,
    /// All its work is done, except perhaps a commit.
    pub(crate) is_finished: bool,
}

/// The identity of a job, and its attempts so far.
pub(crate) struct Logbook {
    /// Identifies this process's attempts in the log.
    pub(crate) owner: u64,
    pub(crate) job: JobId,
    /// The attempt under way, or the last one; 0 before the first of this process.
    pub(crate) attempt: Attempt,
    /// Another process has taken the job over: nothing that this one does matters any more.
    pub(crate) is_fenced: bool,
    /// The newest entry of the log when it was read for an attempt.
    newest_read: Option<u64>,
}

impl Logbook {
    pub(crate) fn new(io: &Io) -> Self {
        // No two jobs have the same stream of random numbers.
        let job = JobId(io.rng("job-id").next_u64());
        let owner = io.rng("job-owner").next_u64();
        Self { owner, job, attempt: Attempt(0), is_fenced: false, newest_read: None }
    }

    /// Whether no attempt of this process has begun.
    pub(crate) fn is_blank(&self) -> bool {
        self.attempt == Attempt(0)
    }

    /// Takes note of the log that was read for an attempt. `adopted` is the job of the checkpoint that it resumes from.
    pub(crate) fn note(&mut self, history: &History, adopted: Option<JobId>) {
        self.newest_read = newest(history);
        // A new folder continues the job whose checkpoint it begins with: results are known by its number.
        self.job = history.job().or(adopted).unwrap_or(self.job);
    }

    /// Refuses to continue if the last attempt in the log is not this process's own.
    pub(crate) fn check_not_overtaken(&mut self, history: &History, config: &CheckpointConfig) -> Result<(), JobError> {
        if self.is_blank() || history.owner() == Some(self.owner) {
            return Ok(());
        }
        self.is_fenced = true;
        let (folder, entry) = (config.dir.display().to_string(), newest(history).unwrap_or(0));
        Err(JobError::of_the_coordinator(CheckpointError::Fenced { folder, entry }))
    }

    /// Reads the log, and refuses to wait on for a job that another process has taken over.
    pub(crate) async fn look(&mut self, io: &Io, config: Option<&CheckpointConfig>, inbox: &mut Inbox) -> Result<Past, JobError> {
        let Some(config) = config else { return Ok(Past::default()) };
        let latest = inbox.listening(origin::latest(io, &config.dir)).await?;
        // A folder that cannot be read now is read again later.
        let Ok((history, metadata)) = latest else { return Ok(Past::default()) };
        self.check_not_overtaken(&history, config)?;
        if self.is_blank() && config.restore != Restore::Latest {
            // The user wants something else.
            return Ok(Past::default());
        }
        let is_finished = metadata.is_some_and(|metadata| metadata.finished);
        Ok(Past { has_begun: history.last_attempt().is_some(), is_finished })
    }

    /// Whether another process has taken the job over since the log was read: findings since then are about the past.
    pub(crate) async fn has_moved(&self, io: &Io, config: &CheckpointConfig, inbox: &mut Inbox) -> Result<bool, JobError> {
        let latest = inbox.listening(origin::latest(io, &config.dir)).await?;
        Ok(latest.is_ok_and(|(history, _)| newest(&history) != self.newest_read))
    }
}

fn newest(history: &History) -> Option<u64> {
    history.newest.as_ref().map(|entry| entry.number)
}
