//! Keyed process functions: state, timers, side outputs.

#![allow(clippy::disallowed_methods, reason = "a test waits for a job in real time")]

mod common;

use common::{Event, EventRef, event, events, run, sorted};
use thalweg::{
    Context, KeyedProcessFunction, ListState, MapState, OpenContext, Output, OutputTag, StreamExecutionEnvironment, Timer, TimerDomain,
    ValueState,
};

const BIG: OutputTag<i64> = OutputTag::new("big");

/// Uses every kind of state: emits count, list and map of each key, and sends values over 100 aside.
#[derive(Clone, Default)]
struct Everything {
    count: ValueState<u64>,
    values: ListState<i64>,
    by_time: MapState<i64, i64>,
}

impl KeyedProcessFunction for Everything {
    type Key = String;
    type In = Event;
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext<'_, String>) {
        self.count = ctx.value_state("count");
        self.values = ctx.list_state("values");
        self.by_time = ctx.map_state("by-time");
    }

    fn process_element(&mut self, event: EventRef<'_>, ctx: &mut Context<'_, String>, out: &mut Output<String>) {
        *ctx.value(self.count).get_or_insert_with(|| 0) += 1;
        ctx.list(self.values).add(event.value);
        ctx.map(self.by_time).put(event.at, event.value);
        if event.value > 100 {
            ctx.output(&BIG, event.value);
        }
        if event.value < 0 {
            ctx.value(self.count).clear();
            ctx.list(self.values).clear();
            ctx.map(self.by_time).clear();
        }
        let count = ctx.value(self.count).get().copied().unwrap_or(0);
        let map: Vec<_> = ctx.map(self.by_time).iter().map(|(at, value)| format!("{at}:{value}")).collect();
        out.collect(format!("{} {count} {:?} {}", ctx.key(), ctx.list(self.values).get().collect::<Vec<_>>(), map.join(",")));
    }
}

#[test]
fn value_list_and_map_state_belong_to_the_key_and_can_be_cleared() {
    let env = StreamExecutionEnvironment::new();
    let input = vec![event("a", 9, 1), event("b", 1, 500), event("a", 3, 2), event("a", 4, -1), event("a", 5, 7)];
    let out = events(&env, input).key_by::<String>(|event| event.key).process(Everything::default());
    let big = out.side_output(&BIG).collect();
    let out = out.collect();
    run(env, 1);
    assert_eq!(out.take(), ["a 1 [1] 9:1", "b 1 [500] 1:500", "a 2 [1, 2] 3:2,9:1", "a 0 [] ", "a 1 [7] 5:7"]);
    assert_eq!(big.take(), [500]);
}

/// Sets a timer at each record's value and reports when it fires.
#[derive(Clone)]
struct TimerAtValue;

impl KeyedProcessFunction for TimerAtValue {
    type Key = String;
    type In = Event;
    type Out = String;

    fn process_element(&mut self, event: EventRef<'_>, ctx: &mut Context<'_, String>, out: &mut Output<String>) {
        match event.value {
            0 => out.collect(format!("{} at {}", event.key, ctx.current_watermark().0)),
            value if value < 0 => ctx.delete_event_time_timer(-value),
            value => ctx.register_event_time_timer(value),
        }
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, String>, out: &mut Output<String>) {
        assert_eq!((timer.domain, ctx.timestamp()), (TimerDomain::EventTime, Some(timer.timestamp)));
        out.collect(format!("{}!{}", ctx.key(), timer.timestamp));
    }
}

#[test]
fn event_time_timers_fire_once_in_order_when_the_watermark_reaches_them() {
    let env = StreamExecutionEnvironment::new();
    let input = vec![
        event("a", 1, 20),
        event("a", 1, 10),
        event("b", 1, 10),
        event("a", 1, 10),
        event("c", 1, 15),
        event("c", 1, -15).then_watermark(9),
        event("a", 2, 0).then_watermark(10),
        event("b", 3, 0),
        // In the past already: fires at once.
        event("b", 4, 5),
        event("b", 5, 0),
    ];
    let out = events(&env, input).key_by::<String>(|event| event.key).process(TimerAtValue).collect();
    run(env, 1);
    assert_eq!(out.take(), ["a at 9", "a!10", "b!10", "b at 10", "b!5", "b at 10", "a!20"]);
}

/// Fires a processing-time timer ten milliseconds after each record, and stops the world's patience.
#[derive(Clone)]
struct Later;

impl KeyedProcessFunction for Later {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn process_element(&mut self, _n: u64, ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {
        let now = ctx.current_processing_time();
        ctx.register_processing_time_timer(now + 10);
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<'_, u64>, out: &mut Output<u64>) {
        assert_eq!(timer.domain, TimerDomain::ProcessingTime);
        assert!(ctx.current_processing_time() >= timer.timestamp);
        out.collect(ctx.key());
    }
}

#[test]
fn processing_time_timers_fire_while_the_input_goes_on() {
    let env = StreamExecutionEnvironment::new();
    env.set_source_rate(Some(50));
    let out = env
        .source(thalweg::connectors::GeneratorSource::unbounded(|i| i))
        .set_parallelism(1)
        .key_by::<u64>(|n| *n)
        .process(Later)
        .collect();
    let handle = env.execute("test", 1).unwrap();
    let control = handle.control();
    while control.metrics().sum("collect", "numRecordsSend") < 3 {
        std::thread::yield_now();
    }
    handle.stop();
    handle.wait().unwrap();
    let fired = sorted(out.take());
    assert!(fired.len() >= 3 && fired.iter().enumerate().all(|(i, key)| i as u64 == *key), "{fired:?}");
}

/// Uses a state that was never registered.
#[derive(Clone, Default)]
struct Forgetful {
    count: ValueState<u64>,
}

impl KeyedProcessFunction for Forgetful {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn process_element(&mut self, _n: u64, ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {
        ctx.value(self.count).set(1);
    }
}

#[test]
fn a_state_that_was_not_registered_fails_the_job_with_the_cure() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(vec![7u64]).key_by::<u64>(|n| *n).process(Forgetful::default()).for_each(|_| {});
    let error = env.execute("test", 1).and_then(thalweg::JobHandle::wait).unwrap_err().to_string();
    assert!(error.contains("operator process") && error.contains("in open()") && error.contains("at record: 7"), "{error}");
}

/// Uses a handle of nobody's, or one that another operator has registered.
#[derive(Clone, Default)]
struct Borrowed {
    registers: bool,
    /// Where the handle travels from the operator that registers it to one that does not.
    handle: std::sync::Arc<std::sync::Mutex<ValueState<u64>>>,
}

impl KeyedProcessFunction for Borrowed {
    type Key = u64;
    type In = u64;
    type Out = u64;

    fn open(&mut self, ctx: &mut OpenContext<'_, u64>) {
        let count = ctx.value_state::<u64>("count");
        if self.registers {
            *self.handle.lock().expect("nobody panics with it") = count;
        }
    }

    fn process_element(&mut self, n: u64, ctx: &mut Context<'_, u64>, out: &mut Output<u64>) {
        let handle = *self.handle.lock().expect("nobody panics with it");
        *ctx.value(handle).get_or_insert_with(|| 0) += n;
        out.collect(n);
    }
}

#[test]
fn a_handle_that_the_operator_has_not_registered_fails_it_by_name() {
    for registers in [false, true] {
        let env = StreamExecutionEnvironment::new();
        let function = Borrowed { registers, ..Borrowed::default() };
        let first = env.from_collection(vec![1u64]).key_by::<u64>(|n| *n).process(function.clone()).name("first");
        first.key_by::<u64>(|n| *n).process(Borrowed { registers: false, ..function }).name("second").collect();
        let failed =
            env.execute("borrowed", 1).and_then(thalweg::JobHandle::wait).expect_err("the handle is not this operator's").to_string();
        let operator = if registers { "second" } else { "first" };
        assert!(
            failed.contains(&format!("a state is used that operator {operator} ")) && failed.contains("has not registered"),
            "{failed}"
        );
    }
}
