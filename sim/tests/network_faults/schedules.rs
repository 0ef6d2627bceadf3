//! Schedules of faults: what is drawn strikes, and a fault that is taken out moves no other.

use crate::duo::{at_write, duo, injected, ms_since, within};
use crate::talk::{answer_everybody, door, read, sleep_ms, write};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use thalweg_io::{CoreMain, Cores, Io, SplitMix, TaskClass};
use thalweg_sim::marks::fault_families;
use thalweg_sim::{FaultCounts, HONEST_NET_FAULTS, NetFault, NetFaultKind, World, WorldConfig};

#[test]
fn a_drawn_schedule_hits_what_it_promises_and_one_seed_gives_one_history() {
    let mut seen = FaultCounts::new();
    let run = |seed| {
        let mut config = WorldConfig::random(seed);
        let menu: Vec<_> = HONEST_NET_FAULTS.into_iter().chain([NetFaultKind::BitFlip]).collect();
        config.net.faults = NetFault::draw(&mut SplitMix::stream(seed, "faults/net"), &menu, 6, 3, 3_000, 200, &[("sent", 20)]);
        // A byte at a time is for tests of its own.
        config.net.buffer_bytes = vec![100, 65_536];
        let world = World::new(seed, config);
        let outcome = world.run_cluster(|cluster| async move {
            let processes: Vec<_> = ["a", "b", "c"].into_iter().map(|name| cluster.start(name)).collect();
            let addresses: Vec<_> = processes.iter().map(door).collect();
            for process in &processes {
                let (addresses, own, cores) = (addresses.clone(), door(process), process.cores());
                let main: CoreMain = Box::new(move |_, io| Box::pin(chatter(io, own, addresses)));
                cores.start(vec![main]).unwrap().join();
            }
            cluster.sleep_ms(10_000).await;
        });
        let (hash, stats) = (outcome.trace_hash, outcome.stats);
        outcome.expect_done();
        (injected(&world), hash, stats)
    };
    for seed in 0..60 {
        let found = run(seed);
        if seed < 20 {
            assert_eq!(found, run(seed), "seed {seed}");
        }
        for (name, count) in found.0 {
            *seen.entry(name).or_default() += count;
        }
    }
    let families = fault_families().filter(|family| family.starts_with("net: "));
    let expected: BTreeSet<_> = families.chain(["net: bit flipped", "net: short read", "net: short write"]).collect();
    assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), expected);
}

/// Listens, and talks to everybody else, again and again, whatever happens.
async fn chatter(io: Io, own: SocketAddr, all: Vec<SocketAddr>) {
    let listener = io.net().listen(own).await.unwrap();
    for address in all.into_iter().filter(|address| *address != own) {
        let talking = io.clone();
        let talk = async move {
            for round in 0..40u8 {
                sleep_ms(&talking, 10).await;
                let Ok((mut from, mut to)) = talking.net().connect(address).await else { continue };
                for n in 0..10 {
                    if write(&mut to, &[round; 300]).await.is_err() {
                        break;
                    }
                    talking.observe("sent", "", [n, 0, 0]);
                    if !matches!(within(&talking, 500, read(&mut from)).await, Some(Ok(heard)) if !heard.is_empty()) {
                        break;
                    }
                }
            }
        };
        io.spawner().spawn(TaskClass::Throughput, "talk", Box::pin(talk));
    }
    answer_everybody(&io, listener).await;
}

#[test]
fn a_fault_that_is_taken_out_moves_nothing_before_it_and_no_latency_after_it() {
    let run = |faults: &[NetFault]| {
        let faults = faults.to_vec();
        duo(
            3,
            move |net| (net.latency_ms_max, net.short_read_per_mille, net.faults) = (40, 200, faults),
            |io, (mut from, _to)| {
                Box::pin(async move {
                    let start = io.clock().now();
                    let mut moments = vec![];
                    while let Ok(heard) = read(&mut from).await
                        && !heard.is_empty()
                    {
                        moments.push((ms_since(&io, start), heard.len()));
                    }
                    moments
                })
            },
            |io, (_from, mut to)| {
                Box::pin(async move {
                    for _ in 0..20 {
                        // It fails after a reset.
                        let _ = write(&mut to, &[1; 50]).await;
                        sleep_ms(&io, 100).await;
                    }
                })
            },
        )
        .1
        .0
    };
    let flips = [at_write(3, NetFaultKind::BitFlip), at_write(9, NetFaultKind::BitFlip)];
    assert_eq!(run(&flips), run(&[]));
    assert_eq!(run(&flips[1..]), run(&[]));
    let late = [at_write(18, NetFaultKind::Reset)];
    let (whole, cut) = (run(&[]), run(&late));
    assert!(cut.len() < whole.len());
    assert_eq!(cut[..cut.len() - 1], whole[..cut.len() - 1]);
}
