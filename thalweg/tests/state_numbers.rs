//! What the numbers of a job say of its state: how much each operator holds.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    Context, EngineSettings, KeyedProcessFunction, ListState, MapState, OpenContext, Output, StreamExecutionEnvironment,
    TumblingEventTimeWindows, ValueState, WatermarkStrategy,
};

#[test]
fn a_running_aggregate_has_one_entry_per_key_when_the_job_has_ended() {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(3);
    // Numbers are gathered at the end only.
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(3_600_000));
    env.from_collection((0..1_000u64).collect()).key_by::<u64>(|n| n % 70).reduce(|a, b| a + b).for_each(|_| ());
    let report = env.execute("sums", 2).unwrap().wait().unwrap();
    let metrics = &report.metrics;
    assert_eq!((metrics.sum("reduce", "numStateEntries"), metrics.total("numStateEntries")), (70, 70));
    // A key, a sum, and whether there is one: 24 bytes each at least.
    assert!((70 * 24..1 << 20).contains(&metrics.sum("reduce", "stateTableBytes")), "{metrics:?}");
    assert_eq!(metrics.iter().filter(|metric| metric.name == "numStateEntries").count(), 3, "one for each subtask");
    assert_eq!(metrics.iter().filter(|metric| metric.name.starts_with("lastCheckpointState")).count(), 0, "there was none");
}

/// Remembers in each kind of state, and sets a timer.
#[derive(Clone, Default)]
struct Everything {
    last: ValueState<u64>,
    all: ListState<u64>,
    tens: MapState<u64, u64>,
}

/// In the year 2096.
const FAR_MS: i64 = 4_000_000_000_000;

impl KeyedProcessFunction for Everything {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        self.last = ctx.value_state("last");
        self.all = ctx.list_state("all");
        self.tens = ctx.map_state("tens");
    }

    fn process_element(&mut self, n: u64, ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {
        ctx.value(self.last).set(n);
        ctx.list(self.all).add(n);
        ctx.map(self.tens).put(n / 10, n);
        ctx.register_processing_time_timer(FAR_MS);
        if ctx.key() == 3 {
            ctx.value(self.last).clear();
        }
    }
}

#[test]
fn values_lists_maps_and_timers_are_entries_of_their_keys() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection((0..100u64).collect()).key_by::<u64>(|n| n % 10).process(Everything::default()).name("everything").for_each(|_| ());
    let report = env.execute("everything", 1).unwrap().wait().unwrap();
    // Ten keys have a short list, a map of ten entries and a timer each, and nine a value.
    assert_eq!(report.metrics.sum("everything", "numStateEntries"), 129);
    assert!(report.metrics.sum("everything", "stateTableBytes") > 129 * 16);
}

#[test]
fn windows_hold_entries_until_they_are_over() {
    let env = StreamExecutionEnvironment::new();
    env.set_source_rate(Some(5_000));
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(5));
    let strategy =
        WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(3_600)).with_timestamp_assigner(|n: u64| n as i64 % 2_000);
    env.source(GeneratorSource::unbounded(|n| n))
        .assign_timestamps_and_watermarks(strategy)
        .key_by::<u64>(|n| n % 7)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .reduce(|a, b| a.max(b))
        .for_each(|_| ());
    let handle = env.execute("windows", 2).unwrap();
    let held = |metrics: &thalweg::JobMetrics| metrics.total("numStateEntries");
    // Two windows of seven keys; no watermark ends them before the input does.
    let mut most = 0;
    for _ in 0..12_000 {
        most = held(&handle.metrics());
        if most >= 14 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(most, 14);
    handle.stop();
    assert_eq!(held(&handle.wait().unwrap().metrics), 0);
}
