//! Locks on files, and the identity of a process.

use super::names::create;
use super::{Promised, World, cases, on_one_core, on_two_cores};
use crate::{Disk, FileLock, OpenMode, mailbox};
use std::path::Path;

cases![
    a_lock_is_held_by_one_handle_at_a_time,
    a_lock_outlives_the_handle_it_was_taken_through,
    a_lock_that_is_dropped_is_free_at_once_though_its_handle_is_open,
    a_lock_is_of_the_file_and_not_of_its_name,
    a_lock_keeps_other_cores_out_too,
    a_lock_that_a_core_has_left_behind_is_free_again,
    a_process_knows_who_it_is,
];

async fn try_lock(disk: &dyn Disk, path: &Path) -> Option<FileLock> {
    disk.open(path, OpenMode::Write).await.promised().try_lock().await.promised()
}

fn a_lock_is_held_by_one_handle_at_a_time(world: &dyn World) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"").await;
        let held = try_lock(&*disk, &path).await.promised();
        assert!(try_lock(&*disk, &path).await.is_none(), "a second handle got the lock as well");
        drop(held);
        assert!(try_lock(&*disk, &path).await.is_some(), "a lock that was dropped is still held");
    });
}

fn a_lock_outlives_the_handle_it_was_taken_through(world: &dyn World) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"").await;
        let file = disk.open(&path, OpenMode::Write).await.promised();
        let held = file.try_lock().await.promised().promised();
        drop(file);
        assert!(try_lock(&*disk, &path).await.is_none(), "the lock went with the handle");
        drop(held);
        assert!(try_lock(&*disk, &path).await.is_some());
    });
}

fn a_lock_that_is_dropped_is_free_at_once_though_its_handle_is_open(world: &dyn World) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"").await;
        let file = disk.open(&path, OpenMode::Write).await.promised();
        for _ in 0..2 {
            let held = file.try_lock().await.promised().promised();
            assert!(try_lock(&*disk, &path).await.is_none(), "a second handle got the lock as well");
            drop(held);
            assert!(try_lock(&*disk, &path).await.is_some(), "a lock that was dropped is still held by its handle");
        }
    });
}

fn a_lock_is_of_the_file_and_not_of_its_name(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        let (disk, first, second) = (io.disk(), root.join("first"), root.join("second"));
        create(&*disk, &first, b"").await;
        let held = try_lock(&*disk, &first).await.promised();
        disk.link(&first, &second).await.promised();
        disk.unlink(&first).await.promised();
        assert!(try_lock(&*disk, &second).await.is_none(), "the lock stayed with the name");
        create(&*disk, &first, b"").await;
        assert!(try_lock(&*disk, &first).await.is_some(), "another file of the old name is locked");
        drop(held);
    });
}

fn a_lock_keeps_other_cores_out_too(world: &dyn World) {
    let path = world.scratch().join("file");
    let there = path.clone();
    let (is_held, mut when_held) = mailbox::<()>();
    let (is_seen, mut when_seen) = mailbox::<()>();
    let holder = |io: crate::Io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"").await;
        let held = try_lock(&*disk, &path).await.promised();
        is_held.send(()).promised();
        when_seen.recv().await.promised();
        drop(held);
    };
    let other = |io: crate::Io| async move {
        when_held.recv().await.promised();
        assert!(try_lock(&*io.disk(), &there).await.is_none(), "another core got the lock as well");
        is_seen.send(()).promised();
    };
    on_two_cores(world, holder, other);
}

fn a_lock_that_a_core_has_left_behind_is_free_again(world: &dyn World) {
    let path = world.scratch().join("file");
    let there = path.clone();
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"").await;
        disk.sync_dir(path.parent().promised()).await.promised();
        let held = try_lock(&*disk, &path).await.promised();
        // The core's main ends while another of its tasks holds the lock.
        io.spawner().spawn(
            crate::TaskClass::Latency,
            "holder",
            Box::pin(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }),
        );
    });
    on_one_core(world, |io| async move {
        assert!(try_lock(&*io.disk(), &there).await.is_some(), "a lock has outlived everything that held it");
    });
}

fn a_process_knows_who_it_is(world: &dyn World) {
    let who = |io: crate::Io| async move { io.process().clone() };
    let (first, second) = on_two_cores(world, who, who);
    assert_eq!(first, second, "two cores of one process");
    assert!(!first.host.trim().is_empty() && first.pid != 0, "{first:?}");
    assert_eq!(on_one_core(world, who).host, first.host, "the host has another name now");
}
