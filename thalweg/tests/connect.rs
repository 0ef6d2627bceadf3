//! Two streams, each with its own type of records, in one operator.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

mod common;

use common::{Event, EventRef, event, events, run, sorted};
use thalweg::{
    CoProcessContext, CoProcessFunction, Context, EngineSettings, KeyedCoProcessFunction, MapState, OpenContext, Output, OutputTag,
    StreamExecutionEnvironment, Timer, ValueState, Watermark,
};

const UNKNOWN: OutputTag<i64> = OutputTag::new("unknown");

/// Reports, when the watermark of both inputs has come to the time of a record, the name of its key, the time and the value; the names come in the second
/// input, which has no watermark before its end.
#[derive(Clone, Default)]
struct WhenBothAreThere {
    name: ValueState<String>,
    values: MapState<i64, i64>,
}

impl KeyedCoProcessFunction for WhenBothAreThere {
    type Key = String;
    type In1 = Event;
    type In2 = (String, String);
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
        (self.name, self.values) = (ctx.value_state("name"), ctx.map_state("values"));
    }

    fn process_element1(&mut self, event: EventRef<'_>, ctx: &mut Context<'_, String>, _out: &mut Output<String>) {
        ctx.map(self.values).put(event.at, event.value);
        ctx.register_event_time_timer(event.at);
    }

    fn process_element2(&mut self, (_, name): (&str, &str), ctx: &mut Context<'_, String>, _out: &mut Output<String>) {
        assert_eq!(ctx.current_watermark(), Watermark::MIN, "it is the earlier of both");
        ctx.value(self.name).set(name.to_owned());
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<String>) {
        let Some(value) = ctx.map(self.values).remove(&timer.timestamp) else { return };
        match ctx.value(self.name).get().cloned() {
            Some(name) => out.collect(format!("{name} {} {value}", timer.timestamp)),
            None => ctx.output(&UNKNOWN, value),
        }
    }
}

/// Names of two keys, without a watermark before their end.
fn names() -> Vec<Event> {
    vec![event("a=Ada", 0, 0), event("b=Bea", 1, 0)]
}

fn of_pair(event: EventRef<'_>) -> (String, String) {
    let (key, name) = event.key.split_once('=').unwrap_or_default();
    (key.to_owned(), name.to_owned())
}

#[test]
fn the_records_of_a_key_meet_from_both_streams_and_time_is_the_earlier_of_both() {
    for (cores, parallelism) in [(1, 1), (2, 2), (2, 5)] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let values = vec![event("a", 5, 1), event("b", 6, 2).then_watermark(100), event("c", 7, 3), event("a", 8, 4)];
        let values = events(&env, values).key_by::<String>(|event| event.key);

        let named = events(&env, names()).map(of_pair).key_by::<String>(|pair| pair.0);
        let out = values.connect(named).process(WhenBothAreThere::default()).name("both");
        let unknown = out.side_output(&UNKNOWN).collect();
        let out = out.collect();
        run(env, cores);
        // The names carry no watermark before their end, so no timer has fired before they were there.
        assert_eq!(sorted(out.take()), ["Ada 5 1", "Ada 8 4", "Bea 6 2"], "{cores} cores, parallelism {parallelism}");
        assert_eq!(unknown.take(), [3]);
    }
}

/// Says where each record came from, and more than there is room for.
#[derive(Clone)]
struct Both {
    times: u64,
}

impl CoProcessFunction for Both {
    type In1 = u64;
    type In2 = String;
    type Out = (u64, String);

    fn process_element1(&mut self, number: u64, ctx: &mut CoProcessContext<'_>, out: &mut Output<(u64, String)>) {
        assert_eq!(ctx.timestamp(), None);
        (0..self.times).for_each(|time| out.collect((time, number.to_string())));
    }

    fn process_element2(&mut self, word: &str, _ctx: &mut CoProcessContext<'_>, out: &mut Output<(u64, String)>) {
        (0..self.times).for_each(|time| out.collect((time, word.to_owned())));
    }
}

#[test]
fn two_streams_without_a_key_are_suspended_like_one() {
    const TIMES: u64 = 20_000;
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    // Each call emits far more than there is room for.
    env.set_engine_settings(EngineSettings::default().frame_records(16).channel_frames(1));
    let words = env.from_collection(vec!["a".to_owned(), "b".to_owned()]);
    let both = env.from_collection(vec![1u64, 2]).connect(words).process(Both { times: TIMES });
    let counts = both.key_by::<String>(|pair| pair.1).reduce(|so_far, _| (so_far.0 + 1, so_far.1.to_owned())).collect();
    run(env, 2);
    let counts = sorted(counts.take());
    assert_eq!(counts.len() as u64, 4 * TIMES);
    let last: Vec<_> = counts.iter().rev().take(4).map(|(_, of)| of.as_str()).collect();
    assert_eq!(sorted(last), ["1", "2", "a", "b"]);
}

/// Counts what came in each input, in one subtask.
#[derive(Clone, Default)]
struct Count {
    first: u64,
    second: u64,
}

impl CoProcessFunction for Count {
    type In1 = u64;
    type In2 = u64;
    type Out = (u64, u64, u64);

    fn process_element1(&mut self, _n: u64, ctx: &mut CoProcessContext<'_>, out: &mut Output<(u64, u64, u64)>) {
        self.first += 1;
        out.collect((ctx.subtask() as u64, self.first, self.second));
    }

    fn process_element2(&mut self, _n: u64, ctx: &mut CoProcessContext<'_>, out: &mut Output<(u64, u64, u64)>) {
        self.second += 1;
        out.collect((ctx.subtask() as u64, self.first, self.second));
    }
}

#[test]
fn an_input_may_be_a_union_and_another_a_broadcast_even_of_one_type() {
    let env = StreamExecutionEnvironment::new();
    let [a, b, rules] = [0..10u64, 10..30, 0..7].map(|range| env.from_collection(range.collect::<Vec<_>>()));
    let counts = a.union(b).rebalance().connect(rules.broadcast()).process(Count::default()).set_parallelism(3).collect();
    run(env, 2);
    let counts = counts.take();
    let most = |of: fn(&(u64, u64, u64)) -> u64, subtask| counts.iter().filter(|count| count.0 == subtask).map(of).max().unwrap_or(0);
    assert_eq!((0..3).map(|subtask| most(|count| count.1, subtask)).sum::<u64>(), 30, "each record of the union comes once");
    assert_eq!((0..3).map(|subtask| most(|count| count.2, subtask)).collect::<Vec<_>>(), [7, 7, 7], "each rule comes to all");
}

#[test]
#[should_panic(expected = "streams of different environments cannot be connected")]
fn streams_of_two_environments_are_refused() {
    let [one, other] = [(); 2].map(|()| StreamExecutionEnvironment::new());
    drop(one.from_collection(vec![1]).connect(other.from_collection(vec![2])));
}

#[test]
#[should_panic(expected = "streams of different environments cannot be connected")]
fn keyed_streams_of_two_environments_are_refused() {
    let [one, other] = [(); 2].map(|()| StreamExecutionEnvironment::new());
    let keyed = |env: &StreamExecutionEnvironment| env.from_collection(vec![1u64]).key_by::<u64>(|n| *n);
    drop(keyed(&one).connect(keyed(&other)));
}
