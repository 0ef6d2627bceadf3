//! Whoever has lost a folder of results shows nothing in it, removes nothing, and does not end as if it had.

use super::{Process, assert_overtaken};
use crate::results::{DIR, OWNER_FILES, all_files, files, names, new_disk, owner_files, sink};
use thalweg::connectors::{DeliveryGuarantee, FileTransaction};
use thalweg::sink::{Recovery, SinkError};

#[test]
fn an_owner_that_was_paused_shows_and_removes_nothing_after_a_take_over() {
    for overwrites in [false, true] {
        let disk = new_disk();
        disk.put(format!("{DIR}/part-5-0.txt"), "old").unwrap();
        let both = [1, 2].map(|pid| Process { sink: sink().overwrite(true), ..Process::new(&disk, pid) });
        let [mut paused, taker] = both;
        paused.recover().unwrap();
        let (before, named) = (paused.epoch(1, 5), taker.recovery());
        taker.take_over().unwrap();
        // Also what it has prepared since.
        let since = paused.epoch(2, 6);
        if overwrites {
            taker.commit(taker.epoch(1, 7)).unwrap();
        }
        let shown: Vec<_> = files(&disk).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_overtaken(paused.commit(before));
        assert_overtaken(paused.commit(since));
        paused.attempt = 2;
        assert_overtaken(paused.check());
        assert_overtaken(paused.recover());
        let named_by_a_checkpoint = vec![paused.epoch(3, 8)];
        assert_overtaken(paused.recover_with(Recovery { is_last: true, committed: named_by_a_checkpoint, ..paused.recovery() }));
        let visible: Vec<_> = files(&disk).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_eq!(visible, shown);
        assert_eq!(named.owner, 2);
        taker.commit(taker.epoch(2, 9)).unwrap();
        taker.finish();
        assert!(owner_files(&disk).is_empty());
    }
}

/// The paused one was the first owner, and its successor has ended and made room for somebody who is the first owner again.
#[test]
fn an_owner_that_was_paused_does_not_take_the_third_ones_file_for_its_own() {
    let disk = new_disk();
    let [paused, second, third] = [1, 2, 3].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    second.take_over().unwrap();
    second.finish();
    third.recover().unwrap();
    assert_eq!(owner_files(&disk)[0].0, format!("{OWNER_FILES}1"));
    let result = paused.commit(paused.epoch(1, 5));
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("process 3 on here")), "{result:?}");
}

#[test]
fn a_writer_that_shows_by_itself_shows_nothing_after_a_take_over() {
    let disk = new_disk();
    let [paused, taker] =
        [1, 2].map(|pid| Process { sink: sink().delivery_guarantee(DeliveryGuarantee::AtLeastOnce), ..Process::new(&disk, pid) });
    paused.recover().unwrap();
    assert_eq!(paused.epoch_or(1, 5).unwrap(), None);
    let before = names(&disk);
    // Another job's results are in the way of anything but overwriting them.
    let taker = Process { sink: taker.sink.clone().overwrite(true), ..taker };
    taker.take_over().unwrap();
    let error = paused.epoch_or(2, 6).unwrap_err().to_string();
    assert!(error.contains("taken over by process 2"), "{error}");
    assert_eq!(names(&disk).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());
    assert_eq!(taker.epoch_or(1, 7).unwrap(), Some(FileTransaction { job: 2, files: vec![] }));
}

#[test]
fn a_writer_that_shows_by_itself_shows_nothing_when_its_successor_has_ended() {
    let disk = new_disk();
    let at_least_once = || sink().delivery_guarantee(DeliveryGuarantee::AtLeastOnce);
    let paused = Process { sink: at_least_once(), ..Process::new(&disk, 1) };
    let taker = Process { sink: at_least_once(), ..Process::new(&disk, 2) };
    paused.recover().unwrap();
    taker.take_over().unwrap();
    assert_eq!(taker.epoch_or(1, 7).unwrap(), None);
    taker.finish();
    let shown = names(&disk);
    let error = paused.epoch_or(1, 5).unwrap_err().to_string();
    assert!(error.contains("has ended, or somebody has removed"), "{error}");
    assert_eq!(names(&disk).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), shown.iter().collect::<Vec<_>>());
}

/// Whoever loses the folder at the very end, or loses all of it, does not end as if its results were there.
#[test]
fn the_end_of_a_job_that_has_lost_its_folder_is_no_success() {
    let disk = new_disk();
    let [paused, taker] = [1, 2].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    taker.take_over().unwrap();
    assert_overtaken(paused.recover_with(Recovery { is_last: true, ..paused.recovery() }));
    taker.finish();
    // Of a folder that is gone as a whole.
    let bereft = Process::new(&disk, 3);
    bereft.recover().unwrap();
    disk.take(format!("{DIR}/{}1", OWNER_FILES)).unwrap();
    disk.take(DIR).unwrap();
    let result = bereft.recover_with(Recovery { is_last: true, ..bereft.recovery() });
    assert!(matches!(&result, Err(SinkError::Overtaken(_))), "{result:?}");
}

/// Found by the simulator: the successor had taken the folder, shown its results and ended, and the job that went on then took the folder anew and
/// overwrote them.
#[test]
fn an_owner_that_finds_no_file_of_anybody_shows_and_takes_nothing() {
    let disk = new_disk();
    let paused = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
    let taker = Process::new(&disk, 2);
    paused.recover().unwrap();
    taker.take_over().unwrap();
    taker.commit(taker.epoch(1, 5)).unwrap();
    taker.finish();
    let shown = all_files(&disk);
    let last = || paused.recover_with(Recovery { is_last: true, ..paused.recovery() });
    for result in [paused.commit(paused.epoch(1, 6)), paused.check(), paused.recover(), last()] {
        assert!(
            matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("has ended, or somebody has removed")),
            "{result:?}"
        );
    }
    let visible: Vec<_> = all_files(&disk).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
    assert_eq!(visible, shown);
    // Started again it is a job like any other.
    let again = Process { sink: sink().overwrite(true), ..Process::new(&disk, 3) };
    again.recover().unwrap();
    again.commit(again.epoch(1, 7)).unwrap();
    again.finish();
    assert_eq!(all_files(&disk).len(), 1);
}
