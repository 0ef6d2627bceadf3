//! A worker's own part: brings what the coordinator deploys onto the cores of this process, and passes on what concerns a single subtask.
//!
//! The same in every process. Whether orders come through a mailbox or over the network it does not know.

use super::acknowledge::SnapshotPlace;
use super::context::SubtaskId;
use super::core::{CoreOrder, Shared};
use super::deployment::{AttemptPlan, Deployment, Layout, RestorePlan, Share};
use super::error::JobError;
use super::messages::{FromSubtask, ToCoordinator, ToSubtask, ToWorker};
use crate::checkpoint::{Attempt, Restored};
use crate::graph::Job;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::{Io, Mailbox};
use thalweg_storage::checkpoint::{CheckpointError, CheckpointStore, load_path};

/// The subtasks of one process, over all its cores.
pub(crate) struct Agent {
    io: Io,
    job: Rc<Job>,
    /// The way to each core.
    cores: Vec<Mailbox<CoreOrder>>,
    shared: Shared,
    attempt: Attempt,
    /// Subtasks of the attempt that have not ended, as far as is known here, and the way to each; none to one that could not be built.
    subtasks: BTreeMap<SubtaskId, Option<Mailbox<ToSubtask>>>,
}

impl Agent {
    pub(crate) fn new(io: Io, job: Rc<Job>, cores: Vec<Mailbox<CoreOrder>>, shared: Shared) -> Self {
        Self { io, job, cores, shared, attempt: Attempt(0), subtasks: BTreeMap::new() }
    }

    /// Carries an order out. Ready at once, unless the state of a checkpoint has to be read first.
    pub(crate) async fn take(&mut self, order: ToWorker) {
        match order {
            ToWorker::Deploy(deployment) => self.deploy(*deployment).await,
            ToWorker::ToSubtask { attempt, subtask, message } if attempt == self.attempt => self.pass_on(subtask, message),
            // Law 10: what belongs to another attempt is for nobody.
            ToWorker::ToSubtask { .. } => {}
            ToWorker::End { .. } => self.close_all(),
        }
    }

    /// Tells every subtask that its attempt is over.
    pub(crate) fn close_all(&mut self) {
        let subtasks: Vec<SubtaskId> = self.subtasks.keys().copied().collect();
        subtasks.into_iter().for_each(|subtask| self.pass_on(subtask, ToSubtask::Close));
    }

    /// A subtask has reported its end.
    pub(crate) fn ended(&mut self, attempt: Attempt, subtask: SubtaskId) {
        if attempt == self.attempt {
            self.subtasks.remove(&subtask);
        }
    }

    /// Whether every subtask has reported its end.
    pub(crate) fn is_idle(&self) -> bool {
        self.subtasks.is_empty()
    }

    async fn deploy(&mut self, deployment: Deployment) {
        let Deployment { plan, restore, layout, seat } = deployment;
        if plan.attempt <= self.attempt {
            tracing::warn!(attempt = %plan.attempt, newest = %self.attempt, "an attempt that is over was deployed");
            return;
        }
        tracing::debug!(attempt = %plan.attempt, seat, "deploying");
        // From here on whatever runs in this process is of this attempt.
        self.io.observe("worker.deploy", &self.job.name, [plan.attempt.0 as i64, seat as i64, 0]);
        self.attempt = plan.attempt;
        self.subtasks.clear();
        let restored = match restore {
            Some(RestorePlan { loaded: Some(restored), .. }) => Ok(Some(restored)),
            // In the coordinator's own process there are no doors, and no doubt which folder is meant.
            None if layout.seats[seat].doors.is_empty() => Ok(None),
            restore => self.prepare(&plan, restore).await,
        };
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => return self.give_up(&layout, seat, error.of(&layout.seats[seat].name)),
        };
        let Share { subtasks, links, ways } = layout.share(&self.job, seat, &plan, restored.as_ref());
        self.subtasks = ways.into_iter().map(|(subtask, way)| (subtask, Some(way))).collect();
        for ((core, subtasks), links) in self.cores.iter().zip(subtasks).zip(links) {
            // A core that is gone is being torn down, and so is this one.
            drop(core.send(CoreOrder { shared: self.shared.clone(), subtasks, links }));
        }
    }

    /// Finds out whether this process sees the coordinator's checkpoint folder, and reads the state to go on from. The coordinator has just written and read
    /// all of that: what is missing or different here is another folder.
    async fn prepare(&self, plan: &AttemptPlan, restore: Option<RestorePlan>) -> Result<Option<Arc<Restored>>, Unprepared> {
        let loaded = match restore {
            Some(restore) => self.load(restore).await.map(Some),
            None => Ok(None),
        };
        // Looked into afterwards: another attempt that has taken over may have removed what was to be read.
        if let Some(SnapshotPlace { dir, .. }) = &plan.snapshots {
            let opened = CheckpointStore::open(self.io.disk(), dir, self.io.rng("checkpoint-folder")).await;
            let (_, history) = opened?;
            if history.job() == Some(plan.job) && history.last_attempt() > Some(plan.attempt) {
                let entry = history.newest.as_ref().map_or(0, |entry| entry.number);
                return Err(CheckpointError::Fenced { folder: dir.display().to_string(), entry }.into());
            }
            if (history.last_attempt(), history.owner()) != (Some(plan.attempt), Some(plan.owner)) {
                let (attempt, dir) = (plan.attempt, dir.display());
                return Err(Unprepared::OtherFolder(format!(
                    "the checkpoint folder {dir} does not know of attempt {attempt} of this job here"
                )));
            }
        }
        loaded
    }

    async fn load(&self, restore: RestorePlan) -> Result<Arc<Restored>, Unprepared> {
        let checkpoint = load_path(&*self.io.disk(), &restore.path).await?;
        if (checkpoint.metadata_bytes, checkpoint.metadata_crc) != restore.metadata {
            let path = restore.path.display();
            return Err(Unprepared::OtherFolder(format!("{path} is another checkpoint here than for the coordinator")));
        }
        Ok(Arc::new(Restored::new(checkpoint, restore.allow_non_restored_state)))
    }

    /// Nothing is built: says why, and answers for the subtasks when they are told to close.
    fn give_up(&mut self, layout: &Layout, seat: usize, error: JobError) {
        let own = layout.subtasks(&self.job).into_iter().enumerate().filter(|(_, info)| info.seat == seat);
        self.subtasks = own.map(|(subtask, _)| (subtask, None)).collect();
        self.report(FromSubtask::Failed { error });
    }

    fn pass_on(&mut self, subtask: SubtaskId, message: ToSubtask) {
        match self.subtasks.get(&subtask) {
            // A subtask that has ended has no use for messages.
            Some(Some(way)) => drop(way.send(message)),
            Some(None) if matches!(message, ToSubtask::Close) => self.report(FromSubtask::Ended { subtask, metrics: vec![] }),
            _ => {}
        }
    }

    /// If the coordinator is gone nobody listens.
    fn report(&self, message: FromSubtask) {
        drop(self.shared.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
    }
}

/// Why a worker cannot go on from where the coordinator says.
enum Unprepared {
    /// It sees another folder than the coordinator.
    OtherFolder(String),
    /// The disk failed, or another attempt has taken over.
    Failed(CheckpointError),
}

impl From<CheckpointError> for Unprepared {
    fn from(error: CheckpointError) -> Self {
        // The coordinator has just read the same without finding anything wrong.
        if error.is_damage() { Self::OtherFolder(error.to_string()) } else { Self::Failed(error) }
    }
}

impl Unprepared {
    /// As the failure of the worker of this name.
    fn of(self, worker: &str) -> JobError {
        let worker = worker.to_owned();
        match self {
            Self::OtherFolder(reason) => {
                JobError::Unfit { worker, reason: format!("{reason}; every process of the job needs the same folder at the same path") }
            }
            Self::Failed(source) => JobError::Checkpoint { place: worker, source },
        }
    }
}
