//! Operators that make many elements of one, or take many at once.

use super::*;

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
