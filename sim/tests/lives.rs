//! A small program that survives its death anywhere is killed everywhere, and started again until its work is done.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use thalweg_io::{Buffer, Io, LocalBoxFuture, OpenMode, SplitMix};
use thalweg_sim::{CrashStyle, Ending, IncarnationEnd, KillKind, KillPlan, KillPoint, SimCores, World, WorldConfig};

fn contents(world: &World) -> Vec<(String, Vec<u8>)> {
    world.disk().files("/").unwrap()
}

/// Publishes in a new world that dies by `kill`, and returns the world.
fn publish_and_die(kill: KillPlan) -> World {
    let world = World::new(1, WorldConfig::calm());
    let outcome = world.run_incarnation(Some(kill), |cores| publisher(0, cores));
    assert!(matches!(outcome.ending, Ending::Done(IncarnationEnd::Killed(_))), "{outcome}");
    world
}

/// A tiny program that survives its death anywhere: it publishes numbered files by a temporary name, a sync, a link and a directory sync.
async fn publish(io: Io) -> u64 {
    let disk = io.disk();
    let entries = disk.list(Path::new("/")).await.unwrap();
    for left in entries.iter().filter(|entry| entry.name.starts_with('.')) {
        disk.unlink(Path::new(&left.name)).await.unwrap();
    }
    let done = entries.iter().filter(|entry| !entry.name.starts_with('.')).count() as u64;
    for number in done..3 {
        let (temporary, name) = (format!(".{number}"), format!("{number}"));
        let file = disk.open(Path::new(&temporary), OpenMode::CreateNew).await.unwrap();
        drop(file.write_at(0, Buffer::from(format!("content {number}").as_bytes())).await.unwrap());
        file.sync().await.unwrap();
        disk.link(Path::new(&temporary), Path::new(&name)).await.unwrap();
        disk.sync_dir(Path::new("/")).await.unwrap();
        io.observe("published", "here", [number as i64, 0, 0]);
        disk.unlink(Path::new(&temporary)).await.unwrap();
    }
    done
}

fn publisher(_: u64, cores: SimCores) -> LocalBoxFuture<u64> {
    Box::pin(async move { cores.on_core(|io| Box::pin(publish(io))).await })
}

fn is_published(world: &World) -> bool {
    (0..3).all(|n| contents(world).contains(&(n.to_string(), format!("content {n}").into_bytes())))
}

#[test]
fn a_kill_at_every_operation_of_a_small_program_ends_and_the_next_one_completes_the_work() {
    let whole = World::new(1, WorldConfig::calm());
    assert_eq!(whole.run_lives(&[], publisher).outcome.expect_done(), 0);
    let operations = whole.disk().operations();
    assert_eq!(operations, 1 + 3 * 6);
    let styles = [CrashStyle::LoseUnsynced, CrashStyle::KeepUnsynced, CrashStyle::Random];
    let kinds = || styles.into_iter().map(KillKind::PowerLoss).chain([KillKind::Process]);
    let mut runs = 0;
    for operation in 0..operations {
        for at in [KillPoint::Submitted { operation }, KillPoint::Done { operation }] {
            for kind in kinds() {
                let world = World::new(operation, WorldConfig::random(operation));
                let lives = world.run_lives(&[KillPlan { at, kind }], publisher);
                assert_eq!(lives.killed.iter().map(|killed| killed.at_operation).collect::<Vec<_>>(), [operation + 1]);
                lives.outcome.expect_done();
                assert!(is_published(&world), "{at:?} {kind:?}: {:?}", contents(&world));
                runs += 1;
            }
        }
    }
    assert_eq!(runs, operations * 2 * 4);
}

#[test]
fn what_was_published_when_power_was_lost_is_there_in_every_subset_of_survivors() {
    let mut reached = BTreeSet::new();
    for nth in 0..3 {
        let world = publish_and_die(KillPlan::process(KillPoint::Event { name: "published", nth }));
        assert_eq!(world.disk().model().unsynced_pieces(), 0, "the event comes after the sync of the directory");
        for operation in 0..6 {
            // Within the publication after that: whatever survives of it, those before are whole.
            let at = KillPoint::Submitted { operation: 1 + nth * 6 + operation };
            let left = |survivors| {
                let world = publish_and_die(KillPlan::power_loss(at, CrashStyle::Subset(survivors)));
                for before in 0..nth {
                    assert!(contents(&world).contains(&(before.to_string(), format!("content {before}").into_bytes())));
                }
                contents(&world)
            };
            reached.extend((0..64).map(left));
        }
    }
    assert!(reached.len() > 20, "{}", reached.len());
}

#[test]
fn a_plan_whose_point_is_never_reached_kills_nobody() {
    for at in [KillPoint::Time { ms: 3_600_000 }, KillPoint::Submitted { operation: 99 }, KillPoint::Event { name: "published", nth: 3 }] {
        let world = World::new(1, WorldConfig::calm());
        let lives = world.run_lives(&[KillPlan::process(at)], publisher);
        assert_eq!((lives.killed.len(), lives.outcome.expect_done()), (0, 0));
    }
}

#[test]
fn a_crash_loop_comes_to_its_end() {
    let kills: Vec<_> = (0..10).map(|_| KillPlan::process(KillPoint::Done { operation: 3 })).collect();
    for seed in 0..10 {
        let world = World::new(seed, WorldConfig::random(seed));
        let lives = world.run_lives(&kills, publisher);
        lives.outcome.expect_done();
        assert!(is_published(&world));
    }
}

#[test]
fn the_same_seed_lives_and_dies_the_same_way() {
    let lives = |seed| {
        let mut stream = SplitMix::new(seed);
        let kills: Vec<_> = (0..3).map(|_| KillPlan::draw(&mut stream, &[("published", 3)], 19, 50)).collect();
        let world = World::new(seed, WorldConfig::random(seed));
        let lives = world.run_lives(&kills, publisher);
        assert!(is_published(&world), "seed {seed}: {kills:?}");
        (lives.killed, lives.outcome.trace_hash, lives.outcome.stats, world.disk().injected(), contents(&world))
    };
    let mut hashes = BTreeSet::new();
    let mut windows = 0;
    for seed in 0..60 {
        let (one, two) = (lives(seed), lives(seed));
        assert_eq!(one, two, "seed {seed}");
        windows += one.0.iter().filter(|killed| killed.window.is_some()).count();
        hashes.insert(one.1);
    }
    assert_eq!(hashes.len(), 60);
    assert!(windows > 20, "{windows}");
}
