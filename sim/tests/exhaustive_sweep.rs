//! A tiny job is killed at every operation of the disk, in every way, and started again: what it has shown in the end is exact, and nothing is left over. So it
//! is if the disk is full at any operation.
//!
//! The job reads a few records, keeps a running sum for each key, and shows it in files; some checkpoints come between the records, each of which may write
//! all of the state or add to the one before, and the last one at their end. It dies after each operation was submitted, and after each was done: by the death of the process, and by a power loss with every
//! subset of the unsynced pieces surviving, up to [`ALL_SUBSETS_OF`] pieces; of more, every subset that lacks at most two pieces or has at most two.
//!
//! In a debug build some of the operations have to do.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use thalweg::connectors::{CollectionSource, FileSink};
use thalweg::{
    AggregateFunction, CheckpointConfig, EngineSettings, JobEnding, JobError, JobReport, RestartStrategy, StreamExecutionEnvironment,
};
use thalweg_io::ProbeEvent;
use thalweg_sim::{
    CrashStyle, DiskFault, DiskFaultKind, Ending, IncarnationEnd, KillKind, KillPlan, KillPoint, Oracle, SimCores, Violation, World,
    WorldConfig,
};

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

/// The variants of the job.
#[derive(Clone, Copy, Debug)]
struct Tiny {
    /// Its records: keys, and what is added to their sums.
    records: &'static [(u64, u64)],
    /// State up to this size is stored with the metadata.
    inline_bytes_max: usize,
    /// Whether checkpoints add to earlier ones, however much has changed.
    adds: bool,
}

/// Two checkpoints come before the end.
const SHORT: Tiny = Tiny { records: &[(1, 5), (2, 7), (1, 11)], inline_bytes_max: 0, adds: false };

/// Of six checkpoints before the end five add to the first.
const ADDING: Tiny = Tiny { records: &[(1, 5), (2, 7), (1, 11), (3, 2), (2, 1), (1, 1), (4, 9), (1, 3)], inline_bytes_max: 0, adds: true };

impl Tiny {
    /// What is to be seen in the end.
    fn lines(self) -> Vec<String> {
        let mut sums = BTreeMap::new();
        let sum_of = |(key, value): &(u64, u64)| {
            let sum = sums.entry(*key).or_insert(0);
            *sum += value;
            format!("{key},{sum}")
        };
        let mut lines: Vec<String> = self.records.iter().map(sum_of).collect();
        lines.sort();
        lines
    }
}

/// How often a subtask has named files of earlier checkpoints; and how often one of those had been given up.
#[derive(Clone, Default)]
struct Added {
    added: Rc<Cell<u64>>,
    to_given_up: Rc<Cell<u64>>,
    given_up: BTreeSet<i64>,
    acknowledged: BTreeMap<String, Vec<i64>>,
}

impl Oracle for Added {
    fn name(&self) -> &'static str {
        "added"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        match (event.name, event.values) {
            ("checkpoint.give-up", [checkpoint, ..]) => drop(self.given_up.insert(checkpoint)),
            ("checkpoint.acknowledge", [checkpoint, files, _]) => {
                let acknowledged = self.acknowledged.entry(event.place.to_owned()).or_default();
                acknowledged.push(checkpoint);
                let earlier: Vec<&i64> = acknowledged.iter().rev().take(usize::try_from(files).unwrap()).skip(1).collect();
                self.added.set(self.added.get() + u64::from(!earlier.is_empty()));
                self.to_given_up.set(self.to_given_up.get() + u64::from(earlier.iter().any(|of| self.given_up.contains(of))));
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}

async fn live(cores: SimCores, tiny: Tiny) -> Result<JobReport, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1);
    // A record every 10 ms.
    env.set_source_rate(Some(100));
    let mut config = CheckpointConfig::new(CHECKPOINTS).interval(Duration::from_millis(INTERVAL_MS));
    config.inline_bytes_max = tiny.inline_bytes_max;
    env.enable_checkpointing(config);
    env.set_restart_strategy(RestartStrategy::None);
    env.set_engine_settings(EngineSettings::default().state_changes_percent_max(if tiny.adds { 1_000 } else { 1 }));
    env.source(CollectionSource::new(tiny.records.to_vec())).key_by::<u64>(|(key, _)| *key).aggregate(Sum, |key, sum| (key, sum)).sink(
        FileSink::<(u64, u64)>::csv(OUTPUT, |(key, sum), row| {
            row.field(key).field(sum);
        }),
    );
    env.execute_on("tiny", &cores, 1)?.await
}

/// What is wrong with what is left, if anything is.
fn fault(world: &World, tiny: Tiny) -> Option<String> {
    let mut lines = vec![];
    for (name, content) in world.disk().files(OUTPUT).unwrap_or_default() {
        if name.starts_with('.') {
            return Some(format!("{name} is left over"));
        }
        lines.extend(String::from_utf8(content).unwrap().lines().map(str::to_owned));
    }
    lines.sort();
    if lines != tiny.lines() {
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
fn dead(kill: KillPlan, tiny: Tiny) -> World {
    let world = World::new(7, WorldConfig::calm());
    let outcome = world.run_incarnation(Some(kill), move |cores| live(cores, tiny));
    assert!(matches!(outcome.ending, Ending::Done(IncarnationEnd::Killed(_))), "{kill:?}: {outcome}");
    world
}

/// Lives on in `world` to the end, and once more.
fn comes_to_its_end(world: &World, tiny: Tiny, what: &str) {
    for number in 0..2 {
        let report = world.run(move |cores| live(cores, tiny)).expect_done();
        let report = report.unwrap_or_else(|error| panic!("{what}, run {number} after it: {error}"));
        assert!(number == 0 || report.ending == JobEnding::AlreadyFinished, "{what}: {:?}", report.ending);
        if let Some(fault) = fault(world, tiny) {
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

/// A world in which nobody dies, and how many checkpoints were completed there, and added to earlier ones.
fn whole_life(tiny: Tiny) -> (World, u64, u64) {
    let (whole, added) = (World::new(7, WorldConfig::calm()), Added::default());
    whole.watch(added.clone());
    let report = whole.run(move |cores| live(cores, tiny)).expect_done().unwrap();
    assert_eq!((report.ending, fault(&whole, tiny)), (JobEnding::Finished, None), "it took {:?}", report.elapsed);
    (whole, report.checkpoints, added.added.get())
}

/// `stride`: how many operations are passed over in a debug build, for one that is looked at, and that one.
fn sweep(tiny: Tiny, checkpoints: u64, adding: u64, stride: usize) {
    let (whole, taken, added) = whole_life(tiny);
    assert_eq!((taken, added), (checkpoints, adding));
    assert!(whole.disk().model().list(Path::new(OUTPUT)).unwrap().len() >= 2, "several epochs have results");
    let operations = whole.disk().operations();
    let stride = if cfg!(debug_assertions) { stride } else { 1 };
    let (mut cases, mut most_pieces) = (0, 0);
    for operation in (0..operations).step_by(stride) {
        for at in [KillPoint::Submitted { operation }, KillPoint::Done { operation }] {
            let world = dead(KillPlan { at, kind: KillKind::Process }, tiny);
            let pieces = world.disk().model().unsynced_pieces();
            comes_to_its_end(&world, tiny, &format!("killed at {at:?}"));
            cases += 1;
            most_pieces = most_pieces.max(pieces);
            for survivors in subsets(pieces) {
                let kill = KillPlan::power_loss(at, CrashStyle::Subset(survivors));
                comes_to_its_end(&dead(kill, tiny), tiny, &format!("{kill:?} of {pieces} pieces"));
                cases += 1;
            }
        }
    }
    println!("{operations} operations, {cases} cases, {most_pieces} unsynced pieces at most");
    assert!(operations > 60 && cases > 100, "{operations} operations, {cases} cases");
}

#[test]
fn a_tiny_job_with_state_in_files_survives_every_death() {
    sweep(SHORT, 3, 0, 7);
}

#[test]
fn a_tiny_job_with_state_in_the_metadata_survives_every_death() {
    sweep(Tiny { inline_bytes_max: 1 << 20, ..SHORT }, 3, 0, 7);
}

#[test]
fn a_tiny_job_whose_checkpoints_add_to_each_other_survives_every_death() {
    sweep(ADDING, 7, 5, 31);
}

/// A checkpoint is given up, and the next one adds to what was stored for it.
#[test]
fn a_tiny_job_whose_checkpoints_add_to_each_other_waits_for_room_at_every_operation() {
    let (whole, ..) = whole_life(ADDING);
    let mut to_given_up = 0;
    for operation in 0..whole.disk().operations() {
        let (world, added) = (World::new(7, WorldConfig::calm()), Added::default());
        world.watch(added.clone());
        world.disk().plan_fault(DiskFault::at(operation, DiskFaultKind::Full));
        let lived = world.run(move |cores| live(cores, ADDING)).expect_done();
        to_given_up += added.to_given_up.get();
        match fault(&world, ADDING) {
            // From here on the job only tidies up.
            Some(fault) if fault.ends_with("is left over") && lived.is_ok() => break,
            Some(fault) if lived.is_ok() => panic!("no room at {operation}: {fault}"),
            _ => {}
        }
        comes_to_its_end(&world, ADDING, &format!("no room at {operation}"));
    }
    assert!(to_given_up > 0);
}
