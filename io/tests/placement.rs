//! Where the threads beside a core's own run. It is a program of its own: it looks at all threads of the process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test of the door itself")]

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;
use thalweg_io::uring::UringCores;
use thalweg_io::{Buffer, CoreMain, Cores, OpenMode};

/// Where the thread or process of this /proc folder may run.
fn cpus_of(folder: &str) -> String {
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

/// Where the threads of this process may run, by their names without the numbers behind.
fn cpus_by_name() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let folder = thread.unwrap().path().display().to_string();
        let name = std::fs::read_to_string(format!("{folder}/comm")).unwrap();
        let name = name.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        found.entry(name).or_default().push(cpus_of(&folder));
    }
    found
}

/// A file that takes long enough to write for the kernel to hand it to a worker.
const BYTES: usize = 8 << 20;

#[test]
fn what_writes_and_syncs_files_for_a_core_may_run_on_any_cpu() {
    let usable = cpus_of("/proc/self");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let (tell, told) = mpsc::channel();
    let main: CoreMain = Box::new(move |_, io| {
        Box::pin(async move {
            let file = io.disk().open(&path, OpenMode::CreateNew).await.unwrap();
            let mut bytes = Buffer::with_capacity(BYTES);
            bytes.extend_from_slice(&vec![7; BYTES]);
            file.write_at(0, bytes).await.unwrap();
            file.sync().await.unwrap();
            // Freeing is asked for, not waited for.
            let mut threads = cpus_by_name();
            for _ in 0..1000 {
                if threads.get("iou-wrk-").is_some_and(|found| found.iter().all(|cpus| *cpus == usable)) {
                    break;
                }
                io.clock().sleep_until(io.clock().now().after(Duration::from_millis(5))).await;
                threads = cpus_by_name();
            }
            tell.send((usable, threads)).unwrap();
        })
    });
    UringCores::new().start(vec![main]).unwrap().join();
    let (usable, threads) = told.recv().unwrap();
    let first = usable.split([',', '-']).next().unwrap();
    assert_eq!(threads["thalweg-core-"], [first], "a core keeps to its CPU: {threads:?}");
    assert_eq!(threads["thalweg-helper"], [usable.as_str()], "{threads:?}");
    assert!(!threads["iou-wrk-"].is_empty() && threads["iou-wrk-"].iter().all(|cpus| *cpus == usable), "{threads:?}");
}
