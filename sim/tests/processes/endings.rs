//! How a run of several processes ends, and that the next one is not touched by it.

use crate::setup::{counter, start};
use std::path::Path;
use thalweg_sim::{Ending, World, WorldConfig};

#[test]
fn a_panic_in_a_living_process_ends_the_run_and_a_deadlock_is_found() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        process.on_core::<()>(|_| Box::pin(async move { panic!("oh") })).await
    });
    assert!(matches!(&outcome.ending, Ending::Panicked { task, .. } if task == "one#0/core-0/main"), "{outcome}");
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        process.pause();
        process.on_core::<()>(|_| Box::pin(async move {})).await
    });
    assert!(matches!(&outcome.ending, Ending::Deadlock { tasks } if tasks.len() == 2), "{outcome}");
}

#[test]
fn how_a_process_was_left_does_not_outlive_the_run() {
    let world = World::new(1, WorldConfig::calm());
    let outcome = world.run_cluster(|cluster| async move {
        let process = cluster.start("one");
        start(&process, counter);
        cluster.sleep_ms(100).await;
        process.pause();
        process.is_alive()
    });
    assert!(outcome.expect_done());
    // Another run on the same disk, with one process only.
    let files = world
        .run(|cores| async move { cores.on_core(|io| Box::pin(async move { io.disk().list(Path::new("/")).await.unwrap().len() })).await });
    assert_eq!(files.expect_done(), 1);
}
