//! Time that misbehaves, with jobs written for it: wall clocks that are set back, and splits that change their reader.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use thalweg::source::{ReaderContext, ReaderOutput, ReaderStatus, Source, SourceError, SourceReader};
use thalweg::{
    CheckpointConfig, Context, EngineSettings, JobEnding, KeyedProcessFunction, Output, OutputTag, Record, RestartStrategy,
    StreamExecutionEnvironment, Timer, TumblingEventTimeWindows, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
use thalweg_io::{Io, LocalBoxFuture};
use thalweg_sim::{ClockStep, World, WorldConfig};

/// Sets a processing-time timer for each record, and emits many records when it fires.
#[derive(Clone)]
struct Alarm;

impl KeyedProcessFunction for Alarm {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn process_element(&mut self, n: u64, ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {
        ctx.register_processing_time_timer(ctx.current_processing_time() + n as i64 % 3);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, u64>, out: &mut Output<u64>) {
        assert!(ctx.current_processing_time() >= timer.timestamp, "a timer sees a time before its own");
        (0..40).for_each(|n| out.collect(n));
    }
}

/// Found by the simulator (seed 3052733474).
#[test]
fn a_processing_time_timer_sees_no_time_before_its_own_though_the_clock_is_set_back_while_it_waits_for_room() {
    for seed in 0..20 {
        let mut config = WorldConfig::calm();
        config.poll_cost_ns_max = 400_000;
        for clock in &mut config.clocks {
            clock.steps =
                (1..2_000).map(|at_ms| ClockStep { at_ms: 2 * at_ms, by_ms: if at_ms % 2 == 0 { 5_000 } else { -5_000 } }).collect();
        }
        let outcome = World::new(seed, config).run(|cores| async move {
            let env = StreamExecutionEnvironment::new();
            env.set_engine_settings(EngineSettings::default().frame_records(1).channel_frames(1).slice_timers(2));
            let alarms = env.from_collection((0..60u64).collect::<Vec<_>>()).key_by::<u64>(|n| *n).process(Alarm);
            alarms.disable_chaining().for_each(|_| {});
            env.build("alarms").unwrap().start(&cores, 2).unwrap().await.map(|report| report.ending)
        });
        assert!(matches!(outcome.expect_done(), Ok(JobEnding::Finished)), "seed {seed}");
    }
}

/// The rest of a month: its records are numbered through, and their times lie a second apart.
#[derive(Clone, Copy, Debug, PartialEq, Record)]
struct Month {
    month: i64,
    next: i64,
    end: i64,
}

/// A short January, and a February and March that take their time; a split each.
#[derive(Clone)]
struct Months;

struct MonthReader {
    month: Month,
}

const MONTH_MS: i64 = 1_000_000;

impl Source for Months {
    type Out = i64;
    type Split = Month;
    type Reader = MonthReader;

    fn name(&self) -> &'static str {
        "months"
    }

    fn splits(&self, _io: Io, _parallelism: usize) -> LocalBoxFuture<Result<Vec<Month>, SourceError>> {
        let months = [5, 300, 300].into_iter().zip(0..).map(|(end, month)| Month { month, next: 0, end }).collect();
        Box::pin(std::future::ready(Ok(months)))
    }

    fn reader(&self, _context: ReaderContext) -> MonthReader {
        MonthReader { month: Month { month: 0, next: 0, end: 0 } }
    }
}

impl SourceReader for MonthReader {
    type Out = i64;
    type Split = Month;

    fn start(&mut self, split: Month) {
        self.month = split;
    }

    fn snapshot(&self) -> Month {
        self.month
    }

    fn poll_next<O: ReaderOutput<i64>>(
        &mut self,
        _cx: &mut TaskContext<'_>,
        output: &mut O,
        limit: usize,
    ) -> Poll<Result<ReaderStatus, SourceError>> {
        let Month { month, next, end } = &mut self.month;
        if limit > 0 && output.is_ready() && next < end {
            output.collect(*month * MONTH_MS + *next * 1_000, thalweg::NO_TIMESTAMP);
            *next += 1;
        }
        Poll::Ready(Ok(if next < end { ReaderStatus::MoreAvailable } else { ReaderStatus::EndOfSplit }))
    }
}

/// A job with a checkpoint each `interval_ms`, from which it goes on after up to `restarts` failures.
fn restarting(settings: EngineSettings, interval_ms: u64, restarts: u32) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(settings);
    env.enable_checkpointing(CheckpointConfig::new(PathBuf::from("/checkpoints")).interval(Duration::from_millis(interval_ms)));
    env.set_restart_strategy(RestartStrategy::FixedDelay { attempts: restarts, delay: Duration::from_millis(1) });
    env
}

const LATE: OutputTag<i64> = OutputTag::new("late");

/// Found by the simulator (seed 545000215): a subtask that had seen March was given what was left of February.
#[test]
fn no_record_is_late_because_its_split_has_gone_to_another_reader_before_an_exchange() {
    let mut restarts = 0;
    for seed in 0..40 {
        let mut config = WorldConfig::calm();
        config.poll_cost_ns_max = 100_000;
        let outcome = World::new(seed, config).run(|cores| async move {
            let env = restarting(EngineSettings::default().frame_records(4).channel_frames(1).slice_records(4), 2, 1);
            env.set_parallelism(2);
            let failures = Arc::new(AtomicU64::new(0));
            let months = env.source(Months).map(move |at| {
                let is_time = at == MONTH_MS + 150_000;
                assert!(!is_time || failures.fetch_add(1, Ordering::Relaxed) > 0, "this once");
                at
            });
            let counts = months
                .disable_chaining()
                .assign_timestamps_and_watermarks(
                    WatermarkStrategy::for_bounded_out_of_orderness(Duration::ZERO).with_timestamp_assigner(|at| at),
                )
                .key_by::<i64>(|at| at % 7)
                .window(TumblingEventTimeWindows::of(Duration::from_secs(10)))
                .side_output_late_data(&LATE)
                .aggregate(Count, |_, _, count| count);
            let late = counts.side_output(&LATE).collect();
            let counts = counts.collect();
            let report = env.build("months").unwrap().start(&cores, 2).unwrap().await;
            report.map(|report| (report.restarts, late.take(), counts.take().into_iter().sum::<u64>()))
        });
        let (restarted, late, counted) = outcome.expect_done().unwrap();
        assert_eq!((late, counted), (vec![], 605), "seed {seed}");
        restarts += restarted;
    }
    assert!(restarts > 30, "{restarts} of 40 runs went on from a checkpoint");
}

/// Knows the next record of its month, and counts the times that another one came.
#[derive(Clone)]
struct Continuous {
    next: i64,
    gaps: Arc<AtomicU64>,
}

impl WatermarkGenerator<i64> for Continuous {
    fn on_event(&mut self, at: i64, _timestamp: i64, _output: &mut WatermarkOutput) {
        let number = at % MONTH_MS / 1_000;
        if number != self.next {
            self.gaps.fetch_add(1, Ordering::Relaxed);
        }
        self.next = number + 1;
    }

    fn on_periodic_emit(&mut self, _output: &mut WatermarkOutput) {}

    fn snapshot(&self) -> Vec<u8> {
        self.next.to_le_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) {
        self.next = i64::from_le_bytes(snapshot.try_into().unwrap());
    }
}

/// Found by the simulator (seed 12009499424707): the first subtask, which saves the generators of splits that wait, had ended, and a split that its new
/// reader had been given and had not begun was saved without its generator.
#[test]
fn the_generator_of_a_split_survives_a_checkpoint_between_the_restore_and_its_first_record() {
    let mut restarts = 0;
    for seed in 0..40 {
        let mut config = WorldConfig::calm();
        config.poll_cost_ns_max = 100_000;
        let outcome = World::new(seed, config).run(|cores| async move {
            let env = restarting(EngineSettings::default().source_batch_records(2).frame_records(4).channel_frames(1), 1, 40);
            env.set_parallelism(4);
            let (seen, gaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let generator = Continuous { next: 0, gaps: Arc::clone(&gaps) };
            let months = env.source(Months).assign_timestamps_and_watermarks(WatermarkStrategy::for_generator(generator));
            let out = months.map(move |at| {
                let of_all = seen.fetch_add(1, Ordering::Relaxed);
                assert!(of_all % 50 != 49 || of_all > 1_000, "now and then");
                at
            });
            out.disable_chaining().for_each(|_| {});
            let report = env.build("months").unwrap().start(&cores, 2).unwrap().await;
            report.map(|report| (report.restarts, gaps.load(Ordering::Relaxed)))
        });
        let (restarted, gaps) = outcome.expect_done().unwrap();
        assert_eq!(gaps, 0, "seed {seed}: a generator went on without the records before");
        restarts += restarted;
    }
    assert!(restarts > 100, "{restarts} times a job went on from a checkpoint");
}

#[derive(Clone)]
struct Count;

impl thalweg::AggregateFunction<i64> for Count {
    type Accumulator = u64;
    type Output = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _at: i64, count: &mut u64) {
        *count += 1;
    }

    fn merge(&self, other: u64, count: &mut u64) {
        *count += other;
    }

    fn get_result(&self, count: &u64) -> u64 {
        *count
    }
}
