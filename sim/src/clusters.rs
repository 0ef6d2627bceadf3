//! Runs a scenario of several processes, as somebody would who looks after them: starts them, starts again what has died, starts a second leader, stops
//! the job and goes on with other workers; and heals the world in the end. Judges what comes of it, and runs the finished job once more.
//!
//! The host belongs to no process. Each thing that it looks after is a small task of its own, and all of them are driven by the one future of the run.

use crate::cluster::{SimCluster, SimMachine, SimProcess};
use crate::finding::{Finding, FindingKind};
use crate::judge;
use crate::kill::ProcessFault;
use crate::lives::{folder_is_tidy, folders_of};
use crate::marks::{Marks, sometimes};
use crate::net::NetFaultKind;
use crate::oracles::{
    Acknowledgements, Alignment, Apart, Bounds, Coverage, CreditBounds, Cuts, Fences, Ledger, SavedWatermarks, Transactions, Watermarks,
    Windows,
};
use crate::outcome::{Ending, Outcome, RunStats};
use crate::rng::Draw;
use crate::run::{ElementsResults, Report, windows_of};
use crate::scenario::cluster_plan::{Aim, ClusterPlan, Phase, Rest, Role, Whom};
use crate::scenario::elements_job::{self, Place, Poison};
use crate::scenario::elements_plan::ElementsPlan;
use crate::scenario::lives_plan::CHECKPOINTS;
use crate::scenario::{JobPlan, Scenario};
use crate::trace::{Oracle, Origin, Violation};
use crate::world::World;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::Poll;
use std::time::Duration;
use thalweg::cluster::{ClusterConfig, Heartbeat, Secret, WorkerConfig, WorkerReport, start_worker};
use thalweg::{FailureCause, Job, JobControl, JobEnding, JobError, JobReport, Restore, StreamExecutionEnvironment};
use thalweg_io::{LocalBoxFuture, ProbeEvent, SplitMix};

/// Where the coordinator of the first leader listens; the second one's port is the next.
const PORT: u16 = 7_100;
/// When a worker must be gone after the job's end, if it has heard of it.
const FAREWELL_MS: u64 = 30_000;
/// How often the host looks whether something has changed.
const LOOK_EVERY_MS: u64 = 20;
/// How long a worker that was told that all is well is left alone: its coordinator tells its own result meanwhile.
const QUIET_MS: u64 = 3_000;
/// How long a process may live on when it has told its result.
const LAST_WORDS_MS: u64 = 10_000;

/// The marks of faults of the network and of processes, by the names they are counted as.
const FAMILIES: [&str; 12] = [
    "net: connect hangs",
    "net: connect refused",
    "net: delay",
    "net: half-open",
    "net: one-way partition",
    "net: partition",
    "net: reset",
    "net: swizzle",
    "process: killed",
    "process: killed in a window",
    "process: paused",
    "process: power loss",
];

/// Runs a scenario of several processes.
pub(crate) fn run_once(scenario: &Scenario, plan: &ClusterPlan) -> Report {
    let world = World::new(scenario.seed, scenario.world.clone());
    let JobPlan::Elements(job) = &scenario.job else { unreachable!("jobs of several processes are on elements") };
    let ledger = Ledger::new(world.disk().clone(), folders_of(&scenario.job), CHECKPOINTS);
    let windows = windows_of(&scenario.job);
    let coverage = Coverage::of_windows(windows.values().map(|plan| plan.lateness_ms).max().unwrap_or(0));
    let marks = Rc::new(RefCell::new(Marks::default()));
    watch(&world, job, &windows, &ledger, &coverage, &marks, plan);
    let mut course = Course {
        scenario,
        plan,
        job,
        ledger,
        marks: Rc::clone(&marks),
        world,
        hash: scenario.seed,
        stats: RunStats::default(),
        story: Rc::default(),
        events: vec![],
    };
    let finding = course.run().err();
    let mut marks = marks.borrow().clone();
    marks.merge(&coverage.marks());
    let faults: BTreeMap<&'static str, u64> =
        course.world.injected().into_iter().filter(|(name, _)| !name.starts_with("under way")).collect();
    for family in FAMILIES.into_iter().filter(|family| faults.contains_key(family)) {
        marks.note(family);
    }
    let ending = course.story.borrow().join("; ");
    Report {
        seed: scenario.seed,
        shape: scenario.shape(),
        finding,
        trace_hash: course.hash,
        stats: course.stats,
        marks,
        faults,
        ending,
        events: course.events,
    }
}

fn watch(
    world: &World,
    job: &ElementsPlan,
    windows: &BTreeMap<&'static str, crate::scenario::elements_plan::WindowPlan>,
    ledger: &Rc<RefCell<Ledger>>,
    coverage: &Coverage,
    marks: &Rc<RefCell<Marks>>,
    plan: &ClusterPlan,
) {
    let coverage = coverage.clone();
    world.watch_each(move || coverage.clone());
    let saved = SavedWatermarks::default();
    world.watch_each(move || {
        let saved = saved.clone();
        Apart::new(move || Watermarks::of(saved.clone()))
    });
    world.watch_each(|| Apart::new(Bounds::default));
    let (windows, has_idleness) = (windows.clone(), job.has_idleness());
    world.watch_each(move || {
        let windows = windows.clone();
        Apart::new(move || Windows::new(windows.clone()).agreeing(!has_idleness))
    });
    world.watch_each(|| Apart::new(Alignment::default));
    world.watch_each(|| Apart::new(Acknowledgements::default));
    let ledger = Rc::clone(ledger);
    world.watch_each(move || {
        let ledger = Rc::clone(&ledger);
        Apart::new(move || Transactions::new(Rc::clone(&ledger)))
    });
    world.watch_each(Cuts::default);
    world.watch_each(CreditBounds::default);
    world.watch_each(Fences::default);
    let (marks, without_credit) = (Rc::clone(marks), plan.phases.iter().all(|phase| phase.engine.settings.channel_frames == 0));
    world.watch_each(move || Sightings { marks: Rc::clone(&marks), without_credit });
}

/// Objects to nothing: notes what a cluster has seen.
struct Sightings {
    marks: Rc<RefCell<Marks>>,
    without_credit: bool,
}

impl Oracle for Sightings {
    fn name(&self) -> &str {
        "sightings"
    }

    fn observe(&mut self, _now_ms: u64, _event: &ProbeEvent<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn observe_in(&mut self, _origin: Origin<'_>, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        let mut marks = self.marks.borrow_mut();
        match event.name {
            "worker.joined" => sometimes!(marks, event.values[1] > 1, "a worker joined again"),
            "worker.lost" => marks.note("a worker lost in an attempt"),
            "link.frame.in" => sometimes!(marks, self.without_credit, "credit on demand"),
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}

type Story = Rc<RefCell<Vec<String>>>;

/// What has been gathered.
struct Course<'a> {
    scenario: &'a Scenario,
    plan: &'a ClusterPlan,
    job: &'a ElementsPlan,
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    marks: Rc<RefCell<Marks>>,
    hash: u64,
    stats: RunStats,
    story: Story,
    events: Vec<crate::trace::TraceEvent>,
}

impl Course<'_> {
    fn run(&mut self) -> Result<(), Finding> {
        let poison = self.plan.poison.map(|(id, times)| Poison { id, times: Arc::new(AtomicU32::new(times)) });
        let report = self.go(self.plan.clone(), poison)?;
        let disk = self.world.disk().clone();
        disk.heal();
        let faults = disk.faults_injected();
        self.ledger.borrow_mut().end_of_life(false).map_err(|reason| self.told(Finding::wrong("transactions", reason)))?;
        let is_tidy = faults == 0 && self.plan.has_no_zombies();
        if is_tidy {
            self.ledger.borrow_mut().end_of_job().map_err(|reason| self.told(Finding::wrong("transactions", reason)))?;
        }
        let files = self.files();
        let results = ElementsResults::of_files(self.job, &files).map_err(|reason| Finding::wrong("visibility", reason))?;
        let judged = judge::elements_of_lives(self.job, &results, &report, false, &mut self.marks.borrow_mut());
        judged.map_err(|finding| self.told(finding))?;
        self.once_more(&files)?;
        let retained_max = self.plan.phases.iter().map(|phase| phase.checkpoints.retained).max().unwrap_or(1);
        let story = self.story.borrow().clone();
        folder_is_tidy(self.world.disk(), retained_max, &story)
    }

    fn told(&self, finding: Finding) -> Finding {
        Finding { reason: format!("{} (after {})", finding.reason, self.story.borrow().join("; ")), ..finding }
    }

    /// One run of the cluster, until its job has finished.
    fn go(&mut self, plan: ClusterPlan, poison: Option<Poison>) -> Result<JobReport, Finding> {
        let (job, story, marks, ledger) = (self.job.clone(), Rc::clone(&self.story), Rc::clone(&self.marks), Rc::clone(&self.ledger));
        let outcome =
            self.world.run_cluster(move |cluster| async move { Host::start(cluster, plan, job, poison, story, marks, ledger).await });
        let Outcome { ending, trace_hash, stats, last_events, .. } = outcome;
        self.hash = (self.hash.rotate_left(7) ^ trace_hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.stats.polls += stats.polls;
        self.stats.postponed += stats.postponed;
        self.stats.tasks += stats.tasks;
        self.stats.elapsed_ns += stats.elapsed_ns;
        self.stats.disk_faults += stats.disk_faults;
        self.stats.net_faults += stats.net_faults;
        self.events.extend(last_events);
        let kept = self.scenario.world.trace_events_kept;
        if self.events.len() > kept {
            self.events.drain(..self.events.len() - kept);
        }
        if let Some(finding) = Finding::of_ending(&ending) {
            return Err(self.told(finding));
        }
        let Ending::Done(result) = ending else { unreachable!("every other ending is a finding") };
        result.map_err(|finding| self.told(finding))
    }

    /// Visible files in the folders of results, with their contents.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let disk = self.world.disk();
        let mut all = vec![];
        for folder in folders_of(&self.scenario.job) {
            let files = disk.files(&folder).unwrap_or_default();
            all.extend(
                files.into_iter().filter(|(name, _)| !name.starts_with('.')).map(|(name, content)| (format!("{folder}/{name}"), content)),
            );
        }
        all
    }

    /// The job is run again, by one worker: there is nothing left to do, nothing changes, and what others have left behind is gone.
    fn once_more(&mut self, before: &[(String, Vec<u8>)]) -> Result<(), Finding> {
        let Some(last) = self.plan.phases.last().cloned() else { return Ok(()) };
        let phase = Phase { workers: vec![1], stop_ms: None, ..last };
        let plan = ClusterPlan {
            phases: vec![phase],
            aims: vec![],
            blows: vec![],
            net: vec![],
            disk: vec![],
            poison: None,
            takeover_ms: None,
            heal_ms: 0,
            rest: vec![Rest::Repaired],
            ..self.plan.clone()
        };
        self.story.borrow_mut().push("once more".to_owned());
        let report = self.go(plan, None)?;
        if report.ending != JobEnding::AlreadyFinished || report.checkpoints != 0 {
            return Err(self.told(Finding::wrong("ending", "the job had finished, and is run again")));
        }
        if self.files() != before {
            return Err(self.told(Finding::wrong("transactions", "running the finished job again has changed its results")));
        }
        let mut ledger = self.ledger.borrow_mut();
        let judged = ledger.end_of_life(false).and_then(|()| ledger.end_of_job());
        judged.map_err(|reason| self.told(Finding::wrong("transactions", reason)))
    }
}

/// A leader: a coordinator, and the workers that look for it.
struct Group {
    number: usize,
    address: SocketAddr,
    machine: SimMachine,
    machines: Vec<SimMachine>,
    coordinator: RefCell<Option<SimProcess>>,
    control: RefCell<Option<JobControl>>,
    workers: RefCell<Vec<Option<SimProcess>>>,
    /// Another leader has taken over: nobody looks after this group any more.
    is_deposed: Cell<bool>,
}

struct Host {
    cluster: SimCluster,
    plan: ClusterPlan,
    job: ElementsPlan,
    poison: Option<Poison>,
    story: Story,
    marks: Rc<RefCell<Marks>>,
    ledger: Rc<RefCell<Ledger>>,
    stream: RefCell<SplitMix>,
    groups: RefCell<Vec<Rc<Group>>>,
    /// What has been started and is not driven yet.
    fresh: RefCell<Vec<LocalBoxFuture<()>>>,
    done: RefCell<Option<Result<JobReport, Finding>>>,
    phase: Cell<usize>,
    is_healed: Cell<bool>,
    /// Aims that have not been taken.
    aims: RefCell<Vec<Aim>>,
    /// Workers whose future has not ended.
    workers_running: Cell<usize>,
}

impl Host {
    async fn start(
        cluster: SimCluster,
        plan: ClusterPlan,
        job: ElementsPlan,
        poison: Option<Poison>,
        story: Story,
        marks: Rc<RefCell<Marks>>,
        ledger: Rc<RefCell<Ledger>>,
    ) -> Result<JobReport, Finding> {
        let stream = RefCell::new(cluster.rng("supervisor"));
        let aims = RefCell::new(plan.aims.clone());
        let host = Rc::new(Self {
            cluster,
            plan,
            job,
            poison,
            story,
            marks,
            ledger,
            stream,
            groups: RefCell::default(),
            fresh: RefCell::default(),
            done: RefCell::default(),
            phase: Cell::new(0),
            is_healed: Cell::new(false),
            aims,
            workers_running: Cell::new(0),
        });
        host.plan.net.iter().for_each(|fault| host.cluster.network().plan(*fault));
        host.plan.disk.iter().for_each(|fault| host.cluster.disk().plan_fault(*fault));
        host.add_group();
        for blow in host.plan.blows.clone() {
            let strikes = Rc::clone(&host);
            host.go(async move {
                strikes.cluster.sleep_ms(blow.at_ms).await;
                strikes.strike(&blow.whom);
            });
        }
        if let Some(ms) = host.plan.takeover_ms {
            let takes_over = Rc::clone(&host);
            host.go(async move {
                takes_over.cluster.sleep_ms(ms).await;
                if !takes_over.is_healed.get() {
                    takes_over.tell("a second leader is started".to_owned());
                    takes_over.add_group();
                }
            });
        }
        let heals = Rc::clone(&host);
        host.go(async move {
            heals.cluster.sleep_ms(heals.plan.heal_ms).await;
            heals.heal();
            heals.cluster.sleep_ms(heals.plan.patience_ms).await;
            let reason = format!(
                "the world was healed at {} ms, and {} ms later the job has not finished; workers {:?}",
                heals.plan.heal_ms, heals.plan.patience_ms, heals.plan.rest
            );
            heals.end(Err(Finding { kind: FindingKind::NoProgress, oracle: "liveness".to_owned(), reason }));
        });
        host.run().await
    }

    /// Drives everything until there is a result, and the workers have heard of it.
    async fn run(self: &Rc<Self>) -> Result<JobReport, Finding> {
        let mut tasks: Vec<LocalBoxFuture<()>> = vec![];
        let mut farewell: Option<LocalBoxFuture<()>> = None;
        poll_fn(move |cx| {
            loop {
                tasks.extend(self.fresh.take());
                tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
                if self.fresh.borrow().is_empty() {
                    break;
                }
            }
            let has_worked = match &*self.done.borrow() {
                None => return Poll::Pending,
                // A job that had finished before needs no workers, and may be over before one has come.
                Some(result) => result.as_ref().is_ok_and(|report| report.ending == JobEnding::Finished),
            };
            // Whoever was started again too late has heard of nothing.
            let waits = has_worked && self.plan.is_calm() && self.plan.phases.len() == 1 && self.workers_running.get() > 0;
            if waits {
                let host = Rc::clone(self);
                let farewell = farewell.get_or_insert_with(|| Box::pin(async move { host.cluster.sleep_ms(FAREWELL_MS).await }));
                if farewell.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let reason = format!("{FAREWELL_MS} ms after the end of the job {} workers have not ended", self.workers_running.get());
                return Poll::Ready(Err(Finding { kind: FindingKind::NoProgress, oracle: "liveness".to_owned(), reason }));
            }
            Poll::Ready(self.done.take().unwrap_or_else(|| Err(Finding::wrong("simulator", "no result"))))
        })
        .await
    }

    fn go(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.fresh.borrow_mut().push(Box::pin(task));
    }

    fn end(&self, result: Result<JobReport, Finding>) {
        self.done.borrow_mut().get_or_insert(result);
    }

    fn is_over(&self) -> bool {
        self.done.borrow().is_some()
    }

    fn tell(&self, what: String) {
        let at_ms = self.cluster.now_ns() / 1_000_000;
        self.story.borrow_mut().push(format!("{at_ms} ms: {what}"));
    }

    /// A while, until somebody starts again what has died.
    async fn pause(&self) {
        let ms = self.stream.borrow_mut().between(0, self.plan.restart_ms_max);
        self.cluster.sleep_ms(ms).await;
    }

    fn add_group(self: &Rc<Self>) {
        let number = self.groups.borrow().len();
        let workers = self.plan.rest.len();
        let (machine, machines) = if self.plan.is_local {
            let first = self.groups.borrow().first().map(|group| group.machine.clone());
            let machine = first.unwrap_or_else(|| self.cluster.machine());
            (machine.clone(), vec![machine; workers])
        } else {
            (self.cluster.machine(), (0..workers).map(|_| self.cluster.machine()).collect())
        };
        let port = PORT + u16::try_from(number).unwrap_or(0);
        let address = SocketAddr::new(self.address(&machine), port);
        let group = Rc::new(Group {
            number,
            address,
            machine,
            machines,
            coordinator: RefCell::default(),
            control: RefCell::default(),
            workers: RefCell::new(vec![None; workers]),
            is_deposed: Cell::new(false),
        });
        self.groups.borrow_mut().push(Rc::clone(&group));
        for worker in 0..workers {
            let (host, group) = (Rc::clone(self), Rc::clone(&group));
            self.go(async move { host.look_after_worker(&group, worker).await });
        }
        let host = Rc::clone(self);
        self.go(async move { host.look_after_coordinator(&group).await });
    }

    fn address(&self, machine: &SimMachine) -> IpAddr {
        if self.plan.is_local { Ipv4Addr::LOCALHOST.into() } else { machine.address() }
    }

    fn secret(&self) -> Option<Secret> {
        (!self.plan.is_local).then(|| Secret::new("a secret of the simulator").expect("invariant: it is long enough"))
    }

    fn heartbeat(&self) -> Heartbeat {
        let ClusterPlan { heartbeat_interval_ms, heartbeat_timeout_ms, .. } = self.plan;
        Heartbeat { interval: Duration::from_millis(heartbeat_interval_ms), timeout: Duration::from_millis(heartbeat_timeout_ms) }
    }

    /// What is planned for the next incarnation of a process.
    fn aim(&self, role: Role, process: &SimProcess) {
        if self.is_healed.get() {
            return;
        }
        let mut aims = self.aims.borrow_mut();
        if let Some(place) = aims.iter().position(|aim| aim.role == role) {
            let Aim { at, fault, .. } = aims.remove(place);
            process.plan(at, fault);
        }
    }

    async fn look_after_coordinator(self: &Rc<Self>, group: &Rc<Group>) {
        let name = if group.number == 0 { "coordinator" } else { "successor" };
        while !self.is_over() {
            let process = group.machine.start(name, 1);
            *group.coordinator.borrow_mut() = Some(process.clone());
            self.aim(Role::Coordinator, &process);
            let number = self.phase.get();
            let phase = &self.plan.phases[number];
            let config = ClusterConfig::new(group.address, self.plan.wanted(phase))
                .options(vec![number.to_string()])
                .heartbeat(self.heartbeat())
                .worker_wait(Duration::from_millis(self.plan.worker_wait_ms));
            let config = match self.secret() {
                Some(secret) => config.secret(secret),
                None => config,
            };
            let started = build(&self.job, phase, self.poison.clone(), self.plan.roll_at_bytes)
                .and_then(|job| job.start_coordinator(&process.cores(), config));
            let ended = match started {
                Err(error) => Some(Err(error)),
                Ok(handle) => {
                    *group.control.borrow_mut() = Some(handle.control());
                    if let Some(ms) = phase.stop_ms {
                        let (host, control) = (Rc::clone(self), handle.control());
                        self.go(async move {
                            host.cluster.sleep_ms(ms).await;
                            control.stop_with_checkpoint();
                        });
                    }
                    while_alive(&process, handle).await
                }
            };
            group.control.take();
            self.returns(&process).await;
            match ended {
                None => {
                    self.tell(format!("the {name} dies"));
                    if self.others_lead(group) {
                        return group.is_deposed.set(true);
                    }
                }
                Some(ended) => {
                    if self.take_end(group, number, ended) {
                        return;
                    }
                }
            }
            self.pause().await;
        }
    }

    /// A process has told its result: waits until it has said its last words.
    async fn returns(&self, process: &SimProcess) {
        for _ in 0..LAST_WORDS_MS / LOOK_EVERY_MS {
            if process.has_returned() || !process.is_alive() {
                break;
            }
            self.cluster.sleep_ms(LOOK_EVERY_MS).await;
        }
        process.kill();
    }

    /// Waits until there is something new to do, as far as one can know.
    async fn next_work(&self, group: &Group, phase: usize) {
        for _ in 0..QUIET_MS / LOOK_EVERY_MS {
            if self.is_over() || group.is_deposed.get() || self.phase.get() != phase {
                break;
            }
            self.cluster.sleep_ms(LOOK_EVERY_MS).await;
        }
    }

    /// Whether there is another group that somebody looks after.
    fn others_lead(&self, group: &Group) -> bool {
        self.groups.borrow().iter().any(|other| other.number != group.number && !other.is_deposed.get())
    }

    /// A coordinator has come to an end by itself. `true` if no other is to follow.
    fn take_end(&self, group: &Group, number: usize, ended: Result<JobReport, JobError>) -> bool {
        match ended {
            Ok(report) => match report.ending {
                JobEnding::Finished | JobEnding::AlreadyFinished => {
                    let mut marks = self.marks.borrow_mut();
                    sometimes!(marks, number > 0, "a job rescaled");
                    sometimes!(marks, report.restored.is_some(), "a restored job");
                    sometimes!(marks, report.restarts > 0, "a restart within a life");
                    let has_lost = self.plan.rest.iter().any(|rest| *rest != Rest::Repaired);
                    sometimes!(marks, has_lost && self.is_healed.get(), "finished while a part of the cluster stays broken");
                    drop(marks);
                    self.tell(format!("{:?} after {} restarts and {} checkpoints", report.ending, report.restarts, report.checkpoints));
                    self.end(Ok(report));
                    true
                }
                JobEnding::Stopped(_) => {
                    self.marks.borrow_mut().note("stopped with a checkpoint");
                    self.tell(format!("stopped with {} checkpoints", report.checkpoints));
                    self.next_phase(number);
                    false
                }
            },
            Err(error) if is_fenced(&error) && self.plan.takeover_ms.is_some() => {
                self.marks.borrow_mut().note("two leaders");
                self.tell(format!("the leader {} is fenced", group.number));
                if self.others_lead(group) {
                    group.is_deposed.set(true);
                    return true;
                }
                false
            }
            Err(error) => {
                if !self.explains(number, &error) {
                    self.end(Err(Finding::unexpected(&error)));
                    return true;
                }
                self.tell(format!("failed: {error}"));
                if matches!(error, JobError::Cancelled) {
                    self.next_phase(number);
                }
                false
            }
        }
    }

    fn next_phase(&self, number: usize) {
        if number == self.phase.get() && number + 1 < self.plan.phases.len() {
            self.phase.set(number + 1);
        }
    }

    /// Whether a job may fail with this error.
    fn explains(&self, number: usize, error: &JobError) -> bool {
        let is_troubled = !self.plan.is_calm();
        let is_sick = self.cluster.disk().faults_injected() > 0;
        match error {
            JobError::WorkerLost { .. } | JobError::Exchange { .. } => is_troubled,
            JobError::UserPanic { message, .. } => self.plan.poison.is_some() && message.contains("a planned panic"),
            JobError::Cancelled => self.plan.phases[number].stop_ms.is_some(),
            JobError::CheckpointsExpired { .. } => is_troubled,
            JobError::Checkpoint { source, .. } => is_sick && !source.is_fenced() && !source.is_damage(),
            JobError::Source { .. } | JobError::Sink { .. } => is_sick,
            JobError::Invalid(reason) => is_sick && reason.contains("choose another output folder"),
            JobError::Remote { message, cause, .. } => match cause {
                FailureCause::Fenced => self.plan.takeover_ms.is_some(),
                _ => is_sick || (self.plan.poison.is_some() && message.contains("a planned panic")),
            },
            _ => false,
        }
    }

    async fn look_after_worker(self: &Rc<Self>, group: &Rc<Group>, number: usize) {
        let name = if group.number == 0 { format!("worker-{number}") } else { format!("new-worker-{number}") };
        let mut cores = None;
        while !self.is_over() && !group.is_deposed.get() {
            let phase = self.phase.get();
            let wanted = self.plan.phases[phase].workers.get(number).copied();
            let stays_dead = self.is_healed.get() && self.plan.rest[number] != Rest::Repaired;
            let Some(planned) = wanted.filter(|_| !stays_dead) else {
                if stays_dead {
                    return;
                }
                self.cluster.sleep_ms(LOOK_EVERY_MS).await;
                continue;
            };
            let machine = &group.machines[number];
            let cores_now = cores.unwrap_or(planned);
            let process = machine.start(&name, cores_now);
            group.workers.borrow_mut()[number] = Some(process.clone());
            self.aim(Role::Worker(number), &process);
            let config = WorkerConfig::new(group.address, cores_now)
                .data(SocketAddr::new(self.address(machine), 0))
                .heartbeat(self.heartbeat())
                .reconnect_max(Duration::from_millis(200));
            let config = match self.secret() {
                Some(secret) => config.secret(secret),
                None => config,
            };
            let (job, phases, poison, roll_at_bytes) =
                (self.job.clone(), self.plan.phases.clone(), self.poison.clone(), self.plan.roll_at_bytes);
            let build_from = move |options: &[String]| {
                let phase = options.first().and_then(|number| phases.get(number.parse::<usize>().ok()?));
                let phase = phase.ok_or_else(|| JobError::Invalid(format!("no phase {options:?}")))?;
                build(&job, phase, poison.clone(), roll_at_bytes)
            };
            let ended: Option<Result<WorkerReport, JobError>> = match start_worker(&process.cores(), config, build_from) {
                Err(error) => Some(Err(error)),
                Ok(handle) => {
                    self.workers_running.set(self.workers_running.get() + 1);
                    let ended = while_alive(&process, handle).await;
                    self.workers_running.set(self.workers_running.get() - 1);
                    ended
                }
            };
            self.returns(&process).await;
            match ended {
                Some(Err(error)) if !self.may_refuse(&error) => {
                    self.tell(format!("{name} ends"));
                    return self.end(Err(Finding::unexpected(&error)));
                }
                // Somebody who is told that all is well does not start it again, before there is something new to do.
                Some(Ok(WorkerReport { failure: None, .. })) => self.next_work(group, phase).await,
                Some(_) => {}
                None => self.tell(format!("{name} dies")),
            }
            if self.is_over() {
                return;
            }
            self.pause().await;
            // Now and then another machine takes its place.
            let mut stream = self.stream.borrow_mut();
            if stream.chance(200) {
                cores = Some(stream.pick(&[1, 2, 4]));
                self.marks.borrow_mut().note("a worker came back with other cores");
            }
        }
    }

    /// Whether a worker may end with this error: a flipped bit in a handshake looks like another secret, or another program.
    fn may_refuse(&self, error: &JobError) -> bool {
        matches!(error, JobError::Invalid(_)) && self.plan.net.iter().any(|fault| fault.kind == NetFaultKind::BitFlip)
    }

    fn processes_of(&self, role: Role) -> Vec<SimProcess> {
        let groups = self.groups.borrow();
        let process = |group: &Rc<Group>| match role {
            Role::Coordinator => group.coordinator.borrow().clone(),
            Role::Worker(number) => group.workers.borrow().get(number).cloned().flatten(),
        };
        groups.iter().filter_map(process).filter(SimProcess::is_alive).collect()
    }

    fn strike(self: &Rc<Self>, whom: &Whom) {
        if self.is_healed.get() || self.is_over() {
            return;
        }
        match whom {
            Whom::Everything(style) => {
                self.tell("power fails everywhere".to_owned());
                self.cluster.power_loss(*style);
                let judged = self.ledger.borrow_mut().results_at_end_of_life(true);
                if let Err(reason) = judged {
                    self.end(Err(Finding::wrong("transactions", format!("after power failed everywhere: {reason}"))));
                }
            }
            Whom::Processes(roles, fault) => {
                let struck: Vec<SimProcess> = roles.iter().flat_map(|role| self.processes_of(*role)).collect();
                self.tell(format!("{fault:?} for {roles:?}"));
                if struck.len() > 1 {
                    self.marks.borrow_mut().note("several struck at once");
                }
                for process in struck {
                    match *fault {
                        ProcessFault::Kill(crate::kill::KillKind::Process) => process.kill(),
                        ProcessFault::Kill(crate::kill::KillKind::PowerLoss(style)) => process.machine().power_loss(style),
                        ProcessFault::Pause { ms } => {
                            process.pause();
                            let host = Rc::clone(self);
                            self.go(async move {
                                host.cluster.sleep_ms(ms).await;
                                let stays = host.is_healed.get() && host.stays_stopped(&process);
                                if process.is_alive() && !stays {
                                    process.resume();
                                    sometimes!(host.marks.borrow_mut(), ms > host.plan.heartbeat_timeout_ms, "a zombie came back");
                                }
                            });
                        }
                    }
                }
            }
        }
    }

    fn stays_stopped(&self, process: &SimProcess) -> bool {
        let groups = self.groups.borrow();
        let number = groups.iter().find_map(|group| {
            let workers = group.workers.borrow();
            workers.iter().position(|worker| {
                worker.as_ref().is_some_and(|worker| worker.name() == process.name() && worker.incarnation() == process.incarnation())
            })
        });
        number.is_some_and(|number| self.plan.rest[number] == Rest::Stopped)
    }

    /// The coordinators and the workers of the core are repaired; the rest stays as it is planned to.
    fn heal(&self) {
        self.is_healed.set(true);
        self.tell("healed".to_owned());
        let (network, disk) = (self.cluster.network(), self.cluster.disk());
        let before = network.faults_injected();
        network.heal();
        disk.heal();
        sometimes!(self.marks.borrow_mut(), before > 0, "the network healed");
        for group in self.groups.borrow().iter() {
            if let Some(process) = &*group.coordinator.borrow() {
                process.resume();
            }
            for (number, process) in group.workers.borrow().iter().enumerate() {
                let Some(process) = process else { continue };
                match self.plan.rest[number] {
                    Rest::Repaired => process.resume(),
                    Rest::Dead => process.kill(),
                    Rest::Stopped => process.pause(),
                    Rest::CutOff { .. } => {}
                }
            }
        }
        let groups = self.groups.borrow().clone();
        let machines = |is_core: bool| {
            let of_group = |group: &Rc<Group>| {
                let workers = group.machines.iter().zip(&self.plan.rest);
                let workers = workers
                    .filter(|(_, rest)| matches!(rest, Rest::CutOff { .. }) != is_core)
                    .map(|(machine, rest)| (machine.clone(), *rest));
                let own = is_core.then(|| (group.machine.clone(), Rest::Repaired));
                workers.chain(own).collect::<Vec<_>>()
            };
            groups.iter().flat_map(of_group).collect::<Vec<_>>()
        };
        let core = machines(true);
        for (lost, rest) in machines(false) {
            for (machine, _) in &core {
                network.cut(&lost, machine);
                if rest != (Rest::CutOff { one_way: true }) {
                    network.cut(machine, &lost);
                }
            }
        }
    }
}

/// What `future` comes to, unless the process dies before.
async fn while_alive<F: Future>(process: &SimProcess, future: F) -> Option<F::Output> {
    let (mut future, mut died) = (pin!(future), pin!(process.died()));
    poll_fn(|cx| {
        if died.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

fn is_fenced(error: &JobError) -> bool {
    match error {
        JobError::Checkpoint { source, .. } => source.is_fenced(),
        JobError::Remote { cause, .. } => *cause == FailureCause::Fenced,
        _ => false,
    }
}

/// Describes the job of a phase, as every process of it does.
fn build(job: &ElementsPlan, phase: &Phase, poison: Option<Poison>, roll_at_bytes: u64) -> Result<Job, JobError> {
    let env = StreamExecutionEnvironment::new();
    phase.engine.apply(&env);
    env.enable_checkpointing(phase.checkpoints.config(Restore::Latest, false));
    env.set_restart_strategy(phase.restart.clone());
    drop(elements_job::build(&env, job, poison, Place::Files { roll_at_bytes }));
    env.build("simulated")
}
