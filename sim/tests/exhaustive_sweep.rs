//! A tiny job is killed at every operation of the disk, in every way, and started again: what it has shown in the end is exact, and nothing is left over.
//!
//! The job reads three records, keeps a running sum for each key, and shows it in files; two checkpoints come between the records and the last one at
//! their end. It dies after each operation was submitted, and after each was done: by the death of the process, and by a power loss with every
//! subset of the unsynced pieces surviving, up to [`ALL_SUBSETS_OF`] pieces; of more, every subset that lacks at most two pieces or has at most two.
//!
//! In a debug build every seventh operation has to do.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;
use thalweg::connectors::{CollectionSource, FileSink};
use thalweg::{AggregateFunction, CheckpointConfig, JobEnding, JobError, JobReport, RestartStrategy, StreamExecutionEnvironment};
use thalweg_sim::{CrashStyle, Ending, IncarnationEnd, KillKind, KillPlan, KillPoint, SimCores, World, WorldConfig};

/// Pieces of which every subset is tried.
const ALL_SUBSETS_OF: usize = 10;

/// Time from one checkpoint to the next.
const INTERVAL_MS: u64 = 15;

const CHECKPOINTS: &str = "/state";
const OUTPUT: &str = "/out";

#[derive(Clone)]
struct Sum;

impl AggregateFunction<(u64, u64)> for Sum {
    type Accumulator = u64;
    type Output = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, (_, value): (u64, u64), sum: &mut u64) {
        *sum += value;
    }

    fn merge(&self, other: u64, sum: &mut u64) {
        *sum += other;
    }

    fn get_result(&self, sum: &u64) -> u64 {
        *sum
    }
}

async fn live(cores: SimCores, inline_bytes_max: usize) -> Result<JobReport, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1);
    // A record every 10 ms: two checkpoints come before the end.
    env.set_source_rate(Some(100));
    let mut config = CheckpointConfig::new(CHECKPOINTS).interval(Duration::from_millis(INTERVAL_MS));
    config.inline_bytes_max = inline_bytes_max;
    env.enable_checkpointing(config);
    env.set_restart_strategy(RestartStrategy::None);
    env.source(CollectionSource::new(vec![(1u64, 5u64), (2, 7), (1, 11)]))
        .key_by::<u64>(|(key, _)| *key)
        .aggregate(Sum, |key, sum| (key, sum))
        .sink(FileSink::<(u64, u64)>::csv(OUTPUT, |(key, sum), row| {
            row.field(key).field(sum);
        }));
    env.execute_on("tiny", &cores, 1)?.await
}

/// What is to be seen in the end.
const LINES: [&str; 3] = ["1,16", "1,5", "2,7"];

/// What is wrong with what is left, if anything is.
fn fault(world: &World) -> Option<String> {
    let mut lines = vec![];
    for (name, content) in world.disk().files(OUTPUT).unwrap_or_default() {
        if name.starts_with('.') {
            return Some(format!("{name} is left over"));
        }
        lines.extend(String::from_utf8(content).unwrap().lines().map(str::to_owned));
    }
    lines.sort();
    if lines != LINES {
        return Some(format!("it has shown {lines:?}"));
    }
    let names: Vec<String> = world.disk().files(CHECKPOINTS).unwrap().into_iter().map(|(name, _)| name).collect();
    let metadata = names.iter().filter(|name| name.ends_with(".metadata")).count();
    let newest = names.iter().filter_map(|name| name.strip_suffix(".entry")).max().unwrap_or_default();
    let head = format!("{newest}.head");
    // Every subtask has ended: the last checkpoint has no state.
    let stranger = names.iter().find(|name| !name.ends_with(".entry") && !name.ends_with(".metadata") && **name != head);
    match stranger {
        Some(name) => Some(format!("{name} is left over")),
        None => (metadata != 1).then(|| format!("{metadata} checkpoints are retained")),
    }
}

/// Dies by `kill` in a new world.
fn dead(kill: KillPlan, inline_bytes_max: usize) -> World {
    let world = World::new(7, WorldConfig::calm());
    let outcome = world.run_incarnation(Some(kill), move |cores| live(cores, inline_bytes_max));
    assert!(matches!(outcome.ending, Ending::Done(IncarnationEnd::Killed(_))), "{kill:?}: {outcome}");
    world
}

/// Lives on in `world` to the end, and once more.
fn comes_to_its_end(world: &World, inline_bytes_max: usize, what: &str) {
    for number in 0..2 {
        let report = world.run(move |cores| live(cores, inline_bytes_max)).expect_done();
        let report = report.unwrap_or_else(|error| panic!("{what}, run {number} after it: {error}"));
        assert!(number == 0 || report.ending == JobEnding::AlreadyFinished, "{what}: {:?}", report.ending);
        if let Some(fault) = fault(world) {
            panic!("{what}, run {number} after it: {fault}");
        }
    }
}

/// The subsets that are tried of so many pieces.
fn subsets(pieces: usize) -> Vec<u64> {
    let pieces = pieces.min(63) as u32;
    let all = (1u64 << pieces) - 1;
    if pieces as usize <= ALL_SUBSETS_OF {
        return (0..=all).collect();
    }
    let mut subsets = vec![0, all];
    for one in 0..pieces {
        for other in one..pieces {
            let few = 1 << one | 1 << other;
            subsets.extend([few, all & !few]);
        }
    }
    subsets.sort_unstable();
    subsets.dedup();
    subsets
}

fn sweep(inline_bytes_max: usize) {
    let whole = World::new(7, WorldConfig::calm());
    let report = whole.run(move |cores| live(cores, inline_bytes_max)).expect_done().unwrap();
    assert_eq!((report.ending, report.checkpoints), (JobEnding::Finished, 3), "it took {:?}", report.elapsed);
    assert_eq!(fault(&whole), None);
    assert!(whole.disk().model().list(Path::new(OUTPUT)).unwrap().len() >= 2, "several epochs have results");
    let operations = whole.disk().operations();
    let stride = if cfg!(debug_assertions) { 7 } else { 1 };
    let (mut cases, mut most_pieces) = (0, 0);
    for operation in (0..operations).step_by(stride) {
        for at in [KillPoint::Submitted { operation }, KillPoint::Done { operation }] {
            let world = dead(KillPlan { at, kind: KillKind::Process }, inline_bytes_max);
            let pieces = world.disk().model().unsynced_pieces();
            comes_to_its_end(&world, inline_bytes_max, &format!("killed at {at:?}"));
            cases += 1;
            most_pieces = most_pieces.max(pieces);
            for survivors in subsets(pieces) {
                let kill = KillPlan::power_loss(at, CrashStyle::Subset(survivors));
                comes_to_its_end(&dead(kill, inline_bytes_max), inline_bytes_max, &format!("{kill:?} of {pieces} pieces"));
                cases += 1;
            }
        }
    }
    println!("{operations} operations, {cases} cases, {most_pieces} unsynced pieces at most");
    assert!(operations > 60 && cases > 100, "{operations} operations, {cases} cases");
}

#[test]
fn a_tiny_job_with_state_in_files_survives_every_death() {
    sweep(0);
}

#[test]
fn a_tiny_job_with_state_in_the_metadata_survives_every_death() {
    sweep(1 << 20);
}
