//! A job of several processes: one coordinator, one to five workers, and what happens to them until the world heals.
//!
//! A job has one or more *phases*: each but the last is stopped with a checkpoint, and the next goes on with other workers and another engine. Until the
//! moment of healing processes die and are started again, stop for a while, are cut off, lose power, meet a sick disk, and find a second leader. Then the
//! coordinator and some of the workers are repaired for good; the rest may stay as it is, and the job has to come to its end without it.

use super::engine::EnginePlan;
use super::fates::{Fates, net_faults};
use super::lives_plan::{CheckpointPlan, JobFacts, PATIENT_TIMEOUT_US, spare_directories};
use super::restarts::RestartBounds;
use thalweg::RestartStrategy;
use thalweg_io::SplitMix;
use thalweg_world::Draw;
use thalweg_world::WorldConfig;
use thalweg_world::{CrashStyle, DiskFault, REPORTED_FAULTS};
use thalweg_world::{KillPoint, ProcessFault};
use thalweg_world::{NetFault, NetFaultKind};

/// Many processes die: a job has to be started again more often than one that dies alone.
const RESTARTS: RestartBounds = RestartBounds { one_in: 5, fixed_attempts_max: 8, delay_ms_max: 200, growing_attempts: 40 };

/// A job of several processes.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// One after the other.
    pub phases: Vec<Phase>,
    /// Files of results are closed at about this length.
    pub roll_at_bytes: u64,
    /// Time between two signs of life, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The silence that means death, in milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// How long a job that has lost workers waits for others, in milliseconds.
    pub worker_wait_ms: u64,
    /// All processes share one machine, and no secret; otherwise each has a machine of its own.
    pub is_local: bool,
    /// The longest time until somebody starts again what has died, in milliseconds.
    pub restart_ms_max: u64,
    /// What happens when a process reaches a point.
    pub aims: Vec<Aim>,
    /// What happens at a time.
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
    /// What becomes of each worker then, by its number.
    pub rest: Vec<Rest>,
    /// When the job must have finished, in milliseconds after the healing.
    pub patience_ms: u64,
}

/// A part of the job between two stops.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The engine.
    pub engine: EnginePlan,
    /// Its checkpoints.
    pub checkpoints: CheckpointPlan,
    /// What follows a failure.
    pub restart: RestartStrategy,
    /// The cores of each worker.
    pub workers: Vec<usize>,
    /// When it is stopped with a checkpoint, in milliseconds after its start; the last one is not.
    pub stop_ms: Option<u64>,
}

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The coordinator.
    Coordinator,
    /// The worker with this number.
    Worker(usize),
}

/// Something that happens to a process at a point of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// To whom: the first of its incarnations that has not been aimed at.
    pub role: Role,
    /// When.
    pub at: KillPoint,
    /// What.
    pub fault: ProcessFault,
}

/// Something that happens to some at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// To whom.
    pub whom: Whom,
}

/// Whom a blow meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Some processes.
    Processes(Vec<Role>, ProcessFault),
    /// Everybody, the file server included: power fails everywhere.
    Everything(CrashStyle),
}

/// What becomes of a worker when the world heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is repaired.
    Repaired,
    /// It stays dead.
    Dead,
    /// It stays stopped.
    Stopped,
    /// It stays cut off from all that is repaired.
    CutOff {
        /// It hears them still.
        one_way: bool,
    },
}

impl ClusterPlan {
    /// Draws the processes of a job and what happens to them in `world`.
    pub(crate) fn draw(stream: &mut SplitMix, facts: &JobFacts, world: &WorldConfig) -> Self {
        let is_local = stream.chance(200);
        let key_groups = stream.pick(&[7, 8, 128, 128, 1000]);
        let count = stream.pick(&[1, 1, 1, 2, 2, 3]);
        let mut phases: Vec<Phase> = (0..count).map(|number| Phase::draw(stream, facts, key_groups, number + 1 < count)).collect();
        let workers = phases.iter().map(|phase| phase.workers.len()).max().unwrap_or(1);
        let net = &world.net;
        let round_trip_ms = 2 * (net.latency_ms_max + net.slow_machine.map_or(0, |(_, ms)| ms));
        // A core does not come to its turn for some hundreds of polls now and then.
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
            // Numbers that come faster than the network carries them would be all that there is to see.
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
            patience_ms: 300_000 + 20 * facts.job_ms,
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

    /// Workers that are repaired when the world heals, of those that a phase has.
    #[must_use]
    pub fn wanted(&self, phase: &Phase) -> usize {
        self.rest.iter().take(phase.workers.len()).filter(|rest| **rest == Rest::Repaired).count().max(1)
    }

    /// Whether nothing happens to it.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.aims.is_empty()
            && self.blows.is_empty()
            && self.net.is_empty()
            && self.disk.is_empty()
            && self.poison.is_none()
            && self.has_one_leader()
    }

    /// Whether the network changes what it carries.
    #[must_use]
    pub fn flips_bits(&self) -> bool {
        self.net.iter().any(|fault| fault.kind == NetFaultKind::BitFlip)
    }

    /// Whether nobody may be left who has not heard of the end.
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
        // Messages take their time.
        checkpoints.interval_us = checkpoints.interval_us.map(|interval_us| interval_us.max(5_000));
        checkpoints.timeout_us = checkpoints.timeout_us.max(PATIENT_TIMEOUT_US);
        let workers = (0..stream.pick(&[1, 2, 2, 3, 3, 4, 5])).map(|_| stream.pick(&[1, 1, 2, 4])).collect();
        let stop_ms = is_stopped.then(|| stream.between(1, facts.job_ms + 100));
        Self { engine, checkpoints, restart: RestartStrategy::None, workers, stop_ms }
    }
}
