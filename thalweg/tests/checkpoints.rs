//! Whole jobs that fail, stop and go on: what they show is what a job without mishaps shows, once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::{FileSink, GeneratorSource};
use thalweg::{
    CheckpointConfig, Context, EngineSettings, JobEnding, JobError, JobReport, KeyedProcessFunction, ListState, MapState, OpenContext,
    Output, Record, RestartStrategy, Restore, StreamExecutionEnvironment, Timer, TumblingEventTimeWindows, ValueState, WatermarkStrategy,
};

#[derive(Clone, Copy, Debug, PartialEq, Record)]
struct Number {
    n: u64,
}

const NUMBERS: u64 = 20_000;
const KEYS: u64 = 50;
const WINDOW_MS: u64 = 100;

/// What the job shows: for each key and window the number of its numbers, and their sum.
fn expected() -> Vec<String> {
    let mut sums: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
    for n in 0..NUMBERS {
        let sum = sums.entry((n % KEYS, n / WINDOW_MS)).or_default();
        *sum = (sum.0 + 1, sum.1 + n);
    }
    let mut lines: Vec<String> =
        sums.iter().map(|((key, window), (count, sum))| format!("{key},{},{count},{sum}", window * WINDOW_MS)).collect();
    lines.sort();
    lines
}

/// All lines of the visible results, sorted, and whether anything else is in the folder.
fn shown(dir: &Path) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("part-") {
            lines.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        } else {
            others.push(name);
        }
    }
    lines.sort();
    (lines, others)
}

struct Setting {
    parallelism: usize,
    cores: usize,
    interval_ms: u64,
    /// Records that all readers together emit.
    per_second: u64,
    inline_bytes_max: usize,
    restart: RestartStrategy,
    restore: Restore,
}

impl Default for Setting {
    fn default() -> Self {
        let restart = RestartStrategy::FixedDelay { attempts: 20, delay: Duration::from_millis(5) };
        Self { parallelism: 2, cores: 2, interval_ms: 15, per_second: 15_000, inline_bytes_max: 0, restart, restore: Restore::Latest }
    }
}

/// Counts and sums by key and window. `on_number` may panic.
fn job(dir: &Path, setting: &Setting, on_number: impl Fn(u64) + Clone + Send + 'static) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(setting.parallelism);
    env.set_restart_strategy(setting.restart.clone());
    let mut config = CheckpointConfig::new(dir.join("checkpoints"))
        .interval(Duration::from_millis(setting.interval_ms))
        .restore(setting.restore.clone());
    config.inline_bytes_max = setting.inline_bytes_max;
    env.enable_checkpointing(config);
    // Slow enough to be stopped on the way.
    env.set_source_rate(Some(setting.per_second / setting.parallelism as u64));
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(5));
    env.source(GeneratorSource::new(NUMBERS, |n| Number { n }))
        .assign_timestamps_and_watermarks(
            // The readers take turns by number: none is ahead by more than the rate makes it.
            WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(60))
                .with_timestamp_assigner(|number: NumberRef<'_>| number.n as i64),
        )
        .map(move |number| {
            on_number(number.n);
            (number.n % KEYS, number.n)
        })
        .key_by::<u64>(|(key, _)| *key)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(WINDOW_MS)))
        .aggregate(CountAndSum, |key, window, (count, sum)| (key, window.start, count, sum))
        .sink(FileSink::<(u64, i64, u64, u64)>::csv(dir.join("out"), |(key, start, count, sum), row| {
            row.field(key).field(start).field(count).field(sum);
        }));
    env
}

#[derive(Clone)]
struct CountAndSum;

impl thalweg::AggregateFunction<(u64, u64)> for CountAndSum {
    type Accumulator = (u64, u64);
    type Output = (u64, u64);

    fn create_accumulator(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (_, n): (u64, u64), (count, sum): &mut (u64, u64)) {
        *count += 1;
        *sum += n;
    }

    fn merge(&self, other: (u64, u64), (count, sum): &mut (u64, u64)) {
        *count += other.0;
        *sum += other.1;
    }

    fn get_result(&self, accumulator: &(u64, u64)) -> (u64, u64) {
        *accumulator
    }
}

fn run(dir: &Path, setting: &Setting, on_number: impl Fn(u64) + Clone + Send + 'static) -> Result<JobReport, JobError> {
    job(dir, setting, on_number).execute("sums", setting.cores)?.wait()
}

#[test]
fn a_job_that_fails_again_and_again_shows_everything_once() {
    for (cores, parallelism, inline_bytes_max) in [(1, 1, 0), (2, 2, 0), (2, 3, 1 << 20)] {
        let dir = TempDir::new().unwrap();
        let fallen = Arc::new(AtomicU64::new(0));
        let setting = Setting { cores, parallelism, inline_bytes_max, ..Setting::default() };
        let report = run(dir.path(), &setting, move |n| {
            let falls = fallen.load(Ordering::Relaxed);
            if n == 3_000 * (falls + 1) && falls < 5 {
                fallen.store(falls + 1, Ordering::Relaxed);
                panic!("fall {falls}");
            }
        })
        .unwrap();
        assert_eq!((report.ending, report.restarts), (JobEnding::Finished, 5));
        assert!(report.checkpoints > 5, "{}", report.checkpoints);
        let (lines, others) = shown(&dir.path().join("out"));
        assert_eq!(others, Vec::<String>::new());
        assert!(lines == expected(), "{} lines instead of {}", lines.len(), expected().len());
    }
}

#[test]
fn a_job_goes_on_at_another_parallelism_and_says_where_from() {
    let dir = TempDir::new().unwrap();
    let mut from = None;
    let mut read = 0;
    for (cores, parallelism) in [(2, 3), (1, 1), (2, 7), (1, 2)] {
        let setting = Setting { cores, parallelism, ..Setting::default() };
        let handle = job(dir.path(), &setting, |_| ()).execute("sums", cores).unwrap();
        while handle.metrics().sum("generator", "numRecordsOut") < 500 {
            std::thread::yield_now();
        }
        handle.stop_with_checkpoint();
        let report = handle.wait().unwrap();
        assert_eq!(report.restored.map(|from| from.checkpoint), from);
        read += report.metrics.sum("generator", "numRecordsOut");
        from = match report.ending {
            JobEnding::Stopped(checkpoint) => Some(checkpoint),
            other => panic!("{other:?}"),
        };
    }
    let report = run(dir.path(), &Setting { parallelism: 4, ..Setting::default() }, |_| ()).unwrap();
    assert_eq!((report.ending, report.restored.map(|from| from.checkpoint)), (JobEnding::Finished, from));
    // Nothing was read behind the barrier with which a run stopped.
    assert_eq!(read + report.metrics.sum("generator", "numRecordsOut"), NUMBERS as i64);
    assert_eq!(shown(&dir.path().join("out")), (expected(), vec![]));
    // Once more: there is nothing left to do, and nothing changes.
    let report = run(dir.path(), &Setting::default(), |n| panic!("read {n} again")).unwrap();
    assert_eq!(report.ending, JobEnding::AlreadyFinished);
    assert_eq!(shown(&dir.path().join("out")), (expected(), vec![]));
}

#[test]
fn a_job_that_gives_up_leaves_whole_epochs_and_the_next_run_goes_on() {
    let dir = TempDir::new().unwrap();
    let setting = Setting { restart: RestartStrategy::None, ..Setting::default() };
    let error = run(dir.path(), &setting, |n| assert!(n < 9_000, "poison")).unwrap_err();
    assert!(error.to_string().contains("poison"), "{error}");
    let (lines, others) = shown(&dir.path().join("out"));
    assert_eq!(others, Vec::<String>::new());
    let all = expected();
    assert!(lines.iter().all(|line| all.contains(line)), "{lines:?}");
    let report = run(dir.path(), &setting, |_| ()).unwrap();
    assert!(report.restored.is_some());
    assert_eq!(shown(&dir.path().join("out")), (all, vec![]));
}

/// Keeps every number it sees in a value, a list and a map, and tells of them at the end; and of each hundred that has passed.
#[derive(Clone, Default)]
struct Remember {
    count: ValueState<u64>,
    all: ListState<u64>,
    by_rest: MapState<u64, u64>,
}

impl KeyedProcessFunction for Remember {
    type Key = String;
    type In = Number;
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
        self.count = ctx.value_state("count");
        self.all = ctx.list_state("all");
        self.by_rest = ctx.map_state("by-rest");
    }

    fn process_element(&mut self, number: NumberRef<'_>, ctx: &mut Context<'_, String>, _out: &mut Output<String>) {
        *ctx.value(self.count).get_or_insert_with(|| 0) += 1;
        ctx.list(self.all).add(number.n);
        let before = ctx.map(self.by_rest).get(&(number.n % 3)).copied().unwrap_or(0);
        ctx.map(self.by_rest).put(number.n % 3, before + number.n);
        ctx.register_event_time_timer((number.n as i64 / 100 + 1) * 100);
        ctx.register_event_time_timer(i64::MAX - 1);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<String>) {
        let key = ctx.key().to_owned();
        if timer.timestamp < i64::MAX - 1 {
            out.collect(format!("{key} passed {}", timer.timestamp));
            return;
        }
        let count = ctx.value(self.count).take();
        let mut all = ctx.list(self.all).take();
        all.sort_unstable();
        let by_rest: Vec<(u64, u64)> = ctx.map(self.by_rest).iter().collect();
        out.collect(format!("{key} {count:?} {} {:?} {by_rest:?}", all.len(), all.iter().sum::<u64>()));
    }
}

fn remembering(dir: &Path, parallelism: usize, per_second: Option<u64>) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env.enable_checkpointing(CheckpointConfig::new(dir.join("checkpoints")).interval(Duration::from_millis(10)));
    env.set_source_rate(per_second.map(|per_second| per_second / parallelism as u64));
    env.set_engine_settings(EngineSettings::default().metrics_interval_ms(5).slice_timers(3));
    env.source(GeneratorSource::new(6_000, |n| Number { n }))
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1))
                .with_timestamp_assigner(|number: NumberRef<'_>| number.n as i64),
        )
        .key_by::<String>(|number| ["none", "one", "two", "three", "four", "five", "six"][number.n as usize % 7])
        .process(Remember::default())
        .sink(FileSink::<String>::lines(dir.join("out"), |line, out| out.push_str(line)));
    env
}

#[test]
fn values_lists_maps_and_timers_are_found_again_at_another_parallelism() {
    let undisturbed = TempDir::new().unwrap();
    remembering(undisturbed.path(), 1, None).execute("remember", 1).unwrap().wait().unwrap();
    let (expected, _) = shown(&undisturbed.path().join("out"));
    assert!(expected.len() > 100, "{expected:?}");
    let dir = TempDir::new().unwrap();
    for parallelism in [1, 3, 2] {
        // So slowly that a busy machine has ten seconds to stop it before it is over.
        let handle = remembering(dir.path(), parallelism, Some(500)).execute("remember", 2).unwrap();
        while handle.metrics().sum("generator", "numRecordsOut") < 300 {
            std::thread::yield_now();
        }
        handle.stop_with_checkpoint();
        assert!(matches!(handle.wait().unwrap().ending, JobEnding::Stopped(_)));
    }
    remembering(dir.path(), 4, None).execute("remember", 2).unwrap().wait().unwrap();
    assert_eq!(shown(&dir.path().join("out")), (expected, vec![]));
}

/// Two processes that were both told to run the job: the one that began later goes on, the other one stops and removes nothing.
#[test]
fn of_two_runs_on_one_checkpoint_folder_the_later_one_wins() {
    let dir = TempDir::new().unwrap();
    // It is not over before the second has begun, however busy the machine is.
    let first = job(dir.path(), &Setting { per_second: 100, ..Setting::default() }, |_| ()).execute("sums", 1).unwrap();
    // Metadata are written before the log says that the checkpoint is complete: with those of the second the first is.
    let has_a_checkpoint = || {
        let names = fs::read_dir(dir.path().join("checkpoints")).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let number = |name: &str| name.strip_prefix("chk-")?.strip_suffix(".metadata")?.split_once('-')?.0.parse::<u64>().ok();
        names.into_iter().filter_map(|name| number(name.to_str().unwrap())).any(|number| number > 1)
    };
    while !has_a_checkpoint() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = job(dir.path(), &Setting::default(), |_| ()).execute("sums", 1).unwrap();
    let error = first.wait().unwrap_err();
    assert!(error.to_string().contains("has taken over"), "{error}");
    let report = second.wait().unwrap();
    assert_eq!((report.ending, report.restored.is_some()), (JobEnding::Finished, true));
    assert_eq!(shown(&dir.path().join("out")), (expected(), vec![]));
}
