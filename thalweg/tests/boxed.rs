//! Jobs whose shape is decided when they are described: one type of stream, whatever is put on it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;
use thalweg::{
    AggregateFunction, Boxed, Context, DataStream, EngineSettings, KeyedProcessFunction, Output, OutputTag, StreamExecutionEnvironment,
    TumblingEventTimeWindows, WatermarkStrategy,
};

type Numbers = DataStream<Boxed<i64>>;

/// What can be put on a stream of numbers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Map,
    Filter,
    FlatMap,
    Timestamps,
    SumByKey,
    Window,
    Process,
    Rebalance,
    Union,
    NewChain,
    Unchained,
    SideOutput,
}

const STEPS: [Step; 12] = [
    Step::Map,
    Step::Filter,
    Step::FlatMap,
    Step::Timestamps,
    Step::SumByKey,
    Step::Window,
    Step::Process,
    Step::Rebalance,
    Step::Union,
    Step::NewChain,
    Step::Unchained,
    Step::SideOutput,
];

#[derive(Clone)]
struct Sum;

impl AggregateFunction<i64> for Sum {
    type Accumulator = i64;
    type Output = i64;

    fn create_accumulator(&self) -> i64 {
        0
    }

    fn add(&self, value: i64, sum: &mut i64) {
        *sum += value;
    }

    fn merge(&self, other: i64, sum: &mut i64) {
        *sum += other;
    }

    fn get_result(&self, sum: &i64) -> i64 {
        *sum
    }
}

const ODD: OutputTag<i64> = OutputTag::new("odd");

/// Sends odd numbers to a side output, and the others on.
#[derive(Clone)]
struct Split;

impl KeyedProcessFunction for Split {
    type Key = i64;
    type In = i64;
    type Out = i64;

    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, i64>, out: &mut Output<i64>) {
        if value % 2 == 0 { out.collect(value) } else { ctx.output(&ODD, value) }
    }
}

fn timestamps(numbers: Numbers) -> Numbers {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1_000_000));
    numbers.assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(|n: i64| n)).boxed()
}

fn put(numbers: Numbers, step: Step) -> Numbers {
    match step {
        Step::Map => numbers.map(|n| n + 7).boxed(),
        Step::Filter => numbers.filter(|n| n % 3 != 0).boxed(),
        Step::FlatMap => numbers.flat_map(|n| [n, -n]).boxed(),
        Step::Timestamps => timestamps(numbers),
        Step::SumByKey => numbers.key_by::<i64>(|n| n % 5).aggregate(Sum, |key, _| key).boxed(),
        Step::Window => {
            let windows = timestamps(numbers).key_by::<i64>(|n| n % 5).window(TumblingEventTimeWindows::of(Duration::from_millis(50)));
            windows.aggregate(Sum, |_, _, sum| sum).boxed()
        }
        Step::Process => numbers.key_by::<i64>(|n| *n).process(Split).boxed(),
        Step::Rebalance => numbers.rebalance().boxed(),
        Step::Union => {
            let both = numbers.shared();
            both.stream().union(both.stream().map(|n| n * 2)).boxed()
        }
        Step::NewChain => numbers.map(|n| n - 1).start_new_chain().set_parallelism(1).boxed(),
        Step::Unchained => numbers.disable_chaining().boxed(),
        Step::SideOutput => {
            let split = numbers.key_by::<i64>(|n| *n).process(Split).boxed();
            let odd = split.side_output(&ODD);
            split.union(odd.map(|n| n + 1)).boxed()
        }
    }
}

/// The same by hand.
fn expected(numbers: Vec<i64>, step: Step) -> Vec<i64> {
    let numbers = numbers.into_iter();
    match step {
        Step::Map => numbers.map(|n| n + 7).collect(),
        Step::Filter => numbers.filter(|n| n % 3 != 0).collect(),
        Step::FlatMap => numbers.flat_map(|n| [n, -n]).collect(),
        Step::Timestamps | Step::Rebalance | Step::Unchained => numbers.collect(),
        Step::SumByKey => numbers.map(|n| n % 5).collect(),
        Step::Window => {
            let mut sums = std::collections::BTreeMap::new();
            numbers.for_each(|n| *sums.entry((n.div_euclid(50), n % 5)).or_default() += n);
            sums.into_values().collect()
        }
        Step::Process => numbers.filter(|n| n % 2 == 0).collect(),
        Step::Union => numbers.flat_map(|n| [n, 2 * n]).collect(),
        Step::NewChain => numbers.map(|n| n - 1).collect(),
        Step::SideOutput => numbers.map(|n| if n % 2 == 0 { n } else { n + 1 }).collect(),
    }
}

#[track_caller]
fn check(steps: &[Step], settings: EngineSettings) {
    let input: Vec<i64> = (0..200).collect();
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(settings);
    let stream = steps.iter().fold(env.from_collection(input.clone()).boxed(), |stream, step| put(stream, *step));
    let collected = stream.collect();
    env.execute("boxed", 2).unwrap().wait().unwrap();
    let mut found = collected.take();
    let mut expected = steps.iter().fold(input, |numbers, step| expected(numbers, *step));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{steps:?}");
}

/// Frames of a few records and channels of one frame: every joint is out of room again and again.
fn cramped() -> EngineSettings {
    EngineSettings::default().frame_records(3).channel_frames(1)
}

#[test]
fn whatever_is_put_on_a_boxed_stream_does_what_it_does_on_a_typed_one() {
    for step in STEPS {
        check(&[step], EngineSettings::default());
        check(&[step, Step::FlatMap, step], cramped());
    }
}

#[test]
fn graphs_of_any_shape_are_built_in_a_loop() {
    let mut random = 1u64;
    for _ in 0..24 {
        let mut steps = Vec::new();
        for _ in 0..5 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            steps.push(STEPS[(random >> 33) as usize % STEPS.len()]);
        }
        check(&steps, cramped());
    }
}

#[test]
fn keyed_streams_of_boxed_ones_have_one_type_where_the_key_is_the_same_function() {
    fn last_digit(n: &i64) -> i64 {
        n % 10
    }
    for is_filtered in [false, true] {
        let env = StreamExecutionEnvironment::new();
        let numbers = env.from_collection((0..100i64).collect()).boxed();
        let keyed =
            if is_filtered { numbers.filter(|n| n >= 50).boxed().key_by::<i64>(last_digit) } else { numbers.key_by::<i64>(last_digit) };
        let collected = keyed.reduce(|sum, n| sum + n).collect();
        env.execute("keyed", 1).unwrap().wait().unwrap();
        assert_eq!(collected.take().len(), if is_filtered { 50 } else { 100 });
    }
}
