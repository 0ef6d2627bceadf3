//! The host: the state shared by all tasks that look after the cluster. It belongs to no process.
//!
//! Each process or fault that is looked after has a small task; [`Host::drive`] polls all of them, in the order in which they were begun, until one has
//! reported how the job ended. That order and the draws of `stream` decide what happens, so they are part of a seed's scenario.

use super::group::Group;
use super::job::PhasedJob;
use super::notes::Notes;
use crate::finding::{Finding, FindingKind};
use crate::scenario::cluster_plan::{Aim, ClusterPlan, Rest, Role};
use crate::scenario::elements_job::Poison;
use crate::scenario::elements_plan::ElementsPlan;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use thalweg::cluster::{Heartbeat, Secret};
use thalweg::{JobEnding, JobReport};
use thalweg_io::{LocalBoxFuture, SplitMix};
use thalweg_world::Draw;
use thalweg_world::{SimCluster, SimMachine, SimProcess};

/// How often the host checks for changes.
pub(super) const LOOK_EVERY_MS: u64 = 20;
/// The time after the job's end by which a worker that has heard of it must be gone.
const FAREWELL_MS: u64 = 30_000;
/// How long a process may live on after it has reported its result.
const LAST_WORDS_MS: u64 = 10_000;

/// See the module's documentation.
pub(super) struct Host {
    pub(super) cluster: SimCluster,
    pub(super) plan: ClusterPlan,
    pub(super) job: PhasedJob,
    pub(super) notes: Notes,
    pub(super) groups: RefCell<Vec<Rc<Group>>>,
    /// The number of the phase for processes that are started now.
    pub(super) phase: Cell<usize>,
    pub(super) is_healed: Cell<bool>,
    /// The number of running workers, by worker number.
    workers_running: RefCell<Vec<usize>>,
    pub(super) stream: RefCell<SplitMix>,
    /// Tasks that have been begun and are not polled yet.
    fresh: RefCell<Vec<LocalBoxFuture<()>>>,
    done: RefCell<Option<Result<JobReport, Finding>>>,
    /// Aims that have not been used.
    aims: RefCell<Vec<Aim>>,
}

impl Host {
    /// A host without tasks.
    pub(super) fn new(cluster: SimCluster, plan: ClusterPlan, job: ElementsPlan, poison: Option<Poison>, notes: Notes) -> Self {
        Self {
            stream: RefCell::new(cluster.rng("supervisor")),
            aims: RefCell::new(plan.aims.clone()),
            workers_running: RefCell::new(vec![0; plan.rest.len()]),
            job: PhasedJob::new(job, &plan, poison),
            cluster,
            plan,
            notes,
            groups: RefCell::default(),
            phase: Cell::new(0),
            is_healed: Cell::new(false),
            fresh: RefCell::default(),
            done: RefCell::default(),
        }
    }

    /// Polls all tasks until there is a result, and the workers have heard of it.
    pub(super) async fn drive(&self) -> Result<JobReport, Finding> {
        let mut tasks: Vec<LocalBoxFuture<()>> = vec![];
        let mut farewell = pin!(None);
        poll_fn(|cx| {
            loop {
                tasks.extend(self.fresh.take());
                tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
                if self.fresh.borrow().is_empty() {
                    break;
                }
            }
            let Some(has_worked) = self.done.borrow().as_ref().map(has_worked) else { return Poll::Pending };
            if has_worked && self.owes_farewells() {
                if farewell.is_none() {
                    farewell.set(Some(self.cluster.sleep_ms(FAREWELL_MS)));
                }
                if farewell.as_mut().as_pin_mut().is_some_and(|farewell| farewell.poll(cx).is_pending()) {
                    return Poll::Pending;
                }
                let reason = format!("{FAREWELL_MS} ms after the end of the job {} workers have not ended", self.workers_to_hear());
                return Poll::Ready(Err(no_progress(reason)));
            }
            Poll::Ready(self.done.take().unwrap_or_else(|| Err(Finding::wrong("simulator", "no result"))))
        })
        .await
    }

    /// Whether workers run that must hear of the job's end. A worker restarted too late has heard of nothing, and a call over a slow link may arrive when
    /// nobody listens any more.
    fn owes_farewells(&self) -> bool {
        let is_prompt = self.plan.is_calm() && !self.cluster.network().has_slow_machine();
        is_prompt && self.plan.phases.len() == 1 && self.workers_to_hear() > 0
    }

    /// The number of running workers that can hear of the job's end: a worker that stays stopped or cut off looks for its coordinator until it is stopped
    /// from outside (docs/src/running.md).
    fn workers_to_hear(&self) -> usize {
        let running = self.workers_running.borrow();
        running.iter().enumerate().filter(|(worker, _)| !self.is_given_up(*worker)).map(|(_, count)| count).sum()
    }

    /// Counts a worker with this number for as long as `future` takes.
    pub(super) async fn while_running<F: Future>(&self, worker: usize, future: F) -> F::Output {
        self.workers_running.borrow_mut()[worker] += 1;
        let output = future.await;
        self.workers_running.borrow_mut()[worker] -= 1;
        output
    }

    /// Begins a task.
    pub(super) fn begin(&self, task: impl Future<Output = ()> + 'static) {
        self.fresh.borrow_mut().push(Box::pin(task));
    }

    /// Reports how the job ended. Only the first report counts.
    pub(super) fn end(&self, result: Result<JobReport, Finding>) {
        self.done.borrow_mut().get_or_insert(result);
    }

    /// Whether the job's end has been reported.
    pub(super) fn is_over(&self) -> bool {
        self.done.borrow().is_some()
    }

    /// Adds a line, with the time, to the story.
    pub(super) fn tell(&self, what: &str) {
        self.notes.tell(format!("{} ms: {what}", self.cluster.now_ns() / 1_000_000));
    }

    /// Sleeps for a random time, after which a dead process is restarted.
    pub(super) async fn pause(&self) {
        let ms = self.stream.borrow_mut().between(0, self.plan.restart_ms_max);
        self.cluster.sleep_ms(ms).await;
    }

    /// Waits until `has_happened`, at most `ms_max`.
    pub(super) async fn wait(&self, ms_max: u64, has_happened: impl Fn() -> bool) {
        for _ in 0..ms_max / LOOK_EVERY_MS {
            if has_happened() {
                break;
            }
            self.cluster.sleep_ms(LOOK_EVERY_MS).await;
        }
    }

    /// Waits until a process that has reported its result returns, and makes sure that it is gone.
    pub(super) async fn bury(&self, process: &SimProcess) {
        self.wait(LAST_WORDS_MS, || process.has_returned() || !process.is_alive()).await;
        process.kill();
    }

    /// The address of a machine for the others.
    pub(super) fn address(&self, machine: &SimMachine) -> IpAddr {
        if self.plan.is_local { Ipv4Addr::LOCALHOST.into() } else { machine.address() }
    }

    /// The secret of the processes.
    pub(super) fn secret(&self) -> Option<Secret> {
        (!self.plan.is_local).then(|| Secret::new("a secret of the simulator").expect("invariant: it is long enough"))
    }

    /// The heartbeats of the processes.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let ClusterPlan { heartbeat_interval_ms, heartbeat_timeout_ms, .. } = self.plan;
        Heartbeat { interval: Duration::from_millis(heartbeat_interval_ms), timeout: Duration::from_millis(heartbeat_timeout_ms) }
    }

    /// Aims at a process just started, if the plan has an aim for the next one with this role.
    pub(super) fn aim(&self, role: Role, process: &SimProcess) {
        if self.is_healed.get() {
            return;
        }
        let mut aims = self.aims.borrow_mut();
        if let Some(place) = aims.iter().position(|aim| aim.role == role) {
            let Aim { at, fault, .. } = aims.remove(place);
            process.plan(at, fault);
        }
    }

    /// Whether the healing has left the worker with this number broken for ever.
    pub(super) fn is_given_up(&self, worker: usize) -> bool {
        self.is_healed.get() && self.plan.rest[worker] != Rest::Repaired
    }
}

/// Whether workers took part: a job that had finished before needs none, and may be over before one has arrived.
fn has_worked(result: &Result<JobReport, Finding>) -> bool {
    result.as_ref().is_ok_and(|report| report.ending == JobEnding::Finished)
}

/// The finding for a job that does not end.
pub(super) fn no_progress(reason: String) -> Finding {
    Finding { kind: FindingKind::NoProgress, oracle: "liveness".to_owned(), reason }
}

/// The output of `future`, unless the process dies before.
pub(super) async fn while_alive<F: Future>(process: &SimProcess, future: F) -> Option<F::Output> {
    let (mut future, mut died) = (pin!(future), pin!(process.died()));
    poll_fn(|cx| {
        if died.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
