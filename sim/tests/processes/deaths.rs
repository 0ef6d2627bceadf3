//! Processes that are killed: when, what becomes of their files, and that the others go on.

use crate::setup::{KILL, calm, cluster, count, counter, create, start, write_at};
use crate::talk::sleep_ms;
use std::collections::BTreeSet;
use std::path::Path;
use thalweg_io::{Io, LocalBoxFuture, OpenMode};
use thalweg_sim::{CrashStyle, DiskConfig, KillKind, KillPoint, ProcessFault, WorldConfig, both};

#[test]
fn a_killed_process_stops_at_once_and_the_others_go_on() {
    let (world, alive) = calm(|cluster| async move {
        let (one, other) = (cluster.start("one"), cluster.start("other"));
        start(&one, counter);
        let wait = other.on_core(|io| {
            Box::pin(async move {
                sleep_ms(&io, 5_000).await;
                "alive"
            })
        });
        let kill = async {
            cluster.sleep_ms(1_000).await;
            one.kill();
            assert!(!one.is_alive() && other.is_alive());
            assert_eq!(one.on_core(|_| Box::pin(async {})).await, None, "it starts nothing any more");
        };
        let (alive, ()) = both(wait, kill).await;
        assert!((999_000_000..1_002_000_000).contains(&one.died().await.at_ns));
        alive
    });
    assert_eq!(alive, Some("alive"));
    assert!((85..=100).contains(&count(&world)), "{}", count(&world));
    assert_eq!(world.injected().get("process: killed"), Some(&1));
}

#[test]
fn the_files_of_a_dead_process_are_closed_and_those_of_the_others_stay_open() {
    let (world, found) = calm(|cluster| async move {
        let (one, other) = (cluster.start("one"), cluster.start("other"));
        let hold = |name: &'static str| {
            move |io: Io| -> LocalBoxFuture<()> {
                Box::pin(async move {
                    let file = create(&io, name).await;
                    write_at(&*file, 0, b"seven b").await;
                    io.disk().unlink(Path::new(name)).await.unwrap();
                    let _leaked = std::mem::ManuallyDrop::new(file);
                    sleep_ms(&io, 1_000_000).await;
                })
            }
        };
        start(&one, hold("a"));
        start(&other, hold("b"));
        let disk = cluster.disk();
        cluster.sleep_ms(100).await;
        let before = disk.model().used_bytes();
        one.kill();
        let after = disk.model().used_bytes();
        (before, after)
    });
    assert_eq!(found, (14, 7));
    assert_eq!(world.disk().model().used_bytes(), 0);
}

#[test]
fn what_a_dead_process_had_under_way_is_done_or_not_and_that_of_the_others_is_done() {
    let mut found = BTreeSet::new();
    for seed in 0..60 {
        let mut config = WorldConfig::calm();
        config.disk = DiskConfig { instant_per_mille: 0, latency_ms_max: 500, early_effect_per_mille: 0, ..config.disk };
        let (world, ()) = cluster(seed, config, |cluster| async move {
            cluster.disk().put("a", "----").unwrap();
            cluster.disk().put("b", "----").unwrap();
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            let put = |name: &'static str| {
                move |io: Io| -> LocalBoxFuture<()> {
                    Box::pin(async move {
                        let file = io.disk().open(Path::new(name), OpenMode::Write).await.unwrap();
                        write_at(&*file, 0, b"NEW!").await;
                    })
                }
            };
            // The second operation of the one is submitted, and that is its end.
            one.plan(KillPoint::Submitted { operation: 1 }, KILL);
            let (dead, done) = both(one.on_core(put("a")), other.on_core(put("b"))).await;
            assert_eq!((dead, done), (None, Some(())));
            assert_eq!(one.killed().unwrap().at_operation, 2);
        });
        let mut files = world.disk().files("/").unwrap().into_iter().map(|(_, content)| String::from_utf8(content).unwrap());
        found.insert(files.next().unwrap());
        assert_eq!(files.next().unwrap(), "NEW!");
    }
    assert!(found.contains("----") && found.contains("NEW!") && found.len() > 2, "{found:?}");
}

#[test]
fn deaths_are_planned_at_events_operations_and_times_of_the_process_they_are_meant_for() {
    let body = |io: Io| -> LocalBoxFuture<()> {
        Box::pin(async move {
            let file = io.disk().open(Path::new("file"), OpenMode::Write).await.unwrap();
            for n in 0..10 {
                write_at(&*file, 0, b"x").await;
                io.observe("step", "", [n, 0, 0]);
                sleep_ms(&io, 100).await;
            }
        })
    };
    let die = |at: KillPoint, kind: KillKind| {
        calm(move |cluster| async move {
            cluster.disk().put("file", "").unwrap();
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            cluster.sleep_ms(50).await;
            one.plan(at, ProcessFault::Kill(kind));
            let (dead, done) = both(one.on_core(body), other.on_core(body)).await;
            assert_eq!((dead, done), (None, Some(())));
            one.killed().unwrap()
        })
        .1
    };
    let killed = die(KillPoint::Event { name: "step", nth: 3 }, KillKind::Process);
    assert_eq!((killed.at_operation, killed.window, killed.kind), (5, Some("step"), KillKind::Process));
    assert_eq!(die(KillPoint::Submitted { operation: 2 }, KillKind::Process).at_operation, 3);
    let killed = die(KillPoint::Done { operation: 4 }, KillKind::PowerLoss(CrashStyle::Random));
    assert_eq!((killed.at_operation, killed.kind), (5, KillKind::PowerLoss(CrashStyle::Random)));
    let killed = die(KillPoint::Time { ms: 500 }, KillKind::Process);
    assert!((500_000_000..502_000_000).contains(&killed.at_ns));
}
