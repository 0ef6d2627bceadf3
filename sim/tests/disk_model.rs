//! The disk model against its contract (`thalweg_io::Disk`): what was synced survives every crash, and nothing else is promised.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use thalweg_io::{OpenMode, SplitMix};
use thalweg_sim::{CrashStyle, DiskModel, InodeId};

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn new_file(disk: &mut DiskModel, name: &str) -> InodeId {
    disk.open(path(name), OpenMode::CreateNew).unwrap()
}

fn sync(disk: &mut DiskModel, file: InodeId) {
    let mark = disk.mark();
    disk.sync(file, mark);
}

fn sync_dir(disk: &mut DiskModel, name: &str) {
    let (directory, mark) = (disk.open_dir(path(name)).unwrap(), disk.mark());
    disk.sync_dir(directory, mark);
}

fn content(disk: &mut DiskModel, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(path(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; disk.len(file).unwrap() as usize];
    assert_eq!(disk.read(file, 0, &mut bytes).unwrap(), bytes.len());
    disk.close(file);
    Some(bytes)
}

/// What the files named `names` hold after each of 200 random crashes of `disk`.
fn crashes<const N: usize>(disk: &DiskModel, names: [&str; N]) -> BTreeSet<[Option<Vec<u8>>; N]> {
    let crash = |seed| {
        let mut disk = disk.clone();
        disk.crash(&mut SplitMix::new(seed), CrashStyle::Random);
        names.map(|name| content(&mut disk, name))
    };
    (0..200).map(crash).collect()
}

#[test]
fn a_synced_file_with_a_synced_name_survives() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    disk.write(file, 0, &[7; 10_000]).unwrap();
    sync(&mut disk, file);
    sync_dir(&mut disk, "/");
    assert_eq!(crashes(&disk, ["a"]), BTreeSet::from([[Some(vec![7; 10_000])]]));
}

#[test]
fn a_synced_file_without_a_synced_name_may_vanish() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    disk.write(file, 0, b"content").unwrap();
    sync(&mut disk, file);
    assert_eq!(crashes(&disk, ["a"]), BTreeSet::from([[None], [Some(b"content".to_vec())]]));
}

#[test]
fn a_name_may_be_durable_before_the_content() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    disk.write(file, 0, &[7; 1_000]).unwrap();
    sync_dir(&mut disk, "/");
    let found = crashes(&disk, ["a"]);
    for expected in [vec![], vec![7; 1_000], vec![0; 1_000]] {
        assert!(found.contains(&[Some(expected)]), "empty, whole, and as long as it should be but zero");
    }
    let torn = |bytes: &Vec<u8>| bytes.contains(&7) && bytes.contains(&0);
    assert!(found.iter().any(|[bytes]| bytes.as_ref().is_some_and(torn)));
    assert!(!found.contains(&[None]));
}

#[test]
fn a_directory_that_was_not_synced_into_its_parent_takes_its_files_with_it() {
    let mut disk = DiskModel::new(u64::MAX);
    disk.create_dir_all(path("a/b")).unwrap();
    let file = new_file(&mut disk, "a/b/c");
    sync(&mut disk, file);
    sync_dir(&mut disk, "a/b");
    assert_eq!(crashes(&disk, ["a/b/c"]).len(), 2);
    sync_dir(&mut disk, "a");
    sync_dir(&mut disk, "/");
    assert_eq!(crashes(&disk, ["a/b/c"]), BTreeSet::from([[Some(vec![])]]));
}

#[test]
fn a_rename_shows_the_old_file_or_the_new_one_and_never_neither() {
    let mut disk = DiskModel::new(u64::MAX);
    for (name, bytes) in [("current", b"old"), ("temporary", b"new")] {
        let file = new_file(&mut disk, name);
        disk.write(file, 0, bytes).unwrap();
        sync(&mut disk, file);
    }
    sync_dir(&mut disk, "/");
    disk.rename(path("temporary"), path("current")).unwrap();
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(crashes(&disk, ["current", "temporary"]), BTreeSet::from([[old, new.clone()], [new.clone(), None]]));
    sync_dir(&mut disk, "/");
    assert_eq!(crashes(&disk, ["current", "temporary"]), BTreeSet::from([[new, None]]));
}

#[test]
fn a_rename_to_another_directory_is_durable_by_the_sync_of_the_new_one() {
    let mut disk = DiskModel::new(u64::MAX);
    for directory in ["from", "to"] {
        disk.create_dir_all(path(directory)).unwrap();
    }
    let file = new_file(&mut disk, "from/a");
    disk.write(file, 0, b"x").unwrap();
    sync(&mut disk, file);
    for directory in ["/", "from"] {
        sync_dir(&mut disk, directory);
    }
    disk.rename(path("from/a"), path("to/b")).unwrap();
    sync_dir(&mut disk, "to");
    let x = Some(b"x".to_vec());
    assert_eq!(crashes(&disk, ["from/a", "to/b"]), BTreeSet::from([[x.clone(), x.clone()], [None, x.clone()]]));
    sync_dir(&mut disk, "from");
    assert_eq!(crashes(&disk, ["from/a", "to/b"]), BTreeSet::from([[None, x]]));
}

#[test]
fn a_file_that_was_renamed_out_of_the_way_is_not_lost_to_the_one_that_took_its_name() {
    let mut disk = DiskModel::new(u64::MAX);
    for directory in ["a", "b", "c"] {
        disk.create_dir_all(path(directory)).unwrap();
    }
    for (name, bytes) in [("a/x", b"first"), ("b/y", b"other")] {
        let file = new_file(&mut disk, name);
        disk.write(file, 0, bytes).unwrap();
        sync(&mut disk, file);
    }
    for directory in ["/", "a", "b"] {
        sync_dir(&mut disk, directory);
    }
    disk.rename(path("a/x"), path("c/z")).unwrap();
    disk.rename(path("b/y"), path("a/x")).unwrap();
    let (first, other) = (Some(b"first".to_vec()), Some(b"other".to_vec()));
    let found = crashes(&disk, ["a/x", "b/y", "c/z"]);
    assert_eq!(
        found,
        BTreeSet::from([[first.clone(), other.clone(), None], [None, other.clone(), first.clone()], [other.clone(), None, first.clone()],])
    );
    sync_dir(&mut disk, "b");
    assert_eq!(crashes(&disk, ["a/x", "b/y", "c/z"]), BTreeSet::from([[other, None, first]]));
}

#[test]
fn an_unlink_that_was_not_synced_may_be_undone() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    sync(&mut disk, file);
    disk.close(file);
    sync_dir(&mut disk, "/");
    disk.unlink(path("a")).unwrap();
    assert_eq!(crashes(&disk, ["a"]), BTreeSet::from([[None], [Some(vec![])]]));
    sync_dir(&mut disk, "/");
    assert_eq!(crashes(&disk, ["a"]), BTreeSet::from([[None]]));
}

#[test]
fn a_sync_does_not_cover_what_came_after_its_submission() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    sync_dir(&mut disk, "/");
    disk.write(file, 0, b"first").unwrap();
    let mark = disk.mark();
    disk.write(file, 5, b" second").unwrap();
    disk.sync(file, mark);
    let found = crashes(&disk, ["a"]);
    assert!(found.contains(&[Some(b"first".to_vec())]) && found.contains(&[Some(b"first second".to_vec())]));
    assert!(found.iter().all(|[bytes]| bytes.as_ref().unwrap().starts_with(b"first")));
}

#[test]
fn a_failed_sync_followed_by_a_good_one_has_lost_the_data() {
    let mut disk = DiskModel::new(u64::MAX);
    let file = new_file(&mut disk, "a");
    sync_dir(&mut disk, "/");
    disk.write(file, 0, b"data").unwrap();
    let mark = disk.mark();
    disk.fail_sync(file, mark);
    sync(&mut disk, file);
    assert_eq!(content(&mut disk, "a").unwrap(), b"data", "the page cache still shows it");
    assert_eq!(crashes(&disk, ["a"]), BTreeSet::from([[Some(vec![])]]));
}

#[test]
fn a_full_disk_has_room_again_when_the_last_handle_of_an_unlinked_file_is_closed() {
    let mut disk = DiskModel::new(100);
    let first = new_file(&mut disk, "a");
    disk.write(first, 0, &[1; 80]).unwrap();
    let second = new_file(&mut disk, "b");
    assert_eq!(disk.write(second, 0, &[1; 30]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.len(second).unwrap(), 0);
    disk.write(first, 0, &[2; 80]).unwrap();
    disk.unlink(path("a")).unwrap();
    assert_eq!(disk.used_bytes(), 80);
    disk.close(first);
    disk.write(second, 0, &[1; 100]).unwrap();
    assert_eq!(disk.used_bytes(), 100);
}

#[test]
fn names_behave_as_on_linux() {
    let mut disk = DiskModel::new(u64::MAX);
    disk.create_dir_all(path("dir/sub")).unwrap();
    disk.create_dir_all(path("/dir/sub")).unwrap();
    new_file(&mut disk, "dir/a");
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(disk.open(path("dir/a"), OpenMode::CreateNew).map(drop)), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.open(path("dir/z"), OpenMode::Read).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open(path("dir/a/z"), OpenMode::Read).map(drop)), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.open(path("dir"), OpenMode::Write).map(drop)), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.create_dir_all(path("dir/a"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.rename(path("dir"), path("dir/sub/dir"))), ErrorKind::InvalidInput);
    disk.link(path("dir/a"), path("dir/b")).unwrap();
    assert_eq!(kind(disk.link(path("dir/a"), path("dir/b"))), ErrorKind::AlreadyExists);
    disk.rename(path("dir/a"), path("dir/b")).unwrap();
    let names: Vec<_> = disk.list(path("dir")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a", "b", "sub"], "two names of one file stay two names");
}

/// A step of a program that uses the disk.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Write(u8, u16, u16),
    Sync(u8),
    Rename(u8, u8),
    Link(u8, u8),
    Unlink(u8),
    SyncDir(bool),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..6u8;
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        6 => (name.clone(), 0..9000u16, 1..6000u16).prop_map(|(name, offset, len)| Step::Write(name, offset, len)),
        3 => name.clone().prop_map(Step::Sync),
        2 => (name.clone(), 0..6u8).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (name.clone(), 0..6u8).prop_map(|(from, to)| Step::Link(from, to)),
        1 => name.prop_map(Step::Unlink),
        3 => any::<bool>().prop_map(Step::SyncDir),
        1 => Just(Step::Crash),
    ]
}

/// Names 0 to 2 lie in one directory, 3 to 5 in another.
fn name_of(number: u8) -> String {
    format!("{}/{number}", if number < 3 { "x" } else { "y" })
}

/// What the contract promises, kept independently of the model: per file the synced bytes that no later write has touched, and the synced length;
/// per name what it named at the last sync of its directory, if it has not been changed since.
#[derive(Default)]
struct Promises {
    /// Each file carries its number in its first eight bytes, which are written and synced at its creation and never overwritten.
    files: BTreeMap<u64, (usize, BTreeMap<usize, u8>)>,
    names: BTreeMap<u8, Option<u64>>,
}

const HEADER: usize = 8;

fn number_in(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..HEADER].try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_survives_every_crash(steps in proptest::collection::vec(step(), 1..60), seed in any::<u64>()) {
        let mut disk = DiskModel::new(u64::MAX);
        for directory in ["x", "y"] {
            disk.create_dir_all(path(directory)).unwrap();
        }
        sync_dir(&mut disk, "/");
        let mut rng = SplitMix::new(seed);
        let mut promises = Promises { names: (0..6).map(|name| (name, None)).collect(), ..Promises::default() };
        let mut next_file = 0u64;
        for (number, step) in steps.into_iter().chain([Step::Crash]).enumerate() {
            let number_of = |disk: &mut DiskModel, name: u8| content(disk, &name_of(name)).map(|bytes| number_in(&bytes));
            let (named_before, changes_before) = ((0..6).map(|name| number_of(&mut disk, name)).collect::<Vec<_>>(), disk.name_changes());
            match step {
                Step::Create(name) => {
                    if let Ok(file) = disk.open(path(&name_of(name)), OpenMode::CreateNew) {
                        disk.write(file, 0, &next_file.to_le_bytes()).unwrap();
                        sync(&mut disk, file);
                        disk.close(file);
                        let header = next_file.to_le_bytes().into_iter().enumerate().collect();
                        promises.files.insert(next_file, (HEADER, header));
                        promises.names.remove(&name);
                        next_file += 1;
                    }
                }
                Step::Write(name, offset, len) => {
                    if let Some(file) = number_of(&mut disk, name) {
                        let inode = disk.open(path(&name_of(name)), OpenMode::Write).unwrap();
                        let offset = HEADER + usize::from(offset);
                        disk.write(inode, offset as u64, &vec![number as u8; len.into()]).unwrap();
                        disk.close(inode);
                        promises.files.get_mut(&file).unwrap().1.retain(|at, _| !(offset..offset + usize::from(len)).contains(at));
                    }
                }
                Step::Sync(name) => {
                    if let Some(file) = number_of(&mut disk, name) {
                        let inode = disk.open(path(&name_of(name)), OpenMode::Write).unwrap();
                        sync(&mut disk, inode);
                        disk.close(inode);
                        let bytes = content(&mut disk, &name_of(name)).unwrap();
                        promises.files.insert(file, (bytes.len(), bytes.into_iter().enumerate().collect()));
                    }
                }
                Step::Rename(from, to) => {
                    let same = number_of(&mut disk, from) == number_of(&mut disk, to);
                    if disk.rename(path(&name_of(from)), path(&name_of(to))).is_ok() && !same {
                        promises.names.remove(&from);
                        promises.names.remove(&to);
                    }
                }
                Step::Link(from, to) => {
                    if disk.link(path(&name_of(from)), path(&name_of(to))).is_ok() {
                        promises.names.remove(&to);
                    }
                }
                Step::Unlink(name) => {
                    if disk.unlink(path(&name_of(name))).is_ok() {
                        promises.names.remove(&name);
                    }
                }
                Step::SyncDir(first) => {
                    sync_dir(&mut disk, if first { "x" } else { "y" });
                    for name in if first { 0..3 } else { 3..6 } {
                        promises.names.insert(name, number_of(&mut disk, name));
                    }
                }
                Step::Crash => {
                    disk.crash(&mut rng, CrashStyle::Random);
                    for (&name, &promised) in &promises.names {
                        prop_assert_eq!(number_of(&mut disk, name), promised, "what {} names", name);
                    }
                    for name in 0..6 {
                        let bytes = content(&mut disk, &name_of(name));
                        if let Some(bytes) = &bytes {
                            let (len, synced) = &promises.files[&number_in(bytes)];
                            prop_assert!(bytes.len() >= *len);
                            prop_assert!(synced.iter().all(|(&at, byte)| bytes[at] == *byte));
                        }
                        // What is there after a crash is durable: the drive has it.
                        promises.names.insert(name, bytes.as_ref().map(|bytes| number_in(bytes)));
                        if let Some(bytes) = bytes {
                            promises.files.insert(number_in(&bytes), (bytes.len(), bytes.into_iter().enumerate().collect()));
                        }
                    }
                }
            }
            let listed: usize = ["x", "y"].iter().map(|directory| disk.list(path(directory)).unwrap().len()).sum();
            let files: BTreeMap<_, _> = (0..6).filter_map(|name| content(&mut disk, &name_of(name))).map(|bytes| (number_in(&bytes), bytes.len() as u64)).collect();
            prop_assert_eq!(disk.used_bytes(), files.values().sum::<u64>());
            prop_assert!(listed >= files.len());
            // What is told of it without a crash is what a crash leaves.
            let mut lost = disk.clone();
            lost.crash(&mut SplitMix::new(0), CrashStyle::LoseUnsynced);
            for directory in ["x", "y"] {
                let durable = disk.durable_files(path(directory)).unwrap();
                let left = lost.files(path(directory)).unwrap();
                prop_assert!(durable.iter().map(|(name, content)| (name.as_str(), &**content)).eq(left.iter().map(|(name, content)| (name.as_str(), content))));
            }
            // No change of a name goes unnoticed.
            let changed = disk.names_changed_since(changes_before);
            if let Some(changed) = changed.map(|names| names.map(|(_, name)| name.to_owned()).collect::<BTreeSet<_>>()) {
                let named: Vec<_> = (0..6).map(|name| number_of(&mut disk, name)).collect();
                let missed = (0..6u8).find(|&name| named[usize::from(name)] != named_before[usize::from(name)] && !changed.contains(&name.to_string()));
                prop_assert_eq!(missed, None);
            } else {
                prop_assert!(disk.name_changes() > changes_before);
            }
        }
    }
}
