//! Subtasks that are told different watermarks at one checkpoint, and are restored as one: a window that had fired in one of them and not in the other is due
//! where it is restored, and fires there for the keys of the other, before any watermark comes (docs/src/semantics.md#c-5).
//!
//! It takes an input that is idle now and then and behind the other: while it is active the watermark waits for it, and which subtask has heard of that before
//! the other input's watermark has come differs.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use thalweg::connectors::{CollectionSource, FileSink};
use thalweg::{
    AggregateFunction, CheckpointConfig, EngineSettings, JobError, JobReport, RestartStrategy, StreamExecutionEnvironment,
    TumblingEventTimeWindows, WatermarkStrategy,
};
use thalweg_io::ProbeEvent;
use thalweg_sim::oracles::Windows;
use thalweg_sim::scenario::elements_plan::WindowPlan;
use thalweg_sim::{KillKind, KillPlan, KillPoint, Oracle, SimCores, Violation, World, WorldConfig};

const OUTPUT: &str = "/out";
const WINDOW: &str = "pairs";
const KEYS: i64 = 16;

#[derive(Clone)]
struct Count;

impl AggregateFunction<i64> for Count {
    type Accumulator = u64;
    type Output = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _value: i64, count: &mut u64) {
        *count += 1;
    }

    fn merge(&self, other: u64, count: &mut u64) {
        *count += other;
    }

    fn get_result(&self, count: &u64) -> u64 {
        *count
    }
}

/// Counts the windows that fire for all their keys at the watermark with which their task was restored.
struct Due {
    restored: BTreeMap<String, i64>,
    fired: Rc<Cell<u32>>,
}

impl Oracle for Due {
    fn name(&self) -> &str {
        "due"
    }

    fn observe(&mut self, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        match (event.name, event.values) {
            ("task.start", [_, _, watermark]) => {
                self.restored.insert(event.place.to_owned(), watermark);
            }
            ("window.fire", [_, watermark, _]) if self.restored.get(event.place) == Some(&watermark) => {
                self.fired.set(self.fired.get() + 1);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}

/// The job at a parallelism: two times, of which one is behind and pauses, and the number of records in each pair of milliseconds.
async fn live(cores: SimCores, parallelism: usize) -> Result<JobReport, JobError> {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env.enable_checkpointing(CheckpointConfig::new("/state").interval(Duration::from_millis(3)));
    env.set_restart_strategy(RestartStrategy::None);
    env.set_engine_settings(EngineSettings::default().source_batch_records(1).frame_records(1));
    env.set_source_rate(Some(1_000));
    let ahead = env.source(CollectionSource::new((0..220).map(|n| 2 * n).collect::<Vec<i64>>())).uid("ahead");
    let ahead = ahead.assign_timestamps_and_watermarks(WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|at| at));
    env.set_source_rate(Some(500));
    let behind = env.source(CollectionSource::new((0..60).collect::<Vec<i64>>())).uid("behind");
    let pausing = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|at| at).with_idleness(Duration::from_millis(1));
    let behind = behind.assign_timestamps_and_watermarks(pausing);
    let counts = ahead
        .union(behind)
        .key_by::<i64>(|at| at % KEYS)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(2)))
        .allowed_lateness(Duration::from_secs(10))
        .aggregate(Count, |key, window, count| (key, window.start, count))
        .name(WINDOW)
        .uid(WINDOW);
    counts.sink(FileSink::<(i64, i64, u64)>::csv(OUTPUT, |(key, start, count), row| {
        row.field(key).field(start).field(count);
    }));
    env.execute_on("unequal", &cores, 2)?.await
}

/// The last count of each key and window that is shown.
fn shown(world: &World) -> BTreeMap<(i64, i64), u64> {
    let mut counts = BTreeMap::new();
    for (name, content) in world.disk().files(OUTPUT).unwrap_or_default() {
        for line in String::from_utf8(content).unwrap().lines().filter(|_| !name.starts_with('.')) {
            let fields: Vec<i64> = line.split(',').map(|field| field.parse().unwrap()).collect();
            let count = counts.entry((fields[0], fields[1])).or_insert(0);
            *count = (*count).max(fields[2] as u64);
        }
    }
    counts
}

fn expected() -> BTreeMap<(i64, i64), u64> {
    let mut counts = BTreeMap::new();
    (0..220).map(|n| 2 * n).chain(0..60).for_each(|at| *counts.entry((at % KEYS, at - at % 2)).or_insert(0) += 1);
    counts
}

#[test]
fn a_window_that_is_due_for_some_of_its_keys_fires_where_it_is_restored() {
    let fired = Rc::new(Cell::new(0));
    for seed in 0..40 {
        let mut config = WorldConfig::calm();
        config.poll_cost_ns_max = 100_000;
        let world = World::new(seed, config);
        let plan = WindowPlan { size_ms: 2, slide_ms: None, offset_ms: 0, lateness_ms: 10_000 };
        world.watch_each(move || Windows::new(BTreeMap::from([(WINDOW, plan)])));
        let due = Rc::clone(&fired);
        world.watch_each(move || Due { restored: BTreeMap::new(), fired: Rc::clone(&due) });
        let kill = |operation| Some(KillPlan { at: KillPoint::Done { operation }, kind: KillKind::Process });
        // Many and few in turn, the last to the end.
        for (life, parallelism) in [4, 1, 5, 1, 3, 1].into_iter().enumerate() {
            let operation = 60 + (seed * 37 + life as u64 * 71) % 90;
            world.run_incarnation(kill(operation), move |cores| live(cores, parallelism)).expect_done();
        }
        world.run(|cores| live(cores, 1)).expect_done().unwrap();
        assert_eq!(shown(&world), expected(), "seed {seed}");
    }
    assert!(fired.get() > 4, "{} windows were due", fired.get());
}
