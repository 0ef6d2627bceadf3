//! Everything happens at once, and a seed gives one history all the same.

use crate::setup::{KILL, start};
use crate::talk::{answer_everybody, door, read, sleep_ms, write};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use thalweg_io::{Buffer, Io, OpenMode, Rng, SplitMix, TaskClass};
use thalweg_sim::marks::fault_families;
use thalweg_sim::{
    CrashStyle, DiskFault, FaultCounts, HONEST_NET_FAULTS, KillPoint, NetFault, ProcessFault, REPORTED_FAULTS, RunStats, SimProcess, World,
    WorldConfig,
};

/// Connects to all others, sends numbers, counts in files what it hears.
async fn busy(io: Io, own: SocketAddr, others: Vec<SocketAddr>, name: String) {
    let Ok(listener) = io.net().listen(own).await else { return };
    for (n, other) in others.into_iter().enumerate() {
        let (io, talking, name) = (io.clone(), io.clone(), format!("{name}-{n}"));
        let talk = async move {
            let mut rng = talking.rng("talk");
            for round in 0..30 {
                sleep_ms(&talking, 5 + rng.below(20)).await;
                let Ok((mut from, mut to)) = talking.net().connect(other).await else { continue };
                let Ok(file) = talking.disk().open(Path::new(&format!("{name}-{round}")), OpenMode::CreateNew).await else { continue };
                for step in 0..5 {
                    let Ok(()) = write(&mut to, &[round; 200]).await else { break };
                    talking.observe("sent", &name, [step, 0, 0]);
                    let Ok(heard) = read(&mut from).await else { break };
                    drop(file.write_at(0, Buffer::from(heard.as_slice())).await);
                    drop(file.sync().await);
                }
            }
        };
        io.spawner().spawn(TaskClass::Throughput, "talk", Box::pin(talk));
    }
    answer_everybody(&io, listener).await;
}

/// A cluster to which everything happens at once; what is left of it.
fn storm(seed: u64) -> (u64, RunStats, u64, FaultCounts) {
    let mut config = WorldConfig::random(seed);
    let stream = |name: &str| SplitMix::stream(seed, name);
    let size = 2 + stream("size").below(4) as usize;
    config.net.faults = NetFault::draw(&mut stream("faults/net"), &HONEST_NET_FAULTS, 6, size, 2_000, 200, &[("sent", 30)]);
    config.net.buffer_bytes = vec![64, 65_536];
    config.disk.faults = DiskFault::draw(&mut stream("faults/disk"), &REPORTED_FAULTS, 20, 300);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(move |cluster| async move {
        let mut fate = cluster.rng("fate");
        let names = ["a", "b", "c", "d", "e"];
        let mut processes: Vec<_> = (0..size).map(|n| cluster.start(names[n])).collect();
        let doors: Vec<_> = processes.iter().map(door).collect();
        let go = |process: &SimProcess| {
            let own = door(process);
            let others = doors.iter().copied().filter(|other| *other != own).collect();
            let name = format!("{}-{}", process.name(), process.incarnation());
            start(process, move |io| Box::pin(busy(io, own, others, name)));
        };
        for process in &processes {
            go(process);
            let nth = fate.below(20);
            process.plan(KillPoint::Event { name: "sent", nth }, KILL);
        }
        for _ in 0..12 {
            cluster.sleep_ms(100 + fate.below(200)).await;
            let victim = fate.below(size as u64) as usize;
            match fate.below(5) {
                0 => processes[victim].kill(),
                1 => processes[victim].machine().power_loss(CrashStyle::Random),
                2 => processes[victim].plan(KillPoint::Time { ms: 1 }, ProcessFault::Pause { ms: 50 + fate.below(500) }),
                3 => cluster.power_loss(CrashStyle::Random),
                _ => cluster.network().heal(),
            }
            for process in &mut processes {
                if !process.is_alive() && fate.below(2) == 0 {
                    *process = process.restart();
                    go(process);
                }
            }
        }
    });
    let (hash, stats) = (outcome.trace_hash, outcome.stats);
    outcome.expect_done();
    (hash, stats, world.disk().model().digest(), world.injected())
}

#[test]
fn one_seed_gives_one_history_whatever_happens_to_how_many_processes() {
    let mut hashes = BTreeSet::new();
    let mut seen = FaultCounts::new();
    for seed in 0..25 {
        let one = storm(seed);
        assert_eq!(one, storm(seed), "seed {seed}");
        hashes.insert(one.0);
        for (name, count) in one.3 {
            *seen.entry(name).or_default() += count;
        }
    }
    assert_eq!(hashes.len(), 25);
    let of_processes = fault_families().filter(|family| family.starts_with("process: "));
    for name in of_processes.chain(["net: reset", "net: half-open"]) {
        assert!(seen.contains_key(name), "{name} is not among {seen:?}");
    }
}
