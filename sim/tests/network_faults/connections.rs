//! How connections end or lag behind, and what each end hears of it.

use crate::duo::{at_ms, at_write, duo, injected, read_all, within};
use crate::talk::{door, read, sleep_ms, write};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use thalweg_io::mailbox;
use thalweg_sim::{FaultCounts, NetFault, NetFaultKind, NetMoment, World, WorldConfig, both};

const RESET: Result<Vec<u8>, ErrorKind> = Err(ErrorKind::ConnectionReset);

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

/// Whoever goes on writing before it hears of the reset must not be read on from there: a stream has no holes.
#[test]
fn what_is_written_behind_a_reset_is_not_read_behind_a_hole() {
    for seed in 0..60 {
        let (_, ((heard, _), _)) = duo(
            seed,
            |net| (net.faults, net.latency_ms_max) = (vec![at_write(1, NetFaultKind::Reset)], 20),
            |_, (mut from, _to)| Box::pin(async move { read_all(&mut from).await }),
            |io, (_from, mut to)| {
                Box::pin(async move {
                    write(&mut to, b"one ").await.unwrap();
                    write(&mut to, b"two ").await.unwrap();
                    let gone_on = write(&mut to, b"three").await;
                    sleep_ms(&io, 100).await;
                    gone_on
                })
            },
        );
        assert!(b"one two ".starts_with(&heard), "{}", String::from_utf8_lossy(&heard));
    }
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
