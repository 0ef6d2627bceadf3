//! Where io_uring cannot be had, starting cores says so in one sentence, with the cure, and panics nowhere.
//!
//! Each test runs this program again with a system-call filter, since a filter stays for the life of a process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the door itself")]

mod seccomp;

use seccomp::deny_io_uring;
use std::process::{Command, Output};
use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores};

/// Set for the child: the error that io_uring_setup shall give, and the limit on locked memory.
const ERROR: &str = "THALWEG_TEST_ERROR";
const MEMLOCK: &str = "THALWEG_TEST_MEMLOCK";
const CORES: &str = "THALWEG_TEST_CORES";

fn in_child(error: i32, memlock: u64) -> String {
    in_child_with(error, memlock, 1)
}

fn in_child_with(error: i32, memlock: u64, cores: usize) -> String {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "the_child_that_starts_a_core", "--nocapture"];
    let mut child = Command::new(program);
    child.args(arguments).env(ERROR, error.to_string()).env(MEMLOCK, memlock.to_string()).env(CORES, cores.to_string());
    let child = child.output();
    let Output { status, stdout, stderr } = child.unwrap();
    let text = format!("{}{}", String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success() && !text.contains("panicked"), "{text}");
    text.lines().find_map(|line| line.split_once("outcome: ")).expect("the child tells what came of it").1.to_owned()
}

/// Does nothing unless it is the child of one of the tests below.
#[test]
fn the_child_that_starts_a_core() {
    let Ok(error) = std::env::var(ERROR) else { return };
    limit_locked_memory(std::env::var(MEMLOCK).unwrap().parse().unwrap());
    match error.parse().unwrap() {
        0 => {}
        error => deny_io_uring(error).unwrap(),
    }
    let main = |core: usize| -> CoreMain {
        Box::new(move |_, _| {
            Box::pin(async move {
                if core == 0 {
                    println!("\noutcome: the core ran");
                }
            })
        })
    };
    let cores = std::env::var(CORES).unwrap().parse().unwrap();
    match UringCores::new().start((0..cores).map(main).collect()) {
        Ok(group) => group.join(),
        Err(error) => println!("\noutcome: {error}"),
    }
}

#[test]
fn a_filter_that_forbids_io_uring_is_named_with_its_cure() {
    for error in [libc::EPERM, libc::ENOSYS] {
        let outcome = in_child(error, 8 << 20);
        assert!(outcome.starts_with("io_uring is not available here (io_uring_setup: "), "{outcome}");
        assert!(
            outcome.contains("--security-opt seccomp=unconfined") || outcome.contains("sysctl kernel.io_uring_disabled=0"),
            "{outcome}"
        );
    }
}

#[test]
fn a_limit_on_locked_memory_that_is_too_low_is_named_with_its_cure() {
    // What a kernel that charges rings to the limit says.
    let outcome = in_child(libc::ENOMEM, 4 << 10);
    let (limit, needed) = limit_and_needed(&outcome);
    assert!(limit == 4096 && (56 << 10..160 << 10).contains(&needed), "{outcome}");
    assert!(outcome.contains(&format!("raise it with `ulimit -l {}`", needed.div_ceil(1024))), "{outcome}");
    let outcome = in_child(libc::ENOMEM, 1 << 20);
    assert!(
        outcome.starts_with("io_uring is not available here") && outcome.contains("out of memory"),
        "the limit is not to blame: {outcome}"
    );
}

/// The numbers in "the limit on locked memory is 0 bytes and 61440 are needed; ...".
fn limit_and_needed(outcome: &str) -> (u64, u64) {
    let rest = outcome.strip_prefix("the limit on locked memory is ").unwrap_or_else(|| panic!("{outcome}"));
    let (limit, rest) = rest.split_once(" bytes and ").unwrap();
    let (needed, _) = rest.split_once(" are needed; ").unwrap();
    (limit.parse().unwrap(), needed.parse().unwrap())
}

#[test]
fn the_limit_on_locked_memory_that_is_named_is_enough_and_hardly_more() {
    for cores in [1, 2, 5] {
        let outcome = in_child_with(0, 0, cores);
        if outcome == "the core ran" {
            println!("this kernel does not charge rings to the limit");
            return;
        }
        let (limit, needed) = limit_and_needed(&outcome);
        assert_eq!(limit, 0);
        assert_eq!(in_child_with(0, needed, cores), "the core ran", "{cores} cores and {needed} bytes");
        // The ring that is tried first may have been given back by then.
        let outcome = in_child_with(0, needed - (12 << 10), cores);
        assert_eq!(limit_and_needed(&outcome), (needed - (12 << 10), needed), "{outcome}");
    }
}

#[test]
fn little_locked_memory_is_enough_on_a_kernel_that_does_not_charge_rings_to_it() {
    let outcome = in_child(0, 4096);
    assert!(outcome == "the core ran" || outcome.starts_with("the limit on locked memory is 4096 bytes"), "{outcome}");
}

/// Also gives up being root, for whom the limit does not count: what is charged is charged to a user, so each child is one that nobody else is.
fn limit_locked_memory(bytes: u64) {
    const FIRST_USER: libc::uid_t = 1 << 20;
    let user = FIRST_USER + std::process::id();
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the pointer is to a live rlimit; the other calls take none.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresuid(user, user, user), 0);
        }
    }
}
