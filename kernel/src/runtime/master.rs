//! Takes a job from attempt to attempt until it has ended.
//!
//! [`start`] is the one job-run function: production calls it with io_uring's cores and the simulator with its own. Core 0 runs the master. Each
//! attempt opens the checkpoint folder anew, fences its predecessors with a log entry, has every sink recover, finds the splits or restores them, and
//! deploys the subtasks; only then does it read or write anything (docs/src/semantics.md#r-1).

use super::acknowledge::SnapshotPlace;
use super::attempt::{AttemptEnd, AttemptParts, AttemptRun, Storage, sink_failed, sink_panicked};
use super::checkpoint_coordinator::Completion;
use super::core::{Shared, run_core};
use super::deployment::{AttemptPlan, Layout, SubtaskPlan};
use super::driver::panic_text;
use super::error::JobError;
use super::handle::{JobEnding, JobHandle, JobReport, RestoredFrom};
use super::messages::ToCoordinator;
use super::metrics::JobMetrics;
use super::origin::{self, Found};
use super::restart::RestartPolicy;
use super::splits::{SplitsOfSource, cannot_enumerate};
use crate::checkpoint::{Attempt, CheckpointConfig, CheckpointId, JobId, RestartStrategy, Restore, Restored, RestoredSubtask};
use crate::graph::{Job, RecoverSink, SinkPlan};
use crate::sink::Recovery;
use crate::source::SourceError;
use rkyv::util::AlignedVec;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{CoreMain, Cores, Io, Mailbox, MailboxReceiver, TaskClass, mailbox};
use thalweg_storage::checkpoint::{Checkpoint, CheckpointError, History, Metadata};

/// Starts `job` on `core_count` of `cores`.
pub(crate) fn start(mut job: Job, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
    let layout = Layout::new(&job, core_count)?;
    job.settings.check().map_err(JobError::Invalid)?;
    if let Some(config) = &job.checkpoints {
        config.check().map_err(JobError::Invalid)?;
    }
    let (coordinator, inbox) = mailbox();
    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let (result_sender, result) = mailbox();
    let shared = Shared {
        operators: std::mem::take(&mut job.operators).into(),
        settings: Arc::new(job.settings.clone()),
        key_groups: job.key_groups,
        coordinator: coordinator.clone(),
        metrics: Arc::clone(&metrics),
    };
    job.operators = shared.operators.to_vec();
    let (deploy, deployments): (Vec<_>, Vec<_>) = (0..core_count).map(|_| mailbox()).unzip();
    let mut head = Some((MasterPlan { job, layout, inbox, deploy, shared: shared.clone() }, result_sender));
    let mains = deployments
        .into_iter()
        .map(|deployments| -> CoreMain {
            let (shared, head) = (shared.clone(), head.take());
            Box::new(move |core, io| {
                Box::pin(async move {
                    if let Some((plan, result)) = head {
                        let io_of_master = io.clone();
                        let run = async move {
                            // Its way to the cores is closed last: that is what ends them.
                            let mut master = Master::new(plan, io_of_master);
                            let report = master.run().await;
                            drop(result.send(report));
                        };
                        io.spawner().spawn(TaskClass::Latency, "coordinator", Box::pin(run));
                    }
                    run_core(core, io, deployments, shared).await;
                })
            })
        })
        .collect();
    let group = cores.start(mains)?;
    Ok(JobHandle::new(result, coordinator, metrics, group))
}

/// Runs a user's future, and turns a panic in it into its text.
pub(crate) async fn without_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(format!("it panicked: {}", panic_text(&*payload)))),
    })
    .await
}

/// The master on its way to core 0.
struct MasterPlan {
    job: Job,
    layout: Layout,
    inbox: MailboxReceiver<ToCoordinator>,
    deploy: Vec<Mailbox<Vec<SubtaskPlan>>>,
    shared: Shared,
}

/// An attempt that is about to begin.
struct Begun {
    attempt: Attempt,
    epoch: CheckpointId,
    /// What it goes on from, unless it is from the beginning.
    from: Option<(Metadata, Arc<Restored>)>,
    storage: Option<Storage>,
}

/// How often the latest checkpoint is looked for while a running job replaces it by newer ones.
const FINDS_MAX: u32 = 5;

/// Runs a job.
struct Master {
    job: Job,
    layout: Layout,
    inbox: MailboxReceiver<ToCoordinator>,
    deploy: Vec<Mailbox<Vec<SubtaskPlan>>>,
    shared: Shared,
    io: Io,
    /// By which this process knows its attempts in the log.
    owner: u64,
    job_id: JobId,
    /// The attempt under way, or the last one.
    attempt: Attempt,
    restarts: u32,
    checkpoints: u64,
    restored: Option<RestoredFrom>,
    /// Somebody said while nobody listened that the job is to end.
    cancelled: bool,
    /// The input is to end where it is.
    drains: bool,
    /// Another process goes on with the job: nothing of this one matters any more.
    is_fenced: bool,
    /// Sinks were told to commit and have not confirmed: what they have prepared must stay.
    commit_is_open: bool,
}

impl Master {
    fn new(plan: MasterPlan, io: Io) -> Self {
        let MasterPlan { job, layout, inbox, deploy, shared } = plan;
        // No two jobs have the same stream of random numbers.
        let job_id = JobId(io.rng("job-id").next_u64());
        let owner = io.rng("job-owner").next_u64();
        Self {
            job,
            layout,
            inbox,
            deploy,
            shared,
            io,
            owner,
            job_id,
            attempt: Attempt(0),
            restarts: 0,
            checkpoints: 0,
            restored: None,
            cancelled: false,
            drains: false,
            is_fenced: false,
            commit_is_open: false,
        }
    }

    async fn run(&mut self) -> Result<JobReport, JobError> {
        let started = self.io.clock().now();
        let result = self.attempts().await;
        // What an attempt has written and no checkpoint names has no meaning any more. What is half committed the next run commits.
        self.is_fenced |= matches!(&result, Err(error) if is_fenced(error));
        if self.attempt > Attempt(0)
            && !self.is_fenced
            && !self.commit_is_open
            && let Err(error) = self.clean_up().await
        {
            tracing::warn!(%error, "what the job left behind cannot be removed");
        }
        let ending = result?;
        let metrics = self.shared.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(JobReport {
            job: self.job.name.clone(),
            ending,
            restored: self.restored,
            restarts: self.restarts,
            checkpoints: self.checkpoints,
            elapsed: self.io.clock().now().since(started),
            metrics,
        })
    }

    async fn attempts(&mut self) -> Result<JobEnding, JobError> {
        let with_checkpoints = self.job.checkpoints.is_some();
        let default = if with_checkpoints { RestartStrategy::exponential_delay() } else { RestartStrategy::None };
        let mut policy = RestartPolicy::new(self.job.restart.clone().unwrap_or(default));
        loop {
            let error = match self.attempt().await {
                Ok(ending) => return Ok(ending),
                Err(error) => error,
            };
            // Without checkpoints nobody remembers what was committed and what was not.
            let is_torn = self.commit_is_open && !with_checkpoints;
            if self.cancelled || self.is_fenced || is_torn || !error.is_worth_a_restart() {
                return Err(error);
            }
            let Some(delay) = policy.failed(self.io.clock().now()) else { return Err(error) };
            self.restarts += 1;
            tracing::warn!(%error, attempt = %self.attempt, ?delay, "the attempt failed, another one follows");
            self.io.observe("job.restart", &self.job.name, [self.attempt.0 as i64, 0, 0]);
            self.sleep(delay).await?;
        }
    }

    /// Makes one attempt.
    async fn attempt(&mut self) -> Result<JobEnding, JobError> {
        let Begun { attempt, epoch, from, storage } = self.begin().await?;
        self.attempt = attempt;
        self.io.observe("attempt.begin", &self.job.name, [attempt.0 as i64, epoch.0 as i64, 0]);
        let (metadata, restored) = from.unzip();
        let discard = storage.as_ref().is_some_and(|storage| storage.config.discard_later_output);
        self.for_each_sink(attempt, metadata.as_ref(), discard, false, |sink| &sink.recover).await?;
        self.io.observe("attempt.recovered", &self.job.name, [attempt.0 as i64, 0, 0]);
        if metadata.as_ref().is_some_and(|metadata| metadata.finished) {
            return self.finish(storage, JobEnding::AlreadyFinished).await;
        }
        let splits = self.find_splits(metadata.as_ref()).await?;
        if self.cancelled {
            return Err(JobError::Cancelled);
        }
        let place =
            |storage: &Storage| SnapshotPlace { dir: storage.store.dir().to_owned(), inline_bytes_max: storage.config.inline_bytes_max };
        let mut plan = AttemptPlan { job: self.job_id, attempt, epoch, restored, snapshots: storage.as_ref().map(place) };
        let infos = self.layout.subtasks(&self.job);
        let (per_core, ways) = self.layout.deploy(&self.job, &plan);
        for (core, plans) in self.deploy.iter().zip(per_core) {
            // A core that is gone is being torn down, and so is this one.
            drop(core.send(plans));
        }
        // The subtasks hold it until each has taken what is its own.
        plan.restored = None;
        let (job, io, shared) = (&self.job, &self.io, &self.shared);
        let run = AttemptRun::new(AttemptParts { job, io, shared, plan, infos, ways, splits, storage, drains: self.drains });
        let AttemptEnd { result, completed, commit_is_open, is_unwanted, drains, is_fenced, storage } = run.run(&mut self.inbox).await;
        self.cancelled |= is_unwanted;
        self.drains |= drains;
        self.is_fenced |= is_fenced;
        self.checkpoints += completed;
        self.commit_is_open = commit_is_open;
        match result? {
            Completion::Finished { .. } => self.finish(storage, JobEnding::Finished).await,
            Completion::Stopped { checkpoint } => Ok(JobEnding::Stopped(checkpoint)),
        }
    }

    /// Opens the folder, decides what to go on from, and reads it. What cannot be gone on from, or written over, is refused before anything changes.
    async fn begin(&mut self) -> Result<Begun, JobError> {
        let Some(config) = self.job.checkpoints.clone() else {
            let attempt = Attempt(self.attempt.0 + 1);
            return Ok(Begun { attempt, epoch: CheckpointId(1), from: None, storage: None });
        };
        // What the user asked for concerns the first attempt that begins.
        let restore = if self.attempt > Attempt(0) { Restore::Latest } else { config.restore.clone() };
        let mut tries = 0;
        let Found { mut store, history, origin, checkpoint } = loop {
            tries += 1;
            let finding = origin::find(self.io.clone(), config.dir.clone(), restore.clone());
            match self.listening(finding).await? {
                Ok(found) => break found,
                // A job that is still running may have removed it just now, for a newer one.
                Err(CheckpointError::NotFound { .. }) if restore == Restore::Latest && tries < FINDS_MAX => {}
                Err(error) => return Err(checkpoint_failed(error)),
            }
        };
        self.check_not_overtaken(&history, &config)?;
        // A new folder goes on with the job whose checkpoint it begins with: results are known by it.
        let adopted = checkpoint.as_ref().map(|checkpoint| checkpoint.metadata.job);
        self.job_id = history.job().or(adopted).unwrap_or(self.job_id);
        let past = checkpoint.as_ref().map_or(CheckpointId(1), |checkpoint| checkpoint.metadata.id.next());
        let epoch = history.next_checkpoint().max(past);
        let from = checkpoint.map(|Checkpoint { metadata, snapshots, .. }| {
            let restored = Restored {
                checkpoint: metadata.id,
                subtasks: snapshots.into_iter().map(|(entry, snapshot)| RestoredSubtask::new(entry, snapshot)).collect(),
                allow_non_restored_state: config.allow_non_restored_state,
            };
            (metadata, Arc::new(restored))
        });
        if let Some((metadata, restored)) = &from {
            self.job.check_restorable(metadata, restored)?;
        }
        let next = Attempt(history.last_attempt().map_or(1, |last| last.0 + 1));
        let metadata = from.as_ref().map(|(metadata, _)| metadata);
        self.for_each_sink(next, metadata, config.discard_later_output, false, |sink| &sink.check).await?;
        let now = self.io.clock().wall();
        store = store.owned_by(self.owner);
        let attempt = store.begin_attempt(self.job_id, origin, now).await.map_err(checkpoint_failed)?;
        if let Some(metadata) = metadata {
            self.restoring(metadata);
        }
        Ok(Begun { attempt, epoch, from, storage: Some(Storage { store, config }) })
    }

    /// Refuses to go on if the last attempt in the log is not this process's own (docs/src/semantics.md#r-1).
    fn check_not_overtaken(&mut self, history: &History, config: &CheckpointConfig) -> Result<(), JobError> {
        if self.attempt == Attempt(0) || history.owner() == Some(self.owner) {
            return Ok(());
        }
        self.is_fenced = true;
        let entry = history.newest.as_ref().map_or(0, |entry| entry.number);
        Err(checkpoint_failed(CheckpointError::Fenced { folder: config.dir.display().to_string(), entry }))
    }

    /// Says what the attempt goes on from.
    fn restoring(&mut self, metadata: &Metadata) {
        let age_ms = self.io.clock().wall().0.saturating_sub(metadata.completed_at_ms);
        let from = RestoredFrom { checkpoint: metadata.id, age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) };
        tracing::info!(target: "thalweg::cli", checkpoint = %from.checkpoint, age = ?from.age, "restoring");
        if self.attempt == Attempt(0) {
            self.restored = Some(from);
        }
    }

    /// Has every sink look at its place, or recover it (docs/src/semantics.md#o-4).
    async fn for_each_sink(
        &mut self,
        attempt: Attempt,
        from: Option<&Metadata>,
        discard_later_output: bool,
        is_last: bool,
        what: impl Fn(&SinkPlan) -> &RecoverSink,
    ) -> Result<(), JobError> {
        for i in 0..self.job.sinks.len() {
            let sink = &self.job.sinks[i];
            let meta = &self.job.operators[sink.operator.0];
            let operator = meta.name.clone();
            let own = from.iter().flat_map(|metadata| &metadata.transactions).filter(|transaction| transaction.sink_uid == meta.uid);
            let recovery = Recovery {
                job: self.job_id,
                attempt,
                restored: from.map(|metadata| metadata.id),
                committed: own.map(|transaction| aligned(&transaction.transaction)).collect(),
                discard_later_output,
                is_last,
            };
            let doing = what(sink)(self.io.clone(), recovery);
            // The last cleaning is not given up because somebody says once more that the job is to end.
            let done = if is_last { without_panic(doing).await } else { self.listening(without_panic(doing)).await? };
            let done = done.map_err(|panic| sink_panicked(&operator, "(looking after its place)", panic))?;
            done.map_err(|error| sink_failed(operator, error))?;
        }
        Ok(())
    }

    /// The splits of every source: those of the checkpoint, or those that the source finds now.
    async fn find_splits(&mut self, from: Option<&Metadata>) -> Result<Vec<SplitsOfSource>, JobError> {
        let mut splits = Vec::new();
        for i in 0..self.job.sources.len() {
            let (source, task) = &self.job.sources[i];
            let (id, meta) = (source.operator, &self.job.operators[source.operator.0]);
            if let Some(entry) = from.and_then(|metadata| metadata.sources.iter().find(|entry| entry.uid == meta.uid)) {
                let positions = entry.splits.iter().map(|split| (split.number, aligned(&split.position)));
                splits.push(SplitsOfSource { source: id, splits: positions.collect() });
                continue;
            }
            let operator = meta.name.clone();
            let finding = (source.splits)(self.io.clone(), self.layout.parallelism[*task]);
            let found = self.listening(without_panic(finding)).await?;
            let found = found.unwrap_or_else(|panic| Err(SourceError::Other(panic))).map_err(|error| cannot_enumerate(operator, error))?;
            splits.push(SplitsOfSource::found(id, found));
        }
        Ok(splits)
    }

    /// Everything is committed: writes that down.
    async fn finish(&mut self, storage: Option<Storage>, ending: JobEnding) -> Result<JobEnding, JobError> {
        if let Some(mut storage) = storage {
            let now = self.io.clock().wall();
            let written = storage.store.finish_job(now).await;
            // Whoever runs the job again finds the last checkpoint, which says the same.
            if let Err(error) = written {
                tracing::warn!(%error, "the end of the job cannot be written down");
            }
        }
        Ok(ending)
    }

    /// Removes what the last attempt has left behind: everything that the latest complete checkpoint does not name.
    async fn clean_up(&mut self) -> Result<(), JobError> {
        let metadata = match &self.job.checkpoints {
            None => None,
            Some(config) => {
                let config = config.clone();
                let latest = origin::latest(&self.io, &config.dir).await;
                let (history, metadata) = latest.map_err(checkpoint_failed)?;
                self.check_not_overtaken(&history, &config)?;
                metadata
            }
        };
        self.for_each_sink(self.attempt, metadata.as_ref(), false, true, |sink| &sink.recover).await
    }

    async fn sleep(&mut self, delay: Duration) -> Result<(), JobError> {
        let until = self.io.clock().now().after(delay);
        let sleep = self.io.clock().sleep_until(until);
        self.listening(sleep).await
    }

    /// Waits for `future`, and for the word that the job is to end.
    async fn listening<F: Future>(&mut self, future: F) -> Result<F::Output, JobError> {
        let mut future = pin!(future);
        let Self { inbox, cancelled, drains, .. } = self;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while let Poll::Ready(message) = inbox.poll_recv(cx) {
                match message {
                    // Of an attempt that is over.
                    Some(ToCoordinator::FromSubtask { .. }) => {}
                    Some(ToCoordinator::Drain) => *drains = true,
                    // Nothing has been read since the last checkpoint: to stop with one is to end here.
                    Some(ToCoordinator::Cancel | ToCoordinator::Stop) | None => {
                        *cancelled = true;
                        return Poll::Ready(Err(JobError::Cancelled));
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn checkpoint_failed(source: CheckpointError) -> JobError {
    JobError::Checkpoint { place: "coordinator".to_owned(), source }
}

fn is_fenced(error: &JobError) -> bool {
    matches!(error, JobError::Checkpoint { source, .. } if source.is_fenced())
}

/// Archives are read in place, aligned.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}
