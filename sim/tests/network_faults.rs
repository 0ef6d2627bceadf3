//! Each fault of the network: what it does, what it leaves, and that both can be planned.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use thalweg_io::{Buffer, Io, IoError, LocalBoxFuture, MonotonicNs, NetRead, NetWrite, SplitMix, TaskClass, mailbox};
use thalweg_sim::{
    Between, FaultCounts, HONEST_NET_FAULTS, LatencyShape, NetConfig, NetFault, NetFaultKind, NetMoment, SimCluster, SimProcess, World,
    WorldConfig, both,
};

type Stream = (Box<dyn NetRead>, Box<dyn NetWrite>);

const PORT: u16 = 7_000;
const RESET: Result<Vec<u8>, ErrorKind> = Err(ErrorKind::ConnectionReset);

fn door(process: &SimProcess) -> SocketAddr {
    (process.address(), PORT).into()
}

async fn sleep_ms(io: &Io, ms: u64) {
    io.clock().sleep_until(io.clock().now().after(Duration::from_millis(ms))).await;
}

fn ms_since(io: &Io, start: MonotonicNs) -> u64 {
    io.clock().now().since(start).as_millis() as u64
}

async fn write(write: &mut Box<dyn NetWrite>, bytes: &[u8]) -> Result<(), ErrorKind> {
    write.write_all(Buffer::from(bytes)).await.map(drop).map_err(|error| error.kind())
}

/// What one read gives.
async fn read(read: &mut Box<dyn NetRead>) -> Result<Vec<u8>, ErrorKind> {
    let buffer = read.read(Buffer::with_capacity(4096)).await.map_err(|error: IoError| error.kind())?;
    Ok(buffer.to_vec())
}

/// Reads to the end or to an error; what came, and the error.
async fn read_all(from: &mut Box<dyn NetRead>) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = vec![];
    loop {
        match read(from).await {
            Ok(more) if more.is_empty() => return (bytes, None),
            Ok(more) => bytes.extend(more),
            Err(kind) => return (bytes, Some(kind)),
        }
    }
}

/// What `future` gives within so many milliseconds.
async fn within<T>(io: &Io, ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut alarm) = (std::pin::pin!(future), std::pin::pin!(sleep_ms(io, ms)));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Lets `called` have a connection that `caller` has opened to it.
async fn connection<A: Send + 'static, B: Send + 'static>(
    called: &SimProcess,
    caller: &SimProcess,
    there: impl FnOnce(Io, Stream) -> LocalBoxFuture<A> + Send + 'static,
    here: impl FnOnce(Io, Stream) -> LocalBoxFuture<B> + Send + 'static,
) -> (A, B) {
    let (ready, mut is_ready) = mailbox();
    let address = door(called);
    let accepts = called.on_core(move |io| {
        Box::pin(async move {
            let listener = io.net().listen(address).await.unwrap();
            ready.send(()).unwrap();
            let (read, write, _) = listener.accept().await.unwrap();
            there(io, (read, write)).await
        })
    });
    let calls = async {
        is_ready.recv().await.unwrap();
        caller
            .on_core(move |io| {
                Box::pin(async move {
                    let stream = io.net().connect(address).await.unwrap();
                    here(io, stream).await
                })
            })
            .await
    };
    let (a, b) = both(accepts, calls).await;
    (a.unwrap(), b.unwrap())
}

/// Two machines, the second connected to the first.
fn duo<A: Send + 'static, B: Send + 'static>(
    seed: u64,
    change: impl FnOnce(&mut NetConfig),
    there: impl FnOnce(Io, Stream) -> LocalBoxFuture<A> + Send + 'static,
    here: impl FnOnce(Io, Stream) -> LocalBoxFuture<B> + Send + 'static,
) -> (World, (A, B)) {
    let mut config = WorldConfig::calm();
    change(&mut config.net);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(|cluster| async move {
        let (called, caller) = (cluster.start("called"), cluster.start("caller"));
        connection(&called, &caller, there, here).await
    });
    (world, outcome.expect_done())
}

fn injected(world: &World) -> FaultCounts {
    world.injected().into_iter().filter(|(name, _)| name.starts_with("net:")).collect()
}

fn at_write(nth: u64, kind: NetFaultKind) -> NetFault {
    NetFault::at(NetMoment::Write { nth }, kind)
}

fn at_ms(ms: u64, kind: NetFaultKind) -> NetFault {
    NetFault::at(NetMoment::Time { ms }, kind)
}

#[test]
fn what_is_sent_takes_as_long_as_the_latency_says_and_longer_to_a_slow_peer() {
    let round_trip = |slow| {
        let change = move |net: &mut NetConfig| {
            (net.latency_ms_max, net.latency_shape, net.slow_machine) = (50, LatencyShape::Constant, slow);
        };
        duo(
            1,
            change,
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    let heard = read(&mut from).await.unwrap();
                    write(&mut to, &heard).await.unwrap();
                })
            },
            |io, (mut from, mut to)| {
                Box::pin(async move {
                    let start = io.clock().now();
                    write(&mut to, b"ping").await.unwrap();
                    assert_eq!(read(&mut from).await.unwrap(), b"ping");
                    ms_since(&io, start)
                })
            },
        )
        .1
        .1
    };
    assert!((100..=104).contains(&round_trip(None)));
    assert!((300..=504).contains(&round_trip(Some((0, 200)))));
    assert!((100..=104).contains(&round_trip(Some((2, 200)))), "it is no part of this");
}

#[test]
fn a_reset_is_heard_at_both_ends_and_some_of_the_write_may_have_come_before_it() {
    let mut found = BTreeSet::new();
    for seed in 0..60 {
        let (world, ((heard, kind), errors)) = duo(
            seed,
            |net| net.faults = vec![at_write(1, NetFaultKind::Reset)],
            move |io, (mut from, _to)| {
                Box::pin(async move {
                    sleep_ms(&io, seed % 2 * 10).await;
                    read_all(&mut from).await
                })
            },
            |io, (mut from, mut to)| {
                Box::pin(async move {
                    write(&mut to, b"one ").await.unwrap();
                    write(&mut to, b"two").await.unwrap();
                    sleep_ms(&io, 10).await;
                    (write(&mut to, b"three").await, write(&mut to, b"four").await, read(&mut from).await)
                })
            },
        );
        assert_eq!(errors, (Err(ErrorKind::ConnectionReset), Err(ErrorKind::BrokenPipe), Ok(vec![])), "once; then it is just over");
        assert_eq!(kind, Some(ErrorKind::ConnectionReset));
        assert!(b"one two".starts_with(&heard));
        found.insert(heard.len());
        assert_eq!(injected(&world), FaultCounts::from([("net: reset", 1)]));
    }
    assert!(found.contains(&0) && found.contains(&7) && found.len() > 4, "{found:?}");
}

#[test]
fn a_half_open_connection_tells_nobody_anything_until_both_kernels_give_it_up() {
    let (world, (there, here)) = duo(
        1,
        |net| (net.buffer_bytes, net.faults) = (vec![100], vec![at_ms(50, NetFaultKind::HalfOpen)]),
        |io, (mut from, to)| {
            Box::pin(async move {
                assert_eq!(read(&mut from).await.unwrap(), b"before");
                let heard = within(&io, 29_000, read(&mut from)).await;
                let given_up = within(&io, 2_000, read(&mut from)).await;
                drop(to);
                (heard, given_up)
            })
        },
        |io, (mut from, mut to)| {
            Box::pin(async move {
                write(&mut to, b"before").await.unwrap();
                sleep_ms(&io, 100).await;
                write(&mut to, &[1; 94]).await.unwrap();
                let full = within(&io, 14_000, write(&mut to, &[1; 94])).await;
                let silent = within(&io, 14_000, read(&mut from)).await;
                (full, silent, within(&io, 3_000, read(&mut from)).await)
            })
        },
    );
    let reset = || Some(Err(ErrorKind::ConnectionReset));
    assert_eq!((there, here), ((None, reset()), (None, None, reset())));
    assert_eq!(injected(&world), FaultCounts::from([("net: half-open", 1)]));
}

/// Connects from the second machine to the first, where somebody listens; the result, and how long it took.
fn connect(faults: Vec<NetFault>) -> (World, (Option<ErrorKind>, u64)) {
    let mut config = WorldConfig::calm();
    config.net.faults = faults;
    let world = World::new(1, config);
    let outcome = world.run_cluster(|cluster| async move {
        let (called, caller) = (cluster.start("called"), cluster.start("caller"));
        let address = door(&called);
        let listens = called.cores();
        let (ready, mut is_ready) = mailbox();
        let listen = listens.try_on_core::<()>(move |io| {
            Box::pin(async move {
                let _listener = io.net().listen(address).await.unwrap();
                ready.send(()).unwrap();
                std::future::pending().await
            })
        });
        let call = async {
            is_ready.recv().await.unwrap();
            let found = caller.on_core(move |io| {
                Box::pin(async move {
                    sleep_ms(&io, 10).await;
                    let start = io.clock().now();
                    let result = io.net().connect(address).await;
                    (result.err().map(|error| error.kind()), ms_since(&io, start))
                })
            });
            let found = found.await.unwrap();
            called.kill();
            found
        };
        both(listen, call).await.1
    });
    (world, outcome.expect_done())
}

#[test]
fn a_connect_is_refused_or_hangs_until_its_own_timeout() {
    let first = |kind| NetFault::at(NetMoment::Connect { nth: 0 }, kind);
    let (world, found) = connect(vec![first(NetFaultKind::Refuse)]);
    assert_eq!((found.0, injected(&world)), (Some(ErrorKind::ConnectionRefused), FaultCounts::from([("net: connect refused", 1)])));
    let (world, (kind, took_ms)) = connect(vec![first(NetFaultKind::Hang)]);
    assert_eq!((kind, injected(&world)), (Some(ErrorKind::TimedOut), FaultCounts::from([("net: connect hangs", 1)])));
    assert!((127_000..127_010).contains(&took_ms));
    assert_eq!(connect(vec![first(NetFaultKind::Delay { ms: 300 })]).1.1 / 100, 3);
    let elsewhere = first(NetFaultKind::Refuse).between(Between::machines(0, 1));
    assert_eq!(connect(vec![elsewhere]).1.0, None);
}

#[test]
fn a_connect_into_a_partition_waits_for_its_end_or_for_its_own_timeout() {
    for between in [Between::machines(0, 1), Between::machines(1, 0), Between::around(0), Between::around(1)] {
        for one_way in [false, true] {
            let cut = |ms| if one_way { NetFaultKind::OneWay { ms } } else { NetFaultKind::Partition { ms } };
            let (kind, took_ms) = connect(vec![at_ms(5, cut(60_000)).between(between)]).1;
            assert!(kind.is_none() && (59_000..64_000).contains(&took_ms), "{kind:?} after {took_ms} ms");
            let (kind, took_ms) = connect(vec![at_ms(5, cut(200_000)).between(between)]).1;
            assert!(kind == Some(ErrorKind::TimedOut) && (127_000..127_010).contains(&took_ms), "{kind:?} after {took_ms} ms");
        }
    }
}

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

/// Three machines, each asking each other over and over; how long each pair waited at most for an answer, in milliseconds.
fn triangle(seed: u64, net: impl FnOnce(&mut NetConfig), ms: u64) -> (World, Vec<((usize, usize), u64)>) {
    let mut config = WorldConfig::calm();
    net(&mut config.net);
    let world = World::new(seed, config);
    let outcome = world.run_cluster(move |cluster: SimCluster| async move {
        let processes: Vec<_> = ["a", "b", "c"].into_iter().map(|name| cluster.start(name)).collect();
        let (found, mut waits) = mailbox();
        for process in &processes {
            let cores = process.cores();
            let address = door(process);
            let (ready, mut is_ready) = mailbox();
            let serve = cores.try_on_core::<()>(move |io| {
                Box::pin(async move {
                    let listener = io.net().listen(address).await.unwrap();
                    let serving = io.clone();
                    let answer = async move {
                        loop {
                            let (mut from, mut to, _) = listener.accept().await.unwrap();
                            let echo = async move {
                                while let Ok(heard) = read(&mut from).await
                                    && !heard.is_empty()
                                    && write(&mut to, &heard).await.is_ok()
                                {}
                            };
                            serving.spawner().spawn(TaskClass::Latency, "echo", Box::pin(echo));
                        }
                    };
                    io.spawner().spawn(TaskClass::Latency, "serve", Box::pin(answer));
                    ready.send(()).unwrap();
                    std::future::pending().await
                })
            });
            // It runs on; all that is wanted is that it has begun.
            let mut serve = Box::pin(serve);
            std::future::poll_fn(|cx| {
                let _ = serve.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
            is_ready.recv().await.unwrap();
        }
        let mut asking: Vec<LocalBoxFuture<()>> = vec![];
        for (one, from) in processes.iter().enumerate() {
            for (other, to) in processes.iter().enumerate().filter(|(other, _)| *other != one) {
                let (found, cores, address) = (found.clone(), from.cores(), door(to));
                asking.push(Box::pin(async move {
                    let ask = cores.try_on_core(move |io| {
                        Box::pin(async move {
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
                        })
                    });
                    found.send(((one, other), ask.await.unwrap())).unwrap();
                }));
            }
        }
        let mut open: Vec<_> = asking.into_iter().map(Some).collect();
        std::future::poll_fn(move |cx| {
            for slot in &mut open {
                if slot.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                    *slot = None;
                }
            }
            if open.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
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
fn bytes_of_an_old_connection_arrive_after_those_of_a_new_one() {
    let mut config = WorldConfig::calm();
    config.net.faults = vec![at_write(0, NetFaultKind::Delay { ms: 2_000 })];
    let world = World::new(1, config);
    let heard = world.run_cluster(|cluster| async move {
        let (called, caller) = (cluster.start("called"), cluster.start("caller"));
        let (ready, mut is_ready) = mailbox();
        let address = door(&called);
        let accept = called.on_core(move |io| {
            Box::pin(async move {
                let listener = io.net().listen(address).await.unwrap();
                ready.send(()).unwrap();
                let (mut old, _old_write, _) = listener.accept().await.unwrap();
                let (mut new, _new_write, _) = listener.accept().await.unwrap();
                let first = within(&io, 1_000, read(&mut new)).await.unwrap().unwrap();
                // The old one was closed long ago by who opened it; what it sent still comes, and then its end.
                (first, read_all(&mut old).await)
            })
        });
        let call = async {
            is_ready.recv().await.unwrap();
            let old = caller.on_core(move |io| {
                Box::pin(async move {
                    let (_read, mut to) = io.net().connect(address).await.unwrap();
                    write(&mut to, b"old").await.unwrap();
                    sleep_ms(&io, 1).await;
                })
            });
            old.await.unwrap();
            caller.kill();
            let caller = caller.restart();
            let new = caller.on_core(move |io| {
                Box::pin(async move {
                    let (_read, mut to) = io.net().connect(address).await.unwrap();
                    write(&mut to, b"new").await.unwrap();
                    sleep_ms(&io, 5_000).await;
                })
            });
            new.await.unwrap();
        };
        both(accept, call).await.0.unwrap()
    });
    assert_eq!(heard.expect_done(), (b"new".to_vec(), (b"old".to_vec(), None)));
    assert_eq!(injected(&world), FaultCounts::from([("net: delay", 1)]));
}

#[test]
fn a_connection_is_dropped_at_a_chosen_event_of_its_process() {
    for nth in 0..4 {
        let (world, (there, _)) = duo(
            nth,
            |net| net.faults = vec![NetFault::at(NetMoment::Event { name: "message.sent", nth }, NetFaultKind::Reset)],
            |_, (mut from, _to)| {
                Box::pin(async move {
                    let mut messages = 0;
                    while let Ok(heard) = read(&mut from).await {
                        messages += heard.len() as u64;
                    }
                    messages
                })
            },
            move |io, (mut from, mut to)| {
                Box::pin(async move {
                    for n in 0..8 {
                        let is_open = write(&mut to, b"m").await.is_ok();
                        assert_eq!(is_open, n <= nth);
                        if !is_open {
                            return;
                        }
                        // Long enough for it to be read.
                        sleep_ms(&io, 5).await;
                        io.observe("message.sent", "", [n as i64, 0, 0]);
                    }
                    read(&mut from).await.unwrap_err();
                })
            },
        );
        assert_eq!((there, injected(&world)), (nth + 1, FaultCounts::from([("net: reset", 1)])));
    }
}

#[test]
fn a_flipped_bit_is_one_bit_of_the_write_that_was_meant_and_its_buffer_comes_back_whole() {
    let mut places = BTreeSet::new();
    for seed in 0..40 {
        let (world, (heard, ())) = duo(
            seed,
            |net| net.faults = vec![at_write(1, NetFaultKind::BitFlip).between(Between::machines(1, 0))],
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    write(&mut to, &[0; 16]).await.unwrap();
                    write(&mut to, &[0; 16]).await.unwrap();
                    read_all(&mut from).await
                })
            },
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    for _ in 0..3 {
                        let returned = to.write_all(Buffer::from(&[0; 16][..])).await.unwrap();
                        assert_eq!(returned[..], [0; 16]);
                    }
                    drop(to);
                    assert_eq!(read(&mut from).await.unwrap().iter().map(|byte| byte.count_ones()).sum::<u32>(), 0);
                })
            },
        );
        let wrong: Vec<_> = heard.0.iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
        assert!(matches!(&wrong[..], [(16..32, byte)] if byte.count_ones() == 1), "{wrong:?}");
        places.insert((wrong[0].0, *wrong[0].1));
        assert_eq!(injected(&world), FaultCounts::from([("net: bit flipped", 1)]));
    }
    assert!(places.len() > 20);
}

#[test]
fn short_reads_and_writes_and_tiny_buffers_change_nothing_but_the_pieces() {
    let mut pieces_seen = BTreeSet::new();
    for seed in 0..20 {
        let (world, (pieces, ())) = duo(
            seed,
            |net| {
                (net.buffer_bytes, net.short_read_per_mille, net.short_write_per_mille) = (vec![1, 7, 64, 5_000], 300, 500);
            },
            |_, (mut from, _to)| {
                Box::pin(async move {
                    let (mut pieces, mut bytes) = (vec![], vec![]);
                    loop {
                        let piece = read(&mut from).await.unwrap();
                        if piece.is_empty() {
                            break;
                        }
                        pieces.push(piece.len());
                        bytes.extend(piece);
                    }
                    assert_eq!(bytes, (0..20).flat_map(|n| [n; 100]).collect::<Vec<u8>>());
                    pieces
                })
            },
            |_, (_from, mut to)| {
                Box::pin(async move {
                    for n in 0..20 {
                        write(&mut to, &[n; 100]).await.unwrap();
                    }
                })
            },
        );
        assert!(pieces.iter().any(|len| len % 100 != 0));
        pieces_seen.insert(pieces);
        let counts = injected(&world);
        assert!(counts.keys().all(|name| name.starts_with("net: short")));
    }
    assert!(pieces_seen.len() > 15);
}

#[test]
fn who_closes_with_bytes_unread_resets_its_peer_and_may_lose_its_own_last_words() {
    let mut heard = BTreeSet::new();
    for seed in 0..40 {
        let (_, (_, found)) = duo(
            seed,
            |net| net.latency_ms_max = 3,
            |io, (from, mut to)| {
                Box::pin(async move {
                    sleep_ms(&io, 50).await;
                    write(&mut to, b"last words").await.unwrap();
                    drop((from, to));
                })
            },
            |io, (mut from, mut to)| {
                Box::pin(async move {
                    write(&mut to, b"never read").await.unwrap();
                    sleep_ms(&io, 100).await;
                    (read(&mut from).await, read(&mut from).await)
                })
            },
        );
        heard.insert(found);
    }
    assert_eq!(heard, BTreeSet::from([(RESET, Ok(vec![])), (Ok(b"last words".to_vec()), RESET)]));
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
                let main: thalweg_io::CoreMain = Box::new(move |_, io| Box::pin(chatter(io, own, addresses)));
                thalweg_io::Cores::start(&cores, vec![main]).unwrap().join();
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
    let expected = [
        "net: bit flipped",
        "net: connect hangs",
        "net: connect refused",
        "net: delay",
        "net: half-open",
        "net: one-way partition",
        "net: partition",
        "net: reset",
        "net: short read",
        "net: short write",
        "net: swizzle",
    ];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
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
    loop {
        let Ok((mut from, mut to, _)) = listener.accept().await else { return };
        let echo = async move {
            while let Ok(heard) = read(&mut from).await
                && !heard.is_empty()
                && write(&mut to, &heard[..1]).await.is_ok()
            {}
        };
        io.spawner().spawn(TaskClass::Throughput, "echo", Box::pin(echo));
    }
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
