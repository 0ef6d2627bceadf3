//! A scenario: everything that a seed determines, drawn before anything runs.
//!
//! A scenario is plain data and can be printed. Each part draws from a stream of its own, so that changing one leaves the others as they were.

pub mod cluster_plan;
pub mod element_source;
pub mod elements;
pub(crate) mod elements_job;
pub mod elements_plan;
pub mod engine;
mod fates;
pub mod flights_plan;
mod hold;
pub mod interference;
pub(crate) mod lines;
pub mod lives_plan;
mod rejoin;
mod restarts;
mod tally;

pub use elements_job::{FIRST_WINDOW, GUARDED, SECOND_WINDOW};

use cluster_plan::ClusterPlan;
use elements_job::RESULTS;
use elements_plan::{ElementsPlan, Terminal};
use engine::EnginePlan;
use flights_plan::{Before, FlightsPlan, OUTPUTS};
use interference::{Interference, ROOM_FROM_MS};
use lives_plan::{JobFacts, LivesPlan};
use thalweg_io::{Rng, SplitMix};
use thalweg_world::Draw;
use thalweg_world::WorldConfig;

/// Of 1000 scenarios, how many have several processes.
const CLUSTERS_PER_MILLE: u32 = 300;

/// Of 1000 scenarios with one process, how many have several lives.
const LIVES_PER_MILLE: u32 = 450;

/// Of 1000 scenarios with several lives, how many lose snapshot after snapshot.
const LOST_SNAPSHOTS_PER_MILLE: u32 = 200;

/// The scenario of one seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The job and its input.
    pub job: JobPlan,
    /// The engine that runs it.
    pub engine: EnginePlan,
    /// The world around it.
    pub world: WorldConfig,
    /// The interference from outside.
    pub interference: Interference,
    /// Deaths and new lives, with checkpoints. Interferences are then planned per life.
    pub lives: Option<LivesPlan>,
    /// Several processes, and the faults of each.
    pub cluster: Option<ClusterPlan>,
}

/// A job and its input.
#[derive(Clone, Debug)]
pub enum JobPlan {
    /// `thalweg/examples/flights.rs`.
    Flights(FlightsPlan),
    /// A job of generated elements.
    Elements(ElementsPlan),
}

impl Scenario {
    /// The scenario of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let stream = |name: &str| SplitMix::stream(seed, &format!("scenario/{name}"));
        if stream("cluster").chance(CLUSTERS_PER_MILLE) {
            return Self::draw_cluster(seed);
        }
        if stream("lives").chance(LIVES_PER_MILLE) {
            return Self::draw_lives(seed);
        }
        let mut outside = stream("interference");
        let (job, interference) = if stream("kind").chance(400) {
            let plan = FlightsPlan::draw(&mut stream("job"));
            (JobPlan::Flights(plan), Interference::draw_with_disk(&mut outside))
        } else {
            let plan = ElementsPlan::draw(&mut stream("job"));
            let interference = Interference::draw(&mut outside, &plan.ids());
            let is_silent = plan.terminal == Terminal::Collect && stream("silence").chance(600);
            match interference {
                Interference::Panic { .. } => (JobPlan::Elements(plan.with_map_first()), interference),
                Interference::None if is_silent => {
                    let (plan, records) = plan.with_silence();
                    (JobPlan::Elements(plan), Interference::Silence { records })
                }
                _ => (JobPlan::Elements(plan), interference),
            }
        };
        let input_bytes = job.input_bytes();
        let mut world = world_of(seed);
        match interference {
            Interference::DiskFault(fault) => world.disk.faults.push(fault),
            Interference::SmallDisk { spare_bytes } => world.disk.capacity_bytes = job.disk_bytes() + spare_bytes,
            _ => {}
        }
        world.disk.room_from_ms = interference.is_full_disk().then_some(ROOM_FROM_MS);
        let engine = engine_of(&mut stream("engine"), input_bytes, interference);
        Self { seed, engine, job, world, interference, lives: None, cluster: None }
    }

    /// The scenario of `seed`, with several lives.
    fn draw_lives(seed: u64) -> Self {
        let stream = |name: &str| SplitMix::stream(seed, &format!("scenario/{name}"));
        let mut job = if stream("kind").chance(500) {
            let plan = FlightsPlan::draw(&mut stream("job"));
            let before = if plan.before == Before::ResultsToKeep { Before::Nothing } else { plan.before };
            JobPlan::Flights(FlightsPlan { before, ..plan })
        } else {
            JobPlan::Elements(ElementsPlan::draw(&mut stream("job")).with_state(&mut stream("state")))
        };
        let facts = match &job {
            JobPlan::Flights(plan) => JobFacts { input_bytes: plan.input_bytes(), job_ms: plan.duration_ms(), ids: vec![] },
            JobPlan::Elements(plan) => JobFacts { input_bytes: 0, job_ms: plan.duration_ms(), ids: plan.ids() },
        };
        let mut lives = LivesPlan::draw(&mut stream("lives-plan"), &facts);
        if stream("lost-snapshots").chance(LOST_SNAPSHOTS_PER_MILLE) {
            lives = lives.with_lost_snapshots(&mut stream("lost-snapshots-plan"));
            if let JobPlan::Elements(plan) = &mut job {
                plan.forget_soon();
            }
        }
        if let JobPlan::Elements(plan) = &job
            && lives.panics()
        {
            job = JobPlan::Elements(plan.clone().with_map_first());
        }
        let mut world = world_of(seed);
        // Otherwise a job takes no time, and no checkpoint is due before its end.
        world.poll_cost_ns_max = stream("poll-cost").pick(&[2_000, 40_000, 40_000, 400_000]);
        // Commits that take longer than a checkpoint, and snapshots and epochs that are too late for theirs.
        let mut slow = stream("slow");
        let part = slow.pick(&["", "", "", "inprogress to ", "inprogress to ", ".state", ".inprogress"]);
        world.disk.slow = (!part.is_empty()).then(|| (part, slow.pick(&[3, 20, 100])));
        let engine = engine_of(&mut stream("engine"), facts.input_bytes, Interference::None);
        Self { seed, engine, job, world, interference: Interference::None, lives: Some(lives), cluster: None }
    }

    /// The scenario of `seed`, with several processes.
    fn draw_cluster(seed: u64) -> Self {
        let stream = |name: &str| SplitMix::stream(seed, &format!("scenario/{name}"));
        let mut plan = ElementsPlan::draw(&mut stream("job")).with_state(&mut stream("state"));
        let mut world = world_of(seed);
        let mut calmer = stream("cluster-world");
        // Many processes share the time that polls take.
        world.poll_cost_ns_max = calmer.pick(&[1_000, 2_000, 10_000]);
        world.net.latency_ms_max = calmer.pick(&[0, 1, 1, 10, 50]);
        // A connection's throughput is its capacity divided by the latency: state within messages has to get through.
        let is_slow = world.net.latency_ms_max > 1 || world.net.slow_machine.is_some();
        let narrow: &[&[usize]] = &[&[65_536], &[65_536], &[1_460, 65_536], &[64, 1_460, 65_536]];
        world.net.buffer_bytes = if is_slow { vec![65_536] } else { calmer.pick(narrow).to_vec() };
        world.disk.latency_ms_max = calmer.pick(&[1, 3, 20]);
        let facts = JobFacts { input_bytes: 0, job_ms: plan.duration_ms(), ids: plan.ids() };
        let cluster = ClusterPlan::draw(&mut stream("cluster-plan"), &facts, &world);
        if cluster.poison.is_some() {
            plan = plan.with_map_first();
        }
        let engine = engine_of(&mut stream("engine"), 0, Interference::None);
        let job = JobPlan::Elements(plan);
        Self { seed, engine, job, world, interference: Interference::None, lives: None, cluster: Some(cluster) }
    }

    /// The same job on the same input, with another engine and another world, and without interference but a silence, which is part of the input. The
    /// results must be the same if no record can be late.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        let seed = SplitMix::stream(self.seed, "scenario/elsewhere").next_u64();
        let is_silent = matches!(self.interference, Interference::Silence { .. });
        let interference = if is_silent { self.interference } else { Interference::None };
        let engine = engine_of(&mut SplitMix::stream(seed, "engine"), self.job.input_bytes(), interference);
        let mut world = world_of(seed);
        world.trace_events_kept = self.world.trace_events_kept;
        Self { seed: self.seed, job: self.job.clone(), engine, world, interference, lives: None, cluster: None }
    }

    /// The shape under which such jobs are counted.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match &self.job {
            _ if self.cluster.is_some() => "elements in a cluster",
            JobPlan::Flights(_) if self.lives.is_some() => "flights with lives",
            JobPlan::Elements(_) if self.lives.is_some() => "elements with lives",
            JobPlan::Flights(plan) if plan.is_real => "flights, real rows",
            JobPlan::Flights(_) => "flights, generated rows",
            JobPlan::Elements(plan) => plan.shape(),
        }
    }
}

/// A world with budgets for a small scenario: most take a hundredth of them. The most expensive of twenty thousand, a job of many small blocks that takes a
/// checkpoint every millisecond on a slow disk, took a third of the polls; a job that saves its state by single entries, checkpoint after checkpoint, did
/// not rest for hundreds of thousands. A silence takes half of the time.
fn world_of(seed: u64) -> WorldConfig {
    WorldConfig { polls_max: 4_000_000, polls_without_rest_max: 1_000_000, virtual_time_ms_max: 1_200_000, ..WorldConfig::random(seed) }
}

fn engine_of(stream: &mut SplitMix, input_bytes: usize, interference: Interference) -> EnginePlan {
    let mut engine = EnginePlan::draw(stream, input_bytes);
    if matches!(interference, Interference::Silence { .. }) {
        // Metrics every few milliseconds over many minutes would cost more than the job.
        engine.settings.metrics_interval_ms = engine.settings.metrics_interval_ms.max(1_000);
    }
    engine
}

impl JobPlan {
    /// The folders of the job's results.
    pub(crate) fn result_folders(&self) -> Vec<String> {
        match self {
            Self::Flights(_) => OUTPUTS.map(str::to_owned).to_vec(),
            Self::Elements(plan) => {
                let names = ["elements", "running", "tallies", "late-tallies", "timers", "late", "windows", "second-late"];
                let shared = (0..plan.shared_streams()).map(|number| format!("shared-{number}"));
                names.into_iter().map(str::to_owned).chain(shared).map(|name| format!("{RESULTS}/{name}")).collect()
            }
        }
    }

    fn input_bytes(&self) -> usize {
        match self {
            Self::Flights(plan) => plan.input_bytes(),
            Self::Elements(_) => 0,
        }
    }

    /// Bytes on the disk before the job runs.
    fn disk_bytes(&self) -> u64 {
        match self {
            Self::Flights(plan) => {
                (plan.input_bytes() + plan.before_files().iter().map(|(_, content)| content.len()).sum::<usize>()) as u64
            }
            Self::Elements(_) => 0,
        }
    }
}
