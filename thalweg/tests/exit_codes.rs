//! The table of exit codes in docs/src/running.md: each of its rows, produced by processes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "it starts processes, in real time")]

mod denial;
mod flights_job;
mod processes;
mod shown;

use denial::denied;
use flights_job::flights;
use processes::{Process, free_address, newest_checkpoint, signal, wait_until};
use shown::{CHECKPOINTS, undisturbed};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// The documented meaning of each code.
fn documented() -> BTreeMap<i32, String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/running.md")).unwrap();
    let section = page.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        Some((cells.first()?.parse().ok()?, (*cells.get(1)?).to_owned()))
    };
    section.lines().filter_map(row).collect()
}

/// Looks off what was produced.
#[derive(Default)]
struct Table {
    documented: BTreeMap<i32, String>,
    produced: BTreeSet<i32>,
}

impl Table {
    /// What ends with `code` is what the page says of it by `words`.
    #[track_caller]
    fn row(&mut self, code: i32, words: &str, ended: (Option<i32>, String)) {
        let meaning = self.documented.get(&code).unwrap_or_else(|| panic!("{code} is not documented"));
        assert!(meaning.contains(words), "{words:?} is not said of {code}: {meaning}");
        assert_eq!(ended.0, Some(code), "{words}: {}", ended.1);
        self.produced.insert(code);
    }
}

/// The exit code of `command`, and what it said.
fn end(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_documented_table_of_exit_codes_is_true() {
    let mut table = Table { documented: documented(), ..Table::default() };
    let dir = tempfile::tempdir().unwrap();
    let (input, _) = undisturbed(dir.path());
    let run = |options: &[&str]| flights(dir.path(), &[&["run", "--cores", "1", "--input", &input], options].concat());
    let with_checkpoints = |options: &[&str]| {
        let usual = ["--output", "out", "--checkpoint-dir", CHECKPOINTS, "--checkpoint-interval", "20ms"];
        run(&[&usual, options].concat())
    };
    // Interrupts a slow run when it has taken a checkpoint, or when it has begun.
    let interrupted = |command: Command, has_begun: &dyn Fn() -> bool| {
        let mut process = Process::start(command, dir.path(), "interrupted");
        wait_until("it has begun", has_begun);
        signal(process.id(), "TERM");
        (Some(process.code()), process.log())
    };
    let slow = ["--rate", "500"];

    let has_checkpoint = || newest_checkpoint(&dir.path().join(CHECKPOINTS)).is_some();
    table.row(0, "stopped with a checkpoint", interrupted(with_checkpoints(&slow), &has_checkpoint));
    let cancelled = [&["--output", "cancelled"], &slow[..]].concat();
    table.row(130, "cancelled", interrupted(run(&cancelled), &|| dir.path().join("cancelled").exists()));

    // The latest checkpoint is damaged, and is whole again.
    let folder = dir.path().join(CHECKPOINTS);
    let (id, attempt) = newest_checkpoint(&folder).unwrap();
    let metadata = folder.join(format!("chk-{id}-{attempt}.metadata"));
    let is_there = metadata.exists();
    let metadata = if is_there { metadata } else { newest_metadata(&folder) };
    let whole = fs::read(&metadata).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&metadata, damaged).unwrap();
    table.row(2, "a checkpoint that is damaged", end(with_checkpoints(&[])));
    fs::write(&metadata, whole).unwrap();

    // A successor takes over from one that is at work.
    let mut overtaken = Process::start(with_checkpoints(&slow), dir.path(), "overtaken");
    wait_until("it goes on", || newest_checkpoint(&folder).is_some_and(|newest| newest.1 > attempt));
    table.row(0, "has finished", end(with_checkpoints(&[])));
    table.row(1, "another attempt that has taken over", (Some(overtaken.code()), overtaken.log()));
    table.row(0, "had finished before", end(with_checkpoints(&[])));

    table.row(1, "The job failed", end(run(&["--output", "strict", "--strict"])));
    table.row(2, "an option", end(run(&["--no-such-option"])));
    table.row(2, "input", end(flights(dir.path(), &["run", "--input", "nowhere.csv"])));
    table.row(2, "output", end(run(&["--output", "input/1.csv"])));
    table.row(2, "a checkpoint that cannot be meant", end(with_checkpoints(&["--restore", "nowhere"])));
    for folder in ["input/1.csv", "input/1.csv/checkpoints"] {
        table.row(2, "a folder for checkpoints that cannot be used", end(run(&["--output", "no", "--checkpoint-dir", folder])));
    }

    let here = ["run", "--cores", "1", "--input", &input];
    table.row(2, "io_uring forbidden", end(denied(dir.path(), libc::EPERM, &here)));
    table.row(1, "memory or descriptors that are used up", end(denied(dir.path(), libc::EMFILE, &here)));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let all = "an address that is taken";
    // Each of them tries for some seconds.
    let processes = [
        ("coordinator", flights(dir.path(), &["coordinator", "--workers", "1", "--listen", &address, "--input", &input])),
        ("worker", flights(dir.path(), &["worker", "--coordinator", &free_address().to_string(), "--data", &address])),
        ("metrics", run(&["--output", "metrics", "--metrics-listen", &address])),
    ];
    let processes = processes.map(|(name, command)| Process::start(command, dir.path(), name));
    for mut process in processes {
        table.row(1, all, (Some(process.code()), process.log()));
        assert!(process.log().contains(&address) && process.log().contains("address or port"), "{}", process.log());
    }
    let elsewhere = ["coordinator", "--workers", "1", "--listen", "192.0.2.1:7100", "--secret-file", "secret", "--input", &input];
    fs::write(dir.path().join("secret"), "the secret of this cluster\n").unwrap();
    table.row(2, "an address", end(flights(dir.path(), &elsewhere)));

    assert_eq!(table.produced, table.documented.keys().copied().collect(), "every documented code is produced");
}

/// The file of the latest checkpoint, whatever its name looks like.
fn newest_metadata(folder: &Path) -> std::path::PathBuf {
    let metadata = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "metadata");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(metadata).max().unwrap()
}
