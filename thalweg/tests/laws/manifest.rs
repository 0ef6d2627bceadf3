//! Reads as much of a `Cargo.toml` as the laws ask about: the names in its tables of dependencies.

use crate::read;
use std::collections::BTreeSet;

/// The crates of the workspace by their folders.
pub const CRATES: [&str; 14] = [
    "io",
    "kernel/record",
    "kernel/derive",
    "storage",
    "kernel",
    "cluster",
    "connectors",
    "metrics",
    "cli",
    "thalweg",
    "sim/small",
    "sim/world",
    "sim",
    "bench",
];

/// Whether a dependency is part of what is built for a user, or of tests only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]` and those of a target.
    Built,
    /// The same and `[dev-dependencies]`.
    Any,
}

/// The names in those tables of the manifest of `folder` (`.`: the root's `[workspace.dependencies]`) that hold dependencies.
pub fn dependencies(folder: &str, kind: Kind) -> BTreeSet<String> {
    let manifest = read(&format!("{folder}/Cargo.toml"));
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = table.ends_with("dependencies") && (kind == Kind::Any || !table.ends_with("dev-dependencies"));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}
