//! Where io_uring is denied, a job says so, and what only reads files works.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

mod flights_job;
mod shown;

use flights_job::flights;
use shown::{CHECKPOINTS, undisturbed};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `flights <arguments>` in a process to which io_uring_setup gives this error.
fn denied(dir: &Path, error: i32, arguments: &[&str]) -> Command {
    let mut command = flights(dir, arguments);
    // SAFETY: between fork and exec the child makes two system calls, and allocates nothing.
    unsafe {
        command.pre_exec(move || deny_io_uring(error));
    }
    command
}

/// From here on io_uring_setup fails with `error` in this process.
fn deny_io_uring(error: i32) -> std::io::Result<()> {
    /// Where struct seccomp_data has the number of the system call.
    const NUMBER_OFFSET: u32 = 0;
    let statement =
        |code: u32, jump_if: u8, jump_if_not: u8, k: u32| libc::sock_filter { code: code as u16, jt: jump_if, jf: jump_if_not, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER_OFFSET),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its statements live until the kernel has copied them.
    let is_done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if is_done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

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
        assert!(code == Some(1) && said.contains("io_uring is not available here"), "{code:?} {said}");
    }
    assert!(flights(dir.path(), &job).status().unwrap().success());
    for command in [["checkpoints", "list"], ["checkpoints", "inspect"]] {
        for form in [&[][..], &["--json"]] {
            let arguments = [&command[..], &[CHECKPOINTS], form].concat();
            let allowed = outcome(flights(dir.path(), &arguments));
            assert_eq!(allowed.0, Some(0), "{}", allowed.2);
            for error in [libc::EPERM, libc::ENOSYS] {
                let (code, text, said) = outcome(denied(dir.path(), error, &arguments));
                assert_eq!((code, without_ages(&text), said), (Some(0), without_ages(&allowed.1), String::new()), "{arguments:?}");
            }
        }
    }
    let (code, _, said) = outcome(denied(dir.path(), libc::EPERM, &["checkpoints", "list", "nowhere"]));
    assert!(code == Some(2) && said.contains("there is no folder nowhere"), "{code:?} {said}");
}
