//! What the user holds of a running job.

use super::error::JobError;
use super::messages::ToCoordinator;
use super::metrics::JobMetrics;
use crate::checkpoint::CheckpointId;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{CoreGroup, Mailbox, MailboxReceiver, block_on};

/// How a job came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnding {
    /// The input has ended, and all results are visible.
    Finished,
    /// It was stopped with this checkpoint, from which it can go on.
    Stopped(CheckpointId),
    /// It had finished before: there was nothing left to do.
    AlreadyFinished,
}

/// The checkpoint that a job went on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredFrom {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// How old it was.
    pub age: Duration,
}

/// What a worker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerShare {
    /// Its name.
    pub name: String,
    /// Its cores.
    pub cores: usize,
    /// How many subtasks it ran.
    pub subtasks: usize,
    /// How many of the job's key groups it owned, in whichever keyed operators.
    pub key_groups: u32,
}

/// How a finished job went.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The job's name.
    pub job: String,
    /// How it came to its end.
    pub ending: JobEnding,
    /// The checkpoint that its first attempt went on from.
    pub restored: Option<RestoredFrom>,
    /// How often it was restarted after a failure.
    pub restarts: u32,
    /// How many checkpoints were completed.
    pub checkpoints: u64,
    /// What each worker did in the last attempt.
    pub workers: Vec<WorkerShare>,
    /// From the start of its cores to its end.
    pub elapsed: Duration,
    /// The final numbers of its last attempt.
    pub metrics: JobMetrics,
}

/// Steers a running job from any thread. Clones steer the same job.
#[derive(Clone)]
pub struct JobControl {
    coordinator: Mailbox<ToCoordinator>,
    metrics: Arc<Mutex<JobMetrics>>,
}

impl JobControl {
    /// Ends the job: what is not committed is removed, what checkpoints have committed stays. Nothing happens if the job has ended or is about to.
    pub fn cancel(&self) {
        drop(self.coordinator.send(ToCoordinator::Cancel));
    }

    /// Ends the input where it is (Flink's `stop --drain`): what is open fires, results are committed, the job finishes.
    pub fn stop(&self) {
        drop(self.coordinator.send(ToCoordinator::Drain));
    }

    /// Takes a checkpoint, commits what it names, and ends the job, which can go on from there later (Flink's `stop` without `--drain`). Without
    /// checkpoints this is [`cancel`](Self::cancel).
    pub fn stop_with_checkpoint(&self) {
        drop(self.coordinator.send(ToCoordinator::Stop));
    }

    /// The job's numbers, at most some tenths of a second old.
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running job. It can be awaited on any executor, or waited for on a thread; dropping it lets the job run on.
#[must_use = "a job runs on when its handle is dropped, and its failure goes unseen"]
pub struct JobHandle {
    result: MailboxReceiver<Result<JobReport, JobError>>,
    control: JobControl,
    group: Option<Box<dyn CoreGroup>>,
}

impl JobHandle {
    pub(crate) fn new(
        result: MailboxReceiver<Result<JobReport, JobError>>,
        coordinator: Mailbox<ToCoordinator>,
        metrics: Arc<Mutex<JobMetrics>>,
        group: Box<dyn CoreGroup>,
    ) -> Self {
        Self { result, control: JobControl { coordinator, metrics }, group: Some(group) }
    }

    /// Waits on the current thread, which must not be one of the job's cores, until the job has ended.
    ///
    /// # Errors
    /// The reason why the job did not finish.
    pub fn wait(self) -> Result<JobReport, JobError> {
        block_on(self)
    }

    /// See [`JobControl::cancel`].
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// See [`JobControl::stop`].
    pub fn stop(&self) {
        self.control.stop();
    }

    /// See [`JobControl::stop_with_checkpoint`].
    pub fn stop_with_checkpoint(&self) {
        self.control.stop_with_checkpoint();
    }

    /// See [`JobControl::metrics`].
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.control.metrics()
    }

    /// Something to steer the job with from elsewhere while this handle is waited for.
    #[must_use]
    pub fn control(&self) -> JobControl {
        self.control.clone()
    }
}

impl Future for JobHandle {
    type Output = Result<JobReport, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(self.result.poll_recv(cx));
        // The result is the last thing the coordinator says; its cores are about to end.
        if let Some(group) = self.group.take() {
            group.join();
        }
        let torn_down = || JobError::Internal { place: "core 0".to_owned(), message: "the coordinator is gone".to_owned() };
        Poll::Ready(result.unwrap_or_else(|| Err(torn_down())))
    }
}
