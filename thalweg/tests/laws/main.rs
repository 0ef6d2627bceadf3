//! The laws of the house bite (docs/src/architecture.md#the-laws).
//!
//! `clippy.rs` compiles what must not be written and expects the refusal; `tree.rs` reads the sources for what clippy does not see; `docs.rs` holds the
//! documents against the code and the manifests, `rooms.rs` the crates against each other. No network, no build of the workspace itself.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it reads the tree and starts cargo")]

mod circles;
mod clippy;
mod docs;
mod events;
mod manifest;
mod rooms;
mod tree;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the root").to_owned()
}

/// The content of the file at `path`, relative to the root.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below `folder` whose names end in `.extension`, as sorted paths relative to the root. Build products, hidden folders and the peers of the
/// benchmarks are left out.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        let entries = std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display()));
        for entry in entries {
            let path = entry.expect("the folder can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8").to_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") && name != "peers" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path.strip_prefix(root()).expect("it lies below the root");
                found.push(relative.to_str().expect("names are UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}
