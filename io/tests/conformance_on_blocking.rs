//! The makeshift for tools keeps every promise of the door that it makes, and makes no others.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the door itself")]

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use thalweg_io::conformance::{World, of_one_core};
use thalweg_io::{CoreId, CoreMain, blocking, mailbox};

/// This machine, with a directory for files.
struct Machine {
    root: tempfile::TempDir,
    directories: AtomicU32,
}

impl World for Machine {
    fn run(&self, mains: Vec<CoreMain>) {
        // One after the other: none of these cases has two that meet.
        for (core, main) in mains.into_iter().enumerate() {
            blocking::run(|io| main(CoreId(core), io)).unwrap();
        }
    }

    fn scratch(&self) -> PathBuf {
        let path = self.root.path().join(self.directories.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&path).unwrap();
        path
    }
}

#[test]
fn every_case_for_one_core_passes() {
    // Not /tmp: that is often a tmpfs, and the page cache of a real file system is what is meant.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let machine = Machine { root, directories: AtomicU32::new(0) };
    for case in of_one_core() {
        println!("{}", case.name);
        (case.run)(&machine);
    }
}

#[test]
fn a_thread_of_its_own_can_wake_an_errand() {
    let (sender, mut receiver) = mailbox();
    let sending = std::thread::spawn(move || sender.send(7u8));
    assert_eq!(blocking::run(move |_| Box::pin(async move { receiver.recv().await })).unwrap(), Some(7));
    assert!(sending.join().unwrap().is_ok());
}

#[test]
fn there_is_no_network_and_a_call_says_so() {
    let error = blocking::run(|io| Box::pin(async move { io.net().connect(([127, 0, 0, 1], 1).into()).await.err().unwrap() })).unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
