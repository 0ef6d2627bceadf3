//! Takes a job from attempt to attempt until it has ended.
//!
//! [`start`] is the one job-run function: production calls it with io_uring's cores and the simulator with its own. Core 0 runs the master. Each
//! attempt opens the checkpoint folder anew, fences its predecessors with a log entry, has every sink recover, finds the splits or restores them, and
//! deploys the subtasks; only then does it read or write anything (docs/src/semantics.md#r-1).

use super::acknowledge::SnapshotPlace;
use super::agent::Agent;
use super::attempt::{AttemptEnd, AttemptParts, AttemptRun, Storage, sink_failed, sink_panicked};
use super::checkpoint_coordinator::Completion;
use super::core::{Shared, run_core};
use super::crew::{Crew, Member, WorkerId};
use super::deployment::{AttemptPlan, Deployment, Layout, RestorePlan, Seat, parallelism};
use super::driver::panic_text;
use super::error::{FailureCause, JobError};
use super::handle::{JobEnding, JobHandle, JobReport, RestoredFrom, WorkerShare};
use super::messages::{ToCoordinator, ToWorker};
use super::metrics::JobMetrics;
use super::origin::{self, Found};
use super::restart::RestartPolicy;
use super::splits::{SplitsOfSource, cannot_enumerate};
use crate::checkpoint::{Attempt, CheckpointConfig, CheckpointId, JobId, RestartStrategy, Restore, Restored};
use crate::graph::{Job, RecoverSink, SinkPlan};
use crate::metrics_http;
use crate::sink::Recovery;
use crate::source::SourceError;
use rkyv::util::AlignedVec;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use thalweg_io::{CoreId, CoreMain, Cores, Io, LocalBoxFuture, MailboxReceiver, MonotonicNs, TaskClass, mailbox};
use thalweg_storage::checkpoint::{CheckpointError, History, Metadata};

/// Starts `job` on `core_count` of `cores`, all of it in this process: its one worker is a neighbour of the coordinator.
pub(crate) fn start(job: Job, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
    parallelism(&job, core_count)?;
    let (ways, orders): (Vec<_>, Vec<_>) = (0..core_count).map(|_| mailbox()).unzip();
    let mut orders = orders.into_iter();
    let own = orders.next();
    let others = orders.map(|orders| -> CoreMain { Box::new(move |core, io| Box::pin(run_core(core, io, None, orders))) }).collect();
    let recruit = move |recruiting: Recruiting| -> LocalBoxFuture<()> {
        let Recruiting { core, io, job, shared, .. } = recruiting;
        let (way, mut inbox) = mailbox();
        let member = Member { id: WorkerId(0), name: "this process".to_owned(), cores: ways.len(), doors: vec![], orders: way };
        drop(shared.coordinator.send(ToCoordinator::Joined(member)));
        let mut agent = Agent::new(io.clone(), job, ways, shared);
        let work = async move {
            // Its way to the cores ends with it: that is what ends them.
            while let Some(order) = inbox.recv().await {
                agent.take(order).await;
            }
        };
        io.spawner().spawn(TaskClass::Latency, "agent", Box::pin(work));
        Box::pin(async move {
            if let Some(orders) = own {
                run_core(core, io, None, orders).await;
            }
        })
    };
    launch(job, cores, Muster { workers: 1, patience: Duration::ZERO }, others, Box::new(recruit))
}

/// How many workers an attempt waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Muster {
    pub(crate) workers: usize,
    /// After an attempt that has failed it goes on with those that are there after so long, one at least.
    pub(crate) patience: Duration,
}

/// What is needed to find workers for a job. It runs on the coordinator's core.
pub(crate) struct Recruiting {
    pub(crate) core: CoreId,
    pub(crate) io: Io,
    pub(crate) job: Rc<Job>,
    /// With the way to the coordinator, who is told of each worker that has come or gone.
    pub(crate) shared: Shared,
    /// Ends when the job has ended, after every worker was told.
    pub(crate) job_end: MailboxReceiver<Infallible>,
}

/// Finds workers; the core ends when it does.
pub(crate) type Recruit = Box<dyn FnOnce(Recruiting) -> LocalBoxFuture<()> + Send>;

/// Starts the coordinator of `job` on the first of `cores`, and `others` on those that follow.
pub(crate) fn launch(job: Job, cores: &dyn Cores, muster: Muster, others: Vec<CoreMain>, recruit: Recruit) -> Result<JobHandle, JobError> {
    job.settings.check().map_err(JobError::Invalid)?;
    if let Some(config) = &job.checkpoints {
        config.check().map_err(JobError::Invalid)?;
    }
    let (coordinator, inbox) = mailbox();
    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let (result_sender, result) = mailbox();
    let shared = Shared::new(&job, coordinator.clone(), Arc::clone(&metrics));
    let head: CoreMain = Box::new(move |core, io| {
        Box::pin(async move {
            let job = Rc::new(job);
            let (job_is_on, job_end) = mailbox();
            let recruiting = Recruiting { core, io: io.clone(), job: Rc::clone(&job), shared: shared.clone(), job_end };
            let mut master = Master::new(job, muster, inbox, shared, io.clone());
            let run = async move {
                let report = master.run().await;
                // Its ways to the workers end with it.
                drop((master, job_is_on));
                drop(result_sender.send(report));
            };
            io.spawner().spawn(TaskClass::Latency, "coordinator", Box::pin(run));
            recruit(recruiting).await;
        })
    });
    let group = cores.start(std::iter::once(head).chain(others).collect())?;
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

/// An attempt that is about to begin.
struct Begun {
    attempt: Attempt,
    epoch: CheckpointId,
    /// What it goes on from, unless it is from the beginning.
    from: Option<(Metadata, RestorePlan)>,
    storage: Option<Storage>,
}

/// Without a worker the log is looked into no more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often the latest checkpoint is looked for while a running job replaces it by newer ones.
const FINDS_MAX: u32 = 5;

/// Runs a job.
struct Master {
    job: Rc<Job>,
    crew: Crew,
    muster: Muster,
    inbox: MailboxReceiver<ToCoordinator>,
    shared: Shared,
    io: Io,
    /// By which this process knows its attempts in the log.
    owner: u64,
    job_id: JobId,
    /// The attempt under way, or the last one.
    attempt: Attempt,
    restarts: u32,
    /// The newest entry of the log when it was read last.
    log_seen: Option<u64>,
    /// When the last attempt failed.
    failed_at: Option<MonotonicNs>,
    checkpoints: u64,
    restored: Option<RestoredFrom>,
    /// What each worker does, in the last attempt.
    workers: Vec<WorkerShare>,
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
    fn new(job: Rc<Job>, muster: Muster, inbox: MailboxReceiver<ToCoordinator>, shared: Shared, io: Io) -> Self {
        // No two jobs have the same stream of random numbers.
        let job_id = JobId(io.rng("job-id").next_u64());
        let owner = io.rng("job-owner").next_u64();
        Self {
            job,
            crew: Crew::default(),
            muster,
            inbox,
            shared,
            io,
            owner,
            job_id,
            attempt: Attempt(0),
            restarts: 0,
            log_seen: None,
            failed_at: None,
            checkpoints: 0,
            restored: None,
            workers: Vec::new(),
            cancelled: false,
            drains: false,
            is_fenced: false,
            commit_is_open: false,
        }
    }

    async fn run(&mut self) -> Result<JobReport, JobError> {
        let started = self.io.clock().now();
        self.shared.numbers(|numbers| {
            for name in ["numRestarts", "numberOfCompletedCheckpoints", "numberOfFailedCheckpoints"] {
                numbers.count(name, 0);
            }
        });
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

    /// Tells the workers that the job is over, also those that have come in the last moment. If another coordinator goes on with the job they are to look
    /// for it.
    fn say_goodbye(&mut self, error: Option<&JobError>) {
        while let Some(message) = self.inbox.try_recv() {
            // That somebody wants the job to end is no news any more.
            drop(self.hear(message));
        }
        for member in self.crew.members().iter().filter(|_| !self.is_fenced) {
            drop(member.orders.send(ToWorker::End { failure: error.map(ToString::to_string) }));
        }
    }

    async fn attempts(&mut self) -> Result<JobEnding, JobError> {
        self.show_metrics().await?;
        let with_checkpoints = self.job.checkpoints.is_some();
        let default = if with_checkpoints { RestartStrategy::exponential_delay() } else { RestartStrategy::None };
        let mut policy = RestartPolicy::new(self.job.restart.clone().unwrap_or(default));
        loop {
            let error = match self.attempt().await {
                Ok(ending) => return Ok(ending),
                Err(error) => error,
            };
            if let JobError::Unfit { worker, .. } = &error {
                self.dismiss(worker, &error);
            }
            // Without checkpoints nobody remembers what was committed and what was not.
            let is_torn = self.commit_is_open && !with_checkpoints;
            if self.cancelled || self.is_fenced || is_torn || !error.is_worth_a_restart() {
                return Err(error);
            }
            let is_failure = !matches!(error, JobError::Rescaled);
            let delay = if is_failure { policy.failed(self.io.clock().now()) } else { Some(Duration::ZERO) };
            let Some(delay) = delay else { return Err(error) };
            self.failed_at = Some(self.io.clock().now());
            self.restarts += 1;
            self.shared.numbers(|numbers| numbers.count("numRestarts", 1));
            tracing::warn!(%error, attempt = %self.attempt, ?delay, "the attempt failed, another one follows");
            self.io.observe("job.restart", &self.job.name, [self.attempt.0 as i64, 0, 0]);
            self.sleep(delay).await?;
        }
    }

    /// Goes on without a worker that cannot do its part.
    fn dismiss(&mut self, worker: &str, error: &JobError) {
        let found = self.crew.members().iter().find(|member| member.name == worker).map(|member| member.id);
        if let Some(member) = found.and_then(|id| self.crew.lose(id)) {
            drop(member.orders.send(ToWorker::End { failure: Some(error.to_string()) }));
        }
    }

    /// Begins to show the job's numbers to whoever asks, if it is to.
    async fn show_metrics(&self) -> Result<(), JobError> {
        let Some(endpoint) = &self.job.metrics_endpoint else { return Ok(()) };
        let metrics = Arc::clone(&self.shared.metrics);
        let source = move || metrics.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let serving = metrics_http::serve(&self.io, endpoint, &self.job.name, source).await;
        serving.map_err(|error| JobError::Invalid(format!("the metrics cannot be shown: {error}; choose another address or port")))
    }

    /// Makes one attempt.
    async fn attempt(&mut self) -> Result<JobEnding, JobError> {
        // Also if the job has finished before: the workers that were started with it are to hear so.
        self.wait_for_workers().await?;
        let Begun { attempt, epoch, from, storage } = self.begin().await?;
        self.attempt = attempt;
        self.shared.numbers(JobMetrics::begin_attempt);
        tracing::info!(%attempt, job = %self.job.name, %epoch, "the attempt begins");
        self.io.observe("attempt.begin", &self.job.name, [attempt.0 as i64, epoch.0 as i64, 0]);
        let (metadata, restore) = from.unzip();
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
        let plan = AttemptPlan { job: self.job_id, attempt, owner: self.owner, epoch, snapshots: storage.as_ref().map(place) };
        let layout = self.layout()?;
        let infos = layout.subtasks(&self.job);
        self.workers = layout.shares(&self.job);
        for (seat, member) in self.crew.members().iter().enumerate() {
            let deployment = Deployment { plan: plan.clone(), restore: restore.clone(), layout: layout.clone(), seat };
            // One that is gone is about to be reported lost.
            drop(member.orders.send(ToWorker::Deploy(Box::new(deployment))));
        }
        // The subtasks hold the state until each has taken what is its own.
        drop(restore);
        let Self { job, io, shared, crew, inbox, drains, .. } = self;
        let run = AttemptRun::new(AttemptParts {
            job,
            io,
            shared,
            plan,
            infos,
            layout,
            crew,
            workers_wanted: self.muster.workers,
            splits,
            storage,
            drains: *drains,
        });
        let AttemptEnd { result, completed, commit_is_open, is_unwanted, drains, is_fenced, storage } = run.run(inbox).await;
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

    /// The workers that are there, and what each does.
    fn layout(&self) -> Result<Layout, JobError> {
        if self.crew.members().is_empty() {
            let reason = "no other is left".to_owned();
            return Err(JobError::WorkerLost { worker: "the last one".to_owned(), reason });
        }
        Layout::new(&self.job, self.crew.members().iter().map(Seat::of).collect())
    }

    /// Waits until there are enough workers.
    async fn wait_for_workers(&mut self) -> Result<(), JobError> {
        let Muster { workers, patience } = self.muster;
        // The delay before a restart is part of it.
        let mut patience = self.failed_at.map(|failed| self.io.clock().sleep_until(failed.after(patience)));
        let mut told = None;
        loop {
            while let Some(message) = self.inbox.try_recv() {
                self.hear(message)?;
            }
            let present = self.crew.members().len();
            if present >= workers || (present > 0 && patience.is_none() && self.attempt > Attempt(0)) {
                return Ok(());
            }
            if told != Some(present) {
                tracing::info!(target: "thalweg::cli", "waiting for workers: {present} of {workers} are there");
                told = Some(present);
            }
            let inbox = &mut self.inbox;
            let message = poll_fn(|cx| {
                if let Poll::Ready(message) = inbox.poll_recv(cx) {
                    return Poll::Ready(message);
                }
                if let Some(sleep) = &mut patience
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    patience = None;
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await;
            match message {
                Some(message) => self.hear(message)?,
                None if self.crew.members().is_empty() => {
                    // They may all have gone to another coordinator. If not, the first to be back is not to begin alone.
                    self.look_into_the_log().await?;
                    patience = Some(self.io.clock().sleep_until(self.io.clock().now().after(self.muster.patience.max(LOOK_AGAIN))));
                }
                None => {}
            }
        }
    }

    /// Refuses to wait on for a job that another process goes on with.
    async fn look_into_the_log(&mut self) -> Result<(), JobError> {
        let Some(config) = self.job.checkpoints.clone() else { return Ok(()) };
        let (io, dir) = (self.io.clone(), config.dir.clone());
        let latest = self.listening(async move { origin::latest(&io, &dir).await }).await?;
        // A folder that cannot be read now is looked at again.
        latest.map_or(Ok(()), |(history, _)| self.check_not_overtaken(&history, &config))
    }

    /// Begins an attempt. One that takes a job over from a process that is at work may find that entry of the log taken which it was about to write, by a
    /// checkpoint: then it reads what has changed and tries again.
    async fn begin(&mut self) -> Result<Begun, JobError> {
        for _ in 1..FINDS_MAX {
            match self.begin_once().await {
                Err(error) if self.attempt == Attempt(0) && (is_fenced(&error) || self.log_has_moved().await?) => {}
                begun => return begun,
            }
        }
        self.begin_once().await
    }

    /// Whether another process has gone on with the job since the log was read: what was found out since is about the past.
    async fn log_has_moved(&mut self) -> Result<bool, JobError> {
        let Some(config) = self.job.checkpoints.clone() else { return Ok(false) };
        let io = self.io.clone();
        let latest = self.listening(async move { origin::latest(&io, &config.dir).await }).await?;
        Ok(latest.is_ok_and(|(history, _)| history.newest.map(|entry| entry.number) != self.log_seen))
    }

    /// Opens the folder, decides what to go on from, and reads it. What cannot be gone on from, or written over, is refused before anything changes.
    async fn begin_once(&mut self) -> Result<Begun, JobError> {
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
        self.log_seen = history.newest.as_ref().map(|entry| entry.number);
        // A new folder goes on with the job whose checkpoint it begins with: results are known by it.
        let adopted = checkpoint.as_ref().map(|checkpoint| checkpoint.metadata.job);
        self.job_id = history.job().or(adopted).unwrap_or(self.job_id);
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
            let finding = (source.splits)(self.io.clone(), self.layout()?.parallelism[*task]);
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
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while let Poll::Ready(message) = self.inbox.poll_recv(cx) {
                // The handle holds a sender; only a core that is being torn down hears of no more.
                if let Err(end) = self.hear(message.unwrap_or(ToCoordinator::Cancel)) {
                    return Poll::Ready(Err(end));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Takes a message between two attempts.
    fn hear(&mut self, message: ToCoordinator) -> Result<(), JobError> {
        match message {
            // Of an attempt that is over.
            ToCoordinator::FromSubtask { .. } | ToCoordinator::Metrics { .. } => {}
            ToCoordinator::Joined(member) => self.crew.join(member),
            ToCoordinator::Lost { worker, reason } => {
                if let Some(member) = self.crew.lose(worker) {
                    tracing::warn!(worker = %member.name, %reason, "a worker is lost");
                }
            }
            ToCoordinator::Impossible(error) => return Err(error),
            ToCoordinator::Drain => self.drains = true,
            // Nothing has been read since the last checkpoint: to stop with one is to end here.
            ToCoordinator::Cancel | ToCoordinator::Stop => {
                self.cancelled = true;
                return Err(JobError::Cancelled);
            }
        }
        Ok(())
    }
}

fn checkpoint_failed(source: CheckpointError) -> JobError {
    JobError::Checkpoint { place: "coordinator".to_owned(), source }
}

/// Also if it was a worker that found it out.
fn is_fenced(error: &JobError) -> bool {
    error.cause() == FailureCause::Fenced
}

/// Archives are read in place, aligned.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}
