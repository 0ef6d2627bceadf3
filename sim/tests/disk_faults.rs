//! Faults of the disk, planned one by one and seen through the engine's door; and files that rot.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use thalweg_io::{Buffer, File, Io, IoError, LocalBoxFuture, MonotonicNs, OpenMode, SplitMix};
use thalweg_sim::{
    CrashStyle, DiskFault, DiskFaultKind, FaultCounts, OperationClass, REPORTED_FAULTS, Rot, SILENT_FAULTS, World, WorldConfig,
};

const EIO: Option<i32> = Some(5);
const ENOSPC: Option<i32> = Some(28);
const ECANCELED: Option<i32> = Some(125);

/// Runs `body` on one core of a world whose disk has `faults`, and holds the durable and synced file `old`.
fn with_faults<T: Send + 'static>(
    seed: u64,
    faults: &[DiskFault],
    body: impl FnOnce(Io) -> LocalBoxFuture<T> + Send + 'static,
) -> (World, T) {
    let mut config = WorldConfig::calm();
    config.disk.faults = faults.to_vec();
    let world = World::new(seed, config);
    world.disk().put("old", "old content").unwrap();
    let result = world.run(move |cores| async move { cores.on_core(body).await }).expect_done();
    (world, result)
}

async fn create(io: &Io, path: &str) -> Result<Rc<dyn File>, IoError> {
    io.disk().open(Path::new(path), OpenMode::CreateNew).await
}

async fn open(io: &Io, path: &str) -> Rc<dyn File> {
    io.disk().open(Path::new(path), OpenMode::Write).await.unwrap()
}

async fn write(file: &dyn File, bytes: &[u8]) -> Option<i32> {
    number(file.write_at(0, Buffer::from(bytes)).await.map_err(IoError::from))
}

async fn read(file: &dyn File) -> Vec<u8> {
    file.read_at(0, Buffer::with_capacity(64)).await.unwrap().to_vec()
}

/// The number of an error; 0 if there is none.
fn number<T>(result: Result<T, IoError>) -> Option<i32> {
    result.map_or_else(|error| error.raw_os_error(), |_| Some(0))
}

const OK: Option<i32> = Some(0);

fn content(world: &World, name: &str) -> Option<Vec<u8>> {
    world.disk().files("/").unwrap().into_iter().find(|(found, _)| found == name).map(|(_, content)| content)
}

fn injected(world: &World) -> FaultCounts {
    world.disk().injected().into_iter().filter(|(name, _)| !name.starts_with("crash")).collect()
}

#[test]
fn a_failed_sync_loses_the_data_and_the_next_one_succeeds() {
    let (world, found) = with_faults(1, &[DiskFault::of(OperationClass::Sync, 0, DiskFaultKind::Error)], |io| {
        Box::pin(async move {
            let file = open(&io, "old").await;
            write(&*file, b"NEW").await;
            (number(file.sync().await), number(file.sync().await), read(&*file).await)
        })
    });
    assert_eq!(found, (EIO, OK, b"NEW content".to_vec()), "the page cache still shows it");
    assert_eq!(injected(&world), FaultCounts::from([("EIO on sync", 1)]));
    world.disk().crash(CrashStyle::Random);
    assert_eq!(content(&world, "old").unwrap(), b"old content");
}

#[test]
fn a_failed_sync_may_take_the_data_out_of_the_page_cache_as_well() {
    let (world, found) = with_faults(1, &[DiskFault::of(OperationClass::Sync, 0, DiskFaultKind::Forgotten)], |io| {
        Box::pin(async move {
            let file = open(&io, "old").await;
            file.write_at(8, Buffer::from(&b"tents that grow"[..])).await.unwrap();
            (number(file.sync().await), number(file.sync().await), read(&*file).await)
        })
    });
    assert_eq!(found, (EIO, OK, b"old content".to_vec()));
    assert_eq!(world.disk().model().used_bytes(), 11);
}

#[test]
fn a_failed_sync_of_a_directory_loses_its_names_and_the_next_one_succeeds() {
    let names = |seed| {
        let (world, found) = with_faults(seed, &[DiskFault::of(OperationClass::SyncDirectory, 0, DiskFaultKind::Error)], |io| {
            Box::pin(async move {
                let disk = io.disk();
                create(&io, "new").await.unwrap().sync().await.unwrap();
                let first = number(disk.sync_dir(Path::new("/")).await);
                (first, number(disk.sync_dir(Path::new("/")).await))
            })
        });
        assert_eq!(found, (EIO, OK));
        world.disk().crash(CrashStyle::LoseUnsynced);
        world.disk().files("/").unwrap().len()
    };
    assert_eq!(names(1), 1);
}

#[test]
fn a_write_that_fails_may_have_come_some_way() {
    for (kind, expected) in [(DiskFaultKind::Error, EIO), (DiskFaultKind::Full, ENOSPC)] {
        let left: BTreeSet<_> = (0..60)
            .map(|seed| {
                let (world, found) = with_faults(seed, &[DiskFault::of(OperationClass::Write, 0, kind)], |io| {
                    Box::pin(async move { write(&*open(&io, "old").await, b"NEWER").await })
                });
                assert_eq!(found, expected);
                String::from_utf8(content(&world, "old").unwrap()).unwrap()
            })
            .collect();
        let prefixes: BTreeSet<_> = (0..=5).map(|n| format!("{}{}", &"NEWER"[..n], &"old content"[n..])).collect();
        assert_eq!(left, prefixes);
    }
}

#[test]
fn a_failed_read_is_over_the_next_time() {
    let (_, found) = with_faults(1, &[DiskFault::of(OperationClass::Read, 0, DiskFaultKind::Error)], |io| {
        Box::pin(async move {
            let file = open(&io, "old").await;
            (number(file.read_at(0, Buffer::with_capacity(8)).await), read(&*file).await)
        })
    });
    assert_eq!(found, (EIO, b"old content".to_vec()));
}

#[test]
fn a_full_disk_takes_nothing_new_for_a_while_and_lets_go_of_what_is_there() {
    let fault = DiskFault::of(OperationClass::Write, 1, DiskFaultKind::Full).lasting(3);
    let names = DiskFault::of(OperationClass::Name, 1, DiskFaultKind::Full).lasting(4);
    let (world, (writes, made, removed)) = with_faults(1, &[fault, names], |io| {
        Box::pin(async move {
            let disk = io.disk();
            let file = create(&io, "new").await.unwrap();
            let mut writes = vec![];
            for _ in 0..6 {
                writes.push(write(&*file, b"x").await);
            }
            let (here, there) = (Path::new("new"), Path::new("there"));
            let made = [
                number(create(&io, "newer").await),
                number(disk.rename(here, there).await),
                number(disk.link(here, there).await),
                number(disk.create_dir_all(there).await),
                number(disk.create_dir_all(there).await),
            ];
            (writes, made, number(disk.unlink(here).await))
        })
    });
    assert_eq!(writes, [OK, ENOSPC, ENOSPC, ENOSPC, OK, OK]);
    assert_eq!((made, removed), ([ENOSPC, ENOSPC, ENOSPC, ENOSPC, OK], OK));
    assert_eq!(injected(&world), FaultCounts::from([("ENOSPC", 7)]));
}

#[test]
fn a_disk_that_has_no_room_takes_what_fits() {
    let mut config = WorldConfig::calm();
    config.disk.capacity_bytes = 4;
    let lengths: BTreeSet<_> = (0..40)
        .map(|seed| {
            let world = World::new(seed, config.clone());
            let write = world.run(|cores| async move {
                cores.on_core(|io| Box::pin(async move { write(&*create(&io, "new").await.unwrap(), b"too much").await })).await
            });
            assert_eq!(write.expect_done(), ENOSPC);
            content(&world, "new").unwrap().len()
        })
        .collect();
    assert_eq!(lengths, (0..=4).collect());
}

#[test]
fn a_cancelled_operation_may_have_been_done() {
    for done in [false, true] {
        let kind = DiskFaultKind::Cancelled { done };
        let faults = [DiskFault::of(OperationClass::Write, 0, kind), DiskFault::of(OperationClass::Name, 0, kind)];
        let (world, found) = with_faults(1, &faults, |io| {
            Box::pin(async move {
                let file = open(&io, "old").await;
                let written = write(&*file, b"NEW").await;
                (written, number(io.disk().rename(Path::new("old"), Path::new("new")).await))
            })
        });
        assert_eq!(found, (ECANCELED, ECANCELED));
        assert_eq!(
            (content(&world, "old"), content(&world, "new")),
            match done {
                false => (Some(b"old content".to_vec()), None),
                true => (None, Some(b"NEW content".to_vec())),
            }
        );
    }
}

#[test]
fn a_stall_slows_down_as_many_operations_as_planned() {
    let fault = DiskFault::of(OperationClass::Sync, 1, DiskFaultKind::Stall { ms: 300 }).on("old").lasting(2);
    let (_, took_ms) = with_faults(1, &[fault], |io| {
        Box::pin(async move {
            let (file, other) = (open(&io, "old").await, create(&io, "other").await.unwrap());
            let mut took_ms = vec![];
            for file in [&file, &file, &other, &file, &file] {
                let start = io.clock().now();
                file.sync().await.unwrap();
                took_ms.push(io.clock().now().since(start).as_millis() / 300);
            }
            took_ms
        })
    });
    assert_eq!(took_ms, [0, 1, 0, 1, 0]);
}

#[test]
fn a_misread_is_one_bit_and_a_phantom_write_never_arrives() {
    let faults =
        [DiskFault::of(OperationClass::Read, 0, DiskFaultKind::Misread), DiskFault::of(OperationClass::Write, 0, DiskFaultKind::Phantom)];
    let (world, (misread, again, written, shown)) = with_faults(1, &faults, |io| {
        Box::pin(async move {
            let file = open(&io, "old").await;
            let (misread, again) = (read(&*file).await, read(&*file).await);
            let written = write(&*file, b"NEW").await;
            file.sync().await.unwrap();
            (misread, again, written, read(&*file).await)
        })
    });
    let wrong_bits: u32 = misread.iter().zip(b"old content").map(|(one, other)| (one ^ other).count_ones()).sum();
    assert_eq!((wrong_bits, again), (1, b"old content".to_vec()));
    assert_eq!((written, shown), (OK, b"NEW content".to_vec()));
    world.disk().crash(CrashStyle::Random);
    assert_eq!(content(&world, "old").unwrap(), b"old content");
}

#[test]
fn rot_hits_the_files_that_are_meant_and_nothing_notices_but_the_content() {
    let world = World::new(1, WorldConfig::calm());
    world.disk().put("state/a.sst", "aaaa").unwrap();
    world.disk().put("state/b.sst", "bbbb").unwrap();
    world.disk().put("out/c.csv", "cccc").unwrap();
    let is_sst = |path: &Path| path.extension().is_some_and(|extension| extension == "sst");
    let damage = world.disk().rot(|path| path.ends_with("a.sst"), Rot::FlipBit(Some(8))).unwrap();
    assert_eq!((damage.path.as_path(), damage.rot), (Path::new("/state/a.sst"), Rot::FlipBit(Some(8))));
    assert_eq!(world.disk().files("state").unwrap()[0].1, b"a`aa");
    let damage = world.disk().rot(|path| path.ends_with("b.sst"), Rot::Truncate(Some(1))).unwrap();
    assert_eq!(damage.rot, Rot::Truncate(Some(1)));
    assert_eq!(world.disk().files("state").unwrap()[1].1, b"b");
    assert_eq!(world.disk().model().used_bytes(), 9);
    for _ in 0..20 {
        assert!(is_sst(&world.disk().rot(is_sst, Rot::FlipBit(None)).unwrap().path));
    }
    assert_eq!(world.disk().rot(|path| path.ends_with("none"), Rot::FlipBit(None)), None);
    assert_eq!(world.disk().rot(is_sst, Rot::Truncate(Some(4))), None);
    world.disk().crash(CrashStyle::LoseUnsynced);
    assert_eq!(world.disk().files("out").unwrap()[0].1, b"cccc");
    assert_eq!(injected(&world), FaultCounts::from([("rot: bit flipped", 21), ("rot: truncated", 1)]));
}

#[test]
fn a_drawn_schedule_hits_what_it_promises() {
    let mut seen = FaultCounts::new();
    for seed in 0..60 {
        let menu: Vec<_> = REPORTED_FAULTS.into_iter().chain(SILENT_FAULTS).collect();
        let faults = DiskFault::draw(&mut SplitMix::stream(seed, "faults/disk"), &menu, 100, 40);
        assert_eq!(faults.len(), 4);
        let (world, ()) = with_faults(seed, &faults, |io| {
            Box::pin(async move {
                let disk = io.disk();
                for n in 0..10 {
                    let (name, root) = (format!("{n}"), Path::new("/"));
                    let Ok(file) = create(&io, &name).await else { continue };
                    write(&*file, b"content").await;
                    drop(file.sync().await);
                    drop(disk.sync_dir(root).await);
                    drop(file.read_at(0, Buffer::with_capacity(8)).await);
                    drop(disk.unlink(Path::new(&name)).await);
                }
            })
        });
        for (name, count) in injected(&world) {
            *seen.entry(name).or_default() += count;
        }
    }
    let expected = [
        "EIO on directory sync",
        "EIO on names",
        "EIO on read",
        "EIO on sync",
        "EIO on sync, and content forgotten",
        "EIO on write",
        "ENOSPC",
        "cancelled",
        "cancelled and done",
        "misread",
        "phantom write",
        "stall",
    ];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
}

#[test]
fn a_fault_that_is_taken_out_moves_nothing_else() {
    let run = |faults: &[DiskFault]| {
        let mut config = WorldConfig::random(3);
        config.disk.faults = faults.to_vec();
        let world = World::new(3, config);
        let moments = world.run(|cores| async move {
            cores
                .on_core(|io| {
                    Box::pin(async move {
                        let file = create(&io, "f").await.unwrap();
                        let mut moments: Vec<MonotonicNs> = vec![];
                        for _ in 0..20 {
                            write(&*file, b"content").await;
                            drop(file.sync().await);
                            moments.push(io.clock().now());
                        }
                        moments
                    })
                })
                .await
        });
        moments.expect_done()
    };
    let faults = [
        DiskFault::of(OperationClass::Write, 3, DiskFaultKind::Error),
        DiskFault::of(OperationClass::Sync, 5, DiskFaultKind::Forgotten),
        DiskFault::of(OperationClass::Write, 7, DiskFaultKind::Full).lasting(3),
    ];
    assert_eq!(run(&faults), run(&[]));
    assert_eq!(run(&faults[1..]), run(&[]));
}
