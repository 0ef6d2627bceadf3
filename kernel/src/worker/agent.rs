//! The agent of a worker: deploys onto the cores of this process what the coordinator orders, and passes on messages for a single subtask.
//!
//! The same in every process. It does not know whether orders come through a mailbox or over the network.

use crate::attempt::deployment::{AttemptPlan, Deployment, Placement, RestorePlan};
use crate::attempt::wiring::DeployedShare;
use crate::checkpoint::{Attempt, Restored, SnapshotPlace};
use crate::error::{FailureCause, JobError};
use crate::exchange::Place;
use crate::graph::Job;
use crate::graph_ids::SubtaskId;
use crate::messages::{FromSubtask, ToCoordinator, ToSubtask, ToWorker};
use crate::worker::core::{CoreOrder, CoreShare};
use crate::worker::frame_door::Announced;
use crate::worker::shared::CoreShared;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use thalweg_io::{Io, Mailbox};
use thalweg_storage::checkpoint::{CheckpointError, CheckpointStore, load_path};

/// The subtasks of one process, over all its cores.
pub struct Agent {
    io: Io,
    job: Rc<Job>,
    /// The way to each core.
    cores: Vec<Mailbox<CoreOrder>>,
    shared: CoreShared,
    attempt: Attempt,
    /// Subtasks of the attempt that have not ended, as far as is known here, and the mailbox of each; none for one that could not be built.
    subtasks: BTreeMap<SubtaskId, Option<Mailbox<ToSubtask>>>,
}

impl Agent {
    /// An agent with nothing to run yet; `cores` are the mailboxes of its cores.
    #[must_use]
    pub fn new(io: Io, job: Rc<Job>, cores: Vec<Mailbox<CoreOrder>>, shared: CoreShared) -> Self {
        Self { io, job, cores, shared, attempt: Attempt(0), subtasks: BTreeMap::new() }
    }

    /// Carries an order out. Ready at once, unless the state of a checkpoint has to be read first.
    pub async fn take(&mut self, order: ToWorker) {
        match order {
            ToWorker::Deploy(deployment) => self.deploy(*deployment).await,
            ToWorker::ToSubtask { attempt, subtask, message } if attempt == self.attempt => self.pass_on(subtask, message),
            // Law 10: a message of another attempt is dropped.
            ToWorker::ToSubtask { .. } => {}
            ToWorker::End { .. } => self.close_all(),
        }
    }

    /// Tells every subtask that its attempt is over.
    pub fn close_all(&mut self) {
        let subtasks: Vec<SubtaskId> = self.subtasks.keys().copied().collect();
        subtasks.into_iter().for_each(|subtask| self.pass_on(subtask, ToSubtask::Close));
    }

    /// A subtask has reported its end.
    pub fn ended(&mut self, attempt: Attempt, subtask: SubtaskId) {
        if attempt == self.attempt {
            self.subtasks.remove(&subtask);
        }
    }

    /// Whether every subtask has reported its end.
    pub fn is_idle(&self) -> bool {
        self.subtasks.is_empty()
    }

    async fn deploy(&mut self, deployment: Deployment) {
        let Deployment { plan, restore, layout, seat } = deployment;
        if plan.attempt <= self.attempt {
            tracing::warn!(attempt = %plan.attempt, newest = %self.attempt, "an attempt that is over was deployed");
            return;
        }
        tracing::debug!(attempt = %plan.attempt, seat, "deploying");
        // From here on everything that runs in this process belongs to this attempt.
        self.io.observe("worker.deploy", &self.job.name, [plan.attempt.0 as i64, seat as i64, 0]);
        self.attempt = plan.attempt;
        self.subtasks.clear();
        let has_part = layout.subtasks(&self.job).iter().any(|info| info.seat == seat);
        if !layout.seats[seat].doors.is_empty() {
            self.announce(&plan, &layout, seat);
        }
        let restored = match restore {
            // A worker without subtasks does not read the checkpoint: nobody waits for it before a checkpoint completes, and files of the restored one are
            // removed then.
            _ if !has_part => Ok(None),
            Some(RestorePlan { loaded: Some(restored), .. }) => Ok(Some(restored)),
            // In the coordinator's own process there are no doors, and there is no doubt about the folder.
            None if layout.seats[seat].doors.is_empty() => Ok(None),
            restore => self.prepare(&plan, restore).await,
        };
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => return self.give_up(&layout, seat, error.of(&layout.seats[seat].name)),
        };
        let DeployedShare { subtasks, links, ways } = layout.share(&self.job, seat, &plan, restored.as_ref());
        self.subtasks = ways.into_iter().map(|(subtask, way)| (subtask, Some(way))).collect();
        for ((core, subtasks), links) in self.cores.iter().zip(subtasks).zip(links) {
            // A core that is gone is being torn down, and so is this one.
            drop(core.send(CoreOrder::Run(CoreShare { shared: self.shared.clone(), subtasks, links })));
        }
    }

    /// Announces the attempt to the cores: other workers may be ready, and call, long before this one has read its state.
    fn announce(&self, plan: &AttemptPlan, layout: &Placement, seat: usize) {
        let cores: Arc<[usize]> = layout.seats.iter().map(|seat| seat.cores).collect();
        for (core, way) in self.cores.iter().enumerate() {
            // A core that is gone is being torn down, and so is this one.
            drop(way.send(CoreOrder::Announce(Announced::new(plan, Place { seat, core }, Arc::clone(&cores)))));
        }
    }

    /// Finds out whether this process sees the coordinator's checkpoint folder, and reads the state to resume from. The coordinator has just written and
    /// read all of that: if anything is missing or different here, this is another folder.
    async fn prepare(&self, plan: &AttemptPlan, restore: Option<RestorePlan>) -> Result<Option<Arc<Restored>>, Unprepared> {
        let origin = restore.as_ref().map(|restore| restore.path.clone());
        let loaded = match restore {
            Some(restore) => self.load(restore).await.map(Some),
            None => Ok(None),
        };
        // Checked afterwards: another attempt that has taken over may have removed the files to be read.
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
            if origin.is_some_and(|origin| origin.starts_with(dir)) {
                return loaded.map_err(Unprepared::in_the_same_folder);
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

    /// Builds nothing: reports why, and answers for the subtasks when they are told to close.
    fn give_up(&mut self, layout: &Placement, seat: usize, error: JobError) {
        let own = layout.subtasks(&self.job).into_iter().enumerate().filter(|(_, info)| info.seat == seat);
        self.subtasks = own.map(|(subtask, _)| (subtask, None)).collect();
        self.report(FromSubtask::Failed { subtask: None, error });
    }

    fn pass_on(&mut self, subtask: SubtaskId, message: ToSubtask) {
        match self.subtasks.get(&subtask) {
            // A subtask that has ended has no use for messages.
            Some(Some(way)) => drop(way.send(message)),
            Some(None) if matches!(message, ToSubtask::Close) => self.report(FromSubtask::Ended { subtask, metrics: vec![] }),
            _ => {}
        }
    }

    /// Reports to the coordinator; if it is gone nobody listens.
    fn report(&self, message: FromSubtask) {
        drop(self.shared.coordinator.send(ToCoordinator::FromSubtask { attempt: self.attempt, message }));
    }
}

/// Why a worker cannot resume from the coordinator's checkpoint.
enum Unprepared {
    /// It sees another folder than the coordinator.
    OtherFolder(String),
    /// The checkpoint cannot be read here, or may not be used, and the coordinator has just used the same without an error: where, and why.
    Unreadable(CheckpointError),
    /// A file is gone, from the very folder in which the coordinator has read it.
    Gone(CheckpointError),
    /// The disk failed, or another attempt has taken over.
    Failed(CheckpointError),
}

impl From<CheckpointError> for Unprepared {
    fn from(error: CheckpointError) -> Self {
        if error.is_damage() || error.is_unusable() { Self::Unreadable(error) } else { Self::Failed(error) }
    }
}

impl Unprepared {
    /// The same for a worker that sees the coordinator's folder.
    fn in_the_same_folder(self) -> Self {
        match self {
            Self::Unreadable(error @ CheckpointError::NotFound { .. }) => Self::Gone(error),
            other => other,
        }
    }

    /// The failure of the worker `worker`.
    fn of(self, worker: &str) -> JobError {
        let worker = worker.to_owned();
        let unfit = |reason: String| JobError::Unfit {
            worker: worker.clone(),
            reason: format!("{reason}; every process of the job needs the same folder at the same path"),
        };
        match self {
            Self::OtherFolder(reason) => unfit(reason),
            Self::Unreadable(error) => unfit(error.to_string()),
            // The next attempt begins with the files that are there then. If one is missing for good its coordinator will find out.
            Self::Gone(source) => JobError::Remote {
                operator: None,
                subtask: None,
                message: format!("checkpoint, {worker}: {source}"),
                cause: FailureCause::Damage,
                cures: Vec::new(),
                is_worth_a_restart: true,
            },
            Self::Failed(source) => JobError::Checkpoint { place: worker, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamExecutionEnvironment;
    use crate::attempt::deployment::Seat;
    use crate::checkpoint::{CheckpointId, JobId};
    use crate::graph_ids::WorkerId;
    use std::sync::Mutex;
    use thalweg_io::{IoError, mailbox};
    use thalweg_small_world::World;

    /// The report of the worker at `seat` when it is to resume from a file that is gone, in a job with one subtask, which is that of seat 0.
    fn says(seat: usize) -> Option<JobError> {
        let world = World::default();
        let env = StreamExecutionEnvironment::new();
        env.from_collection(vec![1u64]).for_each(|_| {});
        let job = env.build("one subtask").unwrap();
        let (coordinator, mut said) = mailbox();
        let shared = CoreShared::new(&job, coordinator, Arc::new(Mutex::default()));
        let (way, _orders) = mailbox();
        let mut agent = Agent::new(world.io(), Rc::new(job), vec![way], shared);
        let of_worker = |worker| Seat {
            worker: WorkerId(worker),
            name: format!("worker-{worker}"),
            cores: 1,
            doors: vec![([127, 0, 0, 1], 7200).into()],
        };
        let deployment = Deployment {
            plan: AttemptPlan { job: JobId(1), attempt: Attempt(2), owner: 3, epoch: CheckpointId(30), snapshots: None },
            restore: Some(RestorePlan {
                path: "/checkpoints/chk-29-1.metadata".into(),
                metadata: (100, 7),
                allow_non_restored_state: false,
                loaded: None,
            }),
            layout: Placement { parallelism: vec![1], seats: vec![of_worker(0), of_worker(1)] },
            seat,
        };
        world.run(agent.take(ToWorker::Deploy(Box::new(deployment))));
        match said.try_recv() {
            Some(ToCoordinator::FromSubtask { message: FromSubtask::Failed { error, .. }, .. }) => Some(error),
            None => None,
            Some(_) => panic!("it says something else"),
        }
    }

    /// Found by the simulator (seed 3052741671): while it read, slowly, the others completed a checkpoint and the files were removed.
    #[test]
    fn a_worker_without_a_part_in_the_attempt_does_not_read_what_nobody_keeps_for_it() {
        assert!(says(0).is_some(), "one that has a part reads");
        assert!(says(1).is_none());
    }

    #[test]
    fn a_file_that_is_gone_from_the_coordinators_folder_is_worth_a_restart_and_no_reason_to_go_on_without_the_worker() {
        let missing = || CheckpointError::NotFound { what: "file 5-29.state".to_owned(), cure: "restore another one".to_owned() };
        let gone = Unprepared::from(missing()).in_the_same_folder().of("worker-2");
        assert!(gone.is_worth_a_restart() && !matches!(gone, JobError::Unfit { .. }), "{gone}");
        assert!(gone.to_string().contains("worker-2") && gone.to_string().contains("5-29.state"), "{gone}");
        // In a folder that may be another one, the folder is to blame.
        assert!(matches!(Unprepared::from(missing()).of("worker-2"), JobError::Unfit { .. }));
    }

    #[test]
    fn the_job_goes_on_without_a_worker_that_may_not_use_the_checkpoint_folder() {
        use std::io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        for kind in [NotADirectory, PermissionDenied, ReadOnlyFilesystem] {
            let unusable = || CheckpointError::Unusable { source: IoError::new("open", "/checkpoints/log-7", kind.into()) };
            // Also if it may not read a file in the very folder of the coordinator.
            for error in [Unprepared::from(unusable()), Unprepared::from(unusable()).in_the_same_folder()] {
                let error = error.of("worker-2");
                assert!(matches!(&error, JobError::Unfit { worker, .. } if worker == "worker-2"), "{error}");
                let told = ["/checkpoints/log-7", "every process of the job needs the same folder at the same path"];
                assert!(error.is_worth_a_restart() && told.iter().all(|part| error.to_string().contains(part)), "{error}");
            }
        }
        let broken = CheckpointError::Io { source: IoError::new("open", "/checkpoints/log-7", std::io::ErrorKind::Other.into()) };
        assert!(matches!(Unprepared::from(broken).of("worker-2"), JobError::Checkpoint { .. }));
    }
}
