//! What a run promises: one seed, one history; every bad ending is found and named.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, and one that starts a world on another thread")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_io::{CoreMain, Cores, Io, MonotonicNs, ProbeEvent, TaskClass, mailbox, ring, yield_now};
use thalweg_sim::{ClockConfig, ClockStep, Ending, Oracle, Outcome, SchedulePolicy, SimCores, Violation, World, WorldConfig};

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(MonotonicNs(io.clock().now().0 + ms * 1_000_000)).await;
}

/// Three cores that draw, sleep, yield and send; returns what arrived, in order.
async fn busy_main(cores: SimCores) -> Vec<u64> {
    let (sender, mut receiver) = mailbox();
    let mains = (0..3)
        .map(|_| {
            let sender = sender.clone();
            Box::new(move |id: thalweg_io::CoreId, io: Io| {
                Box::pin(async move {
                    let mut rng = io.rng("numbers");
                    for _ in 0..20 {
                        let drawn = rng.below(4);
                        for _ in 0..drawn {
                            yield_now().await;
                        }
                        if drawn == 0 {
                            sleep_ms(&io, 3).await;
                        }
                        sender.send(id.0 as u64 * 100 + drawn).unwrap();
                    }
                }) as thalweg_io::LocalBoxFuture<()>
            }) as CoreMain
        })
        .collect();
    cores.start(mains).unwrap().join();
    drop(sender);
    let mut arrived = vec![];
    while let Some(message) = receiver.recv().await {
        arrived.push(message);
    }
    arrived
}

fn busy(seed: u64) -> Outcome<Vec<u64>> {
    World::new(seed, WorldConfig::random(seed)).run(busy_main)
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..30 {
        let (one, two) = (busy(seed), busy(seed));
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed}");
        assert_eq!(one.stats, two.stats, "seed {seed}");
        let arrived = one.expect_done();
        assert_eq!(arrived.len(), 60);
        assert_eq!(arrived, two.expect_done());
    }
}

#[test]
fn another_seed_gives_another_history() {
    let mut hashes: Vec<_> = (0..30).map(|seed| busy(seed).trace_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 30);
}

#[test]
fn a_second_run_in_one_world_is_another_one_and_just_as_repeatable() {
    let hashes = |seed| {
        let world = World::new(seed, WorldConfig::calm());
        (world.run(busy_main).trace_hash, world.run(busy_main).trace_hash)
    };
    assert_ne!(hashes(1).0, hashes(1).1);
    assert_eq!(hashes(1), hashes(1));
}

#[test]
fn a_history_does_not_depend_on_what_ran_before_it_or_where() {
    let here: Vec<_> = [4, 9, 2, 9, 4].map(|seed| busy(seed).trace_hash).into();
    assert_eq!((here[0], here[1]), (here[4], here[3]));
    let elsewhere = std::thread::spawn(|| busy(4).trace_hash).join().unwrap();
    assert_eq!(here[0], elsewhere);
}

#[test]
fn what_goes_into_a_ring_comes_out_under_every_schedule() {
    for seed in 0..60 {
        let outcome = World::new(seed, WorldConfig::random(seed)).run(move |cores| async move {
            let (mut producer, mut consumer) = ring::<u64>(1 + seed as usize % 5);
            let (sender, mut receiver) = mailbox();
            let produce: CoreMain = Box::new(move |_, _| {
                Box::pin(async move {
                    let mut next = 0;
                    while next < 200 && std::future::poll_fn(|cx| producer.poll_room(cx)).await {
                        while next < 200 && producer.try_push(next).is_ok() {
                            next += 1;
                        }
                    }
                })
            });
            let consume: CoreMain = Box::new(move |_, _| {
                Box::pin(async move {
                    let mut taken = vec![];
                    while std::future::poll_fn(|cx| consumer.poll_items(cx)).await {
                        taken.extend(std::iter::from_fn(|| consumer.try_pop()));
                    }
                    sender.send(taken).unwrap();
                })
            });
            cores.start(vec![produce, consume]).unwrap().join();
            receiver.recv().await
        });
        assert_eq!(outcome.expect_done(), Some((0..200).collect()), "seed {seed}");
    }
}

#[test]
fn a_task_that_takes_its_steps_from_elsewhere_is_noticed() {
    static OUTSIDE: AtomicU64 = AtomicU64::new(0);
    let run = || {
        World::new(1, WorldConfig::calm())
            .run(|_| async {
                for _ in 0..OUTSIDE.fetch_add(1, Ordering::Relaxed) {
                    yield_now().await;
                }
            })
            .trace_hash
    };
    assert_ne!(run(), run());
}

#[test]
fn a_deadlock_is_found_and_the_waiting_tasks_are_named() {
    let outcome = World::new(3, WorldConfig::calm()).run(|cores| async move {
        cores
            .on_core(|io| {
                Box::pin(async move {
                    let (_sender, mut receiver) = mailbox::<()>();
                    io.spawner().spawn(TaskClass::Throughput, "sibling", Box::pin(std::future::pending()));
                    sleep_ms(&io, 10).await;
                    receiver.recv().await
                })
            })
            .await
    });
    let Ending::Deadlock { tasks } = outcome.ending else { panic!("{outcome}") };
    let names: Vec<_> = tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["main", "core-0/main", "core-0/sibling"]);
    assert_eq!(tasks[1].last_operation, "clock.sleep");
    assert!(outcome.stats.elapsed_ns < 20_000_000, "time does not run on to the end of the world");
}

#[test]
fn a_spinning_task_is_found_even_when_others_have_timers() {
    for seed in 0..8 {
        let config = WorldConfig { polls_without_rest_max: 5_000, ..WorldConfig::random(seed) };
        let outcome = World::new(seed, config).run(|cores| async move {
            cores
                .on_core(|io| {
                    Box::pin(async move {
                        io.spawner().spawn(
                            TaskClass::Throughput,
                            "spinner",
                            Box::pin(async {
                                loop {
                                    yield_now().await;
                                }
                            }),
                        );
                        loop {
                            sleep_ms(&io, 5).await;
                        }
                    })
                })
                .await
        });
        let Ending::<()>::Spinning { task, .. } = outcome.ending else { panic!("{outcome}") };
        assert_eq!(task.name, "core-0/spinner");
    }
}

#[test]
fn a_run_that_never_ends_meets_its_limit() {
    let config = WorldConfig { virtual_time_ms_max: 1_000, ..WorldConfig::calm() };
    let outcome = World::new(1, config).run(|cores| async move {
        cores
            .on_core(|io| {
                Box::pin(async move {
                    loop {
                        sleep_ms(&io, 10).await;
                    }
                })
            })
            .await
    });
    let Ending::<()>::LimitExceeded { limit, .. } = outcome.ending else { panic!("{outcome}") };
    assert_eq!(limit, "virtual_time_ms_max");
}

#[test]
fn a_panic_is_reported_with_its_place() {
    let outcome = World::new(1, WorldConfig::calm()).run(|cores| async move {
        cores
            .on_core(|io| {
                Box::pin(async move {
                    io.spawner().spawn(TaskClass::Latency, "careless", Box::pin(async { panic!("out of luck") }));
                    std::future::pending::<()>().await;
                })
            })
            .await
    });
    let Ending::Panicked { task, message, location } = outcome.ending else { panic!("{outcome}") };
    assert_eq!((task.as_str(), message.as_str()), ("core-0/careless", "out of luck"));
    assert!(location.contains("world.rs"), "{location}");
}

#[test]
fn the_tasks_of_a_core_are_dropped_when_its_main_ends() {
    struct Noisy(Rc<RefCell<bool>>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            *self.0.borrow_mut() = true;
        }
    }
    let outcome = World::new(1, WorldConfig::calm()).run(|cores| async move {
        let (sender, mut receiver) = mailbox();
        let main: CoreMain = Box::new(move |_, io| {
            Box::pin(async move {
                let dropped = Rc::new(RefCell::new(false));
                let noisy = Noisy(Rc::clone(&dropped));
                io.spawner().spawn(
                    TaskClass::Background,
                    "left behind",
                    Box::pin(async move {
                        let _held = (noisy, sender);
                        std::future::pending::<()>().await;
                    }),
                );
                sleep_ms(&io, 1).await;
                assert!(!*dropped.borrow());
            })
        });
        cores.start(vec![main]).unwrap().join();
        receiver.recv().await
    });
    assert_eq!(outcome.expect_done(), None::<()>);
}

struct NoMoreThan {
    max: i64,
    seen: Rc<RefCell<Vec<u64>>>,
}

impl Oracle for NoMoreThan {
    fn name(&self) -> &str {
        "no more than"
    }

    fn observe(&mut self, now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        self.seen.borrow_mut().push(now_ms);
        if event.values[0] > self.max { Err(Violation::new(format!("{} is too much", event.values[0]))) } else { Ok(()) }
    }

    fn at_end(&mut self, _: u64) -> Result<(), Violation> {
        if self.seen.borrow().is_empty() { Err(Violation::new("nothing happened")) } else { Ok(()) }
    }
}

fn counting_run(max: i64, count: i64) -> (Outcome<()>, Vec<u64>) {
    let seen = Rc::new(RefCell::new(vec![]));
    let world = World::new(1, WorldConfig::calm());
    world.watch(NoMoreThan { max, seen: Rc::clone(&seen) });
    let outcome = world.run(move |cores| async move {
        cores
            .on_core(move |io| {
                Box::pin(async move {
                    for n in 0..count {
                        io.observe("counted", "here", [n, 0, 0]);
                        sleep_ms(&io, 10).await;
                    }
                })
            })
            .await;
    });
    let seen = seen.borrow().clone();
    (outcome, seen)
}

#[test]
fn the_first_violation_ends_the_run() {
    let (outcome, seen) = counting_run(2, 10);
    assert_eq!(outcome.ending, Ending::Violated { oracle: "no more than".into(), reason: "3 is too much".into() });
    assert_eq!(seen.len(), 4);
    assert!(seen[3] >= 30);
    assert_eq!(outcome.last_events.last().map(|event| event.name), Some("counted"));
}

#[test]
fn an_oracle_judges_the_run_as_a_whole() {
    assert_eq!(counting_run(10, 10).0.ending, Ending::Done(()));
    assert_eq!(counting_run(10, 0).0.ending, Ending::Violated { oracle: "no more than".into(), reason: "nothing happened".into() });
}

#[test]
fn the_wall_clock_steps_and_the_monotonic_clock_does_not() {
    let clock = ClockConfig { base_unix_ms: 50_000, steps: vec![ClockStep { at_ms: 100, by_ms: -20_000 }], ..ClockConfig::default() };
    let config = WorldConfig { clocks: vec![clock], ..WorldConfig::calm() };
    let (before, after, passed) = World::new(1, config)
        .run(|cores| async move {
            cores
                .on_core(|io| {
                    Box::pin(async move {
                        let (before, start) = (io.clock().wall(), io.clock().now());
                        sleep_ms(&io, 200).await;
                        (before.0, io.clock().wall().0, io.clock().now().since(start).as_millis())
                    })
                })
                .await
        })
        .expect_done();
    assert_eq!(before, 50_000);
    assert!((30_200..30_203).contains(&after), "{after}");
    assert!((200..203).contains(&passed), "{passed}");
}

#[test]
fn timers_pass_amid_work_when_polls_cost_time() {
    let config = WorldConfig { poll_cost_ns_max: 400_000, schedule: SchedulePolicy::Uniform, ..WorldConfig::calm() };
    let steps = World::new(1, config)
        .run(|cores| async move {
            cores
                .on_core(|io| {
                    Box::pin(async move {
                        let worker = io.clone();
                        let (sender, mut receiver) = mailbox();
                        io.spawner().spawn(
                            TaskClass::Throughput,
                            "worker",
                            Box::pin(async move {
                                let mut steps = 0;
                                let start = worker.clock().now();
                                while worker.clock().now().since(start).as_millis() < 100 {
                                    steps += 1;
                                    yield_now().await;
                                }
                                sender.send(steps).unwrap();
                            }),
                        );
                        receiver.recv().await.unwrap()
                    })
                })
                .await
        })
        .expect_done();
    assert!((200..2_000).contains(&steps), "{steps}");
}
