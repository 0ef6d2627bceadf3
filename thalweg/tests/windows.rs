//! Event-time windows: watermarks and records in, results and late records out.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

mod common;

use common::{Event, EventRef, event, events, run, sorted};
use std::time::Duration;
use thalweg::connectors::CollectionSource;
use thalweg::{
    AggregateFunction, EngineSettings, OutputTag, SlidingEventTimeWindows, StreamExecutionEnvironment, TimeWindow,
    TumblingEventTimeWindows, WatermarkStrategy, WindowAssigner,
};

const LATE: OutputTag<Event> = OutputTag::new("late");

#[derive(Clone)]
struct Sum;

impl AggregateFunction<Event> for Sum {
    type Accumulator = i64;
    type Output = i64;

    fn create_accumulator(&self) -> i64 {
        0
    }

    fn add(&self, event: EventRef<'_>, sum: &mut i64) {
        *sum += event.value;
    }

    fn merge(&self, other: i64, sum: &mut i64) {
        *sum += other;
    }

    fn get_result(&self, sum: &i64) -> i64 {
        *sum
    }
}

/// Results as `key[start,end)=sum` and late records as `key@time`, each in the order of their emission.
fn windowed(assigner: impl WindowAssigner<Event>, lateness_ms: u64, input: Vec<Event>) -> (Vec<String>, Vec<String>) {
    let env = StreamExecutionEnvironment::new();
    let results = events(&env, input)
        .key_by::<String>(|event| event.key)
        .window(assigner)
        .allowed_lateness(Duration::from_millis(lateness_ms))
        .side_output_late_data(&LATE)
        .aggregate(Sum, |key, window, sum| format!("{key}[{},{})={sum}", window.start, window.end));
    let late = results.side_output(&LATE).map(|event| format!("{}@{}", event.key, event.at)).collect();
    let results = results.collect();
    run(env, 1);
    (results.take(), late.take())
}

fn tumbling(millis: u64) -> TumblingEventTimeWindows {
    TumblingEventTimeWindows::of(Duration::from_millis(millis))
}

#[test]
fn a_window_fires_when_the_watermark_reaches_its_last_millisecond() {
    let input = vec![
        event("a", 1, 1),
        event("b", 2, 10).then_watermark(8),
        event("a", 9, 2).then_watermark(9),
        event("a", 12, 4).then_watermark(18),
        event("b", 11, 20),
    ];
    let (results, late) = windowed(tumbling(10), 0, input);
    assert_eq!(results, ["a[0,10)=3", "b[0,10)=10", "a[10,20)=4", "b[10,20)=20"]);
    assert!(late.is_empty());
}

#[test]
fn a_record_is_late_when_the_watermark_has_reached_its_windows_last_millisecond() {
    let input = vec![event("a", 5, 1).then_watermark(8), event("a", 6, 2).then_watermark(9), event("a", 7, 4), event("a", 10, 8)];
    let (results, late) = windowed(tumbling(10), 0, input);
    assert_eq!((results, late), (vec!["a[0,10)=3".to_owned(), "a[10,20)=8".to_owned()], vec!["a@7".to_owned()]));
}

#[test]
fn within_the_allowed_lateness_a_window_fires_again_and_after_it_records_go_to_the_side_output() {
    let input = vec![
        event("a", 5, 1),
        event("b", 5, 100).then_watermark(9),
        event("a", 6, 2),
        event("c", 7, 50).then_watermark(13),
        event("a", 8, 4).then_watermark(14),
        event("a", 9, 8),
    ];
    let (results, late) = windowed(tumbling(10), 5, input);
    assert_eq!(results, ["a[0,10)=1", "b[0,10)=100", "a[0,10)=3", "c[0,10)=50", "a[0,10)=7"]);
    assert_eq!(late, ["a@9"]);
}

#[test]
fn a_record_of_sliding_windows_is_late_only_if_it_is_for_all_of_them() {
    let sliding = SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(5));
    let input = vec![event("a", 7, 1).then_watermark(9), event("a", 8, 2).then_watermark(14), event("a", 9, 4)];
    let (results, late) = windowed(sliding, 0, input);
    assert_eq!(results, ["a[0,10)=1", "a[5,15)=3"]);
    assert_eq!(late, ["a@9"]);
}

/// Tumbling windows of as many milliseconds as the record's key says.
#[derive(Clone)]
struct LengthOfKey;

impl WindowAssigner<Event> for LengthOfKey {
    type Windows = Option<TimeWindow>;

    fn assign_windows(&self, event: EventRef<'_>, timestamp: i64) -> Option<TimeWindow> {
        let length = event.key.parse::<i64>().expect("a number");
        let start = timestamp - timestamp.rem_euclid(length.max(1));
        Some(TimeWindow { start, end: start + length })
    }
}

#[test]
fn windows_of_several_lengths_fire_by_their_ends_and_are_late_each_for_itself() {
    let input = vec![
        event("100", 5, 1),
        event("30", 5, 2),
        event("10", 5, 4),
        event("10", 25, 8),
        event("30", 25, 16).then_watermark(29),
        // Over for the short ones; the long one began earlier and is open.
        event("10", 26, 32),
        event("30", 27, 64),
        event("100", 28, 128).then_watermark(98),
        event("10", 95, 256),
        event("100", 99, 512),
    ];
    let (results, late) = windowed(LengthOfKey, 0, input);
    assert_eq!(results, ["10[0,10)=4", "30[0,30)=18", "10[20,30)=8", "100[0,100)=641", "10[90,100)=256"]);
    assert_eq!(late, ["10@26", "30@27"]);
}

#[test]
fn a_window_assigner_that_gives_an_empty_window_fails_the_job() {
    let env = StreamExecutionEnvironment::new();
    events(&env, vec![event("0", 5, 1)])
        .key_by::<String>(|event| event.key)
        .window(LengthOfKey)
        .aggregate(Sum, |_, _, sum| sum)
        .for_each(|_| {});
    let error = env.execute("test", 1).and_then(thalweg::JobHandle::wait).unwrap_err().to_string();
    assert!(error.contains("operator window") && error.contains("an empty window, from 5 to 5"), "{error}");
}

#[test]
fn negative_and_extreme_timestamps_have_windows_too() {
    let input = vec![event("a", -1, 1), event("a", i64::MIN, 2), event("a", i64::MAX, 4)];
    let (results, late) = windowed(tumbling(10), 0, input);
    assert_eq!(results.len(), 3, "{results:?}");
    assert!(results.contains(&"a[-10,0)=1".to_owned()));
    assert!(late.is_empty());
}

#[test]
fn windows_without_timestamps_fail_the_job_with_the_cure() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(vec![event("a", 0, 1)])
        .key_by::<String>(|event| event.key)
        .window(tumbling(10))
        .aggregate(Sum, |_, _, sum| sum)
        .for_each(|_| {});
    let error = env.execute("test", 1).and_then(thalweg::JobHandle::wait).unwrap_err().to_string();
    assert!(error.contains("window") && error.contains("assign_timestamps_and_watermarks"), "{error}");
}

#[test]
fn late_records_are_counted_when_nobody_takes_them() {
    let env = StreamExecutionEnvironment::new();
    let input = vec![event("a", 5, 1).then_watermark(20), event("a", 6, 2), event("a", 7, 4)];
    events(&env, input).key_by::<String>(|event| event.key).window(tumbling(10)).aggregate(Sum, |_, _, sum| sum).for_each(|_| {});
    assert_eq!(run(env, 1).metrics.total("numLateRecordsDropped"), 2);
}

/// Records of each split are in order; splits are far apart in time. The slowest split decides, so nothing is late.
#[test]
fn the_watermark_is_kept_a_split_and_the_slowest_decides() {
    for (cores, parallelism) in [(1, 1), (2, 2), (2, 3), (1, 7)] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism).set_engine_settings(EngineSettings::default().source_batch_records(3).frame_records(2));
        let split = |offset: i64| (0..200).map(|i| event("k", offset + i * 10, 1)).collect::<Vec<_>>();
        let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|event: EventRef<'_>| event.at);
        let results = env
            .source(CollectionSource::from_splits(vec![split(0), split(2_000), split(4_000)]))
            .assign_timestamps_and_watermarks(strategy)
            .key_by::<String>(|event| event.key)
            .window(tumbling(100))
            .side_output_late_data(&LATE)
            .aggregate(Sum, |_, window, sum| (window.start, sum));
        let late = results.side_output(&LATE).collect();
        let results = results.collect();
        run(env, cores);
        assert!(late.take().is_empty());
        assert_eq!(sorted(results.take()), (0..60).map(|i| (i * 100, 10)).collect::<Vec<_>>());
    }
}

/// 100,000 windows fire at once into a channel with room for one record: firing suspends and goes on.
#[test]
fn a_hundred_thousand_windows_that_fire_at_once_suspend_and_lose_nothing() {
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings::default().frame_records(1).channel_frames(1).slice_timers(100));
    let input = (0..100_000).map(|i| event(&i.to_string(), 5, i)).collect();
    let out = events(&env, input)
        .key_by::<String>(|event| event.key)
        .window(tumbling(10))
        .reduce(|a, _| event(a.key, a.at, a.value))
        .map(|event| event.value)
        .disable_chaining()
        .map(|value| value)
        .collect();
    run(env, 2);
    assert_eq!(sorted(out.take()), (0..100_000).collect::<Vec<_>>());
}

/// Two endless inputs, one of which falls silent: it holds the windows back until it is declared idle.
#[test]
fn an_input_that_falls_silent_holds_nobody_back_once_it_is_idle() {
    let env = StreamExecutionEnvironment::new();
    env.set_source_rate(Some(2_000)).set_parallelism(1);
    let numbered = || thalweg::connectors::GeneratorSource::unbounded(|i| event("k", i as i64, 1));
    let strategy = || WatermarkStrategy::<Event>::for_monotonous_timestamps().with_timestamp_assigner(|event| event.at);
    let speaking = env.source(numbered()).assign_timestamps_and_watermarks(strategy());
    let silent = env
        .source(numbered())
        .filter(|event| event.at == 0)
        .assign_timestamps_and_watermarks(strategy().with_idleness(Duration::from_millis(20)));
    let results = speaking
        .union(silent)
        .key_by::<String>(|event| event.key)
        .window(tumbling(10))
        .aggregate(Sum, |_, window, sum| (window.start, sum))
        .collect();
    let handle = env.execute("test", 2).unwrap();
    let control = handle.control();
    while control.metrics().sum("collect", "numRecordsSend") < 2 {
        std::thread::yield_now();
    }
    handle.stop();
    handle.wait().unwrap();
    // Both inputs have the time 0, one of them the others.
    assert_eq!(results.take()[..2], [(0, 11), (10, 10)]);
}
