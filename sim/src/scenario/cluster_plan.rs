//! A job of several processes: one coordinator, one to five workers, and their faults until the world heals.
//!
//! A job has one or more *phases*: each but the last is stopped with a checkpoint, and the next resumes with other workers and another engine. Until the
//! moment of healing processes die and are restarted, stop for a while, are cut off, lose power, meet a faulty disk, and find a second leader. Then the
//! coordinator and some of the workers are repaired for good; the others may stay broken, and the job has to finish without them.

use super::engine::EnginePlan;
use super::fates::{Fates, net_faults};
use super::lives_plan::{CheckpointPlan, JobFacts, PATIENT_TIMEOUT_US, spare_directories};
use super::restarts::RestartBounds;
use thalweg::RestartStrategy;
use thalweg_io::SplitMix;
use thalweg_world::Draw;
use thalweg_world::{CrashStyle, DiskFault, REPORTED_FAULTS};
use thalweg_world::{KillPoint, ProcessFault};
use thalweg_world::{NetConfig, WorldConfig};
use thalweg_world::{NetFault, NetFaultKind};

/// Many processes die: a job has to be restarted more often than if a single process dies.
const RESTARTS: RestartBounds = RestartBounds { one_in: 5, fixed_attempts_max: 8, delay_ms_max: 200, growing_attempts: 40 };

/// A job of several processes.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// The phases in order.
    pub phases: Vec<Phase>,
    /// The approximate length at which result files are closed, in bytes.
    pub roll_at_bytes: u64,
    /// Time between two heartbeats, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The silence after which a process counts as dead, in milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// How long a job that has lost workers waits for replacements, in milliseconds.
    pub worker_wait_ms: u64,
    /// Whether all processes share one machine, and have no secret; otherwise each has a machine of its own.
    pub is_local: bool,
    /// The longest time until a dead process is restarted, in milliseconds.
    pub restart_ms_max: u64,
    /// Faults of processes that reach a point of their own.
    pub aims: Vec<Aim>,
    /// Faults at a given time.
    pub blows: Vec<Blow>,
    /// Faults of the network.
    pub net: Vec<NetFault>,
    /// Faults of the disk.
    pub disk: Vec<DiskFault>,
    /// A record at which the user's map panics, and how often.
    pub poison: Option<(u64, u32)>,
    /// When a second leader is started, with workers of its own, in milliseconds.
    pub takeover_ms: Option<u64>,
    /// When the world heals, in milliseconds.
    pub heal_ms: u64,
    /// The state of each worker after the healing, by its number.
    pub rest: Vec<Rest>,
    /// The time within which the job must finish after the healing, in milliseconds.
    pub patience_ms: u64,
}

/// A part of the job between two stops.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The settings of the engine.
    pub engine: EnginePlan,
    /// Its checkpoints.
    pub checkpoints: CheckpointPlan,
    /// The restart strategy.
    pub restart: RestartStrategy,
    /// The cores of each worker.
    pub workers: Vec<usize>,
    /// When it is stopped with a checkpoint, in milliseconds after its start; `None` for the last phase.
    pub stop_ms: Option<u64>,
}

/// The role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The coordinator.
    Coordinator,
    /// The worker with this number.
    Worker(usize),
}

/// A fault of a process at a point of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Its target: the role's first incarnation that has not been aimed at.
    pub role: Role,
    /// The point.
    pub at: KillPoint,
    /// The fault.
    pub fault: ProcessFault,
}

/// A fault of several processes at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// The time, in milliseconds.
    pub at_ms: u64,
    /// The targets.
    pub whom: Whom,
}

/// The targets of a blow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Some processes.
    Processes(Vec<Role>, ProcessFault),
    /// All processes, and the file server: power fails everywhere.
    Everything(CrashStyle),
}

/// The state of a worker after the healing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is repaired.
    Repaired,
    /// It stays dead.
    Dead,
    /// It stays stopped.
    Stopped,
    /// It stays cut off from all repaired machines.
    CutOff {
        /// Whether it still receives from them.
        one_way: bool,
    },
}

/// The longest patience: a scenario's virtual time has a limit, too.
const PATIENCE_MS_MAX: u64 = 1_000_000;

/// The time that a job must be given. Where a frame holds one record and waits for its credit, each record takes a round trip on each channel, and operators
/// make several of one.
#[must_use]
pub fn patience_ms(records: usize, job_ms: u64, net: &NetConfig) -> u64 {
    (300_000 + 20 * job_ms + 10 * records as u64 * round_trip_ms(net)).min(PATIENCE_MS_MAX)
}

/// The longest way to another machine and back.
fn round_trip_ms(net: &NetConfig) -> u64 {
    2 * (net.latency_ms_max + net.slow_machine.map_or(0, |(_, ms)| ms))
}

impl ClusterPlan {
    /// Draws the processes of a job and their faults in `world`.
    pub(crate) fn draw(stream: &mut SplitMix, facts: &JobFacts, world: &WorldConfig) -> Self {
        let is_local = stream.chance(200);
        let key_groups = stream.pick(&[7, 8, 128, 128, 1000]);
        let count = stream.pick(&[1, 1, 1, 2, 2, 3]);
        let mut phases: Vec<Phase> = (0..count).map(|number| Phase::draw(stream, facts, key_groups, number + 1 < count)).collect();
        let workers = phases.iter().map(|phase| phase.workers.len()).max().unwrap_or(1);
        let net = &world.net;
        let round_trip_ms = round_trip_ms(net);
        // Now and then a core does not get its turn for some hundreds of polls.
        let unfair_ms = world.poll_cost_ns_max / 250;
        let heartbeat_interval_ms = stream.pick(&[5, 20, 50]).max(round_trip_ms / 8);
        let heartbeat_timeout_ms = 3 * heartbeat_interval_ms + 2 * round_trip_ms + 20 + unfair_ms;
        let horizon_ms = facts.job_ms + 20 * round_trip_ms + 100;
        let is_calm = stream.chance(120);
        let heal_ms = stream.between(horizon_ms / 4, 3 * horizon_ms);
        let mut rest = vec![Rest::Repaired; workers];
        if !is_calm && stream.chance(300) {
            let cut = if is_local { Rest::Dead } else { Rest::CutOff { one_way: stream.chance(300) } };
            for rest in rest.iter_mut().skip(1) {
                if stream.chance(500) {
                    *rest = stream.pick(&[Rest::Dead, Rest::Stopped, cut]);
                }
            }
        }
        let is_narrow = net.buffer_bytes.iter().any(|bytes| *bytes < 1_000);
        for phase in &mut phases {
            // Metrics sent faster than the network carries them would crowd out everything else.
            let metrics_ms = &mut phase.engine.settings.metrics_interval_ms;
            *metrics_ms = (*metrics_ms).max(if is_narrow { 10_000 } else { 200 });
            phase.restart = RESTARTS.draw(stream);
        }
        let mut plan = Self {
            phases,
            roll_at_bytes: stream.pick(&[1, 60, 1_000, 1 << 27]),
            heartbeat_interval_ms,
            heartbeat_timeout_ms,
            worker_wait_ms: stream.pick(&[0, 20, 200, 1_000]),
            is_local,
            restart_ms_max: stream.pick(&[1, 20, 300]),
            aims: vec![],
            blows: vec![],
            net: vec![],
            disk: vec![],
            poison: None,
            takeover_ms: None,
            heal_ms,
            rest,
            patience_ms: patience_ms(facts.ids.len(), facts.job_ms, net),
        };
        if !is_calm {
            plan.trouble(stream, facts, workers, horizon_ms);
        }
        plan
    }

    fn trouble(&mut self, stream: &mut SplitMix, facts: &JobFacts, workers: usize, horizon_ms: u64) {
        let fates = Fates { workers, heartbeat_timeout_ms: self.heartbeat_timeout_ms };
        for _ in 0..stream.pick(&[0, 1, 1, 2, 4]) {
            self.aims.push(fates.aim(stream));
        }
        if workers > 1 && stream.chance(250) {
            self.aims.push(fates.late_deployment(stream));
        }
        for _ in 0..stream.pick(&[0, 0, 1, 1, 2, 3]) {
            self.blows.push(fates.blow(stream, horizon_ms));
        }
        if stream.chance(600) {
            let machines = if self.is_local { 1 } else { workers + 1 };
            self.net = net_faults(stream, machines, horizon_ms);
        }
        if stream.chance(200) {
            let operations = 1 << stream.between(5, 10);
            let per_mille = stream.pick(&[5, 20, 100]);
            self.disk = DiskFault::draw(stream, &REPORTED_FAULTS, per_mille, operations);
            self.disk.iter_mut().for_each(spare_directories);
        }
        if stream.chance(100) && !facts.ids.is_empty() {
            self.poison = Some((stream.pick(&facts.ids), stream.between(1, 3) as u32));
        }
        if stream.chance(150) {
            self.takeover_ms = Some(stream.between(1, horizon_ms));
        }
    }

    /// The number of a phase's workers that are repaired when the world heals.
    #[must_use]
    pub fn wanted(&self, phase: &Phase) -> usize {
        self.rest.iter().take(phase.workers.len()).filter(|rest| **rest == Rest::Repaired).count().max(1)
    }

    /// Whether it has no faults.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.aims.is_empty()
            && self.blows.is_empty()
            && self.net.is_empty()
            && self.disk.is_empty()
            && self.poison.is_none()
            && self.has_one_leader()
    }

    /// Whether the network flips bits.
    #[must_use]
    pub fn flips_bits(&self) -> bool {
        self.net.iter().any(|fault| fault.kind == NetFaultKind::BitFlip)
    }

    /// Whether no process may be left that has not heard of the end.
    #[must_use]
    pub fn has_no_zombies(&self) -> bool {
        let is_pause = |fault: &ProcessFault| matches!(fault, ProcessFault::Pause { .. });
        let of_blow = |blow: &Blow| matches!(&blow.whom, Whom::Processes(_, fault) if is_pause(fault));
        self.has_one_leader()
            && self.net.is_empty()
            && self.rest.iter().all(|rest| *rest == Rest::Repaired)
            && !self.aims.iter().any(|aim| is_pause(&aim.fault))
            && !self.blows.iter().any(of_blow)
    }

    fn has_one_leader(&self) -> bool {
        self.takeover_ms.is_none()
    }
}

impl Phase {
    fn draw(stream: &mut SplitMix, facts: &JobFacts, key_groups: u32, is_stopped: bool) -> Self {
        let mut engine = EnginePlan { key_groups, ..EnginePlan::draw(stream, facts.input_bytes) };
        engine.settings.channel_frames = stream.pick(&[0, 0, 1, 1, 2, 8, 64]);
        engine.parallelism = engine.parallelism.min(5);
        let mut checkpoints = CheckpointPlan::draw(stream, facts.job_ms, false);
        // Messages take time.
        checkpoints.interval_us = checkpoints.interval_us.map(|interval_us| interval_us.max(5_000));
        checkpoints.timeout_us = checkpoints.timeout_us.max(PATIENT_TIMEOUT_US);
        let workers = (0..stream.pick(&[1, 2, 2, 3, 3, 4, 5])).map(|_| stream.pick(&[1, 1, 2, 4])).collect();
        let stop_ms = is_stopped.then(|| stream.between(1, facts.job_ms + 100));
        Self { engine, checkpoints, restart: RestartStrategy::None, workers, stop_ms }
    }
}
