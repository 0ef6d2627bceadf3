//! The user's handle of a running job.

use crate::checkpoint::CheckpointId;
use crate::error::JobError;
use crate::job::history::{JobEnding, JobHistory, WorkerShare};
use crate::job::journal::{SharedHistory, snapshot};
use crate::job::outcome::{JobEnd, RequestedCheckpoint};
use crate::messages::ToCoordinator;
use crate::metrics::JobMetrics;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thalweg_io::{CoreGroup, Mailbox, MailboxReceiver, block_on, mailbox};

/// The checkpoint that a job resumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredFrom {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Its age at that time.
    pub age: Duration,
}

/// The report on a finished job.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// The job's name.
    pub job: String,
    /// How the job ended.
    pub ending: JobEnding,
    /// The checkpoint that its first attempt resumed from, if any.
    pub restored: Option<RestoredFrom>,
    /// Number of restarts after a failure.
    pub restarts: u32,
    /// Number of checkpoints completed.
    pub checkpoints: u64,
    /// The share of each worker in the last attempt.
    pub workers: Vec<WorkerShare>,
    /// From the start of its cores to its end.
    pub elapsed: Duration,
    /// The final metrics of its last attempt.
    pub metrics: JobMetrics,
}

/// Controls a running job from any thread, and shows its history. Clones control the same job.
///
/// A command takes effect even if nobody waits for the future it returns.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use std::time::Duration;
/// use thalweg::{CheckpointConfig, CheckpointOutcome, JobOutcome, StreamExecutionEnvironment};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("thalweg-control-{}", std::process::id()));
/// let env = StreamExecutionEnvironment::new();
/// env.enable_checkpointing(CheckpointConfig::new(&dir));
/// env.set_source_rate(Some(1_000));
/// env.from_collection((0..1_000_000u64).collect()).for_each(|_| {});
/// let handle = env.execute("a long job", 1)?;
/// let control = handle.control();
/// let CheckpointOutcome::Completed { checkpoint, .. } = control.checkpoint().wait() else { panic!("there is a folder") };
/// assert!(control.history().checkpoint(checkpoint).is_some());
/// assert_eq!(control.cancel().wait(), JobOutcome::Cancelled);
/// # std::fs::remove_dir_all(dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JobControl {
    coordinator: Mailbox<ToCoordinator>,
    metrics: Arc<Mutex<JobMetrics>>,
    history: SharedHistory,
}

impl JobControl {
    /// Ends the job: uncommitted results are removed, results that checkpoints have committed stay. Nothing happens if the job has ended or is about to.
    pub fn cancel(&self) -> JobEnd {
        self.end_by(ToCoordinator::Cancel)
    }

    /// Ends the input where it is (Flink's `stop --drain`): open windows and timers fire, results are committed, the job finishes.
    pub fn stop(&self) -> JobEnd {
        self.end_by(ToCoordinator::Drain)
    }

    /// Takes a checkpoint, commits its results, and ends the job, which can resume from there later (Flink's `stop` without `--drain`). Without checkpoints
    /// this is [`cancel`](Self::cancel).
    pub fn stop_with_checkpoint(&self) -> JobEnd {
        self.end_by(ToCoordinator::Stop)
    }

    /// Takes a checkpoint as soon as none is under way, whatever the interval and the least pause between two, and tells its outcome.
    ///
    /// It begins after this call: all records read before are in it. If no attempt runs the call waits for one; if the input has ended the checkpoint is
    /// the last one, which is taken when everything is worked off. It is tried once, and a checkpoint that has begun does not outlive its attempt.
    pub fn checkpoint(&self) -> RequestedCheckpoint {
        let (caller, answer) = mailbox();
        drop(self.coordinator.send(ToCoordinator::Checkpoint(caller)));
        RequestedCheckpoint::new(answer)
    }

    /// The end of the job, for a caller that waits for it without the handle.
    #[must_use]
    pub fn ended(&self) -> JobEnd {
        let (caller, closed) = mailbox();
        drop(self.coordinator.send(ToCoordinator::Watch(caller)));
        JobEnd::new(closed, Arc::clone(&self.history))
    }

    fn end_by(&self, command: ToCoordinator) -> JobEnd {
        // In this order: a job that ends by the command must know the caller before.
        let end = self.ended();
        drop(self.coordinator.send(command));
        end
    }

    /// The history of the job so far: attempts, failures, checkpoints. Costs a lock and some pointers; also available when the job has ended.
    #[must_use]
    pub fn history(&self) -> JobHistory {
        snapshot(&self.history)
    }

    /// The job's metrics, at most some tenths of a second old.
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
        history: SharedHistory,
        group: Box<dyn CoreGroup>,
    ) -> Self {
        Self { result, control: JobControl { coordinator, metrics, history }, group: Some(group) }
    }

    /// Waits on the current thread, which must not be one of the job's cores, until the job has ended.
    ///
    /// # Errors
    /// Why the job did not finish.
    pub fn wait(self) -> Result<JobReport, JobError> {
        block_on(self)
    }

    /// See [`JobControl::cancel`].
    pub fn cancel(&self) -> JobEnd {
        self.control.cancel()
    }

    /// See [`JobControl::stop`].
    pub fn stop(&self) -> JobEnd {
        self.control.stop()
    }

    /// See [`JobControl::stop_with_checkpoint`].
    pub fn stop_with_checkpoint(&self) -> JobEnd {
        self.control.stop_with_checkpoint()
    }

    /// See [`JobControl::checkpoint`].
    pub fn checkpoint(&self) -> RequestedCheckpoint {
        self.control.checkpoint()
    }

    /// See [`JobControl::history`].
    #[must_use]
    pub fn history(&self) -> JobHistory {
        self.control.history()
    }

    /// See [`JobControl::metrics`].
    #[must_use]
    pub fn metrics(&self) -> JobMetrics {
        self.control.metrics()
    }

    /// A control for the job that can be used elsewhere while this handle is waited for.
    #[must_use]
    pub fn control(&self) -> JobControl {
        self.control.clone()
    }
}

impl Future for JobHandle {
    type Output = Result<JobReport, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(self.result.poll_recv(cx));
        // The result is the coordinator's last message; its cores are about to end.
        if let Some(group) = self.group.take() {
            group.join();
        }
        let torn_down = || JobError::Internal { place: "core 0".to_owned(), message: "the coordinator is gone".to_owned() };
        Poll::Ready(result.unwrap_or_else(|| Err(torn_down())))
    }
}
