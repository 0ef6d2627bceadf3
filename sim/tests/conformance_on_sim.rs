//! The door's conformance suite in the simulated world, over several seeds: what io_uring promises, the simulator promises too, and no more.
//!
//! The worlds are random ones, tamed where the suite expects a machine that is not absurdly slow: it takes socket buffers for granted that hold
//! 64 KiB, lets no task of a class have ten times the turns of another, and tells "waits" from "is slow" within a fifth of a second.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::path::PathBuf;
use thalweg_io::{CoreMain, Cores, conformance, mailbox};
use thalweg_sim::{CrashStyle, SchedulePolicy, World, WorldConfig};

struct SimWorld {
    world: World,
    directories: Cell<u32>,
}

impl SimWorld {
    fn new(seed: u64) -> Self {
        let mut config = WorldConfig::random(seed);
        config.poll_cost_ns_max = config.poll_cost_ns_max.min(2_000);
        if let SchedulePolicy::Priorities { levels, .. } = &mut config.schedule {
            *levels = 2;
        }
        config.net.buffer_bytes = vec![64 * 1024];
        config.net.latency_ms_max = config.net.latency_ms_max.min(10);
        Self { world: World::new(seed, config), directories: Cell::new(0) }
    }
}

impl conformance::World for SimWorld {
    fn run(&self, mains: Vec<CoreMain>) {
        let outcome = self.world.run(|cores| async move {
            let (ended, mut ends) = mailbox::<()>();
            let report_its_end = |main: CoreMain| -> CoreMain {
                let ended = ended.clone();
                Box::new(move |id, io| {
                    Box::pin(async move {
                        main(id, io).await;
                        drop(ended);
                    })
                })
            };
            let mains = mains.into_iter().map(report_its_end).collect();
            drop(ended);
            cores.start(mains).unwrap().join();
            assert_eq!(ends.recv().await, None);
        });
        outcome.expect_done();
    }

    fn scratch(&self) -> PathBuf {
        let number = self.directories.replace(self.directories.get() + 1);
        let path = PathBuf::from(format!("/scratch/{number}"));
        self.world.disk().put_dir(&path).unwrap();
        path
    }

    fn crash(&self) -> bool {
        self.world.disk().crash(CrashStyle::Random);
        true
    }
}

#[test]
fn the_simulated_world_keeps_the_promises_of_the_door() {
    for case in conformance::all() {
        for seed in 0..6 {
            println!("{} in the world of seed {seed}", case.name);
            (case.run)(&SimWorld::new(seed));
        }
    }
}
