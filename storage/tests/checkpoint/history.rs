//! What a folder tells about the past of its job, and what a person is told.

use crate::job::{DIR, JOB, begin, dir, files, metadata, new_disk, open, take, with_checkpoints};
use std::path::Path;
use thalweg_io::UnixMillis;
use thalweg_storage::checkpoint::*;
use thalweg_world::{DiskFault, DiskFaultKind};

fn sendable<T: Send + Sync>() {}

#[test]
fn what_travels_between_cores_can() {
    sendable::<Snapshot>();
    sendable::<TaskSnapshot>();
    sendable::<Checkpoint>();
    sendable::<CheckpointError>();
}

#[test]
fn a_new_folder_has_no_past() {
    let disk = new_disk();
    let (mut store, history) = disk.run(open(&disk)).unwrap().unwrap();
    assert_eq!(history, History { newest: None });
    assert_eq!(history.next_checkpoint(), CheckpointId(1));
    let nothing = store.begin_attempt(JOB, Origin::Checkpoint(CheckpointId(4)), UnixMillis(0));
    assert!(matches!(disk.run(nothing).unwrap(), Err(CheckpointError::NotFound { .. })));
    assert_eq!(disk.run(store.begin_attempt(JOB, Origin::Fresh, UnixMillis(0))).unwrap().unwrap(), Attempt(1));
}

#[test]
fn a_job_keeps_its_id_and_a_finished_one_says_so() {
    let (disk, mut store, attempt) = with_checkpoints(3);
    disk.run(store.finish_job(UnixMillis(77))).unwrap().unwrap();
    let (mut store, history) = disk.run(open(&disk)).unwrap().unwrap();
    assert!(history.is_finished());
    assert_eq!((history.job(), history.last_attempt()), (Some(JOB), Some(attempt)));
    let restorable: Vec<_> = history.restorable().map(|retained| (retained.id.0, retained.completed_at_ms)).collect();
    assert_eq!(restorable, [(3, 3_000), (2, 2_000)]);
    let again = store.begin_attempt(JobId(9), Origin::Checkpoint(CheckpointId(3)), UnixMillis(80));
    assert_eq!(disk.run(again).unwrap().unwrap(), Attempt(attempt.0 + 1));
    let (_, history) = disk.run(open(&disk)).unwrap().unwrap();
    assert_eq!((history.job(), history.is_finished()), (Some(JOB), false));
}

#[test]
fn an_attempt_that_goes_back_in_time_leaves_the_later_past_until_it_has_completed_a_checkpoint() {
    let (disk, ..) = with_checkpoints(3);
    let (mut store, history) = disk.run(open(&disk)).unwrap().unwrap();
    let origin = Origin::Checkpoint(CheckpointId(2));
    let attempt = disk.run(store.begin_attempt(JOB, origin.clone(), UnixMillis(0))).unwrap().unwrap();
    assert!(files(&disk).contains_key("chk-3-1.metadata"), "a person may still want it");
    let (_, after) = disk.run(open(&disk)).unwrap().unwrap();
    assert_eq!(after.restorable().map(|retained| retained.id.0).collect::<Vec<_>>(), [2]);
    assert_eq!(after.unfinished_origin(), Some(&origin));
    assert_eq!(after.next_checkpoint(), history.next_checkpoint(), "numbers are not used again");
    disk.run(take(&disk, &mut store, attempt, after.next_checkpoint())).unwrap().unwrap();
    crate::job::assert_nothing_left_over(&disk);
    assert!(!files(&disk).contains_key("chk-3-1.metadata"));
}

#[test]
fn an_attempt_from_elsewhere_counts_on_from_there() {
    let disk = new_disk();
    let (mut store, _) = disk.run(open(&disk)).unwrap().unwrap();
    let origin = Origin::Elsewhere { id: CheckpointId(41), path: "/backup/chk-41-2.metadata".to_owned() };
    disk.run(store.begin_attempt(JOB, origin.clone(), UnixMillis(0))).unwrap().unwrap();
    let (_, history) = disk.run(open(&disk)).unwrap().unwrap();
    assert_eq!((history.next_checkpoint(), history.unfinished_origin()), (CheckpointId(42), Some(&origin)));
    assert_eq!(history.restorable().count(), 0);
}

#[test]
fn files_of_others_are_never_touched() {
    let (disk, ..) = with_checkpoints(1);
    let others = ["notes.txt", "chk-1.metadata", "1-1-count-1.state.bak", "log-1.entry", "x.tmp"];
    for other in others {
        disk.put(format!("{DIR}/{other}"), b"mine").unwrap();
    }
    let (mut store, attempt, _) = disk.run(begin(&disk)).unwrap().unwrap();
    for id in 2..30 {
        disk.run(take(&disk, &mut store, attempt, CheckpointId(id))).unwrap().unwrap();
    }
    let files = files(&disk);
    assert!(others.iter().all(|other| files.get(*other).is_some_and(|bytes| bytes == b"mine")), "{:?}", files.keys());
}

#[test]
fn a_path_is_a_folder_or_a_metadata_file_and_anything_else_is_explained() {
    let (disk, ..) = with_checkpoints(3);
    let id = |path: &str| disk.run(load_path(&*disk.door(), Path::new(path))).unwrap().map(|checkpoint| checkpoint.metadata.id.0);
    assert_eq!(id(DIR).unwrap(), 3);
    assert_eq!(id(&format!("{DIR}/chk-2-1.metadata")).unwrap(), 2);
    let wrong = |path: &str, words: &str| {
        let message = id(path).unwrap_err().to_string();
        assert!(message.contains(path) && message.contains(words), "{message}");
    };
    wrong("/nowhere", "there is no checkpoint at /nowhere: name a checkpoint folder");
    wrong("/data", "there is no checkpoint in /data (no log-*.entry): name the folder");
    wrong(&format!("{DIR}/1-3-count-1.state"), "does not have the name of a checkpoint's metadata: name a checkpoint folder");
    let copy = files(&disk).remove("chk-2-1.metadata").unwrap();
    disk.put(format!("{DIR}/chk-9-1.metadata"), copy).unwrap();
    wrong(&format!("{DIR}/chk-9-1.metadata"), "it is chk-2-1.metadata under another's name");
}

#[test]
fn a_folder_is_listed_and_a_checkpoint_is_shown_in_numbers() {
    let (disk, ..) = with_checkpoints(3);
    let listing = disk.run(list(&*disk.door(), dir())).unwrap().unwrap();
    let ids: Vec<_> = listing.checkpoints.iter().map(|summary| summary.retained.id.0).collect();
    assert_eq!(ids, [3, 2]);
    let inspection = disk.run(inspect(&*disk.door(), dir())).unwrap().unwrap();
    assert_eq!(listing.checkpoints[0].content.as_ref().unwrap(), &inspection.content);
    let of_checkpoint = |name: &String| ["1-2-", "1-3-", "chk-3-"].iter().any(|prefix| name.starts_with(prefix));
    let bytes: usize = files(&disk).iter().filter(|(name, _)| of_checkpoint(name)).map(|(_, bytes)| bytes.len()).sum();
    assert_eq!((inspection.content.files, inspection.content.bytes), (3, bytes as u64));
    let size = |name: &str| files(&disk)[name].len() as u64;
    let [first, second] = ["1-2-count-1.state", "1-3-count-1.state"].map(size);
    let written = size("chk-3-1.metadata") + second;
    assert_eq!(
        (inspection.content.written_bytes, inspection.content.bytes - written),
        (written, first),
        "the first was written for checkpoint 2"
    );
    assert_eq!(inspection.content.subtask_files, 2);
    let states: Vec<_> = inspection.states.iter().map(|state| (&*state.operator, &*state.state, state.subtasks, state.entries)).collect();
    assert_eq!(states, [("count per word", "count", 2, 5), ("read lines", "watermark", 2, 2)]);
    assert_eq!((inspection.source_positions, inspection.metadata.transactions.len()), (1, 1));

    disk.put(format!("{DIR}/chk-2-1.metadata"), b"?").unwrap();
    let listing = disk.run(list(&*disk.door(), dir())).unwrap().unwrap();
    assert!(listing.checkpoints[1].content.as_ref().unwrap_err().contains("chk-2-1.metadata"));
}

/// An append can fail after the entry has its name. The process that tries again must find out that the attempt in the log is its own, and not one that has
/// taken over.
#[test]
fn an_attempt_that_failed_while_it_was_written_down_is_known_by_its_owner() {
    const OWNER: u64 = 0xfeed;
    let mut written_though_failed = 0;
    for operation in 0..40 {
        let disk = new_disk();
        let (store, _) = disk.run(open(&disk)).unwrap().unwrap();
        let mut store = store.owned_by(OWNER);
        disk.plan_fault(DiskFault::at(operation, DiskFaultKind::Cancelled { done: true }));
        let begun = disk.run(store.begin_attempt(JOB, Origin::Fresh, UnixMillis(0))).unwrap();
        let hit = disk.faults_injected() > 0;
        disk.heal();
        let (_, history) = disk.run(open(&disk)).unwrap().unwrap();
        if history.newest.is_some() {
            assert_eq!(history.owner(), Some(OWNER));
            written_though_failed += u32::from(begun.is_err());
        }
        if !hit {
            break;
        }
    }
    assert!(written_though_failed > 0);
}

#[test]
fn a_checkpoint_is_complete_before_anything_is_removed_for_it() {
    let (disk, mut store, attempt) = with_checkpoints(2);
    let before = files(&disk);
    disk.run(store.complete(metadata(attempt, CheckpointId(3)), vec![], 1)).unwrap().unwrap();
    let after = files(&disk);
    assert!(before.keys().filter(|name| !name.ends_with(".head")).all(|name| after.contains_key(name)), "{:?}", after.keys());
    disk.run(store.clean_up()).unwrap();
    assert!(store.last_cleanup().removed > 0 && store.last_cleanup().error.is_none());
    assert!(!files(&disk).keys().any(|name| name.starts_with("chk-1-") || name.starts_with("chk-2-")));
}
