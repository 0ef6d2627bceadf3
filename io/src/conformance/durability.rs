//! What survives a power loss, and what a disk may lose. In a world that cannot crash these cases pass without checking.

use super::names::{content, create};
use super::{Promised, World, cases, on_one_core, pattern};
use crate::{EntryKind, OpenMode};

cases![
    a_synced_file_with_a_synced_name_survives_a_crash,
    a_link_survives_once_its_directory_is_synced,
    a_rename_shows_the_old_file_or_the_new_one_after_a_crash,
    a_name_whose_directory_is_not_synced_may_be_lost,
    bytes_that_are_not_synced_may_be_lost,
];

/// The number of crashes within which a disk that may lose bytes must have lost some.
const CRASHES: u32 = 64;

fn a_synced_file_with_a_synced_name_survives_a_crash(world: &dyn World) {
    let root = world.scratch();
    let path = root.join("file");
    let bytes = pattern(100_000, 1);
    let (expected, there) = (bytes.clone(), path.clone());
    on_one_core(world, |io| async move {
        let disk = io.disk();
        let file = disk.open(&path, OpenMode::CreateNew).await.promised();
        file.write_at(0, bytes[..].into()).await.promised();
        file.sync().await.promised();
        disk.sync_dir(&root).await.promised();
        // Not synced: the write may be there or not, and does no harm.
        file.write_at(200_000, bytes[..].into()).await.promised();
    });
    if world.crash() {
        on_one_core(world, |io| async move {
            let found = content(&*io.disk(), &there).await;
            assert!(found[..expected.len()] == expected);
        });
    }
}

fn a_link_survives_once_its_directory_is_synced(world: &dyn World) {
    let root = world.scratch();
    let there = root.join("published");
    on_one_core(world, |io| async move {
        let (disk, file) = (io.disk(), root.join("prepared"));
        create(&*disk, &file, b"content").await;
        disk.open(&file, OpenMode::Write).await.promised().sync().await.promised();
        disk.link(&file, &root.join("published")).await.promised();
        disk.unlink(&file).await.promised();
        disk.sync_dir(&root).await.promised();
    });
    if world.crash() {
        on_one_core(world, |io| async move {
            assert_eq!(content(&*io.disk(), &there).await, b"content");
            assert_eq!(io.disk().kind(&there.with_file_name("prepared")).await.promised(), None);
        });
    }
}

fn a_rename_shows_the_old_file_or_the_new_one_after_a_crash(world: &dyn World) {
    for _ in 0..8 {
        let root = world.scratch();
        let there = root.join("current");
        on_one_core(world, |io| async move {
            let (disk, current, next) = (io.disk(), root.join("current"), root.join("next"));
            for (path, bytes) in [(&current, b"old"), (&next, b"new")] {
                create(&*disk, path, bytes).await;
                disk.open(path, OpenMode::Write).await.promised().sync().await.promised();
                disk.sync_dir(&root).await.promised();
            }
            disk.rename(&next, &current).await.promised();
        });
        if !world.crash() {
            return;
        }
        on_one_core(world, |io| async move {
            let found = content(&*io.disk(), &there).await;
            assert!(found == b"old" || found == b"new", "neither the old nor the new file: {found:?}");
        });
    }
}

fn a_name_whose_directory_is_not_synced_may_be_lost(world: &dyn World) {
    for _ in 0..CRASHES {
        let path = world.scratch().join("file");
        let there = path.clone();
        on_one_core(world, |io| async move {
            let file = io.disk().open(&path, OpenMode::CreateNew).await.promised();
            file.write_at(0, b"content"[..].into()).await.promised();
            file.sync().await.promised();
        });
        if !world.crash() {
            return;
        }
        if on_one_core(world, |io| async move { io.disk().kind(&there).await.promised() }).is_none() {
            return;
        }
    }
    panic!("{CRASHES} crashes lost no name: this disk is kinder than a real one");
}

fn bytes_that_are_not_synced_may_be_lost(world: &dyn World) {
    for _ in 0..CRASHES {
        let root = world.scratch();
        let there = root.join("file");
        on_one_core(world, |io| async move {
            let disk = io.disk();
            let file = disk.open(&root.join("file"), OpenMode::CreateNew).await.promised();
            disk.sync_dir(&root).await.promised();
            file.write_at(0, pattern(20_000, 1)[..].into()).await.promised();
        });
        if !world.crash() {
            return;
        }
        let intact = on_one_core(world, |io| async move {
            let disk = io.disk();
            // Even its name may be missing: its own metadata was never synced. If the name is there, it is a file.
            match disk.kind(&there).await.promised() {
                Some(EntryKind::File) => content(&*disk, &there).await == pattern(20_000, 1),
                None => false,
                other => panic!("a file has become {other:?}"),
            }
        });
        if !intact {
            return;
        }
    }
    panic!("{CRASHES} crashes lost no byte: this disk is kinder than a real one");
}
