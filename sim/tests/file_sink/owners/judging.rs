//! Who gets a folder of results, and who is refused.

use super::{Process, assert_overtaken, process};
use crate::results::{DIR, OWNER_FILES, all_files, names, new_disk, owner_files, sink};
use thalweg::checkpoint::JobId;
use thalweg::sink::{Recovery, Sink, SinkError};
use thalweg_world::SteppedDisk;

#[test]
fn a_second_job_is_refused_while_the_first_one_lives() {
    let disk = new_disk();
    let (first, second) = (Process::new(&disk, 1), Process::new(&disk, 2));
    first.recover().unwrap();
    let prepared = first.epoch(1, 5);
    let overwriting = Process { sink: sink().overwrite(true), ..Process::new(&disk, 3) };
    for refused in [&second, &overwriting] {
        let reason = refused.refusal();
        let named = ["belongs to a job that runs", "process 1 on here", "started 2023-11-14T22:13:20Z", "take the folder over"];
        assert!(named.iter().all(|part| reason.contains(part)), "{reason}");
    }
    first.commit(prepared).unwrap();
    first.finish();
    assert_eq!(all_files(&disk).len(), 1, "nothing is left beside the results");
    overwriting.recover().unwrap();
    overwriting.commit(overwriting.epoch(1, 6)).unwrap();
    overwriting.finish();
    assert_eq!(all_files(&disk).len(), 1);
}

#[test]
fn a_folder_is_its_owners_from_attempt_to_attempt() {
    let disk = new_disk();
    let mut first = Process::new(&disk, 1);
    first.recover().unwrap();
    first.attempt = 2;
    first.check().unwrap();
    first.recover().unwrap();
    Process::new(&disk, 2).refusal();
    assert_eq!(owner_files(&disk).len(), 1);
}

#[test]
fn the_folder_of_a_job_that_has_died_is_taken_over() {
    let disk = new_disk();
    let (first, second) = (Process::new(&disk, 1), Process::new(&disk, 2));
    first.recover().unwrap();
    first.epoch(1, 5);
    disk.kill(&first.identity);
    second.check().unwrap();
    second.recover().unwrap();
    assert!(names(&disk).is_empty(), "what the dead one has begun is gone");
    assert_eq!(owner_files(&disk).len(), 1);
    second.commit(second.epoch(1, 6)).unwrap();
    second.finish();
    assert_eq!(all_files(&disk).len(), 1);
}

#[test]
fn a_newer_attempt_of_the_same_job_takes_the_folder_from_one_that_is_paused() {
    let disk = new_disk();
    let attempt = |pid: u32, attempt: u64, host: &str, checkpoints: &str| Process {
        identity: process(host, pid),
        job: JobId(7),
        attempt,
        checkpoints: Some(checkpoints.into()),
        ..Process::new(&disk, pid)
    };
    let older = attempt(1, 1, "here", "chk");
    older.recover().unwrap();
    let shown_twice_otherwise = older.epoch(1, 5);
    // A copy of the job that has a log of its own is not the same.
    attempt(3, 2, "here", "another-chk").refusal();
    let newer = attempt(2, 2, "there", "chk");
    newer.check().unwrap();
    newer.recover().unwrap();
    let result = older.commit(shown_twice_otherwise);
    assert!(matches!(&result, Err(SinkError::Overtaken(reason)) if reason.contains("process 2 on there")), "{result:?}");
    // The older one cannot take it back.
    let back = attempt(4, 1, "here", "chk");
    assert!(back.refusal().contains("process 2 on there"));
    newer.commit(newer.epoch(1, 5)).unwrap();
    assert_eq!(names(&disk).len(), 1);
}

#[test]
fn an_owner_that_cannot_be_judged_keeps_the_folder_until_somebody_knows_better() {
    let judged_by_nobody: [fn(&SteppedDisk); 5] = [
        |disk| {
            let elsewhere = Process { identity: process("there", 9), ..Process::new(disk, 9) };
            elsewhere.recover().unwrap();
            disk.kill(&elsewhere.identity);
        },
        |disk| {
            disk.do_without_locks();
            Process::new(disk, 9).recover().unwrap();
        },
        |disk| {
            Process::new(disk, 9).recover().unwrap();
            let (name, content) = owner_files(disk).pop().unwrap();
            disk.put(format!("{DIR}/{name}"), &content[..content.len() / 2]).unwrap();
        },
        |disk| disk.put(format!("{DIR}/{OWNER_FILES}18446744073709551614"), "").unwrap(),
        |disk| {
            let of_another_user = Process::new(disk, 9);
            of_another_user.recover().unwrap();
            disk.kill(&of_another_user.identity);
            disk.forbid(format!("{DIR}/{OWNER_FILES}1")).unwrap();
        },
    ];
    for (case, leave) in judged_by_nobody.into_iter().enumerate() {
        let disk = new_disk();
        leave(&disk);
        let second = Process::new(&disk, 2);
        let reason = second.refusal();
        assert!(reason.contains("nobody can tell whether it still runs") && reason.contains("take the folder over"), "{case}: {reason}");
        second.take_over().unwrap();
        second.commit(second.epoch(1, 5)).unwrap();
        second.finish();
        assert_eq!(all_files(&disk).len(), 1, "{case}");
    }
}

#[test]
fn a_folder_with_the_name_of_an_owner_file_is_none() {
    let disk = new_disk();
    disk.put(format!("{DIR}/{OWNER_FILES}2/notes"), "of the user").unwrap();
    let first = Process::new(&disk, 1);
    first.recover().unwrap();
    first.commit(first.epoch(1, 5)).unwrap();
    first.finish();
    assert_eq!(names(&disk).len(), 1);
}

#[test]
fn two_sinks_of_a_job_that_mean_one_folder_are_told_so() {
    let disk = new_disk();
    let first = Process::new(&disk, 1);
    let second = Process::new(&disk, 1);
    first.recover().unwrap();
    let reason = second.refusal();
    assert!(reason.contains("two sinks of this job write to all/the/results"), "{reason}");
    assert_eq!(first.commit(first.epoch(1, 5)).map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn a_job_that_reads_the_folder_it_writes_is_refused() {
    let disk = new_disk();
    let first = Process::new(&disk, 1);
    for input in ["all/the/results", "./all/the/./results/"] {
        let recovery = Recovery { inputs: vec!["elsewhere".into(), input.into()], ..first.recovery() };
        let checked = disk.run(first.sink.check(first.io(), recovery.clone())).unwrap();
        for refused in [checked, first.recover_with(recovery)] {
            assert!(matches!(&refused, Err(SinkError::Invalid(refusal)) if refusal.reason().contains("are one folder")), "{refused:?}");
        }
    }
    assert!(disk.model().paths().is_empty());
}

/// `--overwrite` would remove the input.
#[test]
fn a_job_that_reads_a_result_in_the_folder_it_writes_is_refused() {
    for name in ["part-5-0.txt", "part-000000000000beef-0-1-0.txt", ".part-000000000000beef-0-1-0-1.txt.inprogress"] {
        for dir in [DIR, "./all/the/./results/", "another/name"] {
            let disk = new_disk();
            disk.put(format!("{DIR}/{name}"), "input").unwrap();
            disk.name_also(DIR, "another/name").unwrap();
            let first = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
            let recovery = Recovery { inputs: vec![format!("{dir}/{name}").into()], ..first.recovery() };
            let checked = disk.run(first.sink.check(first.io(), recovery.clone())).unwrap();
            let refused = [(dir != "another/name").then_some(checked), Some(first.recover_with(recovery))];
            for refused in refused.into_iter().flatten() {
                assert!(
                    matches!(&refused, Err(SinkError::Invalid(refusal)) if refusal.reason().contains("lies in the output")),
                    "{dir}/{name}: {refused:?}"
                );
            }
            first.finish();
            assert_eq!(all_files(&disk).len(), 1, "{dir}/{name}: {:?}", all_files(&disk));
        }
    }
    // What no job ever removes may be read.
    let disk = new_disk();
    disk.put(format!("{DIR}/numbers.txt"), "input").unwrap();
    let first = Process { sink: sink().overwrite(true), ..Process::new(&disk, 1) };
    first.recover_with(Recovery { inputs: vec![format!("{DIR}/numbers.txt").into()], ..first.recovery() }).unwrap();
}

/// Those in between are gone: a successor removes the lower numbers one by one.
#[test]
fn an_owner_is_overtaken_by_any_higher_number() {
    let disk = new_disk();
    let [paused, taker] = [1, 2].map(|pid| Process::new(&disk, pid));
    paused.recover().unwrap();
    let of_the_first = owner_files(&disk);
    taker.take_over().unwrap();
    let (_, of_the_second) = owner_files(&disk).pop().unwrap();
    disk.take(format!("{DIR}/{OWNER_FILES}2")).unwrap();
    disk.put(format!("{DIR}/{OWNER_FILES}3"), of_the_second).unwrap();
    disk.put(format!("{DIR}/{OWNER_FILES}1"), of_the_first[0].1.clone()).unwrap();
    assert_overtaken(paused.commit(paused.epoch(1, 5)));
}

#[test]
fn names_are_as_documented() {
    let disk = new_disk();
    let first = Process { job: JobId(0xfeed), checkpoints: Some("chk".into()), ..Process::new(&disk, 1) };
    first.recover().unwrap();
    let (name, content) = owner_files(&disk).pop().unwrap();
    assert_eq!(name, ".thalweg-owner-1");
    let (first_line, body) = content.split_once('\n').unwrap();
    assert!(first_line.starts_with("thalweg-owner 1 ") && first_line.len() == 24, "{first_line}");
    let expected = r#"{"job":"000000000000feed","attempt":1,"owner":"0000000000000001","checkpoints":"chk","host":"here","pid":1,"started_ms":1700000000000,"is_locked":true}"#;
    assert_eq!(body, format!("{expected}\n"));
}
