//! Where io_uring is denied, a job says so, and what only reads files works.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

mod denial;
mod flights_job;
mod shown;

use denial::denied;
use flights_job::flights;
use shown::{CHECKPOINTS, undisturbed};
use std::process::Command;

/// Exit code, and what it said on stdout and stderr.
fn outcome(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Without "(41ms ago)".
fn without_ages(text: &str) -> String {
    text.split('(').map(|part| part.split_once(" ago)").map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn checkpoints_are_listed_and_inspected_where_io_uring_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let job = ["run", "--cores", "1", "--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS];
    for error in [libc::EPERM, libc::ENOSYS] {
        let (code, _, said) = outcome(denied(dir.path(), error, &job));
        assert!(code == Some(2) && said.contains("io_uring is not available here"), "{code:?} {said}");
    }
    assert!(flights(dir.path(), &job).status().unwrap().success());
    for command in [["checkpoints", "list"], ["checkpoints", "inspect"]] {
        for form in [&[][..], &["--json"]] {
            let arguments = [&command[..], &[CHECKPOINTS], form].concat();
            for error in [libc::EPERM, libc::ENOSYS] {
                // The column of ages is as wide as the ages are, and "1s ago" is narrower than "999ms ago": it may change once in between.
                let [before, denied, after] = [None, Some(error), None].map(|error| match error {
                    None => outcome(flights(dir.path(), &arguments)),
                    Some(error) => outcome(denied(dir.path(), error, &arguments)),
                });
                assert_eq!((before.0, after.0), (Some(0), Some(0)), "{}", before.2);
                assert_eq!((denied.0, denied.2.as_str()), (Some(0), ""), "{arguments:?}");
                let allowed = [before, after].map(|(_, text, _)| without_ages(&text));
                assert!(allowed.contains(&without_ages(&denied.1)), "{arguments:?}: {} is none of {allowed:?}", denied.1);
            }
        }
    }
    let (code, _, said) = outcome(denied(dir.path(), libc::EPERM, &["checkpoints", "list", "nowhere"]));
    assert!(code == Some(2) && said.contains("there is no folder nowhere"), "{code:?} {said}");
}

#[test]
fn what_forbids_io_uring_ends_a_job_with_2_and_what_may_pass_with_1() {
    let dir = tempfile::tempdir().unwrap();
    for subcommand in [&["run", "--cores", "1", "--input", "."][..], &["worker", "--coordinator", "127.0.0.1:1", "--cores", "1"]] {
        for (error, expected) in [(libc::EPERM, 2), (libc::ENOSYS, 2), (libc::EMFILE, 1), (libc::ENOMEM, 1)] {
            let (code, _, said) = outcome(denied(dir.path(), error, subcommand));
            assert!(code == Some(expected) && said.contains("io_uring is not available here"), "{error}: {code:?} {said}");
        }
    }
}

#[test]
fn a_doctor_without_io_uring_says_so_and_whose_the_folders_are() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let job = ["run", "--cores", "1", "--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS];
    assert!(flights(dir.path(), &job).status().unwrap().success());
    let (code, page, _) = outcome(denied(dir.path(), libc::EPERM, &["doctor", "--checkpoint-dir", CHECKPOINTS, "--output", "out"]));
    let line = |about: &str| page.lines().find(|line| line.contains(about)).unwrap_or_else(|| panic!("{about}: {page}"));
    assert!(code == Some(1) && line("io_uring").contains("FAIL") && page.contains("1 of 8 are not in order"), "{page}");
    assert!(line("owner of checkpoints").contains("the job finished at "), "{page}");
    assert!(line("owner of out").ends_with("  nobody"), "{page}");
}
