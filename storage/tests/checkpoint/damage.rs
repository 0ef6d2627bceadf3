//! Bytes that are not what was written: every byte of every file, every length, and lengths that are lies under correct checksums.

use crate::job::{DIR, content, dir, files, image, open, with_checkpoints};
use std::path::Path;
use thalweg_io::Buffer;
use thalweg_storage::checkpoint::*;
use thalweg_world::SteppedDisk;

/// Reads everything there is to read.
fn read_all(disk: &SteppedDisk) -> Result<Vec<String>, CheckpointError> {
    let (_, history) = disk.run(open(disk)).unwrap()?;
    let mut contents = Vec::new();
    for retained in history.restorable() {
        contents.push(content(&disk.run(load(&*disk.door(), dir(), retained)).unwrap()?));
    }
    contents.push(format!("{:?}", disk.run(inspect(&*disk.door(), dir())).unwrap()?));
    contents.push(format!("{:?}", disk.run(list(&*disk.door(), dir())).unwrap()?));
    Ok(contents)
}

/// The files that count: of the log the newest entry.
fn files_that_count(disk: &SteppedDisk) -> Vec<(String, Vec<u8>)> {
    let files = files(disk);
    let newest = files.keys().filter(|name| name.ends_with(".entry")).max().cloned();
    let counts = |name: &String| !name.ends_with(".head") && (!name.ends_with(".entry") || Some(name) == newest.as_ref());
    files.into_iter().filter(|(name, _)| counts(name)).collect()
}

pub fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (0..bytes.len()).flat_map(move |at| {
        [0x01, 0x80, 0xff].map(|mask| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= mask;
            bytes
        })
    });
    let cuts = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let longer = [1, 16, 4096].map(|more| [bytes, &vec![0; more]].concat());
    flips.chain(cuts).chain(longer)
}

#[test]
fn whatever_byte_of_whatever_file_is_damaged_it_is_reported_with_the_file() {
    let (disk, ..) = with_checkpoints(1);
    assert_eq!(read_all(&disk).unwrap().len(), 3);
    let files = files_that_count(&disk);
    assert_eq!(files.len(), 3, "an entry, metadata, and a state file: {files:?}");
    for (name, bytes) in files {
        let path = format!("{DIR}/{name}");
        for damaged in damaged(&bytes) {
            disk.put(&path, damaged).unwrap();
            let error = read_all(&disk).expect_err(&name);
            assert!(error.is_damage() && error.to_string().contains(&name), "{error}");
        }
        disk.put(&path, bytes).unwrap();
    }
    assert_eq!(read_all(&disk).unwrap().len(), 3);
}

#[test]
fn a_metadata_file_opened_by_its_path_needs_no_parent_to_notice_damage() {
    let (disk, ..) = with_checkpoints(1);
    let path = format!("{DIR}/chk-1-1.metadata");
    let read = |disk: &SteppedDisk| disk.run(load_path(&*disk.door(), Path::new(&path))).unwrap();
    let bytes = files(&disk).remove("chk-1-1.metadata").unwrap();
    assert!(read(&disk).is_ok());
    for damaged in damaged(&bytes) {
        disk.put(&path, damaged).unwrap();
        assert!(read(&disk).unwrap_err().is_damage());
    }
}

#[test]
fn a_snapshot_notices_damage_by_itself() {
    let image = image(Attempt(1), CheckpointId(1), 1);
    for damaged in damaged(&image) {
        let error = Snapshot::parse("x.state", damaged[..].into()).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("x.state"), "{error}");
    }
}

/// Gives all parts of an image that still can be found checksums that match.
fn with_matching_checksums(image: &mut [u8]) {
    let put = |image: &mut [u8], at: usize, crc: u32| image[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    let end = image.len();
    let number = |image: &[u8], at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    let (at, length) = (number(image, end - 32), number(image, end - 24));
    if let Some(index) = at.checked_add(length).and_then(|to| image.get(at as usize..to as usize)) {
        let crc = crc32fast::hash(index);
        put(image, end - 16, crc);
    }
    let (header, footer) = (crc32fast::hash(&image[..28]), crc32fast::hash(&image[end - 32..end - 8]));
    put(image, 28, header);
    put(image, end - 8, footer);
}

#[test]
fn lengths_that_are_lies_are_refused_although_the_checksums_match() {
    let good = image(Attempt(1), CheckpointId(1), 1);
    let parse = |bytes: &[u8]| Snapshot::parse("x.state", bytes.into());
    let mut same = good.to_vec();
    with_matching_checksums(&mut same);
    assert_eq!(same, good.to_vec());
    let values = [0u32, 1, 15, 16, 31, 32, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX];
    let mut refused = 0;
    for at in 0..good.len() - 3 {
        for value in values {
            for wide in [false, true] {
                let mut bytes = good.to_vec();
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                if wide && at + 8 <= bytes.len() {
                    bytes[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
                }
                with_matching_checksums(&mut bytes);
                match parse(&bytes) {
                    // Names, layouts and counts of entries may be anything.
                    Ok(snapshot) => assert!(snapshot.states().map(|state| state.bytes).sum::<u64>() < good.len() as u64),
                    Err(error) => {
                        assert!(error.is_damage());
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > good.len());
}

/// Body and checksum replaced, as a bug or a person with an editor would.
fn with_body(file: &[u8], change: impl Fn(&str) -> String) -> Buffer {
    let length = u64::from_le_bytes(file[16..24].try_into().unwrap()) as usize;
    let body = change(std::str::from_utf8(&file[32..32 + length]).unwrap());
    let mut bytes = file[..16].to_vec();
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(body.as_bytes()).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(body.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes.extend_from_slice(&file[(32 + length).next_multiple_of(16)..]);
    Buffer::from(&bytes[..])
}

#[test]
fn metadata_that_breaks_a_rule_is_refused_although_the_checksums_match() {
    let (disk, ..) = with_checkpoints(1);
    let file = files(&disk).remove("chk-1-1.metadata").unwrap();
    assert!(Metadata::decode("m", with_body(&file, str::to_owned)).is_ok());
    let changes = [
        ("\"offset\":0", "\"offset\":16"),
        ("\"offset\":0", "\"offset\":18446744073709551600"),
        ("\"inline\":{\"offset\":0,\"len\":", "\"inline\":{\"offset\":0,\"len\":1844674407370955"),
        ("1-1-count-1.state", "../../etc/passwd"),
        ("\"subtask\":1,\"parallelism\":2", "\"subtask\":2,\"parallelism\":2"),
        ("\"subtask\":1,\"parallelism\":2", "\"subtask\":0,\"parallelism\":2"),
        ("\"key_groups\":128", "\"key_groups\":-1"),
        ("\"key_groups\":128", "\"key_groups\":128,\"later_field\":1"),
        ("\"checkpoint\":1", "\"checkpoint\":2"),
        ("\"transaction\":\"7478\"", "\"transaction\":\"747\""),
        ("\"job\":\"feed", "\"job\":\"FEED"),
        ("{", "["),
    ];
    for (from, to) in changes {
        let changed = with_body(&file, |body| {
            assert!(body.contains(from), "{body}");
            body.replacen(from, to, 1)
        });
        let error = Metadata::decode("m", changed).map(|decoded| decoded.metadata).expect_err(to);
        assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_version_of_the_future_and_files_of_another_kind_are_named_as_such() {
    let (disk, ..) = with_checkpoints(1);
    let mut file = files(&disk).remove("chk-1-1.metadata").unwrap();
    let error = Snapshot::parse("m", file[..].into()).unwrap_err();
    assert!(matches!(&error, CheckpointError::Foreign { .. }), "{error}");
    file[12..16].copy_from_slice(&7u32.to_le_bytes());
    let crc = crc32fast::hash(&file[..28]);
    file[28..32].copy_from_slice(&crc.to_le_bytes());
    let error = Metadata::decode("m", file[..].into()).unwrap_err();
    assert!(matches!(error, CheckpointError::UnknownVersion { found: 7, known: 4, .. }), "{error}");
    let error = Metadata::decode("m", b"name,age\nAnna,7\nand so on, for longer than a header"[..].into()).unwrap_err();
    assert!(matches!(&error, CheckpointError::Foreign { .. }), "{error}");
}

#[test]
fn a_state_file_that_is_missing_is_reported_and_the_older_checkpoint_can_be_loaded() {
    let (disk, ..) = with_checkpoints(2);
    let newer = files(&disk).into_keys().find(|name| name.starts_with("1-2-")).unwrap();
    disk.run(discard(&*disk.door(), dir(), [newer.as_str()])).unwrap().unwrap();
    let (_, history) = disk.run(open(&disk)).unwrap().unwrap();
    let mut restorable = history.restorable();
    let error = disk.run(load(&*disk.door(), dir(), restorable.next().unwrap())).unwrap().unwrap_err();
    assert!(matches!(&error, CheckpointError::NotFound { .. }) && error.to_string().contains(&newer), "{error}");
    crate::job::assert_whole(&disk.run(load(&*disk.door(), dir(), restorable.next().unwrap())).unwrap().unwrap());
}

#[test]
fn while_the_metadata_of_a_retained_checkpoint_cannot_be_read_no_state_is_removed() {
    let (disk, ..) = with_checkpoints(3);
    let path = format!("{DIR}/chk-2-1.metadata");
    let whole = files(&disk).remove("chk-2-1.metadata").unwrap();
    disk.put(&path, b"?").unwrap();
    disk.put(format!("{DIR}/1-2-left-0.state"), b"of the dead").unwrap();
    let (store, ..) = disk.run(crate::job::begin(&disk)).unwrap().unwrap();
    assert!(store.last_cleanup().error.as_ref().is_some_and(CheckpointError::is_damage));
    assert!(files(&disk).contains_key("1-2-left-0.state"));
    disk.put(&path, whole).unwrap();
    let (store, ..) = disk.run(crate::job::begin(&disk)).unwrap().unwrap();
    // And the head of the entry before.
    assert_eq!((store.last_cleanup().removed, store.last_cleanup().error.is_none()), (2, true));
    crate::job::assert_nothing_left_over(&disk);
}

#[test]
fn an_intact_file_of_another_checkpoint_in_the_place_of_the_right_one_is_noticed_by_its_parent() {
    let names = [|id| format!("1-{id}-count-1.state"), |id| format!("chk-{id}-1.metadata")];
    for name in names {
        // Of one length, else that would be noticed first: it depends on how many digits the checksums within have.
        let of_one_length = |last: u64| {
            let (disk, files) = (with_checkpoints(last).0, files(&with_checkpoints(last).0));
            let (right, other) = (name(last), files[&name(last - 1)].clone());
            (files[&right].len() == other.len()).then_some((disk, right, other))
        };
        let (disk, right, other) = (2..20).find_map(of_one_length).expect("two checkpoints with files of one length");
        let right = right.as_str();
        disk.put(format!("{DIR}/{right}"), other).unwrap();
        let error = read_all(&disk).unwrap_err().to_string();
        assert!(error.contains(right) && error.contains("its checksum is not the one that the checkpoint names"), "{error}");
    }
}
