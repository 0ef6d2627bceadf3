//! Files as programs of the past have written them.
//!
//! In `storage/tests/golden` lie durable files of each version that is read, once written and never again. Their names carry kind and version. Each is
//! opened with today's reader and is what this page spells out; and today's writer makes the very same bytes. Who changes a format without giving it a
//! new version is found out here, as is who loses the way to read an old one.
//!
//! Who gives a format a new version has its files written with `THALWEG_GOLDEN=write cargo test -p thalweg-storage --test checkpoint golden`, which never
//! touches one that is there. Those of the version before stay, with a test that they are read as before or, if no longer, refused as an unknown version: from the
//! first release on. Until then nobody has such files, and they are replaced.

#![allow(clippy::disallowed_methods, reason = "golden files lie on the disk of whoever tests")]

use crate::by_the_page;
use crate::job::{DIR, dir, new_disk, open};
use crate::sections::{Entry, Sections, append, read, restored};
use rkyv::util::AlignedVec;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use thalweg_io::Buffer;
use thalweg_record::HashRange;
use thalweg_record::record::{Archiver, Key, Layout, Parts, Record, RecordLayout};
use thalweg_storage::checkpoint::*;
use thalweg_storage::{list_piece_hash, map_entry_hash};
use thalweg_world::SteppedDisk;

const JOB: JobId = JobId(0x7ea1_0000_0000_0009);

/// Metadata with an image within has the versions of both in its name.
const INLINE: &str = "meta-v4-inline-snap-v5";
const LAYERS: &str = "meta-v4-layers";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden(name: &str) -> Buffer {
    let bytes = std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("storage/tests/golden/{name}: {error}"));
    Buffer::from(&bytes[..])
}

// The content of the snapshots.

fn keys(first: u32, last: u32) -> Scope {
    Scope::Hashes(HashRange { first, last })
}

fn all_keys(first: u32, last: u32) -> Scope {
    Scope::AllHashes(HashRange { first, last })
}

fn word(word: &str, count: Option<u64>) -> Entry<String, u64> {
    (None, word.to_owned(), count)
}

/// A key that makes its entry a long one.
fn long_word() -> String {
    "meander".repeat(50)
}

fn counts(is_full: bool) -> Sections<String, u64> {
    if is_full {
        return vec![
            (keys(0x1f28_5505, 0xab5c_b7c9), vec![word("brook", Some(3)), word("tarn", Some(0)), word("", Some(u64::MAX))]),
            (keys(0xc558_a99d, 0xd5b2_d898), vec![word(&long_word(), Some(1)), word("ford", Some(1))]),
            (all_keys(0x5b00_0000, 0x5bff_ffff), vec![word("weir", Some(7))]),
        ];
    }
    vec![
        (keys(0x6e22_fde7, 0xd5b2_d898), vec![word("tarn", None), word("brook", Some(4)), word("ford", None)]),
        (keys(0xd5b2_d898, 0xd5b2_d898), vec![word("ford", Some(9))]),
        (all_keys(0x5b00_0000, 0x5bff_ffff), vec![]),
    ]
}

fn panes(is_full: bool) -> Sections<u64, String> {
    let hour = |hour: i64| Some((3_600_000 * hour, 3_600_000 * (hour + 1)));
    if is_full {
        let entries = vec![(hour(-1), 1, Some("a".to_owned())), (hour(0), 1, Some("flow ".repeat(60))), (hour(0), 2, Some(String::new()))];
        return vec![(keys(0x44f7_8bf3, 0x7985_511c), entries)];
    }
    vec![(keys(0x44f7_8bf3, 0x7985_511c), vec![(hour(-1), 1, None), (hour(0), 2, Some("longer than eight bytes".to_owned()))])]
}

fn timers(is_full: bool) -> Sections<u64, ()> {
    vec![(keys(0x44f7_8bf3, 0x44f7_8bf3), vec![(Some((if is_full { 1_000 } else { 2_000 }, 0)), 1, Some(()))])]
}

fn opaque(is_full: bool) -> Vec<(Scope, &'static [u8])> {
    let watermark = if is_full { b"\x01\x02\x03\x04\x05\x06\x07\x08" } else { b"\x11\x12\x13\x14\x15\x16\x17\x18" };
    vec![(Scope::Split(0), b"at the top"), (Scope::Split(7), b""), (Scope::Subtask, watermark)]
}

const COUNTS: (&str, &str) = ("count per word", "count");
const PANES: (&str, &str) = ("window", "panes");
const TIMERS: (&str, &str) = ("window", "timers");
const LATE: (&str, &str) = ("window", "late \u{e9}");
const OPAQUE: (&str, &str) = ("read lines", "position");

/// The full snapshot, and the one that builds on it.
fn snapshot(is_full: bool) -> Buffer {
    let mut writer = SnapshotWriter::new();
    append(&mut writer, COUNTS, !is_full, &counts(is_full));
    append(&mut writer, PANES, !is_full, &panes(is_full));
    append(&mut writer, TIMERS, false, &timers(is_full));
    append::<u32, bool>(&mut writer, LATE, !is_full, &vec![]);
    let state = writer.state(OPAQUE.0, OPAQUE.1, &StateLayout::default());
    for (scope, bytes) in opaque(is_full) {
        writer.append(state, scope, 1, bytes);
    }
    writer.finish().rest
}

const WINDOWS: &str = "snap-v5-windows";

/// Windows added to those of the full snapshot: one that is new and all there, one that has changed, and of another nothing is left.
fn windows() -> Buffer {
    let hour = |hour: i64| (3_600_000 * hour, 3_600_000 * (hour + 1));
    let mut writer = SnapshotWriter::new();
    let state = writer.state(PANES.0, PANES.1, &StateLayout { key: Layout::of::<u64>(), value: Layout::of::<String>() });
    writer.builds_on_earlier(state);
    let bytes_of = |(first, second): Namespace| [first.to_le_bytes(), second.to_le_bytes()].concat();
    writer.append(state, Scope::Namespaces, 0, &[bytes_of(hour(0)), bytes_of(hour(1))].concat());
    let entry = |key: u64, value: &str| {
        let mut archiver = Archiver::new();
        let mut section = archiver.open(AlignedVec::<16>::new(), 0);
        append_entry(&mut section, Some(hour(1)), &key, Some(&value.to_owned())).unwrap();
        section.close::<AlignedVec>().to_vec()
    };
    let all = Scope::AllHashesWithin(HashRange { first: 0x4000_0000, last: 0x7fff_ffff });
    writer.append(state, all, 2, &[bytes_of(hour(1)), entry(1, "new"), entry(2, "")].concat());
    let mut archiver = Archiver::new();
    let mut section = archiver.open(AlignedVec::<16>::new(), 0);
    append_entry(&mut section, Some(hour(0)), &2u64, Some(&"changed".to_owned())).unwrap();
    writer.append(state, keys(0x7985_511c, 0x7985_511c), 1, &section.close::<AlignedVec>());
    writer.finish().rest
}

const PARTS: &str = "snap-v5-parts";

/// A list of two pieces, a map of two entries, and a timer that was set and one that has gone.
fn parts() -> Buffer {
    fn append<P: Key, V: Record>(
        writer: &mut SnapshotWriter,
        (name, what): (&str, Parts),
        entries: &[(u64, P, Option<V>)],
        hash_of: impl Fn(u64, &P) -> u64,
    ) {
        let key = RecordLayout::<(u64, P)>::part(what, &RecordLayout::default()).layout().clone();
        let state = writer.state("process", name, &StateLayout { key, value: Layout::of::<V>() });
        let mut archiver = Archiver::new();
        let mut section = archiver.open(AlignedVec::<16>::new(), 0);
        let mut hashes = HashRange::EMPTY;
        for (key, part, value) in entries {
            append_entry(&mut section, None, &(*key, part.clone()), value.as_ref()).unwrap();
            hashes = hashes.including(hash_of(*key, part));
        }
        writer.append(state, Scope::Hashes(hashes), entries.len() as u64, &section.close::<AlignedVec>());
    }
    let mut writer = SnapshotWriter::new();
    let pieces = [(1, 0, Some(vec![10_u64, 11])), (1, 1, Some(vec![12]))];
    append::<u32, Vec<u64>>(&mut writer, ("list", Parts::Pieces), &pieces, |key, piece| {
        list_piece_hash::<u64>(u64::hash(key), key, *piece)
    });
    let entries = [(1, "ford".to_owned(), Some(true)), (2, String::new(), Some(false))];
    append::<String, bool>(&mut writer, ("map", Parts::MapEntries), &entries, map_entry_hash::<u64, String>);
    let timers = [(1, -1, Some(())), (1, 1_700_000_000_000, None)];
    append::<i64, ()>(&mut writer, ("timers", Parts::Timers), &timers, map_entry_hash::<u64, i64>);
    writer.finish().rest
}

#[test]
fn windows_are_read_from_golden_files_and_what_is_over_is_not() {
    let images = ["snap-v5-full", WINDOWS].map(|name| Snapshot::parse(name, golden(name)).unwrap());
    let hour = |hour: i64| Some((3_600_000 * hour, 3_600_000 * (hour + 1)));
    let expected = [
        ((hour(0), 1_u64), "flow ".repeat(60)),
        ((hour(0), 2), "changed".to_owned()),
        ((hour(1), 1), "new".to_owned()),
        ((hour(1), 2), String::new()),
    ];
    assert_eq!(restored(&Layers::new(images.into()), PANES).unwrap(), expected.into());
}

#[test]
fn golden_snapshots_are_read_as_they_were_written() {
    for (name, is_full) in [("snap-v5-full", true), ("snap-v5-delta", false)] {
        let snapshot = Snapshot::parse(name, golden(name)).unwrap();
        let states: Vec<_> = snapshot.states().map(|state| (state.operator, state.state, state.builds_on_earlier)).collect();
        let expected = [(COUNTS, !is_full), (PANES, !is_full), (TIMERS, false), (LATE, !is_full), (OPAQUE, false)];
        assert_eq!(states, expected.map(|((operator, name), builds)| (operator.to_owned(), name.to_owned(), builds)));
        assert_eq!(read(&snapshot, COUNTS), counts(is_full));
        assert_eq!(read(&snapshot, PANES), panes(is_full));
        assert_eq!(read(&snapshot, TIMERS), timers(is_full));
        assert_eq!(read::<u32, bool>(&snapshot, LATE), []);
        let sections: Vec<_> = snapshot.sections(OPAQUE.0, OPAQUE.1).map(|section| (section.scope, section.bytes)).collect();
        assert_eq!(sections, opaque(is_full));
    }
}

/// A snapshot as the page has it, in lines.
fn by_the_page(bytes: &[u8]) -> String {
    let mut lines = String::new();
    let image = by_the_page::read(bytes).unwrap();
    for by_the_page::State { builds_on_earlier, texts } in &image.states {
        writeln!(lines, "{} {texts:?}", if *builds_on_earlier { "builds" } else { "whole" }).unwrap();
    }
    let shown = |bytes: &[u8]| match bytes {
        [start @ .., _, _, _, _] if bytes.len() > 60 => format!("{}.. {}", start[..12].escape_ascii(), bytes.len()),
        _ => bytes.escape_ascii().to_string(),
    };
    for section in &image.sections {
        let [kind, first, second] = section.scope;
        writeln!(lines, "of {}: {kind} {first:08x} {second:08x}, {}", section.state, section.count).unwrap();
        match &section.content {
            by_the_page::Content::Namespaces(namespaces) => writeln!(lines, "  {namespaces:?}").unwrap(),
            by_the_page::Content::Other(bytes) => writeln!(lines, "  {{{}}}", shown(bytes)).unwrap(),
            by_the_page::Content::Within(_, entries) | by_the_page::Content::Entries(entries) => {
                if let by_the_page::Content::Within((first, second), _) = &section.content {
                    writeln!(lines, "  all of {first} {second}").unwrap();
                }
                for by_the_page::Entry { namespace, key, value } in entries {
                    let value = value.as_deref().map_or("gone".to_owned(), |value| format!("= {{{}}}", shown(value)));
                    let namespace = namespace.map_or(String::new(), |(first, second)| format!("{first} {second}: "));
                    writeln!(lines, "  {namespace}{} {value}", shown(key)).unwrap();
                }
            }
        }
    }
    lines
}

/// The states, then the sections: state, kind of scope and its numbers, number of entries.
const FULL: &str = r#"whole ["count per word", "count", "string", "u64"]
whole ["window", "panes", "u64", "string"]
whole ["window", "timers", "u64", "()"]
whole ["window", "late é", "u32", "bool"]
whole ["read lines", "position", "", ""]
of 0: 0 1f285505 ab5cb7c9, 3
  brook\x00\x00 = {\x03\x00\x00\x00\x00\x00\x00\x00}
  tarn\x00\x00 = {\x00\x00\x00\x00\x00\x00\x00\x00}
  \x00\x00 = {\xff\xff\xff\xff\xff\xff\xff\xff}
of 0: 0 c558a99d d5b2d898, 2
  meandermeand.. 352 = {\x01\x00\x00\x00\x00\x00\x00\x00}
  ford\x00\x00 = {\x01\x00\x00\x00\x00\x00\x00\x00}
of 0: 3 5b000000 5bffffff, 1
  weir\x00\x00 = {\x07\x00\x00\x00\x00\x00\x00\x00}
of 1: 0 44f78bf3 7985511c, 3
  -3600000 0: \x00\x00\x00\x00\x00\x00\x00\x01 = {a\xff\xff\xff\xff\xff\xff\xff}
  0 3600000: \x00\x00\x00\x00\x00\x00\x00\x01 = {flow flow fl.. 308}
  0 3600000: \x00\x00\x00\x00\x00\x00\x00\x02 = {\xff\xff\xff\xff\xff\xff\xff\xff}
of 2: 0 44f78bf3 44f78bf3, 1
  1000 0: \x00\x00\x00\x00\x00\x00\x00\x01 = {}
of 4: 1 00000000 00000000, 1
  {at the top}
of 4: 1 00000007 00000000, 1
  {}
of 4: 2 00000000 00000000, 1
  {\x01\x02\x03\x04\x05\x06\x07\x08}
"#;
const DELTA: &str = r#"builds ["count per word", "count", "string", "u64"]
builds ["window", "panes", "u64", "string"]
whole ["window", "timers", "u64", "()"]
builds ["window", "late é", "u32", "bool"]
whole ["read lines", "position", "", ""]
of 0: 0 6e22fde7 d5b2d898, 3
  tarn\x00\x00 gone
  brook\x00\x00 = {\x04\x00\x00\x00\x00\x00\x00\x00}
  ford\x00\x00 gone
of 0: 0 d5b2d898 d5b2d898, 1
  ford\x00\x00 = {\t\x00\x00\x00\x00\x00\x00\x00}
of 0: 3 5b000000 5bffffff, 0
of 1: 0 44f78bf3 7985511c, 2
  -3600000 0: \x00\x00\x00\x00\x00\x00\x00\x01 gone
  0 3600000: \x00\x00\x00\x00\x00\x00\x00\x02 = {longer than eight bytes\x00\x97\x00\x00\x00\xe8\xff\xff\xff}
of 2: 0 44f78bf3 44f78bf3, 1
  2000 0: \x00\x00\x00\x00\x00\x00\x00\x01 = {}
of 4: 1 00000000 00000000, 1
  {at the top}
of 4: 1 00000007 00000000, 1
  {}
of 4: 2 00000000 00000000, 1
  {\x11\x12\x13\x14\x15\x16\x17\x18}
"#;

const OF_WINDOWS: &str = r#"builds ["window", "panes", "u64", "string"]
of 0: 5 00000000 00000000, 0
  [(0, 3600000), (3600000, 7200000)]
of 0: 4 40000000 7fffffff, 2
  all of 3600000 7200000
  3600000 7200000: \x00\x00\x00\x00\x00\x00\x00\x01 = {new\xff\xff\xff\xff\xff}
  3600000 7200000: \x00\x00\x00\x00\x00\x00\x00\x02 = {\xff\xff\xff\xff\xff\xff\xff\xff}
of 0: 0 7985511c 7985511c, 1
  0 3600000: \x00\x00\x00\x00\x00\x00\x00\x02 = {changed\xff}
"#;

const OF_PARTS: &str = r#"whole ["process", "list", "list{of:u64,under:u32,}", "list{u64}"]
whole ["process", "map", "map{of:u64,under:string,}", "bool"]
whole ["process", "timers", "timers{of:u64,under:i64,}", "()"]
of 0: 0 f36b4a1a f4a72dbc, 2
  \x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00 = {\n\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00\xf0\xff\xff\xff\x02\x00\x00\x00}
  \x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01 = {\x0c\x00\x00\x00\x00\x00\x00\x00\xf8\xff\xff\xff\x01\x00\x00\x00}
of 1: 0 7dbfecb8 f9589253, 2
  \x00\x00\x00\x00\x00\x00\x00\x01ford\x00\x00 = {\x01}
  \x00\x00\x00\x00\x00\x00\x00\x02\x00\x00 = {\x00}
of 2: 0 bb1982c9 fd86de66, 2
  \x00\x00\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff\xff\xff\xff\xff = {}
  \x00\x00\x00\x00\x00\x00\x00\x01\x80\x00\x01\x8b\xcf\xe5h\x00 gone
"#;

#[test]
fn whoever_has_only_the_page_reads_a_golden_snapshot_too() {
    assert_eq!(by_the_page(&golden(PARTS)), OF_PARTS);
    assert_eq!(by_the_page(&golden(WINDOWS)), OF_WINDOWS);
    assert_eq!(by_the_page(&golden("snap-v5-full")), FULL);
    assert_eq!(by_the_page(&golden("snap-v5-delta")), DELTA);
}

#[test]
fn whoever_has_only_the_page_notices_damage_too() {
    for name in ["snap-v5-full", "snap-v5-delta", WINDOWS, PARTS] {
        let bytes = golden(name);
        for damaged in crate::damage::damaged(&bytes) {
            assert!(by_the_page::read(&damaged).is_err(), "{name}");
        }
    }
}

// The content of the other files.

fn metadata(id: u64) -> Metadata {
    Metadata {
        job: JOB,
        attempt: Attempt(1),
        id: CheckpointId(id),
        completed_at_ms: 1_700_000_000_000 + id as i64,
        duration_ms: 12,
        key_groups: 128,
        finished: id == 2,
        operators: vec![OperatorEntry { uid: "count per word".to_owned(), name: "count \"\u{e9}\"".to_owned(), parallelism: 2 }],
        snapshots: vec![],
        sources: vec![SourceEntry {
            uid: "read lines".to_owned(),
            layout: Layout::of::<(u64, String)>(),
            splits: vec![SplitEntry { number: 3, position: vec![0x0a, 0xff] }, SplitEntry { number: 4, position: vec![] }],
        }],
        transactions: vec![TransactionEntry {
            sink_uid: "write".to_owned(),
            checkpoint: CheckpointId(1),
            layout: Layout::of::<String>(),
            transaction: b"tx".to_vec(),
        }],
        finished_subtasks: vec![FinishedSubtask { task: "lines".to_owned(), subtask: 1 }],
    }
}

/// The state of a subtask that has nearly none.
fn small_snapshot() -> Buffer {
    let mut writer = SnapshotWriter::new();
    let state = writer.state(OPAQUE.0, OPAQUE.1, &StateLayout::default());
    writer.append(state, Scope::Subtask, 1, b"small");
    writer.finish().rest
}

/// The file of a subtask's state at a checkpoint: with the length and the checksum of the full snapshot at the first, of the other at the second.
fn state_file(id: u64, subtask: u32) -> FileRef {
    let (len, crc) = if id == 1 { (1632, 0x1623_afa3) } else { (912, 0x0fbf_8e9c) };
    FileRef { name: format!("1-{id}-count-{subtask}.state"), len, crc }
}

/// The state of the two subtasks: at the first checkpoint that of one lies within the metadata, at the second that of each in two files.
fn subtasks(id: u64) -> Vec<TaskSnapshot> {
    let two_files = |subtask| [1, 2].map(|id| Image::File(state_file(id, subtask))).into();
    let images: [Vec<Image>; 2] = match id {
        1 => [vec![Image::Inline(small_snapshot())], vec![Image::File(state_file(1, 1))]],
        _ => [two_files(0), two_files(1)],
    };
    let subtasks = images.into_iter().zip(0..);
    subtasks.map(|(images, subtask)| TaskSnapshot { task: "count".to_owned(), subtask, parallelism: 2, images }).collect()
}

/// The same as metadata has it.
fn places(id: u64) -> Vec<SnapshotEntry> {
    let two_files = |subtask| [1, 2].map(|id| Place::File(state_file(id, subtask))).into();
    let places: [Vec<Place>; 2] = match id {
        1 => [vec![Place::Inline { offset: 0, len: 176, crc: 0x5619_99d7 }], vec![Place::File(state_file(1, 1))]],
        _ => [two_files(0), two_files(1)],
    };
    let subtasks = places.into_iter().zip(0..);
    subtasks.map(|(places, subtask)| SnapshotEntry { task: "count".to_owned(), subtask, parallelism: 2, places }).collect()
}

#[test]
fn golden_metadata_is_read_as_it_was_written() {
    for (name, id) in [(INLINE, 1), (LAYERS, 2)] {
        let decoded = Metadata::decode(name, golden(name)).unwrap();
        assert_eq!(decoded.metadata, Metadata { snapshots: places(id), ..metadata(id) });
        let inline: Vec<_> = decoded.inline.iter().map(|(place, snapshot)| (*place, section_of(snapshot))).collect();
        let expected: &[(usize, &[u8])] = if id == 1 { &[(0, b"small")] } else { &[] };
        assert_eq!(inline, expected);
    }
}

fn section_of(snapshot: &Snapshot) -> &[u8] {
    snapshot.sections(OPAQUE.0, OPAQUE.1).next().unwrap().bytes
}

/// The two checkpoints, as the log has them.
fn retained() -> Vec<Retained> {
    let metadata = [
        FileRef { name: "chk-1-1.metadata".to_owned(), len: 944, crc: 0x21f0_4287 },
        FileRef { name: "chk-2-1.metadata".to_owned(), len: 912, crc: 0x903b_80a3 },
    ];
    let of =
        |(metadata, id)| Retained { id: CheckpointId(id), attempt: Attempt(1), completed_at_ms: 1_700_000_000_000 + id as i64, metadata };
    metadata.into_iter().zip(1..).map(of).collect()
}

/// An entry of each kind, the first attempt's before those of the two that follow it.
fn log() -> [(&'static str, LogEntry); 5] {
    let entry = |number, attempt, event, retained: Vec<Retained>, next_checkpoint| {
        let (attempt, next_checkpoint) = (Attempt(attempt), CheckpointId(next_checkpoint));
        let written_at_ms = 1_700_000_000_000 + number as i64;
        LogEntry { number, job: JOB, attempt, owner: 0x0123_4567_89ab_cdef, written_at_ms, event, retained, next_checkpoint }
    };
    let started = |restored| Event::AttemptStarted { restored };
    let elsewhere = Origin::Elsewhere { id: CheckpointId(41), path: "../backup/chk-41-2.metadata".to_owned() };
    [
        ("logn-v1-attempt-started-fresh", entry(1, 1, started(Origin::Fresh), vec![], 1)),
        ("logn-v1-checkpoint-completed", entry(3, 1, Event::CheckpointCompleted { id: CheckpointId(2) }, retained(), 3)),
        ("logn-v1-job-finished", entry(4, 1, Event::JobFinished, retained(), 3)),
        ("logn-v1-attempt-started-checkpoint", entry(5, 2, started(Origin::Checkpoint(CheckpointId(2))), retained(), 3)),
        ("logn-v1-attempt-started-elsewhere", entry(6, 3, started(elsewhere), vec![], 42)),
    ]
}

#[test]
fn golden_log_entries_are_read_as_they_were_written() {
    for (name, expected) in log() {
        assert_eq!(LogEntry::decode(name, &golden(name)).unwrap(), expected, "{name}");
    }
}

/// What today's program makes of the same content.
fn written_today() -> Vec<(&'static str, Vec<u8>)> {
    let [inline, layers] = [1, 2].map(|id| metadata(id).encode(subtasks(id)).to_vec());
    let mut written = vec![
        ("snap-v5-full", snapshot(true).to_vec()),
        ("snap-v5-delta", snapshot(false).to_vec()),
        (WINDOWS, windows().to_vec()),
        (PARTS, parts().to_vec()),
        (INLINE, inline),
        (LAYERS, layers),
    ];
    written.extend(log().map(|(name, entry)| (name, entry.encode())));
    written
}

#[test]
fn todays_writer_still_writes_the_golden_files() {
    for (name, today) in written_today() {
        let path = folder().join(name);
        if std::env::var("THALWEG_GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
            std::fs::write(&path, &today).unwrap();
        }
        assert!(
            golden(name)[..] == today[..],
            "{name}: other bytes are written; a format that changes has a new version, and files of it here"
        );
    }
}

#[test]
fn every_golden_file_is_known_and_has_the_kind_and_version_of_its_name() {
    let mut names: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut known: Vec<_> = written_today().into_iter().map(|(name, _)| name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
    for name in names {
        let header = FileHeader::read(&name, &golden(&name)).unwrap();
        let kind = match header.kind.unwrap() {
            FileKind::Snapshot => "snap",
            FileKind::Metadata => "meta",
            FileKind::LogEntry => "logn",
        };
        assert!(name.starts_with(&format!("{kind}-v{}-", header.version)), "{name}: {header:?}");
    }
}

/// The folder that the golden files make up, as far as the entry that says that the job has finished.
fn golden_folder() -> SteppedDisk {
    let disk = new_disk();
    disk.run(open(&disk)).unwrap().unwrap();
    let put = |name: String, golden_name: &str| disk.put(format!("{DIR}/{name}"), &golden(golden_name)[..]).unwrap();
    for subtask in 0..2 {
        put(state_file(1, subtask).name, "snap-v5-full");
        put(state_file(2, subtask).name, "snap-v5-delta");
    }
    for (Retained { metadata, .. }, name) in retained().into_iter().zip([INLINE, LAYERS]) {
        put(metadata.name, name);
    }
    for (name, entry) in log().into_iter().filter(|(_, entry)| entry.number <= 4) {
        put(format!("log-{:020}.entry", entry.number), name);
    }
    disk
}

#[test]
fn a_folder_of_golden_files_is_a_checkpoint_folder_with_all_its_state() {
    let disk = golden_folder();
    let (_, history) = disk.run(open(&disk)).unwrap().unwrap();
    assert!(history.is_finished());
    let newest = history.restorable().next().unwrap();
    let checkpoint = disk.run(load(&*disk.door(), dir(), newest)).unwrap().unwrap();
    for (_, layers) in &checkpoint.snapshots {
        let counts = [("", u64::MAX), ("brook", 4), ("ford", 9), (&long_word(), 1)];
        assert_eq!(restored(layers, COUNTS).unwrap(), counts.map(|(word, count)| ((None, word.to_owned()), count)).into());
        let hour = Some((0, 3_600_000));
        let panes = [((hour, 1_u64), "flow ".repeat(60)), ((hour, 2), "longer than eight bytes".to_owned())];
        assert_eq!(restored(layers, PANES).unwrap(), panes.into());
        assert_eq!(restored(layers, TIMERS).unwrap(), [((Some((2_000, 0)), 1_u64), ())].into());
    }
}
