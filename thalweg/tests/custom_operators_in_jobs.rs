//! Operators of a user's own in whole jobs, which may fail: what they hold is neither lost nor doubled.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod common;

use common::{run, sorted};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::{FileSink, GeneratorSource};
use thalweg::{
    AggregateFunction, Chain, CheckpointConfig, DataStream, EngineSettings, JobEnding, KeyedOperatorContext, KeyedStreamOperator,
    OneInputStreamOperator, OpenContext, OperatorContext, Output, OutputTag, RestartStrategy, StreamExecutionEnvironment, StreamOperator,
    Timer, TumblingEventTimeWindows, TwoInputStreamOperator, ValueState, Watermark, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};

/// The settings under which all that can be out of room is, again and again.
fn cramped() -> EngineSettings {
    EngineSettings::default().frame_records(3).channel_frames(1).slice_records(2).source_batch_records(2)
}

/// Adds up what comes for a key and window in between (the example of the documentation, with windows).
#[derive(Clone, Default)]
struct PreSum {
    sums: BTreeMap<(u64, i64), u64>,
    /// Whether it does as it should before barriers.
    forgets: bool,
}

const WINDOW_MS: i64 = 100;

impl PreSum {
    fn let_go(&mut self, out: &mut Output<(u64, u64)>) {
        for ((key, window), sum) in std::mem::take(&mut self.sums) {
            out.collect_with_timestamp((key, sum), window);
        }
    }
}

impl StreamOperator for PreSum {
    type Out = (u64, u64);

    fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.let_go(out);
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        if !self.forgets {
            self.let_go(out);
        }
    }

    fn before_idle(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.let_go(out);
    }
}

impl OneInputStreamOperator for PreSum {
    type In = (u64, u64);

    fn process_element(&mut self, (key, amount): (u64, u64), ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
        let window = ctx.timestamp().unwrap().div_euclid(WINDOW_MS) * WINDOW_MS;
        *self.sums.entry((key, window)).or_default() += amount;
    }
}

#[derive(Clone)]
struct Sum;

impl AggregateFunction<(u64, u64)> for Sum {
    type Accumulator = u64;
    type Output = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, (_, amount): (u64, u64), sum: &mut u64) {
        *sum += amount;
    }

    fn merge(&self, other: u64, sum: &mut u64) {
        *sum += other;
    }

    fn get_result(&self, sum: &u64) -> u64 {
        *sum
    }
}

const NUMBERS: u64 = 20_000;
const KEYS: u64 = 5;

/// Emits a watermark now and then, so far behind that nothing is late: much is held in between.
#[derive(Clone)]
struct NowAndThen;

impl WatermarkGenerator<u64> for NowAndThen {
    fn on_event(&mut self, n: u64, _timestamp: i64, output: &mut WatermarkOutput) {
        if n.is_multiple_of(500) {
            output.emit(Watermark(n as i64 - 60_000));
        }
    }

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}
}

fn numbers(
    env: &StreamExecutionEnvironment,
    count: u64,
    on_number: impl Fn(u64) + Clone + Send + 'static,
) -> DataStream<impl Chain<Out = (u64, u64)>> {
    let strategy = WatermarkStrategy::for_generator(NowAndThen);
    let stamped = env
        .source(GeneratorSource::new(count, |n| n))
        .assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(|n: u64| n as i64));
    stamped.map(move |n| {
        on_number(n);
        (n % KEYS, n)
    })
}

fn windows<C: Chain<Out = (u64, u64)>>(stream: DataStream<C>) -> DataStream<impl Chain<Out = (u64, i64, u64)>> {
    let windows = stream.key_by::<u64>(|(key, _)| *key).window(TumblingEventTimeWindows::of(Duration::from_millis(WINDOW_MS as u64)));
    windows.aggregate(Sum, |key, window, sum| (key, window.start, sum))
}

#[test]
fn a_pre_aggregation_changes_no_sum_and_sends_less() {
    for (settings, parallelism) in [(EngineSettings::default(), 1), (cramped(), 1), (cramped(), 3)] {
        let sums = |is_pre_summed: bool| {
            let sent = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&sent);
            let env = StreamExecutionEnvironment::new();
            env.set_parallelism(parallelism).set_engine_settings(settings.clone());
            let stream = numbers(&env, 3_000, |_| ()).boxed();
            let stream = if is_pre_summed { stream.transform("pre-sum", PreSum::default()).boxed() } else { stream };
            let out = windows(stream.map(move |pair| {
                counted.fetch_add(1, Ordering::Relaxed);
                pair
            }))
            .collect();
            run(env, 2);
            (sorted(out.take()), sent.load(Ordering::Relaxed))
        };
        let ((plain, all), (pre_summed, fewer)) = (sums(false), sums(true));
        assert_eq!(plain, pre_summed);
        assert_eq!(all, 3_000);
        assert!(fewer < all / 2, "{fewer} of {all}");
    }
}

/// Lines of results, sorted.
fn lines(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut lines: Vec<String> = files.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// An environment whose job takes checkpoints all the time, and a function for it that falls over three times on the way.
fn falling(dir: &Path) -> (StreamExecutionEnvironment, impl Fn(u64) + Clone + Send + 'static) {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: 20, delay: Duration::from_millis(5) });
    env.enable_checkpointing(CheckpointConfig::new(dir.join("checkpoints")).interval(Duration::from_millis(10)));
    env.set_source_rate(Some(10_000));
    let fallen = Arc::new(AtomicU64::new(0));
    let fall = move |n: u64| {
        let falls = fallen.load(Ordering::Relaxed);
        if n == 5_000 * (falls + 1) && falls < 3 {
            fallen.store(falls + 1, Ordering::Relaxed);
            panic!("fall {falls}");
        }
    };
    (env, fall)
}

fn sums_of_a_job_that_falls(pre_sum: PreSum) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let (env, fall) = falling(dir.path());
    let sink = FileSink::<(u64, i64, u64)>::csv(dir.path().join("out"), |(key, start, sum), row| {
        row.field(key).field(start).field(sum);
    });
    windows(numbers(&env, NUMBERS, fall).transform("pre-sum", pre_sum)).sink(sink);
    let report = run(env, 2);
    assert_eq!((report.ending, report.restarts), (JobEnding::Finished, 3));
    assert!(report.checkpoints > 3);
    lines(&dir.path().join("out"))
}

#[test]
fn what_was_held_is_neither_lost_nor_doubled_by_failures() {
    let mut sums: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for n in 0..NUMBERS {
        *sums.entry((n % KEYS, n / WINDOW_MS as u64)).or_default() += n;
    }
    let expected: Vec<String> = sums.iter().map(|((key, window), sum)| format!("{key},{},{sum}", window * WINDOW_MS as u64)).collect();
    let expected = sorted(expected);
    assert!(sums_of_a_job_that_falls(PreSum::default()) == expected);
    // So much does it depend on the call before a barrier: without it this test sees that something is missing.
    assert!(sums_of_a_job_that_falls(PreSum { forgets: true, ..PreSum::default() }) != expected);
}

const TOTALS: OutputTag<(u64, u64)> = OutputTag::new("totals");

/// What comes for a key: added up in state, told by a timer at the end, to a side output; and what came in between, from fields.
#[derive(Clone, Default)]
struct KeyedSums {
    total: ValueState<u64>,
    between: BTreeMap<u64, u64>,
    /// Numbers that are on their way out of it.
    leaving: Vec<(u64, u64)>,
}

impl KeyedSums {
    fn let_go(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.leaving.extend(std::mem::take(&mut self.between));
        self.resume(ctx, out);
    }
}

impl StreamOperator for KeyedSums {
    type Out = (u64, u64);

    fn before_watermark(&mut self, _watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.let_go(ctx, out);
    }

    fn before_barrier(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.let_go(ctx, out);
    }

    /// One at a time, to be suspended often.
    fn resume(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        if let Some(sum) = self.leaving.pop() {
            out.collect(sum);
            ctx.suspend();
        }
    }

    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
        assert!(self.leaving.is_empty());
    }

    fn end_of_input(&mut self, ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
        assert_eq!(ctx.current_watermark(), Watermark::MAX);
        assert!(self.between.is_empty() && self.leaving.is_empty());
    }
}

impl KeyedStreamOperator for KeyedSums {
    type Key = u64;
    type In = (u64, u64);

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        self.total = ctx.value_state("total");
    }

    fn process_element(&mut self, (key, n): (u64, u64), ctx: &mut KeyedOperatorContext<'_, '_, u64>, _out: &mut Output<(u64, u64)>) {
        *ctx.value(self.total).get_or_insert_with(|| 0) += n;
        *self.between.entry(key).or_default() += n;
        ctx.register_event_time_timer(i64::MAX - 1);
    }

    fn on_timer(&mut self, _timer: Timer, ctx: &mut KeyedOperatorContext<'_, '_, u64>, _out: &mut Output<(u64, u64)>) {
        assert!(self.leaving.is_empty(), "no timer fires while it is suspended");
        assert_eq!(ctx.current_watermark(), Watermark::MAX, "a timer of the end fires at the end, and before the call for that watermark");
        let total = ctx.value(self.total).take().unwrap();
        let key = ctx.key();
        ctx.output(&TOTALS, (key, total));
        self.leaving.push((u64::MAX, 1));
        // The number that was pushed leaves before anything else happens.
        ctx.suspend();
    }
}

#[test]
fn a_keyed_operator_keeps_state_and_timers_and_lets_go_before_barriers() {
    let dir = TempDir::new().unwrap();
    let (env, fall) = falling(dir.path());
    env.set_engine_settings(cramped());
    let sink = |name: &str| {
        FileSink::<(u64, u64)>::csv(dir.path().join(name), |(key, sum), row| {
            row.field(key).field(sum);
        })
    };
    let sums = numbers(&env, NUMBERS, fall).key_by::<u64>(|(key, _)| *key).transform("sums", KeyedSums::default());
    sums.side_output(&TOTALS).sink(sink("totals"));
    sums.sink(sink("between"));
    let report = run(env, 2);
    assert_eq!((report.ending, report.restarts), (JobEnding::Finished, 3));
    let mut expected = vec![0; KEYS as usize];
    (0..NUMBERS).for_each(|n| expected[(n % KEYS) as usize] += n);
    let pairs = |name: &str| -> Vec<(u64, u64)> {
        let pair = |line: &String| line.split_once(',').map(|(key, sum)| (key.parse().unwrap(), sum.parse().unwrap())).unwrap();
        lines(&dir.path().join(name)).iter().map(pair).collect()
    };
    let totals: Vec<(u64, u64)> = expected.iter().enumerate().map(|(key, sum)| (key as u64, *sum)).collect();
    assert_eq!(sorted(pairs("totals")), totals);
    let mut found = vec![0; KEYS as usize];
    let mut timers = 0;
    for (key, sum) in pairs("between") {
        if key == u64::MAX { timers += sum } else { found[key as usize] += sum }
    }
    assert_eq!((found, timers), (expected, KEYS));
}

/// How many records came in each input since it was last told of something.
#[derive(Clone, Default)]
struct Counts(u64, u64);

impl StreamOperator for Counts {
    type Out = (u64, u64);

    fn before_watermark(&mut self, _watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        self.before_barrier(ctx, out);
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<(u64, u64)>) {
        out.collect((self.0, self.1));
        (self.0, self.1) = (0, 0);
    }
}

impl TwoInputStreamOperator for Counts {
    type In1 = (u64, u64);
    type In2 = String;

    fn process_element1(&mut self, _pair: (u64, u64), _ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
        self.0 += 1;
    }

    fn process_element2(&mut self, _word: &str, _ctx: &mut OperatorContext<'_>, _out: &mut Output<(u64, u64)>) {
        self.1 += 1;
    }
}

#[test]
fn an_operator_with_two_inputs_counts_each_record_once_over_failures() {
    let dir = TempDir::new().unwrap();
    let (env, fall) = falling(dir.path());
    let words = numbers(&env, NUMBERS / 2, |_| ()).map(|(_, n)| n.to_string());
    let counts = numbers(&env, NUMBERS, fall).connect(words).transform("counts", Counts::default());
    counts.sink(FileSink::<(u64, u64)>::csv(dir.path().join("out"), |(first, second), row| {
        row.field(first).field(second);
    }));
    let report = run(env, 2);
    assert_eq!((report.ending, report.restarts), (JobEnding::Finished, 3));
    let counts = lines(&dir.path().join("out"));
    let counts = counts.iter().filter_map(|line| line.split_once(',')).map(|(a, b)| (a.parse::<u64>().unwrap(), b.parse::<u64>().unwrap()));
    let (first, second) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert_eq!((first, second), (NUMBERS, NUMBERS / 2));
}
