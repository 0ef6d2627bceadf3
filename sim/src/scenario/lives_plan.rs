//! A job that is killed, panics, is stopped, meets a faulty disk, and is restarted each time, until it has finished.
//!
//! Each life has an engine of its own: parallelism, cores and chaining may change from one to the next (docs/src/semantics.md#c-6). The last life is
//! healed: nothing kills it, nothing fails, and it has to finish.

use super::engine::EnginePlan;
use super::interference::Moment;
use super::restarts::RestartBounds;
use std::time::Duration;
use thalweg::{CheckpointConfig, RestartStrategy, Restore, StreamExecutionEnvironment};
use thalweg_io::{Rng, SplitMix};
use thalweg_world::Draw;
use thalweg_world::{DiskFault, DiskFaultKind, OperationClass, REPORTED_FAULTS, Rot};
use thalweg_world::{KillPlan, KillPoint};

/// The checkpoint folder.
pub const CHECKPOINTS: &str = "/state/checkpoints";

/// A checkpoint timeout that is reached only if something is wrong, in microseconds: ten minutes.
pub(crate) const PATIENT_TIMEOUT_US: u64 = 600_000_000;

/// The most checkpoints in a row that the most patient of jobs may lose. A job whose checkpoints all expire loses that many before it gives up: ten times
/// as many cost fifteen seconds, and showed nothing new.
const MANY_FAILURES: u32 = 100;

/// The windows of the protocol that deaths aim at, by the event that opens each, with a bound on how many of its occurrences are skipped.
const WINDOWS: [(&str, u64); 13] = [
    ("checkpoint.trigger", 6),
    ("checkpoint.barrier", 12),
    ("checkpoint.snapshot", 40),
    ("checkpoint.acknowledge", 40),
    ("sink.prepared", 20),
    ("checkpoint.collected", 6),
    ("checkpoint.complete", 6),
    ("checkpoint.commit", 6),
    ("checkpoint.committed", 6),
    ("attempt.begin", 1),
    ("attempt.recovered", 1),
    ("attempt.close", 1),
    ("job.restart", 1),
];

/// Of 1000 plans, how many damage the newest checkpoint when there is an older one to resume from. A file that rots at a random time is seldom one that is
/// needed, and the folder then has one checkpoint or none.
const SPOILED_PER_MILLE: u32 = 250;

/// The restart strategies of a life.
const RESTARTS: RestartBounds = RestartBounds { one_in: 4, fixed_attempts_max: 5, delay_ms_max: 100, growing_attempts: 12 };

/// The lives of a job.
#[derive(Clone, Debug)]
pub struct LivesPlan {
    /// The lives in order; those after the life that finishes do not take place.
    pub lives: Vec<Life>,
    /// The approximate length at which result files are closed, in bytes, unless the job sets it.
    pub roll_at_bytes: u64,
    /// The damage to the newest checkpoint's metadata, before the first life that finds an older checkpoint as well.
    pub spoils_newest: Option<Rot>,
}

/// One life of a job: from a start to its end or death.
#[derive(Clone, Debug)]
pub struct Life {
    /// The settings of the engine.
    pub engine: EnginePlan,
    /// The settings of its checkpoints.
    pub checkpoints: CheckpointPlan,
    /// The restart strategy.
    pub restart: RestartStrategy,
    /// Its death, if it is killed.
    pub kill: Option<KillPlan>,
    /// Any other fault.
    pub trouble: Trouble,
    /// The damage to a file of the checkpoint folder before it begins.
    pub rot: Option<Rot>,
}

/// The numbers of a `CheckpointConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPlan {
    /// The interval in microseconds; `None` if only the last checkpoint is taken.
    pub interval_us: Option<u64>,
    /// The time after which a checkpoint is given up, in microseconds.
    pub timeout_us: u64,
    /// The least time from the end of a checkpoint to the beginning of the next, in microseconds.
    pub min_pause_us: u64,
    /// The number of retained checkpoints.
    pub retained: usize,
    /// The largest snapshot that is put into the metadata, in bytes.
    pub inline_bytes_max: usize,
    /// How many checkpoints may expire in a row.
    pub tolerable_failures: u32,
}

/// A fault of a life other than its death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The user's map panics at a record, a limited number of times.
    Panics {
        /// The record's id.
        id: u64,
        /// The number of panics.
        times: u32,
    },
    /// The job is stopped with a checkpoint.
    Stop(Moment),
    /// The input is ended at its present position.
    Drain(Moment),
    /// The job is cancelled.
    Cancel(Moment),
    /// Operations of the disk fail.
    Disk(Vec<DiskFault>),
}

impl CheckpointPlan {
    pub(super) fn draw(stream: &mut SplitMix, job_ms: u64, is_healed: bool) -> Self {
        // Jobs that take long would otherwise take more checkpoints than useful.
        let interval_us_min = job_ms * 1000 / 60;
        let interval_us = stream.pick(&[1_000, 1_000, 1_000, 2_000, 5_000, 10_000, 50_000]).max(interval_us_min);
        let patient = is_healed || stream.chance(750);
        Self {
            interval_us: (!stream.chance(60)).then_some(interval_us),
            timeout_us: if patient { PATIENT_TIMEOUT_US } else { stream.pick(&[1_000, 1_000, 2_000, 5_000, 20_000, 100_000]) },
            min_pause_us: stream.pick(&[0, 0, 300, 5_000]),
            retained: stream.pick(&[1, 1, 2, 3]),
            inline_bytes_max: stream.pick(&[0, 0, 200, 1 << 20]),
            tolerable_failures: stream.pick(if patient {
                &[0, 1, MANY_FAILURES]
            } else {
                &[0, 1, 3, MANY_FAILURES, MANY_FAILURES, MANY_FAILURES]
            }),
        }
    }

    /// The configuration, restoring from `restore`.
    #[must_use]
    pub fn config(&self, restore: Restore, discard_later_output: bool) -> CheckpointConfig {
        CheckpointConfig::new(CHECKPOINTS)
            .retained(self.retained)
            .restore(restore)
            .interval(self.interval_us.map(Duration::from_micros))
            .timeout(Duration::from_micros(self.timeout_us))
            .min_pause(Duration::from_micros(self.min_pause_us))
            .tolerable_failures(self.tolerable_failures)
            .inline_bytes_max(self.inline_bytes_max)
            .discard_later_output(discard_later_output)
    }
}

/// The facts about a job that a plan depends on.
pub(crate) struct JobFacts {
    pub(crate) input_bytes: usize,
    /// The job's least duration, from its pauses and rates, in milliseconds.
    pub(crate) job_ms: u64,
    /// Ids of records at which the user's function can be made to panic.
    pub(crate) ids: Vec<u64>,
}

impl LivesPlan {
    /// Draws the lives of a job.
    pub(crate) fn draw(stream: &mut SplitMix, facts: &JobFacts) -> Self {
        let deaths = stream.pick(&[1, 1, 2, 2, 3, 4, 6]);
        let key_groups = stream.pick(&[7, 8, 128, 128, 1000]);
        let mut lives: Vec<Life> = (0..deaths).map(|number| Life::draw(stream, facts, key_groups, number)).collect();
        let mut last = Life::healed(stream, facts, key_groups);
        if stream.chance(120) {
            last.rot = Some(rot(stream));
        }
        lives.push(last);
        let roll_at_bytes = stream.pick(&[1, 60, 1_000, 1 << 27]);
        let spoils_newest = stream.chance(SPOILED_PER_MILLE).then(|| rot(stream));
        if spoils_newest.is_some() {
            lives.iter_mut().for_each(|life| life.checkpoints.retained = life.checkpoints.retained.max(2));
        }
        Self { lives, roll_at_bytes, spoils_newest }
    }

    /// The same lives, but those without a fault lose snapshots: again and again the disk has no room for files of state. What a lost one held has to be in the
    /// next, whatever that builds on.
    pub(super) fn with_lost_snapshots(mut self, stream: &mut SplitMix) -> Self {
        // Some around which the snapshots of few keys grow and shrink, so that some of them lie in files.
        let inline_bytes_max = if stream.chance(250) { 0 } else { 64 * stream.between(4, 16) as usize };
        // Much may change before a part is written whole, so that most snapshots build on others.
        let changes_percent_max = stream.pick(&[100, 1_000, 1_000]);
        for life in &mut self.lives {
            life.checkpoints.inline_bytes_max = inline_bytes_max;
            let settings = life.engine.settings.clone();
            life.engine.settings = settings.state_part_slots(4).state_changes_percent_max(changes_percent_max);
        }
        let Some((_healed, lives)) = self.lives.split_last_mut() else { return self };
        for life in lives.iter_mut().filter(|life| life.trouble == Trouble::None) {
            life.checkpoints.tolerable_failures = MANY_FAILURES;
            // Some live long enough to lose many.
            life.kill = life.kill.filter(|_| stream.chance(500));
            let mut fault = || {
                let early = 1 << stream.between(2, 6);
                let full = DiskFault::of(OperationClass::Write, stream.between(1, early), DiskFaultKind::Full);
                full.on(".state").lasting(stream.pick(&[1, 1, 2, 5]))
            };
            life.trouble = Trouble::Disk((0..8).map(|_| fault()).collect());
        }
        self
    }

    /// Whether the input may be ended before it has been read.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.lives.iter().any(|life| matches!(life.trouble, Trouble::Drain(_)))
    }

    /// Whether the user's function panics in some life.
    #[must_use]
    pub fn panics(&self) -> bool {
        self.lives.iter().any(|life| matches!(life.trouble, Trouble::Panics { .. }))
    }
}

fn rot(stream: &mut SplitMix) -> Rot {
    if stream.chance(700) { Rot::FlipBit(None) } else { Rot::Truncate(None) }
}

/// Spares syncs of directories from failing: the disk would never make durable what that sync had covered, and a later attempt, which cannot know of it,
/// trusts its own sync of the same names. On ext4 and XFS no attempt gets there: after such a failure the file system is read-only.
pub(super) fn spare_directories(fault: &mut DiskFault) {
    if fault.kind == DiskFaultKind::Error && matches!(fault.class, None | Some(OperationClass::SyncDirectory)) {
        fault.class = Some(OperationClass::Write);
    }
}

/// Draws a moment, mostly late enough: recovery alone takes some hundreds of polls.
fn moment(stream: &mut SplitMix) -> Moment {
    if stream.chance(150) {
        return Moment::draw(stream);
    }
    let magnitude = stream.between(6, 12);
    Moment::Polls(stream.between(0, 1 << magnitude))
}

impl Trouble {
    /// Draws the fault of a life. `has_to_fail`: its death waits for a failure.
    fn draw(stream: &mut SplitMix, facts: &JobFacts, has_to_fail: bool) -> Self {
        let times = stream.between(1, 4) as u32;
        match stream.below(100) {
            _ if has_to_fail && !facts.ids.is_empty() => Self::Panics { id: stream.pick(&facts.ids), times },
            _ if has_to_fail => {
                let operations = 1 << stream.between(4, 8);
                Self::Disk(vec![DiskFault::of(OperationClass::Write, stream.between(1, operations >> 3), DiskFaultKind::Error)])
            }
            0..15 if !facts.ids.is_empty() => Self::Panics { id: stream.pick(&facts.ids), times },
            15..35 => Self::Stop(moment(stream)),
            35..39 => Self::Drain(moment(stream)),
            39..43 => Self::Cancel(moment(stream)),
            43..65 => {
                let operations = 1 << stream.between(4, 10);
                let per_mille = stream.pick(&[5, 20, 100]);
                let mut faults = DiskFault::draw(stream, &REPORTED_FAULTS, per_mille, operations);
                if stream.chance(300) {
                    let kind = stream.pick(&REPORTED_FAULTS);
                    let path = stream.pick(&["/state/", "/results/", ".entry", ".tmp", ".state", ".metadata", ".inprogress"]);
                    faults.push(DiskFault::at(stream.between(0, 40), kind).on(path).lasting(stream.pick(&[1, 1, 3])));
                }
                faults.iter_mut().for_each(spare_directories);
                Self::Disk(faults)
            }
            _ => Self::None,
        }
    }
}

impl Life {
    fn healed(stream: &mut SplitMix, facts: &JobFacts, key_groups: u32) -> Self {
        let engine = EnginePlan { key_groups, ..EnginePlan::draw(stream, facts.input_bytes) };
        let checkpoints = CheckpointPlan::draw(stream, facts.job_ms, true);
        Self { engine, checkpoints, restart: RestartStrategy::None, kill: None, trouble: Trouble::None, rot: None }
    }

    fn draw(stream: &mut SplitMix, facts: &JobFacts, key_groups: u32, number: usize) -> Self {
        let engine = EnginePlan { key_groups, ..EnginePlan::draw(stream, facts.input_bytes) };
        let checkpoints = CheckpointPlan::draw(stream, facts.job_ms, false);
        let restart = RESTARTS.draw(stream);
        let kill = stream.chance(800).then(|| {
            let (operations, ms) = (1 << stream.between(3, 10), 1 << stream.between(0, 8));
            let mut kill = KillPlan::draw(stream, &WINDOWS, operations, ms);
            // Even the shortest jobs reach the first events of a kind.
            if let KillPoint::Event { nth, .. } = &mut kill.at {
                *nth >>= stream.between(0, 4);
            }
            kill
        });
        let aims_at_failure = kill.is_some_and(|kill| matches!(kill.at, KillPoint::Event { name: "job.restart" | "attempt.close", .. }));
        let trouble = Trouble::draw(stream, facts, aims_at_failure);
        let rot = (number > 0 && stream.chance(60)).then(|| rot(stream));
        Self { engine, checkpoints, restart, kill, trouble, rot }
    }

    /// Prepares an environment.
    pub(crate) fn apply(&self, env: &StreamExecutionEnvironment, restore: Restore, discard_later_output: bool) {
        self.engine.apply(env);
        env.enable_checkpointing(self.checkpoints.config(restore, discard_later_output));
        env.set_restart_strategy(self.restart.clone());
    }
}
