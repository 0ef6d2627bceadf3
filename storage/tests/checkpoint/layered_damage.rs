//! Damage to a folder whose newest checkpoint has state in layers: a full snapshot and two that build on it.
//!
//! What is read is the state itself, entry by entry: it is refused with the file, or is right.

use crate::damage::damaged;
use crate::job::{DIR, JOB, begin, dir, files, metadata, open, write};
use crate::sections::{Entry, Restored, Sections, append, restored};
use thalweg_io::Buffer;
use thalweg_record::HashRange;
use thalweg_record::record::Key;
use thalweg_storage::checkpoint::*;
use thalweg_world::SteppedDisk;

const STATE: (&str, &str) = ("count per word", "count");

fn hash(key: u64) -> HashRange {
    let hash = u64::hash(key) as u32;
    HashRange { first: hash, last: hash }
}

fn entry(key: u64, value: Option<&str>) -> Entry<u64, String> {
    (None, key, value.map(str::to_owned))
}

/// A section of keys with these entries.
fn keys(entries: impl Into<Vec<Entry<u64, String>>>) -> (Scope, Vec<Entry<u64, String>>) {
    let entries = entries.into();
    let hashes = entries.iter().map(|(_, key, _)| hash(*key)).reduce(HashRange::hull);
    (Scope::Hashes(hashes.unwrap()), entries)
}

/// What the three snapshots have of the state.
fn layers() -> [Sections<u64, String>; 3] {
    let (some, none) = (|key, value| entry(key, Some(value)), |key| entry(key, None));
    let full = vec![keys([some(1, "one"), some(2, "two"), some(3, "three")]), keys([some(4, "four"), some(5, "five"), some(6, "six")])];
    let first =
        vec![keys([some(2, "zwei, and longer than the inline ones"), none(3), some(7, "sieben")]), (Scope::AllHashes(hash(4)), vec![])];
    let second =
        vec![keys([none(2), some(3, "trois"), none(5)]), keys([some(5, "cinq")]), (Scope::AllHashes(hash(6)), vec![entry(6, Some("six"))])];
    [full, first, second]
}

fn expected() -> Restored<u64, String> {
    [(1, "one"), (3, "trois"), (5, "cinq"), (6, "six"), (7, "sieben")].map(|(key, value)| ((None, key), value.to_owned())).into()
}

fn image(layer: usize, sections: &Sections<u64, String>) -> Buffer {
    let mut writer = SnapshotWriter::new();
    append(&mut writer, STATE, layer > 0, sections);
    writer.finish().rest
}

/// A folder with the third checkpoint of a job, the other two removed.
fn folder() -> SteppedDisk {
    let disk = crate::job::new_disk();
    disk.run(async {
        let (mut store, attempt, _) = begin(&disk).await.unwrap();
        let mut stored = Vec::new();
        for (layer, sections) in layers().iter().enumerate() {
            let id = CheckpointId(layer as u64 + 1);
            stored.push(write(&disk, &state_file_name(attempt, id, "count", 0), image(layer, sections)).await.unwrap());
            let images = stored.iter().cloned().map(Image::File).collect();
            let layered = TaskSnapshot { task: "count".to_owned(), subtask: 0, parallelism: 2, images };
            let whole = vec![Image::Inline(image(0, &layers()[0]))];
            let inline = TaskSnapshot { task: "count".to_owned(), subtask: 1, parallelism: 2, images: whole };
            store.complete(metadata(attempt, id), vec![layered, inline], 1).await.unwrap();
            store.clean_up().await;
        }
    });
    disk
}

/// The state of the first subtask as a restart takes it.
fn restart(disk: &SteppedDisk) -> Result<Restored<u64, String>, CheckpointError> {
    let (_, history) = disk.run(open(disk)).unwrap()?;
    assert_eq!(history.job(), Some(JOB));
    let checkpoint = disk.run(load(&*disk.door(), dir(), history.restorable().next().unwrap())).unwrap()?;
    let (entry, layers) = &checkpoint.snapshots[0];
    assert_eq!((entry.subtask, layers.images().len()), (0, 3));
    Ok(restored(layers, STATE).unwrap())
}

#[test]
fn whatever_byte_of_a_layered_checkpoint_is_damaged_its_state_is_refused_with_the_file_or_right() {
    let disk = folder();
    assert_eq!(restart(&disk).unwrap(), expected());
    let files = files(&disk);
    let newest = files.keys().rfind(|name| name.ends_with(".entry")).unwrap();
    let (mut counting, mut refused) = (0, 0);
    for (name, bytes) in &files {
        // Of the log the newest entry counts; the others, and its second name, may be anything.
        let counts = !name.starts_with("log-") || name == newest;
        counting += usize::from(counts);
        let path = format!("{DIR}/{name}");
        for damaged in damaged(bytes) {
            disk.put(&path, damaged).unwrap();
            match restart(&disk) {
                Ok(state) => assert!(!counts && state == expected(), "{name}: {state:?}"),
                Err(error) => {
                    assert!(counts && error.is_damage() && error.to_string().contains(name), "{name}: {error}");
                    refused += 1;
                }
            }
        }
        disk.put(&path, bytes.clone()).unwrap();
    }
    assert_eq!(counting, 5, "an entry, metadata, and three state files: {:?}", files.keys());
    assert!(refused > 10_000, "{refused}");
    assert_eq!(restart(&disk).unwrap(), expected());
}

/// Nothing tells damage under checksums that match from what was written: but it is an error or some state, and no panic.
#[test]
fn entries_of_a_layer_that_are_lies_are_refused_or_restored_although_the_checksums_match() {
    let images = layers().into_iter().enumerate().map(|(layer, sections)| Snapshot::parse("x", image(layer, &sections)).unwrap());
    let images: Vec<Snapshot> = images.collect();
    assert_eq!(restored(&Layers::new(images.clone()), STATE).unwrap(), expected());
    let (mut refused, mut taken) = (0, 0);
    for (layer, whole) in images.iter().enumerate() {
        for wrong in 0..whole.sections(STATE.0, STATE.1).count() {
            let bytes = whole.sections(STATE.0, STATE.1).nth(wrong).unwrap().bytes;
            for damaged in damaged(bytes) {
                let mut writer = SnapshotWriter::new();
                append::<u64, String>(&mut writer, STATE, layer > 0, &vec![]);
                let state = writer.state(STATE.0, STATE.1, whole.sections(STATE.0, STATE.1).next().unwrap().layout);
                for (number, section) in whole.sections(STATE.0, STATE.1).enumerate() {
                    writer.append(state, section.scope, section.entries, if number == wrong { &damaged } else { section.bytes });
                }
                let mut images = images.clone();
                images[layer] = Snapshot::parse("x", writer.finish().rest).unwrap();
                match restored::<u64, String>(&Layers::new(images), STATE) {
                    Ok(_) => taken += 1,
                    Err(reason) => {
                        assert!(reason.contains("entry of state"), "{reason}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > taken && taken > 0, "{refused} refused, {taken} taken");
}

/// The newest snapshot builds on the two before it, of which one has all keys.
#[test]
fn a_checkpoint_that_does_not_name_what_it_builds_on_is_refused() {
    let disk = crate::job::new_disk();
    let refused = disk.run(async {
        let (mut store, attempt, _) = begin(&disk).await.unwrap();
        let mut images = Vec::new();
        for (layer, sections) in layers().iter().enumerate().skip(1) {
            let name = state_file_name(attempt, CheckpointId(layer as u64), "count", 0);
            images.push(Image::File(write(&disk, &name, image(layer, sections)).await.unwrap()));
        }
        let layered = TaskSnapshot { task: "count".to_owned(), subtask: 0, parallelism: 1, images };
        store.complete(metadata(attempt, CheckpointId(2)), vec![layered], 1).await.unwrap();
        let (_, history) = open(&disk).await.unwrap();
        load(&*disk.door(), dir(), history.restorable().next().unwrap()).await.unwrap_err()
    });
    let refused = refused.unwrap().to_string();
    assert!(
        refused.contains("subtask 0 of count: state count of operator count per word builds on snapshots that are not named"),
        "{refused}"
    );
}
