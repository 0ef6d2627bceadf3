//! Killed and started again: what a death leaves, what it takes, and that nobody tidies up after it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thalweg_io::{Buffer, File, Io, LocalBoxFuture, MonotonicNs, OpenMode, ProbeEvent, TaskClass};
use thalweg_sim::{
    CrashStyle, DiskConfig, Ending, IncarnationEnd, KillKind, KillPlan, KillPoint, Killed, Oracle, Outcome, Violation, World, WorldConfig,
};

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(MonotonicNs(io.clock().now().0 + ms * 1_000_000)).await;
}

async fn create(io: &Io, path: &str) -> Rc<dyn File> {
    io.disk().open(Path::new(path), OpenMode::CreateNew).await.unwrap()
}

async fn write(file: &dyn File, offset: u64, bytes: &[u8]) {
    drop(file.write_at(offset, Buffer::from(bytes)).await.unwrap());
}

/// Runs one incarnation on one core.
fn live<T: Send + 'static>(
    world: &World,
    kill: Option<KillPlan>,
    body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static,
) -> Outcome<IncarnationEnd<T>> {
    world.run_incarnation(kill, move |cores| async move { cores.on_core(body).await })
}

fn death(outcome: &Outcome<IncarnationEnd<()>>) -> Killed {
    match &outcome.ending {
        Ending::Done(IncarnationEnd::Killed(killed)) => *killed,
        _ => panic!("{outcome}"),
    }
}

fn contents(world: &World) -> Vec<(String, Vec<u8>)> {
    world.disk().files("/").unwrap()
}

fn at(ms: u64) -> KillPoint {
    KillPoint::Time { ms }
}

/// Writes a file, syncs the first half of it, and waits to be killed.
fn half_synced(io: Io) -> LocalBoxFuture<()> {
    Box::pin(async move {
        let file = create(&io, "file").await;
        io.disk().sync_dir(Path::new("/")).await.unwrap();
        write(&*file, 0, b"synced ").await;
        file.sync().await.unwrap();
        write(&*file, 7, b"unsynced").await;
        sleep_ms(&io, 10_000).await;
    })
}

#[test]
fn the_death_of_the_process_leaves_what_was_written_and_a_power_loss_what_was_synced() {
    for (kind, expected) in [
        (KillKind::Process, &b"synced unsynced"[..]),
        (KillKind::PowerLoss(CrashStyle::KeepUnsynced), b"synced unsynced"),
        (KillKind::PowerLoss(CrashStyle::LoseUnsynced), b"synced "),
    ] {
        let world = World::new(1, WorldConfig::calm());
        let outcome = live(&world, Some(KillPlan { at: at(5_000), kind }), half_synced);
        let killed = death(&outcome);
        assert_eq!((killed.kind, killed.at_operation, killed.window), (kind, 5, None));
        assert!((5_000_000_000..5_002_000_000).contains(&killed.at_ns), "{killed}");
        assert_eq!(contents(&world), [("file".to_owned(), expected.to_vec())], "{killed}");
    }
}

#[test]
fn a_random_power_loss_leaves_the_synced_half_and_any_part_of_the_rest() {
    let found: BTreeSet<_> = (0..60)
        .map(|seed| {
            let world = World::new(seed, WorldConfig::calm());
            live(&world, Some(KillPlan::power_loss(at(5_000), CrashStyle::Random)), half_synced);
            contents(&world).remove(0).1
        })
        .collect();
    assert!(found.contains(&b"synced "[..]) && found.contains(&b"synced unsynced"[..]));
    assert!(found.iter().all(|content| content.starts_with(b"synced ")));
}

/// Does everything that one can do at the door, when it is dropped.
struct Tidy {
    io: Io,
    file: Rc<dyn File>,
    awake: Rc<Cell<bool>>,
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let (disk, io) = (self.io.disk(), self.io.clone());
        let mut work: Vec<LocalBoxFuture<()>> = vec![
            Box::pin(async move { disk.unlink(Path::new("file")).await.unwrap() }),
            Box::pin({
                let file = Rc::clone(&self.file);
                async move { write(&*file, 0, b"tidied up").await }
            }),
            Box::pin({
                let file = Rc::clone(&self.file);
                async move { file.sync().await.unwrap() }
            }),
            Box::pin(async move { drop(io.net().listen("127.0.0.1:1".parse().unwrap()).await) }),
        ];
        // Some operations take effect when they are polled for the first time; patience would do the others.
        for _ in 0..50 {
            for future in &mut work {
                assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "a dead process is answered");
            }
        }
        let awake = Rc::clone(&self.awake);
        self.io.spawner().spawn(TaskClass::Latency, "tidy", Box::pin(async move { awake.set(true) }));
        self.io.observe("tidied", "up", [0; 3]);
    }
}

/// Notes the names of all events.
struct Names(Rc<RefCell<Vec<&'static str>>>);

impl Oracle for Names {
    fn name(&self) -> &str {
        "names"
    }

    fn observe(&mut self, _: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        self.0.borrow_mut().push(event.name);
        Ok(())
    }

    fn at_end(&mut self, _: u64) -> Result<(), Violation> {
        self.0.borrow_mut().push("the end");
        Ok(())
    }
}

fn tidy_main(io: Io) -> LocalBoxFuture<()> {
    Box::pin(async move {
        let file = create(&io, "file").await;
        write(&*file, 0, b"as it was").await;
        io.observe("before", "here", [0; 3]);
        let tidy = Tidy { io: io.clone(), file: Rc::clone(&file), awake: Rc::default() };
        io.observe("window", "here", [0; 3]);
        // From here on it runs on until it waits, and is dead already.
        let awake = Rc::clone(&tidy.awake);
        let set = Rc::clone(&awake);
        io.spawner().spawn(TaskClass::Latency, "child", Box::pin(async move { set.set(true) }));
        io.observe("after", "here", [0; 3]);
        std::future::poll_fn(|_| Poll::<()>::Pending).await;
        drop((tidy, awake));
    })
}

#[test]
fn destructors_do_nothing_after_a_kill() {
    let events = Rc::new(RefCell::new(vec![]));
    for seed in 0..20 {
        for kind in [KillKind::Process, KillKind::PowerLoss(CrashStyle::KeepUnsynced)] {
            let world = World::new(seed, WorldConfig::random(seed));
            let seen = Rc::clone(&events);
            world.watch_each(move || Names(Rc::clone(&seen)));
            let outcome = live(&world, Some(KillPlan { at: KillPoint::Event { name: "window", nth: 0 }, kind }), tidy_main);
            assert_eq!(death(&outcome).window, Some("window"));
            assert_eq!(contents(&world), [("file".to_owned(), b"as it was".to_vec())], "seed {seed}");
            assert_eq!(events.take(), ["before", "window"], "seed {seed}");
            assert_eq!(outcome.last_events.last().unwrap().name, "world.kill");
            assert_eq!(world.disk().operations(), 2);
        }
    }
}

#[test]
fn the_files_that_a_dead_process_had_open_are_closed() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = live(&world, Some(KillPlan::process(at(50))), |io| {
        Box::pin(async move {
            let file = create(&io, "file").await;
            write(&*file, 0, b"seven").await;
            io.disk().unlink(Path::new("file")).await.unwrap();
            // Nobody but this handle keeps the content.
            let _leaked = std::mem::ManuallyDrop::new(file);
            sleep_ms(&io, 1_000).await;
        })
    });
    death(&outcome);
    assert_eq!(world.disk().model().used_bytes(), 0);
}

#[test]
fn what_was_under_way_is_done_or_not_each_by_itself() {
    let mut found = BTreeSet::new();
    for seed in 0..80 {
        let mut config = WorldConfig::calm();
        config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 500, early_effect_per_mille: 0, ..config.disk };
        let world = World::new(seed, config);
        world.disk().put("a", "----").unwrap();
        world.disk().put("b", "----").unwrap();
        // Two are opened, then two are written: the second of these is submitted, and that is the end.
        let outcome = live(&world, Some(KillPlan::process(KillPoint::Submitted { operation: 3 })), |io| {
            Box::pin(async move {
                let open = async |path: &str| io.disk().open(Path::new(path), OpenMode::Write).await.unwrap();
                let (a, b) = (open("a").await, open("b").await);
                let mut writes = [a.write_at(0, Buffer::from(&b"AAAA"[..])), b.write_at(0, Buffer::from(&b"BBBB"[..]))];
                std::future::poll_fn(|cx| {
                    writes.iter_mut().for_each(|write| assert!(write.as_mut().poll(cx).is_pending()));
                    Poll::<()>::Pending
                })
                .await;
            })
        });
        assert_eq!(death(&outcome).at_operation, 4);
        let mut files = contents(&world).into_iter().map(|(_, content)| String::from_utf8(content).unwrap());
        found.insert((files.next().unwrap(), files.next().unwrap()));
        let settled: u64 =
            world.disk().injected().iter().filter(|(name, _)| name.starts_with("under way at the end")).map(|(_, n)| n).sum();
        assert_eq!(settled, 2);
    }
    for (a, b) in [("----", "----"), ("AAAA", "----"), ("----", "BBBB"), ("AAAA", "BBBB")] {
        assert!(found.contains(&(a.to_owned(), b.to_owned())), "{a} {b}");
    }
    assert!(found.iter().any(|(a, _)| a.contains('A') && a.contains('-')), "a write that came some way");
}

#[test]
fn an_operation_that_was_done_before_the_kill_is_done() {
    for seed in 0..20 {
        let world = World::new(seed, WorldConfig::random(seed));
        let outcome = live(&world, Some(KillPlan::process(KillPoint::Done { operation: 1 })), |io| {
            Box::pin(async move {
                let file = create(&io, "file").await;
                write(&*file, 0, b"done").await;
                unreachable!("nobody learns of it");
            })
        });
        assert_eq!(death(&outcome).at_operation, 2);
        assert_eq!(contents(&world), [("file".to_owned(), b"done".to_vec())]);
    }
}

#[test]
fn the_next_incarnation_finds_the_files_and_later_time() {
    let mut later = BTreeSet::new();
    for seed in 0..10 {
        let world = World::new(seed, WorldConfig { restart_delay_ms_max: 1_000, ..WorldConfig::calm() });
        let lives = world.run_lives(&[KillPlan::process(at(100)), KillPlan::process(at(100))], |number, cores| async move {
            cores
                .on_core(move |io| {
                    Box::pin(async move {
                        let started = io.clock().wall().0;
                        let file = create(&io, &format!("life-{number}")).await;
                        write(&*file, 0, &started.to_le_bytes()).await;
                        if number < 2 {
                            sleep_ms(&io, 10_000).await;
                        }
                        io.disk().list(Path::new("/")).await.unwrap().len()
                    })
                })
                .await
        });
        assert_eq!((lives.killed.len(), lives.outcome.expect_done()), (2, 3));
        let starts: Vec<_> = contents(&world).into_iter().map(|(_, at)| i64::from_le_bytes(at.try_into().unwrap())).collect();
        let passed: Vec<_> = starts.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(passed.iter().all(|ms| (95..1_110).contains(ms)), "{passed:?}");
        later.extend(passed);
    }
    assert!(later.len() > 10, "the pauses differ");
}

#[test]
fn how_an_incarnation_died_reaches_the_hash_of_the_next() {
    let hash = |style| {
        let world = World::new(1, WorldConfig::calm());
        world
            .run_lives(&[KillPlan::power_loss(at(5_000), style)], |number, cores| async move {
                if number == 0 {
                    cores.on_core(half_synced).await;
                }
            })
            .outcome
            .trace_hash
    };
    assert_ne!(hash(CrashStyle::LoseUnsynced), hash(CrashStyle::KeepUnsynced));
    assert_eq!(hash(CrashStyle::LoseUnsynced), hash(CrashStyle::LoseUnsynced));
}

#[test]
fn a_deadlock_is_not_hidden_by_a_kill_that_comes_later() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = live(&world, Some(KillPlan::process(at(1_000))), |_| Box::pin(std::future::pending::<()>()));
    assert!(matches!(outcome.ending, Ending::Deadlock { .. }), "{outcome}");
}

#[test]
fn a_destructor_that_panics_after_a_kill_is_nobodys_fault() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            panic!("the world has ended without me");
        }
    }
    let world = World::new(1, WorldConfig::calm());
    let outcome = live(&world, Some(KillPlan::process(at(10))), |io| {
        Box::pin(async move {
            let _loud = Loud;
            sleep_ms(&io, 1_000).await;
        })
    });
    death(&outcome);
}
