//! What a power loss leaves of what was not synced: every combination that the door's contract allows, each of them nameable.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;
use thalweg_io::{OpenMode, SplitMix};
use thalweg_sim::{CrashStyle, DiskModel, FaultCounts};

/// A disk with a replaced file, a new one, a removed one and a linked one, none of whose names is synced.
fn unsynced_names() -> DiskModel {
    let mut disk = DiskModel::new(u64::MAX);
    for name in ["current", "removed", "linked"] {
        let file = disk.open(Path::new(name), OpenMode::CreateNew).unwrap();
        disk.write(file, 0, name.as_bytes()).unwrap();
        disk.sync(file, disk.mark());
        disk.close(file);
    }
    disk.sync_dir(disk.open_dir(Path::new("/")).unwrap(), disk.mark());
    let file = disk.open(Path::new("next"), OpenMode::CreateNew).unwrap();
    disk.write(file, 0, b"NEXT").unwrap();
    disk.close(file);
    disk.rename(Path::new("next"), Path::new("current")).unwrap();
    disk.unlink(Path::new("removed")).unwrap();
    disk.link(Path::new("linked"), Path::new("link")).unwrap();
    disk
}

fn contents(disk: &DiskModel, names: &[&str]) -> Vec<Option<String>> {
    let content = |name: &&str| {
        let mut disk = disk.clone();
        let file = disk.open(Path::new(name), OpenMode::Read).ok()?;
        let mut bytes = vec![0; disk.len(file).unwrap() as usize];
        disk.read(file, 0, &mut bytes).unwrap();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    names.iter().map(content).collect()
}

#[test]
fn every_subset_of_the_unsynced_pieces_can_be_named() {
    let disk = unsynced_names();
    // Creation, rename, removal, link; the length and the one page of the new file.
    assert_eq!(disk.unsynced_pieces(), 6);
    let left = |survivors| {
        let mut disk = disk.clone();
        disk.crash(&mut SplitMix::new(1), CrashStyle::Subset(survivors));
        contents(&disk, &["current", "next", "removed", "link"])
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(left(0b00_0000), [text("current"), None, text("removed"), None]);
    assert_eq!(left(0b11_1111), [text("NEXT"), None, None, text("linked")]);
    assert_eq!(left(0b11_0001), [text("current"), text("NEXT"), text("removed"), None]);
    assert_eq!(left(0b00_0100), [text("current"), None, None, None]);
    assert_eq!(left(0b00_1000), [text("current"), None, text("removed"), text("linked")]);
    // The rename is durable before the data: nothing of it, or as long as it should be.
    assert_eq!(left(0b00_0010), [text(""), None, text("removed"), None]);
    assert_eq!(left(0b01_0010), [text("\0\0\0\0"), None, text("removed"), None]);
    // A rename that survives takes along the creation it builds on.
    assert_eq!(left(0b00_0011), left(0b00_0010));
}

#[test]
fn a_random_crash_reaches_every_combination_of_names_and_counts_what_it_does() {
    let (mut found, mut tally) = (BTreeSet::new(), FaultCounts::new());
    for seed in 0..400 {
        let mut world_of_names = unsynced_names();
        world_of_names.crash(&mut SplitMix::new(seed), CrashStyle::Random);
        let left = contents(&world_of_names, &["removed", "link", "next"]);
        let replaced = contents(&world_of_names, &["current"])[0].as_deref() != Some("current");
        found.insert((replaced, left.iter().map(Option::is_some).collect::<Vec<_>>()));
        for (name, count) in world_of_names.tally() {
            *tally.entry(*name).or_default() += count;
        }
    }
    // Replaced or not and renamed from or not are three; times removed or not, times linked or not.
    assert_eq!(found.len(), 12, "{found:?}");
    let names: Vec<_> = tally.keys().copied().collect();
    assert_eq!(
        names,
        [
            "crash: name durable before the data",
            "crash: name kept",
            "crash: name lost",
            "crash: page garbage",
            "crash: page kept",
            "crash: page lost",
            "crash: page torn",
            "crash: page written back between two writes",
        ]
    );
}

#[test]
fn pages_and_sectors_of_one_file_have_fates_of_their_own() {
    const PAGE: usize = 4096;
    let mut disk = DiskModel::new(u64::MAX);
    let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
    disk.write(file, 0, &[b'o'; 4 * PAGE]).unwrap();
    disk.sync(file, disk.mark());
    disk.sync_dir(disk.open_dir(Path::new("/")).unwrap(), disk.mark());
    disk.write(file, 0, &[b'n'; 4 * PAGE]).unwrap();
    let (mut pages, mut sectors) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..600 {
        let mut disk = disk.clone();
        disk.crash(&mut SplitMix::new(seed), CrashStyle::Random);
        let file = disk.open(Path::new("f"), OpenMode::Read).unwrap();
        let mut bytes = vec![0; 4 * PAGE];
        assert_eq!(disk.read(file, 0, &mut bytes).unwrap(), 4 * PAGE);
        // Old, new, or neither.
        let kind = |bytes: &[u8]| {
            if bytes.iter().all(|byte| *byte == b'o') {
                'o'
            } else if bytes.iter().all(|byte| *byte == b'n') {
                'n'
            } else {
                'x'
            }
        };
        pages.insert(bytes.chunks(PAGE).map(kind).collect::<String>());
        sectors.extend(bytes.chunks(PAGE).map(|page| page.chunks(512).map(kind).collect::<String>()));
    }
    for expected in ["oooo", "nnnn", "onon", "noxo", "xnno"] {
        assert!(pages.contains(expected), "{expected} in {pages:?}");
    }
    assert!(sectors.iter().any(|page| ['o', 'n', 'x'].iter().all(|kind| page.contains(*kind))), "torn within a page");
}
