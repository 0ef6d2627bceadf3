//! Directories and the names in them.

use super::{Promised, World, cases, on_one_core};
use crate::{Buffer, DirEntry, Disk, EntryKind, OpenMode};
use std::io::ErrorKind;
use std::path::Path;

cases![
    creating_a_file_that_exists_fails,
    opening_what_is_missing_says_not_found_and_which_path,
    an_error_names_the_operation_and_the_path,
    a_directory_lists_its_names_in_order,
    a_directory_path_is_created_whole_and_again_without_harm,
    a_rename_replaces_what_had_the_name,
    a_link_is_made_once_and_names_the_same_file,
    an_unlinked_file_stays_readable_while_it_is_open,
    a_path_may_be_asked_what_it_is,
    syncing_a_directory_that_is_missing_fails,
];

pub(super) async fn create(disk: &dyn Disk, path: &Path, content: &[u8]) {
    let file = disk.open(path, OpenMode::CreateNew).await.promised();
    file.write_at(0, content.into()).await.promised();
}

pub(super) async fn content(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).await.promised();
    let len = file.len().await.promised() as usize;
    file.read_at(0, Buffer::with_capacity(len + 1)).await.promised().to_vec()
}

fn creating_a_file_that_exists_fails(world: &dyn World) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"first").await;
        let error = disk.open(&path, OpenMode::CreateNew).await.err().expect("the second creation fails");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(content(&*disk, &path).await, b"first");
    });
}

fn opening_what_is_missing_says_not_found_and_which_path(world: &dyn World) {
    let path = world.scratch().join("missing.txt");
    on_one_core(world, |io| async move {
        for mode in [OpenMode::Read, OpenMode::Write] {
            let error = io.disk().open(&path, mode).await.err().expect("there is nothing to open");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("missing.txt"), "{error}");
        }
        assert_eq!(io.disk().kind(&path).await.promised(), None, "a failed open creates nothing");
    });
}

fn an_error_names_the_operation_and_the_path(world: &dyn World) {
    let path = world.scratch().join("nowhere").join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        let message = disk.open(&path, OpenMode::CreateNew).await.err().expect("the directory is missing").to_string();
        assert!(message.starts_with("cannot create ") && message.contains("nowhere/file: "), "{message}");
        let error = disk.unlink(&path).await.expect_err("the promise is that this fails");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("nowhere/file: "), "{error}");
        let error = disk.list(&path).await.expect_err("the promise is that this fails");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("nowhere/file: "), "{error}");
        let error = disk.rename(&path, &path.with_extension("new")).await.expect_err("the promise is that this fails");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("nowhere/file"), "{error}");
        let error = disk.link(&path, &path.with_extension("new")).await.expect_err("the promise is that this fails");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("nowhere/file"), "{error}");
    });
}

fn a_directory_lists_its_names_in_order(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        let disk = io.disk();
        assert_eq!(disk.list(&root).await.promised(), []);
        for name in ["b", "a10", "a2", "\u{e9}", "Z"] {
            create(&*disk, &root.join(name), b"").await;
        }
        disk.create_dir_all(&root.join("a5")).await.promised();
        create(&*disk, &root.join("a5").join("deeper"), b"").await;
        let entry = |name: &str, kind| DirEntry { name: name.to_owned(), kind };
        let file = |name| entry(name, EntryKind::File);
        let expected = [file("Z"), file("a10"), file("a2"), entry("a5", EntryKind::Directory), file("b"), file("\u{e9}")];
        assert_eq!(disk.list(&root).await.promised(), expected);
    });
}

fn a_directory_path_is_created_whole_and_again_without_harm(world: &dyn World) {
    let path = world.scratch().join("a").join("b").join("c");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        disk.create_dir_all(&path).await.promised();
        create(&*disk, &path.join("file"), b"x").await;
        disk.create_dir_all(&path).await.promised();
        assert_eq!(content(&*disk, &path.join("file")).await, b"x");
        assert!(disk.create_dir_all(&path.join("file").join("below a file")).await.is_err());
    });
}

fn a_rename_replaces_what_had_the_name(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        let (disk, old, new) = (io.disk(), root.join("old"), root.join("new"));
        create(&*disk, &old, b"kept").await;
        create(&*disk, &new, b"replaced").await;
        disk.rename(&old, &new).await.promised();
        assert_eq!(content(&*disk, &new).await, b"kept");
        assert_eq!(disk.kind(&old).await.promised(), None);
    });
}

fn a_link_is_made_once_and_names_the_same_file(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        let (disk, file, name, other) = (io.disk(), root.join("file"), root.join("name"), root.join("other"));
        create(&*disk, &file, b"one").await;
        create(&*disk, &other, b"two").await;
        disk.link(&file, &name).await.promised();
        assert_eq!(disk.link(&other, &name).await.expect_err("the promise is that this fails").kind(), ErrorKind::AlreadyExists);
        assert_eq!(content(&*disk, &name).await, b"one");
        disk.unlink(&file).await.promised();
        assert_eq!(content(&*disk, &name).await, b"one");
        disk.open(&name, OpenMode::Write).await.promised().write_at(0, b"ONE"[..].into()).await.promised();
        assert_eq!(content(&*disk, &name).await, b"ONE");
    });
}

fn an_unlinked_file_stays_readable_while_it_is_open(world: &dyn World) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &path, b"still here").await;
        let file = disk.open(&path, OpenMode::Read).await.promised();
        disk.unlink(&path).await.promised();
        assert_eq!(disk.kind(&path).await.promised(), None);
        create(&*disk, &path, b"another").await;
        assert_eq!(&*file.read_at(0, Buffer::with_capacity(64)).await.promised(), b"still here");
        assert_eq!(file.path(), path);
    });
}

fn a_path_may_be_asked_what_it_is(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        let disk = io.disk();
        create(&*disk, &root.join("file"), b"").await;
        assert_eq!(disk.kind(&root).await.promised(), Some(EntryKind::Directory));
        assert_eq!(disk.kind(&root.join("file")).await.promised(), Some(EntryKind::File));
        assert_eq!(disk.kind(&root.join("nothing")).await.promised(), None);
    });
}

fn syncing_a_directory_that_is_missing_fails(world: &dyn World) {
    let root = world.scratch();
    on_one_core(world, |io| async move {
        io.disk().sync_dir(&root).await.promised();
        let error = io.disk().sync_dir(&root.join("missing")).await.expect_err("the promise is that this fails");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("missing"), "{error}");
    });
}
