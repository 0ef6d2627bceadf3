//! A job in several processes, as a person starts them: what they say, how they end, and what they refuse.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

mod flights_job;
mod processes;
mod shown;

use flights_job::flights;
use processes::{Process, coordinator, free_address, in_place_of, newest_checkpoint, signal, wait_until, worker};
use shown::{CHECKPOINTS, assert_nothing_is_left_behind, assert_shown, lines, undisturbed, visible};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Checks exit code and message of a command that goes wrong.
#[track_caller]
fn check(mut command: Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing in: {message}"));
    assert!(!message.contains("RUST_BACKTRACE") && !message.contains("panicked at"), "{message}");
}

/// The number before `what`.
fn number(text: &str, what: &str) -> u64 {
    let before = text.split(what).next().unwrap();
    before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap_or_else(|_| panic!("no number before {what:?} in {text:?}"))
}

#[test]
fn a_coordinator_and_two_workers_show_what_one_process_shows_and_say_who_did_what() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let at = free_address();
    let options = ["--input", "same-input", "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--parallelism", "2"];
    let alone = dir.path().join("alone");
    fs::create_dir(&alone).unwrap();
    // By that name it is where the coordinator is, and not where workers are.
    [&*alone, dir.path()].iter().for_each(|folder| std::os::unix::fs::symlink(&input, folder.join("same-input")).unwrap());
    assert!(flights(&alone, &[&["run"], &options[..]].concat()).output().unwrap().status.success());
    let start = |name: &str| Process::start(worker(dir.path(), name, at, &[]), dir.path(), name);
    let early = start("worker-1");
    let mut head = Process::start(coordinator(dir.path(), at, &options), dir.path(), "coordinator");
    // Not before: two workers may come at once, and nobody is waited for.
    wait_until("the coordinator waits for the other worker", || head.log().contains("waiting for workers: "));
    let late = start("worker-2");
    assert_eq!(head.code(), 0, "{}", head.log());
    for mut worker in [early, late] {
        assert_eq!(worker.code(), 0, "{}", worker.log());
        assert!(worker.output().contains("flights: the job has ended; it had joined a coordinator once\n"), "{}", worker.output());
    }
    assert_shown(&visible(dir.path()), &lines(&visible(&alone)));
    assert_nothing_is_left_behind(dir.path());
    let summary = head.output();
    let lines: Vec<_> = summary.lines().filter(|line| line.starts_with("  worker 127.0.0.1:")).collect();
    assert_eq!(lines.len(), 2, "{summary}");
    for line in lines {
        assert!(line.contains(": 1 core, ") && line.contains(" 64 key groups; "), "{line}");
        assert!(number(line, " records (") > 0 && number(line.split("received").nth(1).unwrap(), " records (") > 0, "{line}");
    }

    // It has finished: one process can tell, with the same folder.
    let again = flights(dir.path(), &[&["run"], &options[..]].concat()).output().unwrap();
    assert!(String::from_utf8(again.stdout).unwrap().contains("the job has finished before; nothing to do"));
}

#[test]
fn a_coordinator_that_is_interrupted_stops_with_a_checkpoint_and_one_process_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    let at = free_address();
    let options = ["--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "20ms"];
    let slowly =
        [&options[..], &["--rate", "1000", "--worker-wait", "100ms", "--restart-strategy", "fixed-delay", "--restart-delay", "10ms"]]
            .concat();
    let mut head = Process::start(coordinator(dir.path(), at, &slowly), dir.path(), "coordinator");
    let mut workers = [1, 2].map(|i| {
        let name = format!("worker-{i}");
        Process::start(worker(dir.path(), &name, at, &[]), dir.path(), &name)
    });
    wait_until("there is a checkpoint", || newest_checkpoint(&dir.path().join(CHECKPOINTS)).is_some());
    let (_, attempt) = newest_checkpoint(&dir.path().join(CHECKPOINTS)).unwrap();
    // A worker leaves: that is an orderly end of its own, and the job goes on with the other.
    signal(workers[1].id(), "INT");
    assert_eq!(workers[1].code(), 0, "{}", workers[1].log());
    assert!(workers[1].output().contains("this worker was stopped, and the job goes on without it"), "{}", workers[1].output());
    wait_until("the job goes on", || newest_checkpoint(&dir.path().join(CHECKPOINTS)).is_some_and(|newest| newest.1 > attempt));
    signal(head.id(), "TERM");
    assert_eq!(head.code(), 0, "{}", head.log());
    assert!(head.output().contains("stopped with checkpoint ") && head.log().contains("stopping with a checkpoint"), "{}", head.log());
    assert_eq!(workers[0].code(), 0, "{}", workers[0].log());
    let output = flights(dir.path(), &[&["run"], &options[..]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("  restored checkpoint "));
    assert_shown(&visible(dir.path()), &expected);
    assert_nothing_is_left_behind(dir.path());
}

#[test]
fn workers_that_come_later_are_good_news_and_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let at = free_address();
    let options = ["--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "20ms"];
    let slowly = [&options[..], &["--rate", "1000", "--worker-wait", "100ms", "--restart-delay", "10ms"]].concat();
    let mut head = Process::start(coordinator(dir.path(), at, &slowly), dir.path(), "coordinator");
    let start = |name: &str| Process::start(worker(dir.path(), name, at, &[]), dir.path(), name);
    let (_first, mut second) = (start("worker-1"), start("worker-2"));
    let newest = || newest_checkpoint(&dir.path().join(CHECKPOINTS));
    wait_until("there is a checkpoint", || newest().is_some());
    let (_, attempt) = newest().unwrap();
    second.kill();
    wait_until("the job goes on with one worker", || newest().is_some_and(|newest| newest.1 > attempt));
    assert!(head.log().contains("the attempt failed, another one follows"), "a lost worker is a failure: {}", head.log());
    let _third = start("worker-3");
    wait_until("the job goes on with two workers", || head.log().contains("more workers have come: the job goes on with all of them"));
    let line = head.log().lines().find(|line| line.contains("more workers")).unwrap().to_owned();
    assert!(line.contains("INFO") && line.contains("workers=2"), "{line}");
    assert_eq!(head.log().matches("the attempt failed").count(), 1, "{}", head.log());
    // A job that is stopped between two attempts takes no checkpoint, and says so with another code.
    let ended = line.split_once("attempt=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    wait_until("the next attempt has a checkpoint", || newest().is_some_and(|newest| newest.1 > ended));
    signal(head.id(), "TERM");
    assert_eq!(head.code(), 0, "{}", head.log());
}

#[test]
fn a_job_that_fails_takes_its_workers_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let at = free_address();
    let mut head = Process::start(coordinator(dir.path(), at, &["--input", &input, "--strict"]), dir.path(), "coordinator");
    let mut workers = [1, 2].map(|i| {
        let name = format!("worker-{i}");
        Process::start(worker(dir.path(), &name, at, &[]), dir.path(), &name)
    });
    assert_eq!(head.code(), 1, "{}", head.log());
    assert!(head.log().contains("the row has 2 fields"), "{}", head.log());
    for worker in &mut workers {
        assert_eq!(worker.code(), 1);
        assert!(worker.log().contains("the job has failed: ") && worker.log().contains("the row has 2 fields"), "{}", worker.log());
    }
    assert!(visible(&dir.path().join("flights-output")).is_empty());
}

#[test]
fn a_coordinator_that_is_cancelled_takes_its_workers_with_it_and_nobody_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let at = free_address();
    // Without a folder for checkpoints there is nothing to stop with: a signal cancels the job.
    let mut head = Process::start(coordinator(dir.path(), at, &["--input", &input, "--rate", "1000"]), dir.path(), "coordinator");
    let mut workers = [1, 2].map(|i| {
        let name = format!("worker-{i}");
        Process::start(worker(dir.path(), &name, at, &[]), dir.path(), &name)
    });
    for worker in &workers {
        wait_until("it has joined", || worker.log().contains("joined as worker"));
    }
    signal(head.id(), "INT");
    assert_eq!(head.code(), 130, "{}", head.log());
    assert!(head.log().contains("the job was cancelled and shows no results"), "{}", head.log());
    for worker in &mut workers {
        assert_eq!(worker.code(), 0, "{}", worker.log());
        assert!(worker.output().contains("flights: the job has ended; "), "{}", worker.output());
    }
    assert!(visible(&dir.path().join("flights-output")).is_empty());
}

#[test]
fn a_coordinator_that_another_has_overtaken_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (input, expected) = undisturbed(dir.path());
    let options = ["--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "20ms"];
    let slowly = [&options[..], &["--rate", "1000"]].concat();
    let at = free_address();
    let mut head = Process::start(coordinator(dir.path(), at, &slowly), dir.path(), "coordinator");
    let mut workers = [1, 2].map(|i| {
        let name = format!("worker-{i}");
        Process::start(worker(dir.path(), &name, at, &[]), dir.path(), &name)
    });
    wait_until("there is a checkpoint", || newest_checkpoint(&dir.path().join(CHECKPOINTS)).is_some());
    // It may lose the race for an entry of the log to a checkpoint of the one that is at work.
    wait_until("a successor takes over", || {
        let successor = flights(dir.path(), &[&["run"], &options[..]].concat()).output().unwrap();
        let says = String::from_utf8_lossy(&successor.stderr).into_owned();
        assert!(successor.status.success() || says.contains("another attempt of this job has taken over"), "{says}");
        successor.status.success()
    });
    assert_eq!(head.code(), 1, "{}", head.log());
    assert!(head.log().contains("another attempt of this job has taken over") && head.log().contains("nothing it prepared is lost"));
    // They look for the one that has taken over, until somebody stops them.
    for worker in &mut workers {
        signal(worker.id(), "TERM");
        assert_eq!(worker.code(), 0, "{}", worker.log());
    }
    assert_shown(&visible(dir.path()), &expected);
    assert_nothing_is_left_behind(dir.path());
}

#[test]
fn a_successor_takes_over_at_its_first_try_however_busy_the_one_at_work() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let (input, expected) = undisturbed(dir.path());
        let options = ["--input", &input, "--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "5ms"];
        let slowly = [&["run"], &options[..], &["--rate", "1000"]].concat();
        let first = Process::start(flights(dir.path(), &slowly), dir.path(), "first");
        wait_until("there is a checkpoint", || newest_checkpoint(&dir.path().join(CHECKPOINTS)).is_some());
        let successor = flights(dir.path(), &[&["run"], &options[..]].concat()).output().unwrap();
        assert!(successor.status.success(), "{}\n{}", String::from_utf8_lossy(&successor.stderr), first.log());
        assert_shown(&visible(dir.path()), &expected);
    }
}

#[test]
fn wrong_use_of_a_cluster_is_told_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = |options: &[&str]| flights(dir.path(), &[&["coordinator"], options].concat());
    let worker = |options: &[&str]| flights(dir.path(), &[&["worker"], options].concat());
    check(coordinator(&[]), 2, &["--workers <N>"]);
    check(coordinator(&["--workers", "0"]), 2, &["--workers"]);
    check(coordinator(&["--workers", "1", "--cores", "2"]), 2, &["--cores is for workers"]);
    check(coordinator(&["--workers", "1", "--listen", "localhost:1"]), 2, &["names of hosts are not looked up"]);
    check(coordinator(&["--workers", "1", "--listen", "0.0.0.0:0"]), 2, &["needs a secret", "127.0.0.1"]);
    check(coordinator(&["--workers", "1", "--heartbeat-interval", "2s"]), 2, &["at least twice the interval"]);
    check(worker(&["--data", "10.1.2.3:0"]), 2, &["needs a secret"]);
    check(worker(&["--input", "in.csv"]), 2, &["unexpected argument '--input'"]);
    check(worker(&["--secret-file", "nowhere"]), 2, &["nowhere", "No such file"]);
    fs::write(dir.path().join("short"), "hunter2\n").unwrap();
    check(worker(&["--secret-file", "short"]), 2, &["short: a secret of 7 bytes is too short", "/dev/urandom"]);
    let mut short = worker(&[]);
    short.env("THALWEG_SECRET", "hunter2");
    check(short, 2, &["THALWEG_SECRET: a secret of 7 bytes is too short"]);
    check(worker(&["--cpus", "100000"]), 2, &["CPU 100000"]);
}

/// The socket of a process that was killed outlives it, while the kernel takes its io_uring apart.
#[test]
fn an_address_that_is_taken_is_waited_for_some_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut head = Process::start(coordinator(dir.path(), at, &["--input", "in.csv"]), dir.path(), "coordinator");
    let other = free_address();
    let mut worker = Process::start(worker(dir.path(), "worker", other, &["--data", &at.to_string()]), dir.path(), "worker");
    for process in [&head, &worker] {
        wait_until("it waits", || process.log().contains("the address is taken; trying again"));
    }
    drop(taken);
    wait_until("one of the two gets it", || {
        assert!(head.ended().is_none() || worker.ended().is_none(), "{}{}", head.log(), worker.log());
        head.log().contains("the coordinator listens for workers") || worker.log().contains("the coordinator cannot be joined")
    });
}

/// A coordinator with a secret that waits for workers.
fn waiting(dir: &Path) -> (Process, std::net::SocketAddr) {
    fs::write(dir.join("secret"), "the secret of this cluster\n").unwrap();
    let at = free_address();
    let head = Process::start(coordinator(dir, at, &["--secret-file", "secret"]), dir, "coordinator");
    wait_until("it listens", || head.log().contains("the coordinator listens for workers"));
    (head, at)
}

#[test]
fn a_worker_without_the_secret_or_with_another_one_is_refused_and_a_knowing_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut head, at) = waiting(dir.path());
    check(worker(dir.path(), "none", at, &[]), 2, &["secret"]);
    let mut other = worker(dir.path(), "other", at, &[]);
    other.env("THALWEG_SECRET", "the secret of another cluster");
    check(other, 2, &["secret"]);
    let mut knowing = worker(dir.path(), "knowing", at, &[]);
    knowing.env("THALWEG_SECRET", "the secret of this cluster");
    let knowing = Process::start(knowing, dir.path(), "knowing");
    wait_until("it has joined", || knowing.log().contains("joined as worker"));
    let shown = knowing.log() + &head.log();
    assert!(!shown.contains("of this cluster"), "nobody says the secret");
    assert!(head.ended().is_none());
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of_and_one_that_only_its_owner_can_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "the secret of this cluster\n").unwrap();
    for (mode, is_warned_of) in [(0o644, true), (0o640, false), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let head = Process::start(coordinator(dir.path(), free_address(), &["--secret-file", "secret"]), dir.path(), "coordinator");
        wait_until("it listens", || head.log().contains("the coordinator listens for workers"));
        let log = head.log();
        let warning = log.lines().find(|line| line.contains("WARN") && line.contains("chmod 600 secret"));
        assert_eq!(warning.is_some(), is_warned_of, "{mode:o}: {log}");
        assert!(warning.is_none_or(|warning| warning.contains("file=secret") && warning.contains("mode=644")), "{log}");
    }
}

#[test]
fn a_worker_with_another_program_is_refused_with_both_fingerprints() {
    let dir = tempfile::tempdir().unwrap();
    let at = free_address();
    let head = Process::start(coordinator(dir.path(), at, &[]), dir.path(), "coordinator");
    wait_until("it listens", || head.log().contains("the coordinator listens for workers"));
    // The same program but for one byte behind its end.
    let copy = dir.path().join("other-program");
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.push(0);
    fs::write(&copy, bytes).unwrap();
    Command::new("chmod").args(["+x".as_ref(), copy.as_os_str()]).status().unwrap();
    let usual = worker(dir.path(), "other", at, &[]);
    let mut other = Command::new(copy);
    other.args(usual.get_args());
    let other = in_place_of(&usual, other);
    check(other, 2, &["the worker's program has the fingerprint ", " and the coordinator's ", "start the same binary everywhere"]);
}

#[test]
fn help_tells_the_options_of_each_process() {
    let dir = tempfile::tempdir().unwrap();
    let help = |arguments: &[&str]| {
        let output = flights(dir.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&["--help"]);
    assert!(all.contains("coordinator  Run the job on workers") && all.contains("worker       Work for a coordinator"), "{all}");
    let coordinator = help(&["coordinator", "--help"]);
    for part in ["--listen", "127.0.0.1:7100", "--workers", "--worker-wait", "2s", "--heartbeat-timeout", "--secret-file", "THALWEG_SECRET"]
    {
        assert!(coordinator.contains(part), "{part}");
    }
    for part in ["--input", "--checkpoint-dir", "--parallelism", "--cpus"] {
        assert!(coordinator.contains(part), "{part}");
    }
    assert!(!coordinator.contains("--cores"), "{coordinator}");
    let worker = help(&["worker", "--help"]);
    for part in ["--coordinator", "--cores", "--data", "--cpus", "--secret-file", "--quiet"] {
        assert!(worker.contains(part), "{part}");
    }
    assert!(!worker.contains("--input") && !worker.contains("--checkpoint-dir"), "{worker}");
}
