//! The JobMaster: takes a job from attempt to attempt until it has ended.
//!
//! Each attempt waits for its workers, opens the checkpoint folder anew, fences its predecessors with a log entry, has every sink recover, finds the splits
//! or restores them, and deploys the subtasks; only then does it read or write anything (docs/src/semantics.md#r-1). A failed attempt is followed by
//! another if that could succeed, after a delay; the leftovers of the last attempt are removed.

use crate::attempt::checkpoint_coordinator::Completion;
use crate::attempt::deployment::{AttemptPlan, Deployment, Placement, RestorePlan};
use crate::attempt::folder::Storage;
use crate::attempt::roster::Roster;
use crate::attempt::run::{AttemptEnd, AttemptParts, AttemptRun};
use crate::attempt::sinks::Sinks;
use crate::attempt::splits::SplitsOfSource;
use crate::attempt::telling::Telling;
use crate::checkpoint::{Attempt, RestartStrategy, SnapshotPlace};
use crate::error::JobError;
use crate::graph::Job;
use crate::job::beginning::{Beginning, Begun};
use crate::job::handle::{JobReport, RestoredFrom};
use crate::job::history::{AttemptOutcome, FailurePlace, JobEnding, JobEvent, JobOutcome, WorkerShare};
use crate::job::inbox::Inbox;
use crate::job::journal::Journal;
use crate::job::logbook::Logbook;
use crate::job::muster::Muster;
use crate::job::observer::Watched;
use crate::job::origin;
use crate::job::restart::RestartPolicy;
use crate::messages::{Farewell, ToCoordinator, ToWorker};
use crate::worker::shared::CoreShared;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use thalweg_io::{Io, Mailbox, MailboxReceiver, MonotonicNs};
use thalweg_storage::checkpoint::Metadata;

/// Runs a job.
pub(crate) struct Master {
    job: Rc<Job>,
    muster: Muster,
    inbox: Inbox,
    logbook: Logbook,
    shared: CoreShared,
    journal: Journal,
    io: Io,
    restarts: u32,
    /// When the last attempt failed.
    failed_at: Option<MonotonicNs>,
    checkpoints: u64,
    restored: Option<RestoredFrom>,
    /// The share of each worker in the last attempt.
    workers: Vec<WorkerShare>,
    /// Sinks were told to commit and have not confirmed: prepared transactions must stay.
    commit_is_open: bool,
    /// While it is open, the code that finds workers knows that the job goes on.
    job_is_on: Mailbox<Farewell>,
}

impl Master {
    pub(crate) fn new(
        job: Rc<Job>,
        muster: Muster,
        messages: MailboxReceiver<ToCoordinator>,
        job_is_on: Mailbox<Farewell>,
        shared: CoreShared,
        journal: Journal,
        io: Io,
    ) -> Self {
        Self {
            job,
            muster,
            inbox: Inbox::new(messages),
            logbook: Logbook::new(&io),
            shared,
            journal,
            io,
            restarts: 0,
            failed_at: None,
            checkpoints: 0,
            restored: None,
            workers: Vec::new(),
            commit_is_open: false,
            job_is_on,
        }
    }

    pub(crate) async fn run(&mut self) -> Result<JobReport, JobError> {
        let started = self.io.clock().now();
        self.shared.numbers(|numbers| {
            for name in ["numRestarts", "numberOfCompletedCheckpoints", "numberOfFailedCheckpoints"] {
                numbers.count(name, 0);
            }
        });
        let mut result = self.attempts().await;
        // Results that an attempt has written and no checkpoint names mean nothing any more. The next run completes a commit that is half done.
        self.logbook.is_fenced |= matches!(&result, Err(error) if error.is_fenced());
        if !self.logbook.is_blank()
            && !self.logbook.is_fenced
            && !self.commit_is_open
            && let Err(error) = self.clean_up().await
        {
            if result.is_ok() && matches!(error, JobError::Overtaken { .. }) {
                // The job may have shown results since it lost the place, or another owner has removed them: that is no success.
                result = Err(error);
            } else {
                tracing::warn!(%error, "what the job left behind cannot be removed");
            }
        }
        self.tell_outcome(&result);
        self.say_goodbye(result.as_ref().err());
        let ending = result?;
        let metrics = self.shared.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(JobReport {
            job: self.job.name.clone(),
            ending,
            restored: self.restored,
            restarts: self.restarts,
            checkpoints: self.checkpoints,
            workers: std::mem::take(&mut self.workers),
            elapsed: self.io.clock().now().since(started),
            metrics,
        })
    }

    /// Records for observers how the job has ended.
    fn tell_outcome(&self, result: &Result<JobEnding, JobError>) {
        let outcome = match result {
            Ok(ending) => JobOutcome::Ended(*ending),
            Err(JobError::Cancelled) => JobOutcome::Cancelled,
            Err(error) => JobOutcome::Failed(Arc::new(self.journal.failure(&self.job, None, error, FailurePlace::default()))),
        };
        self.journal.tell(JobEvent::JobEnded { outcome });
    }

    /// Tells the workers that the job is over, also workers that have joined at the last moment, or are about to. If another coordinator has taken the job
    /// over they are to look for it.
    fn say_goodbye(&mut self, error: Option<&JobError>) {
        while let Some(message) = self.inbox.messages.try_recv() {
            // A request to end the job no longer matters.
            drop(self.inbox.hear(message));
        }
        if self.logbook.is_fenced {
            return;
        }
        // An end that was asked for is no failure.
        let failure = error.filter(|error| !matches!(error, JobError::Cancelled)).map(ToString::to_string);
        for member in self.inbox.crew.members() {
            drop(member.orders.send(ToWorker::End { failure: failure.clone() }));
        }
        // In a single process nobody is listening.
        drop(self.job_is_on.send(Farewell { failure }));
    }

    async fn attempts(&mut self) -> Result<JobEnding, JobError> {
        self.begin_observers().await?;
        let with_checkpoints = self.job.checkpoints.is_some();
        let default = if with_checkpoints { RestartStrategy::exponential_delay() } else { RestartStrategy::None };
        let mut policy = RestartPolicy::new(self.job.restart.clone().unwrap_or(default));
        loop {
            let before = self.logbook.attempt;
            let result = self.attempt().await;
            self.tell_attempt(Some(self.logbook.attempt).filter(|attempt| *attempt != before), &result);
            let error = match result {
                Ok(ending) => return Ok(ending),
                Err(error) => error,
            };
            if matches!(error, JobError::Overtaken { .. }) {
                // Perhaps by a newer attempt of this job: then the workers are to look for that one.
                self.logbook.look(&self.io, self.job.checkpoints.as_ref(), &mut self.inbox).await?;
            }
            if let JobError::Unfit { worker, .. } = &error {
                self.dismiss(worker, &error);
            }
            // Without checkpoints nothing remembers which transactions were committed.
            let is_torn = self.commit_is_open && !with_checkpoints;
            if self.inbox.is_cancelled || self.logbook.is_fenced || is_torn || !error.is_worth_a_restart() {
                return Err(error);
            }
            let is_failure = !matches!(error, JobError::Rescaled);
            let delay = if is_failure { policy.failed(self.io.clock().now()) } else { Some(Duration::ZERO) };
            let Some(delay) = delay else { return Err(error) };
            self.failed_at = Some(self.io.clock().now());
            self.restarts += 1;
            self.shared.numbers(|numbers| numbers.count("numRestarts", 1));
            let attempt = self.logbook.attempt;
            if is_failure {
                tracing::warn!(%error, %attempt, ?delay, "the attempt failed, another one follows");
            } else {
                let workers = self.inbox.crew.members().len();
                tracing::info!(target: "thalweg::job", %attempt, workers, "more workers have come: the job goes on with all of them");
            }
            self.io.observe("job.restart", &self.job.name, [attempt.0 as i64, 0, 0]);
            let sleep = self.io.clock().sleep_until(self.io.clock().now().after(delay));
            self.inbox.listening(sleep).await?;
        }
    }

    /// Records how the attempt has ended, if one had begun. A failure of its subtasks, or of its own work with them, is recorded already.
    fn tell_attempt(&self, attempt: Option<Attempt>, result: &Result<JobEnding, JobError>) {
        let outcome = match result {
            Ok(JobEnding::Stopped(checkpoint)) => AttemptOutcome::Stopped(*checkpoint),
            Ok(JobEnding::Finished | JobEnding::AlreadyFinished) => AttemptOutcome::Finished,
            Err(JobError::Rescaled) => AttemptOutcome::Rescaled,
            Err(JobError::Cancelled) => AttemptOutcome::Cancelled,
            Err(error) => {
                self.journal.tell_failure(&self.job, attempt, error, FailurePlace::default());
                AttemptOutcome::Failed
            }
        };
        if let Some(attempt) = attempt {
            self.journal.tell(JobEvent::AttemptEnded { attempt, outcome });
        }
    }

    /// Continues without a worker that cannot do its part.
    fn dismiss(&mut self, worker: &str, error: &JobError) {
        let found = self.inbox.crew.members().iter().find(|member| member.name == worker).map(|member| member.id);
        if let Some(member) = found.and_then(|id| self.inbox.crew.lose(id)) {
            drop(member.orders.send(ToWorker::End { failure: Some(error.to_string()) }));
        }
    }

    /// Lets the job's observers begin.
    async fn begin_observers(&self) -> Result<(), JobError> {
        for observer in &self.job.observers {
            observer.begin(Watched::new(&self.job.name, &self.io, &self.shared.metrics)).await?;
        }
        Ok(())
    }

    /// Makes one attempt.
    async fn attempt(&mut self) -> Result<JobEnding, JobError> {
        // Also if the job has finished before: the workers that were started with it are to be told.
        let config = self.job.checkpoints.as_ref();
        self.muster.wait(&self.io, config, self.failed_at, &mut self.inbox, &mut self.logbook).await?;
        let Begun { attempt, epoch, from, storage } = self.beginning().begin().await?;
        let (metadata, restore) = from.unzip();
        if let Some(metadata) = &metadata {
            self.restoring(metadata);
        }
        self.logbook.attempt = attempt;
        self.shared.numbers(|numbers| numbers.begin_attempt(self.logbook.job));
        tracing::info!(%attempt, job = %self.job.name, %epoch, "the attempt begins");
        // The attempt's number, its first checkpoint, and the one it resumes from, if any.
        let restored = metadata.as_ref().map_or(0, |metadata| metadata.id.0 as i64);
        let from = metadata.as_ref().map(|metadata| metadata.id);
        self.journal.tell(JobEvent::AttemptBegan { job: self.logbook.job, attempt, restored: from });
        self.io.observe("attempt.begin", &self.job.name, [attempt.0 as i64, epoch.0 as i64, restored]);
        let discard = storage.as_ref().is_some_and(|storage| storage.config.discard_later_output);
        let sinks =
            Sinks { job: &self.job, io: &self.io, id: self.logbook.job, owner: self.logbook.owner, attempt, from: metadata.as_ref() };
        if let Err(error) = sinks.recover(discard, &mut self.inbox, &self.shared).await {
            // To a process that was overtaken, the results of its successor look like results from nowhere.
            self.logbook.look(&self.io, self.job.checkpoints.as_ref(), &mut self.inbox).await?;
            return Err(error);
        }
        self.io.observe("attempt.recovered", &self.job.name, [attempt.0 as i64, 0, 0]);
        if metadata.as_ref().is_some_and(|metadata| metadata.finished) {
            return self.finish(storage, JobEnding::AlreadyFinished).await;
        }
        let splits = self.beginning().find_splits(metadata.as_ref()).await?;
        if self.inbox.is_cancelled {
            return Err(JobError::Cancelled);
        }
        let place =
            |storage: &Storage| SnapshotPlace { dir: storage.store.dir().to_owned(), inline_bytes_max: storage.config.inline_bytes_max };
        let Logbook { job, owner, .. } = self.logbook;
        let plan = AttemptPlan { job, attempt, owner, epoch, snapshots: storage.as_ref().map(place) };
        let layout = Placement::of_crew(&self.job, &self.inbox.crew)?;
        self.workers = layout.shares(&self.job);
        let (workers, tasks) = (self.workers.clone(), layout.tasks(&self.job));
        self.journal.tell(JobEvent::AttemptDeployed { attempt, workers, tasks });
        self.deploy(&plan, &layout, restore.as_ref());
        // The subtasks hold the state until each has taken its own part.
        drop(restore);
        let (result, storage) = self.run_to_its_end(plan, layout, splits, storage).await;
        match result? {
            Completion::Finished { .. } => self.finish(storage, JobEnding::Finished).await,
            Completion::Stopped { checkpoint } => Ok(JobEnding::Stopped(checkpoint)),
        }
    }

    fn beginning(&mut self) -> Beginning<'_> {
        Beginning { job: &self.job, io: &self.io, inbox: &mut self.inbox, logbook: &mut self.logbook }
    }

    /// Logs the checkpoint that the attempt about to begin resumes from.
    fn restoring(&mut self, metadata: &Metadata) {
        let age_ms = self.io.clock().wall().0.saturating_sub(metadata.completed_at_ms);
        let from = RestoredFrom { checkpoint: metadata.id, age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) };
        tracing::info!(target: "thalweg::job", checkpoint = %from.checkpoint, age = ?from.age, "restoring");
        if self.logbook.is_blank() {
            self.restored = Some(from);
        }
    }

    /// Sends every worker its part.
    fn deploy(&self, plan: &AttemptPlan, layout: &Placement, restore: Option<&RestorePlan>) {
        for (seat, member) in self.inbox.crew.members().iter().enumerate() {
            let deployment = Deployment { plan: plan.clone(), restore: restore.cloned(), layout: layout.clone(), seat };
            // A worker that is gone is about to be reported lost.
            drop(member.orders.send(ToWorker::Deploy(Box::new(deployment))));
        }
    }

    /// Runs the attempt that has been deployed.
    async fn run_to_its_end(
        &mut self,
        plan: AttemptPlan,
        layout: Placement,
        splits: Vec<SplitsOfSource>,
        storage: Option<Storage>,
    ) -> (Result<Completion, JobError>, Option<Storage>) {
        let infos = layout.subtasks(&self.job);
        let Self { job, io, shared, journal, muster, inbox: Inbox { messages, crew, callers, drains, stops, .. }, .. } = self;
        let (workers_wanted, drains, stops) = (muster.workers, *drains, *stops);
        let roster = Roster::new(plan.attempt, infos, layout, crew);
        let telling = Telling::new(journal, io, callers, plan.attempt);
        let parts = AttemptParts { job, io, shared, plan, roster, journal, telling, workers_wanted, splits, storage, drains, stops };
        let run = AttemptRun::new(parts);
        let AttemptEnd { result, completed, commit_is_open, is_cancelled, drains, stops, is_fenced, storage } = run.run(messages).await;
        // An attempt that failed is not followed by one that is only to stop; one that made room for more workers is.
        self.inbox.is_cancelled |= is_cancelled || stops && !matches!(result, Err(JobError::Rescaled));
        self.inbox.stops |= stops;
        self.inbox.drains |= drains;
        self.logbook.is_fenced |= is_fenced;
        self.checkpoints += completed;
        self.commit_is_open = commit_is_open;
        (result, storage)
    }

    /// Everything is committed: records in the folder that the job has finished.
    async fn finish(&mut self, storage: Option<Storage>, ending: JobEnding) -> Result<JobEnding, JobError> {
        if let Some(mut storage) = storage {
            let now = self.io.clock().wall();
            let written = storage.store.finish_job(now).await;
            // A process that runs the job again finds the last checkpoint, which says the same.
            if let Err(error) = written {
                tracing::warn!(%error, "the end of the job cannot be written down");
            }
        }
        Ok(ending)
    }

    /// Removes the leftovers of the last attempt: everything that the latest complete checkpoint does not name.
    async fn clean_up(&mut self) -> Result<(), JobError> {
        let metadata = self.latest_of_own().await?;
        let Logbook { job: id, owner, attempt, .. } = self.logbook;
        let sinks = Sinks { job: &self.job, io: &self.io, id, owner, attempt, from: metadata.as_ref() };
        let cleaned = sinks.clean_up().await;
        if matches!(cleaned, Err(JobError::Overtaken { .. })) {
            // Perhaps by a newer attempt of this job: that one looks after the results.
            self.latest_of_own().await?;
        }
        cleaned
    }

    /// The latest complete checkpoint; an error if another process has taken the job over.
    async fn latest_of_own(&mut self) -> Result<Option<Metadata>, JobError> {
        let Some(config) = &self.job.checkpoints else { return Ok(None) };
        let (history, metadata) = origin::latest(&self.io, &config.dir).await.map_err(JobError::of_the_coordinator)?;
        self.logbook.check_not_overtaken(&history, config)?;
        Ok(metadata)
    }
}
