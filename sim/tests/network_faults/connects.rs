//! What becomes of a call of `connect`.

use crate::duo::{at_ms, injected, ms_since};
use crate::talk::{door, sleep_ms};
use std::io::ErrorKind;
use thalweg_io::mailbox;
use thalweg_sim::{Between, FaultCounts, NetFault, NetFaultKind, NetMoment, World, WorldConfig, both};

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
