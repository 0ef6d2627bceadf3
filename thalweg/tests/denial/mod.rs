//! Processes to which io_uring is denied.

#[path = "../../../io/tests/seccomp/mod.rs"]
mod seccomp;

use crate::flights_job::flights;
use seccomp::deny_io_uring;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `flights <arguments>` in a process to which io_uring_setup gives this error.
pub fn denied(dir: &Path, error: i32, arguments: &[&str]) -> Command {
    let mut command = flights(dir, arguments);
    // SAFETY: between fork and exec the child makes two system calls, and allocates nothing.
    unsafe {
        command.pre_exec(move || deny_io_uring(error));
    }
    command
}
