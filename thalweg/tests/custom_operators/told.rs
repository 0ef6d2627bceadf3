//! What an operator is told of, and what it emits in front of that.

use super::*;

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
