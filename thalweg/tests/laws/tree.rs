//! What the sources must not name, and who may depend on whom.

use crate::manifest::{CRATES, Kind, dependencies};
use crate::{files, read};
use std::collections::BTreeSet;

/// What must do as the simulator says: everything but the door.
const INSIDE: &[&str] = &[
    "thalweg/src",
    "cli/src",
    "metrics/src",
    "cluster/src",
    "connectors/src",
    "kernel/src",
    "kernel/record/src",
    "kernel/derive/src",
    "storage/src",
];

/// The lines of a source file without comments, with their numbers.
fn code(path: &str) -> Vec<(usize, String)> {
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    read(path).lines().zip(1..).map(|(line, number)| (number, without_comment(line))).collect()
}

/// Whether `word` stands in `line` by itself: `rand::` in `rand::random()` and not in `operand::new()`.
fn names(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let after = line.get(at + word.len()..).unwrap_or_default();
        !line.get(..at).unwrap_or_default().ends_with(is_part) && (word.ends_with(':') || !after.starts_with(is_part))
    })
}

/// Fails if one of `words` is named in the code of one of `folders`, except in files for which `exempt` holds.
fn forbid(law: &str, folders: &[&str], words: &[&str], exempt: impl Fn(&str) -> bool) {
    let mut broken = Vec::new();
    for path in folders.iter().flat_map(|folder| files(folder, "rs")).filter(|path| !exempt(path)) {
        for (number, line) in code(&path) {
            let named = words.iter().filter(|word| names(&line, word));
            broken.extend(named.map(|word| format!("{path}:{number}: {word}")));
        }
    }
    assert!(broken.is_empty(), "{law}\n  {}", broken.join("\n  "));
}

#[test]
fn engine_and_store_name_no_clock_disk_network_thread_or_randomness() {
    let words = ["std::fs", "std::net", "std::thread", "Instant", "SystemTime", "HashMap", "HashSet", "thread_local", "static mut"];
    let crates = ["rand::", "getrandom::", "libc::", "tokio::", "glommio::", "io_uring::", "madsim::"];
    forbid("one door: go through thalweg-io", INSIDE, &[&words[..], &crates[..]].concat(), |_| false);
}

#[test]
fn what_runs_in_production_is_what_runs_in_the_simulator() {
    let flags = ["madsim", "loom", "feature = \"sim"];
    forbid("same code: no special way for the simulator or a model", INSIDE, &flags, |_| false);
}

#[test]
fn io_uring_is_spoken_to_in_one_folder() {
    forbid(
        "io_uring is spoken to in io/src/uring/ alone: elsewhere a backend is chosen, and not known",
        &["io", "storage", "kernel", "cluster", "connectors", "metrics", "cli", "thalweg", "sim", "bench"],
        &["io_uring::", "squeue", "cqueue"],
        |path| path.starts_with("io/src/uring/") || path.starts_with("thalweg/tests/laws/"),
    );
}

#[test]
fn unsafe_code_lies_in_few_places() {
    // The derive writes rkyv's unsafe traits into the code it generates; frames are read in place, without checking them once more for every slice.
    // State of any type is found by its number, with one comparison for each access and no call. Its table lies in memory of its own.
    let (frames, states, table) = ("kernel/src/exchange/remote/archived.rs", "storage/src/states.rs", "storage/src/table/");
    // Which maps the file that it shows. It is part of no job.
    let dump = "storage/examples/dump.rs";
    let places =
        ["io/src/ring.rs", "io/src/buffer.rs", "io/src/uring/", "bench/", "kernel/derive/src/archive.rs", frames, states, table, dump];
    let exempt = |path: &str| places.iter().any(|place| path.starts_with(place)) || path.contains("/tests");
    forbid(
        "unsafe code belongs to rings, buffers, frames, the table of states and the backend",
        &["io", "storage", "kernel", "cluster", "connectors", "metrics", "cli", "thalweg", "sim", "bench"],
        &["unsafe"],
        exempt,
    );
}

#[test]
fn arrows_between_crates_run_one_way() {
    let allowed = |folder: &str| -> &[&str] {
        match folder {
            // Tests alone know the simulated worlds, as the next test has it.
            "io" => &["thalweg-small-world"],
            "kernel/derive" => &[],
            "sim/small" | "sim/world" => &["thalweg-io"],
            "kernel/record" => &["thalweg-derive"],
            // Not `thalweg`, whose examples are built with its dev-dependencies: that would add madsim to the first command of the README.
            "storage" => &["thalweg-io", "thalweg-record", "thalweg-world"],
            "kernel" => &["thalweg-io", "thalweg-record", "thalweg-storage", "thalweg-small-world"],
            "connectors" => &["thalweg-io", "thalweg-record", "thalweg-kernel"],
            "cluster" => &["thalweg-io", "thalweg-record", "thalweg-storage", "thalweg-kernel", "thalweg-small-world"],
            "metrics" => &["thalweg-io", "thalweg-kernel"],
            "cli" => &["thalweg-io", "thalweg-storage", "thalweg-kernel", "thalweg-connectors", "thalweg-metrics", "thalweg-cluster"],
            "thalweg" => &[
                "thalweg-io",
                "thalweg-record",
                "thalweg-kernel",
                "thalweg-connectors",
                "thalweg-metrics",
                "thalweg-cluster",
                "thalweg-cli",
            ],
            "sim" => &["thalweg", "thalweg-io", "thalweg-record", "thalweg-storage", "thalweg-world"],
            _ => &["thalweg", "thalweg-io", "thalweg-record", "thalweg-storage"],
        }
    };
    for folder in CRATES {
        let own = dependencies(folder, Kind::Any).into_iter().filter(|name| name.starts_with("thalweg"));
        let wrong: Vec<_> = own.filter(|name| !allowed(folder).contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{folder} must not know {wrong:?}");
    }
}

#[test]
fn no_simulated_world_is_part_of_what_is_built_for_a_user() {
    for folder in CRATES.iter().filter(|folder| !folder.starts_with("sim")) {
        let built: Vec<_> = dependencies(folder, Kind::Built).into_iter().filter(|name| name.ends_with("-world")).collect();
        assert!(built.is_empty(), "{folder} is built with {built:?}, which is for tests");
    }
}

#[test]
fn engine_and_store_depend_on_nothing_that_reaches_outside() {
    let reaching: BTreeSet<String> =
        ["rand", "getrandom", "libc", "tokio", "glommio", "io-uring", "madsim", "loom"].map(str::to_owned).into();
    for folder in ["storage", "kernel", "cluster", "connectors", "metrics", "cli", "thalweg", "kernel/record", "kernel/derive"] {
        let found: Vec<_> = dependencies(folder, Kind::Built).intersection(&reaching).cloned().collect();
        assert!(found.is_empty(), "{folder} must not depend on {found:?}");
    }
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    for folder in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}/Cargo.toml does not take the workspace's lints");
    }
}
