//! Operators of a user's own: what they are told of, and when.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod common;

use common::{Event, EventRef, event, events, run, sorted};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use thalweg::connectors::GeneratorSource;
use thalweg::{
    CheckpointConfig, EngineSettings, JobError, JobHandle, KeyedOperatorContext, KeyedStreamOperator, OneInputStreamOperator,
    OperatorContext, Output, RunRecords, StreamExecutionEnvironment, StreamOperator, Timer, Watermark, WatermarkStrategy,
};

/// What happened, in order.
type Log = Arc<Mutex<Vec<String>>>;

fn tell(log: &Log, line: impl Into<String>) {
    log.lock().unwrap().push(line.into());
}

/// Holds values until something makes it let go, and tells of every call.
#[derive(Clone)]
struct Holder {
    log: Log,
    held: Vec<(Option<i64>, i64)>,
    /// Whether the end of a batch lets go, too.
    by_batch: bool,
}

impl Holder {
    fn let_go(&mut self, why: String, out: &mut Output<i64>) {
        tell(&self.log, why);
        for (timestamp, value) in self.held.drain(..) {
            match timestamp {
                Some(timestamp) => out.collect_with_timestamp(value, timestamp),
                None => out.collect(value),
            }
        }
    }
}

impl StreamOperator for Holder {
    type Out = i64;

    fn before_watermark(&mut self, watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        assert_eq!((ctx.timestamp(), ctx.current_watermark()), (None, watermark));
        self.let_go(format!("before {}", shown(watermark)), out);
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.let_go("before barrier".to_owned(), out);
    }

    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        if self.by_batch {
            self.let_go("batch".to_owned(), out);
        }
    }

    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.let_go("before end".to_owned(), out);
    }
}

impl OneInputStreamOperator for Holder {
    type In = i64;

    fn open(&mut self, subtask: usize, parallelism: usize) {
        tell(&self.log, format!("open {subtask} of {parallelism}"));
    }

    fn process_element(&mut self, value: i64, ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.log, format!("take {value}"));
        self.held.push((ctx.timestamp(), value));
    }
}

/// Stands behind another operator and tells of what comes from it.
#[derive(Clone)]
struct Below(Log);

impl StreamOperator for Below {
    type Out = i64;

    fn before_watermark(&mut self, watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, format!("  {}", shown(watermark)));
    }

    fn before_barrier(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, "  barrier");
    }

    fn end_of_input(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<i64>) {
        tell(&self.0, "  end");
    }
}

impl OneInputStreamOperator for Below {
    type In = i64;

    fn process_element(&mut self, value: i64, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        tell(&self.0, format!("  {value} at {}", ctx.timestamp().map_or_else(|| "none".to_owned(), |at| at.to_string())));
        out.collect(value);
    }
}

fn shown(watermark: Watermark) -> String {
    if watermark == Watermark::MAX { "W max".to_owned() } else { format!("W {}", watermark.0) }
}

/// The settings under which all that can be out of room is, again and again.
fn cramped() -> EngineSettings {
    EngineSettings::default().frame_records(3).channel_frames(1).slice_records(1).source_batch_records(2)
}

/// Each turn of the table: what comes, and the calls that it leads to, those of the operator below indented.
#[test]
fn what_an_operator_lets_go_is_in_front_of_what_it_was_told_of() {
    let table: [(Event, &[&str]); 5] = [
        (event("k", 5, 1), &["take 1"]),
        (event("k", 3, 2).then_watermark(4), &["take 2", "before W 4", "  1 at 5", "  2 at 3", "  W 4"]),
        (event("k", 9, 3), &["take 3"]),
        (event("k", 8, 4), &["take 4"]),
        (event("k", 7, 5).then_watermark(8), &["take 5", "before W 8", "  3 at 9", "  4 at 8", "  5 at 7", "  W 8"]),
    ];
    let last = ["before W max", "  W max", "before end", "  end"];
    for (settings, is_chained) in [(EngineSettings::default(), true), (cramped(), true), (cramped(), false)] {
        let log = Log::default();
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(1).set_engine_settings(settings);
        let input = table.iter().map(|(event, _)| event.clone()).collect();
        let holder = Holder { log: Arc::clone(&log), held: vec![], by_batch: false };
        let values = events(&env, input).map(|event| event.value).boxed();
        let values = if is_chained { values } else { values.rebalance().boxed() };
        let stream = values.transform("holder", holder);
        let out = stream.transform("below", Below(Arc::clone(&log))).collect();
        run(env, 1);
        let expected: Vec<&str> =
            ["open 0 of 1"].into_iter().chain(table.iter().flat_map(|(_, calls)| calls.iter().copied())).chain(last).collect();
        assert_eq!(*log.lock().unwrap(), expected);
        assert_eq!(out.take(), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn the_end_of_a_batch_is_told_behind_its_records() {
    let log = Log::default();
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1).set_engine_settings(EngineSettings::default().source_batch_records(2));
    let holder = Holder { log: Arc::clone(&log), held: vec![], by_batch: true };
    let stream = env.from_collection(vec![1i64, 2, 3]).transform("holder", holder).transform("below", Below(Arc::clone(&log)));
    let out = stream.collect();
    run(env, 1);
    assert_eq!(out.take(), [1, 2, 3]);
    let log = log.lock().unwrap();
    let rest = ["batch", "  3 at none", "before W max"];
    let begin = ["take 1", "take 2", "batch", "  1 at none", "  2 at none", "take 3"];
    let told: Vec<&str> = log.iter().map(String::as_str).filter(|line| !line.starts_with("open")).collect();
    assert_eq!(told[..begin.len()], begin);
    assert_eq!(told[begin.len()..begin.len() + rest.len()], rest);
}

/// Emits a record at the end of each batch.
#[derive(Clone)]
struct Marks;

impl StreamOperator for Marks {
    type Out = i64;

    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        out.collect(-1);
    }
}

impl OneInputStreamOperator for Marks {
    type In = i64;

    fn process_element(&mut self, value: i64, _ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        out.collect(value);
    }
}

/// Nothing is told twice because there was no room at first: also at the end of a split, which waits for the end of its last batch.
#[test]
fn the_end_of_a_batch_is_told_once_whether_there_is_room_or_not() {
    let env = StreamExecutionEnvironment::new();
    let one = cramped().frame_records(1).source_batch_records(3).initial_window_records(1);
    env.set_parallelism(1).set_engine_settings(one);
    let out = env.from_collection((0..9).collect()).transform("marks", Marks).rebalance().collect();
    run(env, 1);
    // The source stops where there is no room: each record is a batch, and so is the end that it finds after the last.
    let expected: Vec<i64> = (0..9).flat_map(|n| [n, -1]).chain([-1]).collect();
    assert_eq!(out.take(), expected);
}

/// Barriers come whenever they come: between the call before one and the barrier there is what was held, and nothing else.
#[test]
fn barriers_come_behind_what_was_let_go_before_them() {
    let dir = TempDir::new().unwrap();
    let log = Log::default();
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1);
    env.set_engine_settings(cramped());
    env.enable_checkpointing(CheckpointConfig::new(dir.path()).interval(Duration::from_millis(3)));
    env.set_source_rate(Some(20_000));
    let holder = Holder { log: Arc::clone(&log), held: vec![], by_batch: false };
    let stream = env.source(GeneratorSource::new(2_000, |n| n as i64)).transform("holder", holder);
    stream.transform("below", Below(Arc::clone(&log))).rebalance().for_each(|_| ());
    run(env, 1);
    let (mut held, mut barriers) = (0, 0);
    let log = log.lock().unwrap();
    let mut lines = log.iter().map(String::as_str).skip(1);
    while let Some(line) = lines.next() {
        match line {
            "before barrier" => {
                for _ in 0..held {
                    let line = lines.next().unwrap();
                    assert!(line.ends_with(" at none"), "{line}");
                }
                assert_eq!(lines.next(), Some("  barrier"));
                (held, barriers) = (0, barriers + 1);
            }
            line if line.starts_with("take") => held += 1,
            "before W max" => break,
            line => panic!("{line}"),
        }
    }
    assert!(barriers > 1, "{barriers}");
}

/// Makes a million records of each, so many at a time.
#[derive(Clone)]
struct Many {
    passed: Arc<AtomicU64>,
    emitted: u64,
    left: u64,
}

const AT_ONCE: u64 = 100;

impl StreamOperator for Many {
    type Out = u64;

    fn resume(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
        assert_eq!(self.passed.load(Ordering::Relaxed), self.emitted, "all that was emitted has gone down before it is called again");
        assert_eq!(ctx.timestamp(), Some(77));
        for _ in 0..AT_ONCE.min(self.left) {
            out.collect(self.left);
            self.left -= 1;
            self.emitted += 1;
        }
        if self.left > 0 {
            ctx.suspend();
        }
    }

    fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<u64>) {
        assert_eq!(self.left, 0, "a watermark waits for a suspended operator");
    }

    fn batch_end(&mut self, _ctx: &mut OperatorContext<'_>, _out: &mut Output<u64>) {
        assert_eq!(self.left, 0, "the end of a batch waits for a suspended operator");
    }
}

impl OneInputStreamOperator for Many {
    type In = u64;

    fn process_element(&mut self, count: u64, ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
        assert_eq!(self.left, 0, "no record comes while it is suspended");
        self.left = count;
        self.resume(ctx, out);
    }
}

/// Where frames are small its output has no room for what one call emits; where they are large there is always room, and it is suspended all the same.
#[test]
fn an_operator_that_makes_a_million_of_one_is_suspended_and_holds_a_hundred() {
    for (settings, many) in [
        (EngineSettings::default().channel_frames(1).frame_records(7), 1_000_000),
        (EngineSettings::default().initial_window_records(1 << 20), 50_000),
    ] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(1).set_engine_settings(settings);
        let passed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&passed);
        let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::ZERO).with_timestamp_assigner(|_: u64| 77);
        let counts = [many, 3, many / 4];
        let stream = env.from_collection(counts.to_vec()).assign_timestamps_and_watermarks(strategy);
        let stream = stream.transform("many", Many { passed, emitted: 0, left: 0 }).map(move |n| {
            counted.fetch_add(1, Ordering::Relaxed);
            n
        });
        let out = stream.key_by::<u64>(|n| n % 3).reduce(|sum, n| sum + n).collect();
        run(env, 2);
        let out = out.take();
        assert_eq!(out.len() as u64, counts.iter().sum::<u64>());
        let total: u64 = counts.iter().flat_map(|count| 1..=*count).filter(|n| n % 3 == 1).sum();
        assert_eq!(out.iter().filter(|sum| **sum == total).count(), 1);
    }
}

/// Emits what runs it is given.
#[derive(Clone)]
struct Runs {
    /// Else in a record for each of theirs.
    whole: bool,
    /// The value that came last.
    last: i64,
}

impl StreamOperator for Runs {
    type Out = Vec<(Option<i64>, i64)>;

    fn before_watermark(&mut self, watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<Self::Out>) {
        let expected = if watermark == Watermark::MAX { 12 } else { watermark.0 };
        assert_eq!(self.last, expected, "all records before a watermark have come before it is told of");
    }
}

impl OneInputStreamOperator for Runs {
    type In = Event;

    const TAKES_RUNS: bool = true;

    fn process_element(&mut self, event: EventRef<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>) {
        out.collect(vec![(ctx.timestamp(), event.value)]);
    }

    fn process_run(&mut self, run: RunRecords<'_, Event>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>) {
        assert_eq!((ctx.timestamp(), run.views().len()), (None, run.len()));
        self.last = run.views().last().map_or(0, |(_, event)| event.value);
        if self.whole {
            let views: Vec<(Option<i64>, i64)> = run.views().map(|(timestamp, event)| (timestamp, event.value)).collect();
            let taken: Vec<(Option<i64>, i64)> = run.into_records().map(|(timestamp, event)| (timestamp, event.value)).collect();
            assert_eq!(views, taken);
            out.collect(taken);
        } else {
            for (timestamp, event) in run.views() {
                out.collect(vec![(timestamp, event.value)]);
            }
        }
    }
}

#[test]
fn a_run_is_no_longer_than_a_frame_and_crosses_no_watermark_and_no_end_of_a_batch() {
    // Frames of three; batches of five; watermarks behind the second and the ninth.
    let input: Vec<Event> = (1..=12).map(|n| event("k", n, n)).collect();
    let with_watermarks = |mut input: Vec<Event>| {
        for at in [2, 9] {
            input[at - 1].watermark = Some(at as i64);
        }
        input
    };
    let table: [(Vec<Event>, usize, &[&[i64]]); 4] = [
        (input.clone(), 100, &[&[1, 2, 3], &[4, 5, 6], &[7, 8, 9], &[10, 11, 12]]),
        (input.clone(), 5, &[&[1, 2, 3], &[4, 5], &[6, 7, 8], &[9, 10], &[11, 12]]),
        (with_watermarks(input.clone()), 100, &[&[1, 2], &[3, 4, 5], &[6, 7, 8], &[9], &[10, 11, 12]]),
        (with_watermarks(input), 5, &[&[1, 2], &[3, 4, 5], &[6, 7, 8], &[9], &[10], &[11, 12]]),
    ];
    for (input, batch, expected) in table {
        for whole in [true, false] {
            let env = StreamExecutionEnvironment::new();
            env.set_parallelism(1);
            env.set_engine_settings(EngineSettings::default().frame_records(3).source_batch_records(batch));
            let out = events(&env, input.clone()).transform("runs", Runs { whole, last: 0 }).collect();
            run(env, 1);
            let runs = expected.iter().map(|run| run.iter().map(|n| (Some(*n), *n)).collect::<Vec<_>>());
            let expected: Vec<_> = if whole { runs.collect() } else { runs.flatten().map(|record| vec![record]).collect() };
            assert_eq!(out.take(), expected, "batches of {batch}");
        }
    }
}

/// Takes records by runs, and has no method for those.
#[derive(Clone)]
struct Doubled;

impl StreamOperator for Doubled {
    type Out = (Option<i64>, i64);
}

impl OneInputStreamOperator for Doubled {
    type In = Event;

    const TAKES_RUNS: bool = true;

    fn process_element(&mut self, event: EventRef<'_>, ctx: &mut OperatorContext<'_>, out: &mut Output<Self::Out>) {
        out.collect((ctx.timestamp(), 2 * event.value));
    }
}

#[test]
fn a_run_is_processed_element_by_element_unless_the_operator_has_a_way_of_its_own() {
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(cramped());
    let out = events(&env, (1..=10).map(|n| event("k", 10 * n, n)).collect()).transform("doubled", Doubled).collect();
    run(env, 2);
    assert_eq!(sorted(out.take()), (1..=10).map(|n| (Some(10 * n), 2 * n)).collect::<Vec<_>>());
}

/// The same as the holder, with a key, and with a timer at the time of each record.
#[derive(Clone)]
struct KeyedHolder(Holder);

impl StreamOperator for KeyedHolder {
    type Out = i64;

    fn before_watermark(&mut self, watermark: Watermark, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.0.before_watermark(watermark, ctx, out);
    }

    fn batch_end(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.0.batch_end(ctx, out);
    }

    fn end_of_input(&mut self, ctx: &mut OperatorContext<'_>, out: &mut Output<i64>) {
        self.0.end_of_input(ctx, out);
    }
}

impl KeyedStreamOperator for KeyedHolder {
    type Key = String;
    type In = Event;

    fn process_element(&mut self, event: EventRef<'_>, ctx: &mut KeyedOperatorContext<'_, '_, String>, _out: &mut Output<i64>) {
        tell(&self.0.log, format!("take {}", event.value));
        self.0.held.push((ctx.timestamp(), event.value));
        ctx.register_event_time_timer(event.at);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut KeyedOperatorContext<'_, '_, String>, _out: &mut Output<i64>) {
        tell(&self.0.log, format!("timer {}", timer.timestamp));
        self.0.held.push((ctx.timestamp(), 0));
    }
}

#[test]
fn timers_fire_before_a_keyed_operator_is_told_of_their_watermark() {
    let table: [(Event, &[&str]); 3] = [
        (event("k", 5, 1), &["take 1"]),
        (event("k", 3, 2).then_watermark(4), &["take 2", "timer 3", "before W 4", "  1 at 5", "  2 at 3", "  0 at 3", "  W 4"]),
        (
            event("k", 9, 3).then_watermark(10),
            &["take 3", "timer 5", "timer 9", "before W 10", "  3 at 9", "  0 at 5", "  0 at 9", "  W 10"],
        ),
    ];
    let last = ["before W max", "  W max", "before end", "  end"];
    for settings in [EngineSettings::default(), cramped().slice_timers(1)] {
        let log = Log::default();
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(1).set_engine_settings(settings);
        let input = table.iter().map(|(event, _)| event.clone()).collect();
        let holder = KeyedHolder(Holder { log: Arc::clone(&log), held: vec![], by_batch: false });
        let keyed = events(&env, input).key_by::<String>(|event| event.key);
        keyed.transform("holder", holder).transform("below", Below(Arc::clone(&log))).for_each(|_| ());
        run(env, 1);
        let expected: Vec<&str> = table.iter().flat_map(|(_, calls)| calls.iter().copied()).chain(last).collect();
        assert_eq!(*log.lock().unwrap(), expected);
    }
}

#[test]
fn a_keyed_operator_is_told_of_the_end_of_a_batch() {
    let log = Log::default();
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(1).set_engine_settings(cramped());
    let holder = KeyedHolder(Holder { log: Arc::clone(&log), held: vec![], by_batch: true });
    let keyed = events(&env, (1..=9).map(|n| event("k", n, n)).collect()).key_by::<String>(|event| event.key);
    let out = keyed.transform("holder", holder).collect();
    run(env, 1);
    assert_eq!(out.take().into_iter().filter(|n| *n > 0).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    // Frames of three: at the end of each, nothing is held any more.
    let batches = log.lock().unwrap().split(|line| line == "batch").map(<[String]>::len).collect::<Vec<_>>();
    assert!(batches.len() > 3 && batches[..3].iter().all(|taken| *taken <= 3), "{batches:?}");
}

/// Fails when it is told of the last watermark.
#[derive(Clone)]
struct Fails;

impl StreamOperator for Fails {
    type Out = u64;

    fn before_watermark(&mut self, _watermark: Watermark, _ctx: &mut OperatorContext<'_>, _out: &mut Output<u64>) {
        panic!("boom");
    }
}

impl OneInputStreamOperator for Fails {
    type In = u64;

    fn process_element(&mut self, n: u64, _ctx: &mut OperatorContext<'_>, out: &mut Output<u64>) {
        out.collect(n);
    }
}

#[test]
fn a_panic_names_the_operator_and_the_call() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(vec![1]).transform("fails", Fails).for_each(|_| ());
    let error = env.execute("test", 1).and_then(JobHandle::wait).unwrap_err();
    let JobError::UserPanic { operator, message, record, .. } = &error else { panic!("{error}") };
    assert_eq!((operator.as_str(), message.as_str(), record.as_str()), ("fails", "boom", "\"(before a watermark)\""));
}
