//! The io_uring backend keeps every promise of the door.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the door itself")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use thalweg_io::conformance::{World, all};
use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores};

/// This machine, with a directory for files.
struct Machine {
    cores: UringCores,
    root: tempfile::TempDir,
    directories: AtomicU32,
}

impl World for Machine {
    fn run(&self, mains: Vec<CoreMain>) {
        self.cores.start(mains).unwrap().join();
    }

    fn scratch(&self) -> PathBuf {
        let path = self.root.path().join(self.directories.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&path).unwrap();
        path
    }
}

fn run_all(cores: UringCores) {
    // Not /tmp: that is often a tmpfs, and the page cache of a real file system is what is meant.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let machine = Machine { cores, root, directories: AtomicU32::new(0) };
    for case in all() {
        println!("{}", case.name);
        (case.run)(&machine);
    }
}

#[test]
fn every_case_passes() {
    run_all(UringCores::new());
}

#[test]
fn every_case_passes_when_idle_tasks_never_spin() {
    run_all(UringCores::new().with_spin_limit(0));
}
