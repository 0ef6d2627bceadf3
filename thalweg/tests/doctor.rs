//! `doctor`, as a person asks it: a page, with the cure behind what is not in order, and an exit code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes")]

mod flights_job;
mod processes;
mod shown;

use flights_job::flights;
use processes::{Process, in_place_of, wait_until};
use shown::{CHECKPOINTS, names, undisturbed};
use std::fs;
use std::net::TcpListener;
use std::process::Command;

/// The exit code, and the page without what the test harness says before it.
fn ask(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let begin = ["ok    ", "FAIL  "].iter().filter_map(|verdict| text.find(verdict)).min();
    (output.status.code().unwrap(), text[begin.unwrap_or(0)..].to_owned())
}

/// The line that is about this.
fn line<'a>(page: &'a str, about: &str) -> &'a str {
    page.lines().find(|line| line[6..].starts_with(about)).unwrap_or_else(|| panic!("no line about {about}: {page}"))
}

#[test]
fn where_all_is_well_each_line_says_so_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let job = ["run", "--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS];
    assert!(flights(dir.path(), &job).output().unwrap().status.success());
    let before = [names(&dir.path().join("out")), names(&dir.path().join(CHECKPOINTS))];
    let folders = ["--checkpoint-dir", CHECKPOINTS, "--output", "out", "--output", "not/yet"];
    let options = [&["doctor", "--cores", "3"], &folders[..], &["--listen", "127.0.0.1:0"]].concat();
    let (code, page) = ask(flights(dir.path(), &options));
    assert_eq!(code, 0, "{page}");
    assert!(page.ends_with("all is well\n") && !page.contains("FAIL"), "{page}");
    for about in ["io_uring", "memlock", "descriptors", "clock", "checkpoint folder checkpoints", "output folder out", "port 127.0.0.1:0"] {
        assert!(line(&page, about).starts_with("ok    "), "{page}");
    }
    assert!(line(&page, "io_uring").ends_with("can be used by 3 cores"), "{page}");
    assert!(line(&page, "owner of out").ends_with("  nobody"), "{page}");
    assert!(line(&page, "output folder not/yet").contains("it will be made"), "{page}");
    let owner = line(&page, "owner of checkpoints");
    assert!(owner.contains("attempt 1; the job finished at "), "{owner}");
    assert_eq!([names(&dir.path().join("out")), names(&dir.path().join(CHECKPOINTS))], before);
    assert!(!dir.path().join("not").exists());
}

#[test]
fn what_is_not_in_order_comes_with_its_cure_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let options = ["doctor", "--checkpoint-dir", "file", "--output", "/proc/here", "--listen", &address, "--listen", "192.0.2.1:7100"];
    let usual = flights(dir.path(), &options);
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]).arg(usual.get_program()).args(usual.get_args());
    let (code, page) = ask(in_place_of(&usual, few));
    assert_eq!(code, 1, "{page}");
    assert!(page.ends_with("5 of 10 are not in order\n"), "{page}");
    for (about, cure) in [
        ("descriptors", "256 are few, 1024 are usual: raise the limit with `ulimit -Hn`"),
        ("checkpoint folder file", "file is no folder; choose another folder"),
        ("output folder /proc/here", "choose another folder"),
        (&format!("port {address}"), "`ss -ltnp` shows which"),
        ("port 192.0.2.1:7100", "choose an address that this machine has"),
    ] {
        let line = line(&page, about);
        assert!(line.starts_with("FAIL  ") && line.contains(cure), "{page}");
    }
}

#[test]
fn rings_that_the_cores_of_a_job_cannot_all_have_are_not_said_to_be_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |cores: &str| {
        let usual = flights(dir.path(), &["doctor", "--cores", cores]);
        let mut few = Command::new("sh");
        few.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""]).arg(usual.get_program()).args(usual.get_args());
        ask(in_place_of(&usual, few))
    };
    // A small one, and one that a core has, are there.
    let (_, page) = asked("1");
    assert!(line(&page, "io_uring").starts_with("ok    "), "{page}");
    let (code, page) = asked("64");
    let io_uring = line(&page, "io_uring");
    assert!(code == 1 && io_uring.starts_with("FAIL  ") && io_uring.contains("oo many"), "{page}");
}

#[test]
fn the_owner_of_an_output_folder_is_named_while_it_lives_and_followed_when_it_has_died() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let job = ["run", "--cores", "1", "--rate", "500", "--input", &input, "--output", "out"];
    let mut process = Process::start(flights(dir.path(), &job), dir.path(), "job");
    let has_owner = || names(&dir.path().join("out")).iter().any(|name| name == ".thalweg-owner-1");
    wait_until("it has taken its folder", has_owner);
    let (code, page) = ask(flights(dir.path(), &["doctor", "--output", "out"]));
    let owner = line(&page, "owner of out");
    assert!(code == 1 && owner.starts_with("FAIL  ") && owner.contains("belongs to a job that runs"), "{page}");
    assert!(owner.contains(&format!("process {} on ", process.id())) && owner.contains("--take-over-output"), "{page}");
    process.kill();
    let (code, page) = ask(flights(dir.path(), &["doctor", "--output", "out"]));
    let owner = line(&page, "owner of out");
    assert!(code == 0 && owner.starts_with("ok    ") && owner.contains("a process that has died"), "{page}");
    assert!(has_owner(), "it is left as it is");
}
