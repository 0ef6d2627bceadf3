//! `clippy.toml` and the lints of the workspace refuse what goes past the door.

use crate::{files, read, root};
use std::collections::BTreeSet;
use std::process::Command;

/// One use of each kind of forbidden name, each line marked. See there.
const FORBIDDEN: &str = include_str!("forbidden.rs.txt");
/// Ends each line that must be refused.
const MARK: &str = "// refused";

/// The tables of the root manifest that set lints for every crate.
fn workspace_lints() -> String {
    let manifest = read("Cargo.toml");
    let mut lints = String::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[workspace.lints.");
        }
        if inside {
            lints.push_str(line);
            lints.push('\n');
        }
    }
    lints
}

/// Runs clippy, with the repository's own configuration, over a crate that consists of `source`. `None` if clippy is not installed.
fn refused_lines(source: &str) -> Option<BTreeSet<usize>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    if !Command::new(&cargo).args(["clippy", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let manifest = format!(
        "[package]\nname = \"trespasser\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[lints]\nworkspace = true\n[workspace]\n{}",
        workspace_lints()
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).expect("the manifest can be written");
    std::fs::write(folder.path().join("lib.rs"), source).expect("the source can be written");
    let output = Command::new(&cargo)
        .args(["clippy", "--offline", "--message-format=short"])
        .current_dir(&folder)
        .env("CLIPPY_CONF_DIR", root())
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("clippy.toml"), "clippy finds fault with clippy.toml itself:\n{text}");
    let errors = text.lines().filter(|line| line.starts_with("lib.rs:") && line.contains(" error"));
    let lines: BTreeSet<usize> = errors.filter_map(|line| line.split(':').nth(1)?.parse().ok()).collect();
    assert_eq!(output.status.success(), lines.is_empty(), "the crate must fail by what it says, and by nothing else:\n{text}");
    Some(lines)
}

#[test]
fn what_goes_past_the_door_is_refused_and_nothing_else() {
    let marked: BTreeSet<usize> = FORBIDDEN.lines().zip(1..).filter(|(line, _)| line.ends_with(MARK)).map(|(_, number)| number).collect();
    match refused_lines(FORBIDDEN) {
        Some(refused) => {
            assert_eq!(refused, marked, "lines of thalweg/tests/laws/forbidden.rs.txt that clippy refuses, and those marked as refused")
        }
        None => eprintln!("not checked: this toolchain has no clippy (`rustup component add clippy`)"),
    }
}

#[test]
fn every_forbidden_name_comes_with_what_to_use_instead() {
    let config = read("clippy.toml");
    let entries: Vec<&str> = config.lines().map(str::trim).filter(|line| line.starts_with("{ path")).collect();
    assert!(entries.len() > 40, "{} entries: has the form of the file changed?", entries.len());
    for entry in entries {
        let reason = entry.split_once("reason = \"").and_then(|(_, rest)| rest.split_once('"'));
        assert!(reason.is_some_and(|(reason, _)| reason.len() > 15), "without a reason: {entry}");
    }
}

/// Where the real clock, disk, network and threads may be used: behind the door, and by programs that look at the engine from outside.
fn may_look_outside(path: &str) -> bool {
    ["io/", "sim/", "bench/", "storage/examples/", "thalweg/examples/"].iter().any(|place| path.starts_with(place))
        || path.contains("/tests/")
}

#[test]
fn only_the_door_the_simulator_benchmarks_and_tests_are_exempt() {
    for path in ["io", "storage", "kernel", "cluster", "connectors", "metrics", "cli", "thalweg", "sim", "bench"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
    {
        let exempt = read(&path).contains("clippy::disallowed");
        assert!(!exempt || may_look_outside(&path), "{path} allows itself what the first law forbids");
    }
}
