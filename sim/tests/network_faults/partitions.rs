//! Partitions: who is cut off from whom, for how long, and that nothing is lost by it.

use crate::duo::{at_ms, at_write, connection, duo, injected, ms_since, read_all};
use crate::talk::{door, read, sleep_ms, write};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use thalweg_io::{Io, Listener, LocalBoxFuture, TaskClass, mailbox};
use thalweg_sim::{Between, FaultCounts, NetConfig, NetFaultKind, SimProcess, World, WorldConfig, both};

#[test]
fn bytes_wait_for_the_end_of_a_partition_and_a_full_buffer_holds_the_writer() {
    for seed in 0..20 {
        let (_, (there, waited_ms)) = duo(
            seed,
            |net| {
                (net.buffer_bytes, net.latency_ms_max) = (vec![2_000], 5);
                net.faults = vec![at_ms(100, NetFaultKind::Partition { ms: 10_000 }).between(Between::machines(0, 1))];
            },
            |io, (mut from, _to)| {
                Box::pin(async move {
                    let start = io.clock().now();
                    assert_eq!(read(&mut from).await.unwrap(), b"before");
                    let (rest, kind) = read_all(&mut from).await;
                    assert_eq!((rest, kind), ((0..50).flat_map(|n| [n; 100]).collect(), None));
                    ms_since(&io, start)
                })
            },
            |io, (_from, mut to)| {
                Box::pin(async move {
                    write(&mut to, b"before").await.unwrap();
                    sleep_ms(&io, 200).await;
                    let start = io.clock().now();
                    for n in 0..50 {
                        write(&mut to, &[n; 100]).await.unwrap();
                        assert!(n >= 20 || ms_since(&io, start) < 10, "there is room for {n}");
                    }
                    ms_since(&io, start)
                })
            },
        );
        // Retransmission is not at once.
        assert!((9_800..13_200).contains(&waited_ms), "{waited_ms}");
        assert!((10_000..15_000).contains(&there), "{there}");
    }
}

#[test]
fn when_only_the_way_back_is_cut_bytes_arrive_and_their_sender_does_not_learn_of_it() {
    let (_, ((), full)) = duo(
        1,
        |net| {
            net.buffer_bytes = vec![100];
            net.faults = vec![at_ms(50, NetFaultKind::OneWay { ms: 60_000 }).between(Between::machines(0, 1))];
        },
        |io, (mut from, _to)| {
            Box::pin(async move {
                let start = io.clock().now();
                let mut bytes = 0;
                while bytes < 100 {
                    bytes += read(&mut from).await.unwrap().len();
                }
                assert!(ms_since(&io, start) < 200, "they come through");
                assert_eq!(read(&mut from).await.unwrap().len(), 100);
                assert!(ms_since(&io, start) > 60_000);
            })
        },
        |io, (_from, mut to)| {
            Box::pin(async move {
                sleep_ms(&io, 100).await;
                write(&mut to, &[1; 100]).await.unwrap();
                let start = io.clock().now();
                write(&mut to, &[1; 100]).await.unwrap();
                ms_since(&io, start)
            })
        },
    );
    assert!((59_000..64_000).contains(&full));
}

/// Answers each connection of `listener` with all that comes.
async fn echo_everybody(io: Io, listener: Box<dyn Listener>) {
    loop {
        let (mut from, mut to, _) = listener.accept().await.unwrap();
        let echo = async move {
            while let Ok(heard) = read(&mut from).await
                && !heard.is_empty()
                && write(&mut to, &heard).await.is_ok()
            {}
        };
        io.spawner().spawn(TaskClass::Latency, "echo", Box::pin(echo));
    }
}

/// Lets a process answer everybody, from now on.
async fn serve(process: &SimProcess) {
    let (cores, address) = (process.cores(), door(process));
    let (ready, mut is_ready) = mailbox();
    let mut serving = Box::pin(cores.try_on_core::<()>(move |io| {
        Box::pin(async move {
            let listener = io.net().listen(address).await.unwrap();
            io.spawner().spawn(TaskClass::Latency, "serve", Box::pin(echo_everybody(io.clone(), listener)));
            ready.send(()).unwrap();
            std::future::pending().await
        })
    }));
    // It runs on; all that is wanted is that it has begun.
    poll_fn(|cx| {
        let _ = serving.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    is_ready.recv().await.unwrap();
}

/// Asks over and over, for so long; how long it waited at most for an answer, in milliseconds.
async fn ask(io: Io, address: SocketAddr, ms: u64) -> u64 {
    let (mut from, mut to) = io.net().connect(address).await.unwrap();
    let (start, mut longest_ms) = (io.clock().now(), 0);
    while ms_since(&io, start) < ms {
        let asked = io.clock().now();
        write(&mut to, b"x").await.unwrap();
        assert_eq!(read(&mut from).await.unwrap(), b"x");
        longest_ms = longest_ms.max(ms_since(&io, asked));
        sleep_ms(&io, 10).await;
    }
    longest_ms
}

/// Waits for all of them.
async fn all(futures: Vec<LocalBoxFuture<()>>) {
    let mut open: Vec<_> = futures.into_iter().map(Some).collect();
    poll_fn(move |cx| {
        for slot in &mut open {
            if slot.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                *slot = None;
            }
        }
        if open.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Three machines, each asking each other over and over; how long each pair waited at most for an answer, in milliseconds.
fn triangle(seed: u64, net: impl FnOnce(&mut NetConfig), ms: u64) -> (World, Vec<((usize, usize), u64)>) {
    let mut config = WorldConfig::calm();
    net(&mut config.net);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(move |cluster| async move {
        let processes: Vec<_> = ["a", "b", "c"].into_iter().map(|name| cluster.start(name)).collect();
        for process in &processes {
            serve(process).await;
        }
        let (found, mut waits) = mailbox();
        let mut asking: Vec<LocalBoxFuture<()>> = vec![];
        for (one, from) in processes.iter().enumerate() {
            for (other, to) in processes.iter().enumerate().filter(|(other, _)| *other != one) {
                let (found, cores, address) = (found.clone(), from.cores(), door(to));
                asking.push(Box::pin(async move {
                    let longest_ms = cores.try_on_core(move |io| Box::pin(ask(io, address, ms))).await.unwrap();
                    found.send(((one, other), longest_ms)).unwrap();
                }));
            }
        }
        all(asking).await;
        let mut pairs = vec![];
        for _ in 0..6 {
            pairs.push(waits.recv().await.unwrap());
        }
        pairs.sort_unstable();
        pairs
    });
    let pairs = outcome.expect_done();
    (world, pairs)
}

#[test]
fn one_machine_is_isolated_and_the_others_talk() {
    let isolation = at_ms(500, NetFaultKind::Partition { ms: 4_000 }).between(Between::around(1));
    let (world, pairs) = triangle(1, |net| net.faults = vec![isolation], 3_000);
    for ((from, to), longest_ms) in pairs {
        let expected = if from == 1 || to == 1 { 3_900..11_000 } else { 0..20 };
        assert!(expected.contains(&longest_ms), "from {from} to {to}: {longest_ms} ms");
    }
    assert_eq!(injected(&world), FaultCounts::from([("net: partition", 1)]));
}

#[test]
fn a_swizzle_cuts_everybody_off_in_one_order_and_lets_them_back_in_another() {
    let mut orders = BTreeSet::new();
    for seed in 0..20 {
        let swizzle = at_ms(500, NetFaultKind::Swizzle { ms: 6_000 });
        let (world, pairs) = triangle(seed, |net| net.faults = vec![swizzle], 3_000);
        assert!(pairs.iter().all(|(_, longest_ms)| (1_000..13_000).contains(longest_ms)), "{pairs:?}");
        let mut order: Vec<_> = pairs.iter().map(|(pair, longest_ms)| (longest_ms / 1_000, *pair)).collect();
        order.sort_unstable();
        orders.insert(order);
        assert_eq!(injected(&world), FaultCounts::from([("net: swizzle", 1)]));
    }
    assert!(orders.len() > 5);
}

#[test]
fn healing_opens_every_link_and_nothing_that_was_planned_happens_any_more() {
    let mut config = WorldConfig::calm();
    config.net.faults = vec![
        at_ms(100, NetFaultKind::Partition { ms: 1_000_000 }).between(Between::machines(0, 1)),
        at_ms(20_000, NetFaultKind::Reset),
        at_write(2, NetFaultKind::Reset),
    ];
    let world = World::new(1, config);
    let outcome = world.run_cluster(|cluster| async move {
        let (called, caller) = (cluster.start("called"), cluster.start("caller"));
        let talk = connection(
            &called,
            &caller,
            |_, (mut from, _to)| Box::pin(async move { read_all(&mut from).await }),
            |io, (_from, mut to)| {
                Box::pin(async move {
                    for _ in 0..5 {
                        write(&mut to, b"x").await.unwrap();
                        sleep_ms(&io, 10_000).await;
                    }
                })
            },
        );
        let heal = async {
            cluster.sleep_ms(5_000).await;
            cluster.network().heal();
        };
        both(talk, heal).await.0.0
    });
    assert_eq!(outcome.expect_done(), (b"xxxxx".to_vec(), None));
    assert_eq!(injected(&world), FaultCounts::from([("net: partition", 1)]));
}

#[test]
fn a_reset_in_the_middle_of_a_write_that_a_cut_link_swallows_takes_no_byte_away() {
    let mut met = 0;
    for seed in 0..40 {
        let (world, ((bytes, kind), written)) = duo(
            seed,
            |net| {
                net.faults = vec![
                    at_ms(100, NetFaultKind::Partition { ms: 1_000 }).between(Between::machines(0, 1)),
                    at_write(1, NetFaultKind::Reset).between(Between::machines(1, 0)),
                ];
            },
            |_, (mut from, _to)| Box::pin(async move { read_all(&mut from).await }),
            |io, (_from, mut to)| {
                Box::pin(async move {
                    write(&mut to, &[1; 100]).await.unwrap();
                    sleep_ms(&io, 200).await;
                    write(&mut to, &[2; 100]).await.is_ok() && write(&mut to, &[3; 100]).await.is_ok()
                })
            },
        );
        assert_eq!((bytes, kind, written), ([[1; 100], [2; 100], [3; 100]].concat(), None, true), "seed {seed}");
        met += injected(&world)["net: reset"];
    }
    assert_eq!(met, 40, "each write met the reset that nobody heard of");
}
