//! Operators with keys and timers, and those that fail.

use super::*;

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
