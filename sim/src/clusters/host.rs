//! The host: what everybody who looks after the cluster has in common. It belongs to no process.
//!
//! Each thing that is looked after is a small task; [`Host::drive`] polls all of them, in the order in which they were begun, until one has said how the
//! job ended. That order and the draws of `stream` decide what happens, so they are a part of what a seed stands for.

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

/// How often the host looks whether something has changed.
pub(super) const LOOK_EVERY_MS: u64 = 20;
/// When a worker must be gone after the job's end, if it has heard of it.
const FAREWELL_MS: u64 = 30_000;
/// How long a process may live on when it has told its result.
const LAST_WORDS_MS: u64 = 10_000;

/// See the module.
pub(super) struct Host {
    pub(super) cluster: SimCluster,
    pub(super) plan: ClusterPlan,
    pub(super) job: PhasedJob,
    pub(super) notes: Notes,
    pub(super) groups: RefCell<Vec<Rc<Group>>>,
    /// The number of the phase that whoever is started now belongs to.
    pub(super) phase: Cell<usize>,
    pub(super) is_healed: Cell<bool>,
    /// How many workers with each number have not ended.
    workers_running: RefCell<Vec<usize>>,
    pub(super) stream: RefCell<SplitMix>,
    /// Tasks that have been begun and are not driven yet.
    fresh: RefCell<Vec<LocalBoxFuture<()>>>,
    done: RefCell<Option<Result<JobReport, Finding>>>,
    /// Aims that have not been taken.
    aims: RefCell<Vec<Aim>>,
}

impl Host {
    /// Looks after nothing yet.
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

    /// Drives everything until there is a result, and the workers have heard of it.
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

    /// Whether workers run that must hear of the job's end. Whoever was started again too late has heard of nothing, and a call over a slow link may come
    /// when nobody is there any more.
    fn owes_farewells(&self) -> bool {
        let is_prompt = self.plan.is_calm() && !self.cluster.network().has_slow_machine();
        is_prompt && self.plan.phases.len() == 1 && self.workers_to_hear() > 0
    }

    /// Workers that run and can hear of the job's end: one that stays stopped or cut off looks for its coordinator until somebody stops it
    /// (docs/src/running.md).
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

    /// Says how the job ended. Only the first to say so is heard.
    pub(super) fn end(&self, result: Result<JobReport, Finding>) {
        self.done.borrow_mut().get_or_insert(result);
    }

    /// Whether somebody has said how the job ended.
    pub(super) fn is_over(&self) -> bool {
        self.done.borrow().is_some()
    }

    /// Goes on with the story.
    pub(super) fn tell(&self, what: &str) {
        self.notes.tell(format!("{} ms: {what}", self.cluster.now_ns() / 1_000_000));
    }

    /// A while, until somebody starts again what has died.
    pub(super) async fn pause(&self) {
        let ms = self.stream.borrow_mut().between(0, self.plan.restart_ms_max);
        self.cluster.sleep_ms(ms).await;
    }

    /// Waits so long, or until something has happened.
    pub(super) async fn wait(&self, ms_max: u64, has_happened: impl Fn() -> bool) {
        for _ in 0..ms_max / LOOK_EVERY_MS {
            if has_happened() {
                break;
            }
            self.cluster.sleep_ms(LOOK_EVERY_MS).await;
        }
    }

    /// A process has told its result: waits until it has said its last words, and makes sure that it is gone.
    pub(super) async fn bury(&self, process: &SimProcess) {
        self.wait(LAST_WORDS_MS, || process.has_returned() || !process.is_alive()).await;
        process.kill();
    }

    /// Where a machine is found by the others.
    pub(super) fn address(&self, machine: &SimMachine) -> IpAddr {
        if self.plan.is_local { Ipv4Addr::LOCALHOST.into() } else { machine.address() }
    }

    /// What the processes know each other by.
    pub(super) fn secret(&self) -> Option<Secret> {
        (!self.plan.is_local).then(|| Secret::new("a secret of the simulator").expect("invariant: it is long enough"))
    }

    /// The signs of life that the processes give each other.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let ClusterPlan { heartbeat_interval_ms, heartbeat_timeout_ms, .. } = self.plan;
        Heartbeat { interval: Duration::from_millis(heartbeat_interval_ms), timeout: Duration::from_millis(heartbeat_timeout_ms) }
    }

    /// Aims at a process that was started right now, if something is planned for the next one with this role.
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

    /// Whether the worker with this number is for ever as the healing has left it.
    pub(super) fn is_given_up(&self, worker: usize) -> bool {
        self.is_healed.get() && self.plan.rest[worker] != Rest::Repaired
    }
}

/// A job that had finished before needs no workers, and may be over before one has come.
fn has_worked(result: &Result<JobReport, Finding>) -> bool {
    result.as_ref().is_ok_and(|report| report.ending == JobEnding::Finished)
}

/// The objection to a job that does not come to an end.
pub(super) fn no_progress(reason: String) -> Finding {
    Finding { kind: FindingKind::NoProgress, oracle: "liveness".to_owned(), reason }
}

/// What `future` comes to, unless the process dies before.
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
