//! The start of a job: its coordinator on one core, and the code that finds workers for it.
//!
//! [`launch`] is the one function that runs jobs: production calls it with io_uring's cores and the simulator with its own. The core of the coordinator
//! ends when the job has ended and its workers have been told.

use crate::attempt::placement::parallelism;
use crate::error::JobError;
use crate::graph::Job;
use crate::graph_ids::WorkerId;
use crate::job::handle::JobHandle;
use crate::job::history::JobHistory;
use crate::job::journal::Journal;
use crate::job::master::Master;
use crate::job::muster::Muster;
use crate::messages::{Farewell, Member, ToCoordinator};
use crate::metrics::JobMetrics;
use crate::worker::agent::Agent;
use crate::worker::core::run_core;
use crate::worker::shared::CoreShared;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thalweg_io::{CoreId, CoreMain, Cores, Io, LocalBoxFuture, MailboxReceiver, TaskClass, mailbox};

impl Job {
    /// Starts the job on `core_count` of `cores`, which also is the parallelism where none is set.
    ///
    /// # Errors
    /// If the cores cannot be started or a parallelism is out of range.
    pub fn start(self, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
        start(self, cores, core_count)
    }

    /// Starts the coordinator of the job on one of `cores`; its subtasks run at workers, other processes of the same program, which `recruiter` finds: a
    /// `ClusterConfig`. The job begins when as many workers as it asks for have joined.
    ///
    /// # Errors
    /// If the recruiter contradicts itself or is not safe, the job cannot be run by several processes, or the core cannot be started. An address that stays
    /// taken for some seconds fails the job.
    pub fn start_coordinator(self, cores: &dyn Cores, recruiter: impl Recruiter) -> Result<JobHandle, JobError> {
        let (muster, recruit) = recruiter.recruit(&self)?;
        self.check_spans_processes()?;
        launch(self, cores, muster, Vec::new(), recruit)
    }
}

/// Starts `job` on `core_count` of `cores`, all of it in this process: its one worker is a neighbour of the coordinator.
fn start(job: Job, cores: &dyn Cores, core_count: usize) -> Result<JobHandle, JobError> {
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
            // Its mailboxes to the cores end with it, and that ends the cores.
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

/// The means to find workers for a job. Used on the coordinator's core.
pub struct Recruiting {
    /// The coordinator's core.
    pub core: CoreId,
    /// The door of that core.
    pub io: Io,
    /// The job.
    pub job: Rc<Job>,
    /// Has the mailbox of the coordinator, which is told of each worker that has come or gone.
    pub shared: CoreShared,
    /// Brings the farewell for workers that have not joined yet, and closes when the job has ended, after every worker was told.
    pub job_end: MailboxReceiver<Farewell>,
}

/// Finds workers for a job: the argument of [`Job::start_coordinator`](crate::Job::start_coordinator).
pub trait Recruiter {
    /// How many workers the job waits for, and the code that finds them on the coordinator's core.
    ///
    /// # Errors
    /// If the job cannot be run by workers that are found in this way.
    fn recruit(self, job: &Job) -> Result<(Muster, Recruit), JobError>;
}

/// Finds workers; the core ends when it does.
pub type Recruit = Box<dyn FnOnce(Recruiting) -> LocalBoxFuture<()> + Send>;

/// Starts the coordinator of `job` on the first of `cores`, and `others` on those that follow.
pub(crate) fn launch(job: Job, cores: &dyn Cores, muster: Muster, others: Vec<CoreMain>, recruit: Recruit) -> Result<JobHandle, JobError> {
    job.settings.check().map_err(JobError::invalid)?;
    if let Some(config) = &job.checkpoints {
        config.check().map_err(JobError::invalid)?;
    }
    let (coordinator, inbox) = mailbox();
    let metrics = Arc::new(Mutex::new(JobMetrics::default()));
    let history = Arc::new(Mutex::new(JobHistory::default()));
    let (result_sender, result) = mailbox();
    let shared = CoreShared::new(&job, coordinator.clone(), Arc::clone(&metrics));
    let told = Arc::clone(&history);
    let head: CoreMain = Box::new(move |core, io| {
        Box::pin(async move {
            let job = Rc::new(job);
            let (job_is_on, job_end) = mailbox();
            let recruiting = Recruiting { core, io: io.clone(), job: Rc::clone(&job), shared: shared.clone(), job_end };
            let journal = Journal::new(io.clone(), told);
            let mut master = Master::new(job, muster, inbox, job_is_on, shared, journal, io.clone());
            let run = async move {
                let report = master.run().await;
                // Its mailboxes to the workers end with it.
                drop(master);
                drop(result_sender.send(report));
            };
            io.spawner().spawn(TaskClass::Latency, "coordinator", Box::pin(run));
            recruit(recruiting).await;
        })
    });
    let group = cores.start(std::iter::once(head).chain(others).collect())?;
    Ok(JobHandle::new(result, coordinator, metrics, history, group))
}
