//! A job whose state grows, is cleared and is used again is killed at every operation of the disk, and started again: what was removed does not come back, and
//! nothing else is lost. Its checkpoints add to earlier ones in files, and to none when little is left: then they go into the metadata.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::time::Duration;
use thalweg::connectors::{CollectionSource, FileSink};
use thalweg::{
    CheckpointConfig, Context, EngineSettings, JobEnding, JobError, JobReport, KeyedProcessFunction, OpenContext, Output, RestartStrategy,
    StreamExecutionEnvironment, ValueState,
};
use thalweg_sim::{DiskFault, DiskFaultKind, Ending, IncarnationEnd, KillKind, KillPlan, KillPoint, SimCores, World, WorldConfig};

const OUTPUT: &str = "/out";

/// Keeps the sum of each key; zero clears it.
#[derive(Clone, Default)]
struct Sums {
    sum: ValueState<u64>,
}

impl KeyedProcessFunction for Sums {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        self.sum = ctx.value_state("sum");
    }

    fn process_element(&mut self, (key, value): (u64, u64), ctx: &mut Context<'_, u64>, out: &mut Output<(u64, u64)>) {
        if value == 0 {
            ctx.value(self.sum).take();
            return out.collect((key, 0));
        }
        let state = ctx.value(self.sum);
        let sum = state.get_or_insert_with(|| 0);
        *sum += value;
        let sum = *sum;
        out.collect((key, sum));
    }
}

/// Many keys; nearly all of them cleared; and some of these again, beside those that were left.
fn records() -> Vec<(u64, u64)> {
    let again = (0..120).map(|n| if n % 3 == 0 { (1 + n, 5) } else { (119 + n % 2, 1) });
    (1..=120).map(|key| (key, 10 + key)).chain((1..=118).map(|key| (key, 0))).chain(again).collect()
}

/// What is to be seen in the end.
fn lines() -> Vec<String> {
    let mut sums = BTreeMap::new();
    let line = |(key, value): (u64, u64)| {
        let sum: &mut u64 = sums.entry(key).or_default();
        *sum = if value == 0 { 0 } else { *sum + value };
        format!("{key},{sum}")
    };
    let mut lines: Vec<String> = records().into_iter().map(line).collect();
    lines.sort();
    lines
}

async fn live(cores: SimCores) -> Result<JobReport, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1).set_source_rate(Some(2_000));
    let mut config = CheckpointConfig::new("/state").interval(Duration::from_millis(6));
    // Less than the table of 120 keys takes, and more than the image of a few.
    config.inline_bytes_max = 4_000;
    env.enable_checkpointing(config);
    env.set_restart_strategy(RestartStrategy::None);
    env.set_engine_settings(EngineSettings::default().source_batch_records(1));
    env.source(CollectionSource::new(records())).key_by::<u64>(|(key, _)| *key).process(Sums::default()).sink(FileSink::<(u64, u64)>::csv(
        OUTPUT,
        |(key, sum), row| {
            row.field(key).field(sum);
        },
    ));
    env.execute_on("shrinking", &cores, 1)?.await
}

fn shown(world: &World) -> Vec<String> {
    let files = world.disk().files(OUTPUT).unwrap_or_default();
    let shown = files.into_iter().filter(|(name, _)| !name.starts_with('.'));
    let mut lines: Vec<String> =
        shown.flat_map(|(_, content)| String::from_utf8(content).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// Dies after `operation`, if it comes so far, and lives on to the end. Returns whether it died.
fn dies_and_lives_on(world: &World, operation: u64, what: &str) -> bool {
    let kill = KillPlan { at: KillPoint::Done { operation }, kind: KillKind::Process };
    let outcome = world.run_incarnation(Some(kill), live);
    let has_died = matches!(outcome.ending, Ending::Done(IncarnationEnd::Killed(_)));
    world.run(live).expect_done().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(shown(world), lines(), "{what}");
    has_died
}

#[test]
fn a_job_whose_state_shrinks_and_grows_again_survives_every_death() {
    let whole = World::new(7, WorldConfig::calm());
    let report = whole.run(live).expect_done().unwrap();
    assert_eq!((report.ending, shown(&whole)), (JobEnding::Finished, lines()));
    assert!(report.checkpoints > 12, "{}", report.checkpoints);
    let stride = if cfg!(debug_assertions) { 5 } else { 1 };
    for operation in (0..whole.disk().operations()).step_by(stride) {
        assert!(dies_and_lives_on(&World::new(7, WorldConfig::calm()), operation, &format!("after a death at {operation}")));
    }
}

/// What a checkpoint has not stored is in the next one.
#[test]
fn a_job_whose_state_shrinks_and_grows_again_waits_for_room_and_dies() {
    let whole = World::new(7, WorldConfig::calm());
    whole.run(live).expect_done().unwrap();
    let operations = whole.disk().operations();
    let stride = if cfg!(debug_assertions) { 7 } else { 1 };
    // The first are those at the beginning of an attempt, which fails without room.
    let mut deaths = 0;
    for full in (60..operations * 8 / 10).step_by(stride) {
        for later in [30, 60, 90] {
            let world = World::new(7, WorldConfig::calm());
            world.disk().plan_fault(DiskFault::at(full, DiskFaultKind::Full));
            deaths +=
                u64::from(dies_and_lives_on(&world, full + later, &format!("no room at {full}, and a death {later} operations later")));
        }
    }
    assert!(deaths > 50, "{deaths}");
}
