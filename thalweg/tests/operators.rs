//! The operators without time: what comes in, and what comes out.

mod common;

use common::{Event, EventRef, event, run, sorted};
use thalweg::connectors::{CollectionSource, GeneratorSource};
use thalweg::{Chain, DataStream, EngineSettings, JobError, StreamExecutionEnvironment};

fn numbers(env: &StreamExecutionEnvironment, count: u64) -> DataStream<impl Chain<Out = u64>> {
    env.source(GeneratorSource::new(count, |i| i))
}

#[test]
fn map_filter_and_flat_map_keep_the_order_of_a_subtask() {
    let env = StreamExecutionEnvironment::new();
    let out = numbers(&env, 6).map(|n| n * 10).filter(|n| n % 20 == 0).flat_map(|n| [n, n + 1]).collect();
    run(env, 1);
    assert_eq!(out.take(), [0, 1, 20, 21, 40, 41]);
}

#[test]
fn a_flat_map_of_a_million_records_suspends_and_loses_none() {
    let env = StreamExecutionEnvironment::new();
    env.set_engine_settings(EngineSettings::default().channel_frames(1).frame_records(7));
    let out =
        numbers(&env, 3).flat_map(|n| (0..1_000_000u64).map(move |i| n + i)).key_by::<u64>(|n| *n % 5).reduce(|sum, n| sum + n).collect();
    run(env, 2);
    let out = out.take();
    assert_eq!(out.len(), 3_000_000);
    // Each key's last running sum is its total.
    let total: u64 = (0..3u64).flat_map(|n| (0..1_000_000).map(move |i| n + i)).filter(|n| n % 5 == 0).sum();
    assert_eq!(out.iter().filter(|sum| **sum == total).count(), 1);
}

#[test]
fn reduce_emits_a_running_result_a_key() {
    let env = StreamExecutionEnvironment::new();
    let input = vec![event("a", 0, 1), event("b", 0, 10), event("a", 0, 2), event("a", 0, 3), event("b", 0, 20)];
    let add = |sum: EventRef<'_>, next: EventRef<'_>| event(sum.key, 0, sum.value + next.value);
    let out = env
        .from_collection(input)
        .key_by::<String>(|event| event.key)
        .reduce(add)
        .map(|event| (event.key.to_owned(), event.value))
        .collect();
    run(env, 1);
    let expected = [("a", 1), ("b", 10), ("a", 3), ("a", 6), ("b", 30)];
    assert_eq!(out.take(), expected.map(|(key, sum)| (key.to_owned(), sum)));
}

#[test]
fn union_gives_the_records_of_both_streams() {
    let env = StreamExecutionEnvironment::new();
    let left = numbers(&env, 3);
    let right = numbers(&env, 2).map(|n| n + 100);
    let out = left.union(right).map(|n| n * 2).collect();
    run(env, 2);
    assert_eq!(sorted(out.take()), [0, 2, 4, 200, 202]);
}

#[test]
fn every_stream_of_a_shared_one_gets_all_records() {
    let env = StreamExecutionEnvironment::new();
    let shared = numbers(&env, 5).map(|n| n + 1).shared();
    let even = shared.stream().filter(|n| n % 2 == 0).collect();
    let all = shared.stream().set_parallelism(1).collect();
    run(env, 2);
    assert_eq!((sorted(even.take()), sorted(all.take())), (vec![2, 4], vec![1, 2, 3, 4, 5]));
}

#[test]
fn broadcast_reaches_every_subtask_and_rebalance_one() {
    let env = StreamExecutionEnvironment::new();
    let everywhere = numbers(&env, 4).broadcast().set_parallelism(3).map(|n| n).collect();
    let somewhere = numbers(&env, 4).rebalance().set_parallelism(3).map(|n| n).collect();
    run(env, 2);
    assert_eq!(sorted(everywhere.take()), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    assert_eq!(sorted(somewhere.take()), [0, 1, 2, 3]);
}

/// The same job whatever the cut of its chains, its parallelism and the engine's constants.
#[test]
fn chaining_parallelism_and_sizes_do_not_change_the_result() {
    let tiny = EngineSettings::default()
        .frame_records(1)
        .channel_frames(1)
        .flush_after_frames(1)
        .slice_records(1)
        .slice_timers(1)
        .source_batch_records(1);
    let mut results = vec![];
    for (chained, settings) in [(true, EngineSettings::default()), (false, EngineSettings::default()), (true, tiny.clone()), (false, tiny)]
    {
        for (cores, parallelism) in [(1, 1), (1, 3), (2, 2), (2, 5)] {
            let env = StreamExecutionEnvironment::new();
            env.set_parallelism(parallelism).set_engine_settings(settings.clone());
            if !chained {
                env.disable_operator_chaining();
            }
            let out = numbers(&env, 500)
                .map(|n| n % 50)
                .filter(|n| n % 3 != 0)
                .key_by::<u64>(|n| *n)
                .reduce(|a, b| a + b)
                .set_parallelism(parallelism.min(3))
                .map(|n| n + 1)
                .disable_chaining()
                .filter(|n| n % 2 == 0)
                .collect();
            run(env, cores);
            results.push(sorted(out.take()));
        }
    }
    assert!(!results[0].is_empty() && results.iter().all(|result| *result == results[0]));
}

#[test]
fn splits_are_shared_out_and_all_are_read() {
    for parallelism in [1, 2, 3, 7] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let splits = (0..3).map(|split| (0..100).map(|i| split * 1000 + i).collect()).collect();
        let out = env.source(CollectionSource::<u64>::from_splits(splits)).collect();
        run(env, 2);
        let expected: Vec<u64> = (0..3).flat_map(|split| (0..100).map(move |i| split * 1000 + i)).collect();
        assert_eq!(sorted(out.take()), expected);
    }
}

#[test]
fn an_empty_input_ends_a_job() {
    let env = StreamExecutionEnvironment::new();
    let out = env.from_collection(Vec::<Event>::new()).key_by::<String>(|event| event.key).reduce(|a, _| event(a.key, 0, 0)).collect();
    run(env, 2);
    assert!(out.take().is_empty());
}

#[test]
fn a_job_that_cannot_run_says_why() {
    let build = |describe: fn(&StreamExecutionEnvironment)| {
        let env = StreamExecutionEnvironment::new();
        describe(&env);
        env.execute("test", 1).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(build(|_| {}).contains("it has no sink"));
    let too_parallel = build(|env| drop(numbers(env, 1).set_parallelism(129).for_each(|_| {})));
    assert!(
        too_parallel.contains("parallelism of generator -> for-each is 129") && too_parallel.contains("128 key groups"),
        "{too_parallel}"
    );
    let same_uid = build(|env| drop(numbers(env, 1).map(|n| n).uid("x").map(|n| n).uid("x").for_each(|_| {})));
    assert!(same_uid.contains("two operators have the uid x"), "{same_uid}");
    let dangling = build(|env| {
        let stream = numbers(env, 1).map(|n| n);
        stream.side_output(&thalweg::OutputTag::<u64>::new("side")).for_each(|_| {});
    });
    assert!(dangling.contains("a side output of map is used but its main stream leads nowhere"), "{dangling}");
}

#[test]
fn a_panic_in_a_user_function_names_the_operator_and_the_record() {
    for chained in [true, false] {
        let env = StreamExecutionEnvironment::new();
        if !chained {
            env.disable_operator_chaining();
        }
        let out = numbers(&env, 1000)
            .map(|n| event("k", 0, n as i64))
            .map(|event| if event.value == 777 { panic!("boom at {}", event.value) } else { event.value })
            .name("explosive")
            .filter(|_| true)
            .collect();
        let error = env.execute("test", 2).and_then(thalweg::JobHandle::wait).unwrap_err();
        let JobError::UserPanic { operator, message, record, .. } = &error else { panic!("{error}") };
        assert_eq!((operator.as_str(), message.as_str()), ("explosive", "boom at 777"));
        assert!(record.contains("value: 777") && record.contains("key: \"k\""), "{record}");
        assert!(out.take().is_empty(), "a job that failed shows nothing");
    }
}

/// A stage that stopped because its slice was over is not one that waits for room: the task must go on by itself.
#[test]
fn stages_above_a_flat_map_that_is_in_the_middle_of_a_record_go_on() {
    for slice in [1, 3, 100] {
        let env = StreamExecutionEnvironment::new();
        env.set_engine_settings(EngineSettings::default().slice_records(slice).slice_timers(slice));
        let out = numbers(&env, 3)
            .flat_map(|n| (0..500u64).map(move |i| n * 1000 + i))
            .flat_map(|n| [n, n])
            .key_by::<u64>(|n| *n)
            .reduce(|a, _| a)
            .flat_map(|n| (0..7u64).map(move |i| n + i))
            .collect();
        // More cores than there are keep a task from spinning, which would hide that it sleeps.
        run(env, 5);
        assert_eq!(out.take().len(), 3 * 500 * 2 * 7);
    }
}

#[test]
fn unchained_tasks_are_named_after_the_operators_they_run() {
    let describe = |chained: bool| {
        let env = StreamExecutionEnvironment::new();
        if !chained {
            env.disable_operator_chaining();
        }
        numbers(&env, 1).map(|n| n).filter(|_| true).for_each(|_| {});
        env.build("test").unwrap().describe()
    };
    assert_eq!(describe(true), "task 0: generator -> map -> filter -> for-each (parallelism default)\n");
    let unchained = describe(false);
    assert!(
        unchained.contains(": generator (") && unchained.contains(": map (") && unchained.contains(": filter -> for-each ("),
        "{unchained}"
    );
}

#[test]
fn an_operator_behind_an_exchange_keeps_its_parallelism_when_it_is_cut_off() {
    let env = StreamExecutionEnvironment::new();
    numbers(&env, 1).rebalance().map(|n| n).set_parallelism(4).disable_chaining().filter(|_| true).for_each(|_| {});
    let described = env.build("test").unwrap().describe();
    assert!(described.contains(": map (parallelism 4)") && described.contains(": filter -> for-each (parallelism 4)"), "{described}");
    assert_eq!(described.lines().count(), 3, "{described}");
}
