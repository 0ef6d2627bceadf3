//! The numbers of a job: what it does with its time, what waits where, what checkpoints cost.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::GeneratorSource;
use thalweg::{CheckpointConfig, JobHandle, JobMetrics, Metric, MetricKind, MetricScope, RestartStrategy, StreamExecutionEnvironment};

/// A source that is as fast as it can be before a task that takes 50 us per record.
fn uneven(env: &StreamExecutionEnvironment, records: u64) -> thalweg::Collected<u64> {
    let numbers = env.source(GeneratorSource::new(records, |i| i)).rebalance();
    numbers.map(|n| (0..20_000).fold(n, |n, i| std::hint::black_box(n ^ i) ^ i)).filter(|n| n % 1_000 == 0).collect()
}

fn wait_until(handle: &JobHandle, what: impl Fn(&JobMetrics) -> bool) -> JobMetrics {
    loop {
        let metrics = handle.metrics();
        if what(&metrics) {
            return metrics;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of<'a>(metrics: &'a JobMetrics, task: &'a str, name: &'a str) -> impl Iterator<Item = &'a Metric> {
    metrics.iter().filter(move |metric| metric.scope == MetricScope::Task && metric.operator.starts_with(task) && metric.name == name)
}

fn most(metrics: &JobMetrics, task: &str, name: &str) -> i64 {
    of(metrics, task, name).map(|metric| metric.value).max().unwrap_or(i64::MIN)
}

#[test]
fn a_slow_task_is_busy_and_the_one_above_it_back_pressured() {
    let env = StreamExecutionEnvironment::new();
    drop(uneven(&env, u64::MAX));
    let handle = env.execute("uneven", 2).unwrap();
    // What is asked for while the job runs: the shares of the latest second.
    let is_uneven = |metrics: &JobMetrics| {
        most(metrics, "generator", "backPressuredTimeMsPerSecond") > 500 && most(metrics, "map", "busyTimeMsPerSecond") > 500
    };
    let metrics = wait_until(&handle, is_uneven);
    assert_eq!(most(&metrics, "map", "backPressuredTimeMsPerSecond"), 0, "there is nothing below it: {metrics:?}");
    let metrics = wait_until(&handle, |metrics| {
        of(metrics, "map", "inputQueueLength").count() == 4 && metrics.sum("map -> filter -> collect", "inputQueueLength") >= 8
    });
    let queues: Vec<_> = of(&metrics, "map", "inputQueueLength").map(|metric| (metric.subtask, metric.channel, metric.kind)).collect();
    let queue = |subtask, channel| (subtask, Some(channel), MetricKind::Gauge);
    assert_eq!(queues, [queue(0, 0), queue(0, 1), queue(1, 0), queue(1, 1)], "each of the two subtasks hears both of the others");
    assert!(metrics.total("numCreditWaits") > 0);
    handle.cancel();
    assert!(handle.wait().is_err());
}

#[test]
fn an_idle_task_is_idle() {
    let env = StreamExecutionEnvironment::new();
    env.set_source_rate(Some(10));
    env.source(GeneratorSource::unbounded(|i| i)).rebalance().map(|n| n + 1).collect();
    let handle = env.execute("idle", 1).unwrap();
    let is_idle = |metrics: &JobMetrics| ["generator", "map"].iter().all(|task| most(metrics, task, "idleTimeMsPerSecond") > 800);
    let metrics = wait_until(&handle, is_idle);
    for task in ["generator", "map"] {
        assert_eq!(most(&metrics, task, "accumulateBackPressuredTimeMs"), 0);
    }
    handle.stop();
    handle.wait().unwrap();
}

#[test]
fn what_one_task_hands_over_the_next_one_takes_and_all_time_is_accounted_for() {
    let env = StreamExecutionEnvironment::new();
    // The map is slow, and would be sent small frames (docs/src/semantics.md#b-1).
    let whole_frames = thalweg::EngineSettings::default().initial_window_records(1 << 20).buffer_debloat_target_ms(60_000);
    env.set_engine_settings(whole_frames);
    let out = uneven(&env, 20_000);
    let report = env.execute("uneven", 2).unwrap().wait().unwrap();
    drop(out);
    let metrics = &report.metrics;
    assert_eq!((metrics.total("numRecordsOutOfTask"), metrics.total("numRecordsIn")), (20_000, 20_000));
    let frames = metrics.total("numBuffersOut");
    // Frames of 1,024 records, but for the last ones, and those of a source that starts slowly.
    assert!((20..2_000).contains(&frames), "{frames}");
    for subtask in 0..2 {
        let time = |task, name| of(metrics, task, name).find(|metric| metric.subtask == subtask).map_or(0, |metric| metric.value);
        for task in ["generator", "map"] {
            let kinds = ["accumulateBusyTimeMs", "accumulateIdleTimeMs", "accumulateBackPressuredTimeMs"];
            let accounted: i64 = kinds.iter().map(|kind| time(task, kind)).sum();
            let elapsed = report.elapsed.as_millis() as i64;
            assert!((elapsed / 2..=elapsed + 1).contains(&accounted), "{task}: {accounted} ms of {elapsed} ms");
        }
    }
    assert_eq!((metrics.total("numRestarts"), metrics.total("numberOfCompletedCheckpoints")), (0, 0));
}

#[test]
fn checkpoints_tell_their_number_size_and_duration() {
    let dir = TempDir::new().unwrap();
    let env = StreamExecutionEnvironment::new();
    env.set_source_rate(Some(2_000));
    env.enable_checkpointing(CheckpointConfig::new(dir.path()).interval(Some(Duration::from_millis(20))));
    env.source(GeneratorSource::unbounded(|i| i)).key_by::<u64>(|n| *n % 100).reduce(|a, b| a + b).collect();
    let handle = env.execute("sums", 2).unwrap();
    let metrics = wait_until(&handle, |metrics| metrics.total("numberOfCompletedCheckpoints") >= 3);
    // Two sums of eight bytes for each of a hundred keys, and what else there is.
    assert!(metrics.total("lastCheckpointSize") > 800, "{metrics:?}");
    assert!((0..60_000).contains(&metrics.total("lastCheckpointDuration")));
    let metrics = wait_until(&handle, |metrics| of(metrics, "reduce", "checkpointAlignmentTime").all(|metric| metric.value >= 0));
    assert!(most(&metrics, "reduce", "checkpointAlignmentTime") < 60_000_000_000);
    handle.stop_with_checkpoint();
    let report = handle.wait().unwrap();
    assert_eq!(report.metrics.total("numberOfCompletedCheckpoints"), report.checkpoints as i64);
}

#[test]
fn restarts_are_counted_and_the_numbers_of_an_attempt_begin_anew() {
    let env = StreamExecutionEnvironment::new();
    env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: 2, delay: Duration::ZERO });
    env.source(GeneratorSource::new(100, |i| if i == 50 { panic!("at fifty") } else { i })).collect();
    let handle = env.execute("failing", 1).unwrap();
    let control = handle.control();
    assert!(handle.wait().is_err());
    let metrics = control.metrics();
    assert_eq!(metrics.total("numRestarts"), 2);
    assert!(metrics.sum("generator", "numRecordsOut") <= 50, "those of the last attempt: {metrics:?}");
}
