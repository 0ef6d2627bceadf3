//! What a person sees when something is wrong: one clear message with its place, an exit code, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod falling;
#[path = "../flights_job/mod.rs"]
mod flights_job;
mod folders;
mod layers;
mod refusals;
mod stopping;

use flights_job::flights;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg::cli::{self, About};

const HEADER: &str = "year,month,day,dep_time,dep_delay,carrier,hour,minute";

/// `flights run` in `dir`, where its default outputs come to be.
fn run(dir: &Path, options: &[&str]) -> Command {
    flights(dir, &[&["run"], options].concat())
}

/// Ctrl-C.
fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Exit code and stderr.
fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Checks code and message of a run that goes wrong, and that it speaks in one way only.
#[track_caller]
fn check(mut command: Command, code: i32, parts: &[&str]) {
    let (actual, message) = outcome(&command.output().unwrap());
    assert_eq!(actual, Some(code), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is missing in: {message}"));
    assert!(!message.contains("RUST_BACKTRACE") && !message.contains("panicked at"), "{message}");
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(dir.join(name), content).unwrap();
}

/// Names of the files in `dir` and below, hidden ones too; none if it does not exist.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let mut found = vec![];
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(names(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// The lines of the results that are visible in `dir`, sorted, with their ends.
fn lines(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let shown = entries.map(|entry| entry.unwrap().path()).filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    let mut lines: Vec<String> =
        shown.flat_map(|path| fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// `kill -TERM`.
fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

/// Waits until `is_so`, while the job runs.
#[track_caller]
fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    while !is_so() {
        assert!(child.try_wait().unwrap().is_none(), "the job has ended by itself");
        std::thread::yield_now();
    }
}
